//! Deployments: one ReplicaSet for each template, rolled over within `maxSurge` and `maxUnavailable`.
//!
//! After pkg/controller/deployment (rolling.go, progress.go), without proportional scaling while a rollout is paused.

use crate::control::{by_controller, make};
use crate::meta;
use crate::stamp;
use crate::world::World;
use homeostat_model::Span;
use serde_json::{Value, json};
use std::sync::Arc;

const SETS: &str = "replicasets.apps";
const REVISION: &str = "deployment.kubernetes.io/revision";

fn spec(set: &Value) -> i64 {
    meta::int(set, "/spec/replicas").unwrap_or(0)
}

fn status(set: &Value, field: &str) -> i64 {
    meta::int(set, &format!("/status/{field}")).unwrap_or(0)
}

fn revision(object: &Value) -> i64 {
    meta::annotation(object, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Takes every deployment one step further.
pub(crate) fn run(world: &mut World) {
    // With nothing new, time can only end a rollout that is still under way.
    let settled = world.version == world.models.settled;
    let over = |one: &Value| meta::condition(one, "Progressing").is_some_and(|progress| progress["reason"] == "NewReplicaSetAvailable");
    let due: Vec<Arc<Value>> = world.all("deployments.apps").into_iter().filter(|one| !settled || !over(one)).collect();
    if due.is_empty() {
        return;
    }
    let sets = by_controller(world, SETS);
    let pods = by_controller(world, "pods");
    for deployment in due {
        let mut mine = sets.get(meta::uid(&deployment)).cloned().unwrap_or_default();
        mine.sort_by_key(|set| revision(set));
        let hash = meta::hash(&deployment["spec"]["template"]);
        if !meta::terminating(&deployment) {
            let ended = |set: &Value| pods.get(meta::uid(set)).is_none_or(Vec::is_empty);
            step(world, &deployment, &mine, &hash, &ended);
        }
        report(world, &deployment, &mine, &hash);
    }
}

fn step(world: &mut World, deployment: &Value, sets: &[Arc<Value>], hash: &str, ended: &dyn Fn(&Value) -> bool) {
    let wanted = spec(deployment);
    let (new, old): (Vec<_>, Vec<_>) = sets.iter().partition(|set| meta::label(set, "pod-template-hash") == Some(hash));
    let paused = deployment["spec"]["paused"] == true;
    let Some(new) = new.first() else {
        if !paused {
            make_set(world, deployment, hash, sets.iter().map(|set| revision(set)).max().unwrap_or(0) + 1);
        } else if let Some(last) = sets.last() {
            resize(world, deployment, last, wanted);
        }
        return;
    };
    let newest = sets.iter().map(|set| revision(set)).max().unwrap_or(0);
    if revision(new) < newest && !paused {
        world.amend(SETS, meta::namespace(new), meta::name(new), |set| meta::tag(set, "annotations", REVISION, &(newest + 1).to_string()));
    }
    world.amend("deployments.apps", meta::namespace(deployment), meta::name(deployment), |object| {
        let number = if revision(new) < newest && !paused { newest + 1 } else { revision(new) };
        meta::tag(object, "annotations", REVISION, &number.to_string());
    });
    if paused {
        return resize(world, deployment, new, wanted);
    }
    if deployment["spec"]["strategy"]["type"] == "Recreate" {
        for set in &old {
            resize(world, deployment, set, 0);
        }
        if old.iter().all(|set| ended(set)) {
            resize(world, deployment, new, wanted);
        }
    } else {
        roll(world, deployment, new, &old, wanted);
    }
    forget_old(world, deployment, &old);
}

/// One step of a rolling update.
fn roll(world: &mut World, deployment: &Value, new: &Arc<Value>, old: &[&Arc<Value>], wanted: i64) {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let surge = meta::share(&rolling["maxSurge"], wanted, true).unwrap_or(1).max(0);
    let mut unavailable = meta::share(&rolling["maxUnavailable"], wanted, false).unwrap_or(0).max(0);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    let total: i64 = spec(new) + old.iter().map(|set| spec(set)).sum::<i64>();
    if spec(new) > wanted {
        return resize(world, deployment, new, wanted);
    }
    let grow = (wanted - spec(new)).min(wanted + surge - total).max(0);
    if grow > 0 {
        return resize(world, deployment, new, spec(new) + grow);
    }
    let least = wanted - unavailable.min(wanted);
    let mut spare = total - least - (spec(new) - status(new, "availableReplicas"));
    let available: i64 = status(new, "availableReplicas") + old.iter().map(|set| status(set, "availableReplicas")).sum::<i64>();
    let mut over = available - least;
    for set in old.iter().filter(|set| spec(set) > 0) {
        let sick = (spec(set) - status(set, "availableReplicas")).clamp(0, spare.max(0));
        let healthy = (spec(set) - sick).min(over.max(0)).min((spare - sick).max(0));
        let less = sick + healthy;
        if less > 0 {
            spare -= less;
            over -= healthy;
            resize(world, deployment, set, spec(set) - less);
        }
    }
}

fn resize(world: &mut World, deployment: &Value, set: &Value, replicas: i64) {
    let before = spec(set);
    if before == replicas {
        return;
    }
    world.amend(SETS, meta::namespace(set), meta::name(set), |set| meta::set(set, "/spec/replicas", json!(replicas)));
    let direction = if replicas > before { "up" } else { "down" };
    world.note(
        deployment,
        "Normal",
        "ScalingReplicaSet",
        "deployment-controller",
        &format!("Scaled {direction} replica set {} from {before} to {replicas}", meta::name(set)),
    );
}

fn make_set(world: &mut World, deployment: &Value, hash: &str, number: i64) {
    let mut template = deployment["spec"]["template"].clone();
    meta::tag(&mut template, "labels", "pod-template-hash", hash);
    let mut selector = deployment["spec"]["selector"].clone();
    meta::set(&mut selector, "/matchLabels/pod-template-hash", json!(hash));
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("{}-{hash}", meta::name(deployment)), "labels": template["metadata"]["labels"], "ownerReferences": [meta::owner_reference(deployment)]},
        "spec": {"replicas": 0, "selector": selector, "template": template},
    });
    meta::tag(&mut set, "annotations", REVISION, &number.to_string());
    make(world, deployment, "apps", "v1", "replicasets", set);
}

/// Removes the oldest empty sets beyond `revisionHistoryLimit`.
fn forget_old(world: &mut World, deployment: &Value, old: &[&Arc<Value>]) {
    let keep = meta::int(deployment, "/spec/revisionHistoryLimit").unwrap_or(10).max(0) as usize;
    let empty: Vec<&&Arc<Value>> = old.iter().filter(|set| spec(set) == 0 && status(set, "replicas") == 0).collect();
    for set in empty.iter().take(empty.len().saturating_sub(keep)) {
        world.reap(SETS, meta::namespace(set), meta::name(set));
    }
}

fn report(world: &mut World, deployment: &Value, sets: &[Arc<Value>], hash: &str) {
    let wanted = spec(deployment);
    let sum = |field: &str| sets.iter().map(|set| status(set, field)).sum::<i64>();
    let new = sets.iter().find(|set| meta::label(set, "pod-template-hash") == Some(hash));
    let updated = new.map_or(0, |set| status(set, "replicas"));
    let counts = [
        ("replicas", sum("replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", sum("availableReplicas")),
    ];
    let available = counts[3].1;
    let stamp_now = world.stamp();
    let now = world.now;
    world.amend("deployments.apps", meta::namespace(deployment), meta::name(deployment), |object| {
        let moved = counts.iter().any(|(field, count)| status(object, field) != *count);
        meta::set(object, "/status/observedGeneration", object["metadata"]["generation"].clone());
        for (field, count) in counts.iter().chain([&("unavailableReplicas", (wanted - available).max(0))]) {
            if *count == 0 {
                meta::unset(object, "/status", field);
            } else {
                meta::set(object, &format!("/status/{field}"), json!(count));
            }
        }
        let unavailable = meta::share(&object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], wanted, false).unwrap_or(0);
        if available >= wanted - unavailable {
            meta::set_condition(
                object,
                "Available",
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
                &stamp_now,
            );
        } else {
            meta::set_condition(
                object,
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
                &stamp_now,
            );
        }
        let complete = updated == wanted && counts[0].1 == wanted && available == wanted;
        progress(object, complete, moved, new.map(|set| meta::name(set)), now);
    });
}

/// The Progressing condition, with its `lastUpdateTime` as the moment of the last progress.
fn progress(object: &mut Value, complete: bool, moved: bool, set: Option<&str>, now: homeostat_model::Time) {
    let text = stamp::stamp(now);
    let old = meta::condition(object, "Progressing").cloned();
    let reason = old.as_ref().map_or("", |old| meta::text(old, "/reason")).to_string();
    let name = set.unwrap_or_default();
    let current = old.as_ref().is_some_and(|old| meta::text(old, "/message").contains(&format!("\"{name}\"")));
    let finished = current
        && reason == "NewReplicaSetAvailable"
        && meta::int(object, "/status/replicas") == meta::int(object, "/status/updatedReplicas");
    if complete || finished {
        if reason != "NewReplicaSetAvailable" || !current {
            meta::set_condition(
                object,
                "Progressing",
                "True",
                "NewReplicaSetAvailable",
                &format!("ReplicaSet \"{name}\" has successfully progressed."),
                &text,
            );
            touch(object, &text);
        }
        return;
    }
    let since = old.as_ref().and_then(|old| stamp::parse(meta::text(old, "/lastUpdateTime")));
    let deadline = meta::seconds(object, "/spec/progressDeadlineSeconds").unwrap_or(Span::from_secs(600));
    let late = current && !moved && since.is_some_and(|since| now.since(since) > deadline);
    if late || (current && !moved && reason == "ProgressDeadlineExceeded") {
        meta::set_condition(
            object,
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
            &format!("ReplicaSet \"{name}\" has timed out progressing."),
            &text,
        );
    } else if moved || !current || reason == "NewReplicaSetAvailable" {
        meta::set_condition(object, "Progressing", "True", "ReplicaSetUpdated", &format!("ReplicaSet \"{name}\" is progressing."), &text);
        touch(object, &text);
    }
}

fn touch(object: &mut Value, text: &str) {
    for condition in
        object["status"]["conditions"].as_array_mut().into_iter().flatten().filter(|condition| condition["type"] == "Progressing")
    {
        condition["lastUpdateTime"] = json!(text);
    }
}
