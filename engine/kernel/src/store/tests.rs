//! The store against a naive reference: samples in a map, formulas written once more from their definitions.

mod limits;
mod reference;
mod standing;
mod values;

use super::*;
use homeostat_model::{Observation, Sample, SeriesDecl, Span, StampedSample};

/// A store with chunks small enough that every test seals some.
pub(super) fn store(chunk_rows: usize) -> Store {
    Store::with_chunk_rows(StoreSettings { retention: Span::from_hours(1000), ..StoreSettings::default() }, chunk_rows)
}

/// An observation of sensor `s`, every 15 s, that declares these keys.
pub(super) fn observation(at: i64, before: u32, keys: &[&str]) -> Observation {
    let mut obs = Observation::new(SensorId::new("s"), Time(at), Span::from_secs(15));
    obs.declared_before = before;
    obs.declared = keys.iter().map(|key| SeriesDecl { key: key_of(key), cohort: 0 }).collect();
    obs
}

/// The key that a selector of equalities names.
pub(super) fn key_of(text: &str) -> SeriesKey {
    let selector = Selector::parse(text).unwrap();
    let pairs = selector.matchers().iter().filter(|matcher| matcher.label != "__name__").map(|matcher| match &matcher.test {
        selector::Test::Equal(value) => (matcher.label.as_str(), value.as_str()),
        test => panic!("{test:?}"),
    });
    SeriesKey::new(selector.metric().unwrap(), pairs)
}

pub(super) fn sample(series: u32, value: f64) -> Sample {
    Sample { series, value }
}

pub(super) fn stamped(series: u32, at: i64, value: f64) -> StampedSample {
    StampedSample { series, at: Time(at), value }
}

/// Appends and gives the slots that were fresh.
pub(super) fn append(store: &mut Store, obs: &Observation) -> (Appended, Vec<SeriesRef>) {
    let mut fresh = Vec::new();
    let appended = store.append(obs, &mut |series| fresh.push(series));
    (appended, fresh)
}
