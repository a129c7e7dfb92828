//! What actuators answer, and what is done when they do not.
//!
//! After a start, everything that was under way is probed, never sent again blindly. It is sent again only where the actuator
//! knows that nothing was ever started, the lease still holds, and every guard lets it pass.

use super::{Kernel, Timer};
use crate::effect::Effect;
use crate::ledger::{ATTEMPTS_MAX, Phase, spending_of};
use homeostat_model::{ActionId, Class, Closing, Event, FaultCode, NoticeKind, Outcome, Record, Span, Time};

/// Waits before each probe of an action whose fate is unknown. After the last one it is left as unresolved.
const PROBE_WAITS: [Span; 5] = [Span::from_secs(10), Span::from_secs(30), Span::from_secs(90), Span::from_mins(5), Span::from_mins(15)];

impl Kernel {
    /// After `Started`: probe what was under way, close what was let through and not sent, wait on for answers and claims.
    pub(super) fn started(&mut self) {
        let states: Vec<(ActionId, Phase, Option<Time>, bool)> =
            self.ledger.actions().map(|s| (s.id, s.phase, s.claim_due(), s.judgement.is_some())).collect();
        for (id, phase, claim_due, judged) in states {
            match phase {
                Phase::InFlight | Phase::Probing if self.is_own(id) => self.take_up(id),
                Phase::InFlight | Phase::Probing => self.probe(id),
                Phase::Admitted => {
                    self.record(Record::Closed { action: id, closing: Closing::Gone, why: "the engine stopped before it was sent".into() })
                }
                Phase::Awaiting { by } => {
                    self.timers.insert((by, Timer::Answer(id)));
                    self.reopen(id);
                    // The engine may have stopped before anybody was told.
                    self.ask(id, by);
                }
                Phase::Shadowed | Phase::Denied | Phase::Deferred { .. } => self.reopen(id),
                Phase::Done | Phase::NotDone { .. } | Phase::Closed { .. } => {}
            }
            if let Some(due) = claim_due
                && judged
                && self.ledger.action(id).is_some_and(crate::ledger::ActionState::awaits_score)
            {
                self.score_at(id, due);
            }
            if claim_due.is_some() && !judged && matches!(phase, Phase::InFlight | Phase::Probing | Phase::Done) {
                self.watch_claim(id);
            }
        }
        self.drills_again();
        self.questions_again();
    }

    fn reopen(&mut self, id: ActionId) {
        if let Some(state) = self.ledger.action(id) {
            self.open.entry(crate::ledger::symptom_of(&state.proposal)).or_default().push(id);
        }
    }

    fn probe(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let Some(action) = state.action.clone().filter(|_| state.phase.is_running()) else { return };
        let answer_by = self.now + action.timeout + Span::from_secs(30);
        let effect = Effect::Probe(action);
        self.ledger.apply_record(self.now, &effect.record());
        self.effects.push_back(effect);
        self.probe_at(id, answer_by);
    }

    /// Sets the one moment at which an action is next asked after; an earlier appointment is void.
    pub(super) fn probe_at(&mut self, id: ActionId, at: Time) {
        self.forget_probe(id);
        self.timers.insert((at, Timer::Probe(id)));
        self.probes.insert(id, at);
    }

    /// The action is not to be asked after: it has answered.
    fn forget_probe(&mut self, id: ActionId) {
        if let Some(at) = self.probes.remove(&id) {
            self.timers.remove(&(at, Timer::Probe(id)));
        }
    }

    /// A probe's time has come, or an answer has not come in time.
    pub(super) fn probe_due(&mut self, id: ActionId) {
        self.probes.remove(&id);
        let Some(state) = self.ledger.action(id) else { return };
        if !state.phase.is_running() {
            return;
        }
        if state.probes as usize >= PROBE_WAITS.len() {
            self.unresolved(id);
        } else {
            self.probe(id);
        }
    }

    fn unresolved(&mut self, id: ActionId) {
        let said = self.ledger.action(id).and_then(|state| state.outcome.as_ref()).map_or_else(
            || "no answer".to_owned(),
            |o| match o {
                Outcome::Unknown(fault) | Outcome::NotDone(fault) => fault.to_string(),
                Outcome::Done(receipt) => receipt.observed.clone(),
            },
        );
        self.stir_run_of(id);
        self.book(id);
        self.record(Record::Closed { action: id, closing: Closing::Unresolved, why: format!("nobody can tell what became of it: {said}") });
        let title = self.title(id);
        self.announce(
            NoticeKind::Trouble,
            Some(id),
            format!("{title}: outcome unknown"),
            format!("{said}\nIt is not sent again. Please look."),
        );
    }

    /// Writes down what an action cost, once: a late answer is not paid for again.
    fn book(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id).filter(|state| !state.booked) else { return };
        let (verb, class) = (&state.proposal.verb, state.action.as_ref().map_or(Class::Notify, |action| action.class));
        if class == Class::Notify || verb.actuator() == homeostat_model::playbook::PLAYBOOK {
            return;
        }
        let spending = spending_of(self.arbiter.specs(), verb, &self.arbiter.settings.tariff, self.now);
        let policy = self.ledger.payer(state);
        self.record(Record::Spent { action: id, policy, spending: Box::new(spending) });
    }

    fn title(&self, id: ActionId) -> String {
        self.ledger.action(id).map_or_else(|| id.to_string(), |s| format!("{id}: {} on {}", s.proposal.verb, s.proposal.target))
    }

    /// Takes in an actuator's answer.
    pub(super) fn settled(&mut self, id: ActionId, outcome: Outcome) {
        self.ledger.apply_event(self.now, &Event::Settled(id, outcome.clone()));
        let Some(state) = self.ledger.action(id) else { return };
        let (phase, probes, attempts) = (state.phase, state.probes, state.attempts);
        let (class, lease) = state.action.as_ref().map_or((Class::Irreversible, None), |a| (a.class, Some(a.lease)));
        self.stats.settled(&outcome);
        if !phase.is_running() {
            self.forget_probe(id);
        }
        // What surely never started costs nothing.
        if matches!(phase, Phase::Done | Phase::NotDone { never_started: false }) {
            self.book(id);
        }
        self.stir_run_of(id);
        match (&outcome, phase) {
            (Outcome::Done(_), Phase::Done) => self.judge_delivery(id, true),
            (Outcome::NotDone(fault), Phase::NotDone { .. }) => {
                let in_time = lease.is_some_and(|lease| self.now <= lease.expires);
                if fault.code == FaultCode::NeverStarted && in_time && attempts < ATTEMPTS_MAX && self.act_again(id) {
                    return;
                }
                self.unwatch_claim(id);
                self.judge_delivery(id, false);
                // A run tells its own story.
                let of_run = self.ledger.action(id).is_some_and(|state| state.proposal.origin.run().is_some());
                if class > Class::Notify && !of_run {
                    let title = self.title(id);
                    self.announce(NoticeKind::Trouble, Some(id), format!("{title}: not done"), fault.to_string());
                }
            }
            (Outcome::Unknown(_), Phase::Probing) => match PROBE_WAITS.get(probes as usize) {
                Some(wait) => self.probe_at(id, self.now + *wait),
                None => self.unresolved(id),
            },
            _ => {}
        }
    }
}
