//! What is believed and earned after months of acting: by a placebo, by what harms, by what helps.

use super::lab::*;
use crate::truth::{Answer, Driver, Recipe, Size, Trouble, Weather};
use homeostat_kernel::score::belief::Belief;
use homeostat_kernel::score::recovery::{EPISODES_MAX, Recovery};
use homeostat_model::{Autonomy, AutonomyMove, BeliefKey, EarnedSettings, Finding, MoveCause, Record, Span, Time};
use std::collections::BTreeMap;

const WEATHER: Weather = Weather { base: 20.0, own: 0.6, memory: Span::from_mins(5), white: 0.2, missing: 0.05, ..Weather::STILL };
const LINE: f64 = 24.0;
const NODES: usize = 6;

fn recipe(answer: Answer, per_day: f64, heals_after: Span) -> Recipe {
    Recipe {
        nodes: NODES,
        interval: Span::from_mins(1),
        weather: WEATHER,
        // What begins anew within the judged time would look like harm, rightly: nobody can tell the two apart.
        trouble: Trouble { per_day, size: 8.0, heals_after: Some(heals_after), rests: Span::from_hours(1) },
        answers: BTreeMap::from([("mend.restart".into(), answer)]),
        machines: false,
    }
}

fn begun(answer: Answer, per_day: f64, heals_after: Span, start: Autonomy, seed: u64) -> Driver {
    let earned = EarnedSettings { start, ..EarnedSettings::default() };
    let policy = mending(LINE, "20m", "cooldown: \"2h\", every: \"10m\"");
    driver(recipe(answer, per_day, heals_after), setup(rules(settings(earned), &[("mend", &policy)]), person(0.9)), seed)
}

fn moves(driver: &Driver) -> Vec<(Time, AutonomyMove)> {
    let moved = driver.records().filter_map(|(at, record)| match record {
        Record::Autonomy(moved) if moved.cause != MoveCause::Began => Some((at, (**moved).clone())),
        _ => None,
    });
    moved.collect()
}

fn belief(driver: &Driver) -> (BeliefKey, String) {
    let key = BeliefKey { policy: "mend".into(), verb: "mend.restart".into(), target_class: "node".into() };
    let belief = driver.kernel.ledger().trust().belief(&key).expect("something is believed of it");
    let (now, weights) = (driver.now, belief.weights(driver.now));
    let text = format!(
        "helped {:.1}, harmed {:.1}, neither {:.1}, inconclusive {}, lower bound {:.2}, symptoms {}",
        weights.helped,
        weights.harmed,
        weights.neither,
        belief.inconclusive(),
        belief.lower_bound(now, 0.95),
        belief.symptoms_total()
    );
    (key, text)
}

fn findings(driver: &Driver) -> BTreeMap<Finding, usize> {
    let mut counts = BTreeMap::new();
    scores(driver).for_each(|(_, _, score)| *counts.entry(score.finding).or_default() += 1);
    counts
}

#[test]
fn a_placebo_converges_to_no_effect_and_is_never_promoted() {
    // Four of five symptoms are over within the claim's time, whoever does what: one action tells nothing, all of them together do. Now and
    // then one is called harm, and one such word silences a run; its later symptoms, left alone, are what the treated ones are held against.
    let (mut together, mut alone) = (Belief::new("", Span::from_hours(24 * 60)), Recovery::default());
    let (mut silenced, mut counts) = (0, BTreeMap::<Finding, usize>::new());
    let runs = 16;
    for seed in 11..11 + runs {
        let mut driver = begun(Answer::PLACEBO, 6.0, Span::from_mins(12), Autonomy::Suggest, seed);
        driver.run_for(Span::from_hours(24 * 10));
        println!("placebo {seed}: {}; {:?}", belief(&driver).1, findings(&driver));
        driver.records().for_each(|(_, record)| {
            if let Record::Judged { judgement, .. } = record {
                judgement.held.into_iter().for_each(|held| together.note_treated(held, BEGIN));
            }
        });
        let recovery = driver.kernel.ledger().trust().recovery(&"mend".into());
        // An even share of each, so that all have room; the newest, of which the fewest were cut short by an action.
        recovery.episodes().rev().take(EPISODES_MAX / runs as usize).for_each(|episode| alone.note(episode.lasted, episode.healed));
        findings(&driver).into_iter().for_each(|(finding, count)| *counts.entry(finding).or_default() += count);
        let moves = moves(&driver);
        silenced += usize::from(moves.iter().any(|(_, moved)| moved.cause == MoveCause::Harmed));
        assert!(moves.iter().all(|(_, moved)| moved.cause != MoveCause::Earned || moved.to <= Autonomy::Suggest), "{moves:?}");
    }
    let natural = alone.odds(Span::from_mins(5), Span::from_mins(20));
    let difference = together.difference(&natural, BEGIN).expect("they were treated");
    println!(
        "treated {:?}, natural {natural:?}, episodes {} of which healed {}",
        together.arm(BEGIN),
        alone.episodes().len(),
        alone.healed()
    );
    println!("of {runs} placebos {silenced} were called harmful; {counts:?}; treated against left alone {difference:?}");
    let all: usize = counts.values().sum();
    assert!(counts.get(&Finding::Helped).copied().unwrap_or_default() * 20 <= all, "praised in at most 5 %: {counts:?}");
    assert_eq!(difference.finding, Finding::NoEffect, "{difference:?}");
    assert!(counts.get(&Finding::Harmed).copied().unwrap_or_default() * 20 <= all, "blamed in at most 5 %: {counts:?}");
}

#[test]
fn what_harms_falls_at_the_first_certain_harm_and_never_reaches_auto() {
    let harm = Answer { after: Span::from_secs(60), moves: Size::Always(6.0), lasts: Span::from_mins(50), ..Answer::PLACEBO };
    let mut driver = begun(harm, 3.0, Span::from_hours(6), Autonomy::Suggest, 12);
    driver.run_for(Span::from_hours(24 * 60));
    let first = scores(&driver).find(|(_, _, score)| score.finding == Finding::Harmed || score.p_harmed >= 0.95);
    let (harmed_at, ..) = first.expect("harm is seen");
    let moves = moves(&driver);
    println!("harmful: {}; {:?}; {} actions", belief(&driver).1, findings(&driver), driver.world.truths.len());
    moves.iter().for_each(|(at, moved)| println!("day {}: {} to {}: {}", day(*at), moved.from.name(), moved.to.name(), moved.evidence));
    let (fell_at, fell) = &moves[0];
    assert_eq!((*fell_at, fell.from, fell.to, fell.cause), (harmed_at, Autonomy::Suggest, Autonomy::Shadow, MoveCause::Harmed));
    assert!(moves.iter().all(|(_, moved)| moved.to < Autonomy::Veto), "never above suggest");
}

#[test]
fn what_harms_falls_from_auto_too() {
    let harm = Answer { after: Span::from_secs(60), moves: Size::Always(6.0), lasts: Span::from_mins(50), ..Answer::PLACEBO };
    let mut driver = begun(harm, 3.0, Span::from_hours(6), Autonomy::Auto, 13);
    driver.run_for(Span::from_hours(24 * 10));
    let moves = moves(&driver);
    moves.iter().for_each(|(at, moved)| println!("day {}: {} to {}: {}", day(*at), moved.from.name(), moved.to.name(), moved.evidence));
    println!("harmful from auto: {}; {:?}", belief(&driver).1, findings(&driver));
    assert_eq!(moves[0].1.to, Autonomy::Veto);
    assert!(moves.iter().all(|(_, moved)| moved.cause != MoveCause::Earned || moved.to <= Autonomy::Suggest));
    assert!(moves.last().unwrap().1.to <= Autonomy::Suggest);
}

/// The day on which each level was reached.
fn days_to(start: Autonomy, seed: u64, days: i64) -> BTreeMap<Autonomy, i64> {
    let heal = Answer { after: Span::from_secs(60), jitter: Span::from_mins(1), heals: true, ..Answer::PLACEBO };
    let mut driver = begun(heal, 2.0, Span::from_hours(12), start, seed);
    driver.run_for(Span::from_hours(24 * days));
    let reached: BTreeMap<Autonomy, i64> = moves(&driver).iter().map(|(at, moved)| (moved.to, day(*at))).collect();
    println!("helpful from {}, seed {seed}: {reached:?}; {}; {:?}", start.name(), belief(&driver).1, findings(&driver));
    if seed == 21 {
        moves(&driver).iter().for_each(|(at, moved)| println!("  day {}: {}: {}", day(*at), moved.to.name(), moved.evidence));
    }
    reached
}

#[test]
fn what_helps_reaches_auto_from_suggest_and_from_shadow() {
    for seed in 21..24 {
        let reached = days_to(Autonomy::Suggest, seed, 20);
        assert!(reached.get(&Autonomy::Auto).is_some_and(|day| (6..=16).contains(day)), "{reached:?}");
    }
    let reached = days_to(Autonomy::Shadow, 24, 30);
    assert!(reached.get(&Autonomy::Auto).is_some_and(|day| (9..=26).contains(day)), "{reached:?}");
}
