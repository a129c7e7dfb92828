//! Properties of field sets, ownership and apply, against a naive reference: the plain set of leaf paths.

use super::apply::apply;
use super::fields::{FieldSet, Writer, track};
use super::shape::Shape;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Objects of a few keys, three levels deep, with numbers as leaves and no empty maps.
fn object() -> impl Strategy<Value = Value> {
    let leaf = (0..3_i64).prop_map(|number| json!(number));
    let level = leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::btree_map("[abc]", inner, 1..4).prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>()))
    });
    prop::collection::btree_map("[abc]", level, 1..4).prop_map(|map| json!({"spec": Value::Object(map.into_iter().collect())}))
}

/// The paths of all leaves.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found)),
        _ => {
            found.insert(path.to_string());
        }
    }
}

fn paths(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    leaves(&value["spec"], "", &mut found);
    found
}

fn owned(set: &FieldSet, path: &str, found: &mut BTreeSet<String>) {
    if set.here {
        found.insert(path.to_string());
    }
    for (part, below) in &set.below {
        owned(below, &format!("{path}/{}", part.trim_start_matches("f:")), found);
    }
}

fn paths_of(set: &FieldSet) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Some(spec) = set.below.get("f:spec") {
        owned(spec, "", &mut found);
    }
    found
}

fn writer(manager: &str, apply: bool) -> Writer<'_> {
    Writer { manager, apply, api_version: "v1", subresource: "", now: "t" }
}

fn entries(object: &Value) -> Vec<(String, BTreeSet<String>)> {
    crate::meta::list(object, "/metadata/managedFields")
        .iter()
        .map(|entry| (crate::meta::text(entry, "/manager").to_string(), paths_of(&FieldSet::from_json(&entry["fieldsV1"]))))
        .collect()
}

proptest! {
    #[test]
    fn a_set_is_its_leaves(one in object(), two in object()) {
        let shape = Shape::root(None);
        let (mut a, b) = (FieldSet::of(&one, shape), FieldSet::of(&two, shape));
        prop_assert_eq!(paths_of(&a), paths(&one));
        prop_assert_eq!(&FieldSet::from_json(&a.to_json()), &a);
        let mut all = a.clone();
        all.union(&b);
        prop_assert_eq!(paths_of(&all), paths(&one).union(&paths(&two)).cloned().collect::<BTreeSet<_>>());
        a.subtract(&b);
        let gone = paths(&two);
        let kept: BTreeSet<String> = paths(&one).into_iter().filter(|path| !gone.iter().any(|leaf| path == leaf || path.starts_with(&format!("{leaf}/")))).collect();
        prop_assert_eq!(paths_of(&a), kept);
    }

    #[test]
    fn every_leaf_has_exactly_one_owner_after_plain_writes(steps in prop::collection::vec((object(), 0..3_usize), 1..6)) {
        let mut now = json!({"metadata": {}});
        for (mut next, who) in steps {
            next["metadata"] = json!({"managedFields": now["metadata"]["managedFields"]});
            track(&now, &mut next, Shape::root(None), &writer(["x", "y", "z"][who], false));
            now = next;
            let mut seen = BTreeSet::new();
            for (manager, fields) in entries(&now) {
                for field in fields {
                    prop_assert!(seen.insert(field.clone()), "{field} belongs to {manager} and another");
                }
            }
            prop_assert_eq!(seen, paths(&now));
        }
    }

    #[test]
    fn a_forced_apply_gets_all_it_wants_and_is_idempotent(steps in prop::collection::vec((object(), 0..3_usize), 1..6)) {
        let mut now = Value::Null;
        for (wanted, who) in steps {
            let me = writer(["x", "y", "z"][who], true);
            now = apply(&now, &wanted, Shape::root(None), &me, true).unwrap();
            prop_assert!(paths(&wanted).iter().all(|path| now["spec"].pointer(path) == wanted["spec"].pointer(path)));
            let mut all = BTreeSet::new();
            entries(&now).into_iter().for_each(|(_, fields)| all.extend(fields));
            prop_assert_eq!(all, paths(&now), "nothing without an owner, nothing owned that is not there");
            let again = apply(&now, &wanted, Shape::root(None), &me, false);
            prop_assert_eq!(again.as_ref(), Ok(&now), "the same apply conflicts with nobody and changes nothing");
        }
    }

    #[test]
    fn an_apply_without_force_conflicts_or_agrees(first in object(), second in object()) {
        let before = apply(&Value::Null, &first, Shape::root(None), &writer("x", true), false).unwrap();
        let clash = paths(&first).iter().any(|path| second["spec"].pointer(path).is_some_and(|value| Some(value) != first["spec"].pointer(path)))
            || paths(&second).iter().any(|path| first["spec"].pointer(path).is_some_and(|value| Some(value) != second["spec"].pointer(path)));
        prop_assert_eq!(apply(&before, &second, Shape::root(None), &writer("y", true), false).is_err(), clash);
    }
}
