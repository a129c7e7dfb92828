//! Experiments on a real server; the test is Chaos Mesh, and the face has the pods.

use super::{Keeper, Real, number, power, real};
use crate::conformance::{action_with, corpus};
use crate::kube::chaos::compose::{ChaosKind, Experiment};
use crate::kube::chaos::tests::deeds::{done, not_done, section};
use crate::kube::chaos::tests::examples;
use crate::kube::tests::{Cluster, TOKEN, deployment};
use crate::kube::{abort_all, abort_expired};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use homeostat_kube_face::Settings;
use homeostat_model::{Action, Actuator, Arg, Args, FaultCode, Outcome, Receipt, Span, Time};
use http::Method;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A server in front of both: custom resources of Chaos Mesh are the real server's, everything else is the face's.
struct Split {
    real: Client,
    face: Client,
}

async fn forward(State(split): State<Arc<Split>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let to_real = parts.uri.path().starts_with("/apis/chaos-mesh.org");
    parts.headers.remove("host");
    let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let mut onward = http::Request::builder().method(parts.method).uri(path);
    *onward.headers_mut().unwrap() = parts.headers;
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let client = if to_real { &split.real } else { &split.face };
    let answer = client.send(onward.body(Body::from(bytes.to_vec())).unwrap()).await.unwrap();
    let (code, bytes) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
    (code, [("content-type", "application/json")], bytes).into_response()
}

/// What Chaos Mesh's controller does with an experiment on one pod: selects, injects, and takes back when it ends. A bad pod is not hit.
fn chaos_mesh(object: &Value) -> Option<Value> {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    let stopping = metadata["deletionTimestamp"].is_string();
    if metadata["finalizers"].is_null() {
        return (!stopping).then(|| json!({ "metadata": { "finalizers": ["chaos-mesh/records"] } }));
    }
    let phase = status["experiment"]["containerRecords"][0]["phase"].as_str();
    let records = |phase: &str, injected: i64, recovered: i64| json!([{ "id": "web/shop-1", "selectorKey": ".", "phase": phase, "injectedCount": injected, "recoveredCount": recovered }]);
    let said = |wish: &str, records: Value| {
        let condition = |kind: &str, status: bool| json!({ "type": kind, "status": if status { "True" } else { "False" } });
        let injected = records[0]["phase"] == "Injected";
        let conditions = json!([
            condition("Selected", true),
            condition("AllInjected", injected),
            condition("AllRecovered", !injected),
            condition("Paused", false)
        ]);
        Some(json!({ "status": { "conditions": conditions, "experiment": { "desiredPhase": wish, "containerRecords": records } } }))
    };
    // A short duration is over as soon as it was seen.
    let over = object["spec"]["duration"] == "1s" && phase == Some("Injected");
    match phase {
        Some("Injected") if stopping || over => said("Stop", records("Not Injected", 1, 1)),
        Some("Not Injected") | None if stopping => Some(json!({ "metadata": { "finalizers": null } })),
        None => said("Run", records("Injected", 1, 0)),
        _ => None,
    }
}

struct Lab {
    real: Real,
    face: Cluster,
    actuator: Arc<dyn Actuator>,
    _dir: tempfile::TempDir,
    _keepers: Vec<Keeper>,
    server: JoinHandle<()>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn list(kind: ChaosKind) -> String {
    kind.served().list_path("web")
}

async fn lab() -> Option<Lab> {
    let real = real().await?;
    let face = Cluster::start_as(Settings::default(), json!({})).await;
    let notes = json!({ "chaos-mesh.org/inject": "enabled" });
    face.server.upsert(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web", "annotations": notes } })).unwrap();
    face.make(deployment("shop", 3)).await;
    let mut config = Config::new(face.url.parse().unwrap());
    config.default_retry = false;
    config.auth_info.token = Some(TOKEN.to_owned().into());
    let split = Arc::new(Split { real: real.client.clone(), face: Client::try_from(config).unwrap() });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(forward).with_state(split);
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let keepers = vec![real.keep(list(ChaosKind::PodChaos), "", chaos_mesh), real.keep(list(ChaosKind::NetworkChaos), "", chaos_mesh)];
    let (dir, actuator) =
        power("chaos", json!({ "by": "server", "url": url, "token": TOKEN }), section(json!({ "recovery_timeout": "20s" })));
    Some(Lab { real, face, actuator, _dir: dir, _keepers: keepers, server })
}

fn run(experiment: &str, more: &[(&str, Arg)]) -> Action {
    let mut args = Args::from([("experiment".to_owned(), Arg::from(experiment))]);
    args.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Action { timeout: Span::from_mins(10), ..action_with(number(), "chaos.run", "deployment/web/shop", args) }
}

#[tokio::test]
async fn experiments_are_made_seen_and_ended() {
    let Some(lab) = lab().await else { return };
    let apply = async |action: &Action| lab.actuator.apply(Time(0), action).await;
    let kill = run("kill", &[]);
    assert!(done(apply(&kill).await).observed.contains("1 targets struck"));
    let short = run("late", &[("duration_seconds", Arg::Int(1))]);
    assert!(done(apply(&short).await).observed.contains("were hit and are recovered"));
    let standing = run("late", &[("until", Arg::from("injected"))]);
    let receipt = done(apply(&standing).await);
    let path = format!("{}/homeostat-real-{}", list(ChaosKind::NetworkChaos), standing.id);
    let object = lab.real.get(&path).await.unwrap();
    assert_eq!(object["spec"]["duration"], "60s");
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "homeostat");
    assert_eq!(object["metadata"]["annotations"]["homeostat/decision"], format!("real-{}", standing.id));
    done(lab.actuator.probe(Time(1), &standing).await);
    assert!(done(lab.actuator.revert(Time(2), &standing, &receipt).await).observed.contains("recovered"));
    assert!(lab.real.get(&path).await.is_none());
    // One number acts once, whatever is asked.
    let requests = lab.face.server.counters().requests;
    done(apply(&kill).await);
    assert_eq!(lab.face.server.counters().requests, requests);
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_taken_over() {
    let Some(lab) = lab().await else { return };
    let action = run("late", &[]);
    let name = format!("homeostat-real-{}", action.id);
    let spec = json!({ "action": "delay", "mode": "one", "selector": { "namespaces": ["web"] }, "delay": { "latency": "1ms" } });
    let theirs = json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos", "metadata": { "name": name, "namespace": "web" }, "spec": spec });
    let path = format!("{}/{name}", list(ChaosKind::NetworkChaos));
    lab.real.put(&path, "somebody", &theirs).await;
    // Already the dry run says so.
    not_done(lab.actuator.apply(Time(0), &action).await, FaultCode::Conflict, "already exists");
    assert!(lab.real.get(&path).await.unwrap()["metadata"]["deletionTimestamp"].is_null());
    assert!(matches!(lab.actuator.revert(Time(0), &run("kill", &[]), &Receipt::default()).await, Outcome::Done(_)));
    lab.real.ask(Method::DELETE, &path, "", &Value::Null).await;
}

/// Straight over TLS, without a daemon: ours end, those of others stay; in a namespace that no other test uses.
#[tokio::test]
async fn ours_are_ended_without_a_daemon() {
    let Some(real) = real().await else { return };
    let namespace = format!("aborts-{}", number());
    let config = json!({ "connect": real.kubeconfig(), "poll": "20ms", "namespaces": [namespace] });
    let client = crate::kube::KubeClient::new(&serde_json::from_value(config).unwrap(), "real", crate::Pace::default()).unwrap();
    let path = |kind: ChaosKind, name: &str| format!("{}/{name}", kind.served().list_path(&namespace));
    let object = |kind: ChaosKind, name: &str, metadata: Value, spec: Value| {
        let mut object = json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind.name(), "metadata": metadata, "spec": spec });
        object["metadata"]["name"] = json!(name);
        object
    };
    let pod = json!({ "action": "pod-failure", "mode": "one", "selector": { "namespaces": [namespace] } });
    let ours = |expires: &str| json!({ "labels": { "app.kubernetes.io/managed-by": "homeostat" }, "annotations": { "homeostat/expires-at": expires } });
    let (soon, late) = (ours("2026-01-01T00:00:00.000Z"), ours("2036-01-01T00:00:00.000Z"));
    let put = async |kind: ChaosKind, name: &str, metadata: &Value, spec: &Value| {
        real.put(&path(kind, name), "somebody", &object(kind, name, metadata.clone(), spec.clone())).await;
    };
    put(ChaosKind::PodChaos, "soon", &soon, &pod).await;
    put(ChaosKind::PodChaos, "late", &late, &pod).await;
    put(ChaosKind::PodChaos, "theirs", &json!({}), &pod).await;
    let schedule =
        json!({ "schedule": "@every 1h", "type": "PodChaos", "historyLimit": 1, "concurrencyPolicy": "Forbid", "podChaos": pod });
    put(ChaosKind::Schedule, "often", &late, &schedule).await;
    let now = Time(1_780_000_000_000); // in 2026
    let report = abort_expired(&client, now, Span::from_secs(10)).await;
    assert_eq!((report.recovered.as_slice(), report.is_clean()), (&[format!("podchaos/{namespace}/soon")][..], true), "{report}");
    let report = abort_all(&client, Span::from_secs(10)).await;
    assert_eq!(report.recovered, [format!("schedules/{namespace}/often"), format!("podchaos/{namespace}/late")], "{report}");
    assert!(real.get(&path(ChaosKind::PodChaos, "theirs")).await.is_some());
}

/// What we write of every example of Chaos Mesh is taken by its definitions, strictly.
#[tokio::test]
async fn every_example_is_taken_by_the_real_definitions() {
    let (Some(real), Some(examples)) = (real().await, examples()) else { return };
    assert!(corpus("acting/chaos-mesh/crds").is_some());
    let mut kinds = std::collections::BTreeSet::new();
    for (at, example) in examples.iter().enumerate() {
        let typed: Experiment = serde_json::from_value(json!({ "kind": example["kind"], "spec": example["spec"] })).unwrap();
        let mut object = serde_json::to_value(&typed).unwrap();
        object["apiVersion"] = json!("chaos-mesh.org/v1alpha1");
        object["metadata"] = json!({ "name": format!("example-{at}"), "namespace": "web" });
        let path = format!("{}?dryRun=All&fieldValidation=Strict", list(typed.kind()));
        let (code, body) = real.ask(Method::POST, &path, "application/json", &object).await;
        assert_eq!(code, 201, "{} {}: {body}", example["kind"], example["metadata"]["name"]);
        kinds.insert(typed.kind());
    }
    eprintln!("{} examples of {} kinds are taken by {}", examples.len(), kinds.len(), real.url);
}
