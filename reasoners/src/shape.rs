//! The shape of an answer: the subset of JSON Schema that every provider keeps to, read once and checked here again.
//!
//! The subset: an object at the root, every property required, nothing additional, `enum`, arrays, `anyOf` (null among others),
//! string, number, integer, boolean, null. A schema with any other word is refused before it is sent, so that no bound is believed to
//! hold that nobody checks. Written by hand because the usual crate brings some forty others, takes the whole language, and so would
//! let such words through. Deliberately absent: meaning (the catalogue checks that), references, ranges, patterns. An editor breaks
//! this by being lenient: what passes here is typed by the kernel without another look.

use serde_json::Value;
use std::collections::BTreeMap;

/// The longest schema, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// How deep shapes may be nested.
const DEPTH_MAX: usize = 12;
/// How many alternatives and values of an enumeration there may be.
const CHOICES_MAX: usize = 1000;
/// How much of a wrong value is quoted.
const QUOTE_CHARS_MAX: usize = 60;
/// The words that a schema may use, besides `title`.
const WORDS: [&str; 8] = ["type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "description"];

/// A schema of the subset, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Object(BTreeMap<String, Kind>),
    Array(Box<Kind>),
    Any(Vec<Kind>),
    /// One of these values; of the type as well, if one was written.
    Enum(Option<Box<Kind>>, Vec<Value>),
    Text,
    Number,
    Integer,
    Boolean,
    Null,
}

impl Shape {
    /// Reads a schema. The error names the place and what was expected there.
    pub fn parse(text: &str) -> Result<Shape, String> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(format!("the schema has {} bytes, at most {SCHEMA_BYTES_MAX} are allowed", text.len()));
        }
        let value = serde_json::from_str(text).map_err(|error| format!("the schema is no JSON: {error}"))?;
        match kind(&value, "", 0)? {
            root @ Kind::Object(_) => Ok(Shape(root)),
            _ => Err("the schema's root must be of type `object`".to_owned()),
        }
    }

    /// Whether a value has this shape. The error names the place as a JSON pointer, quotes little, and says what was expected: it is told
    /// to the model for its repair.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        check(&self.0, value, "").map_err(|wrong| wrong.words)
    }
}

fn kind(schema: &Value, at: &str, depth: usize) -> Result<Kind, String> {
    let place = if at.is_empty() { "the root" } else { at };
    let Some(map) = schema.as_object() else { return Err(format!("schema, {place}: expected an object with `type`, `enum` or `anyOf`")) };
    if depth > DEPTH_MAX {
        return Err(format!("schema, {place}: nested deeper than {DEPTH_MAX}"));
    }
    if let Some(word) = map.keys().find(|word| !WORDS.contains(&word.as_str()) && *word != "title") {
        return Err(format!("schema, {place}: `{}` is not in the subset that all providers keep to ({})", quote(word), WORDS.join(", ")));
    }
    if let Some(choices) = map.get("anyOf") {
        let choices = choices.as_array().filter(|choices| !choices.is_empty() && choices.len() <= CHOICES_MAX);
        let choices = choices.ok_or_else(|| format!("schema, {place}: `anyOf` must list 1 to {CHOICES_MAX} shapes"))?;
        if map.contains_key("type") || map.contains_key("enum") {
            return Err(format!("schema, {place}: `anyOf` stands beside `type` or `enum`, expected alone"));
        }
        let kinds = choices.iter().enumerate().map(|(n, choice)| kind(choice, &format!("{at}/anyOf/{n}"), depth + 1));
        return Ok(Kind::Any(kinds.collect::<Result<_, _>>()?));
    }
    let plain = match map.get("type").map(|name| name.as_str().unwrap_or("?")) {
        None => None,
        Some("object") => Some(object(map, at, depth)?),
        Some("array") => {
            let items = map.get("items").ok_or_else(|| format!("schema, {place}: an array without `items`"))?;
            Some(Kind::Array(Box::new(kind(items, &format!("{at}/items"), depth + 1)?)))
        }
        Some("string") => Some(Kind::Text),
        Some("number") => Some(Kind::Number),
        Some("integer") => Some(Kind::Integer),
        Some("boolean") => Some(Kind::Boolean),
        Some("null") => Some(Kind::Null),
        Some(other) => return Err(format!("schema, {place}: `type` is `{}`, expected one type by its name", quote(other))),
    };
    match (map.get("enum"), plain) {
        (None, Some(plain)) => Ok(plain),
        (None, None) => Err(format!("schema, {place}: expected `type`, `enum` or `anyOf`")),
        (Some(values), plain) => {
            let values = values.as_array().filter(|values| !values.is_empty() && values.len() <= CHOICES_MAX);
            let values = values.ok_or_else(|| format!("schema, {place}: `enum` must list 1 to {CHOICES_MAX} values"))?;
            Ok(Kind::Enum(plain.map(Box::new), values.clone()))
        }
    }
}

fn object(map: &serde_json::Map<String, Value>, at: &str, depth: usize) -> Result<Kind, String> {
    let place = if at.is_empty() { "the root" } else { at };
    if map.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(format!("schema, {place}: an object needs `\"additionalProperties\": false`"));
    }
    let empty = serde_json::Map::new();
    let properties = match map.get("properties") {
        None => &empty,
        Some(properties) => properties.as_object().ok_or_else(|| format!("schema, {place}: `properties` is not an object"))?,
    };
    let required: Vec<&str> = map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(name) = properties.keys().find(|name| !required.contains(&name.as_str())) {
        return Err(format!("schema, {place}: `{}` is not `required`; what may be missing is `anyOf` with null", quote(name)));
    }
    if let Some(name) = required.iter().find(|name| !properties.contains_key(**name)) {
        return Err(format!("schema, {place}: `{}` is required and not among the properties", quote(name)));
    }
    let fields = properties.iter().map(|(name, one)| Ok((name.clone(), kind(one, &format!("{at}/{name}"), depth + 1)?)));
    fields.collect::<Result<_, String>>().map(Kind::Object)
}

/// What is wrong, and how deep: of several alternatives the one that went deepest is told.
struct Wrong {
    depth: usize,
    words: String,
}

fn wrong(at: &str, seen: &Value, expected: &str) -> Wrong {
    let place = if at.is_empty() { "the answer".to_owned() } else { quote(at) };
    Wrong { depth: at.matches('/').count(), words: format!("{place} is {}, expected {expected}", quote(&seen.to_string())) }
}

fn check(kind: &Kind, value: &Value, at: &str) -> Result<(), Wrong> {
    let expect = |fits: bool, expected: &str| if fits { Ok(()) } else { Err(wrong(at, value, expected)) };
    match kind {
        Kind::Text => expect(value.is_string(), "a string"),
        Kind::Number => expect(value.is_number(), "a number"),
        Kind::Integer => expect(value.is_i64() || value.is_u64(), "a whole number, written without a point"),
        Kind::Boolean => expect(value.is_boolean(), "true or false"),
        Kind::Null => expect(value.is_null(), "null"),
        Kind::Enum(plain, values) => {
            plain.as_ref().map_or(Ok(()), |plain| check(plain, value, at))?;
            let listed = || values.iter().map(|value| quote(&value.to_string())).take(20).collect::<Vec<_>>().join(", ");
            if values.contains(value) { Ok(()) } else { Err(wrong(at, value, &format!("one of {}", listed()))) }
        }
        Kind::Array(inner) => {
            let Some(items) = value.as_array() else { return Err(wrong(at, value, "an array")) };
            items.iter().enumerate().try_for_each(|(n, item)| check(inner, item, &format!("{at}/{n}")))
        }
        Kind::Any(choices) => {
            let mut deepest: Option<Wrong> = None;
            for choice in choices {
                match check(choice, value, at) {
                    Ok(()) => return Ok(()),
                    Err(wrong) if deepest.as_ref().is_none_or(|known| wrong.depth > known.depth) => deepest = Some(wrong),
                    Err(_) => {}
                }
            }
            let words = deepest.map_or_else(String::new, |wrong| wrong.words);
            Err(Wrong { depth: at.matches('/').count(), words: format!("{words} (none of {} alternatives fits)", choices.len()) })
        }
        Kind::Object(fields) => {
            let Some(map) = value.as_object() else { return Err(wrong(at, value, "an object")) };
            let place = if at.is_empty() { "the answer".to_owned() } else { quote(at) };
            let fault = |words: String| Wrong { depth: at.matches('/').count() + 1, words };
            if let Some(name) = fields.keys().find(|name| !map.contains_key(*name)) {
                return Err(fault(format!("{place} lacks `{}`", quote(name))));
            }
            if let Some(name) = map.keys().find(|name| !fields.contains_key(*name)) {
                return Err(fault(format!("{place} has `{}`, which is not among its properties", quote(name))));
            }
            fields.iter().try_for_each(|(name, kind)| check(kind, &map[name], &format!("{at}/{name}")))
        }
    }
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// The JSON in a model's text: without the thinking before it and the fence around it that some models write in spite of everything.
pub fn json_part(text: &str) -> &str {
    let text = text.trim();
    let text = match text.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")) {
        Some((_, after)) => after.trim(),
        None => text,
    };
    let Some(fenced) = text.strip_prefix("```") else { return text };
    let fenced = fenced.strip_prefix("json").unwrap_or(fenced).trim();
    fenced.strip_suffix("```").unwrap_or(fenced).trim()
}

/// Reads a model's text as JSON of this shape. `Ok` is the canonical text: keys sorted, no blanks.
pub fn read(shape: &Shape, text: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(json_part(text)).map_err(|error| format!("the answer is no JSON: {error}"))?;
    shape.check(&value)?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shape() -> Shape {
        Shape::parse(
            &json!({
                "type": "object", "additionalProperties": false, "required": ["items", "note"], "title": "T",
                "properties": {
                    "note": { "anyOf": [{ "type": "string", "description": "why" }, { "type": "null" }] },
                    "items": { "type": "array", "items": { "type": "object", "additionalProperties": false,
                        "required": ["kind", "n"], "properties": { "kind": { "enum": ["a", "b", 3] }, "n": { "type": "integer" } } } }
                }
            })
            .to_string(),
        )
        .unwrap()
    }

    #[test]
    fn what_fits_comes_back_canonical() {
        let text = " ```json\n{\"note\": null, \"items\": [{\"n\": 1, \"kind\": \"a\"}]}\n```";
        assert_eq!(read(&shape(), text).unwrap(), r#"{"items":[{"kind":"a","n":1}],"note":null}"#);
        assert_eq!(read(&shape(), "<think>{}</think>\n{\"note\":\"x\",\"items\":[]}").unwrap(), r#"{"items":[],"note":"x"}"#);
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place() {
        for (text, words) in [
            ("nothing", "no JSON"),
            ("[]", "expected an object"),
            ("{\"items\":[]}", "lacks `note`"),
            ("{\"items\":[],\"note\":1}", "/note is 1"),
            ("{\"items\":[],\"note\":\"\",\"x\":1}", "has `x`"),
            ("{\"items\":[{\"kind\":\"c\",\"n\":1}],\"note\":null}", "/items/0/kind is \"c\", expected one of \"a\", \"b\", 3"),
            ("{\"items\":[{\"kind\":\"a\",\"n\":1.0}],\"note\":null}", "/items/0/n is 1.0"),
            ("{\"items\":[{\"kind\":\"a\",\"n\":\"1\"}],\"note\":null}", "whole number"),
        ] {
            let said = read(&shape(), text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
        let long = json!({ "items": [], "note": { "x": "y".repeat(500) } });
        assert!(shape().check(&long).unwrap_err().chars().count() < 300);
    }

    #[test]
    fn schemas_outside_the_subset_are_refused() {
        let object = |property: Value| json!({ "type": "object", "additionalProperties": false, "required": ["a"], "properties": { "a": property } });
        for (schema, words) in [
            (json!({ "type": "string" }), "root"),
            (json!({ "type": "object", "properties": {} }), "additionalProperties"),
            (json!({ "type": "object", "additionalProperties": false, "properties": { "a": { "type": "null" } } }), "not `required`"),
            (json!({ "type": "object", "additionalProperties": false, "required": ["b"] }), "not among"),
            (object(json!({ "type": "integer", "minimum": 0 })), "`minimum` is not in the subset"),
            (object(json!({ "type": ["string", "null"] })), "one type"),
            (object(json!({ "$ref": "#/x" })), "`$ref`"),
            (object(json!({ "type": "array" })), "without `items`"),
            (object(json!({ "anyOf": [] })), "1 to 1000"),
            (object(json!({ "enum": [] })), "1 to 1000"),
            (object(json!({})), "expected `type`"),
            (object(json!(true)), "expected an object"),
        ] {
            let said = Shape::parse(&schema.to_string()).unwrap_err();
            assert!(said.contains(words), "{schema}: {said}");
        }
        let deep = (0..30).fold(json!({ "type": "null" }), |inner, _| json!({ "type": "array", "items": inner }));
        assert!(Shape::parse(&object(deep).to_string()).unwrap_err().contains("deeper"));
        assert!(Shape::parse(&" ".repeat(SCHEMA_BYTES_MAX + 1)).unwrap_err().contains("bytes"));
    }

    fn any_schema() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!({ "type": "string" })),
            Just(json!({ "type": "number" })),
            Just(json!({ "type": "integer" })),
            Just(json!({ "type": "boolean" })),
            Just(json!({ "type": "null" })),
            Just(json!({ "enum": ["a", 1, null] })),
            Just(json!({ "type": "string", "enum": ["a", "b", 1] })),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|choices| json!({ "anyOf": choices })),
                prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|fields| {
                    let names: Vec<&String> = fields.keys().collect();
                    json!({ "type": "object", "additionalProperties": false, "required": names, "properties": fields })
                }),
            ]
        })
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!("a")), Just(json!("z")), Just(json!(1)), Just(json!(1.5)), Just(json!(true)), Just(json!(null))];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| json!(map)),
            ]
        })
    }

    /// A value that has (mostly) the shape: random ones seldom fit.
    fn sample(schema: &Value, pick: u64) -> Value {
        if let Some(choices) = schema["anyOf"].as_array() {
            return sample(&choices[pick as usize % choices.len()], pick / 2);
        }
        if let Some(values) = schema["enum"].as_array() {
            return values[pick as usize % values.len()].clone();
        }
        match schema["type"].as_str().unwrap() {
            "object" => schema["properties"].as_object().unwrap().iter().map(|(name, one)| (name.clone(), sample(one, pick / 3))).collect(),
            "array" => (0..pick % 3).map(|n| sample(&schema["items"], pick / 5 + n)).collect(),
            "string" => json!(["a", "z"][pick as usize % 2]),
            "number" => json!(1.5),
            "integer" => json!(pick),
            "boolean" => json!(pick.is_multiple_of(2)),
            _ => Value::Null,
        }
    }

    proptest! {
        #[test]
        fn judges_as_the_whole_language_does(schema in any_schema(), value in any_value(), pick in any::<u64>()) {
            let schema = json!({ "type": "object", "additionalProperties": false, "required": ["r"], "properties": { "r": schema } });
            let shape = Shape::parse(&schema.to_string()).unwrap();
            let reference = jsonschema::validator_for(&schema).unwrap();
            let fitting = sample(&schema, pick);
            for value in [json!({ "r": value }), fitting, value] {
                prop_assert_eq!(shape.check(&value).is_ok(), reference.is_valid(&value), "{} {}", schema, value);
            }
        }
    }
}
