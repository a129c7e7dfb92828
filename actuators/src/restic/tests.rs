use super::*;
use crate::conformance::{SECRET, Subject, action, conforms, ledger, subject};
use serde_json::json;
use std::path::Path;

const DECISION_JOURNAL: &str = "j1";

/// A program that answers as restic 0.18 does, from files in its folder: `log` gets every call, `snapshot` is there after a backup.
/// `exit`, if there, holds the status of a backup.
fn fake(dir: &Path) -> String {
    let script = r#"#!/bin/sh
d=$(dirname "$0"); shift; echo "$*" >> "$d/log"; echo "$RESTIC_PASSWORD" > "$d/password"
case "$1" in
  cat) [ -e "$d/locked" ] && exit 12; echo '{"version":2,"id":"r"}';;
  backup)
    if [ -e "$d/exit" ]; then echo "unable to create lock in backend: repository is already locked; $RESTIC_PASSWORD" >&2; exit "$(cat "$d/exit")"; fi
    if [ -e "$d/hang" ]; then sleep 60; fi
    : > "$d/snapshot"
    echo '{"message_type":"status","percent_done":0.5}'
    echo '{"message_type":"summary","files_new":2,"total_files_processed":2,"total_bytes_processed":9,"data_added":9,"snapshot_id":"5a3f"}';;
  check) [ -e "$d/damaged" ] && { echo '{"message_type":"summary","num_errors":2}'; exit 0; }; echo '{"message_type":"summary","num_errors":0}';;
  snapshots) if [ -e "$d/snapshot" ]; then echo '[{"time":"2026-11-20T10:00:00Z","id":"5a3f"}]'; else echo '[]'; fi;;
  stats) echo '{"total_size":9,"total_file_count":3,"snapshots_count":1}';;
  restore) mkdir -p "$4/data"; printf 12345 > "$4/data/a"; printf 6789 > "$4/data/b"
    [ -e "$d/short" ] && rm "$4/data/b"
    echo '{"message_type":"summary","total_files":3,"files_restored":3,"total_bytes":9,"bytes_restored":9}';;
esac
"#;
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("restic");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn config(dir: &Path) -> serde_json::Value {
    std::fs::create_dir_all(dir.join("scratch")).unwrap();
    json!({ "program": fake(dir), "repository": "/srv/backup", "password": SECRET, "scratch": dir.join("scratch"), "restore_bytes_max": 100,
        "timeout": "20s", "backups": { "photos": { "paths": ["/srv/photos"], "exclude": ["*.tmp"] } } })
}

fn built(dir: &Path) -> (tempfile::TempDir, Restic) {
    let (kept, ledger) = ledger();
    (kept, Restic::new(&serde_json::from_value(config(dir)).unwrap(), ledger, DECISION_JOURNAL).unwrap())
}

fn log(dir: &Path) -> Vec<String> {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn act(id: u64, verb: &str) -> Action {
    action(id, verb, "backup/photos")
}

fn code(outcome: &Outcome) -> (&'static str, FaultCode) {
    let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = outcome else { panic!("{outcome:?}") };
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
    (outcome.name(), fault.code)
}

#[tokio::test]
async fn a_backup_names_its_snapshot_and_can_be_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, restic) = built(dir.path());
    assert_eq!(restic.ready().await, []);
    let Outcome::Done(receipt) = restic.apply(Time(0), &act(1, "restic.backup")).await else { panic!() };
    assert!(receipt.observed.starts_with("snapshot 5a3f: 2 files, 9 bytes"), "{receipt:?}");
    let sent = &log(dir.path())[1];
    assert_eq!(sent, "backup --tag homeostat:j1-a1 --tag homeostat-backup:photos --exclude=*.tmp -- /srv/photos");
    assert_eq!(std::fs::read_to_string(dir.path().join("password")).unwrap().trim(), SECRET, "by environment only");
    assert!(!log(dir.path()).concat().contains("hunter2"));
}

#[tokio::test]
async fn a_lock_is_a_conflict_and_nothing_is_unlocked() {
    for (exit, expected) in [("11", FaultCode::Conflict), ("1", FaultCode::Conflict), ("10", FaultCode::Conflict)] {
        let dir = tempfile::tempdir().unwrap();
        let (_kept, restic) = built(dir.path());
        std::fs::write(dir.path().join("exit"), exit).unwrap();
        let expected = if exit == "10" { FaultCode::NotFound } else { expected };
        assert_eq!(code(&restic.apply(Time(0), &act(1, "restic.backup")).await), ("not_done", expected), "{exit}");
        assert!(log(dir.path()).iter().all(|line| !line.contains("unlock")));
    }
    let dir = tempfile::tempdir().unwrap();
    let (_kept, restic) = built(dir.path());
    std::fs::write(dir.path().join("locked"), "").unwrap();
    let faults = restic.ready().await;
    assert_eq!((faults.len(), faults[0].1.code), (3, FaultCode::Denied), "one per verb: the password is wrong");
}

#[tokio::test]
async fn a_backup_that_was_killed_is_looked_up_in_the_repository() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, restic) = built(dir.path());
    std::fs::write(dir.path().join("hang"), "").unwrap();
    let short = Action { timeout: Span::from_millis(300), ..act(1, "restic.backup") };
    assert_eq!(code(&restic.apply(Time(0), &short).await), ("unknown", FaultCode::TimedOut));
    assert_eq!(restic.probe(Time(1), &short).await.name(), "not_done");
    std::fs::write(dir.path().join("snapshot"), "").unwrap();
    assert_eq!(restic.probe(Time(1), &short).await.name(), "done");
}

#[tokio::test]
async fn a_restore_is_compared_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, restic) = built(dir.path());
    assert_eq!(code(&restic.apply(Time(0), &act(1, "restic.restore-test")).await), ("not_done", FaultCode::NotFound), "no snapshot yet");
    std::fs::write(dir.path().join("snapshot"), "").unwrap();
    let outcome = restic.apply(Time(0), &act(2, "restic.restore-test")).await;
    assert!(matches!(&outcome, Outcome::Done(receipt) if receipt.observed.contains("2 files, 9 bytes")), "{outcome:?}");
    std::fs::write(dir.path().join("short"), "").unwrap();
    assert_eq!(code(&restic.apply(Time(0), &act(3, "restic.restore-test")).await), ("not_done", FaultCode::Failed));
    assert_eq!(std::fs::read_dir(dir.path().join("scratch")).unwrap().count(), 0);
    // A folder that is there already is nobody's to write to or to delete.
    std::fs::create_dir(dir.path().join("scratch/homeostat-j1-a4")).unwrap();
    assert_eq!(code(&restic.apply(Time(0), &act(4, "restic.restore-test")).await), ("not_done", FaultCode::Failed));
    assert!(dir.path().join("scratch/homeostat-j1-a4").is_dir());
    // Too large.
    let (_kept, ledger) = ledger();
    let small = ResticConfig { restore_bytes_max: 8, ..serde_json::from_value(config(dir.path())).unwrap() };
    let restic = Restic::new(&small, ledger, DECISION_JOURNAL).unwrap();
    assert_eq!(code(&restic.apply(Time(0), &act(5, "restic.restore-test")).await), ("not_done", FaultCode::Limit));
}

#[tokio::test]
async fn a_check_believes_the_summary_not_the_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, restic) = built(dir.path());
    assert_eq!(restic.apply(Time(0), &act(1, "restic.check")).await.name(), "done");
    std::fs::write(dir.path().join("damaged"), "").unwrap();
    assert_eq!(code(&restic.apply(Time(0), &act(2, "restic.check")).await), ("not_done", FaultCode::Failed));
}

#[test]
fn previews_start_nothing_and_wrong_configurations_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, restic) = built(dir.path());
    let planned = restic.preview(&act(1, "restic.restore-test")).unwrap();
    assert_eq!(planned.iter().map(|step| step.writes).collect::<Vec<_>>(), [false, false, true]);
    assert!(planned.iter().all(|step| !step.call.contains("hunter2")) && log(dir.path()).is_empty());
    let (_kept, ledger) = ledger();
    let mut bad: ResticConfig = serde_json::from_value(config(dir.path())).unwrap();
    bad.backups.get_mut("photos").unwrap().paths = vec!["photos".into()];
    bad.scratch = Some("/".into());
    bad.read_data_subset = Some("all".into());
    assert_eq!(Restic::new(&bad, ledger, "j1").err().unwrap().len(), 3);
}

#[tokio::test]
async fn restic_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, actuator) = subject(json!({ "restic": config(dir.path()) }), "restic");
    let path = dir.path().to_owned();
    let count = move || log(&path).len();
    conforms(Subject { actuator, good: act(1, "restic.backup"), count: Box::new(count), once: 1, _keep: Box::new((kept, dir)) }).await;
}
