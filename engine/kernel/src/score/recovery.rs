//! How a symptom goes by itself: what a person would have seen by doing nothing.
//!
//! Every reactive action looks good, because most symptoms pass. This is the other arm: episodes of a symptom that nobody did anything
//! about, as far as they could be watched. Deliberately absent: which series is the symptom, and who decides that an episode was left
//! alone. An editor breaks this by counting an episode that was cut short (an action, a restart, another policy) as one that healed, or
//! by dropping it: the first makes every action look useless, the second makes every action look good.

use homeostat_model::{Natural, Span};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// Episodes that are kept; the oldest make room.
pub const EPISODES_MAX: usize = 512;
/// With fewer episodes at risk than this the curve is not believed and the chance comes from exposure.
pub const AT_RISK_MIN: usize = 5;
/// The chance is never nearer to 0 or to 1 than this.
pub const ODDS_MARGIN: f64 = 1e-9;
/// What counts as watched when nothing was watched yet, in seconds: so little that every symptom is expected to go, and no action can
/// look good before anything is known.
const EXPOSURE_MIN_SECONDS: f64 = 1.0;
/// The 97.5 % point of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// One time that the symptom was there and nobody did anything.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// How long it was watched.
    pub lasted: Span,
    /// `true`: it went by itself then. `false`: watching ended (an action, a restart, another policy); it may have lasted longer.
    pub healed: bool,
}

/// One step of the curve.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct CurveStep {
    /// Symptoms that lasted this long …
    pub at: Span,
    /// … of which so many were still there and watched just before …
    pub at_risk: u32,
    /// … and so many went by themselves at this moment.
    pub healed: u32,
    /// The share that lasts longer, 0 to 1.
    pub lasting: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What is known of one symptom left alone. At most [`EPISODES_MAX`] episodes, the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    #[serde(default, deserialize_with = "newest")]
    episodes: VecDeque<Episode>,
    /// Episodes that made room for newer ones.
    #[serde(default)]
    forgotten: u64,
}

/// Reads episodes; of more than [`EPISODES_MAX`] the newest are kept.
fn newest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VecDeque<Episode>, D::Error> {
    let mut episodes = VecDeque::<Episode>::deserialize(deserializer)?;
    episodes.drain(..episodes.len().saturating_sub(EPISODES_MAX));
    for episode in &mut episodes {
        episode.lasted = episode.lasted.max(Span::ZERO);
    }
    Ok(episodes)
}

impl Recovery {
    /// Adds an episode that ended: `healed` by itself after it had `lasted` so long, or else no longer watched from then on.
    pub fn note(&mut self, lasted: Span, healed: bool) {
        if self.episodes.len() == EPISODES_MAX {
            self.episodes.pop_front();
            self.forgotten += 1;
        }
        self.episodes.push_back(Episode { lasted: lasted.max(Span::ZERO), healed });
    }

    /// The episodes, oldest first.
    pub fn episodes(&self) -> impl DoubleEndedIterator<Item = Episode> + ExactSizeIterator + '_ {
        self.episodes.iter().copied()
    }

    /// How many episodes made room for newer ones.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many of the episodes went by themselves.
    pub fn healed(&self) -> usize {
        self.episodes.iter().filter(|e| e.healed).count()
    }

    /// The product-limit curve, one step per moment at which an episode healed, in order of time. At most [`EPISODES_MAX`] steps.
    ///
    /// S(t) = Π (1 − dᵢ/nᵢ) over tᵢ ≤ t (Kaplan & Meier 1958, J. Am. Stat. Assoc. 53:457); who stops being watched at tᵢ is still at
    /// risk then. The interval is Greenwood's, g = Σ dᵢ/(nᵢ(nᵢ − dᵢ)), on the scale of log(−log S), which keeps it within 0 to 1:
    /// S^exp(±1.96 √g / ln S) (Kalbfleisch & Prentice 1980 §1.3; Klein & Moeschberger 2003 §4.3). Where S is 0, g is infinite: the low
    /// end is 0 and the high end stays where it was one step before (1 for the first step).
    pub fn curve(&self) -> Vec<CurveStep> {
        let sorted = self.sorted();
        let (mut lasting, mut greenwood, mut high_before) = (1.0, 0.0, 1.0);
        let mut steps = Vec::new();
        for (at, at_risk, healed) in risk_sets(&sorted) {
            let (n, d) = (at_risk as f64, healed as f64);
            lasting *= 1.0 - d / n;
            greenwood += d / (n * (n - d));
            let (low, high) = if healed == at_risk { (0.0, high_before) } else { log_log_bounds(lasting, greenwood) };
            high_before = high;
            steps.push(CurveStep { at, at_risk: at_risk as u32, healed: healed as u32, lasting, low, high });
        }
        steps
    }

    /// The chance that a symptom that has `lasted` so long would go by itself `within` the time from then.
    ///
    /// As far as at least [`AT_RISK_MIN`] episodes carry the curve, up to the time c that the fifth longest lasted, its conditional
    /// value counts: q = S(min(lasted + within, c)) / S(lasted), smoothed with n, the episodes that lasted longer than `lasted`, to
    /// (n q + 0.5)/(n + 1): without censoring that is (d + 0.5)/(n + 1) for the chance itself, the mean of Jeffreys' Beta(½, ½)
    /// posterior. Beyond c, and from the beginning where fewer than five are left, nobody has seen enough, and the rest r of the time
    /// is carried by a constant hazard (an exponential tail, as Brown, Hollander & Korwar 1974 complete the curve) whose rate has the
    /// posterior Gamma(a, E) of Jeffreys' prior Gamma(½, 0): a = healed episodes + ½, E = all the time watched, this episode's own
    /// included. Its predictive distribution is Lomax's: P(longer than r) = (E/(E + r))^a. So a symptom that has lasted three hours
    /// is itself evidence that it does not go in ten minutes. The tail begins at c and not at `lasted + within`, because a curve of
    /// which everybody was cut short at the moment of acting is flat there, and flat would read as "never heals".
    ///
    /// What it rests on (`at_risk`) is told as the number of episodes that, watched to their end, would know it as well: most that were at
    /// risk may have been cut short since.
    ///
    /// Never falls as `within` grows; never nearer to 0 or 1 than [`ODDS_MARGIN`]. Work: one sort of at most [`EPISODES_MAX`].
    pub fn odds(&self, lasted: Span, within: Span) -> Natural {
        let lasted = lasted.max(Span::ZERO);
        let end = lasted + within.max(Span::ZERO);
        let sorted = self.sorted();
        let at_risk = sorted.len() - sorted.partition_point(|e| e.lasted <= lasted);
        let (mut remaining, mut known_to, mut doubt) = (1.0, lasted, 0.0);
        if at_risk >= AT_RISK_MIN {
            known_to = end.min(sorted[sorted.len() - AT_RISK_MIN].lasted);
            let steps = risk_sets(&sorted).into_iter().filter(|(at, ..)| *at > lasted && *at <= known_to);
            let mut kept = 1.0;
            for (_, n, d) in steps {
                let (n, d) = (n as f64, d as f64);
                kept *= 1.0 - d / n;
                // At the last one Greenwood's term has no end; half an episode more gives it one.
                doubt += d / (n * (n - d).max(0.5));
            }
            remaining = (at_risk as f64 * kept + 0.5) / (at_risk as f64 + 1.0);
        }
        let watched = sorted.iter().map(|e| e.lasted.seconds()).sum::<f64>() + lasted.seconds();
        let exposure = watched.max(EXPOSURE_MIN_SECONDS);
        let rest = (end - known_to).seconds();
        let rate = self.healed() as f64 + 0.5;
        let tail = (exposure / (exposure + rest)).ln() * rate;
        remaining *= tail.exp();
        doubt += tail * tail / rate;
        let odds = (1.0 - remaining).clamp(ODDS_MARGIN, 1.0 - ODDS_MARGIN);
        // As many episodes watched to their end would know the odds as well (Greenwood's variance against the binomial one).
        let worth = if doubt > 0.0 { odds / ((1.0 - odds) * doubt) } else { at_risk as f64 };
        Natural { odds, at_risk: worth.clamp(0.0, at_risk as f64).round() as u32, lasted }
    }

    /// The episodes by length.
    fn sorted(&self) -> Vec<Episode> {
        let mut sorted: Vec<Episode> = self.episodes.iter().copied().collect();
        sorted.sort_by_key(|e| e.lasted);
        sorted
    }
}

/// `(when, at risk just before, healed then)` for every moment at which one healed; `sorted` by length.
fn risk_sets(sorted: &[Episode]) -> Vec<(Span, usize, usize)> {
    let mut sets = Vec::new();
    let mut begin = 0;
    for together in sorted.chunk_by(|a, b| a.lasted == b.lasted) {
        let healed = together.iter().filter(|e| e.healed).count();
        if healed > 0 {
            sets.push((together[0].lasted, sorted.len() - begin, healed));
        }
        begin += together.len();
    }
    sets
}

/// The 95 % interval of a share `0 < lasting < 1` from Greenwood's sum, on the scale of log(−log).
fn log_log_bounds(lasting: f64, greenwood: f64) -> (f64, f64) {
    let power = (Z95 * greenwood.sqrt() / lasting.ln()).exp();
    // `lasting.ln()` is negative, so `power` is below 1 and gives the upper end.
    (lasting.powf(1.0 / power), lasting.powf(power))
}
