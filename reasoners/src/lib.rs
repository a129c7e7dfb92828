//! What Homeostat may ask a language model with: one file per dialect, and the chain that decides who is asked.
//!
//! Reading order: `homeostat_model::reason` (the contract), [`shape`] (what an answer must look like), `wire` (one request and what its
//! status means), `drive` (repair, repetitions, what was used up), the dialects ([`ollama`], [`openai`], [`anthropic`], [`perplexity`],
//! [`langflow`], [`canned`]), [`redact`] (what a cloud is told), [`budget`], [`chain`], [`config`]. Deliberately absent: briefs (the
//! kernel builds them), proposals (the catalogue types them), tools, streaming, and any power: nothing here can act or approve. An
//! editor breaks this crate by letting an unchecked text through as an answer, by telling a cloud what was not redacted, or by showing a
//! credential.

pub mod anthropic;
pub mod budget;
pub mod canned;
pub mod chain;
pub mod config;
mod drive;
pub mod langflow;
pub mod ollama;
pub mod openai;
pub mod perplexity;
pub mod redact;
mod secret;
pub mod shape;
mod wire;

#[cfg(test)]
mod tests;

pub use budget::{Amount, BudgetConfig, Spent};
pub use canned::Canned;
pub use chain::{Answered, Asking, BreakerConfig, CacheConfig, Chain, ChainSettings, Clock, Counts, LeftOut, Member, Unanswered};
pub use config::{Price, ReasonerConfig, ReasonersConfig};
pub use redact::{Known, Redactor};
pub use wire::BODY_BYTES_MAX;
