//! The milder thing first: a rougher verb waits until a milder one was tried on the same target and did not help. Which comes after
//! which is configured; a policy simply wishes both. A step that was judged to have helped is no reason for the next one.

use super::{Case, Opinion};
use crate::ledger::{ActionState, Phase};
use homeostat_model::Span;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let Some(rung) = case.settings.ladder.iter().find(|rung| rung.verb == case.proposal.verb) else {
        return Opinion::pass("stands on no ladder");
    };
    if let Some(run) = case.part_of_run() {
        return Opinion::pass(run);
    }
    if let Some(by) = case.person() {
        return Opinion::pass(format!("{by} wants it"));
    }
    let since = case.now - rung.within;
    let of_rung = |state: &&ActionState| {
        state.proposal.verb == rung.after && state.proposal.target == case.proposal.target && state.sent_at.is_some_and(|at| at > since)
    };
    let in_vain = |state: &&ActionState| match (&state.judgement, state.phase) {
        (Some(judgement), _) => judgement.held != Some(true),
        // Not judged yet: it may still help.
        (None, Phase::Done | Phase::InFlight | Phase::Probing) => false,
        (None, _) => true,
    };
    let tried = case.ledger.actions().filter(of_rung).filter(in_vain).count();
    if tried >= rung.attempts as usize {
        return Opinion::pass(format!("`{}` was tried {tried} times and did not help", rung.after));
    }
    let text = format!("`{}` comes first: tried in vain {tried} of {} times within {}", rung.after, rung.attempts, rung.within);
    Opinion::hold(case.now + Span::from_mins(1), text)
}
