//! Runs of playbooks: how far each one is, derived from records alone.
//!
//! Deliberately absent: what to do next (`kernel/running.rs`, `kernel/undoing.rs`). An editor breaks this by keeping anything here that is not read back
//! from the journal: a run must survive a crash at any of its entries.

use super::{ActionState, Ledger};
use homeostat_model::playbook::{Playbook, Step};
use homeostat_model::{ActionId, Args, Outcome, Proposal, Record, RunEnd, RunMove, Span, Target, Time};
use serde::Serialize;
use std::collections::BTreeMap;

/// Runs that are over and kept in memory; stuck ones stay until a person releases them.
const ENDED_MAX: usize = 100;

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepPhase {
    /// It has not begun.
    Waiting,
    /// It has begun.
    Open {
        /// When.
        at: Time,
    },
    /// It was not needed.
    Skipped,
    /// It ended well.
    Done,
    /// It failed.
    Failed {
        /// Why.
        why: String,
    },
}

impl StepPhase {
    /// The name used in `when` expressions, CLI and HTTP.
    pub fn name(&self) -> &'static str {
        match self {
            StepPhase::Waiting => "waiting",
            StepPhase::Open { .. } => "open",
            StepPhase::Skipped => "skipped",
            StepPhase::Done => "done",
            StepPhase::Failed { .. } => "failed",
        }
    }
}

/// One execution of a playbook.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Its own action.
    pub id: ActionId,
    /// The playbook as it stood when the run began.
    pub playbook: Playbook,
    /// All parameters.
    pub params: Args,
    /// Its target.
    pub target: Target,
    /// When it began.
    pub began_at: Time,
    /// How each step stands, by name.
    pub steps: BTreeMap<String, StepPhase>,
    /// The instances of every step that has begun.
    pub each: BTreeMap<String, Vec<String>>,
    /// Since when and why it is taken back.
    pub undoing: Option<(Time, String)>,
    /// By when all must be taken back.
    pub undo_by: Option<Time>,
    /// What became of taking each action back: whether it worked.
    pub taken_back: BTreeMap<ActionId, bool>,
    /// Why what was not taken back was not.
    pub left: BTreeMap<ActionId, String>,
    /// Its steps' actions, in the order in which they were wished.
    pub actions: Vec<ActionId>,
    /// How and when it ended.
    pub end: Option<(Time, RunEnd, String)>,
    /// A person has looked at it: it blocks nothing any more.
    pub released: bool,
}

impl Run {
    /// Its deadline.
    pub fn deadline(&self) -> Time {
        self.began_at + self.playbook.timeout
    }

    /// Whether it stopped half-way and waits for a person.
    pub fn is_stuck(&self) -> bool {
        !self.released && matches!(self.end, Some((_, RunEnd::Stuck, _)))
    }

    /// The instances of a step that has begun.
    pub fn instances(&self, step: &str) -> &[String] {
        self.each.get(step).map_or(&[], Vec::as_slice)
    }

    /// How one step stands.
    pub fn phase(&self, step: &Step) -> &StepPhase {
        self.steps.get(&step.id).unwrap_or(&StepPhase::Waiting)
    }

    /// How all steps stand, for expressions.
    pub fn standing(&self) -> BTreeMap<String, &'static str> {
        self.playbook.steps.iter().map(|step| (step.id.clone(), self.phase(step).name())).collect()
    }
}

/// What became of the order to take an action back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reverting {
    /// When it was sent last.
    pub sent_at: Time,
    /// How often, since the action itself has landed.
    pub tries: u32,
    /// It was sent while the action itself was under way: the action may have landed after it, so it is not the last word.
    pub is_early: bool,
    /// What the actuator said.
    pub outcome: Option<Outcome>,
}

impl Ledger {
    /// All runs in memory, oldest first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.values()
    }

    /// One run, by its own action.
    pub fn run(&self, id: ActionId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// Whether a run is still under way.
    pub fn is_live_run(&self, id: ActionId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.end.is_none())
    }

    /// Whether what a run's steps did is still needed: while it is under way, and while it is stuck.
    pub(super) fn needs_run(&self, id: ActionId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.end.is_none() || run.is_stuck())
    }

    /// The stuck run that blocks a target: its own, or one that one of its steps touched.
    pub fn stuck_on(&self, target: &Target) -> Option<&Run> {
        self.runs.values().filter(|run| run.is_stuck()).find(|run| {
            let touched = || run.actions.iter().filter_map(|id| self.actions.get(id));
            &run.target == target || touched().any(|state| state.action.is_some() && &state.proposal.target == target)
        })
    }

    /// What is under way on a target, notifications and the actions of one run aside.
    pub fn running_on_beside(&self, target: &Target, run: Option<ActionId>) -> Option<(ActionId, &homeostat_model::Verb)> {
        let own = |state: &ActionState| run.is_some() && (Some(state.id) == run || state.proposal.origin.run() == run);
        self.all_running()
            .filter(|state| !own(state))
            .filter_map(|state| state.action.as_ref())
            .find(|action| action.class > homeostat_model::Class::Notify && &action.target == target)
            .map(|action| (action.id, &action.verb))
    }

    pub(super) fn joined_run(&mut self, id: ActionId, proposal: &Proposal) {
        if let Some(run) = proposal.origin.run().and_then(|run| self.runs.get_mut(&run))
            && !run.actions.contains(&id)
        {
            run.actions.push(id);
        }
    }

    pub(super) fn run_moved(&mut self, at: Time, id: ActionId, moved: &RunMove) {
        if let RunMove::Began { playbook, params } = moved {
            let Some(state) = self.actions.get(&id) else { return };
            let run = Run {
                id,
                playbook: (**playbook).clone(),
                params: params.clone(),
                target: state.proposal.target.clone(),
                began_at: at,
                steps: BTreeMap::new(),
                each: BTreeMap::new(),
                undoing: None,
                undo_by: None,
                taken_back: BTreeMap::new(),
                left: BTreeMap::new(),
                actions: Vec::new(),
                end: None,
                released: false,
            };
            self.runs.insert(id, run);
            self.shed_runs();
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else {
            self.illegal_moves += 1;
            return;
        };
        match moved.clone() {
            RunMove::Began { .. } => {}
            RunMove::Opened { step, each } => {
                run.each.insert(step.clone(), each);
                run.steps.insert(step, StepPhase::Open { at });
            }
            RunMove::Skipped { step, .. } => drop(run.steps.insert(step, StepPhase::Skipped)),
            RunMove::Finished { step } => drop(run.steps.insert(step, StepPhase::Done)),
            RunMove::Failed { step, why } => drop(run.steps.insert(step, StepPhase::Failed { why })),
            RunMove::Undoing { why } => {
                run.undoing = Some((at, why));
                run.undo_by = Some(at + run.playbook.timeout);
            }
            RunMove::TakenBack { action, .. } => drop(run.taken_back.insert(action, true)),
            RunMove::NotTakenBack { action, why } => {
                run.taken_back.insert(action, false);
                run.left.insert(action, why);
            }
            RunMove::Ended { end, why } => run.end = Some((at, end, why)),
        }
    }

    pub(super) fn revert_sent(&mut self, at: Time, record: &Record) {
        if let Record::Revert { action, .. } = record
            && let Some(state) = self.actions.get_mut(action)
        {
            let tries = state.reverting.as_ref().filter(|reverting| !reverting.is_early).map_or(0, |reverting| reverting.tries) + 1;
            state.reverting = Some(Reverting { sent_at: at, tries, is_early: state.phase.is_running(), outcome: None });
            state.say(at, format!("told to take it back, attempt {tries}"));
        }
    }

    pub(super) fn reverted(&mut self, at: Time, id: ActionId, outcome: &Outcome) {
        let Some(state) = self.actions.get_mut(&id) else {
            self.illegal_moves += 1;
            return;
        };
        let Some(reverting) = state.reverting.as_mut() else {
            self.illegal_moves += 1;
            return;
        };
        reverting.outcome = Some(outcome.clone());
        let said = match outcome {
            Outcome::Done(receipt) => format!("taken back: {}", receipt.observed),
            Outcome::NotDone(fault) => format!("not taken back: {fault}"),
            Outcome::Unknown(fault) => format!("taken back or not: {fault}"),
        };
        state.say(at, said);
        // What is taken back settles as what was done does.
        let settle = state.proposal.settle.unwrap_or_default();
        if settle > Span::ZERO && !matches!(outcome, Outcome::NotDone(_)) {
            let (target, verb) = (state.proposal.target.clone(), state.proposal.verb.clone());
            self.settling.insert(target, (at + settle, verb));
        }
    }

    pub(super) fn release(&mut self, id: ActionId) {
        if let Some(run) = self.runs.get_mut(&id).filter(|run| run.is_stuck()) {
            run.released = true;
        }
    }

    /// Nothing could be taken back while hands were off: that time does not count.
    pub(super) fn hands_were_off(&mut self, since: Time, at: Time) {
        for run in self.runs.values_mut().filter(|run| run.end.is_none()) {
            if let (Some(by), Some((began, _))) = (run.undo_by.as_mut().filter(|by| **by > since), &run.undoing) {
                *by = *by + at.since(since.max(*began));
            }
        }
    }

    fn shed_runs(&mut self) {
        while self.runs.len() > ENDED_MAX {
            let Some(oldest) = self.runs.values().find(|run| run.end.is_some() && !run.is_stuck()).map(|run| run.id) else { return };
            self.runs.remove(&oldest);
        }
    }
}
