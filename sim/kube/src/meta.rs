//! Reading and writing the parts that every Kubernetes object has, on plain `serde_json::Value`.
//!
//! Pointers are JSON pointers (`/metadata/name`). Missing parts read as empty, never as an error: the shape of objects is judged at the
//! door ([`crate::write`]), not here. Broken when a setter replaces a map that it should have extended.

use homeostat_model::Span;
use serde_json::{Map, Value, json};

/// The value at a JSON pointer. As `Value::pointer`, but without allocating for keys that need no unescaping: controllers call it very often.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return object.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(object, |at, part| match at {
        Value::Object(map) => map.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The text at `pointer`, or `""`.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at `pointer`.
pub(crate) fn int(object: &Value, pointer: &str) -> Option<i64> {
    at(object, pointer).and_then(Value::as_i64)
}

/// The whole seconds at `pointer` as a span; clients may write any number, so it is held between zero and thirty years.
pub(crate) fn seconds(object: &Value, pointer: &str) -> Option<Span> {
    int(object, pointer).map(|number| Span::from_secs(number.clamp(0, 1_000_000_000)))
}

/// The list at `pointer`, or an empty one.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`, `""` for cluster-scoped objects.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// One label's value.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, "/metadata/labels")?.get(key)?.as_str()
}

/// One annotation's value.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, "/metadata/annotations")?.get(key)?.as_str()
}

/// Whether deletion has been asked for.
pub(crate) fn terminating(object: &Value) -> bool {
    at(object, "/metadata/deletionTimestamp").is_some_and(Value::is_string)
}

/// Sets the value at a JSON pointer, making the maps on the way.
pub(crate) fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    let mut parts = pointer.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        if parts.peek().is_none() {
            map.insert(part, value);
            return;
        }
        at = map.entry(part).or_insert(Value::Null);
    }
}

/// Removes one key below the map at `pointer`.
pub(crate) fn unset(object: &mut Value, pointer: &str, key: &str) {
    if let Some(Value::Object(map)) = object.pointer_mut(pointer) {
        map.remove(key);
    }
}

/// Sets one label (`part` = `labels`) or annotation (`annotations`).
pub(crate) fn tag(object: &mut Value, part: &str, key: &str, value: &str) {
    let key = key.replace('~', "~0").replace('/', "~1");
    set(object, &format!("/metadata/{part}/{key}"), json!(value));
}

/// Whether `metadata.finalizers` names `finalizer`.
pub(crate) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    list(object, "/metadata/finalizers").iter().any(|entry| entry.as_str() == Some(finalizer))
}

/// Adds a finalizer once.
pub(crate) fn add_finalizer(object: &mut Value, finalizer: &str) {
    if !has_finalizer(object, finalizer) {
        let mut all = list(object, "/metadata/finalizers").to_vec();
        all.push(json!(finalizer));
        set(object, "/metadata/finalizers", Value::Array(all));
    }
}

/// Removes a finalizer; the empty list goes too, as the real server omits it.
pub(crate) fn drop_finalizer(object: &mut Value, finalizer: &str) {
    let rest: Vec<Value> = list(object, "/metadata/finalizers").iter().filter(|entry| entry.as_str() != Some(finalizer)).cloned().collect();
    if rest.is_empty() {
        unset(object, "/metadata", "finalizers");
    } else {
        set(object, "/metadata/finalizers", Value::Array(rest));
    }
}

/// The owner reference with `controller: true`.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true)
}

/// The condition of one type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

/// Whether the condition of one type has status `True`.
pub(crate) fn condition_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Sets one condition; `lastTransitionTime` moves only when the status changes.
pub(crate) fn set_condition(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let mut all = list(object, "/status/conditions").to_vec();
    let mut fresh = json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now});
    match all.iter_mut().find(|condition| condition["type"] == kind) {
        Some(old) => {
            if old["status"] == status {
                fresh["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            let Value::Object(fields) = fresh else { return };
            for (key, value) in fields {
                old[key] = value;
            }
        }
        None => all.push(fresh),
    }
    set(object, "/status/conditions", Value::Array(all));
}

/// An owner reference to `owner` as its controller.
pub(crate) fn owner_reference(owner: &Value) -> Value {
    json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner), "uid": uid(owner), "controller": true, "blockOwnerDeletion": true})
}

/// A short name-safe hash of a value, as `pod-template-hash` is: FNV-1a over its JSON text, in the alphabet that Kubernetes uses.
pub(crate) fn hash(value: &Value) -> String {
    let hash =
        value.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    letters(hash, 10)
}

/// `count` characters of Kubernetes' name alphabet (no vowels, no look-alikes) from a number.
pub(crate) fn letters(mut number: u64, count: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut out = String::with_capacity(count);
    for _ in 0..count {
        out.push(ALPHABET[(number % ALPHABET.len() as u64) as usize] as char);
        number /= ALPHABET.len() as u64;
    }
    out
}

/// A quantity (`500m`, `1Gi`, `2`, `1e3`) as a number in its base unit (cores, bytes).
pub(crate) fn quantity(value: &Value) -> Option<f64> {
    let text = match value {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text.as_str(),
        _ => return None,
    };
    const SUFFIXES: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    for (suffix, factor) in SUFFIXES {
        if let Some(number) = text.strip_suffix(suffix) {
            return number.parse::<f64>().ok().map(|number| number * factor);
        }
    }
    text.parse().ok()
}

/// An int-or-percent against a total; `up` says which way a percentage is rounded.
pub(crate) fn share(value: &Value, total: i64, up: bool) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let percent: f64 = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    let exact = percent * total as f64 / 100.0;
    Some(if up { exact.ceil() } else { exact.floor() } as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_and_shares() {
        for (text, expected) in [("500m", 0.5), ("2", 2.0), ("1Gi", 1_073_741_824.0), ("1k", 1000.0)] {
            assert_eq!(quantity(&json!(text)), Some(expected), "{text}");
        }
        assert_eq!(share(&json!("25%"), 10, true), Some(3));
        assert_eq!(share(&json!("25%"), 10, false), Some(2));
        assert_eq!(share(&json!(4), 10, false), Some(4));
        assert_eq!(share(&json!("x"), 10, false), None);
    }

    #[test]
    fn a_condition_keeps_its_moment_until_it_turns() {
        let mut object = json!({});
        set_condition(&mut object, "Ready", "True", "A", "", "t1");
        set_condition(&mut object, "Ready", "True", "B", "", "t2");
        assert_eq!(object["status"]["conditions"][0]["lastTransitionTime"], "t1");
        set_condition(&mut object, "Ready", "False", "C", "", "t3");
        assert_eq!(object["status"]["conditions"][0]["lastTransitionTime"], "t3");
    }
}
