//! Drills: a fault is made on purpose, and the policy that claims to mend it must see it, act, and be right.
//!
//! The fault is a wish like any other: every guard is asked, and unless a person ordered the drill its autonomy is that of the policy.
//! Deliberately absent: undoing the fault; experiments end by themselves. An editor breaks this by counting a drill as passed on the
//! actuator's word: only a claim that came true passes.

use super::{Kernel, Timer};
use crate::arbiter::Consent;
use crate::ledger::{ActionState, Phase, symptom_of};
use homeostat_model::{ActionId, Autonomy, ClaimSubject, DrillEnd, NoticeKind, Origin, PolicyId, Proposal, Record, Span, Time, Verdict};

/// A drill that was held by a guard is wished again after this long.
const HELD_AGAIN: Span = Span::from_hours(24);
/// How long a drill may take whose policy no longer says.
const DRILL_WITHIN: Span = Span::from_mins(10);

impl Kernel {
    /// Makes the fault of a policy's drill, if the guards let it pass. `by` is the person who ordered it, if one did.
    pub(super) fn drill(&mut self, policy: &PolicyId, by: Option<&str>) -> Result<(), String> {
        let found = self.policies.get(policy).ok_or_else(|| {
            let names = self.policies.keys().map(PolicyId::as_str);
            let near = crate::policy::did_you_mean(policy.as_str(), names).map(|help| format!(" ({help})")).unwrap_or_default();
            format!("there is no policy `{policy}`{near}")
        })?;
        let Some(drill) = found.drill.clone() else {
            return Err(format!("the policy `{policy}` has no `drill` in its `policy()`"));
        };
        if let Some(running) = self.ledger.trust().drill(policy).and_then(|drill| drill.fault) {
            return Err(format!("a drill of `{policy}` is under way ({running})"));
        }
        let proposal = Proposal {
            origin: Origin::Drill(policy.clone()),
            symptom: format!("drill/{policy}"),
            verb: drill.fault,
            target: drill.target,
            args: drill.args,
            because: by.map_or_else(|| format!("drill of {policy}, due by its rhythm"), |by| format!("drill of {policy}, ordered by {by}")),
            evidence: Vec::new(),
            claim: None,
            cooldown: Span::ZERO,
            settle: Some(Span::ZERO),
            // Without a person's word it is asked for until the policy has passed a drill: nobody else would be there for the answer.
            autonomy: if by.is_none() && self.owes_drill(policy) { found.autonomy.min(Autonomy::Suggest) } else { found.autonomy },
            alternatives: Vec::new(),
        };
        let symptom = symptom_of(&proposal);
        self.wish_with(proposal, by.map(|by| Consent::Approved { by: by.to_owned() }));
        // Nobody renews it: what cannot be done now is tried again when it is next due, or ordered again.
        let held = self.open.get(&symptom).and_then(|open| open.last()).and_then(|id| self.ledger.action(*id)).and_then(|state| {
            let why = state.ruling.decided_by().map_or_else(String::new, |reason| format!("{}: {}", reason.guard, reason.text));
            (!matches!(state.ruling.verdict, Verdict::AwaitingApproval { .. })).then_some(why)
        });
        self.close_held(symptom, "the drill cannot be held now");
        match held {
            Some(why) => Err(format!("the drill of `{policy}` cannot be held now: {why}")),
            None => Ok(()),
        }
    }

    /// After an action was sent: a drill's fault starts its time.
    pub(super) fn drill_sent(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let Origin::Drill(policy) = &state.proposal.origin else { return };
        let within = self.policies.get(policy).and_then(|policy| policy.drill.as_ref()).map_or(DRILL_WITHIN, |drill| drill.within);
        self.timers.insert((self.now + within, Timer::Drill(id)));
    }

    /// After a start: drills that were under way.
    pub(super) fn drills_again(&mut self) {
        let running: Vec<ActionId> = self.ledger.trust().drills().filter_map(|(_, drill)| drill.fault).collect();
        let soon = self.now + Span::from_mins(1);
        self.timers.extend(running.into_iter().map(|fault| (soon, Timer::Drill(fault))));
    }

    /// A claim has come true: perhaps it was the answer to a drill.
    pub(super) fn drill_answered(&mut self, id: ActionId) {
        let Some(policy) = self.ledger.action(id).and_then(|state| state.proposal.origin.policy()).cloned() else { return };
        if let Some(fault) = self.ledger.trust().drill(&policy).and_then(|drill| drill.fault) {
            self.end_drill(&policy, fault, false);
        }
    }

    /// A drill's time is over.
    pub(super) fn drill_due(&mut self, fault: ActionId) {
        let Some(state) = self.ledger.action(fault) else { return };
        let Origin::Drill(policy) = state.proposal.origin.clone() else { return };
        // After a start the rules come later, and what is left of its time is still its own.
        let within = self.policies.get(&policy).and_then(|policy| policy.drill.as_ref()).map_or(DRILL_WITHIN, |drill| drill.within);
        let ends = state.sent_at.map_or(self.now, |at| at + within);
        if !self.has_rules() || ends > self.now {
            self.timers.insert((ends.max(self.now + Span::from_mins(1)), Timer::Drill(fault)));
            return;
        }
        if self.ledger.trust().drill(&policy).and_then(|drill| drill.fault) == Some(fault) {
            self.end_drill(&policy, fault, true);
        }
    }

    /// Ends a drill if it is decided, or if its time is over.
    fn end_drill(&mut self, policy: &PolicyId, fault: ActionId, is_over: bool) {
        let Some(made) = self.ledger.action(fault) else { return };
        let (began, target, phase) = (made.sent_at.unwrap_or(made.ruled_at), made.proposal.target.clone(), made.phase);
        let answers: Vec<&ActionState> =
            self.ledger.actions().filter(|state| state.proposal.origin.policy() == Some(policy) && state.moved_at >= began).collect();
        // A message that was delivered mends nothing, and another target's trouble is another matter.
        let held = |state: &&&ActionState| {
            let claim = state.proposal.claim.as_ref().map(|claim| &claim.subject);
            let by_the_world = claim.is_some_and(|subject| *subject != ClaimSubject::Delivered);
            by_the_world && state.judgement.as_ref().and_then(|judgement| judgement.held) == Some(true)
        };
        let of_fault = |state: &&&ActionState| state.symptom_since.is_some_and(|since| since >= began);
        let right = answers.iter().find(|state| sent_after(state, began) && of_fault(state) && held(state));
        let (passed, answer, text) = match right {
            Some(state) => {
                let took = state.moved_at.since(began);
                (Some(true), Some(state.id), format!("seen, answered by {}, and its claim came true, {took} after the fault", state.id))
            }
            None if !is_over => return,
            None if matches!(phase, Phase::NotDone { .. }) => (None, None, format!("the fault could not be made: {}", phase.name())),
            None => {
                let (answer, text) = failing(&answers, began);
                (Some(false), answer, text)
            }
        };
        let end = DrillEnd { policy: policy.clone(), fault, answer, target, began, passed, text: text.clone() };
        let steps = self.steps_by_drill(policy, passed);
        self.record(Record::Drilled(Box::new(end)));
        steps.into_iter().for_each(|step| self.take_step(Some(step)));
        if passed != Some(true) {
            let word = if passed.is_some() { "failed" } else { "could not be held" };
            self.announce(NoticeKind::Trouble, Some(fault), format!("the drill of {policy} {word}"), text);
        }
    }

    /// Holds the drills that are due by their rhythm, one at a time, and never while something is wrong or under way.
    pub(super) fn hold_due_drills(&mut self) {
        let busy = self.ledger.hands_off().is_some()
            || self.ledger.all_running().next().is_some()
            || self.ledger.trust().drills().any(|(_, drill)| drill.fault.is_some())
            || !self.open.is_empty();
        if busy {
            return;
        }
        let due = self.policies.values().find(|policy| {
            let Some(drill) = &policy.drill else { return false };
            let state = self.ledger.trust().drill(&policy.id);
            let last = state.and_then(|state| state.tried_at);
            // It is held again before the last pass has run out: at nine tenths of its time, so that a missed day costs nothing.
            let held = state.and_then(|state| state.held_at).is_some_and(|at| self.now.since(at) < HELD_AGAIN);
            !held && last.is_none_or(|last| self.now.since(last) >= drill.every.times(0.9))
        });
        if let Some(policy) = due.map(|policy| policy.id.clone()) {
            drop(self.drill(&policy, None));
        }
    }
}

fn sent_after(state: &ActionState, began: Time) -> bool {
    state.sent_at.is_some_and(|at| at >= began)
}

/// Why a drill failed: the furthest that the policy came.
fn failing(answers: &[&ActionState], began: Time) -> (Option<ActionId>, String) {
    if let Some(state) = answers.iter().find(|state| sent_after(state, began)) {
        let said = state.judgement.as_ref().map_or("its claim was not judged in time", |judgement| judgement.text.as_str());
        return (Some(state.id), format!("it acted ({}), but: {said}", state.id));
    }
    if let Some(state) = answers.first() {
        let why = state.ruling.decided_by().map_or_else(String::new, |reason| format!(" by {}: {}", reason.guard, reason.text));
        return (Some(state.id), format!("it wished to act ({}), and was held{why}", state.id));
    }
    (None, "it did not see the fault: nothing was wished".into())
}
