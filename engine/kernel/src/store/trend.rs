//! Quantiles and lines through samples.
//!
//! Deliberately absent: where the samples come from. An editor breaks this module by letting a line depend on "now": then no
//! answer could be kept between two samples.

use super::moments::Sum;

/// Stretches of time that a robust line is fitted through.
const STRETCHES_MAX: i64 = 64;

/// The `q`-quantile by linear interpolation between the two nearest ranks, as Prometheus' `quantile_over_time`; reorders the values.
pub fn quantile(values: &mut [f64], q: f64) -> Option<f64> {
    let rank = q * (values.len().checked_sub(1)? as f64);
    let low = rank.floor() as usize;
    let (_, lower, above) = values.select_nth_unstable_by(low, f64::total_cmp);
    let (lower, weight) = (*lower, rank - rank.floor());
    let upper = if weight > 0.0 { above.iter().copied().fold(f64::INFINITY, f64::min) } else { lower };
    // `Inf * 0` would be NaN.
    Some(if weight > 0.0 { lower * (1.0 - weight) + upper * weight } else { lower })
}

fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5).unwrap_or(0.0)
}

/// The least-squares slope per second of `(milliseconds, value)`, as Prometheus' `deriv`; `None` for fewer than two points.
pub fn least_squares_slope(points: &[(i64, f64)]) -> Option<f64> {
    let (&(start, first), rest) = points.split_first()?;
    if rest.is_empty() {
        return None;
    }
    if rest.iter().all(|(_, value)| *value == first) {
        return first.is_finite().then_some(0.0);
    }
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [Sum::default(); 4];
    for &(time, value) in points {
        // Relative to the first value as well: large counters keep their digits.
        let (x, y) = ((time - start) as f64 / 1000.0, value - first);
        sum_x.add(x);
        sum_y.add(y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let count = points.len() as f64;
    let (sum_x, sum_y) = (sum_x.total(), sum_y.total());
    let covariance = sum_xy.total() - sum_x * sum_y / count;
    let variance = sum_xx.total() - sum_x * sum_x / count;
    Some(covariance / variance)
}

/// A straight line.
pub struct Line {
    /// A stamp on the line, milliseconds.
    origin: i64,
    /// The value there.
    value: f64,
    /// Units per second.
    slope: f64,
    /// Pairs of points compared.
    pub cost: u32,
}

impl Line {
    /// The Theil–Sen line through the medians of at most 64 equal stretches of time; samples are in order of time.
    pub fn theil_sen(samples: &[(i64, f64)]) -> Option<Line> {
        let (&(first, _), &(last, _)) = (samples.first()?, samples.last()?);
        if first == last {
            return None;
        }
        let points = stretch_medians(samples, first, last);
        let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
        for (i, (x, y)) in points.iter().enumerate() {
            slopes.extend(points[i + 1..].iter().map(|(later, value)| (value - y) / (later - x)));
        }
        let cost = slopes.len() as u32;
        let slope = median(&mut slopes);
        let mut offsets: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
        // `x` counts from the first sample; the line is kept by its value at the newest one.
        let value = median(&mut offsets) + slope * ((last - first) as f64 / 1000.0);
        Some(Line { origin: last, value, slope, cost })
    }

    /// Seconds from `now` until the line reaches the level, and whether that is a time ahead (which shrinks as time goes on). Zero
    /// if that was between `since` and `now`; infinite if it never will or was before.
    pub fn seconds_until(&self, level: f64, since: i64, now: i64) -> (f64, bool) {
        let distance = level - self.value;
        if distance == 0.0 && self.slope == 0.0 {
            return (0.0, false);
        }
        let from_origin = distance / self.slope;
        if from_origin.is_nan() {
            return (f64::NAN, false);
        }
        if !from_origin.is_finite() || from_origin < (since - self.origin) as f64 / 1000.0 {
            return (f64::INFINITY, false);
        }
        let ahead = from_origin - (now - self.origin) as f64 / 1000.0;
        if ahead <= 0.0 { (0.0, false) } else { (ahead, true) }
    }
}

/// Median stamp (seconds from `first`) and median value of each stretch that has samples. Each sample is its own stretch if there
/// are few enough.
fn stretch_medians(samples: &[(i64, f64)], first: i64, last: i64) -> Vec<(f64, f64)> {
    let seconds = |time: i64| (time - first) as f64 / 1000.0;
    if samples.len() <= STRETCHES_MAX as usize {
        return samples.iter().map(|(time, value)| (seconds(*time), *value)).collect();
    }
    let width = (last - first) / STRETCHES_MAX + 1;
    let stretch = |time: i64| (time - first) / width;
    let same = |a: &(i64, f64), b: &(i64, f64)| stretch(a.0) == stretch(b.0);
    let point = |part: &[(i64, f64)]| {
        let mut values: Vec<f64> = part.iter().map(|(_, value)| *value).collect();
        let mut times: Vec<f64> = part.iter().map(|(time, _)| seconds(*time)).collect();
        (median(&mut times), median(&mut values))
    };
    samples.chunk_by(same).map(point).collect()
}
