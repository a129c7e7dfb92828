//! A GitOps owner that fights back: objects with Argo CD's tracking mark (or an explicit wish) are put back when they drift.
//!
//! As Argo CD with self-healing: fields that the wish names are restored, others are left alone; a deleted object comes back.

use crate::meta;
use crate::world::World;
use homeostat_model::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many wishes are kept; more marked objects are simply not guarded.
const LIMIT: usize = 2000;

/// What the owner wants of one object.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    object: Value,
    drifted: Option<Time>,
}

impl Wish {
    /// The wish that an object states: everything but its status and bookkeeping.
    pub(crate) fn of(object: &Value) -> Wish {
        let mut wish = object.clone();
        meta::unset(&mut wish, "", "status");
        let mut metadata = json!({"name": meta::name(object), "namespace": meta::namespace(object)});
        for key in ["labels", "annotations"] {
            if object["metadata"][key].is_object() {
                metadata[key] = object["metadata"][key].clone();
                meta::unset(&mut metadata, &format!("/{key}"), "deployment.kubernetes.io/revision");
            }
        }
        wish["metadata"] = metadata;
        Wish { object: wish, drifted: None }
    }
}

/// Wishes by shelf, namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<(String, String, String), Wish>);

impl Memory {
    pub(crate) fn insert(&mut self, shelf: &str, object: &Value, wish: Wish) {
        if self.0.len() < LIMIT {
            self.0.insert((shelf.to_string(), meta::namespace(object).to_string(), meta::name(object).to_string()), wish);
        }
    }
}

fn marked(object: &Value) -> bool {
    meta::controller(object).is_none()
        && (meta::label(object, "argocd.argoproj.io/instance").is_some()
            || meta::annotation(object, "argocd.argoproj.io/tracking-id").is_some())
}

/// Learns new wishes and restores what drifted long enough ago.
pub(crate) fn run(world: &mut World) {
    for shelf in [
        "deployments.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "services",
        "configmaps",
        "poddisruptionbudgets.policy",
        "horizontalpodautoscalers.autoscaling",
    ] {
        for object in world.all(shelf).into_iter().filter(|object| marked(object)) {
            let key = (shelf.to_string(), meta::namespace(&object).to_string(), meta::name(&object).to_string());
            if !world.models.gitops.0.contains_key(&key) {
                world.models.gitops.insert(shelf, &object, Wish::of(&object));
            }
        }
    }
    if world.models.gitops.0.is_empty() {
        return;
    }
    let (now, patience) = (world.now, world.settings.gitops_delay);
    let mut due = Vec::new();
    let mut wishes = std::mem::take(&mut world.models.gitops.0);
    for ((shelf, namespace, name), wish) in &mut wishes {
        let live = world.get(shelf, namespace, name);
        let drift = live.as_deref().is_none_or(|live| !meta::terminating(live) && !holds(live, &wish.object));
        wish.drifted = if drift { wish.drifted.or(Some(now)) } else { None };
        if wish.drifted.is_some_and(|since| now.since(since) >= patience) {
            wish.drifted = None;
            due.push((live, wish.object.clone()));
        }
    }
    world.models.gitops.0 = wishes;
    for (live, object) in due {
        restore(world, live.as_deref(), object);
    }
}

/// Whether `live` has everything that `wish` names.
fn holds(live: &Value, wish: &Value) -> bool {
    match (live, wish) {
        (Value::Object(live), Value::Object(wish)) => wish.iter().all(|(key, wish)| match live.get(key) {
            Some(live) => holds(live, wish),
            None => wish.is_null() || wish == "",
        }),
        (Value::Array(live), Value::Array(wish)) => live.len() == wish.len() && live.iter().zip(wish).all(|(live, wish)| holds(live, wish)),
        _ => live == wish,
    }
}

fn restore(world: &mut World, live: Option<&Value>, object: Value) {
    let Some(resource) = world.of_object(&object) else { return };
    let (namespace, name) = (meta::namespace(&object).to_string(), meta::name(&object).to_string());
    let options = crate::write::WriteOptions { manager: "argocd-controller".into(), ..Default::default() };
    let result = match live {
        None => world.create(&resource, &namespace, object.clone(), &options).map(|_| ()),
        Some(_) => world
            .patch(&resource, (&namespace, &name), crate::write::PatchKind::Merge, &object, crate::write::Part::Whole, &options)
            .map(|_| ()),
    };
    match result {
        Ok(()) => {
            world.note(&object, "Normal", "OperationCompleted", "argocd-application-controller", "Sync operation restored the wished state")
        }
        Err(error) => world.note(&object, "Warning", "SyncError", "argocd-application-controller", &error.message),
    }
}
