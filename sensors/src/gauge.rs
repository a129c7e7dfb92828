//! One series of a sensor that builds its own labels: the key is made once, the number is remembered for the epoch.
//!
//! In steady state a push compares two numbers and touches no label. Deliberately absent: any idea of what the value means. An
//! editor breaks this by keeping a number over an epoch: it would then name another series.

use crate::dictionary::Dictionary;
use homeostat_model::{Observation, Sample, SeriesKey};

/// A series and its number in the sensor's dictionary.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    key: SeriesKey,
    /// Epoch and number.
    known: Option<(u32, u32)>,
}

impl Gauge {
    /// A series that has not been declared yet.
    pub(crate) fn new(metric: &str, labels: &[(&str, &str)]) -> Gauge {
        Gauge { key: SeriesKey::new(metric, labels.iter().map(|(name, value)| (*name, *value))), known: None }
    }

    /// Whether the other names the same series.
    pub(crate) fn is_of(&self, other: &Gauge) -> bool {
        self.key == other.key
    }

    /// Puts a value into the row of `into`, declaring the series where this epoch does not know it. Over the series limit
    /// nothing is put; the dictionary reports that. Values that are not finite are left out: they would not be measurements.
    pub(crate) fn push(&mut self, value: f64, dictionary: &mut Dictionary, into: &mut Observation) {
        if !value.is_finite() {
            return;
        }
        let number = match self.known {
            Some((epoch, number)) if epoch == dictionary.epoch() => Some(number),
            _ => dictionary.declare(self.key.clone(), 0, into),
        };
        if let Some(series) = number {
            self.known = Some((dictionary.epoch(), series));
            into.samples.push(Sample { series, value });
        }
    }

    /// The same, where there is a value: unknown is no sample, never 0.
    pub(crate) fn push_known(&mut self, value: Option<f64>, dictionary: &mut Dictionary, into: &mut Observation) {
        if let Some(value) = value {
            self.push(value, dictionary, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{SensorId, Span, Time};

    #[test]
    fn a_number_is_learned_once_per_epoch() {
        let (mut dictionary, mut gauge) = (Dictionary::new(10), Gauge::new("node_up", &[("node", "a")]));
        let mut into = Observation::new(SensorId::from("host"), Time(0), Span::from_secs(5));
        for (round, declared) in [(0, 1), (1, 0), (2, 1)] {
            into.reset(Time(round));
            if round == 2 {
                dictionary.renew();
            }
            dictionary.begin(&mut into);
            gauge.push(1.0, &mut dictionary, &mut into);
            gauge.push_known(None, &mut dictionary, &mut into);
            gauge.push(f64::NAN, &mut dictionary, &mut into);
            dictionary.commit(&mut into);
            assert_eq!((into.declared.len(), into.samples.len()), (declared, 1), "round {round}");
        }
    }
}
