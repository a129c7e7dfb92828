//! Runs of playbooks: what is done next. Every move is a record first, so a run goes on after a crash where its journal ends.
//!
//! A step begins when all that it comes after have ended, is wished like any action (the guards rule on it), and has ended well when
//! its outcome is `Done` and its `verify` came true. The way back is in `undoing.rs`. An editor breaks this by turning back while
//! something is still in flight, or by taking `Unknown` for `NotDone`.

use super::undoing::REVERT_WAIT;
use super::{Kernel, Timer};
use crate::ledger::{ActionState, Phase, Run, StepPhase};
use crate::playbook::{compile, params_of, undo_of};
use homeostat_model::playbook::{APPROVE, OnFailure, PLAYBOOK, Step, Undo, WAIT};
use homeostat_model::{
    ActionId, Closing, Event, Fault, FaultCode, NoticeKind, Origin, Outcome, Proposal, Receipt, Record, RunEnd, RunMove, Span, Time,
};

/// Moves of one run at one moment; more wait for the next event.
const MOVES_MAX: usize = 512;
/// A run with nothing to wait for is looked at again after this long, in case something was missed.
const LOOK_AGAIN: Span = Span::from_mins(1);
/// What a guard holds is asked again after this long, whatever the guard said.
const HELD_AGAIN: Span = Span::from_secs(10);

/// How one instance of a step stands.
enum Standing {
    /// It is to be wished now.
    Due,
    /// It is under way, or waits for something that will be heard of.
    Busy,
    /// It is to be looked at again then.
    Until(Time),
    /// It ended well.
    Well,
    /// It failed.
    Bad(String),
}

impl Kernel {
    /// Whether an action is the kernel's own business: a run, a question of one, or a wait.
    pub(super) fn is_own(&self, id: ActionId) -> bool {
        self.ledger.action(id).is_some_and(|state| state.proposal.verb.actuator() == PLAYBOOK)
    }

    /// Something has changed for a run.
    pub(super) fn stir(&mut self, run: ActionId) {
        self.stirred.insert(run);
    }

    /// Something has changed for the run that an action is a step of.
    pub(super) fn stir_run_of(&mut self, id: ActionId) {
        if let Some(run) = self.ledger.action(id).and_then(|state| state.proposal.origin.run()) {
            self.stir(run);
        }
    }

    /// Every live run is to be looked at.
    pub(super) fn stir_all(&mut self) {
        let live: Vec<ActionId> = self.ledger.runs().filter(|run| run.end.is_none()).map(|run| run.id).collect();
        self.stirred.extend(live);
    }

    /// An own action was admitted: a run begins, a question is answered, a wait begins.
    pub(super) fn begin_own(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let verb = state.proposal.verb.clone();
        if verb.as_str() == APPROVE || verb.as_str() == WAIT {
            let observed = if verb.as_str() == APPROVE { "a person said yes" } else { "waiting" };
            self.settle_own(id, Outcome::Done(Receipt { observed: observed.into(), ..Receipt::default() }));
            return;
        }
        let args = state.proposal.args.clone();
        let Some(playbook) = self.playbooks.get(&verb).map(|checked| checked.playbook.clone()) else { return };
        let params = params_of(&playbook, &args);
        self.expressions.insert(id, compile(&playbook, &self.host));
        self.moved(id, RunMove::Began { playbook: Box::new(playbook), params });
    }

    /// After a start: what is the kernel's own is taken up where the journal ends.
    pub(super) fn take_up(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let verb = state.proposal.verb.clone();
        match self.ledger.run(id) {
            Some(run) => {
                let run = run.clone();
                let playbook = run.playbook.clone();
                self.expressions.insert(id, compile(&playbook, &self.host));
                // Cut between its end and what follows from it.
                if run.end.is_some() {
                    self.tell_of_end(id);
                }
                self.stir(id);
            }
            None if matches!(verb.as_str(), APPROVE | WAIT) => self.begin_own(id),
            // It stopped between the sending and the first move, and the playbook is not loaded yet: nothing was done.
            None => {
                let fault = Fault::new(FaultCode::NeverStarted, format!("run {verb}"), "the engine stopped before its first step");
                self.settle_own(id, Outcome::NotDone(fault));
            }
        }
    }

    fn settle_own(&mut self, id: ActionId, outcome: Outcome) {
        self.stats.settled(&outcome);
        let done = matches!(outcome, Outcome::Done(_));
        self.record(Record::Settled { action: id, outcome });
        if !done {
            self.unwatch_claim(id);
        }
        self.judge_delivery(id, done);
        self.stir_run_of(id);
    }

    pub(super) fn moved(&mut self, run: ActionId, step: RunMove) {
        self.record(Record::Run { run, step });
        self.stir(run);
    }

    /// An actuator answered after it was told to take an action back.
    pub(super) fn reverted(&mut self, id: ActionId, outcome: Outcome) {
        self.ledger.apply_event(self.now, &Event::Reverted(id, outcome));
        self.stir_run_of(id);
    }

    /// Moves every stirred run as far as it goes now.
    pub(super) fn advance_runs(&mut self) {
        // Before the rules are loaded after a start, no verb is known: steps would be refused for that alone.
        if self.arbiter.verb(&APPROVE.into()).is_none() {
            return;
        }
        let mut moves = 0;
        while let Some(id) = self.stirred.pop_first() {
            while moves < MOVES_MAX && self.move_run(id) {
                moves += 1;
            }
            self.stirred.remove(&id);
            self.wake_run(id);
        }
    }

    /// Sets the one moment at which a run is looked at again at the latest.
    fn wake_run(&mut self, id: ActionId) {
        if let Some(at) = self.run_wakes.remove(&id) {
            self.timers.remove(&(at, Timer::Run(id)));
        }
        let Some(run) = self.ledger.run(id).filter(|run| run.end.is_none()) else {
            self.expressions.remove(&id);
            return;
        };
        let waits = run.playbook.steps.iter().flat_map(|step| self.waits(run, step));
        let at = waits.chain([run.deadline(), self.now + LOOK_AGAIN]).chain(run.undo_by).filter(|at| *at > self.now).min();
        if let Some(at) = at {
            self.timers.insert((at, Timer::Run(id)));
            self.run_wakes.insert(id, at);
        }
    }

    fn waits(&self, run: &Run, step: &Step) -> Vec<Time> {
        let held = |state: &ActionState| matches!(state.phase, Phase::Deferred { .. });
        let mut waits = Vec::new();
        if matches!(run.phase(step), StepPhase::Open { .. }) {
            for instance in 0..run.instances(&step.id).len() {
                if let Standing::Until(at) = self.standing(run, step, instance) {
                    waits.push(at);
                }
                waits.extend(self.newest(run, step, instance, false).filter(|state| held(state)).map(|_| self.now + HELD_AGAIN));
            }
        }
        if run.undoing.is_some() {
            waits.push(self.now + REVERT_WAIT);
        }
        waits
    }

    /// One move of a run; whether anything was done.
    fn move_run(&mut self, id: ActionId) -> bool {
        let Some(run) = self.ledger.run(id).filter(|run| run.end.is_none()).cloned() else { return false };
        // Hands off: nothing is sent, forward or back, until a person resumes.
        if self.ledger.hands_off().is_some() {
            return false;
        }
        if run.undoing.is_some() { self.move_back(&run) } else { self.move_forward(&run) }
    }

    fn move_forward(&mut self, run: &Run) -> bool {
        if let Some(turn) = self.turning_point(run) {
            // Nobody is asked any more, and what is in flight must land before anything is decided.
            self.close_waiting(run, "the run goes no further");
            if self.in_flight(run) {
                return false;
            }
            self.moved(run.id, turn);
            self.tell_of_end(run.id);
            return true;
        }
        for step in &run.playbook.steps {
            let moved = match run.phase(step) {
                StepPhase::Waiting if self.may_begin(run, step) => self.open_step(run, step),
                StepPhase::Open { .. } => self.work_on(run, step, run.instances(&step.id)),
                _ => false,
            };
            if moved {
                return true;
            }
        }
        let over = run.playbook.steps.iter().all(|step| !matches!(run.phase(step), StepPhase::Waiting | StepPhase::Open { .. }))
            && !self.in_flight(run);
        if over {
            let failed = run.playbook.steps.iter().filter(|step| matches!(run.phase(step), StepPhase::Failed { .. })).count();
            let steps = run.playbook.steps.len();
            let why = if failed == 0 { format!("all {steps} steps") } else { format!("{steps} steps, {failed} of them failed") };
            self.close_waiting(run, "the run is over");
            self.moved(run.id, RunMove::Ended { end: RunEnd::Finished, why });
            self.tell_of_end(run.id);
        }
        over
    }

    /// Whether a run goes no further.
    pub(super) fn is_doomed(&self, run: ActionId) -> bool {
        self.ledger.run(run).is_none_or(|run| run.end.is_some() || (run.undoing.is_none() && self.turning_point(run).is_some()))
    }

    /// What ends the way forward: a step whose failure ends the run, or the deadline.
    fn turning_point(&self, run: &Run) -> Option<RunMove> {
        let failed = run.playbook.steps.iter().find_map(|step| match (run.phase(step), step.on_failure) {
            (StepPhase::Failed { .. }, OnFailure::Continue) => None,
            (StepPhase::Failed { why }, how) => Some((format!("step {} failed: {why}", step.id), how)),
            _ => None,
        });
        // What was told to stop while it ran must be seen to be taken back, whatever its author says of failures.
        let stopped = self.actions_of(run).find(|state| state.reverting.is_some()).and_then(|state| match &state.proposal.origin {
            Origin::Playbook { step, .. } => run.steps.get(step).map(|phase| (step.clone(), phase.clone())),
            _ => None,
        });
        if let Some((step, StepPhase::Failed { why })) = stopped {
            return Some(RunMove::Undoing { why: format!("step {step} failed: {why}") });
        }
        match failed {
            Some((why, OnFailure::Stop)) => Some(RunMove::Ended { end: RunEnd::Stopped, why }),
            Some((why, _)) => Some(RunMove::Undoing { why }),
            None if self.now >= run.deadline() => {
                Some(RunMove::Undoing { why: format!("it was not finished within {}", run.playbook.timeout) })
            }
            None => None,
        }
    }

    pub(super) fn actions_of<'a>(&'a self, run: &'a Run) -> impl DoubleEndedIterator<Item = &'a ActionState> {
        run.actions.iter().filter_map(|id| self.ledger.action(*id))
    }

    pub(super) fn in_flight(&self, run: &Run) -> bool {
        self.actions_of(run).any(|state| state.phase.is_running() && state.proposal.verb.as_str() != WAIT)
    }

    /// Closes the run's wishes that were not sent.
    pub(super) fn close_waiting(&mut self, run: &Run, why: &str) {
        let waiting: Vec<Proposal> = self.actions_of(run).filter(|s| s.phase.is_open()).map(|s| s.proposal.clone()).collect();
        for proposal in &waiting {
            self.close_open(crate::ledger::symptom_of(proposal), &Default::default(), why);
        }
    }

    fn may_begin(&self, run: &Run, step: &Step) -> bool {
        let over = |id: &String| !matches!(run.steps.get(id), None | Some(StepPhase::Waiting | StepPhase::Open { .. }));
        step.after.iter().all(over)
    }

    fn open_step(&mut self, run: &Run, step: &Step) -> bool {
        let id = step.id.clone();
        let moved =
            match self.is_needed(run, step).and_then(|needed| Ok((needed, if needed { self.instances(run, step)? } else { Vec::new() }))) {
                Err(why) => RunMove::Failed { step: id, why },
                Ok((false, _)) => RunMove::Skipped { step: id, why: format!("not so: {}", step.when.as_deref().unwrap_or_default()) },
                Ok((true, each)) if each.is_empty() => RunMove::Skipped { step: id, why: "`each` names nothing".into() },
                Ok((true, each)) => RunMove::Opened { step: id, each },
            };
        self.moved(run.id, moved);
        true
    }

    fn work_on(&mut self, run: &Run, step: &Step, each: &[String]) -> bool {
        let standings: Vec<Standing> = (0..each.len()).map(|instance| self.standing(run, step, instance)).collect();
        let bad = standings.iter().position(|standing| matches!(standing, Standing::Bad(_)));
        let busy = standings.iter().filter(|standing| matches!(standing, Standing::Busy)).count();
        if let Some(first) = bad {
            // No further instance is begun; those under way land first.
            if busy > 0 {
                return false;
            }
            let Standing::Bad(why) = &standings[first] else { return false };
            let why = if each.len() > 1 { format!("{}: {why}", each[first]) } else { why.clone() };
            self.moved(run.id, RunMove::Failed { step: step.id.clone(), why });
            return true;
        }
        if busy < step.concurrent_max as usize {
            // One that a guard still holds does not keep the others from their turn.
            let due = standings.iter().enumerate().filter(|(_, standing)| matches!(standing, Standing::Due)).map(|(instance, _)| instance);
            if due.collect::<Vec<_>>().into_iter().any(|instance| self.begin_instance(run, step, instance, &each[instance])) {
                return true;
            }
        }
        if standings.iter().all(|standing| matches!(standing, Standing::Well)) {
            self.moved(run.id, RunMove::Finished { step: step.id.clone() });
            return true;
        }
        false
    }

    fn begin_instance(&mut self, run: &Run, step: &Step, instance: usize, each: &str) -> bool {
        let wish = match self.unsteady(run, step, each) {
            Some(why) => Err(why),
            None => self.step_proposal(run, step, instance, each),
        };
        match wish {
            Ok(proposal) => {
                let before = self.newest(run, step, instance, false).map(|state| (state.id, state.phase));
                self.wish(proposal);
                // What is deferred again stands as it stood: nothing was done.
                let run = self.ledger.run(run.id).cloned();
                run.and_then(|run| self.newest(&run, step, instance, false).map(|state| (state.id, state.phase))) != before
            }
            Err(why) => {
                self.moved(run.id, RunMove::Failed { step: step.id.clone(), why });
                true
            }
        }
    }

    pub(super) fn newest(&self, run: &Run, step: &Step, instance: usize, back: bool) -> Option<&ActionState> {
        let of_run = run.actions.iter().rev().filter_map(|id| self.ledger.action(*id));
        of_run.into_iter().find(|state| is_part(&state.proposal.origin, &step.id, instance, back))
    }

    fn attempts(&self, run: &Run, step: &Step, instance: usize) -> usize {
        self.actions_of(run).filter(|state| state.action.is_some() && is_part(&state.proposal.origin, &step.id, instance, false)).count()
    }

    fn standing(&self, run: &Run, step: &Step, instance: usize) -> Standing {
        let Some(state) = self.newest(run, step, instance, false) else { return Standing::Due };
        let opened = if let StepPhase::Open { at } = run.phase(step) { *at } else { run.began_at };
        let ends = step.timeout.map(|timeout| opened + timeout);
        let late = ends.is_some_and(|ends| self.now >= ends);
        let words =
            || state.ruling.decided_by().map_or_else(|| "not admitted".to_owned(), |reason| format!("{}: {}", reason.guard, reason.text));
        match state.phase {
            Phase::Denied | Phase::Shadowed => Standing::Bad(words()),
            Phase::Deferred { .. } if late => Standing::Bad(format!("held too long: {}", words())),
            Phase::Deferred { until } if until > self.now => Standing::Until(ends.map_or(until, |ends| until.min(ends))),
            Phase::Deferred { .. } => Standing::Due,
            Phase::Awaiting { .. } | Phase::Admitted | Phase::InFlight | Phase::Probing => Standing::Busy,
            Phase::Done if state.reverting.is_some() => Standing::Bad("it was taken back while it ran".into()),
            Phase::Done => match (&state.proposal.claim, &state.judgement) {
                (None, _) => Standing::Well,
                (Some(_), None) => Standing::Busy,
                (Some(_), Some(judgement)) if judgement.held == Some(true) => Standing::Well,
                (Some(claim), Some(judgement)) => Standing::Bad(format!("not verified: {claim}: {}", judgement.text)),
            },
            Phase::NotDone { .. } if (self.attempts(run, step, instance) as u32) < step.retry.attempts && !late => {
                let again = state.moved_at + step.retry.wait;
                if again > self.now { Standing::Until(again) } else { Standing::Due }
            }
            Phase::NotDone { .. } => Standing::Bad(said(state)),
            // The engine stopped between the ruling and the sending: nothing was done.
            Phase::Closed { closing: Closing::Gone } => Standing::Due,
            Phase::Closed { closing: Closing::Refused | Closing::Never } => Standing::Bad("a person said no".into()),
            Phase::Closed { closing: Closing::Expired } => Standing::Bad("nobody answered in time".into()),
            Phase::Closed { closing: Closing::Unresolved } => Standing::Bad(format!("nobody can tell what became of it: {}", said(state))),
        }
    }

    /// Fresh samples: where a step's steady state has broken, it is taken back at once.
    pub(super) fn watch_steady(&mut self) {
        let mut broken = Vec::new();
        for run in self.ledger.runs().filter(|run| run.end.is_none() && run.playbook.steps.iter().any(|step| !step.steady.is_empty())) {
            for state in self.actions_of(run).filter(|state| state.phase.is_running() && state.reverting.is_none()) {
                let Origin::Playbook { step, instance, undo: false, .. } = &state.proposal.origin else { continue };
                let Some(step) = run.playbook.step(step) else { continue };
                // What has failed already is on its way.
                if !matches!(run.phase(step), StepPhase::Open { .. }) {
                    continue;
                }
                let text = run.instances(&step.id).get(*instance as usize).map_or("", String::as_str);
                if let Some(why) = self.unsteady(run, step, text) {
                    broken.push((run.id, step.id.clone(), state.id, why));
                }
            }
        }
        if self.ledger.hands_off().is_some() {
            return;
        }
        for (run, step, action, why) in broken {
            let Some(state) = self.ledger.action(action).cloned() else { continue };
            // Only the actuator itself can take back what still runs; any other undo waits until it has landed.
            let spec = self.arbiter.verb(&state.proposal.verb);
            let stops =
                self.ledger.run(run).and_then(|run| run.playbook.step(&step)).is_some_and(|step| undo_of(step, spec) == Undo::Revert);
            if stops && spec.is_some_and(|spec| spec.revertible) {
                self.send_back(&state);
            }
            self.moved(run, RunMove::Failed { step, why });
        }
    }

    /// A run that has ended settles its own action, and people hear of it where it did not end well.
    pub(super) fn tell_of_end(&mut self, id: ActionId) {
        let Some((_, end, why)) = self.ledger.run(id).and_then(|run| run.end.clone()) else { return };
        let title =
            self.ledger.action(id).map_or_else(|| id.to_string(), |s| format!("{id}: {} on {}", s.proposal.verb, s.proposal.target));
        let doing = format!("run {title}");
        match end {
            RunEnd::Finished => self.settle_own(id, Outcome::Done(Receipt { observed: why, ..Receipt::default() })),
            RunEnd::Undone | RunEnd::Stopped => {
                let fault = Fault::new(FaultCode::Failed, doing, format!("{}: {why}", end.name()));
                self.settle_own(id, Outcome::NotDone(fault));
                self.announce(NoticeKind::Trouble, Some(id), format!("{title}: {}", end.name()), why);
            }
            RunEnd::Stuck => {
                self.unwatch_claim(id);
                self.record(Record::Closed { action: id, closing: Closing::Unresolved, why: format!("stuck: {why}") });
                let text =
                    format!("{why}\nWhat was done could not all be taken back. Its targets are blocked until: homeostat release {id}");
                self.announce(NoticeKind::Trouble, Some(id), format!("{title} is STUCK"), text);
            }
        }
    }
}

pub(super) fn is_part(origin: &Origin, id: &str, number: usize, back: bool) -> bool {
    matches!(origin, Origin::Playbook { step, instance, undo, .. } if step == id && *instance as usize == number && *undo == back)
}

pub(super) fn said(state: &ActionState) -> String {
    match &state.outcome {
        Some(Outcome::Done(receipt)) => receipt.observed.clone(),
        Some(Outcome::NotDone(fault) | Outcome::Unknown(fault)) => fault.to_string(),
        None => "no answer".into(),
    }
}
