//! What is done: an admitted wish with a number, a class and a lease.

use crate::{ActionId, Args, Span, Target, Time, Verb};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much an action can hurt, from nothing to for ever.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Tells somebody.
    Notify,
    /// Brings something back (wake, scale up): the safe direction.
    Restore,
    /// Can be taken back without loss.
    Reversible,
    /// Interrupts somebody.
    Disruptive,
    /// Cannot be taken back.
    Irreversible,
}

impl Class {
    /// All classes, mildest first.
    pub const ALL: [Class; 5] = [Class::Notify, Class::Restore, Class::Reversible, Class::Disruptive, Class::Irreversible];

    /// The name used in journal, metrics and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Class::Notify => "notify",
            Class::Restore => "restore",
            Class::Reversible => "reversible",
            Class::Disruptive => "disruptive",
            Class::Irreversible => "irreversible",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The right to act, for a while. An actuator refuses what is late or of an older generation.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Grows with every start of the daemon on this journal.
    pub generation: u64,
    /// Not to be started after this.
    pub expires: Time,
}

/// An action as an actuator gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Its number; an actuator does one number at most once.
    pub id: ActionId,
    /// What.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// How.
    pub args: Args,
    /// How much it can hurt.
    pub class: Class,
    /// How long it may take before it counts as timed out.
    pub timeout: Span,
    /// Until when it may be started.
    pub lease: Lease,
    /// Why, in the author's words; for messages and audit, never for decisions.
    pub because: String,
}
