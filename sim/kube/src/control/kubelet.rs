//! The kubelets and the node controller's eviction: pods start, become ready, stop; on a node that is not ready they become unready and, after
//! their toleration, are deleted (and stay terminating until the node is back or gone, as on a real cluster).

use crate::control::ready;
use crate::meta;
use crate::stamp;
use crate::world::World;
use homeostat_model::Time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the plant says about a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodState {
    pub(crate) restarts: u32,
    pub(crate) waiting_reason: Option<String>,
    pub(crate) ready: bool,
}

/// What the kubelets remember, by pod uid (and node name).
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// When a started pod will be ready.
    ready_at: BTreeMap<String, Time>,
    stopping: BTreeMap<String, Time>,
    /// The plant's word on pods.
    pub(crate) states: BTreeMap<String, PodState>,
    /// Pods that an experiment keeps from being ready.
    pub(crate) broken: BTreeSet<String>,
    not_ready_since: BTreeMap<String, Time>,
}

impl Memory {
    /// A pod's containers have been told to stop.
    pub(crate) fn stopping(&mut self, uid: &str, now: Time) {
        self.stopping.entry(uid.to_string()).or_insert(now);
    }
}

/// Lets every kubelet work once.
pub(crate) fn run(world: &mut World) {
    let nodes: BTreeMap<String, bool> = world.all("nodes").iter().map(|node| (meta::name(node).to_string(), ready(node))).collect();
    let now = world.now;
    let memory = &mut world.models.kubelet;
    memory.not_ready_since.retain(|name, _| nodes.get(name) == Some(&false));
    for (name, _) in nodes.iter().filter(|(_, ready)| !**ready) {
        memory.not_ready_since.entry(name.clone()).or_insert(now);
    }
    let pods = world.all("pods");
    let alive: BTreeSet<&str> = pods.iter().map(|pod| meta::uid(pod)).collect();
    world.models.kubelet.forget(&alive);
    for pod in &pods {
        let node = meta::text(pod, "/spec/nodeName");
        match nodes.get(node) {
            _ if node.is_empty() => {}
            None => {
                world.remove("pods", meta::namespace(pod), meta::name(pod));
            }
            Some(false) => unreachable_pod(world, pod, node),
            Some(true) if meta::terminating(pod) => stop(world, pod),
            Some(true) => serve(world, pod),
        }
    }
}

impl Memory {
    fn forget(&mut self, alive: &BTreeSet<&str>) {
        self.ready_at.retain(|uid, _| alive.contains(uid.as_str()));
        self.stopping.retain(|uid, _| alive.contains(uid.as_str()));
        self.states.retain(|uid, _| alive.contains(uid.as_str()));
        self.broken.retain(|uid| alive.contains(uid.as_str()));
    }
}

fn stop(world: &mut World, pod: &Value) {
    let now = world.now;
    let since = *world.models.kubelet.stopping.entry(meta::uid(pod).to_string()).or_insert(now);
    let latest = stamp::parse(meta::text(pod, "/metadata/deletionTimestamp")).unwrap_or(now);
    if now >= latest.min(since + world.settings.pod_stop_after) && meta::list(pod, "/metadata/finalizers").is_empty() {
        world.remove("pods", meta::namespace(pod), meta::name(pod));
    }
}

/// A pod whose node does not answer: unready at once, deleted after its toleration unless a DaemonSet or the node itself owns it.
fn unreachable_pod(world: &mut World, pod: &Value, node: &str) {
    let (uid, stamp) = (meta::uid(pod).to_string(), world.stamp());
    world.models.kubelet.ready_at.remove(&uid);
    world.amend("pods", meta::namespace(pod), meta::name(pod), |pod| {
        if meta::condition(pod, "Ready").is_some() {
            meta::set_condition(pod, "Ready", "False", "NodeNotReady", "", &stamp);
        }
    });
    let owner = meta::controller(pod).map_or("", |owner| meta::text(owner, "/kind"));
    if meta::terminating(pod) || owner == "DaemonSet" || owner == "Node" || meta::annotation(pod, "kubernetes.io/config.mirror").is_some() {
        return;
    }
    let own = meta::list(pod, "/spec/tolerations").iter().find(|toleration| toleration["key"] == "node.kubernetes.io/unreachable");
    let patience = match own.map(|toleration| meta::seconds(toleration, "/tolerationSeconds")) {
        Some(None) => return,
        Some(Some(patience)) => patience,
        None => world.settings.not_ready_toleration,
    };
    let since = world.models.kubelet.not_ready_since.get(node).copied().unwrap_or(world.now);
    if world.now.since(since) >= patience {
        world.note(
            pod,
            "Normal",
            "TaintManagerEviction",
            "taint-eviction-controller",
            "Marking for deletion Pod because its node is unreachable",
        );
        world.reap("pods", meta::namespace(pod), meta::name(pod));
    }
}

fn serve(world: &mut World, pod: &Value) {
    if matches!(meta::text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return;
    }
    let uid = meta::uid(pod).to_string();
    let now = world.now;
    let at = match world.models.kubelet.ready_at.get(&uid) {
        Some(at) => *at,
        None => {
            let at = if ready(pod) { now } else { now + world.settings.pod_ready_after };
            world.models.kubelet.ready_at.insert(uid.clone(), at);
            start(world, pod);
            at
        }
    };
    let memory = &world.models.kubelet;
    let told = memory.states.contains_key(&uid) || memory.broken.contains(&uid);
    if told || (now >= at && !ready(pod)) {
        settle(world, pod);
    }
}

fn start(world: &mut World, pod: &Value) {
    if !meta::text(pod, "/status/startTime").is_empty() {
        return;
    }
    let (stamp, draw) = (world.stamp(), world.draw());
    world.amend("pods", meta::namespace(pod), meta::name(pod), |pod| {
        meta::set(pod, "/status/startTime", json!(stamp));
        meta::set(pod, "/status/podIP", json!(format!("10.244.{}.{}", draw >> 8 & 0xff, 1 + draw % 254)));
        let address = pod["status"]["podIP"].clone();
        meta::set(pod, "/status/podIPs", json!([{"ip": address}]));
        for kind in ["PodScheduled", "Initialized"] {
            meta::set_condition(pod, kind, "True", "", "", &stamp);
        }
        for kind in ["ContainersReady", "Ready"] {
            meta::set_condition(pod, kind, "False", "ContainersNotReady", "containers are starting", &stamp);
        }
        let state = PodState { waiting_reason: Some("ContainerCreating".into()), ..PodState::default() };
        let statuses = statuses(pod, &state, &stamp);
        meta::set(pod, "/status/containerStatuses", statuses);
    });
}

/// Brings a pod's status to what the plant says, or to running and ready.
pub(crate) fn settle(world: &mut World, pod: &Value) {
    let memory = &world.models.kubelet;
    let uid = meta::uid(pod);
    let mut state = memory.states.get(uid).cloned().unwrap_or(PodState { ready: true, ..PodState::default() });
    if memory.broken.contains(uid) {
        state.ready = false;
    }
    let stamp = world.stamp();
    let was_running = meta::text(pod, "/status/phase") == "Running";
    world.amend("pods", meta::namespace(pod), meta::name(pod), |pod| {
        meta::set(pod, "/status/phase", json!("Running"));
        let statuses = statuses(pod, &state, &stamp);
        meta::set(pod, "/status/containerStatuses", statuses);
        let (status, reason) = if state.ready { ("True", "") } else { ("False", "ContainersNotReady") };
        for kind in ["ContainersReady", "Ready"] {
            meta::set_condition(pod, kind, status, reason, "", &stamp);
        }
    });
    if !was_running {
        world.note(pod, "Normal", "Started", "kubelet", "Started container");
    }
    if let Some(reason) = state.waiting_reason.as_deref().filter(|_| !ready(pod) || was_running) {
        let already =
            meta::list(pod, "/status/containerStatuses").iter().any(|status| meta::text(status, "/state/waiting/reason") == reason);
        if !already {
            let reason = if reason == "CrashLoopBackOff" { "BackOff" } else { reason };
            world.note(pod, "Warning", reason, "kubelet", "Back-off restarting failed container");
        }
    }
}

fn statuses(pod: &Value, state: &PodState, stamp: &str) -> Value {
    let old = meta::list(pod, "/status/containerStatuses");
    meta::list(pod, "/spec/containers")
        .iter()
        .enumerate()
        .map(|(at, container)| {
            let before = old.get(at).unwrap_or(&Value::Null);
            // The plant's word is about the first container; the others run.
            let first = at == 0;
            let waiting = state.waiting_reason.as_ref().filter(|reason| first || *reason == "ContainerCreating");
            let restarts = if first { state.restarts } else { 0 };
            let phase = match waiting {
                Some(reason) => json!({"waiting": {"reason": reason}}),
                None if before["state"]["running"].is_object() && before["restartCount"] == restarts => before["state"].clone(),
                None => json!({"running": {"startedAt": stamp}}),
            };
            let last = match before.get("lastState") {
                _ if restarts == 0 => json!({}),
                Some(last) if before["restartCount"] == restarts && last["terminated"].is_object() => last.clone(),
                _ => json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": stamp, "finishedAt": stamp}}),
            };
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": waiting.is_none() && (state.ready || !first),
                "started": waiting.is_none(), "restartCount": restarts, "state": phase, "lastState": last,
            })
        })
        .collect()
}
