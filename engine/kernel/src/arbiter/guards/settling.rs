//! Dead time: after an action its target's symptoms mean nothing for a while (lesson 31). After a start, and after the clock
//! jumped, nothing rough is done until one window has passed (lessons 8, 34).

use super::{Case, Opinion};
use homeostat_model::Class;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let class = case.class();
    if class == Class::Notify {
        return Opinion::pass("telling needs no dead time");
    }
    if let Some((until, verb)) = case.ledger.settling(&case.proposal.target).filter(|(until, _)| *until > case.now) {
        return Opinion::hold(until, format!("`{}` is settling after `{verb}`", case.proposal.target));
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
