//! The one type that can be dispatched. Its constructor is private to the arbiter: `Proposed → Ruled → Admitted` is a path in the
//! type system, so a refused proposal that falls through to execution does not compile (lesson 11).

use super::Ruled;
use homeostat_model::{Action, Verdict};

/// An action that the arbiter let through. Not `Clone`, not `Deserialize`: it can be neither copied nor read back from a journal.
#[derive(Debug)]
pub struct Admitted {
    action: Action,
    attempt: u32,
}

impl Admitted {
    /// Seals an action whose ruling is `Admitted`; anything else gives the action back.
    pub(super) fn seal(ruled: &Ruled, action: Action, attempt: u32) -> Result<Admitted, Action> {
        if ruled.ruling.verdict == Verdict::Admitted { Ok(Admitted { action, attempt }) } else { Err(action) }
    }

    /// What is to be done.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Which attempt this is, counted from 1. Later attempts only follow the actuator's word that nothing was ever started.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}
