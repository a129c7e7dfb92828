//! Time as plain data: milliseconds since the Unix epoch, and spans of milliseconds.
//!
//! Nothing here can ask what time it is; "now" is always an argument. Spans are written as Prometheus writes durations
//! (`5m`, `1h30m`, `500ms`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// The earliest moment that can be written.
    pub const MIN: Time = Time(i64::MIN);
    /// The latest moment; used for "never".
    pub const MAX: Time = Time(i64::MAX);

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// How long ago `earlier` was, never negative.
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

/// A length of time in milliseconds. Serialized as a duration text (`"90s"`), so that people can read configuration and journal.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: i64) -> Span {
        Span(millis)
    }
    /// A span of whole seconds.
    pub const fn from_secs(seconds: i64) -> Span {
        Span(seconds * 1000)
    }
    /// A span of whole minutes.
    pub const fn from_mins(minutes: i64) -> Span {
        Span(minutes * 60_000)
    }
    /// A span of whole hours.
    pub const fn from_hours(hours: i64) -> Span {
        Span(hours * 3_600_000)
    }
    /// Milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// Seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
    /// The span `factor` times as long, saturating.
    pub fn times(self, factor: f64) -> Span {
        Span((self.0 as f64 * factor) as i64)
    }
    /// The standard library's duration; negative spans become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.max(0) as u64)
    }
}

/// Units of a duration text, longest first, in milliseconds.
const UNITS: [(&str, i64); 7] =
    [("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Why a duration text was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanError {
    /// The text as it was given.
    pub text: String,
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a duration: expected numbers with units, largest first, such as `90s`, `5m`, `1h30m` or `500ms`", self.text)
    }
}

impl std::error::Error for SpanError {}

impl FromStr for Span {
    type Err = SpanError;

    /// Reads a Prometheus duration: `1h30m`, `5m`, `500ms`; units `y w d h m s ms`, each at most once, largest first; `0` is allowed.
    fn from_str(text: &str) -> Result<Span, SpanError> {
        let fail = || SpanError { text: text.chars().take(40).collect() };
        if text == "0" {
            return Ok(Span::ZERO);
        }
        let mut rest = text;
        let mut total: i64 = 0;
        let mut last_unit = i64::MAX;
        if rest.is_empty() {
            return Err(fail());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = rest[..digits].parse().map_err(|_| fail())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(fail)?.1;
            if unit >= last_unit {
                return Err(fail());
            }
            last_unit = unit;
            total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(fail)?;
            rest = &rest[letters..];
        }
        Ok(Span(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (name, millis) in UNITS.into_iter().skip(2) {
            let count = rest / millis as u64;
            rest %= millis as u64;
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.as_ref()),
        };
        let span: Span = if digits == "0s" { Span::ZERO } else { digits.parse().map_err(serde::de::Error::custom)? };
        Ok(Span(sign * span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_prometheus_reads_them() {
        for (text, millis) in [("5m", 300_000), ("1h30m", 5_400_000), ("500ms", 500), ("1d", 86_400_000), ("0", 0), ("1m500ms", 60_500)] {
            assert_eq!(text.parse::<Span>(), Ok(Span(millis)), "{text}");
        }
        for text in ["", "5", "m", "5x", "1m1h", "1m1m", "-5m", "1.5h", "99999999999999999999s", "9999999999y"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans_survive_a_round_trip_through_text() {
        for millis in [0, 1, 999, 1000, 61_000, 5_400_000, 90_061_001] {
            let text = serde_json::to_string(&Span(millis)).unwrap();
            assert_eq!(serde_json::from_str::<Span>(&text).unwrap(), Span(millis), "{text}");
        }
    }
}
