//! A wish with a reason and a claim that can turn out false.

use crate::{Args, Evidence, PolicyId, SeriesKey, Span, Target, Verb};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who wishes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A policy's `evaluate`.
    Policy(PolicyId),
    /// A policy's `on_alert`, woken by this fingerprint.
    Alert(PolicyId, String),
    /// A person, by name.
    Operator(String),
    /// Somebody who may think and propose and nothing else: a language model, an agent.
    Reasoner(Box<Suggested>),
    /// A drill of this policy: a fault that is made on purpose.
    Drill(PolicyId),
    /// A step of a playbook's run.
    Playbook {
        /// The run's own action.
        run: crate::ActionId,
        /// The step.
        step: String,
        /// Which of its instances, from 0.
        instance: u32,
        /// Whether it takes the step back.
        undo: bool,
    },
}

impl Origin {
    /// The run that a step belongs to.
    pub fn run(&self) -> Option<crate::ActionId> {
        match self {
            Origin::Playbook { run, .. } => Some(*run),
            _ => None,
        }
    }

    /// The policy behind the wish, if there is one.
    pub fn policy(&self) -> Option<&PolicyId> {
        match self {
            Origin::Policy(policy) | Origin::Alert(policy, _) => Some(policy),
            Origin::Operator(_) | Origin::Reasoner(_) | Origin::Drill(_) | Origin::Playbook { .. } => None,
        }
    }
}

/// Where a proposal of a reasoner comes from, and what was found out about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Suggested {
    /// Who: a reasoner's name, or `agent <token>`.
    pub by: String,
    /// The question that it answers; `None` where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<crate::QuestionId>,
    /// The alert that it is about, by its fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// Why it depends on text from outside: then a person must say yes. Empty: without that text it would be the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub taint: String,
    /// The no of a second model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Policy(policy) => write!(f, "policy {policy}"),
            Origin::Alert(policy, _) => write!(f, "policy {policy} (alert)"),
            Origin::Operator(name) => write!(f, "operator {name}"),
            Origin::Reasoner(suggested) => match suggested.question {
                Some(question) => write!(f, "reasoner {} ({question})", suggested.by),
                None => write!(f, "{}", suggested.by),
            },
            Origin::Drill(policy) => write!(f, "drill of policy {policy}"),
            Origin::Playbook { run, step, undo: false, .. } => write!(f, "run {run}, step {step}"),
            Origin::Playbook { run, step, undo: true, .. } => write!(f, "run {run}, taking back step {step}"),
        }
    }
}

/// Which side of the threshold the claim is on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// `value > threshold`
    Above,
    /// `value < threshold`
    Below,
}

/// What the claim is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimSubject {
    /// A series reaches a side of a threshold and stays there for `held` (zero: one sample is enough).
    Series {
        /// The series.
        series: SeriesKey,
        /// The side.
        relation: Relation,
        /// The threshold, in the series' unit.
        #[serde(with = "crate::number")]
        threshold: f64,
        /// How long it must stay.
        held: Span,
    },
    /// The alert with this fingerprint is resolved.
    AlertResolved {
        /// The alert's fingerprint.
        fingerprint: String,
    },
    /// The actuator's own word is all that is claimed (`notify` and the like: the message was delivered).
    Delivered,
}

/// A statement that can turn out false: "node power below 40 W within 10 min".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What must become true.
    pub subject: ClaimSubject,
    /// By when, counted from the moment the action was sent.
    pub within: Span,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            ClaimSubject::Series { series, relation, threshold, held } => {
                let sign = if *relation == Relation::Above { '>' } else { '<' };
                write!(f, "{series} {sign} {threshold}")?;
                if *held > Span::ZERO {
                    write!(f, " held for {held}")?;
                }
            }
            ClaimSubject::AlertResolved { fingerprint } => write!(f, "alert {fingerprint} resolved")?,
            ClaimSubject::Delivered => f.write_str("delivered")?,
        }
        write!(f, " within {}", self.within)
    }
}

/// A wish: an action, because of something, with a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who wishes.
    pub origin: Origin,
    /// The policy's target for which it was evaluated, e.g. `filesystem_avail_ratio{node="nas"}`; together with the policy it is the *symptom*.
    pub symptom: String,
    /// What is to be done.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// How.
    pub args: Args,
    /// Why, in the author's words.
    pub because: String,
    /// What was read.
    pub evidence: Vec<Evidence>,
    /// What will be true afterwards.
    pub claim: Option<Claim>,
    /// How long the same wish stays quiet after it was admitted.
    pub cooldown: Span,
    /// How long the target is left to settle after the action; `None`: the verb's own.
    pub settle: Option<Span>,
    /// The most that the policy's author allows.
    pub autonomy: crate::Autonomy,
    /// What may be done instead: experience chooses among these and the first (`score::belief::choose`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// Another way to mend the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// What.
    pub verb: Verb,
    /// To what; `None`: to the same target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// How.
    pub args: Args,
}
