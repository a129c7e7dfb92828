//! Where a wish can be wished: for each metric the interval in which its conditions hold.
//!
//! Told from the comparisons that are known to hold where the wish stands. What is not known is wide open, so that an interval is
//! never too small. An editor breaks this by taking a bound from a comparison that speaks of the past (`max() > 3`: once it was).

use crate::vocabulary::{Shape, shape};
use homeostat_kernel::policy::survey::{Survey, SurveyedRelation, SurveyedWish};
use homeostat_model::Span;
use std::collections::BTreeMap;

/// An interval of values; bounds may belong to it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound …
    pub low: f64,
    /// … and whether it belongs to it.
    pub low_in: bool,
    /// The upper bound …
    pub high: f64,
    /// … and whether it belongs to it.
    pub high_in: bool,
}

impl Interval {
    /// Everything.
    pub const ALL: Interval = Interval { low: f64::NEG_INFINITY, low_in: false, high: f64::INFINITY, high_in: false };

    /// Above a value.
    pub fn above(low: f64) -> Interval {
        Interval { low, ..Interval::ALL }
    }

    /// Below a value.
    pub fn below(high: f64) -> Interval {
        Interval { high, ..Interval::ALL }
    }

    /// What both hold.
    #[must_use]
    pub fn and(self, other: Interval) -> Interval {
        let (low, low_in) = match self.low.total_cmp(&other.low) {
            std::cmp::Ordering::Greater => (self.low, self.low_in),
            std::cmp::Ordering::Less => (other.low, other.low_in),
            std::cmp::Ordering::Equal => (self.low, self.low_in && other.low_in),
        };
        let (high, high_in) = match self.high.total_cmp(&other.high) {
            std::cmp::Ordering::Less => (self.high, self.high_in),
            std::cmp::Ordering::Greater => (other.high, other.high_in),
            std::cmp::Ordering::Equal => (self.high, self.high_in && other.high_in),
        };
        Interval { low, low_in, high, high_in }
    }

    /// Whether nothing is in it; `whole`: no whole number.
    pub fn is_empty(self, whole: bool) -> bool {
        if self.low > self.high || (self.low == self.high && !(self.low_in && self.high_in)) {
            return true;
        }
        if !whole || !self.low.is_finite() || !self.high.is_finite() {
            return false;
        }
        let least = if self.low_in { self.low.ceil() } else { self.low.floor() + 1.0 };
        let most = if self.high_in { self.high.floor() } else { self.high.ceil() - 1.0 };
        least > most
    }

    /// Whether it says anything.
    pub fn is_bound(self) -> bool {
        self.low.is_finite() || self.high.is_finite()
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (least, most) = (if self.low_in { ">=" } else { ">" }, if self.high_in { "<=" } else { "<" });
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) if self.low == self.high => write!(f, "= {}", self.low),
            (true, true) => write!(f, "{least} {} and {most} {}", self.low, self.high),
            (true, false) => write!(f, "{least} {}", self.low),
            (false, true) => write!(f, "{most} {}", self.high),
            (false, false) => f.write_str("anything"),
        }
    }
}

/// Where one wish is wished.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// The intervals by metric; a metric that is read without a known bound has [`Interval::ALL`].
    pub metrics: BTreeMap<String, Interval>,
    /// The longest time that a condition looks back or must have held: a filter against what passes.
    pub filter: Span,
    /// Conditions that exclude one another: the metric, and both in words.
    pub never: Option<(String, String)>,
}

/// Whether values of a metric are whole numbers, by its name and what it is compared with.
fn is_whole(metric: &str, region: Interval) -> bool {
    let measured = ["_ratio", "_seconds", "_watts", "_celsius", "_bytes", "_volts", "_amperes", "_second", "_risk"];
    let round = |bound: f64| !bound.is_finite() || bound.fract() == 0.0;
    shape(metric) != Shape::Ratio && !measured.iter().any(|unit| metric.ends_with(unit)) && round(region.low) && round(region.high)
}

impl Region {
    /// Where a wish of a policy is wished.
    pub fn of(survey: &Survey, wish: &SurveyedWish) -> Region {
        let mut region = Region::default();
        // Bounds on the very same read: there, two that exclude one another never hold.
        let mut same: BTreeMap<(Option<String>, String, Option<Span>), Interval> = BTreeMap::new();
        for fact in &wish.when {
            let Some(comparison) = survey.comparisons.get(fact.comparison) else { continue };
            let Some(metric) = comparison.metric.clone() else { continue };
            let held = comparison.operation.starts_with("held_");
            if fact.holds {
                region.filter = region.filter.max(comparison.held.or(comparison.window).unwrap_or_default());
            }
            let known = region.metrics.entry(metric.clone()).or_insert(Interval::ALL);
            // That it was not held says nothing about the value now.
            let Some(threshold) = comparison.threshold.filter(|_| fact.holds || !held) else { continue };
            let bound = bound(comparison.relation, threshold, fact.holds);
            let now = matches!(comparison.operation.as_str(), "last" | "held_below" | "held_above" | "avg" | "quantile");
            let all_below = comparison.operation == "max" && bound.high.is_finite();
            let all_above = comparison.operation == "min" && bound.low.is_finite();
            if now || all_below || all_above {
                *known = known.and(bound);
            }
            let operation = if held { "last".to_owned() } else { comparison.operation.clone() };
            let window = if held { None } else { comparison.window };
            let of_read =
                same.entry((comparison.selector.clone().or_else(|| Some(metric.clone())), operation, window)).or_insert(Interval::ALL);
            let before = *of_read;
            *of_read = before.and(bound);
            if of_read.is_empty(false) && region.never.is_none() {
                region.never = Some((metric, format!("{before}, and {bound}")));
            }
        }
        region
    }

    /// The interval of a metric; everything where nothing is known.
    pub fn on(&self, metric: &str) -> Interval {
        self.metrics.get(metric).copied().unwrap_or(Interval::ALL)
    }

    /// The first metric, but for `except`, on which two wishes exclude one another.
    pub fn apart<'a>(&'a self, other: &Region, except: Option<&str>) -> Option<&'a str> {
        self.metrics.keys().map(|metric| metric.as_str()).filter(|metric| Some(*metric) != except).find(|metric| {
            let both = self.on(metric).and(other.on(metric));
            other.metrics.contains_key(*metric) && both.is_empty(is_whole(metric, both))
        })
    }
}

fn bound(relation: SurveyedRelation, threshold: f64, holds: bool) -> Interval {
    use SurveyedRelation::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let low = |low_in| Interval { low: threshold, low_in, ..Interval::ALL };
    let high = |high_in| Interval { high: threshold, high_in, ..Interval::ALL };
    match (relation, holds) {
        (Less, true) | (GreaterOrEqual, false) => high(false),
        (LessOrEqual, true) | (Greater, false) => high(true),
        (Greater, true) | (LessOrEqual, false) => low(false),
        (GreaterOrEqual, true) | (Less, false) => low(true),
        (Equal, true) | (NotEqual, false) => low(true).and(high(true)),
        (Equal, false) | (NotEqual, true) => Interval::ALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_meet_as_numbers_do() {
        let (below, above) = (Interval::below(1.0), Interval::above(0.0));
        let both = below.and(above);
        assert!(!both.is_empty(false) && both.is_empty(true), "nothing whole lies between 0 and 1");
        assert!(Interval::above(0.5).and(Interval::below(0.5)).is_empty(false));
        let at = bound(SurveyedRelation::Equal, 2.0, true);
        assert!(!at.is_empty(true) && at.and(Interval::below(2.0)).is_empty(false));
        assert_eq!(both.to_string(), "> 0 and < 1");
        assert_eq!(bound(SurveyedRelation::Less, 3.0, false).to_string(), ">= 3");
        assert!(is_whole("queue_length", both) && !is_whole("load_ratio", both));
    }
}
