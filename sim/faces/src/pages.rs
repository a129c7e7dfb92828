//! What stands on each page: names, labels, types and help as the real exporters write them.
//!
//! Deliberately absent: everything that no exporter could know. An editor breaks this by renaming something to suit a policy: the
//! sensors' normaliser is what makes one vocabulary of these.

pub(crate) mod cluster;
pub(crate) mod kepler;
pub(crate) mod lab;
pub(crate) mod node;
pub(crate) mod plugs;
pub(crate) mod probe;
pub(crate) mod smart;

/// Counts and flags as metrics have them.
pub(crate) fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}
