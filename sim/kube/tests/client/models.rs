//! The controllers in virtual time, without any network: the caller ticks, and looks.

use crate::harness::{budget, deployment, plain};
use homeostat_kube_face::{KubeServer, Settings};
use homeostat_model::Span;
use serde_json::{Value, json};

/// Ticks once a second for a while.
fn pass(server: &KubeServer, seconds: i64) {
    for _ in 0..seconds {
        server.tick(server.now() + Span::from_secs(1));
    }
    assert_eq!(server.counters().unfinished_ticks, 0, "two controllers undo each other");
}

fn cluster() -> KubeServer {
    plain(Settings { not_ready_toleration: Span::from_secs(60), ..Settings::default() })
}

fn number(server: &KubeServer, shelf: &str, name: &str, pointer: &str) -> i64 {
    server.get(shelf, "lab", name).and_then(|object| object.pointer(pointer).and_then(Value::as_i64)).unwrap_or(0)
}

/// Running pods of one app that are not ending, as (name, node).
fn pods(server: &KubeServer, app: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    server
        .list("pods")
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["app"] == app && pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"])))
        .collect()
}

fn ready(server: &KubeServer, app: &str) -> usize {
    let is_ready = |pod: &Value| {
        pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
    };
    server
        .list("pods")
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["app"] == app && pod["metadata"]["deletionTimestamp"].is_null() && is_ready(pod))
        .count()
}

#[test]
fn a_rollout_stays_within_its_bounds() {
    let server = cluster();
    server.upsert(deployment("lab", "web", 4)).unwrap();
    pass(&server, 10);
    assert_eq!(number(&server, "deployments.apps", "web", "/status/availableReplicas"), 4);
    let mut wish = deployment("lab", "web", 4);
    wish["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.k8s.io/pause:3.11");
    server.upsert(wish).unwrap();
    for _ in 0..60 {
        pass(&server, 1);
        assert!(ready(&server, "web") >= 3, "maxUnavailable 25 % of 4 is 1");
        assert!(pods(&server, "web").len() <= 5, "maxSurge 25 % of 4 is 1");
    }
    assert_eq!(number(&server, "deployments.apps", "web", "/status/updatedReplicas"), 4);
    assert_eq!(server.list("replicasets.apps").len(), 2);
    let old: Vec<_> = server.list("replicasets.apps").into_iter().filter(|set| set["spec"]["replicas"] == 0).collect();
    assert_eq!(old.len(), 1);
}

#[test]
fn a_rollout_that_does_not_come_up_fails_at_its_deadline() {
    let server = cluster();
    let mut wish = deployment("lab", "web", 2);
    wish["spec"]["progressDeadlineSeconds"] = json!(30);
    server.upsert(wish.clone()).unwrap();
    pass(&server, 10);
    wish["spec"]["template"]["metadata"]["labels"]["v"] = json!("2");
    server.upsert(wish).unwrap();
    for _ in 0..45 {
        pass(&server, 1);
        for (name, _) in pods(&server, "web") {
            if server.get("pods", "lab", &name).is_some_and(|pod| pod["metadata"]["labels"]["v"] == "2") {
                assert!(server.set_pod_state("lab", &name, 3, Some("CrashLoopBackOff"), false));
            }
        }
    }
    let web = server.get("deployments.apps", "lab", "web").unwrap();
    let progressing = web["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Progressing").unwrap().clone();
    assert_eq!((progressing["status"].as_str(), progressing["reason"].as_str()), (Some("False"), Some("ProgressDeadlineExceeded")));
    assert!(ready(&server, "web") >= 2, "the old pods still serve");
}

#[test]
fn a_lost_node_loses_its_pods_after_a_while() {
    let server = cluster();
    server.upsert(deployment("lab", "web", 3)).unwrap();
    let daemon = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "lab"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "main", "image": "agent:1"}]}}},
    });
    server.upsert(daemon).unwrap();
    pass(&server, 10);
    let spread: std::collections::BTreeSet<String> = pods(&server, "web").into_iter().map(|(_, node)| node).collect();
    assert_eq!(spread.len(), 3, "the scheduler spreads");
    assert_eq!(ready(&server, "agent"), 3);
    assert!(server.set_node_ready("n2", false));
    pass(&server, 5);
    assert_eq!((ready(&server, "web"), pods(&server, "web").len()), (2, 3), "unready at once, deleted later");
    let (lost, _) = pods(&server, "web").into_iter().find(|(_, node)| node == "n2").unwrap();
    assert!(server.set_pod_state("lab", &lost, 1, None, true));
    assert_eq!(ready(&server, "web"), 2, "a node that does not answer reports nothing");
    pass(&server, 70);
    assert_eq!(ready(&server, "web"), 3, "replaced elsewhere");
    assert!(pods(&server, "web").iter().all(|(_, node)| node != "n2"));
    let ending = server.list("pods").iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string()).count();
    assert_eq!(ending, 1, "nobody on the lost node confirms the end");
    server.set_node_ready("n2", true);
    pass(&server, 10);
    assert_eq!(server.list("pods").len(), 6);
    assert_eq!(ready(&server, "agent"), 3);
    for node in ["n1", "n3"] {
        server.set_node_ready(node, false);
    }
    server.delete("nodes", "", "n2");
    pass(&server, 80);
    assert!(pods(&server, "web").iter().all(|(_, node)| node.is_empty()), "no node left: pending");
}

#[test]
fn a_stateful_set_goes_one_by_one() {
    let server = cluster();
    let mut wish = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "lab"},
        "spec": {
            "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": "db:1"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        },
    });
    server.upsert(wish.clone()).unwrap();
    pass(&server, 2);
    assert_eq!(pods(&server, "db").len(), 1, "db-1 waits for db-0");
    pass(&server, 20);
    assert_eq!(pods(&server, "db").into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["db-0", "db-1", "db-2"]);
    assert_eq!(server.list("persistentvolumeclaims").len(), 3);
    wish["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    server.upsert(wish.clone()).unwrap();
    for _ in 0..40 {
        pass(&server, 1);
        assert!(ready(&server, "db") >= 2, "one at a time");
    }
    assert!(server.list("pods").iter().all(|pod| pod["spec"]["containers"][0]["image"] == "db:2"));
    wish["spec"]["replicas"] = json!(1);
    server.upsert(wish).unwrap();
    pass(&server, 20);
    assert_eq!(pods(&server, "db").into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["db-0"]);
    assert_eq!(server.list("persistentvolumeclaims").len(), 3, "claims stay");
}

#[test]
fn an_autoscaler_overrules_whoever_scales() {
    let server = cluster();
    server.upsert(deployment("lab", "web", 2)).unwrap();
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": "lab"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 6,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    server.upsert(autoscaler).unwrap();
    let replicas = |server: &KubeServer| number(server, "deployments.apps", "web", "/spec/replicas");
    pass(&server, 20);
    assert_eq!(replicas(&server), 2, "without a metric it does nothing");
    server.set_metric("lab", "web", 190.0);
    pass(&server, 20);
    assert_eq!(replicas(&server), 4, "ceil(190 / 50)");
    let mut wish = deployment("lab", "web", 1);
    server.upsert(wish.clone()).unwrap();
    pass(&server, 20);
    assert_eq!(replicas(&server), 4);
    wish["spec"]["replicas"] = json!(6);
    server.upsert(wish).unwrap();
    pass(&server, 20);
    assert_eq!(replicas(&server), 4, "its recommendation was 4 all the time");
    server.set_metric("lab", "web", 40.0);
    pass(&server, 100);
    assert_eq!(replicas(&server), 4, "down only after the stabilization window");
    pass(&server, 230);
    assert_eq!(replicas(&server), 1);
    server.set_metric("lab", "web", 10_000.0);
    pass(&server, 20);
    assert_eq!(replicas(&server), 6, "never above its maximum");
    let web = server.get("deployments.apps", "lab", "web").unwrap();
    let owner = web["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object())
        .unwrap()
        .clone();
    assert_eq!((owner["manager"].as_str(), owner["subresource"].as_str()), (Some("kube-controller-manager"), Some("scale")));
}

#[test]
fn a_gitops_owner_puts_things_back() {
    let server = cluster();
    let mut wish = deployment("lab", "web", 2);
    wish["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "lab"});
    server.upsert(wish.clone()).unwrap();
    pass(&server, 5);
    let mut drift = wish.clone();
    drift["spec"]["replicas"] = json!(5);
    server.upsert(drift).unwrap();
    pass(&server, 5);
    assert_eq!(number(&server, "deployments.apps", "web", "/spec/replicas"), 5);
    pass(&server, 10);
    assert_eq!(number(&server, "deployments.apps", "web", "/spec/replicas"), 2);
    wish["spec"]["replicas"] = json!(3);
    server.set_wish(wish).unwrap();
    pass(&server, 20);
    assert_eq!(number(&server, "deployments.apps", "web", "/spec/replicas"), 3, "a new wish holds");
    server.delete("deployments.apps", "lab", "web");
    pass(&server, 20);
    assert_eq!(ready(&server, "web"), 3, "what was deleted comes back");
}

#[test]
fn a_budget_counts_what_its_controllers_want() {
    let server = cluster();
    server.upsert(deployment("lab", "web", 4)).unwrap();
    server.upsert(budget("lab", "web", json!("50%"))).unwrap();
    pass(&server, 10);
    let status = server.get("poddisruptionbudgets.policy", "lab", "web").unwrap()["status"].clone();
    assert_eq!(
        [&status["expectedPods"], &status["desiredHealthy"], &status["currentHealthy"], &status["disruptionsAllowed"]],
        [&json!(4), &json!(2), &json!(4), &json!(2)]
    );
    let (name, _) = pods(&server, "web").remove(0);
    server.set_pod_state("lab", &name, 5, Some("CrashLoopBackOff"), false);
    pass(&server, 1);
    assert_eq!(number(&server, "poddisruptionbudgets.policy", "web", "/status/disruptionsAllowed"), 1);
    let pod = server.get("pods", "lab", &name).unwrap();
    assert_eq!(
        (
            pod["status"]["containerStatuses"][0]["restartCount"].as_i64(),
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str()
        ),
        (Some(5), Some("CrashLoopBackOff"))
    );
    server.set_pod_state("lab", &name, 5, None, true);
    pass(&server, 1);
    assert_eq!(number(&server, "poddisruptionbudgets.policy", "web", "/status/disruptionsAllowed"), 2);
}

#[test]
fn the_handle_tells_what_changed_and_repeats_itself() {
    let run = || {
        let server = cluster();
        let from = server.version();
        server.upsert(deployment("lab", "web", 2)).unwrap();
        pass(&server, 10);
        server.patch_status("nodes", "", "n1", &json!({"capacity": {"cpu": "4"}})).unwrap();
        assert!(server.amend("nodes", "", "n1", |node| node["spec"] = json!({"unschedulable": true})));
        assert!(!server.amend("nodes", "", "n1", |node| node["spec"] = json!({"unschedulable": true})), "nothing new");
        server.delete("deployments.apps", "lab", "web");
        pass(&server, 10);
        server
            .changes_since(from, 10_000)
            .unwrap()
            .into_iter()
            .map(|change| (change.version, change.shelf, change.gone, change.object.to_string()))
            .collect::<Vec<_>>()
    };
    let changes = run();
    assert!(changes.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert!(changes.iter().any(|(_, shelf, gone, _)| shelf == "pods" && *gone), "the garbage collector took the pods");
    assert_eq!(changes, run(), "the same calls make the same bytes");
    let server = cluster();
    server.expire_watches();
    assert!(server.changes_since(1, 10).is_err());
}

#[test]
fn recreate_never_mixes_templates() {
    let server = cluster();
    let mut wish = deployment("lab", "web", 2);
    wish["spec"]["strategy"] = json!({"type": "Recreate"});
    server.upsert(wish.clone()).unwrap();
    pass(&server, 10);
    wish["spec"]["template"]["metadata"]["labels"]["v"] = json!("2");
    server.upsert(wish).unwrap();
    let mut empty = false;
    for _ in 0..30 {
        pass(&server, 1);
        let all = server.list("pods");
        let new = all.iter().filter(|pod| pod["metadata"]["labels"]["v"] == "2").count();
        assert!(new == 0 || new == all.len(), "old and new pods at the same time");
        empty |= ready(&server, "web") == 0;
    }
    assert!(empty);
    assert_eq!(ready(&server, "web"), 2);
}

#[test]
fn pods_wait_for_room_and_for_labels() {
    let server = cluster();
    let mut wish = deployment("lab", "web", 5);
    wish["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2500m", "memory": "1Gi"}});
    server.upsert(wish.clone()).unwrap();
    pass(&server, 10);
    assert_eq!(ready(&server, "web"), 3, "one pod of 2.5 cores on each node of 4");
    let (name, _) = pods(&server, "web").into_iter().find(|(_, node)| node.is_empty()).unwrap();
    let pod = server.get("pods", "lab", &name).unwrap();
    let scheduled = pod["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "PodScheduled").unwrap().clone();
    assert_eq!(
        (scheduled["reason"].as_str(), scheduled["message"].as_str()),
        (Some("Unschedulable"), Some("0/3 nodes are available: 3 Insufficient cpu."))
    );
    assert_eq!(pod["status"]["phase"], "Pending");
    wish["spec"]["replicas"] = json!(3);
    wish["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "fast"});
    wish["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    server.upsert(wish).unwrap();
    pass(&server, 30);
    assert!(
        pods(&server, "web")
            .iter()
            .filter(|(_, node)| !node.is_empty())
            .all(|(name, _)| server.get("pods", "lab", name).unwrap()["spec"]["nodeSelector"].is_null())
    );
    let mut fast = crate::harness::node("n4");
    fast["metadata"]["labels"]["disk"] = json!("fast");
    server.upsert(fast).unwrap();
    pass(&server, 40);
    assert!(pods(&server, "web").iter().all(|(_, node)| node == "n4"));
    assert_eq!(ready(&server, "web"), 3);
}
