//! Arguments of an action: a small closed value type, ordered and comparable, so that a plan can be hashed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One argument's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arg {
    /// true or false
    Bool(bool),
    /// a whole number
    Int(i64),
    /// a number; never infinite or NaN (lint refuses those)
    Float(f64),
    /// text
    Text(String),
    /// a list
    List(Vec<Arg>),
    /// a map
    Map(BTreeMap<String, Arg>),
}

/// Arguments by name.
pub type Args = BTreeMap<String, Arg>;

impl Arg {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Arg::Text(text) => Some(text),
            _ => None,
        }
    }
    /// The kind's name, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Arg::Bool(_) => "bool",
            Arg::Int(_) => "int",
            Arg::Float(_) => "float",
            Arg::Text(_) => "text",
            Arg::List(_) => "list",
            Arg::Map(_) => "map",
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Bool(value) => write!(f, "{value}"),
            Arg::Int(value) => write!(f, "{value}"),
            Arg::Float(value) => write!(f, "{value}"),
            Arg::Text(value) => f.write_str(value),
            Arg::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Arg::Map(items) => {
                f.write_str("{")?;
                for (i, (name, item)) in items.iter().enumerate() {
                    write!(f, "{}{name}: {item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Arg {
        Arg::Text(text.into())
    }
}

/// Whether a character shows nothing and changes how what stands around it is shown or taken: controls, and the marks that turn the
/// direction of writing (Unicode TR 9: U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069). What others wrote may hold them.
pub fn is_unshown(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
