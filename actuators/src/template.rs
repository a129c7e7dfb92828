//! Texts with places: `{name}` is replaced, `{{` and `}}` are braces.
//!
//! Deliberately absent: expressions, conditions, nesting. What is put in is never read again as a template, so a value cannot add
//! places. An editor breaks this by replacing names one after another in one string.

use homeostat_model::Arg;
use std::collections::BTreeMap;

/// Values by place name.
pub type Values = BTreeMap<String, Arg>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(String),
}

/// A parsed text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a text; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    plain.push(c);
                }
                '{' => {
                    let mut closed = false;
                    let inside = |c: &char| {
                        closed = *c == '}';
                        !closed
                    };
                    let name: String = chars.by_ref().take_while(inside).collect();
                    if !closed || !is_name(&name) {
                        return Err(format!("`{{{name}` is not a place: expected `{{name}}` (write `{{{{` for a brace) in `{text}`"));
                    }
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Place(name));
                }
                '}' => return Err(format!("a lone `}}` (write `}}}}` for a brace) in `{text}`")),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The places' names, in order, repeated if they repeat.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Place(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The place's name if the text is one place and nothing else.
    pub fn sole(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Place(name)] => Some(name),
            _ => None,
        }
    }

    /// The place's name if the text begins with one.
    pub fn leading(&self) -> Option<&str> {
        match self.0.first() {
            Some(Piece::Place(name)) => Some(name),
            _ => None,
        }
    }

    /// Puts the values in, each through `encode`. A name without a value (validation rules it out) becomes empty.
    pub fn render(&self, values: &Values, encode: impl Fn(&str) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Place(name) => values.get(name).map(|value| encode(&value.to_string())).unwrap_or_default(),
        });
        pieces.collect()
    }

    /// Puts the values in as they are.
    pub fn plain(&self, values: &Values) -> String {
        self.render(values, str::to_owned)
    }
}

/// Whether a text can name a place or an argument: a letter, then letters, digits and `_`.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text can be a verb's own part: as a name, with `-` allowed inside.
pub fn is_verb_part(text: &str) -> bool {
    is_name(&text.replace('-', "_")) && text.len() <= 64
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 §2.3.
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A JSON value whose texts are templates. A text that is one place and nothing else becomes the value in its own kind (a number
/// stays a number); keys are taken as they are.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// null, a boolean or a number, as it is.
    Fixed(serde_json::Value),
    /// A text with places.
    Text(Template),
    /// A list.
    List(Vec<JsonTemplate>),
    /// A map.
    Map(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// Reads all texts in the value.
    pub fn parse(value: &serde_json::Value) -> Result<JsonTemplate, String> {
        use serde_json::Value;
        Ok(match value {
            Value::String(text) => JsonTemplate::Text(Template::parse(text)?),
            Value::Array(items) => JsonTemplate::List(items.iter().map(JsonTemplate::parse).collect::<Result<_, _>>()?),
            Value::Object(items) => JsonTemplate::Map(
                items.iter().map(|(key, item)| Ok((key.clone(), JsonTemplate::parse(item)?))).collect::<Result<_, String>>()?,
            ),
            fixed => JsonTemplate::Fixed(fixed.clone()),
        })
    }

    /// All places' names.
    pub fn names(&self) -> Vec<&str> {
        match self {
            JsonTemplate::Fixed(_) => Vec::new(),
            JsonTemplate::Text(text) => text.names().collect(),
            JsonTemplate::List(items) => items.iter().flat_map(JsonTemplate::names).collect(),
            JsonTemplate::Map(items) => items.iter().flat_map(|(_, item)| item.names()).collect(),
        }
    }

    /// Puts the values in.
    pub fn render(&self, values: &Values) -> serde_json::Value {
        use serde_json::Value;
        match self {
            JsonTemplate::Fixed(value) => value.clone(),
            JsonTemplate::Text(text) => match text.sole().and_then(|name| values.get(name)) {
                Some(value) => serde_json::to_value(value).unwrap_or(Value::Null),
                None => Value::String(text.plain(values)),
            },
            JsonTemplate::List(items) => items.iter().map(|item| item.render(values)).collect(),
            JsonTemplate::Map(items) => Value::Object(items.iter().map(|(key, item)| (key.clone(), item.render(values))).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values() -> Values {
        [("a", Arg::from("{b} \"x\"")), ("b", Arg::Int(3)), ("on", Arg::Bool(true))].map(|(n, v)| (n.to_owned(), v)).into()
    }

    #[test]
    fn values_cannot_add_places() {
        assert_eq!(Template::parse("<{a}|{b}> {{b}}").unwrap().plain(&values()), "<{b} \"x\"|3> {b}");
    }

    #[test]
    fn wrong_templates_are_refused() {
        for text in ["{", "{a", "}", "a } b", "{}", "{a b}", "{-a}", "{a{b}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_keeps_kinds_and_quotes() {
        let template = JsonTemplate::parse(&json!({"n": "{b}", "s": "b={b}", "l": ["{on}", null, 1.5], "t": "{a}"})).unwrap();
        assert_eq!(template.render(&values()), json!({"n": 3, "s": "b=3", "l": [true, null, 1.5], "t": "{b} \"x\""}));
        assert_eq!(template.names().len(), 4);
    }

    #[test]
    fn percent_encoding_leaves_only_unreserved_characters() {
        assert_eq!(percent_encoded("a/../?&#%ä-_.~"), "a%2F..%2F%3F%26%23%25%C3%A4-_.~");
    }
}
