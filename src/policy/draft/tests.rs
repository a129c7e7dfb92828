//! From a recorded run to a patch that applies, whose policy passes check and test.

use super::*;
use crate::incidents::tests::house::{self, at};
use homeostat_model::{Command, Ordered, SeriesKey};
use std::process::Command as Process;

/// When somebody restarted it, in seconds.
const DONE: [i64; 3] = [3_000, 9_000, 15_000];
const UNTIL: i64 = 21_000;

/// Latency rises for eight minutes before each restart and falls half a minute after it; memory wobbles.
fn latency(seconds: i64) -> f64 {
    let bad = DONE.iter().any(|done| seconds > done - 480 && seconds <= done + 30);
    let wobble = (seconds / 10 % 7) as f64 * 0.02;
    if bad { 4.0 + wobble } else { 0.4 + wobble }
}

/// A run in which a person restarts a service three times.
fn recorded(dir: &Path, label: &str, latency: impl Fn(i64) -> f64) {
    let keys = [
        SeriesKey::new("service_latency_seconds", [("service", "films"), ("path", label)]),
        SeriesKey::new("service_memory_ratio", [("service", "films")]),
        SeriesKey::new("service_latency_seconds", [("service", "music")]),
    ];
    let mut script = vec![(house::BEGIN, Event::Loaded(Box::new(house::rules(Vec::new()))))];
    for round in 0..UNTIL / 10 {
        let values = [latency(10 * round), 0.5 + (round * 7919 % 13) as f64 * 0.01, 3.0];
        script.push((at(10 * round), house::observation(round, &keys, &values)));
    }
    for seconds in DONE {
        let command = Command::Wish {
            verb: "exec.restart".into(),
            target: "service/films".into(),
            args: Default::default(),
            because: "films stutter".into(),
        };
        script.push((at(seconds), Event::Ordered(Ordered { by: "token:phone".into(), command })));
    }
    script.sort_by_key(|(at, _)| *at);
    house::play(dir, script, at(UNTIL));
}

fn args(of: &str) -> DraftArgs {
    DraftArgs { from: None, repeats: Some(of.into()), series: None, at_least: 3, name: None, folder: "policies".into(), out: None }
}

fn whole() -> RuleSet {
    house::rules(vec![house::source("clean", house::CLEAN)])
}

fn made(dir: &Path, args: &DraftArgs) -> anyhow::Result<Made> {
    from_record(&JournalReader::open(dir).unwrap(), dir, &whole(), args)
}

#[test]
fn three_restarts_become_a_patch_that_applies_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), "web", latency);
    let made = made(dir.path(), &args("exec.restart service/films")).unwrap();
    assert_eq!(made.draft.name, "exec-restart-films");
    assert_eq!((made.draft.found.metric.as_str(), made.draft.found.acted_at.len()), ("service_latency_seconds", 3));
    assert!((0.6..4.0).contains(&made.draft.found.threshold));
    let proved = proved(&whole(), &made.draft).unwrap();
    assert!(proved[0].starts_with("check: passed") && proved.iter().any(|line| line == "test: 2 of 2 passed"), "{proved:?}");
    let backtest = replayed(dir.path(), &whole(), &made).unwrap();
    // It would have asked before every restart, and at no other time.
    assert_eq!(backtest.firings.len(), 3, "{:?}", backtest.firings);
    for (firing, done) in backtest.firings.iter().zip(DONE) {
        assert!(firing.from > at(done - 480) && firing.from <= at(done), "{firing:?}");
    }
    let head = head(&made, &proved, &backtest);
    let (policy, test) = ("policies/exec-restart-films.rhai", "policies/exec-restart-films.test.yaml");
    let files = [NewFile { path: policy, text: &made.draft.policy }, NewFile { path: test, text: &made.draft.test }];
    let patch = draft::patch(&head, &files);
    assert!(patch.contains("by operator token:phone") && patch.contains("3 firings"), "{patch}");
    applied(&patch, &[(policy, &made.draft.policy), (test, &made.draft.test)]);
}

/// `git apply` takes it in an empty repository, and what stands there passes its own test.
fn applied(patch: &str, expected: &[(&str, &str)]) {
    let repository = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| Process::new("git").args(args).current_dir(repository.path()).output();
    let Ok(begun) = git(&["init", "-q", "."]) else {
        println!("SKIPPED: git is not installed");
        return;
    };
    assert!(begun.status.success());
    std::fs::write(repository.path().join("x.patch"), patch).unwrap();
    let output = git(&["apply", "x.patch"]).unwrap();
    assert!(output.status.success(), "{}\n{patch}", String::from_utf8_lossy(&output.stderr));
    for (path, text) in expected {
        assert_eq!(std::fs::read_to_string(repository.path().join(path)).unwrap(), *text, "{path}");
    }
    let test = repository.path().join(expected[1].0);
    let report = suite::run_file(&test, &suite::Options::with(&house::actuators())).unwrap();
    assert_eq!((report.passed(), report.failures().count()), (2, 0), "{}", output::failures(&report));
}

#[test]
fn an_incident_names_what_was_done_in_it() {
    let dir = tempfile::tempdir().unwrap();
    house::disk(dir.path());
    let mut from = args("");
    (from.repeats, from.from) = (None, Some("latest".into()));
    let error = made(dir.path(), &from).unwrap_err().to_string();
    assert!(error.contains("nothing was done in the incident") && error.contains("telling people"), "{error}");
    let mut book = Book::new();
    let reader = JournalReader::open(dir.path()).unwrap();
    read::catch_up(&mut book, &reader, Time::MIN).unwrap();
    from.from = Some(book.incidents()[1].id.clone());
    // The disk was cleaned there, and not three times.
    let error = made(dir.path(), &from).unwrap_err().to_string();
    assert!(error.contains("nothing is drafted: `exec.clean` on `filesystem/nas:/` was sent") && error.contains("3 are needed"), "{error}");
}

#[test]
fn without_a_threshold_nothing_is_drafted_and_the_reason_is_said() {
    let dir = tempfile::tempdir().unwrap();
    // It was as slow at another time, and nobody acted.
    recorded(dir.path(), "web", |seconds| if (18_000..19_000).contains(&seconds) { 6.0 } else { latency(seconds) });
    let error = made(dir.path(), &args("exec.restart service/films")).unwrap_err().to_string();
    assert!(error.starts_with("nothing is drafted: no threshold") && error.contains("--series"), "{error}");
    assert!(made(dir.path(), &args("exec.restart service/none")).unwrap_err().to_string().contains("was never sent"));
    assert!(made(dir.path(), &args("exec.restart")).unwrap_err().to_string().contains("expected `verb target`"));
    let mut series = args("exec.restart service/films");
    series.series = Some("service_memory_ratio".into());
    assert!(made(dir.path(), &series).unwrap_err().to_string().contains("of 1 metrics"), "only what was named is looked at");
    series.series = Some("{{".into());
    assert!(made(dir.path(), &series).unwrap_err().to_string().starts_with("`--series`"));
}

#[test]
fn a_label_that_could_be_code_ends_the_draft() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), "'}); exec(\"empty\"); //", latency);
    let error = made(dir.path(), &args("exec.restart service/films")).unwrap_err().to_string();
    assert!(error.contains("does not write into a script"), "{error}");
}

#[test]
fn a_name_that_is_taken_is_not_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), "web", latency);
    let mut whole = whole();
    whole.policies.push(house::source("exec-restart-films", house::CLEAN));
    let reader = JournalReader::open(dir.path()).unwrap();
    let other = from_record(&reader, dir.path(), &whole, &args("exec.restart service/films")).unwrap();
    assert_eq!(other.draft.name, "exec-restart-films-2");
    assert!(other.draft.test.contains("policy: exec-restart-films-2"));
    let mut named = args("exec.restart service/films");
    named.name = Some("exec-restart-films".into());
    assert!(from_record(&reader, dir.path(), &whole, &named).unwrap_err().to_string().contains("already"));
    named.name = Some("../evil".into());
    assert!(from_record(&reader, dir.path(), &whole, &named).unwrap_err().to_string().contains("is not a policy's name"));
}
