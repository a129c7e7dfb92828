//! The drill: late packets in the web tier while its steady state is watched. Where it breaks, the experiment is ended at once.

use super::{Files, House, apart, definition};
use crate::daemon::BINARY;
use homeostat_kube_face::KubeServer;
use homeostat_model::{RunEnd, Span};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LAB: &str = r#"
name: small
engine: brain
scrape: 1s
nodes:
  - { name: brain, kind: brain, mac: "02:00:00:00:00:01", switch: rack, filesystems: [{ mountpoint: /, size_bytes: 64e9, used_ratio: 0.4 }] }
  - { name: nano-1, kind: small, mac: "02:00:00:00:00:11", switch: rack, filesystems: [{ mountpoint: /, size_bytes: 240e9, used_ratio: 0.4 }] }
  - { name: nano-2, kind: small, mac: "02:00:00:00:00:12", switch: rack, filesystems: [{ mountpoint: /, size_bytes: 240e9, used_ratio: 0.4 }] }
services:
  - { name: web, nodes: [nano-1, nano-2], replicas: 2, peak_rps: 16, replica_rps: 20, shape: steady }
"#;

const DRILL: &str = r#"
doc: Delays the packets of one web pod, and watches that people do not notice.
target_kinds: [deployment]
timeout: 30m
steps:
  - id: inject
    verb: chaos.run
    args: { experiment: late }
    steady: [{ series: "service_latency_seconds{service='web'}", relation: below, threshold: 0.5 }]
"#;
const SHELF: &str = "networkchaos.chaos-mesh.org";
const LATENCY: &str = "service_latency_seconds{service='web'}";
const WEB: &str = "deployment/home/web";

/// A house with Chaos Mesh whose web tier lets itself be hit, under a drill that has begun to hit it.
async fn drill(speed: f64) -> House {
    let mut house = House::open(LAB, speed).await;
    let kube = house.kube();
    kube.upsert(definition("chaos-mesh.org", "v1alpha1", "NetworkChaos", "networkchaos", "Namespaced")).unwrap();
    let consent = json!({ "chaos-mesh.org/inject": "enabled" });
    kube.upsert(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "home", "annotations": consent } })).unwrap();
    let selector = json!({ "namespaces": ["home"], "labelSelectors": { "app.kubernetes.io/name": "web" } });
    let spec = json!({ "action": "delay", "mode": "one", "selector": selector, "delay": { "latency": "200ms" } });
    let late = json!({ "doc": "Late packets.", "kind": "NetworkChaos", "duration": "2m", "spec": spec });
    let chaos = json!({ "namespaces": ["home"], "experiments": { "late": late }, "recovery_timeout": "20s", "settle": "10s" });
    let (interval, poll) = if speed > 1.0 { ("5s", "2s") } else { ("1s", "100ms") };
    let config = json!({
        "actuators": { "kubernetes": { "chaos": chaos, "poll": poll } },
        "sensors": { "lab": { "interval": interval, "timeout": interval } },
    });
    house.run(Files { config, playbooks: vec![("chaos-drill", DRILL)], ..Files::default() }).await;
    house.until_some("the web tier is steady", async || house.read(LATENCY).await.filter(|(value, _)| *value < 0.5)).await;
    let ready = || house.kube().list("pods").iter().filter(|pod| pod["status"]["phase"] == "Running").count();
    house.until("both pods run", || ready() == 2).await;
    house.wish("playbook.chaos-drill", WEB).await;
    house.until("a pod is hit", || experiment(house.kube()).is_some_and(|one| is_hit(&one))).await;
    house
}

fn experiment(kube: &KubeServer) -> Option<Arc<Value>> {
    kube.list(SHELF).into_iter().next()
}

fn is_hit(experiment: &Value) -> bool {
    let records = experiment["status"]["experiment"]["containerRecords"].as_array();
    records.is_some_and(|records| !records.is_empty() && records.iter().all(|record| record["phase"] == "Injected"))
}

/// The late packets are felt, or no longer.
fn feel(house: &House, late: bool) {
    house.faces.world().with(|plant| plant.services[0].misconfigured = late);
}

/// Breaks the steady state and waits until the delete has arrived: how long after the reading came that, really and in the daemon's time.
async fn broken(house: &House) -> (Duration, Span) {
    feel(house, true);
    let mut read = None;
    house
        .until_some("the experiment is being deleted", async || {
            if read.is_none() {
                read = house.read(LATENCY).await.filter(|(value, _)| *value > 0.5).map(|(_, at)| (Instant::now(), at));
            }
            let going = experiment(house.kube()).is_none_or(|one| !one["metadata"]["deletionTimestamp"].is_null());
            going.then_some(())
        })
        .await;
    let deleted = (Instant::now(), house.handle().now());
    // The delete may be seen before the reading that led to it.
    let (seen, at) = match read {
        Some(read) => read,
        None => house.until_some("the reading", async || house.read(LATENCY).await.map(|(_, at)| (Instant::now(), at))).await,
    };
    (deleted.0.saturating_duration_since(seen), apart(at, deleted.1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_state_that_breaks_ends_the_experiment_within_two_seconds_and_all_recovers() {
    // At the machine's own pace, so that both times are the same.
    let house = drill(1.0).await;
    let (real, own) = broken(&house).await;
    assert!(real <= Duration::from_secs(2) && own <= Span::from_secs(2), "the delete came {real:?} ({own}) after the reading");
    house.until("nothing is injected any more", || experiment(house.kube()).is_none()).await;
    feel(&house, false);
    let (run, end, why) = house.run_ended().await;
    assert!(end == RunEnd::Undone && why.contains("the steady state broke"), "{end:?}: {why}");
    assert!(run.taken_back.values().all(|worked| *worked), "{run:?}");
    house.until_some("the web tier is steady again", async || house.read(LATENCY).await.filter(|(value, _)| *value < 0.5)).await;
    assert_eq!(super::sent(&house.actions("chaos.run").await), 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_dead_chaos_daemon_the_run_is_stuck_and_says_so() {
    // What became of the experiment is asked for twenty minutes.
    let house = drill(90.0).await;
    for node in ["nano-1", "nano-2"] {
        house.kube().set_chaos_daemon(node, false);
    }
    broken(&house).await;
    let (run, end, why) = house.run_ended().await;
    assert!(end == RunEnd::Stuck && run.is_stuck() && why.contains("the steady state broke"), "{end:?}: {why}");
    let action = house.actions("chaos.run").await.remove(0);
    let told = action.timeline.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(told.contains("RecoveryStuck") && told.contains("chaos daemon"), "{told}");
    assert!(experiment(house.kube()).is_some_and(|one| is_hit(&one)), "it is still there: its finalizer was not taken away");
    // Its target is blocked until a person has looked.
    house.wish("playbook.chaos-drill", WEB).await;
    let second =
        house.until_some("the second wish is ruled on", async || house.actions("playbook.chaos-drill").await.into_iter().nth(1)).await;
    assert!(second.action.is_none(), "{second:?}");
    assert_eq!(super::sent(&house.actions("chaos.run").await), 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emergency_stop_of_the_command_line_ends_it_past_the_daemon() {
    let house = drill(20.0).await;
    let (path, data) = (house.config(), house.dir.path().join("data"));
    let stop = move || {
        let mut command = std::process::Command::new(BINARY);
        command.args(["chaos", "abort", "--all", "--json", "--config"]).arg(path).arg("--data").arg(data).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(stop).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["recovered"].as_array().map(Vec::len), Some(1), "{report}");
    assert!(experiment(house.kube()).is_none());
    let (_, end, why) = house.run_ended().await;
    assert!(end == RunEnd::Undone && why.contains("inject"), "{end:?}: {why}");
    let action = house.actions("chaos.run").await.remove(0);
    assert!(super::detail(&action).contains("somebody ended the experiment early"), "{action:?}");
    house.close().await;
}
