//! A reference to a secret. It is resolved where it is used and never shown: neither `Debug` nor `Serialize` prints a literal.
//!
//! Deliberately absent: reading environment, files or a vault (the engine has no IO). The caller passes the first two readers, so a
//! rotated file is seen at the next use; who holds a vault gives its reader once, for all ([`read_vault_with`]).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Where a secret comes from: `${env:NAME}`, `${file:/path}`, `${vault:mount/path#key}`, or the text itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable.
    Env(String),
    /// A file; one trailing line break is dropped.
    File(String),
    /// A key of a secret in Vault or OpenBao (KV version 2).
    Vault(VaultRef),
    /// The text itself, as written in the configuration.
    Literal(String),
}

/// `${vault:mount/path#key}`: the mount is the first part, the path all between it and the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultRef {
    /// Where the KV engine is mounted, such as `secret`.
    pub mount: String,
    /// The secret's path there, such as `homeostat/telegram`.
    pub path: String,
    /// The key in it.
    pub key: String,
}

impl VaultRef {
    fn parse(text: &str) -> Option<VaultRef> {
        let (place, key) = text.split_once('#')?;
        let (mount, path) = place.split_once('/')?;
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.chars().any(|c| c.is_control() || c == '#');
        let whole = !odd(mount) && !path.split('/').any(odd) && !odd(key);
        whole.then(|| VaultRef { mount: mount.into(), path: path.into(), key: key.into() })
    }
}

impl fmt::Display for VaultRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{vault:{}/{}#{}}}", self.mount, self.path, self.key)
    }
}

/// Reads one key; the error names the reference, never a value.
type VaultReader = Arc<dyn Fn(&VaultRef) -> Result<String, String> + Send + Sync>;

/// Whoever resolves a secret has no handle of the vault; so there is one reader for the process.
static VAULT: RwLock<Option<VaultReader>> = RwLock::new(None);

/// Gives the reader for `${vault:…}`; a later one replaces it. It is called where a secret is used and may block shortly.
pub fn read_vault_with(reader: impl Fn(&VaultRef) -> Result<String, String> + Send + Sync + 'static) {
    *VAULT.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(reader));
}

impl Secret {
    /// Reads `${env:X}`, `${file:/path}`, `${vault:mount/path#key}` or a literal.
    pub fn parse(text: &str) -> Result<Secret, String> {
        let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return if text.contains("${") {
                Err(format!(
                    "`{}` mixes text and a reference: a secret is either `${{env:NAME}}`, `${{file:/path}}`, `${{vault:mount/path#key}}` or plain text",
                    shown(text)
                ))
            } else {
                Ok(Secret::Literal(text.into()))
            };
        };
        let wrong = || {
            let known = "expected `${env:NAME}`, `${file:/absolute/path}` or `${vault:mount/path#key}`";
            format!("`${{{}}}` is not a secret reference: {known}", shown(inner))
        };
        match inner.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Secret::Env(name.into())),
            Some(("file", path)) if path.starts_with('/') => Ok(Secret::File(path.into())),
            Some(("vault", place)) => VaultRef::parse(place).map(Secret::Vault).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }

    /// The secret's text. `env` and `read` are the caller's: `|n| std::env::var(n).ok()` and `|p| std::fs::read_to_string(p)`.
    /// The error names the reference, never a value.
    pub fn resolve(&self, env: impl Fn(&str) -> Option<String>, read: impl Fn(&str) -> std::io::Result<String>) -> Result<String, String> {
        match self {
            Secret::Literal(text) => Ok(text.clone()),
            Secret::Env(name) => env(name).ok_or_else(|| format!("the environment variable `{name}` is not set")),
            Secret::Vault(reference) => {
                let reader = VAULT.read().unwrap_or_else(PoisonError::into_inner).clone();
                reader.ok_or_else(|| format!("{reference} cannot be read: no vault is configured"))?(reference)
            }
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
            Secret::Vault(reference) => fmt::Display::fmt(reference, f),
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
        for bad in
            ["${env:}", "${file:rel}", "${vault:x}", "a${env:B}", "${vault:m/p}", "${vault:m#k}", "${vault:m/../p#k}", "${vault:m/p#}"]
        {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_vault_is_asked_by_mount_path_and_key() {
        let none = |_: &str| None;
        let refuse = |_: &str| Err(std::io::Error::other("no"));
        let secret = Secret::parse("${vault:secret/homeostat/telegram#token}").unwrap();
        let Secret::Vault(reference) = &secret else { panic!() };
        assert_eq!((&*reference.mount, &*reference.path, &*reference.key), ("secret", "homeostat/telegram", "token"));
        assert_eq!(secret.to_string(), "${vault:secret/homeostat/telegram#token}");
        assert!(secret.resolve(none, refuse).unwrap_err().contains("no vault is configured"));
        read_vault_with(|reference| Ok(format!("{}!", reference.key)));
        assert_eq!(secret.resolve(none, refuse).unwrap(), "token!");
    }
}
