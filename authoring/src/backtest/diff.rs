//! Two versions of a policy over the same history: which firings only one of them has.
//!
//! Firings are the same where symptom, verb and target are, and their times overlap or begin within the tolerance; each has at most
//! one counterpart, the earliest free one. Deliberately absent: judgement, which version is better. An editor breaks this by matching
//! one firing twice: a version that flaps would then look like one that does not.

use super::{Backtest, Firing};
use homeostat_model::{Span, Time};
use serde::Serialize;
use std::collections::BTreeMap;

/// What differs between two versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The first version.
    pub a: String,
    /// The second.
    pub b: String,
    /// Firings of the first that the second does not have: numbers in its list.
    pub only_a: Vec<usize>,
    /// Firings of the second alone.
    pub only_b: Vec<usize>,
    /// Firings of both.
    pub both: Vec<Pair>,
}

/// A firing of both versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Its number in the first version.
    pub a: usize,
    /// Its number in the second.
    pub b: usize,
    /// How much later the second began, in seconds; negative: earlier.
    pub later_seconds: f64,
}

/// Compares two backtests over the same history. Firings that begin within `tolerance` of each other, or overlap, are the same.
pub fn diff(a: &Backtest, b: &Backtest, tolerance: Span) -> Diff {
    let key = |firing: &Firing| (firing.symptom.clone(), firing.verb.clone(), firing.target.clone());
    let mut free: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (number, firing) in b.firings.iter().enumerate() {
        free.entry(key(firing)).or_default().push(number);
    }
    let mut found = Diff { a: a.version.clone(), b: b.version.clone(), only_a: Vec::new(), only_b: Vec::new(), both: Vec::new() };
    for (number, firing) in a.firings.iter().enumerate() {
        let candidates = free.get_mut(&key(firing));
        let place = candidates.as_ref().and_then(|list| list.iter().position(|other| is_same(firing, &b.firings[*other], tolerance)));
        match (candidates, place) {
            (Some(list), Some(place)) => {
                let other = list.remove(place);
                let later_seconds = (b.firings[other].from.millis() - firing.from.millis()) as f64 / 1000.0;
                found.both.push(Pair { a: number, b: other, later_seconds });
            }
            _ => found.only_a.push(number),
        }
    }
    found.only_b = free.into_values().flatten().collect();
    found.only_b.sort_unstable();
    found
}

fn is_same(a: &Firing, b: &Firing, tolerance: Span) -> bool {
    let end = |firing: &Firing| firing.until.unwrap_or(Time::MAX);
    let near = a.from.since(b.from).max(b.from.since(a.from)) <= tolerance;
    near || (a.from <= end(b) && b.from <= end(a))
}
