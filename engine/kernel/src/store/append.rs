//! Taking observations in. In steady state (all series declared and seen) nothing is allocated but sealed chunks.
//!
//! Order within one observation: the dictionary, the shared row, stamped samples (by time, so that a cohort's rows are made in
//! order however the sensor lists them), markers, then retention and memory. `fresh` is called for every series whose answers may
//! have changed: a new sample, or the series' end. Backfill wakes nobody. An editor breaks this module by letting a value into a
//! row of another stamp.

use super::dictionary::short;
use super::group::{Group, NONE, Put, Row};
use super::{Appended, SeriesRef, Store};
use homeostat_model::{Health, Observation, Purpose, Span, StampedSample};

/// Stamps further ahead of the observation than this are refused, as in Prometheus: one would make all true ones too old.
const AHEAD_MAX: Span = Span::from_mins(10);

impl Store {
    /// Takes an observation in. `fresh` is called for each series that got a sample or ended, unless the observation is a backfill.
    pub fn append(&mut self, obs: &Observation, fresh: &mut impl FnMut(SeriesRef)) -> Appended {
        let mut done = Appended::default();
        let (generation, voids) = (self.index.generation, self.index.voids);
        if obs.purpose == Purpose::Backfill {
            self.take_in(obs, &mut |_| (), &mut done);
        } else {
            self.take_in(obs, fresh, &mut done);
        }
        self.keep_limits(obs.at.0, &mut done);
        done.index_changed = self.index.generation != generation;
        done.reads_void = self.index.voids != voids;
        self.totals.appended += done.samples;
        self.totals.out_of_order += done.out_of_order;
        self.totals.duplicates += done.duplicates;
        self.totals.not_numbers += done.not_numbers;
        self.totals.refused_samples += done.refused_samples;
        self.totals.refused_series += done.refused_series;
        self.totals.shed_series += done.shed_series;
        done
    }

    fn take_in(&mut self, obs: &Observation, fresh: &mut impl FnMut(SeriesRef), done: &mut Appended) {
        let Some(sensor) = self.enter(obs, done) else { return };
        self.append_row(sensor, obs, fresh, done);
        if !obs.stamped.is_empty() {
            self.append_stamped(sensor, obs, fresh, done);
        }
        for number in &obs.vanished {
            let Some(entry) = self.sensors[sensor].dictionary.get(*number as usize) else { continue };
            let reference = SeriesRef(entry.reference);
            if let Some(slot) = self.index.slot(reference).filter(|_| entry.reference != NONE) {
                let marker = &mut self.index.get_mut(slot).marker;
                *marker = obs.at.0.max(*marker);
                fresh(reference);
            }
        }
    }

    fn append_row(&mut self, sensor: usize, obs: &Observation, fresh: &mut impl FnMut(SeriesRef), done: &mut Appended) {
        let is_complete = obs.health != Health::Blind && obs.purpose == Purpose::Fresh;
        if obs.samples.is_empty() && (!is_complete || self.sensors[sensor].row_group == NONE) {
            return;
        }
        if self.sensors[sensor].row_group == NONE {
            self.sensors[sensor].row_group = self.new_group(sensor, true);
        }
        let number = self.sensors[sensor].row_group;
        let row = self.row_at(number, obs.at.0);
        let (Row::New(at) | Row::Existing(at)) = row else {
            done.out_of_order += obs.samples.len() as u64;
            return;
        };
        let mut pending = std::mem::take(&mut self.pending);
        let (group, dictionary) = (&mut self.groups[number as usize], &self.sensors[sensor].dictionary);
        for (i, sample) in obs.samples.iter().enumerate() {
            match dictionary.get(sample.series as usize) {
                Some(entry) if entry.row_member != NONE => {
                    put(group, at, entry.row_member, sample.value, SeriesRef(entry.reference), fresh, done);
                }
                _ => pending.push(i as u32),
            }
        }
        for i in pending.drain(..) {
            let sample = obs.samples[i as usize];
            if sample.value.is_nan() {
                // No number does not make a series live.
                done.not_numbers += 1;
                continue;
            }
            match self.join_row(sensor, sample.series, number) {
                Some((member, reference)) => put(&mut self.groups[number as usize], at, member, sample.value, reference, fresh, done),
                None => done.refused_samples += 1,
            }
        }
        self.pending = pending;
        let index = &self.index;
        self.groups[number as usize].end_row(row, is_complete, |slot| {
            if slot != NONE {
                fresh(index.reference(slot));
            }
        });
    }

    /// Makes a series a member of its sensor's row group; `None` if it was refused, shed or never declared.
    fn join_row(&mut self, sensor: usize, number: u32, group: u32) -> Option<(u32, SeriesRef)> {
        let entry = *self.sensors[sensor].dictionary.get(number as usize)?;
        let slot = self.index.slot(SeriesRef(entry.reference)).filter(|_| entry.reference != NONE)?;
        let member = self.join(slot, group)?;
        self.sensors[sensor].dictionary[number as usize].row_member = member;
        Some((member, SeriesRef(entry.reference)))
    }

    /// Makes a series a member of a group. A series that changes between rows and stamps of its own leaves its old samples behind.
    fn join(&mut self, slot: u32, group: u32) -> Option<u32> {
        let series = self.index.get(slot);
        if series.is_shed {
            return None;
        }
        if series.group == group {
            return Some(series.member);
        }
        if series.group != NONE {
            self.leave(slot);
        }
        let before = self.groups[group as usize].bytes();
        let member = self.groups[group as usize].join(slot);
        self.group_bytes += self.groups[group as usize].bytes() - before;
        self.index.set_live(slot, group, member);
        Some(member)
    }

    /// Takes a series out of its group at once; the sweep frees the memory.
    pub(super) fn leave(&mut self, slot: u32) {
        let series = self.index.get(slot);
        let (group, member) = (series.group as usize, series.member);
        self.groups[group].members[member as usize] = NONE;
        let sensor = self.groups[group].sensor as usize;
        if self.groups[group].is_row {
            let reference = self.index.reference(slot).0;
            let entries = self.sensors[sensor].dictionary.iter_mut();
            entries.filter(|entry| entry.reference == reference).for_each(|entry| entry.row_member = NONE);
        }
        self.index.set_live(slot, NONE, NONE);
    }

    fn append_stamped(&mut self, sensor: usize, obs: &Observation, fresh: &mut impl FnMut(SeriesRef), done: &mut Appended) {
        if obs.stamped.is_sorted_by_key(|sample| sample.at) {
            for sample in &obs.stamped {
                self.append_one(sensor, obs, sample, fresh, done);
            }
            return;
        }
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..obs.stamped.len() as u32);
        order.sort_unstable_by_key(|i| (obs.stamped[*i as usize].at, *i));
        for i in &order {
            self.append_one(sensor, obs, &obs.stamped[*i as usize], fresh, done);
        }
        self.order = order;
    }

    fn append_one(
        &mut self,
        sensor: usize,
        obs: &Observation,
        sample: &StampedSample,
        fresh: &mut impl FnMut(SeriesRef),
        done: &mut Appended,
    ) {
        let entry = self.sensors[sensor].dictionary.get(sample.series as usize).copied().filter(|entry| entry.reference != NONE);
        let Some((entry, slot)) = entry.and_then(|entry| Some((entry, self.index.slot(SeriesRef(entry.reference))?))) else {
            done.refused_samples += 1;
            return;
        };
        let reference = SeriesRef(entry.reference);
        if sample.at > obs.at + AHEAD_MAX || sample.at <= obs.at - self.settings.retention {
            if sample.at > obs.at {
                let detail = format!("sample of {} refused: stamped {} ahead", short(&self.index.key(slot)), sample.at.since(obs.at));
                done.limit("stamps", detail);
            }
            done.out_of_order += 1;
            return;
        }
        if sample.value.is_nan() {
            let marker = &mut self.index.get_mut(slot).marker;
            *marker = sample.at.0.max(*marker);
            done.not_numbers += 1;
            fresh(reference);
            return;
        }
        let Some((group, member)) = self.stamped_group(sensor, slot, entry.cohort) else {
            done.refused_samples += 1;
            return;
        };
        let row = self.row_at(group, sample.at.0);
        let group = &mut self.groups[group as usize];
        match row {
            Row::New(at) | Row::Existing(at) => put(group, at, member, sample.value, reference, fresh, done),
            Row::TooOld => done.out_of_order += 1,
        }
    }

    /// The group of stamped samples that a series belongs to, joined if need be.
    fn stamped_group(&mut self, sensor: usize, slot: u32, cohort: u32) -> Option<(u32, u32)> {
        let series = self.index.get(slot);
        if series.group != NONE && !self.groups[series.group as usize].is_row && self.groups[series.group as usize].sensor == sensor as u32
        {
            return Some((series.group, series.member));
        }
        if series.is_shed {
            return None;
        }
        let group = match self.sensors[sensor].cohorts.get(&cohort) {
            Some(group) => *group,
            None => {
                let group = self.new_group(sensor, false);
                if cohort != 0 {
                    self.sensors[sensor].cohorts.insert(cohort, group);
                }
                group
            }
        };
        self.join(slot, group).map(|member| (group, member))
    }

    fn new_group(&mut self, sensor: usize, is_row: bool) -> u32 {
        let group = Group::new(sensor as u32, is_row);
        self.group_bytes += group.bytes();
        match self.groups_free.pop() {
            Some(number) => {
                self.groups[number as usize] = group;
                number
            }
            None => {
                self.groups.push(group);
                (self.groups.len() - 1) as u32
            }
        }
    }

    fn row_at(&mut self, group: u32, at: i64) -> Row {
        let group = &mut self.groups[group as usize];
        let before = group.bytes();
        let row = group.row_at(at, self.rows_max, &mut self.scratch);
        self.group_bytes = self.group_bytes + group.bytes() - before;
        row
    }
}

#[inline]
fn put(
    group: &mut Group,
    row: usize,
    member: u32,
    value: f64,
    reference: SeriesRef,
    fresh: &mut impl FnMut(SeriesRef),
    done: &mut Appended,
) {
    match group.put(row, member, value) {
        Put::Done => {
            done.samples += 1;
            fresh(reference);
        }
        Put::Duplicate => done.duplicates += 1,
        Put::NotANumber => done.not_numbers += 1,
    }
}
