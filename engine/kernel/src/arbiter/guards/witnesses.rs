//! Before something is taken down, the engine must see. It must not be cut off itself: the gateway and most neighbours answered within
//! the last minute (lessons 3, 4); a split network makes everything behind it look dead. And before a node is taken down, witnesses
//! of two failure domains must speak of it, now, and agree.
//!
//! Where no witnesses are configured they are not asked: the guard cannot know who could see. Where they are, every doubt denies. A
//! person's word does not replace a witness.

use super::{Case, Opinion};
use crate::arbiter::Touch;
use crate::topology::Template;
use homeostat_model::{ReadingValue, Relation, Target};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let touches = case.touches();
    let down: Vec<&Touch> = touches.into_iter().filter(|touch| touch.takes_down(case.verbs)).collect();
    if down.is_empty() {
        return Opinion::pass("takes nothing down");
    }
    let settings = &case.settings.witnesses;
    if let Err(problem) = not_cut_off(case) {
        return Opinion::deny(problem);
    }
    let nodes: BTreeSet<&Target> = down.iter().map(|touch| &touch.target).filter(|target| target.kind() == "node").collect();
    if settings.rules.is_empty() {
        return Opinion::pass("no witnesses are configured");
    }
    for node in nodes {
        match agreed(case, node) {
            Ok(domains) if domains.len() >= settings.domains_min as usize => {}
            Ok(domains) => {
                let who = if domains.is_empty() { "nobody".to_owned() } else { domains.into_iter().collect::<Vec<_>>().join(", ") };
                return Opinion::deny(format!("of `{node}` speaks {who}, at least {} domains must", settings.domains_min));
            }
            Err(problem) => return Opinion::deny(problem),
        }
    }
    Opinion::pass("the engine sees, and witnesses agree")
}

/// Whether the gateway and most neighbours answered within the last minute.
pub(super) fn not_cut_off(case: &Case<'_>) -> Result<(), String> {
    let settings = &case.settings.witnesses;
    // Which of the series a selector names are good, now.
    let good = |selector: &String| -> Result<(usize, usize), String> {
        let series = case.world.read(selector)?;
        let is_good = |read: &crate::store::Read| {
            let fresh = read.sampled_at.is_some_and(|at| case.now.since(at) <= settings.age_max);
            fresh && read.value.value().is_some_and(|value| value > 0.5)
        };
        Ok((series.iter().filter(|(_, read)| is_good(read)).count(), series.len()))
    };
    for selector in &settings.gateway {
        if good(selector)?.0 == 0 {
            return Err(format!("the engine may be cut off: `{selector}` does not show the gateway within {}", settings.age_max));
        }
    }
    let (mut answered, mut all) = (0, 0);
    for selector in &settings.reach {
        let (fine, known) = good(selector)?;
        (answered, all) = (answered + fine, all + known);
    }
    if !settings.reach.is_empty() && answered * 2 <= all {
        return Err(format!("the engine may be cut off: {answered} of {all} neighbours answered within {}", settings.age_max));
    }
    Ok(())
}

/// The domains that speak of a target, now, and say what they must; an error where one says otherwise.
fn agreed<'a>(case: &'a Case<'_>, target: &Target) -> Result<BTreeSet<&'a str>, String> {
    let settings = &case.settings.witnesses;
    let mut said: BTreeMap<&str, bool> = BTreeMap::new();
    for rule in &settings.rules {
        let template = Template::parse(&rule.target)?;
        for (series, read) in case.world.read(&rule.series)? {
            let speaks_of_it = case.world.name(&template, series).as_deref() == Some(target.as_str());
            let (ReadingValue::Value(value), true) = (read.value, speaks_of_it) else { continue };
            let says = match rule.relation {
                None => true,
                Some(Relation::Above) => value > rule.threshold,
                Some(Relation::Below) => value < rule.threshold,
            };
            let word = said.entry(rule.domain.as_str()).or_insert(says);
            *word &= says;
        }
    }
    match said.iter().find(|(_, says)| !**says) {
        Some((domain, _)) => Err(format!("the witness `{domain}` says otherwise of `{target}`")),
        None => Ok(said.into_keys().collect()),
    }
}
