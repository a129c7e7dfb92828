//! It must give up (lesson 7): attempts are counted per symptom, whatever became of them. Too many within the window lock the symptom
//! until a person unlocks it; the lock does not wear off. Notifications do not count: silence is no help. Neither does what was
//! before the opposite was done: a node that was woken, worked and went back to sleep has been helped (to and fro is the matter of
//! the guard `opposite`).

use super::{Case, Opinion};
use crate::ledger::ActionState;
use homeostat_model::{Class, Outcome, Time};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if case.class() == Class::Notify {
        return Opinion::pass("telling does not count as an attempt");
    }
    if let Some(run) = case.part_of_run() {
        return Opinion::pass(run);
    }
    let symptom = case.symptom();
    let (most, window) = (case.settings.futility_attempts_max, case.settings.futility_window);
    let opposite = case.spec.and_then(|spec| spec.opposite.as_ref());
    // Only what was seen to be done: an opposite that was refused or lost has undone nothing.
    let undoing = |state: &&ActionState| {
        matches!(state.outcome, Some(Outcome::Done(_)))
            && state.proposal.target == case.proposal.target
            && Some(&state.proposal.verb) == opposite
    };
    let undone = case.ledger.actions().filter(undoing).filter_map(|state| state.sent_at).max();
    let attempts: Vec<Time> = case.ledger.attempts(&symptom).filter(|at| undone.is_none_or(|undone| *at > undone)).collect();
    // No attempt is made while it is locked, so the newest ones are those that locked it.
    let first = attempts.len().checked_sub(most as usize).and_then(|index| attempts.get(index));
    let locked = match (first, attempts.last()) {
        (Some(first), Some(last)) => last.since(*first) < window,
        (None, _) => most == 0,
        _ => false,
    };
    if locked {
        return Opinion::hold(
            Time::MAX,
            format!(
                "{most} attempts on this symptom within {window}: locked until a person runs `homeostat unlock {} '{}'`",
                symptom.0, symptom.1
            ),
        );
    }
    let recent = attempts.iter().filter(|at| **at > case.now - window).count();
    Opinion::pass(format!("{recent} of {most} attempts used"))
}
