//! Proposals to verdicts, through an ordered list of guards. Every guard is asked, every reason is recorded.
//!
//! The order matters for reading, not for the verdict. A guard is one file with one function; it sees a [`Case`] and nothing else, so
//! it can be tested alone. A wish for a playbook is ruled as a whole, by all that its steps would touch ([`Case::touches`]); each step
//! is ruled again when its turn comes, and what was asked of the whole run (autonomy, cooldown, futility, ladder, hourly and daily
//! budget, calendar) is then not asked anew.
//! An editor breaks this by giving a guard state of its own: whatever must be remembered belongs to the ledger.

mod admitted;
pub mod guards;
mod touch;

pub use admitted::{Admitted, Reverting};
pub use guards::blast_preview;
pub use touch::Touch;

use crate::ledger::{Ledger, Spent};
use crate::store::Store;
use crate::topology::{Source, World};
use homeostat_model::{
    Action, ActionId, ArbiterSettings, Autonomy, Class, Lease, Proposal, Reason, Ruling, Span, Stance, Time, TopologySettings, Verb,
    VerbSpec, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a guard does when it cannot tell.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Lets pass: the guard protects comfort, not safety.
    FailOpen,
    /// Holds: the guard protects machines.
    FailClosed,
}

/// One guard.
pub struct Guard {
    /// Its name in rulings, metrics and docs.
    pub name: &'static str,
    /// What it does in doubt.
    pub doubt: Doubt,
    /// What it is for, in one sentence.
    pub doc: &'static str,
    /// The rule.
    pub rule: fn(&Case<'_>) -> Opinion,
}

/// A guard's stance with its words.
pub struct Opinion {
    /// What it says.
    pub stance: Stance,
    /// Why.
    pub text: String,
}

impl Opinion {
    /// Nothing against it.
    pub fn pass(text: impl Into<String>) -> Opinion {
        Opinion { stance: Stance::Pass, text: text.into() }
    }
    /// Not before `until`.
    pub fn hold(until: Time, text: impl Into<String>) -> Opinion {
        Opinion { stance: Stance::Hold { until }, text: text.into() }
    }
    /// No.
    pub fn deny(text: impl Into<String>) -> Opinion {
        Opinion { stance: Stance::Deny, text: text.into() }
    }
}

/// A person's word, or the silence that counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// A person said yes.
    Approved {
        /// Who.
        by: String,
    },
    /// The veto period passed without a no.
    NotVetoed,
}

/// A proposal before the guards, with everything that they may look at.
pub struct Case<'a> {
    /// The moment of the ruling.
    pub now: Time,
    /// The wish.
    pub proposal: &'a Proposal,
    /// What is known of its verb; `None`: nobody can do it.
    pub spec: Option<&'a VerbSpec>,
    /// The settings.
    pub settings: &'a ArbiterSettings,
    /// What happened so far.
    pub ledger: &'a Ledger,
    /// Policies whose targets look bad together, with the end of the quiet time.
    pub observer_faults: &'a BTreeMap<String, Time>,
    /// When the policy last wished this, by its own evaluation.
    pub wished_at: Time,
    /// How often the policy looks.
    pub every: Span,
    /// A person's word, if there is one.
    pub consent: Option<Consent>,
    /// The run that this wish is a step of: what was asked of the run is not asked again.
    pub run: Option<ActionId>,
    /// What the wish would do; never empty.
    pub touches: &'a [Touch],
    /// All verbs that can be done.
    pub verbs: &'a BTreeMap<Verb, VerbSpec>,
    /// The windows, and what hangs on what.
    pub world: &'a World<'a>,
    /// What the policy has earned for this; `None`: nothing need be earned.
    pub earned: Option<Earned>,
}

/// What a policy has earned for one class on one kind of target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earned {
    /// How far it may go.
    pub level: Autonomy,
    /// Why, for people.
    pub why: String,
    /// How long a veto is waited for; `None`: as the settings say.
    pub veto_wait: Option<Span>,
}

/// A ruling as the arbiter gives it; only this can be sealed.
#[derive(Debug)]
pub struct Ruled {
    /// The ruling.
    pub ruling: Ruling,
    /// The class that it was ruled under.
    pub class: Class,
}

/// The arbiter: verbs and settings.
#[derive(Default)]
pub struct Arbiter {
    verbs: BTreeMap<Verb, VerbSpec>,
    topology: Source,
    /// The settings.
    pub settings: ArbiterSettings,
    /// For tests of the checkers: a guard whose word does not count.
    #[cfg(feature = "sabotage")]
    pub(crate) broken: Option<&'static str>,
}

impl Arbiter {
    /// An arbiter for these verbs and settings, in place of this one.
    pub fn renewed(&self, verbs: impl IntoIterator<Item = VerbSpec>, settings: ArbiterSettings, topology: TopologySettings) -> Arbiter {
        let verbs = verbs.into_iter().map(|verb| (verb.verb.clone(), verb)).collect();
        Arbiter {
            verbs,
            topology: Source::new(topology),
            settings,
            #[cfg(feature = "sabotage")]
            broken: self.broken,
        }
    }

    /// What the actions of the last 24 hours cost, by what their verbs say now.
    pub fn spent_day(&self, ledger: &Ledger, now: Time) -> Spent {
        ledger.spent_since(now - Spent::DAY, &self.verbs, &self.settings.tariff)
    }

    /// What is known of a verb.
    pub fn verb(&self, verb: &Verb) -> Option<&VerbSpec> {
        self.verbs.get(verb)
    }

    /// All verbs that can be done.
    pub fn verbs(&self) -> BTreeSet<&str> {
        self.verbs.keys().map(Verb::as_str).collect()
    }

    /// All verbs with what is known of them.
    pub fn specs(&self) -> &BTreeMap<Verb, VerbSpec> {
        &self.verbs
    }

    /// Where the topology comes from.
    pub fn topology(&self) -> &Source {
        &self.topology
    }

    /// The world as guards see it at `now`; `epoch` changes with every event.
    pub fn world<'a>(&'a self, store: &'a Store, now: Time, epoch: u64) -> World<'a> {
        World::new(&self.topology, store, now, epoch)
    }

    /// Asks every guard. The verdict is the strongest stance: deny, shadow, hold (the longest), ask, pass.
    pub fn rule(&self, case: &Case<'_>) -> Ruled {
        let reasons: Vec<Reason> = guards::GUARDS
            .iter()
            .map(|guard| {
                let opinion = self.ask(guard, case);
                Reason { guard: guard.name.into(), stance: opinion.stance, text: opinion.text }
            })
            .collect();
        Ruled { ruling: Ruling { verdict: verdict_of(&reasons), reasons }, class: case.class() }
    }

    #[cfg(not(feature = "sabotage"))]
    fn ask(&self, guard: &Guard, case: &Case<'_>) -> Opinion {
        (guard.rule)(case)
    }

    #[cfg(feature = "sabotage")]
    fn ask(&self, guard: &Guard, case: &Case<'_>) -> Opinion {
        if self.broken == Some(guard.name) { Opinion::pass("broken for a test") } else { (guard.rule)(case) }
    }

    /// Makes the action that may be dispatched; `None` unless the ruling is `Admitted`.
    pub fn seal(&self, now: Time, id: ActionId, proposal: &Proposal, ruled: &Ruled, generation: u64, attempt: u32) -> Option<Admitted> {
        let spec = self.verb(&proposal.verb)?;
        let action = Action {
            id,
            verb: proposal.verb.clone(),
            target: proposal.target.clone(),
            args: proposal.args.clone(),
            class: spec.class,
            timeout: spec.timeout,
            lease: Lease { generation, expires: now + self.settings.lease },
            because: proposal.because.clone(),
        };
        Admitted::seal(ruled, action, attempt).ok()
    }
}

fn verdict_of(reasons: &[Reason]) -> Verdict {
    let stances = || reasons.iter().map(|reason| reason.stance);
    if stances().any(|s| s == Stance::Deny) {
        return Verdict::Denied;
    }
    if stances().any(|s| s == Stance::Shadow) {
        return Verdict::Shadowed;
    }
    let held = stances().filter_map(|s| if let Stance::Hold { until } = s { Some(until) } else { None }).max();
    if let Some(until) = held {
        return Verdict::Deferred { until };
    }
    let asked = stances().filter_map(|s| if let Stance::Ask { by } = s { Some(by) } else { None }).min();
    asked.map_or(Verdict::Admitted, |by| Verdict::AwaitingApproval { by })
}

#[cfg(test)]
mod tests;
