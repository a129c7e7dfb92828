//! A reference to a secret. It is resolved where it is used and never shown: neither `Debug` nor `Serialize` prints a literal.
//!
//! Deliberately absent: reading environment or files (the engine has no IO). The caller passes both readers, so a rotated file is
//! seen at the next use.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Where a secret comes from: `${env:NAME}`, `${file:/path}`, or the text itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable.
    Env(String),
    /// A file; one trailing line break is dropped.
    File(String),
    /// The text itself, as written in the configuration.
    Literal(String),
}

impl Secret {
    /// Reads `${env:X}`, `${file:/path}` or a literal.
    pub fn parse(text: &str) -> Result<Secret, String> {
        let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return if text.contains("${") {
                Err(format!(
                    "`{}` mixes text and a reference: a secret is either `${{env:NAME}}`, `${{file:/path}}` or plain text",
                    shown(text)
                ))
            } else {
                Ok(Secret::Literal(text.into()))
            };
        };
        match inner.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Secret::Env(name.into())),
            Some(("file", path)) if path.starts_with('/') => Ok(Secret::File(path.into())),
            _ => Err(format!("`${{{}}}` is not a secret reference: expected `${{env:NAME}}` or `${{file:/absolute/path}}`", shown(inner))),
        }
    }

    /// The secret's text. `env` and `read` are the caller's: `|n| std::env::var(n).ok()` and `|p| std::fs::read_to_string(p)`.
    /// The error names the reference, never a value.
    pub fn resolve(&self, env: impl Fn(&str) -> Option<String>, read: impl Fn(&str) -> std::io::Result<String>) -> Result<String, String> {
        match self {
            Secret::Literal(text) => Ok(text.clone()),
            Secret::Env(name) => env(name).ok_or_else(|| format!("the environment variable `{name}` is not set")),
            Secret::File(path) => match read(path) {
                Ok(text) => Ok(text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).to_owned()),
                Err(error) => Err(format!("the secret file `{path}` cannot be read: {error}")),
            },
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(20).collect()
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env(name) => write!(f, "${{env:{name}}}"),
            Secret::File(path) => write!(f, "${{file:{path}}}"),
            Secret::Literal(_) => f.write_str("<secret>"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        Secret::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_never_printed() {
        let secret = Secret::parse("hunter2").unwrap();
        assert_eq!(format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap()), "<secret> <secret> \"<secret>\"");
    }

    #[test]
    fn references_are_read_and_resolved() {
        let none = |_: &str| None;
        let refuse = |_: &str| Err(std::io::Error::other("no"));
        assert_eq!(Secret::parse("${env:A}").unwrap().resolve(|n| Some(format!("{n}!")), refuse).unwrap(), "A!");
        assert_eq!(Secret::parse("${file:/x}").unwrap().resolve(none, |_| Ok("t\n".into())).unwrap(), "t");
        assert!(Secret::parse("${env:A}").unwrap().resolve(none, refuse).unwrap_err().contains("`A`"));
        for bad in ["${env:}", "${file:rel}", "${vault:x}", "a${env:B}"] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
    }
}
