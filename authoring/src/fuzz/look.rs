//! What a policy looks at: the series it needs, the levels that it compares them with, the alerts it waits for, the verbs it uses.
//!
//! Told from its text (the survey) first; then the policy is played a few steps, and what it asks for and does not find is added: a
//! series that a computed selector names, a label, a verb that nobody configured. An editor breaks this by leaving a series out:
//! the search then looks at a policy that is undetermined all the time, and finds nothing.

use super::play::{Bench, Played, play_trace};
use super::trace::{Trace, Track};
use crate::vocabulary::{Shape, shape, signals};
use anyhow::{Result, ensure};
use homeostat_kernel::policy::survey::{Survey, SurveyedSeries, survey};
use homeostat_kernel::store::Selector;
use homeostat_kernel::store::selector::{METRIC_NAME, Matcher, Test};
use homeostat_model::{ActuatorSpec, Arg, ArgKind, ArgSpec, Class, Cost, Evidence, Labels, SeriesKey, Span, Verb, VerbSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of looking; each adds at least one thing or is the last.
const ROUNDS_MAX: usize = 12;
/// Levels of one series that are tried.
const LEVELS_MAX: usize = 8;
/// Steps of a first look.
const LOOK_STEPS: usize = 30;

/// One series that is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Which.
    pub key: SeriesKey,
    /// How it moves.
    pub shape: Shape,
    /// The levels that it is compared with.
    pub levels: Vec<f64>,
    /// The rates that it is compared with, per second: for counters.
    pub rates: Vec<f64>,
    /// Whether `for_each` hands it in.
    pub is_target: bool,
}

/// What a policy looks at.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The series.
    pub tracks: Vec<Known>,
    /// The alert that wakes it, with its labels.
    pub alert: Option<(String, BTreeMap<String, String>)>,
    /// What was assumed, in words for people.
    pub notes: Vec<String>,
}

impl Look {
    /// A trace in which every series stays at one of its levels: a little below (`-1`), at, or above (`1`) it.
    pub fn still(&self, interval: Span, steps: usize, which: usize) -> Trace {
        let tracks = self.tracks.iter().map(|known| {
            let levels = known.tries();
            let value = levels[which % levels.len()];
            let at = |step: usize| match known.shape {
                Shape::Counter => {
                    known.rates.first().copied().unwrap_or(0.01) * 2.0 * (which % 3) as f64 * interval.seconds() * step as f64
                }
                _ => value,
            };
            Track { key: known.key.clone(), values: (0..steps).map(|step| Some(at(step))).collect() }
        });
        Trace { interval, steps, tracks: tracks.collect(), alerts: Vec::new() }
    }
}

impl Known {
    /// Values that are worth trying: on both sides of every level, and those that its shape allows.
    pub fn tries(&self) -> Vec<f64> {
        let mut values = match self.shape {
            Shape::Flag => return vec![0.0, 1.0],
            Shape::Ratio => vec![0.0, 0.5, 1.0],
            Shape::Counter | Shape::Gauge if self.levels.is_empty() => vec![0.0, 1.0, 100.0],
            Shape::Counter | Shape::Gauge => vec![0.0],
        };
        for level in &self.levels {
            let by = if *level == 0.0 { 1.0 } else { level.abs() * 0.1 };
            values.extend([level - by, *level, level + by, level * 2.0]);
        }
        let only_ratio = self.shape == Shape::Ratio && self.levels.iter().all(|level| (0.0..=1.0).contains(level));
        values.retain(|value| value.is_finite() && (!only_ratio || (0.0..=1.0).contains(value)));
        values.iter_mut().for_each(|value| *value = super::trace::rounded(*value, 6));
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    }
}

/// Looks at a policy for so many targets; adds stand-ins for verbs that nobody has to the bench.
///
/// # Errors
/// The policy cannot be loaded, or it reads nothing at all.
pub fn look(bench: &mut Bench, interval: Span, targets: usize) -> Result<Look> {
    bench.check()?;
    let surveyed = survey(&bench.policy.path, &bench.policy.text, &bench.policy.overrides.params).unwrap_or_default();
    let mut look = Look::default();
    if let Some(text) = &surveyed.on_alert
        && let Ok(selector) = Selector::parse(text)
    {
        let key = key_for(&selector, &BTreeMap::new(), 0);
        let mut labels: BTreeMap<String, String> = key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        // Fields that are no labels come with every alert.
        let asked = surveyed.labels.iter().filter(|asked| asked.series.is_none()).map(|asked| asked.label.as_str());
        for label in asked.filter(|label| !["name", "status", "kind"].contains(label)) {
            labels.entry(label.to_owned()).or_insert_with(|| sample(label, 0));
        }
        look.alert = Some((if key.metric.is_empty() { "Anything".into() } else { key.metric.to_string() }, labels));
    }
    for target in 0..targets {
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        if let Some(each) = &surveyed.for_each {
            own = add(&mut look, &surveyed, each, &own, target, true);
        }
        for read in &surveyed.reads {
            let series = SurveyedSeries { metric: read.metric.clone(), selector: read.selector.clone(), is_target: read.is_target };
            if !read.is_target {
                add(&mut look, &surveyed, &series, &own, target, false);
            }
        }
    }
    for known in &mut look.tracks {
        levels_of(&surveyed, known);
    }
    for round in 0..ROUNDS_MAX {
        let mut grown = false;
        for which in 0..6 {
            let trace = look.still(interval, LOOK_STEPS, which + round);
            let played = play_trace(bench, &trace, true)?;
            grown |= learn(&mut look, bench, &played);
        }
        if !grown {
            break;
        }
    }
    ensure!(
        !look.tracks.is_empty() || look.alert.is_some(),
        "the policy {} reads no series that can be told from its text: nothing can be tried on it",
        bench.policy.id
    );
    Ok(look)
}

/// Adds the series that a selector needs; gives its labels.
fn add(
    look: &mut Look,
    surveyed: &Survey,
    series: &SurveyedSeries,
    own: &BTreeMap<String, String>,
    target: usize,
    is_target: bool,
) -> BTreeMap<String, String> {
    let text = series.selector.clone().or_else(|| series.metric.clone()).unwrap_or_default();
    let filled = fill_in(&text, own);
    let selector = Selector::parse(&filled).ok().or_else(|| series.metric.as_deref().map(Selector::of_metric));
    let Some(selector) = selector else { return BTreeMap::new() };
    let metric = selector.metric().unwrap_or_default().to_owned();
    if metric.is_empty() {
        return BTreeMap::new();
    }
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    let listed = signals().get(metric.as_str()).map_or(&[][..], |signal| signal.labels.as_slice());
    let asked = surveyed.labels.iter().filter(|label| label.series.as_ref().is_some_and(|of| of.metric.as_deref() == Some(&metric)));
    for label in listed.iter().copied().chain(asked.map(|label| label.label.as_str())) {
        wanted.insert(label.to_owned(), own.get(label).cloned().unwrap_or_else(|| sample(label, target)));
    }
    if wanted.is_empty() && is_target {
        wanted.insert("node".into(), sample("node", target));
    }
    let key = key_for(&selector, &wanted, target);
    if !look.tracks.iter().any(|known| known.key == key) {
        look.tracks.push(Known { shape: shape(&metric), key: key.clone(), levels: Vec::new(), rates: Vec::new(), is_target });
    }
    key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `${fs.node}` becomes the target's own label.
fn fill_in(text: &str, own: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("${") {
        let Some((inner, after)) = tail.split_once('}') else { break };
        let label = inner.rsplit('.').next().unwrap_or(inner);
        filled.push_str(head);
        filled.push_str(own.get(label).map_or("x", String::as_str));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn sample(label: &str, target: usize) -> String {
    match label {
        "mountpoint" => {
            if target == 0 {
                "/".into()
            } else {
                format!("/{target}")
            }
        }
        "node" | "instance" => format!("n{}", target + 1),
        _ => format!("{label}-{}", target + 1),
    }
}

/// A series that a selector names: with the wanted labels, as far as it lets them be.
fn key_for(selector: &Selector, wanted: &BTreeMap<String, String>, target: usize) -> SeriesKey {
    let mut labels = wanted.clone();
    let mut metric = selector.metric().unwrap_or_default().to_owned();
    let by_label: BTreeSet<&str> = selector.matchers().iter().map(|matcher| matcher.label.as_str()).collect();
    for label in by_label {
        let tests: Vec<&Matcher> = selector.matchers().iter().filter(|matcher| matcher.label == label).collect();
        let own = wanted.get(label).cloned().into_iter();
        let fits = |value: &String| tests.iter().all(|matcher| matcher.test.accepts(value));
        let value = own.chain(tests.iter().flat_map(|matcher| guesses(&matcher.test, label, target))).find(fits);
        match value {
            Some(value) if label == METRIC_NAME => metric = value,
            Some(value) => drop(labels.insert(label.to_owned(), value)),
            None => {}
        }
    }
    labels.retain(|_, value| !value.is_empty());
    SeriesKey::new(metric.as_str(), labels)
}

/// Values that may pass a test.
fn guesses(test: &Test, label: &str, target: usize) -> Vec<String> {
    let plain = [sample(label, target), format!("other-{label}-{}", target + 1), String::new()];
    match test {
        Test::Equal(value) => vec![value.clone()],
        Test::NotEqual(_) | Test::NotMatches(..) => plain.to_vec(),
        Test::Matches(text, _) => {
            let parts = text.trim_matches(|c| matches!(c, '(' | ')' | '^' | '$')).split('|');
            let all = parts.flat_map(|part| {
                let number = (target + 1).to_string();
                [part.to_owned(), part.replace(".*", ""), part.replace(".+", &number), part.replace(".*", &number), part.replace("\\", "")]
            });
            all.chain(plain).collect()
        }
    }
}

/// What the text compares a series with.
fn levels_of(surveyed: &Survey, known: &mut Known) {
    let of_metric = surveyed.comparisons.iter().filter(|comparison| comparison.metric.as_deref() == Some(&known.key.metric));
    for comparison in of_metric {
        let Some(threshold) = comparison.threshold.filter(|threshold| threshold.is_finite()) else { continue };
        let seconds = comparison.window.or(comparison.held).map_or(60.0, Span::seconds).max(1.0);
        match comparison.operation.as_str() {
            "last" | "avg" | "min" | "max" | "quantile" | "held_below" | "held_above" => push(&mut known.levels, threshold),
            "rate" => push(&mut known.rates, threshold),
            "increase" => push(&mut known.rates, threshold / seconds),
            _ => {}
        }
    }
    for claim in surveyed.wishes.iter().filter_map(|wish| wish.claim.as_ref()) {
        if claim.metric.as_deref() == Some(&known.key.metric)
            && let Some(threshold) = claim.threshold
        {
            push(&mut known.levels, threshold);
        }
    }
}

fn push(levels: &mut Vec<f64>, level: f64) {
    if level.is_finite() && levels.len() < LEVELS_MAX && !levels.contains(&level) {
        levels.push(level);
    }
}

/// What a play showed to be missing.
fn learn(look: &mut Look, bench: &mut Bench, played: &Played) -> bool {
    let mut grown = false;
    for evidence in &played.reads {
        grown |= learn_read(look, evidence);
    }
    for looks in played.looks.values().flatten() {
        let super::play::Looked::Fault(why) = looks else { continue };
        // "the series has no label `x` (it has: …)": which series is not said, so all that lack it get it.
        let Some((_, rest)) = why.split_once("the series has no label `") else { continue };
        let Some((label, _)) = rest.split_once('`') else { continue };
        for (number, known) in look.tracks.iter_mut().enumerate().filter(|(_, known)| known.key.labels.get(label).is_none()) {
            let labels = known.key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let with: Vec<(String, String)> = labels.chain([(label.to_owned(), sample(label, number))]).collect();
            known.key.labels = Labels::new(with);
            grown = true;
        }
    }
    for (verb, args, why) in &played.refused {
        if why.starts_with("nobody can do") && bench.verb(verb).is_none() {
            stand_in(bench, verb, args);
            look.notes.push(format!("nobody configured can do `{verb}`: it is played as a reversible action that succeeds"));
            grown = true;
        } else if !why.starts_with("nobody can do") && !look.notes.iter().any(|note| note.contains(why.as_str())) {
            look.notes.push(format!("`{verb}` is refused by the lint: {why}"));
        }
    }
    grown
}

fn learn_read(look: &mut Look, evidence: &Evidence) -> bool {
    let Some(series) = &evidence.series else {
        let Some(text) = evidence.operation.strip_prefix("series ") else { return false };
        let Ok(selector) = Selector::parse(text) else { return false };
        let metric = selector.metric().unwrap_or_default().to_owned();
        if metric.is_empty() {
            return false;
        }
        let own: BTreeMap<String, String> = look.tracks.first().map_or_else(BTreeMap::new, |first| {
            let known = signals().get(metric.as_str()).map_or(&[][..], |signal| signal.labels.as_slice());
            first.key.labels.iter().filter(|(name, _)| known.contains(name)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
        });
        let key = key_for(&selector, &own, 0);
        if !selector.matches(&key) || look.tracks.iter().any(|known| known.key == key) {
            return false;
        }
        look.tracks.push(Known { shape: shape(&metric), key, levels: Vec::new(), rates: Vec::new(), is_target: false });
        return true;
    };
    let Some(known) = look.tracks.iter_mut().find(|known| known.key == *series) else { return false };
    let is_level = ["last", "avg ", "min ", "max ", "quantile ", "held "].iter().any(|op| evidence.operation.starts_with(op));
    if !is_level || known.shape == Shape::Counter {
        return false;
    }
    // Levels that are computed are not in the text. They do not make another round necessary.
    for margin in &evidence.margins {
        if let Some(level) = margin.relation.split(' ').nth(1).and_then(|text| text.parse().ok()) {
            push(&mut known.levels, level);
        }
    }
    false
}

/// A verb that is not configured, played as what its name and arguments show.
fn stand_in(bench: &mut Bench, verb: &Verb, args: &BTreeMap<String, Arg>) {
    let kind = |arg: &Arg| match arg {
        Arg::Bool(_) => ArgKind::Bool,
        Arg::Int(_) => ArgKind::Int(i64::MIN, i64::MAX),
        Arg::Float(_) => ArgKind::Float(f64::MIN, f64::MAX),
        Arg::Text(_) | Arg::List(_) => ArgKind::Text(1 << 16),
        Arg::Map(_) => ArgKind::TextMap(1_000),
    };
    let args = args.iter().map(|(name, arg)| ArgSpec { name: name.clone(), kind: kind(arg), required: false, doc: String::new() });
    let is_notify = verb.actuator() == "notify";
    let spec = VerbSpec {
        verb: verb.clone(),
        class: if is_notify { Class::Notify } else { Class::Reversible },
        args: args.collect(),
        target_kinds: Vec::new(),
        targets: None,
        opposite: opposite_by_name(verb.as_str()).map(|name| Verb::new(name.as_str())),
        settle: Span::ZERO,
        timeout: Span::from_mins(1),
        revertible: false,
        cost: Cost::default(),
        doc: "A stand-in.".into(),
    };
    bench.actuators.push(ActuatorSpec { id: format!("stand-in-{verb}").as_str().into(), verbs: vec![spec] });
}

/// Words that take each other back.
const PAIRS: [(&str, &str); 10] = [
    ("wake", "sleep"),
    ("up", "down"),
    ("start", "stop"),
    ("on", "off"),
    ("grow", "shrink"),
    ("scale_up", "scale_down"),
    ("uncordon", "cordon"),
    ("more", "fewer"),
    ("open", "close"),
    ("enable", "disable"),
];

fn opposite_by_name(verb: &str) -> Option<String> {
    let (head, last) = verb.rsplit_once(['.', '-']).map(|(head, last)| (&verb[..=head.len()], last))?;
    let pair = PAIRS.iter().find_map(|(a, b)| if last == *a { Some(b) } else { (last == *b).then_some(a) })?;
    Some(format!("{head}{pair}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_get_series_that_they_name() {
        for text in ["a{node='x'}", "a{node=~'web.*|db'}", "a{node!~'n1|n2'}", "a{x=~'.+',y!='y-1'}", "{__name__='a'}"] {
            let selector = Selector::parse(text).unwrap();
            let key = key_for(&selector, &BTreeMap::from([("node".to_owned(), "n1".to_owned())]), 0);
            assert!(selector.matches(&key), "{text}: {key}");
        }
        let own = BTreeMap::from([("node".to_owned(), "nas".to_owned())]);
        assert_eq!(fill_in("up{node='${fs.node}',x='${…}'}", &own), "up{node='nas',x='x'}");
        assert_eq!(opposite_by_name("power.wake").as_deref(), Some("power.sleep"));
        assert_eq!(opposite_by_name("http.scale-up").as_deref(), Some("http.scale-down"));
        assert_eq!(opposite_by_name("http.delete-pod"), None);
    }
}
