//! Structural schemas of custom resources: defaulting, pruning of unknown fields, and validation.
//!
//! Honoured: type, nullable, int-or-string, required, enum, minimum, maximum, lengths, item counts, pattern, additionalProperties,
//! preserve-unknown-fields, embedded resources. Deliberately absent: `x-kubernetes-validations` (CEL), formats, and oneOf/anyOf/allOf.

use serde_json::Value;

/// What an object's check found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Paths of fields that the schema does not know; they have been removed.
    pub(crate) unknown: Vec<String>,
    /// Field, reason, message of each violation.
    pub(crate) causes: Vec<(String, &'static str, String)>,
}

impl Findings {
    /// The first value of a wrong type, in the words of server-side apply.
    pub(crate) fn untyped(&self, object: &Value) -> Option<String> {
        let (field, _, message) = self.causes.iter().find(|(_, reason, _)| *reason == "FieldValueTypeInvalid")?;
        let wanted = match message.split("must be of type ").nth(1)?.split(':').next()? {
            "object" => "map",
            "array" => "list",
            "integer" | "number" => "numeric (int or float)",
            other => other,
        };
        let pointer: String = field.replace('[', ".").replace(']', "").split('.').map(|part| format!("/{part}")).collect();
        let value = object.pointer(&pointer).cloned().unwrap_or_default();
        Some(format!(".{field}: expected {wanted}, got &value.valueUnstructured{{Value:{value}}}"))
    }
}

/// Completes and prunes `object` in place by the schema of its version.
pub(crate) fn admit(schema: &Value, object: &mut Value) -> Findings {
    let mut findings = Findings::default();
    let Some(map) = object.as_object_mut() else { return findings };
    let kept: Vec<(&str, Option<Value>)> = ["apiVersion", "kind", "metadata"].into_iter().map(|key| (key, map.remove(key))).collect();
    if schema.is_object() {
        visit(schema, object, "", false, &mut findings);
    }
    if let Some(map) = object.as_object_mut() {
        map.extend(kept.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))));
    }
    findings
}

const IDENTITY: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// `keep`: the list around this item preserves unknown fields, so this item does too (as the real pruning passes it on).
fn visit(schema: &Value, value: &mut Value, path: &str, keep: bool, findings: &mut Findings) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !right_type(schema, value) {
        let wanted = schema["type"].as_str().unwrap_or("integer or string");
        let message =
            format!("Invalid value: \"{}\": {} in body must be of type {wanted}: \"{}\"", type_name(value), path, type_name(value));
        return findings.causes.push((path.to_string(), "FieldValueTypeInvalid", message));
    }
    limits(schema, value, path, findings);
    match value {
        Value::Object(_) => visit_object(schema, value, path, keep, findings),
        Value::Array(items) => {
            if let Some(of) = schema.get("items") {
                for (at, item) in items.iter_mut().enumerate() {
                    let keep = keep || schema["x-kubernetes-preserve-unknown-fields"] == true;
                    visit(of, item, &format!("{path}[{at}]"), keep, findings);
                }
            }
        }
        _ => {}
    }
}

fn visit_object(schema: &Value, value: &mut Value, path: &str, keep: bool, findings: &mut Findings) {
    let Some(map) = value.as_object_mut() else { return };
    let properties = schema["properties"].as_object();
    let inner = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    for (key, property) in properties.into_iter().flatten() {
        if let Some(default) =
            property.get("default").filter(|_| map.get(key).is_none_or(|now| now.is_null() && property["nullable"] != true))
        {
            map.insert(key.clone(), default.clone());
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let implied = path.is_empty() && IDENTITY.contains(&name);
        if !implied && !map.contains_key(name) {
            findings.causes.push((inner(name), "FieldValueRequired", "Required value".into()));
        }
    }
    let more = schema.get("additionalProperties").filter(|more| *more != &Value::Bool(false));
    let embedded = schema["x-kubernetes-embedded-resource"] == true;
    let preserve = keep || schema["x-kubernetes-preserve-unknown-fields"] == true;
    let keys: Vec<String> = map.keys().cloned().collect();
    for key in keys {
        if (embedded || path.is_empty()) && IDENTITY.contains(&key.as_str()) {
            continue;
        }
        if let Some(of) = properties.and_then(|all| all.get(&key)).or(more) {
            if let (Some(value), true) = (map.get_mut(&key), of.is_object()) {
                if value.is_null() && of["nullable"] != true {
                    map.remove(&key);
                } else {
                    visit(of, value, &inner(&key), false, findings);
                }
            }
        } else if !preserve {
            map.remove(&key);
            findings.unknown.push(inner(&key));
        }
    }
}

fn right_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn limits(schema: &Value, value: &Value, path: &str, findings: &mut Findings) {
    let mut refuse = |reason, message: String| findings.causes.push((path.to_string(), reason, message));
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let all: Vec<String> = allowed.iter().map(Value::to_string).collect();
        refuse("FieldValueNotSupported", format!("Unsupported value: {value}: supported values: {}", all.join(", ")));
    }
    if let Some(number) = value.as_f64() {
        if schema["minimum"].as_f64().is_some_and(|least| number < least) {
            refuse(
                "FieldValueInvalid",
                format!("Invalid value: {value}: {path} in body should be greater than or equal to {}", schema["minimum"]),
            );
        }
        if schema["maximum"].as_f64().is_some_and(|most| number > most) {
            refuse(
                "FieldValueInvalid",
                format!("Invalid value: {value}: {path} in body should be less than or equal to {}", schema["maximum"]),
            );
        }
    }
    match value {
        Value::String(text) => {
            // Of a text's faults the first alone is told.
            let size = text.chars().count() as u64;
            let wrong = |pattern: &&str| regex::Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text));
            if let Some(most) = schema["maxLength"].as_u64().filter(|most| size > *most) {
                refuse("FieldValueTooLong", format!("Too long: may not be more than {most} bytes"));
            } else if let Some(least) = schema["minLength"].as_u64().filter(|least| size < *least) {
                refuse("FieldValueInvalid", format!("Invalid value: {value}: {path} in body should be at least {least} chars long"));
            } else if let Some(pattern) = schema["pattern"].as_str().filter(wrong) {
                refuse("FieldValueInvalid", format!("Invalid value: {value}: {path} in body should match '{pattern}'"));
            }
        }
        Value::Array(items) => {
            let size = items.len() as u64;
            if let Some(least) = schema["minItems"].as_u64().filter(|least| size < *least) {
                refuse("FieldValueInvalid", format!("Invalid value: {size}: {path} in body should have at least {least} items"));
            }
            if let Some(most) = schema["maxItems"].as_u64().filter(|most| size > *most) {
                refuse("FieldValueTooMany", format!("Too many: {size}: must have at most {most} items"));
            }
            duplicates(schema, items, path, findings);
        }
        _ => {}
    }
}

/// Items of a set or keyed list must differ.
fn duplicates(schema: &Value, items: &[Value], path: &str, findings: &mut Findings) {
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => Some(keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone()))).collect()),
        _ => None,
    };
    let all: Vec<Option<Value>> = items.iter().map(identity).collect();
    for (at, item) in all.iter().enumerate() {
        if let Some(item) = item.as_ref().filter(|_| all[..at].contains(item)) {
            findings.causes.push((format!("{path}[{at}]"), "FieldValueDuplicate", format!("Duplicate value: {item}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["mode"], "properties": {
            "mode": {"type": "string", "enum": ["one", "all"]},
            "size": {"type": "string", "default": "small", "pattern": "^(small|large)$"},
            "count": {"type": "integer", "minimum": 1},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "kept": {"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": {"type": "object"}},
            "keyed": {"type": "array", "minItems": 1, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        }}}})
    }

    #[test]
    fn defaults_and_pruning() {
        let mut object = json!({"kind": "X", "metadata": {"name": "x"}, "spec": {"mode": "one", "free": {"any": 1}, "map": {"k": "v"}, "list": [{"a": 1, "b": 2}], "kept": [{"x": {"y": 1}}], "odd": 1}});
        let findings = admit(&schema(), &mut object);
        assert_eq!(findings.unknown, ["spec.list[0].b", "spec.odd"]);
        assert!(findings.causes.is_empty(), "{:?}", findings.causes);
        assert_eq!(
            object["spec"],
            json!({"mode": "one", "size": "small", "free": {"any": 1}, "map": {"k": "v"}, "list": [{"a": 1}], "kept": [{"x": {"y": 1}}]})
        );
        assert_eq!(object["metadata"]["name"], "x");
    }

    #[test]
    fn violations_name_the_field() {
        for (spec, field, reason) in [
            (json!({}), "spec.mode", "FieldValueRequired"),
            (json!({"mode": "two"}), "spec.mode", "FieldValueNotSupported"),
            (json!({"mode": "one", "count": 0}), "spec.count", "FieldValueInvalid"),
            (json!({"mode": "one", "count": "0"}), "spec.count", "FieldValueTypeInvalid"),
            (json!({"mode": "one", "size": "huge"}), "spec.size", "FieldValueInvalid"),
            (json!({"mode": "one", "keyed": [{"k": "a"}, {"k": "b"}, {"k": "a"}]}), "spec.keyed[2]", "FieldValueDuplicate"),
            (json!({"mode": "one", "keyed": []}), "spec.keyed", "FieldValueInvalid"),
        ] {
            let findings = admit(&schema(), &mut json!({"spec": spec}));
            assert_eq!(findings.causes.iter().map(|cause| (cause.0.as_str(), cause.1)).collect::<Vec<_>>(), [(field, reason)]);
        }
    }
}
