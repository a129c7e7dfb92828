//! A token bucket: how often a sender may come.

use homeostat_model::{Span, Time};

/// Lets `burst` calls through at once and `per_second` in the long run. The time is the caller's; a clock that goes back refills
/// nothing and takes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    per_second: f64,
    burst: f64,
    tokens: f64,
    last: Option<Time>,
    refused: u64,
}

impl RateLimit {
    /// A full bucket. `per_second` in calls per second, at least 0; `burst` in calls, at least 1; what is not a number counts as the least.
    pub fn new(per_second: f64, burst: f64) -> RateLimit {
        let (per_second, burst) = (per_second.max(0.0), burst.max(1.0));
        RateLimit { per_second, burst, tokens: burst, last: None, refused: 0 }
    }

    /// Takes a token, if there is one.
    pub fn allow(&mut self, now: Time) -> bool {
        let elapsed = self.last.map_or(Span::ZERO, |last| now.since(last));
        self.last = Some(now);
        self.tokens = (self.tokens + elapsed.seconds() * self.per_second).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            true
        } else {
            self.refused += 1;
            false
        }
    }

    /// How long until the next token, for `Retry-After`; rounded up to whole milliseconds. `None` if it never comes.
    pub fn retry_after(&self) -> Option<Span> {
        match (1.0 - self.tokens).max(0.0) {
            0.0 => Some(Span::ZERO),
            missing if self.per_second > 0.0 => Some(Span::from_millis((missing / self.per_second * 1000.0).ceil() as i64)),
            _ => None,
        }
    }

    /// How many calls were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let mut limit = RateLimit::new(2.0, 3.0);
        assert_eq!([0, 0, 0, 0].map(|at| limit.allow(Time(at))), [true, true, true, false]);
        assert_eq!((limit.refused(), limit.retry_after()), (1, Some(Span::from_millis(500))));
        assert_eq!([499, 500, 501, 400, 1001].map(|at| limit.allow(Time(at))), [false, true, false, false, true]);
        assert_eq!(RateLimit::new(0.0, 0.0).retry_after(), Some(Span::ZERO));
        let mut never = RateLimit::new(f64::NAN, f64::NAN);
        assert!(never.allow(Time(0)) && !never.allow(Time(i64::MAX)));
        assert_eq!(never.retry_after(), None);
    }

    proptest! {
        #[test]
        fn no_window_lets_more_through_than_burst_and_rate(gaps in prop::collection::vec(0i64..3000, 1..200)) {
            let (per_second, burst) = (3.0, 5.0);
            let mut limit = RateLimit::new(per_second, burst);
            let mut at = 0;
            let mut passed = Vec::new();
            for gap in gaps {
                at += gap;
                if limit.allow(Time(at)) {
                    passed.push(at);
                }
            }
            for (i, from) in passed.iter().enumerate() {
                for (j, to) in passed.iter().enumerate().skip(i) {
                    let most = burst + (to - from) as f64 / 1000.0 * per_second + 1e-6;
                    prop_assert!((j - i + 1) as f64 <= most, "{} calls between {from} and {to}", j - i + 1);
                }
            }
        }
    }
}
