//! Server-side apply: merge what a manager wants into the object, refuse what others own and want otherwise, take back what it no longer wants.
//!
//! After sigs.k8s.io/structured-merge-diff, with the shapes of [`super::shape`] in place of full schemas. Broken when a forced apply leaves the
//! field with two owners of different values, or when a dropped field stays.

use super::fields::{FieldSet, Writer, difference, in_order, item_part};
use super::shape::{ListKind, Shape};
use crate::meta;
use crate::status::ApiError;
use serde_json::{Value, json};

/// Applies `wanted` on `live` (null when it does not exist yet) for `writer`; returns the new object with its managedFields.
///
/// Without `force`, fields that others own with another value are 409 with one `FieldManagerConflict` cause each.
pub(crate) fn apply(live: &Value, wanted: &Value, shape: Shape<'_>, writer: &Writer<'_>, force: bool) -> Result<Value, ApiError> {
    let set = FieldSet::of(wanted, shape);
    let entries = meta::list(live, "/metadata/managedFields").to_vec();
    let clashes: Vec<(usize, Vec<String>)> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| !writer.owns(entry))
        .map(|(at, entry)| {
            let mut fields = Vec::new();
            clash(wanted, live, shape, &set, &FieldSet::from_json(&entry["fieldsV1"]), "", &mut fields);
            (at, fields)
        })
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !clashes.is_empty() && !force {
        return Err(refusal(&entries, &clashes));
    }
    let mut merged = live.clone();
    merge(&mut merged, wanted, shape);
    let mut others = FieldSet::default();
    for entry in entries.iter().filter(|entry| !writer.owns(entry)) {
        others.union(&FieldSet::from_json(&entry["fieldsV1"]));
    }
    if let Some(before) = entries.iter().find(|entry| writer.owns(entry)) {
        take_back(&mut merged, shape, &FieldSet::from_json(&before["fieldsV1"]), &set, &others);
    }
    let managed = entries_after(live, &merged, shape, writer, &set, entries);
    meta::set(&mut merged, "/metadata/managedFields", Value::Array(managed));
    Ok(merged)
}

/// The managers' entries after the merge: others lose what changed under them, the writer owns exactly what it applied.
fn entries_after(live: &Value, merged: &Value, shape: Shape<'_>, writer: &Writer<'_>, set: &FieldSet, entries: Vec<Value>) -> Vec<Value> {
    let (changed, removed) = if live.is_null() { Default::default() } else { difference(live, merged, shape) };
    let mut managed = Vec::new();
    let mut own = writer.entry(set);
    for mut entry in entries {
        if writer.owns(&entry) {
            if entry["fieldsV1"] == own["fieldsV1"] && changed.is_empty() && removed.is_empty() {
                own["time"] = entry["time"].clone();
            }
            continue;
        }
        let mut fields = FieldSet::from_json(&entry["fieldsV1"]);
        fields.subtract(&changed);
        fields.subtract(&removed);
        if !fields.is_empty() {
            entry["fieldsV1"] = fields.to_json();
            managed.push(entry);
        }
    }
    managed.push(own);
    in_order(&mut managed);
    managed
}

/// Worded as the real one: a single conflict in one line, several as lists; causes by field, managers by name.
fn refusal(entries: &[Value], clashes: &[(usize, Vec<String>)]) -> ApiError {
    let mut causes = Vec::new();
    let mut parts = Vec::new();
    for (at, fields) in clashes {
        let entry = &entries[*at];
        let sub = entry["subresource"].as_str().map(|sub| format!(" with subresource \"{sub}\"")).unwrap_or_default();
        let version = entry["apiVersion"].as_str().unwrap_or_default();
        let using = if entry["operation"] == "Update" { format!(" using {version}") } else { String::new() };
        let who = format!("{}{sub}{using}", entry["manager"]);
        for field in fields {
            causes.push(json!({"reason": "FieldManagerConflict", "message": format!("conflict with {who}"), "field": field}));
        }
        parts.push((who, fields));
    }
    let count = causes.len();
    causes.sort_by_key(|cause| cause["field"].to_string());
    parts.sort();
    let message = match parts.as_slice() {
        [(who, fields)] if fields.len() == 1 => format!("Apply failed with 1 conflict: conflict with {who}: {}", fields[0]),
        all => {
            let all: Vec<String> = all.iter().map(|(who, fields)| format!("conflicts with {who}:\n- {}", fields.join("\n- "))).collect();
            format!("Apply failed with {count} conflicts: {}", all.join("\n"))
        }
    };
    let mut error = ApiError::new(409, "Conflict", message);
    error.details = json!({"causes": causes});
    error
}

/// Collects the paths that `ours` sets, `theirs` owns, and whose live value is another.
fn clash(wanted: &Value, live: &Value, shape: Shape<'_>, ours: &FieldSet, theirs: &FieldSet, path: &str, found: &mut Vec<String>) {
    if live.is_null() {
        return;
    }
    for (part, below) in &ours.below {
        let Some(owned) = theirs.below.get(part) else { continue };
        let (Some((wish, place, text)), Some((now, _, _))) = (step(wanted, part, shape, path), step(live, part, shape, path)) else {
            continue;
        };
        let leaf = part.starts_with("f:") && (below.below.is_empty() || owned.below.is_empty());
        if leaf && wish.is_object() && now.is_object() && !place.atomic_map() {
            continue; // an empty map wants nothing of what is in it
        }
        if leaf && wish != now {
            found.push(text);
        } else if !leaf {
            clash(wish, now, place, below, owned, &text, found);
        }
    }
}

/// Follows one path element.
fn step<'v>(value: &'v Value, part: &'v str, shape: Shape<'v>, path: &str) -> Option<(&'v Value, Shape<'v>, String)> {
    if let Some(name) = part.strip_prefix("f:") {
        return Some((value.get(name)?, shape.field(name), format!("{path}.{name}")));
    }
    let keys: Value = serde_json::from_str(part.strip_prefix("k:")?).ok()?;
    let ListKind::Keyed(names) = shape.list_kind() else { return None };
    let item = value.as_array()?.iter().find(|item| item_part(item, &names.names()) == part)?;
    let text: Vec<String> = keys.as_object()?.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Some((item, shape.item(), format!("{path}[{}]", text.join(","))))
}

fn merge(live: &mut Value, wanted: &Value, shape: Shape<'_>) {
    match (&mut *live, wanted) {
        (Value::Object(fields), Value::Object(wishes)) if !shape.atomic_map() => {
            for (key, wish) in wishes {
                match fields.get_mut(key) {
                    Some(field) => merge(field, wish, shape.field(key)),
                    None => {
                        fields.insert(key.clone(), wish.clone());
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(wishes)) => match shape.list_kind() {
            ListKind::Atomic => items.clone_from(wishes),
            ListKind::Set => {
                for wish in wishes {
                    if !items.contains(wish) {
                        items.push(wish.clone());
                    }
                }
            }
            ListKind::Keyed(keys) => {
                let names = keys.names();
                for wish in wishes {
                    let part = item_part(wish, &names);
                    match items.iter_mut().find(|item| item_part(item, &names) == part) {
                        Some(item) => merge(item, wish, shape.item()),
                        None => items.push(wish.clone()),
                    }
                }
            }
        },
        _ => *live = wanted.clone(),
    }
}

/// Removes what the manager owned before, no longer wants, and nobody else owns.
fn take_back(value: &mut Value, shape: Shape<'_>, before: &FieldSet, now: &FieldSet, others: &FieldSet) {
    let nothing = FieldSet::default();
    for (part, was) in &before.below {
        let still = now.below.get(part);
        let shared = others.below.get(part);
        if was.here && still.is_none() && shared.is_none() {
            remove(value, part, shape);
            continue;
        }
        let (still, shared) = (still.unwrap_or(&nothing), shared.unwrap_or(&nothing));
        if let Some(name) = part.strip_prefix("f:") {
            let Some(below) = value.get_mut(name) else { continue };
            take_back(below, shape.field(name), was, still, shared);
            if still.is_empty() && shared.is_empty() && (below == &json!({}) || below == &json!([])) {
                remove(value, part, shape);
            }
        } else if let (Some(items), ListKind::Keyed(keys)) = (value.as_array_mut(), shape.list_kind()) {
            let names = keys.names();
            if let Some(item) = items.iter_mut().find(|item| item_part(item, &names) == *part) {
                take_back(item, shape.item(), was, still, shared);
            }
        }
    }
}

fn remove(value: &mut Value, part: &str, shape: Shape<'_>) {
    match value {
        Value::Object(fields) => {
            part.strip_prefix("f:").and_then(|name| fields.remove(name));
        }
        Value::Array(items) => match shape.list_kind() {
            ListKind::Keyed(keys) => {
                let names = keys.names();
                items.retain(|item| item_part(item, &names) != part);
            }
            _ => items.retain(|item| format!("v:{item}") != part),
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(manager: &str, apply: bool) -> Writer<'_> {
        Writer { manager, apply, api_version: "apps/v1", subresource: "", now: "t" }
    }

    fn run(live: &Value, wanted: &Value, manager: &str, force: bool) -> Result<Value, ApiError> {
        apply(live, wanted, Shape::root(None), &writer(manager, true), force)
    }

    fn managers(object: &Value) -> Vec<String> {
        meta::list(object, "/metadata/managedFields").iter().map(|entry| meta::text(entry, "/manager").to_string()).collect()
    }

    #[test]
    fn a_conflict_names_the_field_and_force_takes_it() {
        let first = run(&Value::Null, &json!({"metadata": {"name": "w"}, "spec": {"replicas": 1}}), "a", false).unwrap();
        let refused = run(&first, &json!({"metadata": {"name": "w"}, "spec": {"replicas": 2}}), "b", false).unwrap_err();
        assert_eq!((refused.code, refused.reason), (409, "Conflict"));
        assert_eq!(refused.details["causes"][0]["field"], ".spec.replicas");
        assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
        let forced = run(&first, &json!({"metadata": {"name": "w"}, "spec": {"replicas": 2}}), "b", true).unwrap();
        assert_eq!(forced["spec"]["replicas"], 2);
        assert_eq!(managers(&forced), ["b"], "the first manager owned nothing else");
    }

    #[test]
    fn the_same_value_is_shared_and_outlives_one_owner() {
        let first = run(&Value::Null, &json!({"spec": {"replicas": 1}}), "a", false).unwrap();
        let both = run(&first, &json!({"spec": {"replicas": 1}}), "b", false).unwrap();
        assert_eq!(managers(&both).len(), 2);
        let left = run(&both, &json!({"spec": {}}), "a", false).unwrap();
        assert_eq!(left["spec"]["replicas"], 1);
        let gone = run(&left, &json!({"spec": {}}), "b", false).unwrap();
        assert!(gone["spec"]["replicas"].is_null());
    }

    #[test]
    fn dropped_items_and_fields_go() {
        let wanted =
            json!({"metadata": {"labels": {"x": "1"}}, "spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
        let first = run(&Value::Null, &wanted, "a", false).unwrap();
        let next = run(&first, &json!({"spec": {"containers": [{"name": "b", "image": "2"}]}}), "a", false).unwrap();
        assert_eq!(next["spec"]["containers"], json!([{"name": "b", "image": "2"}]));
        assert!(next["metadata"].get("labels").is_none());
        let other = run(&next, &json!({"spec": {"containers": [{"name": "b", "image": "3"}]}}), "z", false).unwrap_err();
        assert_eq!(other.details["causes"][0]["field"], ".spec.containers[name=\"b\"].image");
    }

    #[test]
    fn an_unchanged_apply_changes_nothing() {
        let wanted = json!({"spec": {"replicas": 1, "list": [1, 2]}});
        let first = run(&Value::Null, &wanted, "a", false).unwrap();
        let later = Writer { now: "later", ..writer("a", true) };
        assert_eq!(apply(&first, &wanted, Shape::root(None), &later, false).unwrap(), first);
    }
}
