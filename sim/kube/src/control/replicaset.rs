//! ReplicaSets: as many pods as asked for, and their counts.

use crate::control::{active, by_controller, make_pod, ready};
use crate::meta;
use crate::world::World;
use serde_json::{Value, json};
use std::sync::Arc;

/// Pods made or deleted for one set in one round (the real controller's burst).
const BURST: usize = 500;

/// Brings every set to its wish.
pub(crate) fn run(world: &mut World) {
    let pods = by_controller(world, "pods");
    for set in world.all("replicasets.apps") {
        let mine: Vec<Arc<Value>> = pods.get(meta::uid(&set)).into_iter().flatten().filter(|pod| active(pod)).cloned().collect();
        if !meta::terminating(&set) {
            let wanted = meta::int(&set, "/spec/replicas").unwrap_or(1).max(0) as usize;
            resize(world, &set, &mine, wanted);
        }
        status(world, &set, &mine);
    }
}

fn resize(world: &mut World, set: &Value, mine: &[Arc<Value>], wanted: usize) {
    let hash = meta::label(set, "pod-template-hash").unwrap_or_default().to_string();
    for _ in mine.len()..wanted.min(mine.len() + BURST) {
        let name = format!("{}-{}", meta::name(set), meta::letters(world.draw(), 5));
        let label = if hash.is_empty() { ("homeostat-kube/owner", meta::name(set)) } else { ("pod-template-hash", hash.as_str()) };
        if !make_pod(world, set, &name, label, None) {
            return;
        }
        world.note(set, "Normal", "SuccessfulCreate", "replicaset-controller", &format!("Created pod: {name}"));
    }
    if mine.len() > wanted {
        // The order of the real controller, shortened: without a node, not ready, newest first.
        let mut order: Vec<&Arc<Value>> = mine.iter().collect();
        order.sort_by_key(|pod| {
            (
                !meta::text(pod, "/spec/nodeName").is_empty(),
                ready(pod),
                std::cmp::Reverse(meta::text(pod, "/metadata/creationTimestamp").to_string()),
            )
        });
        for pod in order.into_iter().take((mine.len() - wanted).min(BURST)) {
            world.note(set, "Normal", "SuccessfulDelete", "replicaset-controller", &format!("Deleted pod: {}", meta::name(pod)));
            world.reap("pods", meta::namespace(pod), meta::name(pod));
        }
    }
}

fn status(world: &mut World, set: &Value, mine: &[Arc<Value>]) {
    let ready = mine.iter().filter(|pod| ready(pod)).count();
    world.amend("replicasets.apps", meta::namespace(set), meta::name(set), |set| {
        let mut status = json!({"replicas": mine.len(), "observedGeneration": set["metadata"]["generation"]});
        if !mine.is_empty() {
            status["fullyLabeledReplicas"] = json!(mine.len());
        }
        if ready > 0 {
            status["readyReplicas"] = json!(ready);
            status["availableReplicas"] = json!(ready);
        }
        meta::set(set, "/status", status);
    });
}
