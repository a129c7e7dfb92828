use super::*;
use homeostat_kube_face::AccessRule;

const PUT: &str = "/apis/apps/v1/namespaces/web/deployments/shop/scale";

fn up(id: u64, replicas: i64) -> Action {
    act(id, "scale.up", "deployment/web/shop", json!({ "replicas": replicas }))
}

fn replicas(cluster: &Cluster) -> i64 {
    cluster.get("deployments.apps", "shop")["spec"]["replicas"].as_i64().unwrap()
}

fn generation(cluster: &Cluster) -> i64 {
    cluster.get("deployments.apps", "shop")["metadata"]["generation"].as_i64().unwrap()
}

async fn shop() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 1)).await;
    cluster
}

#[tokio::test]
async fn up_and_back() {
    let cluster = shop().await;
    let receipt = done(cluster.apply(&up(1, 3)).await);
    assert_eq!((replicas(&cluster), receipt.observed.as_str()), (3, "3 replicas wanted, 3 ready, 3 in all"));
    assert_eq!(receipt.undo["previous"], Arg::Int(1));
    assert_eq!(cluster.get("deployments.apps", "shop")["status"]["readyReplicas"], 3);
    assert_eq!(done(cluster.probe(Time(1), &up(1, 3)).await), receipt);
    done(cluster.revert(&up(1, 3), &receipt).await);
    assert_eq!(replicas(&cluster), 1);
    let before = generation(&cluster);
    done(cluster.revert(&up(1, 3), &receipt).await);
    assert_eq!(generation(&cluster), before, "taken back once");
}

#[tokio::test]
async fn stateful_sets_scale_too() {
    let cluster = Cluster::start().await;
    cluster.make(stateful_set("db", 2)).await;
    done(cluster.apply(&act(1, "scale.down", "statefulset/web/db", json!({ "replicas": 1, "from": 2 }))).await);
    assert_eq!(cluster.get("statefulsets.apps", "db")["spec"]["replicas"], 1);
}

#[tokio::test]
async fn stale_plans_and_wrong_directions_are_refused_and_what_is_so_is_left() {
    let cluster = shop().await;
    let before = generation(&cluster);
    let stale = act(1, "scale.up", "deployment/web/shop", json!({ "replicas": 4, "from": 2 }));
    assert!(not_done(cluster.apply(&stale).await, FaultCode::Conflict).detail.contains("the plan saw 2"));
    let down = act(2, "scale.down", "deployment/web/shop", json!({ "replicas": 4 }));
    not_done(cluster.apply(&down).await, FaultCode::Conflict);
    let receipt = done(cluster.apply(&up(3, 1)).await);
    assert!(receipt.observed.starts_with("was already so") && receipt.undo.is_empty(), "{receipt:?}");
    done(cluster.revert(&up(3, 1), &receipt).await);
    not_done(cluster.apply(&act(4, "scale.up", "deployment/web/none", json!({ "replicas": 2 }))).await, FaultCode::NotFound);
    assert_eq!(generation(&cluster), before);
}

#[tokio::test]
async fn what_somebody_changed_since_is_not_taken_back() {
    let cluster = shop().await;
    let receipt = done(cluster.apply(&up(1, 3)).await);
    cluster.server.amend("deployments.apps", "web", "shop", |object| object["spec"]["replicas"] = json!(5));
    not_done(cluster.revert(&up(1, 3), &receipt).await, FaultCode::Conflict);
    assert_eq!(replicas(&cluster), 5);
}

#[tokio::test]
async fn check_refuses_places_and_numbers() {
    let cluster = Cluster::start_as(Settings::default(), json!({ "namespaces": ["web"] })).await;
    let scale = cluster.actuator("scale");
    for (target, replicas, code) in [
        ("deployment/web/shop", 21, FaultCode::Malformed),
        ("deployment/web/shop", 0, FaultCode::Malformed),
        ("deployment/other/shop", 2, FaultCode::Denied),
        ("deployment/shop", 2, FaultCode::Malformed),
        ("deployment/web/..", 2, FaultCode::Malformed),
        ("daemonset/web/shop", 2, FaultCode::Malformed),
    ] {
        let action = act(1, "scale.up", target, json!({ "replicas": replicas }));
        assert_eq!(scale.check(&action).unwrap_err().code, code, "{target} {replicas}");
        not_done(cluster.apply(&action).await, FaultCode::NeverStarted);
    }
    let everywhere = Cluster::start().await;
    let system = act(1, "scale.up", "deployment/kube-system/coredns", json!({ "replicas": 2 }));
    assert_eq!(everywhere.actuator("scale").check(&system).unwrap_err().code, FaultCode::Denied);
}

#[tokio::test]
async fn a_field_that_somebody_else_holds_is_left_and_named() {
    let cluster = shop().await;
    let hpa = json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "shop-auto", "namespace": "web" },
        "spec": { "minReplicas": 1, "maxReplicas": 4, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" } } });
    cluster.server.upsert(hpa).unwrap();
    let fault = not_done(cluster.apply(&up(1, 3)).await, FaultCode::Conflict);
    assert!(fault.detail.contains("web/shop-auto") && fault.detail.contains("minReplicas (1)"), "{fault}");
    cluster.server.delete("horizontalpodautoscalers.autoscaling", "web", "shop-auto");
    let marks = [
        ("annotations", "argocd.argoproj.io/tracking-id", "lab:apps/Deployment:web/shop", "Argo CD"),
        ("labels", "kustomize.toolkit.fluxcd.io/name", "lab", "Flux (Kustomization lab)"),
        ("labels", "helm.toolkit.fluxcd.io/name", "shop", "Flux (HelmRelease shop)"),
    ];
    for (id, (place, mark, value, who)) in (2..).zip(marks) {
        cluster.server.amend("deployments.apps", "web", "shop", |object| object["metadata"][place] = json!({ mark: value }));
        let fault = not_done(cluster.apply(&up(id, 3)).await, FaultCode::Conflict);
        assert!(fault.detail.contains(who) && fault.detail.contains("pull request"), "{fault}");
        cluster.server.amend("deployments.apps", "web", "shop", |object| object["metadata"][place] = json!({}));
    }
    assert_eq!(replicas(&cluster), 1);
}

#[tokio::test]
async fn a_conflict_is_decided_anew_three_times() {
    let cluster = shop().await;
    cluster.inject("PUT", PUT, FaultKind::Status { code: 409, retry_after_seconds: None }, 2);
    done(cluster.apply(&up(1, 2)).await);
    cluster.inject("PUT", PUT, FaultKind::Status { code: 409, retry_after_seconds: None }, 100);
    not_done(cluster.apply(&up(2, 3)).await, FaultCode::Conflict);
    assert_eq!(replicas(&cluster), 2);
}

#[tokio::test]
async fn refusals_by_name_and_nothing_is_sent_after_them() {
    let cluster = shop().await;
    for (id, (status, code)) in (1..).zip([
        (403, FaultCode::Denied),
        (401, FaultCode::Denied),
        (410, FaultCode::Conflict),
        (422, FaultCode::Malformed),
        (400, FaultCode::Malformed),
    ]) {
        cluster.inject("PUT", PUT, FaultKind::Status { code: status, retry_after_seconds: None }, 1);
        not_done(cluster.apply(&up(id, 2)).await, code);
    }
    assert_eq!(replicas(&cluster), 1);
    cluster.inject("PUT", PUT, FaultKind::Status { code: 429, retry_after_seconds: Some(1) }, 1);
    cluster.inject("PUT", PUT, FaultKind::Status { code: 503, retry_after_seconds: None }, 1);
    done(cluster.apply(&up(9, 2)).await);
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_world_and_never_sent_twice() {
    let cluster = shop().await;
    let before = generation(&cluster);
    // The dry run passes; the write is done, and its answer lost: the repetition meets the newer version, and the number is as wished.
    cluster.inject("PUT", PUT, FaultKind::PretendDone, 1);
    cluster.inject("PUT", PUT, FaultKind::DropAfterDoing, 1);
    let receipt = done(cluster.apply(&up(1, 2)).await);
    assert_eq!((generation(&cluster), &receipt.undo["previous"]), (before + 1, &Arg::Int(1)));
    // The same, and nobody answers any more for as long as the action has.
    cluster.inject("PUT", PUT, FaultKind::PretendDone, 1);
    cluster.inject("PUT", PUT, FaultKind::DropAfterDoing, 1);
    cluster.inject("PUT", PUT, FaultKind::Status { code: 503, retry_after_seconds: None }, 2);
    unknown(cluster.apply(&up(2, 3)).await);
    unknown(cluster.apply(&up(2, 3)).await);
    cluster.until(|server| server.get("deployments.apps", "web", "shop").unwrap()["status"]["readyReplicas"] == 3).await;
    let receipt = done(cluster.probe(LATER, &up(2, 3)).await);
    assert_eq!((generation(&cluster), &receipt.undo["previous"]), (before + 2, &Arg::Int(2)));
}

#[tokio::test]
async fn a_yes_that_was_none_is_not_done() {
    let cluster = shop().await;
    cluster.inject("PUT", PUT, FaultKind::PretendDone, 2);
    let fault = not_done(cluster.apply(&up(1, 3)).await, FaultCode::Conflict);
    assert!(fault.detail.contains("1 replicas are wanted there, not 3"), "{fault}");
}

#[tokio::test]
async fn a_server_that_hangs_is_unknown_until_its_time_is_over() {
    let cluster = Cluster::start_as(Settings::default(), json!({ "call_timeout": "1s" })).await;
    cluster.make(deployment("shop", 1)).await;
    cluster.inject("PUT", PUT, FaultKind::PretendDone, 1);
    cluster.inject("PUT", PUT, FaultKind::Timeout { real_ms: 60_000 }, 3);
    assert_eq!(unknown(cluster.apply(&up(1, 3)).await).code, FaultCode::TimedOut);
    unknown(cluster.probe(Time(1), &up(1, 3)).await);
    not_done(cluster.probe(LATER, &up(1, 3)).await, FaultCode::Conflict);
    assert_eq!(replicas(&cluster), 1);
}

#[tokio::test]
async fn replicas_that_do_not_get_ready_are_unknown_and_then_not_done() {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 1)).await;
    for name in ["n1", "n2", "n3"] {
        cluster.server.amend("nodes", "", name, |node| node["spec"] = json!({ "unschedulable": true }));
    }
    let action = hasty(up(1, 3));
    assert!(unknown(cluster.apply(&action).await).detail.contains("3 replicas wanted, 1 ready"));
    not_done(cluster.probe(LATER, &action).await, FaultCode::TimedOut);
}

#[tokio::test]
async fn a_server_that_is_not_there_leaves_nothing_started() {
    let closed = crate::conformance::ClosedPort::new();
    let (_dir, actuators) = actuators(&format!("http://{}", closed.address()), json!({}));
    let scale = actuators.iter().find(|one| one.spec().id.as_str() == "scale").unwrap();
    not_done(scale.apply(Time(0), &hasty(up(1, 2))).await, FaultCode::NeverStarted);
    not_done(scale.probe(Time(0), &up(1, 2)).await, FaultCode::NeverStarted);
    assert_eq!(scale.ready().await[0].1.code, FaultCode::Unreachable);
}

#[tokio::test]
async fn ready_names_the_missing_right_and_the_missing_kind() {
    let list = |text: &str| vec![text.to_owned()];
    let rule = AccessRule { resources: list("deployments/scale"), verbs: list("update"), allow: false, ..AccessRule::default() };
    let kinds = json!({ "rollout": { "group": "argoproj.io", "version": "v1alpha1", "kind": "Rollout", "plural": "rollouts" } });
    let settings = || Settings { access: vec![rule.clone()], ..Settings::default() };
    let cluster = Cluster::start_as(settings(), json!({})).await;
    let version = cluster.server.version();
    let faults = cluster.actuator("scale").ready().await;
    assert_eq!(faults.len(), 2, "one for each verb: {faults:?}");
    assert_eq!(faults[0].1.code, FaultCode::Denied);
    assert!(faults[0].1.detail.contains("resources [deployments/scale], verbs [update]"), "{faults:?}");
    for other in ["restart", "node", "resources", "pod"] {
        assert_eq!(cluster.actuator(other).ready().await, Vec::new(), "{other}");
    }
    assert_eq!(cluster.server.version(), version, "asking writes nothing");
    not_done(cluster.apply(&up(1, 2)).await, FaultCode::NotFound);
    cluster.make(deployment("shop", 1)).await;
    not_done(cluster.apply(&up(2, 2)).await, FaultCode::Denied);
    let cluster = Cluster::start_as(Settings::default(), json!({ "scale": { "kinds": kinds } })).await;
    let faults = cluster.actuator("scale").ready().await;
    assert_eq!(faults[0].1.code, FaultCode::NotFound);
    assert!(faults[0].1.detail.contains("rollouts/scale of argoproj.io/v1alpha1"), "{faults:?}");
}
