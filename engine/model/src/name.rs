//! Names of things: cheap to clone, ordered, serialized as their text.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes a name from its text.
            pub fn new(text: impl Into<Arc<str>>) -> $name {
                $name(text.into())
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> $name {
                $name(text.into())
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name_type!(
    /// A configured sensor, e.g. `host` or `prometheus-main`.
    SensorId
);
name_type!(
    /// A policy: the file's name without its ending, e.g. `disk-full`.
    PolicyId
);
name_type!(
    /// A configured actuator, e.g. `notify`.
    ActuatorId
);
name_type!(
    /// What an action does, as `actuator.verb`: `power.wake`, `exec.disk-cleanup`.
    Verb
);
name_type!(
    /// What an action is done to, as `kind/name`: `node/muscle`, `filesystem/nas:/`.
    Target
);

impl Verb {
    /// The actuator's part: `power` of `power.wake`.
    pub fn actuator(&self) -> &str {
        self.as_str().split_once('.').map_or(self.as_str(), |(actuator, _)| actuator)
    }
}

impl Target {
    /// The kind: `node` of `node/muscle`; empty if there is none.
    pub fn kind(&self) -> &str {
        self.as_str().split_once('/').map_or("", |(kind, _)| kind)
    }
    /// The name: `muscle` of `node/muscle`; the whole text if there is no kind.
    pub fn name(&self) -> &str {
        self.as_str().split_once('/').map_or(self.as_str(), |(_, name)| name)
    }
}

/// An action's number: a counter in the kernel, unique within one journal.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(pub u64);

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

impl std::str::FromStr for ActionId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<ActionId, Self::Err> {
        text.strip_prefix('a').unwrap_or(text).parse().map(ActionId)
    }
}
