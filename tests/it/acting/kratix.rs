//! A worker that a Promise brings: asked for while the queue is long, given back when it is idle; and what is said when it does not come.

use super::{Files, House, definition, detail, observed, sent};
use homeostat_kube_face::{KubeServer, Workflow};
use homeostat_model::{FaultCode, Outcome, Span};
use homeostat_sim::plant::{Op, OpKind};
use serde_json::{Value, json};

const LAB: &str = r#"
name: small
engine: brain
scrape: 5s
nodes:
  - { name: brain, kind: brain, mac: "02:00:00:00:00:01", switch: rack, filesystems: [{ mountpoint: /, size_bytes: 64e9, used_ratio: 0.4 }] }
  - { name: muscle, kind: muscle, mac: "02:00:00:00:00:30", sleeps: true, filesystems: [{ mountpoint: /, size_bytes: 2e12, used_ratio: 0.5 }] }
queues:
  - { name: inference, node: muscle, jobs_per_day: 1, job_seconds: 30, wait_seconds_max: 900 }
"#;
const SPEED: f64 = 60.0;
const SHELF: &str = "gpuworkers.compute.lab";

const GROW: &str = r#"
//! Asks for a worker while jobs wait, and gives it back when there is nothing to do.
fn policy() {
    #{ for_each: series("inference_queue_length"), every: "10s", cooldown: "1h", autonomy: "auto" }
}
fn evaluate(queue) {
    if queue.held_above(2, "20s") {
        propose(act("kratix.apply", "promise/gpu-worker", #{ namespace: "ai", name: "worker", spec: `{"size":"large"}` }))
            .because(`${queue.last()} jobs wait`).claim(queue.below(1).within("30m"));
    }
}
"#;
const SHRINK: &str = r#"
//! Gives a worker back when there was nothing to do for a while.
fn policy() {
    #{ for_each: series("inference_queue_length"), every: "10s", cooldown: "1h", autonomy: "auto" }
}
fn evaluate(queue) {
    if queue.over("10m").max() > 2 && queue.held_below(1, "2m") {
        propose(act("kratix.delete", "promise/gpu-worker", #{ namespace: "ai", name: "worker" }))
            .because("nothing waits any more").claim(queue.below(1).held("1m").within("10m"));
    }
}
"#;

fn promise() -> Value {
    let size = json!({ "type": "string", "default": "small", "pattern": "^(small|large)$" });
    let spec = json!({ "type": "object", "properties": { "size": size } });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } });
    let names = json!({ "kind": "GpuWorker", "plural": "gpuworkers", "singular": "gpuworker" });
    let versions = json!([{ "name": "v1", "served": true, "storage": true, "schema": schema }]);
    json!({
        "apiVersion": "platform.kratix.io/v1alpha1", "kind": "Promise", "metadata": { "name": "gpu-worker" },
        "spec": { "api": {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": SHELF },
            "spec": { "group": "compute.lab", "scope": "Namespaced", "names": names, "versions": versions },
        } },
    })
}

/// A house with an available Promise, and a daemon whose policies know it.
async fn house(workflow: Workflow) -> House {
    let mut house = House::open(LAB, SPEED).await;
    let kube = house.kube();
    kube.upsert(definition("platform.kratix.io", "v1alpha1", "Promise", "promises", "Cluster")).unwrap();
    kube.upsert(promise()).unwrap();
    kube.upsert(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ai" } })).unwrap();
    kube.set_workflow("ai", "worker", workflow);
    let available = |kube: &KubeServer| {
        kube.get("promises.platform.kratix.io", "", "gpu-worker").is_some_and(|promise| promise["status"]["status"] == "Available")
    };
    let end = std::time::Instant::now() + super::PATIENCE;
    while !available(house.kube()) {
        assert!(std::time::Instant::now() < end, "the Promise never becomes available");
        tokio::time::sleep(super::LOOK).await;
    }
    let kratix = json!({ "timeout": "5m", "settle": "10s", "delete_class": "disruptive", "energy_joules": 36000.0 });
    let config = json!({ "actuators": { "kubernetes": { "kratix": kratix } } });
    house.run(Files { config, policies: vec![("worker-grow", GROW), ("worker-shrink", SHRINK)], ..Files::default() }).await;
    house
}

fn request(house: &House) -> Option<std::sync::Arc<Value>> {
    house.kube().get(SHELF, "ai", "worker")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_asked_for_when_the_queue_grows_used_and_given_back_when_idle() {
    let house = house(Workflow::Succeeds).await;
    house.bring_work(5);
    let asked = house.ended("kratix.apply").await;
    assert!(observed(&asked).contains("is Reconciled"), "{asked:?}");
    let object = request(&house).expect("the request is there");
    assert_eq!(
        (&object["spec"]["size"], &object["metadata"]["labels"]["app.kubernetes.io/managed-by"]),
        (&json!("large"), &json!("homeostat"))
    );
    assert!(house.actions("kratix.delete").await.is_empty(), "nobody is idle yet");
    // What the Promise brings here is the node with the GPU.
    house.faces.world().act(&Op { does: OpKind::Wake, target: "node/muscle".into(), replicas: None });
    house.until("the work is done", || house.faces.world().with(|plant| plant.queues[0].done == 5 && plant.queues[0].is_empty())).await;
    let given_back = house.ended("kratix.delete").await;
    assert!(observed(&given_back).contains("is gone"), "{given_back:?}");
    assert!(request(&house).is_none());
    assert!(given_back.sent_at > asked.sent_at);
    assert_eq!((sent(&house.actions("kratix.apply").await), sent(&house.actions("kratix.delete").await)), (1, 1));
    let judged = house.until_some("the claim is judged", async || house.actions("kratix.apply").await[0].judgement.clone()).await;
    assert_eq!(judged.held, Some(true), "{judged:?}");
    house.close().await;
}

/// The request never comes to be: the outcome is named, and nothing is asked for twice.
async fn never_comes(workflow: Workflow, code: FaultCode, part: &str) {
    let house = house(workflow).await;
    house.bring_work(5);
    let asked = house.ended("kratix.apply").await;
    assert!(matches!(&asked.outcome, Some(Outcome::NotDone(fault)) if fault.code == code), "{asked:?}");
    assert!(detail(&asked).contains(part), "{}", detail(&asked));
    // The policy goes on wishing it for minutes; the request that stays is the first one.
    let (first, since) = (request(&house).expect("it stays, as the words say"), asked.moved_at);
    let later = since + Span::from_mins(5);
    house.until("five minutes pass", || house.faces.world().with(|plant| plant.now()) > later).await;
    assert_eq!(sent(&house.actions("kratix.apply").await), 1);
    let object = request(&house).expect("it stays");
    let same = |field: &str| object["metadata"][field] == first["metadata"][field];
    assert!(same("uid") && same("generation"), "{object}");
    assert!(house.actions("kratix.delete").await.is_empty());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_fails_is_said_and_not_tried_twice() {
    never_comes(Workflow::Fails, FaultCode::Failed, "ConfigureWorkflowFailed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_destination_is_said_and_not_tried_twice() {
    never_comes(Workflow::Misplaced, FaultCode::Conflict, "WorksMisplaced").await;
}
