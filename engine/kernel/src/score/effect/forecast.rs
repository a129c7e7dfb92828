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

mod regular;

use super::columns::{COLUMNS, Row, Table};
pub use regular::Workspace;
use std::f64::consts::LN_2;

/// One kind of memory.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Memory {
    /// Correlation of the process over one width.
    rho: f64,
    /// Share of the means' variance that is the samples' own noise.
    white: f64,
    /// How much it is believed in beforehand, against the others; its logarithm.
    log_belief: f64,
}

const fn memory(rho: f64, white: f64, log_belief: f64) -> Memory {
    Memory { rho, white, log_belief }
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
    memory(0.0, 0.0, LN_2),
    memory(0.25, 0.0, 0.0),
    memory(0.5, 0.0, 0.0),
    memory(0.7, 0.1, 0.0),
    memory(0.85, 0.1, 0.0),
    memory(0.9, 0.4, 0.0),
    memory(0.95, 0.05, 0.0),
    memory(0.95, 0.2, 0.0),
    memory(0.97, 0.5, 0.0),
    memory(0.99, 0.0, 0.0),
    memory(0.99, 0.2, 0.0),
    memory(0.99, 0.5, 0.0),
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
/// what the innovations summed up to. `WIDTH`: the columns that hold anything, the slope last but one and the series last.
#[derive(Copy, Clone, Debug)]
pub(super) struct Filter<const KINDS: usize, const WIDTH: usize> {
    columns: [usize; WIDTH],
    rho: [f64; KINDS],
    process: [f64; KINDS],
    white: [f64; KINDS],
    state: [[f64; KINDS]; WIDTH],
    variance: [f64; KINDS],
    /// The lower half.
    sums: [[[f64; KINDS]; WIDTH]; WIDTH],
    determinant: [f64; KINDS],
    log_determinant: [f64; KINDS],
    /// Rows taken in.
    rows: usize,
}

/// So many rows' determinants are multiplied before a logarithm is taken: each is more than 0.01.
const DETERMINANTS: usize = 48;

/// The rows of which the mean is forecast, as far as that is the same for all kinds of memory.
pub(super) struct Ahead<'a, const WIDTH: usize> {
    rows: &'a [Row],
    /// The columns' means.
    explained: [f64; WIDTH],
}

impl<'a, const WIDTH: usize> Ahead<'a, WIDTH> {
    /// The mean over these rows.
    pub(super) fn new(rows: &'a [Row], table: &Table) -> Ahead<'a, WIDTH> {
        let columns = table.columns::<WIDTH>();
        let mut explained = [0.0; WIDTH];
        for row in rows {
            for (explained, column) in explained.iter_mut().zip(columns) {
                *explained += row.values[column];
            }
        }
        Ahead { rows, explained: explained.map(|sum| sum / rows.len() as f64) }
    }
}

impl<const KINDS: usize, const WIDTH: usize> Filter<KINDS, WIDTH> {
    /// Before the first row; for a table's rows.
    pub(super) fn new(memories: &[Memory; KINDS], table: &Table) -> Filter<KINDS, WIDTH> {
        let filter = Filter::bare(memories, table.samples, table.columns(), [0.0; WIDTH]);
        Filter { sums: prior(table), ..filter }
    }

    /// Before the first row; means of so many samples, these columns and the prior precisions of their weights.
    fn bare(memories: &[Memory; KINDS], samples: f64, columns: [usize; WIDTH], precisions: [f64; WIDTH]) -> Filter<KINDS, WIDTH> {
        let process = memories.map(|memory| memory.process(samples));
        let mut sums = [[[0.0; KINDS]; WIDTH]; WIDTH];
        for (place, precision) in precisions.into_iter().enumerate() {
            sums[place][place] = [precision; KINDS];
        }
        Filter {
            columns,
            rho: memories.map(|memory| memory.rho),
            process,
            white: process.map(|process| 1.0 - process),
            state: [[0.0; KINDS]; WIDTH],
            variance: process,
            sums,
            determinant: [1.0; KINDS],
            log_determinant: [0.0; KINDS],
            rows: 0,
        }
    }

    /// After all rows before the sending.
    fn after(memories: &[Memory; KINDS], table: &Table) -> Filter<KINDS, WIDTH> {
        let mut filter = Filter::new(memories, table);
        table.past().iter().for_each(|row| filter.take(row));
        filter
    }

    /// Takes one row in.
    #[inline]
    pub(super) fn take(&mut self, row: &Row) {
        let mut kept = self.rho;
        if row.steps != 1.0 {
            kept.iter_mut().for_each(|rho| *rho = decay(*rho, row.steps));
        }
        let (gain, inverse) = self.gains(&kept);
        self.absorb(row, &kept, &gain, &inverse);
    }

    /// How much of a row's innovation is the process's, and one over the innovation's variance; the filter goes on by a row.
    #[inline]
    fn gains(&mut self, kept: &[f64; KINDS]) -> ([f64; KINDS], [f64; KINDS]) {
        let (mut gain, mut inverse) = ([0.0; KINDS], [0.0; KINDS]);
        for kind in 0..KINDS {
            let square = kept[kind] * kept[kind];
            let predicted = square * self.variance[kind] + (1.0 - square) * self.process[kind];
            let total = predicted + self.white[kind];
            inverse[kind] = 1.0 / total;
            gain[kind] = predicted * inverse[kind];
            self.variance[kind] = predicted * (1.0 - gain[kind]);
            self.determinant[kind] *= total;
        }
        self.rows += 1;
        if self.rows.is_multiple_of(DETERMINANTS) {
            for kind in 0..KINDS {
                self.log_determinant[kind] += self.determinant[kind].ln();
                self.determinant[kind] = 1.0;
            }
        }
        (gain, inverse)
    }

    /// Takes the columns of a row in; returns their innovations.
    #[inline]
    #[allow(clippy::needless_range_loop, reason = "one index runs over several arrays side by side")]
    fn absorb(&mut self, row: &Row, kept: &[f64; KINDS], gain: &[f64; KINDS], inverse: &[f64; KINDS]) -> [[f64; KINDS]; WIDTH] {
        let mut innovation = [[0.0; KINDS]; WIDTH];
        for column in 0..WIDTH {
            let value = row.values[self.columns[column]];
            for kind in 0..KINDS {
                let state = kept[kind] * self.state[column][kind];
                innovation[column][kind] = value - state;
                self.state[column][kind] = state + gain[kind] * innovation[column][kind];
            }
        }
        for left in 0..WIDTH {
            let mut scaled = [0.0; KINDS];
            for kind in 0..KINDS {
                scaled[kind] = innovation[left][kind] * inverse[kind];
            }
            for right in 0..=left {
                for kind in 0..KINDS {
                    self.sums[left][right][kind] += scaled[kind] * innovation[right][kind];
                }
            }
        }
        innovation
    }

    /// One kind's forecast of the mean over the rows `ahead`, with and without a slope, each with the logarithm of its likelihood (up to
    /// what is the same for all kinds).
    #[allow(clippy::needless_range_loop, reason = "one index runs over several arrays side by side")]
    pub(super) fn forecast(&self, kind: usize, ahead: &Ahead<'_, WIDTH>, floor: f64) -> [(Forecast, f64); 2] {
        let (series, slope) = (WIDTH - 1, WIDTH - 2);
        let count = ahead.rows.len() as f64;
        let process = self.process[kind];
        // Backwards: how much of each new movement of the process is in the mean.
        let (mut reach, mut spread, mut kept) = (0.0, 0.0, 0.0);
        for row in ahead.rows.iter().rev() {
            reach = 1.0 + kept * reach;
            kept = decay(self.rho[kind], row.steps);
            spread += reach * reach * (1.0 - kept * kept);
        }
        let carried = kept * reach / count;
        let noise = process * spread / (count * count) + carried * carried * self.variance[kind] + self.white[kind] / count;
        let factor = cholesky::<WIDTH>(|row, column| self.sums[row][column][kind]);
        let mut solved = [0.0; WIDTH];
        let (mut mean, mut variance) = (carried * self.state[series][kind], noise);
        let mut pivots = self.determinant[kind].sqrt();
        let mut without = (mean, variance);
        for column in 0..series {
            if column == slope {
                without = (mean, variance);
            } else {
                pivots *= factor[column][column];
            }
            let mut value = ahead.explained[column] - carried * self.state[column][kind];
            for earlier in 0..column {
                value -= factor[column][earlier] * solved[earlier];
            }
            solved[column] = value / factor[column][column];
            mean += solved[column] * factor[series][column];
            variance += solved[column] * solved[column];
        }
        let freedom = self.rows as f64 - 1.0;
        let log = -0.5 * self.log_determinant[kind] - pivots.ln();
        let log_slope = log + 0.5 * SLOPE_PRECISION.ln() + SLOPE_ODDS.ln() - factor[slope][slope].ln();
        let finish = |(mean, variance): (f64, f64), log: f64, rest: f64| {
            let scale = (variance * rest / freedom).sqrt();
            (Forecast { mean, scale, freedom }, log - 0.5 * freedom * rest.ln())
        };
        let rest = factor[series][series] * factor[series][series] + floor * floor;
        let rest_without = rest + factor[series][slope] * factor[series][slope];
        [finish((mean, variance), log_slope, rest), finish(without, log, rest_without)]
    }
}

/// The sums before the first row: the prior precisions of the columns' weights.
fn prior<const KINDS: usize, const WIDTH: usize>(table: &Table) -> [[[f64; KINDS]; WIDTH]; WIDTH] {
    let precisions: [f64; COLUMNS] = [0.0, SIBLING_PRECISION, table.day_precision, SLOPE_PRECISION, 0.0];
    let mut sums = [[[0.0; KINDS]; WIDTH]; WIDTH];
    for (place, column) in table.columns::<WIDTH>().into_iter().enumerate() {
        sums[place][place] = [precisions[column]; KINDS];
    }
    sums
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
fn cholesky<const WIDTH: usize>(entry: impl Fn(usize, usize) -> f64) -> [[f64; WIDTH]; WIDTH] {
    let mut factor = [[0.0; WIDTH]; WIDTH];
    for row in 0..WIDTH {
        for column in 0..=row {
            let mut value = entry(row, column);
            for earlier in 0..column {
                value -= factor[row][earlier] * factor[column][earlier];
            }
            factor[row][column] = if row == column { value.max(1e-30).sqrt() } else { value / factor[column][column] };
        }
    }
    factor
}

/// The forecast of the judged mean. `WIDTH` is the table's ([`Table::width`]); without a workspace it takes the long way.
pub(super) fn fit<const WIDTH: usize>(table: &Table, workspace: Option<&mut Workspace>) -> Fitted {
    let mut parts = [(Forecast { mean: 0.0, scale: 1.0, freedom: 3.0 }, f64::NEG_INFINITY); 2 * MEMORY.len()];
    let ahead = Ahead::<WIDTH>::new(table.judged(), table);
    let shape = workspace.and_then(|workspace| workspace.shape(table));
    for (lane, memories) in MEMORY.as_chunks::<LANES>().0.iter().enumerate() {
        let filter = match shape {
            Some(shape) => shape.filter::<WIDTH>(lane, table),
            None => Filter::<LANES, WIDTH>::after(memories, table),
        };
        for (kind, memory) in memories.iter().enumerate() {
            let part = 2 * (LANES * lane + kind);
            for (slot, (forecast, log)) in filter.forecast(kind, &ahead, table.floor).into_iter().enumerate() {
                parts[part + slot] = (forecast, log + memory.log_belief);
            }
        }
    }
    let likeliest = (0..parts.len()).fold(0, |best, part| if parts[part].1 > parts[best].1 { part } else { best });
    Fitted { forecast: matched(&parts), memory: MEMORY[likeliest / 2] }
}

/// One Student t with the mixture's mean and variance. Shares are the likelihoods.
pub(super) fn matched<const PARTS: usize>(parts: &[(Forecast, f64); PARTS]) -> Forecast {
    let top = parts.iter().fold(f64::NEG_INFINITY, |top, (_, log)| top.max(*log));
    let shares = parts.map(|(_, log)| (log - top).exp());
    let (mut sum, mut mean) = (0.0, 0.0);
    for ((part, _), share) in parts.iter().zip(shares) {
        sum += share;
        mean += share * part.mean;
    }
    mean /= sum;
    let freedom = parts[0].0.freedom;
    let stretch = freedom / (freedom - 2.0);
    let spread = |part: &Forecast| part.scale * part.scale * stretch + (part.mean - mean) * (part.mean - mean);
    let variance: f64 = parts.iter().zip(shares).map(|((part, _), share)| share * spread(part)).sum();
    Forecast { mean, scale: (variance / sum / stretch).sqrt(), freedom }
}
