//! What would have come, when the symptom may also go by itself: a mixture.
//!
//! With chance `w` the series would have gone to its normal level at some moment of the judged time, else it would have done what the
//! forecast says. The forecast itself already believes in health with some chance `p` (a way back to the mean), which must not be counted
//! twice: `w = max(0, odds − p) / (1 − p)`. The moment of healing is not known: four equally likely ones stand for all, so that the mean
//! over the judged time lies between forecast and level.
//!
//! Deliberately absent: where the odds come from ([`crate::score::recovery`]). An editor breaks this by taking the odds for a certainty.

use super::forecast::Forecast;
use super::{Better, NaturalCourse};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Moments of healing that stand for all: shares of the judged time that had passed.
const MOMENTS: [f64; 4] = [0.125, 0.375, 0.625, 0.875];
/// Halvings in the search of a quantile.
const HALVINGS: usize = 40;

/// What would have come, as a distribution.
#[derive(Copy, Clone, Debug)]
pub(super) struct Course {
    forecast: Forecast,
    standard: StudentsT,
    /// Chance of healing by itself and the level then.
    healed: Option<(f64, f64)>,
}

impl Course {
    /// From the forecast and what is known of the symptom.
    pub(super) fn of(forecast: Forecast, natural: Option<NaturalCourse>, better: Better) -> Course {
        let standard = StudentsT::new(0.0, 1.0, forecast.freedom).expect("a finite number of degrees of freedom above 2");
        let mut course = Course { forecast, standard, healed: None };
        if let Some(natural) = natural.filter(|natural| natural.level.is_finite() && natural.threshold.is_finite()) {
            let below = course.below(natural.threshold);
            let healthy = if better == Better::Up { 1.0 - below } else { below };
            let share = (natural.odds.clamp(0.0, 1.0) - healthy) / (1.0 - healthy);
            if share > 0.0 {
                course.healed = Some((share.min(1.0), natural.level));
            }
        }
        course
    }

    /// The mean.
    pub(super) fn mean(&self) -> f64 {
        match self.healed {
            None => self.forecast.mean,
            Some((share, level)) => self.forecast.mean + 0.5 * share * (level - self.forecast.mean),
        }
    }

    /// The chance of less than `value`.
    pub(super) fn below(&self, value: f64) -> f64 {
        let plain = |shift: f64| self.standard.cdf((value - self.forecast.mean - shift) / self.forecast.scale);
        match self.healed {
            None => plain(0.0),
            Some((share, level)) => {
                let way = level - self.forecast.mean;
                let healed: f64 = MOMENTS.iter().map(|moment| plain(way * (1.0 - moment))).sum();
                (1.0 - share) * plain(0.0) + share * healed / MOMENTS.len() as f64
            }
        }
    }

    /// The interval that holds 95 % of it.
    pub(super) fn interval(&self) -> (f64, f64) {
        let half = self.forecast.scale * self.standard.inverse_cdf(0.975);
        let (low, high) = (self.forecast.mean - half, self.forecast.mean + half);
        let Some((_, level)) = self.healed else { return (low, high) };
        let way = level - self.forecast.mean;
        (self.quantile(0.025, low + way.min(0.0), low + way.max(0.0)), self.quantile(0.975, high + way.min(0.0), high + way.max(0.0)))
    }

    /// The value that is not reached with the chance `share`, between `low` and `high`.
    fn quantile(&self, share: f64, mut low: f64, mut high: f64) -> f64 {
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if self.below(middle) < share { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }
}
