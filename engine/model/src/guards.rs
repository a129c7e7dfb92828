//! Settings of the guards that look further than one target: floors, blast radius, budgets of a day, calendar, witnesses, storms,
//! ladders. Plain data; what they mean in doubt stands at the guards.
//!
//! Patterns of targets and verbs are texts in which `*` stands for anything: `node/*`, `power.*`.

use crate::{Class, Relation, Span, Verb};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many of some targets must stay healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The targets: names and patterns.
    pub targets: Vec<String>,
    /// How many of them must be healthy after everything that is under way.
    pub min_healthy: u32,
}

/// How much one wish may take down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlastSettings {
    /// Of one kind of target, this share (0 to 1) may be taken down by one wish; one target always may.
    pub same_kind_share_max: f64,
    /// So many dependants may go down with it before a person is asked …
    pub dependants_max: u32,
    /// … and this share (0 to 1) of all that is known.
    pub dependants_share_max: f64,
    /// Kinds of targets that must keep a copy, whatever anybody says.
    pub copies_of: Vec<String>,
}

impl Default for BlastSettings {
    fn default() -> BlastSettings {
        BlastSettings { same_kind_share_max: 0.2, dependants_max: 20, dependants_share_max: 0.5, copies_of: vec!["volume".into()] }
    }
}

/// What may be spent in 24 hours, by what the verbs say they cost. What is not set has no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DayBudget {
    /// How long somebody may be interrupted, all actions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_max: Option<Span>,
    /// Energy, in joules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_max_joules: Option<f64>,
    /// Money, in euros.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_max_euros: Option<f64>,
}

/// A moment of a day, in minutes since midnight; written `22:30`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayTime(pub u16);

impl DayTime {
    /// Reads `HH:MM`, 00:00 to 24:00.
    pub fn parse(text: &str) -> Option<DayTime> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u16>().ok()).flatten();
        let minutes = number(hours)? * 60 + number(minutes).filter(|minutes| *minutes < 60)?;
        (minutes <= 24 * 60).then_some(DayTime(minutes))
    }
}

impl std::fmt::Display for DayTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for DayTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DayTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DayTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        DayTime::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a time of day: expected `22:30`")))
    }
}

/// A day of the week.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// All days, Monday first.
    pub const ALL: [Weekday; 7] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
}

/// What a window does.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowRule {
    /// Its classes may act only within it (or within another one that allows them).
    Allow,
    /// Its classes do not act within it.
    Deny,
}

/// One window of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarWindow {
    /// Its name, for people.
    pub name: String,
    /// What it does.
    pub rule: WindowRule,
    /// For which classes.
    pub classes: Vec<Class>,
    /// The days on which it begins; empty: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<Weekday>,
    /// When it begins.
    pub from: DayTime,
    /// When it ends, exclusive; not after `from`: on the next day.
    pub to: DayTime,
}

/// When what may be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calendar {
    /// Minutes that local time is ahead of UTC. The engine has no clock and knows no summer time.
    pub utc_offset_minutes: i32,
    /// The windows.
    pub windows: Vec<CalendarWindow>,
}

/// A series that sees a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WitnessRule {
    /// What it fails together with: `prometheus`, `smart-plug`, `router`.
    pub domain: String,
    /// A PromQL vector selector.
    pub series: String,
    /// The target that it speaks of, with labels in braces.
    pub target: String,
    /// What it must say …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Relation>,
    /// … about this value; without both it is enough that it says anything.
    #[serde(default)]
    pub threshold: f64,
}

/// Who must see the same before a node is taken down, and what proves that the engine itself is not cut off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WitnessSettings {
    /// The witnesses; none: not asked.
    pub rules: Vec<WitnessRule>,
    /// So many domains must speak, and agree.
    pub domains_min: u32,
    /// Selectors of series that are above 0.5 while the gateway answers; none: not asked.
    pub gateway: Vec<String>,
    /// Selectors of series that are above 0.5 while a neighbour answers; more than half must be. None: not asked.
    pub reach: Vec<String>,
    /// What proves it must be younger than this.
    pub age_max: Span,
}

impl Default for WitnessSettings {
    fn default() -> WitnessSettings {
        WitnessSettings { rules: Vec::new(), domains_min: 2, gateway: Vec::new(), reach: Vec::new(), age_max: Span::from_mins(1) }
    }
}

/// When much is wrong at once, or much is coming back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StormSettings {
    /// More alerts than this at once are a storm.
    pub alerts_max: u32,
    /// So many things brought back …
    pub restores_max: u32,
    /// … within this span: the system is recovering.
    pub within: Span,
    /// In a storm, things are brought back one by one, and not faster than one in this span.
    pub ramp: Span,
}

impl Default for StormSettings {
    fn default() -> StormSettings {
        StormSettings { alerts_max: 50, restores_max: 6, within: Span::from_mins(10), ramp: Span::from_mins(1) }
    }
}

/// A rougher verb is for later: it waits until a milder one was tried on the same target and did not help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// The rougher verb or playbook.
    pub verb: Verb,
    /// The milder one.
    pub after: Verb,
    /// How often that must have been tried …
    pub attempts: u32,
    /// … within this span.
    pub within: Span,
}
