//! StatefulSets: numbered pods, one after the other, updated from the highest number down. Claims from templates are made and bound at once.

use crate::control::{by_controller, make, make_pod, ready};
use crate::meta;
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const REVISION: &str = "controller-revision-hash";

/// Takes every set one step further.
pub(crate) fn run(world: &mut World) {
    let pods = by_controller(world, "pods");
    for set in world.all("statefulsets.apps") {
        let mut mine: BTreeMap<i64, Arc<Value>> = BTreeMap::new();
        for pod in pods.get(meta::uid(&set)).into_iter().flatten() {
            if let Some(number) = meta::name(pod).rsplit('-').next().and_then(|text| text.parse().ok()) {
                mine.insert(number, pod.clone());
            }
        }
        let hash = format!("{}-{}", meta::name(&set), meta::hash(&set["spec"]["template"]));
        if !meta::terminating(&set) {
            step(world, &set, &mine, &hash);
        }
        report(world, &set, &mine, &hash);
    }
}

fn step(world: &mut World, set: &Value, mine: &BTreeMap<i64, Arc<Value>>, hash: &str) {
    let wanted = meta::int(set, "/spec/replicas").unwrap_or(1).max(0);
    let ordered = set["spec"]["podManagementPolicy"] != "Parallel";
    for number in 0..wanted {
        match mine.get(&number) {
            None => {
                claims(world, set, number);
                let name = format!("{}-{number}", meta::name(set));
                let made = make_pod(world, set, &name, (REVISION, hash), None);
                if ordered || !made {
                    return;
                }
            }
            Some(pod) if meta::text(pod, "/status/phase") == "Failed" => world.reap("pods", meta::namespace(pod), meta::name(pod)),
            Some(pod) if ordered && (!ready(pod) || meta::terminating(pod)) && !outdated_and_sick(pod, hash) => return,
            Some(_) => {}
        }
    }
    for (_, pod) in mine.iter().rev().filter(|(number, _)| **number >= wanted) {
        if !meta::terminating(pod) {
            world.reap("pods", meta::namespace(pod), meta::name(pod));
        }
        if ordered {
            return;
        }
    }
    if set["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return;
    }
    let partition = meta::int(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    for (_, pod) in mine.iter().rev().filter(|(number, _)| **number >= partition) {
        if meta::terminating(pod) {
            return;
        }
        if meta::label(pod, REVISION) != Some(hash) {
            return world.reap("pods", meta::namespace(pod), meta::name(pod));
        }
        if !ready(pod) {
            return;
        }
    }
}

/// A pod of an old template that is not ready must not block its own replacement.
fn outdated_and_sick(pod: &Value, hash: &str) -> bool {
    meta::label(pod, REVISION) != Some(hash) && !ready(pod) && !meta::terminating(pod)
}

fn claims(world: &mut World, set: &Value, number: i64) {
    for template in meta::list(set, "/spec/volumeClaimTemplates") {
        let name = format!("{}-{}-{number}", meta::name(template), meta::name(set));
        if world.get("persistentvolumeclaims", meta::namespace(set), &name).is_some() {
            continue;
        }
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": set["spec"]["selector"]["matchLabels"]}, "spec": template["spec"]});
        if make(world, set, "", "v1", "persistentvolumeclaims", claim) {
            world.amend("persistentvolumeclaims", meta::namespace(set), &name, |claim| {
                let volume = format!("pvc-{}", meta::uid(claim));
                meta::set(claim, "/spec/volumeName", json!(volume));
                meta::set(claim, "/status/phase", json!("Bound"));
            });
        }
    }
}

fn report(world: &mut World, set: &Value, mine: &BTreeMap<i64, Arc<Value>>, hash: &str) {
    let count = |test: &dyn Fn(&Value) -> bool| mine.values().filter(|pod| !meta::terminating(pod) && test(pod)).count();
    let status = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": mine.len(), "readyReplicas": count(&|pod| ready(pod)), "availableReplicas": count(&|pod| ready(pod)),
        "currentReplicas": count(&|_| true), "updatedReplicas": count(&|pod| meta::label(pod, REVISION) == Some(hash)), "updateRevision": hash, "collisionCount": 0,
    });
    world.amend("statefulsets.apps", meta::namespace(set), meta::name(set), |set| {
        let all = status["updatedReplicas"] == set["spec"]["replicas"];
        let current =
            if all || set["status"]["currentRevision"].is_null() { json!(hash) } else { set["status"]["currentRevision"].clone() };
        let mut status = status.clone();
        status["currentRevision"] = current;
        meta::set(set, "/status", status);
    });
}
