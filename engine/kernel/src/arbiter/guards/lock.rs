//! One action per target at a time, so that two plans never mix (lessons 20, 22). Notifications touch nothing and need no lock.

use super::{Case, Opinion};
use homeostat_model::{Class, Span};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if case.class() == Class::Notify {
        return Opinion::pass("telling needs no lock");
    }
    match case.ledger.running_on(&case.proposal.target) {
        // The end is not known; look again soon.
        Some(other) => {
            Opinion::hold(case.now + Span::from_secs(10), format!("{} (`{}`) is under way on `{}`", other.0, other.1, case.proposal.target))
        }
        None => Opinion::pass("nothing else is under way on it"),
    }
}
