//! What was spent, by what the verbs say they cost. Counted from the actions in memory.

use super::{ACTIONS_MAX, Ledger};
use homeostat_model::{Class, Cost, Span, Time, Verb};

/// What some actions cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// How long somebody was interrupted.
    pub disruption: Span,
    /// Energy, in joules.
    pub energy_joules: f64,
    /// Whether everything in that time is still remembered.
    pub complete: bool,
}

impl Default for Spent {
    fn default() -> Spent {
        Spent { disruption: Span::ZERO, energy_joules: 0.0, complete: true }
    }
}

impl Spent {
    /// Adds one cost.
    pub fn add(&mut self, cost: Cost) {
        self.disruption = self.disruption + cost.disruption;
        self.energy_joules += cost.energy_joules;
    }
}

impl Ledger {
    /// What the actions sent after `since` cost, notifications aside. What surely never started costs nothing.
    pub fn spent_since(&self, since: Time, cost_of: impl Fn(&Verb) -> Cost) -> Spent {
        let mut spent = Spent::default();
        let sent = self.actions.values().filter(|state| state.sent_at.is_some_and(|at| at > since));
        let started = sent.filter(|state| state.phase != super::Phase::NotDone { never_started: true });
        for action in started.filter_map(|state| state.action.as_ref()).filter(|action| action.class > Class::Notify) {
            spent.add(cost_of(&action.verb));
        }
        // A full memory whose oldest action is younger than that may have forgotten some.
        let oldest = self.actions.values().next().map(|state| state.ruled_at);
        spent.complete = self.actions.len() < ACTIONS_MAX || oldest.is_some_and(|at| at <= since);
        spent
    }
}
