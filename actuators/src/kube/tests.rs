//! The powers against the face: an API server in memory that runs fifty times faster than real time, with its faults.

mod conformance;
mod drain;
mod node;
mod pod;
mod real;
mod resources;
mod restart;
mod scale;
mod wire;

use crate::conformance::action_with;
use crate::{ActuatorsConfig, assemble};
use homeostat_kube_face::{FaultKind, KubeFault, KubeServer, Settings, Token};
use homeostat_model::{Action, Actuator, Arg, Args, Fault, FaultCode, Outcome, Receipt, Span, Time};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The face's token; must never come back.
const TOKEN: &str = "hunter2-do-not-show";
/// How long a test waits for the world.
const PATIENCE: Duration = Duration::from_secs(60);

/// The face behind a listener, and the actuators that act on it.
pub(crate) struct Cluster {
    pub(crate) server: KubeServer,
    pub(crate) actuators: Vec<Arc<dyn Actuator>>,
    /// Where it is.
    pub(crate) url: String,
    _dir: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.stop();
    }
}

impl Cluster {
    pub(crate) async fn start() -> Cluster {
        Cluster::start_as(Settings::default(), json!({})).await
    }

    /// With the face's settings, and changes to the section.
    pub(crate) async fn start_as(settings: Settings, section: Value) -> Cluster {
        let server = KubeServer::new(Settings { token: Some(Token(TOKEN.into())), ..settings });
        for name in ["n1", "n2", "n3"] {
            server.upsert(node(name)).unwrap();
        }
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Both end with the server: Drop stops it.
        drop(server.serve(listener));
        let (start, began) = (server.now(), Instant::now());
        let clock = move || Time(start.0 + Span::from_millis(began.elapsed().as_millis() as i64).times(50.0).0);
        drop(server.drive(clock, Duration::from_millis(5)));
        let (dir, actuators) = actuators(&url, section);
        Cluster { server, actuators, url, _dir: dir }
    }

    pub(crate) fn actuator(&self, name: &str) -> Arc<dyn Actuator> {
        self.actuators.iter().find(|actuator| actuator.spec().id.as_str() == name).unwrap().clone()
    }

    /// How a client of its own connects.
    pub(crate) fn connect(&self) -> Value {
        json!({ "by": "server", "url": self.url, "token": TOKEN })
    }

    /// Applies with the actuator that the verb names.
    async fn apply(&self, action: &Action) -> Outcome {
        self.actuator(action.verb.actuator()).apply(Time(0), action).await
    }

    async fn probe(&self, now: Time, action: &Action) -> Outcome {
        self.actuator(action.verb.actuator()).probe(now, action).await
    }

    async fn revert(&self, action: &Action, receipt: &Receipt) -> Outcome {
        self.actuator(action.verb.actuator()).revert(Time(0), action, receipt).await
    }

    /// Makes an object and waits until its controller is satisfied with it.
    pub(crate) async fn make(&self, object: Value) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let (namespace, name) = (object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone());
        self.server.upsert(object).unwrap();
        let shelf = match kind.as_str() {
            "Deployment" => "deployments.apps",
            "StatefulSet" => "statefulsets.apps",
            "DaemonSet" => "daemonsets.apps",
            _ => return,
        };
        let (namespace, name) = (namespace.as_str().unwrap().to_owned(), name.as_str().unwrap().to_owned());
        self.until(|server| {
            let object = server.get(shelf, &namespace, &name).unwrap();
            matches!(super::rollout::state(&kind, &object), super::rollout::Rollout::Complete(_))
        })
        .await;
    }

    /// Waits for the world.
    pub(crate) async fn until(&self, is_so: impl Fn(&KubeServer) -> bool) {
        let began = Instant::now();
        while !is_so(&self.server) {
            assert!(began.elapsed() < PATIENCE, "the world did not come to it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn get(&self, shelf: &str, name: &str) -> Arc<Value> {
        self.server.get(shelf, if shelf == "nodes" { "" } else { "web" }, name).unwrap()
    }

    fn inject(&self, method: &str, path: &str, kind: FaultKind, count: u32) {
        assert!(self.server.inject(KubeFault { method: method.into(), path_prefix: path.into(), kind, count }));
    }

    /// The pods of a deployment or set in `web`, by its label.
    pub(crate) fn pods(&self, app: &str) -> Vec<Arc<Value>> {
        self.server.list("pods").into_iter().filter(|pod| pod["metadata"]["labels"]["app"] == app).collect()
    }
}

/// All powers on one server.
fn actuators(url: &str, changes: Value) -> (tempfile::TempDir, Vec<Arc<dyn Actuator>>) {
    let dir = tempfile::tempdir().unwrap();
    let mut section = json!({
        "connect": { "by": "server", "url": url, "token": TOKEN }, "poll": "20ms", "call_timeout": "5s",
        "scale": { "timeout": "60s" }, "restart": { "timeout": "60s" },
        "node": { "budget_retry": "50ms", "drain_timeout": "60s" },
        "resources": { "cpu_max": "2", "memory_max": "1Gi", "timeout": "60s" },
        "pod": { "budget_retry": "50ms", "timeout": "60s" },
    });
    for (name, value) in changes.as_object().unwrap() {
        section[name] = value.clone();
    }
    let config: ActuatorsConfig = serde_json::from_value(json!({ "kubernetes": section })).unwrap();
    let built = assemble(&config, dir.path(), "j1").unwrap_or_else(|faults| panic!("{faults:#?}"));
    (dir, built.actuators)
}

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "status": {
            "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
        },
    })
}

fn pod_template(app: &str) -> Value {
    let container = json!({ "name": "main", "image": "registry.k8s.io/pause:3.10", "resources": { "requests": { "cpu": "100m" } } });
    json!({ "metadata": { "labels": { "app": app } }, "spec": { "containers": [container] } })
}

pub(crate) fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "web" },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": pod_template(name) },
    })
}

pub(crate) fn stateful_set(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": name, "namespace": "web" },
        "spec": { "replicas": replicas, "serviceName": name, "selector": { "matchLabels": { "app": name } }, "template": pod_template(name) },
    })
}

fn daemon_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": name, "namespace": "web" },
        "spec": { "selector": { "matchLabels": { "app": name } }, "template": pod_template(name) },
    })
}

fn budget(name: &str, min_available: i64) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": name, "namespace": "web" },
        "spec": { "minAvailable": min_available, "selector": { "matchLabels": { "app": name } } },
    })
}

/// An action with arguments as JSON, and a minute to do it.
fn act(id: u64, verb: &str, target: &str, args: Value) -> Action {
    let args: Args = serde_json::from_value(args).unwrap();
    Action { timeout: Span::from_secs(60), ..action_with(id, verb, target, args) }
}

/// The same with little time: for what never comes.
fn hasty(action: Action) -> Action {
    Action { timeout: Span::from_secs(3), ..action }
}

/// After everything is over.
const LATER: Time = Time(1_000_000);

fn done(outcome: Outcome) -> Receipt {
    assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
    let Outcome::Done(receipt) = outcome else { panic!("{outcome:?}") };
    receipt
}

fn not_done(outcome: Outcome, code: FaultCode) -> Fault {
    assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
    match outcome {
        Outcome::NotDone(fault) if fault.code == code => fault,
        other => panic!("expected NotDone with {code:?}, found {other:?}"),
    }
}

fn unknown(outcome: Outcome) -> Fault {
    let Outcome::Unknown(fault) = outcome else { panic!("{outcome:?}") };
    fault
}
