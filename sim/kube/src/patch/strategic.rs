//! Strategic merge patch: a merge patch that merges known lists by key and obeys the `$patch`, `$setElementOrder`, `$deleteFromPrimitiveList`
//! and `$retainKeys` directives. Only for built-in kinds; custom resources answer 415, as the real server does.

use super::shape::{ListKind, Shape};
use serde_json::{Map, Value};

const ORDER: &str = "$setElementOrder/";
const DROP: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to `target`.
pub(crate) fn merge(target: &mut Value, patch: &Value, shape: Shape<'_>) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if changes.get("$patch").and_then(Value::as_str) == Some("replace") || !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    if let Some(keep) = changes.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|key, _| keep.iter().any(|kept| kept.as_str() == Some(key)));
    }
    for (key, change) in changes {
        if let Some(list) = key.strip_prefix(DROP) {
            drop_values(fields, list, change);
        } else if key.starts_with('$') {
            continue;
        } else if change.is_null() || change["$patch"] == "delete" {
            fields.remove(key);
        } else if let Value::Array(items) = change {
            merge_list(fields.entry(key.as_str()).or_insert_with(|| Value::Array(Vec::new())), items, shape.field(key));
        } else {
            merge(fields.entry(key.as_str()).or_insert(Value::Null), change, shape.field(key));
        }
    }
    for (key, order) in changes.iter().filter_map(|(key, order)| Some((key.strip_prefix(ORDER)?, order))) {
        if let (Some(Value::Array(items)), Some(order)) = (fields.get_mut(key), order.as_array()) {
            reorder(items, order, shape.field(key).merge_key());
        }
    }
}

fn drop_values(fields: &mut Map<String, Value>, list: &str, gone: &Value) {
    if let (Some(Value::Array(items)), Some(gone)) = (fields.get_mut(list), gone.as_array()) {
        items.retain(|item| !gone.contains(item));
    }
}

fn merge_list(target: &mut Value, patch: &[Value], shape: Shape<'_>) {
    let Value::Array(items) = target else {
        *target = Value::Array(patch.to_vec());
        return;
    };
    let Some(key) = shape.merge_key() else {
        if shape.list_kind() == ListKind::Set {
            for value in patch.iter().filter(|value| !value.is_object()) {
                if !items.contains(value) {
                    items.push(value.clone());
                }
            }
        } else {
            *items = patch.to_vec();
        }
        return;
    };
    if patch.iter().any(|item| item["$patch"] == "replace") {
        *items = patch.iter().filter(|item| item["$patch"].is_null()).cloned().collect();
        return;
    }
    for change in patch {
        let at = items.iter().position(|item| item[key] == change[key]);
        match (at, change["$patch"] == "delete") {
            (Some(at), true) => {
                items.remove(at);
            }
            (None, true) => {}
            (Some(at), false) => merge(&mut items[at], change, shape.item()),
            (None, false) => {
                let mut fresh = Value::Null;
                merge(&mut fresh, change, shape.item());
                items.push(fresh);
            }
        }
    }
}

/// Puts the items named in `order` in that order; the others keep their place behind the item that they followed.
fn reorder(items: &mut [Value], order: &[Value], key: Option<&str>) {
    let place = |item: &Value| {
        order.iter().position(|wanted| match key {
            Some(key) => wanted[key] == item[key],
            None => wanted == item,
        })
    };
    let mut last = 0;
    let places: Vec<usize> = items
        .iter()
        .map(|item| {
            last = place(item).unwrap_or(last);
            last
        })
        .collect();
    let mut paired: Vec<(usize, Value)> = places.into_iter().zip(items.iter().cloned()).collect();
    paired.sort_by_key(|(place, _)| *place);
    for (slot, (_, item)) in items.iter_mut().zip(paired) {
        *slot = item;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_merge_by_their_keys() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "b:1"}]}});
        for (patch, expected) in [
            (
                json!({"spec": {"containers": [{"name": "b", "image": "b:2"}]}}),
                json!([{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "b:2"}]),
            ),
            (json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}), json!([{"name": "b", "image": "b:1"}])),
            (
                json!({"spec": {"containers": [{"name": "c", "image": "c:1"}, {"$patch": "replace"}]}}),
                json!([{"name": "c", "image": "c:1"}]),
            ),
            (
                json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "$patch": "delete"}]}]}}),
                json!([{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1", "env": [{"name": "Y", "value": "2"}]}]),
            ),
        ] {
            let mut target = pod.clone();
            merge(&mut target, &patch, Shape::root(None));
            assert_eq!(target["spec"]["containers"], expected, "{patch}");
        }
    }

    #[test]
    fn tolerations_are_replaced_and_taints_merge() {
        let mut pod = json!({"spec": {"tolerations": [{"key": "a"}], "taints": [{"key": "a", "effect": "NoSchedule"}]}});
        merge(
            &mut pod,
            &json!({"spec": {"tolerations": [{"key": "b"}], "taints": [{"key": "b", "effect": "NoExecute"}]}}),
            Shape::root(None),
        );
        assert_eq!(pod["spec"]["tolerations"], json!([{"key": "b"}]));
        assert_eq!(pod["spec"]["taints"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn null_and_replace_and_finalizers() {
        let mut object = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}, "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}});
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"], "labels": {"x": null}},
            "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
        });
        merge(&mut object, &patch, Shape::root(None));
        assert_eq!(object["metadata"]["finalizers"].as_array().unwrap().len(), 2);
        assert!(object["metadata"]["finalizers"].as_array().unwrap().contains(&json!("c")));
        assert_eq!(object["metadata"]["labels"], json!({"y": "2"}));
        assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}));
    }
}
