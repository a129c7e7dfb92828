//! What an action really did, what that is worth, and what a policy has earned by it: plain data for journal, explanations and CLI.
//!
//! Deliberately absent: how any of it is computed (the kernel's `score`). An editor breaks this by letting what nobody could see look
//! like a number: a score without data has a reason in `missing`, no effect, and moves nothing.

use crate::{Autonomy, Class, PolicyId, SeriesKey, Span, Target, Time, Verb};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an action did, in one word.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The interval lies on the good side of zero.
    Helped,
    /// The interval is narrower than what matters, around zero.
    NoEffect,
    /// The interval lies on the bad side of zero.
    Harmed,
    /// Nobody can tell.
    Inconclusive,
}

impl Finding {
    /// All findings.
    pub const ALL: [Finding; 4] = [Finding::Helped, Finding::NoEffect, Finding::Harmed, Finding::Inconclusive];

    /// The name used in journal and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Finding::Helped => "helped",
            Finding::NoEffect => "no_effect",
            Finding::Harmed => "harmed",
            Finding::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Finding::NoEffect => "no effect",
            other => other.name(),
        })
    }
}

/// What came, against what would have come without the action, on one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The series.
    pub series: SeriesKey,
    /// Observed minus expected, mean over the judged time, in the series' unit.
    #[serde(with = "crate::number")]
    pub effect: f64,
    /// The lower end of the 95 % interval.
    #[serde(with = "crate::number")]
    pub low: f64,
    /// The upper end.
    #[serde(with = "crate::number")]
    pub high: f64,
    /// The mean that came.
    #[serde(with = "crate::number")]
    pub observed: f64,
    /// The mean that would have come without the action.
    #[serde(with = "crate::number")]
    pub expected: f64,
    /// The chance that it moved the good way by more than what matters, 0 to 1.
    pub p_helped: f64,
    /// The chance that it moved the bad way by more than what matters, 0 to 1.
    pub p_harmed: f64,
    /// The word for it.
    pub finding: Finding,
    /// Means before that the expectation rests on.
    pub before: u32,
    /// Means after that were judged.
    pub after: u32,
    /// Sibling targets that took part in the expectation.
    pub controls: u32,
    /// Placebo dates by which the interval was checked.
    pub placebos: u32,
    /// How much wider the placebos made it; 1 or more.
    pub widened: f64,
}

/// What is known of symptoms that nobody did anything about, at the moment of an action.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Natural {
    /// The chance that the symptom would have gone by itself in the judged time, 0 to 1.
    pub odds: f64,
    /// What the chance rests on: so many episodes that had lasted as long, watched to their end, would know it as well.
    pub at_risk: u32,
    /// How long the symptom had lasted when the action was sent.
    pub lasted: Span,
}

/// How a series answered an action: first order plus dead time.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// From the sending until the series began to move.
    pub dead_time: Span,
    /// From then until 63 % of the way.
    pub lag: Span,
    /// How far it moved in all, in the series' unit.
    #[serde(with = "crate::number")]
    pub gain: f64,
}

/// What one action did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The word for it.
    pub finding: Finding,
    /// The chance that it helped, 0 to 1.
    pub p_helped: f64,
    /// The chance that it harmed, on the claim's series or on a guarded one, 0 to 1.
    pub p_harmed: f64,
    /// The effect on what the claim speaks of; `None`: a claim without a series, or nothing could be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Effects on the series that the policy guards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side_effects: Vec<Effect>,
    /// What would have happened by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub natural: Option<Natural>,
    /// How the claim's series answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
    /// Why there is no effect to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// In words.
    pub text: String,
}

/// What a belief is about: the same policy doing the same to the same kind of thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BeliefKey {
    /// The policy.
    pub policy: PolicyId,
    /// What it does.
    pub verb: Verb,
    /// The target's kind: `node`, `pod`.
    pub target_class: String,
}

/// What autonomy is earned for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LadderKey {
    /// The policy.
    pub policy: PolicyId,
    /// How much its action can hurt.
    pub class: Class,
    /// The target's kind.
    pub target_class: String,
}

impl fmt::Display for LadderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} on {})", self.policy, self.class, self.target_class)
    }
}

/// Why an autonomy changed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveCause {
    /// It is looked at for the first time.
    Began,
    /// Enough was shown on enough days.
    Earned,
    /// It harmed.
    Harmed,
    /// Nothing was shown for too long.
    Expired,
    /// The policy, its playbook or its actuator changed.
    Changed,
    /// A drill that it needs failed, or is overdue.
    Drill,
}

impl MoveCause {
    /// The name used in journal and metrics.
    pub fn name(self) -> &'static str {
        match self {
            MoveCause::Began => "began",
            MoveCause::Earned => "earned",
            MoveCause::Harmed => "harmed",
            MoveCause::Expired => "expired",
            MoveCause::Changed => "changed",
            MoveCause::Drill => "drill",
        }
    }
}

/// One step on the ladder, with what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutonomyMove {
    /// For what.
    pub key: LadderKey,
    /// From here.
    pub from: Autonomy,
    /// To here.
    pub to: Autonomy,
    /// Why.
    pub cause: MoveCause,
    /// In words, with the figures.
    pub evidence: String,
}

/// How a drill ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillEnd {
    /// The policy that was rehearsed.
    pub policy: PolicyId,
    /// The action that made the fault.
    pub fault: crate::ActionId,
    /// The policy's answer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<crate::ActionId>,
    /// The target.
    pub target: Target,
    /// When the fault was made.
    pub began: Time,
    /// `Some(true)`: seen, answered, and the claim came true. `None`: it could not be held.
    pub passed: Option<bool>,
    /// In words.
    pub text: String,
}

/// Actions on one target that go to and fro in a regular rhythm: the loop chases its own effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// The target.
    pub target: Target,
    /// The two verbs, or the one whose argument goes up and down.
    pub verbs: (Verb, Verb),
    /// The rhythm.
    pub period: Span,
    /// In words.
    pub text: String,
}

/// How autonomy is earned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EarnedSettings {
    /// Where a policy begins, if its own ceiling is not lower. `auto`: everything is granted until it harms.
    pub start: Autonomy,
    /// Classes milder than this one need not earn anything; they fall like the others.
    pub from_class: Class,
    /// The lower bound (95 %) of "helped and did not harm" must be at least this, 0 to 1 …
    pub lower_bound_min: f64,
    /// … after help on so many different days since the last step.
    pub days_min: u32,
    /// Harm with at least this certainty (0 to 1) costs one step.
    pub harm_certainty: f64,
    /// What was learned counts half after this long.
    pub half_life: Span,
    /// Without anything shown for this long, one step down.
    pub expires_after: Span,
    /// Effects smaller than this share of the way to the claim's threshold do not matter.
    pub matters_share: f64,
}

impl Default for EarnedSettings {
    fn default() -> EarnedSettings {
        EarnedSettings {
            start: Autonomy::Suggest,
            from_class: Class::Reversible,
            lower_bound_min: 0.6,
            days_min: 3,
            harm_certainty: 0.95,
            half_life: Span::from_hours(24 * 60),
            expires_after: Span::from_hours(24 * 90),
            matters_share: 0.1,
        }
    }
}
