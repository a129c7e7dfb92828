//! Drills through the kernel: passed, failed, and not held while something is under way.

use super::lab::*;
use crate::truth::{Answer, Driver, Person, Recipe, Setup, Trouble, Weather};
use homeostat_model::{Autonomy, Class, Command, DrillEnd, LadderKey, MoveCause, Note, Record, Span, Verb};
use std::collections::{BTreeMap, BTreeSet};

fn begun(broken: bool) -> Driver {
    let heal = Answer { after: Span::from_secs(30), heals: true, ..Answer::PLACEBO };
    let fault = Answer { after: Span::from_secs(10), troubles: Some(8.0), lasts: Span::from_mins(40), ..Answer::PLACEBO };
    let recipe = Recipe {
        nodes: 3,
        interval: Span::from_secs(30),
        weather: Weather { base: 20.0, own: 0.3, ..Weather::STILL },
        trouble: Trouble { per_day: 0.0, size: 8.0, heals_after: None, rests: Span::ZERO },
        answers: BTreeMap::from([("mend.restart".into(), heal), ("chaos.run".into(), fault)]),
        machines: false,
    };
    let drill = r#"cooldown: "5m", drill: #{ fault: act("chaos.run", "node/n1", #{}), within: "15m", every: "7d" }"#;
    let rules = rules(settings(granted()), &[("mend", &mending(24.0, "5m", drill))]);
    let broken = if broken { BTreeSet::from([Verb::from("mend.restart")]) } else { BTreeSet::new() };
    let mut driver = driver(
        recipe,
        Setup { broken, ..setup(rules, Some(Person { yes: 1.0, after: Span::from_secs(30), later: Span::from_secs(30) })) },
        81,
    );
    driver.run_for(Span::from_mins(30));
    driver
}

fn ends(driver: &Driver) -> Vec<DrillEnd> {
    let found = driver.records().filter_map(|(_, record)| match record {
        Record::Drilled(end) => Some((**end).clone()),
        _ => None,
    });
    found.collect()
}

fn refusals(driver: &Driver) -> Vec<String> {
    let found = driver.records().filter_map(|(_, record)| match record {
        Record::Noted(Note::OrderRefused { why, .. }) => Some(why.clone()),
        _ => None,
    });
    found.collect()
}

#[test]
fn a_drill_is_passed_when_the_policy_answers_and_refused_while_it_is_under_way() {
    let mut driver = begun(false);
    driver.order(Command::Drill { policy: "mend".into() });
    assert_eq!(refusals(&driver), Vec::<String>::new());
    driver.run_for(Span::from_secs(20));
    driver.order(Command::Drill { policy: "mend".into() });
    let refused = refusals(&driver);
    assert!(refused.len() == 1 && refused[0].contains("under way"), "{refused:?}");
    driver.run_for(Span::from_mins(20));
    let ends = ends(&driver);
    println!("{ends:#?}");
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].passed, Some(true), "{}", ends[0].text);
    assert!(
        ends[0].answer.is_some() && driver.kernel.ledger().trust().drill(&"mend".into()).is_some_and(|drill| drill.passed_at.is_some())
    );
}

#[test]
fn a_drill_fails_where_the_actuator_is_broken_and_the_policy_sinks_to_suggest() {
    let mut driver = begun(false);
    driver.order(Command::Drill { policy: "mend".into() });
    driver.run_for(Span::from_hours(2));
    driver.setup.broken.insert(Verb::from("mend.restart"));
    driver.order(Command::Drill { policy: "mend".into() });
    driver.run_for(Span::from_mins(30));
    let ends = ends(&driver);
    println!("{ends:#?}");
    assert_eq!(ends.iter().map(|end| end.passed).collect::<Vec<_>>(), [Some(true), Some(false)]);
    let key = LadderKey { policy: "mend".into(), class: Class::Reversible, target_class: "node".into() };
    let standing = driver.kernel.ledger().trust().standing(&key).expect("it acted");
    assert_eq!(standing.effective(Autonomy::Auto), Autonomy::Suggest);
    let sank = driver
        .records()
        .any(|(_, record)| matches!(record, Record::Autonomy(moved) if moved.key == key && moved.cause == MoveCause::Drill));
    assert!(sank, "the step is in the journal");
}

#[test]
fn a_drill_by_its_rhythm_waits_until_nothing_is_under_way() {
    let mut driver = begun(true);
    // A real trouble, and a policy that wishes to mend it for hours: no drill on top of it.
    let act = homeostat_model::ActionId(9_999);
    driver.world.act(act, &"chaos.run".into(), 0, driver.now);
    driver.run_for(Span::from_mins(38));
    let drills = |driver: &Driver| driver.kernel.ledger().trust().drill(&"mend".into()).and_then(|drill| drill.tried_at);
    assert!(driver.world.is_troubled(0) && drills(&driver).is_none(), "{:?}", drills(&driver));
    driver.run_for(Span::from_hours(4));
    assert!(!driver.world.is_troubled(0) && drills(&driver).is_some(), "it is held when all is quiet");
}
