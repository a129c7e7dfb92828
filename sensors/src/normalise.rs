//! The normaliser: from every source's own names to one vocabulary (`docs/signals.md`).
//!
//! A rule table says which raw series feed which signal. When a sensor declares a series, labels are read once and the series is
//! wired to its formulas; after that only numbers move. Values are taken row by row (one scrape, one stamp), in order of time,
//! so that backfilled and explicitly stamped samples derive like fresh ones. What is missing, stale, not a number, or the first
//! reading of a counter gives no value, never 0. Where several sources can say the same, the better one wins (see `rules`).
//!
//! Deliberately absent: IO, clocks (now is the sample's stamp), and any memory of windows. An editor breaks this by handling
//! labels while deriving, or by letting two scrapes meet in one sum.

mod formula;
mod labels;
mod rules;
mod signals;

pub use signals::{SIGNALS, Signal};

use crate::derive::Derive;
use crate::dictionary::Dictionary;
use formula::Formulas;
use homeostat_model::{Fault, FaultCode, Observation, Sample, SeriesDecl, SeriesKey, StampedSample, Time};
use labels::Known;
use rules::{RULES, Rule};
use std::collections::{BTreeMap, HashMap};

/// Derives the vocabulary's signals from a sensor's raw series. One per sensor.
#[derive(Debug)]
pub struct Normaliser {
    by_raw: HashMap<&'static str, Vec<&'static Rule>>,
    known: Known,
    formulas: Formulas,
    /// By the derived series' number: the formula's index.
    by_series: HashMap<u32, u32>,
    /// By raw series number: the cohort.
    cohorts: Vec<u32>,
    /// Raw series whose derived labels rest on another series, by what they rest on.
    joined: BTreeMap<(String, String), Vec<(u32, SeriesDecl)>>,
    /// Stamped samples in order of time; kept for its memory.
    order: Vec<(Time, u32, u32)>,
    derived: Vec<StampedSample>,
    /// Inputs refused by a formula's limit since the last report.
    refused: u64,
}

impl Normaliser {
    /// A normaliser for one sensor. `node` names the node where the whole source describes one machine (an exporter's page);
    /// without it, nodes are found in labels (`node`, `node_name`, the host in `instance`). `node_jobs` are jobs that scrape
    /// nodes although no word of their name says so (`node`, `nodes`, `nodeexporter`, `unix`, `windows`).
    pub fn new(node: Option<String>, node_jobs: Vec<String>) -> Normaliser {
        let mut by_raw: HashMap<&'static str, Vec<&'static Rule>> = HashMap::new();
        for rule in RULES.iter().copied().flatten() {
            by_raw.entry(rule.raw).or_default().push(rule);
        }
        Normaliser {
            by_raw,
            known: Known::new(node, node_jobs),
            formulas: Formulas::default(),
            by_series: HashMap::new(),
            cohorts: Vec::new(),
            joined: BTreeMap::new(),
            order: Vec::new(),
            derived: Vec::new(),
            refused: 0,
        }
    }

    /// The names of all raw metrics that some rule uses, ordered; a source that can choose need not deliver others.
    pub fn raw_metrics() -> Vec<&'static str> {
        let describing = ["smartctl_device"];
        let mut names: Vec<&'static str> = RULES.iter().copied().flatten().map(|rule| rule.raw).chain(describing).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names of the raw metrics that feed one signal, ordered, with what describes their series; none for a name that is no signal.
    pub fn raw_metrics_of(signal: &str) -> Vec<&'static str> {
        let mut names: Vec<&'static str> =
            RULES.iter().copied().flatten().filter(|rule| rule.signal == signal).map(|rule| rule.raw).collect();
        if names.iter().any(|name| name.starts_with("smartctl_")) {
            names.push("smartctl_device");
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Wires one raw series to its formulas, declaring derived series that are new.
    fn wire(&mut self, number: u32, decl: &SeriesDecl, dictionary: &mut Dictionary, into: &mut Observation) {
        let Some(rules) = self.by_raw.get(&*decl.key.metric) else { return };
        let mut join = None;
        for rule in rules.iter().copied().filter(|rule| rule.applies(&decl.key.labels)) {
            join = join.or_else(|| labels::join(rule.shape, &decl.key.labels));
            let Some(derived) = self.known.shape(rule.shape, &decl.key.labels) else { continue };
            let cohort = if rule.op == rules::Op::Min { 0 } else { decl.cohort };
            let declared = into.declared.len();
            let key = SeriesKey { metric: rule.signal.into(), labels: derived };
            let Some(series) = dictionary.declare(key, cohort, into) else { continue };
            let formula = match self.by_series.get(&series) {
                Some(formula) => *formula,
                // The source speaks the vocabulary itself: its own series stands.
                None if into.declared.len() == declared => continue,
                None => {
                    let formula = self.formulas.add(rule.op, series);
                    self.by_series.insert(series, formula);
                    formula
                }
            };
            if self.formulas.op(formula) != rule.op {
                continue;
            }
            self.refused += u64::from(!self.formulas.feed(number, formula, rule));
        }
        if let Some(join) = join {
            self.joined.entry(join).or_default().push((number, decl.clone()));
        }
    }

    /// A describing series came or changed: what rests on it is wired anew, under its right labels.
    fn rewire(&mut self, join: &(String, String), dictionary: &mut Dictionary, into: &mut Observation) {
        for (number, decl) in self.joined.remove(join).unwrap_or_default() {
            self.formulas.unfeed(number);
            self.wire(number, &decl, dictionary, into);
        }
    }

    /// One row of all plain samples.
    fn derive_row(&mut self, into: &mut Observation) {
        let at = into.at;
        self.formulas.open_row();
        for sample in &into.samples {
            self.formulas.put(sample.series, at, sample.value);
        }
        let samples = &mut into.samples;
        self.formulas.close_row(at, |series, value| samples.push(Sample { series, value }));
    }

    /// A row per stamp and cohort of the stamped samples.
    fn derive_stamped(&mut self, into: &mut Observation) {
        let cohort = |series: u32| self.cohorts.get(series as usize).copied().unwrap_or(0);
        self.order.clear();
        self.order.extend(into.stamped.iter().zip(0..).map(|(sample, i)| (sample.at, cohort(sample.series), i)));
        self.order.sort_unstable();
        self.derived.clear();
        for row in self.order.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let at = row[0].0;
            self.formulas.open_row();
            for (_, _, index) in row {
                let sample = into.stamped[*index as usize];
                self.formulas.put(sample.series, at, sample.value);
            }
            let derived = &mut self.derived;
            self.formulas.close_row(at, |series, value| derived.push(StampedSample { series, at, value }));
        }
        into.stamped.append(&mut self.derived);
    }
}

impl Derive for Normaliser {
    fn reset(&mut self) {
        self.known.clear();
        self.formulas.clear();
        self.by_series.clear();
        self.cohorts.clear();
        self.joined.clear();
    }

    fn declared(&mut self, declared: &[SeriesDecl], first: u32, dictionary: &mut Dictionary, into: &mut Observation) {
        self.cohorts.resize(first as usize, 0);
        self.cohorts.extend(declared.iter().map(|decl| decl.cohort));
        // Describing series first: a page may name them after what they describe.
        let mut changed = Vec::new();
        for decl in declared {
            changed.extend(self.known.learn(&decl.key.metric, &decl.key.labels));
        }
        for join in &changed {
            self.rewire(join, dictionary, into);
        }
        for (number, decl) in (first..).zip(declared) {
            self.wire(number, decl, dictionary, into);
        }
        if self.refused > 0 {
            let detail = format!("{} inputs were left out: a signal takes at most {}", self.refused, formula::INPUTS_MAX);
            into.fault(Fault::new(FaultCode::Limit, "derive signals", detail));
            self.refused = 0;
        }
    }

    fn derive(&mut self, _: &mut Dictionary, into: &mut Observation) {
        // Stamped samples first: a row of plain samples is never older than they are.
        if !into.stamped.is_empty() {
            self.derive_stamped(into);
        }
        if !into.samples.is_empty() {
            self.derive_row(into);
        }
        for i in 0..into.vanished.len() {
            let raw = into.vanished[i];
            let vanished = &mut into.vanished;
            self.formulas.vanish(raw, |series| vanished.push(series));
        }
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
