//! Many targets of one policy bad: rather the observer is broken than everything else (lessons 1, 4). Telling people and bringing
//! things back stays allowed.
//!
//! Bad at once is noticed where policies are evaluated. Bad one after the other is seen here, from what a policy did: a sensor that
//! lies about one node at a time would otherwise take the house down in half an hour, every step of it modest. What people and
//! playbooks do in turn is their own affair: they said how many.

use super::{Case, Opinion};
use homeostat_model::{Class, Span, Target, Time};
use std::collections::BTreeMap;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let (policy, _) = case.symptom();
    match case.observer_faults.get(&policy) {
        Some(_) if case.class() < Class::Reversible => Opinion::pass("the observer is suspected; this only tells or brings back"),
        Some(until) => Opinion::hold(
            (*until).max(case.now + Span::from_secs(1)),
            format!("too many targets of `{policy}` look bad at once: the observer is suspected"),
        ),
        None => one_after_the_other(case).unwrap_or_else(|| Opinion::pass("the observer looks sound")),
    }
}

fn one_after_the_other(case: &Case<'_>) -> Option<Opinion> {
    let policy = case.proposal.origin.policy()?;
    if case.person().is_some() || !case.takes_down().iter().any(is_node) {
        return None;
    }
    let (window, verb) = (case.settings.observer_fault_window, &case.proposal.verb);
    let mut others: BTreeMap<&Target, Time> = BTreeMap::new();
    for action in case.ledger.actions() {
        let proposal = &action.proposal;
        let alike = proposal.origin.policy() == Some(policy) && proposal.verb == *verb && proposal.target != case.proposal.target;
        if let Some(sent) = action.sent_at.filter(|sent| alike && case.now.since(*sent) < window) {
            let newest = others.entry(&proposal.target).or_insert(sent);
            *newest = sent.max(*newest);
        }
    }
    let count = others.len();
    if count < case.settings.observer_fault_targets_min.max(1) {
        return None;
    }
    let mut sent: Vec<Time> = others.into_values().collect();
    sent.sort_unstable();
    let frees = sent[count - case.settings.observer_fault_targets_min.max(1)];
    let text = format!("`{policy}` took down {count} others with {verb} within {window}, one after the other: the observer is suspected");
    Some(Opinion::hold(frees + window, text))
}

fn is_node(target: &Target) -> bool {
    target.kind() == "node"
}
