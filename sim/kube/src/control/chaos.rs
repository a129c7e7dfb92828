//! Chaos Mesh as far as a client can see: experiments select pods once, are injected, run for their duration, and recover; deletion recovers first.
//!
//! PodChaos really acts: `pod-kill` deletes, `pod-failure` keeps pods from being ready. Of the other kinds only the status is there. Schedules make
//! children by `@every`, one at a time. A dead daemon keeps its node's pods from being hit and from being freed. Workflows, StatusChecks, cron and
//! physical machines are deliberately absent.

use crate::control::{active, ready};
use crate::meta;
use crate::resource::Resource;
use crate::selector::Labels;
use crate::stamp;
use crate::status::ApiError;
use crate::world::World;
use homeostat_model::{Span, Time};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const KINDS: [&str; 10] =
    ["podchaos", "networkchaos", "stresschaos", "iochaos", "timechaos", "dnschaos", "httpchaos", "kernelchaos", "jvmchaos", "blockchaos"];
const SCHEDULES: &str = "schedules.chaos-mesh.org";
const FINALIZER: &str = "chaos-mesh/records";
const PAUSE: &str = "experiment.chaos-mesh.org/pause";
const FORCED: &str = "chaos-mesh.chaos-mesh.org/cleanFinalizer";

/// What the controller remembers: which pods each pod-failure keeps from being ready, as (experiment, pod) uids. Two experiments may hold one pod.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    held: BTreeSet<(String, String)>,
    /// Nodes whose chaos daemon does not answer.
    pub(crate) dead_daemons: BTreeSet<String>,
    /// Whether the controller manager itself is down.
    pub(crate) down: bool,
    /// When each Schedule, by uid, made its last child.
    made: BTreeMap<String, Time>,
}

/// The webhook: an experiment's wish is never changed.
pub(crate) fn admission(resource: &Resource, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    if KINDS.contains(&resource.plural.as_str()) && old.is_some_and(|old| old["spec"] != object["spec"]) {
        return Err(ApiError::forbidden(format!(
            "admission webhook \"v{}.kb.io\" denied the request: Cannot update chaos spec",
            resource.plural
        )));
    }
    let spec = &object["spec"];
    let needs_value = matches!(meta::text(spec, "/mode"), "fixed" | "fixed-percent" | "random-max-percent");
    if KINDS.contains(&resource.plural.as_str()) && needs_value && meta::text(spec, "/value").parse::<u32>().is_err() {
        let message = format!("Invalid value: {}: value must be a number for mode {}", spec["value"], spec["mode"]);
        return Err(ApiError::invalid(
            &resource.group,
            &resource.kind,
            meta::name(object),
            &[("spec.value".into(), "FieldValueInvalid", message)],
        ));
    }
    Ok(())
}

/// Takes every experiment one step further.
pub(crate) fn run(world: &mut World) {
    if world.models.chaos.down {
        return;
    }
    for schedule in world.all(SCHEDULES) {
        make_child(world, &schedule);
    }
    let broken = &world.models.kubelet.broken;
    world.models.chaos.held.retain(|(_, pod)| broken.contains(pod)); // pods that have gone are held by nobody
    for kind in KINDS {
        let shelf = format!("{kind}.chaos-mesh.org");
        for experiment in world.all(&shelf) {
            step(world, &shelf, &experiment);
        }
    }
}

/// Whether an experiment acts once and never recovers.
fn one_shot(experiment: &Value) -> bool {
    matches!(meta::text(experiment, "/spec/action"), "pod-kill" | "container-kill")
}

/// What the experiment should do now; reasons in the order of the real controller.
fn phase(world: &World, experiment: &Value) -> &'static str {
    if meta::terminating(experiment) {
        return "Stop";
    }
    if one_shot(experiment) {
        return "Run";
    }
    let start = stamp::parse(meta::text(experiment, "/metadata/creationTimestamp"));
    let lasts = stamp::go_duration_ms(meta::text(experiment, "/spec/duration")).map(Span::from_millis);
    let over = matches!((start, lasts), (Some(start), Some(lasts)) if world.now >= start + lasts);
    let paused = meta::annotation(experiment, PAUSE) == Some("true");
    if over || paused { "Stop" } else { "Run" }
}

fn step(world: &mut World, shelf: &str, experiment: &Arc<Value>) {
    let (namespace, name) = (meta::namespace(experiment), meta::name(experiment));
    if meta::terminating(experiment) && meta::annotation(experiment, FORCED) == Some("forced") {
        // As the real one: the finalizer goes without recovery; what was broken stays broken.
        world.amend(shelf, namespace, name, |experiment| meta::drop_finalizer(experiment, FINALIZER));
        return;
    }
    let desired = phase(world, experiment);
    // Without a status subresource clients can write records: only objects count.
    let mut records: Vec<Value> =
        meta::list(experiment, "/status/experiment/containerRecords").iter().filter(|record| record.is_object()).cloned().collect();
    let chosen_before = meta::condition(experiment, "Selected").is_some();
    if !chosen_before && desired == "Run" {
        records = select(world, experiment);
        if records.is_empty() {
            world.note(experiment, "Warning", "Failed", "chaos-controller-manager", "no target has been selected");
        }
    }
    let inject = desired == "Run";
    let wanted = if inject { "Injected" } else { "Not Injected" };
    let moving: Vec<usize> = (0..records.len()).filter(|at| records[*at]["phase"] != wanted).collect();
    for at in moving {
        if unreachable(world, experiment, &records[at]) {
            fail(world, &mut records[at], inject);
        } else {
            record(world, experiment, &mut records[at], inject);
        }
    }
    let all = |phase: &str| !records.is_empty() && records.iter().all(|record| record["phase"] == phase);
    let (injected, recovered) = (all("Injected"), records.iter().all(|record| record["phase"] == "Not Injected"));
    let paused = meta::annotation(experiment, PAUSE) == Some("true");
    let selected = !records.is_empty();
    let terminating = meta::terminating(experiment);
    world.amend(shelf, namespace, name, |experiment| {
        if !terminating {
            meta::add_finalizer(experiment, FINALIZER);
        }
        meta::set(experiment, "/status/experiment/desiredPhase", json!(desired));
        if selected {
            meta::set(experiment, "/status/experiment/containerRecords", Value::Array(records));
        }
        // Without lastTransitionTime, as the real ones.
        let text = |flag: bool| if flag { "True" } else { "False" };
        let conditions = [("Selected", selected), ("AllInjected", injected), ("AllRecovered", selected && recovered), ("Paused", paused)];
        let conditions: Vec<Value> =
            conditions.iter().map(|(kind, flag)| json!({"type": kind, "status": text(*flag), "reason": ""})).collect();
        meta::set(experiment, "/status/conditions", Value::Array(conditions));
        if terminating && (recovered || one_shot(experiment)) {
            meta::drop_finalizer(experiment, FINALIZER);
        }
    });
}

/// Whether what this record needs cannot be done: the daemon on the pod's node does not answer. Killing and failing pods needs none.
fn unreachable(world: &World, experiment: &Value, record: &Value) -> bool {
    if experiment["kind"] == "PodChaos" && experiment["spec"]["action"] != "container-kill" {
        return false;
    }
    let mut parts = meta::text(record, "/id").split('/');
    let (namespace, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let pod = world.get("pods", namespace, name);
    pod.is_some_and(|pod| world.models.chaos.dead_daemons.contains(meta::text(&pod, "/spec/nodeName")))
}

/// Notes a failure; the same one again changes nothing.
fn fail(world: &World, record: &mut Value, inject: bool) {
    let operation = if inject { "Apply" } else { "Recover" };
    let mut events = record["events"].as_array().cloned().unwrap_or_default();
    if events.last().is_some_and(|last| last["type"] == "Failed" && last["operation"] == operation) {
        return;
    }
    let message =
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: connect: connection refused\"";
    events.push(json!({"type": "Failed", "operation": operation, "message": message, "timestamp": world.stamp()}));
    record["events"] = Value::Array(events);
}

/// Makes a Schedule's next child when its time has come (`@every` only) and no other of its children runs.
fn make_child(world: &mut World, schedule: &Arc<Value>) {
    if meta::terminating(schedule) {
        return;
    }
    let kind = meta::text(schedule, "/spec/type").to_string();
    let Some(resource) = world.resource("chaos-mesh.org", "v1alpha1", &kind.to_lowercase()) else { return };
    let Some(every) = meta::text(schedule, "/spec/schedule").strip_prefix("@every ").and_then(stamp::go_duration_ms) else { return };
    let uid = meta::uid(schedule).to_string();
    let began = stamp::parse(meta::text(schedule, "/metadata/creationTimestamp")).unwrap_or(world.now);
    let last = world.models.chaos.made.get(&uid).copied().unwrap_or(began);
    let (namespace, name) = (meta::namespace(schedule).to_string(), meta::name(schedule).to_string());
    let children = world.within(&resource.shelf(), &namespace);
    let running = children
        .iter()
        .any(|child| meta::label(child, "managed-by") == Some(name.as_str()) && !one_shot(child) && phase(world, child) == "Run");
    if world.now.since(last) < Span::from_millis(every) || running {
        return;
    }
    world.models.chaos.made.insert(uid, world.now);
    // The body's key: the kind with its leading capitals made small (`IOChaos`: `ioChaos`).
    let capitals = kind.strip_suffix("Chaos").unwrap_or(&kind);
    let small = if capitals.chars().all(|c| c.is_ascii_uppercase()) { capitals.len() } else { 1 };
    let key: String = kind.chars().enumerate().map(|(at, c)| if at < small { c.to_ascii_lowercase() } else { c }).collect();
    let child = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind,
        "metadata": {
            "name": format!("{name}-{:05x}", world.draw() & 0xf_ffff), "labels": {"managed-by": name},
            "ownerReferences": [meta::owner_reference(schedule)],
        },
        "spec": schedule["spec"][key],
    });
    if crate::control::make(world, schedule, "chaos-mesh.org", "v1alpha1", &resource.plural, child) {
        let now = world.stamp();
        world.amend(SCHEDULES, &namespace, &name, |schedule| meta::set(schedule, "/status/time", json!(now)));
    }
}

/// Injects or recovers one record.
fn record(world: &mut World, experiment: &Value, record: &mut Value, inject: bool) {
    let id = meta::text(record, "/id").to_string();
    let mut parts = id.split('/');
    let (namespace, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    act(world, experiment, namespace, name, inject);
    let (phase, count, operation) =
        if inject { ("Injected", "injectedCount", "Apply") } else { ("Not Injected", "recoveredCount", "Recover") };
    record["phase"] = json!(phase);
    record[count] = json!(record[count].as_i64().unwrap_or(0) + 1);
    let mut events = record["events"].as_array().cloned().unwrap_or_default();
    events.push(json!({"type": "Succeeded", "operation": operation, "timestamp": world.stamp()}));
    record["events"] = Value::Array(events);
}

/// What PodChaos really does to a pod.
fn act(world: &mut World, experiment: &Value, namespace: &str, name: &str, inject: bool) {
    if experiment["kind"] != "PodChaos" {
        return;
    }
    let uid = meta::uid(experiment).to_string();
    match meta::text(experiment, "/spec/action") {
        "pod-kill" if inject => {
            let grace = meta::int(experiment, "/spec/gracePeriod").unwrap_or(0);
            let options = crate::delete::DeleteOptions { grace_seconds: Some(grace), ..Default::default() };
            if let Some(pods) = world.of_shelf("pods") {
                // The pod may have gone already: killed is killed.
                let _gone = world.delete(&pods, namespace, name, &options);
            }
        }
        "pod-failure" => {
            if let Some(pod) = world.get("pods", namespace, name) {
                let of_pod = meta::uid(&pod).to_string();
                let held = &mut world.models.chaos.held;
                if inject {
                    held.insert((uid, of_pod.clone()));
                    world.models.kubelet.broken.insert(of_pod);
                } else {
                    held.remove(&(uid, of_pod.clone()));
                    if !held.iter().any(|(_, pod)| *pod == of_pod) {
                        world.models.kubelet.broken.remove(&of_pod);
                    }
                }
                crate::control::kubelet::settle(world, &pod);
            }
        }
        _ => {}
    }
}

/// The targets, chosen once.
fn select(world: &mut World, experiment: &Value) -> Vec<Value> {
    let selector = &experiment["spec"]["selector"];
    let mut targets: Vec<Arc<Value>> = world
        .all("pods")
        .into_iter()
        .filter(|pod| {
            active(pod)
                && (ready(pod) || meta::text(pod, "/status/phase") == "Running")
                && chosen(selector, pod, meta::namespace(experiment))
        })
        .collect();
    let total = targets.len();
    let amount = meta::text(&experiment["spec"], "/value").parse::<usize>().unwrap_or(0);
    let count = match meta::text(experiment, "/spec/mode") {
        "all" => total,
        "fixed" => amount.min(total),
        "fixed-percent" => total * amount.min(100) / 100,
        "random-max-percent" => {
            let most = total * amount.min(100) / 100;
            if most == 0 { 0 } else { world.draw() as usize % most + 1 }
        }
        _ => 1.min(total),
    };
    // A fixed sequence stands for chance: the same run chooses the same pods.
    for at in 0..count {
        let other = at + world.draw() as usize % (total - at);
        targets.swap(at, other);
    }
    let container = experiment["spec"].get("containerNames").and_then(|names| names.get(0)).and_then(Value::as_str);
    targets[..count]
        .iter()
        .map(|pod| {
            let mut id = format!("{}/{}", meta::namespace(pod), meta::name(pod));
            if let Some(container) = container {
                id = format!("{id}/{container}");
            }
            json!({"id": id, "selectorKey": ".", "phase": "Not Injected", "injectedCount": 0, "recoveredCount": 0})
        })
        .collect()
}

/// Whether a pod meets a selector; empty namespaces mean the experiment's own.
fn chosen(selector: &Value, pod: &Value, own: &str) -> bool {
    let texts = |pointer: &str| -> Vec<&str> { meta::list(selector, pointer).iter().filter_map(Value::as_str).collect() };
    if let Some(pods) = selector["pods"].as_object() {
        return pods
            .get(meta::namespace(pod))
            .and_then(Value::as_array)
            .is_some_and(|names| names.iter().any(|name| name == meta::name(pod)));
    }
    let (namespaces, nodes, phases) = (texts("/namespaces"), texts("/nodes"), texts("/podPhaseSelectors"));
    let place = meta::namespace(pod);
    let labels = Labels::of(&json!({"matchLabels": selector["labelSelectors"], "matchExpressions": selector["expressionSelectors"]}));
    let annotated =
        selector["annotationSelectors"].as_object().into_iter().flatten().all(|(key, value)| meta::annotation(pod, key) == value.as_str());
    (if namespaces.is_empty() { place == own } else { namespaces.contains(&place) })
        && (nodes.is_empty() || nodes.contains(&meta::text(pod, "/spec/nodeName")))
        && (phases.is_empty() || phases.contains(&meta::text(pod, "/status/phase")))
        && labels.is_some_and(|labels| labels.matches(pod))
        && annotated
}
