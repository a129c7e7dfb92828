//! One line per belief: what a policy's action does to one kind of target, how sure that is, and how fast the world answers.

use super::rules::Rules;
use crate::cli::show::table;
use crate::http::view::{distance, number};
use homeostat_kernel::Ledger;
use homeostat_kernel::ledger::Trust;
use homeostat_kernel::score::belief::Belief;
use homeostat_kernel::score::ladder::BOUND_LEVEL;
use homeostat_model::{BeliefKey, Finding, PolicyId, Time};
use serde::{Deserialize, Serialize};

/// Lines in one answer: each costs some quantiles, and the loop stands still meanwhile.
pub const LINES_MAX: usize = 500;
/// Targets named per line.
const TARGETS_SHOWN: usize = 5;

/// A target that showed the symptom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymptomLine {
    /// The target.
    pub target: String,
    /// How often something was done about it.
    pub times: u64,
    /// When last.
    pub last: Time,
}

/// Treated against left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceLine {
    /// The share healed in the claim's time minus the share that goes by itself in it, −1 to 1.
    pub difference: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The word for it.
    pub finding: Finding,
    /// The chance that it goes by itself, 0 to 1, as of the newest action.
    pub odds: f64,
    /// Episodes that this chance rests on.
    pub at_risk: u32,
}

/// How a metric answers to the verb, whoever does it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseLine {
    /// The metric.
    pub metric: String,
    /// Answers it rests on.
    pub fits: u32,
    /// Half of them began to move within this, seconds.
    pub dead_time_seconds: f64,
    /// And were 63 % of the way after this from then, seconds.
    pub lag_seconds: f64,
    /// Times that would fit: `settle`, `verify`, `cooldown`.
    pub settle: String,
    /// See `settle`.
    pub verify: String,
    /// See `settle`.
    pub cooldown: String,
    /// In words.
    pub text: String,
    /// Why the policy is faster than its plant, if it is.
    pub warning: Option<String>,
}

/// What is believed of one policy doing one thing to one kind of target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreLine {
    /// The policy.
    pub policy: String,
    /// What it does.
    pub verb: String,
    /// To what kind of target.
    pub target_class: String,
    /// Weight of "helped and did not harm", in actions, decayed.
    pub helped: f64,
    /// Weight of "harmed".
    pub harmed: f64,
    /// Weight of "neither".
    pub neither: f64,
    /// Scores that told nothing.
    pub inconclusive: u64,
    /// The share that helps and does not harm is at least this with 95 % certainty.
    pub lower_bound: f64,
    /// The mean of what is believed of that share; 0.5: nothing is known.
    pub mean: f64,
    /// The share is at most this with 95 % certainty.
    pub upper_bound: f64,
    /// Different days on which it helped.
    pub days_helped: u32,
    /// How often the symptom was treated.
    pub treated: u64,
    /// On which targets most often.
    pub targets: Vec<SymptomLine>,
    /// Against doing nothing, where that is known.
    pub natural: Option<DifferenceLine>,
    /// How fast the world answers, once that is learned.
    pub responses: Vec<ResponseLine>,
}

/// The table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreTable {
    /// As of when.
    pub at: Time,
    /// The lines, by policy, verb and kind.
    pub lines: Vec<ScoreLine>,
    /// Beliefs that had no room.
    pub left_out: usize,
}

impl ScoreTable {
    /// From a ledger; at most [`LINES_MAX`] lines.
    pub fn of(ledger: &Ledger, rules: &Rules, at: Time) -> ScoreTable {
        let trust = ledger.trust();
        let all = trust.beliefs().count();
        let lines = trust.beliefs().take(LINES_MAX).map(|(key, belief)| ScoreLine::of(trust, rules, key, belief, at));
        ScoreTable { at, lines: lines.collect(), left_out: all.saturating_sub(LINES_MAX) }
    }

    /// As a terminal shows it.
    pub fn text(&self) -> String {
        if self.lines.is_empty() {
            return "nothing was scored yet: a score needs an action that was done, a claim about a series or an alert, and its time"
                .into();
        }
        let columns = ["policy", "does", "to", "helped", "neither", "harmed", "not told", "helps at least", "treated", "against nature"];
        let mut text = table(&columns, self.lines.iter().map(row));
        for line in &self.lines {
            for response in &line.responses {
                text += &format!(
                    "\n\n{} on {}: {}. It would fit: settle {}, verify {}, cooldown {}.",
                    line.verb, response.metric, response.text, response.settle, response.verify, response.cooldown
                );
                text.extend(response.warning.iter().map(|warning| format!("\n  WARNING, {}: {warning}", line.policy)));
            }
        }
        if self.left_out > 0 {
            text += &format!("\n\n{} more are not shown.", self.left_out);
        }
        text
    }
}

fn row(line: &ScoreLine) -> Vec<String> {
    let natural = line
        .natural
        .as_ref()
        .map_or_else(|| "unknown".into(), |d| format!("{} ({:+.0} to {:+.0} points)", d.finding, d.low * 100.0, d.high * 100.0));
    vec![
        line.policy.clone(),
        line.verb.clone(),
        line.target_class.clone(),
        format!("{:.1}", line.helped),
        format!("{:.1}", line.neither),
        format!("{:.1}", line.harmed),
        line.inconclusive.to_string(),
        format!("{:.0} %", line.lower_bound * 100.0),
        line.treated_text(),
        natural,
    ]
}

impl ScoreLine {
    fn of(trust: &Trust, rules: &Rules, key: &BeliefKey, belief: &Belief, at: Time) -> ScoreLine {
        let weights = belief.weights(at);
        let mut targets: Vec<SymptomLine> = belief
            .symptoms()
            .iter()
            .map(|(target, symptom)| SymptomLine { target: target.to_string(), times: symptom.times, last: symptom.last })
            .collect();
        targets.sort_by_key(|symptom| std::cmp::Reverse((symptom.times, symptom.last)));
        targets.truncate(TARGETS_SHOWN);
        ScoreLine {
            policy: key.policy.to_string(),
            verb: key.verb.to_string(),
            target_class: key.target_class.clone(),
            helped: weights.helped,
            harmed: weights.harmed,
            neither: weights.neither,
            inconclusive: belief.inconclusive(),
            lower_bound: belief.lower_bound(at, BOUND_LEVEL),
            mean: belief.mean(at),
            upper_bound: belief.upper_bound(at, BOUND_LEVEL),
            days_helped: belief.helped_on().count(),
            treated: belief.symptoms_total(),
            targets,
            natural: natural(trust, key, belief, at),
            responses: responses(trust, rules, key),
        }
    }

    /// `14× (node/nas 9×, node/pi 5×)`.
    pub fn treated_text(&self) -> String {
        let named: Vec<String> = self.targets.iter().take(2).map(|symptom| format!("{} {}×", symptom.target, symptom.times)).collect();
        let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
        format!("{}×{named}", self.treated)
    }

    /// What is believed, in one sentence.
    pub fn belief_text(&self) -> String {
        format!(
            "{} on {} helps in {:.0} % ({:.0} to {:.0} %, 90 %) of the cases: helped {}, neither {}, harmed {}, told nothing {}",
            self.verb,
            self.target_class,
            self.mean * 100.0,
            self.lower_bound * 100.0,
            self.upper_bound * 100.0,
            number((self.helped * 10.0).round() / 10.0),
            number((self.neither * 10.0).round() / 10.0),
            number((self.harmed * 10.0).round() / 10.0),
            self.inconclusive
        )
    }

    /// When it was last treated, for people.
    pub fn last_text(&self, now: Time) -> String {
        self.targets.iter().map(|symptom| symptom.last).max().map_or_else(|| "never".into(), |last| distance(now, last))
    }
}

/// Only where somebody has watched: a chance that rests on nothing says nothing about an action.
fn natural(trust: &Trust, key: &BeliefKey, belief: &Belief, at: Time) -> Option<DifferenceLine> {
    let own = trust.scores().rev().filter(|line| line.key == *key);
    let natural = own.filter_map(|line| line.score.natural).find(|natural| natural.at_risk > 0)?;
    let found = belief.difference(&natural, at)?;
    Some(DifferenceLine {
        difference: found.difference,
        low: found.low,
        high: found.high,
        finding: found.finding,
        odds: natural.odds,
        at_risk: natural.at_risk,
    })
}

fn responses(trust: &Trust, rules: &Rules, key: &BeliefKey) -> Vec<ResponseLine> {
    let of_policy = |metric: &str| {
        let mut effects = trust.scores().rev().filter(|line| line.key == *key).filter_map(|line| line.score.effect.as_ref());
        effects.any(|effect| &*effect.series.metric == metric)
    };
    let learned = trust.responses().filter(|((verb, metric), _)| *verb == key.verb && of_policy(metric));
    let line = |((verb, metric), learned): (&(homeostat_model::Verb, String), &homeostat_kernel::score::dead_time::Learned)| {
        let (summary, offer) = (learned.summary()?, learned.offer()?);
        Some(ResponseLine {
            metric: metric.clone(),
            fits: summary.fits,
            dead_time_seconds: summary.dead_time_seconds.median,
            lag_seconds: summary.lag_seconds.median,
            settle: offer.settle.to_string(),
            verify: offer.verify.to_string(),
            cooldown: offer.cooldown.to_string(),
            text: offer.text,
            warning: rules.pace(&key.policy, verb).and_then(|(every, settle)| learned.warns(every, settle)),
        })
    };
    learned.filter_map(line).collect()
}

/// The lines of one policy; for its page and `scores show`.
pub fn of_policy(ledger: &Ledger, rules: &Rules, policy: &PolicyId, at: Time) -> Vec<ScoreLine> {
    let trust = ledger.trust();
    let own = trust.beliefs().filter(|(key, _)| key.policy == *policy);
    own.take(LINES_MAX).map(|(key, belief)| ScoreLine::of(trust, rules, key, belief, at)).collect()
}
