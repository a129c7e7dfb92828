//! The sections that belong to the daemon and the kernel, as people write them, and how they become the model's settings.
//!
//! The model's own types carry no schema, so they are mirrored here with every field documented; a test compares the defaults.
//! Deliberately absent: the plugs' sections.

use super::around::{
    BlastShape, CalendarShape, DayBudgetShape, DayText, EarnedShape, FloorShape, MonthBudgetShape, RungShape, StormShape, TariffShape,
    WitnessShape,
};
use homeostat_model::rules::OwnBase;
use homeostat_model::{
    ArbiterSettings, Arg, Autonomy, BlastSettings, Calendar, Class, DayBudget, DayTime, EarnedSettings, Floor, MonthBudget, PolicyId,
    PolicyOverride, Rung, Secret, Span, StoreSettings, StormSettings, Target, Tariff, Weekday, WitnessSettings,
};
use homeostat_sensors::webhook::{WebhookAuthConfig, WebhookLimits};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The schema of a duration.
pub struct DurationText;

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

/// The schema of a secret.
pub(super) struct SecretText;

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "secret" })
    }
}

/// The schema of an autonomy.
pub struct AutonomyText;

impl JsonSchema for AutonomyText {
    fn schema_name() -> Cow<'static, str> {
        "Autonomy".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Autonomy::ALL.map(Autonomy::name) })
    }
}

/// Agents: who may look, ask and propose over HTTP, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct McpConfig {
    /// Whether the Model Context Protocol is served at `/mcp`. `homeostat mcp` speaks it on stdin and stdout without this.
    pub http: bool,
    /// Tokens by name, for agents: `helper: ${env:HELPER_TOKEN}`. They may look, ask and propose; whatever they propose waits for a
    /// person, and every order is refused.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, SecretText>")]
    pub agents: BTreeMap<String, Secret>,
}

/// How alert senders prove themselves, and how much they may send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhooksConfig {
    /// Who may post to `/webhooks/alertmanager`.
    pub alertmanager: WebhookAuthConfig,
    /// Who may post to `/webhooks/grafana`.
    pub grafana: WebhookAuthConfig,
    /// How much one delivery may hold.
    pub limits: WebhookLimits,
    /// Deliveries per second that one sender may make in the long run.
    pub per_second_max: f64,
    /// Deliveries that one sender may make at once.
    pub burst_max: u32,
}

impl Default for WebhooksConfig {
    fn default() -> WebhooksConfig {
        WebhooksConfig {
            alertmanager: WebhookAuthConfig::None,
            grafana: WebhookAuthConfig::None,
            limits: WebhookLimits::default(),
            // Alertmanager drops a delivery that is answered 429, so only a flood may reach these.
            per_second_max: 1000.0,
            burst_max: 10_000,
        }
    }
}

impl WebhooksConfig {
    pub(super) fn open_to_everybody(&self) -> bool {
        self.alertmanager == WebhookAuthConfig::None || self.grafana == WebhookAuthConfig::None
    }
}

/// Where policies come from, and what is changed in them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoliciesConfig {
    /// A folder with `*.rhai` files. Without it: the shipped policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// A folder with candidates: `x.rhai` runs beside the policy `x` as `x.candidate`, on the same data and with the same changes, and
    /// never acts; one that is broken is left out with a warning. `homeostat policy compare x` tells what both wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<PathBuf>,
    /// Changes by policy name (the file's name without `.rhai`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, PolicyOverrideConfig>,
}

impl PoliciesConfig {
    /// The changes as the kernel takes them.
    pub fn overrides(&self) -> BTreeMap<PolicyId, PolicyOverride> {
        self.overrides.iter().map(|(name, change)| (PolicyId::from(name.as_str()), change.clone().into())).collect()
    }
}

/// Where playbooks come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlaybooksConfig {
    /// A folder with `*.yaml` files. Without it: those of the shipped playbooks whose verbs the actuators have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// What is changed in one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyOverrideConfig {
    /// `false`: the policy is not evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A lower (never a higher) autonomy than the author's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AutonomyText>")]
    pub autonomy: Option<Autonomy>,
    /// Another rhythm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationText>")]
    pub every: Option<Span>,
    /// Another cooldown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationText>")]
    pub cooldown: Option<Span>,
    /// Values for the policy's `params`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub params: BTreeMap<String, Arg>,
}

impl From<PolicyOverrideConfig> for PolicyOverride {
    fn from(change: PolicyOverrideConfig) -> PolicyOverride {
        let PolicyOverrideConfig { enabled, autonomy, every, cooldown, params } = change;
        PolicyOverride { enabled, autonomy, every, cooldown, params }
    }
}

/// One value per class of actions; a class that is not given keeps the default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerClass<T> {
    /// Tells somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<T>,
    /// Brings something back (wake, scale up).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<T>,
    /// Can be taken back without loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reversible: Option<T>,
    /// Interrupts somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruptive: Option<T>,
    /// Cannot be taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<T>,
}

impl<T> Default for PerClass<T> {
    fn default() -> PerClass<T> {
        PerClass { notify: None, restore: None, reversible: None, disruptive: None, irreversible: None }
    }
}

impl<T: Clone> PerClass<T> {
    /// Puts what is given over the defaults.
    fn over(&self, defaults: &mut BTreeMap<Class, T>) {
        let given = [&self.notify, &self.restore, &self.reversible, &self.disruptive, &self.irreversible];
        for (class, value) in Class::ALL.into_iter().zip(given) {
            if let Some(value) = value {
                defaults.insert(class, value.clone());
            }
        }
    }
}

/// Something the engine itself stands on, beyond what it finds by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnBaseConfig {
    /// The target, `node/brain`.
    pub target: String,
    /// What it is to the engine: "runs its Prometheus".
    pub why: String,
}

/// How proposals are ruled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArbiterConfig {
    /// The most autonomy per class, whatever a policy asks for: `shadow`, `suggest`, `veto` or `auto`.
    #[schemars(with = "PerClass<AutonomyText>")]
    pub autonomy: PerClass<Autonomy>,
    /// What the engine stands on and never acts against; its own host is found by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own_base: Vec<OwnBaseConfig>,
    /// How long a question to a person stays open.
    #[schemars(with = "DurationText")]
    pub approval_ttl: Span,
    /// How long `veto` waits for a no.
    #[schemars(with = "DurationText")]
    pub veto_wait: Span,
    /// How long an admitted action may wait to be started.
    #[schemars(with = "DurationText")]
    pub lease: Span,
    /// Evidence older than this never leads to an action.
    #[schemars(with = "DurationText")]
    pub evidence_age_max: Span,
    /// No `disruptive` or worse for this long after a start.
    #[schemars(with = "DurationText")]
    pub boot_grace: Span,
    /// No `disruptive` or worse for this long after the clock jumped.
    #[schemars(with = "DurationText")]
    pub clock_jump_freeze: Span,
    /// Observer fault: a policy's actions stop where this share (0 to 1) of its targets is bad at once.
    pub observer_fault_ratio: f64,
    /// Observer fault: and at least this many of its targets are.
    pub observer_fault_targets_min: usize,
    /// Observer fault: they go on when it was quiet for this long.
    #[schemars(with = "DurationText")]
    pub observer_fault_quiet: Span,
    /// Observer fault: once a policy took down `observer_fault_targets_min` nodes, one after the other, within this span, its next waits.
    #[schemars(with = "DurationText")]
    pub observer_fault_window: Span,
    /// Futility: this many attempts on one symptom within `futility_window` lock it.
    pub futility_attempts_max: u32,
    /// Futility: the span in which attempts are counted. Only a person unlocks.
    #[schemars(with = "DurationText")]
    pub futility_window: Span,
    /// How many actions of a class may run at once.
    pub concurrent_max: PerClass<u32>,
    /// How many actions of a class may be sent per hour.
    pub per_hour_max: PerClass<u32>,
    /// What may be spent in a day: minutes of interruption, joules, euros.
    #[schemars(with = "DayBudgetShape")]
    pub day: DayBudget,
    /// What may be spent in a month.
    #[schemars(with = "MonthBudgetShape")]
    pub month: MonthBudget,
    /// What energy costs when.
    #[schemars(with = "TariffShape")]
    pub tariff: Tariff,
    /// How policies earn their autonomy.
    #[schemars(with = "EarnedShape")]
    pub earned: EarnedSettings,
    /// How many of which targets must stay healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<FloorShape>")]
    pub floors: Vec<Floor>,
    /// How much one wish may take down.
    #[schemars(with = "BlastShape")]
    pub blast: BlastSettings,
    /// When what may be done.
    #[schemars(with = "CalendarShape")]
    pub calendar: Calendar,
    /// Who must see the same before a node is taken down, and what proves that the engine is not cut off.
    #[schemars(with = "WitnessShape")]
    pub witnesses: WitnessSettings,
    /// When much is wrong at once, or much is coming back.
    #[schemars(with = "StormShape")]
    pub storm: StormSettings,
    /// What is tried before what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<RungShape>")]
    pub ladder: Vec<Rung>,
}

impl Default for ArbiterConfig {
    fn default() -> ArbiterConfig {
        let model = ArbiterSettings::default();
        ArbiterConfig {
            autonomy: PerClass::default(),
            own_base: Vec::new(),
            approval_ttl: model.approval_ttl,
            veto_wait: model.veto_wait,
            lease: model.lease,
            evidence_age_max: model.evidence_age_max,
            boot_grace: model.boot_grace,
            clock_jump_freeze: model.clock_jump_freeze,
            observer_fault_ratio: model.observer_fault_ratio,
            observer_fault_targets_min: model.observer_fault_targets_min,
            observer_fault_quiet: model.observer_fault_quiet,
            observer_fault_window: model.observer_fault_window,
            futility_attempts_max: model.futility_attempts_max,
            futility_window: model.futility_window,
            concurrent_max: PerClass::default(),
            per_hour_max: PerClass::default(),
            day: model.day,
            month: model.month,
            tariff: model.tariff,
            // A daemon in somebody's house begins by asking, whatever the kernel does by itself.
            earned: EarnedSettings::default(),
            floors: model.floors,
            blast: model.blast,
            calendar: model.calendar,
            witnesses: model.witnesses,
            storm: model.storm,
            ladder: model.ladder,
        }
    }
}

impl ArbiterConfig {
    /// The settings as the kernel takes them. The caller adds the own base that it finds (host, gateway, DNS).
    pub fn settings(&self) -> ArbiterSettings {
        let mut settings = ArbiterSettings {
            own_base: self.own_base.iter().map(|own| OwnBase { target: Target::from(own.target.as_str()), why: own.why.clone() }).collect(),
            approval_ttl: self.approval_ttl,
            veto_wait: self.veto_wait,
            lease: self.lease,
            evidence_age_max: self.evidence_age_max,
            boot_grace: self.boot_grace,
            clock_jump_freeze: self.clock_jump_freeze,
            observer_fault_ratio: self.observer_fault_ratio,
            observer_fault_targets_min: self.observer_fault_targets_min,
            observer_fault_quiet: self.observer_fault_quiet,
            observer_fault_window: self.observer_fault_window,
            futility_attempts_max: self.futility_attempts_max,
            futility_window: self.futility_window,
            day: self.day.clone(),
            month: self.month.clone(),
            tariff: self.tariff.clone(),
            earned: self.earned.clone(),
            floors: self.floors.clone(),
            blast: self.blast.clone(),
            calendar: self.calendar.clone(),
            witnesses: self.witnesses.clone(),
            storm: self.storm.clone(),
            ladder: self.ladder.clone(),
            ..ArbiterSettings::default()
        };
        self.autonomy.over(&mut settings.autonomy);
        self.concurrent_max.over(&mut settings.concurrent_max);
        self.per_hour_max.over(&mut settings.per_hour_max);
        settings
    }
}

/// What a delivered digest is written to.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DigestFile {
    /// Nothing: the short form is told, and that is all.
    None,
    /// A Markdown file.
    Markdown,
    /// One HTML page with plots.
    #[default]
    Html,
}

/// The digest by itself: in short over the default notification channels, and in full as a file under `digests` in the data folder.
/// Read at the start only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DigestConfig {
    /// The time of day, `08:00`, local by `arbiter.tariff.utc_offset_minutes`. Without it: no digest comes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub at: Option<DayTime>,
    /// The days on which it comes; empty: every day.
    #[schemars(with = "Vec<DayText>")]
    pub weekdays: Vec<Weekday>,
    /// How far back it looks, one hour to 366 days.
    #[schemars(with = "DurationText")]
    pub span: Span,
    /// What the full one is written as; the newest hundred files are kept.
    pub file: DigestFile,
}

impl Default for DigestConfig {
    fn default() -> DigestConfig {
        DigestConfig { at: None, weekdays: vec![Weekday::Mon], span: crate::digest::delivery::SPAN_USUAL, file: DigestFile::Html }
    }
}

/// The limits of the windows in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// How far back windows reach.
    #[schemars(with = "DurationText")]
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

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        let StoreSettings { retention, memory_bytes_max, series_max, labels_max, label_bytes_max } = StoreSettings::default();
        StoreConfig { retention, memory_bytes_max, series_max, labels_max, label_bytes_max }
    }
}

impl StoreConfig {
    /// The settings as the kernel takes them.
    pub fn settings(&self) -> StoreSettings {
        let StoreConfig { retention, memory_bytes_max, series_max, labels_max, label_bytes_max } = self.clone();
        StoreSettings { retention, memory_bytes_max, series_max, labels_max, label_bytes_max }
    }
}

/// How long events and effects are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// How long entries are kept. What is still needed is kept longer.
    #[schemars(with = "DurationText")]
    pub retention: Span,
    /// Bytes of the table; the oldest entries go first.
    pub bytes_max: u64,
    /// How long ticks and reads may stay unsynced. What an action rests on is always synced before it.
    #[schemars(with = "DurationText")]
    pub sync_every: Span,
}

impl Default for JournalConfig {
    fn default() -> JournalConfig {
        let crate::journal::JournalSettings { retention, bytes_max, sync_every, .. } = Default::default();
        JournalConfig { retention, bytes_max, sync_every }
    }
}

/// How long ticks and reads are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplesConfig {
    /// How long segments are kept.
    #[schemars(with = "DurationText")]
    pub retention: Span,
    /// Bytes on disk, all segments together; the oldest go first.
    pub bytes_max: u64,
    /// A segment ends at this many bytes.
    pub segment_bytes_max: u64,
    /// A segment ends at this age, if it did not end by its size.
    #[schemars(with = "DurationText")]
    pub segment_age_max: Span,
}

impl Default for SamplesConfig {
    fn default() -> SamplesConfig {
        let crate::samples::SampleSettings { retention, bytes_max, segment_bytes_max, segment_age_max } = Default::default();
        SamplesConfig { retention, bytes_max, segment_bytes_max, segment_age_max }
    }
}
