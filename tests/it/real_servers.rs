//! Against real servers from Debian: node_exporter, Prometheus, Alertmanager, each on a free loopback port.
//!
//! A rule fires, the webhook arrives, the policy proposes, a person approves on the command line, a command runs, the claim is
//! judged, `explain` tells all of it. Then Prometheus is killed: policies become undetermined and nothing acts.

use crate::daemon::{Daemon, Server, free_port, request, until};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TOKEN: &str = "a-token-for-this-test-only";

const REPAIR: &str = r#"
//! Repairs the lab when its alert fires.
fn policy() {
    #{ on_alert: alerts("LabDiskFull"), every: "1s", cooldown: "1h", autonomy: "suggest" }
}
fn on_alert(alert) {
    if alert.status != "firing" { return; }
    let flag = series("lab_disk_full");
    if flag.last() > 0.5 {
        propose(exec("clean", #{}))
            .because(`${alert.name} fires on ${alert.node}`)
            .claim(flag.below(0.5).within("1m"));
    }
}
"#;

const WATCH: &str = r#"
//! Would act if the load were low; it is not.
fn policy() {
    #{ every: "1s", for_each: series("lab_load"), cooldown: "0", autonomy: "auto" }
}
fn evaluate(load) {
    if load.last() < 0.5 {
        propose(exec("clean", #{})).because("the load is low").claim(load.above(0.5).within("1m"));
    }
}
"#;

/// The address of a port on loopback.
fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn installed(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|output| output.status.success())
}

struct Lab {
    _node: Server,
    prometheus: Server,
    _alertmanager: Server,
    daemon: Daemon,
}

fn write(path: &Path, text: &str) {
    // Whole at once, as the textfile collector asks for.
    let part = path.with_extension("part");
    std::fs::write(&part, text).unwrap();
    std::fs::rename(&part, path).unwrap();
}

fn start(dir: &Path) -> Lab {
    let (node, prometheus, alertmanager, engine) = (free_port(), free_port(), free_port(), free_port());
    let texts = dir.join("texts");
    std::fs::create_dir(&texts).unwrap();
    write(&texts.join("lab.prom"), "lab_disk_full 1\nlab_load 3\n");
    let node_exporter = Server::start(
        "node_exporter",
        dir,
        Command::new("prometheus-node-exporter").args([
            &format!("--web.listen-address=127.0.0.1:{node}"),
            "--collector.disable-defaults",
            "--collector.textfile",
            &format!("--collector.textfile.directory={}", texts.display()),
        ]),
    );
    std::fs::write(
        dir.join("rules.yml"),
        "groups:\n- name: lab\n  interval: 1s\n  rules:\n  - alert: LabDiskFull\n    expr: lab_disk_full == 1\n    labels: {severity: critical}\n    annotations: {summary: The lab is full}\n",
    )
    .unwrap();
    std::fs::write(
        dir.join("prometheus.yml"),
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]}}\n\
             scrape_configs: [{{job_name: node, static_configs: [{{targets: ['127.0.0.1:{node}']}}]}}]\n",
            dir.join("rules.yml").display()
        ),
    )
    .unwrap();
    let prometheus_server = Server::start(
        "prometheus",
        dir,
        Command::new("prometheus").args([
            &format!("--config.file={}", dir.join("prometheus.yml").display()),
            &format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
            &format!("--web.listen-address=127.0.0.1:{prometheus}"),
        ]),
    );
    std::fs::write(
        dir.join("alertmanager.yml"),
        format!(
            "route: {{receiver: homeostat, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\nreceivers:\n- name: homeostat\n  webhook_configs:\n  - \
             url: http://127.0.0.1:{engine}/webhooks/alertmanager\n    http_config: {{authorization: {{credentials: {TOKEN}}}}}\n"
        ),
    )
    .unwrap();
    let alertmanager_server = Server::start(
        "alertmanager",
        dir,
        Command::new("prometheus-alertmanager").args([
            &format!("--config.file={}", dir.join("alertmanager.yml").display()),
            &format!("--storage.path={}", dir.join("alerts").display()),
            &format!("--web.listen-address=127.0.0.1:{alertmanager}"),
            "--cluster.listen-address=",
        ]),
    );
    for (what, port) in [("Prometheus", prometheus), ("Alertmanager", alertmanager)] {
        until(&format!("{what} is ready"), Duration::from_secs(30), || match request(local(port), "GET", "/-/ready", &[], "") {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    let daemon = Daemon::spawn(dir, Some(&configuration(dir, prometheus)), engine);
    daemon.wait();
    Lab { _node: node_exporter, prometheus: prometheus_server, _alertmanager: alertmanager_server, daemon }
}

fn configuration(dir: &Path, prometheus: u16) -> std::path::PathBuf {
    let policies = dir.join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("repair.rhai"), REPAIR).unwrap();
    std::fs::write(policies.join("watch.rhai"), WATCH).unwrap();
    let script = dir.join("clean.sh");
    let page = dir.join("texts/lab.prom");
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\necho \"$HOMEOSTAT_ACTION_ID\" >> {}\nprintf 'lab_disk_full 0\\nlab_load 3\\n' > {page}.part\nmv {page}.part {page}\necho cleaned\n",
            dir.join("cleaned").display(),
            page = page.display()
        ),
    )
    .unwrap();
    let config = dir.join("homeostat.yaml");
    let text = format!(
        "sensors:\n  prom:\n    kind: prometheus\n    url: http://127.0.0.1:{prometheus}\n    interval: 1s\n    timeout: 1s\n    backfill: 1m\n    selectors: ['{{__name__=~\"lab_.*|up\"}}']\n\
         webhooks:\n  alertmanager: {{ bearer: {TOKEN} }}\npolicies:\n  dir: {}\nactuators:\n  exec:\n    commands:\n      clean:\n        doc: Cleans the lab.\n        \
         argv: [/bin/sh, {}]\n        class: reversible\n        timeout: 10s\n        settle: 1s\n",
        policies.display(),
        script.display()
    );
    std::fs::write(&config, text).unwrap();
    config
}

fn actions(daemon: &Daemon) -> Vec<serde_json::Value> {
    daemon.json(&["actions"]).as_array().cloned().unwrap_or_default()
}

#[test]
fn from_a_real_alert_to_an_explained_action_and_blindness_afterwards() {
    for program in ["prometheus", "prometheus-alertmanager", "prometheus-node-exporter"] {
        if !installed(program) {
            println!("SKIPPED: {program} is not installed; `make test` installs it");
            assert!(std::env::var_os("CI").is_none(), "in CI the servers must be there: {program} is missing");
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut lab = start(dir.path());
    let waiting = until("a proposal waits for a person", Duration::from_secs(60), || {
        let list = actions(&lab.daemon);
        list.iter().find(|a| a["phase"] == "awaiting_approval").cloned().ok_or_else(|| format!("{list:?}\n{}", lab.daemon.server.log()))
    });
    let id = waiting["id"].as_str().unwrap().to_owned();
    assert_eq!(waiting["verb"], "exec.clean");
    assert!(!dir.path().join("cleaned").exists(), "nothing is done before a person says yes");
    let approved = lab.daemon.cli(&["approve", &id]);
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    let judged = until("the claim is judged", Duration::from_secs(60), || {
        let list = actions(&lab.daemon);
        let action = list.iter().find(|a| a["id"] == id.as_str()).cloned().unwrap_or_default();
        if action["judged"].is_null() { Err(format!("{action}")) } else { Ok(action) }
    });
    assert_eq!((judged["phase"].as_str(), judged["judged"].as_str()), (Some("done"), Some("held")), "{judged}");
    assert_eq!(std::fs::read_to_string(dir.path().join("cleaned")).unwrap().lines().count(), 1, "it ran once");
    let explained = String::from_utf8_lossy(&lab.daemon.cli(&["explain", &id]).stdout).into_owned();
    for part in ["LabDiskFull fires on", "lab_disk_full", "approved by", "cooldown", "exit status 0", "the claim held"] {
        assert!(explained.contains(part), "`{part}` is missing in:\n{explained}");
    }
    println!("{explained}");
    // A second yes does not count.
    assert!(!lab.daemon.cli(&["approve", &id]).status.success(), "an approval is single use");

    assert!(judged["sent_at"].is_i64(), "{judged}");
    let sent_before = actions(&lab.daemon).iter().filter(|a| !a["sent_at"].is_null()).count();
    lab.prometheus.kill();
    let view = until("the watching policy is undetermined", Duration::from_secs(30), || {
        let view = lab.daemon.json(&["explain", "watch"]);
        if view.to_string().contains("\"undetermined\"") { Ok(view) } else { Err(view.to_string()) }
    });
    println!("after Prometheus was killed: {view}");
    let status = lab.daemon.cli(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(4), "a blind sensor is unhealthy");
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("blind"), "the sensor says that it is blind: {status}");
    let sent_after = actions(&lab.daemon).iter().filter(|a| !a["sent_at"].is_null()).count();
    assert_eq!(sent_before, sent_after, "nothing acts while blind");
    let (status, metrics) = request(lab.daemon.address, "GET", "/metrics", &[], "").unwrap();
    assert!(status == 200 && metrics.contains("homeostat_"), "{metrics}");
}
