//! The manual of the functions that a policy may call: as a page (`docs/policy-api.md`), and as definitions for editors.
//!
//! Names and types of the definitions come from the registration itself, texts from the entries; tests hold the two together and
//! evaluate every example. An editor breaks this by documenting what is not registered, or the other way round.

mod entries;
#[cfg(test)]
mod tests;

use super::host::Host;
use crate::store::Store;
use homeostat_model::StoreSettings;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub use entries::ENTRIES;

/// One documented function, or a few that belong together.
#[derive(Copy, Clone, Debug, Serialize)]
pub struct ApiEntry {
    /// The chapter.
    pub section: &'static str,
    /// How it is called.
    pub call: &'static str,
    /// What it gives.
    pub doc: &'static str,
    /// In which unit, or what kind of value.
    pub unit: &'static str,
    /// Code over [`EXAMPLE_SERIES`], after [`EXAMPLE_NAMES`], and what it gives; evaluated by a test.
    pub examples: &'static [(&'static str, &'static str)],
}

/// What the examples look at: series, value an hour ago, change per minute, age of the newest sample in minutes.
pub const EXAMPLE_SERIES: &[(&str, f64, f64, u32)] = &[
    ("node_load1{node=\"brain\"}", 0.25, 0.0625, 0),
    ("node_load1{node=\"muscle\"}", 0.5, 0.0, 0),
    ("node_power_watts{node=\"brain\"}", 30.0, 0.0, 0),
    ("requests_total{node=\"brain\"}", 0.0, 60.0, 0),
    ("door_open{door=\"rack\"}", 1.0, 0.0, 20),
];

/// What goes before every example.
pub const EXAMPLE_NAMES: &str = "let s = series(\"node_load1{node='brain'}\"); let w = s.over(\"5m\"); let r = s.last();";

/// The reference page, generated.
pub fn reference() -> String {
    let mut page = String::from(
        "# Policy functions\n\n<!-- Generated from the registration (`engine/kernel/src/policy/manual/entries.rs`); do not edit. -->\n\n\
         A policy has `policy()`, which gives a map, and `evaluate(series)` or `on_alert(alert)` or both. `homeostat policy doc` prints\n\
         this page, `homeostat policy doc held` the functions whose name holds `held`, and `homeostat policy repl` tries them on live data.\n\n\
         ## The map of `policy()`\n\n| key | meaning |\n|---|---|\n",
    );
    for (key, meaning) in super::load::KEYS {
        let _ = writeln!(page, "| `{key}` | {meaning} |");
    }
    page += "\n## The examples\n\nA test evaluates each of them over these series, with one sample a minute:\n\n| series | an hour ago | change per minute | newest sample |\n|---|---|---|---|\n";
    for (series, start, step, age) in EXAMPLE_SERIES {
        let age = if *age == 0 { "now".to_owned() } else { format!("{age} minutes ago") };
        let _ = writeln!(page, "| `{series}` | {start} | {step} | {age} |");
    }
    let _ = write!(
        page,
        "\nafter `{EXAMPLE_NAMES}`\n\nand with the alert `DiskFull` of `nas:9100`, severity `critical`, as `alert`. Numbers, texts, arrays and maps have the\n\
         functions of Rhai itself besides (<https://rhai.rs/book/>).\n"
    );
    let mut section = "";
    for entry in ENTRIES {
        if entry.section != section {
            section = entry.section;
            let _ = write!(page, "\n## {section}\n\n| call | what it gives | unit or kind | examples |\n|---|---|---|---|\n");
        }
        let cell = |text: &str| text.replace('|', "\\|");
        let examples: Vec<String> = entry.examples.iter().map(|(code, result)| format!("`{}` → `{}`", cell(code), cell(result))).collect();
        let _ = writeln!(page, "| `{}` | {} | {} | {} |", cell(entry.call), cell(entry.doc), cell(entry.unit), examples.join("<br>"));
    }
    page
}

/// The entries whose call holds a text; in any case of letters.
pub fn entries_about(text: &str) -> Vec<&'static ApiEntry> {
    let wanted = text.to_lowercase();
    ENTRIES.iter().filter(|entry| entry.call.to_lowercase().contains(&wanted)).collect()
}

/// The nearest name of a function or field to one that is not there.
pub fn nearest_function(text: &str) -> Option<String> {
    let names: BTreeSet<String> = ENTRIES.iter().flat_map(|entry| names_in(&outermost(entry.call))).collect();
    super::diagnose::nearest(text, names.iter().map(String::as_str)).map(str::to_owned)
}

/// One entry as people read it in a terminal.
pub fn entry_text(entry: &ApiEntry) -> String {
    let mut text = format!("{}\n    {}\n    gives: {}\n", entry.call, entry.doc, entry.unit);
    for (code, result) in entry.examples {
        let _ = writeln!(text, "    {code}\n      → {result}");
    }
    text
}

/// What is called or asked in a text of code: names before `(`, and names after `.`. Texts in quotes are left out.
fn names_in(code: &str) -> Vec<String> {
    let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = Vec::new();
    let mut start = None;
    for (at, c) in code.char_indices().chain([(code.len(), ' ')]) {
        match (is_word(c), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                start = None;
                let name = &code[from..at];
                if name.starts_with(|c: char| c.is_ascii_lowercase()) && (c == '(' || code[..from].ends_with('.')) {
                    names.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
    names
}

/// The same without what stands in parentheses: what an entry is about.
fn outermost(call: &str) -> String {
    let mut depth = 0u32;
    let mut outer = String::new();
    for c in call.chars() {
        match c {
            '(' => {
                if depth == 0 {
                    outer.push_str("()");
                }
                depth += 1;
            }
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => outer.push(c),
            _ => {}
        }
    }
    outer
}

#[derive(Deserialize)]
struct Registered {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    params: Vec<Param>,
    #[serde(default, rename = "returnType")]
    return_type: String,
}

#[derive(Deserialize)]
struct Param {
    #[serde(default, rename = "type")]
    kind: String,
}

/// Every function that is registered for policies alone, without those of the language.
fn registered() -> Vec<Function> {
    let host = Host::new(Store::new(StoreSettings::default()));
    let text = host.engine().gen_fn_metadata_to_json(false).unwrap_or_default();
    let mut functions = serde_json::from_str::<Registered>(&text).map(|all| all.functions).unwrap_or_default();
    let key = |f: &Function| (f.name.clone(), f.params.iter().map(|p| type_name(&p.kind)).collect::<Vec<_>>());
    functions.sort_by_key(key);
    functions.dedup_by_key(|f| key(f));
    functions
}

/// A type as definitions write it.
fn type_name(kind: &str) -> String {
    let kind = kind.trim().trim_start_matches("&mut ").trim();
    let inner = match kind.split_once('<') {
        Some((outer, rest)) if outer.contains("Result") => rest.split(',').next().unwrap_or(rest).trim_end_matches('>'),
        _ => kind,
    };
    match inner.rsplit("::").next().unwrap_or(inner).trim() {
        "ImmutableString" | "&str" | "str" | "string" => "String".into(),
        "i64" | "INT" => "int".into(),
        "f64" | "FLOAT" => "float".into(),
        "Dynamic" | "" | "_" => "?".into(),
        // The registration knows some results by the names that they have in here.
        "Wish" => "Proposal".into(),
        "ClaimDraft" => "Claim".into(),
        "ActionText" => "Action".into(),
        "AlertHandle" => "Alert".into(),
        "SelectorText" => "Selector".into(),
        "AlertSelectorText" => "AlertSelector".into(),
        "array" => "Array".into(),
        "map" => "Map".into(),
        other => other.to_owned(),
    }
}

/// Names for parameters: the registration knows types only.
fn param_names(function: &str, kinds: &[String]) -> Vec<&'static str> {
    let rest: &[&str] = match function {
        "series" | "all" | "peer" | "alerts" => &["selector"],
        "over" | "absent_for" | "within" | "held" | "cooldown" => &["span"],
        "held_below" | "held_above" => &["level", "span"],
        "above" | "below" | "seconds_until" => &["level"],
        "quantile" => &["q"],
        "label" | "annotation" | "value" | "param" => &["name"],
        "notify" => &["title", "text"],
        "wake" => &["node"],
        "exec" | "http" => &["name", "args"],
        "act" => &["verb", "target", "args"],
        "on" => &["target"],
        "or_rather" => &["other"],
        "propose" => &["action"],
        "because" => &["reason"],
        "claim" => &["claim"],
        "minutes" | "hours" | "days" | "percent" | "bytes" | "duration" => &["amount"],
        _ => &["other", "third"],
    };
    let is_method =
        matches!(kinds.first().map(String::as_str), Some("Series" | "Window" | "Reading" | "Alert" | "Claim" | "Action" | "Proposal"));
    let is_free = matches!(function, "propose" | "percent" | "bytes" | "duration");
    if is_method && !is_free {
        let subject = match kinds[0].as_str() {
            "Series" => "series",
            "Window" => "window",
            "Reading" => "reading",
            "Alert" => "alert",
            "Claim" => "subject",
            "Action" => "action",
            _ => "wish",
        };
        std::iter::once(subject).chain(rest.iter().copied()).take(kinds.len()).collect()
    } else {
        rest.iter().copied().take(kinds.len()).collect()
    }
}

/// Definitions for editors that know Rhai's `.d.rhai` files: every function, with its types and what it gives.
pub fn definitions() -> String {
    let mut docs: BTreeMap<String, &ApiEntry> = BTreeMap::new();
    for entry in ENTRIES {
        for name in names_in(&outermost(entry.call)) {
            docs.entry(name).or_insert(entry);
        }
    }
    let mut text = String::from(
        "// Generated by `homeostat policy doc --definitions`: what a policy may call beside Rhai's own functions.\nmodule static;\n",
    );
    for function in registered() {
        let kinds: Vec<String> = function.params.iter().map(|param| type_name(&param.kind)).collect();
        let gives = type_name(&function.return_type);
        let is_word = function.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if function.name.contains('$') {
            continue;
        }
        if !is_word {
            let _ = write!(text, "\nop {}({}) -> {gives};\n", function.name, kinds.join(", "));
            continue;
        }
        text.push('\n');
        if let Some(entry) = docs.get(&function.name) {
            let _ = writeln!(text, "/// {}\n///\n/// Gives: {}. `{}`", entry.doc, entry.unit, entry.call);
            for (code, result) in entry.examples {
                let _ = writeln!(text, "/// `{code}` → `{result}`");
            }
        }
        let names = param_names(&function.name, &kinds);
        let params: Vec<String> = names.iter().zip(&kinds).map(|(name, kind)| format!("{name}: {kind}")).collect();
        let _ = writeln!(text, "fn {}({}) -> {gives};", function.name, params.join(", "));
    }
    text
}
