//! What explains the series: an intercept, its siblings' common movement, its own last days at the same time of day, and a slope.
//!
//! Siblings enter as one column: their movements, each weighted by how well it went along before the sending (the first component of
//! partial least squares), never negatively; so a sibling that moved otherwise has no say, and eight cannot fit noise better than one.
//! The series' own last two days enter as one column too, expected to repeat themselves. (A daily job of
//! which nothing shows before the sending is expected only in part: the past days' noise speaks against repetition.) Both are smoothed over five rows: what a sibling or a past day has for itself
//! is noise here, and noise in an explaining column makes its weight too small. Then a series that crossed a line on a common rise is
//! expected to come back too early: over 2,000 crossings with two siblings the bias of the effect was 0.31 of the series' own deviation
//! without smoothing and 0.02 with it. The price: siblings that share only movement faster than a row leave an interval about 15 %
//! wider. Both columns, and the series, are centred and brought to unit deviation by what was seen before the sending alone.
//!
//! Deliberately absent: the fit itself ([`super::forecast`]). An editor breaks this by letting rows after the sending into a weight.

use super::buckets::{Grid, Means, ROWS_MAX};
use super::forecast::Forecast;
use super::{CONTROLS_MAX, Gap, Question};
use crate::score::order;

/// Intercept, siblings, days, slope and the series itself. The slope stands last of what explains, so that the fit without it is the same
/// fit, one row shorter.
pub(super) const COLUMNS: usize = 5;
/// The series' own column.
pub(super) const SERIES: usize = 4;
/// The intercept's column.
pub(super) const LEVEL: usize = 0;
/// The slope's column.
pub(super) const SLOPE: usize = 3;
/// The siblings' column; all zero where none took part.
const SIBLINGS: usize = 1;
/// The days' column; all zero where none took part.
const DAYS: usize = 2;
/// Days looked back.
const DAYS_MAX: usize = 2;
/// A day repeats the last ones: their weight is 1, give or take a half, before anything was seen. That is a precision of 4 in squares of
/// the series' unit.
const REPEATS: f64 = 4.0;
const DAY_SECONDS: f64 = 86_400.0;
/// A column is used if so much of it was seen, before and after.
const SEEN_SHARE: f64 = 0.7;
/// Residuals beyond so many deviations are clipped …
const CLIP: f64 = 5.0;
/// … except in so many last means before the sending: they say where the way back to the mean begins.
const NEVER_CLIPPED: usize = 4;

/// One row: its values and how many widths it lies after the row before.
#[derive(Copy, Clone, Debug)]
pub(super) struct Row {
    /// Intercept, siblings, days, slope, series.
    pub(super) values: [f64; COLUMNS],
    /// Widths since the last row that was seen.
    pub(super) steps: f64,
}

/// All rows that were seen.
#[derive(Clone, Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    before: usize,
    /// Nothing is missing before the sending.
    pub(super) is_whole: bool,
    centre: f64,
    scale: f64,
    observed: f64,
    rhythm: f64,
    /// Prior precision of the days' weight, in units of the noise's variance.
    pub(super) day_precision: f64,
    /// Noise below this (in the table's own unit) is not believed.
    pub(super) floor: f64,
    /// Samples that a mean usually holds; 64 stand for more.
    pub(super) samples: f64,
    /// Siblings in it.
    pub(super) controls: u32,
    /// Days in it.
    pub(super) days: u32,
    /// Widths of the judged time with its dead time: how far placebo dates are apart.
    pub(super) horizon: f64,
    /// Means in the judged time, seen or not.
    pub(super) after_all: usize,
}

impl Table {
    /// The question's rows.
    pub(super) fn fill(question: &Question<'_>, grid: &Grid) -> Result<Table, Gap> {
        let mut target = Means::new();
        grid.means(question.target, 0.0, &mut target);
        grid.holes(&target)?;
        let (mut siblings, mut days) = ([0.0; ROWS_MAX], [0.0; ROWS_MAX]);
        let standard = Standard::of(grid, &target.value, &target.count);
        let (day_count, day_deviation) = day_column(question, grid, &mut days);
        let controls = sibling_column(question, grid, &target, &standard, &mut siblings);
        let scale = if standard.deviation > 0.0 { standard.deviation } else { question.matters };
        if !(scale.is_finite() && standard.mean.is_finite()) {
            return Err(Gap::Range);
        }
        let repeated = day_deviation / scale;
        let mut rows = Vec::with_capacity(grid.rows());
        let (mut last, mut before) = (0.0, 0);
        for row in 0..grid.rows() {
            if target.count[row] == 0.0 {
                continue;
            }
            let place = if row < grid.before { row as f64 } else { (row - 1) as f64 + grid.gap() };
            // By the row, not by its samples' mean time: so it is the same for all series that are seen as often.
            let slope = 3.46 * ((place + 1.0) / grid.before as f64 - 0.5);
            let value = (target.value[row] - standard.mean) / scale - repeated * days[row];
            rows.push(Row { values: [1.0, siblings[row], days[row], slope, value], steps: place - last });
            last = place;
            before += usize::from(row < grid.before);
        }
        let judged = &rows[before..];
        let mean = |column: usize| judged.iter().map(|row| row.values[column]).sum::<f64>() / judged.len() as f64;
        let rhythm = repeated * mean(DAYS);
        let observed = mean(SERIES) + rhythm;
        let mut table = Table {
            rows,
            before,
            is_whole: before == grid.before,
            centre: standard.mean,
            scale,
            observed,
            rhythm,
            day_precision: if repeated > 0.0 { (REPEATS / (repeated * repeated)).min(1e6) } else { 1.0 },
            floor: 0.05 * question.matters / scale,
            samples: (grid.width / grid.step).round().clamp(1.0, 64.0),
            controls,
            days: day_count,
            horizon: grid.gap() + grid.after as f64,
            after_all: grid.after,
        };
        table.clip();
        Ok(table)
    }

    /// Rows before the sending.
    pub(super) fn past(&self) -> &[Row] {
        &self.rows[..self.before]
    }

    /// Rows of the judged time.
    pub(super) fn judged(&self) -> &[Row] {
        &self.rows[self.before..]
    }

    /// How many columns hold anything: without siblings or past days theirs are zero in every row, and so in every sum.
    pub(super) fn width(&self) -> usize {
        COLUMNS - usize::from(self.controls == 0) - usize::from(self.days == 0)
    }

    /// Which columns hold anything, in order; `WIDTH` is [`Table::width`].
    pub(super) fn columns<const WIDTH: usize>(&self) -> [usize; WIDTH] {
        let absent = |column: usize| (column == SIBLINGS && self.controls == 0) || (column == DAYS && self.days == 0);
        let mut present = (0..COLUMNS).filter(|column| !absent(*column));
        std::array::from_fn(|_| present.next().unwrap_or(SERIES))
    }

    /// Means before.
    pub(super) fn seen_before(&self) -> usize {
        self.before
    }

    /// Means after.
    pub(super) fn seen_after(&self) -> usize {
        self.rows.len() - self.before
    }

    /// The mean that came, in the series' unit.
    pub(super) fn observed(&self) -> f64 {
        self.centre + self.scale * self.observed
    }

    /// A forecast in the series' unit.
    pub(super) fn in_units(&self, forecast: &Forecast, widened: f64) -> Forecast {
        Forecast {
            mean: self.centre + self.scale * (forecast.mean + self.rhythm),
            scale: self.scale * forecast.scale * widened,
            freedom: forecast.freedom,
        }
    }

    /// Clips what lies far outside of everything else, except just before the sending.
    fn clip(&mut self) {
        let count = self.before;
        let mut sorted = [0; ROWS_MAX];
        let mut median_of = |value: &dyn Fn(&Row) -> f64| {
            sorted.iter_mut().zip(&self.rows[..count]).for_each(|(place, row)| *place = order::place(value(row)));
            middle(&mut sorted[..count])
        };
        let median = median_of(&|row| row.values[SERIES]);
        let limit = CLIP * 1.4826 * median_of(&|row| (row.values[SERIES] - median).abs());
        if limit <= 0.0 {
            return;
        }
        for row in &mut self.rows[..count.saturating_sub(NEVER_CLIPPED)] {
            let value = &mut row.values[SERIES];
            *value = value.clamp(median - limit, median + limit);
        }
    }
}

/// The median; reorders. Of an even number the mean of both in the middle, so that a mirrored series has the mirrored median.
fn middle(places: &mut [i64]) -> f64 {
    let middle = places.len() / 2;
    let upper = order::value(*places.select_nth_unstable(middle).1);
    let below = places[..middle].iter().max().map_or(upper, |place| order::value(*place));
    if places.len().is_multiple_of(2) { 0.5 * (below + upper) } else { upper }
}

/// Mean and deviation over what was seen before the sending.
struct Standard {
    mean: f64,
    deviation: f64,
}

impl Standard {
    fn of(grid: &Grid, values: &[f64; ROWS_MAX], counts: &[f64; ROWS_MAX]) -> Standard {
        let seen = || (0..grid.before).filter(|row| counts[*row] > 0.0).map(|row| values[row]);
        let count = seen().count() as f64;
        let mean = seen().sum::<f64>() / count;
        let variance = seen().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
        // Differences that only rounding made are none.
        let deviation = if variance.sqrt() > 1e-9 * mean.abs() { variance.sqrt() } else { 0.0 };
        Standard { mean, deviation }
    }
}

/// Centres a column and brings it to unit deviation by its rows before the sending; returns the deviation, 0 if it never moved.
fn standardise(grid: &Grid, values: &mut [f64; ROWS_MAX]) -> f64 {
    let standard = Standard::of(grid, values, &[1.0; ROWS_MAX]);
    if standard.deviation <= 0.0 || !standard.deviation.is_finite() {
        return 0.0;
    }
    for value in &mut values[..grid.rows()] {
        *value = (*value - standard.mean) / standard.deviation;
    }
    standard.deviation
}

/// The siblings' common movement; returns how many took part.
fn sibling_column(question: &Question<'_>, grid: &Grid, target: &Means, standard: &Standard, column: &mut [f64; ROWS_MAX]) -> u32 {
    let mut taking_part = 0;
    let mut means = Means::new();
    if standard.deviation <= 0.0 {
        return 0;
    }
    for control in question.controls.iter().take(CONTROLS_MAX) {
        grid.means(control, 0.0, &mut means);
        if !means.fill(0..grid.before, SEEN_SHARE) || !means.fill(grid.before..grid.rows(), SEEN_SHARE) {
            continue;
        }
        if standardise(grid, &mut means.value) == 0.0 {
            continue;
        }
        let (mut along, mut seen) = (0.0, 0.0);
        for row in (0..grid.before).filter(|row| target.count[*row] > 0.0) {
            along += means.value[row] * (target.value[row] - standard.mean) / standard.deviation;
            seen += 1.0;
        }
        // A correlation that chance alone makes has no weight.
        let weight = along / seen - 1.0 / f64::sqrt(seen);
        if weight > 0.0 {
            taking_part += 1;
            let moved = column.iter_mut().zip(&means.value);
            moved.take(grid.rows()).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    if taking_part == 0 {
        return 0;
    }
    smooth(grid, column);
    if standardise(grid, column) == 0.0 {
        column.fill(0.0);
        return 0;
    }
    taking_part
}

/// The series' own last days at the same time of day; returns how many days took part, and
/// the column's deviation in the series' unit.
fn day_column(question: &Question<'_>, grid: &Grid, column: &mut [f64; ROWS_MAX]) -> (u32, f64) {
    let mut taking_part = 0u32;
    if question.target.first().is_none_or(|(at, _)| *at > -DAY_SECONDS) || grid.before as f64 * grid.width > DAY_SECONDS {
        return (0, 0.0);
    }
    let mut means = Means::new();
    for day in 1..=DAYS_MAX {
        grid.means(question.target, day as f64 * DAY_SECONDS, &mut means);
        if means.fill(0..grid.before, SEEN_SHARE) && means.fill(grid.before..grid.rows(), SEEN_SHARE) {
            taking_part += 1;
            let repeated = column.iter_mut().zip(&means.value);
            repeated.take(grid.rows()).for_each(|(sum, value)| *sum += value);
        }
    }
    if taking_part == 0 {
        return (0, 0.0);
    }
    let rows = &mut column[..grid.rows()];
    rows.iter_mut().for_each(|value| *value /= f64::from(taking_part));
    smooth(grid, column);
    let deviation = standardise(grid, column);
    if deviation == 0.0 {
        column.fill(0.0);
        return (0, 0.0);
    }
    (taking_part, deviation)
}

/// A running mean over five rows; apart before and after the sending: a step at the sending must not reach the rows before it.
fn smooth(grid: &Grid, column: &mut [f64; ROWS_MAX]) {
    let copy = *column;
    for rows in [0..grid.before, grid.before..grid.rows()] {
        for row in rows.clone() {
            let near = &copy[row.saturating_sub(2).max(rows.start)..(row + 3).min(rows.end)];
            column[row] = near.iter().sum::<f64>() / near.len() as f64;
        }
    }
}
