//! Dead time: after an action its target's symptoms mean nothing for a while (lesson 31). After a start, and after the clock
//! jumped, nothing rough is done until one window has passed (lessons 8, 34). A run knows what it has done itself: its own steps
//! do not hold it; `verify` is how it waits.

use super::{Case, Opinion};
use homeostat_model::{Class, Target, Verb};
use std::collections::BTreeSet;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let class = case.class();
    if class == Class::Notify {
        return Opinion::pass("telling needs no dead time");
    }
    let targets: BTreeSet<Target> = case.touches().iter().map(|touch| touch.target.clone()).chain([case.proposal.target.clone()]).collect();
    for target in &targets {
        if let Some((until, verb)) = case.ledger.settling(target).filter(|(until, verb)| *until > case.now && !is_own(case, target, verb)) {
            return Opinion::hold(until, format!("`{target}` is settling after `{verb}`"));
        }
    }
    if class >= Class::Disruptive {
        let grace = case.ledger.started_at().map(|at| at + case.settings.boot_grace);
        if let Some(until) = grace.filter(|until| *until > case.now) {
            return Opinion::hold(until, "the engine has just started; nothing disruptive yet");
        }
        let frozen = case.ledger.clock_jumped_at().map(|at| at + case.settings.clock_jump_freeze);
        if let Some(until) = frozen.filter(|until| *until > case.now) {
            return Opinion::hold(until, "the clock has jumped; nothing disruptive until one window has passed");
        }
    }
    Opinion::pass("settled")
}

/// Whether it settles after an action of the same run.
fn is_own(case: &Case<'_>, target: &Target, verb: &Verb) -> bool {
    let settles =
        |state: &&crate::ledger::ActionState| state.sent_at.is_some() && &state.proposal.target == target && &state.proposal.verb == verb;
    case.ledger.actions().rev().find(settles).is_some_and(|state| case.is_own(state.id, &state.proposal.origin))
}
