//! PodDisruptionBudgets: how many healthy pods there are, are needed, and may be disrupted.
//!
//! After pkg/controller/disruption: `maxUnavailable` and percentages count against the replicas that the pods' controllers want.

use crate::control::ready;
use crate::meta;
use crate::selector::Labels;
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Brings every budget's status up to date.
pub(crate) fn run(world: &mut World) {
    for budget in world.all("poddisruptionbudgets.policy") {
        let namespace = meta::namespace(&budget);
        let Some(selector) = Labels::of(&budget["spec"]["selector"]) else { continue };
        let pods: Vec<Arc<Value>> = world
            .within("pods", namespace)
            .into_iter()
            .filter(|pod| selector.matches(pod) && !matches!(meta::text(pod, "/status/phase"), "Succeeded" | "Failed"))
            .collect();
        let healthy = pods.iter().filter(|pod| ready(pod) && !meta::terminating(pod)).count() as i64;
        let least = &budget["spec"]["minAvailable"];
        let most_down = &budget["spec"]["maxUnavailable"];
        let by_scale = !most_down.is_null() || least.is_string();
        let expected = if by_scale { wanted_by_controllers(world, namespace, &pods) } else { pods.len() as i64 };
        let desired = if most_down.is_null() {
            meta::share(least, expected, true).unwrap_or(1)
        } else {
            (expected - meta::share(most_down, expected, true).unwrap_or(0)).max(0)
        };
        let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
        let now = world.stamp();
        world.amend("poddisruptionbudgets.policy", namespace, meta::name(&budget), |budget| {
            let generation = budget["metadata"]["generation"].clone();
            for (field, value) in
                [("currentHealthy", healthy), ("desiredHealthy", desired), ("expectedPods", expected), ("disruptionsAllowed", allowed)]
            {
                meta::set(budget, &format!("/status/{field}"), json!(value));
            }
            meta::set(budget, "/status/observedGeneration", generation);
            meta::unset(budget, "/status", "disruptedPods");
            let (status, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
            meta::set_condition(budget, "DisruptionAllowed", status, reason, "", &now);
        });
    }
}

/// The replicas that the controllers of these pods want, each counted once; pods without a controller count as one.
fn wanted_by_controllers(world: &World, namespace: &str, pods: &[Arc<Value>]) -> i64 {
    let mut seen = BTreeSet::new();
    let mut total = 0;
    for pod in pods {
        let Some(owner) = meta::controller(pod) else {
            total += 1;
            continue;
        };
        let (mut shelf, mut name) = (shelf_of(meta::text(owner, "/kind")), meta::text(owner, "/name").to_string());
        let set = world.get("replicasets.apps", namespace, &name).filter(|_| shelf == "replicasets.apps");
        if let Some(owner) = set.as_deref().and_then(meta::controller) {
            (shelf, name) = ("deployments.apps", meta::text(owner, "/name").to_string());
        }
        if seen.insert((shelf, name.clone())) {
            total += world.get(shelf, namespace, &name).and_then(|object| meta::int(&object, "/spec/replicas")).unwrap_or(0);
        }
    }
    total
}

fn shelf_of(kind: &str) -> &'static str {
    match kind {
        "StatefulSet" => "statefulsets.apps",
        "Deployment" => "deployments.apps",
        _ => "replicasets.apps",
    }
}
