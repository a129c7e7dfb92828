//! What a wish would touch, and what of it would go down.

use super::{Case, Consent};
use crate::ledger::{ActionState, symptom_of};
use homeostat_model::playbook::{APPROVE, PLAYBOOK, WAIT};
use homeostat_model::{Arg, Args, Class, Origin, Target, Verb, VerbSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Cordoning takes nothing down: what runs goes on running.
const CORDON: &str = "node.cordon";

/// One thing that a wish would do: a plain action does one, a playbook one for each step that is known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct Touch {
    /// What.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// How.
    pub args: Args,
    /// How much it can hurt.
    pub class: Class,
}

impl Touch {
    /// Whether its target does not work for a while: everything that interrupts, a node that is sent where only another action
    /// brings it back from, and scaling to nothing. Cordoning is none of these.
    pub fn takes_down(&self, verbs: &BTreeMap<Verb, VerbSpec>) -> bool {
        if self.verb.as_str() == CORDON {
            return false;
        }
        let to_nothing = matches!(self.args.get("replicas"), Some(Arg::Int(0)));
        let has_opposite = || verbs.get(&self.verb).is_some_and(|spec| spec.opposite.is_some());
        self.class >= Class::Disruptive
            || (self.class == Class::Reversible && (to_nothing || (self.target.kind() == "node" && has_opposite())))
    }
}

impl Case<'_> {
    /// The class; what is unknown counts as the worst. Asking and waiting are harmless.
    pub fn class(&self) -> Class {
        if self.is_inner() {
            return Class::Notify;
        }
        self.spec.map_or(Class::Irreversible, |spec| spec.class)
    }

    /// The policy and symptom that this wish belongs to.
    pub fn symptom(&self) -> (String, String) {
        symptom_of(self.proposal)
    }

    /// Whether it is a step that is never sent: a question to a person, a wait.
    pub fn is_inner(&self) -> bool {
        matches!(self.proposal.verb.as_str(), APPROVE | WAIT)
    }

    /// Everything that the wish would touch and that can hurt: itself, or a playbook's steps as far as they are known beforehand. A
    /// playbook of which no step is known counts as itself.
    pub fn touches(&self) -> Vec<&Touch> {
        let itself = |touch: &&Touch| touch.verb == self.proposal.verb && touch.target == self.proposal.target;
        let has_steps = self.proposal.verb.actuator() == PLAYBOOK && self.touches.iter().any(|touch| !itself(&touch));
        let hurts = |touch: &&Touch| touch.class > Class::Notify && !self.is_inner();
        self.touches.iter().filter(|touch| !(has_steps && itself(touch))).filter(hurts).collect()
    }

    /// The targets that would go down.
    pub fn takes_down(&self) -> BTreeSet<Target> {
        self.touches().into_iter().filter(|touch| touch.takes_down(self.verbs)).map(|touch| touch.target.clone()).collect()
    }

    /// The targets that are going down by what is under way, the case's own run aside.
    pub fn going_down(&self) -> BTreeSet<Target> {
        self.taken_down_by(|state| !self.is_own(state.id, &state.proposal.origin))
    }

    /// The same with the other steps of the case's own run.
    pub fn going_down_with_own(&self) -> BTreeSet<Target> {
        self.taken_down_by(|state| Some(state.id) != self.run)
    }

    fn taken_down_by(&self, counts: impl Fn(&ActionState) -> bool) -> BTreeSet<Target> {
        let others = self.ledger.all_running().filter(|state| counts(state));
        let touches = others.filter_map(|state| state.action.as_ref()).map(|action| Touch {
            verb: action.verb.clone(),
            target: action.target.clone(),
            args: action.args.clone(),
            class: action.class,
        });
        touches.filter(|touch| touch.takes_down(self.verbs)).map(|touch| touch.target).collect()
    }

    /// Whether an action is the run that this is a step of, another step of it, or the fault of a drill that this is the answer to.
    pub fn is_own(&self, id: homeostat_model::ActionId, origin: &Origin) -> bool {
        let of_run = self.run.is_some() && (self.run == Some(id) || self.run == origin.run());
        of_run || self.is_rehearsed(origin)
    }

    /// Whether something was done on purpose, as the fault of a drill of the policy behind this wish.
    pub fn is_rehearsed(&self, origin: &Origin) -> bool {
        let Origin::Drill(drilled) = origin else { return false };
        let of_run = || self.ledger.action(self.run?)?.proposal.origin.policy();
        self.proposal.origin.policy().or_else(of_run) == Some(drilled)
    }

    /// Who wants it in person: by order or by approval.
    pub fn person(&self) -> Option<&str> {
        match (&self.proposal.origin, &self.consent) {
            (Origin::Operator(name), _) | (_, Some(Consent::Approved { by: name })) => Some(name),
            _ => None,
        }
    }

    /// The words with which a step passes what was asked of its whole run.
    pub fn part_of_run(&self) -> Option<String> {
        self.run.map(|run| format!("part of run {run}"))
    }
}
