//! A trace: what came in, step by step. Small enough to be read by people, and written as a test file writes it.

use homeostat_model::{AlertStatus, SeriesKey, Span};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One series of a trace; `None`: it has ended, until it has a value again.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Which series.
    pub key: SeriesKey,
    /// A value per step.
    pub values: Vec<Option<f64>>,
}

/// An alert that fires or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertMove {
    /// At which step.
    pub step: usize,
    /// The rule's name.
    pub name: String,
    /// Its labels, without `alertname`.
    pub labels: BTreeMap<String, String>,
    /// Fires or ends.
    pub status: AlertStatus,
}

/// What came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The time of a step.
    pub interval: Span,
    /// How many steps.
    pub steps: usize,
    /// The series.
    pub tracks: Vec<Track>,
    /// The alerts, by step.
    pub alerts: Vec<AlertMove>,
}

impl Trace {
    /// The value of a track at a step.
    pub fn at(&self, track: usize, step: usize) -> Option<f64> {
        self.tracks.get(track)?.values.get(step).copied().flatten()
    }

    /// How much there is to read: what shrinking makes smaller. Series weigh most, then turns, then steps, then digits.
    pub fn size(&self) -> usize {
        let of = |track: &Track| {
            let text = notation(&track.values);
            40 + text.split(' ').count() * 10 + text.len()
        };
        self.tracks.iter().map(of).sum::<usize>() + self.alerts.len() * 30 + self.steps * 2
    }

    /// The first `steps` of it.
    pub fn head(&self, steps: usize) -> Trace {
        let mut head = self.clone();
        head.steps = steps;
        head.tracks.iter_mut().for_each(|track| track.values.truncate(steps));
        head.alerts.retain(|alert| alert.step < steps);
        head
    }

    /// Without `len` steps from `from` on.
    pub fn without(&self, from: usize, len: usize) -> Trace {
        let mut cut = self.clone();
        let end = (from + len).min(self.steps);
        cut.steps = self.steps - (end - from);
        for track in &mut cut.tracks {
            track.values.drain(from.min(track.values.len())..end.min(track.values.len()));
        }
        cut.alerts.retain(|alert| !(from..end).contains(&alert.step));
        for alert in cut.alerts.iter_mut().filter(|alert| alert.step >= end) {
            alert.step -= end - from;
        }
        cut
    }
}

/// A number of at most so many significant digits.
pub fn rounded(value: f64, digits: usize) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    format!("{value:.*e}", digits.saturating_sub(1)).parse().unwrap_or(value)
}

/// Values in promtool's notation: `0.2x10 stale _x3 1+2x5`. Read back, they are the same bit for bit.
pub fn notation(values: &[Option<f64>]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < values.len() {
        if !text.is_empty() {
            text.push(' ');
        }
        let rest = &values[at..];
        let same = rest.iter().take_while(|value| **value == rest[0]).count();
        at += match rest[0] {
            // The first step without a value ends the series.
            None if at > 0 => {
                text.push_str("stale");
                let _ = match same {
                    1 => Ok(()),
                    2 => write!(text, " _"),
                    more => write!(text, " _x{}", more - 1),
                };
                same
            }
            None => {
                let _ = if same == 1 { write!(text, "_") } else { write!(text, "_x{same}") };
                same
            }
            Some(first) => {
                let (len, step) = straight(rest, first);
                let _ = match (same, len) {
                    (same, len) if len > same && len > 2 && step < 0.0 => write!(text, "{first}{step}x{}", len - 1),
                    (same, len) if len > same && len > 2 => write!(text, "{first}+{step}x{}", len - 1),
                    (1, _) => write!(text, "{first}"),
                    (same, _) => write!(text, "{first}x{}", same - 1),
                };
                if len > same && len > 2 { len } else { same }
            }
        };
    }
    text
}

/// How many values from the first on lie on one line, exactly, and its step: a step of few digits.
fn straight(values: &[Option<f64>], first: f64) -> (usize, f64) {
    let Some(Some(second)) = values.get(1) else { return (1, 0.0) };
    let step = rounded(second - first, 6);
    let on_line = |(n, value): &(usize, &Option<f64>)| **value == Some(first + step * *n as f64);
    (values.iter().enumerate().take_while(on_line).count(), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_is_short_and_reads_back() {
        let text = |values: &[f64]| notation(&values.iter().map(|value| Some(*value).filter(|v| !v.is_nan())).collect::<Vec<_>>());
        assert_eq!(text(&[1.0, 1.0, 1.0, 2.0]), "1x2 2");
        assert_eq!(text(&[1.0, 2.0, 3.0, 3.0]), "1+1x2 3");
        assert_eq!(text(&[0.5, 0.25, 0.0, f64::NAN, f64::NAN, 7.0]), "0.5-0.25x2 stale _ 7");
        assert_eq!(text(&[1.0, 3.0]), "1 3");
        assert_eq!(text(&[f64::NAN, f64::NAN, 1.0, f64::NAN]), "_x2 1 stale");
        assert_eq!(rounded(0.123_456, 2), 0.12);
        assert_eq!(rounded(98_765.0, 1), 100_000.0);
    }

    #[test]
    fn steps_are_taken_out_with_their_alerts() {
        let alert = |step| AlertMove { step, name: "A".into(), labels: BTreeMap::new(), status: AlertStatus::Firing };
        let track = Track { key: SeriesKey::bare("a"), values: (0..6).map(|n| Some(f64::from(n))).collect() };
        let trace = Trace { interval: Span::from_mins(1), steps: 6, tracks: vec![track], alerts: vec![alert(1), alert(2), alert(5)] };
        let cut = trace.without(1, 2);
        assert_eq!(cut.tracks[0].values, [0.0, 3.0, 4.0, 5.0].map(Some));
        assert_eq!(cut.alerts.iter().map(|alert| alert.step).collect::<Vec<_>>(), [3]);
        assert!(cut.size() < trace.size());
    }
}
