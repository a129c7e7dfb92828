//! How much is asked of a service, as a pure function of seed and time: whatever is done, the same people come.

use crate::chance;
use crate::lab::Shape;
use homeostat_model::{Span, Time};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// Requests in one minute spread by this share to both sides.
const NOISE: f64 = 0.08;
/// One hour in so many has a burst …
const BURST_EVERY: f64 = 60.0;
/// … of up to so many times the usual.
const BURST: f64 = 1.6;

/// How many people are about at a moment: the same for every service, so it is reckoned once per step.
#[derive(Copy, Clone, Debug)]
pub struct People {
    /// The share of the most, 0 to 1.
    share: f64,
    /// Whether it is Saturday or Sunday.
    is_weekend: bool,
}

impl People {
    /// Two humps, at 8 and at 20 o'clock, over a low night.
    pub fn at(at: Time) -> People {
        let (day, hour) = day_and_hour(at);
        let hump = |centre: f64, width: f64| (-((hour - centre) / width).powi(2)).exp();
        let people = 0.12 + 0.55 * hump(8.5, 2.2) + 0.88 * hump(20.0, 2.8) + 0.3 * hump(14.0, 4.0);
        People { share: people.min(1.0), is_weekend: day >= 5 }
    }
}

/// The share of the peak that a shape asks for at a moment, without noise.
pub fn share(shape: &Shape, at: Time) -> f64 {
    share_of(shape, at, &People::at(at))
}

fn share_of(shape: &Shape, at: Time, people: &People) -> f64 {
    match shape {
        Shape::Steady => 1.0,
        Shape::Daily { weekend } => people.share * if people.is_weekend { *weekend } else { 1.0 },
        Shape::Profile { step, points } => {
            let peak = points.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            let index = at.millis().rem_euclid((step.millis() * points.len() as i64).max(1)) / step.millis().max(1);
            points.get(index as usize).map_or(0.0, |point| point / peak)
        }
    }
}

/// The day of the week (0 is Monday) and the hour of the day.
pub fn day_and_hour(at: Time) -> (i64, f64) {
    let seconds = at.seconds();
    // 1970-01-01 was a Thursday.
    (((seconds / DAY).floor() as i64 + 3).rem_euclid(7), seconds.rem_euclid(DAY) / HOUR)
}

/// Requests per second, with noise and bursts. `thing` tells services apart; `people` are those at this moment.
pub fn requests_per_second(shape: &Shape, peak: f64, seed: u64, thing: u64, at: Time, people: &People) -> f64 {
    let minute = at.millis() / 60_000;
    let noise = 1.0 + NOISE * (2.0 * chance::at(seed, thing, minute) - 1.0);
    let hour = minute / 60;
    let burst =
        if chance::at(seed, thing ^ 1, hour) < 1.0 / BURST_EVERY { 1.0 + (BURST - 1.0) * chance::at(seed, thing ^ 2, hour) } else { 1.0 };
    let bursty = if matches!(shape, Shape::Daily { .. }) { burst } else { 1.0 };
    peak * share_of(shape, at, people) * noise * bursty
}

/// How many of `per_day` events fall into the `span` before `at`: whole ones, more by day than by night.
pub fn arrivals(per_day: f64, seed: u64, thing: u64, at: Time, span: Span, people: &People) -> u32 {
    let share = share_of(&Shape::Daily { weekend: 1.0 }, at, people) / 0.45;
    let expected = per_day * share * span.seconds() / DAY;
    let whole = expected.floor();
    whole as u32 + u32::from(chance::at(seed, thing, at.millis()) < expected - whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_night_and_an_evening_and_repeats() {
        let daily = Shape::Daily { weekend: 1.3 };
        let monday = Time(4 * 86_400_000);
        let hour = |hour: i64| share(&daily, monday + Span::from_hours(hour));
        assert_eq!(day_and_hour(monday), (0, 0.0));
        assert!(hour(3) < 0.25 && hour(20) > 0.85, "{} {}", hour(3), hour(20));
        assert_eq!(hour(20), share(&daily, monday + Span::from_hours(24 + 20)));
        assert!(share(&daily, monday + Span::from_hours(5 * 24 + 12)) > share(&daily, monday + Span::from_hours(12)), "weekend");
    }

    #[test]
    fn a_profile_repeats_and_its_largest_point_is_the_peak() {
        let shape = Shape::Profile { step: Span::from_secs(3), points: vec![52.0, 126.0, 63.0] };
        let at = |seconds| share(&shape, Time(0) + Span::from_secs(seconds));
        assert_eq!([at(0), at(3), at(8), at(9)], [52.0 / 126.0, 1.0, 0.5, 52.0 / 126.0]);
    }

    #[test]
    fn arrivals_add_up_to_the_days_number() {
        let (mut jobs, step) = (0, Span::from_secs(30));
        for number in 0..20 * 2880 {
            let at = Time(0) + Span(step.millis() * number);
            jobs += arrivals(24.0, 5, 6, at, step, &People::at(at));
        }
        assert!((380..=580).contains(&jobs), "{jobs} jobs in 20 days");
    }
}
