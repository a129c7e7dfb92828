//! Monthly budgets: whatever is wished, no more is spent; and what brings back is never held for money.

use super::lab::*;
use crate::truth::{Answer, Driver, Recipe, Trouble, Weather, World};
use homeostat_model::{ArbiterSettings, Class, DayTime, MonthBudget, Record, Span, Spending, Tariff, TariffWindow, Time, Verb};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Three machines whose load comes and goes.
fn recipe(per_day: f64, heals_after: Span) -> Recipe {
    let wake = Answer { after: Span::from_secs(48), power: Some(true), ..Answer::PLACEBO };
    let sleep = Answer { after: Span::from_secs(3), power: Some(false), ..Answer::PLACEBO };
    Recipe {
        nodes: 3,
        interval: Span::from_mins(5),
        weather: Weather::STILL,
        trouble: Trouble { per_day, size: 1.0, heals_after: Some(heals_after), rests: Span::ZERO },
        answers: BTreeMap::from([("power.wake".into(), wake), ("power.sleep".into(), sleep)]),
        machines: true,
    }
}

fn policy(wishes: &str, when: &str, claim: &str, cooldown: i64) -> String {
    format!(
        r#"fn policy() {{ #{{ for_each: series("symptom"), autonomy: "auto", every: "5m", cooldown: "{cooldown}m" }} }}
fn evaluate(load) {{
    let up = series(`node_up{{node='${{load.node}}'}}`);
    if {when} {{ propose(act("{wishes}", "node/" + load.node, #{{}})).because("so it is wished").claim({claim}.within("3m")) }}
}}"#
    )
}

fn begun(month: MonthBudget, tariff: Tariff, cooldown: i64, per_day: f64, lasts: Span, seed: u64) -> Driver {
    let sleep = policy("power.sleep", "load.last() < 0.5 && up.last() > 0.5", "up.below(0.5)", cooldown);
    let wake = policy("power.wake", "load.last() > 0.5 && up.last() < 0.5", "up.above(0.5)", 5);
    let mend = policy("mend.restart", "load.last() > 0.5 && up.last() > 0.5", "load.below(0.5)", cooldown);
    let arbiter = ArbiterSettings { month, tariff, ..settings(granted()) };
    let rules = rules(arbiter, &[("mend", &mend), ("sleep", &sleep), ("wake", &wake)]);
    let world = World::new(recipe(per_day, lasts), seed, BEGINS);
    Driver::new(world, setup(rules, None), seed).expect("the rules are accepted")
}

/// The 28th of November, 2023.
const BEGINS: Time = Time(1_701_129_600_000);

/// Why a month's total is over its budget, if it is.
fn over(total: &Spending, budget: &MonthBudget) -> Option<String> {
    let more = |spent: f64, max: Option<f64>| max.is_some_and(|max| spent > max);
    let broken = more(total.joules, budget.energy_max_joules)
        || more(total.euros, budget.spend_max_euros)
        || more(total.boots as f64, budget.boots_max.map(|max| max as f64))
        || more(total.power_cycles as f64, budget.power_cycles_max.map(|max| max as f64))
        || budget.disruption_max.is_some_and(|max| total.disruption > max);
    broken.then(|| format!("{total:?} of {budget:?}"))
}

fn budgets() -> impl Strategy<Value = MonthBudget> {
    use proptest::option::of;
    (of(1u64..30), of(1u64..30), of(0.0..300_000.0f64), of(0.0..0.1f64), of(0i64..120)).prop_map(
        |(boots_max, power_cycles_max, energy_max_joules, spend_max_euros, minutes)| MonthBudget {
            boots_max,
            power_cycles_max,
            energy_max_joules,
            spend_max_euros,
            disruption_max: minutes.map(Span::from_mins),
            ..MonthBudget::default()
        },
    )
}

/// A price for the day and another one, cheaper or dearer, for the night.
fn tariffs() -> impl Strategy<Value = Tariff> {
    (0.05..0.6f64, 0.05..0.6f64, any::<bool>()).prop_map(|(day, night, is_flat)| {
        let window =
            TariffWindow { name: "night".into(), weekdays: Vec::new(), from: DayTime(22 * 60), to: DayTime(6 * 60), euros_per_kwh: night };
        Tariff { euros_per_kwh: day, windows: if is_flat { Vec::new() } else { vec![window] }, utc_offset_minutes: 60 }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: from_env("HOMEOSTAT_TRACES", 12) as u32, ..ProptestConfig::default() })]

    #[test]
    fn a_month_never_costs_more_than_its_budget(
        month in budgets(),
        tariff in tariffs(),
        cooldown in 10i64..300,
        per_day in 1.0..40.0f64,
        lasts_mins in 5i64..240,
        seed in any::<u64>(),
    ) {
        let mut spent = 0;
        let mut driver = begun(month.clone(), tariff, cooldown, per_day, Span::from_mins(lasts_mins), seed);
        // Over the month's end.
        for _ in 0..6 {
            driver.run_for(Span::from_hours(24));
            spent += driver.kernel.ledger().books().total(driver.now).actions;
            for (name, total) in driver.kernel.ledger().books().months() {
                prop_assert!(over(total, &month).is_none(), "{name}: {}", over(total, &month).unwrap_or_default());
            }
        }
        println!("{spent} actions under {month:?}");
    }
}

fn sent(driver: &Driver, verb: &str) -> Vec<Time> {
    let acts = driver.records().filter_map(|(at, record)| match record {
        Record::Act { action, .. } if action.verb == Verb::from(verb) => Some(at),
        _ => None,
    });
    acts.collect()
}

#[test]
fn when_it_is_spent_what_takes_away_is_held_and_what_brings_back_passes() {
    let month = MonthBudget { boots_max: Some(4), ..MonthBudget::default() };
    let mut driver = begun(month.clone(), Tariff::default(), 10, 20.0, Span::from_mins(30), 61);
    driver.run_for(Span::from_hours(24 * 2));
    let total = driver.kernel.ledger().books().total(driver.now);
    assert_eq!(total.boots, 4, "all that may be spent is spent: {total:?}");
    let (sleeps, wakes) = (sent(&driver, "power.sleep").len(), sent(&driver, "power.wake").len());
    assert_eq!((sleeps, wakes), (4, 4), "as many as can be paid for, with the way back");
    let is_held = driver.kernel.ledger().actions().any(|state| {
        state.proposal.verb == Verb::from("power.sleep") && state.ruling.decided_by().is_some_and(|reason| reason.guard == "budget")
    });
    assert!(is_held, "the guard `budget` holds further sleeps");
    // A power cut, with nothing left in the budget: it is woken all the same.
    driver.world.set_up(1, false);
    driver.run_for(Span::from_hours(12));
    assert!(driver.world.is_up(1), "bringing back is never held for money");
    assert_eq!(sent(&driver, "power.wake").len(), 5);
    let class = driver.setup.rules.actuators.iter().flat_map(|spec| &spec.verbs).find(|verb| verb.verb == Verb::from("power.wake"));
    assert_eq!(class.map(|verb| verb.class), Some(Class::Restore));
}
