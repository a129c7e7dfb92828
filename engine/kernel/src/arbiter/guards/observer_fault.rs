//! Many targets of one policy bad at once: rather the observer is broken than everything else (lessons 1, 4). Telling people and
//! bringing things back stays allowed.

use super::{Case, Opinion};
use homeostat_model::Class;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let (policy, _) = case.symptom();
    match case.observer_faults.get(&policy) {
        Some(_) if case.class() < Class::Reversible => Opinion::pass("the observer is suspected; this only tells or brings back"),
        Some(until) => Opinion::hold(
            (*until).max(case.now + homeostat_model::Span::from_secs(1)),
            format!("too many targets of `{policy}` look bad at once: the observer is suspected"),
        ),
        None => Opinion::pass("the observer looks sound"),
    }
}
