//! One sensor's row: which series have a value, and the values. A row that has the same series as the one before costs one bit per
//! unchanged value and eight bytes per changed one.
//!
//! A value is compared with the previous row's value *of the same series*, found by walking both rows once; the reader walks the
//! same way, so the walk's rule (`Previous::value_of`) is part of the format. An editor breaks it by changing that rule.

use super::wire::{Broken, Cursor, put_i64, put_u64};

/// The last row, on both sides.
#[derive(Default)]
pub(super) struct Column {
    series: Vec<u32>,
    bits: Vec<u64>,
    scratch: Vec<u8>,
}

/// Walks the previous row beside the new one.
struct Previous<'a> {
    series: &'a [u32],
    bits: &'a [u64],
    at: usize,
}

impl Previous<'_> {
    /// The previous value of a series; zero bits where there was none. Only moves forward: rows ascend in practice, and where one
    /// does not, both sides miss the same values.
    fn value_of(&mut self, series: u32) -> u64 {
        while self.at < self.series.len() && self.series[self.at] < series {
            self.at += 1;
        }
        if self.series.get(self.at) == Some(&series) { self.bits[self.at] } else { 0 }
    }
}

impl Column {
    pub(super) fn clear(&mut self) {
        self.series.clear();
        self.bits.clear();
    }

    /// Writes a row and remembers it. `items` are `(series, value bits)`.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>, items: impl ExactSizeIterator<Item = (u32, u64)> + Clone) {
        let same = items.len() == self.series.len() && items.clone().zip(&self.series).all(|((series, _), known)| series == *known);
        if same {
            put_u64(out, 0);
            return self.encode_same(out, items);
        }
        put_runs(out, items.clone().map(|(series, _)| series));
        let bitmap_at = out.len();
        out.resize(bitmap_at + items.len().div_ceil(8), 0);
        let mut previous = Previous { series: &self.series, bits: &self.bits, at: 0 };
        for (i, (series, bits)) in items.clone().enumerate() {
            if bits != previous.value_of(series) {
                out[bitmap_at + i / 8] |= 1 << (i % 8);
                out.extend_from_slice(&bits.to_le_bytes());
            }
        }
        self.clear();
        for (series, bits) in items {
            self.series.push(series);
            self.bits.push(bits);
        }
    }

    /// The steady state: eight values per step, one bitmap byte each.
    fn encode_same(&mut self, out: &mut Vec<u8>, mut items: impl Iterator<Item = (u32, u64)>) {
        let bitmap_at = out.len();
        out.resize(bitmap_at + self.bits.len().div_ceil(8), 0);
        for (byte, known) in self.bits.chunks_mut(8).enumerate() {
            let mut changed = 0u8;
            for (bit, slot) in known.iter_mut().enumerate() {
                let Some((_, bits)) = items.next() else { break };
                if bits != *slot {
                    *slot = bits;
                    changed |= 1 << bit;
                    out.extend_from_slice(&bits.to_le_bytes());
                }
            }
            out[bitmap_at + byte] = changed;
        }
    }

    /// Reads a row and remembers it; `(series, value bits)` are then in [`Column::items`].
    pub(super) fn decode(&mut self, from: &mut Cursor<'_>) -> Result<(), Broken> {
        let Some(series) = take_runs(from)? else {
            self.scratch.clear();
            self.scratch.extend_from_slice(from.take(self.series.len().div_ceil(8))?);
            for (i, slot) in self.bits.iter_mut().enumerate() {
                if self.scratch[i / 8] & (1 << (i % 8)) != 0 {
                    *slot = from.bits()?;
                }
            }
            return Ok(());
        };
        let bitmap = from.take(series.len().div_ceil(8))?;
        let mut bits = Vec::with_capacity(series.len());
        let mut previous = Previous { series: &self.series, bits: &self.bits, at: 0 };
        for (i, number) in series.iter().enumerate() {
            let before = previous.value_of(*number);
            bits.push(if bitmap[i / 8] & (1 << (i % 8)) != 0 { from.bits()? } else { before });
        }
        self.series = series;
        self.bits = bits;
        Ok(())
    }

    pub(super) fn items(&self) -> impl ExactSizeIterator<Item = (u32, u64)> {
        self.series.iter().copied().zip(self.bits.iter().copied())
    }
}

/// Series numbers as runs of consecutive ones: `1 + number of runs`, then per run the distance from the end of the one before and its
/// length.
pub(super) fn put_runs(out: &mut Vec<u8>, numbers: impl Iterator<Item = u32> + Clone) {
    let mut runs = 0u64;
    for_each_run(numbers.clone(), |_, _| runs += 1);
    put_u64(out, 1 + runs);
    let mut end = 0i64;
    for_each_run(numbers, |start, len| {
        put_i64(out, i64::from(start) - end);
        put_u64(out, len);
        end = i64::from(start) + len as i64;
    });
}

fn for_each_run(numbers: impl Iterator<Item = u32>, mut each: impl FnMut(u32, u64)) {
    let mut run: Option<(u32, u64)> = None;
    for number in numbers {
        match &mut run {
            Some((start, len)) if u64::from(*start) + *len == u64::from(number) => *len += 1,
            _ => {
                if let Some((start, len)) = run.replace((number, 1)) {
                    each(start, len);
                }
            }
        }
    }
    if let Some((start, len)) = run {
        each(start, len);
    }
}

/// Reads what [`put_runs`] wrote; `None` stands for "as before". The numbers are at most eight per byte left in the record, so a
/// damaged length cannot ask for memory without end.
pub(super) fn take_runs(from: &mut Cursor<'_>) -> Result<Option<Vec<u32>>, Broken> {
    let Some(runs) = from.u64()?.checked_sub(1) else { return Ok(None) };
    let mut numbers = Vec::new();
    let mut end = 0i64;
    for _ in 0..runs {
        let start = end.checked_add(from.i64()?).ok_or(Broken("a series number is out of range"))?;
        let len = from.u64()?;
        if len > (from.left() as u64).saturating_mul(8) || numbers.len() as u64 + len > (from.left() as u64).saturating_mul(8) {
            return Err(Broken("a run is longer than its record"));
        }
        end = start.checked_add(len as i64).ok_or(Broken("a series number is out of range"))?;
        if start < 0 || end > i64::from(u32::MAX) + 1 {
            return Err(Broken("a series number is out of range"));
        }
        numbers.extend((start..end).map(|number| number as u32));
    }
    Ok(Some(numbers))
}
