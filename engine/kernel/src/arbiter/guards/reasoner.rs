//! What a language model or an agent wishes: never more than can be taken back, never past the no of a second model, and never without a
//! person where it depends on text that somebody outside wrote (lessons 28, 29). Its confidence is not asked about.

use super::{Case, Opinion};
use crate::arbiter::Consent;
use homeostat_model::playbook::PLAYBOOK;
use homeostat_model::{Class, Origin, Stance};

/// The most that a reasoner may propose.
const CLASS_MAX: Class = Class::Reversible;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let Origin::Reasoner(suggested) = &case.proposal.origin else { return Opinion::pass("no reasoner's wish") };
    // A playbook is as rough as its roughest step, those that are known only when it runs included.
    let class = case.touches().iter().map(|touch| touch.class).max().map_or(case.class(), |class| class.max(case.class()));
    if class > CLASS_MAX {
        return Opinion::deny(format!("{} may propose `{CLASS_MAX}` at most, and this is `{class}`", suggested.by));
    }
    if let Some(veto) = &suggested.veto {
        return Opinion::deny(format!("a second model is against it: {veto}"));
    }
    // What goes down with a thing is known only as far as somebody has written it down; a careless model put the last storage to sleep.
    let down = case.takes_down();
    if !down.is_empty() && case.person().is_none() {
        let names: Vec<&str> = down.iter().map(|target| target.as_str()).collect();
        return Opinion {
            stance: Stance::Ask { by: case.now + case.settings.approval_ttl },
            text: format!("it takes down {}: a person must say yes", names.join(", ")),
        };
    }
    // Its steps come one after the other, on things that may be known only then: silence cannot stand for all of that.
    if case.proposal.verb.actuator() == PLAYBOOK && case.person().is_none() {
        return Opinion {
            stance: Stance::Ask { by: case.now + case.settings.approval_ttl },
            text: "a playbook has several steps: a person must say yes".into(),
        };
    }
    if suggested.taint.is_empty() {
        return Opinion::pass("within what a reasoner may propose, and the same without any text from outside");
    }
    match &case.consent {
        Some(Consent::Approved { by }) => Opinion::pass(format!("approved by {by}, although: {}", suggested.taint)),
        _ => Opinion {
            stance: Stance::Ask { by: case.now + case.settings.approval_ttl },
            text: format!("{}: a person must say yes", suggested.taint),
        },
    }
}
