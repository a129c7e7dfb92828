//! What went wrong, as data: a code to branch on, and words for people.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of thing went wrong. Code branches on this and on nothing else.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// Nothing answered, or the network refused.
    Unreachable,
    /// No answer in the time allowed.
    TimedOut,
    /// The other side answered "you may not" (401, 403, EACCES).
    Denied,
    /// What came could not be read.
    Malformed,
    /// The other side is in a state that does not allow this.
    Conflict,
    /// A limit was reached.
    Limit,
    /// The thing asked for does not exist.
    NotFound,
    /// This was never started: nothing left the machine.
    NeverStarted,
    /// It ran and said that it failed.
    Failed,
    /// It is surely not done, but a part of it was and stays until it is taken back: `revert` does that.
    HalfDone,
    /// A defect of our own (a panic that was caught).
    Internal,
}

impl FaultCode {
    /// The name used in metrics and journal.
    pub fn name(self) -> &'static str {
        match self {
            FaultCode::Unreachable => "unreachable",
            FaultCode::TimedOut => "timed_out",
            FaultCode::Denied => "denied",
            FaultCode::Malformed => "malformed",
            FaultCode::Conflict => "conflict",
            FaultCode::Limit => "limit",
            FaultCode::NotFound => "not_found",
            FaultCode::NeverStarted => "never_started",
            FaultCode::Failed => "failed",
            FaultCode::HalfDone => "half_done",
            FaultCode::Internal => "internal",
        }
    }
}

/// One thing that went wrong. Never holds a secret: callers name the object without its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// For branching.
    pub code: FaultCode,
    /// The operation and its object: `scrape http://nas:9100/metrics`.
    pub while_doing: String,
    /// What was seen, and what was expected.
    pub detail: String,
}

impl Fault {
    /// A fault; both texts are cut at 1,000 characters.
    pub fn new(code: FaultCode, while_doing: impl Into<String>, detail: impl Into<String>) -> Fault {
        Fault { code, while_doing: capped(while_doing.into()), detail: capped(detail.into()) }
    }
}

fn capped(text: String) -> String {
    const TEXT_CHARS_MAX: usize = 1000;
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.while_doing, self.detail, self.code.name())
    }
}

impl std::error::Error for Fault {}
