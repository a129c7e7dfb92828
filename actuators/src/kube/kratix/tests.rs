//! Requests of a Promise against the face's Kratix, with every way it can end.

use crate::conformance::action_with;
use crate::kube::chaos::tests::deeds::{definition, done, not_done, unknown};
use crate::kube::tests::Cluster;
use homeostat_kube_face::{FaultKind, KubeFault, Settings, Workflow};
use homeostat_model::{Action, Arg, Args, FaultCode, Outcome, Receipt, Span, Time};
use serde_json::{Value, json};
use std::sync::Arc;

const SHELF: &str = "redis.marketplace.kratix.io";

fn promise() -> Value {
    let size = json!({ "type": "string", "default": "small", "pattern": "^(small|large)$" });
    let spec = json!({ "type": "object", "properties": { "size": size, "note": { "type": "string" } } });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } });
    json!({
        "apiVersion": "platform.kratix.io/v1alpha1", "kind": "Promise", "metadata": { "name": "redis" },
        "spec": { "api": { "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": SHELF },
            "spec": { "group": "marketplace.kratix.io", "scope": "Namespaced", "names": { "kind": "redis", "plural": "redis", "singular": "redis" },
                "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": schema }] } } },
    })
}

/// A cluster with Kratix and an available Promise `redis`.
async fn lab() -> Cluster {
    let section = json!({ "kratix": { "timeout": "4s" } });
    let cluster = Cluster::start_as(Settings::default(), section).await;
    let mut promises = definition("platform.kratix.io", "v1alpha1", "Promise", "promises");
    promises["spec"]["scope"] = json!("Cluster");
    promises["spec"]["versions"][0]["subresources"] = json!({ "status": {} });
    cluster.server.upsert(promises).unwrap();
    cluster.server.upsert(promise()).unwrap();
    cluster.server.upsert(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web" } })).unwrap();
    let available = |server: &homeostat_kube_face::KubeServer| {
        server.get("promises.platform.kratix.io", "", "redis").is_some_and(|promise| promise["status"]["status"] == "Available")
    };
    cluster.until(available).await;
    cluster
}

fn act(id: u64, verb: &str, spec: Option<&str>) -> Action {
    let mut args = Args::from([("name".to_owned(), Arg::from("cache")), ("namespace".to_owned(), Arg::from("web"))]);
    args.extend(spec.map(|spec| ("spec".to_owned(), Arg::from(spec))));
    Action { timeout: Span::from_secs(60), ..action_with(id, verb, "promise/redis", args) }
}
const SMALL: Option<&str> = Some(r#"{"size":"small"}"#);
const LARGE: Option<&str> = Some(r#"{"size":"large"}"#);

async fn apply(cluster: &Cluster, action: &Action) -> Outcome {
    cluster.actuator("kratix").apply(Time(0), action).await
}
async fn revert(cluster: &Cluster, action: &Action, receipt: &Receipt) -> Outcome {
    cluster.actuator("kratix").revert(Time(0), action, receipt).await
}
fn request(cluster: &Cluster) -> Option<Arc<Value>> {
    cluster.server.get(SHELF, "web", "cache")
}

#[tokio::test]
async fn a_request_is_made_reconciled_and_taken_back() {
    let cluster = lab().await;
    let action = act(1, "kratix.apply", SMALL);
    let receipt = done(apply(&cluster, &action).await);
    assert!(receipt.observed.contains("is Reconciled") && receipt.undo.contains_key("made"), "{receipt:?}");
    let object = request(&cluster).unwrap();
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "homeostat");
    assert_eq!(object["metadata"]["annotations"]["homeostat/decision"], "j1-a1");
    let version = cluster.server.version();
    assert!(done(apply(&cluster, &act(2, "kratix.apply", SMALL)).await).observed.contains("was already so"));
    assert!(cluster.server.changes_since(version, 1000).unwrap().iter().all(|change| change.shelf != SHELF), "nothing was written");
    assert!(done(revert(&cluster, &action, &receipt).await).observed.contains("is gone"));
    assert!(request(&cluster).is_none());
}

#[tokio::test]
async fn a_change_is_taken_back_to_what_was_ours() {
    let cluster = lab().await;
    done(apply(&cluster, &act(1, "kratix.apply", SMALL)).await);
    let change = act(2, "kratix.apply", LARGE);
    let receipt = done(apply(&cluster, &change).await);
    assert_eq!(request(&cluster).unwrap()["spec"]["size"], "large");
    assert_eq!(receipt.undo["previous"], Arg::from(r#"{"size":"small"}"#));
    assert!(done(revert(&cluster, &change, &receipt).await).observed.contains("previous spec"));
    assert_eq!(request(&cluster).unwrap()["spec"]["size"], "small");
}

#[tokio::test]
async fn what_somebody_changed_since_is_not_taken_back() {
    let cluster = lab().await;
    let action = act(1, "kratix.apply", SMALL);
    let receipt = done(apply(&cluster, &action).await);
    done(apply(&cluster, &act(2, "kratix.apply", LARGE)).await);
    not_done(revert(&cluster, &action, &receipt).await, FaultCode::Conflict, "changed since");
    assert_eq!(request(&cluster).unwrap()["spec"]["size"], "large");
}

#[tokio::test]
async fn every_bad_end_has_its_name() {
    for (workflow, code, part) in [
        (Workflow::Fails, FaultCode::Failed, "ConfigureWorkflowFailed"),
        (Workflow::WorksFail, FaultCode::Failed, "WorksFailing"),
        (Workflow::Misplaced, FaultCode::Conflict, "WorksMisplaced"),
    ] {
        let cluster = lab().await;
        cluster.server.set_workflow("web", "cache", workflow);
        not_done(apply(&cluster, &act(1, "kratix.apply", SMALL)).await, code, part);
    }
    for (workflow, part) in [(Workflow::WorksPending, "WorksPending"), (Workflow::Suspends, "WorkflowSuspended")] {
        let cluster = lab().await;
        cluster.server.set_workflow("web", "cache", workflow);
        let action = act(1, "kratix.apply", SMALL);
        unknown(apply(&cluster, &action).await, part);
        unknown(cluster.actuator("kratix").probe(Time(1), &action).await, part);
        cluster.server.set_workflow("web", "cache", Workflow::Succeeds);
        cluster
            .until(|server| server.get(SHELF, "web", "cache").is_some_and(|one| one.to_string().contains("\"reason\":\"Reconciled\"")))
            .await;
        done(cluster.actuator("kratix").probe(Time(2), &action).await);
    }
}

#[tokio::test]
async fn nothing_is_sent_for_a_promise_that_is_not_there_or_not_available() {
    let cluster = lab().await;
    let mut action = act(1, "kratix.apply", SMALL);
    action.target = "promise/kafka".into();
    not_done(apply(&cluster, &action).await, FaultCode::NotFound, "no Promise `kafka`");
    let mut other = promise();
    other["metadata"]["name"] = json!("late");
    other["spec"]["api"]["metadata"]["name"] = json!("lates.marketplace.kratix.io");
    other["spec"]["api"]["spec"]["names"] = json!({ "kind": "late", "plural": "lates", "singular": "late" });
    cluster.server.set_workflow("", "late", Workflow::Fails);
    cluster.server.upsert(other).unwrap();
    cluster
        .until(|server| server.get("promises.platform.kratix.io", "", "late").is_some_and(|one| one["status"]["status"].is_string()))
        .await;
    let mut action = act(2, "kratix.apply", SMALL);
    action.target = "promise/late".into();
    not_done(apply(&cluster, &action).await, FaultCode::Conflict, "expected Available");
}

#[tokio::test]
async fn the_schema_and_other_owners_refuse_before_anything_is_written() {
    let cluster = lab().await;
    not_done(apply(&cluster, &act(1, "kratix.apply", Some(r#"{"size":"huge"}"#))).await, FaultCode::Malformed, "spec.size");
    not_done(apply(&cluster, &act(2, "kratix.apply", Some(r#"{"sise":"small"}"#))).await, FaultCode::Malformed, "sise");
    assert!(request(&cluster).is_none());
    let theirs = json!({ "apiVersion": "marketplace.kratix.io/v1alpha1", "kind": "redis", "metadata": { "name": "cache", "namespace": "web" },
        "spec": { "size": "large" } });
    cluster.server.upsert(theirs).unwrap();
    not_done(apply(&cluster, &act(3, "kratix.apply", SMALL)).await, FaultCode::Conflict, "not taken from it");
    assert_eq!(request(&cluster).unwrap()["spec"]["size"], "large", "never forced");
    not_done(apply(&cluster, &act(4, "kratix.delete", None)).await, FaultCode::Conflict, "was not made by Homeostat");
}

/// Kratix writes the status while we decide: that is no change of the wish. Somebody's change of the spec is.
#[tokio::test]
async fn a_status_that_moves_is_no_conflict() {
    let cluster = lab().await;
    done(apply(&cluster, &act(1, "kratix.apply", SMALL)).await);
    let path = "/apis/marketplace.kratix.io/v1alpha1/namespaces/web/redis/cache";
    let conflict = |count| {
        let kind = FaultKind::Status { code: 409, retry_after_seconds: None };
        assert!(cluster.server.inject(KubeFault { method: "PATCH".into(), path_prefix: path.into(), kind, count }));
    };
    conflict(2);
    done(apply(&cluster, &act(2, "kratix.apply", LARGE)).await);
    assert_eq!(request(&cluster).unwrap()["spec"]["size"], "large");
    conflict(20);
    not_done(apply(&cluster, &act(3, "kratix.apply", SMALL)).await, FaultCode::Conflict, "409");
    assert_eq!(request(&cluster).unwrap()["spec"]["size"], "large", "it is not sent for ever");
}

#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    let cluster = lab().await;
    let path = "/apis/marketplace.kratix.io/v1alpha1/namespaces/web/redis/cache";
    let lost = KubeFault { method: "PATCH".into(), path_prefix: path.into(), kind: FaultKind::DropAfterDoing, count: 1 };
    assert!(cluster.server.inject(lost));
    done(apply(&cluster, &act(1, "kratix.apply", SMALL)).await);
}

#[tokio::test]
async fn a_deletion_waits_for_the_finalizers_and_never_takes_them() {
    let cluster = lab().await;
    done(apply(&cluster, &act(1, "kratix.apply", SMALL)).await);
    assert!(done(apply(&cluster, &act(2, "kratix.delete", None)).await).observed.contains("is gone"));
    assert!(done(apply(&cluster, &act(3, "kratix.delete", None)).await).observed.contains("already gone"));
    for (id, workflow) in [(4, Workflow::Fails), (6, Workflow::DeleteHangs)] {
        let cluster = lab().await;
        done(apply(&cluster, &act(1, "kratix.apply", SMALL)).await);
        cluster.server.set_workflow("web", "cache", workflow);
        let outcome = apply(&cluster, &act(id, "kratix.delete", None)).await;
        match workflow {
            Workflow::Fails => drop(not_done(outcome, FaultCode::Failed, "DeleteWorkflowFailed")),
            _ => drop(unknown(outcome, "kratix.io/delete-workflows")),
        }
        assert!(!request(&cluster).unwrap()["metadata"]["finalizers"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_preview_asks_nobody_and_bad_arguments_are_named() {
    let cluster = lab().await;
    let actuator = cluster.actuator("kratix");
    let requests = cluster.server.counters().requests;
    let planned = actuator.preview(&act(1, "kratix.apply", SMALL)).unwrap();
    assert_eq!(planned.iter().filter(|one| one.writes).count(), 1, "{planned:?}");
    assert!(planned.iter().all(|one| !one.call.contains("force")));
    for (spec, part) in [("small", "not JSON"), ("[]", "no JSON object")] {
        assert!(actuator.check(&act(2, "kratix.apply", Some(spec))).unwrap_err().detail.contains(part));
    }
    let mut evil = act(3, "kratix.delete", None);
    evil.args.insert("name".into(), Arg::from("../../promises/redis"));
    assert!(actuator.check(&evil).is_err());
    let mut system = act(4, "kratix.delete", None);
    system.args.insert("namespace".into(), Arg::from("kube-system"));
    assert!(actuator.check(&system).unwrap_err().detail.contains("kube-system"));
    assert_eq!(cluster.server.counters().requests, requests);
    assert_eq!(actuator.ready().await, Vec::new());
}

#[tokio::test]
async fn kratix_conforms() {
    let cluster = lab().await;
    let (actuator, server) = (cluster.actuator("kratix"), cluster.server.clone());
    let made = move || {
        let changes = server.changes_since(1, 100_000).unwrap();
        changes.iter().filter(|change| change.shelf == SHELF && change.object["status"].is_null()).count()
    };
    crate::conformance::conforms(crate::conformance::Subject {
        actuator,
        good: act(1, "kratix.apply", SMALL),
        count: Box::new(made),
        once: 1,
        _keep: Box::new(cluster),
    })
    .await;
}
