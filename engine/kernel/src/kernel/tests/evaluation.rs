//! Which targets a policy is evaluated for, when, and what is written down of it.

use super::lab::{INTERVAL, Lab, at, easy, remedy, rules};
use homeostat_model::{Event, Observation, Purpose, Sample, SensorId, SeriesDecl, SeriesKey};

const WATCH: &str = r#"fn policy() { #{ for_each: series("temp"), every: "1m" } }
fn evaluate(s) { if s.last() > 80 { print("hot") } }"#;

#[test]
fn a_series_gets_a_unit_when_it_appears_and_loses_it_when_it_is_forgotten() {
    let mut lab = Lab::new(easy(), &[("watch", WATCH)]);
    assert!(lab.units("watch").is_empty());
    lab.observe(15, &[("temp{node='a'}", 20.0), ("temp{node='b'}", 20.0), ("other{node='a'}", 1.0)]);
    let targets: Vec<String> = lab.units("watch").into_iter().map(|(target, ..)| target).collect();
    assert_eq!(targets, ["node/a", "node/b"]);
    lab.observe_all(30..=2400, &[("temp{node='a'}", 20.0), ("temp{node='b'}", 20.0)]);
    // A day is the store's retention: what was last seen before it is forgotten, and its unit goes.
    for second in (3000..50 * 3600).step_by(600) {
        lab.observe(second, &[("temp{node='a'}", 20.0)]);
    }
    let targets: Vec<String> = lab.units("watch").into_iter().map(|(target, ..)| target).collect();
    assert_eq!(targets, ["node/a"]);
}

#[test]
fn a_fresh_sample_wakes_what_read_it_and_nothing_else() {
    let mut lab = Lab::new(easy(), &[("watch", WATCH)]);
    lab.observe(15, &[("temp{node='a'}", 20.0), ("other", 1.0)]);
    let before = lab.kernel.stats().evaluations;
    lab.observe(30, &[("temp{node='a'}", 21.0), ("other", 1.0)]);
    assert_eq!(lab.kernel.stats().evaluations, before + 1);
    // The row without `temp` ends it: the newest answer is void, but no fresh sample arrived.
    lab.observe(45, &[("other", 2.0)]);
    assert!(lab.kernel.stats().evaluations <= before + 2);
}

#[test]
fn a_backfill_fills_windows_and_wakes_nobody() {
    let mut lab = Lab::new(easy(), &[("watch", WATCH)]);
    lab.observe(15, &[("temp{node='a'}", 20.0)]);
    let before = lab.kernel.stats().evaluations;
    let mut observation = lab.observations[0].clone();
    observation.at = at(16);
    observation.purpose = Purpose::Backfill;
    observation.declared_before = 1;
    observation.declared.clear();
    lab.event(16, Event::Observed(Box::new(observation)));
    assert_eq!(lab.kernel.stats().evaluations, before);
}

#[test]
fn slots_are_spread_by_hash_and_each_comes_within_every() {
    let mut lab = Lab::new(easy(), &[("watch", WATCH)]);
    let row: Vec<(String, f64)> = (0..20).map(|n| (format!("temp{{node='n{n}'}}"), 20.0)).collect();
    let row: Vec<(&str, f64)> = row.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    lab.observe(15, &row);
    let slots: std::collections::BTreeSet<i64> =
        lab.kernel.explain_policy("watch", "").iter().map(|unit| unit.next_slot.millis()).collect();
    assert!(slots.len() > 15, "the slots are spread: {slots:?}");
    assert!(slots.iter().all(|slot| *slot > at(15).millis() && *slot <= at(75).millis()));
    assert_eq!(lab.kernel.poll_deadline().map(|at| at.millis()), slots.first().copied());
}

#[test]
fn unchanged_inputs_cost_nothing() {
    let mut lab =
        Lab::new(easy(), &[("watch", r#"fn policy() { #{ for_each: series("temp"), every: "10s" } } fn evaluate(s) { s.last() > 80 }"#)]);
    lab.observe(15, &[("temp{node='a'}", 20.0)]);
    let before = lab.kernel.stats().evaluations;
    // `last` stays what it is until 2.5 intervals have passed.
    lab.tick(35);
    assert_eq!((lab.kernel.stats().evaluations, lab.kernel.stats().evaluations_unchanged > 0), (before, true));
    // Then it is stale, and only an evaluation can say so.
    lab.tick(65);
    assert_eq!(lab.kernel.stats().evaluations, before + 1);
    assert_eq!(lab.units("watch")[0].1, "undetermined");
}

#[test]
fn late_slots_are_counted_and_not_queued() {
    let mut lab = Lab::new(easy(), &[("watch", r#"fn policy() { #{ every: "10s" } } fn evaluate() { all("nothing").len() > 0 }"#)]);
    let before = lab.kernel.stats().clone();
    lab.tick(1000);
    let after = lab.kernel.stats();
    assert!(after.slots_missed - before.slots_missed >= 98, "{}", after.slots_missed);
    assert!(after.evaluations + after.evaluations_unchanged - before.evaluations - before.evaluations_unchanged <= 1);
}

#[test]
fn undetermined_is_noted_when_it_begins_and_when_it_ends() {
    let text = r#"fn policy() { #{ for_each: series("temp"), every: "15s" } } fn evaluate(s) { s.peer("limit").last() < s.last() }"#;
    let mut lab = Lab::new(easy(), &[("watch", text)]);
    let said = lab.observe(15, &[("temp{node='a'}", 20.0)]);
    assert_eq!(said, ["undetermined temp{node=\"a\"}: series limit: no data"]);
    assert!(lab.observe(30, &[("temp{node='a'}", 20.0)]).is_empty());
    assert!(lab.observe(45, &[("temp{node='a'}", 20.0)]).is_empty());
    let said = lab.observe(60, &[("temp{node='a'}", 20.0), ("limit{node='a'}", 80.0)]);
    assert_eq!(said, ["undetermined temp{node=\"a\"}: "]);
    assert_eq!(lab.units("watch")[0].1, "quiet");
}

#[test]
fn a_stale_reading_is_undetermined_and_never_a_condition() {
    let mut lab = Lab::new(easy(), &[("fix", &remedy("exec.restart", "every: \"10s\""))]);
    lab.observe(15, &[("bad{node='a'}", 0.0)]);
    let said = lab.tick(15 + INTERVAL.seconds() as i64 * 3);
    assert!(said.len() == 1 && said[0].starts_with("undetermined bad"), "{said:?}");
}

#[test]
fn a_fault_is_shown_with_its_line_and_a_caret_and_touches_that_target_only() {
    let text = "fn policy() { #{ for_each: series(\"temp\") } }\nfn evaluate(s) {\n    if s.node == \"a\" { let n = 1 / 0; }\n}";
    let mut lab = Lab::new(easy(), &[("watch", text)]);
    let said = lab.observe(15, &[("temp{node='a'}", 1.0), ("temp{node='b'}", 1.0)]);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("fault temp{node=\"a\"}: error: "), "{}", said[0]);
    assert!(said[0].contains("--> policies/watch.rhai:3:"), "{}", said[0]);
    assert!(said[0].contains("3 |     if s.node == \"a\" { let n = 1 / 0; }") && said[0].ends_with('^'), "{}", said[0]);
    let results: Vec<&str> = lab.units("watch").iter().map(|unit| unit.1).collect();
    assert_eq!(results, ["fault", "quiet"]);
}

#[test]
fn an_unknown_label_names_those_there_are() {
    let mut lab = Lab::new(easy(), &[("watch", "fn policy() { #{ for_each: series(\"temp\") } }\nfn evaluate(s) { s.nod }")]);
    let said = lab.observe(15, &[("temp{node='a',rack='1'}", 1.0)]);
    assert!(said[0].contains("no label `nod` (it has: node, rack); did you mean `node`?"), "{}", said[0]);
    assert!(said[0].contains("watch.rhai:2:"), "{}", said[0]);
}

#[test]
fn a_reload_keeps_the_state_of_what_did_not_change() {
    let fix = remedy("exec.restart", "cooldown: \"10m\"");
    let mut lab = Lab::new(easy(), &[("fix", &fix)]);
    let said = lab.observe(15, &[("bad{node='a'}", 1.0)]);
    assert_eq!(said, ["a1 admitted", "a1 act exec.restart on node/a #1"]);
    lab.done(16, 1);
    assert_eq!(lab.observe(30, &[("bad{node='a'}", 1.0)]), ["a2 deferred by cooldown"]);
    let evaluations = lab.kernel.stats().evaluations;
    let said = lab.event(31, Event::Loaded(Box::new(rules(easy(), &[("fix", &fix), ("watch", WATCH)]))));
    assert_eq!(said, ["loaded 2"]);
    assert_eq!(lab.kernel.stats().evaluations, evaluations, "an unchanged policy is not evaluated anew");
    assert_eq!(lab.phase(2), "deferred");
    // Removing the policy closes what it wished.
    let said = lab.event(40, Event::Loaded(Box::new(rules(easy(), &[("watch", WATCH)]))));
    assert_eq!(said, ["a2 closed Gone: its target is gone", "loaded 1"]);
}

#[test]
fn a_bad_policy_keeps_the_old_set() {
    let mut lab = Lab::new(easy(), &[("watch", WATCH)]);
    lab.observe(15, &[("temp{node='a'}", 1.0)]);
    let said = lab.event(
        16,
        Event::Loaded(Box::new(rules(easy(), &[("watch", "fn policy() { #{} } fn evaluate() { frobnicate() }"), ("more", WATCH)]))),
    );
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("load refused: error: there is no function `frobnicate`"), "{}", said[0]);
    let loaded: Vec<String> = lab.kernel.policies().into_iter().map(|policy| policy.policy).collect();
    assert_eq!((loaded.as_slice(), lab.units("watch").len()), (["watch".to_owned()].as_slice(), 1));
}

#[test]
fn at_the_first_load_the_sound_policies_are_taken() {
    let mut lab = Lab::empty();
    let said = lab.event(0, Event::Loaded(Box::new(rules(easy(), &[("broken", "fn policy() {"), ("watch", WATCH)]))));
    assert!(said[0].starts_with("load refused") && said[1] == "loaded 1", "{said:?}");
}

#[test]
fn same_events_same_effects() {
    let run = || {
        let mut lab = Lab::new(
            easy(),
            &[("fix", &remedy("exec.restart", "cooldown: \"1m\"")), ("sleep", &remedy("power.sleep", "")), ("watch", WATCH)],
        );
        for step in 1..40_i64 {
            let bad = f64::from(i32::from(step % 7 > 3));
            lab.observe(step * 15, &[("bad{node='a'}", bad), ("bad{node='b'}", 1.0 - bad), ("temp{node='a'}", step as f64)]);
            lab.tick(step * 15 + 5);
            let running: Vec<u64> =
                lab.kernel.ledger().actions().filter(|state| state.phase.is_running()).map(|state| state.id.0).collect();
            for id in running {
                if id % 3 == 0 {
                    lab.unknown(step * 15 + 6, id)
                } else {
                    lab.done(step * 15 + 6, id)
                };
            }
        }
        serde_json::to_vec(&lab.entries).expect("entries are serializable")
    };
    let (first, second) = (run(), run());
    assert!(first.len() > 10_000, "something happened: {} bytes", first.len());
    assert_eq!(first, second);
}

const PAIR: &str = r#"fn policy() { #{ for_each: series("temp"), every: "1h" } }
fn evaluate(s) { if s.last() > 80 && series(`load{node='${s.node}'}`).last() > 1 { print("hot") } }"#;

/// A kernel after `count` sensors of one node each have come, one by one: evaluations, and series that were tested against selectors.
fn arrived(count: u32) -> (u64, u64) {
    let mut lab = Lab::new(easy(), &[("pair", PAIR)]);
    for sensor in 0..count {
        let name = format!("n{sensor}");
        let mut obs = Observation::new(SensorId::from(name.as_str()), at(15), INTERVAL);
        for metric in ["temp", "load"] {
            obs.declared.push(SeriesDecl { key: SeriesKey::new(metric, [("node", name.as_str())]), cohort: 0 });
        }
        obs.samples = vec![Sample { series: 0, value: 90.0 }, Sample { series: 1, value: 2.0 }];
        lab.event(15, Event::Observed(Box::new(obs)));
    }
    assert_eq!(lab.units("pair").len() as u32, count);
    (lab.kernel.stats().evaluations, lab.kernel.with_store(|store| store.selector_tests()))
}

#[test]
fn sensors_that_arrive_one_by_one_wake_only_who_asked_for_them() {
    let (evaluations, tests) = arrived(200);
    assert_eq!(evaluations, 200, "one for each target; nobody else's selections change");
    assert!(tests < 200 * 40, "{tests} series tested against selectors");
    // Twice as many cost about twice as much: below 33 series all are tried, from then on only those with the label's value.
    let (twice_evaluations, twice_tests) = arrived(400);
    assert_eq!(twice_evaluations, 400);
    assert!(twice_tests - tests < 200 * 10, "{tests} tests for 200 sensors, {twice_tests} for 400");
}

#[test]
fn a_selection_that_changes_wakes_who_used_it_and_nobody_else() {
    let count = r#"fn policy() { #{ every: "1d" } }
fn evaluate() { print(`${all("temp{room='hall'}").len()}`) }"#;
    let mut lab = Lab::new(easy(), &[("count", count)]);
    let before = lab.kernel.stats().evaluations;
    lab.observe(15, &[("temp{node='a',room='attic'}", 20.0), ("load{node='a',room='hall'}", 1.0)]);
    assert_eq!(lab.kernel.stats().evaluations, before, "no series of the hall came");
    lab.observe(30, &[("temp{node='b',room='hall'}", 20.0)]);
    assert_eq!(lab.kernel.stats().evaluations, before + 1);
    // Its end is the end of its window: it is forgotten a day later, and the count with it.
    for second in (3_000..50 * 3_600).step_by(600) {
        lab.observe(second, &[("temp{node='a',room='attic'}", 20.0)]);
    }
    let ids: Vec<_> = lab.kernel.units.iter().map(|(_, unit)| unit.prints.clone()).collect();
    assert_eq!(ids, [["0"]]);
}
