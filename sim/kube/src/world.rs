//! The state behind the server: shelves of objects, the version counter, the bounded history that watches read, plant time.
//!
//! One lock guards all of it ([`crate::server`]); nothing here waits or does IO. Every change goes through [`World::commit`] or
//! [`World::remove`], which number it and put it into the history. Broken when an object changes on its shelf without either.

use crate::control::Models;
use crate::meta;
use crate::resource::{self, Resource};
use crate::settings::Settings;
use crate::stamp::stamp;
use crate::status::ApiError;
use homeostat_model::Time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Namespace (empty for cluster-scoped) and name.
pub(crate) type Key = (String, String);

/// The shelf of CustomResourceDefinitions.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// One numbered change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) shelf: Arc<str>,
    pub(crate) before: Option<Arc<Value>>,
    /// The object after the change; for a deletion its last state with the deletion's version.
    pub(crate) after: Arc<Value>,
    pub(crate) gone: bool,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests answered, watches included.
    pub requests: u64,
    /// Requests answered by an injected fault.
    pub faults: u64,
    /// Changes that fell out of the history.
    pub forgotten_changes: u64,
    /// Watches refused because there were too many.
    pub refused_watches: u64,
    /// Watches that were told 410.
    pub expired_watches: u64,
    /// Objects refused because there were too many.
    pub refused_objects: u64,
    /// Ticks that ended before the controllers had nothing left to do (the next tick goes on).
    pub unfinished_ticks: u64,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) version: u64,
    pub(crate) settings: Settings,
    pub(crate) models: Models,
    pub(crate) counters: Counters,
    resources: Vec<Arc<Resource>>,
    /// The installed definitions with what each serves.
    defined: Vec<(Arc<Value>, Vec<Arc<Resource>>)>,
    shelves: BTreeMap<Arc<str>, BTreeMap<Key, Arc<Value>>>,
    count: usize,
    history: VecDeque<Change>,
    /// The newest version that is no longer in the history.
    forgotten: u64,
    draws: u64,
}

impl World {
    pub(crate) fn new(settings: Settings) -> World {
        let mut world = World {
            now: settings.start,
            version: 1,
            settings,
            models: Models::default(),
            counters: Counters::default(),
            resources: resource::built_in(),
            defined: Vec::new(),
            shelves: BTreeMap::new(),
            count: 0,
            history: VecDeque::new(),
            forgotten: 1,
            draws: 0,
        };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            crate::defaults::complete("Namespace", &mut namespace, world.draws);
            world.stamp_new(&mut namespace);
            world.commit("namespaces", namespace);
        }
        world
    }

    /// Plant time as `metav1.Time`.
    pub(crate) fn stamp(&self) -> String {
        stamp(self.now)
    }

    /// The next number of a fixed sequence (splitmix64): names and uids, the same in every run.
    pub(crate) fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.draws;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Gives a new object its uid, creation time and first generation.
    pub(crate) fn stamp_new(&mut self, object: &mut Value) {
        let (high, low) = (self.draw(), self.draw());
        let uid = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        );
        meta::set(object, "/metadata/uid", json!(uid));
        meta::set(object, "/metadata/creationTimestamp", json!(self.stamp()));
    }

    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    pub(crate) fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources.iter().find(|one| one.group == group && one.version == version && one.plural == plural).cloned()
    }

    /// The resource in whose version the objects of a shelf are stored.
    pub(crate) fn of_shelf(&self, shelf: &str) -> Option<Arc<Resource>> {
        let mut all = self.resources.iter().filter(|one| one.shelf() == shelf);
        let first = all.next()?;
        Some(if first.storage { first } else { all.find(|one| one.storage).unwrap_or(first) }.clone())
    }

    /// The resource of an object's `apiVersion` and `kind`.
    pub(crate) fn of_object(&self, object: &Value) -> Option<Arc<Resource>> {
        self.resources.iter().find(|one| object["kind"] == one.kind && object["apiVersion"] == one.api_version()).cloned()
    }

    pub(crate) fn get(&self, shelf: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.shelves.get(shelf)?.get(&(namespace.to_string(), name.to_string())).cloned()
    }

    /// All objects of a shelf in the order of namespace and name.
    pub(crate) fn all(&self, shelf: &str) -> Vec<Arc<Value>> {
        self.shelves.get(shelf).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// The objects of a shelf in one namespace.
    pub(crate) fn within(&self, shelf: &str, namespace: &str) -> Vec<Arc<Value>> {
        let Some(objects) = self.shelves.get(shelf) else { return Vec::new() };
        objects
            .range((namespace.to_string(), String::new())..)
            .take_while(|((of, _), _)| of == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub(crate) fn shelf_names(&self) -> Vec<Arc<str>> {
        self.shelves.keys().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Refuses when no more object fits.
    pub(crate) fn room(&mut self) -> Result<(), ApiError> {
        if self.count < self.settings.limits.objects {
            return Ok(());
        }
        self.counters.refused_objects += 1;
        Err(ApiError::forbidden(format!(
            "exceeded quota: the server holds its limit of {} objects; delete some first",
            self.settings.limits.objects
        )))
    }

    /// Puts an object on its shelf under the next version.
    pub(crate) fn commit(&mut self, shelf: &str, mut object: Value) -> Arc<Value> {
        self.version += 1;
        meta::set(&mut object, "/metadata/resourceVersion", json!(self.version.to_string()));
        let key = (meta::namespace(&object).to_string(), meta::name(&object).to_string());
        let object = Arc::new(object);
        let name = self.shelf_name(shelf);
        let before = self.shelves.entry(name.clone()).or_default().insert(key, object.clone());
        self.count += usize::from(before.is_none());
        self.record(Change { version: self.version, shelf: name, before, after: object.clone(), gone: false });
        if shelf == DEFINITIONS {
            self.refresh_resources();
        }
        object
    }

    /// Takes an object off its shelf; returns its last state.
    pub(crate) fn remove(&mut self, shelf: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let before = self.shelves.get_mut(shelf)?.remove(&(namespace.to_string(), name.to_string()))?;
        self.version += 1;
        self.count -= 1;
        let mut last = (*before).clone();
        meta::set(&mut last, "/metadata/resourceVersion", json!(self.version.to_string()));
        let after = Arc::new(last);
        let shelf_name = self.shelf_name(shelf);
        self.record(Change { version: self.version, shelf: shelf_name, before: Some(before), after: after.clone(), gone: true });
        if shelf == DEFINITIONS {
            self.refresh_resources();
        }
        Some(after)
    }

    /// Changes an object as the server's own controllers do; commits only what differs. An object that waits for its last finalizer goes.
    /// Returns whether anything changed.
    pub(crate) fn amend(&mut self, shelf: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) -> bool {
        let Some(old) = self.get(shelf, namespace, name) else { return false };
        let mut new = (*old).clone();
        change(&mut new);
        if new == *old {
            return false;
        }
        let counts = self.of_shelf(shelf).filter(|resource| resource.counts_generation());
        if counts.is_some_and(|resource| wish_changed(&old, &new, resource.status)) {
            let generation = meta::int(&old, "/metadata/generation").unwrap_or(0) + 1;
            meta::set(&mut new, "/metadata/generation", json!(generation));
        }
        let finished =
            meta::terminating(&new) && meta::list(&new, "/metadata/finalizers").is_empty() && shelf != "pods" && shelf != "namespaces";
        self.commit(shelf, new);
        if finished {
            self.remove(shelf, namespace, name);
        }
        true
    }

    fn shelf_name(&self, shelf: &str) -> Arc<str> {
        self.shelves.get_key_value(shelf).map_or_else(|| Arc::from(shelf), |(name, _)| name.clone())
    }

    fn record(&mut self, change: Change) {
        self.history.push_back(change);
        while self.history.len() > self.settings.limits.history {
            if let Some(old) = self.history.pop_front() {
                self.forgotten = old.version;
                self.counters.forgotten_changes += 1;
            }
        }
    }

    /// Forgets the whole history, as a restarted or compacted server has: every older watch and `continue` gets 410.
    pub(crate) fn compact(&mut self) {
        self.counters.forgotten_changes += self.history.len() as u64;
        self.history.clear();
        self.forgotten = self.version;
    }

    /// The changes after `version`, at most `limit` of them; `Err` holds the oldest version that is still known.
    pub(crate) fn changes_after(&self, version: u64, limit: usize) -> Result<Vec<&Change>, u64> {
        if version < self.forgotten {
            return Err(self.forgotten);
        }
        let start = self.history.partition_point(|change| change.version <= version);
        Ok(self.history.iter().skip(start).take(limit).collect())
    }

    /// Builds the resource table anew from the built-in one and the installed definitions; only definitions that changed are read again.
    fn refresh_resources(&mut self) {
        let installed = self.all(DEFINITIONS);
        let mut known = std::mem::take(&mut self.defined);
        self.defined = installed
            .into_iter()
            .map(|definition| match known.iter().position(|(old, _)| Arc::ptr_eq(old, &definition)) {
                Some(at) => known.swap_remove(at),
                None => {
                    let resources = resource::of_definition(&definition);
                    (definition, resources)
                }
            })
            .collect();
        self.resources = resource::built_in();
        self.resources.extend(self.defined.iter().flat_map(|(_, resources)| resources.iter().cloned()));
    }
}

/// Whether two states differ outside `metadata` (and `status`, where that is a subresource).
pub(crate) fn wish_changed(old: &Value, new: &Value, without_status: bool) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old != new };
    let counts = |key: &str| key != "metadata" && key != "apiVersion" && !(without_status && key == "status");
    old.iter().filter(|(key, _)| counts(key)).any(|(key, value)| new.get(key) != Some(value))
        || new.keys().any(|key| counts(key) && !old.contains_key(key))
}
