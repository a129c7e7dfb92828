//! The tree against the JSON schema: everything that is wrong at once, each at its place, with the nearest right name.
//!
//! Knows the part of JSON Schema that the config structs produce; what it does not know it lets through, because the typed structs look
//! at everything again. Also turns what people write into what the structs take: `12` into text where text is expected, an empty
//! section into an empty map. Deliberately absent: values' meaning, and values in messages where they could be secrets.

use super::problem::Problem;
use super::tree::{Key, Node, NodeKind};
use homeostat_model::{Secret, Span};
use serde_json::{Map, Value};

/// Checks and prepares a tree.
pub(super) fn check(schema: &Value, tree: &mut Node, text: &str) -> Vec<Problem> {
    let empty = Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut checker = Checker { defs, text, problems: Vec::new() };
    checker.node(schema, tree, "");
    checker.problems
}

struct Checker<'a> {
    defs: &'a Map<String, Value>,
    text: &'a str,
    problems: Vec<Problem>,
}

/// The definition behind a reference.
pub(super) fn resolve<'a>(defs: &'a Map<String, Value>, schema: &'a Value) -> &'a Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    name.and_then(|name| defs.get(name)).unwrap_or(schema)
}

/// The variants of a choice, without `null`.
pub(super) fn variants<'a>(defs: &'a Map<String, Value>, schema: &'a Value) -> Option<Vec<&'a Value>> {
    let list = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    Some(list.iter().map(|variant| resolve(defs, variant)).filter(|variant| variant["type"] != "null").collect())
}

/// The texts that a schema allows: `const` or `enum`.
pub(super) fn texts(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    schema.get("const").into_iter().chain(listed).filter_map(Value::as_str).collect()
}

/// The property that tells variants apart: one with a `const` in all of them.
pub(super) fn tag_of<'a>(variants: &[&'a Value]) -> Option<&'a str> {
    let first = variants.first()?.get("properties")?.as_object()?;
    let is_tag = |name: &str| variants.iter().all(|variant| variant["properties"][name].get("const").is_some());
    first.keys().map(String::as_str).find(|name| is_tag(name))
}

impl Checker<'_> {
    fn problem(&mut self, node: &Node, message: String) {
        self.problems.push(Problem::at(node, message));
    }

    fn node(&mut self, schema: &Value, node: &mut Node, path: &str) {
        let schema = resolve(self.defs, schema);
        if let Some(variants) = variants(self.defs, schema) {
            return self.choice(&variants, node, path);
        }
        let allowed = texts(schema);
        if !allowed.is_empty() && matches!(node.kind, NodeKind::Text(_)) {
            return self.one_of(&allowed, node, path);
        }
        let Some(kinds) = kinds(schema) else { return };
        self.prepare(&kinds, node);
        match (&node.kind, fits(&kinds, &node.kind)) {
            (NodeKind::Null, false) => self.problem(node, format!("{} has no value: expected {}", shown(path), wanted(schema, &kinds))),
            (NodeKind::Text(text), false) if kinds.contains(&"boolean") && ["yes", "no", "on", "off"].contains(&text.as_str()) => {
                self.problem(node, format!("{} is text: write `true` or `false`", shown(path)));
            }
            (kind, false) => self.problem(node, format!("{} is {}: expected {}", shown(path), kind.name(), wanted(schema, &kinds))),
            (_, true) => self.inside(schema, node, path),
        }
    }

    /// Turns what was written into what was meant, where there is no doubt.
    fn prepare(&self, kinds: &[&str], node: &mut Node) {
        let scalar = matches!(node.kind, NodeKind::Bool(_) | NodeKind::Int(_) | NodeKind::Big(_) | NodeKind::Float(_));
        match node.kind {
            NodeKind::Null if kinds.contains(&"null") => {}
            NodeKind::Null if kinds.contains(&"object") => node.kind = NodeKind::Map(Vec::new()),
            NodeKind::Null if kinds.contains(&"array") => node.kind = NodeKind::List(Vec::new()),
            _ if scalar && kinds.contains(&"string") && !fits(kinds, &node.kind) => {
                if let Some(written) = node.written(self.text) {
                    node.kind = NodeKind::Text(written.to_owned());
                }
            }
            _ => {}
        }
    }

    fn inside(&mut self, schema: &Value, node: &mut Node, path: &str) {
        let place = node.place();
        match &mut node.kind {
            NodeKind::Map(items) => self.object(schema, items, &place, path),
            NodeKind::List(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.node(schema, item, &format!("{path}[{index}]"));
                    }
                }
            }
            NodeKind::Text(text) => match schema["format"].as_str() {
                Some("duration") => {
                    if let Err(error) = text.parse::<Span>() {
                        self.problem(&place, format!("{}: {error}", shown(path)));
                    }
                }
                Some("secret") => {
                    if let Err(error) = Secret::parse(text) {
                        self.problem(&place, format!("{}: {error}", shown(path)));
                    }
                }
                _ => {}
            },
            NodeKind::Int(value) => self.range(schema, *value as f64, &place, path),
            NodeKind::Float(value) => self.range(schema, *value, &place, path),
            _ => {}
        }
    }

    fn range(&mut self, schema: &Value, value: f64, place: &Node, path: &str) {
        let (low, high) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high) {
            let side = |side: Option<f64>, none: &str| side.map_or(none.to_owned(), |side| side.to_string());
            let message = format!("{} is {value}: expected {} to {}", shown(path), side(low, "any number"), side(high, "any number"));
            self.problem(place, message);
        }
    }

    fn object(&mut self, schema: &Value, items: &mut [(Key, Node)], place: &Node, path: &str) {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        for (key, value) in items.iter_mut() {
            let inner = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
            match (properties.get(&key.text), schema.get("additionalProperties")) {
                (Some(property), _) => self.node(property, value, &inner),
                (None, Some(Value::Bool(false))) => {
                    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                    let within = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
                    let message = format!("unknown field `{}`{within}{}", key.text, hint(&key.text, &known));
                    self.problems.push(Problem { line: key.line, column: key.column, message });
                }
                (None, Some(other)) if other.is_object() => self.node(other, value, &inner),
                _ => {}
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !items.iter().any(|(key, _)| key.text == name) {
                let doc = properties.get(name).and_then(|property| property["description"].as_str()).unwrap_or_default();
                let doc = doc.split_inclusive(['.', ':']).next().unwrap_or_default().trim_end_matches(['.', ':']);
                let meaning = if doc.is_empty() { String::new() } else { format!(" ({doc})") };
                self.problem(place, format!("{} lacks the field `{name}`{meaning}", shown(path)));
            }
        }
    }

    fn one_of(&mut self, allowed: &[&str], node: &Node, path: &str) {
        if let NodeKind::Text(text) = &node.kind
            && !allowed.contains(&text.as_str())
        {
            self.problem(node, format!("{} is `{text}`{}", shown(path), hint(text, allowed)));
        }
    }

    fn choice(&mut self, variants: &[&Value], node: &mut Node, path: &str) {
        if let [only] = variants {
            if !matches!(node.kind, NodeKind::Null) {
                self.node(only, node, path);
            }
            return;
        }
        if let (Some(tag), NodeKind::Map(_) | NodeKind::Null) = (tag_of(variants), &node.kind) {
            return self.tagged(variants, tag, node, path);
        }
        let names: Vec<&str> = variants.iter().flat_map(|variant| names_of(variant)).collect();
        let chosen = match &node.kind {
            NodeKind::Text(text) if !names.is_empty() => Some(text.as_str()),
            NodeKind::Map(items) if !names.is_empty() => items.first().map(|(key, _)| key.text.as_str()),
            _ => None,
        };
        if let Some(chosen) = chosen {
            return match variants.iter().find(|variant| names_of(variant).contains(&chosen)) {
                Some(variant) => self.node(variant, node, path),
                None => {
                    let message = format!("{} is `{chosen}`{}", shown(path), hint(chosen, &names));
                    self.problem(node, message);
                }
            };
        }
        // Without a name to go by: whatever fits.
        for variant in variants {
            let mut attempt = Checker { defs: self.defs, text: self.text, problems: Vec::new() };
            let mut copy = node.clone();
            attempt.node(variant, &mut copy, path);
            if attempt.problems.is_empty() {
                *node = copy;
                return;
            }
        }
        let expected: Vec<String> = variants.iter().filter_map(|variant| kinds(variant).map(|kinds| wanted(variant, &kinds))).collect();
        let expected = if names.is_empty() { expected.join(" or ") } else { format!("one of: {}", names.join(", ")) };
        self.problem(node, format!("{} is {}: expected {expected}", shown(path), node.kind.name()));
    }

    fn tagged(&mut self, variants: &[&Value], tag: &str, node: &mut Node, path: &str) {
        let known: Vec<&str> = variants.iter().flat_map(|variant| texts(&variant["properties"][tag])).collect();
        let Some(NodeKind::Text(kind)) = node.child(tag).map(|child| &child.kind) else {
            return self.problem(node, format!("{} lacks the field `{tag}`: expected one of: {}", shown(path), known.join(", ")));
        };
        match variants.iter().find(|variant| texts(&variant["properties"][tag]).contains(&kind.as_str())) {
            Some(variant) => self.node(variant, node, path),
            None => {
                let place = node.child(tag).unwrap_or(node);
                let problem = Problem::at(place, format!("`{path}.{tag}` is `{kind}`{}", hint(kind, &known)));
                self.problems.push(problem);
            }
        }
    }
}

/// What names a variant: its text, or the single field it is wrapped in.
fn names_of(variant: &Value) -> Vec<&str> {
    let wrapped = variant["required"].as_array().filter(|required| required.len() == 1 && variant["properties"].is_object());
    match wrapped {
        Some(required) => required.iter().filter_map(Value::as_str).collect(),
        None => texts(variant),
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { "the file".into() } else { format!("`{path}`") }
}

/// The kinds that a schema allows.
pub(super) fn kinds(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(kind) => Some(vec![kind]),
        Value::Array(kinds) => Some(kinds.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn fits(kinds: &[&str], node: &NodeKind) -> bool {
    let any = |names: &[&str]| names.iter().any(|name| kinds.contains(name));
    match node {
        NodeKind::Null => any(&["null"]),
        NodeKind::Bool(_) => any(&["boolean"]),
        NodeKind::Int(_) | NodeKind::Big(_) => any(&["integer", "number"]),
        NodeKind::Float(_) => any(&["number"]),
        NodeKind::Text(_) => any(&["string"]),
        NodeKind::List(_) => any(&["array"]),
        NodeKind::Map(_) => any(&["object"]),
    }
}

fn wanted(schema: &Value, kinds: &[&str]) -> String {
    if schema["format"] == "duration" {
        return "a duration such as `90s` or `5m`".into();
    }
    let names = kinds.iter().filter(|kind| **kind != "null").map(|kind| match *kind {
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "array" => "a list",
        "object" => "a map",
        other => other,
    });
    names.collect::<Vec<_>>().join(" or ")
}

/// The nearest name, or all of them.
fn hint(given: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (distance(given, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= given.chars().count().max(3) / 3 => format!(", did you mean `{name}`?"),
        _ if known.is_empty() => String::new(),
        _ => format!(", expected one of: {}", known.join(", ")),
    }
}

/// Levenshtein's distance over characters, with neighbours swapped counted once; case does not count.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().take(64).collect();
    let right: Vec<char> = right.to_lowercase().chars().take(64).collect();
    let mut rows = vec![vec![0usize; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}
