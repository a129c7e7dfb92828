//! The process killed at random points, a hundred times: nothing is done twice, nothing is lost, cooldowns hold.
//!
//! `HOMEOSTAT_SEED` repeats a run, `HOMEOSTAT_KILLS` changes how often.

use crate::daemon::{Daemon, free_port, request, until};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const POLICY: &str = r#"
//! Records every alert by a command.
fn policy() {
    #{ on_alert: alerts("{alertname=~'.+'}"), every: "1s", cooldown: "10h", autonomy: "auto" }
}
fn on_alert(alert) {
    if alert.status == "firing" {
        propose(exec("record", #{ name: alert.label("case") })).because("a test alert fires").claim(alert.resolved().within("1h"));
    }
}
"#;

/// A small generator, so that a seed repeats the run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn delivery(case: &str, starts_at: u64) -> String {
    serde_json::json!({
        "version": "4", "groupKey": "g", "truncatedAlerts": 0, "status": "firing", "receiver": "test", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://localhost",
        "alerts": [{ "status": "firing", "labels": { "alertname": "Kill", "case": case, "node": case }, "annotations": {},
            "startsAt": format!("2026-01-01T00:00:{:02}Z", starts_at % 60), "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": format!("{case:0>16}") }]
    })
    .to_string()
}

#[test]
fn killed_a_hundred_times_it_acts_once_per_symptom() {
    let (seed, kills) = (setting("HOMEOSTAT_SEED", 20_261_121), setting("HOMEOSTAT_KILLS", 100));
    println!("repeat with: HOMEOSTAT_SEED={seed} HOMEOSTAT_KILLS={kills} cargo test --test it killed");
    let mut random = Random(seed | 1);
    let dir = tempfile::tempdir().unwrap();
    let (policies, done) = (dir.path().join("policies"), dir.path().join("done"));
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("record.rhai"), POLICY).unwrap();
    let script = dir.path().join("record.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"$HOMEOSTAT_ACTION_ID $1\" >> \"$2\"\n").unwrap();
    let config = dir.path().join("homeostat.yaml");
    let text = format!(
        "sensors: {{}}\npolicies:\n  dir: {}\narbiter:\n  earned: {{ start: auto }}\n  per_hour_max: {{ reversible: 100000 }}\n  concurrent_max: {{ reversible: 1000 }}\n  storm: {{ alerts_max: 100000 }}\nactuators:\n  exec:\n    commands:\n      record:\n        \
         doc: Writes a line.\n        argv: [/bin/sh, {}, '{{name}}', {}]\n        args: {{ name: {{ kind: text, max_bytes: 40, doc: The case. }} }}\n        class: reversible\n        timeout: 10s\n",
        policies.display(),
        script.display(),
        done.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut accepted: BTreeSet<String> = BTreeSet::new();
    let mut case = 0u64;
    for round in 0..kills {
        let mut daemon = Daemon::spawn(dir.path(), Some(&config), free_port());
        daemon.wait();
        for _ in 0..1 + random.below(4) {
            // One in three repeats an earlier symptom with a new start: its cooldown must hold.
            let repeat = case > 0 && random.below(3) == 0;
            let number = if repeat { random.below(case) } else { case };
            case += u64::from(!repeat);
            let name = format!("c{number}");
            if let Ok((200, _)) =
                request(daemon.address, "POST", "/webhooks/alertmanager", &[("Content-Type", "application/json")], &delivery(&name, round))
            {
                accepted.insert(name);
            }
        }
        std::thread::sleep(Duration::from_micros(random.below(30_000)));
        daemon.server.kill();
    }
    let daemon = Daemon::start(dir.path(), Some(&config));
    let actions = until("everything admitted has an end", Duration::from_secs(60), || {
        let actions = daemon.json(&["actions", "--limit", "1000"]);
        let list = actions.as_array().cloned().ok_or_else(|| format!("no list: {actions}"))?;
        let open = list.iter().filter(|a| ["in_flight", "admitted"].contains(&a["phase"].as_str().unwrap_or_default())).count();
        let symptoms: BTreeSet<&str> = list.iter().filter(|a| a["sent_at"].is_i64()).filter_map(|a| a["target"].as_str()).collect();
        if open == 0 && symptoms.len() >= accepted.len() {
            Ok(list)
        } else {
            Err(format!("{open} open, {} of {} sent", symptoms.len(), accepted.len()))
        }
    });
    let lines = std::fs::read_to_string(&done).unwrap_or_default();
    let (mut by_action, mut by_case): (BTreeMap<&str, u32>, BTreeMap<&str, u32>) = Default::default();
    for (action, case) in lines.lines().filter_map(|line| line.split_once(' ')) {
        *by_action.entry(action).or_default() += 1;
        *by_case.entry(case).or_default() += 1;
    }
    assert!(by_action.values().all(|count| *count == 1), "an action was done twice: {by_action:?}");
    assert!(by_case.values().all(|count| *count == 1), "a cooldown did not hold: {by_case:?}");
    // Lost is what was accepted, has not arrived, and is not known to be unknown.
    let unknown: BTreeSet<&str> = actions
        .iter()
        .filter(|a| a["sent_at"].is_i64() && ["probing", "closed"].contains(&a["phase"].as_str().unwrap_or_default()))
        .filter_map(|a| a["target"].as_str()?.strip_prefix("node/"))
        .collect();
    let lost: Vec<&String> =
        accepted.iter().filter(|case| !by_case.contains_key(case.as_str()) && !unknown.contains(case.as_str())).collect();
    assert!(lost.is_empty(), "accepted, not done, and nobody says that it is unknown: {lost:?}");
    let known_unknown = accepted.iter().filter(|case| !by_case.contains_key(case.as_str())).count();
    let verified = daemon.cli(&["journal", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    println!(
        "{kills} kills, {} alerts accepted, {} done once, {known_unknown} not done and known to be unknown",
        accepted.len(),
        by_case.len()
    );
}
