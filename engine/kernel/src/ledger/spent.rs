//! What was spent, by what the verbs say they cost, and its price. Counted from the actions in memory.
//!
//! Deliberately absent: meters; what a machine really drew is a reading, this is what was decided to be spent. An editor breaks this by
//! counting a playbook beside its steps.

use super::{ACTIONS_MAX, Ledger};
use homeostat_model::playbook::PLAYBOOK;
use homeostat_model::{Class, Cost, Span, Spending, Tariff, Time, Verb, VerbSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What some actions cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// How long somebody was interrupted.
    pub disruption: Span,
    /// Energy, in joules.
    pub energy_joules: f64,
    /// What that energy costs, in euros.
    pub euros: f64,
    /// Whether everything in that time is still remembered.
    pub complete: bool,
}

impl Default for Spent {
    fn default() -> Spent {
        Spent { disruption: Span::ZERO, energy_joules: 0.0, euros: 0.0, complete: true }
    }
}

impl Spent {
    /// The span that is shown and that budgets are for.
    pub const DAY: Span = Span::from_hours(24);

    /// Adds one cost, its energy at the price of the moment.
    pub fn add(&mut self, cost: Cost, tariff: &Tariff, at: Time) {
        self.disruption = self.disruption + cost.disruption;
        self.energy_joules += cost.energy_joules;
        self.euros += tariff.euros(cost.energy_joules, at, at);
    }
}

/// What an action is expected to cost, for the books: its energy at the price of the moment.
pub fn spending_of(verbs: &BTreeMap<Verb, VerbSpec>, verb: &Verb, tariff: &Tariff, at: Time) -> Spending {
    let cost = cost_of(verbs, verb);
    Spending {
        actions: 1,
        joules: cost.energy_joules,
        euros: tariff.euros(cost.energy_joules, at, at),
        disruption: cost.disruption,
        boots: cost.boots.into(),
        evictions: cost.evictions.into(),
        power_cycles: cost.power_cycles.into(),
        ..Spending::default()
    }
}

/// What a verb says that it costs. A playbook costs what its steps cost, and an unknown verb nothing.
pub fn cost_of(verbs: &BTreeMap<Verb, VerbSpec>, verb: &Verb) -> Cost {
    if verb.actuator() == PLAYBOOK {
        return Cost::default();
    }
    verbs.get(verb).map(|spec| spec.cost).unwrap_or_default()
}

impl Ledger {
    /// Who is charged for an action: the policy behind it or behind its run, or [`super::OPERATOR`].
    pub fn payer(&self, state: &super::ActionState) -> String {
        let of = |state: &super::ActionState| match &state.proposal.origin {
            homeostat_model::Origin::Drill(policy) => Some(policy.to_string()),
            origin => origin.policy().map(ToString::to_string),
        };
        let run = state.proposal.origin.run().and_then(|run| self.action(run));
        let reasoner = matches!(state.proposal.origin, homeostat_model::Origin::Reasoner(_)).then(|| super::REASONER.to_owned());
        of(state).or_else(|| run.and_then(of)).or(reasoner).unwrap_or_else(|| super::OPERATOR.to_owned())
    }

    /// What the actions sent after `since` cost, by their verbs and the price of the moment, notifications aside. What surely never started costs
    /// nothing.
    pub fn spent_since(&self, since: Time, verbs: &BTreeMap<Verb, VerbSpec>, tariff: &Tariff) -> Spent {
        let mut spent = Spent::default();
        let sent = self.actions.values().filter(|state| state.sent_at.is_some_and(|at| at > since));
        let started = sent.filter(|state| state.phase != super::Phase::NotDone { never_started: true });
        for (at, action) in started.filter_map(|state| Some((state.sent_at?, state.action.as_ref()?))) {
            if action.class > Class::Notify {
                spent.add(cost_of(verbs, &action.verb), tariff, at);
            }
        }
        // A full memory whose oldest action is younger than that may have forgotten some.
        let oldest = self.actions.values().next().map(|state| state.ruled_at);
        spent.complete = self.actions.len() < ACTIONS_MAX || oldest.is_some_and(|at| at <= since);
        spent
    }
}
