//! Thin curves of what the policies read: per series and stretch of time the least and the greatest value.
//!
//! The store forgets after its retention, so the curves are kept beside it. Deliberately absent: reading the store. An editor breaks
//! this by keeping single samples: a spike between two of them would not be drawn.

use super::Firing;
use homeostat_kernel::kernel::UnitView;
use homeostat_model::{Evidence, Observation, SensorId, SeriesKey, Time};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Stretches of time per curve.
const POINTS_MAX: i64 = 720;
/// Curves kept.
const CURVES_MAX: usize = 5_000;
/// Curves in the answer.
const CURVES_SHOWN_MAX: usize = 200;

/// What one stretch of time holds.
#[derive(Copy, Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Its beginning.
    pub at: Time,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
}

/// A level that a policy compares with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// As the comparison has it: `< 0.1`.
    pub relation: String,
    /// The level, in the series' unit.
    pub value: f64,
}

/// One series over the whole time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// The series.
    pub series: SeriesKey,
    /// How long one point stands for, in milliseconds.
    pub point_ms: i64,
    /// Its points; gaps are gaps.
    pub points: Vec<Point>,
    /// What it is compared with.
    pub thresholds: Vec<Threshold>,
    /// Numbers of the firings whose symptom it is.
    pub firings: Vec<usize>,
}

/// Gathers the curves.
pub(super) struct Trace {
    from: Time,
    to: Time,
    point_ms: i64,
    /// Metrics that are wanted.
    metrics: BTreeSet<String>,
    /// By sensor: epoch, and by the series' number the curve.
    wired: BTreeMap<SensorId, (u32, Vec<Option<u32>>)>,
    numbers: BTreeMap<SeriesKey, u32>,
    curves: Vec<(SeriesKey, Vec<Point>)>,
}

impl Trace {
    /// Curves of what these policies run for and read.
    pub(super) fn new(metrics: BTreeSet<String>, from: Time, to: Time) -> Trace {
        let point_ms = (to.since(from).millis() / POINTS_MAX).max(1000);
        Trace { from, to, point_ms, metrics, wired: BTreeMap::new(), numbers: BTreeMap::new(), curves: Vec::new() }
    }

    /// Takes in a read, whole or from before the time.
    pub(super) fn take(&mut self, observation: &Observation) {
        let wired = self.wired.entry(observation.sensor.clone()).or_default();
        if observation.declared_before == 0 || wired.0 != observation.epoch {
            *wired = (observation.epoch, Vec::new());
        }
        wired.1.truncate(observation.declared_before as usize);
        wired.1.resize(observation.declared_before as usize, None);
        for decl in &observation.declared {
            let wanted = self.metrics.contains(&*decl.key.metric);
            let number = match self.numbers.get(&decl.key) {
                Some(number) => Some(*number),
                None if wanted && self.curves.len() < CURVES_MAX => {
                    let number = self.curves.len() as u32;
                    self.numbers.insert(decl.key.clone(), number);
                    self.curves.push((decl.key.clone(), Vec::new()));
                    Some(number)
                }
                None => None,
            };
            wired.1.push(number);
        }
        let (wired, curves) = (&wired.1, &mut self.curves);
        let mut put = |series: u32, at: Time, value: f64| {
            if let Some(Some(curve)) = wired.get(series as usize)
                && at >= self.from
                && at <= self.to
                && value.is_finite()
            {
                let slot = Time(self.from.millis() + at.since(self.from).millis() / self.point_ms * self.point_ms);
                let points = &mut curves[*curve as usize].1;
                match points.last_mut() {
                    Some(last) if last.at == slot => (last.min, last.max) = (last.min.min(value), last.max.max(value)),
                    Some(last) if last.at > slot => {}
                    _ => points.push(Point { at: slot, min: value, max: value }),
                }
            }
        };
        for sample in &observation.stamped {
            put(sample.series, sample.at, sample.value);
        }
        for sample in &observation.samples {
            put(sample.series, observation.at, sample.value);
        }
    }

    /// The curves worth showing: those of targets first, with what they are compared with.
    pub(super) fn finish(&mut self, views: &[UnitView], firings: &[Firing]) -> Vec<Curve> {
        let mut thresholds: BTreeMap<String, Vec<Threshold>> = BTreeMap::new();
        let evidence = views.iter().flat_map(|view| &view.evidence).chain(firings.iter().flat_map(|firing| &firing.evidence));
        for read in evidence {
            let Some(series) = &read.series else { continue };
            let of = thresholds.entry(series.metric.to_string()).or_default();
            for found in levels(read) {
                if of.len() < 8 && !of.contains(&found) {
                    of.push(found);
                }
            }
        }
        let symptoms: BTreeSet<&str> =
            firings.iter().map(|firing| firing.symptom.as_str()).chain(views.iter().map(|view| view.symptom.as_str())).collect();
        let mut shown: Vec<Curve> = std::mem::take(&mut self.curves)
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            .map(|(series, points)| {
                let name = series.to_string();
                let firings = firings.iter().enumerate().filter(|(_, firing)| firing.symptom == name).map(|(number, _)| number).collect();
                let thresholds = thresholds.get(&*series.metric).cloned().unwrap_or_default();
                Curve { series, point_ms: self.point_ms, points, thresholds, firings }
            })
            .collect();
        shown.sort_by_cached_key(|curve| {
            let name = curve.series.to_string();
            (curve.firings.is_empty(), !symptoms.contains(name.as_str()), name)
        });
        shown.truncate(CURVES_SHOWN_MAX);
        shown
    }
}

/// The levels that a read was compared with, where its value is in the series' unit.
fn levels(read: &Evidence) -> Vec<Threshold> {
    let words: Vec<&str> = read.operation.split_whitespace().collect();
    if let ["held", side, level, "for", ..] = words[..] {
        let sign = if side == "below" { "<" } else { ">" };
        return level.parse().map(|value| Threshold { relation: format!("{sign} {value}"), value }).into_iter().collect();
    }
    if !matches!(words.first(), Some(&("last" | "avg" | "min" | "max" | "quantile"))) {
        return Vec::new();
    }
    let level = |relation: &str| relation.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok());
    read.margins
        .iter()
        .filter_map(|margin| Some(Threshold { relation: margin.relation.clone(), value: level(&margin.relation)? }))
        .collect()
}
