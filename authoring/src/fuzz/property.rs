//! What a policy must never do, whatever comes in: the properties that are searched for a breach.

use super::play::{Act, Bench, Looked, Played, play_trace};
use super::trace::Trace;
use anyhow::Result;
use homeostat_model::{Class, Span, Target};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A property.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// It does not go to and fro.
    Flap,
    /// It does not take down the last ones of their kind.
    Floor,
    /// It does not act on what nobody sees any more.
    Stale,
    /// Its script does not fail.
    Fault,
}

impl Property {
    /// All of them.
    pub const ALL: [Property; 4] = [Property::Flap, Property::Floor, Property::Stale, Property::Fault];

    /// The name used on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Property::Flap => "flap",
            Property::Floor => "floor",
            Property::Stale => "stale",
            Property::Fault => "fault",
        }
    }
}

/// Where the properties begin to be broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// More turns than this on one target within an hour are flapping. A turn takes back what was done before, or does the same
    /// again after its reason was gone in between.
    pub turns_per_hour_max: usize,
    /// So many targets of a kind stay up.
    pub healthy_min: usize,
    /// Samples older than this are no ground for an action.
    pub stale_after: Span,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { turns_per_hour_max: 3, healthy_min: 1, stale_after: Span::from_mins(10) }
    }
}

/// A property that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// Which.
    pub property: Property,
    /// At which step.
    pub step: usize,
    /// By which target of the policy.
    pub symptom: String,
    /// What happened, in words.
    pub text: String,
    /// What a test says must not be there.
    pub quiet: String,
}

/// The first breach of one property, if there is one.
///
/// # Errors
/// The policy cannot be loaded.
pub fn breach(property: Property, bench: &Bench, bounds: &Bounds, trace: &Trace, played: &Played) -> Result<Option<Breach>> {
    match property {
        Property::Flap => Ok(flap(bench, bounds, trace, played)),
        Property::Floor => Ok(floor(bench, bounds, trace, played)),
        Property::Stale => stale(bench, bounds, trace, played),
        Property::Fault => Ok(fault(played)),
    }
}

fn flap(bench: &Bench, bounds: &Bounds, trace: &Trace, played: &Played) -> Option<Breach> {
    let hour = (Span::from_hours(1).millis() / trace.interval.millis().max(1)) as usize;
    let mut by_target: BTreeMap<&Target, Vec<&Act>> = BTreeMap::new();
    let mut turns: BTreeMap<&Target, Vec<usize>> = BTreeMap::new();
    for act in &played.acts {
        let before = by_target.entry(&act.target).or_default();
        if is_turn(bench, played, before, act) {
            let turns = turns.entry(&act.target).or_default();
            turns.push(act.step);
            turns.retain(|step| step + hour > act.step);
            if turns.len() > bounds.turns_per_hour_max {
                let first = turns.first().copied().unwrap_or(act.step);
                let path: Vec<String> = before.iter().filter(|act| act.step + 1 >= first).map(|act| said(trace, act)).collect();
                let text = format!("{} turns on {} within an hour: {}, {}", turns.len(), act.target, path.join(", "), said(trace, act));
                let quiet = format!("no more to and fro: turn {} within the hour", turns.len());
                return Some(Breach { property: Property::Flap, step: act.step, symptom: act.symptom.clone(), text, quiet });
            }
        }
        before.push(act);
    }
    None
}

fn said(trace: &Trace, act: &Act) -> String {
    let args: Vec<String> = act.args.iter().map(|(name, arg)| format!("{name}={arg}")).collect();
    let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
    format!("{}{args} at {}", act.verb, Span(trace.interval.millis() * act.step as i64))
}

/// Whether an action takes back the one before on its target, or does the same again after its reason was gone.
fn is_turn(bench: &Bench, played: &Played, before: &[&Act], act: &Act) -> bool {
    let Some(last) = before.last() else { return false };
    let same_plan = |other: &Act| other.verb == act.verb && other.args == act.args;
    if bench.opposite(&last.verb).as_ref() == Some(&act.verb) {
        return true;
    }
    if !same_plan(last) {
        // Back to what was there earlier: 2 replicas, 3, 2.
        return last.verb == act.verb && before.iter().any(|other| same_plan(other));
    }
    let looks = played.looks.get(&act.symptom).map_or(&[][..], Vec::as_slice);
    let between = looks.get(last.step + 1..act.step).unwrap_or_default();
    between.contains(&Looked::Quiet)
}

/// `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
            ends.into_iter().any(|at| fits(rest, &tail[at..]))
        }),
    }
}

fn floor(bench: &Bench, bounds: &Bounds, trace: &Trace, played: &Played) -> Option<Breach> {
    let known: BTreeSet<&Target> = played.targets.iter().chain(played.acts.iter().map(|act| &act.target)).collect();
    // Until which step each target is down; what has an opposite stays down until that is done.
    let mut down: BTreeMap<&Target, usize> = BTreeMap::new();
    for act in played.acts.iter().filter(|act| act.class != Class::Notify) {
        down.retain(|_, until| *until > act.step);
        if act.class == Class::Restore {
            down.remove(&act.target);
            continue;
        }
        let settle = bench.verb(&act.verb).map_or(Span::ZERO, |spec| spec.settle);
        let steps = (settle.millis() / trace.interval.millis().max(1)) as usize + 1;
        down.insert(&act.target, if bench.opposite(&act.verb).is_some() { usize::MAX } else { act.step + steps });
        let configured = bench.arbiter.floors.iter().filter(|floor| floor.targets.iter().any(|target| fits(target, act.target.as_str())));
        let own = (vec![format!("{}/*", act.target.kind())], bounds.healthy_min);
        let floors = configured.map(|floor| (floor.targets.clone(), floor.min_healthy as usize)).chain([own]);
        for (patterns, least) in floors {
            let of: Vec<&Target> =
                known.iter().filter(|target| patterns.iter().any(|pattern| fits(pattern, target.as_str()))).copied().collect();
            let healthy = of.iter().filter(|target| !down.contains_key(*target)).count();
            // One alone of its kind is no floor.
            if of.len() > least.max(1) && healthy < least {
                let names: Vec<&str> = of.iter().filter(|target| down.contains_key(*target)).map(|target| target.as_str()).collect();
                let text = format!(
                    "{}: {healthy} of {} left up, at least {least} must be; down: {}",
                    said(trace, act),
                    of.len(),
                    names.join(", ")
                );
                let quiet = format!("at least {least} of {} stay up", patterns.join(", "));
                return Some(Breach { property: Property::Floor, step: act.step, symptom: act.symptom.clone(), text, quiet });
            }
        }
    }
    None
}

fn stale(bench: &Bench, bounds: &Bounds, trace: &Trace, played: &Played) -> Result<Option<Breach>> {
    let limit = bounds.stale_after.max(trace.interval.times(2.5));
    let start = homeostat_model::Time(1_700_000_000_000);
    let mut filled: Option<Played> = None;
    for act in &played.acts {
        // That a series has fallen silent is itself the reason.
        if act.evidence.iter().any(|evidence| evidence.operation.starts_with("absent for") && evidence.value.value() == Some(1.0)) {
            continue;
        }
        let now = start + Span(trace.interval.millis() * act.step as i64);
        let old = act.evidence.iter().find_map(|evidence| {
            let age = now.since(evidence.sampled_at?);
            let counts = age > limit && evidence.margins.iter().any(|margin| margin.distance >= 0.0);
            counts.then(|| (evidence.series.as_ref().map_or_else(String::new, ToString::to_string), evidence.operation.clone(), age))
        });
        let found = |text: String, quiet: &str| {
            let (step, symptom, quiet) = (act.step, act.symptom.clone(), quiet.to_owned());
            Ok(Some(Breach { property: Property::Stale, step, symptom, text, quiet }))
        };
        if let Some((series, operation, age)) = old {
            let text = format!("{} although the newest sample behind `{operation}` of {series} is {age} old", said(trace, act));
            return found(text, "its data is stale");
        }
        // To tell people rather than not, where what would excuse it is missing, is the safe side.
        let Some(missing) = silent(trace, act.step).filter(|_| act.class != Class::Notify) else { continue };
        if filled.is_none() {
            filled = Some(play_trace(bench, &fill(trace), false)?);
        }
        let otherwise = filled.as_ref().and_then(|played| played.looks.get(&act.symptom)).and_then(|looks| looks.get(act.step));
        if matches!(otherwise, Some(Looked::Quiet | Looked::Never)) {
            let text =
                format!("{} only because {missing} has no value; with its last value carried on nothing is wished", said(trace, act));
            return found(text, "missing is not a reason to act");
        }
    }
    Ok(None)
}

/// A series that has been silent at this step for longer than a reading lasts.
fn silent(trace: &Trace, step: usize) -> Option<String> {
    let is_silent = |track: usize| step >= 3 && (step - 3..=step).all(|step| trace.at(track, step).is_none());
    (0..trace.tracks.len()).find(|track| is_silent(*track)).map(|track| trace.tracks[track].key.to_string())
}

/// The same with every gap filled by what was there before it, or comes first.
fn fill(trace: &Trace) -> Trace {
    let mut full = trace.clone();
    for track in &mut full.tracks {
        track.values.resize(trace.steps, None);
        let mut last = track.values.iter().copied().flatten().next();
        for value in &mut track.values {
            last = value.or(last);
            *value = last;
        }
    }
    full
}

fn fault(played: &Played) -> Option<Breach> {
    let of = |(symptom, looks): (&String, &Vec<Looked>)| {
        let (step, why) = looks.iter().enumerate().find_map(|(step, looked)| match looked {
            Looked::Fault(why) => Some((step, why.clone())),
            _ => None,
        })?;
        let quiet = "the script does not fail".to_owned();
        Some(Breach { property: Property::Fault, step, symptom: symptom.clone(), text: format!("the script fails: {why}"), quiet })
    };
    played.looks.iter().filter_map(of).min_by_key(|breach| breach.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, fit) in
            [("node/*", "node/a", true), ("node/*", "pod/a", false), ("*", "x", true), ("a*c*e", "abcde", true), ("a*c", "abcd", false)]
        {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }
}
