//! So many must stay healthy (lessons 1, 18): the healthy members, less what is going down by what is under way, less what this wish
//! would take down, with all that hangs on it. Unknown is not healthy. A wish for an unhealthy member is counted as well: when few are
//! left, even repairs wait for a person who changes the floor.

use super::{Case, Opinion};
use crate::topology::{Health, matches};
use homeostat_model::{Floor, Span, Target};
use std::collections::BTreeSet;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let mine = case.takes_down();
    if mine.is_empty() || case.settings.floors.is_empty() {
        return Opinion::pass("takes nothing below a floor");
    }
    let topology = case.world.topology();
    let running = topology.fall(&BTreeSet::new(), &case.going_down()).down;
    let fallen = topology.fall(&running, &mine).down;
    let mut held = None;
    for floor in &case.settings.floors {
        let concerned: Vec<&Target> = fallen.iter().filter(|target| is_member(floor, target)).collect();
        if concerned.is_empty() {
            continue;
        }
        let healthy: BTreeSet<&Target> =
            topology.targets().filter(|target| is_member(floor, target) && topology.health(target) == Health::Healthy).collect();
        let alone = healthy.iter().filter(|target| !fallen.contains(**target)).count();
        let left = healthy.iter().filter(|target| !fallen.contains(**target) && !running.contains(**target)).count();
        let text = || {
            format!(
                "{left} of {} would be healthy without `{}`, at least {} must be",
                floor.targets.join(", "),
                concerned.iter().map(|target| target.as_str()).collect::<Vec<_>>().join("`, `"),
                floor.min_healthy
            )
        };
        if alone < floor.min_healthy as usize {
            return Opinion::deny(text());
        }
        if left < floor.min_healthy as usize {
            held = Some(format!("{} (what is under way included)", text()));
        }
    }
    match held {
        Some(text) => Opinion::hold(case.now + Span::from_secs(30), text),
        None => Opinion::pass("enough stay healthy"),
    }
}

fn is_member(floor: &Floor, target: &Target) -> bool {
    floor.targets.iter().any(|pattern| matches(pattern, target.as_str()))
}
