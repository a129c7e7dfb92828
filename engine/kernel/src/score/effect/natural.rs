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
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Moments of healing that stand for all: shares of the judged time that had passed.
const MOMENTS: [f64; 4] = [0.125, 0.375, 0.625, 0.875];
/// No healing at all: the whole of the judged time.
const STAYS: [f64; 1] = [0.0];
/// The forecast, and the other ways.
const WAYS_MAX: usize = 1 + MOMENTS.len();
/// Steps in the search of a quantile; three or four are needed.
const STEPS_MAX: usize = 60;
/// How near a quantile is found: in shares of the forecast's scale …
const NEAR: f64 = 1e-3;
/// … or so that its chance is met to this; Wallace's transformation is off by more than either.
const NEAR_CHANCE: f64 = 2e-5;
/// Normal deviations beyond which there is nothing: 1e-9 of the whole.
const FAR: f64 = 6.0;

/// What would have come, as a distribution: a mixture of ways that differ in where they end, each as uncertain as the forecast.
#[derive(Copy, Clone, Debug)]
pub(super) struct Course {
    forecast: Forecast,
    standard: StudentsT,
    /// The chance of each way, and how far from the forecast it leads, in scales; ascending.
    ways: [(f64, f64); WAYS_MAX],
    /// How many there are; one is the forecast alone.
    count: usize,
    /// So many scales away from where a way leads nothing is left of it.
    far: f64,
}

impl Course {
    /// From the forecast and what is known of the symptom.
    pub(super) fn of(forecast: Forecast, natural: Option<NaturalCourse>, better: Better) -> Course {
        let freedom = forecast.freedom;
        let standard = StudentsT::new(0.0, 1.0, freedom).expect("a finite number of degrees of freedom above 2");
        let ways = [(1.0, 0.0); WAYS_MAX];
        let mut course = Course { forecast, standard, ways, count: 1, far: by_normal(FAR, freedom) };
        let known = natural.filter(|natural| [natural.level, natural.lasting, natural.threshold].iter().all(|value| value.is_finite()));
        if let Some(natural) = known {
            let below = nearly_below((natural.threshold - forecast.mean) / forecast.scale, freedom);
            let healthy = if better == Better::Up { 1.0 - below } else { below };
            let odds = natural.odds.clamp(0.0, 1.0);
            let (share, level, moments): (f64, f64, &[f64]) = if odds > healthy {
                ((odds - healthy) / (1.0 - healthy), natural.level, &MOMENTS)
            } else if (better == Better::Up) == (natural.lasting < natural.threshold) {
                ((healthy - odds) / healthy, natural.lasting, &STAYS)
            } else {
                // It was healthy when the action was sent: there is nothing that could stay.
                (0.0, natural.level, &STAYS)
            };
            if share > 0.0 {
                course.mix(share.min(1.0), (level - forecast.mean) / forecast.scale, moments);
            }
        }
        course
    }

    /// With the chance `share` it leads elsewhere, `way` scales from the forecast, from one of `moments` on.
    fn mix(&mut self, share: f64, way: f64, moments: &[f64]) {
        self.ways[0].0 = 1.0 - share;
        for (place, moment) in self.ways[1..].iter_mut().zip(moments) {
            *place = (share / moments.len() as f64, way * (1.0 - moment));
        }
        self.count = 1 + moments.len();
        self.ways[..self.count].sort_unstable_by(|one, other| one.1.total_cmp(&other.1));
    }

    fn ways(&self) -> &[(f64, f64)] {
        &self.ways[..self.count]
    }

    /// The mean.
    pub(super) fn mean(&self) -> f64 {
        self.forecast.mean + self.forecast.scale * self.ways().iter().map(|(share, way)| share * way).sum::<f64>()
    }

    /// The chance of less than `value`.
    pub(super) fn below(&self, value: f64) -> f64 {
        let at = (value - self.forecast.mean) / self.forecast.scale;
        if self.count == 1 { self.standard.cdf(at) } else { self.nearly_below(at) }
    }

    /// The same for a mixture, whose shares are known far less well, `at` in scales from the forecast.
    fn nearly_below(&self, at: f64) -> f64 {
        let part = |(share, way): &(f64, f64)| match at - way {
            off if off > self.far => *share,
            off if off < -self.far => 0.0,
            off => share * nearly_below(off, self.forecast.freedom),
        };
        self.ways().iter().map(part).sum()
    }

    /// The interval that holds 95 % of it.
    pub(super) fn interval(&self) -> (f64, f64) {
        let (low, high) = if self.count == 1 {
            let half = upper_end(&self.standard);
            (-half, half)
        } else {
            (self.quantile(0.025), self.quantile(0.975))
        };
        (self.forecast.mean + self.forecast.scale * low, self.forecast.mean + self.forecast.scale * high)
    }

    /// The value, in scales from the forecast, that is not reached with this chance: false position between normal deviations, in which a
    /// mixture's end is nearly straight, and halving where that is slow.
    fn quantile(&self, chance: f64) -> f64 {
        let (mut low, mut high) = self.around(chance);
        let (under, over) = (self.nearly_below(low), self.nearly_below(high));
        if under >= chance {
            return low;
        }
        if over <= chance {
            return high;
        }
        let wanted = nearly_normal_quantile(chance);
        let (mut under, mut over) = (nearly_normal_quantile(under) - wanted, nearly_normal_quantile(over) - wanted);
        for step in 0..STEPS_MAX {
            let straight = low - under * (high - low) / (over - under);
            let middle = if step % 4 == 3 || !straight.is_finite() { 0.5 * (low + high) } else { straight.clamp(low, high) };
            let found = self.nearly_below(middle);
            if (found - chance).abs() <= NEAR_CHANCE {
                return middle;
            }
            if found < chance {
                (low, under) = (middle, nearly_normal_quantile(found) - wanted);
            } else {
                (high, over) = (middle, nearly_normal_quantile(found) - wanted);
            }
            if high - low <= NEAR {
                break;
            }
        }
        0.5 * (low + high)
    }

    /// Two values between which that one lies. With the ways in order and `before` the chance of those before one of them, the mixture is
    /// at most `before` plus the rest at this way, and at least all up to this way as if they led here.
    fn around(&self, chance: f64) -> (f64, f64) {
        let freedom = self.forecast.freedom;
        let end = |part: f64| by_normal(nearly_normal_quantile(part), freedom);
        let (mut low, mut high, mut before) = (f64::NEG_INFINITY, f64::INFINITY, 0.0);
        for (share, way) in self.ways() {
            if before < chance {
                low = low.max(way + end((chance - before) / (1.0 - before)));
            }
            before += share;
            if before > chance {
                high = high.min(way + end(chance / before));
            }
        }
        // The ends are off by less than this.
        (low - 2.0 * NEAR, high + 2.0 * NEAR)
    }
}

/// The chance of less than `t` in Student's distribution by the normal one: Wallace's transformation (1959, Ann. Math. Statist. 30), off
/// by less than 0.002 from four degrees of freedom on, and a fortieth of the work.
fn nearly_below(t: f64, freedom: f64) -> f64 {
    nearly_normal(wallace(freedom) * (freedom * (t * t / freedom).ln_1p()).sqrt().copysign(t))
}

/// The `t` that Wallace's transformation makes this normal deviation of.
fn by_normal(z: f64, freedom: f64) -> f64 {
    let reach = z / wallace(freedom);
    (freedom * (reach * reach / freedom).exp_m1()).sqrt().copysign(z)
}

/// The normal distribution, off by less than 1e-7 (Abramowitz & Stegun 26.2.17): a search asks often.
fn nearly_normal(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let sum = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let above = (-0.5 * z * z).exp() * 0.398_942_280_401_432_7 * sum;
    if z < 0.0 { above } else { 1.0 - above }
}

/// The normal deviation that is not reached with this chance, off by less than 5e-4 (Abramowitz & Stegun 26.2.23): where a search begins.
fn nearly_normal_quantile(chance: f64) -> f64 {
    let tail = chance.min(1.0 - chance).max(1e-12);
    let t = (-2.0 * tail.ln()).sqrt();
    let z = t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    if chance < 0.5 { -z } else { z }
}

/// The factor in Wallace's transformation.
fn wallace(freedom: f64) -> f64 {
    (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
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
    #[test]
    fn the_quick_normal_distribution_is_the_normal_distribution() {
        let normal = statrs::distribution::Normal::standard();
        for step in -600..=600 {
            let z = f64::from(step) / 100.0;
            assert!((nearly_normal(z) - normal.cdf(z)).abs() < 1e-7, "{z}");
            let chance = normal.cdf(z);
            if (1e-6..=1.0 - 1e-6).contains(&chance) {
                assert!((nearly_normal_quantile(chance) - z).abs() < 5e-4, "{z}");
            }
        }
    }

    #[test]
    fn a_way_and_its_normal_deviation_are_each_other() {
        for (t, freedom) in [(0.3, 11.0), (-2.0, 40.0), (7.0, 11.0), (-1.0, 94.0)] {
            let z: f64 = wallace(freedom) * (freedom * (t * t / freedom).ln_1p()).sqrt().copysign(t);
            assert!((by_normal(z, freedom) - t).abs() < 1e-9, "{t} {freedom}");
        }
    }

    /// Whatever is mixed: the ends that a search begins with hold the quantile, and the quantile has its chance.
    #[test]
    fn quantiles_of_mixtures_have_their_chance() {
        for freedom in [11.0, 30.0, 94.0] {
            for way in [-60.0, -9.0, -1.5, -0.01, 0.0, 0.4, 3.0, 25.0] {
                for share in [0.001, 0.024, 0.025, 0.2, 0.5, 0.9, 0.975, 1.0] {
                    for moments in [&MOMENTS[..], &STAYS[..]] {
                        let forecast = Forecast { mean: 5.0, scale: 2.0, freedom };
                        let mut course = Course::of(forecast, None, Better::Up);
                        course.mix(share, way, moments);
                        for chance in [0.025, 0.975] {
                            let told = format!("{freedom} {way} {share} {} {chance}", moments.len());
                            let (low, high) = course.around(chance);
                            assert!(course.nearly_below(low) <= chance && course.nearly_below(high) >= chance, "{told}");
                            let found = course.quantile(chance);
                            let (less, more) = (course.nearly_below(found - NEAR), course.nearly_below(found + NEAR));
                            assert!(less <= chance + NEAR_CHANCE && more >= chance - NEAR_CHANCE, "{told}: {less} {more}");
                        }
                    }
                }
            }
        }
    }
}
