//! YAML as a tree in which every value and every key knows its place.
//!
//! Duplicate keys, `yes` as a boolean, bombs and deep nests are refused by the parser's options. Deliberately absent: meaning.

use super::problem::Problem;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) column: u64,
    /// The bytes in the text, for scalars that were written without quotes.
    span: Option<(usize, usize)>,
    pub(super) kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Null,
    Bool(bool),
    Int(i64),
    /// Above `i64`.
    Big(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Keys with their own places, in the file's order.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl NodeKind {
    /// For messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            NodeKind::Null => "nothing",
            NodeKind::Bool(_) => "true or false",
            NodeKind::Int(_) | NodeKind::Big(_) => "a whole number",
            NodeKind::Float(_) => "a number",
            NodeKind::Text(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    if text.trim().is_empty() {
        return Ok(Node { line: 1, column: 1, span: None, kind: NodeKind::Null });
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        budget: serde_saphyr::budget! { max_nodes: 50_000, max_depth: 32, max_aliases: 1_000, max_anchors: 1_000, max_documents: 1 },
    };
    serde_saphyr::from_str_with_options::<Node>(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        let words = error.to_string();
        // The place is shown once, by us.
        let message = words.split_once(": ").filter(|(place, _)| place.starts_with("line ")).map_or(words.as_str(), |(_, rest)| rest);
        let message = message.split_once(" at line ").map_or(message, |(message, _)| message);
        Problem { line, column, message: message.trim().to_owned() }
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<NodeKind>::deserialize(deserializer)?;
        let place = spanned.referenced;
        let span = place.span();
        let bytes = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok());
        Ok(Node {
            line: place.line(),
            column: place.column(),
            span: bytes(span.byte_offset()).zip(bytes(span.byte_len())),
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for NodeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NodeKind, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = NodeKind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<NodeKind, E> {
                Ok(NodeKind::Null)
            }
            fn visit_none<E>(self) -> Result<NodeKind, E> {
                Ok(NodeKind::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<NodeKind, E> {
                Ok(NodeKind::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<NodeKind, E> {
                Ok(NodeKind::Int(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<NodeKind, E> {
                Ok(i64::try_from(value).map_or(NodeKind::Big(value), NodeKind::Int))
            }
            fn visit_f64<E>(self, value: f64) -> Result<NodeKind, E> {
                Ok(NodeKind::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<NodeKind, E> {
                Ok(NodeKind::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<NodeKind, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element::<Node>()? {
                    list.push(item);
                }
                Ok(NodeKind::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<NodeKind, A::Error> {
                let mut map = Vec::new();
                while let Some(key) = items.next_key::<Spanned<String>>()? {
                    let place = key.referenced;
                    let key = Key { text: key.value, line: place.line(), column: place.column() };
                    map.push((key, items.next_value::<Node>()?));
                }
                Ok(NodeKind::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Node {
    /// A field of a map.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        match &self.kind {
            NodeKind::Map(items) => items.iter().find(|(key, _)| key.text == name).map(|(_, node)| node),
            _ => None,
        }
    }

    pub(super) fn find_exact(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    /// The node at a path, or the last one on the way that exists.
    pub(super) fn find(&self, path: &[&str]) -> &Node {
        let mut node = self;
        for name in path {
            match node.child(name) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// The place alone.
    pub(super) fn place(&self) -> Node {
        Node { line: self.line, column: self.column, span: None, kind: NodeKind::Null }
    }

    /// The scalar as it was written, for places where text was expected and `12` was given.
    pub(super) fn written<'a>(&self, text: &'a str) -> Option<&'a str> {
        let (start, len) = self.span?;
        text.get(start..start + len).map(str::trim).filter(|written| !written.is_empty() && !written.contains('\n'))
    }

    /// Calls for every text below.
    pub(super) fn each_text<'a>(&'a self, each: &mut dyn FnMut(&'a Node, &'a str)) {
        match &self.kind {
            NodeKind::Text(text) => each(self, text),
            NodeKind::List(items) => items.iter().for_each(|item| item.each_text(each)),
            NodeKind::Map(items) => items.iter().for_each(|(_, item)| item.each_text(each)),
            _ => {}
        }
    }

    /// Literal texts below names that tell of credentials, longest first, so that no message shows them. References are no secrets.
    pub(super) fn credentials(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_credentials(false, false, &mut found);
        found.sort_by_key(|text| std::cmp::Reverse(text.len()));
        found
    }

    fn collect_credentials(&self, telling: bool, channels: bool, found: &mut Vec<String>) {
        const TELLING: [&str; 10] =
            ["token", "password", "secret", "bearer", "authorization", "header", "hmac", "secure_on", "topic", "env"];
        const CREDENTIAL_CHARS_MIN: usize = 3;
        match &self.kind {
            NodeKind::Text(text) if telling && text.chars().count() >= CREDENTIAL_CHARS_MIN && !text.starts_with("${") => {
                found.push(text.clone());
            }
            NodeKind::List(items) => items.iter().for_each(|item| item.collect_credentials(telling, channels, found)),
            NodeKind::Map(items) => {
                for (key, item) in items {
                    // The address of a chat service's webhook is its password.
                    let named =
                        TELLING.iter().any(|word| key.text.to_lowercase().contains(word)) || (channels && key.text.ends_with("url"));
                    item.collect_credentials(telling || named, channels || key.text == "channels", found);
                }
            }
            _ => {}
        }
    }

    /// The value below that a message quotes, so that the caret stands at the value and not at its section.
    pub(super) fn blamed(&self, message: &str) -> &Node {
        let mut found = None;
        self.each_text(&mut |node, text| {
            let quoted = message.contains(&format!("`{text}`")) || message.contains(&format!("{text:?}"));
            if !text.is_empty() && quoted && found.is_none() {
                found = Some(node);
            }
        });
        found.unwrap_or(self)
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            NodeKind::Null => Value::Null,
            NodeKind::Bool(value) => Value::from(*value),
            NodeKind::Int(value) => Value::from(*value),
            NodeKind::Big(value) => Value::from(*value),
            NodeKind::Float(value) => Value::from(*value),
            NodeKind::Text(text) => Value::from(text.as_str()),
            NodeKind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            NodeKind::Map(items) => Value::Object(items.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect()),
        }
    }
}
