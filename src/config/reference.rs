//! The JSON schema for editors, and `docs/config.md`, both made from the config structs' doc comments.
//!
//! Deliberately absent: any text about a single field; it stands at the field.

use super::Config;
use super::check::{kinds, resolve, tag_of, texts, variants};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// The JSON schema of `homeostat.yaml` (draft 2020-12).
pub fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

const HEAD: &str = "# Configuration: `homeostat.yaml`

<!-- Generated from the config structs by `config::reference`. Do not edit: change the doc comments, then run the tests with HOMEOSTAT_BLESS=1. -->

Everything is optional; without a file Homeostat reads its own host, writes notices to the log and runs the shipped policies.

* Durations are written `90s`, `5m`, `1h30m`, `7d`.
* A secret is `${env:NAME}`, `${file:/absolute/path}` or the text itself; references are resolved when the file is read.
* A duplicate key, an unknown field and `yes` for `true` are errors. Editors check the file as you type with the output of
  `homeostat config schema`.
* Hands-off is not configured here: it lives in the journal, so that no file can undo a person's stop.
";

/// The reference as Markdown.
pub fn reference() -> String {
    let schema = schema();
    let empty = Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut pages = Pages { defs, headings: BTreeMap::new(), queue: VecDeque::new() };
    let mut out = String::from(HEAD);
    pages.table(&mut out, &schema, "");
    while let Some((path, schema)) = pages.queue.pop_front() {
        pages.page(&mut out, &path, schema);
    }
    out
}

/// The pages that are still to be written.
struct Pages<'a> {
    defs: &'a Map<String, Value>,
    /// Definitions that have a page, and its path.
    headings: BTreeMap<&'a str, String>,
    queue: VecDeque<(String, &'a Value)>,
}

impl<'a> Pages<'a> {
    fn page(&mut self, out: &mut String, path: &str, schema: &'a Value) {
        let _ = writeln!(out, "\n## `{path}`\n");
        if let Some(text) = schema["description"].as_str() {
            let _ = writeln!(out, "{}", one_line(text));
        }
        let Some(variants) = variants(self.defs, schema) else { return self.table(out, schema, path) };
        let tag = tag_of(&variants);
        for variant in variants {
            let text = one_line(variant["description"].as_str().unwrap_or_default());
            match (tag, texts(variant).first()) {
                (Some(tag), _) => {
                    let name = texts(&variant["properties"][tag]).join(", ");
                    let _ = writeln!(out, "\n### `{tag}: {name}`\n\n{text}");
                    self.table(out, variant, path);
                }
                (None, Some(_)) => {
                    let _ = writeln!(out, "\n### `{}`\n\n{text}", texts(variant).join("`, `"));
                }
                (None, None) => {
                    for (name, inner) in variant["properties"].as_object().into_iter().flatten() {
                        let kind = self.kind(inner, &format!("{path}.{name}"));
                        let _ = writeln!(out, "\n### `{name}: …`\n\n{text} ({kind})");
                    }
                }
            }
        }
    }

    fn table(&mut self, out: &mut String, schema: &'a Value, path: &str) {
        let Some(properties) = schema["properties"].as_object() else { return };
        let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        out.push_str("\n| field | kind | default | meaning |\n|---|---|---|---|\n");
        for (name, property) in properties.iter().filter(|(_, property)| property.get("const").is_none()) {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let kind = self.kind(property, &inner);
            let default = match property.get("default") {
                _ if required.contains(&name.as_str()) => "**required**".into(),
                Some(Value::String(text)) => format!("`{text}`"),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => format!("`{value}`"),
                Some(value @ Value::Array(items)) if !items.is_empty() => format!("`{value}`"),
                _ => String::new(),
            };
            let meaning = one_line(property["description"].as_str().unwrap_or_default());
            let _ = writeln!(out, "| `{name}` | {kind} | {default} | {meaning} |");
        }
    }

    /// A schema in words; definitions with fields of their own get a page and a link.
    fn kind(&mut self, schema: &'a Value, path: &str) -> String {
        let target = resolve(self.defs, schema);
        if let Some(choices) = variants(self.defs, target) {
            let optional = choices.len() == 1;
            if let (true, Some(list)) = (optional, target.get("anyOf").or_else(|| target.get("oneOf")).and_then(Value::as_array)) {
                return list.iter().find(|choice| choice["type"] != "null").map_or(String::new(), |choice| self.kind(choice, path));
            }
            let plain = choices.iter().all(|choice| choice.get("properties").is_none());
            if plain && choices.iter().all(|choice| texts(choice).is_empty()) {
                return choices.iter().map(|choice| self.kind(choice, path)).collect::<Vec<_>>().join(" or ");
            }
            return self.link(schema, target, path);
        }
        let allowed = texts(target);
        if !allowed.is_empty() {
            return format!("`{}`", allowed.join("`, `"));
        }
        if target["properties"].is_object() {
            return self.link(schema, target, path);
        }
        let names = kinds(target).unwrap_or_default();
        let name = names.into_iter().find(|name| *name != "null").unwrap_or("any");
        match (name, target["format"].as_str()) {
            ("string", Some("duration")) => "duration".into(),
            ("string", Some("secret")) => "secret".into(),
            ("string", _) => "text".into(),
            ("integer", _) => "whole number".into(),
            ("boolean", _) => "`true`, `false`".into(),
            ("array", _) => format!("list of {}", target.get("items").map_or("any".into(), |items| self.kind(items, path))),
            ("object", _) => match target.get("additionalProperties").filter(|inner| inner.is_object()) {
                Some(inner) => format!("map of {}", self.kind(inner, &format!("{path}.<name>"))),
                None => "map".into(),
            },
            (other, _) => other.into(),
        }
    }

    fn link(&mut self, schema: &'a Value, target: &'a Value, path: &str) -> String {
        let name = schema["$ref"].as_str().unwrap_or(path);
        let known = self.headings.get(name).cloned();
        let heading = known.unwrap_or_else(|| {
            self.headings.insert(schema["$ref"].as_str().unwrap_or_default(), path.to_owned());
            self.queue.push_back((path.to_owned(), target));
            path.to_owned()
        });
        let anchor: String = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || "_- ".contains(*c)).collect();
        format!("[{heading}](#{anchor})").replace('<', "\\<")
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
