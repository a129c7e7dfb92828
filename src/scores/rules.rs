//! What is in force beside the ledger: how autonomy is earned, what a month may cost, what verbs cost, and what policies say of themselves.
//!
//! Taken from the newest rule set in the journal that loads, so that the daemon's answer and the one without a daemon rest on the same.
//! Deliberately absent: the configuration file; what it says may not be loaded yet.

use crate::journal::{JournalError, JournalReader};
use homeostat_kernel::Kernel;
use homeostat_kernel::policy::Policy;
use homeostat_model::{
    ArbiterSettings, Autonomy, Class, EntryBody, Event, PolicyId, RuleSet, Span, StoreSettings, Tariff, Time, Verb, VerbSpec,
};
use std::collections::BTreeMap;

/// Rule sets that are tried: one that was refused stands in the journal too.
const SETS_TRIED_MAX: u32 = 8;

/// What a policy says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFacts {
    /// What it is for.
    pub doc: String,
    /// The most autonomy that its author allows.
    pub autonomy: Autonomy,
    /// The longest time between two evaluations.
    pub every: Span,
    /// Its settling time, if it says one.
    pub settle: Option<Span>,
    /// How long a passed drill counts, if it names one.
    pub drill_every: Option<Span>,
}

impl PolicyFacts {
    fn of(policy: &Policy) -> PolicyFacts {
        PolicyFacts {
            doc: policy.doc.clone(),
            autonomy: policy.autonomy,
            every: policy.every,
            settle: policy.settle,
            drill_every: policy.drill.as_ref().map(|drill| drill.every),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The number of the entry that it stands in; 0: nothing was ever loaded, and these are the defaults.
    pub seq: u64,
    /// The arbiter's settings.
    pub arbiter: ArbiterSettings,
    /// The verbs.
    pub verbs: BTreeMap<Verb, VerbSpec>,
    /// The policies.
    pub policies: BTreeMap<PolicyId, PolicyFacts>,
}

impl Rules {
    /// The rules in force by the journal. `known`: those of an earlier call, given back if nothing was loaded since.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn read(reader: &JournalReader, known: Option<&Rules>) -> Result<Rules, JournalError> {
        let filter =
            crate::journal::Filter { name: Some("loaded".into()), newest_first: true, limit: SETS_TRIED_MAX, ..Default::default() };
        let page = reader.find(&filter)?;
        for entry in page.entries {
            if let Some(known) = known.filter(|known| known.seq == entry.seq) {
                return Ok(known.clone());
            }
            if let EntryBody::Event(Event::Loaded(set)) = &entry.body
                && let Some(rules) = Rules::of(entry.seq, set)
            {
                return Ok(rules);
            }
        }
        Ok(Rules::default())
    }

    /// From a rule set; `None`: it does not load.
    pub fn of(seq: u64, set: &RuleSet) -> Option<Rules> {
        let policies = Kernel::new(StoreSettings::default()).check(set).ok()?;
        let verbs = set.actuators.iter().flat_map(|actuator| &actuator.verbs);
        Some(Rules {
            seq,
            arbiter: set.arbiter.clone(),
            verbs: verbs.map(|spec| (spec.verb.clone(), spec.clone())).collect(),
            policies: policies.iter().map(|policy| (policy.id.clone(), PolicyFacts::of(policy))).collect(),
        })
    }

    /// The most that a policy may come to in a class; `None`: it is not loaded.
    pub fn ceiling(&self, policy: &PolicyId, class: Class) -> Option<Autonomy> {
        let author = self.policies.get(policy)?.autonomy;
        Some(self.arbiter.autonomy.get(&class).copied().unwrap_or(Autonomy::Suggest).min(author))
    }

    /// What energy costs.
    pub fn tariff(&self) -> &Tariff {
        &self.arbiter.tariff
    }

    /// How soon a policy looks again, and how long it takes a target to be settling.
    pub(crate) fn pace(&self, policy: &PolicyId, verb: &Verb) -> Option<(Span, Span)> {
        let facts = self.policies.get(policy)?;
        let settle = facts.settle.or_else(|| Some(self.verbs.get(verb)?.settle)).unwrap_or_default();
        Some((facts.every, settle))
    }

    /// The local day of a moment, as `2026-11-21`, by the tariff's offset.
    pub(crate) fn day(&self, at: Time) -> String {
        let local = at.millis().saturating_add(i64::from(self.tariff().utc_offset_minutes) * 60_000);
        let (year, month, day) = homeostat_kernel::score::books::civil_from_days(local.div_euclid(86_400_000));
        format!("{year:04}-{month:02}-{day:02}")
    }
}
