//! The way back of a run: in reverse order, one thing at a time, until all is taken back, something cannot be, or the time for it
//! is over.
//!
//! What cannot be taken back, or of which nobody knows whether it was done, leaves the run *stuck*, which blocks its targets until a
//! person releases it. So does what a guard holds for longer than the playbook's `timeout`, counted from the moment the way back
//! began. Deliberately absent: the decision to turn back (`running.rs`). An editor breaks this by undoing while something is still in
//! flight, by beginning anything after the time is over, or by counting an answer that was given before the action itself had landed.

use super::Kernel;
use super::running::{is_part, said};
use crate::effect::{Effect, Reverting};
use crate::ledger::{ActionState, Phase, Reverting as Answer, Run};
use crate::playbook::undo_of;
use homeostat_model::playbook::{Step, Undo, UndoBy, WAIT};
use homeostat_model::{Closing, FaultCode, Origin, Outcome, RunEnd, RunMove, Span, Verdict};

/// How long the actuator may take to answer that it took something back, beyond the action's own timeout.
const REVERT_GRACE: Span = Span::from_secs(60);
/// How often taking back is tried, where the actuator says that nothing was started.
const REVERTS_MAX: u32 = 3;
/// The wait between two such tries.
pub(super) const REVERT_WAIT: Span = Span::from_secs(30);
/// How many things that were not taken back are named at the end.
const LEFT_SHOWN: usize = 10;

impl Kernel {
    /// Takes the run back by one move.
    pub(super) fn move_back(&mut self, run: &Run) -> bool {
        if self.in_flight(run) && !self.undoing_something(run) {
            return false;
        }
        let failed = run.taken_back.values().any(|worked| !worked);
        let next = self.actions_of(run).rev().find(|state| needs_taking_back(state) && !run.taken_back.contains_key(&state.id));
        let Some(state) = next.filter(|_| !failed) else {
            let why = run.undoing.as_ref().map_or_else(String::new, |(_, why)| why.clone());
            let (end, why) =
                if failed { (RunEnd::Stuck, format!("{why}; not taken back: {}", self.left_of(run))) } else { (RunEnd::Undone, why) };
            // Nobody would look again at what a guard still holds.
            self.close_waiting(run, "the run is over");
            self.moved(run.id, RunMove::Ended { end, why });
            self.tell_of_end(run.id);
            return true;
        };
        let state = state.clone();
        let Origin::Playbook { step, instance, .. } = &state.proposal.origin else { return false };
        let Some(step) = run.playbook.step(step).cloned() else { return false };
        if let Some(moved) = self.take_back(run, &step, *instance as usize, &state) {
            self.moved(run.id, moved);
            return true;
        }
        false
    }

    fn undoing_something(&self, run: &Run) -> bool {
        let flying = self.actions_of(run).filter(|state| state.phase.is_running() && state.proposal.verb.as_str() != WAIT);
        flying.into_iter().all(|state| matches!(state.proposal.origin, Origin::Playbook { undo: true, .. }))
    }

    /// What was not taken back, newest first, with the reason or the guard that held it.
    fn left_of(&self, run: &Run) -> String {
        let left = self.actions_of(run).rev().filter(|state| needs_taking_back(state) && run.taken_back.get(&state.id) != Some(&true));
        let mut named: Vec<String> = Vec::new();
        for state in left {
            let Origin::Playbook { step, .. } = &state.proposal.origin else { continue };
            let spec = self.arbiter.verb(&state.proposal.verb);
            if run.playbook.step(step).is_none_or(|step| undo_of(step, spec) == Undo::Nothing) {
                continue;
            }
            let why = run.left.get(&state.id).map_or("not tried, as what came after it still stands", String::as_str);
            named.push(format!("step {step} ({}: {} on {}): {why}", state.id, state.proposal.verb, state.proposal.target));
        }
        let more = named.len().saturating_sub(LEFT_SHOWN);
        named.truncate(LEFT_SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{}{more}", named.join("; "))
    }

    /// Whether nothing more may be begun on the way back.
    fn is_too_late(&self, run: &Run) -> bool {
        run.undo_by.is_some_and(|by| self.now >= by)
    }

    /// What taking one action back has come to; `None`: not over yet.
    fn take_back(&mut self, run: &Run, step: &Step, instance: usize, state: &ActionState) -> Option<RunMove> {
        let not = |why: String| Some(RunMove::NotTakenBack { action: state.id, why });
        if let Some(answer) = &state.reverting {
            return self.answered(run, state, answer);
        }
        let spec = self.arbiter.verb(&state.proposal.verb).cloned();
        match undo_of(step, spec.as_ref()) {
            Undo::Nothing => Some(RunMove::TakenBack { action: state.id, how: "there is nothing to take back".into() }),
            _ if matches!(state.phase, Phase::Closed { .. }) => not(format!("nobody can tell whether it was done: {}", said(state))),
            Undo::Revert if spec.is_none_or(|spec| !spec.revertible) => not("its actuator cannot take it back".into()),
            Undo::Revert if self.is_too_late(run) => not(too_late(run, None)),
            Undo::Revert => {
                self.send_back(state);
                None
            }
            Undo::By(by) => self.take_back_by(run, step, instance, state, &by),
        }
    }

    /// What the actuator's answer to the order to take an action back means; `None`: not over yet.
    fn answered(&mut self, run: &Run, state: &ActionState, answer: &Answer) -> Option<RunMove> {
        let action = state.id;
        let not = |why: String| Some(RunMove::NotTakenBack { action, why });
        // The answer was lost with the engine: asking again is safe, an actuator takes back at most once and says what it knows.
        let is_lost = self.ledger.started_at().is_some_and(|at| answer.sent_at < at);
        let timeout = state.action.as_ref().map_or(Span::ZERO, |action| action.timeout);
        let is_over = self.now > answer.sent_at + timeout + REVERT_GRACE;
        // Told to stop while it ran: it may have landed after the answer, whatever that was, so it is asked again now that it has.
        if answer.is_early {
            if matches!(state.phase, Phase::Closed { .. }) {
                return not(format!("it was told to stop while it ran, and nobody can tell what became of it: {}", said(state)));
            }
            if answer.outcome.is_none() && !is_lost && !is_over {
                return None;
            }
            if self.is_too_late(run) {
                return not(too_late(run, None));
            }
            self.send_back(state);
            return None;
        }
        match &answer.outcome {
            Some(Outcome::Done(receipt)) => Some(RunMove::TakenBack { action, how: receipt.observed.clone() }),
            Some(Outcome::NotDone(fault))
                if fault.code == FaultCode::NeverStarted && answer.tries < REVERTS_MAX && !self.is_too_late(run) =>
            {
                if self.now >= answer.sent_at + REVERT_WAIT {
                    self.send_back(state);
                }
                None
            }
            Some(Outcome::NotDone(fault) | Outcome::Unknown(fault)) => not(fault.to_string()),
            None if is_lost => {
                self.send_back(state);
                None
            }
            None if is_over => not("the actuator did not answer".into()),
            None => None,
        }
    }

    fn take_back_by(&mut self, run: &Run, step: &Step, instance: usize, state: &ActionState, by: &UndoBy) -> Option<RunMove> {
        let action = state.id;
        let not = |why: String| Some(RunMove::NotTakenBack { action, why });
        let each = run.instances(&step.id).get(instance).cloned().unwrap_or_default();
        let sent = self.actions_of(run).filter(|s| s.action.is_some() && is_part(&s.proposal.origin, &step.id, instance, true)).count();
        let may_again = (sent as u32) < REVERTS_MAX;
        let known = self.newest(run, step, instance, true).cloned();
        // What is under way lands; anything else has had its time.
        if self.is_too_late(run) && !known.as_ref().is_some_and(|known| known.phase.is_running() || known.phase == Phase::Done) {
            return not(too_late(run, known.as_ref()));
        }
        let wish_again = known.as_ref().is_none_or(|known| match known.phase {
            Phase::Deferred { until } => until <= self.now,
            Phase::Closed { closing: Closing::Gone } => true,
            Phase::NotDone { .. } => may_again && self.now >= known.moved_at + REVERT_WAIT,
            _ => false,
        });
        if wish_again {
            return match self.undo_proposal(run, step, instance, &each, by) {
                Ok(proposal) => {
                    self.wish(proposal);
                    None
                }
                Err(why) => not(why),
            };
        }
        let known = known?;
        match known.phase {
            Phase::Done => Some(RunMove::TakenBack { action, how: said(&known) }),
            Phase::NotDone { .. } if may_again => None,
            Phase::NotDone { .. } | Phase::Closed { .. } => not(said(&known)),
            Phase::Denied | Phase::Shadowed => {
                not(known.ruling.decided_by().map_or_else(String::new, |reason| format!("{}: {}", reason.guard, reason.text)))
            }
            _ => None,
        }
    }

    /// Tells the actuator to take an action back; the intent is in the ledger before the effect is queued.
    pub(super) fn send_back(&mut self, state: &ActionState) {
        let Some(reverting) = Reverting::of(state) else { return };
        let effect = Effect::Revert(reverting);
        self.ledger.apply_record(self.now, &effect.record());
        self.effects.push_back(effect);
    }
}

/// Whether something may have to be taken back: it was done, a part of it was, nobody knows, or it was told to stop while it ran.
fn needs_taking_back(state: &ActionState) -> bool {
    let forward = matches!(state.proposal.origin, Origin::Playbook { undo: false, .. });
    forward
        && match state.phase {
            Phase::Done | Phase::Closed { closing: Closing::Unresolved } => true,
            Phase::NotDone { .. } => matches!(&state.outcome, Some(Outcome::NotDone(fault)) if fault.code == FaultCode::HalfDone),
            _ => state.reverting.is_some(),
        }
}

/// Why something was not taken back in time: what held the action that was to do it.
fn too_late(run: &Run, by: Option<&ActionState>) -> String {
    let held = match by {
        None => "not begun".to_owned(),
        Some(by) => match by.ruling.decided_by().filter(|_| by.ruling.verdict != Verdict::Admitted) {
            Some(reason) => format!("{} on {} is held by {}: {}", by.proposal.verb, by.proposal.target, reason.guard, reason.text),
            None => said(by),
        },
    };
    format!("not within {}: {held}", run.playbook.timeout)
}
