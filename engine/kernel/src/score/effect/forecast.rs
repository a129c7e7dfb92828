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

use super::columns::{COLUMNS, Row, SERIES, SLOPE, Table};

/// One kind of memory.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Memory {
    /// Correlation of the process over one width.
    pub(super) rho: f64,
    /// Share of the variance that has no memory.
    pub(super) white: f64,
}

const fn memory(rho: f64, white: f64) -> Memory {
    Memory { rho, white }
}

/// The kinds that are averaged over.
pub(super) const MEMORY: [Memory; 13] = [
    memory(0.0, 0.0),
    memory(0.25, 0.0),
    memory(0.5, 0.0),
    memory(0.7, 0.0),
    memory(0.85, 0.0),
    memory(0.94, 0.0),
    memory(0.985, 0.0),
    memory(0.8, 0.4),
    memory(0.93, 0.25),
    memory(0.93, 0.6),
    memory(0.985, 0.1),
    memory(0.985, 0.35),
    memory(0.985, 0.7),
];
/// Prior precision of a weight on a column of unit deviation, in units of the noise's variance.
const WEIGHT_PRECISION: f64 = 0.1;
/// Prior precision of the slope's weight, alike.
const SLOPE_PRECISION: f64 = 0.25;

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

/// The filter after some rows: where series and columns stand, and what the innovations summed up to.
#[derive(Copy, Clone, Debug)]
pub(super) struct Filter {
    memory: Memory,
    state: [f64; COLUMNS],
    variance: f64,
    sums: [[f64; COLUMNS]; COLUMNS],
    determinant: f64,
    log_determinant: f64,
    /// Rows taken in.
    pub(super) rows: usize,
}

impl Filter {
    /// Before the first row.
    pub(super) fn new(memory: Memory) -> Filter {
        let mut sums = [[0.0; COLUMNS]; COLUMNS];
        for (column, sums) in sums.iter_mut().enumerate().take(SERIES).skip(1) {
            sums[column] = if column == SLOPE { SLOPE_PRECISION } else { WEIGHT_PRECISION };
        }
        let variance = 1.0 - memory.white;
        Filter { memory, state: [0.0; COLUMNS], variance, sums, determinant: 1.0, log_determinant: 0.0, rows: 0 }
    }

    /// Takes one row in.
    pub(super) fn take(&mut self, row: &Row) {
        let process = 1.0 - self.memory.white;
        let kept = decay(self.memory.rho, row.steps);
        let predicted = kept * kept * self.variance + (1.0 - kept * kept) * process;
        let total = predicted + self.memory.white;
        let gain = predicted / total;
        let inverse = 1.0 / total;
        let mut innovation = [0.0; COLUMNS];
        for column in 0..COLUMNS {
            let state = kept * self.state[column];
            innovation[column] = row.values[column] - state;
            self.state[column] = state + gain * innovation[column];
        }
        self.variance = predicted * (1.0 - gain);
        for left in 0..COLUMNS {
            let scaled = innovation[left] * inverse;
            for right in 0..=left {
                self.sums[left][right] += scaled * innovation[right];
            }
        }
        self.determinant *= total;
        if self.determinant < 1e-200 {
            self.log_determinant += self.determinant.ln();
            self.determinant = 1.0;
        }
        self.rows += 1;
    }

    /// The forecast of the mean over `rows`, with and without a slope, each with the logarithm of its likelihood.
    pub(super) fn forecast(&self, rows: &[Row], floor: f64) -> [(Forecast, f64); 2] {
        let count = rows.len() as f64;
        let process = 1.0 - self.memory.white;
        let mut explained = [0.0; SERIES];
        // Backwards: how much of each new movement of the process is in the mean.
        let (mut reach, mut spread, mut kept) = (0.0, 0.0, 0.0);
        for row in rows.iter().rev() {
            for (explained, value) in explained.iter_mut().zip(row.values) {
                *explained += value;
            }
            reach = 1.0 + kept * reach;
            kept = decay(self.memory.rho, row.steps);
            spread += reach * reach * (1.0 - kept * kept);
        }
        let carried = kept * reach / count;
        let noise = process * spread / (count * count) + carried * carried * self.variance + self.memory.white / count;
        let factor = cholesky(&self.sums);
        let mut solved = [0.0; SERIES];
        let (mut mean, mut variance) = (carried * self.state[SERIES], noise);
        let freedom = self.rows as f64 - 1.0;
        let mut rest = factor[SERIES][SERIES] * factor[SERIES][SERIES] + floor * floor;
        let mut log = -0.5 * (self.log_determinant + self.determinant.ln());
        let mut without = (mean, variance, log);
        for column in 0..SERIES {
            if column == SLOPE {
                without = (mean, variance, log);
            }
            let mut value = explained[column] / count - carried * self.state[column];
            for earlier in 0..column {
                value -= factor[column][earlier] * solved[earlier];
            }
            solved[column] = value / factor[column][column];
            mean += solved[column] * factor[SERIES][column];
            variance += solved[column] * solved[column];
            log -= factor[column][column].ln();
        }
        log += 0.5 * SLOPE_PRECISION.ln();
        let finish = |(mean, variance, log): (f64, f64, f64), rest: f64| {
            let scale = (variance * rest / freedom).sqrt();
            (Forecast { mean, scale, freedom }, log - 0.5 * freedom * rest.ln())
        };
        let with = finish((mean, variance, log), rest);
        rest += factor[SERIES][SLOPE] * factor[SERIES][SLOPE];
        [with, finish(without, rest)]
    }
}

/// `rho` to the power of `steps`.
fn decay(rho: f64, steps: f64) -> f64 {
    if steps == 1.0 {
        rho
    } else if steps == 2.0 {
        rho * rho
    } else {
        rho.powf(steps)
    }
}

/// The lower factor of a symmetric matrix given by its lower half. A pivot that rounding made negative becomes tiny.
fn cholesky(sums: &[[f64; COLUMNS]; COLUMNS]) -> [[f64; COLUMNS]; COLUMNS] {
    let mut factor = [[0.0; COLUMNS]; COLUMNS];
    for row in 0..COLUMNS {
        for column in 0..=row {
            let mut value = sums[row][column];
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
    for (kind, memory) in MEMORY.iter().enumerate() {
        let mut filter = Filter::new(*memory);
        for row in table.past() {
            filter.take(row);
        }
        parts[2 * kind..2 * kind + 2].copy_from_slice(&filter.forecast(table.judged(), table.floor));
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
