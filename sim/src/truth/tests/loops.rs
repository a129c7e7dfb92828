//! How fast the world answers, and loops that chase their own effect.

use super::lab::*;
use crate::truth::{Answer, Driver, Recipe, Trouble, Weather};
use homeostat_model::{Record, Span, Target, Time, Trip, Verb};
use std::collections::BTreeMap;

const BOOT: Span = Span::from_secs(48);

/// Machines that boot in 44 to 52 seconds, read every 15 s. The load is 0 or 1.
fn recipe(nodes: usize, trouble: Trouble) -> Recipe {
    let wake = Answer { after: BOOT - Span::from_secs(4), jitter: Span::from_secs(8), power: Some(true), ..Answer::PLACEBO };
    let sleep = Answer { after: Span::from_secs(3), power: Some(false), ..Answer::PLACEBO };
    Recipe {
        nodes,
        interval: Span::from_secs(15),
        weather: Weather::STILL,
        trouble,
        answers: BTreeMap::from([("power.wake".into(), wake), ("power.sleep".into(), sleep)]),
        machines: true,
    }
}

const NO_LOAD: Trouble = Trouble { per_day: 0.0, size: 1.0, heals_after: None, rests: Span::ZERO };

const WAKE_WHEN_DOWN: &str = r#"fn policy() { #{ for_each: series("node_up"), autonomy: "auto", every: "1m", cooldown: "1m" } }
fn evaluate(up) {
    if up.last() < 1.0 {
        propose(act("power.wake", "node/" + up.node, #{})).because("it is down").claim(up.above(0.5).within("3m"))
    }
}"#;

const SLEEP_WHEN_IDLE: &str = r#"fn policy() { #{ for_each: series("symptom"), autonomy: "auto", every: "1m", cooldown: "1m" } }
fn evaluate(load) {
    let up = series(`node_up{node='${load.node}'}`);
    if load.last() < 0.5 && up.last() > 0.5 {
        propose(act("power.sleep", "node/" + load.node, #{})).because("it is idle").claim(up.below(0.5).within("3m"))
    }
}"#;

const WAKE_WHEN_WANTED: &str = r#"fn policy() { #{ for_each: series("symptom"), autonomy: "auto", every: "1m", cooldown: "1m" } }
fn evaluate(load) {
    let up = series(`node_up{node='${load.node}'}`);
    if load.last() > 0.5 && up.last() < 0.5 {
        propose(act("power.wake", "node/" + load.node, #{})).because("it is wanted").claim(up.above(0.5).within("3m"))
    }
}"#;

fn trips(driver: &Driver) -> Vec<(Time, Trip)> {
    let found = driver.records().filter_map(|(at, record)| match record {
        Record::Tripped(trip) => Some((at, trip.clone())),
        _ => None,
    });
    found.collect()
}

fn sent(driver: &Driver, verb: &str) -> Vec<Time> {
    let acts = driver.records().filter_map(|(at, record)| match record {
        Record::Act { action, .. } if action.verb == Verb::from(verb) => Some(at),
        _ => None,
    });
    acts.collect()
}

#[test]
fn five_wakes_teach_the_boot_of_48_seconds() {
    for seed in 31..36 {
        let rules = rules(settings(granted()), &[("wake", WAKE_WHEN_DOWN)]);
        let mut driver = driver(recipe(1, NO_LOAD), setup(rules, None), seed);
        driver.run_for(Span::from_hours(2));
        let (verb, metric) = (Verb::from("power.wake"), "node_up");
        for wake in 0..5 {
            let learned = driver.kernel.ledger().trust().response(&verb, metric);
            assert!(learned.is_none_or(|learned| learned.offer().is_none()), "after {wake} wakes");
            driver.world.set_up(0, false);
            // At some second of the scrape interval.
            driver.run_for(Span::from_mins(30) + Span::from_secs(7 * wake + seed as i64));
        }
        driver.run_for(Span::from_mins(10));
        assert_eq!(sent(&driver, "power.wake").len(), 5);
        let learned = driver.kernel.ledger().trust().response(&verb, metric).expect("answers were seen");
        let (summary, offer) = (learned.summary().expect("five fits"), learned.offer().expect("five fits"));
        println!("seed {seed}: {}; settle {}, verify {}, cooldown {}", offer.text, offer.settle, offer.verify, offer.cooldown);
        assert!((45.0..=75.0).contains(&summary.dead_time_seconds.median), "{summary:?}");
        assert!((Span::from_secs(50)..=Span::from_secs(90)).contains(&offer.settle), "{offer:?}");
    }
}

#[test]
fn two_policies_that_fight_trip_within_three_periods_and_the_sleep_is_held() {
    let rules = rules(settings(granted()), &[("sleep", SLEEP_WHEN_IDLE), ("wake", WAKE_WHEN_DOWN)]);
    let mut driver = driver(recipe(1, NO_LOAD), setup(rules, None), 41);
    driver.run_for(Span::from_hours(3));
    let (wakes, sleeps, trips) = (sent(&driver, "power.wake"), sent(&driver, "power.sleep"), trips(&driver));
    println!(
        "sleeps {:?}\nwakes {:?}\ntrips {trips:?}",
        sleeps.iter().map(|at| at.since(BEGIN)).collect::<Vec<_>>(),
        wakes.iter().map(|at| at.since(BEGIN)).collect::<Vec<_>>()
    );
    let (at, trip) = &trips[0];
    let swings = wakes.iter().chain(&sleeps).filter(|sent| *sent <= at).count();
    assert!(swings <= 7, "three whole periods are seven swings: {swings}");
    assert_eq!(trip.target, Target::new("node/n0"));
    let until = *at + Span(trip.period.millis() * 2);
    assert!(!sleeps.iter().any(|sent| sent > at && *sent < until), "the sleep is held for two periods");
    assert!(driver.world.is_up(0), "it comes to rest where nothing is missing");
    let held = driver.kernel.ledger().actions().any(|state| {
        state.proposal.verb == Verb::from("power.sleep") && state.ruling.decided_by().is_some_and(|reason| reason.guard == "opposite")
    });
    assert!(held, "the guard `opposite` holds the sleep");
}

#[test]
fn a_load_without_rhythm_never_trips() {
    let mut swings = 0;
    for seed in 51..55 {
        // Wanted for two hours on average, about six times a day.
        let trouble = Trouble { per_day: 12.0, size: 1.0, heals_after: Some(Span::from_hours(1)), rests: Span::ZERO };
        let rules = rules(settings(granted()), &[("sleep", SLEEP_WHEN_IDLE), ("wake", WAKE_WHEN_WANTED)]);
        let recipe = Recipe { interval: Span::from_mins(1), ..recipe(1, trouble) };
        let mut driver = driver(recipe, setup(rules, None), seed);
        driver.run_for(Span::from_hours(24 * 30));
        let (wakes, sleeps) = (sent(&driver, "power.wake").len(), sent(&driver, "power.sleep").len());
        println!("seed {seed}: {wakes} wakes, {sleeps} sleeps in 30 days; {:?}", trips(&driver));
        assert_eq!(trips(&driver), []);
        swings += wakes + sleeps;
    }
    assert!(swings > 400, "the load does swing: {swings}");
}
