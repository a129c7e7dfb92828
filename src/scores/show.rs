//! Every score of one policy: effects by what was done and on which metric, each group with one unit and one axis, and how its symptoms go
//! by themselves.

use super::autonomy::{StandingLine, standings};
use super::rules::Rules;
use super::table::{ScoreLine, of_policy};
use homeostat_kernel::Ledger;
use homeostat_kernel::ledger::ScoredLine;
use homeostat_kernel::score::recovery::Recovery;
use homeostat_model::{Effect, Finding, Natural, PolicyId, Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scores of one policy in one answer, the newest.
pub const SCORES_SHOWN: usize = 200;
/// The 97.5 % point of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// An effect on one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectLine {
    /// The series, as PromQL writes it.
    pub series: String,
    /// Its metric, whose name ends with the unit.
    pub metric: String,
    /// Observed minus expected.
    #[serde(with = "homeostat_model::number")]
    pub effect: f64,
    /// The lower end of its 95 % interval.
    #[serde(with = "homeostat_model::number")]
    pub low: f64,
    /// The upper end.
    #[serde(with = "homeostat_model::number")]
    pub high: f64,
    /// What came.
    #[serde(with = "homeostat_model::number")]
    pub observed: f64,
    /// What would have come.
    #[serde(with = "homeostat_model::number")]
    pub expected: f64,
    /// The word for it.
    pub finding: Finding,
    /// Siblings that it was compared with.
    pub controls: u32,
    /// Placebo dates by which it was checked.
    pub placebos: u32,
}

impl EffectLine {
    fn of(effect: &Effect) -> EffectLine {
        EffectLine {
            series: effect.series.to_string(),
            metric: effect.series.metric.to_string(),
            effect: effect.effect,
            low: effect.low,
            high: effect.high,
            observed: effect.observed,
            expected: effect.expected,
            finding: effect.finding,
            controls: effect.controls,
            placebos: effect.placebos,
        }
    }
}

/// One scored action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionScore {
    /// The action, `a12`.
    pub action: String,
    /// When it was scored.
    pub at: Time,
    /// What was done.
    pub verb: String,
    /// To what.
    pub target: String,
    /// The word for it, side effects included.
    pub finding: Finding,
    /// The chance that it helped, 0 to 1.
    pub p_helped: f64,
    /// The chance that it harmed, 0 to 1.
    pub p_harmed: f64,
    /// The effect on what the claim speaks of.
    pub effect: Option<EffectLine>,
    /// Effects on what the policy guards.
    pub side_effects: Vec<EffectLine>,
    /// What would have happened by itself.
    pub natural: Option<Natural>,
    /// Why there is no effect.
    pub missing: Option<String>,
    /// In words.
    pub text: String,
}

impl ActionScore {
    pub(crate) fn of(line: &ScoredLine) -> ActionScore {
        let score = &line.score;
        ActionScore {
            action: line.action.to_string(),
            at: line.at,
            verb: line.key.verb.to_string(),
            target: line.target.to_string(),
            finding: score.finding,
            p_helped: score.p_helped,
            p_harmed: score.p_harmed,
            effect: score.effect.as_ref().map(EffectLine::of),
            side_effects: score.side_effects.iter().map(EffectLine::of).collect(),
            natural: score.natural,
            missing: score.missing.clone(),
            text: score.text.clone(),
        }
    }
}

/// All effects of a group in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// Effects that it rests on.
    pub effects: usize,
    /// The mean effect.
    pub effect: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The spread of the true effects between actions, as a standard deviation in the metric's unit.
    pub spread: f64,
}

/// The mean of several effects that may truly differ: random effects (DerSimonian & Laird 1986, Control. Clin. Trials 7:177).
///
/// Each (effect, low, high) has the variance v = ((high − low) ÷ (2 · 1.96))². With w = 1/v and Q = Σ w (y − ȳ_w)², the variance
/// between is τ² = max(0, (Q − (k − 1)) ÷ (Σw − Σw² ÷ Σw)); the mean weighs each with 1/(v + τ²), and its variance is one over the
/// sum of these weights. `None`: fewer than two effects with a finite interval that has a width.
pub fn pooled(effects: &[(f64, f64, f64)]) -> Option<Pooled> {
    let sound = |(effect, low, high): &&(f64, f64, f64)| effect.is_finite() && (high - low).is_finite() && high > low;
    let studies: Vec<(f64, f64)> =
        effects.iter().filter(sound).map(|(effect, low, high)| (*effect, ((high - low) / (2.0 * Z95)).powi(2))).collect();
    if studies.len() < 2 || studies.iter().any(|(_, variance)| *variance <= 0.0 || !(1.0 / variance).is_finite()) {
        return None;
    }
    let sums = |between: f64| {
        let weights = studies.iter().map(|(effect, variance)| (1.0 / (variance + between), *effect));
        weights.fold((0.0, 0.0, 0.0), |(w, ww, wy), (weight, effect)| (w + weight, ww + weight * weight, wy + weight * effect))
    };
    let (weight, squares, sum) = sums(0.0);
    let mean = sum / weight;
    let apart: f64 = studies.iter().map(|(effect, variance)| (effect - mean).powi(2) / variance).sum();
    let between = ((apart - (studies.len() - 1) as f64) / (weight - squares / weight)).max(0.0);
    let (weight, _, sum) = sums(between);
    let (effect, half) = (sum / weight, Z95 / weight.sqrt());
    Some(Pooled { effects: studies.len(), effect, low: effect - half, high: effect + half, spread: between.sqrt() })
}

/// Effects that share an axis: the same done, on the same metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesGroup {
    /// What was done.
    pub verb: String,
    /// The kind of target.
    pub target_class: String,
    /// The metric.
    pub metric: String,
    /// Its unit; empty: a plain number.
    pub unit: String,
    /// The actions, oldest first; each has an effect.
    pub actions: Vec<ActionScore>,
    /// All of them in one.
    pub pooled: Option<Pooled>,
}

/// One step of the natural recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveryStep {
    /// Symptoms that lasted this long, in seconds …
    pub seconds: f64,
    /// … of which so many were watched just before …
    pub at_risk: u32,
    /// … and so many went by themselves.
    pub healed: u32,
    /// The share that lasts longer, 0 to 1.
    pub lasting: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How a policy's symptoms go when nobody acts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoveryLine {
    /// Episodes that were watched; the others made room.
    pub episodes: usize,
    /// Of these, how many went by themselves.
    pub healed: usize,
    /// The longest that one was watched, in seconds.
    pub watched_seconds: f64,
    /// The product-limit curve.
    pub steps: Vec<RecoveryStep>,
}

impl RecoveryLine {
    pub(super) fn of(recovery: &Recovery) -> RecoveryLine {
        let step = |step: homeostat_kernel::score::recovery::CurveStep| RecoveryStep {
            seconds: step.at.seconds(),
            at_risk: step.at_risk,
            healed: step.healed,
            lasting: step.lasting,
            low: step.low,
            high: step.high,
        };
        RecoveryLine {
            episodes: recovery.episodes().len(),
            healed: recovery.healed(),
            watched_seconds: recovery.episodes().map(|episode| episode.lasted).max().unwrap_or(Span::ZERO).seconds(),
            steps: recovery.curve().into_iter().map(step).collect(),
        }
    }
}

/// Everything that is known of one policy's deeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyScores {
    /// As of when.
    pub at: Time,
    /// The policy.
    pub policy: String,
    /// What it is for; empty: it is not loaded.
    pub doc: String,
    /// What is believed.
    pub beliefs: Vec<ScoreLine>,
    /// Where it stands.
    pub standings: Vec<StandingLine>,
    /// Its effects.
    pub series: Vec<SeriesGroup>,
    /// Scores without an effect: about an alert, or nothing could be seen.
    pub without_effect: Vec<ActionScore>,
    /// Older scores that had no room.
    pub left_out: usize,
    /// How its symptoms go by themselves.
    pub recovery: RecoveryLine,
}

impl PolicyScores {
    /// From a ledger, with at most [`SCORES_SHOWN`] scores.
    ///
    /// # Errors
    /// The policy is neither loaded nor known to the ledger: which one may be meant.
    pub fn of(ledger: &Ledger, rules: &Rules, policy: &str, at: Time) -> Result<PolicyScores, String> {
        let id = PolicyId::from(policy);
        let trust = ledger.trust();
        let own: Vec<&ScoredLine> = trust.scores().filter(|line| line.key.policy == id).collect();
        let beliefs = of_policy(ledger, rules, &id, at);
        let is_known = rules.policies.contains_key(&id) || !own.is_empty() || !beliefs.is_empty();
        if !is_known {
            return Err(unknown(ledger, rules, policy));
        }
        let left_out = own.len().saturating_sub(SCORES_SHOWN);
        let (mut groups, mut without_effect) = (BTreeMap::<(String, String, String), Vec<ActionScore>>::new(), Vec::new());
        for line in own.into_iter().skip(left_out) {
            let score = ActionScore::of(line);
            match &score.effect {
                Some(effect) => {
                    let place = (score.verb.clone(), line.key.target_class.clone(), effect.metric.clone());
                    groups.entry(place).or_default().push(score);
                }
                None => without_effect.push(score),
            }
        }
        Ok(PolicyScores {
            at,
            policy: policy.to_owned(),
            doc: rules.policies.get(&id).map(|facts| facts.doc.clone()).unwrap_or_default(),
            beliefs,
            standings: standings(ledger, rules, at).into_iter().filter(|line| line.policy == policy).collect(),
            series: groups.into_iter().map(group).collect(),
            without_effect,
            left_out,
            recovery: RecoveryLine::of(trust.recovery(&id)),
        })
    }
}

fn group(((verb, target_class, metric), actions): ((String, String, String), Vec<ActionScore>)) -> SeriesGroup {
    let effects: Vec<(f64, f64, f64)> =
        actions.iter().filter_map(|score| score.effect.as_ref()).map(|effect| (effect.effect, effect.low, effect.high)).collect();
    SeriesGroup { unit: super::unit_of(&metric).into(), pooled: pooled(&effects), verb, target_class, metric, actions }
}

/// Why a policy is not found, and which one may be meant.
pub(crate) fn unknown(ledger: &Ledger, rules: &Rules, policy: &str) -> String {
    let scored = ledger.trust().beliefs().map(|(key, _)| key.policy.as_str());
    let known: std::collections::BTreeSet<&str> = rules.policies.keys().map(PolicyId::as_str).chain(scored).collect();
    let near = homeostat_kernel::policy::did_you_mean(policy, known.iter().copied());
    let shown: String = policy.chars().take(80).collect();
    match near {
        Some(near) => format!("there is no policy `{shown}`; {near}"),
        None => format!("there is no policy `{shown}`; known are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}
