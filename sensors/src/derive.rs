//! The hook through which a source's own series become the normalised vocabulary (`node_power_watts` and the like).
//!
//! A sensor reads, declares and fills an observation; then it calls [`apply`], and the deriver may declare and push more series
//! into the same observation, so that raw and derived values share one stamp. Deliberately absent: which names exist (that is
//! the normaliser's) and any IO. An editor breaks this by calling a deriver before the source's samples are complete, or by
//! keeping series numbers over a [`Derive::reset`].

use crate::dictionary::Dictionary;
use homeostat_model::{Observation, SeriesDecl};

/// Makes derived series out of a source's own.
pub trait Derive: Send {
    /// The sensor's dictionary starts anew: every series number learned so far is void. All series will be declared again.
    fn reset(&mut self);

    /// The source declared `declared`, numbered `first`, `first + 1` … Called before [`Derive::derive`] of the same observation,
    /// with the source's series only. May declare derived series by `dictionary.declare(key, cohort, into)`, which returns `None`
    /// when the sensor's series limit is reached. `into.declared` shows only what this call itself declares.
    fn declared(&mut self, declared: &[SeriesDecl], first: u32, dictionary: &mut Dictionary, into: &mut Observation);

    /// The observation holds all of the source's samples; derived ones are pushed to `into.samples` (stamp `into.at`) or
    /// `into.stamped`. Also called for blind reads, where only the sensor's own series (`up`) have values, in `into.stamped`:
    /// nothing may then be pushed to `into.samples`.
    fn derive(&mut self, dictionary: &mut Dictionary, into: &mut Observation);
}

/// Runs the deriver over an observation whose samples are complete. Sensors call it once per read, between filling the
/// observation and [`Dictionary::commit`].
pub fn apply(deriver: &mut dyn Derive, dictionary: &mut Dictionary, into: &mut Observation) {
    if into.declared_before == 0 {
        deriver.reset();
    }
    if !into.declared.is_empty() {
        // The source's declarations are taken out while the deriver adds its own; numbers come from the dictionary, so the order
        // (source first, derived after) is the order of the numbers.
        let source = std::mem::take(&mut into.declared);
        deriver.declared(&source, into.declared_before, dictionary, into);
        let derived = std::mem::replace(&mut into.declared, source);
        into.declared.extend(derived);
    }
    deriver.derive(dictionary, into);
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{Health, Sample, SensorId, SeriesKey, Span, Time};

    /// Doubles every series.
    #[derive(Default)]
    struct Double {
        pairs: Vec<(u32, u32)>,
    }

    impl Derive for Double {
        fn reset(&mut self) {
            self.pairs.clear();
        }
        fn declared(&mut self, declared: &[SeriesDecl], first: u32, dictionary: &mut Dictionary, into: &mut Observation) {
            for (number, decl) in (first..).zip(declared) {
                let key = SeriesKey { metric: format!("{}_double", decl.key.metric).into(), labels: decl.key.labels.clone() };
                if let Some(derived) = dictionary.declare(key, 0, into) {
                    self.pairs.push((number, derived));
                }
            }
        }
        fn derive(&mut self, _: &mut Dictionary, into: &mut Observation) {
            for i in 0..into.samples.len() {
                let sample = into.samples[i];
                if let Some((_, derived)) = self.pairs.iter().find(|(source, _)| *source == sample.series) {
                    into.samples.push(Sample { series: *derived, value: sample.value * 2.0 });
                }
            }
        }
    }

    #[test]
    fn derived_series_are_numbered_after_the_sources_and_survive_only_their_epoch() {
        let (mut dictionary, mut deriver) = (Dictionary::new(10), Double::default());
        let mut into = Observation::new(SensorId::from("s"), Time(0), Span::from_secs(15));
        for round in 0..3 {
            into.reset(Time(round));
            dictionary.begin(&mut into);
            let number = dictionary.declare(SeriesKey::bare("a"), 0, &mut into).unwrap();
            into.samples.push(Sample { series: number, value: 21.0 });
            apply(&mut deriver, &mut dictionary, &mut into);
            if round < 2 {
                dictionary.commit(&mut into);
            }
            assert_eq!(into.samples, [Sample { series: 0, value: 21.0 }, Sample { series: 1, value: 42.0 }]);
            let names: Vec<&str> = into.declared.iter().map(|decl| &*decl.key.metric).collect();
            assert_eq!(names, if round == 0 { vec!["a", "a_double"] } else { vec![] }, "round {round}");
        }
        into.reset(Time(3));
        dictionary.begin(&mut into);
        into.health = Health::Blind;
        apply(&mut deriver, &mut dictionary, &mut into);
        assert!(into.samples.is_empty(), "from nothing follows nothing");
    }
}
