//! Rules: loaded as a whole or not at all. A reload keeps the state of what did not change.

use super::Kernel;
use crate::playbook::{Checked, own_verbs, spec_of};
use crate::policy::{ForEach, Policy, Subject, Traits, digest};
use crate::units::SubjectKey;
use homeostat_model::{Event, Note, Origin, PolicyId, RuleSet, Target, Verb, VerbSpec};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

impl Kernel {
    /// Takes in a rule set. Where a policy is broken the old set stays; at the first load the sound ones are taken, because
    /// watching with most policies is better than not watching.
    pub(super) fn loaded(&mut self, rules: RuleSet) {
        let first = self.policies.is_empty();
        let (mut compiled, mut errors) = (BTreeMap::new(), Vec::new());
        for source in rules.policies.iter().filter(|source| source.overrides.enabled != Some(false)) {
            match self.host.compile(source) {
                Ok(policy) => drop(compiled.insert(policy.id.clone(), policy)),
                Err(more) => errors.extend(more.iter().map(ToString::to_string)),
            }
        }
        let playbooks = self.check_playbooks(&rules, &mut errors);
        if !errors.is_empty() {
            self.stats.loads_refused += 1;
            self.note(Note::LoadRefused { errors });
            if !first {
                return;
            }
        }
        let settings = RuleSet { arbiter: rules.arbiter.clone(), ..RuleSet::default() };
        self.ledger.apply_event(self.now, &Event::Loaded(Box::new(settings)));
        self.host.with_store(|store| store.reconfigure(rules.store.clone()));
        let actuators = rules.actuators.into_iter().flat_map(|spec| spec.verbs);
        let verbs = actuators.chain(own_verbs()).chain(playbooks.values().map(|checked| checked.spec.clone()));
        self.arbiter = self.arbiter.renewed(verbs, rules.arbiter, rules.topology);
        self.playbooks = playbooks;
        self.reasoning = rules.reasoning;
        let changed = self.replace_policies(compiled);
        let policies: Vec<_> = self.policies.values().map(|policy| (policy.id.clone(), policy.digest.clone())).collect();
        let verbs: Vec<_> = self.arbiter.specs().values().map(|spec| (spec.verb.clone(), self.verb_digest(spec))).collect();
        let steps = self.steps_by_change(&policies, &verbs);
        self.note(Note::PoliciesLoaded { policies, verbs });
        steps.into_iter().for_each(|step| self.take_step(Some(step)));
        // Only now: what a changed policy wishes at once has the autonomy of its new text.
        self.remark(&changed);
        self.arm_upkeep();
        if self.ledger.alerts().any(|known| known.firing) {
            self.arm_advice();
        }
        self.protect_inputs();
        self.stir_all();
        self.evaluate_marked();
    }

    /// The playbooks of a rule set that may be loaded; the problems of the others go to `errors`.
    fn check_playbooks(&self, rules: &RuleSet, errors: &mut Vec<String>) -> BTreeMap<Verb, Checked> {
        let verbs: BTreeMap<&Verb, &VerbSpec> =
            rules.actuators.iter().flat_map(|spec| &spec.verbs).map(|spec| (&spec.verb, spec)).collect();
        let names: BTreeSet<&str> = verbs.keys().map(|verb| verb.as_str()).collect();
        let catalogue = |verb: &Verb| verbs.get(verb).map(|spec| (*spec).clone());
        let mut sound = BTreeMap::new();
        for playbook in &rules.playbooks {
            let problems = crate::playbook::check(playbook, &catalogue, &names, &self.host);
            if problems.is_empty() {
                sound.insert(playbook.verb(), Checked { spec: spec_of(playbook, &catalogue), playbook: playbook.clone() });
            }
            errors.extend(problems);
        }
        sound
    }

    /// Whether a rule set was taken in since the start.
    pub(super) fn has_rules(&self) -> bool {
        self.arbiter.verb(&homeostat_model::playbook::APPROVE.into()).is_some()
    }

    /// How a verb does it, as a digest: its actuator's word on it, or its playbook's text. What was learned of another digest is forgotten.
    fn verb_digest(&self, spec: &VerbSpec) -> String {
        let text = match self.playbooks.get(&spec.verb) {
            Some(checked) => serde_json::to_vec(&checked.playbook),
            // Another node in the configuration, another price or another word of it is no other way of doing it.
            None => serde_json::to_vec(&VerbSpec { targets: None, cost: Default::default(), doc: String::new(), ..spec.clone() }),
        };
        Sha256::digest(text.unwrap_or_default()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A loaded playbook, by its verb.
    pub fn playbook(&self, verb: &Verb) -> Option<&Checked> {
        self.playbooks.get(verb)
    }

    /// The loaded playbooks, by verb.
    pub fn playbooks(&self) -> impl Iterator<Item = &Checked> {
        self.playbooks.values()
    }

    /// Checks a rule set without taking it in: every problem as it would be shown.
    pub fn check(&self, rules: &RuleSet) -> Result<Vec<Policy>, Vec<String>> {
        let (mut sound, mut errors) = (Vec::new(), Vec::new());
        for source in &rules.policies {
            match self.host.compile(source) {
                Ok(policy) => sound.push(policy),
                Err(more) => errors.extend(more.iter().map(ToString::to_string)),
            }
        }
        self.check_playbooks(rules, &mut errors);
        if errors.is_empty() { Ok(sound) } else { Err(errors) }
    }

    /// Whether a source is what is loaded now.
    pub fn is_loaded(&self, source: &homeostat_model::PolicySource) -> bool {
        self.policies.get(&source.id).is_some_and(|policy| policy.digest == digest(source))
    }

    /// What no loaded policy and no claim reads may be shed again.
    fn protect_inputs(&mut self) {
        let Kernel { host, units, ledger, .. } = self;
        host.with_store(|store| {
            store.unprotect_all();
            units.iter().flat_map(|(_, unit)| &unit.inputs).for_each(|series| store.protect(*series));
            for claim in ledger.actions().filter(|state| state.judgement.is_none()).filter_map(|state| state.proposal.claim.as_ref()) {
                if let homeostat_model::ClaimSubject::Series { series, .. } = &claim.subject
                    && let Some(found) = store.find(series)
                {
                    store.protect(found);
                }
            }
        });
    }

    fn replace_policies(&mut self, compiled: BTreeMap<PolicyId, Policy>) -> BTreeSet<PolicyId> {
        let gone: Vec<PolicyId> = self.policies.keys().filter(|id| !compiled.contains_key(id.as_str())).cloned().collect();
        for policy in gone {
            for (key, _) in self.units.of_policy(&policy) {
                self.drop_unit(&policy, &key);
            }
        }
        let changed: BTreeSet<PolicyId> = compiled
            .values()
            .filter(|policy| self.policies.get(&policy.id).is_none_or(|old| old.digest != policy.digest))
            .map(|policy| policy.id.clone())
            .collect();
        self.policies.retain(|id, _| compiled.contains_key(id.as_str()));
        for (id, policy) in compiled {
            if changed.contains(&id) {
                self.policies.insert(id, policy);
            }
        }
        // What a policy wished that is no longer there is closed. People and runs are no policies: their questions stay.
        let is_policy =
            |name: &str| name != homeostat_model::playbook::PLAYBOOK && name != crate::ledger::OPERATOR && name != crate::ledger::REASONER;
        let orphans: Vec<(String, String)> =
            self.open.keys().filter(|(policy, _)| is_policy(policy) && !self.policies.contains_key(policy.as_str())).cloned().collect();
        for symptom in orphans {
            self.close_open(symptom, &BTreeSet::new(), "its policy was removed");
        }
        changed
    }

    /// Gives changed policies their units, and evaluates them at once.
    fn remark(&mut self, changed: &BTreeSet<PolicyId>) {
        for policy in changed {
            let (once, no_longer_each) = match self.policies.get(policy) {
                Some(p) => (p.has_evaluate && matches!(p.for_each, ForEach::Once), matches!(p.for_each, ForEach::Once)),
                None => continue,
            };
            for (key, id) in self.units.of_policy(policy) {
                let stale = match key {
                    SubjectKey::Series(_) => no_longer_each,
                    SubjectKey::Once => !once,
                    SubjectKey::Alert(_) => true,
                };
                if stale { self.drop_unit(policy, &key) } else { self.units.mark(id) }
            }
            if once && self.units.find(policy, &SubjectKey::Once).is_none() {
                let traits =
                    Traits { origin: Origin::Policy(policy.clone()), symptom: "-".into(), target: Target::new(format!("policy/{policy}")) };
                self.add_unit(policy, SubjectKey::Once, Subject::Once, traits);
            }
        }
        self.refresh_units();
        if !changed.is_empty() {
            self.restore_alert_units(changed);
        }
    }
}
