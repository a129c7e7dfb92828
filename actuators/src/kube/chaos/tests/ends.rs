//! How experiments end when things go wrong: dead daemons, a stopped controller, aborts, what a killed daemon left behind.

use super::deeds::{apply, done, experiments, lab, not_done, run, unknown};
use crate::conformance::action_with;
use crate::kube::tests::Cluster;
use crate::kube::{KubeClient, KubernetesConfig, abort_all, abort_expired};
use homeostat_model::{Action, Arg, Args, FaultCode, Outcome, Receipt, Span, Time};
use serde_json::json;
use std::time::Duration;

fn daemons(cluster: &Cluster, alive: bool) {
    ["n1", "n2", "n3"].iter().for_each(|node| cluster.server.set_chaos_daemon(node, alive));
}

fn until_injected(id: u64) -> Action {
    let mut action = run(id, "late");
    action.args.insert("until".into(), Arg::from("injected"));
    action
}

fn abort(id: u64, target: &str, args: Args) -> Action {
    Action { timeout: Span::from_mins(5), ..action_with(id, "chaos.abort", target, args) }
}

/// A client of its own, as a command line without a daemon has.
fn client(cluster: &Cluster) -> KubeClient {
    let config: KubernetesConfig = serde_json::from_value(json!({ "connect": cluster.connect(), "poll": "20ms" })).unwrap();
    KubeClient::new(&config, "other", crate::Pace::default()).unwrap()
}

#[tokio::test]
async fn a_dead_daemon_keeps_an_experiment_from_being_taken_back_and_a_person_is_asked() {
    let cluster = lab(json!({})).await;
    let action = until_injected(1);
    let receipt = done(apply(&cluster, &action).await);
    daemons(&cluster, false);
    let fault = unknown(cluster.actuator("chaos").revert(Time(0), &action, &receipt).await, "RecoveryStuck");
    assert!(fault.detail.contains("still hit: web/shop-") && fault.detail.contains("person"), "{fault}");
    let object = cluster.server.get("networkchaos.chaos-mesh.org", "web", "homeostat-j1-a1").unwrap();
    assert!(object["metadata"]["annotations"]["chaos-mesh.chaos-mesh.org/cleanFinalizer"].is_null(), "nothing is forced");
    daemons(&cluster, true);
    cluster.until(|_| experiments(&cluster) == 0).await;
}

#[tokio::test]
async fn an_experiment_that_does_not_hit_all_is_ended_and_not_done() {
    let cluster = lab(json!({})).await;
    daemons(&cluster, false);
    let fault = not_done(apply(&cluster, &run(1, "late")).await, FaultCode::Failed, "0 of 1 targets are hit");
    assert!(fault.detail.contains("connection refused") && fault.detail.contains("it was ended and is gone"), "{fault}");
    assert_eq!(experiments(&cluster), 0);
}

#[tokio::test]
async fn without_its_controller_nothing_happens_and_that_is_said() {
    let cluster = lab(json!({})).await;
    cluster.server.set_chaos_controller(false);
    let fault = not_done(apply(&cluster, &run(1, "kill")).await, FaultCode::TimedOut, "controller manager");
    assert!(fault.detail.contains("is gone"), "{fault}");
    assert_eq!(experiments(&cluster), 0);
}

#[tokio::test]
async fn an_abort_ends_a_running_experiment_whose_apply_says_so() {
    let cluster = lab(json!({})).await;
    // So long that it does not end by itself before the abort, on the slowest machine.
    let action = Action { timeout: Span::from_hours(1), ..run(1, "long") };
    let other = lab_action(&cluster, &action);
    let (applied, ()) = tokio::join!(apply(&cluster, &action), other);
    not_done(applied, FaultCode::Conflict, "ended the experiment early");
    assert_eq!(experiments(&cluster), 0);
}

async fn lab_action(cluster: &Cluster, action: &Action) {
    let hit = |server: &homeostat_kube_face::KubeServer| {
        let object = server.get("networkchaos.chaos-mesh.org", "web", "homeostat-j1-a1");
        object.is_some_and(|object| object["status"]["experiment"]["containerRecords"][0]["phase"] == "Injected")
    };
    cluster.until(hit).await;
    // No receipt yet: the fixed name is enough.
    let reverted = cluster.actuator("chaos").revert(Time(0), action, &Receipt::default()).await;
    assert!(done(reverted).observed.contains("recovered"));
}

#[tokio::test]
async fn a_schedule_makes_experiments_until_its_time_is_over_and_leaves_none() {
    let cluster = lab(json!({})).await;
    let receipt = done(apply(&cluster, &run(1, "often")).await);
    assert!(receipt.observed.contains("ended at its time"), "{}", receipt.observed);
    assert_eq!(experiments(&cluster), 0);
}

#[tokio::test]
async fn an_abort_by_action_by_target_and_of_all() {
    let cluster = lab(json!({ "pods_max": 3 })).await;
    let (first, second) = (until_injected(1), until_injected(2));
    done(apply(&cluster, &first).await);
    done(apply(&cluster, &second).await);
    let by_action = abort(3, "deployment/web/shop", Args::from([("action".to_owned(), Arg::Int(1))]));
    assert!(done(apply(&cluster, &by_action).await).observed.contains("networkchaos/web/homeostat-j1-a1"));
    assert_eq!(experiments(&cluster), 1);
    assert!(done(apply(&cluster, &abort(4, "deployment/web/other", Args::new())).await).observed.contains("nothing to end"));
    assert!(done(apply(&cluster, &abort(5, "deployment/web/shop", Args::new())).await).observed.contains("homeostat-j1-a2"));
    done(apply(&cluster, &until_injected(6)).await);
    assert!(done(apply(&cluster, &abort(7, "chaos/all", Args::new())).await).observed.contains("homeostat-j1-a6"));
    assert_eq!(experiments(&cluster), 0);
    let probed = cluster.actuator("chaos").probe(Time(1), &abort(7, "chaos/all", Args::new())).await;
    assert!(matches!(probed, Outcome::Done(_)));
}

#[tokio::test]
async fn all_of_ours_end_without_a_daemon_and_nobody_elses() {
    let cluster = lab(json!({})).await;
    let foreign = json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos", "metadata": { "name": "theirs", "namespace": "web" },
        "spec": { "action": "pod-failure", "mode": "one", "selector": { "namespaces": ["web"] } } });
    cluster.server.upsert(foreign).unwrap();
    done(apply(&cluster, &until_injected(1)).await);
    let schedule = json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "Schedule",
        "metadata": { "name": "ours", "namespace": "web", "labels": { "app.kubernetes.io/managed-by": "homeostat" } },
        "spec": { "schedule": "@every 1h", "type": "PodChaos" } });
    cluster.server.upsert(schedule).unwrap();
    let client = client(&cluster);
    let report = abort_all(&client, Span::from_secs(10)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.recovered, ["schedules/web/ours", "networkchaos/web/homeostat-j1-a1"], "what makes experiments goes first");
    assert_eq!(experiments(&cluster), 1, "what is not ours stays");
    assert!(abort_all(&client, Span::from_secs(10)).await.recovered.is_empty());
}

#[tokio::test]
async fn what_a_killed_daemon_left_behind_is_ended_when_its_time_is_over() {
    let cluster = lab(json!({})).await;
    done(apply(&cluster, &until_injected(1)).await); // its lease ended at 60 s
    let client = client(&cluster);
    let early = abort_expired(&client, Time(61_000), Span::from_secs(10)).await;
    assert!(early.recovered.is_empty() && early.is_clean(), "{early}");
    let late = abort_expired(&client, Time(60_000 + 3_600_000), Span::from_secs(10)).await;
    assert_eq!(late.recovered, ["networkchaos/web/homeostat-j1-a1"]);
}

#[tokio::test]
async fn a_stuck_one_is_named_in_the_report() {
    let cluster = lab(json!({})).await;
    done(apply(&cluster, &until_injected(1)).await);
    daemons(&cluster, false);
    let client = client(&cluster);
    let report = tokio::time::timeout(Duration::from_secs(50), abort_all(&client, Span::from_secs(1))).await.unwrap();
    assert_eq!((report.stuck.as_slice(), report.is_clean()), (&["networkchaos/web/homeostat-j1-a1".to_owned()][..], false));
    assert!(report.to_string().contains("a person must look"));
}
