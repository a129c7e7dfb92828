//! Chaos Mesh as far as a client can see: experiments select pods once, are injected, run for their duration, and recover; deletion recovers first.
//!
//! PodChaos really acts: `pod-kill` deletes, `pod-failure` keeps pods from being ready. Of the other kinds only the status is there. Schedules,
//! Workflows, StatusChecks and physical machines are deliberately absent.

use crate::control::{active, ready};
use crate::meta;
use crate::resource::Resource;
use crate::selector::Labels;
use crate::stamp;
use crate::status::ApiError;
use crate::world::World;
use homeostat_model::Span;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const KINDS: [&str; 9] =
    ["podchaos", "networkchaos", "stresschaos", "iochaos", "timechaos", "dnschaos", "httpchaos", "kernelchaos", "jvmchaos"];
const FINALIZER: &str = "chaos-mesh/records";
const PAUSE: &str = "experiment.chaos-mesh.org/pause";
const FORCED: &str = "chaos-mesh.chaos-mesh.org/cleanFinalizer";

/// What the controller remembers: which pods each pod-failure keeps from being ready, as (experiment, pod) uids. Two experiments may hold one pod.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    held: BTreeSet<(String, String)>,
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
        record(world, experiment, &mut records[at], inject);
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
