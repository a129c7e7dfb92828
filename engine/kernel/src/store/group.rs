//! A group: series that share their stamps. An uncompressed head, then sealed chunks.
//!
//! The head keeps each member's slots together (a window reads one stretch of memory) and is filled with "absent" beforehand, so
//! that a series missing from a row costs nothing. The newest row is always in the head: sealing happens when the next row comes.
//! Deliberately absent: who the members are (the index knows) and when to drop (the store knows). An editor breaks this module by
//! letting stamps of the head fall or repeat: reads search them by halves.

use super::chunk::{ABSENT, ALLOCATION_BYTES, Chunk, Scratch, is_sample};
use std::collections::VecDeque;

/// No member, no group, no series.
pub const NONE: u32 = u32::MAX;

/// Rows that a new head has room for; it doubles until it holds a chunk, so that rare series stay small.
const HEAD_ROWS_MIN: usize = 8;

/// Where a stamp goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A new row, the newest.
    New(usize),
    /// A row of the head.
    Existing(usize),
    /// Older than the newest row, and the head has no row with this stamp.
    TooOld,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is in.
    Done,
    /// The row has a value of this series already; the first wins, as in Prometheus.
    Duplicate,
    /// It is NaN: no number.
    NotANumber,
}

/// Series that share their stamps.
pub struct Group {
    /// The sensor's number.
    pub sensor: u32,
    /// Whether this is the sensor's row (the stamps are its reads) rather than stamped samples.
    pub is_row: bool,
    /// Slots of the members' series; [`NONE`] for one that has left and is not swept yet.
    pub members: Vec<u32>,
    /// Stamps of the head's rows, ascending.
    pub times: Vec<i64>,
    /// Sealed chunks, oldest first.
    pub chunks: VecDeque<Chunk>,
    /// The newest row that says of every member whether it is there; `i64::MIN` if there is none.
    pub last_complete: i64,
    /// Bytes of the sealed chunks.
    pub sealed_bytes: usize,
    /// Samples, sealed ones included.
    pub samples: u64,
    capacity: usize,
    slots: Vec<f64>,
    /// Members in the newest complete row and since, one bit each.
    present: Vec<u64>,
    /// Members in the row that is being written.
    seen: Vec<u64>,
}

impl Group {
    /// An empty group.
    pub fn new(sensor: u32, is_row: bool) -> Group {
        Group {
            sensor,
            is_row,
            members: Vec::new(),
            times: Vec::new(),
            chunks: VecDeque::new(),
            last_complete: i64::MIN,
            sealed_bytes: 0,
            samples: 0,
            capacity: 0,
            slots: Vec::new(),
            present: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Adds a series; gives its member number.
    pub fn join(&mut self, slot: u32) -> u32 {
        self.members.push(slot);
        self.slots.resize(self.members.len() * self.capacity, ABSENT);
        let words = self.members.len().div_ceil(64);
        self.present.resize(words, 0);
        self.seen.resize(words, 0);
        (self.members.len() - 1) as u32
    }

    /// The newest stamp.
    pub fn newest(&self) -> Option<i64> {
        self.times.last().copied().or_else(|| self.chunks.back().map(|chunk| chunk.times.end))
    }

    /// The head's slots of one member, one per row.
    pub fn head(&self, member: usize) -> &[f64] {
        let from = member * self.capacity;
        &self.slots[from..from + self.times.len()]
    }

    /// Finds or makes the row of a stamp; seals a full head first.
    pub fn row_at(&mut self, at: i64, rows_max: usize, scratch: &mut Scratch) -> Row {
        match self.newest() {
            Some(newest) if at <= newest => match self.times.binary_search(&at) {
                Ok(row) => Row::Existing(row),
                Err(_) => Row::TooOld,
            },
            _ => {
                if self.times.len() >= rows_max {
                    self.seal(scratch);
                } else if self.times.len() == self.capacity {
                    self.grow((self.capacity * 2).max(HEAD_ROWS_MIN).min(rows_max));
                }
                self.times.push(at);
                Row::New(self.times.len() - 1)
            }
        }
    }

    /// Writes one value of a row.
    #[inline]
    pub fn put(&mut self, row: usize, member: u32, value: f64) -> Put {
        if !is_sample(value) {
            return Put::NotANumber;
        }
        let slot = &mut self.slots[member as usize * self.capacity + row];
        if is_sample(*slot) {
            return Put::Duplicate;
        }
        *slot = value;
        self.samples += 1;
        self.seen[member as usize / 64] |= 1 << (member % 64);
        Put::Done
    }

    /// Ends a row. Calls `gone` with each series that the row before had and this complete row has not.
    pub fn end_row(&mut self, row: Row, is_complete: bool, mut gone: impl FnMut(u32)) {
        let is_newest = match row {
            Row::New(_) => true,
            Row::Existing(row) => row + 1 == self.times.len(),
            Row::TooOld => false,
        };
        let replaces = matches!(row, Row::New(_)) && is_complete;
        if replaces {
            self.last_complete = self.times[self.times.len() - 1];
        }
        for (word, (present, seen)) in self.present.iter_mut().zip(&mut self.seen).enumerate() {
            let seen = std::mem::take(seen);
            if !is_newest {
                continue;
            }
            if !replaces {
                *present |= seen;
                continue;
            }
            let mut missing = *present & !seen;
            *present = seen;
            while missing != 0 {
                gone(self.members[word * 64 + missing.trailing_zeros() as usize]);
                missing &= missing - 1;
            }
        }
    }

    fn seal(&mut self, scratch: &mut Scratch) {
        if !self.members.is_empty() {
            let chunk = Chunk::seal(&self.times, &self.slots, self.capacity, scratch);
            self.sealed_bytes += chunk.bytes();
            self.chunks.push_back(chunk);
        }
        self.clear_head();
    }

    fn clear_head(&mut self) {
        self.times.clear();
        self.slots.fill(ABSENT);
    }

    fn grow(&mut self, capacity: usize) {
        let mut slots = vec![ABSENT; self.members.len() * capacity];
        if self.capacity > 0 {
            for (new, old) in slots.chunks_exact_mut(capacity).zip(self.slots.chunks_exact(self.capacity)) {
                new[..old.len()].copy_from_slice(old);
            }
        }
        self.times.reserve_exact(capacity - self.times.len());
        (self.slots, self.capacity) = (slots, capacity);
    }

    /// Drops what ends at or before `until`.
    pub fn expire(&mut self, until: i64) {
        while self.chunks.front().is_some_and(|chunk| chunk.times.end <= until) {
            self.drop_oldest();
        }
        if self.times.last().is_some_and(|newest| *newest <= until) {
            self.samples = self.chunks.iter().map(|chunk| chunk.samples).sum();
            self.clear_head();
        }
    }

    /// Drops the oldest chunk.
    pub fn drop_oldest(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.sealed_bytes -= chunk.bytes();
            self.samples -= chunk.samples;
        }
    }

    /// Whether a member has any sample.
    pub fn has_samples(&self, member: usize) -> bool {
        self.head(member).iter().any(|value| is_sample(*value)) || self.chunks.iter().rev().any(|chunk| chunk.last(member).is_some())
    }

    /// Keeps only these members, renumbered in this order.
    pub fn rebuild(&mut self, keep: &[u32], scratch: &mut Scratch) {
        let bit = |words: &[u64], member: u32| words[member as usize / 64] >> (member % 64) & 1;
        let mut next = Group { last_complete: self.last_complete, capacity: self.capacity, ..Group::new(self.sensor, self.is_row) };
        next.slots.reserve_exact(keep.len() * self.capacity);
        for (new, &member) in keep.iter().enumerate() {
            next.join(self.members[member as usize]);
            next.present[new / 64] |= bit(&self.present, member) << (new % 64);
            let from = member as usize * self.capacity;
            let old = &self.slots[from..from + self.capacity];
            next.slots[new * self.capacity..].copy_from_slice(old);
            next.samples += old.iter().filter(|value| is_sample(**value)).count() as u64;
        }
        next.times = std::mem::take(&mut self.times);
        for chunk in &self.chunks {
            let chunk = chunk.rebuild(keep, scratch);
            next.sealed_bytes += chunk.bytes();
            next.samples += chunk.samples;
            next.chunks.push_back(chunk);
        }
        *self = next;
    }

    /// Bytes of the head: slots, stamps, members.
    pub fn head_bytes(&self) -> usize {
        self.slots.capacity() * 8
            + self.times.capacity() * 8
            + self.members.capacity() * 4
            + (self.present.capacity() + self.seen.capacity()) * 8
            + 5 * ALLOCATION_BYTES
    }

    /// All bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Group>() + self.head_bytes() + self.sealed_bytes + (self.chunks.capacity() - self.chunks.len()) * size_of::<Chunk>()
    }

    /// Bytes that one member alone costs.
    pub fn member_bytes(&self, member: usize) -> usize {
        self.capacity * 8 + self.chunks.iter().map(|chunk| chunk.member_bytes(member)).sum::<usize>()
    }
}
