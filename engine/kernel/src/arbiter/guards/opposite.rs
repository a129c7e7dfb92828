//! The opposite of what was just done needs a person: two policies that fight, or a loop that chases its own effect (lesson 6). So
//! does a target that was sent to and fro again and again within the hour, however patiently.

use super::{Case, Opinion};
use crate::ledger::ActionState;
use homeostat_model::{Span, Stance, Time, Verb};

/// To and fro: so many of the two actions on one target …
const TO_AND_FRO_MAX: usize = 6;
/// … within this span, and a person decides.
const TO_AND_FRO_WITHIN: Span = Span::from_hours(1);

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let Some(opposite) = case.spec.and_then(|spec| spec.opposite.as_ref()) else {
        return Opinion::pass("has no opposite");
    };
    if case.consent.as_ref().is_some_and(|consent| matches!(consent, super::super::Consent::Approved { .. })) {
        return Opinion::pass("a person wants it");
    }
    let swings = swings(case, opposite);
    if swings >= TO_AND_FRO_MAX {
        let text = format!(
            "`{}` and `{opposite}` were done {swings} times on `{}` within {TO_AND_FRO_WITHIN}",
            case.proposal.verb, case.proposal.target
        );
        return Opinion { stance: Stance::Ask { by: case.now + case.settings.approval_ttl }, text };
    }
    let by_own_run = |at: Time| {
        let did = |state: &&ActionState| {
            state.sent_at == Some(at) && &state.proposal.verb == opposite && state.proposal.target == case.proposal.target
        };
        case.ledger.actions().rev().find(did).filter(|state| case.is_own(state.id, &state.proposal.origin)).and(case.part_of_run())
    };
    match case.ledger.last_done(&case.proposal.target, opposite) {
        Some((at, _)) if by_own_run(at).is_some() => Opinion::pass(case.part_of_run().unwrap_or_default()),
        Some((at, settle)) => {
            let watch = Span(settle.millis().saturating_mul(2));
            if case.now < at + watch {
                let text = format!(
                    "`{opposite}` was done on `{}` {} ago, within twice its settling time",
                    case.proposal.target,
                    case.now.since(at)
                );
                return Opinion { stance: Stance::Ask { by: case.now + case.settings.approval_ttl }, text };
            }
            Opinion::pass("the opposite is long past")
        }
        None => Opinion::pass("the opposite was not done"),
    }
}

/// How often this verb or its opposite was sent to the target of late.
fn swings(case: &Case<'_>, opposite: &Verb) -> usize {
    let since = case.now - TO_AND_FRO_WITHIN;
    let of_pair = |verb: &Verb| verb == opposite || *verb == case.proposal.verb;
    let others = case.ledger.actions().filter(|state| !case.is_own(state.id, &state.proposal.origin));
    let sent = others.filter(|state| state.sent_at.is_some_and(|at| at > since));
    sent.filter(|state| state.proposal.target == case.proposal.target && of_pair(&state.proposal.verb)).count()
}
