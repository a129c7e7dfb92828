//! The opposite of what was just done needs a person: two policies that fight, or a loop that chases its own effect (lesson 6). So
//! does a target that was sent to and fro again and again within the hour, however patiently. What goes to and fro in a regular rhythm is
//! held, longer each time, and then locked (`kernel/rhythm.rs` finds it).

use super::{Case, Opinion};
use crate::ledger::{ActionState, TRIPS_WITHIN, is_locked};
use homeostat_model::{Class, Span, Stance, Time, Verb};

/// To and fro: so many of the two actions on one target …
const TO_AND_FRO_MAX: usize = 6;
/// … within this span, and a person decides.
const TO_AND_FRO_WITHIN: Span = Span::from_hours(1);

/// Actions on this target went round in circles: the first time it waits two periods, then four, then a person must look. What brings
/// back is never held: the loop comes to rest where nothing is missing.
fn rhythm(case: &Case<'_>) -> Option<Opinion> {
    if case.class() <= Class::Restore {
        return None;
    }
    let verb = &case.proposal.verb;
    let trips = case.ledger.trust().trips(&case.proposal.target).iter().filter(|(_, trip)| trip.verbs.0 == *verb || trip.verbs.1 == *verb);
    let trips: Vec<_> = trips.collect();
    let (last, trip) = trips.last()?;
    let times: Vec<Time> = trips.iter().map(|(at, _)| *at).collect();
    if is_locked(&times) {
        let target = &case.proposal.target;
        let text = format!("{}, {} times: locked until a person runs `homeostat unlock '{target}'`", trip.text, trips.len());
        return Some(Opinion::hold(Time::MAX, text));
    }
    let recent = times.iter().filter(|at| last.since(**at) <= TRIPS_WITHIN).count() as i64;
    let until = *last + Span(trip.period.millis().saturating_mul(2 * recent));
    (case.now < until).then(|| Opinion::hold(until, format!("{}: held for {} periods", trip.text, 2 * recent)))
}

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if let Some(held) = rhythm(case) {
        return held;
    }
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
