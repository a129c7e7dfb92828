//! What a reasoner is told and what may come back: the brief of one question, and the advice that answers it.
//!
//! The brief is made by the kernel from what it knows and travels as plain data, so that the journal holds exactly what was asked.
//! A model chooses: a number out of [`Brief::choices`], of [`Brief::targets`], of [`Brief::claims`]. Deliberately absent: free names of
//! things to do, and anything that approves. An editor breaks this by letting a text from a workload into [`Brief::facts`] instead of
//! [`Brief::told`]: what depends on the latter needs a person.

use crate::{ArgSpec, Args, Autonomy, Claim, Class, Evidence, Span, Target, Time, TokenUsage, Verb};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A question's number: a counter in the kernel, unique within one journal.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuestionId(pub u64);

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

impl std::str::FromStr for QuestionId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<QuestionId, Self::Err> {
        text.strip_prefix('q').unwrap_or(text).parse().map(QuestionId)
    }
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occasion {
    /// What attempts are counted under, with the alert's fingerprint or the policy's own symptom in it: `alert/DiskFull/1a2b`.
    pub symptom: String,
    /// The thing that is in trouble.
    pub target: Target,
    /// The alert, by its fingerprint, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// In one line, without text from outside.
    pub title: String,
    /// When it began.
    pub since: Time,
    /// The person who wants to know, if one asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
}

/// Something that may be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The verb or playbook.
    pub verb: Verb,
    /// How much it can hurt.
    pub class: Class,
    /// What it does, in one sentence; the actuator's word.
    pub doc: String,
    /// The targets that it may be done to: places in [`Brief::targets`].
    pub targets: Vec<u32>,
    /// Arguments that may be chosen: truth values, numbers in a range, one of several words. Never free text.
    pub args: Vec<ArgSpec>,
}

/// A text that somebody outside wrote: an annotation, a label, a line of a log. Tainted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldText {
    /// Where it stood: `annotation summary`, `log of pod/home/web`.
    pub from: String,
    /// Its template: short, without control characters, variable parts as `<num>`, `<url>` …
    pub text: String,
    /// How often it was found.
    pub count: u64,
}

/// Everything that a reasoner is told about one occasion. Bounded, and the same for the same history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// What it is about.
    pub occasion: Occasion,
    /// What is known, as one JSON object. Holds nothing that workloads wrote, but names.
    pub facts: String,
    /// What workloads and people outside wrote; tainted.
    pub told: Vec<ToldText>,
    /// The things that may be acted on.
    pub targets: Vec<Target>,
    /// What may be done.
    pub choices: Vec<Choice>,
    /// What may be claimed of it.
    pub claims: Vec<Claim>,
    /// The readings behind the facts: what an answer may point at.
    pub readings: Vec<Evidence>,
    /// The JSON Schema of an answer.
    pub schema: String,
}

/// One look of a model at more than its brief. All of them only read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The tool.
    pub tool: String,
    /// What it was asked, as JSON.
    pub asked: String,
    /// What it said, as JSON, as the model got it.
    pub said: String,
    /// Whether that holds text from workloads.
    pub tainted: bool,
}

/// What a second model said to a proposal. It can only say no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Which reasoner.
    pub by: String,
    /// Its no, in its words; `None`: nothing against it.
    pub veto: Option<String>,
}

/// A model's answer, in the question's schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advised {
    /// The answer, as JSON in the brief's schema.
    pub json: String,
    /// The answer to the same question without what was [`Brief::told`], without tainted looks, and with numbers in place of names. `None`:
    /// it was not asked, and whatever was told counts as decisive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_untold: Option<String>,
    /// What a second model said, if one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Which reasoner answered.
    pub by: String,
    /// Its model, by the provider's word.
    pub model: String,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// The question.
    pub question: QuestionId,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Advised>,
    /// Why there is none, for people; empty where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
    /// The node that would have to be awake for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Target>,
    /// What the model looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// The hash of what was sent, so that two questions can be compared without keeping both.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt_hash: String,
    /// What all requests for it used up together.
    #[serde(default)]
    pub usage: TokenUsage,
    /// What it cost, in euros.
    #[serde(default)]
    pub cost_euros: f64,
    /// How long it took.
    #[serde(default)]
    pub latency: Span,
}

/// When reasoners are asked, and how far their proposals may go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReasoningSettings {
    /// Whether anybody is asked at all.
    pub advice: bool,
    /// An alert that has been on for so long without anything being done about it is asked about.
    pub after: Span,
    /// How many questions an hour, people's own aside.
    pub per_hour_max: u32,
    /// How long an answer is waited for.
    pub answer_within: Span,
    /// The most that a reasoner's proposal may do by itself: `shadow`, `suggest` or `veto`. What depends on text from workloads always
    /// needs a person, and more than `reversible` it may never be.
    pub autonomy: Autonomy,
    /// Whether waking the node that a model lives on is proposed when an answer needs it.
    pub wake: bool,
}

impl Default for ReasoningSettings {
    fn default() -> ReasoningSettings {
        ReasoningSettings {
            advice: false,
            after: Span::from_mins(5),
            per_hour_max: 6,
            answer_within: Span::from_mins(5),
            autonomy: Autonomy::Suggest,
            wake: false,
        }
    }
}

/// What a reasoner's answer chose, after it was checked against the brief.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pick {
    /// What.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// How.
    pub args: Args,
    /// What will be true afterwards.
    pub claim: Claim,
}
