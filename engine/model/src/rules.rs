//! What the kernel works by: policies, what actuators can do, and the arbiter's settings. A reload is an event too, so all of it is
//! plain data that the journal keeps.

use crate::{
    ActuatorSpec, Arg, BlastSettings, Calendar, Class, DayBudget, EarnedSettings, Floor, MonthBudget, Playbook, PolicyId, Rung, Span,
    StormSettings, Target, Tariff, TopologySettings, WitnessSettings,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much may be done without a person.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Autonomy {
    /// Watch only: say what would have been done.
    Shadow,
    /// Ask a person.
    Suggest,
    /// Tell a person, wait, then do it unless stopped.
    Veto,
    /// Do it.
    Auto,
}

impl Autonomy {
    /// All levels, lowest first.
    pub const ALL: [Autonomy; 4] = [Autonomy::Shadow, Autonomy::Suggest, Autonomy::Veto, Autonomy::Auto];

    /// The name used in policies, configuration and journal.
    pub fn name(self) -> &'static str {
        match self {
            Autonomy::Shadow => "shadow",
            Autonomy::Suggest => "suggest",
            Autonomy::Veto => "veto",
            Autonomy::Auto => "auto",
        }
    }
}

/// What the configuration changes in a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyOverride {
    /// `Some(false)`: the policy is not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A lower (never a higher) autonomy than the author's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autonomy: Option<Autonomy>,
    /// Another rhythm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Another cooldown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Span>,
    /// Values for the policy's `params`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Arg>,
}

/// A policy's text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySource {
    /// Its name.
    pub id: PolicyId,
    /// Where it came from, for messages: `policies/disk-full.rhai`.
    pub path: String,
    /// The script.
    pub text: String,
    /// What the configuration changes.
    #[serde(default)]
    pub overrides: PolicyOverride,
}

/// Something the engine itself stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnBase {
    /// The target.
    pub target: Target,
    /// What it is to the engine: "the engine's own host", "the default gateway".
    pub why: String,
}

/// The arbiter's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArbiterSettings {
    /// The most autonomy per class, whatever a policy asks for.
    pub autonomy: BTreeMap<Class, Autonomy>,
    /// What the engine stands on.
    pub own_base: Vec<OwnBase>,
    /// How long a question to a person stays open.
    pub approval_ttl: Span,
    /// How long `veto` waits.
    pub veto_wait: Span,
    /// How long an admitted action may wait to be started.
    pub lease: Span,
    /// Evidence older than this never leads to an action; the reading's own staleness rule comes first.
    pub evidence_age_max: Span,
    /// No `disruptive` or worse for this long after a start.
    pub boot_grace: Span,
    /// No `disruptive` or worse for this long after the clock jumped.
    pub clock_jump_freeze: Span,
    /// Observer fault: this share of a policy's targets bad at once …
    pub observer_fault_ratio: f64,
    /// … and at least this many …
    pub observer_fault_targets_min: usize,
    /// … until it was quiet for this long.
    pub observer_fault_quiet: Span,
    /// Observer fault, one after the other: `observer_fault_targets_min` other nodes taken down by one policy and verb within this
    /// span hold the next.
    pub observer_fault_window: Span,
    /// Futility: this many attempts on one symptom …
    pub futility_attempts_max: u32,
    /// … within this span lock it until a person unlocks it.
    pub futility_window: Span,
    /// How many actions of a class may run at once.
    pub concurrent_max: BTreeMap<Class, u32>,
    /// How many actions of a class may be sent per hour.
    pub per_hour_max: BTreeMap<Class, u32>,
    /// What may be spent in a day.
    pub day: DayBudget,
    /// What may be spent in a month.
    pub month: MonthBudget,
    /// What energy costs when.
    pub tariff: Tariff,
    /// How many of which targets must stay healthy.
    pub floors: Vec<Floor>,
    /// How much one wish may take down.
    pub blast: BlastSettings,
    /// When what may be done.
    pub calendar: Calendar,
    /// Who must see the same before a node is taken down.
    pub witnesses: WitnessSettings,
    /// When much is wrong at once.
    pub storm: StormSettings,
    /// What is tried before what.
    pub ladder: Vec<Rung>,
    /// How autonomy is earned.
    pub earned: EarnedSettings,
}

impl Default for ArbiterSettings {
    fn default() -> ArbiterSettings {
        use Class::*;
        ArbiterSettings {
            autonomy: BTreeMap::from([
                (Notify, Autonomy::Auto),
                (Restore, Autonomy::Auto),
                (Reversible, Autonomy::Auto),
                (Disruptive, Autonomy::Suggest),
                (Irreversible, Autonomy::Suggest),
            ]),
            own_base: Vec::new(),
            approval_ttl: Span::from_mins(60),
            veto_wait: Span::from_mins(5),
            lease: Span::from_secs(60),
            evidence_age_max: Span::from_mins(30),
            boot_grace: Span::from_mins(2),
            clock_jump_freeze: Span::from_mins(5),
            observer_fault_ratio: 0.3,
            observer_fault_targets_min: 2,
            observer_fault_quiet: Span::from_mins(5),
            observer_fault_window: Span::from_mins(20),
            futility_attempts_max: 3,
            futility_window: Span::from_hours(4),
            concurrent_max: BTreeMap::from([(Notify, 8), (Restore, 3), (Reversible, 3), (Disruptive, 1), (Irreversible, 1)]),
            per_hour_max: BTreeMap::from([(Notify, 120), (Restore, 30), (Reversible, 30), (Disruptive, 6), (Irreversible, 2)]),
            day: DayBudget::default(),
            month: MonthBudget::default(),
            tariff: Tariff::default(),
            floors: Vec::new(),
            blast: BlastSettings::default(),
            calendar: Calendar::default(),
            witnesses: WitnessSettings::default(),
            storm: StormSettings::default(),
            ladder: Vec::new(),
            // Nothing need be earned where nobody said so: in tests, in simulations, in journals from before there was a ladder.
            earned: EarnedSettings { start: Autonomy::Auto, ..EarnedSettings::default() },
        }
    }
}

/// The store's limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreSettings {
    /// How far back windows reach.
    pub retention: Span,
    /// Memory for samples and series, in bytes.
    pub memory_bytes_max: u64,
    /// Series in all.
    pub series_max: u32,
    /// Labels of one series.
    pub labels_max: u32,
    /// Bytes of one label name or value.
    pub label_bytes_max: u32,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            retention: Span::from_hours(24),
            memory_bytes_max: 256 << 20,
            series_max: 500_000,
            labels_max: 64,
            label_bytes_max: 2048,
        }
    }
}

/// Everything the kernel works by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleSet {
    /// The policies, ordered by name.
    pub policies: Vec<PolicySource>,
    /// What can be done.
    pub actuators: Vec<ActuatorSpec>,
    /// What can be done in several steps, ordered by name.
    #[serde(default)]
    pub playbooks: Vec<Playbook>,
    /// The arbiter's settings.
    #[serde(default)]
    pub arbiter: ArbiterSettings,
    /// What hangs on what.
    #[serde(default)]
    pub topology: TopologySettings,
    /// The store's limits.
    #[serde(default)]
    pub store: StoreSettings,
    /// When reasoners are asked.
    #[serde(default)]
    pub reasoning: crate::ReasoningSettings,
}
