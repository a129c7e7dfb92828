//! Everything that looks like chance, from one seed.
//!
//! Two kinds. [`stream`] gives a generator for things that happen once, in order (a schedule of faults). [`at`] gives the same number
//! for the same question, whoever asks and however often: load, jitter and noise come from it, so that a run in which an action was
//! taken sees the same weather as one in which it was not. An editor breaks controls on the same seed by drawing from a stream
//! inside the plant's steps.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A generator for one purpose.
pub fn stream(seed: u64, purpose: &str) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(mix(seed ^ hash(purpose)))
}

/// A number in [0, 1) that belongs to this seed, this thing and this moment.
pub fn at(seed: u64, thing: u64, moment: i64) -> f64 {
    unit(mix(mix(seed ^ thing.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ moment as u64))
}

/// A number in [0, 1) from a generator.
pub fn unit_from(random: &mut Pcg64Mcg) -> f64 {
    unit(random.next_u64())
}

/// The time to the next of events that come `per_second`, in seconds: exponential.
pub fn wait_seconds(random: &mut Pcg64Mcg, per_second: f64) -> f64 {
    if per_second <= 0.0 { f64::INFINITY } else { -(1.0 - unit_from(random)).ln() / per_second }
}

/// A name as a number; FNV-1a.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// SplitMix64's finisher (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_has_the_same_answer_and_answers_spread() {
        assert_eq!(at(1, 2, 3), at(1, 2, 3));
        assert_ne!(at(1, 2, 3), at(2, 2, 3));
        let mean = (0..10_000).map(|moment| at(7, 1, moment)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let (mut one, mut same) = (stream(1, "faults"), stream(1, "faults"));
        let waits: Vec<f64> = (0..2_000).map(|_| wait_seconds(&mut one, 0.1)).collect();
        assert_eq!(waits[..100], (0..100).map(|_| wait_seconds(&mut same, 0.1)).collect::<Vec<_>>()[..]);
        let mean = waits.iter().sum::<f64>() / 2_000.0;
        assert!((mean - 10.0).abs() < 1.0, "{mean}");
    }
}
