//! Tests of policies: a `*.test.yaml` says what came in and what the policy must wish, and the production kernel answers.
//!
//! Series are written as promtool writes them (`0.5x10 0.05x20 _ stale`). Deliberately absent: a second way to evaluate, and
//! actuators: what is admitted here is counted and dropped. An editor breaks this by looking at anything but the kernel's own views.

use anyhow::{Context, Result, anyhow, bail, ensure};
use homeostat_kernel::Kernel;
use homeostat_model::{
    ActuatorSpec, Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus, ArbiterSettings, Arg, Claim, Event, Labels, Observation,
    PolicyOverride, PolicySource, RuleSet, Sample, SeriesDecl, SeriesKey, Span, StoreSettings, Time,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The first moment of every test: 2023-11-14T22:13:20Z.
const START: Time = Time(1_700_000_000_000);
/// Samples of one series at most.
const SAMPLES_MAX: usize = 100_000;

/// A `*.test.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyTest {
    policy: String,
    #[serde(default)]
    params: BTreeMap<String, Arg>,
    interval: Span,
    #[serde(default)]
    series: Vec<SeriesText>,
    #[serde(default)]
    alerts: Vec<AlertText>,
    expect: Vec<Expect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesText {
    series: String,
    values: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertText {
    at: Span,
    name: String,
    status: AlertStatus,
    #[serde(default)]
    kind: AlertKind,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    at: Span,
    /// Only targets whose symptom holds this text.
    #[serde(default)]
    series: String,
    proposes: Option<Wished>,
    quiet: Option<String>,
    #[serde(default)]
    undetermined: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wished {
    verb: String,
    target: Option<String>,
    because: Option<String>,
    claim: Option<String>,
}

/// What a test file said.
#[derive(Debug, Default)]
pub struct Report {
    /// Expectations that came true.
    pub passed: usize,
    /// Those that did not, in words, with what was there instead.
    pub failures: Vec<String>,
}

/// Runs one test file beside its policy (`disk-full.test.yaml` beside `disk-full.rhai`) with these actuators. `Err`: the test could
/// not be run at all; expectations that fail stand in the report.
pub fn run_file(path: &Path, actuators: &[ActuatorSpec]) -> Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let options = serde_saphyr::options! { strict_booleans: true, duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error };
    let mut test: PolicyTest =
        serde_saphyr::from_str_with_options(&text, options).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    for expect in test.expect.iter_mut().filter(|expect| expect.series.contains('{')) {
        // Labels in whatever order: symptoms have them in the order of their names.
        expect.series = series_key(&expect.series)?.to_string();
    }
    let policy = path.with_file_name(format!("{}.rhai", test.policy));
    let script = std::fs::read_to_string(&policy).with_context(|| format!("read the policy {}", policy.display()))?;
    let source = PolicySource {
        id: test.policy.as_str().into(),
        path: policy.display().to_string(),
        text: script,
        overrides: PolicyOverride { params: test.params.clone(), ..PolicyOverride::default() },
    };
    let rules = RuleSet {
        policies: vec![source],
        actuators: actuators.to_vec(),
        arbiter: ArbiterSettings::default(),
        store: StoreSettings::default(),
        ..RuleSet::default()
    };
    run(&test, rules).with_context(|| format!("run {}", path.display()))
}

fn run(test: &PolicyTest, rules: RuleSet) -> Result<Report> {
    ensure!(test.interval > Span::ZERO, "`interval` must be longer than zero");
    let mut kernel = Kernel::new(rules.store.clone());
    kernel.check(&rules).map_err(|errors| anyhow!("{}", errors.join("\n")))?;
    kernel.handle(START, Event::Started { generation: 1, build: "policy test".into(), seed: 1 });
    kernel.handle(START, Event::Loaded(Box::new(rules)));
    let end = test.expect.iter().map(|expect| expect.at).max().unwrap_or_default();
    let rows: BTreeMap<Span, Observation> = rows(test)?.into_iter().map(|row| (row.at.since(START), row)).collect();
    let mut moments: Vec<Span> =
        rows.keys().copied().chain(test.alerts.iter().map(|a| a.at)).chain(test.expect.iter().map(|e| e.at)).collect();
    moments.sort_unstable();
    moments.dedup();
    let mut report = Report::default();
    for at in moments.into_iter().take_while(|at| *at <= end) {
        if let Some(row) = rows.get(&at) {
            kernel.handle_observed(START + at, row);
        }
        for alert in test.alerts.iter().filter(|alert| alert.at == at) {
            kernel.handle(START + at, Event::Alerted(delivery(alert)));
        }
        kernel.handle(START + at, Event::Tick);
        while kernel.poll_effect().is_some() {}
        for expect in test.expect.iter().filter(|expect| expect.at == at) {
            match judge(test, &kernel, expect)? {
                None => report.passed += 1,
                Some(problem) => report.failures.push(format!("at {at}: {problem}")),
            }
        }
    }
    Ok(report)
}

/// One complete row per interval; what a series leaves out has ended there.
fn rows(test: &PolicyTest) -> Result<Vec<Observation>> {
    let mut all = Vec::new();
    for text in &test.series {
        let key = series_key(&text.series)?;
        all.push((key, values(&text.values).with_context(|| format!("values of {}", text.series))?));
    }
    let len = all.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let mut rows = Vec::with_capacity(len);
    for step in 0..len {
        let mut row = Observation::new("test".into(), START + Span(test.interval.millis() * step as i64), test.interval);
        if step == 0 {
            row.declared = all.iter().map(|(key, _)| SeriesDecl { key: key.clone(), cohort: 0 }).collect();
        } else {
            row.declared_before = all.len() as u32;
        }
        let known = all.iter().enumerate().filter_map(|(number, (_, values))| Some((number, values.get(step).copied().flatten()?)));
        row.samples = known.map(|(number, value)| Sample { series: number as u32, value }).collect();
        rows.push(row);
    }
    Ok(rows)
}

/// A series as PromQL writes it, label values in double quotes: `node_up{node="muscle"}`.
fn series_key(text: &str) -> Result<SeriesKey> {
    let wrong = || anyhow!("`{text}` is not a series: expected `metric{{label=\"value\"}}`");
    let Some((metric, rest)) = text.trim().split_once('{') else { return Ok(SeriesKey::bare(text.trim())) };
    let mut rest = rest.strip_suffix('}').ok_or_else(wrong)?.trim();
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").ok_or_else(wrong)?;
        let (value, after) = after.split_once('"').ok_or_else(wrong)?;
        labels.push((name.trim().to_owned(), value.to_owned()));
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    Ok(SeriesKey::new(metric.trim(), labels))
}

/// promtool's notation: `a+bxn` and `a-bxn` (n more samples after the first, each b further), `axn`, `_` and `_xn` (no sample),
/// `stale`, and plain numbers.
fn values(text: &str) -> Result<Vec<Option<f64>>> {
    let mut values = Vec::new();
    for word in text.split_whitespace() {
        let (head, times) = match word.rsplit_once('x') {
            Some((head, times)) => {
                (head, times.parse::<usize>().map_err(|_| anyhow!("`{word}`: `{times}` is not a number of repetitions"))?)
            }
            None => (word, 0),
        };
        ensure!(times < SAMPLES_MAX && values.len() < SAMPLES_MAX, "`{word}`: at most {SAMPLES_MAX} samples fit");
        if head == "_" || head == "stale" {
            values.extend(std::iter::repeat_n(None, times.max(1)));
            continue;
        }
        // The sign that separates is not the first one, nor that of an exponent.
        let sign = head.char_indices().skip(1).find(|(at, c)| matches!(c, '+' | '-') && !head[..*at].ends_with(['e', 'E']));
        let (first, step) = sign.map_or((head, "0"), |(at, _)| head.split_at(at));
        let number = |text: &str| text.parse::<f64>().map_err(|_| anyhow!("`{word}`: `{text}` is not a number"));
        let (first, step) = (number(first)?, number(step)?);
        values.extend((0..=times).map(|n| Some(first + step * n as f64)));
    }
    Ok(values)
}

fn delivery(text: &AlertText) -> AlertDelivery {
    let at = START + text.at;
    let labels = text.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("alertname", text.name.as_str())]);
    let alert = Alert {
        fingerprint: format!("{}-{:?}", text.name, text.labels),
        status: text.status,
        kind: text.kind,
        name: text.name.clone(),
        labels: Labels::new(labels),
        annotations: text.annotations.clone(),
        // One episode: the end belongs to the beginning, whenever that was.
        starts_at: START,
        ends_at: (text.status == AlertStatus::Resolved).then_some(at),
        values: BTreeMap::new(),
    };
    AlertDelivery {
        source: AlertSource::Alertmanager,
        receiver: "test".into(),
        group_key: "test".into(),
        truncated: 0,
        alerts: vec![alert],
    }
}

/// `None` if it is as expected, else what was there instead.
fn judge(test: &PolicyTest, kernel: &Kernel, expect: &Expect) -> Result<Option<String>> {
    let units = kernel.explain_policy(&test.policy, &expect.series);
    let found: Vec<String> =
        units.iter().map(|unit| format!("{}: {} {}", unit.symptom, unit.result, unit.why).trim_end().to_owned()).collect();
    let found = if found.is_empty() { "no target".to_owned() } else { found.join("; ") };
    match (&expect.proposes, &expect.quiet, expect.undetermined) {
        (Some(wished), None, false) => proposed(test, kernel, expect, wished),
        (None, Some(why), false) => {
            let bad = units
                .iter()
                .any(|unit| unit.result == "fired" || unit.result == "fault" || (!expect.series.is_empty() && unit.result != "quiet"));
            Ok(bad.then(|| format!("expected quiet ({why}), found {found}")))
        }
        (None, None, true) => {
            let right = !units.is_empty() && units.iter().any(|unit| unit.result == "undetermined");
            Ok((!right).then(|| format!("expected undetermined, found {found}")))
        }
        _ => bail!("at {}: expected one of `proposes`, `quiet` and `undetermined: true`", expect.at),
    }
}

/// Looks for the wish among what was ruled now, or still stands behind a target that fires.
fn proposed(test: &PolicyTest, kernel: &Kernel, expect: &Expect, wished: &Wished) -> Result<Option<String>> {
    let matches = |pattern: &Option<String>, text: &str| -> Result<bool> {
        let Some(pattern) = pattern else { return Ok(true) };
        Ok(regex::Regex::new(pattern).with_context(|| format!("the pattern `{pattern}`"))?.is_match(text))
    };
    let units = kernel.explain_policy(&test.policy, &expect.series);
    let mut seen = String::new();
    for state in kernel.ledger().actions() {
        let proposal = &state.proposal;
        let fires = units.iter().any(|unit| unit.symptom == proposal.symptom && unit.result == "fired");
        if !(fires || state.ruled_at == START + expect.at) || !proposal.symptom.contains(&expect.series) {
            continue;
        }
        let claim = proposal.claim.as_ref().map_or_else(String::new, Claim::to_string);
        let _ = write!(seen, "\n    {} on {} because `{}` claim `{claim}`", proposal.verb, proposal.target, proposal.because);
        let denied = state.ruling.reasons.iter().find(|reason| reason.guard == "lint" && reason.stance != homeostat_model::Stance::Pass);
        if let Some(reason) = denied {
            let _ = write!(seen, " (lint: {})", reason.text);
            continue;
        }
        let named =
            proposal.verb.as_str() == wished.verb && wished.target.as_deref().is_none_or(|target| target == proposal.target.as_str());
        if named && matches(&wished.because, &proposal.because)? && matches(&wished.claim, &claim)? {
            return Ok(None);
        }
    }
    let states: Vec<String> = units.iter().map(|unit| format!("{}: {} {}", unit.symptom, unit.result, unit.why)).collect();
    Ok(Some(format!(
        "expected {} on {} because `{}`, found{}\n    targets: {}",
        wished.verb,
        wished.target.as_deref().unwrap_or("anything"),
        wished.because.as_deref().unwrap_or("anything"),
        if seen.is_empty() { " nothing wished" } else { &seen },
        states.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_as_promtool_reads_them() {
        let read = |text: &str| values(text).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(read("1 2.5 -3"), [Some(1.0), Some(2.5), Some(-3.0)]);
        assert_eq!(read("1x3"), [Some(1.0); 4]);
        assert_eq!(read("1+2x2"), [Some(1.0), Some(3.0), Some(5.0)]);
        assert_eq!(read("-2-4x2"), [Some(-2.0), Some(-6.0), Some(-10.0)]);
        assert_eq!(read("1e-3+1x1"), [Some(0.001), Some(1.001)]);
        assert_eq!(read("_ _x2 stale 1"), [None, None, None, None, Some(1.0)]);
        for wrong in ["x", "1x", "1xx2", "one", "1+x2", "1x999999999"] {
            assert!(values(wrong).is_err(), "{wrong}");
        }
        assert_eq!(series_key("a{b=\"1,2\", c=\"x\"}").map(|key| key.to_string()).ok().as_deref(), Some("a{b=\"1,2\",c=\"x\"}"));
        assert!(series_key("a{b=1}").is_err());
    }
}
