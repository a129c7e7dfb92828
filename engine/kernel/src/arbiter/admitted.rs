//! The one type that can be dispatched. Its constructor is private to the arbiter: `Proposed → Ruled → Admitted` is a path in the
//! type system, so a refused proposal that falls through to execution does not compile (lesson 11).

use super::Ruled;
use crate::ledger::ActionState;
use homeostat_model::{Action, Outcome, Receipt, Verdict};

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

/// The order to take an action back. Like [`Admitted`] it can be neither copied nor read back from a journal, and it can only be made
/// from an action that was sent: what was never admitted can never be undone.
#[derive(Debug)]
pub struct Reverting {
    action: Action,
    receipt: Receipt,
}

impl Reverting {
    /// Takes back what was sent; `None` if nothing was.
    pub(crate) fn of(state: &ActionState) -> Option<Reverting> {
        let receipt = match &state.outcome {
            Some(Outcome::Done(receipt)) => receipt.clone(),
            _ => Receipt::default(),
        };
        Some(Reverting { action: state.action.clone()?, receipt })
    }

    /// What was done.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// What the actuator needs.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}
