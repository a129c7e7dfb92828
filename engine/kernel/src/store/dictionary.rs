//! The store's side of a sensor's dictionary: which number is which series.
//!
//! A number is only ever resolved against the dictionary that declared it: an observation that does not continue the known one is
//! refused as a whole, with a limit entry, because a misattributed sample is worse than a lost one. `declared_before == 0` together
//! with declarations begins a dictionary anew, whatever the epoch (a sensor that was built again starts at epoch 0). Deliberately
//! absent: samples. An editor breaks this module by letting an entry outlive its series.

use super::group::NONE;
use super::index::SLOTS_MAX;
use super::read::staleness;
use super::{Appended, Store};
use homeostat_model::{Health, Observation, SensorId, SeriesDecl, SeriesKey, Span, Time};
use std::collections::BTreeMap;

/// Refused declarations that a sensor may have kept, to be tried again when there is room.
const REFUSED_MAX: usize = 1024;

/// How long until refused declarations are tried again.
const RETRY: Span = Span::from_mins(1);

/// One number of a dictionary.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The series' reference; [`NONE`] if it was refused.
    pub reference: u32,
    /// Its member number in the sensor's row group; [`NONE`] if it is not there.
    pub row_member: u32,
    /// Its cohort, for stamped samples.
    pub cohort: u32,
}

/// A sensor as the store knows it.
pub struct Sensor {
    /// Its name.
    pub id: SensorId,
    /// How often it reads.
    pub interval: Span,
    /// Its newest observation.
    pub newest: i64,
    /// The group of its rows; [`NONE`] before the first.
    pub row_group: u32,
    /// Groups of its cohorts.
    pub cohorts: BTreeMap<u32, u32>,
    /// Series by number.
    pub dictionary: Vec<Entry>,
    epoch: u32,
    refused: BTreeMap<u32, SeriesDecl>,
    retry_at: i64,
    /// Its share of the store's count.
    counted_bytes: usize,
}

impl Sensor {
    /// How old its newest sample may be and still be current.
    pub fn staleness(&self) -> i64 {
        staleness(self.interval).0
    }
}

impl Store {
    /// Brings the sensor's dictionary up to date; `None` if the observation does not continue it.
    pub(super) fn enter(&mut self, obs: &Observation, done: &mut Appended) -> Option<usize> {
        let number = self.sensor_number(obs);
        let sensor = &self.sensors[number];
        let known = sensor.dictionary.len();
        let is_late = obs.epoch < sensor.epoch && obs.at.0 <= sensor.newest;
        let begins = obs.declared_before == 0 && (!obs.declared.is_empty() || known == 0) && !is_late;
        let continues = obs.epoch == sensor.epoch && obs.declared_before as usize == known;
        if !begins && !continues {
            done.refused_samples += (obs.samples.len() + obs.stamped.len()) as u64;
            let detail = format!(
                "observation of {} at {} refused: it continues epoch {} after {} series, expected epoch {} after {known}",
                obs.sensor, obs.at.0, obs.epoch, obs.declared_before, sensor.epoch
            );
            done.limit("dictionary", detail);
            return None;
        }
        if !continues || (known > 0 && begins) {
            self.forget_dictionary(number);
        }
        if self.sensors[number].interval != obs.interval {
            // Staleness depends on it, so answers may have changed.
            self.index.void_reads();
        }
        let sensor = &mut self.sensors[number];
        (sensor.epoch, sensor.interval, sensor.newest) = (obs.epoch, obs.interval, sensor.newest.max(obs.at.0));
        for decl in &obs.declared {
            self.declare(number, decl, obs.at, done);
        }
        if obs.health != Health::Blind {
            self.retry_refused(number, obs.at, done);
        }
        self.count_dictionary(number);
        Some(number)
    }

    fn sensor_number(&mut self, obs: &Observation) -> usize {
        if let Some(number) = self.sensors_by_id.get(&obs.sensor) {
            return *number as usize;
        }
        self.sensors.push(Sensor {
            id: obs.sensor.clone(),
            interval: obs.interval,
            newest: i64::MIN,
            row_group: NONE,
            cohorts: BTreeMap::new(),
            dictionary: Vec::new(),
            epoch: obs.epoch,
            refused: BTreeMap::new(),
            retry_at: i64::MIN,
            counted_bytes: 0,
        });
        let number = self.sensors.len() - 1;
        self.sensors_by_id.insert(obs.sensor.clone(), number as u32);
        self.count_dictionary(number);
        number
    }

    /// Takes a sensor's numbers back; its series keep their samples until the retention drops them.
    pub(super) fn forget_dictionary(&mut self, number: usize) {
        let sensor = &mut self.sensors[number];
        sensor.refused.clear();
        for entry in std::mem::take(&mut sensor.dictionary) {
            self.undeclare(entry.reference);
        }
        self.count_dictionary(number);
    }

    fn undeclare(&mut self, reference: u32) {
        let Some(slot) = self.index.slot(super::SeriesRef(reference)).filter(|_| reference != NONE) else { return };
        let series = self.index.get_mut(slot);
        series.declared -= 1;
        if series.declared == 0 && series.group == NONE {
            self.index.remove(slot);
        }
    }

    fn declare(&mut self, number: usize, decl: &SeriesDecl, at: Time, done: &mut Appended) {
        let entry = match self.admit(number, &decl.key, at, done) {
            Some(slot) => self.entry(number, slot, decl.cohort),
            None => {
                done.refused_series += 1;
                let sensor = &mut self.sensors[number];
                if sensor.refused.len() < REFUSED_MAX {
                    sensor.refused.insert(sensor.dictionary.len() as u32, decl.clone());
                    sensor.retry_at = sensor.retry_at.max(at.0 + RETRY.0);
                }
                Entry { reference: NONE, row_member: NONE, cohort: decl.cohort }
            }
        };
        self.sensors[number].dictionary.push(entry);
    }

    /// The dictionary entry of an admitted series; counts it as declared.
    fn entry(&mut self, number: usize, slot: u32, cohort: u32) -> Entry {
        let row_group = self.sensors[number].row_group;
        let reference = self.index.reference(slot).0;
        let series = self.index.get_mut(slot);
        series.declared += 1;
        let in_row = series.group != NONE && series.group == row_group;
        Entry { reference, row_member: if in_row { series.member } else { NONE }, cohort }
    }

    /// The slot of a series that may be declared by this sensor.
    fn admit(&mut self, number: usize, key: &SeriesKey, at: Time, done: &mut Appended) -> Option<u32> {
        if let Some(slot) = self.index.find(key) {
            return self.take_over(number, slot, at, done).then_some(slot);
        }
        if let Some((limit, detail)) = self.key_problem(key) {
            done.limit(limit, detail);
            return None;
        }
        if self.index.used() >= (self.settings.series_max as usize).min(SLOTS_MAX) || self.is_full {
            let (limit, max) = match self.is_full {
                true => ("memory_bytes_max", self.settings.memory_bytes_max),
                false => ("series_max", self.settings.series_max.into()),
            };
            done.limit(limit, format!("series {} of {} refused: the limit of {max} is reached", short(key), self.sensors[number].id));
            return None;
        }
        self.index.add(key, number as u32, at.0)
    }

    fn key_problem(&self, key: &SeriesKey) -> Option<(&'static str, String)> {
        let (labels_max, bytes_max) = (self.settings.labels_max as usize, self.settings.label_bytes_max as usize);
        if key.labels.len() > labels_max {
            let detail = format!("series {} refused: {} labels, at most {labels_max} are allowed", short(key), key.labels.len());
            return Some(("labels_max", detail));
        }
        let texts = std::iter::once(&*key.metric).chain(key.labels.iter().flat_map(|(name, value)| [name, value]));
        let longest = texts.map(str::len).max().unwrap_or(0);
        (longest > bytes_max).then(|| {
            let detail = format!("series {} refused: a name or value of {longest} bytes, at most {bytes_max} are allowed", short(key));
            ("label_bytes_max", detail)
        })
    }

    /// Makes this sensor the owner of a known series, unless another one still reads it.
    fn take_over(&mut self, number: usize, slot: u32, at: Time, done: &mut Appended) -> bool {
        let owner = self.index.get(slot).owner as usize;
        if owner == number || self.index.get(slot).declared == 0 {
            self.index.get_mut(slot).owner = number as u32;
            return true;
        }
        let other = &self.sensors[owner];
        if at.0.saturating_sub(other.newest) <= other.staleness() {
            let key = self.index.key(slot);
            let detail = format!("series {} of {} refused: {} reads it already", short(&key), self.sensors[number].id, other.id);
            done.limit("owner", detail);
            return false;
        }
        let reference = self.index.reference(slot).0;
        let mut taken = 0;
        for entry in self.sensors[owner].dictionary.iter_mut().filter(|entry| entry.reference == reference) {
            *entry = Entry { reference: NONE, row_member: NONE, cohort: entry.cohort };
            taken += 1;
        }
        let series = self.index.get_mut(slot);
        series.declared -= taken;
        series.owner = number as u32;
        true
    }

    /// Tries refused declarations again: series may have been forgotten since, or their other owner may be gone.
    fn retry_refused(&mut self, number: usize, at: Time, done: &mut Appended) {
        let sensor = &mut self.sensors[number];
        if sensor.refused.is_empty() || at.0 < sensor.retry_at {
            return;
        }
        sensor.retry_at = at.0 + RETRY.0;
        for (entry, decl) in std::mem::take(&mut sensor.refused) {
            let mut silent = Appended::default();
            match self.admit(number, &decl.key, at, &mut silent) {
                Some(slot) => self.sensors[number].dictionary[entry as usize] = self.entry(number, slot, decl.cohort),
                None => {
                    done.refused_series += 1;
                    self.sensors[number].refused.insert(entry, decl);
                }
            }
        }
    }

    /// Counts a sensor's bytes anew. Kept as a sum, because the cap is looked at after every observation.
    fn count_dictionary(&mut self, number: usize) {
        const REFUSED_BYTES: usize = 256;
        let sensor = &mut self.sensors[number];
        let bytes = size_of::<Sensor>() + sensor.dictionary.capacity() * size_of::<Entry>() + sensor.refused.len() * REFUSED_BYTES;
        self.dictionary_bytes = self.dictionary_bytes + bytes - sensor.counted_bytes;
        sensor.counted_bytes = bytes;
    }
}

/// A key for a message, cut.
pub(super) fn short(key: &SeriesKey) -> String {
    key.to_string().chars().take(160).collect()
}
