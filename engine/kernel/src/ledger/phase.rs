//! Where an action stands, and the one function that moves it. Illegal moves are refused, so a journal that lies cannot lead to a
//! second sending.

use homeostat_model::{Closing, Outcome, Record, Time, Verdict};
use serde::Serialize;

/// Where an action stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Only watched.
    Shadowed,
    /// Refused by a guard.
    Denied,
    /// Held by a guard.
    Deferred {
        /// Until when.
        until: Time,
    },
    /// A person is asked.
    Awaiting {
        /// The end of the wait.
        by: Time,
    },
    /// Let through, not yet sent.
    Admitted,
    /// Sent; nothing heard yet.
    InFlight,
    /// Sent; the actuator is asked what became of it.
    Probing,
    /// Done, and seen to be done.
    Done,
    /// Surely not done.
    NotDone,
    /// Ended without an outcome.
    Closed {
        /// In which way.
        closing: Closing,
    },
}

impl Phase {
    /// The name used in status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Shadowed => "shadowed",
            Phase::Denied => "denied",
            Phase::Deferred { .. } => "deferred",
            Phase::Awaiting { .. } => "awaiting_approval",
            Phase::Admitted => "admitted",
            Phase::InFlight => "in_flight",
            Phase::Probing => "probing",
            Phase::Done => "done",
            Phase::NotDone => "not_done",
            Phase::Closed { .. } => "closed",
        }
    }

    /// Wished but not sent: it can still be ruled on again, answered by a person, or fall away.
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Shadowed | Phase::Denied | Phase::Deferred { .. } | Phase::Awaiting { .. } | Phase::Admitted)
    }

    /// Sent, and what became of it is not known yet.
    pub fn is_running(self) -> bool {
        matches!(self, Phase::InFlight | Phase::Probing)
    }

    /// The phase after a record; `Err` names the illegal move.
    pub fn after(from: Option<Phase>, record: &Record) -> Result<Phase, String> {
        let illegal = || Err(format!("`{}` cannot follow {}", record.name(), from.map_or("nothing", Phase::name)));
        match record {
            Record::Ruled { ruling, .. } => {
                // A second attempt is ruled anew after the actuator said that nothing was ever started.
                if !from.is_none_or(|phase| phase.is_open() || phase == Phase::NotDone) {
                    return illegal();
                }
                Ok(match ruling.verdict {
                    Verdict::Admitted => Phase::Admitted,
                    Verdict::Deferred { until } => Phase::Deferred { until },
                    Verdict::AwaitingApproval { by } => Phase::Awaiting { by },
                    Verdict::Shadowed => Phase::Shadowed,
                    Verdict::Denied => Phase::Denied,
                })
            }
            Record::Act { .. } => if from == Some(Phase::Admitted) { Ok(Phase::InFlight) } else { illegal() },
            Record::Probe { .. } => if from.is_some_and(Phase::is_running) { Ok(Phase::Probing) } else { illegal() },
            Record::Closed { closing, .. } => match (from, closing) {
                (Some(phase), Closing::Unresolved) if phase.is_running() => Ok(Phase::Closed { closing: *closing }),
                (Some(phase), Closing::Refused | Closing::Expired | Closing::Gone) if phase.is_open() => Ok(Phase::Closed { closing: *closing }),
                _ => illegal(),
            },
            Record::Judged { .. } | Record::Revert { .. } | Record::Announce(_) | Record::Noted(_) => from.map_or_else(illegal, Ok),
        }
    }

    /// The phase after the actuator's answer; late answers to an unresolved action are still welcome.
    pub fn settled(self, outcome: &Outcome) -> Result<Phase, String> {
        let late = self == Phase::Closed { closing: Closing::Unresolved };
        match outcome {
            _ if !self.is_running() && !late => Err(format!("an outcome cannot follow {}", self.name())),
            Outcome::Done(_) => Ok(Phase::Done),
            Outcome::NotDone(_) => Ok(Phase::NotDone),
            Outcome::Unknown(_) if late => Ok(self),
            Outcome::Unknown(_) => Ok(Phase::Probing),
        }
    }
}
