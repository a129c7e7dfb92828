//! How long the world takes to answer an action: first order plus dead time, learned, and offered as settle, verify and cooldown.
//!
//! Deliberately absent: series and actions; what was expected without the action (the effect's subject): a series that was moving
//! already is no good teacher. An editor breaks this by taking noise for an answer (a settle time that means nothing), or by taking the
//! scrape before the answer for its beginning: the loop would look too early.

use homeostat_model::{Response, Span};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// So many samples are looked at: the newest before the action, the first after it.
pub const SAMPLES_MAX: usize = 512;
/// Fewer samples than this, on either side, teach nothing.
pub const SAMPLES_MIN: usize = 3;
/// So many fits are remembered per verb and metric.
pub const FITS_MAX: usize = 64;
/// From so many fits on, something is offered.
pub const FITS_MIN: usize = 5;
const DEAD_TIMES: usize = 40;
const LAGS: usize = 12;
/// What is not explained at least by half is not learned from.
const R2_MIN: f64 = 0.5;
/// Evidence, as twice a log likelihood ratio, that an answer must have over none: this, and more with the samples (see [`fit`]).
const EVIDENCE_MIN: f64 = 8.0;

/// How a series answered one action: b + gain · (1 − e^(−(t − dead time) ÷ lag)) from the dead time on.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// From the sending until it moved. For a step (lag zero): until the first sample that shows it.
    pub dead_time_seconds: f64,
    /// From then until 63 % of the way; zero: faster than can be seen.
    pub lag_seconds: f64,
    /// How far it moves in all, in the series' unit.
    pub gain: f64,
    /// The share of the variance, before and after together, that this explains, 0 to 1.
    pub r2: f64,
}

impl Fit {
    /// The same as it is written into a score.
    pub fn response(&self) -> Response {
        let span = |seconds: f64| Span::from_millis((seconds * 1000.0).round() as i64);
        Response { dead_time: span(self.dead_time_seconds), lag: span(self.lag_seconds), gain: self.gain }
    }
}

/// Fits the answer of a series to one action; samples are (seconds relative to the sending, value), oldest first.
///
/// The base is the median before. Dead time and lag are searched on a grid of 40 × 12 that is refined once around its best cell; for each
/// the gain is least squares in closed form. A step is preferred unless a lag is worth its parameter (BIC). `None`: fewer than
/// [`SAMPLES_MIN`] samples on a side or after the answer, or no answer that stands out: against one mean for all samples, n·ln(SSE₀ ÷ SSE₁)
/// must exceed 8 + 4·ln n, where n is reduced by the lag-one autocorrelation r of what is left over, n·(1 − r) ÷ (1 + r), and r² must reach 0.5.
/// The search makes the ratio larger than an F-test's table expects; the threshold was measured (see the tests).
///
/// Work: 2 · 12 passes over at most [`SAMPLES_MAX`] samples, and 2 · 480 looks at sums.
pub fn fit(before: &[(f64, f64)], after: &[(f64, f64)]) -> Option<Fit> {
    let sound = |sample: &&(f64, f64)| sample.0.is_finite() && sample.1.is_finite();
    let before: Vec<f64> = before.iter().filter(sound).map(|sample| sample.1).collect();
    let before = &before[before.len().saturating_sub(SAMPLES_MAX)..];
    let mut after: Vec<(f64, f64)> = after.iter().filter(sound).filter(|sample| sample.0 >= 0.0).copied().collect();
    after.sort_by(|one, other| one.0.total_cmp(&other.0));
    after.truncate(SAMPLES_MAX);
    if before.len() < SAMPLES_MIN || after.len() < SAMPLES_MIN {
        return None;
    }
    let base = quantile(before, 0.5);
    let search = Search::new(base, &after);
    let best = search.best()?;
    let residuals: Vec<f64> =
        before.iter().map(|value| value - base).chain(after.iter().map(|(at, value)| value - base - best.gain * best.share(*at))).collect();
    let all: Vec<f64> = before.iter().copied().chain(after.iter().map(|sample| sample.1)).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let spread: f64 = all.iter().map(|value| (value - mean).powi(2)).sum();
    let left: f64 = residuals.iter().map(|value| value * value).sum();
    // Beyond rounding, nothing is exact: a perfect fit is a billion times better than none, not infinitely.
    let floor = spread * 1e-9;
    if spread <= f64::EPSILON * mean * mean * all.len() as f64 || left >= spread {
        return None;
    }
    let samples = all.len() as f64;
    let alike = if left <= floor { 0.0 } else { residuals.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / left };
    let alike = alike.clamp(0.0, 0.95);
    let evidence = samples * (1.0 - alike) / (1.0 + alike) * (spread / left.max(floor)).ln();
    let r2 = 1.0 - left / spread;
    let stands_out = evidence > EVIDENCE_MIN + 4.0 * samples.ln() && r2 >= R2_MIN;
    stands_out.then_some(Fit { dead_time_seconds: best.dead_time, lag_seconds: best.lag, gain: best.gain, r2 })
}

/// One point of the grid.
#[derive(Copy, Clone)]
struct Point {
    dead_time: f64,
    lag: f64,
    gain: f64,
    /// What is left over after the action.
    left: f64,
}

impl Point {
    /// How much of the way is gone at a time, 0 to 1.
    fn share(&self, at: f64) -> f64 {
        if at < self.dead_time {
            0.0
        } else if self.lag == 0.0 {
            1.0
        } else {
            1.0 - (-(at - self.dead_time) / self.lag).exp()
        }
    }
}

struct Search<'a> {
    /// Seconds and value.
    after: &'a [(f64, f64)],
    base: f64,
    /// Sum of squares about the base.
    square: f64,
}

impl<'a> Search<'a> {
    fn new(base: f64, after: &'a [(f64, f64)]) -> Search<'a> {
        Search { after, base, square: after.iter().map(|sample| (sample.1 - base).powi(2)).sum() }
    }

    fn best(&self) -> Option<Point> {
        let last_dead_time = self.after[self.after.len() - SAMPLES_MIN].0;
        let window = self.after[self.after.len() - 1].0;
        let steps: Vec<f64> = self.after[..=self.after.len() - SAMPLES_MIN].iter().map(|sample| sample.0).collect();
        let step = self.along(0.0, &steps);
        let even = |from: f64, to: f64, count: usize| -> Vec<f64> {
            (0..count).map(|index| from + (to - from) * index as f64 / (count - 1) as f64).collect()
        };
        // Lags from a quarter of a scrape to the whole window, evenly in the logarithm.
        let shortest = (window / self.after.len() as f64 / 4.0).max(1e-3);
        let apart = (window / shortest).max(1.0).powf(1.0 / (LAGS - 1) as f64);
        let lags = |from: f64, apart: f64| (0..LAGS).map(move |index| from * apart.powi(index as i32));
        let smooth = least(lags(shortest, apart).filter_map(|lag| self.along(lag, &even(0.0, last_dead_time, DEAD_TIMES))));
        let smooth = smooth.map(|rough| {
            let cell = last_dead_time / (DEAD_TIMES - 1) as f64;
            let near = even((rough.dead_time - cell).max(0.0), (rough.dead_time + cell).min(last_dead_time), DEAD_TIMES);
            let finer = lags(rough.lag / apart, apart.powf(2.0 / (LAGS - 1) as f64)).filter_map(|lag| self.along(lag, &near));
            least(finer.chain([rough])).unwrap_or(rough)
        });
        match (step, smooth) {
            (Some(step), Some(smooth)) => {
                let samples = self.after.len() as f64;
                let floor = self.square * 1e-9;
                let worth = samples * (step.left.max(floor) / smooth.left.max(floor)).ln();
                Some(if worth > samples.ln() { smooth } else { step })
            }
            (step, smooth) => step.or(smooth),
        }
    }

    /// The best of some dead times for one lag. Sums from each sample to the last, weighted relative to that sample, make every dead
    /// time a look-up, and never overflow.
    fn along(&self, lag: f64, dead_times: &[f64]) -> Option<Point> {
        let count = self.after.len();
        // From sample k on: Σ value, Σ e, Σ e·value, Σ e², with e = e^(−(t − t_k) ÷ lag).
        let mut sums = vec![[0.0_f64; 4]; count + 1];
        for index in (0..count).rev() {
            let value = self.after[index].1 - self.base;
            let decay = match self.after.get(index + 1) {
                Some(next) if lag > 0.0 => (-(next.0 - self.after[index].0) / lag).exp(),
                _ => 0.0,
            };
            let [values, e, e_values, squares] = sums[index + 1];
            sums[index] = [values + value, 1.0 + decay * e, value + decay * e_values, 1.0 + decay * decay * squares];
        }
        let point = |dead_time: f64| {
            let first = self.after.partition_point(|sample| sample.0 < dead_time);
            let begins = self.after.get(first)?.0;
            let weight = if lag > 0.0 { (-(begins - dead_time) / lag).exp() } else { 0.0 };
            let [values, e, e_values, squares] = sums[first];
            let (cross, own) = (values - weight * e_values, (count - first) as f64 - 2.0 * weight * e + weight * weight * squares);
            (own > 1e-12).then(|| Point { dead_time, lag, gain: cross / own, left: (self.square - cross * cross / own).max(0.0) })
        };
        least(dead_times.iter().filter_map(|dead_time| point(*dead_time)))
    }
}

/// The point that leaves least over; the first of equals.
fn least(points: impl Iterator<Item = Point>) -> Option<Point> {
    points.reduce(|best, point| if point.left < best.left { point } else { best })
}

/// A quantile, 0 to 1, between the neighbours by their distance; of at least one value.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// A median with the range of the middle 80 %.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// A tenth is below.
    pub low: f64,
    /// Half is below.
    pub median: f64,
    /// A tenth is above.
    pub high: f64,
}

/// What is known of the answers of one metric to one verb.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// So many fits it rests on.
    pub fits: u32,
    /// Seconds until it moves.
    pub dead_time_seconds: Spread,
    /// Seconds from then until 63 % of the way.
    pub lag_seconds: Spread,
    /// How far it moves, in the metric's unit.
    pub gain: Spread,
}

/// Times that fit the plant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The upper tenth of dead time + 3·lag (95 % of the way), a tenth more, rounded up to 5 s.
    pub settle: Span,
    /// One and a half times `settle`: when a claim can be judged.
    pub verify: Span,
    /// Twice `settle`: before the same is done again.
    pub cooldown: Span,
    /// In words.
    pub text: String,
}

/// Fits of one metric to one verb, the newest [`FITS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Learned {
    fits: VecDeque<Fit>,
}

impl Learned {
    /// One more answer. Fits with a number that is not finite are left out.
    pub fn learn(&mut self, fit: Fit) {
        if [fit.dead_time_seconds, fit.lag_seconds, fit.gain, fit.r2].iter().all(|value| value.is_finite()) {
            self.fits.push_back(fit);
        }
        while self.fits.len() > FITS_MAX {
            self.fits.pop_front();
        }
    }

    /// The median answer with its spread, once there are [`FITS_MIN`].
    pub fn summary(&self) -> Option<Summary> {
        let spread = |of: fn(&Fit) -> f64| {
            let values: Vec<f64> = self.fits.iter().map(of).collect();
            Spread { low: quantile(&values, 0.1), median: quantile(&values, 0.5), high: quantile(&values, 0.9) }
        };
        (self.fits.len() >= FITS_MIN).then(|| Summary {
            fits: self.fits.len() as u32,
            dead_time_seconds: spread(|fit| fit.dead_time_seconds),
            lag_seconds: spread(|fit| fit.lag_seconds),
            gain: spread(|fit| fit.gain),
        })
    }

    /// Times that fit the plant, once there are [`FITS_MIN`] fits.
    pub fn offer(&self) -> Option<Offer> {
        let summary = self.summary()?;
        let settled: Vec<f64> = self.fits.iter().map(|fit| fit.dead_time_seconds + 3.0 * fit.lag_seconds).collect();
        let settle = Span::from_secs(((quantile(&settled, 0.9) * 1.1 / 5.0).ceil() as i64).max(1).saturating_mul(5));
        let (dead, lag) = (summary.dead_time_seconds, summary.lag_seconds);
        let text = format!(
            "{} times: it moves after {:.0} s ({:.0} to {:.0}) with a lag of {:.0} s ({:.0} to {:.0})",
            summary.fits, dead.median, dead.low, dead.high, lag.median, lag.low, lag.high
        );
        Some(Offer { settle, verify: settle.times(1.5), cooldown: settle.times(2.0), text })
    }

    /// Why a policy is faster than its plant, if so: it looks again `every` so often, but not while `settle` lasts after an action.
    pub fn warns(&self, every: Span, settle: Span) -> Option<String> {
        let (offer, summary, looks) = (self.offer()?, self.summary()?, every.max(settle));
        let moves = summary.dead_time_seconds.median;
        (looks < offer.settle).then(|| {
            let what = if looks.seconds() < moves { "before anything could be seen" } else { "before the answer is complete" };
            format!("the policy looks again {looks} after acting, {what}: {}; `settle: \"{}\"` would fit", offer.text, offer.settle)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64 (Steele, Lea, Flood 2014): even numbers from a seed, and normal ones by Box and Muller.
    struct Chance(u64);

    impl Chance {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
        }
    }

    type Samples = Vec<(f64, f64)>;

    /// Scrapes at a random phase, 10 min before and after.
    fn scraped(chance: &mut Chance, scrape: f64, mut value: impl FnMut(&mut Chance, f64) -> f64) -> (Samples, Samples) {
        let mut at = -600.0 + scrape * chance.unit();
        let mut samples = Vec::new();
        while at < 600.0 {
            samples.push((at, value(chance, at)));
            at += scrape;
        }
        samples.into_iter().partition(|sample| sample.0 < 0.0)
    }

    fn booted(chance: &mut Chance, scrape: f64, boot: f64) -> Fit {
        let (before, after) = scraped(chance, scrape, |_, at| if at >= boot { 1.0 } else { 0.0 });
        fit(&before, &after).expect("a step of 1 stands out")
    }

    #[test]
    fn five_wakes_teach_the_boot_of_48_seconds() {
        let (mut low, mut high, mut settles) = (f64::MAX, f64::MIN, (Span(i64::MAX), Span::ZERO));
        for seed in 0..400 {
            let (mut chance, mut learned) = (Chance(seed), Learned::default());
            for wake in 0..5 {
                assert_eq!((learned.summary(), learned.offer()), (None, None), "{wake}");
                let boot = 44.0 + 8.0 * chance.unit();
                let fit = booted(&mut chance, 15.0, boot);
                assert!(
                    (boot..=boot + 15.0).contains(&fit.dead_time_seconds) && fit.lag_seconds == 0.0 && fit.r2 > 0.999,
                    "{boot}: {fit:?}"
                );
                assert_eq!(fit.gain, 1.0);
                learned.learn(fit);
            }
            let median = learned.summary().unwrap().dead_time_seconds.median;
            let offer = learned.offer().unwrap();
            assert!((45.0..=75.0).contains(&median), "seed {seed}: {median}");
            assert!((Span::from_secs(50)..=Span::from_secs(90)).contains(&offer.settle), "seed {seed}: {offer:?}");
            (low, high) = (low.min(median), high.max(median));
            settles = (settles.0.min(offer.settle), settles.1.max(offer.settle));
        }
        println!("400 times five wakes: {low:.1} s to {high:.1} s, settle {} to {}", settles.0, settles.1);
    }

    #[test]
    fn a_temperature_has_dead_time_and_lag() {
        let mut worst = (0.0_f64, 0.0_f64, 0.0_f64);
        for seed in 0..200 {
            let mut chance = Chance(seed);
            let (before, after) = scraped(&mut chance, 15.0, |chance, at| {
                let share = if at > 30.0 { 1.0 - (-(at - 30.0) / 90.0).exp() } else { 0.0 };
                61.0 - 12.0 * share + 0.2 * chance.normal()
            });
            let fit = fit(&before, &after).unwrap();
            let off = ((fit.dead_time_seconds - 30.0).abs(), (fit.lag_seconds - 90.0).abs(), (fit.gain + 12.0).abs());
            worst = (worst.0.max(off.0), worst.1.max(off.1), worst.2.max(off.2));
        }
        println!("off by at most {:.1} s, {:.1} s, {:.2} °C", worst.0, worst.1, worst.2);
        assert!(worst.0 < 10.0 && worst.1 < 15.0 && worst.2 < 0.5, "{worst:?}");
    }

    #[test]
    fn noise_is_no_answer() {
        for (name, alike, scrape) in [("white", 0.0, 15.0), ("few", 0.0, 60.0), ("autocorrelated 0.6", 0.6, 15.0), ("0.9", 0.9, 15.0)] {
            let taken = (0..1000).filter(|seed| {
                let (mut chance, mut last) = (Chance(*seed), 0.0);
                let (before, after) = scraped(&mut chance, scrape, |chance, _| {
                    last = alike * last + chance.normal();
                    50.0 + last
                });
                fit(&before, &after).is_some()
            });
            let taken = taken.count();
            println!("{name}: {taken} of 1000 taken for an answer");
            assert!(taken <= 50, "{name}: {taken} of 1000");
        }
        // Nothing moved at all, too few, or not numbers.
        let flat: Samples = (0..40).map(|index| (f64::from(index), 0.1)).collect();
        assert_eq!(fit(&flat, &flat), None);
        assert_eq!(fit(&flat[..2], &flat), None);
        assert_eq!(fit(&flat, &[(1.0, f64::NAN), (2.0, 5.0), (3.0, 5.0), (4.0, f64::INFINITY)]), None);
        let late: Samples = (0..40).map(|index| (f64::from(index), if index > 37 { 1.0 } else { 0.1 })).collect();
        assert_eq!(fit(&flat, &late).map(|fit| fit.dead_time_seconds).filter(|dead| *dead > 37.0), None, "two samples are too few");
    }

    #[test]
    fn a_policy_that_is_faster_than_its_plant_is_told_so() {
        let mut learned = Learned::default();
        for boot in [44.0, 46.0, 48.0, 50.0, 52.0] {
            learned.learn(booted(&mut Chance(7), 5.0, boot));
        }
        let offer = learned.offer().unwrap();
        assert!(offer.verify >= offer.settle && offer.cooldown >= offer.verify);
        let blind = learned.warns(Span::from_secs(15), Span::from_secs(30)).unwrap();
        assert!(
            blind.starts_with("the policy looks again 30s after acting, before anything could be seen: 5 times: it moves after"),
            "{blind}"
        );
        assert!(learned.warns(Span::from_secs(55), Span::ZERO).is_some_and(|text| text.contains("before the answer is complete")));
        assert_eq!(learned.warns(Span::from_secs(15), offer.settle), None);
        assert_eq!(learned.warns(Span::from_mins(5), Span::ZERO), None);
        assert_eq!(serde_json::from_str::<Learned>(&serde_json::to_string(&learned).unwrap()).unwrap(), learned);
        let one = booted(&mut Chance(1), 5.0, 48.0);
        let mut many = Learned::default();
        (0..100).for_each(|_| many.learn(one));
        assert_eq!(many.summary().unwrap().fits, FITS_MAX as u32);
    }

    #[test]
    fn the_sums_agree_with_counting_sample_by_sample() {
        let mut chance = Chance(11);
        let (_, after) = scraped(&mut chance, 10.0, |chance, at| at / 100.0 + chance.normal());
        let search = Search::new(0.3, &after);
        for lag in [0.0, 0.01, 2.5, 40.0, 900.0] {
            for dead_time in [0.0, after[3].0, 123.4, 555.0] {
                let point = search.along(lag, &[dead_time]).unwrap();
                let (cross, own) = after.iter().fold((0.0, 0.0), |(cross, own), (at, value)| {
                    let share = point.share(*at);
                    (cross + share * (value - 0.3), own + share * share)
                });
                let left: f64 = after.iter().map(|(at, value)| (value - 0.3 - cross / own * point.share(*at)).powi(2)).sum();
                assert!((point.gain - cross / own).abs() < 1e-9 && (point.left - left).abs() < 1e-8 * left, "{lag} {dead_time}");
            }
        }
    }
}
