use super::*;
use crate::conformance::{SECRET, Subject, action_with, conforms, corpus, ledger, subject};
use serde_json::Value;
use std::path::Path;

/// A runner that leaves artifacts as ansible-runner does. `log` gets every call with its command line and variables; the files
/// `fail-check`, `fail-run`, `dark`, `hang`, `silent` change what it does.
fn fake(dir: &Path) -> String {
    let script = r#"#!/bin/sh
d=$(dirname "$0"); p=$2; play=$4; ident=$6
mode=run; [ -e "$p/env/cmdline" ] && mode="check $(cat "$p/env/cmdline")"
echo "$mode $play $ident $(cat "$p/env/extravars")" >> "$d/log"
[ -e "$p/project/site.yml" ] && [ -e "$p/inventory" ] || exit 9
a="$p/artifacts/$ident"; mkdir -p "$a/job_events"
[ -e "$d/hang" ] && [ "$mode" = run ] && { sleep 60; exit 1; }
echo "$TOKEN"
[ -e "$d/silent" ] && exit 0
rc=0; status=successful; failures='{}'; dark='{}'
fails=$d/fail-check; [ "$mode" = run ] && fails=$d/fail-run
if [ -e "$fails" ]; then
  rc=2; status=failed; failures='{"nas":1}'
  echo '{"event":"runner_on_failed","event_data":{"host":"nas","task":"patch","res":{"msg":"no space"}}}' > "$a/job_events/9-b.json"
fi
[ -e "$d/dark" ] && [ "$mode" = run ] && dark='{"nas":1}'
echo '{"event":"playbook_on_stats","event_data":{"ok":{"nas":3},"changed":{"nas":1},"failures":'"$failures"',"dark":'"$dark"',"skipped":{}}}' > "$a/job_events/10-a.json"
printf %s $rc > "$a/rc"; printf %s $status > "$a/status"; exit $rc
"#;
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("ansible-runner");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn config(dir: &Path) -> Value {
    for part in ["data/project", "data/inventory", "work"] {
        std::fs::create_dir_all(dir.join(part)).unwrap();
    }
    std::fs::write(dir.join("data/project/site.yml"), "").unwrap();
    std::fs::write(dir.join("data/project/undo.yml"), "").unwrap();
    let play = |back: Option<&str>| json!({ "playbook": "site.yml", "vars": { "version": "[0-9.]+" }, "revert_playbook": back });
    json!({ "program": fake(dir), "data_dir": dir.join("data"), "work_dir": dir.join("work"), "env": { "TOKEN": SECRET },
        "playbooks": { "patch": play(Some("undo.yml")), "once": play(None) } })
}

fn built(dir: &Path) -> (tempfile::TempDir, Ansible) {
    let (kept, ledger) = ledger();
    (kept, Ansible::new(&serde_json::from_value(config(dir)).unwrap(), ledger, "j1").unwrap())
}

fn log(dir: &Path) -> Vec<String> {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn act(id: u64) -> Action {
    let vars = Arg::Map([("version".to_owned(), Arg::from("1.2"))].into());
    action_with(id, "ansible.run", "playbook/patch", [("vars".to_owned(), vars)].into())
}

fn code(outcome: &Outcome) -> (&'static str, FaultCode) {
    let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = outcome else { panic!("{outcome:?}") };
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
    (outcome.name(), fault.code)
}

#[tokio::test]
async fn a_check_comes_first_and_the_counts_prove_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, ansible) = built(dir.path());
    assert_eq!(ansible.ready().await, []);
    let Outcome::Done(receipt) = ansible.apply(Time(0), &act(1)).await else { panic!() };
    assert_eq!(receipt.observed, "rc 0, successful: ok 3, changed 1, failed 0, unreachable 0");
    let vars = r#"{"version":"1.2"}"#;
    assert_eq!(log(dir.path()), [format!("check --check --diff site.yml j1-a1-check {vars}"), format!("run site.yml j1-a1 {vars}")]);
    assert!(matches!(ansible.revert(Time(0), &act(1), &receipt).await, Outcome::Done(_)));
    ansible.revert(Time(0), &act(1), &receipt).await;
    assert_eq!(log(dir.path())[2..].len(), 2, "a check and a run of the undo play, once");
    assert!(log(dir.path())[3].starts_with("run undo.yml j1-a1-revert"));
}

#[tokio::test]
async fn failures_are_named_and_a_failed_check_changes_nothing() {
    for (file, calls, words) in
        [("fail-check", 1, "nothing was changed"), ("fail-run", 2, "`patch` failed: no space"), ("dark", 2, "unreachable 1")]
    {
        let dir = tempfile::tempdir().unwrap();
        let (_kept, ansible) = built(dir.path());
        std::fs::write(dir.path().join(file), "").unwrap();
        let outcome = ansible.apply(Time(0), &act(1)).await;
        assert_eq!(code(&outcome), ("not_done", FaultCode::Failed), "{file}");
        assert!(format!("{outcome:?}").contains(words), "{outcome:?}");
        ansible.apply(Time(0), &act(1)).await;
        assert_eq!(log(dir.path()).len(), calls);
    }
}

#[tokio::test]
async fn a_killed_run_is_unknown_until_its_artifacts_tell() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, ansible) = built(dir.path());
    std::fs::write(dir.path().join("hang"), "").unwrap();
    let short = Action { timeout: Span::from_millis(1500), ..act(1) };
    assert_eq!(code(&ansible.apply(Time(0), &short).await), ("unknown", FaultCode::TimedOut));
    assert_eq!(ansible.probe(Time(1), &short).await.name(), "unknown");
    let artifacts = dir.path().join("work/j1-a1/artifacts/j1-a1");
    std::fs::write(artifacts.join("rc"), "0").unwrap();
    std::fs::write(artifacts.join("status"), "successful").unwrap();
    assert_eq!(ansible.probe(Time(1), &short).await.name(), "not_done", "rc 0 without a count proves nothing good");
    let stats = json!({ "event": "playbook_on_stats", "event_data": { "ok": { "nas": 1 } } });
    std::fs::write(artifacts.join("job_events/3-x.json"), stats.to_string()).unwrap();
    assert_eq!(ansible.probe(Time(1), &short).await.name(), "done");

    let dir = tempfile::tempdir().unwrap();
    let (_kept, ansible) = built(dir.path());
    std::fs::write(dir.path().join("silent"), "").unwrap();
    assert_eq!(code(&ansible.apply(Time(0), &act(1)).await), ("not_done", FaultCode::Malformed), "the check told nothing");
}

#[tokio::test]
async fn only_listed_playbooks_and_variables() {
    let dir = tempfile::tempdir().unwrap();
    let (_kept, ansible) = built(dir.path());
    let with = |name: &str, value: &str| {
        let vars = Arg::Map([(name.to_owned(), Arg::from(value))].into());
        Action { args: [("vars".to_owned(), vars)].into(), ..act(1) }
    };
    assert!(ansible.check(&with("version", "1; rm")).is_err() && ansible.check(&with("ansible_user", "root")).is_err());
    assert!(ansible.check(&Action { target: "playbook/other".into(), ..act(1) }).is_err());
    let planned = ansible.preview(&act(1)).unwrap();
    assert_eq!(planned.iter().map(|step| step.writes).collect::<Vec<_>>(), [false, true]);
    assert!(log(dir.path()).is_empty());
    std::fs::remove_file(dir.path().join("data/project/undo.yml")).unwrap();
    assert!(ansible.ready().await[0].1.detail.contains("undo.yml"));
    let (_kept, ledger) = ledger();
    let mut bad = config(dir.path());
    bad["work_dir"] = json!(dir.path().join("data/work"));
    bad["playbooks"]["patch"]["playbook"] = json!("../x.yml");
    bad["playbooks"]["once"]["vars"] = json!({ "a": "(" });
    assert_eq!(Ansible::new(&serde_json::from_value(bad).unwrap(), ledger, "j1").err().unwrap().len(), 3);
}

#[test]
fn the_corpus_events_are_read() {
    let Some(dir) = corpus("acting/ansible") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("runner-samples.json")).unwrap()).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let artifacts = kept.path().join("p-42/artifacts/p-42");
    std::fs::create_dir_all(artifacts.join("job_events")).unwrap();
    std::fs::write(artifacts.join("rc"), "0").unwrap();
    std::fs::write(artifacts.join("status"), all["status_values"][3].as_str().unwrap()).unwrap();
    std::fs::write(artifacts.join("job_events/12-u.json"), all["event"].to_string()).unwrap();
    std::fs::write(artifacts.join("job_events/13-u.json"), all["stats_event"].to_string()).unwrap();
    assert!(Folder::of(kept.path(), "p-42").told().unwrap().is_good());
}

#[tokio::test]
async fn ansible_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = config(dir.path());
    one["playbooks"].as_object_mut().unwrap().remove("once");
    let (kept, actuator) = subject(json!({ "ansible": one }), "ansible");
    let path = dir.path().to_owned();
    let count = move || log(&path).iter().filter(|line| line.starts_with("run")).count();
    conforms(Subject { actuator, good: act(1), count: Box::new(count), once: 1, _keep: Box::new((kept, dir)) }).await;
}
