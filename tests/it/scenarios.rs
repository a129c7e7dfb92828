//! Every scenario under `tests/scenarios/` on the classic lab, in virtual time, with the checkers on; and that every lesson has one or
//! says what it waits for.

use homeostat::simulate::{general, side_by_side};
use homeostat_sim::expect;
use homeostat_sim::run::{Control, Setup};
use homeostat_sim::scenario::Scenario;
use homeostat_sim::shipped;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lessons of `docs/safety.md`.
const LESSONS: u32 = 36;

/// A lesson that waits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    lesson: u32,
    failure: String,
    waits_for: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn scenarios() -> Vec<Scenario> {
    let entries = std::fs::read_dir(folder()).expect("the scenarios' folder is there");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml") && !file.ends_with("pending.yaml"));
    files.sort();
    let read = |file: &PathBuf| {
        let scenario = Scenario::parse(&std::fs::read_to_string(file).expect("a scenario can be read"))
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(Some(scenario.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()), "a scenario is named as its file");
        scenario
    };
    files.iter().map(read).collect()
}

fn setup(scenario: Scenario) -> Setup {
    let mut policies = shipped::policies();
    policies.extend(general());
    Setup {
        lab: Arc::new(shipped::classic().expect("the classic lab fits")),
        scenario,
        policies,
        seed: 1,
        control: Control::Ours,
        broken_guard: None,
    }
}

#[test]
fn every_scenario_comes_to_what_it_expects() {
    let mut failures = Vec::new();
    for scenario in scenarios() {
        assert!(!scenario.expect.is_empty(), "{} expects something", scenario.name);
        let mut wanted = vec![Control::Ours];
        wanted.extend(expect::controls(&scenario));
        let runs = side_by_side(&setup(scenario.clone()), &wanted).unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
        let figures: Vec<_> = runs.iter().map(|run| run.figures.clone()).collect();
        let unmet = expect::unmet(&scenario, &runs[0], &figures);
        if !unmet.is_empty() {
            let troubles = runs[0].tally.troubles.join("\n    ");
            failures.push(format!(
                "{}\n  {}\n    {troubles}\n  repeat it: homeostat simulate --scenario tests/scenarios/{}.yaml --seed 1 --control ours --list",
                scenario.name,
                unmet.join("\n  "),
                scenario.name
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_lesson_has_a_scenario_or_says_what_it_waits_for() {
    let text = std::fs::read_to_string(folder().join("pending.yaml")).expect("the pending lessons can be read");
    let pending: Vec<Pending> = serde_saphyr::from_str(&text).expect("the pending lessons are a list");
    assert!(pending.iter().all(|lesson| !lesson.failure.is_empty() && !lesson.waits_for.is_empty()));
    let proved: BTreeSet<u32> = scenarios().iter().filter_map(|scenario| scenario.lesson).collect();
    let waiting: BTreeSet<u32> = pending.iter().map(|lesson| lesson.lesson).collect();
    let both: Vec<&u32> = proved.intersection(&waiting).collect();
    assert!(both.is_empty(), "these lessons are proved and pending: {both:?}");
    let neither: Vec<u32> = (1..=LESSONS).filter(|lesson| !proved.contains(lesson) && !waiting.contains(lesson)).collect();
    assert!(neither.is_empty(), "these lessons have no scenario and do not wait for anything: {neither:?}");
}
