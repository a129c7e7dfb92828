//! Asking people where they are: Telegram, ntfy, Slack, Discord, Home Assistant.
//!
//! Reading order: [`book`] (open questions and their one-time tokens, pure), [`question`] (what is said), [`channel`] (what a way of
//! asking must do), `wire` (one request), then one file per service, and [`config`]. Deliberately absent: the kernel, the HTTP interface
//! and the journal (`src/approvals` joins them), and any power of its own: a press becomes a token and a name, and the daemon asks the
//! kernel whether it still counts. Nothing that reasons may depend on this crate; `tests/tidy.rs` holds that. An editor breaks it by
//! keeping a token in clear, by letting a text from a workload become a button or a link, or by showing an address that holds a secret.

pub mod book;
pub mod channel;
pub mod config;
pub mod discord;
pub mod home_assistant;
pub mod ntfy;
pub mod question;
mod secret;
pub mod slack;
pub mod telegram;
mod wire;

#[cfg(test)]
mod tests;

pub use book::{Answer, Book, Counts, Full, Keys, Refusal, TOKEN_BYTES, Taken, Token, Way};
pub use channel::{Channel, Heard, Miss, Press, Sent, Told};
pub use config::{ApprovalsConfig, Built, ChannelConfig};
pub use question::Question;
