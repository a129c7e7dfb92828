//! What goes down with it (lesson 16). The last copy of data and the last vote of a quorum are never taken, whoever asks. A wish that
//! takes down more than a share of one kind is a selector gone wrong and is denied; single wishes that come to the same, of a policy or
//! of a step that goes through a list, get that share at a time. Many dependants need a person.
//!
//! What is not in the topology has no dependants that anybody knows of, and passes; a topology that is cut or broken is no ground
//! to stand on, and nothing passes that takes something down.

use super::{Case, Opinion};
use crate::topology::{Fall, Topology};
use homeostat_model::{Edge, Span, Stance, Target};
use std::collections::{BTreeMap, BTreeSet};

/// Names that are listed at once.
const NAMES_MAX: usize = 5;
/// When to look again while others of its kind are down.
const AGAIN: Span = Span::from_secs(10);

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let mine = case.takes_down();
    if mine.is_empty() {
        return Opinion::pass("takes nothing down");
    }
    let topology = case.world.topology();
    if let Some(doubt) = topology.doubt() {
        return Opinion::deny(format!("what hangs on it cannot be told: {doubt}"));
    }
    if let Some(text) = too_many_of_a_kind(case, topology, &mine, "by one wish") {
        return Opinion::deny(text);
    }
    let (fall, preview) = look(case);
    if let Some(text) = last_one(case, &fall) {
        return Opinion::deny(text);
    }
    let together: BTreeSet<Target> = mine.iter().cloned().chain(case.going_down_with_own()).collect();
    if together.len() > mine.len()
        && let Some(text) = too_many_of_a_kind(case, topology, &together, "at once, with what is under way")
    {
        return Opinion::hold(case.now + AGAIN, text);
    }
    let dependants = fall.down.iter().filter(|target| !mine.contains(*target) && counts(topology, target)).count();
    let known = topology.targets().filter(|target| counts(topology, target)).count();
    let share = (case.settings.blast.dependants_share_max * known as f64).floor().max(1.0);
    let allowed = (case.settings.blast.dependants_max as usize).min(share as usize);
    let words = if preview.is_empty() { "nothing is known to hang on it".to_owned() } else { preview.join("; ") };
    if dependants > allowed && case.person().is_none() {
        let text = format!("{dependants} of {known} go down with it, more than {allowed}: {words}");
        return Opinion { stance: Stance::Ask { by: case.now + case.settings.approval_ttl }, text };
    }
    Opinion::pass(words)
}

/// What a wish would take down, in words for people: "takes down node/muscle-2: volume/a down to one copy". Empty: nothing.
pub fn blast_preview(case: &Case<'_>) -> Vec<String> {
    look(case).1
}

fn look(case: &Case<'_>) -> (Fall, Vec<String>) {
    let mine = case.takes_down();
    if mine.is_empty() {
        return (Fall::default(), Vec::new());
    }
    let topology = case.world.topology();
    let running = topology.fall(&BTreeSet::new(), &case.going_down()).down;
    let fall = topology.fall(&running, &mine);
    let words = words(topology, &mine, &fall);
    (fall, words)
}

fn words(topology: &Topology, mine: &BTreeSet<Target>, fall: &Fall) -> Vec<String> {
    let mut parts = Vec::new();
    let down: Vec<&Target> = fall.down.iter().filter(|target| !mine.contains(*target)).collect();
    for (kind, names) in by_kind(down.into_iter().filter(|target| counts(topology, target))) {
        let go = if names.len() == 1 { "goes" } else { "go" };
        parts.push(format!("{} {go} down ({})", counted(names.len(), &kind), listed(&names)));
    }
    for one_left in [true, false] {
        let copies = fall.reduced.iter().filter(|(target, left)| {
            left.edge == Edge::StoresOn && (left.after == 1) == one_left && left.after > 0 && !fall.down.contains(*target)
        });
        for (kind, names) in by_kind(copies.map(|(target, _)| target)) {
            let left = if one_left { "down to one replica" } else { "with a replica less" };
            parts.push(format!("{} {left} ({})", counted(names.len(), &kind), listed(&names)));
        }
    }
    let weaker = fall.reduced.iter().filter(|(target, left)| left.edge != Edge::StoresOn && left.after > 0 && !fall.down.contains(*target));
    for (kind, names) in by_kind(weaker.map(|(target, _)| target).filter(|target| counts(topology, target))) {
        parts.push(format!("{} with less redundancy ({})", counted(names.len(), &kind), listed(&names)));
    }
    for (name, left, need) in &fall.quorums_lost {
        parts.push(format!("quorum {name} lost: {left} left, {need} needed"));
    }
    if parts.is_empty() {
        return Vec::new();
    }
    let names: Vec<&Target> = mine.iter().collect();
    vec![format!("taking down {}: {}", listed(&names), parts.join(", "))]
}

fn last_one(case: &Case<'_>, fall: &Fall) -> Option<String> {
    let lost = fall.down.iter().find(|target| {
        let gone = fall.reduced.get(*target).is_some_and(|left| left.edge == Edge::StoresOn && left.after == 0);
        gone && case.settings.blast.copies_of.iter().any(|kind| kind == target.kind())
    });
    if let Some(lost) = lost {
        return Some(format!("`{lost}` would be left without a copy"));
    }
    let (name, left, need) = fall.quorums_lost.first()?;
    Some(format!("the quorum {name} would be lost: {left} left, {need} needed"))
}

fn too_many_of_a_kind(case: &Case<'_>, topology: &Topology, mine: &BTreeSet<Target>, how: &str) -> Option<String> {
    for (kind, names) in by_kind(mine.iter()) {
        let known = topology.targets().filter(|target| target.kind() == kind).count();
        if known == 0 {
            continue;
        }
        let allowed = ((case.settings.blast.same_kind_share_max * known as f64).floor() as usize).max(1);
        if names.len() > allowed {
            let of = counted(names.len(), &kind);
            return Some(format!("{of} of {known} known would be taken down {how}, at most {allowed} may be ({})", listed(&names)));
        }
    }
    None
}

/// What is replaced by what owns it is not counted: a pod of a deployment, a replica set, a claim.
fn counts(topology: &Topology, target: &Target) -> bool {
    !matches!(target.kind(), "pod" | "replicaset" | "claim") || topology.below(target).is_empty()
}

fn by_kind<'t>(targets: impl Iterator<Item = &'t Target>) -> BTreeMap<String, Vec<&'t Target>> {
    let mut kinds: BTreeMap<String, Vec<&Target>> = BTreeMap::new();
    for target in targets {
        kinds.entry(target.kind().to_owned()).or_default().push(target);
    }
    kinds
}

fn counted(count: usize, kind: &str) -> String {
    format!("{count} {kind}{}", if count == 1 { "" } else { "s" })
}

fn listed(targets: &[&Target]) -> String {
    let names: Vec<&str> = targets.iter().take(NAMES_MAX).map(|target| target.name()).collect();
    let more = targets.len().saturating_sub(NAMES_MAX);
    format!("{}{}", names.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}
