//! The senses of Homeostat: one module per source, each with its configuration, a pure parser and a `Sensor`.
//!
//! Reading order: how bytes come (`http`), how series get their numbers (`dictionary`), how one source's names become the common
//! vocabulary (`derive`), then the sources. Deliberately absent: anything that decides or remembers windows (the kernel's), and
//! any knowledge of another plug. An editor breaks this crate by reading a body without a limit, by letting a secret reach a
//! fault's text, or by counting a series as declared that the daemon never saw.

pub mod derive;
pub mod dictionary;
pub mod exposition;
pub mod host;
pub mod http;
pub mod kepler;
pub mod normalise;
pub mod prometheus;
pub mod smart;
pub mod webhook;

#[cfg(test)]
mod corpus;
mod gauge;
