//! HorizontalPodAutoscalers: replicas from a load that the plant states; whoever else scales is overruled at the next look.
//!
//! Kubernetes wants `ceil(replicas × average / target)`; with the load summed over all pods that is `ceil(total / target)`. Scaling down waits for
//! the stabilization window (300 s unless the object says otherwise), deviations below 10 % are ignored.

use crate::meta;
use crate::world::World;
use homeostat_model::{Span, Time};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const TOLERANCE: f64 = 0.1;
/// Recommendations kept per autoscaler: a window of an hour at one look each 15 s.
const KEEP: usize = 240;

/// What the controller remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    metrics: BTreeMap<(String, String), f64>,
    looked: BTreeMap<String, Time>,
    wishes: BTreeMap<String, VecDeque<(Time, i64)>>,
}

impl Memory {
    pub(crate) fn set_metric(&mut self, namespace: &str, name: &str, total: f64) {
        self.metrics.insert((namespace.to_string(), name.to_string()), total);
    }
}

/// Looks at every autoscaler whose period is over.
pub(crate) fn run(world: &mut World) {
    let all = world.all("horizontalpodautoscalers.autoscaling");
    let alive: BTreeSet<&str> = all.iter().map(|autoscaler| meta::uid(autoscaler)).collect();
    world.models.hpa.looked.retain(|uid, _| alive.contains(uid.as_str()));
    world.models.hpa.wishes.retain(|uid, _| alive.contains(uid.as_str()));
    for autoscaler in &all {
        let key = (meta::namespace(autoscaler).to_string(), meta::name(autoscaler).to_string());
        let now = world.now;
        let looked = world.models.hpa.looked.get(meta::uid(autoscaler)).copied();
        if looked.is_some_and(|at| now.since(at) < world.settings.hpa_period) {
            continue;
        }
        world.models.hpa.looked.insert(meta::uid(autoscaler).to_string(), now);
        if let Some(total) = world.models.hpa.metrics.get(&key).copied().filter(|total| total.is_finite()) {
            look(world, autoscaler, total);
        }
    }
}

/// The target of the first metric, in the unit of the load.
fn target(autoscaler: &Value) -> Option<f64> {
    let metric = meta::list(autoscaler, "/spec/metrics").first()?;
    ["resource", "pods", "external", "object", "containerResource"].iter().find_map(|kind| {
        let target = metric.get(kind)?.get("target")?;
        target
            .get("averageUtilization")
            .and_then(Value::as_f64)
            .or_else(|| meta::quantity(target.get("averageValue").or_else(|| target.get("value"))?))
    })
}

fn look(world: &mut World, autoscaler: &Value, total: f64) {
    let Some(target) = target(autoscaler).filter(|target| *target > 0.0) else { return };
    let namespace = meta::namespace(autoscaler);
    let reference = &autoscaler["spec"]["scaleTargetRef"];
    let shelf = match meta::text(reference, "/kind") {
        "StatefulSet" => "statefulsets.apps",
        "ReplicaSet" => "replicasets.apps",
        _ => "deployments.apps",
    };
    let Some(object) = world.get(shelf, namespace, meta::text(reference, "/name")) else { return };
    let current = meta::int(&object, "/spec/replicas").unwrap_or(0);
    if current == 0 {
        return; // zero replicas switch an autoscaler off
    }
    let average = total / current as f64;
    let wish = if (average / target - 1.0).abs() <= TOLERANCE { current } else { (total / target).ceil() as i64 };
    let (least, most) = (meta::int(autoscaler, "/spec/minReplicas").unwrap_or(1), meta::int(autoscaler, "/spec/maxReplicas").unwrap_or(1));
    let window = meta::seconds(autoscaler, "/spec/behavior/scaleDown/stabilizationWindowSeconds").unwrap_or(Span::from_secs(300));
    let now = world.now;
    let wishes = world.models.hpa.wishes.entry(meta::uid(autoscaler).to_string()).or_default();
    wishes.push_back((now, wish));
    while wishes.len() > KEEP || wishes.front().is_some_and(|(at, _)| now.since(*at) > window) {
        wishes.pop_front();
    }
    let highest = wishes.iter().map(|(_, wish)| *wish).max().unwrap_or(wish);
    let replicas = if wish < current { highest.min(current) } else { wish }.clamp(least, most);
    if replicas != current {
        scale(world, shelf, &object, replicas);
        world.note(autoscaler, "Normal", "SuccessfulRescale", "horizontal-pod-autoscaler", &format!("New size: {replicas}"));
    }
    let stamp = world.stamp();
    world.amend("horizontalpodautoscalers.autoscaling", namespace, meta::name(autoscaler), |autoscaler| {
        meta::set(autoscaler, "/status/currentReplicas", json!(current));
        meta::set(autoscaler, "/status/desiredReplicas", json!(replicas));
        meta::set(autoscaler, "/status/currentMetrics", json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": average.round() as i64, "averageValue": "0"}}}]));
        if replicas != current {
            meta::set(autoscaler, "/status/lastScaleTime", json!(stamp));
        }
        meta::set_condition(autoscaler, "AbleToScale", "True", "ReadyForNewScale", "", &stamp);
        meta::set_condition(autoscaler, "ScalingActive", "True", "ValidMetricFound", "", &stamp);
    });
}

/// Scales as the controller manager does: through the scale subresource, so that it owns the field.
fn scale(world: &mut World, shelf: &str, object: &Value, replicas: i64) {
    let Some(resource) = world.of_shelf(shelf) else { return };
    let options = crate::write::WriteOptions { manager: "kube-controller-manager".into(), ..Default::default() };
    let key = (meta::namespace(object), meta::name(object));
    let patch = json!({"spec": {"replicas": replicas}});
    if let Err(error) = world.rescale(&resource, key, Some(crate::write::PatchKind::Merge), &patch, &options) {
        world.note(object, "Warning", "FailedRescale", "horizontal-pod-autoscaler", &error.message);
    }
}
