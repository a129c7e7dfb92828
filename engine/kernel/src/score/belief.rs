//! What is believed of a policy's action from all that it did: decayed weights, their posterior, and the comparison with doing nothing.
//!
//! Deliberately absent: how one action is judged (`effect`), and what a belief permits (`ladder`). Repeated symptoms are counted apart:
//! healing the same thing fourteen times is fourteen helps and one thing that is still broken. An editor breaks this by letting an
//! inconclusive score move a weight, by counting a symptom as an outcome, or by drawing a sample from anything but the given seed.

use super::recovery::ODDS_MARGIN;
use homeostat_model::{Finding, Natural, Score, Span, Target, Time};
use serde::{Deserialize, Deserializer, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};
use statrs::function::beta::ln_beta;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Targets whose symptoms are counted one by one; the one not seen for the longest time makes room.
pub const TARGETS_MAX: usize = 256;
/// Distinct days that are kept; the oldest make room, but stay counted.
pub const DAYS_MAX: usize = 64;
/// The most that a posterior may rest on, in actions. More would say nothing new, and the incomplete Beta function converges within its
/// fixed number of terms only up to some thousands.
pub const WEIGHT_MAX: f64 = 4096.0;
/// Differences of healed shares within this of zero do not matter.
pub const DIFFERENCE_MATTERS: f64 = 0.1;
/// Evaluations of the distribution function in search of one quantile.
const QUANTILE_STEPS_MAX: u32 = 100;

/// The day of a moment, in UTC days since the Unix epoch.
pub fn day_of(at: Time) -> i64 {
    at.millis().div_euclid(86_400_000)
}

/// Distinct days in ascending order: the newest [`DAYS_MAX`], and how many there were in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    #[serde(default, deserialize_with = "newest_days")]
    newest: Vec<i64>,
    /// Days that made room.
    #[serde(default)]
    older: u32,
}

/// Reads days in whatever order; of more than [`DAYS_MAX`] the newest are kept.
fn newest_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    let mut days = Vec::<i64>::deserialize(deserializer)?;
    days.sort_unstable();
    days.dedup();
    days.drain(..days.len().saturating_sub(DAYS_MAX));
    Ok(days)
}

impl Days {
    /// Adds a day; `false`: it is there already, or older than all that are kept and may have been counted.
    pub fn insert(&mut self, day: i64) -> bool {
        let Err(place) = self.newest.binary_search(&day) else { return false };
        if place == 0 && self.newest.len() == DAYS_MAX {
            return false;
        }
        self.newest.insert(place, day);
        if self.newest.len() > DAYS_MAX {
            self.newest.remove(0);
            self.older = self.older.saturating_add(1);
        }
        true
    }

    /// How many different days there were.
    pub fn count(&self) -> u32 {
        self.older.saturating_add(self.newest.len() as u32)
    }

    /// The newest days, ascending.
    pub fn newest(&self) -> &[i64] {
        &self.newest
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Days::default();
    }
}

/// Two decayed weights, for something and against it, which count half after every `half_life`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// For it, as of `at`.
    pub yes: f64,
    /// Against it, as of `at`.
    pub no: f64,
    /// The moment as of which the weights are written.
    pub at: Time,
}

impl Tally {
    /// The tally as of a later moment. A moment before its own changes nothing.
    pub fn decayed(self, at: Time, half_life: Span) -> Tally {
        let factor = decay(self.at, at, half_life);
        Tally { yes: self.yes * factor, no: self.no * factor, at: self.at.max(at) }
    }

    /// Adds weight (0 or more) as of `at`.
    pub fn add(&mut self, yes: f64, no: f64, at: Time, half_life: Span) {
        *self = self.decayed(at, half_life);
        self.yes += yes;
        self.no += no;
    }

    /// The share that is exceeded with certainty `level` (0 to 1): the quantile 1 − level of Beta(1 + yes, 1 + no).
    pub fn lower_bound(self, level: f64) -> f64 {
        let (a, b) = shapes(self.yes, self.no);
        beta_quantile(a, b, 1.0 - level)
    }
}

/// The shapes of the posterior of `yes` with a flat prior, Beta(1 + yes, 1 + no), scaled down to [`WEIGHT_MAX`] actions.
fn shapes(yes: f64, no: f64) -> (f64, f64) {
    let scale = WEIGHT_MAX / (yes + no).max(WEIGHT_MAX);
    (1.0 + yes * scale, 1.0 + no * scale)
}

/// What is left of a weight written at `from`, at `at`: 2^(−(at − from)/half_life). A half-life of zero or less: nothing decays.
fn decay(from: Time, at: Time, half_life: Span) -> f64 {
    if half_life <= Span::ZERO {
        return 1.0;
    }
    (-at.since(from).seconds() / half_life.seconds()).exp2()
}

/// How often one target showed the symptom that was treated.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptom {
    /// How often.
    pub times: u64,
    /// When last.
    pub last: Time,
}

/// Treated against left alone: the share healed in the claim's time minus the share that goes by itself in it.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The difference, −1 to 1; above 0: the action heals what would have stayed.
    pub difference: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The word for it.
    pub finding: Finding,
}

/// What is believed of one policy doing one thing to one kind of target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Belief {
    /// Policy digest, playbook and actuator version, as one text: what the belief is about.
    version: String,
    half_life: Span,
    /// `yes`: helped and did not harm. `no`: neither helped nor harmed.
    outcomes: Tally,
    /// `yes`: harmed. Apart from `outcomes`, because harm is asked for by itself.
    harms: Tally,
    /// `yes`: treated and healed within the claim's time. `no`: treated and not healed in it.
    arm: Tally,
    /// Scores that told nothing.
    inconclusive: u64,
    /// Days on which a score was "helped".
    helped_on: Days,
    #[serde(default)]
    symptoms: BTreeMap<Target, Symptom>,
    /// How often any target showed the symptom.
    symptoms_total: u64,
}

/// Weights of a belief at one moment, in actions.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Weights {
    /// Helped and did not harm.
    pub helped: f64,
    /// Harmed.
    pub harmed: f64,
    /// Neither.
    pub neither: f64,
}

impl Weights {
    fn shapes(self) -> (f64, f64) {
        shapes(self.helped, self.harmed + self.neither)
    }
}

impl Belief {
    /// Nothing believed yet. `version` names the text of policy, playbook and actuator; what is learned counts half after `half_life`.
    pub fn new(version: &str, half_life: Span) -> Belief {
        Belief {
            version: version.to_owned(),
            half_life,
            outcomes: Tally::default(),
            harms: Tally::default(),
            arm: Tally::default(),
            inconclusive: 0,
            helped_on: Days::default(),
            symptoms: BTreeMap::new(),
            symptoms_total: 0,
        }
    }

    /// The version that the belief is about.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Empties the belief if `version` is another than its own; `true`: it did. Of another text nothing is known.
    pub fn reset(&mut self, version: &str) -> bool {
        if self.version == version {
            return false;
        }
        *self = Belief::new(version, self.half_life);
        true
    }

    /// Another half-life from `at` on; what was learned until then has decayed by the old one.
    pub fn set_half_life(&mut self, half_life: Span, at: Time) {
        for tally in [&mut self.outcomes, &mut self.harms, &mut self.arm] {
            *tally = tally.decayed(at, self.half_life);
        }
        self.half_life = half_life;
    }

    /// Adds a score: `p_harmed`, `p_helped` (at most what harm leaves of 1) and the rest to the three weights. An inconclusive one
    /// is counted and moves nothing; a chance that is not a number counts as 0.
    pub fn note_score(&mut self, score: &Score, at: Time) {
        if score.finding == Finding::Inconclusive {
            self.inconclusive += 1;
            return;
        }
        let harmed = chance(score.p_harmed);
        let helped = chance(score.p_helped).min(1.0 - harmed);
        self.outcomes.add(helped, 1.0 - harmed - helped, at, self.half_life);
        self.harms.add(harmed, 0.0, at, self.half_life);
        if score.finding == Finding::Helped {
            self.helped_on.insert(day_of(at));
        }
    }

    /// Counts one more time that `target` showed the symptom and it was treated.
    pub fn note_symptom(&mut self, target: &Target, at: Time) {
        self.symptoms_total += 1;
        let symptom = self.symptoms.entry(target.clone()).or_insert(Symptom { times: 0, last: at });
        symptom.times += 1;
        symptom.last = symptom.last.max(at);
        while self.symptoms.len() > TARGETS_MAX {
            let others = self.symptoms.iter().filter(|(other, _)| *other != target);
            let Some(oldest) = others.min_by_key(|(_, symptom)| symptom.last).map(|(other, _)| other.clone()) else { return };
            self.symptoms.remove(&oldest);
        }
    }

    /// Counts a treated episode of a claim that is true or not: did the symptom go within the claim's time?
    pub fn note_treated(&mut self, healed: bool, at: Time) {
        self.arm.add(f64::from(u8::from(healed)), f64::from(u8::from(!healed)), at, self.half_life);
    }

    /// The weights as of `at`.
    pub fn weights(&self, at: Time) -> Weights {
        let outcomes = self.outcomes.decayed(at, self.half_life);
        let harmed = self.harms.decayed(at, self.half_life).yes;
        Weights { helped: outcomes.yes, harmed, neither: outcomes.no }
    }

    /// Treated episodes as of `at`, decayed: healed within the claim's time, and not.
    pub fn arm(&self, at: Time) -> Tally {
        self.arm.decayed(at, self.half_life)
    }

    /// Scores that told nothing.
    pub fn inconclusive(&self) -> u64 {
        self.inconclusive
    }

    /// Days (UTC) on which a score was "helped".
    pub fn helped_on(&self) -> &Days {
        &self.helped_on
    }

    /// How often each target showed the symptom; at most [`TARGETS_MAX`], those seen last.
    pub fn symptoms(&self) -> &BTreeMap<Target, Symptom> {
        &self.symptoms
    }

    /// How often any target showed the symptom, forgotten targets included.
    pub fn symptoms_total(&self) -> u64 {
        self.symptoms_total
    }

    /// The mean of the posterior of "helped and did not harm", 0 to 1; 0.5 when nothing is known.
    pub fn mean(&self, at: Time) -> f64 {
        let (a, b) = self.weights(at).shapes();
        a / (a + b)
    }

    /// The share of actions that help and do not harm is at least this with certainty `level` (0 to 1, one-sided): the quantile
    /// 1 − level of Beta(1 + helped, 1 + harmed + neither).
    pub fn lower_bound(&self, at: Time, level: f64) -> f64 {
        let (a, b) = self.weights(at).shapes();
        beta_quantile(a, b, 1.0 - level)
    }

    /// The share is at most this with certainty `level` (0 to 1, one-sided): the quantile `level`.
    pub fn upper_bound(&self, at: Time, level: f64) -> f64 {
        let (a, b) = self.weights(at).shapes();
        beta_quantile(a, b, level)
    }

    /// Treated against left alone, as of `at`. `natural` is what the recovery curve says of the same symptom, as old as it is when the
    /// action is sent, in the claim's time. `None`: nothing was treated yet.
    ///
    /// Both shares have Jeffreys posteriors: Beta(healed + ½, not healed + ½) of the treated, Beta(odds (n + 1), (1 − odds)(n + 1))
    /// of the others, with n at risk, which is Beta(d + ½, n − d + ½) for odds of (d + ½)/(n + 1) and weighs one action where only
    /// exposure is known. The interval of the difference is Newcombe's hybrid (1998, Stat. Med. 17:873, method 10), with these
    /// intervals in place of Wilson's (Zou & Donner 2008, Stat. Med. 27:1693): low = d − √((p₁ − l₁)² + (u₂ − p₂)²), high likewise.
    ///
    /// Helped: above 0. Harmed: below 0. No effect: around 0 and within ±[`DIFFERENCE_MATTERS`]. Else inconclusive.
    pub fn difference(&self, natural: &Natural, at: Time) -> Option<Difference> {
        let arm = self.arm.decayed(at, self.half_life);
        let treated = arm.yes + arm.no;
        if treated <= 0.0 {
            return None;
        }
        let scale = WEIGHT_MAX / treated.max(WEIGHT_MAX);
        let (mean_1, low_1, high_1) = share(arm.yes * scale + 0.5, arm.no * scale + 0.5);
        let odds = chance(natural.odds).clamp(ODDS_MARGIN, 1.0 - ODDS_MARGIN);
        let weight = f64::from(natural.at_risk).min(WEIGHT_MAX) + 1.0;
        let (mean_2, low_2, high_2) = share(odds * weight, (1.0 - odds) * weight);
        let difference = mean_1 - mean_2;
        let low = difference - (mean_1 - low_1).hypot(high_2 - mean_2);
        let high = difference + (high_1 - mean_1).hypot(mean_2 - low_2);
        let finding = match (low, high) {
            (low, _) if low > 0.0 => Finding::Helped,
            (_, high) if high < 0.0 => Finding::Harmed,
            (low, high) if low >= -DIFFERENCE_MATTERS && high <= DIFFERENCE_MATTERS => Finding::NoEffect,
            _ => Finding::Inconclusive,
        };
        Some(Difference { difference, low: low.max(-1.0), high: high.min(1.0), finding })
    }
}

/// Which of several alternatives to try: Thompson's sampling (1933, Biometrika 25:285). One draw from the posterior of each; the
/// highest wins, of equals the first. Deterministic: the same beliefs, moment and `seed` choose the same.
///
/// Only for alternatives that a policy itself lists, and only up to the class `reversible`: the caller checks both. Nothing to choose
/// from gives 0.
pub fn choose(beliefs: &[&Belief], at: Time, seed: u64) -> usize {
    let mut state = seed;
    let mut best = (0, f64::NEG_INFINITY);
    for (index, belief) in beliefs.iter().enumerate() {
        let (a, b) = belief.weights(at).shapes();
        // 53 bits, in the middle of their step: never 0 or 1.
        let uniform = ((splitmix64(&mut state) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let draw = beta_quantile(a, b, uniform);
        if draw > best.1 {
            best = (index, draw);
        }
    }
    best.0
}

/// The next number of the sequence (Steele, Lea & Flood 2014, OOPSLA: SplitMix).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A chance from outside: within 0 to 1; not a number is 0.
fn chance(p: f64) -> f64 {
    if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) }
}

/// Mean and 95 % interval of Beta(a, b). The mean lies within the interval also where the density runs off to one end.
fn share(a: f64, b: f64) -> (f64, f64, f64) {
    let mean = a / (a + b);
    (mean, beta_quantile(a, b, 0.025).min(mean), beta_quantile(a, b, 0.975).max(mean))
}

/// The quantile `p` of Beta(a, b), `a` and `b` above 0: Newton's steps on the distribution function while each is at most half the one
/// before and stays in the bracket, else halving of the bracket; at most [`QUANTILE_STEPS_MAX`] evaluations whatever the shapes. (The
/// library's own inverse iterates without a limit.) Within 1e-12 of the truth. `p` of 0 or less gives 0, of 1 or more 1.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    if p >= 1.0 {
        return 1.0;
    }
    let Ok(beta) = Beta::new(a, b) else { return 0.0 };
    if p <= 0.0 || p.is_nan() {
        return 0.0;
    }
    let norm = ln_beta(a, b);
    let (mut low, mut high, mut x, mut moved) = (0.0, 1.0, a / (a + b), 1.0f64);
    for _ in 0..QUANTILE_STEPS_MAX {
        let error = beta.cdf(x) - p;
        if error == 0.0 {
            break;
        }
        if error < 0.0 {
            low = x
        } else {
            high = x
        }
        let density = ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - norm).exp();
        let newton = x - error / density;
        let inside = newton > low && newton < high && (newton - x).abs() <= 0.5 * moved;
        let to = if inside { newton } else { 0.5 * (low + high) };
        moved = (to - x).abs();
        x = to;
        if moved <= 1e-14 {
            break;
        }
    }
    x
}
