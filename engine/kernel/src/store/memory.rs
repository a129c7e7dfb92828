//! What is dropped, and when: by retention silently, by the memory cap never silently.
//!
//! Over the cap, in this order: the least recently read series that no policy reads are shed whole; if that is not enough, new
//! series are refused and the oldest chunks of what is left are dropped before their time. Each is reported. Below three quarters
//! of the cap shed series are taken again. Deliberately absent: any effect of the moment of a sweep on an answer; reads see no
//! sample older than the retention, swept or not. An editor breaks this module by renumbering members without
//! [`Store::compact`], which also corrects the index and the dictionary.

use super::dictionary::short;
use super::group::{Group, NONE};
use super::{Appended, Store};
use std::collections::BTreeSet;

impl Store {
    /// Estimated memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.index_bytes() + self.group_bytes
    }

    pub(super) fn index_bytes(&self) -> usize {
        self.index.bytes() + self.dictionary_bytes
    }

    fn bytes_max(&self) -> usize {
        self.settings.memory_bytes_max as usize
    }

    /// Drops what is too old, and what does not fit.
    pub(super) fn keep_limits(&mut self, at: i64, done: &mut Appended) {
        const SWEEPS_PER_RETENTION: i64 = 64;
        if at >= self.sweep_at {
            self.sweep(at);
            self.sweep_at = at.saturating_add((self.settings.retention.0 / SWEEPS_PER_RETENTION).max(1000));
        }
        if self.bytes() > self.bytes_max() {
            self.shed(done);
        }
    }

    fn sweep(&mut self, at: i64) {
        let until = at.saturating_sub(self.settings.retention.0);
        for number in 0..self.groups.len() {
            let group = &mut self.groups[number];
            let before = group.bytes();
            group.expire(until);
            self.group_bytes = self.group_bytes + group.bytes() - before;
            self.compact(number);
        }
        for number in 0..self.sensors.len() {
            if self.sensors[number].newest <= until {
                self.forget_dictionary(number);
            }
        }
        if self.bytes() < self.bytes_max() / 4 * 3 {
            self.is_full = false;
            self.take_shed_again();
        }
    }

    /// Lets series that were shed be stored again from their next sample on.
    pub(super) fn take_shed_again(&mut self) {
        let slots: Vec<u32> = self.index.slots().collect();
        slots.into_iter().for_each(|slot| self.index.get_mut(slot).is_shed = false);
    }

    /// Takes members without samples out of a group, and a group without members out of the store.
    fn compact(&mut self, number: usize) {
        let group = &self.groups[number];
        let stays = |member: &u32| group.members[*member as usize] != NONE && group.has_samples(*member as usize);
        let keep: Vec<u32> = (0..group.members.len() as u32).filter(stays).collect();
        if keep.len() == group.members.len() {
            return;
        }
        let before = group.bytes();
        let kept: BTreeSet<u32> = keep.iter().copied().collect();
        let gone: Vec<u32> = (0..group.members.len() as u32).filter(|member| !kept.contains(member)).collect();
        for slot in gone.into_iter().map(|member| group.members[member as usize]).filter(|slot| *slot != NONE) {
            self.index.set_live(slot, NONE, NONE);
            if self.index.get(slot).declared == 0 {
                self.index.remove(slot);
            }
        }
        self.groups[number].rebuild(&keep, &mut self.scratch);
        self.group_bytes = self.group_bytes + self.groups[number].bytes() - before;
        for (member, slot) in self.groups[number].members.iter().enumerate() {
            self.index.set_live(*slot, number as u32, member as u32);
        }
        self.correct_dictionary(number);
    }

    /// Corrects what names the group's members by number, and frees a group of stamped samples that is empty.
    fn correct_dictionary(&mut self, number: usize) {
        let group = &self.groups[number];
        let sensor = &mut self.sensors[group.sensor as usize];
        if group.is_row {
            for entry in sensor.dictionary.iter_mut().filter(|entry| entry.row_member != NONE) {
                let series = self.index.slot(super::SeriesRef(entry.reference)).map(|slot| self.index.get(slot));
                let member = series.filter(|series| series.group == number as u32).map(|series| series.member);
                entry.row_member = member.unwrap_or(NONE);
            }
        } else if group.members.is_empty() {
            sensor.cohorts.retain(|_, group| *group != number as u32);
            self.group_bytes -= group.bytes();
            self.groups[number] = Group::new(NONE, true);
            self.groups_free.push(number as u32);
        }
    }

    /// Brings the memory below the cap.
    fn shed(&mut self, done: &mut Appended) {
        let target = self.bytes_max() / 10 * 9;
        let mut candidates: Vec<(i64, u32)> = self
            .index
            .slots()
            .map(|slot| (self.index.get(slot), slot))
            .filter(|(series, _)| series.group != NONE && !series.is_protected)
            .map(|(series, slot)| (series.read_at, slot))
            .collect();
        candidates.sort_unstable();
        let mut candidates = candidates.into_iter();
        let (mut count, mut example) = (0u64, None);
        // Bytes of one member are an estimate (stamps are shared), hence the rounds.
        while self.bytes() > target && candidates.len() > 0 {
            let mut excess = (self.bytes() - target) as i64;
            let mut touched = BTreeSet::new();
            while excess > 0
                && let Some((_, slot)) = candidates.next()
            {
                example.get_or_insert_with(|| short(&self.index.key(slot)));
                count += 1;
                let series = self.index.get_mut(slot);
                series.is_shed = true;
                let (group, member) = (series.group as usize, series.member as usize);
                excess -= self.groups[group].member_bytes(member) as i64;
                touched.insert(group);
                self.leave(slot);
            }
            touched.into_iter().for_each(|group| self.compact(group));
        }
        if let Some(example) = example {
            done.shed_series += count;
            let max = self.bytes_max();
            done.limit(
                "memory_bytes_max",
                format!("{count} series shed, least recently read first, from {example} on: the cap is {max} bytes"),
            );
        }
        if self.bytes() > self.bytes_max() {
            self.shorten(done);
        }
    }

    /// Drops the oldest chunks of what is left, and takes no new series.
    fn shorten(&mut self, done: &mut Appended) {
        let max = self.bytes_max();
        if !self.is_full {
            self.is_full = true;
            done.limit(
                "memory_bytes_max",
                format!("new series are refused: only inputs of policies are left and they need {} of {max} bytes", self.bytes()),
            );
        }
        let mut chunks: Vec<(i64, usize)> = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            chunks.extend(group.chunks.iter().map(|chunk| (chunk.times.end, number)));
        }
        chunks.sort_unstable();
        let (mut dropped, mut example, mut until) = (0u64, None, 0);
        for (end, number) in chunks {
            if self.bytes() <= max / 20 * 19 {
                break;
            }
            let group = &mut self.groups[number];
            let before = group.bytes();
            group.drop_oldest();
            self.group_bytes = self.group_bytes + group.bytes() - before;
            let first = group.members.iter().copied().find(|slot| *slot != NONE);
            example = example.or_else(|| first.map(|slot| short(&self.index.key(slot))));
            (dropped, until) = (dropped + 1, end);
        }
        if let Some(example) = example {
            // Answers have changed without a new sample.
            self.index.void_reads();
            self.totals.shortened_chunks += dropped;
            done.limit("memory_bytes_max", format!("windows shortened to after {until} ms: {dropped} chunks dropped, first of {example}"));
        }
    }
}
