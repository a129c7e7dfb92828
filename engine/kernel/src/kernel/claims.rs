//! Claims: judged as soon as they come true, or when they are due. The world is asked, not the actuator.

use super::{Kernel, Timer};
use crate::units::Watcher;
use homeostat_model::{
    ActionId, Claim, ClaimSubject, Evidence, Judgement, NoticeKind, ReadingValue, Record, Relation, SeriesKey, Span, Time,
};

/// What a look at a claim's series says.
struct Look {
    true_now: bool,
    known: bool,
    evidence: Evidence,
}

impl Kernel {
    /// Waits for an action's claim.
    pub(super) fn watch_claim(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let (Some(due), Some(claim)) = (state.claim_due(), state.proposal.claim.clone()) else { return };
        self.timers.insert((due, Timer::Claim(id)));
        if claim.subject != ClaimSubject::Delivered {
            self.score_at(id, due);
        }
        if let ClaimSubject::Series { series, .. } = &claim.subject
            && let Some(found) = self.host.with_store(|store| store.find(series))
        {
            self.host.with_store(|store| store.protect(found));
            self.units.watch(found, Watcher::Claim(id));
        }
    }

    pub(super) fn unwatch_claim(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        if let Some(due) = state.claim_due() {
            self.timers.remove(&(due, Timer::Claim(id)));
        }
        if let Some(Claim { subject: ClaimSubject::Series { series, .. }, .. }) = &state.proposal.claim
            && let Some(found) = self.host.with_store(|store| store.find(series))
        {
            self.units.unwatch(found, Watcher::Claim(id));
        }
    }

    fn judge(&mut self, id: ActionId, held: Option<bool>, evidence: Vec<Evidence>, text: String) {
        self.unwatch_claim(id);
        let Some(state) = self.ledger.action(id) else { return };
        if state.judgement.is_some() {
            return;
        }
        let title = format!("{id}: {} on {}", state.proposal.verb, state.proposal.target);
        let state_is_of_run = state.proposal.origin.run().is_some();
        let quiet = state.proposal.verb.actuator() == "notify";
        let claim = state.proposal.claim.as_ref().map_or_else(String::new, ToString::to_string);
        self.stats.judged(held);
        self.stir_run_of(id);
        let quiet = quiet || state_is_of_run;
        self.record(Record::Judged { action: id, judgement: Judgement { held, evidence, text: text.clone() } });
        if held == Some(true) {
            self.drill_answered(id);
            self.thinker_awake(id);
        }
        if held == Some(false) && !quiet {
            self.announce(NoticeKind::Trouble, Some(id), format!("{title} did not help"), format!("Claimed: {claim}. {text}"));
        }
    }

    /// A fresh sample of a claim's series: it may have come true.
    pub(super) fn judge_early(&mut self, id: ActionId) {
        let Some((series, relation, threshold, held, sent_at)) = self.series_claim(id) else { return };
        let look = self.look(&series, relation, threshold, held, sent_at);
        if look.true_now {
            let after = self.now.since(sent_at);
            let text = format!("came true {after} after it was sent ({})", look.evidence.value);
            self.judge(id, Some(true), vec![look.evidence], text);
        }
    }

    fn series_claim(&self, id: ActionId) -> Option<(SeriesKey, Relation, f64, Span, Time)> {
        let state = self.ledger.action(id)?;
        let Claim { subject: ClaimSubject::Series { series, relation, threshold, held }, .. } = state.proposal.claim.as_ref()? else {
            return None;
        };
        Some((series.clone(), *relation, *threshold, *held, state.sent_at?))
    }

    /// Looks at a claim's series, at samples that are newer than the sending only.
    fn look(&self, key: &SeriesKey, relation: Relation, threshold: f64, held: Span, sent_at: Time) -> Look {
        let now = self.now;
        self.host.with_store(|store| {
            let Some(series) = store.find(key) else {
                let evidence = Evidence {
                    operation: "last".into(),
                    series: Some(key.clone()),
                    value: ReadingValue::NoData,
                    sampled_at: None,
                    margins: Vec::new(),
                };
                return Look { true_now: false, known: false, evidence };
            };
            let last = store.last(series, now);
            let newer = last.sampled_at.is_some_and(|at| at > sent_at);
            let on_side = last.value.value().map(|value| if relation == Relation::Above { value > threshold } else { value < threshold });
            let stayed = held == Span::ZERO || {
                let window = store.window(series, now, held);
                let answer = if relation == Relation::Above { window.held_above(threshold) } else { window.held_below(threshold) };
                now >= sent_at + held && answer.value.value() == Some(1.0)
            };
            let evidence = Evidence {
                operation: "last".into(),
                series: Some(key.clone()),
                value: last.value,
                sampled_at: last.sampled_at,
                margins: Vec::new(),
            };
            Look { true_now: newer && on_side == Some(true) && stayed, known: newer && on_side.is_some(), evidence }
        })
    }

    /// A claim is due.
    pub(super) fn claim_due(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        if state.judgement.is_some() || state.claim_due().is_none_or(|due| due > self.now) {
            return;
        }
        let subject = state.proposal.claim.as_ref().map(|claim| claim.subject.clone());
        match subject {
            Some(ClaimSubject::Series { series, relation, threshold, held }) => {
                let sent_at = state.sent_at.unwrap_or(self.now);
                let look = self.look(&series, relation, threshold, held, sent_at);
                let (held, text) = match (look.true_now, look.known) {
                    (true, _) => (Some(true), format!("came true ({})", look.evidence.value)),
                    (false, true) => (Some(false), format!("did not come true: it is {}", look.evidence.value)),
                    (false, false) => (None, format!("nobody could see: {}", look.evidence.value)),
                };
                self.judge(id, held, vec![look.evidence], text);
            }
            Some(ClaimSubject::AlertResolved { fingerprint }) => {
                let firing = self.ledger.alert(&fingerprint).map(|alert| alert.firing);
                let (held, text) = match firing {
                    Some(false) => (Some(true), "the alert has ended"),
                    Some(true) => (Some(false), "the alert is still firing"),
                    None => (None, "nothing is known of the alert"),
                };
                self.judge(id, held, Vec::new(), text.into());
            }
            Some(ClaimSubject::Delivered) => self.judge(id, None, Vec::new(), "nobody knows whether it was delivered".into()),
            None => {}
        }
    }

    /// An alert has ended: the claims that said so come true.
    pub(super) fn judge_resolved(&mut self, fingerprint: &str) {
        let waiting: Vec<ActionId> = self
            .ledger
            .actions()
            .filter(|s| s.sent_at.is_some() && s.judgement.is_none() && !matches!(s.phase, crate::ledger::Phase::NotDone { .. }))
            .filter(|s| matches!(s.proposal.claim.as_ref().map(|c| &c.subject), Some(ClaimSubject::AlertResolved { fingerprint: f }) if f == fingerprint))
            .map(|s| s.id)
            .collect();
        for id in waiting {
            self.judge(id, Some(true), Vec::new(), "the alert has ended".into());
        }
    }

    /// A delivery was claimed, and the actuator has spoken.
    pub(super) fn judge_delivery(&mut self, id: ActionId, delivered: bool) {
        let claims_delivery =
            self.ledger.action(id).and_then(|s| s.proposal.claim.as_ref()).is_some_and(|c| c.subject == ClaimSubject::Delivered);
        if claims_delivery {
            let text = if delivered { "delivered" } else { "not delivered" };
            self.judge(id, Some(delivered), Vec::new(), text.into());
        }
    }
}
