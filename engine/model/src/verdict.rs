//! What the arbiter says, with every guard's reason.

use crate::Time;
use serde::{Deserialize, Serialize};

/// The ruling on a proposal.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may be done, now.
    Admitted,
    /// Not now; look again at `until`.
    Deferred {
        /// When the guard that holds it may let go.
        until: Time,
    },
    /// A person must say yes by `by`; silence is a no (or, where the autonomy is `veto`, a yes).
    AwaitingApproval {
        /// The end of the wait.
        by: Time,
    },
    /// It would have been done, but the policy only watches.
    Shadowed,
    /// No.
    Denied,
}

impl Verdict {
    /// The name used in journal, metrics and CLI.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Admitted => "admitted",
            Verdict::Deferred { .. } => "deferred",
            Verdict::AwaitingApproval { .. } => "awaiting_approval",
            Verdict::Shadowed => "shadowed",
            Verdict::Denied => "denied",
        }
    }
}

/// What one guard said.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// Nothing against it.
    Pass,
    /// Not now.
    Hold {
        /// When this guard may let go.
        until: Time,
    },
    /// Ask a person.
    Ask {
        /// The end of the wait.
        by: Time,
    },
    /// Only watch.
    Shadow,
    /// No.
    Deny,
}

/// One guard's stance and its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The guard's name, e.g. `cooldown`.
    pub guard: String,
    /// What it said.
    pub stance: Stance,
    /// Why.
    pub text: String,
}

/// A verdict and what every guard said, in the arbiter's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// Every guard that was asked.
    pub reasons: Vec<Reason>,
}

impl Ruling {
    /// The guard that decided: the one whose stance became the verdict.
    pub fn decided_by(&self) -> Option<&Reason> {
        self.reasons.iter().find(|reason| match (self.verdict, reason.stance) {
            (Verdict::Denied, Stance::Deny) | (Verdict::Shadowed, Stance::Shadow) => true,
            (Verdict::Deferred { until }, Stance::Hold { until: held }) => until == held,
            (Verdict::AwaitingApproval { by }, Stance::Ask { by: asked }) => by == asked,
            _ => false,
        })
    }
}
