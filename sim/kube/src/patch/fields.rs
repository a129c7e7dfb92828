//! Sets of fields, and `metadata.managedFields`: who owns which field of an object.
//!
//! A set is a tree; its JSON form is Kubernetes' FieldsV1 (`f:spec`, `k:{"name":"web"}`, `v:"x"`, `.`). Broken when a set does not read back as
//! it was written, or when bookkeeping fields get an owner.

use super::shape::{ListKind, Shape};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A set of fields: whether this place itself is in it, and what below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldSet {
    pub(crate) here: bool,
    /// Path elements as FieldsV1 writes them (`f:…`, `k:…`, `v:…`).
    pub(crate) below: BTreeMap<String, FieldSet>,
}

/// Fields that nobody owns: identity, and what the server writes.
const BOOKKEEPING: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
];

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    /// All fields that an object sets.
    pub(crate) fn of(object: &Value, shape: Shape<'_>) -> FieldSet {
        let mut set = of_value(object, shape);
        strip(&mut set);
        set
    }

    pub(crate) fn union(&mut self, other: &FieldSet) {
        self.here |= other.here;
        for (part, set) in &other.below {
            self.below.entry(part.clone()).or_default().union(set);
        }
    }

    /// Takes out everything that `other` names; a leaf of `other` takes what stands below it along.
    pub(crate) fn subtract(&mut self, other: &FieldSet) {
        if other.here {
            self.here = false;
            if other.below.is_empty() {
                self.below.clear();
            }
        }
        for (part, gone) in &other.below {
            if let Some(set) = self.below.get_mut(part) {
                set.subtract(gone);
                if set.is_empty() {
                    self.below.remove(part);
                }
            }
        }
    }

    /// The FieldsV1 form.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.here && !self.below.is_empty() {
            map.insert(".".into(), json!({}));
        }
        for (part, set) in &self.below {
            map.insert(part.clone(), set.to_json());
        }
        Value::Object(map)
    }

    /// Reads the FieldsV1 form.
    pub(crate) fn from_json(value: &Value) -> FieldSet {
        let Some(map) = value.as_object() else { return FieldSet::default() };
        let mut set = FieldSet { here: map.is_empty() || map.contains_key("."), below: BTreeMap::new() };
        for (part, below) in map.iter().filter(|(part, _)| *part != ".") {
            set.below.insert(part.clone(), FieldSet::from_json(below));
        }
        set
    }
}

fn strip(set: &mut FieldSet) {
    set.below.remove("f:apiVersion");
    set.below.remove("f:kind");
    if let Some(metadata) = set.below.get_mut("f:metadata") {
        metadata.here = false;
        for name in BOOKKEEPING {
            metadata.below.remove(&format!("f:{name}"));
        }
        if metadata.below.is_empty() {
            set.below.remove("f:metadata");
        }
    }
}

/// The path element of a list item.
pub(crate) fn item_part(item: &Value, keys: &[&str]) -> String {
    let mut map = Map::new();
    for key in keys {
        let value = if item[*key].is_null() && *key == "protocol" { json!("TCP") } else { item[*key].clone() };
        if !value.is_null() {
            map.insert((*key).to_string(), value);
        }
    }
    format!("k:{}", Value::Object(map))
}

/// What an update adds: maps and lists are in the set themselves, other than in an applied set.
fn added(value: &Value, shape: Shape<'_>) -> FieldSet {
    fields_of(value, shape, true)
}

fn of_value(value: &Value, shape: Shape<'_>) -> FieldSet {
    fields_of(value, shape, false)
}

fn fields_of(value: &Value, shape: Shape<'_>, mark: bool) -> FieldSet {
    let mut set = FieldSet { here: mark && shape.is_marked(), ..FieldSet::default() };
    match value {
        Value::Object(map) if !map.is_empty() && !shape.atomic_map() => {
            for (key, value) in map {
                set.below.insert(format!("f:{key}"), fields_of(value, shape.field(key), mark));
            }
        }
        Value::Array(items) if !items.is_empty() => match shape.list_kind() {
            ListKind::Atomic => set.here = true,
            ListKind::Set => {
                for item in items {
                    set.below.insert(format!("v:{item}"), FieldSet { here: true, below: BTreeMap::new() });
                }
            }
            ListKind::Keyed(keys) => {
                for item in items {
                    let mut below = fields_of(item, shape.item(), mark);
                    below.here = true;
                    set.below.insert(item_part(item, &keys.names()), below);
                }
            }
        },
        _ => set.here = true,
    }
    set
}

/// What an update changed or added, and what it removed.
pub(crate) fn difference(old: &Value, new: &Value, shape: Shape<'_>) -> (FieldSet, FieldSet) {
    let (mut changed, mut removed) = (FieldSet::default(), FieldSet::default());
    compare(old, new, shape, &mut changed, &mut removed);
    strip(&mut changed);
    strip(&mut removed);
    (changed, removed)
}

fn compare(old: &Value, new: &Value, shape: Shape<'_>, changed: &mut FieldSet, removed: &mut FieldSet) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !shape.atomic_map() => {
            for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
                descend(before.get(key), after.get(key), &format!("f:{key}"), shape.field(key), changed, removed);
            }
        }
        (Value::Array(before), Value::Array(after)) => match shape.list_kind() {
            ListKind::Atomic => changed.here = true,
            ListKind::Set => {
                let part = |item: &Value| format!("v:{item}");
                lists(before, after, &part, shape, changed, removed);
            }
            ListKind::Keyed(keys) => {
                let names = keys.names();
                lists(before, after, &|item: &Value| item_part(item, &names), shape, changed, removed);
            }
        },
        _ => {
            let (before, after) = (of_value(old, shape), added(new, shape));
            if before != after {
                removed.union(&before); // a map became a leaf, or the other way round: the old paths are no more
            }
            changed.union(&after);
        }
    }
}

fn lists(
    before: &[Value],
    after: &[Value],
    part: &dyn Fn(&Value) -> String,
    shape: Shape<'_>,
    changed: &mut FieldSet,
    removed: &mut FieldSet,
) {
    let old: BTreeMap<String, &Value> = before.iter().map(|item| (part(item), item)).collect();
    let new: BTreeMap<String, &Value> = after.iter().map(|item| (part(item), item)).collect();
    for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
        descend(old.get(key).copied(), new.get(key).copied(), key, shape.item(), changed, removed);
        if let (None, Some(set)) = (old.get(key), changed.below.get_mut(key)) {
            set.here = true;
        }
    }
}

fn descend(old: Option<&Value>, new: Option<&Value>, part: &str, shape: Shape<'_>, changed: &mut FieldSet, removed: &mut FieldSet) {
    match (old, new) {
        (Some(old), Some(new)) => {
            let (mut more, mut less) = (FieldSet::default(), FieldSet::default());
            compare(old, new, shape, &mut more, &mut less);
            if !more.is_empty() {
                changed.below.insert(part.to_string(), more);
            }
            if !less.is_empty() {
                removed.below.insert(part.to_string(), less);
            }
        }
        (None, Some(new)) => {
            changed.below.insert(part.to_string(), added(new, shape));
        }
        (Some(_), None) => {
            removed.below.insert(part.to_string(), FieldSet { here: true, below: BTreeMap::new() });
        }
        (None, None) => {}
    }
}

/// Who writes: the manager's name, the operation, the API version and the subresource, with the moment.
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) apply: bool,
    pub(crate) api_version: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) now: &'a str,
}

impl Writer<'_> {
    pub(crate) fn operation(&self) -> &'static str {
        if self.apply { "Apply" } else { "Update" }
    }

    /// Whether an entry of managedFields is this writer's own.
    pub(crate) fn owns(&self, entry: &Value) -> bool {
        entry["manager"] == self.manager
            && entry["operation"] == self.operation()
            && entry["subresource"].as_str().unwrap_or_default() == self.subresource
    }

    /// A fresh entry with these fields.
    pub(crate) fn entry(&self, fields: &FieldSet) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation(), "apiVersion": self.api_version, "time": self.now,
            "fieldsType": "FieldsV1", "fieldsV1": fields.to_json(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }
}

/// Brings `managedFields` up to date after a plain write: the writer owns what it changed, everybody loses what changed under them or went.
pub(crate) fn track(old: &Value, new: &mut Value, shape: Shape<'_>, writer: &Writer<'_>) {
    let (changed, removed) = difference(old, new, shape);
    let entries = crate::meta::list(old, "/metadata/managedFields").to_vec();
    if changed.is_empty() && removed.is_empty() {
        return crate::meta::set(new, "/metadata/managedFields", Value::Array(entries));
    }
    let mut kept = Vec::new();
    let mut own = FieldSet::default();
    for mut entry in entries {
        let mut fields = FieldSet::from_json(&entry["fieldsV1"]);
        fields.subtract(&removed);
        if writer.owns(&entry) {
            own = fields;
            continue;
        }
        fields.subtract(&changed);
        if !fields.is_empty() {
            entry["fieldsV1"] = fields.to_json();
            kept.push(entry);
        }
    }
    own.union(&changed);
    if !own.is_empty() {
        kept.push(writer.entry(&own));
    }
    in_order(&mut kept);
    crate::meta::set(new, "/metadata/managedFields", Value::Array(kept));
}

/// The order in which the server keeps entries: applies first, then by time, manager and subresource.
pub(crate) fn in_order(entries: &mut [Value]) {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries.sort_by_key(|entry| ["operation", "time", "manager", "apiVersion", "subresource"].map(|field| text(entry, field)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(manager: &str) -> Writer<'_> {
        Writer { manager, apply: false, api_version: "apps/v1", subresource: "", now: "t" }
    }

    #[test]
    fn a_set_reads_back() {
        let object = json!({"kind": "X", "metadata": {"name": "n", "labels": {"a": "1"}, "finalizers": ["f"]}, "spec": {"containers": [{"name": "a", "image": "i"}], "args": [1], "empty": {}}});
        let set = FieldSet::of(&object, Shape::root(None));
        let form = set.to_json();
        assert_eq!(form["f:spec"]["f:containers"]["k:{\"name\":\"a\"}"], json!({".": {}, "f:name": {}, "f:image": {}}));
        assert_eq!(form["f:metadata"], json!({"f:labels": {"f:a": {}}, "f:finalizers": {"v:\"f\"": {}}}));
        assert_eq!(FieldSet::from_json(&form), set);
    }

    #[test]
    fn an_update_takes_fields_from_others() {
        let first = json!({"metadata": {}, "spec": {"replicas": 1, "paused": false}});
        let mut object = first.clone();
        track(&json!({}), &mut object, Shape::root(None), &writer("a"));
        let mut next = object.clone();
        next["spec"]["replicas"] = json!(2);
        track(&object, &mut next, Shape::root(None), &writer("b"));
        let entries = next["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(entries[0]["manager"], "a");
        assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {"f:paused": {}}}));
        assert_eq!(entries[1]["manager"], "b");
        assert_eq!(entries[1]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    }
}
