//! A sensor's dictionary: which number stands for which series, and what of it the daemon has seen.
//!
//! A read is `begin` → any number of `declare` → `commit`. A read future can be dropped half way (the daemon's timeout); what it
//! had declared was then never handed over. `begin` notices declarations without a `commit` and starts a new epoch, so that a
//! number never means two series within one epoch. Callers that keep numbers (memos, derivers) compare [`Dictionary::epoch`]
//! with the one they learned them in. Deliberately absent: values, and any order but that of declaration. An editor breaks this
//! by committing before the observation is complete, or by reusing numbers within an epoch.

use homeostat_model::{Fault, FaultCode, Observation, SeriesDecl, SeriesKey};
use std::collections::HashMap;

/// A new epoch starts when more than this many times the live series are declared …
const CHURN_FACTOR: usize = 4;
/// … and more than this many beyond that, so that small pages do not renew all the time.
const CHURN_SLACK: usize = 1000;

/// Numbers for series; see the module's text for the protocol.
#[derive(Debug)]
pub struct Dictionary {
    numbers: HashMap<SeriesKey, u32>,
    epoch: u32,
    /// How many series the daemon has seen in this epoch.
    committed: usize,
    series_max: usize,
    /// Declarations refused by the limit since `begin`.
    refused: u64,
    /// The next `begin` starts a new epoch.
    stale: bool,
}

impl Dictionary {
    /// An empty dictionary that takes at most `series_max` series per epoch.
    pub fn new(series_max: usize) -> Dictionary {
        let series_max = series_max.min(u32::MAX as usize);
        Dictionary { numbers: HashMap::new(), epoch: 0, committed: 0, series_max, refused: 0, stale: false }
    }

    /// Opens a read: sets `into.epoch` and `into.declared_before`. Starts a new epoch if the last read was dropped after it had
    /// declared something, or if churn has made the dictionary much larger than what is alive.
    pub fn begin(&mut self, into: &mut Observation) {
        if self.stale || self.numbers.len() != self.committed {
            self.renew();
        }
        self.refused = 0;
        into.epoch = self.epoch;
        into.declared_before = self.committed as u32;
        into.declared.clear();
    }

    /// The number of a series, declaring it in `into` if it is new. `None` when the limit is reached; [`Dictionary::commit`]
    /// then reports how many were refused. `cohort` matters for `stamped` series only (see [`SeriesDecl`]).
    pub fn declare(&mut self, key: SeriesKey, cohort: u32, into: &mut Observation) -> Option<u32> {
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        if self.numbers.len() >= self.series_max {
            self.refused += 1;
            return None;
        }
        let number = self.numbers.len() as u32;
        into.declared.push(SeriesDecl { key: key.clone(), cohort });
        self.numbers.insert(key, number);
        Some(number)
    }

    /// The number of a series that has been declared in this epoch.
    pub fn get(&self, key: &SeriesKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// Closes a read: everything declared counts as handed over. Must be the last thing before the read future ends, with no
    /// `await` after it. Reports refused declarations as one `Limit` fault.
    pub fn commit(&mut self, into: &mut Observation) {
        self.commit_live(into.samples.len() + into.stamped.len(), into);
    }

    /// The same for a sensor whose reads do not carry every living series each time: `live` is how many there are.
    pub fn commit_live(&mut self, live: usize, into: &mut Observation) {
        self.committed = self.numbers.len();
        if self.refused > 0 {
            let detail = format!(
                "{} series were left out: the limit is {} series (`series_max`), {} had a value in this read",
                self.refused, self.series_max, live
            );
            into.fault(Fault::new(FaultCode::Limit, format!("number the series of `{}`", into.sensor), detail));
        }
        let seen = into.health < homeostat_model::Health::Blind;
        // The dead may hold the places of the living: a new epoch helps if all that is alive would fit.
        let crowded = self.refused > 0 && live as u64 + self.refused <= self.series_max as u64;
        self.stale = seen && (self.committed > CHURN_FACTOR * live + CHURN_SLACK || crowded);
    }

    /// The next read starts a new epoch. To be called after [`Dictionary::commit`].
    pub fn expire(&mut self) {
        self.stale = true;
    }

    /// Starts a new epoch: all series will be declared again.
    pub fn renew(&mut self) {
        self.numbers.clear();
        self.epoch = self.epoch.wrapping_add(1);
        self.committed = 0;
        self.stale = false;
    }

    /// The epoch; numbers learned in another one are void.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many series are declared in this epoch.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether nothing is declared in this epoch.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{Sample, SensorId, Span, Time};

    fn observation() -> Observation {
        Observation::new(SensorId::from("s"), Time(0), Span::from_secs(15))
    }

    #[test]
    fn a_series_is_declared_once() {
        let (mut dictionary, mut into) = (Dictionary::new(10), observation());
        dictionary.begin(&mut into);
        assert_eq!(dictionary.declare(SeriesKey::bare("a"), 0, &mut into), Some(0));
        assert_eq!(dictionary.declare(SeriesKey::bare("b"), 0, &mut into), Some(1));
        assert_eq!(dictionary.declare(SeriesKey::bare("a"), 0, &mut into), Some(0));
        dictionary.commit(&mut into);
        assert_eq!((into.declared.len(), into.declared_before, into.epoch), (2, 0, 0));
        into.reset(Time(1));
        dictionary.begin(&mut into);
        assert_eq!(dictionary.declare(SeriesKey::bare("b"), 0, &mut into), Some(1));
        assert_eq!((into.declared.len(), into.declared_before, into.epoch), (0, 2, 0));
    }

    #[test]
    fn a_dropped_read_that_declared_nothing_costs_nothing_and_one_that_did_starts_anew() {
        let (mut dictionary, mut into) = (Dictionary::new(10), observation());
        dictionary.begin(&mut into);
        dictionary.declare(SeriesKey::bare("a"), 0, &mut into);
        dictionary.commit(&mut into);
        for _ in 0..3 {
            dictionary.begin(&mut into);
        }
        assert_eq!((into.epoch, into.declared_before), (0, 1));
        dictionary.declare(SeriesKey::bare("lost"), 0, &mut into);
        dictionary.begin(&mut into);
        assert_eq!((into.epoch, into.declared_before, into.declared.len()), (1, 0, 0));
        assert_eq!(dictionary.declare(SeriesKey::bare("b"), 0, &mut into), Some(0));
    }

    #[test]
    fn the_limit_is_reported_once_per_read() {
        let (mut dictionary, mut into) = (Dictionary::new(2), observation());
        dictionary.begin(&mut into);
        for name in ["a", "b", "c", "d"] {
            if let Some(series) = dictionary.declare(SeriesKey::bare(name), 0, &mut into) {
                into.samples.push(Sample { series, value: 1.0 });
            }
        }
        dictionary.commit(&mut into);
        assert_eq!((into.samples.len(), into.faults.len(), into.faults[0].code), (2, 1, FaultCode::Limit));
        assert!(into.faults[0].detail.starts_with("2 series"), "{}", into.faults[0]);
        dictionary.begin(&mut into);
        assert_eq!(into.epoch, 0, "all series are alive: a new epoch would not help");
    }

    #[test]
    fn churn_starts_a_new_epoch() {
        let (mut dictionary, mut into) = (Dictionary::new(100_000), observation());
        let mut epochs = Vec::new();
        for round in 0..1200 {
            into.reset(Time(round));
            dictionary.begin(&mut into);
            epochs.push(into.epoch);
            let series = dictionary.declare(SeriesKey::new("pod", [("uid", round.to_string())]), 0, &mut into).unwrap();
            into.samples.push(Sample { series, value: 1.0 });
            dictionary.commit(&mut into);
            assert!(dictionary.len() <= CHURN_FACTOR + CHURN_SLACK + 1);
        }
        assert_eq!(epochs.last(), Some(&1));
    }
}
