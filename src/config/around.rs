//! The sections of the topology and of the guards that look along it. The fields hold the model's types, which carry no schema; the
//! structs whose names end in `Shape` are that schema, with every field documented. A test reads every field back.

use super::sections::{AutonomyText, DurationText};
use homeostat_model::{HealthRule, Link, LinkRule, OwnerRule, Quorum, TopologySettings};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

macro_rules! text_schema {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $body:tt) => {
        $(#[$doc])*
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($body)
            }
        }
    };
}

text_schema!(
    /// One of the kinds of links.
    EdgeText, "Edge", { "type": "string", "enum": ["depends_on", "runs_on", "stores_on", "powered_by"] }
);
text_schema!(
    /// One of the two sides of a threshold.
    SideText, "Side", { "type": "string", "enum": ["above", "below"] }
);
text_schema!(
    /// One of the classes.
    ClassText, "Class", { "type": "string", "enum": ["notify", "restore", "reversible", "disruptive", "irreversible"] }
);
text_schema!(
    /// One of the days.
    DayText, "Weekday", { "type": "string", "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] }
);
text_schema!(
    /// What a window does.
    WindowText, "WindowRule", { "type": "string", "enum": ["allow", "deny"] }
);

/// One link that is written down.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LinkShape {
    /// What hangs, `service/photos`.
    pub from: String,
    /// How. Of `depends_on` it needs all, of `runs_on`, `stores_on` and `powered_by` at least one each: these are replicas, copies and
    /// redundant supplies.
    pub edge: EdgeText,
    /// On what, `node/nas`.
    pub to: String,
}

/// Reads one link out of each series that a selector names: `{ series: kube_pod_info, from: "pod/{namespace}/{pod}", edge: runs_on,
/// to: "node/{node}" }`. A series whose value is 0, that has ended, or that lacks a label gives none; a stale one still does.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LinkRuleShape {
    /// A PromQL vector selector.
    pub series: String,
    /// What hangs, with labels in braces.
    pub from: String,
    /// How.
    pub edge: EdgeText,
    /// On what, with labels in braces.
    pub to: String,
    /// Only where `to` itself hangs on something.
    #[schemars(default)]
    pub if_supported: bool,
}

/// Reads who else steers a field of a target; such a field is left alone.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OwnerRuleShape {
    /// A PromQL vector selector.
    pub series: String,
    /// The target, with labels in braces; `*` stands for anything.
    pub target: String,
    /// The verbs that write the field: `scale.*`.
    pub verbs: Vec<String>,
    /// The field, for people: `replicas`.
    pub field: String,
    /// The owner, for people, with labels in braces.
    pub owner: String,
    /// What to do instead.
    pub instead: String,
}

/// Reads whether a target is healthy. Where several series speak of one target, all must say so.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HealthRuleShape {
    /// A PromQL vector selector.
    pub series: String,
    /// The target, with labels in braces.
    pub target: String,
    /// Healthy is on this side …
    pub relation: SideText,
    /// … of this threshold.
    pub threshold: f64,
}

/// Members of which a number must be up.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct QuorumShape {
    /// Its name, `etcd`.
    pub name: String,
    /// The members, `node/a`.
    pub members: Vec<String>,
    /// How many must be up. Without it: more than half.
    #[schemars(default)]
    pub need: Option<u32>,
}

/// What hangs on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopologyConfig {
    /// Whether the rules that ship are used as well: kube-state-metrics, Longhorn's replicas, horizontal pod autoscalers, `node_up`.
    pub shipped: bool,
    /// Links that are written down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<LinkShape>")]
    pub links: Vec<Link>,
    /// Links that are read out of series.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<LinkRuleShape>")]
    pub rules: Vec<LinkRule>,
    /// Who else steers what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<OwnerRuleShape>")]
    pub owners: Vec<OwnerRule>,
    /// What is healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HealthRuleShape>")]
    pub healthy: Vec<HealthRule>,
    /// Members of which a number must be up: the last vote is never taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<QuorumShape>")]
    pub quorums: Vec<Quorum>,
    /// Targets in all. Beyond it nothing is let through that takes something down.
    pub targets_max: u32,
    /// Links in all; the same.
    pub links_max: u32,
}

impl Default for TopologyConfig {
    fn default() -> TopologyConfig {
        let TopologySettings { links, rules, owners, healthy, quorums, targets_max, links_max } = TopologySettings::default();
        TopologyConfig { shipped: true, links, rules, owners, healthy, quorums, targets_max, links_max }
    }
}

impl TopologyConfig {
    /// The settings as the kernel takes them: what ships first, then what is configured.
    pub fn settings(&self) -> TopologySettings {
        let TopologyConfig { shipped, links, rules, owners, healthy, quorums, targets_max, links_max } = self.clone();
        let mut settings = if shipped { TopologySettings::shipped() } else { TopologySettings::default() };
        settings.links.extend(links);
        settings.rules.extend(rules);
        settings.owners.extend(owners);
        settings.healthy.extend(healthy);
        settings.quorums.extend(quorums);
        TopologySettings { targets_max, links_max, ..settings }
    }
}

/// How many of some targets must stay healthy. Unknown is not healthy.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FloorShape {
    /// The targets: names and patterns, `node/*`.
    pub targets: Vec<String>,
    /// How many must be healthy after everything that is under way.
    pub min_healthy: u32,
}

/// How much one wish may take down.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BlastShape {
    /// Of one kind of target, this share (0 to 1) may be taken down by one wish; one target always may.
    #[schemars(default)]
    pub same_kind_share_max: f64,
    /// So many dependants may go down with it before a person is asked.
    #[schemars(default)]
    pub dependants_max: u32,
    /// And this share (0 to 1) of all that is known.
    #[schemars(default)]
    pub dependants_share_max: f64,
    /// Kinds of targets that must keep a copy, whatever anybody says.
    #[schemars(default)]
    pub copies_of: Vec<String>,
}

fn euros_per_kwh() -> f64 {
    homeostat_model::Tariff::default().euros_per_kwh
}

/// What may be spent in 24 hours, by what the verbs say they cost. What is not set has no limit.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DayBudgetShape {
    /// How long somebody may be interrupted, all actions together.
    #[schemars(default)]
    pub disruption_max: Option<DurationText>,
    /// Energy, in joules.
    #[schemars(default)]
    pub energy_max_joules: Option<f64>,
    /// Money, in euros.
    #[schemars(default)]
    pub spend_max_euros: Option<f64>,
}

/// What may be spent in one month of local time, by what the verbs say they cost. What is not set has no limit. When it is spent, only
/// what tells and what brings back is still done without a person.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MonthBudgetShape {
    /// How long somebody may be interrupted, all actions together.
    #[schemars(default)]
    pub disruption_max: Option<DurationText>,
    /// Energy, in joules.
    #[schemars(default)]
    pub energy_max_joules: Option<f64>,
    /// Money, in euros.
    #[schemars(default)]
    pub spend_max_euros: Option<f64>,
    /// Boots.
    #[schemars(default)]
    pub boots_max: Option<u64>,
    /// Evicted pods.
    #[schemars(default)]
    pub evictions_max: Option<u64>,
    /// Tokens of language models.
    #[schemars(default)]
    pub tokens_max: Option<u64>,
    /// Power cycles of machines and their disks.
    #[schemars(default)]
    pub power_cycles_max: Option<u64>,
}

/// A time of the week with its own price.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TariffWindowShape {
    /// Its name, for people.
    pub name: String,
    /// The days on which it begins. Without it: every day.
    #[schemars(default)]
    pub weekdays: Vec<DayText>,
    /// When it begins, `22:00`.
    pub from: String,
    /// When it ends, `06:00`. Not after `from`: on the next day.
    pub to: String,
    /// The price within it, euros per kilowatt hour.
    pub euros_per_kwh: f64,
}

/// What energy costs when: joules are shown and limited in euros by it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TariffShape {
    /// The price outside all windows, euros per kilowatt hour.
    #[schemars(default = "euros_per_kwh")]
    pub euros_per_kwh: f64,
    /// Times of the week with another price; where two overlap, the first counts.
    #[schemars(default)]
    pub windows: Vec<TariffWindowShape>,
    /// Minutes that local time is ahead of UTC.
    #[schemars(default)]
    pub utc_offset_minutes: i32,
}

/// How policies earn their autonomy: `autonomy` in a policy is the most that it can come to.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EarnedShape {
    /// Where a policy begins: `shadow`, `suggest`, `veto`, or `auto` (everything is granted until it harms).
    #[schemars(default)]
    pub start: Option<AutonomyText>,
    /// Classes milder than this one need not earn anything.
    #[schemars(default)]
    pub from_class: Option<ClassText>,
    /// The lower bound (95 %) of "helped and did not harm" must be at least this, 0 to 1.
    #[schemars(default)]
    pub lower_bound_min: Option<f64>,
    /// Help on so many different days is needed for each step up.
    #[schemars(default)]
    pub days_min: Option<u32>,
    /// Harm with at least this certainty (0 to 1) costs one step, at once.
    #[schemars(default)]
    pub harm_certainty: Option<f64>,
    /// What was learned counts half after this long.
    #[schemars(default)]
    pub half_life: Option<DurationText>,
    /// Without anything shown for this long, one step down.
    #[schemars(default)]
    pub expires_after: Option<DurationText>,
    /// Effects smaller than this share of the way to the claim's threshold do not matter.
    #[schemars(default)]
    pub matters_share: Option<f64>,
}

/// One window of the week.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CalendarWindowShape {
    /// Its name, for people.
    pub name: String,
    /// `deny`: its classes do not act within it. `allow`: they act only within it, or within another one that allows them.
    pub rule: WindowText,
    /// For which classes.
    pub classes: Vec<ClassText>,
    /// The days on which it begins. Without it: every day.
    #[schemars(default)]
    pub weekdays: Vec<DayText>,
    /// When it begins, `22:30`.
    pub from: String,
    /// When it ends, `06:00` or `24:00`. Not after `from`: on the next day.
    pub to: String,
}

/// When what may be done. What a person orders or approves is done when they say so.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CalendarShape {
    /// Minutes that local time is ahead of UTC. There is no summer time: choose, or change it twice a year.
    #[schemars(default)]
    pub utc_offset_minutes: i32,
    /// The windows.
    #[schemars(default)]
    pub windows: Vec<CalendarWindowShape>,
}

/// A series that sees a target.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WitnessRuleShape {
    /// What it fails together with: `prometheus`, `smart-plug`, `router`.
    pub domain: String,
    /// A PromQL vector selector.
    pub series: String,
    /// The target that it speaks of, with labels in braces.
    pub target: String,
    /// What it must say …
    #[schemars(default)]
    pub relation: Option<SideText>,
    /// … about this value; without both it is enough that it says anything, now.
    #[schemars(default)]
    pub threshold: f64,
}

/// Who must see the same before a node is taken down, and what proves that the engine itself is not cut off.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WitnessShape {
    /// The witnesses. Without any: not asked.
    #[schemars(default)]
    pub rules: Vec<WitnessRuleShape>,
    /// So many domains must speak of the node, and agree.
    #[schemars(default)]
    pub domains_min: u32,
    /// Selectors of series that are above 0.5 while the gateway answers. Without any: not asked.
    #[schemars(default)]
    pub gateway: Vec<String>,
    /// Selectors of series that are above 0.5 while a neighbour answers; more than half must be. Without any: not asked.
    #[schemars(default)]
    pub reach: Vec<String>,
    /// What proves it must be younger than this.
    #[schemars(default)]
    pub age_max: Option<DurationText>,
}

/// When much is wrong at once, or much is coming back.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StormShape {
    /// More alerts than this at once are a storm.
    #[schemars(default)]
    pub alerts_max: u32,
    /// So many things brought back within `within`: the system is recovering.
    #[schemars(default)]
    pub restores_max: u32,
    /// The span in which they are counted.
    #[schemars(default)]
    pub within: Option<DurationText>,
    /// Then things are brought back one by one, not faster than one in this span, and nothing rougher is done.
    #[schemars(default)]
    pub ramp: Option<DurationText>,
}

/// A rougher verb is for later: it waits until a milder one was tried on the same target and did not help.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RungShape {
    /// The rougher verb or playbook.
    pub verb: String,
    /// The milder one.
    pub after: String,
    /// How often that must have been tried …
    pub attempts: u32,
    /// … within this span.
    pub within: DurationText,
}
