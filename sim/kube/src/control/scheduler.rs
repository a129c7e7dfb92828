//! The scheduler: gives pending pods the ready, uncordoned node that fits and has the fewest pods.
//!
//! Honours node selectors, taints, and requests of cpu, memory and pods against `status.allocatable` where a node states it. Affinity, topology
//! spread, priorities and preemption are deliberately absent.

use crate::control::active;
use crate::meta;
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What pods on a node have requested.
#[derive(Clone, Copy, Default)]
struct Used {
    pods: f64,
    cpu: f64,
    memory: f64,
}

fn request(pod: &Value, what: &str) -> f64 {
    meta::list(pod, "/spec/containers")
        .iter()
        .filter_map(|container| meta::quantity(container.pointer("/resources/requests")?.get(what)?))
        .sum()
}

/// Places every pod that can be placed.
pub(crate) fn run(world: &mut World) {
    let pods = world.all("pods");
    let pending: Vec<&Arc<Value>> = pods.iter().filter(|pod| meta::text(pod, "/spec/nodeName").is_empty() && active(pod)).collect();
    if pending.is_empty() {
        return;
    }
    let mut used: BTreeMap<String, Used> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !matches!(meta::text(pod, "/status/phase"), "Succeeded" | "Failed")) {
        add(used.entry(meta::text(pod, "/spec/nodeName").to_string()).or_default(), pod);
    }
    let nodes = world.all("nodes");
    for pod in pending {
        let mut why: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut best: Option<(f64, &str)> = None;
        for node in &nodes {
            let name = meta::name(node);
            let load = used.get(name).copied().unwrap_or_default();
            match refuses(node, pod, load) {
                Some(reason) => *why.entry(reason).or_default() += 1,
                None if best.is_none_or(|(pods, _)| load.pods < pods) => best = Some((load.pods, name)),
                None => {}
            }
        }
        match best {
            Some((_, node)) => {
                add(used.entry(node.to_string()).or_default(), pod);
                bind(world, pod, node);
            }
            None => cannot(world, pod, nodes.len(), &why),
        }
    }
}

fn add(used: &mut Used, pod: &Value) {
    used.pods += 1.0;
    used.cpu += request(pod, "cpu");
    used.memory += request(pod, "memory");
}

/// Why a node does not take a pod.
fn refuses(node: &Value, pod: &Value, used: Used) -> Option<&'static str> {
    if node["spec"]["unschedulable"] == true {
        return Some("node(s) were unschedulable");
    }
    if !meta::condition_true(node, "Ready") {
        return Some("node(s) were not ready");
    }
    if !selected(node, &pod["spec"]) {
        return Some("node(s) didn't match Pod's node affinity/selector");
    }
    if !tolerated(node, &pod["spec"]) {
        return Some("node(s) had untolerated taint");
    }
    let room = |what: &str| node.pointer("/status/allocatable").and_then(|all| meta::quantity(all.get(what)?));
    if room("pods").is_some_and(|room| used.pods + 1.0 > room) {
        return Some("Too many pods");
    }
    if room("cpu").is_some_and(|room| used.cpu + request(pod, "cpu") > room + 1e-9) {
        return Some("Insufficient cpu");
    }
    if room("memory").is_some_and(|room| used.memory + request(pod, "memory") > room) {
        return Some("Insufficient memory");
    }
    None
}

/// Whether a node has the labels that a pod spec selects.
pub(crate) fn selected(node: &Value, spec: &Value) -> bool {
    spec["nodeSelector"].as_object().into_iter().flatten().all(|(key, value)| meta::label(node, key) == value.as_str())
}

/// Whether a pod spec tolerates a node's NoSchedule and NoExecute taints.
pub(crate) fn tolerated(node: &Value, spec: &Value) -> bool {
    meta::list(node, "/spec/taints").iter().filter(|taint| taint["effect"] != "PreferNoSchedule").all(|taint| {
        meta::list(spec, "/tolerations").iter().any(|toleration| {
            let key = meta::text(toleration, "/key");
            let exists = toleration["operator"] == "Exists";
            (key.is_empty() && exists || taint["key"] == key)
                && (exists || meta::text(toleration, "/value") == meta::text(taint, "/value"))
                && (toleration["effect"].is_null() || toleration["effect"] == taint["effect"])
        })
    })
}

fn bind(world: &mut World, pod: &Value, node: &str) {
    let (namespace, name, stamp) = (meta::namespace(pod), meta::name(pod), world.stamp());
    world.amend("pods", namespace, name, |pod| {
        meta::set(pod, "/spec/nodeName", json!(node));
        meta::set_condition(pod, "PodScheduled", "True", "", "", &stamp);
    });
    world.note(pod, "Normal", "Scheduled", "default-scheduler", &format!("Successfully assigned {namespace}/{name} to {node}"));
}

fn cannot(world: &mut World, pod: &Value, nodes: usize, why: &BTreeMap<&'static str, usize>) {
    let reasons: Vec<String> = why.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let message =
        format!("0/{nodes} nodes are available: {}.", if reasons.is_empty() { "no nodes".to_string() } else { reasons.join(", ") });
    let stamp = world.stamp();
    let changed = world.amend("pods", meta::namespace(pod), meta::name(pod), |pod| {
        meta::set_condition(pod, "PodScheduled", "False", "Unschedulable", &message, &stamp)
    });
    if changed {
        world.note(pod, "Warning", "FailedScheduling", "default-scheduler", &message);
    }
}
