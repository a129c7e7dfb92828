//! A sealed chunk of a group: one time column, one block per member, summaries so that most reads decode nothing.
//!
//! A block is eight bytes. A constant series *is* its block (no summary, no data); others point to a [`Summary`] and packed values.
//! Nothing stored is ever NaN (see the store's module page), so NaN patterns are free to mean "no sample" and "packed".
//! Deliberately absent: changes. A sealed chunk is only read, dropped or rebuilt without some members. An editor breaks this
//! module by summarising a block with holes: its first and last stamps are not the column's, so it must be decoded.

use super::codec::{ROWS_MAX, decode_floats, decode_ints, encode_floats, encode_ints};
use super::moments::Sum;

/// "No sample here", in heads and blocks. It is the bit pattern of Prometheus' stale marker.
pub const ABSENT_BITS: u64 = 0x7ff0_0000_0000_0002;

/// [`ABSENT_BITS`] as a float.
pub const ABSENT: f64 = f64::from_bits(ABSENT_BITS);

/// The upper half of a packed block; the lower half numbers its summary.
const PACKED: u64 = 0xfff8_0001_0000_0000;

/// Whether a slot holds a sample: nothing stored is NaN, so only "absent" is.
#[inline]
pub fn is_sample(value: f64) -> bool {
    !value.is_nan()
}

/// What is known of a packed block without decoding it.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Sum of the samples, compensated.
    pub sum: f64,
    /// Sum of squared distances from the mean (a raw sum of squares would lose all digits on large counters).
    pub m2: f64,
    /// Least sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
    /// First sample.
    pub first: f64,
    /// Last sample.
    pub last: f64,
    /// Sum of the values before each decrease: what a counter lost to resets.
    pub resets: f64,
    /// Samples.
    pub count: u16,
    /// Rows after the last sample; not zero only with holes.
    rows_after_last: u8,
    has_holes: bool,
    offset: u32,
}

impl Summary {
    /// Summarises samples in order of time.
    pub fn of(values: &[f64]) -> Summary {
        let mut sum = Sum::default();
        let (mut min, mut max, mut resets) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        let mut before = f64::NEG_INFINITY;
        for &value in values {
            sum.add(value);
            min = min.min(value);
            max = max.max(value);
            resets += if value < before { before } else { 0.0 };
            before = value;
        }
        let total = sum.total();
        let mean = total / values.len() as f64;
        let m2 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let (first, last) = (values.first().copied().unwrap_or(ABSENT), before);
        let count = values.len() as u16;
        Summary { sum: total, m2, min, max, first, last, resets, count, rows_after_last: 0, has_holes: false, offset: 0 }
    }

    /// The summary of `count` equal samples.
    pub fn of_constant(value: f64, count: usize) -> Summary {
        Summary {
            sum: value * count as f64,
            m2: if value.is_finite() { 0.0 } else { f64::NAN },
            min: value,
            max: value,
            first: value,
            last: value,
            resets: 0.0,
            count: count as u16,
            rows_after_last: 0,
            has_holes: false,
            offset: 0,
        }
    }
}

/// A chunk's stamps.
#[derive(Clone, Debug)]
pub struct Times {
    /// First stamp, milliseconds.
    pub start: i64,
    /// Last stamp, milliseconds.
    pub end: i64,
    /// The longest step, milliseconds.
    pub gap_max: i64,
    /// Rows.
    pub rows: usize,
    /// Packed stamps; empty if every step is `gap_max`.
    packed: Box<[u8]>,
}

impl Times {
    fn seal(times: &[i64], scratch: &mut Vec<u8>) -> Times {
        let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let gap_max = steps.clone().max().unwrap_or(0);
        scratch.clear();
        if !steps.clone().all(|step| step == gap_max) {
            encode_ints(times, scratch);
        }
        Times { start: times[0], end: times[times.len() - 1], gap_max, rows: times.len(), packed: scratch.as_slice().into() }
    }

    /// All stamps.
    pub fn decode<'a>(&self, into: &'a mut [i64; ROWS_MAX]) -> &'a [i64] {
        let into = &mut into[..self.rows];
        if self.packed.is_empty() {
            for (row, time) in into.iter_mut().enumerate() {
                *time = self.start + row as i64 * self.gap_max;
            }
        } else {
            decode_ints(&self.packed, into);
        }
        into
    }
}

/// What a block holds.
pub enum Block<'a> {
    /// No sample.
    Absent,
    /// The same value in every row.
    Constant(f64),
    /// Anything else.
    Packed(&'a Summary),
}

/// A sealed chunk.
pub struct Chunk {
    /// The stamps of its rows.
    pub times: Times,
    /// Samples of all members.
    pub samples: u64,
    blocks: Box<[u64]>,
    summaries: Box<[Summary]>,
    data: Box<[u8]>,
}

/// Buffers for sealing, kept between chunks.
#[derive(Default)]
pub struct Scratch {
    blocks: Vec<u64>,
    summaries: Vec<Summary>,
    data: Vec<u8>,
    times: Vec<u8>,
    values: Vec<f64>,
}

/// Estimated bytes that the allocator adds to one allocation.
pub const ALLOCATION_BYTES: usize = 16;

impl Chunk {
    /// Seals the head of a group: `slots` holds `capacity` values per member, of which the first `times.len()` are rows.
    pub fn seal(times: &[i64], slots: &[f64], capacity: usize, scratch: &mut Scratch) -> Chunk {
        scratch.blocks.clear();
        scratch.summaries.clear();
        scratch.data.clear();
        for member in slots.chunks_exact(capacity) {
            let block = scratch.seal_block(&member[..times.len()]);
            scratch.blocks.push(block);
        }
        let times = Times::seal(times, &mut scratch.times);
        scratch.finish(times)
    }

    /// Memory, in bytes, with what the allocator adds.
    pub fn bytes(&self) -> usize {
        size_of::<Chunk>()
            + self.blocks.len() * 8
            + self.summaries.len() * size_of::<Summary>()
            + self.data.len()
            + self.times.packed.len()
            + 3 * ALLOCATION_BYTES
    }

    /// What one member has in this chunk.
    pub fn block(&self, member: usize) -> Block<'_> {
        match self.blocks.get(member) {
            None | Some(&ABSENT_BITS) => Block::Absent,
            Some(&bits) if is_sample(f64::from_bits(bits)) => Block::Constant(f64::from_bits(bits)),
            Some(&bits) => Block::Packed(&self.summaries[(bits & 0xffff_ffff) as usize]),
        }
    }

    /// The block's summary, if it can stand for the block: no holes, so that its first and last samples are the column's.
    pub fn summary(&self, member: usize) -> Option<Summary> {
        match self.block(member) {
            Block::Absent => None,
            Block::Constant(value) => Some(Summary::of_constant(value, self.times.rows)),
            Block::Packed(summary) => (!summary.has_holes).then_some(*summary),
        }
    }

    /// The newest sample's row and value.
    pub fn last(&self, member: usize) -> Option<(usize, f64)> {
        match self.block(member) {
            Block::Absent => None,
            Block::Constant(value) => Some((self.times.rows - 1, value)),
            Block::Packed(summary) => Some((self.times.rows - 1 - summary.rows_after_last as usize, summary.last)),
        }
    }

    /// All rows of one member, absent where there is no sample.
    pub fn decode<'a>(&self, member: usize, into: &'a mut [f64; ROWS_MAX]) -> &'a [f64] {
        let rows = self.times.rows;
        match self.block(member) {
            Block::Absent => into[..rows].fill(ABSENT),
            Block::Constant(value) => into[..rows].fill(value),
            Block::Packed(summary) => {
                let data = &self.data[summary.offset as usize..];
                if !summary.has_holes {
                    decode_floats(data, &mut into[..rows]);
                } else {
                    let (bitmap, data) = data.split_at(rows.div_ceil(8));
                    decode_floats(data, &mut into[..summary.count as usize]);
                    spread(bitmap, summary.count as usize, &mut into[..rows]);
                }
            }
        }
        &into[..rows]
    }

    /// Bytes that this member alone costs here.
    pub fn member_bytes(&self, member: usize) -> usize {
        match self.block(member) {
            Block::Packed(_) => {
                let index = (self.blocks[member] & 0xffff_ffff) as usize;
                let end = self.summaries.get(index + 1).map_or(self.data.len(), |next| next.offset as usize);
                8 + size_of::<Summary>() + end - self.summaries[index].offset as usize
            }
            _ => 8,
        }
    }

    /// The same chunk with only the members that `keep` lists, renumbered in that order.
    pub fn rebuild(&self, keep: &[u32], scratch: &mut Scratch) -> Chunk {
        scratch.blocks.clear();
        scratch.summaries.clear();
        scratch.data.clear();
        for &member in keep {
            let member = member as usize;
            let mut bits = self.blocks.get(member).copied().unwrap_or(ABSENT_BITS);
            if let Block::Packed(summary) = self.block(member) {
                let length = self.member_bytes(member) - 8 - size_of::<Summary>();
                let from = summary.offset as usize;
                bits = PACKED | scratch.summaries.len() as u64;
                scratch.summaries.push(Summary { offset: scratch.data.len() as u32, ..*summary });
                scratch.data.extend_from_slice(&self.data[from..from + length]);
            }
            scratch.blocks.push(bits);
        }
        scratch.finish(self.times.clone())
    }
}

impl Scratch {
    /// The chunk of the blocks gathered here.
    fn finish(&self, times: Times) -> Chunk {
        let constant = self.blocks.iter().filter(|bits| is_sample(f64::from_bits(**bits))).count() * times.rows;
        let packed: usize = self.summaries.iter().map(|summary| summary.count as usize).sum();
        Chunk {
            times,
            samples: (constant + packed) as u64,
            blocks: self.blocks.as_slice().into(),
            summaries: self.summaries.as_slice().into(),
            data: self.data.as_slice().into(),
        }
    }

    fn seal_block(&mut self, rows: &[f64]) -> u64 {
        let first = rows[0].to_bits();
        if rows.iter().all(|value| value.to_bits() == first) {
            return first;
        }
        self.values.clear();
        self.values.extend(rows.iter().copied().filter(|value| is_sample(*value)));
        if self.values.is_empty() {
            return ABSENT_BITS;
        }
        let mut summary = Summary::of(&self.values);
        summary.offset = self.data.len() as u32;
        if self.values.len() < rows.len() {
            summary.has_holes = true;
            summary.rows_after_last = rows.iter().rev().take_while(|value| !is_sample(**value)).count() as u8;
            let bitmap = self.data.len();
            self.data.resize(bitmap + rows.len().div_ceil(8), 0);
            for (row, _) in rows.iter().enumerate().filter(|(_, value)| is_sample(**value)) {
                self.data[bitmap + row / 8] |= 1 << (row % 8);
            }
        }
        encode_floats(&self.values, &mut self.data);
        self.summaries.push(summary);
        PACKED | (self.summaries.len() - 1) as u64
    }
}

/// Moves `count` values from the front to the rows whose bits are set, from the back so that nothing is overwritten too early.
fn spread(bitmap: &[u8], count: usize, rows: &mut [f64]) {
    let mut from = count;
    for row in (0..rows.len()).rev() {
        rows[row] = if bitmap[row / 8] & (1 << (row % 8)) != 0 {
            from -= 1;
            rows[from]
        } else {
            ABSENT
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_chunk_gives_back_what_was_sealed(
            members in prop::collection::vec(prop::collection::vec(prop_oneof![2 => Just(ABSENT), 2 => Just(7.5), 3 => -1e6..1e6f64], 40), 1..5),
            steps in prop::collection::vec(prop_oneof![9 => Just(15_000i64), 1 => 1i64..100_000], 40),
            rows in 1usize..=40,
        ) {
            let times: Vec<i64> = steps.iter().scan(1_795_217_860_000i64, |time, step| { *time += step; Some(*time) }).take(rows).collect();
            let slots: Vec<f64> = members.iter().flatten().copied().collect();
            let chunk = Chunk::seal(&times, &slots, 40, &mut Scratch::default());
            let keep: Vec<u32> = (0..members.len() as u32).rev().collect();
            let turned = chunk.rebuild(&keep, &mut Scratch::default());
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            for (member, values) in members.iter().enumerate() {
                let (mut one, mut two) = ([0.0; ROWS_MAX], [0.0; ROWS_MAX]);
                prop_assert_eq!(bits(chunk.decode(member, &mut one)), bits(&values[..rows]));
                prop_assert_eq!(bits(turned.decode(members.len() - 1 - member, &mut two)), bits(&values[..rows]));
                let last = values[..rows].iter().copied().enumerate().rfind(|(_, value)| is_sample(*value));
                prop_assert_eq!(chunk.last(member), last);
            }
            let mut decoded = [0; ROWS_MAX];
            prop_assert_eq!(chunk.times.decode(&mut decoded), &times[..]);
        }
    }
}
