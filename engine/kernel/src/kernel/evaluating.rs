//! Units: which there are, when they run, and what follows from their results.

use super::{Kernel, Timer};
use crate::about::{of_alert, of_series};
use crate::ledger::symptom_of;
use crate::policy::{Evaluated, ForEach, Subject, Traits};
use crate::store::{SelectionId, SeriesRef};
use crate::units::{LastResult, SubjectKey, Tally, Unit, UnitId};
use homeostat_model::{Alert, AlertDelivery, Note, Origin, PolicyId, Proposal, SeriesKey};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long after its end an alert's `on_alert` is still run after a restart.
const RESOLVED_RERUN: homeostat_model::Span = homeostat_model::Span::from_mins(10);

impl Kernel {
    /// After a load: what `for_each` selects is fed from now on, and units are added and removed so that they match it now.
    pub(super) fn refresh_units(&mut self) {
        let Kernel { host, policies, feeds, .. } = self;
        let before = std::mem::take(feeds);
        host.with_store(|store| {
            for policy in policies.values().filter(|policy| policy.has_evaluate) {
                if let ForEach::Series(selector, text) = &policy.for_each {
                    feeds.insert(policy.id.clone(), store.feed(text, selector));
                }
            }
            before.into_values().for_each(|selection| store.unfeed(selection));
            // What came and went until now is in what is matched below.
            drop(store.take_changes(&mut Vec::new()));
        });
        self.crowded.clear();
        let all: Vec<PolicyId> = self.feeds.keys().cloned().collect();
        all.iter().for_each(|policy| self.match_units(policy));
        self.mark_readers();
    }

    /// After series came or went: the units of those that `for_each` selects, and marks for the units whose selections have changed.
    pub(super) fn follow_index(&mut self, reads_void: bool) {
        let mut readers = Vec::new();
        let changes = self.host.with_store(|store| store.take_changes(&mut readers));
        let fed = |selection: &SelectionId| changes.binary_search_by_key(selection, |change| change.selection).ok();
        let changed: Vec<(PolicyId, usize)> =
            self.feeds.iter().filter_map(|(policy, selection)| Some((policy.clone(), fed(selection)?))).collect();
        for (policy, change) in &changed {
            for series in &changes[*change].removed {
                self.drop_unit(policy, &SubjectKey::Series(*series));
            }
            for series in &changes[*change].added {
                self.add_series_unit(policy, *series);
            }
        }
        if self.units.has_room() {
            for policy in std::mem::take(&mut self.crowded) {
                self.match_units(&policy);
            }
        }
        if reads_void {
            self.mark_readers();
            return;
        }
        readers.into_iter().for_each(|id| self.units.mark(UnitId(id)));
        let loose: Vec<UnitId> = self.units.loose().collect();
        loose.into_iter().for_each(|id| self.units.mark(id));
    }

    /// Marks every unit whose answer depends on which series exist.
    fn mark_readers(&mut self) {
        let depends = |unit: &Unit| unit.is_loose || !unit.selections.is_empty();
        let readers: Vec<UnitId> = self.units.iter().filter(|(_, unit)| depends(unit)).map(|(id, _)| id).collect();
        readers.into_iter().for_each(|id| self.units.mark(id));
    }

    /// Makes a policy's units what its `for_each` selects.
    fn match_units(&mut self, policy: &PolicyId) {
        let Some(selection) = self.feeds.get(policy).copied() else { return };
        let series = self.host.with_store(|store| store.selection(selection).map_or_else(Vec::new, |(_, series)| series.to_vec()));
        let keep: BTreeSet<SubjectKey> = series.iter().map(|series| SubjectKey::Series(*series)).collect();
        for (key, _) in self.units.of_policy(policy) {
            if matches!(key, SubjectKey::Series(_)) && !keep.contains(&key) {
                self.drop_unit(policy, &key);
            }
        }
        for series in series {
            // Where one finds no room, the next finds none either.
            if self.crowded.contains(policy) {
                return;
            }
            self.add_series_unit(policy, series);
        }
    }

    fn add_series_unit(&mut self, policy: &PolicyId, series: SeriesRef) {
        let key = SubjectKey::Series(series);
        if self.units.find(policy, &key).is_some() {
            return;
        }
        let Some(name) = self.host.with_store(|store| store.key(series)) else { return };
        let traits = Traits { origin: Origin::Policy(policy.clone()), symptom: name.to_string(), target: of_series(&name) };
        if self.add_unit(policy, key, Subject::Series(series), traits).is_none() {
            // It is tried again when the index changes and there is room.
            self.crowded.insert(policy.clone());
        }
    }

    pub(super) fn add_unit(&mut self, policy: &PolicyId, key: SubjectKey, subject: Subject, traits: Traits) -> Option<UnitId> {
        let has_open = self.open.contains_key(&(policy.as_str().to_owned(), traits.symptom.clone()));
        let added = self.units.add(policy.clone(), key, subject, traits, self.now);
        match added {
            Some(id) => {
                if let Some(unit) = self.units.get_mut(id) {
                    unit.has_open = has_open;
                }
            }
            None => self.note_limit("units", format!("policy {policy}: more than {} policy targets", crate::units::UNITS_MAX)),
        }
        added
    }

    /// Removes a unit and closes what it had wished.
    pub(super) fn drop_unit(&mut self, policy: &PolicyId, key: &SubjectKey) {
        self.drop_unit_for(policy, key, "its target is gone");
    }

    fn drop_unit_for(&mut self, policy: &PolicyId, key: &SubjectKey, why: &str) {
        if let Some(unit) = self.take_unit(policy, key) {
            self.close_open((policy.as_str().to_owned(), unit.traits.symptom), &BTreeSet::new(), why);
        }
    }

    /// Removes a unit with all that leads to it.
    fn take_unit(&mut self, policy: &PolicyId, key: &SubjectKey) -> Option<Unit> {
        let (id, unit) = self.units.remove(policy, key)?;
        if !unit.selections.is_empty() {
            self.host.with_store(|store| store.set_selections(id.0, &unit.selections, &[]));
        }
        Some(unit)
    }

    /// Evaluates what fresh samples or orders have marked.
    pub(super) fn evaluate_marked(&mut self) {
        let ids = self.units.take_dirty();
        self.evaluate_batch(&ids);
        self.units.recycle(ids);
    }

    /// Evaluates what is due by its slot.
    pub(super) fn run_slots(&mut self) {
        let mut ids = Vec::new();
        while let Some(id) = self.units.pop_due(self.now) {
            let Some(unit) = self.units.get(id) else { continue };
            let unchanged =
                self.now < unit.valid_until && !unit.has_open && matches!(unit.last(), LastResult::Quiet | LastResult::Undetermined(_));
            if unchanged && matches!(unit.subject, Subject::Series(_) | Subject::Once) {
                self.stats.evaluations_unchanged += 1;
                self.reschedule(id);
            } else {
                ids.push(id);
            }
        }
        if !ids.is_empty() {
            self.evaluate_batch(&ids);
        }
    }

    fn reschedule(&mut self, id: UnitId) {
        let Some(unit) = self.units.get(id) else { return };
        let every = self.policies.get(&unit.policy).map_or(homeostat_model::Span::from_mins(1), |policy| policy.every);
        self.stats.slots_missed += self.units.reschedule(id, self.now, every);
    }

    /// Evaluates units in order, then rules on all their wishes together, mildest class first: where two policies want the same
    /// target, the safer wish gets the lock.
    fn evaluate_batch(&mut self, ids: &[UnitId]) {
        let mut wishes: Vec<Proposal> = Vec::new();
        let mut touched = std::mem::take(&mut self.units.touched);
        for id in ids {
            if self.retrace(*id) || self.evaluate(*id, &mut wishes).is_some() {
                self.touch(*id, &mut touched);
            }
        }
        touched.sort_unstable_by(|a, b| self.units.get(*a).map(|unit| &unit.policy).cmp(&self.units.get(*b).map(|unit| &unit.policy)));
        for id in touched.drain(..) {
            if let Some(policy) = self.units.get(id).map(|unit| unit.policy.clone()) {
                self.watch_observer(&policy);
            }
        }
        self.units.touched = touched;
        wishes.sort_by_cached_key(|wish| (self.arbiter.verb(&wish.verb).map(|spec| spec.class), symptom_of(wish)));
        for wish in wishes {
            self.wish(wish);
        }
    }

    /// Notes a unit's policy among those of a batch: by one unit each.
    fn touch(&self, id: UnitId, touched: &mut Vec<UnitId>) {
        let policy = |id: &UnitId| self.units.get(*id).map(|unit| &unit.policy);
        // Units of one policy follow one another as a rule.
        if !touched.iter().rev().any(|other| policy(other) == policy(&id)) {
            touched.push(id);
        }
    }

    /// Looks at a unit without its script, where that can only end as quietly as the last time.
    fn retrace(&mut self, id: UnitId) -> bool {
        let Kernel { host, units, now, .. } = self;
        let Some(unit) = units.get_mut(id) else { return false };
        if unit.must_run || unit.has_open || *unit.last() != LastResult::Quiet {
            return false;
        }
        let Some(valid_until) = host.retrace(&mut unit.trail, &unit.inputs, *now) else { return false };
        unit.valid_until = valid_until;
        unit.evaluated_at = Some(*now);
        let every = unit.every;
        self.stats.evaluations += 1;
        self.stats.evaluations_retraced += 1;
        self.stats.slots_missed += units.reschedule(id, *now, every);
        true
    }

    /// From now on runs every script, however sure its end is: for tests, which compare the two. Only there and in builds with the
    /// feature `sabotage`.
    #[cfg(any(test, feature = "sabotage"))]
    pub fn run_every_script(&mut self) {
        self.host.never_retrace();
    }

    fn evaluate(&mut self, id: UnitId, wishes: &mut Vec<Proposal>) -> Option<()> {
        let unit = self.units.get(id)?;
        let policy = self.policies.get(&unit.policy)?;
        let (policy_id, every) = (unit.policy.clone(), policy.every);
        let evaluation = self.host.evaluate(policy, &unit.subject, &unit.traits, self.now);
        self.stats.evaluations += 1;
        self.units.set_inputs(id, evaluation.inputs);
        self.select(id, evaluation.selections, evaluation.is_loose);
        let now = self.now;
        let last = match &evaluation.result {
            Evaluated::Quiet => LastResult::Quiet,
            Evaluated::Fired(_) => LastResult::Fired,
            Evaluated::Undetermined(why) => LastResult::Undetermined(why.clone()),
            Evaluated::Fault(error) => LastResult::Fault(error.clone()),
        };
        let before = self.units.set_last(id, last)?;
        let unit = self.units.get_mut(id)?;
        self.host.swap_trail(&mut unit.trail);
        unit.prints = evaluation.prints;
        unit.valid_until = evaluation.valid_until;
        unit.evaluated_at = Some(now);
        (unit.every, unit.must_run) = (every, false);
        self.stats.slots_missed += self.units.reschedule(id, now, every);
        self.note_change(id, &before);
        let open = self.units.get(id).filter(|unit| unit.has_open);
        let open = open.map(|unit| (policy_id.as_str().to_owned(), unit.traits.symptom.clone()));
        match evaluation.result {
            Evaluated::Fired(proposals) => {
                let proposals: Vec<Proposal> = proposals.into_iter().map(|proposal| self.choose(proposal)).collect();
                if let Some(symptom) = open {
                    let plans: BTreeSet<String> = proposals.iter().map(super::wishes::plan_hash).collect();
                    self.close_open(symptom, &plans, "the policy wishes something else now");
                }
                wishes.extend(proposals);
            }
            Evaluated::Quiet => {
                if let Some(symptom) = open {
                    self.close_open(symptom, &BTreeSet::new(), crate::ledger::GONE);
                }
            }
            Evaluated::Undetermined(_) => self.stats.undetermined += 1,
            Evaluated::Fault(_) => self.stats.evaluation_faults += 1,
        }
        Some(())
    }

    /// Notes what a unit's answer depends on, so that a change there wakes it.
    fn select(&mut self, id: UnitId, selections: Vec<SelectionId>, is_loose: bool) {
        if is_loose {
            self.note_limit(
                "selections",
                "selectors have more different texts than can be kept resolved: they are resolved at every use".into(),
            );
        }
        if self.units.get(id).is_none_or(|unit| unit.selections == selections && unit.is_loose == is_loose) {
            return;
        }
        if let Some(before) = self.units.set_selections(id, selections, is_loose)
            && let Some(unit) = self.units.get(id)
        {
            self.host.with_store(|store| store.set_selections(id.0, &before, &unit.selections));
        }
    }

    /// Notes when an evaluation becomes undetermined or faulty, and when that ends; not each time.
    fn note_change(&mut self, id: UnitId, before: &LastResult) {
        let Some(unit) = self.units.get(id) else { return };
        let after = unit.last();
        if std::mem::discriminant(before) == std::mem::discriminant(after) {
            return;
        }
        let (policy, symptom, after) = (unit.policy.clone(), unit.traits.symptom.clone(), after.clone());
        match before {
            LastResult::Undetermined(_) => {
                self.note(Note::Undetermined { policy: policy.clone(), symptom: symptom.clone(), why: String::new() })
            }
            LastResult::Fault(_) => {
                self.note(Note::EvaluationFault { policy: policy.clone(), symptom: symptom.clone(), error: String::new() })
            }
            LastResult::Never | LastResult::Quiet | LastResult::Fired => {}
        }
        match after {
            LastResult::Undetermined(why) => self.note(Note::Undetermined { policy, symptom, why }),
            LastResult::Fault(error) => self.note(Note::EvaluationFault { policy, symptom, error }),
            LastResult::Never | LastResult::Quiet | LastResult::Fired => {}
        }
    }

    /// Suspects the observer where many targets of one policy fire at once (lesson 1).
    fn watch_observer(&mut self, policy: &PolicyId) {
        let Tally { firing, determined } = self.units.tally(policy);
        let settings = &self.arbiter.settings;
        let suspicious = firing >= settings.observer_fault_targets_min && firing as f64 > settings.observer_fault_ratio * determined as f64;
        if !suspicious {
            return;
        }
        // At least a second on, or the timer would be due at once, for ever.
        let until = self.now + settings.observer_fault_quiet.max(homeostat_model::Span::from_secs(1));
        self.timers.insert((until, Timer::Quiet));
        if self.observer_faults.insert(policy.as_str().to_owned(), until).is_none() {
            self.note(Note::ObserverFault { policy: policy.clone(), firing, of: determined, began: true });
        }
    }

    /// Ends the observer faults whose quiet time has passed.
    pub(super) fn observer_quiet(&mut self) {
        let over: Vec<String> =
            self.observer_faults.iter().filter(|(_, until)| **until <= self.now).map(|(policy, _)| policy.clone()).collect();
        for policy in over {
            let id = PolicyId::from(policy.as_str());
            // Where it still looks bad, this moves the end on.
            self.watch_observer(&id);
            if self.observer_faults.get(&policy).is_some_and(|until| *until <= self.now) {
                self.observer_faults.remove(&policy);
                self.note(Note::ObserverFault { policy: id, firing: 0, of: 0, began: false });
            }
        }
    }

    /// Takes in a delivery: what is news wakes the policies that asked for it.
    pub(super) fn alerted(&mut self, delivery: AlertDelivery) {
        let news: Vec<String> =
            delivery.alerts.iter().filter(|alert| self.ledger.is_news(alert)).map(|alert| alert.fingerprint.clone()).collect();
        let repeated = delivery.alerts.len() - news.len();
        let refused = self.ledger.alerts_refused();
        self.ledger.apply_event(self.now, &homeostat_model::Event::Alerted(delivery));
        self.stats.alerts += news.len() as u64;
        self.stats.alerts_repeated += repeated as u64;
        if repeated > 0 {
            self.note(Note::DuplicateAlerts { count: repeated as u64 });
        }
        if self.ledger.alerts_refused() > refused {
            self.note_limit("alerts", "more alerts are firing than can be remembered".into());
        }
        for fingerprint in news {
            if let Some(alert) = self.ledger.alert(&fingerprint).map(|known| Arc::clone(&known.alert)) {
                self.alert_units(alert, None);
            }
        }
        self.evaluate_marked();
    }

    /// Adds the units of an alert; an ended one replaces the firing one, runs once, and is removed.
    fn alert_units(&mut self, alert: Arc<Alert>, only: Option<&BTreeSet<PolicyId>>) {
        use homeostat_model::AlertStatus::{Firing, Resolved};
        let key = SeriesKey { metric: alert.name.as_str().into(), labels: alert.labels.clone() };
        let wakes = |policy: &&crate::policy::Policy| policy.on_alert.as_ref().is_some_and(|(selector, _)| selector.matches(&key));
        let asked = |policy: &&crate::policy::Policy| only.is_none_or(|only| only.contains(&policy.id));
        let woken: Vec<PolicyId> = self.policies.values().filter(wakes).filter(asked).map(|policy| policy.id.clone()).collect();
        let subject_key = SubjectKey::Alert(alert.fingerprint.clone());
        for policy in &woken {
            // A new status or a new start is a new subject: the old one's wishes are closed. One that has ended went by itself, as far as
            // nothing was done about it.
            let why = if alert.status == Resolved { crate::ledger::GONE } else { "its target is gone" };
            self.drop_unit_for(policy, &subject_key, why);
            let ending = if alert.status == Resolved { "/resolved" } else { "" };
            let traits = Traits {
                origin: Origin::Alert(policy.clone(), alert.fingerprint.clone()),
                symptom: format!("alert/{}/{}{ending}", alert.name, alert.fingerprint),
                target: of_alert(&alert),
            };
            self.add_unit(policy, subject_key.clone(), Subject::Alert(Arc::clone(&alert)), traits);
        }
        if alert.status == Firing {
            self.arm_advice();
            return;
        }
        self.advice_over(&alert);
        self.evaluate_marked();
        for policy in &woken {
            // A question stays open: it may still be answered, or ends by its time. What waits for nobody would wait for ever.
            if let Some(unit) = self.take_unit(policy, &subject_key) {
                self.close_held((policy.as_str().to_owned(), unit.traits.symptom), "the alert has ended, and it is not looked at again");
            }
        }
        self.judge_resolved(&alert.fingerprint);
    }

    /// After a start or reload: the alerts that the journal knows get their units again, for the policies that changed.
    pub(super) fn restore_alert_units(&mut self, changed: &BTreeSet<PolicyId>) {
        let known: Vec<Arc<Alert>> = self
            .ledger
            .alerts()
            .filter(|known| known.firing || self.now.since(known.since) < RESOLVED_RERUN)
            .map(|known| Arc::clone(&known.alert))
            .collect();
        for alert in known {
            self.alert_units(alert, Some(changed));
        }
    }
}
