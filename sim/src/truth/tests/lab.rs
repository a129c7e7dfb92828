//! Rules, settings and verbs of the tests' worlds.

use crate::truth::{Driver, Person, Recipe, Setup, World};
use homeostat_model::{
    ActuatorSpec, ArbiterSettings, ArgKind, ArgSpec, Autonomy, Class, Cost, EarnedSettings, PolicySource, Record, RuleSet, Score, Span,
    StoreSettings, StormSettings, Time, Verb, VerbSpec,
};
use std::collections::BTreeSet;

/// The worlds' first moment: a Tuesday, midnight UTC.
pub(super) const BEGIN: Time = Time(1_699_920_000_000);

/// What can be done: mend (reversible, restore), wake and sleep, and break something on purpose.
pub(super) fn actuators() -> Vec<ActuatorSpec> {
    let verb = |name: &str, class, settle: Span, opposite: Option<&str>, cost: Cost| VerbSpec {
        verb: name.into(),
        class,
        args: vec![ArgSpec { name: "how".into(), kind: ArgKind::Text(100), required: false, doc: "words".into() }],
        target_kinds: vec!["node".into()],
        targets: None,
        opposite: opposite.map(Verb::from),
        settle,
        timeout: Span::from_secs(10),
        revertible: false,
        cost,
        doc: String::new(),
    };
    let boot = Cost { energy_joules: 9_000.0, boots: 1, power_cycles: 1, disruption: Span::from_mins(1), ..Cost::default() };
    let nap = Cost { disruption: Span::from_secs(30), ..Cost::default() };
    let mending = Cost { disruption: Span::from_secs(20), energy_joules: 500.0, ..Cost::default() };
    let spec = |id: &str, verbs| ActuatorSpec { id: id.into(), verbs };
    vec![
        spec("mend", vec![verb("mend.restart", Class::Reversible, Span::ZERO, None, mending)]),
        spec("chaos", vec![verb("chaos.run", Class::Reversible, Span::ZERO, None, Cost::default())]),
        spec(
            "power",
            vec![
                verb("power.wake", Class::Restore, Span::from_secs(60), Some("power.sleep"), boot),
                verb("power.sleep", Class::Reversible, Span::from_secs(60), Some("power.wake"), nap),
            ],
        ),
    ]
}

/// Settings in which nothing stands in the way but what is under test.
pub(super) fn settings(earned: EarnedSettings) -> ArbiterSettings {
    ArbiterSettings {
        autonomy: Class::ALL.into_iter().map(|class| (class, Autonomy::Auto)).collect(),
        boot_grace: Span::ZERO,
        futility_attempts_max: 1_000,
        observer_fault_targets_min: 1_000,
        concurrent_max: Class::ALL.into_iter().map(|class| (class, 1_000)).collect(),
        per_hour_max: Class::ALL.into_iter().map(|class| (class, 10_000)).collect(),
        storm: StormSettings { alerts_max: 10_000, restores_max: 10_000, ..StormSettings::default() },
        earned,
        ..ArbiterSettings::default()
    }
}

/// Everything is granted: nothing need be earned.
pub(super) fn granted() -> EarnedSettings {
    EarnedSettings { start: Autonomy::Auto, ..EarnedSettings::default() }
}

/// Rules of these policies; windows reach back four days.
pub(super) fn rules(arbiter: ArbiterSettings, policies: &[(&str, &str)]) -> RuleSet {
    let source = |(name, text): &(&str, &str)| PolicySource {
        id: (*name).into(),
        path: format!("policies/{name}.rhai"),
        text: (*text).to_owned(),
        overrides: Default::default(),
    };
    let store = StoreSettings { retention: Span::from_hours(96), ..StoreSettings::default() };
    RuleSet { policies: policies.iter().map(source).collect(), actuators: actuators(), arbiter, store, ..RuleSet::default() }
}

/// A policy that mends a node whose symptom is above `line`, and claims that it is below within `within`.
pub(super) fn mending(line: f64, within: &str, settings: &str) -> String {
    format!(
        r#"fn policy() {{ #{{ for_each: series("symptom"), autonomy: "auto", {settings} }} }}
fn evaluate(s) {{
    if s.last() > {line:?} {{
        propose(act("mend.restart", "node/" + s.node, #{{}})).because("the symptom is there").claim(s.below({line:?}).within("{within}"))
    }}
}}"#
    )
}

/// A person who says yes to a share of what is asked, within some minutes.
pub(super) fn person(yes: f64) -> Option<Person> {
    Some(Person { yes, after: Span::from_mins(2), later: Span::from_mins(8) })
}

/// A run's setup without anything broken.
pub(super) fn setup(rules: RuleSet, person: Option<Person>) -> Setup {
    Setup { rules, person, broken: BTreeSet::new(), failing: BTreeSet::new(), keeps_observations: false }
}

/// A driver of a new world.
pub(super) fn driver(recipe: Recipe, setup: Setup, seed: u64) -> Driver {
    Driver::new(World::new(recipe, seed, BEGIN), setup, seed).expect("the rules are accepted")
}

/// All scores of a journal, with when.
pub(super) fn scores(driver: &Driver) -> impl Iterator<Item = (Time, homeostat_model::ActionId, &Score)> {
    driver.records().filter_map(|(at, record)| match record {
        Record::Scored { action, score } => Some((at, *action, &**score)),
        _ => None,
    })
}

/// A number from the environment, for longer runs.
#[expect(clippy::disallowed_methods, reason = "this is a test, not the engine: how long it runs is asked of who runs it")]
pub(super) fn from_env(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

/// The day of a moment, the first one being 1.
pub(super) fn day(at: Time) -> i64 {
    at.since(BEGIN).millis() / 86_400_000 + 1
}
