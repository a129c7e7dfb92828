//! What is evaluated, and when: one unit per policy and subject.
//!
//! A unit runs when fresh samples arrive for something that it read last time, and at the latest at its next slot. Slots are spread
//! by hash, so that a thousand units do not run at once; late ones are counted and skipped, never queued. A slot whose inputs did
//! not change, and whose answer cannot have changed by the mere passing of time, costs nothing.

use crate::policy::{Subject, Trail, Traits};
use crate::store::{SelectionId, SeriesRef};
use homeostat_model::{ActionId, PolicyId, Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Units in all; more are refused, visibly. A lab of 10,000 nodes has some 160,000 with the shipped policies.
pub const UNITS_MAX: usize = 400_000;

/// A unit's number.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitId(pub u32);

/// What is behind a unit, as a key that survives a reload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectKey {
    /// A series.
    Series(SeriesRef),
    /// The whole.
    Once,
    /// An alert's fingerprint.
    Alert(String),
}

/// How the last evaluation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastResult {
    /// It was never evaluated.
    Never,
    /// Nothing wished.
    Quiet,
    /// Something wished.
    Fired,
    /// A reading had no value.
    Undetermined(String),
    /// The script failed.
    Fault(String),
}

/// One policy on one subject.
pub struct Unit {
    /// The policy.
    pub policy: PolicyId,
    /// The subject.
    pub subject: Subject,
    /// What is added to its wishes.
    pub traits: Traits,
    last: LastResult,
    /// When that was.
    pub evaluated_at: Option<Time>,
    /// What it saw.
    pub trail: Trail,
    /// What it printed.
    pub prints: Vec<String>,
    /// What it read.
    pub inputs: Vec<SeriesRef>,
    /// Until when the answer stays if nothing arrives.
    pub valid_until: Time,
    /// The selections whose change may change the answer.
    pub selections: Vec<SelectionId>,
    /// Whether any new series may change the answer.
    pub is_loose: bool,
    /// Its next slot.
    pub next_slot: Time,
    /// Whether actions of this symptom may be open.
    pub has_open: bool,
    /// The longest time between two evaluations, as of the last one.
    pub every: Span,
    /// Whether something else than samples has changed since the last evaluation: its script must be run.
    pub must_run: bool,
    dirty: bool,
    /// See [`place`].
    place: u64,
}

impl Unit {
    /// How the last evaluation ended.
    pub fn last(&self) -> &LastResult {
        &self.last
    }

    fn tally(&self) -> Tally {
        let counts = matches!(self.subject, Subject::Series(_));
        Tally {
            firing: usize::from(counts && self.last == LastResult::Fired),
            determined: usize::from(counts && matches!(self.last, LastResult::Fired | LastResult::Quiet)),
        }
    }
}

/// How many series units of a policy came to what.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Something was wished.
    pub firing: usize,
    /// Something or nothing was wished: there was an answer.
    pub determined: usize,
}

/// Who wants to hear of a series' fresh samples.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// A unit that read it.
    Unit(UnitId),
    /// A claim about it.
    Claim(ActionId),
}

/// All units.
#[derive(Default)]
pub struct Units {
    slab: Vec<Option<Unit>>,
    free: Vec<u32>,
    by_key: BTreeMap<(PolicyId, SubjectKey), UnitId>,
    slots: BTreeSet<(Time, UnitId)>,
    watchers: Vec<Vec<Watcher>>,
    dirty: Vec<UnitId>,
    /// One unit of each policy that a batch evaluates; empty between batches.
    pub touched: Vec<UnitId>,
    tallies: BTreeMap<PolicyId, Tally>,
    /// By what [`place`] makes of policy and symptom.
    by_place: BTreeSet<(u64, UnitId)>,
    loose: BTreeSet<UnitId>,
}

impl Units {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }
    /// Whether one more may be added.
    pub fn has_room(&self) -> bool {
        self.len() < UNITS_MAX
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
    /// One unit.
    pub fn get(&self, id: UnitId) -> Option<&Unit> {
        self.slab.get(id.0 as usize)?.as_ref()
    }
    /// One unit, to change.
    pub fn get_mut(&mut self, id: UnitId) -> Option<&mut Unit> {
        self.slab.get_mut(id.0 as usize)?.as_mut()
    }
    /// The unit of a policy and subject.
    pub fn find(&self, policy: &PolicyId, key: &SubjectKey) -> Option<UnitId> {
        self.by_key.get(&(policy.clone(), key.clone())).copied()
    }
    /// All units, by policy and subject.
    pub fn iter(&self) -> impl Iterator<Item = (UnitId, &Unit)> {
        self.by_key.values().filter_map(|id| self.get(*id).map(|unit| (*id, unit)))
    }
    /// What the series units of a policy came to.
    pub fn tally(&self, policy: &PolicyId) -> Tally {
        self.tallies.get(policy).copied().unwrap_or_default()
    }
    /// The units of a policy with this symptom: one, as a rule.
    pub fn of_symptom(&self, policy: &str, symptom: &str) -> Vec<UnitId> {
        let place = place(policy, symptom);
        let all = self.by_place.range((place, UnitId(0))..=(place, UnitId(u32::MAX))).map(|(_, id)| *id);
        let is_meant = |unit: &Unit| unit.policy.as_str() == policy && unit.traits.symptom == symptom;
        all.filter(|id| self.get(*id).is_some_and(is_meant)).collect()
    }
    /// Units for which any new series may matter.
    pub fn loose(&self) -> impl Iterator<Item = UnitId> {
        self.loose.iter().copied()
    }
    /// The units of a policy.
    pub fn of_policy(&self, policy: &PolicyId) -> Vec<(SubjectKey, UnitId)> {
        let all = self.by_key.range((policy.clone(), SubjectKey::Series(SeriesRef(0)))..);
        all.take_while(|((p, _), _)| p == policy).map(|((_, key), id)| (key.clone(), *id)).collect()
    }

    /// Adds a unit, due at once; `None` where there are too many.
    pub fn add(&mut self, policy: PolicyId, key: SubjectKey, subject: Subject, traits: Traits, now: Time) -> Option<UnitId> {
        if !self.has_room() {
            return None;
        }
        let place = place(policy.as_str(), &traits.symptom);
        let unit = Unit {
            place,
            policy: policy.clone(),
            subject,
            traits,
            last: LastResult::Never,
            evaluated_at: None,
            trail: Trail::default(),
            prints: Vec::new(),
            inputs: Vec::new(),
            valid_until: Time::MIN,
            selections: Vec::new(),
            is_loose: false,
            next_slot: now,
            has_open: false,
            every: Span::from_mins(1),
            must_run: true,
            dirty: false,
        };
        let id = match self.free.pop() {
            Some(free) => {
                self.slab[free as usize] = Some(unit);
                UnitId(free)
            }
            None => {
                self.slab.push(Some(unit));
                UnitId(self.slab.len() as u32 - 1)
            }
        };
        self.by_key.insert((policy, key), id);
        self.by_place.insert((place, id));
        self.slots.insert((now, id));
        self.mark(id);
        Some(id)
    }

    /// Removes a unit. What it selected is the caller's to give back.
    pub fn remove(&mut self, policy: &PolicyId, key: &SubjectKey) -> Option<(UnitId, Unit)> {
        let id = self.by_key.remove(&(policy.clone(), key.clone()))?;
        let unit = self.slab.get_mut(id.0 as usize)?.take()?;
        self.slots.remove(&(unit.next_slot, id));
        self.by_place.remove(&(unit.place, id));
        self.loose.remove(&id);
        self.count(policy, unit.tally(), Tally::default());
        for series in &unit.inputs {
            self.unwatch(*series, Watcher::Unit(id));
        }
        if unit.dirty {
            self.dirty.retain(|other| *other != id);
        }
        self.free.push(id.0);
        Some((id, unit))
    }

    /// Sets how a unit's evaluation ended; gives how the one before did.
    pub fn set_last(&mut self, id: UnitId, last: LastResult) -> Option<LastResult> {
        let unit = self.get_mut(id)?;
        let before = unit.tally();
        let old = std::mem::replace(&mut unit.last, last);
        let after = unit.tally();
        if before != after {
            let policy = unit.policy.clone();
            self.count(&policy, before, after);
        }
        Some(old)
    }

    fn count(&mut self, policy: &PolicyId, before: Tally, after: Tally) {
        if before == after {
            return;
        }
        let tally = self.tallies.entry(policy.clone()).or_default();
        tally.firing = tally.firing + after.firing - before.firing;
        tally.determined = tally.determined + after.determined - before.determined;
        if *tally == Tally::default() {
            self.tallies.remove(policy);
        }
    }

    /// Notes the selections that a unit's answer depends on; gives those before.
    pub fn set_selections(&mut self, id: UnitId, selections: Vec<SelectionId>, is_loose: bool) -> Option<Vec<SelectionId>> {
        let unit = self.get_mut(id)?;
        let was_loose = std::mem::replace(&mut unit.is_loose, is_loose);
        let before = std::mem::replace(&mut unit.selections, selections);
        match (was_loose, is_loose) {
            (false, true) => drop(self.loose.insert(id)),
            (true, false) => drop(self.loose.remove(&id)),
            _ => {}
        }
        Some(before)
    }

    /// Marks a unit for evaluation because something else than samples has changed: its policy, or which series there are.
    pub fn mark(&mut self, id: UnitId) {
        if let Some(unit) = self.slab.get_mut(id.0 as usize).and_then(Option::as_mut) {
            unit.must_run = true;
            if !unit.dirty {
                unit.dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// Marks every unit that read a series; the claims among the watchers go to `claims`.
    pub fn fresh(&mut self, series: SeriesRef, claims: &mut Vec<ActionId>) {
        let Units { watchers, slab, dirty, .. } = self;
        let Some(watching) = watchers.get(series.slot()) else { return };
        for watcher in watching {
            match *watcher {
                Watcher::Claim(action) => claims.push(action),
                Watcher::Unit(id) => {
                    if let Some(unit) = slab.get_mut(id.0 as usize).and_then(Option::as_mut)
                        && !unit.dirty
                    {
                        unit.dirty = true;
                        dirty.push(id);
                    }
                }
            }
        }
    }

    /// Takes the marked units, in order.
    pub fn take_dirty(&mut self) -> Vec<UnitId> {
        let mut ids = std::mem::take(&mut self.dirty);
        ids.sort_unstable();
        for id in &ids {
            if let Some(unit) = self.get_mut(*id) {
                unit.dirty = false;
            }
        }
        ids
    }

    /// Gives the vector of [`Units::take_dirty`] back, to be used again.
    pub fn recycle(&mut self, mut ids: Vec<UnitId>) {
        if self.dirty.is_empty() {
            ids.clear();
            self.dirty = ids;
        }
    }

    /// Notes what a unit read this time, so that fresh samples of it wake the unit.
    pub fn set_inputs(&mut self, id: UnitId, inputs: Vec<SeriesRef>) {
        let Some(unit) = self.get_mut(id) else { return };
        if unit.inputs == inputs {
            return;
        }
        let old = std::mem::replace(&mut unit.inputs, inputs.clone());
        for series in &old {
            if !inputs.contains(series) {
                self.unwatch(*series, Watcher::Unit(id));
            }
        }
        for series in &inputs {
            if !old.contains(series) {
                self.watch(*series, Watcher::Unit(id));
            }
        }
    }

    /// Starts telling a watcher of a series' fresh samples.
    pub fn watch(&mut self, series: SeriesRef, watcher: Watcher) {
        let index = series.slot();
        if self.watchers.len() <= index {
            self.watchers.resize_with(index + 1, Vec::new);
        }
        if !self.watchers[index].contains(&watcher) {
            self.watchers[index].push(watcher);
        }
    }

    /// Stops it.
    pub fn unwatch(&mut self, series: SeriesRef, watcher: Watcher) {
        if let Some(watching) = self.watchers.get_mut(series.slot()) {
            watching.retain(|other| *other != watcher);
        }
    }

    /// The next slot of any unit.
    pub fn next_slot(&self) -> Option<Time> {
        self.slots.first().map(|(at, _)| *at)
    }

    /// Takes a unit whose slot has come.
    pub fn pop_due(&mut self, now: Time) -> Option<UnitId> {
        let (at, id) = *self.slots.first()?;
        if at > now {
            return None;
        }
        self.slots.remove(&(at, id));
        Some(id)
    }

    /// Sets a unit's next slot after `now`; gives how many slots were missed.
    pub fn reschedule(&mut self, id: UnitId, now: Time, every: Span) -> u64 {
        let Some(unit) = self.slab.get_mut(id.0 as usize).and_then(Option::as_mut) else { return 0 };
        let period = every.millis().max(1);
        let offset = offset(unit.place, every);
        let late = now.since(unit.next_slot).millis() / period;
        let into = (now.millis() - offset).rem_euclid(period);
        let before = std::mem::replace(&mut unit.next_slot, Time(now.millis() - into + period));
        // A slot that was taken out because it was due is never the next one.
        let next = unit.next_slot;
        if before != next {
            self.slots.remove(&(before, id));
            self.slots.insert((next, id));
        }
        late.max(0) as u64
    }
}

/// The place within a period of what has these names: the same in every run.
pub fn slot_offset(policy: &str, symptom: &str, every: Span) -> i64 {
    offset(place(policy, symptom), every)
}

fn offset(place: u64, every: Span) -> i64 {
    (place % every.millis().max(1) as u64) as i64
}

/// A unit's place among all moments, of which its period takes the remainder: FNV-1a of its names, so that it is the same in every run.
fn place(policy: &str, symptom: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in policy.bytes().chain([0]).chain(symptom.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}
