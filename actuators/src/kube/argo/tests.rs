//! Argo CD over REST (its requests asserted against its own description) and over the cluster.

use crate::conformance::{Seen, Server, action_with, answer, corpus};
use crate::kube::chaos::tests::deeds::{definition, done, not_done, unknown};
use crate::kube::tests::Cluster;
use crate::kube::{Argo, ArgoConfig, KubeClient, KubernetesConfig};
use homeostat_kube_face::Settings;
use homeostat_model::{Action, Actuator, Arg, Args, FaultCode, Outcome, Span, Time};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const TOKEN: &str = "hunter2-argo";

fn app(operation: Value) -> Value {
    json!({ "metadata": { "name": "web", "resourceVersion": "7" }, "spec": { "project": "home", "syncPolicy": {} }, "status": {
        "sync": { "status": "OutOfSync", "revision": "abc" }, "health": { "status": "Healthy" }, "reconciledAt": "t0",
        "history": [{ "id": 3, "revision": "old", "source": { "repoURL": "r" } }, { "id": 4, "revision": "abc" }],
        "operationState": operation } })
}

/// An operation that was there before.
fn stale() -> Value {
    json!({ "phase": "Succeeded", "startedAt": "t1", "operation": { "info": [{ "name": "decision", "value": "j1-a1" }], "sync": {} } })
}

fn sync(id: u64) -> Action {
    Action { timeout: Span::from_secs(5), ..action_with(id, "argo.sync", "application/web", Args::new()) }
}
fn rollback(id: u64, entry: i64) -> Action {
    let args = Args::from([("id".to_owned(), Arg::Int(entry))]);
    Action { timeout: Span::from_secs(5), ..action_with(id, "argo.rollback", "application/web", args) }
}

/// Argo CD as far as the actuator sees it: a write begins an operation, which ends in `phase`; before that, `state` is what it shows.
struct Far {
    server: Server,
    argo: Argo,
    _dir: tempfile::TempDir,
}

async fn far(before: Value, refusal: Option<(u16, Value)>, phase: &'static str, can_sync: bool) -> Far {
    let state = Arc::new(Mutex::new(before));
    let server = Server::start(move |number, seen: &Seen| {
        let mut state = state.lock().unwrap();
        let path = seen.uri.path();
        if path.ends_with("/syncwindows") {
            return answer(200, json!({ "canSync": can_sync }));
        }
        if seen.method == "GET" {
            if seen.uri.query().is_some_and(|query| query.contains("refresh=")) {
                state["status"]["reconciledAt"] = json!("t9");
            }
            return answer(200, state.clone());
        }
        if let Some((status, body)) = &refusal {
            return answer(*status, body.clone());
        }
        let body = seen.json();
        let operation = if path.ends_with("/sync") {
            json!({ "info": body["infos"], "sync": {} })
        } else {
            json!({ "sync": { "revision": "old" } })
        };
        let revision = if path.ends_with("/sync") { "abc" } else { "old" };
        state["status"]["operationState"] =
            json!({ "phase": phase, "startedAt": format!("t{}", number + 2), "message": "one or more objects failed", "operation": operation, "syncResult": { "revision": revision } });
        state["status"]["sync"]["status"] = json!("Synced");
        answer(200, state.clone())
    })
    .await;
    let (dir, ledger) = crate::conformance::ledger();
    let config: ArgoConfig =
        serde_json::from_value(json!({ "via": { "by": "rest", "url": server.url, "token": TOKEN, "project": "home" }, "poll": "20ms" }))
            .unwrap();
    let argo = Argo::new(&config, None, ledger, "j1", crate::Pace::default()).unwrap_or_else(|faults| panic!("{faults:?}"));
    Far { server, argo, _dir: dir }
}

fn writes(far: &Far) -> Vec<Seen> {
    far.server.seen().into_iter().filter(|seen| seen.method != "GET").collect()
}

/// The properties that Argo CD's own description gives a request.
fn described(definition: &str) -> Option<Vec<String>> {
    let file = corpus("acting/argocd")?.join("swagger-subset.json");
    let swagger: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    Some(swagger["definitions"][definition]["properties"].as_object().unwrap().keys().cloned().collect())
}

#[tokio::test]
async fn a_sync_carries_its_decision_and_is_not_fooled_by_what_was_there() {
    let far = far(app(stale()), None, "Succeeded", true).await;
    let receipt = done(far.argo.apply(Time(0), &sync(1)).await);
    assert!(receipt.observed.contains("Synced, Healthy"), "{receipt:?}");
    let sent = writes(&far);
    assert_eq!(
        (sent.len(), sent[0].uri.path(), sent[0].header("authorization")),
        (1, "/api/v1/applications/web/sync", "Bearer hunter2-argo")
    );
    let body = sent[0].json();
    assert_eq!(body["infos"][0], json!({ "name": "decision", "value": "j1-a1" }));
    assert_eq!((&body["project"], &body["prune"], &body["dryRun"]), (&json!("home"), &json!(false), &json!(false)));
    if let Some(known) = described("applicationApplicationSyncRequest") {
        body.as_object().unwrap().keys().for_each(|key| assert!(known.contains(key), "{key} is no field of a sync"));
    }
    // Taken back: to what ran before.
    done(far.argo.revert(Time(0), &sync(1), &receipt).await);
    assert_eq!((writes(&far)[1].uri.path(), &writes(&far)[1].json()["id"]), ("/api/v1/applications/web/rollback", &json!(4)));
    assert_eq!(done(far.argo.apply(Time(0), &sync(1)).await), receipt);
    assert_eq!(writes(&far).len(), 2, "one number acts once");
}

#[tokio::test]
async fn what_is_synced_and_healthy_is_left_alone() {
    let mut already = app(stale());
    already["status"]["sync"]["status"] = json!("Synced");
    let far = far(already, None, "Succeeded", true).await;
    assert!(done(far.argo.apply(Time(0), &sync(1)).await).observed.contains("already so"));
    assert!(writes(&far).is_empty());
}

#[tokio::test]
async fn what_its_state_does_not_allow_is_a_conflict_and_nothing_is_sent() {
    let mut busy = app(stale());
    busy["status"]["operationState"]["phase"] = json!("Running");
    let one = far(busy, None, "Succeeded", true).await;
    not_done(one.argo.apply(Time(0), &sync(1)).await, FaultCode::Conflict, "already in progress");
    let mut automated = app(stale());
    automated["spec"]["syncPolicy"] = json!({ "automated": { "prune": true } });
    let two = far(automated, None, "Succeeded", true).await;
    not_done(two.argo.apply(Time(0), &rollback(2, 3)).await, FaultCode::Conflict, "auto-sync");
    let three = far(app(stale()), None, "Succeeded", false).await;
    not_done(three.argo.apply(Time(0), &sync(3)).await, FaultCode::Conflict, "sync window");
    not_done(three.argo.apply(Time(0), &rollback(4, 99)).await, FaultCode::NotFound, "no entry 99");
    assert!(writes(&one).is_empty() && writes(&two).is_empty() && writes(&three).is_empty());
}

#[tokio::test]
async fn refusals_keep_their_words_and_are_sent_once() {
    for (id, status, message, code) in [
        (1, 400, "another operation is already in progress", FaultCode::Conflict),
        (2, 400, "application is deleting", FaultCode::Conflict),
        (3, 403, "permission denied: applications, sync, home/web", FaultCode::Denied),
        (4, 401, "no session information", FaultCode::Denied),
        (5, 403, "cannot sync: blocked by sync window", FaultCode::Conflict),
    ] {
        let far = far(app(stale()), Some((status, json!({ "code": 9, "message": message, "error": message }))), "Succeeded", true).await;
        not_done(far.argo.apply(Time(0), &sync(id)).await, code, message);
        assert_eq!(writes(&far).len(), 1);
    }
}

#[tokio::test]
async fn a_failed_operation_is_not_done_and_a_lost_answer_is_looked_into() {
    let one = far(app(stale()), None, "Failed", true).await;
    not_done(one.argo.apply(Time(0), &sync(1)).await, FaultCode::Failed, "one or more objects failed");
    let lost = far(app(stale()), Some((503, json!({}))), "Succeeded", true).await;
    let action = Action { timeout: Span::from_secs(1), ..sync(2) };
    assert!(matches!(lost.argo.apply(Time(0), &action).await, Outcome::Unknown(_)));
    assert_eq!(writes(&lost).len(), 1, "a sync is not sent twice");
    unknown(lost.argo.probe(Time(1), &action).await, "has not begun");
    not_done(lost.argo.probe(Time(99_000), &action).await, FaultCode::TimedOut, "never began");
}

#[tokio::test]
async fn a_refresh_is_seen_to_have_compared_anew_and_a_preview_sends_nothing() {
    let far = far(app(stale()), None, "Succeeded", true).await;
    let refresh = Action { timeout: Span::from_secs(5), ..action_with(1, "argo.refresh", "application/web", Args::new()) };
    let planned = far.argo.preview(&refresh).unwrap();
    let sync_plan = far.argo.preview(&sync(2)).unwrap();
    assert!(far.server.seen().is_empty(), "a preview asks nobody");
    assert_eq!(planned.iter().filter(|one| one.writes).count(), 1);
    assert!(!format!("{sync_plan:?}").contains(TOKEN));
    assert!(done(far.argo.apply(Time(0), &refresh).await).observed.contains("compared anew"));
    assert_eq!(far.argo.ready().await, Vec::new());
    assert!(writes(&far).is_empty(), "readiness only reads");
}

#[tokio::test]
async fn on_the_cluster_a_guarded_patch_begins_the_operation() {
    let cluster = Cluster::start_as(Settings::default(), json!({})).await;
    cluster.server.upsert(definition("argoproj.io", "v1alpha1", "Application", "applications")).unwrap();
    let mut object = app(stale());
    object["apiVersion"] = json!("argoproj.io/v1alpha1");
    object["kind"] = json!("Application");
    object["metadata"] = json!({ "name": "web", "namespace": "argocd" });
    cluster.server.upsert(object).unwrap();
    let (_dir, ledger) = crate::conformance::ledger();
    let section: KubernetesConfig = serde_json::from_value(json!({ "connect": cluster.connect(), "poll": "20ms" })).unwrap();
    let client = Arc::new(KubeClient::new(&section, "j1", crate::Pace::default()).unwrap());
    let config: ArgoConfig = serde_json::from_value(json!({ "via": { "by": "crd" } })).unwrap();
    assert!(Argo::new(&config, None, ledger.clone(), "j1", crate::Pace::default()).is_err(), "it needs a cluster");
    let argo = Argo::new(&config, Some(&client), ledger, "j1", crate::Pace::default()).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(argo.ready().await, Vec::new());
    let controller = async {
        let begun = |server: &homeostat_kube_face::KubeServer| {
            server.get("applications.argoproj.io", "argocd", "web").is_some_and(|app| app["operation"].is_object())
        };
        cluster.until(begun).await;
        assert!(cluster.server.amend("applications.argoproj.io", "argocd", "web", |app| {
            let operation = app.as_object_mut().unwrap().remove("operation").unwrap();
            assert_eq!(operation["initiatedBy"]["username"], "homeostat");
            app["status"]["operationState"] =
                json!({ "phase": "Succeeded", "startedAt": "t2", "operation": operation, "syncResult": { "revision": "abc" } });
            app["status"]["sync"]["status"] = json!("Synced");
        }));
    };
    let action = sync(1);
    let (applied, ()) = tokio::join!(argo.apply(Time(0), &action), controller);
    assert_eq!(done(applied).undo["history_id"], Arg::Int(4));
    let mut automated = (*cluster.server.get("applications.argoproj.io", "argocd", "web").unwrap()).clone();
    automated["spec"]["syncPolicy"] = json!({ "automated": {} });
    cluster.server.upsert(automated).unwrap();
    not_done(argo.apply(Time(0), &rollback(2, 3)).await, FaultCode::Conflict, "auto-sync");
}

#[tokio::test]
async fn argo_conforms() {
    let Far { server, argo, _dir } = far(app(stale()), None, "Succeeded", true).await;
    let server = Arc::new(server);
    let seen = server.clone();
    let count = move || seen.seen().iter().filter(|seen| seen.method != "GET").count();
    crate::conformance::conforms(crate::conformance::Subject {
        actuator: Arc::new(argo),
        good: sync(1),
        count: Box::new(count),
        once: 1,
        _keep: Box::new((server, _dir)),
    })
    .await;
}
