//! Everything that can happen, closed. The journal's left column.

use crate::{ActionId, AlertDelivery, Observation, Outcome, RuleSet, Time};
use serde::{Deserialize, Serialize};

/// An order from a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Yes to a waiting action. `plan` must be the hash that was shown.
    Approve {
        /// The action.
        action: ActionId,
        /// The plan's hash as it was shown; `None` accepts the plan as it stands.
        plan: Option<String>,
    },
    /// No to a waiting action (also the veto).
    Deny {
        /// The action.
        action: ActionId,
    },
    /// No, and never again for this target: the policy does not wish this of it until a person unlocks it.
    Never {
        /// The waiting action.
        action: ActionId,
    },
    /// Rehearse: make the fault of the policy's `drill`, and see whether it answers. The order is the yes to the fault.
    Drill {
        /// The policy's name.
        policy: String,
    },
    /// Hands off: sensing goes on, nothing is sent.
    Pause {
        /// Why.
        reason: String,
    },
    /// The end of hands-off.
    Resume,
    /// A person's own wish. It is ruled like any other; the order itself is the yes.
    Wish {
        /// What.
        verb: crate::Verb,
        /// To what.
        target: crate::Target,
        /// How.
        #[serde(default)]
        args: crate::Args,
        /// Why, in the person's words.
        because: String,
    },
    /// A wish of somebody who is not trusted to order anything: an agent behind the MCP server, a script with an `agent` token. It is ruled
    /// like a reasoner's: at most `reversible`, with a claim, and a person says yes or nothing happens.
    Propose {
        /// What.
        verb: crate::Verb,
        /// To what.
        target: crate::Target,
        /// How.
        #[serde(default)]
        args: crate::Args,
        /// Why, in its words; tainted.
        because: String,
        /// What will be true afterwards.
        #[serde(default)]
        claim: Option<crate::Claim>,
    },
    /// Ask the reasoners about a thing.
    Consult {
        /// Which.
        target: crate::Target,
    },
    /// A person has looked at a stuck run: its targets are free again.
    Release {
        /// The run.
        run: ActionId,
    },
    /// Takes the futility lock off a symptom.
    Unlock {
        /// The policy's name.
        policy: String,
        /// The symptom; empty for all of the policy.
        symptom: String,
    },
}

/// An order and who gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ordered {
    /// Who: `unix:0`, `token:phone`.
    pub by: String,
    /// What.
    pub command: Command,
}

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The daemon started on this journal; `generation` grows by one each time.
    Started {
        /// The start's number.
        generation: u64,
        /// The build, for replay.
        build: String,
        /// For everything random in the kernel.
        seed: u64,
    },
    /// Rules were loaded or loaded again.
    Loaded(Box<RuleSet>),
    /// Time has passed.
    Tick,
    /// A sensor read. Kept in the sample log, not in the journal's table.
    Observed(Box<Observation>),
    /// A webhook delivered alerts.
    Alerted(AlertDelivery),
    /// A person ordered something.
    Ordered(Ordered),
    /// An actuator answered: after apply or after probe.
    Settled(ActionId, Outcome),
    /// An actuator answered after it was told to take an action back.
    Reverted(ActionId, Outcome),
    /// Reasoners answered a question, or could not.
    Advised(Box<crate::Advice>),
    /// The wall clock jumped against the monotonic one.
    ClockJumped {
        /// The wall clock's time before.
        from: Time,
        /// And after.
        to: Time,
    },
    /// The driver lost trust: kernel panic, journal failure. Hands off until a person resumes.
    Distrusted {
        /// What happened.
        reason: String,
    },
}

impl Event {
    /// The name used in journal and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Started { .. } => "started",
            Event::Loaded(_) => "loaded",
            Event::Tick => "tick",
            Event::Observed(_) => "observed",
            Event::Alerted(_) => "alerted",
            Event::Ordered(_) => "ordered",
            Event::Settled(..) => "settled",
            Event::Reverted(..) => "reverted",
            Event::Advised(_) => "advised",
            Event::ClockJumped { .. } => "clock_jumped",
            Event::Distrusted { .. } => "distrusted",
        }
    }

    /// Whether it is kept in the sample log instead of the journal's table.
    pub fn is_sampled(&self) -> bool {
        matches!(self, Event::Tick | Event::Observed(_))
    }
}
