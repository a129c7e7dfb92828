//! The four ways to change a part of an object: JSON patch, merge patch, strategic merge patch and server-side apply.
//!
//! Pure functions over `serde_json::Value`; who may write what is decided in [`crate::write`]. Deliberately absent: OpenAPI for the built-in
//! kinds; [`shape`] knows their lists by name instead. Broken when two of the four disagree about the key of one list.

pub(crate) mod apply;
pub(crate) mod fields;
#[cfg(test)]
mod properties;
pub(crate) mod shape;
pub(crate) mod strategic;

use crate::status::ApiError;
use serde_json::Value;

/// RFC 7386: objects merge, null removes, anything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.as_str()).or_insert(Value::Null), change);
        }
    }
}

/// RFC 6902. A patch that cannot be read is 400; one that does not fit the object, a failing `test` included, is 422.
pub(crate) fn json(target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    json_patch::patch(target, &patch).map_err(|_| {
        // The real server does not say which operation failed.
        let refused = ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request");
        ApiError { details: serde_json::json!({}), ..refused }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn merge_patches() {
        for (before, patch, after) in [
            (value!({"a": 1}), value!({"b": 2}), value!({"a": 1, "b": 2})),
            (value!({"a": {"b": 1, "c": 2}}), value!({"a": {"b": null}}), value!({"a": {"c": 2}})),
            (value!({"a": [1, 2]}), value!({"a": [3]}), value!({"a": [3]})),
            (value!({"a": 1}), value!({"a": {"b": null, "c": 1}}), value!({"a": {"c": 1}})),
        ] {
            let mut target = before;
            merge(&mut target, &patch);
            assert_eq!(target, after);
        }
    }

    #[test]
    fn a_failing_test_is_invalid() {
        let mut target = value!({"a": 1});
        assert_eq!(json(&mut target, &value!([{"op": "test", "path": "/a", "value": 2}])).unwrap_err().code, 422);
        assert_eq!(json(&mut target, &value!([{"op": "nonsense"}])).unwrap_err().code, 400);
        json(&mut target, &value!([{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b", "value": 2}])).unwrap();
        assert_eq!(target, value!({"a": 1, "b": 2}));
    }
}
