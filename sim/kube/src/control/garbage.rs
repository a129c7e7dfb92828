//! What goes because something else went: dependents of owners, the content of namespaces, the instances of definitions.

use crate::meta;
use crate::status::qualified;
use crate::world::{DEFINITIONS, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Collects garbage once.
pub(crate) fn run(world: &mut World) {
    dependents(world);
    namespaces(world);
    definitions(world);
}

fn dependents(world: &mut World) {
    let shelves = world.shelf_names();
    let mut uids = BTreeSet::new();
    let mut owned: Vec<(Arc<str>, Arc<Value>)> = Vec::new();
    let mut foreground: Vec<(Arc<str>, Arc<Value>)> = Vec::new();
    for shelf in &shelves {
        for object in world.all(shelf) {
            uids.insert(meta::uid(&object).to_string());
            if !meta::list(&object, "/metadata/ownerReferences").is_empty() {
                owned.push((shelf.clone(), object.clone()));
            }
            if meta::terminating(&object) && meta::has_finalizer(&object, "foregroundDeletion") {
                foreground.push((shelf.clone(), object));
            }
        }
    }
    for (shelf, object) in &owned {
        let references = meta::list(object, "/metadata/ownerReferences");
        if !meta::terminating(object) && references.iter().all(|owner| !uids.contains(meta::text(owner, "/uid"))) {
            world.reap(shelf, meta::namespace(object), meta::name(object));
        }
    }
    for (shelf, owner) in foreground {
        let uid = meta::uid(&owner);
        let mut waits = false;
        for (of, object) in
            owned.iter().filter(|(_, object)| meta::list(object, "/metadata/ownerReferences").iter().any(|one| one["uid"] == uid))
        {
            waits = true;
            if !meta::terminating(object) {
                world.reap(of, meta::namespace(object), meta::name(object));
            }
        }
        if !waits {
            world.amend(&shelf, meta::namespace(&owner), meta::name(&owner), |object| meta::drop_finalizer(object, "foregroundDeletion"));
        }
    }
}

fn namespaces(world: &mut World) {
    for namespace in world.all("namespaces").into_iter().filter(|namespace| meta::terminating(namespace)) {
        let name = meta::name(&namespace);
        let mut empty = true;
        for shelf in world.shelf_names() {
            for object in world.within(&shelf, name) {
                if &*shelf == "events" {
                    world.remove(&shelf, name, meta::name(&object));
                    continue;
                }
                empty = false;
                if !meta::terminating(&object) {
                    world.reap(&shelf, name, meta::name(&object));
                }
            }
        }
        if empty {
            world.remove("namespaces", "", name);
        }
    }
}

fn definitions(world: &mut World) {
    const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
    for definition in
        world.all(DEFINITIONS).into_iter().filter(|definition| meta::terminating(definition) && meta::has_finalizer(definition, FINALIZER))
    {
        let shelf = qualified(meta::text(&definition, "/spec/group"), meta::text(&definition, "/spec/names/plural"));
        let instances = world.all(&shelf);
        for object in instances.iter().filter(|object| !meta::terminating(object)) {
            world.reap(&shelf, meta::namespace(object), meta::name(object));
        }
        if instances.is_empty() {
            world.amend(DEFINITIONS, "", meta::name(&definition), |definition| meta::drop_finalizer(definition, FINALIZER));
        }
    }
}
