//! The controllers, in virtual time: each looks at the world and changes it a little, again and again until nothing is left for this moment.
//!
//! No controller waits or keeps a thread; what it must remember between ticks is in [`Models`]. They stand for kube-controller-manager, the
//! scheduler, the kubelets, Argo CD, Kratix and Chaos Mesh as far as a client can see. Broken when two of them undo each other within one tick:
//! [`crate::Counters::unfinished_ticks`] then grows.

pub(crate) mod budget;
pub(crate) mod chaos;
pub(crate) mod daemonset;
pub(crate) mod definition;
pub(crate) mod deployment;
pub(crate) mod garbage;
pub(crate) mod gitops;
pub(crate) mod hpa;
pub mod kratix;
pub(crate) mod kubelet;
pub(crate) mod replicaset;
pub(crate) mod scheduler;
pub(crate) mod statefulset;

use crate::meta;
use crate::resource::Resource;
use crate::status::ApiError;
use crate::world::World;
use homeostat_model::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the controllers remember between ticks.
#[derive(Debug, Default)]
pub(crate) struct Models {
    pub(crate) kubelet: kubelet::Memory,
    pub(crate) hpa: hpa::Memory,
    pub(crate) gitops: gitops::Memory,
    pub(crate) kratix: kratix::Memory,
    pub(crate) chaos: chaos::Memory,
    /// When events were last looked through for old ones.
    pub(crate) events_checked: Time,
    /// The version at which nothing was left to do: until it changes, only controllers that watch the clock run.
    settled: u64,
}

/// One controller: whether it acts on time alone, not only on changes, and its step.
type Controller = (bool, fn(&mut World));

/// The controllers in their order.
const CONTROLLERS: [Controller; 12] = [
    (true, chaos::run),
    (true, gitops::run),
    (true, hpa::run),
    (true, deployment::run),
    (false, replicaset::run),
    (false, statefulset::run),
    (false, daemonset::run),
    (false, scheduler::run),
    (true, kubelet::run),
    (false, budget::run),
    (true, kratix::run),
    (false, garbage::run),
];

/// Rounds of all controllers within one tick. A rollout step takes about six; what is left goes on with the next tick.
const ROUNDS: usize = 24;

/// Moves plant time and lets the controllers work.
pub(crate) fn tick(world: &mut World, now: Time) {
    world.now = world.now.max(now);
    world.forget_events();
    for _ in 0..ROUNDS {
        let before = world.version;
        for (by_time, run) in CONTROLLERS {
            if by_time || world.version != world.models.settled {
                run(world);
            }
        }
        if world.version == before {
            world.models.settled = before;
            return;
        }
    }
    world.counters.unfinished_ticks += 1;
}

/// What the webhooks of installed operators would refuse.
pub(crate) fn admission(resource: &Resource, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    match resource.group.as_str() {
        "chaos-mesh.org" => chaos::admission(resource, object, old),
        "platform.kratix.io" => kratix::admission(resource, object, old),
        _ => Ok(()),
    }
}

/// The objects of a shelf by the uid of their controller.
pub(crate) fn by_controller(world: &World, shelf: &str) -> BTreeMap<String, Vec<Arc<Value>>> {
    let mut all: BTreeMap<String, Vec<Arc<Value>>> = BTreeMap::new();
    for object in world.all(shelf) {
        if let Some(uid) = meta::controller(&object).and_then(|owner| owner["uid"].as_str()) {
            all.entry(uid.to_string()).or_default().push(object);
        }
    }
    all
}

/// Whether a pod counts for its controller: not ending, not ended.
pub(crate) fn active(pod: &Value) -> bool {
    !meta::terminating(pod) && !matches!(meta::text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether a pod is Ready.
pub(crate) fn ready(pod: &Value) -> bool {
    meta::condition_true(pod, "Ready")
}

/// Makes a pod from an owner's template, with one more label, on a given node or wherever the scheduler puts it. A refusal becomes an event.
pub(crate) fn make_pod(world: &mut World, owner: &Value, name: &str, label: (&str, &str), node: Option<&str>) -> bool {
    let template = &owner["spec"]["template"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template["spec"]});
    for part in ["labels", "annotations"] {
        if template["metadata"][part].is_object() {
            pod["metadata"][part] = template["metadata"][part].clone();
        }
    }
    meta::tag(&mut pod, "labels", label.0, label.1);
    pod["metadata"]["ownerReferences"] = json!([meta::owner_reference(owner)]);
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    make(world, owner, "", "v1", "pods", pod)
}

/// Creates an object on behalf of its owner; a refusal becomes an event about the owner.
pub(crate) fn make(world: &mut World, owner: &Value, group: &str, version: &str, plural: &str, object: Value) -> bool {
    let Some(resource) = world.resource(group, version, plural) else { return false };
    let options = crate::write::WriteOptions { manager: "kube-controller-manager".into(), ..Default::default() };
    match world.create(&resource, meta::namespace(owner), object, &options) {
        Ok(_) => true,
        Err(error) => {
            world.note(owner, "Warning", "FailedCreate", "kube-controller-manager", &error.message);
            false
        }
    }
}
