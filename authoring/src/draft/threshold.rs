//! The value that tells the moments of acting from all others.
//!
//! First the record's own numbers: a comparison that the wishes were made by. Else the samples: for each series of the target, the value
//! that held for some time before every occasion, against every value of quiet times (away from all occasions). A threshold exists only
//! where all occasions lie on one side of all quiet windows; it is put in the middle. Which metric, side and time separates best is
//! taken. That needs no model of the plant, and a series that merely grows does not pass: its quiet values come to both sides.
//! Deliberately absent: counters (their level says nothing) and trends. An editor breaks this by letting a quiet window on the acting
//! side pass as noise: the draft would act where nobody did.

use super::{Curve, Material, Occasion};
use crate::vocabulary::{Shape, shape};
use homeostat_model::{Claim, ClaimSubject, Evidence, SeriesKey, Span, Time};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// How long a value must have held, longest first.
const HELD: [Span; 5] = [Span::from_mins(10), Span::from_mins(5), Span::from_mins(2), Span::from_mins(1), Span::from_secs(30)];
/// Samples that a window needs at least.
const SAMPLES_MIN: usize = 3;
/// Share of the samples that a window must have.
const COVERED_MIN: f64 = 0.7;
/// Quiet windows that are needed.
const QUIET_MIN: usize = 30;
/// How much of the way from the usual quiet value to the occasions must lie free between both.
const SCORE_MIN: f64 = 0.15;
/// Quiet is what is farther than this from every occasion; less where occasions lie closer together.
const AWAY_MAX: Span = Span::from_hours(1);
/// What comes back later than this after acting did not come back by it.
const RECOVERED_WITHIN: Span = Span::from_mins(30);
/// Labels that change when a workload is started anew.
const VOLATILE: [&str; 6] = ["pod", "uid", "id", "container_id", "pod_ip", "replicaset"];

/// On which side of the threshold the symptom is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It is bad above.
    Above,
    /// It is bad below.
    Below,
}

impl Side {
    /// Whether a value is on this side of a threshold.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        if self == Side::Above { value > threshold } else { value < threshold }
    }

    /// `above`, `below`.
    pub fn name(self) -> &'static str {
        if self == Side::Above { "above" } else { "below" }
    }

    /// The other one.
    pub fn other(self) -> Side {
        if self == Side::Above { Side::Below } else { Side::Above }
    }
}

/// What the threshold rests on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A comparison in the evidence of every occasion.
    Evidence,
    /// The samples before every occasion against those of quiet times.
    Samples,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The metric.
    pub metric: String,
    /// Its series in the record.
    pub series: Vec<SeriesKey>,
    /// The bad side.
    pub side: Side,
    /// The threshold, in the metric's unit.
    pub threshold: f64,
    /// The level on the good side that is claimed afterwards: apart from the threshold, or wishes would flap around it.
    pub well: f64,
    /// How long it must hold.
    pub held: Span,
    /// What it rests on.
    pub basis: Basis,
    /// Of each occasion that was seen: when, and the value that held before it, least bad.
    pub acted_at: Vec<(Time, f64)>,
    /// The worst value that a quiet window held; `None` where there is none on the good side.
    pub quiet: Option<f64>,
    /// The worst quiet window without a gap: its end and its series.
    pub quiet_piece: Option<(Time, SeriesKey)>,
    /// Quiet windows that were looked at.
    pub quiet_windows: usize,
    /// Occasions after which it came back to the good side, and how long that took at most.
    pub recovered: usize,
    /// The longest of these.
    pub recovered_within: Option<Span>,
    /// The sensor's rhythm.
    pub interval: Span,
}

/// Series of one metric that differ in nothing that lasts.
struct Group<'a> {
    metric: &'a str,
    curves: Vec<&'a Curve>,
}

/// Finds series and threshold.
///
/// # Errors
/// Why there is none, with what was looked at.
pub(super) fn find(material: &Material) -> Result<Found, String> {
    let groups = groups(&material.curves);
    if let Some((key, side, threshold, held)) = from_evidence(&material.occasions) {
        return by_evidence(material, &groups, key, side, threshold, held);
    }
    let claimed: Vec<&str> = material.occasions.iter().filter_map(|occasion| Some(&*claimed(occasion.claim.as_ref()?)?.metric)).collect();
    let mut best: Option<(f64, Found)> = None;
    let mut looked_at = 0;
    for group in groups.iter().filter(|group| shape(group.metric) != Shape::Counter && is_plain(group.metric)) {
        looked_at += 1;
        let Some((mut score, found)) = separated(material, group) else { continue };
        // What was claimed is what was meant.
        score += f64::from(u8::from(claimed.contains(&group.metric)));
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, found));
        }
    }
    let Some((_, found)) = best else {
        return Err(nothing(material, looked_at));
    };
    if found.recovered * 2 < found.acted_at.len() {
        return Err(format!(
            "{} was {} {} before every occasion, but came back within {RECOVERED_WITHIN} after {} of {} only: the record does not show that acting helps",
            found.metric,
            found.side.name(),
            found.threshold,
            found.recovered,
            found.acted_at.len()
        ));
    }
    Ok(found)
}

fn nothing(material: &Material, looked_at: usize) -> String {
    let what = if looked_at == 0 {
        "the record has no samples of a gauge that speaks of this target".to_owned()
    } else {
        format!("of {looked_at} metrics of this target none was on one side before every occasion and on the other in all quiet times")
    };
    format!(
        "no threshold for `{}` on `{}` can be told from {} occasions: {what}; name a series with `--series`, or write the policy with `homeostat policy new`",
        material.verb,
        material.target,
        material.occasions.len()
    )
}

fn claimed(claim: &Claim) -> Option<&SeriesKey> {
    match &claim.subject {
        ClaimSubject::Series { series, .. } => Some(series),
        _ => None,
    }
}

/// A metric's name that can stand in a script and in a test as it is.
fn is_plain(metric: &str) -> bool {
    metric.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && metric.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A metric and the labels that last.
type Lasting<'a> = (&'a str, Vec<(&'a str, &'a str)>);

fn groups(curves: &[Curve]) -> Vec<Group<'_>> {
    let mut found: BTreeMap<Lasting<'_>, Vec<&Curve>> = BTreeMap::new();
    for curve in curves {
        let lasting = curve.key.labels.iter().filter(|(name, _)| !VOLATILE.contains(name)).collect();
        found.entry((&curve.key.metric, lasting)).or_default().push(curve);
    }
    found.into_iter().map(|((metric, _), curves)| Group { metric, curves }).collect()
}

/// The comparison that every occasion's evidence has, where all agree on it.
fn from_evidence(occasions: &[Occasion]) -> Option<(&SeriesKey, Side, f64, Span)> {
    let of = |evidence: &'_ Evidence| -> Option<(Side, f64, Span)> {
        let words: Vec<&str> = evidence.operation.split(' ').collect();
        if let ["held", side, level, "for", span] = words.as_slice() {
            let side = if *side == "above" { Side::Above } else { Side::Below };
            return Some((side, level.parse().ok()?, span.parse().ok()?));
        }
        if evidence.operation != "last" {
            return None;
        }
        let margin = evidence.margins.iter().find(|margin| margin.holds())?;
        let (sign, level) = margin.relation.split_once(' ')?;
        let side = match sign {
            ">" | ">=" => Side::Above,
            "<" | "<=" => Side::Below,
            _ => return None,
        };
        Some((side, level.parse().ok()?, Span::from_mins(1)))
    };
    let first = occasions.first()?;
    first.evidence.iter().find_map(|evidence| {
        let (key, told) = (evidence.series.as_ref().filter(|key| is_plain(&key.metric))?, of(evidence)?);
        let same = |other: &Evidence| other.series.as_ref().is_some_and(|known| known.metric == key.metric) && of(other) == Some(told);
        occasions.iter().all(|occasion| occasion.evidence.iter().any(same)).then_some((key, told.0, told.1, told.2))
    })
}

fn by_evidence(
    material: &Material,
    groups: &[Group<'_>],
    key: &SeriesKey,
    side: Side,
    threshold: f64,
    held: Span,
) -> Result<Found, String> {
    let group = groups.iter().find(|group| group.curves.iter().any(|curve| curve.key == *key));
    let Some(group) = group else {
        return Err(format!(
            "the record has no samples of {key}, by which every occasion was decided: there is nothing to test a draft with"
        ));
    };
    let (acted_at, quiet) = (acted(material, group, side, held), quiet(material, group, side, held));
    // A quiet window on the bad side is no example of quiet.
    let quiet = quiet.filter(|quiet| !side.holds(quiet.worst, threshold));
    let well = well(material, group.metric, side, threshold, quiet.as_ref().map_or(threshold, |quiet| quiet.worst));
    let (recovered, recovered_within) = recovery(material, group, side, well);
    Ok(Found {
        metric: key.metric.to_string(),
        series: group.curves.iter().map(|curve| curve.key.clone()).collect(),
        side,
        threshold,
        well,
        held,
        basis: Basis::Evidence,
        acted_at: acted_at.into_iter().flatten().collect(),
        quiet_windows: quiet.as_ref().map_or(0, |quiet| quiet.windows),
        quiet: quiet.as_ref().map(|quiet| quiet.worst),
        quiet_piece: quiet.and_then(|quiet| quiet.piece).map(|(at, _, key)| (at, key)),
        recovered,
        recovered_within,
        interval: interval(group),
    })
}

fn interval(group: &Group<'_>) -> Span {
    group.curves.iter().map(|curve| curve.interval).max().unwrap_or(Span::from_secs(30)).max(Span::from_secs(1))
}

/// The longest time and the side by which a group separates, with how well it does: 0 to 1.
fn separated(material: &Material, group: &Group<'_>) -> Option<(f64, Found)> {
    let interval = interval(group);
    let mut best: Option<(f64, Found)> = None;
    for held in HELD.into_iter().filter(|held| held.millis() >= interval.millis() * SAMPLES_MIN as i64) {
        for side in [Side::Above, Side::Below] {
            let acted = acted(material, group, side, held);
            let seen: Vec<(Time, f64)> = acted.into_iter().flatten().collect();
            if seen.len() < material.at_least.max(super::OCCASIONS_MIN) {
                continue;
            }
            let Some(quiet) = quiet(material, group, side, held).filter(|quiet| quiet.windows >= QUIET_MIN) else { continue };
            let least = worst_of(side.other(), seen.iter().map(|(_, value)| *value))?;
            if !side.holds(least, quiet.worst) {
                continue;
            }
            let score = (least - quiet.worst).abs() / (least - quiet.usual).abs().max(f64::MIN_POSITIVE);
            // A longer time is taken if it separates about as well: it asks for more before anything is done.
            if score < SCORE_MIN || best.as_ref().is_some_and(|(other, _)| score <= *other + 0.1) {
                continue;
            }
            let threshold = between(quiet.worst, least);
            let well = well(material, group.metric, side, threshold, quiet.worst);
            let (recovered, recovered_within) = recovery(material, group, side, well);
            best = Some((
                score,
                Found {
                    metric: group.metric.to_owned(),
                    series: group.curves.iter().map(|curve| curve.key.clone()).collect(),
                    side,
                    threshold,
                    well,
                    held,
                    basis: Basis::Samples,
                    acted_at: seen,
                    quiet: Some(quiet.worst),
                    quiet_piece: quiet.piece.map(|(at, _, key)| (at, key)),
                    quiet_windows: quiet.windows,
                    recovered,
                    recovered_within,
                    interval,
                },
            ));
        }
    }
    best
}

/// The value that is worst on a side.
fn worst_of(side: Side, values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(if side == Side::Above { f64::max } else { f64::min })
}

/// The number of fewest digits in the middle half between two.
fn between(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    let (from, to) = (low + (high - low) * 0.25, high - (high - low) * 0.25);
    let middle = f64::midpoint(low, high);
    (1..=12).map(|digits| crate::fuzz::trace::rounded(middle, digits)).find(|value| (from..=to).contains(value)).unwrap_or(middle)
}

/// What is claimed afterwards: the level that the record's own claims name, if it is a good one, else one between the worst quiet value
/// and the threshold. A flag has no room between.
fn well(material: &Material, metric: &str, side: Side, threshold: f64, quiet: f64) -> f64 {
    if shape(metric) == Shape::Flag {
        return threshold;
    }
    let named = material.occasions.iter().rev().find_map(|occasion| match &occasion.claim.as_ref()?.subject {
        ClaimSubject::Series { series, threshold: level, .. } if *series.metric == *metric => Some(*level),
        _ => None,
    });
    named.filter(|level| side.other().holds(*level, threshold)).unwrap_or_else(|| between(quiet, threshold))
}

/// Of each occasion the value that held before it, the worst of the group's series: `None` where nothing was recorded.
fn acted(material: &Material, group: &Group<'_>, side: Side, held: Span) -> Vec<Option<(Time, f64)>> {
    let of = |occasion: &Occasion| {
        let values = group.curves.iter().filter_map(|curve| held_value(curve, side, occasion.at, held));
        Some((occasion.at, worst_of(side, values)?))
    };
    material.occasions.iter().map(of).collect()
}

/// The value that a window held: its least bad one. `None`: too few samples.
pub(super) fn held_value(curve: &Curve, side: Side, at: Time, held: Span) -> Option<f64> {
    let first = curve.samples.partition_point(|(when, _)| *when <= at - held);
    let end = curve.samples.partition_point(|(when, _)| *when <= at);
    let window = curve.samples.get(first..end)?;
    is_covered(window.len(), held, curve.interval).then(|| worst_of(side.other(), window.iter().map(|(_, value)| *value)))?
}

fn is_covered(samples: usize, held: Span, interval: Span) -> bool {
    samples >= SAMPLES_MIN && samples as f64 >= COVERED_MIN * held.seconds() / interval.seconds().max(0.001)
}

/// What quiet times were like.
struct Quiet {
    worst: f64,
    piece: Option<(Time, f64, SeriesKey)>,
    usual: f64,
    windows: usize,
}

/// How far from an occasion a time must be to be quiet.
fn away(occasions: &[Occasion]) -> Span {
    let apart = occasions.windows(2).map(|pair| pair[1].at.since(pair[0].at)).min().unwrap_or(AWAY_MAX);
    apart.times(0.25).min(AWAY_MAX)
}

fn quiet(material: &Material, group: &Group<'_>, side: Side, held: Span) -> Option<Quiet> {
    let away = away(&material.occasions);
    let is_quiet = |at: Time| {
        let near = |occasion: &Occasion| at > occasion.at - away && at - held < occasion.at + away;
        !material.occasions.iter().any(near)
    };
    let mut values: Vec<f64> = Vec::new();
    let (mut worst, mut piece): (Option<f64>, Option<(Time, f64, SeriesKey)>) = (None, None);
    for curve in &group.curves {
        // The least bad value of a sliding window: a queue of candidates.
        let mut queue: VecDeque<(Time, f64)> = VecDeque::new();
        let mut first = 0;
        for (n, (at, value)) in curve.samples.iter().enumerate() {
            while queue.back().is_some_and(|(_, last)| side.holds(*last, *value)) {
                queue.pop_back();
            }
            queue.push_back((*at, *value));
            while curve.samples[first].0 <= *at - held {
                first += 1;
            }
            while queue.front().is_some_and(|(when, _)| *when <= *at - held) {
                queue.pop_front();
            }
            let Some((_, least)) = queue.front().copied() else { continue };
            if !is_covered(n + 1 - first, held, curve.interval) || !is_quiet(*at) {
                continue;
            }
            values.push(least);
            worst = worst.map_or(Some(least), |other| worst_of(side, [other, least].into_iter()));
            // Of equal ones the newest: before it the record is longest.
            let is_whole = (n + 1 - first) as i64 * curve.interval.millis() >= held.millis();
            if is_whole && piece.as_ref().is_none_or(|(_, other, _)| !side.holds(*other, least)) {
                piece = Some((*at, least, curve.key.clone()));
            }
        }
    }
    values.sort_unstable_by(f64::total_cmp);
    Some(Quiet { usual: *values.get(values.len() / 2)?, windows: values.len(), worst: worst?, piece })
}

/// After how many occasions the series came to the level on the good side, and the longest time until then.
fn recovery(material: &Material, group: &Group<'_>, side: Side, well: f64) -> (usize, Option<Span>) {
    let back = |occasion: &Occasion| {
        let next = material.occasions.iter().map(|other| other.at).find(|at| *at > occasion.at).unwrap_or(Time::MAX);
        let until = next.min(occasion.at + RECOVERED_WITHIN);
        let came = group.curves.iter().filter_map(|curve| {
            let begin = curve.samples.partition_point(|(at, _)| *at <= occasion.at);
            let after = curve.samples[begin..].iter().take_while(|(at, _)| *at <= until);
            after.filter(|(_, value)| side.other().holds(*value, well)).map(|(at, _)| *at).next()
        });
        Some(came.min()?.since(occasion.at))
    };
    let spans: Vec<Span> = material.occasions.iter().filter_map(back).collect();
    (spans.len(), spans.into_iter().max())
}
