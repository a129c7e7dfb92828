//! The distance to firing against a naive search, and what it changes: nothing.

use crate::Kernel;
use homeostat_model::{
    ArbiterSettings, Event, Observation, PolicyOverride, PolicySource, RuleSet, SeriesDecl, SeriesKey, Span, StampedSample, StoreSettings,
    Time,
};
use proptest::prelude::*;

const START: Time = Time(1_700_000_000_000);
const NAMES: [&str; 3] = ["a_celsius", "b_ratio", "c"];
/// Smaller than any step between the values and thresholds that are drawn.
const LITTLE: f64 = 1e-9;

/// A kernel with one policy that fires where `condition` holds, and three series that were constant for two minutes.
fn kernel(condition: &str, values: [f64; 3]) -> Kernel {
    let text = format!(
        "fn policy() {{ #{{ for_each: series(\"a_celsius\"), every: \"15s\" }} }}\nfn evaluate(a) {{\n    let b = a.peer(\"b_ratio\");\n    let c = a.peer(\"c\");\n    \
         if {condition} {{ propose(notify(\"x\")).because(\"y\"); }}\n}}\n"
    );
    let source = PolicySource { id: "p".into(), path: "p.rhai".into(), text, overrides: PolicyOverride::default() };
    let rules =
        RuleSet { policies: vec![source], arbiter: ArbiterSettings::default(), store: StoreSettings::default(), ..RuleSet::default() };
    let mut kernel = Kernel::new(StoreSettings::default());
    kernel.handle(START, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    kernel.handle(START, Event::Loaded(Box::new(rules)));
    for step in 0..9 {
        let at = START + Span::from_secs(15 * step);
        let mut row = Observation::new("test".into(), at, Span::from_secs(15));
        if step == 0 {
            row.declared = NAMES.iter().map(|name| SeriesDecl { key: SeriesKey::bare(name), cohort: 1 }).collect();
        } else {
            row.declared_before = 3;
        }
        row.stamped = values.iter().enumerate().map(|(series, value)| StampedSample { series: series as u32, at, value: *value }).collect();
        kernel.handle_observed(at, &row);
        while kernel.poll_effect().is_some() {}
    }
    kernel
}

/// What is drawn: a comparison of a series, or two conditions.
#[derive(Clone, Debug)]
enum Condition {
    Is(usize, usize, f64),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

impl Condition {
    /// As the script writes it. Each series is always asked in the same way, so that it is one quantity.
    fn text(&self) -> String {
        match self {
            Condition::Is(series, how, threshold) => match (series, how) {
                (0, how) => format!("a.last() {} {threshold:?}", ["<", "<=", ">", ">="][*how]),
                (1, how) => format!("b.over(\"1m\").avg() {} {threshold:?}", ["<", "<=", ">", ">="][*how]),
                (_, 0 | 1) => format!("c.held_below({threshold:?}, \"1m\")"),
                _ => format!("(c.over(\"1m\").max() > {threshold:?})"),
            },
            Condition::And(a, b) => format!("({} && {})", a.text(), b.text()),
            Condition::Or(a, b) => format!("({} || {})", a.text(), b.text()),
            Condition::Not(a) => format!("!({})", a.text()),
        }
    }

    fn holds(&self, values: &[f64]) -> bool {
        match self {
            Condition::Is(2, how, threshold) => {
                if *how < 2 {
                    values[2] < *threshold
                } else {
                    values[3] > *threshold
                }
            }
            Condition::Is(series, how, threshold) => {
                let value = values[*series];
                [value < *threshold, value <= *threshold, value > *threshold, value >= *threshold][*how]
            }
            Condition::And(a, b) => a.holds(values) && b.holds(values),
            Condition::Or(a, b) => a.holds(values) || b.holds(values),
            Condition::Not(a) => !a.holds(values),
        }
    }

    fn thresholds(&self, quantity: usize, into: &mut Vec<f64>) {
        match self {
            Condition::Is(series, how, threshold) => {
                if quantity == (if *series == 2 && *how >= 2 { 3 } else { *series }) {
                    into.push(*threshold);
                }
            }
            Condition::And(a, b) | Condition::Or(a, b) => {
                a.thresholds(quantity, into);
                b.thresholds(quantity, into);
            }
            Condition::Not(a) => a.thresholds(quantity, into),
        }
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let threshold = (-3..=3).prop_map(f64::from);
    let is = (0..3usize, 0..4usize, threshold).prop_map(|(series, how, threshold)| Condition::Is(series, how, threshold));
    is.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::And(a.into(), b.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::Or(a.into(), b.into())),
            inner.prop_map(|a| Condition::Not(a.into())),
        ]
    })
}

/// Tries every place beside every threshold: the least share by which the four quantities must move until the condition turns over.
fn naive(condition: &Condition, values: [f64; 4]) -> Option<f64> {
    let now = condition.holds(&values);
    let places = |quantity: usize| {
        let value = values[quantity];
        let (mut thresholds, mut places) = (Vec::new(), vec![(value, 0.0)]);
        condition.thresholds(quantity, &mut thresholds);
        for threshold in thresholds {
            let change = (threshold - value).abs();
            let share = if change == 0.0 { 0.0 } else { change / (value.abs() + change) };
            places.extend([threshold - LITTLE, threshold, threshold + LITTLE].map(|place| (place, share)));
        }
        places
    };
    let mut least: Option<f64> = None;
    for a in places(0) {
        for b in places(1) {
            for c in places(2) {
                for d in places(3) {
                    let share = a.1.max(b.1).max(c.1).max(d.1);
                    if condition.holds(&[a.0, b.0, c.0, d.0]) != now && least.is_none_or(|least| share < least) {
                        least = Some(share);
                    }
                }
            }
        }
    }
    least
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_distance_is_the_least_that_turns_the_end_over(condition in condition(), values in prop::array::uniform3((-4..=4).prop_map(f64::from))) {
        let kernel = kernel(&condition.text(), values);
        let views = kernel.why_policy("p", "");
        prop_assert_eq!(views.len(), 1);
        let view = &views[0];
        let values = [values[0], values[1], values[2], values[2]];
        let fires = condition.holds(&values);
        prop_assert_eq!(view.result, if fires { "fired" } else { "quiet" }, "{}", condition.text());
        let expected = naive(&condition, values);
        let found = view.distance.as_ref().map(|distance| distance.margin);
        match (found, expected) {
            (Some(found), Some(expected)) => {
                prop_assert!(if fires { found >= 0.0 } else { found <= 0.0 }, "{} is {found}, and it fires: {fires}", condition.text());
                prop_assert!((found.abs() - expected).abs() < 1e-6, "{} at {values:?}: {found}, by hand {expected}", condition.text());
            }
            (found, expected) => prop_assert!(found.is_none() && expected.is_none(), "{} at {values:?}: {found:?}, by hand {expected:?}", condition.text()),
        }
    }

    #[test]
    fn the_margin_is_zero_exactly_where_it_begins_to_fire(value in -50..50i32, threshold in -50..50i32, how in 0..4usize, reading in 0..3usize) {
        let sign = ["<", "<=", ">", ">="][how];
        let read = ["a.last()", "a.over(\"1m\").min()", "a.over(\"1m\").avg()"][reading];
        let condition = format!("{read} {sign} {threshold}.0");
        let (value, threshold) = (f64::from(value), f64::from(threshold));
        let at = |value: f64| {
            let kernel = kernel(&condition, [value, 0.0, 0.0]);
            let view = kernel.why_policy("p", "").remove(0);
            let margin = view.evidence.iter().flat_map(|evidence| &evidence.margins).next().map(|margin| (margin.distance, margin.holds()));
            (view.result, view.distance, margin)
        };
        let (result, distance, margin) = at(value);
        let distance = distance.expect("a single comparison can turn over");
        let turn = &distance.turns[0];
        prop_assert_eq!(turn.change, (threshold - value).abs());
        prop_assert_eq!(margin, Some((if how < 2 { threshold - value } else { value - threshold }, result == "fired")));
        // Exactly so much further it stands at the threshold, and the sign decides; a little more or less, and it is on either side.
        let (result, distance, margin) = at(threshold);
        prop_assert_eq!(distance.map(|distance| distance.margin.abs()), Some(0.0));
        prop_assert_eq!(margin, Some((0.0, result == "fired")));
        prop_assert_eq!(result == "fired", sign.ends_with('='));
        for little in [-0.001, 0.001] {
            let (result, distance, _) = at(threshold + little);
            prop_assert_eq!(result == "fired", (how < 2) == (little < 0.0));
            let distance = distance.expect("a single comparison can turn over");
            prop_assert!((distance.turns[0].change - 0.001).abs() < 1e-9);
        }
    }
}

#[test]
fn it_is_told_in_words_with_units() {
    let told = |condition: &str, values: [f64; 3]| -> Vec<String> {
        let view = kernel(condition, values).why_policy("p", "").remove(0);
        let distance = view.distance.unwrap_or_else(|| panic!("{condition}"));
        std::iter::once(distance.text()).chain(distance.turns.iter().map(|turn| turn.text())).collect()
    };
    assert_eq!(told("a.last() > 20", [18.7, 0.0, 0.0]), ["fires in 1.3 °C", "last of a_celsius: 18.7 °C must be > 20, 1.3 °C away"]);
    assert_eq!(
        told("a.last() > 20 && b.held_below(0.1, \"1m\")", [21.0, 0.15, 0.0]),
        ["fires in 5 %", "held below 0.1 for 1m of b_ratio: 15 % must be < 0.1, 5 % away"]
    );
    assert_eq!(told("a.last() > 20 && b.last() < 0.1", [19.0, 0.15, 0.0])[0], "fires in 1 °C and 5 %");
    assert_eq!(told("a.last() > 20 || b.last() < 0.1", [19.0, 0.15, 0.0])[0], "fires in 1 °C");
    assert_eq!(told("a.last() > 20 || b.last() < 0.1", [21.0, 0.15, 0.0])[0], "quiet again in 1 °C");
    assert_eq!(told("a.absent_for(\"5m\")", [0.0; 3]), ["fires in 5m", "absent for 5m of a_celsius: silent 0 s must be >= 300, 5m away"]);
    // Arithmetic is moved as a whole, and what a script took out of a reading is kept as it is.
    assert_eq!(told("a.last() - c.last() > 5", [7.0, 0.0, 4.0])[0], "fires in 2 °C");
    assert!(kernel("a.last().or(0) > 5", [4.0, 0.0, 0.0]).why_policy("p", "")[0].distance.is_none());
}

#[test]
fn to_ask_changes_nothing() {
    let mut asked = kernel("a.last() > 5 && all(\"c\").len() == 1 && c.last() > 5", [4.0; 3]);
    let mut left = kernel("a.last() > 5 && all(\"c\").len() == 1 && c.last() > 5", [4.0; 3]);
    let selections = |kernel: &Kernel| kernel.with_store(|store| (store.selection_bytes(), store.selector_tests()));
    let before = selections(&asked);
    assert_eq!(asked.why_policy("p", "")[0].distance.as_ref().map(|distance| distance.turns.len()), Some(2));
    assert_eq!(selections(&asked).0, before.0);
    for kernel in [&mut asked, &mut left] {
        kernel.handle(START + Span::from_secs(300), Event::Tick);
    }
    assert_eq!(asked.stats(), left.stats());
    assert_eq!(format!("{:?}", asked.explain_policy("p", "")), format!("{:?}", left.explain_policy("p", "")));
}
