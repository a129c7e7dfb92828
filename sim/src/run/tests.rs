//! Every shipped playbook on the plant: one scenario in which it ends well, and where it can fail one in which it does, with the
//! checkers on. The scenarios are data: `tests/scenarios/playbooks/`.

use super::{Control, Setup, run};
use crate::expect;
use crate::plant::{Fault, Planned};
use crate::scenario::{Expect, Scenario};
use crate::shipped;
use homeostat_model::{RunEnd, Span};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there");
    let mut names: Vec<String> = entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.ends_with(".yaml"));
    names.iter_mut().for_each(|name| name.truncate(name.len() - ".yaml".len()));
    names.sort();
    names
}

#[expect(clippy::disallowed_methods, reason = "this is a test, not the engine: it has files")]
fn scenarios() -> Vec<Scenario> {
    let folder = "tests/scenarios/playbooks";
    let read = |name: &String| {
        let text = std::fs::read_to_string(root().join(folder).join(format!("{name}.yaml"))).expect("a scenario can be read");
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&scenario.name, name, "a scenario is named as its file");
        scenario
    };
    names(folder).iter().map(read).collect()
}

fn setup(scenario: Scenario) -> Setup {
    let lab = Arc::new(shipped::classic().expect("the classic lab fits"));
    Setup { lab, scenario, policies: shipped::policies(), seed: 1, control: Control::Ours, broken_guard: None }
}

#[test]
fn every_shipped_playbook_is_listed_and_has_a_scenario_that_ends_well_and_one_that_does_not() {
    let listed: Vec<&str> = shipped::PLAYBOOKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("playbooks"), listed, "the list in `shipped.rs` and the folder");
    let mut ends: BTreeSet<(String, bool)> = BTreeSet::new();
    for expect in scenarios().into_iter().flat_map(|scenario| scenario.expect) {
        if let Expect::Runs { of, end, .. } = expect {
            ends.insert((of.verb.unwrap_or_default(), end == RunEnd::Finished));
        }
    }
    for name in listed {
        for well in [true, false] {
            assert!(ends.contains(&(format!("playbook.{name}"), well)), "{name} has no scenario that ends {well}");
        }
    }
}

#[test]
fn every_playbook_comes_to_what_its_scenario_expects() {
    let mut failures = Vec::new();
    for scenario in scenarios() {
        let finished = run(&setup(scenario.clone())).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        let unmet = expect::unmet(&scenario, &finished, &[]);
        if !unmet.is_empty() {
            let acts: Vec<String> = finished.tally.acts.iter().map(|line| format!("{} {} {}", line.at, line.verb, line.target)).collect();
            let why = finished.tally.troubles.join("\n    ");
            failures.push(format!("{}\n  {}\n    {why}\n    sent: {}", scenario.name, unmet.join("\n  "), acts.join("; ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn whenever_the_engine_is_killed_its_runs_end_and_no_invariant_breaks() {
    let once = scenarios().into_iter().filter(|scenario| {
        ["node-sleep-finished", "node-sleep-undone", "rolling-reboot-undone", "chaos-drill-undone"].contains(&scenario.name.as_str())
    });
    let mut runs = 0;
    for scenario in once {
        for minute in [11, 14, 17, 21, 26, 32] {
            let mut killed = scenario.clone();
            killed.expect.clear();
            killed.faults.push(Planned { at: Span::from_mins(minute), lasts: Some(Span::from_mins(2)), fault: Fault::EngineRestart });
            let finished = run(&setup(killed)).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
            assert_eq!(finished.tally.restarts, 1);
            let broken: Vec<String> = finished.violations.iter().map(ToString::to_string).collect();
            assert!(broken.is_empty(), "{} killed after {minute} minutes: {broken:#?}", scenario.name);
            let ends = &finished.tally.runs;
            assert_eq!(ends.len(), 1, "{} killed after {minute} minutes: {ends:?} {:?}", scenario.name, finished.tally.troubles);
            runs += 1;
        }
    }
    assert_eq!(runs, 24);
}

#[test]
fn whatever_else_goes_wrong_no_invariant_of_runs_breaks() {
    let mut ended = 0;
    for scenario in scenarios() {
        for seed in 1..=4 {
            let mut rough = scenario.clone();
            rough.expect.clear();
            rough.random_faults_per_day = 80.0;
            rough.random_pauses_per_day = 3.0;
            let finished = run(&Setup { seed, ..setup(rough) }).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
            let broken: Vec<String> = finished.violations.iter().map(ToString::to_string).collect();
            assert!(broken.is_empty(), "{} with seed {seed}: {broken:#?}", scenario.name);
            ended += finished.tally.runs.len();
        }
    }
    assert!(ended > 60, "only {ended} runs came to an end: the faults leave nothing to check");
}
