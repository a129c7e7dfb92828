use super::super::ask::Question;
use super::*;
use homeostat_model::{Alert, AlertKind, AlertStatus, Labels, Observation, Sample, SeriesDecl, SeriesKey, Span, Time};
use std::sync::Arc;

const NOW: Time = Time(1_700_000_040_000);

fn key(text: &str) -> SeriesKey {
    let (metric, labels) = text.trim_end_matches('}').split_once('{').unwrap_or((text, ""));
    let labels = labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name, value.trim_matches('"')));
    SeriesKey::new(metric, labels.collect::<Vec<_>>())
}

/// The windows of the examples.
pub(crate) fn example_store() -> Store {
    let mut store = Store::new(StoreSettings::default());
    for (number, (series, start, step, age)) in EXAMPLE_SERIES.iter().enumerate() {
        for minute in 0..=60 - *age {
            let at = Time(NOW.0 - i64::from(60 - minute) * 60_000);
            let mut observation = Observation::new(format!("s{number}").as_str().into(), at, Span::from_mins(1));
            observation.declared = vec![SeriesDecl { key: key(series), cohort: 0 }];
            observation.samples = vec![Sample { series: 0, value: start + step * f64::from(minute) }];
            store.append(&observation, &mut |_| {});
        }
    }
    store
}

fn alert() -> Arc<Alert> {
    let pairs = [("alertname", "DiskFull"), ("severity", "critical"), ("instance", "nas:9100")];
    Arc::new(Alert {
        fingerprint: "1f2e".into(),
        status: AlertStatus::Firing,
        kind: AlertKind::Condition,
        name: "DiskFull".into(),
        labels: Labels::new(pairs),
        annotations: [("summary".to_owned(), "The disk is nearly full.".to_owned())].into(),
        starts_at: NOW,
        ends_at: None,
        values: [("A".to_owned(), 0.05)].into(),
    })
}

#[test]
fn every_example_gives_what_it_says() {
    let host = Host::new(example_store());
    let params = Arc::new([("warn".to_owned(), homeostat_model::Arg::Float(0.1))].into());
    let mut wrong = Vec::new();
    for entry in ENTRIES {
        assert!(!entry.examples.is_empty(), "{} has no example", entry.call);
        for (code, result) in entry.examples {
            let question = Question { text: format!("{EXAMPLE_NAMES} {code}"), ..Question::default() };
            match host.ask(&question, NOW, Some(&alert()), &params) {
                Ok(answered) if answered.text == *result => {}
                Ok(answered) => wrong.push(format!("{code} gives {}, not {result}", answered.text)),
                Err(why) => wrong.push(format!("{code}: {why}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_function_of_an_entry_is_in_an_example_of_it() {
    for entry in ENTRIES {
        let shown: String = entry.examples.iter().map(|(code, _)| format!("{code} ")).collect();
        let known = names_in(&shown);
        for name in names_in(&outermost(entry.call)) {
            assert!(known.contains(&name), "`{name}` of {} is in none of its examples", entry.call);
        }
    }
}

#[test]
fn every_registered_function_is_documented_and_defined() {
    let documented: BTreeSet<String> = ENTRIES.iter().flat_map(|entry| names_in(&outermost(entry.call))).collect();
    let functions = registered();
    assert!(functions.len() > 80, "the registration was read");
    let definitions = definitions();
    for function in functions {
        let is_word = function.name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !is_word || function.name.contains('$') || ["to_string", "to_debug"].contains(&function.name.as_str()) {
            continue;
        }
        assert!(documented.contains(&function.name), "`{}` is registered and not documented", function.name);
        assert!(definitions.contains(&format!("fn {}(", function.name)), "`{}` is not defined", function.name);
    }
    for line in [
        "fn over(series: Series, span: String) -> Window;",
        "fn held_below(series: Series, level: float, span: String) -> bool;",
        "fn avg(window: Window) -> Reading;",
        "fn series(selector: String) -> ?;",
        "fn propose(action: Action) -> Proposal;",
        "fn because(wish: Proposal, reason: String) -> Proposal;",
        "op <(Reading, float) -> bool;",
    ] {
        assert!(definitions.lines().any(|l| l == line), "{line} is not among\n{definitions}");
    }
}

#[test]
fn entries_are_found_by_a_part_of_their_name_and_slips_get_the_nearest() {
    let calls: Vec<&str> = entries_about("HELD_").iter().map(|entry| entry.call).collect();
    assert_eq!(calls, ["s.held_below(0.1, \"5m\"), s.held_above(3.5, \"5m\")"]);
    assert!(entries_about("heldbelow").is_empty());
    assert_eq!(nearest_function("heldbelow").as_deref(), Some("held_below"));
    assert_eq!(nearest_function("something_else_entirely"), None);
}

#[test]
fn a_question_leaves_no_trace_and_is_limited() {
    let host = Host::new(example_store());
    let ask = |text: &str| host.ask(&Question { text: text.into(), ..Question::default() }, NOW, None, &Arc::default());
    let before = host.with_store(|store| (store.selection_bytes(), store.selector_tests()));
    let seen = ask("series(\"node_load1{node='brain'}\").last() > 5").unwrap();
    assert_eq!((seen.text.as_str(), seen.kind.as_str(), seen.value), ("false", "true or false", None));
    assert_eq!((seen.evidence[0].margins[0].relation.as_str(), seen.evidence[0].margins[0].distance), ("> 5", -1.0));
    assert_eq!(host.with_store(|store| (store.selection_bytes(), store.selector_tests())).0, before.0, "no selection stands");
    let wrong = |text: &str| match ask(text) {
        Err(why) => why.to_string(),
        Ok(answered) => panic!("{text} gave {answered:?}"),
    };
    assert_eq!(wrong("series(\"nothing\").last()"), "undetermined: series nothing: no data");
    assert!(wrong("loop { }").contains("operations"));
    assert!(wrong("serie(\"x\")").contains("did you mean `series`?"));
    assert!(wrong("1 +").contains("--> question:1"), "{}", wrong("1 +"));
    assert!(wrong(&"1".repeat(9_000)).contains("at most 8192"));
    assert!(wrong("series(\"node_load1\")").contains("names 2 series"));
    assert_eq!(ask("propose(notify(\"x\")).because(\"y\")").unwrap().text, "would wish notify.send (title: x) because y");
    assert_eq!(ask("all(\"node_load1\")").unwrap().text, "node_load1{node=\"brain\"} = 4\nnode_load1{node=\"muscle\"} = 0.5");
}

#[test]
fn a_plot_has_a_mean_for_each_point_and_gaps_where_nothing_came() {
    let host = Host::new(example_store());
    let draw =
        |text: &str, points| host.ask(&Question { text: text.into(), plot: Some(Span::from_hours(1)), points }, NOW, None, &Arc::default());
    let plots = draw("series(\"node_load1{node='brain'}\")", 6).unwrap().plots;
    let points: Vec<f64> = plots[0].points.iter().map(|point| point.unwrap()).collect();
    assert_eq!((points.len(), points[5], plots[0].step), (6, 4.0 - 0.0625 * 4.5, Span::from_mins(10)));
    let door = draw("all(\"door_open\")", 6).unwrap().plots;
    assert_eq!(door[0].points, [Some(1.0), Some(1.0), Some(1.0), Some(1.0), None, None]);
    assert!(draw("1", 6).unwrap_err().to_string().contains("nothing to draw"));
}
