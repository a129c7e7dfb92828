//! DaemonSets: one pod on every node whose labels and taints admit it. Cordoned and unready nodes keep theirs, as on a real cluster, where daemon
//! pods tolerate both.

use crate::control::{active, by_controller, make_pod, ready, scheduler};
use crate::meta;
use crate::world::World;
use serde_json::{Value, json};
use std::sync::Arc;

const REVISION: &str = "controller-revision-hash";

/// Takes every set one step further.
pub(crate) fn run(world: &mut World) {
    let sets = world.all("daemonsets.apps");
    if sets.is_empty() {
        return;
    }
    let pods = by_controller(world, "pods");
    let nodes = world.all("nodes");
    for set in sets {
        let mine = pods.get(meta::uid(&set)).cloned().unwrap_or_default();
        let hash = meta::hash(&set["spec"]["template"]);
        let spec = &set["spec"]["template"]["spec"];
        let fit: Vec<&Arc<Value>> = nodes.iter().filter(|node| scheduler::selected(node, spec) && (admits(node, spec))).collect();
        if !meta::terminating(&set) {
            step(world, &set, &mine, &fit, &hash);
        }
        report(world, &set, &mine, fit.len(), &hash);
    }
}

/// Whether a node's taints admit the pod; those that daemon pods always tolerate do not count.
fn admits(node: &Value, spec: &Value) -> bool {
    let mut node = node.clone();
    let taints: Vec<Value> = meta::list(&node, "/spec/taints")
        .iter()
        .filter(|taint| !meta::text(taint, "/key").starts_with("node.kubernetes.io/"))
        .cloned()
        .collect();
    meta::set(&mut node, "/spec/taints", Value::Array(taints));
    scheduler::tolerated(&node, spec)
}

fn step(world: &mut World, set: &Value, mine: &[Arc<Value>], fit: &[&Arc<Value>], hash: &str) {
    for node in fit {
        let name = meta::name(node);
        if !mine.iter().any(|pod| meta::text(pod, "/spec/nodeName") == name) {
            let pod = format!("{}-{}", meta::name(set), meta::letters(world.draw(), 5));
            make_pod(world, set, &pod, (REVISION, hash), Some(name));
        }
    }
    for pod in mine.iter().filter(|pod| active(pod)) {
        let node = meta::text(pod, "/spec/nodeName");
        if !fit.iter().any(|one| meta::name(one) == node) {
            world.reap("pods", meta::namespace(pod), meta::name(pod));
        }
    }
    // Rolling update: one old pod at a time, while all others are ready.
    if set["spec"]["updateStrategy"]["type"] != "OnDelete" && mine.len() == fit.len() {
        let old = mine.iter().find(|pod| meta::label(pod, REVISION) != Some(hash));
        let calm = mine.iter().all(|pod| active(pod) && (ready(pod) || meta::label(pod, REVISION) != Some(hash)));
        if let Some(pod) = old.filter(|_| calm) {
            world.reap("pods", meta::namespace(pod), meta::name(pod));
        }
    }
}

fn report(world: &mut World, set: &Value, mine: &[Arc<Value>], desired: usize, hash: &str) {
    let count = |test: &dyn Fn(&Value) -> bool| mine.iter().filter(|pod| active(pod) && test(pod)).count();
    let ready_now = count(&|pod| ready(pod));
    let status = json!({
        "observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": desired, "currentNumberScheduled": count(&|_| true), "numberMisscheduled": 0,
        "numberReady": ready_now, "numberAvailable": ready_now, "numberUnavailable": desired.saturating_sub(ready_now), "updatedNumberScheduled": count(&|pod| meta::label(pod, REVISION) == Some(hash)),
    });
    world.amend("daemonsets.apps", meta::namespace(set), meta::name(set), |set| meta::set(set, "/status", status));
}
