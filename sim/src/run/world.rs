//! What a run is made of: lab, scenario, policies, seed, and who acts.

use crate::chance;
use crate::lab::Lab;
use crate::plant::{Planned, Plant};
use crate::scenario::{Answer, OrderAt, Scenario};
use crate::shipped;
use homeostat_kernel::Kernel;
use homeostat_model::playbook::{APPROVE, WAIT};
use homeostat_model::{
    ActionId, ActuatorSpec, ArbiterSettings, ArgKind, ArgSpec, Autonomy, Class, Playbook, PolicyOverride, PolicySource, RuleSet, Span,
    StoreSettings, Target, Time, VerbSpec, rules,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who acts.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Nobody.
    DoNothing,
    /// Every proposal at once: no cooldown, no budget, no question.
    BlindApply,
    /// The loop as it is.
    #[default]
    Ours,
}

impl Control {
    /// All, in the order of the table.
    pub const ALL: [Control; 3] = [Control::DoNothing, Control::BlindApply, Control::Ours];

    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Control::DoNothing => "do-nothing",
            Control::BlindApply => "blind-apply",
            Control::Ours => "ours",
        }
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What stands there.
    pub lab: Arc<Lab>,
    /// What happens.
    pub scenario: Scenario,
    /// The policies to choose from.
    pub policies: Vec<PolicySource>,
    /// Everything random.
    pub seed: u64,
    /// Who acts.
    pub control: Control,
    /// A guard that lets everything through, by name: to see that the checkers notice. Only where the kernel was built for that.
    pub broken_guard: Option<String>,
}

/// 2026-01-05T00:00:00Z, a Monday.
const MONDAY: Time = Time(1_767_571_200_000);

impl Setup {
    /// The setup with what its playbooks need in the lab, where the scenario names any.
    ///
    /// # Errors
    /// The shipped equipment is broken.
    pub(super) fn equipped(&self) -> Result<Setup, String> {
        let mut setup = self.clone();
        if !self.scenario.playbooks.is_empty() {
            setup.lab = Arc::new(self.lab.equipped(&shipped::equipment()?));
        }
        Ok(setup)
    }

    /// When the run begins.
    pub fn begin(&self) -> Time {
        MONDAY + Span::from_hours(self.scenario.begins_at_hour)
    }

    /// All faults, planned and by chance, in order.
    pub fn faults(&self) -> Vec<Planned> {
        let mut faults = self.scenario.faults.clone();
        faults.extend(crate::swarm::random_faults(&self.lab, self.seed, self.scenario.lasts, self.scenario.random_faults_per_day));
        faults.sort_by_key(|planned| planned.at);
        faults
    }

    /// Orders of the scenario, and by chance: hands off for a while, so many times per day.
    pub fn orders(&self) -> Vec<OrderAt> {
        let mut orders = self.scenario.orders.clone();
        orders.extend(crate::swarm::random_orders(self.seed, self.scenario.lasts, self.scenario.random_pauses_per_day));
        orders.sort_by_key(|order| order.at);
        orders
    }

    /// Whether everything that the scenario names is there.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn check(&self, plant: &Plant, faults: &[Planned]) -> Result<(), String> {
        let wrong = |what: String| Err(format!("the scenario `{}` {what}", self.scenario.name));
        if let Some(planned) = faults.iter().find(|planned| !plant.knows(&planned.fault)) {
            return wrong(format!("has the fault `{}` on `{}`, which is not in the lab", planned.fault.name(), planned.fault.thing()));
        }
        let known = |name: &str| {
            name == "*" || self.scenario.scripts.contains_key(name) || self.policies.iter().any(|policy| policy.id.as_str() == name)
        };
        let named = self.scenario.policies.iter().chain(self.scenario.changes.keys());
        if let Some(policy) = named.into_iter().find(|name| !known(name)) {
            return wrong(format!("names the policy `{policy}`, which is not there"));
        }
        for name in &self.scenario.playbooks {
            if let Err(problem) = shipped::playbook(name) {
                return wrong(format!("names a playbook: {problem}"));
            }
        }
        for expect in &self.scenario.expect {
            let Some(pattern) = expect.pattern() else { continue };
            if let Some(verb) = pattern.verb.as_ref().filter(|verb| !verb.ends_with('*') && !self.offers(verb)) {
                return wrong(format!("expects something of the verb `{verb}`, which is not in the lab"));
            }
            if let Some(policy) = pattern.policy.as_ref().filter(|policy| !policy.ends_with('*') && !known(policy)) {
                return wrong(format!("expects something of the policy `{policy}`, which is not there"));
            }
        }
        match self.scenario.expect.iter().find_map(crate::scenario::Expect::problem) {
            Some(problem) => wrong(problem),
            None => Ok(()),
        }
    }

    /// The arbiter's settings as the scenario and the lab say: what the checkers hold the kernel to.
    pub fn arbiter(&self) -> ArbiterSettings {
        let mut settings = self.scenario.arbiter.clone().unwrap_or_else(|| {
            let mut settings = ArbiterSettings::default();
            settings.autonomy.extend(self.lab.autonomy.iter().map(|(class, autonomy)| (*class, *autonomy)));
            settings
        });
        let base =
            rules::OwnBase { target: Target::from(format!("node/{}", self.lab.engine).as_str()), why: "the engine's own host".into() };
        settings.own_base.push(base);
        settings
    }

    /// What the kernel works by.
    pub fn rules(&self) -> RuleSet {
        let blind = self.control == Control::BlindApply;
        let arbiter = if blind { without_brakes(&self.arbiter()) } else { self.arbiter() };
        let mut policies: Vec<PolicySource> = self.chosen().into_iter().map(|policy| self.changed(policy, blind)).collect();
        policies.sort_by(|a, b| a.id.cmp(&b.id));
        let topology = self.scenario.topology.clone().filter(|_| !blind).unwrap_or_default();
        // Named ones were looked up when the setup was checked.
        let mut playbooks: Vec<Playbook> = self.scenario.playbooks.iter().filter_map(|name| shipped::playbook(name).ok()).collect();
        playbooks.sort_by(|a, b| a.id.cmp(&b.id));
        let reasoning = self.scenario.reasoning.clone().unwrap_or_default();
        RuleSet { policies, actuators: actuators(&self.lab, blind), playbooks, arbiter, topology, store: self.store(), reasoning }
    }

    fn offers(&self, verb: &str) -> bool {
        let known = |name: &str| self.scenario.playbooks.iter().any(|known| known == name) || [APPROVE, WAIT].contains(&verb);
        self.lab.verbs.contains_key(verb) || verb.strip_prefix("playbook.").is_some_and(known)
    }

    fn store(&self) -> StoreSettings {
        // A thousandth of a large lab must not shed windows.
        StoreSettings { memory_bytes_max: 8 << 30, series_max: 2_000_000, ..StoreSettings::default() }
    }

    fn chosen(&self) -> Vec<PolicySource> {
        let own = self.scenario.scripts.iter().map(|(name, text)| PolicySource {
            id: name.as_str().into(),
            path: format!("{name}.rhai"),
            text: text.clone(),
            overrides: PolicyOverride::default(),
        });
        let wanted: BTreeSet<&str> = self.scenario.policies.iter().map(String::as_str).collect();
        let known = self.policies.iter().filter(|policy| {
            let own = self.scenario.scripts.contains_key(policy.id.as_str());
            let all = wanted.contains("*") || (wanted.is_empty() && self.scenario.scripts.is_empty());
            !own && (all || wanted.contains(policy.id.as_str()))
        });
        known.cloned().chain(own).collect()
    }

    fn changed(&self, mut policy: PolicySource, blind: bool) -> PolicySource {
        if let Some(change) = self.scenario.changes.get(policy.id.as_str()) {
            policy.overrides.autonomy = change.autonomy;
            policy.overrides.cooldown = change.cooldown;
            policy.overrides.every = change.every;
            policy.overrides.params.clone_from(&change.params);
        }
        if blind {
            policy.overrides.cooldown = Some(Span::ZERO);
        }
        policy
    }

    /// After how long which answers to a question come.
    pub fn answers(&self, action: ActionId) -> Vec<(Span, bool)> {
        if self.control == Control::BlindApply {
            return vec![(Span::ZERO, true)];
        }
        let Some(person) = self.scenario.person else { return Vec::new() };
        let after = person.after + person.spread.times(chance::at(self.seed, chance::hash("person"), action.0 as i64));
        match person.says {
            Answer::Approve => vec![(after, true)],
            Answer::Deny => vec![(after, false)],
            Answer::ApproveTwice => vec![(after, true), (after + Span::from_mins(1), true)],
        }
    }

    /// Takes a guard out of the kernel.
    ///
    /// # Errors
    /// There is no such guard, or the kernel was not built for that.
    pub fn break_guard(&self, kernel: &mut Kernel, guard: &str) -> Result<(), String> {
        #[cfg(feature = "sabotage")]
        {
            // Not a guard, but something whose absence must change nothing.
            if guard == "retrace" {
                kernel.run_every_script();
                return Ok(());
            }
            kernel.break_guard(guard)
        }
        #[cfg(not(feature = "sabotage"))]
        {
            let _ = kernel;
            Err(format!("the guard `{guard}` cannot be broken: this build has no `sabotage`"))
        }
    }

    /// For shrinking and listings: another number for the same kind of run.
    pub fn with_seed(&self, seed: u64) -> Setup {
        Setup { seed, ..self.clone() }
    }

    /// A number that belongs to the whole setup.
    pub fn fingerprint(&self) -> u64 {
        chance::hash(&self.scenario.to_yaml()) ^ self.seed
    }
}

/// What can be done in a lab, as the kernel needs to know it.
pub fn actuators(lab: &Lab, blind: bool) -> Vec<ActuatorSpec> {
    let mut specs: BTreeMap<String, ActuatorSpec> = BTreeMap::new();
    for (name, entry) in &lab.verbs {
        let texts =
            entry.texts.iter().map(|arg| ArgSpec { name: arg.clone(), kind: ArgKind::Text(4000), required: false, doc: String::new() });
        let ints = entry.ints.iter().map(|(arg, (low, high))| ArgSpec {
            name: arg.clone(),
            kind: ArgKind::Int(*low, *high),
            required: true,
            doc: String::new(),
        });
        let verb = VerbSpec {
            verb: name.as_str().into(),
            class: entry.class,
            args: texts.chain(ints).collect(),
            target_kinds: Vec::new(),
            targets: None,
            opposite: entry.opposite.as_deref().filter(|_| !blind).map(Into::into),
            settle: if blind { Span::ZERO } else { entry.settle },
            timeout: entry.timeout,
            revertible: entry.does.is_revertible(),
            cost: Default::default(),
            doc: format!("{:?} in the plant.", entry.does),
        };
        let id = verb.verb.actuator().to_owned();
        let spec = specs.entry(id.clone()).or_insert_with(|| ActuatorSpec { id: id.as_str().into(), verbs: Vec::new() });
        spec.verbs.push(verb);
    }
    specs.into_values().collect()
}

/// Settings under which nothing holds a proposal back, as far as settings can do that.
fn without_brakes(settings: &ArbiterSettings) -> ArbiterSettings {
    let all = |value: u32| Class::ALL.into_iter().map(|class| (class, value)).collect();
    ArbiterSettings {
        autonomy: Class::ALL.into_iter().map(|class| (class, Autonomy::Auto)).collect(),
        boot_grace: Span::ZERO,
        clock_jump_freeze: Span::ZERO,
        observer_fault_targets_min: usize::MAX,
        futility_attempts_max: u32::MAX,
        concurrent_max: all(u32::MAX),
        per_hour_max: all(u32::MAX),
        ..settings.clone()
    }
}
