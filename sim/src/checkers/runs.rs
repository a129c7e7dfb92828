//! Runs of playbooks, from the journal's lines alone: the order of their steps, and that nothing is taken back while something is in
//! flight or sent after the end.
//!
//! An editor breaks this by asking the ledger how a run stands: these books are kept apart to notice when it is wrong.

use super::Checkers;
use homeostat_model::playbook::{PLAYBOOK, Playbook, RunMove};
use homeostat_model::{Action, ActionId, Origin, Time};
use std::collections::{BTreeMap, BTreeSet};

/// One run.
struct Run {
    playbook: Playbook,
    /// The steps that have ended or were skipped.
    over: BTreeSet<String>,
    is_undoing: bool,
    has_ended: bool,
}

/// All runs.
#[derive(Default)]
pub(super) struct Runs {
    runs: BTreeMap<ActionId, Run>,
}

impl Runs {
    /// A run has moved.
    pub fn moved(&mut self, id: ActionId, step: &RunMove) {
        if let RunMove::Began { playbook, .. } = step {
            let run = Run { playbook: (**playbook).clone(), over: BTreeSet::new(), is_undoing: false, has_ended: false };
            self.runs.insert(id, run);
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        match step {
            RunMove::Skipped { step, .. } | RunMove::Finished { step } | RunMove::Failed { step, .. } => run.over.extend([step.clone()]),
            RunMove::Undoing { .. } => run.is_undoing = true,
            RunMove::Ended { .. } => run.has_ended = true,
            _ => {}
        }
    }
}

impl Checkers {
    /// An action is carried to an actuator.
    pub fn carried(&mut self, at: Time, action: &Action) {
        if action.verb.actuator() == PLAYBOOK {
            self.broken(at, "own-steps", format!("{} {} on {} was carried out of the kernel", action.id, action.verb, action.target));
        }
    }

    /// A step is sent: it must be its turn.
    pub(super) fn check_run(&mut self, at: Time, action: &Action) {
        let Some(Origin::Playbook { run: id, step, undo, .. }) = self.books.rulings.get(&action.id).map(|ruled| ruled.origin.clone())
        else {
            return;
        };
        let what = format!("{} {} on {}, step {step} of run {id}", action.id, action.verb, action.target);
        let flying = self.books.in_flight(id);
        let Some(run) = self.runs.runs.get(&id) else {
            return self.broken(at, "step-order", format!("{what}: the run has not begun"));
        };
        let known = run.playbook.step(&step);
        let too_early = known.is_none_or(|known| known.after.iter().any(|before| !run.over.contains(before)));
        let (has_ended, is_undoing) = (run.has_ended, run.is_undoing);
        if has_ended {
            self.broken(at, "after-the-end", what.clone());
        }
        if !undo && (too_early || is_undoing) {
            self.broken(
                at,
                "step-order",
                format!("{what}: {}", if is_undoing { "the run is taken back" } else { "what it comes after goes on" }),
            );
        }
        if undo && (!is_undoing || !flying.is_empty()) {
            self.broken(at, "undo-alone", format!("{what}: in flight: {flying:?}"));
        }
    }

    /// An action is told to take itself back.
    pub(super) fn check_revert(&mut self, at: Time, action: ActionId) {
        let Some(Origin::Playbook { run: id, step, .. }) = self.books.rulings.get(&action).map(|ruled| ruled.origin.clone()) else {
            return self.broken(at, "undo-alone", format!("{action} is no step, and was told to take itself back"));
        };
        let what = format!("{action}, step {step} of run {id}, was told to take itself back");
        let flying = self.books.in_flight(id);
        let Some(run) = self.runs.runs.get(&id) else { return };
        let is_watched = run.playbook.step(&step).is_some_and(|step| !step.steady.is_empty());
        let (has_ended, is_undoing) = (run.has_ended, run.is_undoing);
        if has_ended {
            self.broken(at, "after-the-end", what.clone());
        }
        // A steady state that broke ends its own step at once; anything else is taken back only when nothing is in flight.
        let ends_itself = is_watched && flying.contains(&action);
        if !ends_itself && (!is_undoing || !flying.is_empty()) {
            self.broken(at, "undo-alone", format!("{what}: in flight: {flying:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Checkers;
    use super::*;
    use crate::plant::Plant;
    use crate::shipped;
    use homeostat_model::{
        ArbiterSettings, Args, Autonomy, Class, Lease, Outcome, Proposal, Receipt, Record, Ruling, RunEnd, Span, Verb, Verdict,
    };
    use std::sync::Arc;

    /// A run of `node-sleep` in these books alone: no kernel decides anything here.
    struct Told {
        checkers: Checkers,
        plant: Plant,
    }

    const RUN: ActionId = ActionId(1);
    const AT: Time = Time(1_000_000_000);

    impl Told {
        fn new() -> Told {
            let lab = Arc::new(shipped::classic().unwrap().equipped(&shipped::equipment().unwrap()));
            let checkers = Checkers::new(ArbiterSettings::default(), &Default::default(), Arc::clone(&lab));
            let mut told = Told { checkers, plant: Plant::new(lab, 1, AT) };
            let playbook = Box::new(shipped::playbook("node-sleep").unwrap());
            told.moved(RunMove::Began { playbook, params: Args::new() });
            told
        }

        fn tell(&mut self, record: &Record) {
            self.checkers.record(AT, record, &self.plant);
        }

        fn moved(&mut self, step: RunMove) {
            self.tell(&Record::Run { run: RUN, step });
        }

        fn sent(&mut self, id: u64, verb: &str, step: &str, undo: bool) {
            let (verb, id) = (Verb::from(verb), ActionId(id));
            let origin = Origin::Playbook { run: RUN, step: step.into(), instance: 0, undo };
            let proposal = Proposal {
                origin,
                symptom: format!("{id}"),
                verb: verb.clone(),
                target: "node/muscle".into(),
                args: Args::new(),
                because: "a test".into(),
                evidence: Vec::new(),
                claim: None,
                cooldown: Span::ZERO,
                settle: None,
                autonomy: Autonomy::Auto,
                alternatives: Vec::new(),
            };
            let ruling = Ruling { verdict: Verdict::Admitted, reasons: Vec::new() };
            self.tell(&Record::Ruled { action: id, proposal: Box::new(proposal), ruling, plan: String::new() });
            let action = Action {
                id,
                verb,
                target: "node/muscle".into(),
                args: Args::new(),
                class: Class::Reversible,
                timeout: Span::from_mins(1),
                lease: Lease { generation: 1, expires: AT },
                because: "a test".into(),
            };
            self.tell(&Record::Act { action, attempt: 1 });
        }

        fn done(&mut self, id: u64) {
            let outcome = Outcome::Done(Receipt::default());
            self.tell(&Record::Settled { action: ActionId(id), outcome });
        }

        fn revert(&mut self, id: u64) {
            self.tell(&Record::Revert { action: ActionId(id), receipt: Receipt::default() });
        }

        fn broken(&self) -> Vec<&str> {
            self.checkers.violations.iter().map(|violation| violation.invariant).collect()
        }
    }

    #[test]
    fn a_step_before_its_turn_is_noticed_and_one_in_its_turn_is_not() {
        let mut told = Told::new();
        told.sent(2, "node.cordon", "cordon", false);
        told.done(2);
        told.moved(RunMove::Finished { step: "cordon".into() });
        told.sent(3, "node.drain", "drain", false);
        assert_eq!(told.broken(), Vec::<&str>::new());
        told.done(3);
        told.sent(4, "power.sleep", "sleep", false);
        assert_eq!(told.broken(), ["step-order"], "the drain's step has not ended");
    }

    #[test]
    fn taking_back_beside_something_in_flight_is_noticed_and_so_is_anything_after_the_end() {
        let mut told = Told::new();
        told.sent(2, "node.cordon", "cordon", false);
        told.done(2);
        told.moved(RunMove::Finished { step: "cordon".into() });
        told.sent(3, "node.drain", "drain", false);
        told.moved(RunMove::Undoing { why: "a test".into() });
        told.revert(2);
        assert_eq!(told.broken(), ["undo-alone"], "the drain is in flight");
        told.done(3);
        told.revert(2);
        assert_eq!(told.broken(), ["undo-alone"], "now it may");
        told.moved(RunMove::Ended { end: RunEnd::Undone, why: String::new() });
        told.revert(2);
        told.sent(5, "power.wake", "sleep", true);
        assert_eq!(told.broken(), ["undo-alone", "after-the-end", "after-the-end"]);
    }

    #[test]
    fn the_kernels_own_is_never_carried_out() {
        let mut told = Told::new();
        let action = Action {
            id: ActionId(9),
            verb: "playbook.wait".into(),
            target: "node/muscle".into(),
            args: Args::new(),
            class: Class::Notify,
            timeout: Span::from_mins(1),
            lease: Lease { generation: 1, expires: AT },
            because: "a test".into(),
        };
        told.checkers.carried(AT, &action);
        assert_eq!(told.broken(), ["own-steps"]);
    }
}
