//! The section `reasoning`: when models are asked, how far their proposals may go, and what they may look at.
//!
//! Who is asked, and what that may cost, is the section `reasoners` (`homeostat_reasoners::ReasonersConfig`). Deliberately absent: any
//! way to let a model's proposal run by itself at once; `auto` is refused. An editor breaks this by letting a default ask somebody.

use super::sections::{AutonomyText, DurationText, SecretText};
use homeostat_model::{Autonomy, ReasoningSettings, Secret, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// When models are asked, how far their proposals may go, and what they may look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReasoningConfig {
    /// Whether anybody is asked for advice at all.
    pub advice: bool,
    /// An alert that has been on for so long without anything being done about it is asked about.
    #[schemars(with = "DurationText")]
    pub after: Span,
    /// How many questions an hour, people's own aside.
    pub per_hour_max: u32,
    /// How long an answer is waited for.
    #[schemars(with = "DurationText")]
    pub answer_within: Span,
    /// The most that a model's proposal may do by itself: `shadow`, `suggest` or `veto`. What depends on text from workloads needs a person
    /// in any case, and more than `reversible` it may never be.
    #[schemars(with = "AutonomyText")]
    pub autonomy: Autonomy,
    /// Whether waking the node that a model lives on is proposed when an answer needs it.
    pub wake: bool,
    /// Whether a second model, one that `reasoners.only_for` lists for `verify`, is asked for its no. Without its answer nothing is proposed.
    pub verify: bool,
    /// How many looks at more than its brief a model has: 0 to 8.
    pub looks_max: u32,
    /// How many tokens one answer may have.
    pub tokens_max: u32,
    /// Where logs are, if a model may look at them (as templates, and tainted).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loki: Option<LokiConfig>,
    /// Names of people, teams, addresses and domains that no cloud is told, besides the targets that are known anyway.
    pub private: Vec<String>,
}

/// Grafana Loki.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LokiConfig {
    /// Its address, without a path: `http://loki.lan:3100`.
    pub url: String,
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SecretText>")]
    pub token: Option<Secret>,
    /// The stream selector of a kind of targets; `{1}` and `{2}` stand for the parts of its name: `node: '{host="{1}"}'`,
    /// `pod: '{namespace="{1}",pod="{2}"}'`.
    #[serde(default = "selectors_default")]
    pub selectors: BTreeMap<String, String>,
}

fn selectors_default() -> BTreeMap<String, String> {
    [
        ("node", r#"{host="{1}"}"#),
        ("pod", r#"{namespace="{1}",pod="{2}"}"#),
        ("deployment", r#"{namespace="{1}",app="{2}"}"#),
        ("service", r#"{service_name="{1}"}"#),
    ]
    .into_iter()
    .map(|(kind, text)| (kind.to_owned(), text.to_owned()))
    .collect()
}

impl Default for ReasoningConfig {
    fn default() -> ReasoningConfig {
        let settings = ReasoningSettings::default();
        ReasoningConfig {
            advice: settings.advice,
            after: settings.after,
            per_hour_max: settings.per_hour_max,
            answer_within: settings.answer_within,
            autonomy: settings.autonomy,
            wake: settings.wake,
            verify: false,
            looks_max: 3,
            tokens_max: 1024,
            loki: None,
            private: Vec::new(),
        }
    }
}

impl ReasoningConfig {
    /// What the kernel works by.
    pub fn settings(&self) -> ReasoningSettings {
        ReasoningSettings {
            advice: self.advice,
            after: self.after,
            per_hour_max: self.per_hour_max,
            answer_within: self.answer_within,
            autonomy: self.autonomy,
            wake: self.wake,
        }
    }

    /// What the types cannot say, with the field that it is about.
    pub(super) fn problems(&self, reasoners: &homeostat_reasoners::ReasonersConfig) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.autonomy == Autonomy::Auto {
            problems.push(("autonomy", "a model's proposal is never `auto`: expected `shadow`, `suggest` or `veto`".to_owned()));
        }
        if self.looks_max > 8 {
            problems.push(("looks_max", format!("`looks_max` is {}, expected 0 to 8", self.looks_max)));
        }
        if !(64..=65_536).contains(&self.tokens_max) {
            problems.push(("tokens_max", format!("`tokens_max` is {}, expected 64 to 65536", self.tokens_max)));
        }
        if self.advice && reasoners.ask.is_empty() {
            problems.push(("advice", "advice is wanted, and `reasoners.ask` lists nobody who could give it".to_owned()));
        }
        let second = reasoners.only_for.values().any(|purposes| purposes.contains(&homeostat_model::QuestionPurpose::Verify));
        if self.verify && !second {
            problems.push(("verify", "no second model: list one for `verify` in `reasoners.only_for`".to_owned()));
        }
        problems
    }
}
