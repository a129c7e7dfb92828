//! What leaves the house is told without names: hosts, people, addresses, mail, tokens become `host-1`, `ip-3`, `token-2`; the answer's
//! placeholders become the originals again. The map stays here and dies with its [`Redactor`].
//!
//! Works on the strings of a JSON document, keys and values; numbers, booleans and the form of the document stay. A string is looked at
//! as it is written and as it reads once zero-width characters are gone and `%41`, `\u0041`, `&#65;` are decoded (up to three times
//! over). What was found is cut out as it was written, so [`Redactor::restore`] gives exactly that back. One thing in several spellings
//! is `host-1`, `host-1v2`, …; a text that looks like a placeholder is itself replaced, so no placeholder is ever not ours.
//!
//! Deliberately absent: secrets' texts (nobody here knows them: a secret is found by its shape, by its key, or by `password=` before
//! it), numbers as secrets, composed against decomposed letters, words of a passphrase after the first blank. An editor breaks this by
//! giving a kind a name that ends in another's, by keeping a character after a placeholder that could belong to it, by handing out a
//! found text where the map is full, or by showing the map.

mod find;
#[cfg(test)]
mod tests;
mod view;

use find::{Finder, Kind, Span, is_secret_word};
use homeostat_model::{Answer, Question};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;

/// How many different texts one [`Redactor`] can give back.
pub const ORIGINALS_MAX: usize = 20_000;
/// How many bytes these may have together.
pub const ORIGINAL_BYTES_MAX: usize = 4 << 20;
/// A longer document is not told at all.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// Stands where something was found after the map was full: gone for good.
pub const HIDDEN: &str = "hidden";

/// What must not leave, besides what is found by its shape. Case, escapes and zero-width characters between do not matter; a blank
/// in a name also stands for `_`, `-`, `+` and `.`. Names of six characters and more are found inside words too, shorter ones where a word, a
/// number or a capital ends.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Nodes, machines, services, namespaces: `host-1`.
    pub hosts: Vec<String>,
    /// People and teams: `person-1`.
    pub people: Vec<String>,
    /// Configured addresses as they are written, of whatever sort: `place-1`.
    pub addresses: Vec<String>,
    /// Domains; what stands under one goes with it: `domain-1`.
    pub domains: Vec<String>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Known { hosts, people, addresses, domains } = self;
        write!(f, "Known({} hosts, {} people, {} addresses, {} domains)", hosts.len(), people.len(), addresses.len(), domains.len())
    }
}

/// Replaces and gives back. Numbers count per kind in the order of first occurrence, so the same texts in the same order give the same
/// placeholders.
pub struct Redactor {
    finder: Finder,
    placeholders: HashMap<String, String>,
    originals: HashMap<String, String>,
    numbers: HashMap<(Kind, String), (usize, usize)>,
    counts: HashMap<Kind, usize>,
    bytes: usize,
    hidden: u64,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} originals, {} hidden)", self.originals.len(), self.hidden)
    }
}

impl Redactor {
    /// An empty map. Empty names are left out.
    pub fn new(known: &Known) -> Redactor {
        let lists =
            [(Kind::Host, &known.hosts), (Kind::Person, &known.people), (Kind::Place, &known.addresses), (Kind::Domain, &known.domains)];
        let names = lists.into_iter().flat_map(|(kind, list)| list.iter().map(move |name| (kind, name.as_str())));
        Redactor {
            finder: Finder::new(names),
            placeholders: HashMap::new(),
            originals: HashMap::new(),
            numbers: HashMap::new(),
            counts: HashMap::new(),
            bytes: 0,
            hidden: 0,
        }
    }

    /// The document without names. What is no JSON is taken as one text and stays one; what is longer than [`DOCUMENT_BYTES_MAX`] is
    /// not told: a JSON string says so.
    pub fn redact(&mut self, document: &str) -> String {
        if document.len() > DOCUMENT_BYTES_MAX {
            self.hidden += 1;
            return format!("\"left out: {} bytes, at most {DOCUMENT_BYTES_MAX} are looked through\"", document.len());
        }
        match serde_json::from_str(document) {
            Ok(value) => self.redact_value(value, false).to_string(),
            Err(_) => self.redact_text(document),
        }
    }

    /// The document with the originals in place of the placeholders, whatever their case. Placeholders that were never given stay.
    pub fn restore(&self, document: &str) -> String {
        match serde_json::from_str(document) {
            Ok(value) => self.restore_value(value).to_string(),
            Err(_) => self.restore_text(document),
        }
    }

    /// The form of a question for clouds: its input, and in its schema the choices and descriptions. What the model is told to do and
    /// the names of properties are ours and stay.
    pub fn question(&mut self, question: &Question) -> Question {
        let schema = match serde_json::from_str(&question.schema) {
            Ok(schema) => self.redact_schema(schema).to_string(),
            Err(_) => self.redact_text(&question.schema),
        };
        Question { input: self.redact(&question.input), schema, ..question.clone() }
    }

    /// An answer from a cloud in the house's own names.
    #[must_use]
    pub fn answer(&self, answer: Answer) -> Answer {
        let citations = answer.citations.iter().map(|citation| self.restore_text(citation)).collect();
        Answer { json: self.restore(&answer.json), citations, ..answer }
    }

    /// How often something was found that cannot be given back, because the map was full or the document too long.
    pub fn hidden(&self) -> u64 {
        self.hidden
    }

    fn redact_value(&mut self, value: Value, secret: bool) -> Value {
        match value {
            Value::String(text) if secret => Value::String(self.redact_whole(&text)),
            Value::String(text) => Value::String(self.redact_text(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.redact_value(item, secret)).collect()),
            Value::Object(map) => {
                let named = names_a_secret(&map);
                let mut told = Map::new();
                for (key, value) in map {
                    let inner = secret || is_secret_word(&key) || (named && key.eq_ignore_ascii_case("value"));
                    told.insert(self.redact_text(&key), self.redact_value(value, inner));
                }
                Value::Object(told)
            }
            other => other,
        }
    }

    fn redact_schema(&mut self, value: Value) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.redact_schema(item)).collect()),
            Value::Object(map) => {
                let mut told = Map::new();
                for (key, value) in map {
                    let free = match &value {
                        Value::Array(_) => key == "enum",
                        Value::String(_) => matches!(key.as_str(), "description" | "title" | "const"),
                        _ => false,
                    };
                    let value = if free { self.redact_value(value, false) } else { self.redact_schema(value) };
                    told.insert(key, value);
                }
                Value::Object(told)
            }
            other => other,
        }
    }

    fn redact_text(&mut self, text: &str) -> String {
        let mut told = String::with_capacity(text.len());
        let mut done = 0;
        for Span { start, end, kind } in self.finder.find(text) {
            told.push_str(&text[done..start]);
            told.push_str(&self.placeholder(kind, &text[start..end]));
            done = end;
        }
        told.push_str(&text[done..]);
        told
    }

    fn redact_whole(&mut self, text: &str) -> String {
        if text.is_empty() { String::new() } else { self.placeholder(Kind::Token, text) }
    }

    fn placeholder(&mut self, kind: Kind, original: &str) -> String {
        if let Some(placeholder) = self.placeholders.get(original) {
            return placeholder.clone();
        }
        if self.originals.len() >= ORIGINALS_MAX || self.bytes + original.len() > ORIGINAL_BYTES_MAX {
            self.hidden += 1;
            return HIDDEN.to_owned();
        }
        let count = self.counts.entry(kind).or_default();
        let (number, spellings) = self.numbers.entry((kind, view::reads_as(original))).or_insert_with(|| {
            *count += 1;
            (*count, 0)
        });
        *spellings += 1;
        let name = kind.name();
        let placeholder = if *spellings == 1 { format!("{name}-{number}") } else { format!("{name}-{number}v{spellings}") };
        self.bytes += original.len();
        self.placeholders.insert(original.to_owned(), placeholder.clone());
        self.originals.insert(placeholder.clone(), original.to_owned());
        placeholder
    }

    fn restore_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.restore_text(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.restore_value(item)).collect()),
            Value::Object(map) => {
                Value::Object(map.into_iter().map(|(key, value)| (self.restore_text(&key), self.restore_value(value))).collect())
            }
            other => other,
        }
    }

    fn restore_text(&self, text: &str) -> String {
        let original = |found: &regex::Captures<'_>| {
            let placeholder = &found[0];
            self.originals.get(&placeholder.to_ascii_lowercase()).map_or_else(|| placeholder.to_owned(), Clone::clone)
        };
        find::PLACEHOLDER.replace_all(text, original).into_owned()
    }
}

/// Whether an object is of the sort `{"name": "DB_PASSWORD", "value": …}`.
fn names_a_secret(map: &Map<String, Value>) -> bool {
    const NAMES: [&str; 3] = ["name", "key", "field"];
    map.iter().any(|(key, value)| {
        NAMES.iter().any(|name| key.eq_ignore_ascii_case(name))
            && value.as_str().is_some_and(|text| text.len() < 200 && is_secret_word(text))
    })
}
