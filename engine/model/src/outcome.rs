//! What the actuator knows afterwards. Success needs a positive observation; an error is never success.

use crate::{Arg, Fault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is needed to take an action back, and what was seen. Never holds a secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// What was observed, in words: "exit status 0, 3 lines", "HTTP 204", "tcp/22 answered after 48 s".
    pub observed: String,
    /// What the actuator needs to undo it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undo: BTreeMap<String, Arg>,
}

/// What the actuator knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done, and was seen to be done.
    Done(Receipt),
    /// It is surely not done.
    NotDone(Fault),
    /// It may or may not be done: leads to a probe, never to an undo.
    Unknown(Fault),
}

impl Outcome {
    /// The name used in journal, metrics and CLI.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Done(_) => "done",
            Outcome::NotDone(_) => "not_done",
            Outcome::Unknown(_) => "unknown",
        }
    }
}
