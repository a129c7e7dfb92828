//! A target that is looked at without running its script: nobody can tell, but for the counters.

use super::lab::{INTERVAL, Lab, at, easy};
use crate::kernel::Stats;
use homeostat_model::{Event, Observation, Purpose, Sample};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::cell::Cell;

fn retraced(lab: &Lab) -> u64 {
    lab.kernel.stats().evaluations_retraced
}

/// A lab with one policy over `temp`, after two reads with it at 20 degrees.
fn warm(body: &str) -> Lab {
    let text = format!(
        "fn policy() {{ #{{ for_each: series(\"temp\"), every: \"1h\", autonomy: \"auto\", params: #{{ hot: 80.0 }} }} }}\nfn evaluate(s) {{ {body} }}"
    );
    let mut lab = Lab::new(easy(), &[("watch", text.as_str())]);
    lab.observe(15, &[("temp{node='a'}", 20.0)]);
    lab.observe(30, &[("temp{node='a'}", 20.0)]);
    lab
}

fn margin(lab: &Lab) -> (String, f64) {
    let unit = &lab.kernel.explain_policy("watch", "")[0];
    let margin = &unit.evidence[0].margins[0];
    (margin.relation.clone(), margin.distance)
}

#[test]
fn a_quiet_answer_is_found_again_without_the_script_and_its_margins_are_fresh() {
    let mut lab = warm("if s.last() > param(\"hot\") { propose(notify(\"hot\")).because(\"it is\") }");
    assert_eq!(retraced(&lab), 1, "the second read told the script the same");
    lab.observe(45, &[("temp{node='a'}", 79.0)]);
    assert_eq!((retraced(&lab), margin(&lab)), (2, ("> 80".into(), -1.0)));
    assert_eq!(lab.kernel.explain_policy("watch", "")[0].evaluated_at, Some(at(45)));
    let said = lab.observe(60, &[("temp{node='a'}", 81.0)]);
    assert!(said.iter().any(|text| text.contains("act notify.send")), "{said:?}");
    assert_eq!((retraced(&lab), margin(&lab)), (2, ("> 80".into(), 1.0)));
    lab.observe(75, &[("temp{node='a'}", 20.0)]);
    assert_eq!(retraced(&lab), 2, "after a wish the script says that it is over");
    lab.observe(90, &[("temp{node='a'}", 21.0)]);
    assert_eq!(retraced(&lab), 3);
}

#[test]
fn arithmetic_between_readings_is_followed() {
    let mut lab = warm("let t = s.over(\"1m\"); if max(t.max() - t.min(), 1) * 2 > abs(s.last() - 10) + param(\"hot\") { 1 }");
    lab.observe(45, &[("temp{node='a'}", 25.0)]);
    assert_eq!(retraced(&lab), 2);
    let text = format!("{:?}", lab.kernel.explain_policy("watch", ""));
    assert!(text.contains("> 95") && text.contains("distance: -85.0"), "10 against 15 + 80: {text}");
    lab.observe(60, &[("temp{node='a'}", 90.0)]);
    assert_eq!(retraced(&lab), 3, "140 against 160");
    lab.observe(75, &[("temp{node='a'}", -40.0)]);
    assert_eq!(retraced(&lab), 3, "260 against 130 is another path");
}

#[test]
fn what_the_script_got_hold_of_must_be_the_same() {
    for body in [
        "if s.last().or(0) > 80 { 1 }",
        "if `${s.last()}` == \"80\" { 1 }",
        "if whole(s.last()) > 80 { 1 }",
        "if \"t\" + (s.last() + 1) == \"x\" { 1 }",
        "if percent(s.last()) == \"x\" { 1 }",
        "print(s.last())",
        "let x = [s.last()]; print(x)",
        "let x = act(\"exec.restart\", \"node/a\", #{ how: s.last() });",
    ] {
        let mut lab = warm(body);
        assert_eq!((lab.units("watch")[0].1, retraced(&lab)), ("quiet", 1), "{body}");
        lab.observe(45, &[("temp{node='a'}", 20.5)]);
        assert_eq!(retraced(&lab), 1, "{body}");
        lab.observe(60, &[("temp{node='a'}", 20.5)]);
        assert_eq!(retraced(&lab), 2, "{body}");
    }
}

#[test]
fn what_a_selector_names_is_looked_at_again_when_it_changes() {
    let mut lab = warm("for other in all(\"load\") { if other.last().or(0) > 5 { propose(notify(\"x\")).because(\"y\") } }");
    assert_eq!(retraced(&lab), 0, "nothing was read, so nothing wakes it");
    lab.observe(45, &[("temp{node='a'}", 20.0), ("load{node='a'}", 1.0)]);
    lab.observe(60, &[("temp{node='a'}", 20.0), ("load{node='a'}", 1.0)]);
    assert_eq!(retraced(&lab), 1);
    let said = lab.observe(75, &[("temp{node='a'}", 20.0), ("load{node='a'}", 1.0), ("load{node='b'}", 9.0)]);
    assert!(said.iter().any(|text| text.contains("act notify.send")), "{said:?}");
}

/// Numbers that often repeat, and often meet the thresholds.
const NUMBERS: [&str; 8] = ["0", "1", "2.5", "3", "-1", "0.5", "4", "100"];

fn number() -> impl Strategy<Value = String> {
    prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned)
}

fn reading() -> impl Strategy<Value = String> {
    let series = prop::sample::select(&["s", "s.peer(\"load\")", "series(\"load{node='b'}\")"][..]);
    let span = prop::sample::select(&["30s", "1m", "5m"][..]);
    let how = prop::sample::select(
        &["avg()", "min()", "max()", "sum()", "stddev()", "rate()", "increase()", "delta()", "slope()", "coverage()", "count()", "last()"]
            [..],
    );
    let more = prop::sample::select(&["quantile(0.5)", "seconds_until(0)", "seconds_until(3.5)"][..]);
    let plain = prop_oneof![
        2 => series.clone().prop_map(|s| format!("{s}.last()")),
        3 => (series.clone(), span.clone(), how).prop_map(|(s, span, how)| format!("{s}.over(\"{span}\").{how}")),
        1 => (series, span, more).prop_map(|(s, span, how)| format!("{s}.over(\"{span}\").{how}")),
    ];
    let infix = prop::sample::select(&["+", "-", "*", "/", "%"][..]);
    let pair = prop::sample::select(&["min", "max"][..]);
    let single = prop::sample::select(&["abs", "round", "floor", "ceiling", "-"][..]);
    plain.prop_recursive(2, 6, 2, move |inner| {
        prop_oneof![
            (inner.clone(), infix.clone(), inner.clone()).prop_map(|(a, how, b)| format!("({a} {how} {b})")),
            (inner.clone(), infix.clone(), number()).prop_map(|(a, how, b)| format!("({a} {how} {b})")),
            (number(), infix.clone(), inner.clone()).prop_map(|(a, how, b)| format!("({a} {how} {b})")),
            (pair.clone(), inner.clone(), number()).prop_map(|(how, a, b)| format!("{how}({a}, {b})")),
            (single.clone(), inner).prop_map(|(how, a)| format!("{how}({a})")),
        ]
    })
}

fn condition() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(&["<", "<=", ">", ">=", "==", "!="][..]);
    let held = prop::sample::select(&["s.held_below", "s.held_above", "s.peer(\"load\").held_below"][..]);
    let plain = prop_oneof![
        4 => (reading(), sign.clone(), number()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        1 => (number(), sign.clone(), reading()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        2 => (reading(), sign.clone(), reading()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        1 => (reading(), sign.clone()).prop_map(|(a, sign)| format!("{a} {sign} param(\"x\")")),
        2 => (held, number()).prop_map(|(held, level)| format!("{held}({level}, \"45s\")")),
        1 => Just("s.absent_for(\"40s\")".to_owned()),
        1 => reading().prop_map(|a| format!("{a}.is_known()")),
        1 => (reading(), number(), sign, number()).prop_map(|(a, or, sign, b)| format!("{a}.or({or}) {sign} {b}")),
        1 => reading().prop_map(|a| format!("whole({a}) == 1")),
        1 => reading().prop_map(|a| format!("`${{{a}}}`.len > 2")),
    ];
    let both = prop::sample::select(&["&&", "||"][..]);
    plain.prop_recursive(1, 3, 2, move |inner| {
        prop_oneof![
            (inner.clone(), both.clone(), inner.clone()).prop_map(|(a, how, b)| format!("({a} {how} {b})")),
            inner.prop_map(|a| format!("!({a})"))
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        2 => Just("return;".to_owned()),
        2 => Just("propose(notify(`hot ${s.node}`)).because(`it is ${s.last().or(0)}`);".to_owned()),
        2 => condition().prop_map(|c| format!("let x = {c};")),
        1 => reading().prop_map(|a| format!("print(`${{{a}}}`);")),
        1 => condition().prop_map(|c| format!("try {{ if {c} {{ throw \"x\" }} }} catch {{ print(\"thrown\"); }}")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            3 => (condition(), inner.clone()).prop_map(|(c, then)| format!("if {c} {{ {then} }}")),
            1 => (condition(), inner.clone(), inner.clone()).prop_map(|(c, then, or)| format!("if {c} {{ {then} }} else {{ {or} }}")),
            1 => inner.clone().prop_map(|then| format!("for o in all(\"load\") {{ if o.last().or(0) > 2 {{ {then} }} }}")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("{a} {b}")),
        ]
    })
}

/// One step of the world: after how many seconds, and which series have which values then; none is the mere passing of time.
type Step = (i64, Vec<(usize, usize)>);

const SERIES: [&str; 5] = ["temp{node='a'}", "temp{node='b'}", "load{node='a'}", "load{node='b'}", "load{node='c'}"];
const VALUES: [f64; 6] = [0.0, 1.0, 2.5, 3.0, 4.0, 99.5];

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![6 => 1usize..4, 1 => 0..VALUES.len()];
    let row = prop_oneof![
        8 => prop::collection::vec(value.clone(), 5).prop_map(|values| values.into_iter().enumerate().collect::<Vec<_>>()),
        4 => prop::collection::vec(value.clone(), 4).prop_map(|values| values.into_iter().enumerate().collect()),
        1 => prop::collection::vec((0usize..5, value), 0..4),
        1 => Just(Vec::new()),
    ];
    (prop_oneof![8 => Just(15), 1 => Just(3), 1 => Just(45), 1 => Just(400)], row)
}

/// All that anybody can see of a lab, but for how it was found.
fn seen(lab: &Lab) -> String {
    let stats = Stats { evaluations_retraced: 0, ..lab.kernel.stats().clone() };
    let units: Vec<String> = lab
        .kernel
        .units
        .iter()
        .map(|(_, unit)| format!("{:?} {:?} {:?} {:?}", unit.valid_until, unit.inputs, unit.selections, unit.next_slot))
        .collect();
    format!("{stats:?}\n{units:#?}\n{:#?}", lab.kernel.explain_policy("watch", ""))
}

fn play(text: &str, steps: &[Step]) -> Result<u64, TestCaseError> {
    let mut labs = [Lab::new(easy(), &[]), Lab::new(easy(), &[])];
    labs[1].kernel.run_every_script();
    for lab in &mut labs {
        lab.event(0, Event::Loaded(Box::new(super::lab::rules(easy(), &[("watch", text)]))));
    }
    let mut second = 0;
    for (after, row) in steps {
        second += after;
        let mut row: Vec<(&str, f64)> = row.iter().map(|(series, value)| (SERIES[*series], VALUES[*value])).collect();
        row.sort_by_key(|(series, _)| *series);
        row.dedup_by_key(|(series, _)| *series);
        let [quick, full] = labs.each_mut().map(|lab| if row.is_empty() { lab.tick(second) } else { lab.observe(second, &row) });
        prop_assert_eq!(quick, full, "at {} s", second);
        prop_assert_eq!(seen(&labs[0]), seen(&labs[1]), "at {} s", second);
    }
    prop_assert_eq!(format!("{:?}", labs[0].entries), format!("{:?}", labs[1].entries));
    Ok(retraced(&labs[0]))
}

/// The naive reference is the script itself.
#[test]
fn whatever_the_script_nobody_can_tell() {
    let (all, some) = (Cell::new(0), Cell::new(0u64));
    let statements = prop::collection::vec(statement(), 1..4);
    let steps = prop::collection::vec(step(), 1..40);
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    let result = runner.run(&(statements, steps), |(statements, steps)| {
        let body = statements.join("\n    ");
        let text = format!("fn policy() {{ #{{ for_each: series(\"temp\"), every: \"20s\", cooldown: \"1m\", autonomy: \"auto\", params: #{{ x: 2.0 }} }} }}\nfn evaluate(s) {{\n    {body}\n}}");
        let retraced = play(&text, &steps)?;
        all.set(all.get() + 1);
        some.set(some.get() + u64::from(retraced > 0));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(some.get() * 10 > all.get(), "scripts were saved in {} of {} plays only: this compares nothing", some.get(), all.get());
}

/// A backfill wakes nobody; the next look must see what it changed.
#[test]
fn a_backfill_is_seen_by_the_next_look() {
    let mut lab = warm("if s.over(\"10m\").max() > 80 { propose(notify(\"was hot\")).because(\"it was\") }");
    let before = lab.kernel.stats().evaluations;
    let mut filled = Observation::new("lab".into(), at(31), INTERVAL);
    filled.purpose = Purpose::Backfill;
    filled.declared_before = 1;
    filled.samples = vec![Sample { series: 0, value: 99.0 }];
    lab.event(31, Event::Observed(Box::new(filled)));
    assert_eq!((lab.kernel.stats().evaluations, retraced(&lab)), (before, 1));
    let said = lab.observe(45, &[("temp{node='a'}", 20.0)]);
    assert!(said.iter().any(|text| text.contains("act notify.send")), "{said:?}");
}
