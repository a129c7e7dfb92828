//! What a policy saw: every read with its value, every comparison with its margin.

use crate::{SeriesKey, Span, Time};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The value of a read, or why there is none. Missing is never a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingValue {
    /// A value, in the series' unit.
    Value(#[serde(with = "crate::number")] f64),
    /// No such series, or no sample in the window.
    NoData,
    /// The newest sample is older than the sensor's rhythm allows.
    Stale(Span),
    /// The sensor is blind, or the read was refused; the text says why.
    Fault(String),
}

impl ReadingValue {
    /// The value, if there is one.
    pub fn value(&self) -> Option<f64> {
        match self {
            ReadingValue::Value(value) => Some(*value),
            _ => None,
        }
    }
}

impl fmt::Display for ReadingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadingValue::Value(value) => write!(f, "{value}"),
            ReadingValue::NoData => f.write_str("no data"),
            ReadingValue::Stale(age) => write!(f, "stale for {age}"),
            ReadingValue::Fault(why) => write!(f, "fault: {why}"),
        }
    }
}

/// How far a comparison was from turning over, in the read's unit. More than zero: the condition was true by this much; negative: it
/// lacked this much; zero: it stood exactly at the threshold, and the relation says on which side that is ([`Margin::holds`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// The comparison, e.g. `< 0.1`.
    pub relation: String,
    /// The distance.
    #[serde(with = "crate::number")]
    pub distance: f64,
}

impl Margin {
    /// Whether the comparison was true. At the threshold itself `<=`, `>=` and `==` are, `<`, `>` and `!=` are not.
    pub fn holds(&self) -> bool {
        let at_threshold = self.distance == 0.0 && ["<=", ">=", "=="].iter().any(|sign| self.relation.starts_with(sign));
        self.distance > 0.0 || at_threshold
    }
}

/// One read of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was read, as the policy wrote it: `last`, `avg 5m`, `held_below 0.1 5m`.
    pub operation: String,
    /// The series; `None` for a read that no series answered (then `operation` names the selector).
    pub series: Option<SeriesKey>,
    /// The value.
    pub value: ReadingValue,
    /// When the newest sample that it rests on was taken.
    pub sampled_at: Option<Time>,
    /// Comparisons made with it, in the order made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub margins: Vec<Margin>,
}
