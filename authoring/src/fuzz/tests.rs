//! The search on policies that are known to be wrong, and on their better twins.

use super::*;
use crate::suite;
use homeostat_model::{ActuatorSpec, ArbiterSettings, Class, Cost, PolicySource, VerbSpec};

/// More above 0.75, fewer below 0.5, at once and every time: on a plant that answers late it never comes to rest.
const BROKEN: &str = r#"//! Keep the load of the pool between a half and three quarters.
fn policy() {
    #{ for_each: series("pool_load_ratio"), every: "1m", cooldown: "1m", autonomy: "auto" }
}
fn evaluate(load) {
    if load.last() > 0.75 {
        propose(act("pool.grow", `pool/${load.pool}`, #{})).because("too much to do").claim(load.below(0.75).within("20m"));
    } else if load.last() < 0.5 {
        propose(act("pool.shrink", `pool/${load.pool}`, #{})).because("too little to do").claim(load.above(0.5).within("20m"));
    }
}
"#;

/// The same with what a loop needs: it waits for the plant, and the band is wider than one step.
const FIXED: &str = r#"//! Keep the load of the pool between a third and nine tenths, with patience.
fn policy() {
    #{ for_each: series("pool_load_ratio"), every: "1m", cooldown: "30m", settle: "25m", autonomy: "auto" }
}
fn evaluate(load) {
    if load.held_above(0.9, "20m") {
        propose(act("pool.grow", `pool/${load.pool}`, #{})).because("too much to do").claim(load.below(0.9).within("40m"));
    } else if load.held_below(0.3, "20m") {
        propose(act("pool.shrink", `pool/${load.pool}`, #{})).because("too little to do").claim(load.above(0.3).within("40m"));
    }
}
"#;

fn verb(name: &str, class: Class, opposite: Option<&str>) -> VerbSpec {
    VerbSpec {
        verb: name.into(),
        class,
        args: Vec::new(),
        target_kinds: Vec::new(),
        targets: None,
        opposite: opposite.map(Into::into),
        settle: Span::ZERO,
        timeout: Span::from_mins(1),
        revertible: false,
        cost: Cost::default(),
        doc: String::new(),
    }
}

fn bench(id: &str, text: &str, verbs: Vec<VerbSpec>, guards: bool) -> Bench {
    Bench {
        policy: PolicySource { id: id.into(), path: format!("{id}.rhai"), text: text.into(), overrides: Default::default() },
        actuators: vec![ActuatorSpec { id: "test".into(), verbs }],
        playbooks: Vec::new(),
        arbiter: ArbiterSettings::default(),
        guards,
    }
}

fn pool(text: &str, guards: bool) -> Bench {
    let verbs = vec![verb("pool.grow", Class::Restore, Some("pool.shrink")), verb("pool.shrink", Class::Reversible, Some("pool.grow"))];
    bench("pool-size", text, verbs, guards)
}

fn only(property: Property, tries: usize) -> Search {
    Search { properties: vec![property], tries, seed: 7, ..Search::default() }
}

/// What the suite says of a test of this policy: passed and failed.
fn suite_says(bench: &Bench, test: &str) -> (usize, usize) {
    let (test, bench) = (test.to_owned(), bench.clone());
    let run = move || {
        let parsed = suite::parse("x.test.yaml", &test).unwrap();
        let report = suite::run_test("x.test.yaml", &parsed, &bench.policy, &suite::Options::with(&bench.actuators)).unwrap();
        (report.passed(), report.failures().count())
    };
    std::thread::Builder::new().stack_size(2 * STACK_BYTES_MIN).spawn(run).unwrap().join().unwrap()
}

#[test]
fn the_load_oscillation_is_found_and_its_test_fails_before_and_passes_after_the_fix() {
    let broken = pool(BROKEN, false);
    let outcome = search(&broken, &only(Property::Flap, 60)).unwrap();
    let found = outcome.found.first().expect("a loop without patience on a slow plant swings");
    let test = write::test_yaml(&broken.policy, found, 7);
    assert!(found.plant.is_some(), "it swings by itself, nobody pushes it:\n{test}");
    assert!(found.breach.text.contains("pool.grow") && found.breach.text.contains("pool.shrink"), "{}", found.breach.text);
    assert_eq!(suite_says(&broken, &test), (0, 1), "{test}");
    assert_eq!(suite_says(&pool(FIXED, false), &test), (1, 0), "{test}");
    // The same search says the same, and finds nothing in the better policy.
    let again = search(&broken, &only(Property::Flap, 60)).unwrap();
    assert_eq!(again.found.first().map(|found| write::test_yaml(&broken.policy, found, 7)), Some(test));
    let better = search(&pool(FIXED, false), &only(Property::Flap, 60)).unwrap();
    assert!(better.found.is_empty(), "{:?}", better.found);
}

#[test]
fn guards_hold_what_the_bare_policy_does() {
    let mut guarded = pool(BROKEN, true);
    for verb in &mut guarded.actuators[0].verbs {
        verb.settle = Span::from_mins(15);
    }
    let outcome = search(&guarded, &only(Property::Flap, 30)).unwrap();
    assert!(outcome.found.is_empty(), "{:?}", outcome.found);
    assert!(outcome.acted > 0, "it was reached all the same");
}

#[test]
fn a_policy_that_takes_all_of_a_kind_down_is_found() {
    let text = r#"fn policy() { #{ for_each: series("node_cpu_busy_ratio"), every: "1m", cooldown: "10m", autonomy: "auto" } }
fn evaluate(busy) {
    if busy.held_below(0.1, "5m") {
        propose(act("power.sleep", `node/${busy.node}`, #{})).because("idle").claim(busy.below(0.01).within("5m"));
    }
}"#;
    let verbs = vec![verb("power.sleep", Class::Disruptive, Some("power.wake")), verb("power.wake", Class::Restore, None)];
    let bench = bench("sleepy", text, verbs, false);
    let outcome = search(&bench, &only(Property::Floor, 40)).unwrap();
    let found = outcome.found.first().expect("all sleep at once");
    let test = write::test_yaml(&bench.policy, found, 7);
    assert_eq!(found.trace.tracks.len(), 2, "two nodes are enough to show it:\n{test}");
    assert_eq!(suite_says(&bench, &test), (0, 1), "{test}");
}

#[test]
fn missing_that_is_taken_for_zero_and_old_averages_are_found() {
    let zero = r#"fn policy() { #{ for_each: series("queue_length"), every: "1m", cooldown: "5m", autonomy: "auto" } }
fn evaluate(queue) {
    if queue.last().or(0) < 1.0 {
        propose(act("power.sleep", `node/${queue.node}`, #{})).because("nothing to do").claim(queue.below(1).within("5m"));
    }
}"#;
    let old = r#"fn policy() { #{ for_each: series("queue_length"), every: "1m", cooldown: "5m", autonomy: "auto" } }
fn evaluate(queue) {
    if queue.over("40m").avg() > 50 {
        propose(act("power.sleep", `node/${queue.node}`, #{})).because("too much").claim(queue.below(1).within("5m"));
    }
}"#;
    let good = &zero.replace(".or(0)", "");
    let sleep = || vec![verb("power.sleep", Class::Disruptive, None)];
    for (text, bad) in [(zero, true), (old, true), (good.as_str(), false)] {
        let bench = bench("asleep", text, sleep(), false);
        let outcome = search(&bench, &only(Property::Stale, 80)).unwrap();
        assert_eq!(!outcome.found.is_empty(), bad, "{text}\n{:?}", outcome.found);
        assert!(outcome.acted > 0);
        for found in &outcome.found {
            let test = write::test_yaml(&bench.policy, found, 7);
            assert_eq!(suite_says(&bench, &test), (0, 1), "{test}");
        }
    }
}

#[test]
fn a_script_that_fails_on_some_input_is_found() {
    let text = r#"fn policy() { #{ for_each: series("queue_length"), every: "1m", autonomy: "auto" } }
fn evaluate(queue) {
    let parts = [1, 2, 3];
    if queue.last() > 90 { let x = parts[whole(queue.last())]; }
}"#;
    let bench = bench("fails", text, Vec::new(), true);
    let outcome = search(&bench, &only(Property::Fault, 80)).unwrap();
    let found = outcome.found.first().expect("an index out of bounds");
    assert_eq!(found.trace.steps, 1, "{:?}", found.trace);
}
