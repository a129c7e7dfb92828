//! The forecast of the judged time's mean from everything before the sending, as one Student t.
//!
//! Series = columns × weights + noise; noise = an Ornstein-Uhlenbeck process + white noise. For one kind of memory (correlation `rho` of
//! neighbouring means, share `white` of the variance) a scalar Kalman filter turns series and columns into independent innovations;
//! weights and variance are then integrated out in closed form (normal weights, the intercept's flat; Jeffreys' variance), as in
//! Durbin & Koopman, *Time Series Analysis by State Space Methods*, ch. 6, and Zellner, *Bayesian Inference in Econometrics*, ch. 3.
//! The kinds of [`MEMORY`], each with and without a slope, are averaged by their marginal likelihood; the mixture is matched to one
//! Student t by mean and variance.
//!
//! Deliberately absent: anything after the sending except the columns. An editor breaks this by counting rows that were not seen.

use super::columns::{COLUMNS, DAYS, Row, SERIES, SIBLINGS, SLOPE, Table};

/// One kind of memory.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Memory {
    /// Correlation of the process over one width.
    rho: f64,
    /// Share of the means' variance that is the samples' own noise.
    white: f64,
    /// How much it is believed in beforehand, against the others.
    belief: f64,
}

const fn memory(rho: f64, white: f64, belief: f64) -> Memory {
    Memory { rho, white, belief }
}

impl Memory {
    /// The variance which the filter gives to the process, where that of a mean is 1; what is left of 1 has no memory.
    ///
    /// The mean of `samples` values of a process with memory varies less than the process, yet neighbouring means go along as their
    /// middles do: of `x_k` with correlation `r` per sample, a mean has the variance
    /// `(n + 2 Σ (n-k) r^k) / n²`, and two means `m` widths apart have the covariance `rho^m · r^(1-n) · ((1 - rho) / (n (1 - r)))²`.
    /// So the share without memory is negative, which the filter's algebra carries. Without this a random walk's forecast is a fifth
    /// too narrow.
    fn process(&self, samples: f64) -> f64 {
        if self.rho == 0.0 {
            return 0.0;
        }
        if samples == 1.0 {
            return 1.0 - self.white;
        }
        let each = self.rho.powf(1.0 / samples);
        let rest = 1.0 - each;
        let variance = samples + 2.0 * each * (samples * rest - (1.0 - self.rho)) / (rest * rest);
        let reach = (1.0 - self.rho) / rest;
        (1.0 - self.white) * (each / self.rho) * reach * reach / variance
    }
}

/// The kinds that are averaged over.
pub(super) const MEMORY: [Memory; 12] = [
    memory(0.0, 0.0, 2.0),
    memory(0.25, 0.0, 1.0),
    memory(0.5, 0.0, 1.0),
    memory(0.7, 0.1, 1.0),
    memory(0.85, 0.1, 1.0),
    memory(0.9, 0.4, 1.0),
    memory(0.95, 0.05, 1.0),
    memory(0.95, 0.2, 1.0),
    memory(0.97, 0.5, 1.0),
    memory(0.99, 0.0, 1.0),
    memory(0.99, 0.2, 1.0),
    memory(0.99, 0.5, 1.0),
];
/// Kinds that are reckoned side by side.
const LANES: usize = 4;
const _: () = assert!(MEMORY.len().is_multiple_of(LANES));
/// Prior precision of the siblings' weight (a column of unit deviation), in units of the noise's variance.
const SIBLING_PRECISION: f64 = 0.1;
/// Prior precision of the slope's weight, alike.
const SLOPE_PRECISION: f64 = 0.25;
/// Prior odds that there is a slope. Most series drift; even odds judge a slight one to be none and come out too narrow.
const SLOPE_ODDS: f64 = 4.0;

/// Student's t: `mean + scale * t(freedom)`.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Forecast {
    /// Centre.
    pub(super) mean: f64,
    /// Scale, more than 0.
    pub(super) scale: f64,
    /// Degrees of freedom, more than 2.
    pub(super) freedom: f64,
}

/// A forecast and the kind of memory that the past speaks for most.
#[derive(Copy, Clone, Debug)]
pub(super) struct Fitted {
    /// The forecast of the judged mean, in the table's unit.
    pub(super) forecast: Forecast,
    /// The likeliest memory.
    pub(super) memory: Memory,
}

/// The filter after some rows, for `KINDS` kinds of memory side by side (the processor's lanes): where series and columns stand, and
/// what the innovations summed up to.
#[derive(Copy, Clone, Debug)]
pub(super) struct Filter<const KINDS: usize> {
    rho: [f64; KINDS],
    process: [f64; KINDS],
    white: [f64; KINDS],
    state: [[f64; KINDS]; COLUMNS],
    variance: [f64; KINDS],
    /// Lower half, row by row.
    sums: [[f64; KINDS]; SUMS],
    determinant: [f64; KINDS],
    log_determinant: [f64; KINDS],
    /// Rows taken in.
    rows: usize,
    /// The columns that hold anything: what is zero in every row stays zero in every sum.
    active: [usize; COLUMNS],
    /// How many of them count.
    actives: usize,
}

/// Entries of the lower half of the matrix of sums.
const SUMS: usize = COLUMNS * (COLUMNS + 1) / 2;

impl<const KINDS: usize> Filter<KINDS> {
    /// Before the first row; for a table's rows.
    pub(super) fn new(memories: &[Memory; KINDS], table: &Table) -> Filter<KINDS> {
        let process = memories.map(|memory| memory.process(table.samples));
        let mut sums = [[0.0; KINDS]; SUMS];
        let precisions = [0.0, SIBLING_PRECISION, table.day_precision, SLOPE_PRECISION];
        for (column, precision) in precisions.into_iter().enumerate() {
            sums[column * (column + 3) / 2] = [precision; KINDS];
        }
        let absent = |column: usize| (column == SIBLINGS && table.controls == 0) || (column == DAYS && table.days == 0);
        let (mut active, mut actives) = ([0; COLUMNS], 0);
        for column in (0..COLUMNS).filter(|column| !absent(*column)) {
            active[actives] = column;
            actives += 1;
        }
        Filter {
            active,
            actives,
            rho: memories.map(|memory| memory.rho),
            process,
            white: process.map(|process| 1.0 - process),
            state: [[0.0; KINDS]; COLUMNS],
            variance: process,
            sums,
            determinant: [1.0; KINDS],
            log_determinant: [0.0; KINDS],
            rows: 0,
        }
    }

    /// Takes one row in.
    #[allow(clippy::needless_range_loop, reason = "one index runs over several arrays side by side")]
    pub(super) fn take(&mut self, row: &Row) {
        let (mut kept, mut gain, mut inverse) = ([0.0; KINDS], [0.0; KINDS], [0.0; KINDS]);
        for kind in 0..KINDS {
            kept[kind] = decay(self.rho[kind], row.steps);
        }
        for kind in 0..KINDS {
            let square = kept[kind] * kept[kind];
            let predicted = square * self.variance[kind] + (1.0 - square) * self.process[kind];
            let total = predicted + self.white[kind];
            inverse[kind] = 1.0 / total;
            gain[kind] = predicted * inverse[kind];
            self.variance[kind] = predicted * (1.0 - gain[kind]);
            self.determinant[kind] *= total;
        }
        let mut innovation = [[0.0; KINDS]; COLUMNS];
        let active = &self.active[..self.actives];
        for column in active.iter().copied() {
            for kind in 0..KINDS {
                let state = kept[kind] * self.state[column][kind];
                innovation[column][kind] = row.values[column] - state;
                self.state[column][kind] = state + gain[kind] * innovation[column][kind];
            }
        }
        for (place, left) in active.iter().copied().enumerate() {
            let mut scaled = [0.0; KINDS];
            for kind in 0..KINDS {
                scaled[kind] = innovation[left][kind] * inverse[kind];
            }
            for right in active[..=place].iter().copied() {
                let sum = &mut self.sums[left * (left + 1) / 2 + right];
                for kind in 0..KINDS {
                    sum[kind] += scaled[kind] * innovation[right][kind];
                }
            }
        }
        self.rows += 1;
        if self.rows.is_multiple_of(16) {
            for kind in 0..KINDS {
                self.log_determinant[kind] += self.determinant[kind].ln();
                self.determinant[kind] = 1.0;
            }
        }
    }

    /// One kind's forecast of the mean over `rows`, with and without a slope, each with the logarithm of its likelihood.
    #[allow(clippy::needless_range_loop, reason = "one index runs over several arrays side by side")]
    pub(super) fn forecast(&self, kind: usize, rows: &[Row], floor: f64) -> [(Forecast, f64); 2] {
        let count = rows.len() as f64;
        let process = self.process[kind];
        let mut explained = [0.0; SERIES];
        // Backwards: how much of each new movement of the process is in the mean.
        let (mut reach, mut spread, mut kept) = (0.0, 0.0, 0.0);
        for row in rows.iter().rev() {
            for (explained, value) in explained.iter_mut().zip(row.values) {
                *explained += value;
            }
            reach = 1.0 + kept * reach;
            kept = decay(self.rho[kind], row.steps);
            spread += reach * reach * (1.0 - kept * kept);
        }
        let carried = kept * reach / count;
        let noise = process * spread / (count * count) + carried * carried * self.variance[kind] + self.white[kind] / count;
        let factor = cholesky(|entry| self.sums[entry][kind]);
        let mut solved = [0.0; SERIES];
        let (mut mean, mut variance) = (carried * self.state[SERIES][kind], noise);
        let freedom = self.rows as f64 - 1.0;
        let mut rest = factor[SERIES][SERIES] * factor[SERIES][SERIES] + floor * floor;
        let mut log = -0.5 * (self.log_determinant[kind] + self.determinant[kind].ln());
        let mut without = (mean, variance, log);
        for column in 0..SERIES {
            if column == SLOPE {
                without = (mean, variance, log);
            }
            let mut value = explained[column] / count - carried * self.state[column][kind];
            for earlier in 0..column {
                value -= factor[column][earlier] * solved[earlier];
            }
            solved[column] = value / factor[column][column];
            mean += solved[column] * factor[SERIES][column];
            variance += solved[column] * solved[column];
            log -= factor[column][column].ln();
        }
        log += 0.5 * SLOPE_PRECISION.ln() + SLOPE_ODDS.ln();
        let finish = |(mean, variance, log): (f64, f64, f64), rest: f64| {
            let scale = (variance * rest / freedom).sqrt();
            (Forecast { mean, scale, freedom }, log - 0.5 * freedom * rest.ln())
        };
        let with = finish((mean, variance, log), rest);
        rest += factor[SERIES][SLOPE] * factor[SERIES][SLOPE];
        [with, finish(without, rest)]
    }
}

/// `rho` to the power of `steps`; one step is the usual case, a few come from holes, what is no whole number from the dead time.
fn decay(rho: f64, steps: f64) -> f64 {
    if steps == 1.0 {
        rho
    } else if steps < 9.0 && steps == steps.trunc() {
        (1..steps as u32).fold(rho, |power, _| power * rho)
    } else {
        rho.powf(steps)
    }
}

/// The lower factor of a symmetric matrix given by the entries of its lower half. A pivot that rounding made negative becomes tiny.
#[allow(clippy::needless_range_loop, reason = "one index runs over several arrays side by side")]
fn cholesky(entry: impl Fn(usize) -> f64) -> [[f64; COLUMNS]; COLUMNS] {
    let mut factor = [[0.0; COLUMNS]; COLUMNS];
    for row in 0..COLUMNS {
        for column in 0..=row {
            let mut value = entry(row * (row + 1) / 2 + column);
            for earlier in 0..column {
                value -= factor[row][earlier] * factor[column][earlier];
            }
            factor[row][column] = if row == column { value.max(1e-30).sqrt() } else { value / factor[column][column] };
        }
    }
    factor
}

/// The forecast of the judged mean.
pub(super) fn fit(table: &Table) -> Fitted {
    let mut parts = [(Forecast { mean: 0.0, scale: 1.0, freedom: 3.0 }, f64::NEG_INFINITY); 2 * MEMORY.len()];
    for (first, memories) in MEMORY.as_chunks::<LANES>().0.iter().enumerate() {
        let mut filter = Filter::new(memories, table);
        for row in table.past() {
            filter.take(row);
        }
        for (kind, memory) in memories.iter().enumerate() {
            let part = 2 * (LANES * first + kind);
            let believed = memory.belief.ln();
            for (slot, (forecast, log)) in filter.forecast(kind, table.judged(), table.floor).into_iter().enumerate() {
                parts[part + slot] = (forecast, log + believed);
            }
        }
    }
    let likeliest = (0..parts.len()).fold(0, |best, part| if parts[part].1 > parts[best].1 { part } else { best });
    Fitted { forecast: matched(&parts), memory: MEMORY[likeliest / 2] }
}

/// One Student t with the mixture's mean and variance. Shares are the likelihoods.
pub(super) fn matched(parts: &[(Forecast, f64)]) -> Forecast {
    let top = parts.iter().fold(f64::NEG_INFINITY, |top, (_, log)| top.max(*log));
    let share = |log: f64| (log - top).exp();
    let (mut sum, mut mean) = (0.0, 0.0);
    for (part, log) in parts {
        sum += share(*log);
        mean += share(*log) * part.mean;
    }
    mean /= sum;
    let freedom = parts[0].0.freedom;
    let stretch = freedom / (freedom - 2.0);
    let variance: f64 =
        parts.iter().map(|(part, log)| share(*log) * (part.scale * part.scale * stretch + (part.mean - mean) * (part.mean - mean))).sum();
    Forecast { mean, scale: (variance / sum / stretch).sqrt(), freedom }
}
