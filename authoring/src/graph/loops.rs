//! What is wrong with the whole: loops without rest, policies that fight, wishes that can never be, claims on what is not moved.
//!
//! A loop of one policy, one verb and one metric is what control is made of. It goes wrong in two ways: it acts again before the plant
//! has answered (no dead time), or two wishes push one metric to and fro with nothing in between (no hysteresis). An editor breaks
//! this by finding fault with a loop that has both.

use super::effects::declared;
use super::region::Interval;
use super::{Declared, Sign, Sources, Wished, is_notify};
use crate::diagnose::{Finding, Severity};
use crate::vocabulary::{Shape, shape, signals};
use homeostat_kernel::policy::survey::{Place, Survey};
use homeostat_model::{PolicySource, Relation, Span};

/// Everything that is wrong.
pub(super) fn findings(sources: &Sources, surveys: &[(&PolicySource, Survey)], wishes: &[Wished<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for wished in wishes {
        found.extend(never(wished));
        found.extend(unknown_verb(sources, wished));
        found.extend(claims(wished, &sources.declared, sources));
        found.extend(no_dead_time(wished));
    }
    for (number, one) in wishes.iter().enumerate() {
        for other in &wishes[number + 1..] {
            if !is_notify(one) && !is_notify(other) && one.may_meet(other) {
                found.extend(pair(sources, one, other));
            }
        }
    }
    if let Some(metrics) = &sources.metrics {
        for (source, survey) in surveys {
            found.extend(unread(source, survey, |metric| metrics.contains(metric)));
        }
    }
    found
}

/// Conditions that exclude one another.
fn never(wished: &Wished<'_>) -> Option<Finding> {
    let (metric, words) = wished.region.never.as_ref()?;
    let message = format!("this is never wished: `{metric}` would have to be {words}");
    Some(
        Finding::error("never-holds", wished.path(), wished.wish.place, message)
            .help("one of the conditions is turned round, or an `else` is too much"),
    )
}

fn unknown_verb(sources: &Sources, wished: &Wished<'_>) -> Option<Finding> {
    if sources.actuators.is_empty() || wished.spec.is_some() {
        return None;
    }
    if wished.verb.strip_prefix("playbook.").is_some_and(|id| sources.playbooks.iter().any(|playbook| playbook.id == id)) {
        return None;
    }
    let message = format!("nobody can do `{}`: no configured actuator has this verb", wished.verb);
    let known = sources.actuators.iter().flat_map(|actuator| &actuator.verbs).map(|spec| spec.verb.as_str());
    let same: Vec<&str> = known.filter(|known| known.split('.').next() == wished.verb.split('.').next()).take(8).collect();
    let help = if same.is_empty() { "configure it under `actuators`".into() } else { format!("there are: {}", same.join(", ")) };
    Some(Finding::error("unknown-verb", wished.path(), wished.wish.verb_place, message).help(help))
}

/// Metrics that nothing delivers.
fn unread(source: &PolicySource, survey: &Survey, is_known: impl Fn(&str) -> bool) -> Vec<Finding> {
    let each = survey.for_each.iter().filter_map(|series| Some((series.metric.clone()?, Place::default())));
    let reads = survey.reads.iter().filter_map(|read| Some((read.metric.clone()?, read.place)));
    let mut seen = std::collections::BTreeSet::new();
    let all = reads.chain(each).filter(|(metric, _)| !is_known(metric) && seen.insert(metric.clone()));
    all.map(|(metric, place)| {
        // The vocabulary is for any lab; not every lab has all of it.
        let severity = if signals().contains_key(metric.as_str()) { Severity::Note } else { Severity::Warning };
        let message = format!("no sensor delivers `{metric}`: what is wished because of it is never wished");
        Finding::new(severity, "not-delivered", &source.path, place, message)
    })
    .collect()
}

/// A claim that the verb cannot make true, or that is true while the policy still fires.
fn claims(wished: &Wished<'_>, own: &Declared, sources: &Sources) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(claim) = &wished.wish.claim else { return found };
    let (Some(metric), Some(relation)) = (claim.metric.as_deref(), claim.relation) else { return found };
    let wants = if relation == Relation::Above { Sign::Raises } else { Sign::Lowers };
    let at = |severity, code, message: String| Finding::new(severity, code, wished.path(), claim.place, message);
    if let Some(moves) = declared(wished.verb, own, &sources.playbooks) {
        match moves.get(metric) {
            Some((sign, _)) if sign.is_against(wants) => {
                let message = format!("`{}` {} `{metric}`, and the claim wants it the other way", wished.verb, sign.name());
                found.push(
                    at(Severity::Error, "claim-against-effect", message)
                        .help("claim what the verb does, or take the verb that does what is claimed"),
                );
            }
            None if signals().contains_key(metric) && !moves.is_empty() => {
                let known: Vec<String> = moves.iter().map(|(metric, (sign, _))| format!("{} `{metric}`", sign.name())).collect();
                let message = format!("`{}` is not known to move `{metric}`: the claim would be judged on something else", wished.verb);
                let help = format!("it {}; declare what else it does with `--effects`", known.join(", "));
                found.push(at(Severity::Warning, "claim-not-moved", message).help(help));
            }
            _ => {}
        }
    }
    // The claim is there as soon as the value is past the threshold; the wish is gone only when it is out of the region.
    let fires = wished.region.on(metric);
    if let Some(threshold) = claim.threshold
        && shape(metric) != Shape::Flag
        && wished.region.filter < Span::from_hours(24)
    {
        let inside = match wants {
            Sign::Raises => fires.high.is_finite() && threshold < fires.high && !fires.low.is_finite(),
            _ => fires.low.is_finite() && threshold > fires.low && !fires.high.is_finite(),
        };
        if inside {
            let message = format!("the claim is true at {threshold} already, where the policy still fires (`{metric}` {fires})");
            found.push(
                at(Severity::Warning, "claim-inside-trigger", message)
                    .help("claim a level at which it does not fire any more, with room between the two"),
            );
        }
    }
    found
}

/// A loop that acts again before the plant can have answered.
fn no_dead_time(wished: &Wished<'_>) -> Option<Finding> {
    if is_notify(wished) {
        return None;
    }
    let claim = wished.wish.claim.as_ref()?;
    let (metric, within) = (claim.metric.as_deref()?, claim.within?);
    // Only where it looks at what it moves.
    wished.region.metrics.get(metric).filter(|interval| interval.is_bound())?;
    let waits = wished.cooldown.max(wished.settle);
    if waits >= within {
        return None;
    }
    let bare = wished.region.filter == Span::ZERO;
    let severity = if bare { Severity::Error } else { Severity::Warning };
    let message = format!(
        "`{}` can be sent again after {waits}, and `{metric}` has {within} to answer: the loop acts on what it has done already",
        wished.verb
    );
    let help = format!(
        "wait for the answer: `cooldown: \"{within}\"` or `settle: \"{within}\"`{}",
        if bare { ", and `held_above`/`held_below` or `over(…)` instead of `last()`" } else { "" }
    );
    Some(Finding::new(severity, "loop-without-dead-time", wished.path(), wished.wish.place, message).help(help))
}

/// Two wishes that may meet on one target.
fn pair(sources: &Sources, one: &Wished<'_>, other: &Wished<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let same_policy = one.source.id == other.source.id;
    if one.verb == other.verb {
        if !same_policy && one.region.apart(&other.region, None).is_none() {
            let message =
                format!("`{}` is wished by `{}` and by `{}`, and both may fire at once", one.verb, one.source.id, other.source.id);
            let finding = Finding::warning("double-wish", one.path(), one.wish.verb_place, message);
            found.push(there(finding, one, other).help("leave it to one of them, or give them conditions that exclude one another"));
        }
        return found;
    }
    let mut pushed = false;
    for (metric, (sign, _)) in &one.moves {
        let Some((against, _)) = other.moves.get(metric) else { continue };
        if !sign.is_against(*against) {
            continue;
        }
        let looks = one.region.on(metric).is_bound() || other.region.on(metric).is_bound();
        let claimed = |wished: &Wished<'_>| wished.wish.claim.as_ref().and_then(|claim| claim.metric.as_deref()) == Some(metric);
        // What is moved on the side, and nobody looks at, swings nothing.
        if !(looks || claimed(one) && claimed(other)) {
            continue;
        }
        pushed = true;
        let (down, up) = if *sign == Sign::Lowers { (one, other) } else { (other, one) };
        if let Some(finding) = to_and_fro(metric, down, up) {
            found.push(finding);
            break;
        }
    }
    let opposite = |a: &Wished<'_>, b: &Wished<'_>| {
        let of_playbook = || sources.playbooks.iter().find(|playbook| a.verb.strip_prefix("playbook.") == Some(&playbook.id));
        let says = a.spec.and_then(|spec| spec.opposite.clone()).or_else(|| of_playbook().and_then(|playbook| playbook.opposite.clone()));
        says.is_some_and(|verb| verb.as_str() == b.verb)
    };
    if !pushed && found.is_empty() && (opposite(one, other) || opposite(other, one)) && one.region.apart(&other.region, None).is_none() {
        let message = format!("`{}` and its opposite `{}` may be wished of one target at once", one.verb, other.verb);
        let finding = Finding::error("opposing-policies", one.path(), one.wish.verb_place, message);
        found.push(there(finding, one, other).help("give them conditions that exclude one another, with room between"));
    }
    found
}

/// Two wishes that push one metric down and up.
fn to_and_fro(metric: &str, down: &Wished<'_>, up: &Wished<'_>) -> Option<Finding> {
    if down.region.apart(&up.region, Some(metric)).is_some() {
        // What else they ask for keeps them apart, whatever the metric does.
        return None;
    }
    let (high, low) = (down.region.on(metric), up.region.on(metric));
    let both = high.and(low);
    let same = down.source.id == up.source.id;
    let who = if same { format!("`{}`", down.source.id) } else { format!("`{}` and `{}`", down.source.id, up.source.id) };
    let verbs = format!("`{}` lowers `{metric}` when it is {}, `{}` raises it when it is {}", down.verb, words(high), up.verb, words(low));
    let error = |code, message: String, help: String| {
        Some(there(Finding::error(code, down.path(), down.wish.verb_place, message), down, up).help(help))
    };
    if !both.is_empty(false) {
        // Both at once: no state satisfies both.
        let message = format!("{who} fight: {verbs}; both are wished while it is {}", words(both));
        let help = "let one of them win: thresholds that exclude one another, with a band between them in which nothing is done";
        return error(if same { "loop-without-hysteresis" } else { "opposing-policies" }, message, help.into());
    }
    let band = high.low - low.high;
    if band <= 0.0 && shape(metric) != Shape::Flag {
        let message = format!("{who} leave no band: {verbs}, and nothing lies between");
        return error("loop-without-hysteresis", message, format!("move the thresholds apart by more than one action moves `{metric}`"));
    }
    // Settling holds every verb on the target; a cooldown holds only its own, not the opposite.
    let patience = |wished: &Wished<'_>| wished.region.filter.max(wished.settle);
    let answer = |wished: &Wished<'_>| wished.wish.claim.as_ref().and_then(|claim| claim.within);
    if patience(down) > Span::ZERO && patience(up) > Span::ZERO {
        return None;
    }
    let hasty = if patience(down) == Span::ZERO { down } else { up };
    let within = answer(down).max(answer(up)).map_or_else(String::new, |within| format!(", and the claims give the plant {within}"));
    let message = format!("{who} can swing: {verbs}; `{}` is wished on a single value and nothing settles after it{within}", hasty.verb);
    let help = "`held_above`/`held_below` or `over(…)` in the condition, or `settle` as long as the plant needs to answer";
    error("loop-without-dead-time", message, help.into())
}

fn words(interval: Interval) -> String {
    if interval.is_bound() { interval.to_string() } else { "at any value".into() }
}

/// With the other's place, in words where it is another file.
fn there(finding: Finding, one: &Wished<'_>, other: &Wished<'_>) -> Finding {
    if one.source.path == other.source.path {
        return finding.label(other.wish.verb_place, format!("`{}` here", other.verb));
    }
    let place = other.wish.verb_place;
    let other_is = format!("the other is {}:{}:{}, `{}`", other.source.path, place.line, place.column, other.verb);
    finding.expected(other_is)
}
