//! The same again: what the journal says after a restart, and the same events once more.

use super::lab::*;
use crate::truth::{Answer, Driver, Recipe, Setup, Trouble, Weather};
use homeostat_kernel::Kernel;
use homeostat_model::{Autonomy, EarnedSettings, EntryBody, Record, Span};
use std::collections::BTreeMap;

fn begun(seed: u64) -> Driver {
    let heal = Answer { after: Span::from_secs(60), jitter: Span::from_mins(1), heals: true, ..Answer::PLACEBO };
    let wake = Answer { after: Span::from_secs(48), power: Some(true), ..Answer::PLACEBO };
    let sleep = Answer { after: Span::from_secs(3), power: Some(false), ..Answer::PLACEBO };
    let recipe = Recipe {
        nodes: 4,
        interval: Span::from_mins(1),
        weather: Weather { base: 20.0, own: 0.6, memory: Span::from_mins(5), white: 0.2, missing: 0.05, ..Weather::STILL },
        trouble: Trouble { per_day: 4.0, size: 8.0, heals_after: Some(Span::from_hours(6)), rests: Span::ZERO },
        answers: BTreeMap::from([("mend.restart".into(), heal), ("power.wake".into(), wake), ("power.sleep".into(), sleep)]),
        machines: true,
    };
    let mend = mending(24.0, "20m", "cooldown: \"2h\", every: \"10m\"");
    let sleep = r#"fn policy() { #{ for_each: series("node_up"), autonomy: "auto", every: "30m", cooldown: "6h" } }
fn evaluate(up) { if up.held_above(0.5, "30m") { propose(act("power.sleep", "node/" + up.node, #{})).because("idle").claim(up.below(0.5).within("5m")) } }"#;
    let wake = r#"fn policy() { #{ for_each: series("node_up"), autonomy: "auto", every: "30m", cooldown: "6h" } }
fn evaluate(up) { if up.held_below(0.5, "45m") { propose(act("power.wake", "node/" + up.node, #{})).because("down").claim(up.above(0.5).within("5m")) } }"#;
    let earned = EarnedSettings { start: Autonomy::Suggest, ..EarnedSettings::default() };
    let rules = rules(settings(earned), &[("mend", &mend), ("sleep", sleep), ("wake", wake)]);
    let setup = Setup { keeps_observations: true, ..setup(rules, person(0.8)) };
    driver(recipe, setup, seed)
}

fn kinds(driver: &Driver) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for (_, record) in driver.records() {
        let kind = match record {
            Record::Scored { .. } => "scored",
            Record::Autonomy(_) => "autonomy",
            Record::Spent { .. } => "spent",
            Record::Judged { .. } => "judged",
            _ => "other",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

#[test]
fn what_was_learned_survives_a_restart_byte_by_byte() {
    let mut driver = begun(71);
    let mut cuts = Vec::new();
    for hours in [5, 7, 11, 13, 17, 19, 48] {
        driver.run_for(Span::from_mins(hours * 60 + 7));
        cuts.push((driver.entries.len(), driver.observations.len(), driver.kernel.ledger().trust().bytes()));
        if hours == 13 {
            driver.restart().expect("the rules are accepted");
        }
    }
    let kinds = kinds(&driver);
    println!("{} entries: {kinds:?}", driver.entries.len());
    assert!(kinds["scored"] > 10 && kinds["autonomy"] > 2 && kinds["spent"] > 10, "{kinds:?}");
    for (entries, observations, live) in &cuts {
        // As the daemon reads it: from text.
        let text: Vec<String> = driver.entries[..*entries].iter().map(|(at, body)| serde_json::to_string(&(at, body)).unwrap()).collect();
        let read: Vec<_> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kernel = Driver::recovered(&driver.setup.rules, &read, &driver.observations[..*observations]);
        let folded = kernel.ledger().trust().bytes();
        assert!(live.len() > 100 && folded == *live, "{}\nlive\n{}", String::from_utf8_lossy(&folded), String::from_utf8_lossy(live));
    }
}

#[test]
fn an_action_in_flight_over_a_restart_is_scored_after_it() {
    let mut driver = begun(72);
    let is_waiting = |driver: &Driver| driver.kernel.ledger().actions().any(|state| state.sent_at.is_some() && state.awaits_score());
    while !is_waiting(&driver) {
        driver.run_for(Span::from_mins(3));
    }
    driver.restart().expect("the rules are accepted");
    let waiting: Vec<_> =
        driver.kernel.ledger().actions().filter(|state| state.sent_at.is_some() && state.awaits_score()).map(|state| state.id).collect();
    driver.run_for(Span::from_hours(2));
    for id in waiting {
        assert_eq!(scores(&driver).filter(|(_, action, _)| *action == id).count(), 1, "{id} is scored, once");
    }
}

#[test]
fn the_same_events_give_the_same_records() {
    let mut driver = begun(73);
    driver.run_for(Span::from_hours(40));
    let mut kernel = Kernel::new(driver.setup.rules.store.clone());
    let mut again = Vec::new();
    for (at, event) in &driver.events {
        kernel.handle(*at, event.clone());
        while let Some(effect) = kernel.poll_effect() {
            again.push(serde_json::to_string(&(at, effect.record())).unwrap());
        }
    }
    let records = driver.entries.iter().filter(|(_, body)| matches!(body, EntryBody::Effect(_)));
    let first: Vec<String> = records
        .map(|(at, body)| match body {
            EntryBody::Effect(record) => serde_json::to_string(&(at, record)).unwrap(),
            EntryBody::Event(_) => String::new(),
        })
        .collect();
    assert!(first.iter().filter(|line| line.contains("\"scored\"")).count() > 5);
    assert_eq!(first, again);
}
