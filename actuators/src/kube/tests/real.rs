//! The powers over custom resources against a real API server, over TLS (`scripts/real-api-server`, HOMEOSTAT_TEST_KUBECONFIG).
//!
//! The server has Kratix' and Chaos Mesh's definitions and no controllers: the tests play those, by the patches that a real controller
//! would send. Pods and namespaces come from the face: [`Split`] hands custom resources to the real server and the rest to the face.
//! Deliberately absent: whether Kratix and Chaos Mesh do what they say. Without the variable all of this says SKIPPED.

mod chaos;
mod kratix;

use crate::kube::call::{Call, Kind};
use crate::kube::kratix::PROMISE;
use crate::kube::{ConnectConfig, KubeClient, KubernetesConfig};
use crate::{ActuatorsConfig, Pace, assemble};
use homeostat_model::{Actuator, FaultCode};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// The real server, asked by a client that is not ours.
#[derive(Clone)]
struct Real {
    path: String,
    client: Client,
    url: String,
}

/// The server of HOMEOSTAT_TEST_KUBECONFIG, if it is one without controllers; else says loudly why nothing is tested.
async fn real() -> Option<Real> {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let Ok(path) = std::env::var("HOMEOSTAT_TEST_KUBECONFIG") else {
        eprintln!("SKIPPED: {test}: no HOMEOSTAT_TEST_KUBECONFIG (scripts/real-api-server sets it)");
        return None;
    };
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(&path).unwrap();
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let real = Real { path, client: Client::try_from(config).unwrap(), url };
    if real.ask(Method::GET, "/api/v1", "", &Value::Null).await.0 == 200 {
        eprintln!("SKIPPED: {test}: {} is a whole cluster; this test plays controllers that may really be there", real.url);
        return None;
    }
    Some(real)
}

impl Real {
    /// Code and body of an answer; a body that is no JSON is null.
    async fn ask(&self, method: Method, path: &str, kind: &str, body: &Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut request = Request::builder().method(method).uri(path);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let answer = self.client.send(request.body(Body::from(bytes)).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let (code, body) = self.ask(Method::GET, path, "", &Value::Null).await;
        (code == 200).then_some(body)
    }

    /// As somebody else does: applied by force.
    async fn put(&self, path: &str, manager: &str, object: &Value) -> Value {
        let path = format!("{path}?fieldManager={manager}&force=true&fieldValidation=Strict");
        let (code, body) = self.ask(Method::PATCH, &path, APPLY, object).await;
        assert!(matches!(code, 200 | 201), "{path}: {code} {body}");
        body
    }

    /// Defines a kind and waits until the server says that it is established; it may still refuse its first requests.
    async fn define(&self, definition: &Value) {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}", definition["metadata"]["name"].as_str().unwrap());
        self.put(&path, "somebody", definition).await;
        let began = Instant::now();
        loop {
            let found = self.get(&path).await.unwrap();
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True") {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{found}");
        }
    }

    /// Plays a controller of one kind: what `play` answers to an object is sent as a merge patch, to its status if the patch has nothing
    /// else and the kind has that subresource.
    fn keep(&self, list: String, status: &'static str, play: fn(&Value) -> Option<Value>) -> Keeper {
        let real = self.clone();
        Keeper(tokio::spawn(async move {
            loop {
                let all = real.get(&list).await.unwrap_or_default();
                for object in all["items"].as_array().into_iter().flatten() {
                    let Some(mut patch) = play(object) else { continue };
                    let sub = if patch["metadata"].is_null() { status } else { "" };
                    patch["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"].clone();
                    let path = format!("{list}/{}{sub}?fieldManager=controller", object["metadata"]["name"].as_str().unwrap());
                    // A conflict is looked at again.
                    let (code, body) = real.ask(Method::PATCH, &path, MERGE, &patch).await;
                    assert!(matches!(code, 200 | 404 | 409), "{path}: {code} {body}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }))
    }

    fn kubeconfig(&self) -> Value {
        json!({ "by": "kubeconfig", "path": self.path })
    }

    /// A client of ours.
    fn ours(&self, connect: Value) -> KubeClient {
        let config: KubernetesConfig = serde_json::from_value(json!({ "connect": connect, "poll": "20ms" })).unwrap();
        KubeClient::new(&config, "real", Pace::default()).unwrap()
    }

    /// The authority's file that the kubeconfig names.
    fn authority(&self) -> String {
        let file = Kubeconfig::read_from(&self.path).unwrap();
        file.clusters[0].cluster.as_ref().unwrap().certificate_authority.clone().unwrap()
    }
}

/// A controller that a test plays; it ends with the test.
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An action number that no other test has: names on the server come from it.
fn number() -> u64 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    u64::from(std::process::id()) * 1000 + u64::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One power of a section, on a connection.
fn power(name: &str, connect: Value, mut section: Value) -> (tempfile::TempDir, Arc<dyn Actuator>) {
    let dir = tempfile::tempdir().unwrap();
    section["connect"] = connect;
    section["poll"] = json!("20ms");
    let config: ActuatorsConfig = serde_json::from_value(json!({ "kubernetes": section })).unwrap();
    let built = assemble(&config, dir.path(), "real").unwrap_or_else(|faults| panic!("{faults:#?}"));
    let power = built.actuators.into_iter().find(|one| one.spec().id.as_str() == name).unwrap();
    (dir, power)
}

fn definition(group: &str) -> Value {
    let mut definition = crate::kube::chaos::tests::deeds::definition(group, "v1", "Thing", "things");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({ "type": "object", "properties": { "size": { "type": "string", "enum": ["small", "large"] } } });
    definition
}

#[tokio::test]
async fn all_ways_to_connect_over_tls() {
    let Some(real) = real().await else { return };
    let promises = Call::get(PROMISE.list_path(""));
    let local = real.url.replace("127.0.0.1", "localhost");
    for connect in [
        real.kubeconfig(),
        json!({ "by": "server", "url": real.url, "ca_file": real.authority(), "token": "nobody-asks" }),
        json!({ "by": "server", "url": local, "ca_file": real.authority() }),
    ] {
        let client = real.ours(connect.clone());
        let found = client.call(&promises, client.look_deadline()).await.unwrap_or_else(|refusal| panic!("{connect}: {}", refusal.words()));
        assert!(found["items"].is_array());
    }
    // Without the authority nothing is sent, and the words say why.
    let stranger = real.ours(json!({ "by": "server", "url": real.url, "token": "hunter2-do-not-show" }));
    let refusal = stranger.call(&promises, stranger.look_deadline()).await.unwrap_err();
    assert_eq!(refusal.code(), FaultCode::Unreachable);
    assert!(refusal.words().contains("certificate") && !refusal.words().contains("hunter2"), "{}", refusal.words());
    let Err(fault) = serde_json::from_value::<ConnectConfig>(json!({ "by": "server", "url": real.url, "ca": "x" })) else { panic!() };
    assert!(fault.to_string().contains("ca_file"), "{fault}");
}

#[tokio::test]
async fn what_is_served_is_found_and_what_is_not_is_gone() {
    let Some(real) = real().await else { return };
    let client = real.ours(real.kubeconfig());
    let deadline = client.look_deadline();
    let experiment = Kind::namespaced("chaos-mesh.org", "v1alpha1", "NetworkChaos", "networkchaos");
    let nothing = Kind::namespaced("nobody.example.org", "v1", "Thing", "things");
    for (kind, subresource, served) in
        [(&PROMISE, "", true), (&PROMISE, "status", true), (&PROMISE, "scale", false), (&experiment, "", true), (&nothing, "", false)]
    {
        assert_eq!(client.serves(kind, subresource, deadline).await, Ok(served), "{} {subresource}", kind.plural);
    }
    // `404 page not found`, in plain text.
    let refusal = client.call(&Call::get(nothing.path("x", "y")), deadline).await.unwrap_err();
    assert!(refusal.is_gone() && refusal.words().contains("404 page not found"), "{}", refusal.words());
}

/// A fresh kind answers 429 `storage is (re)initializing` or 404 for a moment: the first is waited for.
#[tokio::test]
async fn a_fresh_kind_takes_its_first_object() {
    let Some(real) = real().await else { return };
    let client = real.ours(real.kubeconfig());
    for _ in 0..4 {
        let group = format!("fresh-{}.example.org", number());
        real.define(&definition(&group)).await;
        let path = format!("/apis/{group}/v1/namespaces/web/things");
        let body =
            json!({ "apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": { "name": "a" }, "spec": { "size": "small" } });
        let made = client.call(&Call::create(&*path, body), client.look_deadline()).await;
        assert_eq!(made.unwrap_or_else(|refusal| panic!("{}", refusal.words()))["metadata"]["generation"], 1);
    }
}

/// The texts of a real server, in our classes.
#[tokio::test]
async fn refusals_mean_what_we_take_them_for() {
    use crate::kube::refusal::Meaning;
    let Some(real) = real().await else { return };
    let client = real.ours(real.kubeconfig());
    let group = format!("no-{}.example.org", number());
    real.define(&definition(&group)).await;
    let (list, path) = (format!("/apis/{group}/v1/namespaces/web/things"), format!("/apis/{group}/v1/namespaces/web/things/a"));
    let thing = |spec: Value| json!({ "apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": { "name": "a" }, "spec": spec });
    let made = client.call(&Call::create(&*list, thing(json!({ "size": "small" }))), client.look_deadline()).await.unwrap();
    let version = made["metadata"]["resourceVersion"].clone();
    real.ask(Method::PATCH, &path, MERGE, &json!({ "metadata": { "labels": { "x": "y" } } })).await;
    real.put(&path, "somebody", &thing(json!({ "size": "large" }))).await;
    let strict = |call: Call| call.with("fieldValidation", "Strict");
    let rows = [
        (Call::get(format!("{path}b")), Meaning::Gone, "not found"),
        (Call::create(&*list, thing(json!({}))), Meaning::Exists, "already exists"),
        (Call::merge(&*path, json!({ "metadata": { "resourceVersion": version }, "spec": {} })), Meaning::Stale, "has been modified"),
        (Call::apply(&*path, thing(json!({ "size": "small" }))), Meaning::Owned, ".spec.size"),
        (Call::merge(&*path, json!({ "spec": { "size": "huge" } })), Meaning::Invalid, "Unsupported value"),
        (strict(Call::merge(&*path, json!({ "spec": { "sise": "x" } }))), Meaning::Invalid, "unknown field \"spec.sise\""),
        (strict(Call::create(&*list, thing(json!({ "sise": "x" })))), Meaning::Invalid, "unknown field \"spec.sise\""),
        (Call::apply(&*path, thing(json!({ "sise": "x" }))), Meaning::Invalid, ".spec.sise: field not declared in schema"),
        (Call::apply(&*path, thing(json!({ "size": 1 }))), Meaning::Invalid, "expected string"),
        (Call::delete(&*path, Some("another"), "Background"), Meaning::Stale, "UID"),
    ];
    for (call, meaning, part) in rows {
        let refusal = client.call(&call, client.look_deadline()).await.unwrap_err();
        assert_eq!((refusal.meaning(), refusal.is_definite()), (meaning, true), "{}", refusal.words());
        assert!(refusal.words().contains(part), "{}", refusal.words());
    }
}
