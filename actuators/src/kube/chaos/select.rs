//! Which pods an experiment may hit, counted before it is made: the same selection that Chaos Mesh makes, by reads alone.
//!
//! Deliberately absent: choosing. Which of the candidates are hit is Chaos Mesh's business; here only how many, and that all of them
//! belong to the action's target. An editor breaks this by ignoring a part of a selector: more would be hit than was counted.

use super::bounds::namespaces;
use super::compose::{Experiment, Pick};
use super::data::{Direction, Expression, Mode, Selector};
use crate::kube::call::{NODE, POD};
use crate::kube::frame::{Run, Step};
use homeostat_model::{FaultCode, Target};
use serde_json::Value;
use std::collections::BTreeSet;

/// How many of `candidates` are hit at most; the shares are rounded down, as Chaos Mesh does.
pub fn hits(mode: Mode, value: Option<&str>, candidates: usize) -> usize {
    let number = value.and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
    match mode {
        Mode::One => candidates.min(1),
        Mode::All => candidates,
        Mode::Fixed => number.min(candidates),
        Mode::FixedPercent | Mode::RandomMaxPercent => candidates * number.min(100) / 100,
    }
}

/// Whether a label expression holds.
fn holds(expression: &Expression, labels: &Value) -> bool {
    let value = labels[&expression.key].as_str();
    let listed = |value: &str| expression.values.iter().flatten().any(|one| one == value);
    match expression.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Whether a pod meets a selector; namespaces, fields and labels of nodes were settled when it was listed.
fn meets(selector: &Selector, pod: &Value, nodes: Option<&BTreeSet<String>>) -> bool {
    let metadata = &pod["metadata"];
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if let Some(pods) = selector.pods.as_ref().filter(|pods| !pods.is_empty()) {
        let named = metadata["namespace"].as_str().and_then(|namespace| pods.get(namespace));
        return named.is_some_and(|names| names.iter().any(|name| metadata["name"] == name.as_str()));
    }
    let same = |wanted: &Option<std::collections::BTreeMap<String, String>>, have: &Value| {
        wanted.iter().flatten().all(|(key, value)| have[key] == value.as_str())
    };
    let running = pod["status"]["phase"] == "Running" && metadata["deletionTimestamp"].is_null();
    let phases = selector.pod_phase_selectors.as_deref().unwrap_or_default();
    let phase = if phases.is_empty() { running } else { phases.iter().any(|phase| pod["status"]["phase"] == phase.as_str()) };
    let on_node = selector.nodes.as_ref().is_none_or(|nodes| nodes.is_empty() || nodes.iter().any(|one| one == node));
    phase
        && on_node
        && nodes.is_none_or(|nodes| nodes.contains(node))
        && same(&selector.label_selectors, &metadata["labels"])
        && same(&selector.annotation_selectors, &metadata["annotations"])
        && selector.expression_selectors.iter().flatten().all(|expression| holds(expression, &metadata["labels"]))
}

fn joined(map: &std::collections::BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The pods that meet a selector now.
pub async fn candidates(run: &Run<'_>, selector: &Selector) -> Step<Vec<Value>> {
    let refused = |refusal| run.refused(&refusal);
    let nodes = match selector.node_selectors.as_ref().filter(|labels| !labels.is_empty()) {
        Some(labels) => {
            let labels = joined(labels);
            let found = run.client.list(&NODE, "", &[("labelSelector", &labels)], run.deadline).await.map_err(refused)?;
            Some(found.iter().filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned)).collect::<BTreeSet<_>>())
        }
        None => None,
    };
    let fields = selector.field_selectors.as_ref().map(joined).unwrap_or_default();
    let selectors: &[(&'static str, &str)] = if fields.is_empty() { &[] } else { &[("fieldSelector", &fields)] };
    let mut pods = Vec::new();
    for namespace in namespaces(selector) {
        let listed = run.client.list(&POD, &namespace, selectors, run.deadline).await.map_err(refused)?;
        pods.extend(listed.into_iter().filter(|pod| meets(selector, pod, nodes.as_ref())));
    }
    Ok(pods)
}

/// Whether a pod belongs to a target: by its name, its node, its namespace or its controller.
pub fn belongs(target: &Target, pod: &Value) -> bool {
    let metadata = &pod["metadata"];
    let (namespace, name) = target.name().split_once('/').unwrap_or(("", target.name()));
    let owner = metadata["ownerReferences"].as_array().and_then(|owners| owners.iter().find(|owner| owner["controller"] == true));
    let owned = |kind: &str, is: &dyn Fn(&str) -> bool| {
        metadata["namespace"] == namespace && owner.is_some_and(|owner| owner["kind"] == kind && owner["name"].as_str().is_some_and(is))
    };
    match target.kind() {
        "namespace" => metadata["namespace"] == target.name(),
        "node" => pod["spec"]["nodeName"] == target.name(),
        "pod" => metadata["namespace"] == namespace && metadata["name"] == name,
        // A Deployment's pods belong to a ReplicaSet named after it.
        "deployment" => owned("ReplicaSet", &|owner| owner.rsplit_once('-').is_some_and(|(of, _)| of == name)),
        "statefulset" => owned("StatefulSet", &|owner| owner == name),
        "daemonset" => owned("DaemonSet", &|owner| owner == name),
        _ => false,
    }
}

/// Counts what every part of an experiment may hit: at least one pod, at most `pods_max`, all of them the target's. Returns the sum.
pub async fn count(run: &Run<'_>, experiment: &Experiment, pods_max: usize) -> Step<usize> {
    let mut sum = 0;
    for leaf in experiment.leaves() {
        let both = matches!(&leaf, Experiment::NetworkChaos(spec) if spec.direction.is_some_and(|way| way != Direction::To));
        for (at, pick) in leaf.picks().iter().enumerate() {
            let hit = count_one(run, pick, at == 0).await?;
            if at == 0 || both {
                sum += hit;
            }
        }
    }
    if sum > pods_max {
        return Err(run.not_done(FaultCode::Limit, format!("{sum} pods would be hit, at most {pods_max} are allowed; nothing was sent")));
    }
    Ok(sum)
}

async fn count_one(run: &Run<'_>, pick: &Pick<'_>, first: bool) -> Step<usize> {
    let pods = candidates(run, pick.selector).await?;
    let hit = hits(pick.mode, pick.value, pods.len());
    if hit == 0 {
        let detail = format!("no target: {} pods meet the selector, and none would be hit; nothing was sent", pods.len());
        return Err(run.not_done(FaultCode::NotFound, detail));
    }
    let stranger = pods.iter().find(|pod| first && !belongs(&run.action.target, pod));
    if let Some(pod) = stranger {
        let detail = format!(
            "the selector also meets {}/{}, which does not belong to {}; nothing was sent",
            pod["metadata"]["namespace"].as_str().unwrap_or("?"),
            pod["metadata"]["name"].as_str().unwrap_or("?"),
            run.action.target
        );
        return Err(run.not_done(FaultCode::Conflict, detail));
    }
    Ok(hit)
}
