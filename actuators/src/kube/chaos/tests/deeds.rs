//! One experiment from its making to its end, against the face's Chaos Mesh.

use crate::conformance::action_with;
use crate::kube::chaos::compose::ChaosKind;
use crate::kube::tests::{Cluster, deployment};
use homeostat_kube_face::{FaultKind, KubeFault, Settings};
use homeostat_model::{Action, Arg, Args, Fault, FaultCode, Outcome, Receipt, Span, Time};
use serde_json::{Value, json};

/// A definition that keeps whatever it is given.
pub(crate) fn definition(group: &str, version: &str, kind: &str, plural: &str) -> Value {
    let free = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": free, "status": free, "operation": free } } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": format!("{plural}.{group}") },
        "spec": { "group": group, "scope": "Namespaced", "names": { "kind": kind, "plural": plural, "singular": plural },
            "versions": [{ "name": version, "served": true, "storage": true, "schema": schema }] },
    })
}

pub(crate) fn section(changes: Value) -> Value {
    let web = |app: &str| json!({ "namespaces": ["web"], "labelSelectors": { "app": app } });
    let mut chaos = json!({
        "namespaces": ["web"], "pods_max": 2, "recovery_timeout": "2s", "selection_timeout": "1s", "injection_timeout": "2s", "ad_hoc": true, "duration_max": "30m",
        "experiments": {
            "kill": { "doc": "Kills one pod.", "kind": "PodChaos", "spec": { "action": "pod-kill", "mode": "one", "selector": web("shop") } },
            "fail": { "doc": "Fails one pod.", "kind": "PodChaos", "duration": "60s",
                "spec": { "action": "pod-failure", "mode": "one", "selector": web("shop") } },
            "late": { "doc": "Late packets.", "kind": "NetworkChaos", "spec": { "action": "delay", "mode": "one", "selector": web("shop"),
                "delay": { "latency": "200ms" }, "duration": "60s" } },
            "long": { "doc": "Late packets, for long.", "kind": "NetworkChaos", "spec": { "action": "delay", "mode": "one",
                "selector": web("shop"), "delay": { "latency": "200ms" }, "duration": "30m" } },
            "all": { "doc": "Too many.", "kind": "PodChaos", "spec": { "action": "pod-kill", "mode": "all", "selector": web("shop") } },
            "wide": { "doc": "Too wide.", "kind": "PodChaos",
                "spec": { "action": "pod-kill", "mode": "one", "selector": { "namespaces": ["web"] } } },
            "none": { "doc": "Nobody.", "kind": "PodChaos", "spec": { "action": "pod-kill", "mode": "one", "selector": web("nobody") } },
            "often": { "doc": "Again and again.", "kind": "Schedule", "duration": "3s", "spec": { "schedule": "@every 10s", "type": "PodChaos",
                "podChaos": { "action": "pod-kill", "mode": "one", "selector": web("shop") } } }
        }
    });
    changes.as_object().unwrap().iter().for_each(|(key, value)| chaos[key] = value.clone());
    json!({ "chaos": chaos })
}

/// A cluster with Chaos Mesh and three pods of `shop`, whose namespace lets itself be hit.
pub(crate) async fn lab(changes: Value) -> Cluster {
    let cluster = Cluster::start_as(Settings::default(), section(changes)).await;
    for kind in ChaosKind::ALL {
        cluster.server.upsert(definition("chaos-mesh.org", "v1alpha1", kind.name(), kind.plural())).unwrap();
    }
    let notes = json!({ "chaos-mesh.org/inject": "enabled" });
    cluster.server.upsert(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web", "annotations": notes } })).unwrap();
    cluster.make(deployment("shop", 3)).await;
    cluster
}

pub(crate) fn run(id: u64, experiment: &str) -> Action {
    let args = Args::from([("experiment".to_owned(), Arg::from(experiment))]);
    Action { timeout: Span::from_mins(10), ..action_with(id, "chaos.run", "deployment/web/shop", args) }
}

pub(crate) async fn apply(cluster: &Cluster, action: &Action) -> Outcome {
    cluster.actuator("chaos").apply(Time(0), action).await
}

pub(crate) fn done(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Done(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}
pub(crate) fn not_done(outcome: Outcome, code: FaultCode, part: &str) -> Fault {
    match outcome {
        Outcome::NotDone(fault) if fault.code == code && fault.detail.contains(part) => fault,
        other => panic!("expected not done, {code:?}, {part}: {other:?}"),
    }
}
pub(crate) fn unknown(outcome: Outcome, part: &str) -> Fault {
    match outcome {
        Outcome::Unknown(fault) if fault.detail.contains(part) => fault,
        other => panic!("expected unknown, {part}: {other:?}"),
    }
}

pub(crate) fn experiments(cluster: &Cluster) -> usize {
    ChaosKind::ALL.iter().map(|kind| cluster.server.list(&format!("{}.chaos-mesh.org", kind.plural())).len()).sum()
}

fn inject(cluster: &Cluster, method: &str, path: &str, kind: FaultKind) {
    assert!(cluster.server.inject(KubeFault { method: method.into(), path_prefix: path.into(), kind, count: 1 }));
}

#[tokio::test]
async fn a_pod_is_killed_and_the_experiment_goes() {
    let cluster = lab(json!({})).await;
    let before: Vec<Value> = cluster.pods("shop").iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    let receipt = done(apply(&cluster, &run(1, "kill")).await);
    assert!(receipt.observed.contains("1 targets struck"), "{}", receipt.observed);
    cluster.until(|_| cluster.pods("shop").iter().any(|pod| !before.contains(&pod["metadata"]["uid"]))).await;
    assert_eq!(experiments(&cluster), 0);
    assert_eq!(done(apply(&cluster, &run(1, "kill")).await), receipt, "one number acts once");
}

#[tokio::test]
async fn late_packets_end_by_themselves_and_are_seen_to_be_recovered() {
    let cluster = lab(json!({})).await;
    let receipt = done(apply(&cluster, &run(1, "late")).await);
    assert!(receipt.observed.contains("were hit and are recovered"), "{}", receipt.observed);
    assert_eq!(experiments(&cluster), 0);
    let reverted = cluster.actuator("chaos").revert(Time(0), &run(1, "late"), &receipt).await;
    assert!(done(reverted).observed.contains("gone already"));
}

#[tokio::test]
async fn what_stands_carries_whose_it_is_and_an_end() {
    let cluster = lab(json!({})).await;
    let mut action = run(7, "late");
    action.args.insert("until".into(), Arg::from("injected"));
    let receipt = done(apply(&cluster, &action).await);
    let object = cluster.server.get("networkchaos.chaos-mesh.org", "web", "homeostat-j1-a7").unwrap();
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "homeostat");
    let notes = &object["metadata"]["annotations"];
    assert_eq!((&notes["homeostat/decision"], &notes["homeostat/target"]), (&json!("j1-a7"), &json!("deployment/web/shop")));
    assert!(notes["homeostat/expires-at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(object["spec"]["duration"], "60s");
    // The undo ends it, and it stays ended.
    assert!(done(cluster.actuator("chaos").revert(Time(0), &action, &receipt).await).observed.contains("recovered"));
    assert_eq!(experiments(&cluster), 0);
}

/// The steady state broke while the experiment was still being prepared: the order to end it found nothing to delete.
#[tokio::test]
async fn what_was_told_to_stop_before_it_stood_is_never_made() {
    let cluster = lab(json!({})).await;
    let mut action = run(1, "late");
    action.args.insert("until".into(), Arg::from("injected"));
    assert!(done(cluster.actuator("chaos").revert(Time(0), &action, &Default::default()).await).observed.contains("gone already"));
    not_done(apply(&cluster, &action).await, FaultCode::Conflict, "told to stop");
    assert_eq!(experiments(&cluster), 0);
}

#[tokio::test]
async fn nothing_is_sent_for_nobody_for_too_many_and_for_strangers() {
    let cluster = lab(json!({})).await;
    cluster.make(deployment("other", 1)).await;
    not_done(apply(&cluster, &run(1, "none")).await, FaultCode::NotFound, "no target");
    not_done(apply(&cluster, &run(2, "all")).await, FaultCode::Limit, "at most 2");
    not_done(apply(&cluster, &run(3, "wide")).await, FaultCode::Conflict, "does not belong to deployment/web/shop");
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web" } });
    cluster.server.upsert(namespace).unwrap();
    not_done(apply(&cluster, &run(4, "kill")).await, FaultCode::Denied, "chaos-mesh.org/inject");
    assert_eq!(experiments(&cluster), 0);
}

#[tokio::test]
async fn a_preview_and_a_readiness_write_nothing_and_missing_kinds_are_named() {
    let cluster = Cluster::start_as(Settings::default(), section(json!({}))).await;
    let actuator = cluster.actuator("chaos");
    let requests = cluster.server.counters().requests;
    let planned = actuator.preview(&run(1, "late")).unwrap();
    assert_eq!(cluster.server.counters().requests, requests, "a preview asks nobody");
    assert_eq!(planned.iter().filter(|one| one.writes).count(), 2, "{planned:?}");
    assert!(planned.iter().any(|one| one.call.contains("POST") && one.call.contains("dryRun=All") && !one.writes));
    let version = cluster.server.version();
    let faults = actuator.ready().await;
    assert!(
        faults.iter().any(|(verb, fault)| verb.as_str() == "chaos.run" && fault.detail.contains("CustomResourceDefinition")),
        "{faults:?}"
    );
    assert!(cluster.server.changes_since(version, 1000).unwrap().iter().all(|change| !change.shelf.contains("chaos-mesh.org")));
    let cluster = lab(json!({})).await;
    assert_eq!(cluster.actuator("chaos").ready().await, Vec::new());
}

#[tokio::test]
async fn a_lost_answer_is_found_again_by_its_name_and_nothing_is_made_twice() {
    let cluster = lab(json!({})).await;
    let path = "/apis/chaos-mesh.org/v1alpha1/namespaces/web/podchaos";
    inject(&cluster, "POST", path, FaultKind::DropAfterDoing);
    let receipt = done(apply(&cluster, &run(1, "kill")).await);
    assert!(receipt.observed.contains("struck"), "{}", receipt.observed);
}

#[tokio::test]
async fn a_denial_keeps_its_words_and_a_throttled_server_is_asked_again() {
    let cluster = lab(json!({})).await;
    let path = "/apis/chaos-mesh.org/v1alpha1/namespaces/web/podchaos";
    inject(&cluster, "POST", path, FaultKind::Status { code: 403, retry_after_seconds: None });
    not_done(apply(&cluster, &run(1, "kill")).await, FaultCode::Denied, "forbidden");
    inject(&cluster, "POST", path, FaultKind::Status { code: 429, retry_after_seconds: Some(0) });
    done(apply(&cluster, &run(2, "kill")).await);
}

#[tokio::test]
async fn an_experiment_of_ones_own_is_bound_alike() {
    let cluster = lab(json!({})).await;
    let with = |id, definition: Value| {
        let mut action = run(id, "kill");
        action.args = Args::from([("definition".to_owned(), Arg::Text(definition.to_string()))]);
        action
    };
    let selector = json!({ "namespaces": ["web"], "labelSelectors": { "app": "shop" } });
    let good = json!({ "kind": "StressChaos", "spec": { "mode": "one", "selector": selector, "stressors": { "cpu": { "workers": 1 } } } });
    let actuator = cluster.actuator("chaos");
    assert_eq!(actuator.check(&with(1, good.clone())), Ok(()));
    let body = actuator.preview(&with(1, good.clone())).unwrap().into_iter().find_map(|one| one.body).unwrap();
    assert!(body.contains(r#""duration":"60s""#), "a duration is always set: {body}");
    for (pointer, value, part) in [
        ("/spec/duration", json!("2h"), "duration_max"),
        ("/spec/selector/namespaces", json!(["kube-system"]), "never hit"),
        ("/spec/selector/namespaces", json!(["db"]), "not among"),
        ("/spec/selector/namespaces", json!([]), "name them"),
        ("/spec/remoteCluster", json!("other"), "other clusters"),
    ] {
        let mut bad = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value;
        let fault = actuator.check(&with(2, bad)).unwrap_err();
        assert!(fault.detail.contains(part), "{pointer}: {fault}");
    }
    let machine = json!({ "kind": "AWSChaos", "spec": { "action": "ec2-stop", "awsRegion": "eu", "ec2Instance": "i", "duration": "5s" } });
    assert!(actuator.check(&with(3, machine)).unwrap_err().detail.contains("cannot be counted"));
    let task = json!({ "kind": "Workflow", "spec": { "entry": "a", "templates": [
        { "name": "a", "templateType": "Task", "task": { "container": { "name": "x", "image": "y" } } }] } });
    assert!(actuator.check(&with(4, task)).unwrap_err().detail.contains("runs any container"));
    let both = Action {
        args: Args::from([("experiment".to_owned(), Arg::from("kill")), ("definition".to_owned(), Arg::from("{}"))]),
        ..run(5, "kill")
    };
    assert!(actuator.check(&both).unwrap_err().detail.contains("either"));
    let hasty = Action { timeout: Span::from_secs(1), ..run(6, "late") };
    assert!(actuator.check(&hasty).unwrap_err().detail.contains("needs"), "an experiment that cannot be seen to its end is not begun");
    assert_eq!(experiments(&cluster), 0);
}

#[tokio::test]
async fn chaos_conforms() {
    let cluster = lab(json!({})).await;
    let (actuator, server) = (cluster.actuator("chaos"), cluster.server.clone());
    let made = move || {
        let changes = server.changes_since(1, 100_000).unwrap();
        let fresh = |change: &&homeostat_kube_face::ObjectChange| {
            change.shelf == "podchaos.chaos-mesh.org" && !change.gone && change.object["status"].is_null()
        };
        changes.iter().filter(fresh).count()
    };
    crate::conformance::conforms(crate::conformance::Subject {
        actuator,
        good: run(1, "kill"),
        count: Box::new(made),
        once: 1,
        _keep: Box::new(cluster),
    })
    .await;
}
