//! What would have come, when the symptom may also go by itself, or stay: a mixture.
//!
//! The forecast believes in health at the end with some chance `p` (a way back to the mean); what such symptoms do when nobody acts is
//! known as `odds`. Where they go by themselves more often than the forecast believes, the series would, with chance
//! `w = (odds − p) / (1 − p)`, have gone to its normal level at some moment of the judged time; the moment is not known, and four equally
//! likely ones stand for all. Where they stay more often, it would, with chance `w = (p − odds) / p`, have stayed where the symptom is.
//! Else it would have done what the forecast says. So nothing is counted twice, and neither side is favoured.
//!
//! Deliberately absent: where the odds come from ([`crate::score::recovery`]). An editor breaks this by taking the odds for a certainty,
//! or by mixing on one side only: an idle action on what lasts would be called harm.

use super::forecast::Forecast;
use super::{Better, NaturalCourse};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Moments of healing that stand for all: shares of the judged time that had passed.
const MOMENTS: [f64; 4] = [0.125, 0.375, 0.625, 0.875];
/// No healing at all: the whole of the judged time.
const STAYS: [f64; 1] = [0.0];
/// Steps in the search of a quantile; some ten are needed.
const STEPS_MAX: usize = 60;
/// How near a quantile is found, in shares of the forecast's scale: Wallace's transformation is off by more.
const NEAR: f64 = 1e-3;

/// What would have come, as a distribution.
#[derive(Copy, Clone, Debug)]
pub(super) struct Course {
    forecast: Forecast,
    standard: StudentsT,
    other: Option<Other>,
}

/// The other way that it may have gone.
#[derive(Copy, Clone, Debug)]
struct Other {
    /// The chance of it.
    share: f64,
    /// From the forecast to the level there.
    way: f64,
    /// When it may have come there.
    moments: &'static [f64],
}

impl Course {
    /// From the forecast and what is known of the symptom.
    pub(super) fn of(forecast: Forecast, natural: Option<NaturalCourse>, better: Better) -> Course {
        let standard = StudentsT::new(0.0, 1.0, forecast.freedom).expect("a finite number of degrees of freedom above 2");
        let mut course = Course { forecast, standard, other: None };
        let known = natural.filter(|natural| [natural.level, natural.lasting, natural.threshold].iter().all(|value| value.is_finite()));
        if let Some(natural) = known {
            let below = course.below(natural.threshold);
            let healthy = if better == Better::Up { 1.0 - below } else { below };
            let odds = natural.odds.clamp(0.0, 1.0);
            let (share, level, moments): (f64, f64, &'static [f64]) = if odds > healthy {
                ((odds - healthy) / (1.0 - healthy), natural.level, &MOMENTS)
            } else if (better == Better::Up) == (natural.lasting < natural.threshold) {
                ((healthy - odds) / healthy, natural.lasting, &STAYS)
            } else {
                // It was healthy when the action was sent: there is nothing that could stay.
                (0.0, natural.level, &STAYS)
            };
            if share > 0.0 {
                course.other = Some(Other { share: share.min(1.0), way: level - forecast.mean, moments });
            }
        }
        course
    }

    /// The mean.
    pub(super) fn mean(&self) -> f64 {
        self.forecast.mean + self.other.map_or(0.0, |other| other.share * other.way * other.gone())
    }

    /// The chance of less than `value`.
    pub(super) fn below(&self, value: f64) -> f64 {
        let Some(other) = self.other else { return self.standard.cdf((value - self.forecast.mean) / self.forecast.scale) };
        let plain = |shift: f64| self.nearly_below((value - self.forecast.mean - shift) / self.forecast.scale);
        let gone: f64 = other.moments.iter().map(|moment| plain(other.way * (1.0 - moment))).sum();
        (1.0 - other.share) * plain(0.0) + other.share * gone / other.moments.len() as f64
    }

    /// Student's distribution by the normal one, for mixtures, whose shares are known far less well: Wallace's transformation (1959,
    /// Ann. Math. Statist. 30), off by less than 0.002 from four degrees of freedom on, and a fortieth of the work.
    fn nearly_below(&self, t: f64) -> f64 {
        let freedom = self.forecast.freedom;
        let z = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * (freedom * (t * t / freedom).ln_1p()).sqrt();
        Normal::standard().cdf(z.copysign(t))
    }

    /// The interval that holds 95 % of it.
    pub(super) fn interval(&self) -> (f64, f64) {
        let half = self.forecast.scale * upper_end(&self.standard);
        let (low, high) = (self.forecast.mean - half, self.forecast.mean + half);
        let Some(Other { way, .. }) = self.other else { return (low, high) };
        let slack = 0.1 * half;
        let quantile = |share, middle: f64| self.quantile(share, middle + way.min(0.0) - slack, middle + way.max(0.0) + slack);
        (quantile(0.025, low), quantile(0.975, high))
    }

    /// The value that is not reached with the chance `share`, between `low` and `high`: false position, an end that stays twice counting
    /// half (Illinois), and halving where that is slow.
    fn quantile(&self, share: f64, mut low: f64, mut high: f64) -> f64 {
        let (mut under, mut over) = (self.below(low) - share, self.below(high) - share);
        for step in 0..STEPS_MAX {
            if high - low <= NEAR * self.forecast.scale || under >= 0.0 || over <= 0.0 {
                break;
            }
            let straight = low - under * (high - low) / (over - under);
            let middle = if step % 3 == 2 || !straight.is_finite() { 0.5 * (low + high) } else { straight.clamp(low, high) };
            let found = self.below(middle) - share;
            if found < 0.0 {
                (low, under, over) = (middle, found, 0.5 * over);
            } else {
                (high, over, under) = (middle, found, 0.5 * under);
            }
            if found == 0.0 {
                return middle;
            }
        }
        if under >= 0.0 {
            low
        } else if over <= 0.0 {
            high
        } else {
            0.5 * (low + high)
        }
    }
}

/// The value that a Student t exceeds in 2.5 % of the cases. From twenty degrees of freedom on by the expansion of Cornish and Fisher in
/// 1/freedom (Abramowitz & Stegun 26.7.5), off by less than 1e-5; a search in the distribution costs as much as the rest of an estimate.
fn upper_end(standard: &StudentsT) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    const FREEDOM_MIN: f64 = 20.0;
    let freedom = standard.freedom();
    if freedom < FREEDOM_MIN {
        return standard.inverse_cdf(0.975);
    }
    let z = |power: i32| Z.powi(power);
    let first = (z(3) + Z) / 4.0;
    let second = (5.0 * z(5) + 16.0 * z(3) + 3.0 * Z) / 96.0;
    let third = (3.0 * z(7) + 19.0 * z(5) + 17.0 * z(3) - 15.0 * Z) / 384.0;
    Z + (first + (second + third / freedom) / freedom) / freedom
}

impl Other {
    /// The share of the judged time that is spent there, mean over the moments.
    fn gone(&self) -> f64 {
        self.moments.iter().map(|moment| 1.0 - moment).sum::<f64>() / self.moments.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_student_t_by_expansion_is_that_of_the_distribution() {
        for freedom in [3.0, 10.0, 20.0, 25.0, 40.0, 94.0, 400.0] {
            let standard = StudentsT::new(0.0, 1.0, freedom).unwrap();
            let (ours, searched) = (upper_end(&standard), standard.inverse_cdf(0.975));
            assert!((ours - searched).abs() < 2e-5, "{freedom}: {ours} {searched}");
        }
    }
}
