//! Samples into equal means: at most 96 before the sending and 96 in the judged time, empty ones stay missing.
//!
//! Deliberately absent: filling of holes (only explaining columns are filled, never the judged series). An editor breaks this by a width
//! that is no multiple of the sampling step (every mean would then hold another number of samples), or by counting a sample at the very
//! moment of the sending as after.

use super::{Gap, Question};

/// Most means before the sending.
pub(super) const BEFORE_MAX: usize = 96;
/// Most means in the judged time.
pub(super) const AFTER_MAX: usize = 96;
/// Most means in all.
pub(super) const ROWS_MAX: usize = BEFORE_MAX + AFTER_MAX;
/// The judged time is cut into about so many means …
const AFTER_WANTED: f64 = 12.0;
/// … unless that would leave fewer than so many before.
const BEFORE_WANTED: f64 = 48.0;
/// Fewer means than this before the sending say nothing about what is usual.
const BEFORE_MIN: usize = 12;
/// The newest mean before the sending may be this many widths old.
const UNSEEN_MAX: usize = 4;

/// Equal widths, counted from the sending backwards and from `from` onwards.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Grid {
    /// Width of a mean, seconds.
    pub(super) width: f64,
    /// The usual distance of two samples, seconds.
    pub(super) step: f64,
    /// Means before.
    pub(super) before: usize,
    /// Means after.
    pub(super) after: usize,
    /// Begin of the judged time, seconds.
    pub(super) from: f64,
    /// End of the judged time, seconds.
    pub(super) to: f64,
}

impl Grid {
    /// The widths that suit the question's target.
    pub(super) fn for_question(question: &Question<'_>) -> Result<Grid, Gap> {
        let target = question.target;
        let last = target.partition_point(|(at, _)| *at <= 0.0);
        let past = &target[..last];
        let needed = BEFORE_MIN;
        let (Some(first), Some(step)) = (past.iter().map(|(at, _)| *at).find(|at| at.is_finite()), usual_step(past)) else {
            return Err(Gap::Before { found: past.len().min(1), needed });
        };
        let judged = question.to - question.from;
        let whole = |seconds: f64| step * (seconds / step - 1e-9).ceil().max(1.0);
        let width = whole((judged / AFTER_WANTED).min(-first / BEFORE_WANTED)).max(whole(judged / AFTER_MAX as f64));
        let before = ((-first / width + 1e-9).floor() + 1.0).min(BEFORE_MAX as f64);
        let after = (judged / width + 1e-9).floor().clamp(1.0, AFTER_MAX as f64);
        if !(width.is_finite() && before.is_finite() && after.is_finite()) {
            return Err(Gap::Question);
        }
        Ok(Grid { width, step, before: before as usize, after: after as usize, from: question.from, to: question.to })
    }

    /// Rows in all, those before the sending first.
    pub(super) fn rows(&self) -> usize {
        self.before + self.after
    }

    /// How many widths lie between the last mean before and the first after.
    pub(super) fn gap(&self) -> f64 {
        ((self.from + self.width - self.step) / self.width).max(0.1)
    }

    /// Means of the samples, `shift` seconds later than they were, per row; rows without a sample are NaN.
    /// One pass over the samples inside the window.
    pub(super) fn means(&self, samples: &[(f64, f64)], shift: f64, rows: &mut Means) {
        rows.clear(self.rows());
        let place = |at: f64| samples.partition_point(|(time, _)| *time + shift <= at);
        let sent = place(0.0);
        let inverse = 1.0 / self.width;
        for (at, value) in &samples[place(-(self.before as f64) * self.width).min(sent)..sent] {
            let at = at + shift;
            let back = (1e-9 - at * inverse) as i32 as usize;
            if back < self.before && value.is_finite() {
                rows.add(self.before - 1 - back, *value);
            }
        }
        let last = (self.after - 1) as i32;
        for (at, value) in &samples[sent..] {
            let at = at + shift;
            if at > self.to {
                break;
            }
            if at >= self.from && value.is_finite() {
                let on = ((at - self.from) * inverse + 1e-9) as i32;
                rows.add(self.before + on.min(last) as usize, *value);
            }
        }
        rows.divide(self.rows());
    }

    /// Whether the judged series was seen where it counts.
    pub(super) fn holes(&self, means: &Means) -> Result<(), Gap> {
        let seen = |rows: std::ops::Range<usize>| rows.filter(|row| means.count[*row] > 0.0).count();
        let (before, after) = (seen(0..self.before), seen(self.before..self.rows()));
        if before < BEFORE_MIN {
            return Err(Gap::Before { found: before, needed: BEFORE_MIN });
        }
        let newest = (0..self.before).rev().position(|row| means.count[row] > 0.0).unwrap_or(self.before);
        if newest > UNSEEN_MAX {
            let width = self.width;
            return Err(Gap::Unseen { seconds: newest as f64 * width, limit_seconds: UNSEEN_MAX as f64 * width });
        }
        let needed = self.after.div_ceil(2);
        if after < needed { Err(Gap::After { found: after, needed }) } else { Ok(()) }
    }
}

/// The usual distance of two samples: the median over at most 32 places spread over the past.
fn usual_step(past: &[(f64, f64)]) -> Option<f64> {
    let pairs = past.len().saturating_sub(1);
    let stride = pairs.div_ceil(32).max(1);
    let mut steps = [0.0; 32];
    let mut found = 0;
    for begin in (0..pairs).step_by(stride) {
        // Values at the same moment have no distance.
        let distances = (begin..(begin + stride).min(pairs)).map(|pair| past[pair + 1].0 - past[pair].0);
        if let Some(step) = distances.into_iter().find(|step| *step > 0.0 && step.is_finite()) {
            steps[found] = step;
            found += 1;
        }
    }
    let steps = &mut steps[..found];
    steps.sort_unstable_by(f64::total_cmp);
    steps.get(found / 2).copied()
}

/// One series on the grid's rows.
#[derive(Clone, Debug)]
pub(super) struct Means {
    /// Samples per row.
    pub(super) count: [f64; ROWS_MAX],
    /// Their mean; NaN without samples.
    pub(super) value: [f64; ROWS_MAX],
}

impl Means {
    /// Room for one series.
    pub(super) fn new() -> Means {
        Means { count: [0.0; ROWS_MAX], value: [0.0; ROWS_MAX] }
    }

    fn clear(&mut self, rows: usize) {
        for column in [&mut self.count, &mut self.value] {
            column[..rows].fill(0.0);
        }
    }

    fn add(&mut self, row: usize, value: f64) {
        self.count[row] += 1.0;
        self.value[row] += value;
    }

    fn divide(&mut self, rows: usize) {
        for row in 0..rows {
            self.value[row] /= self.count[row];
        }
    }

    /// Fills missing rows on the straight line between their neighbours; false if fewer than `share` of the rows in `range` were seen.
    pub(super) fn fill(&mut self, range: std::ops::Range<usize>, share: f64) -> bool {
        let values = &mut self.value[range];
        let seen = values.iter().filter(|value| value.is_finite()).count();
        if seen == 0 || (seen as f64) < share * values.len() as f64 {
            return false;
        }
        let mut previous: Option<usize> = None;
        for row in 0..values.len() {
            if !values[row].is_finite() {
                continue;
            }
            let begin = previous.map_or(0, |row| row + 1);
            let left = previous.map_or(values[row], |at| values[at]);
            let right = values[row];
            let span = (row - begin + 1) as f64;
            for (place, missing) in values[begin..row].iter_mut().enumerate() {
                *missing = left + (right - left) * ((place + 1) as f64 / span);
            }
            previous = Some(row);
        }
        if let Some(last) = previous {
            let value = values[last];
            values[last + 1..].fill(value);
        }
        true
    }
}
