//! One sensor read: samples plus faults. It never fails as a whole; what is missing is data.
//!
//! **Dictionary.** A sensor numbers its series in the order in which it declares them (`declared` extends that list); a sample
//! then carries only the number. In steady state a read moves `(number, value)` pairs and touches no label and no allocator:
//! the buffers are handed back and used again. A sensor that must start its list anew raises `epoch`.
//!
//! **Stamps.** All `samples` share the stamp `at`: they form one row of the sensor's time column, and a declared series that is
//! absent from a complete row is stale from that row on, as in Prometheus. A sample with a time of its own goes to `stamped`.

use crate::{Fault, SensorId, SeriesKey, Span, Time};
use serde::{Deserialize, Serialize};

/// A value of the shared row; `series` is the number in the sensor's dictionary.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The number in the sensor's dictionary.
    pub series: u32,
    /// The value, in the series' own unit.
    pub value: f64,
}

/// A value with a time of its own (explicit timestamps, query answers).
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StampedSample {
    /// The number in the sensor's dictionary.
    pub series: u32,
    /// When the value was true, by the source.
    pub at: Time,
    /// The value, in the series' own unit.
    pub value: f64,
}

/// A series as its sensor declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesDecl {
    /// The identity.
    pub key: SeriesKey,
    /// Series with the same non-zero cohort are scraped together and share their stamps (for `stamped` samples only).
    pub cohort: u32,
}

/// Why the read was made.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The present: policies are woken by it.
    #[default]
    Fresh,
    /// The past, to fill a gap: windows are filled, nobody is woken.
    Backfill,
}

/// How much the sensor can see.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Everything that it should.
    #[default]
    Ok,
    /// Something, with faults.
    Degraded,
    /// Nothing: the row is not complete and says nothing about the world.
    Blind,
}

/// One sensor read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Who read.
    pub sensor: SensorId,
    /// When; also the stamp of `samples`.
    pub at: Time,
    /// How often this sensor reads; a reading is stale after about two and a half of these.
    pub interval: Span,
    /// Why.
    pub purpose: Purpose,
    /// How much was seen. `Blind` rows must have no samples but the sensor's own (`sensor_up` and the like).
    pub health: Health,
    /// Raised by one each time the sensor starts its dictionary anew.
    pub epoch: u32,
    /// How many series the sensor had declared in this epoch before this read.
    pub declared_before: u32,
    /// Series declared by this read, numbered from `declared_before`.
    pub declared: Vec<SeriesDecl>,
    /// Values stamped `at`.
    pub samples: Vec<Sample>,
    /// Values with stamps of their own, ascending in time per series.
    pub stamped: Vec<StampedSample>,
    /// Series of `stamped` kind that are gone now (a stale marker at `at`).
    pub vanished: Vec<u32>,
    /// What went wrong, at most [`Observation::FAULTS_MAX`].
    pub faults: Vec<Fault>,
    /// Faults beyond the limit, counted only.
    pub faults_dropped: u64,
}

impl Observation {
    /// More faults than this are only counted.
    pub const FAULTS_MAX: usize = 32;

    /// An empty read.
    pub fn new(sensor: SensorId, at: Time, interval: Span) -> Observation {
        Observation {
            sensor,
            at,
            interval,
            purpose: Purpose::Fresh,
            health: Health::Ok,
            epoch: 0,
            declared_before: 0,
            declared: Vec::new(),
            samples: Vec::new(),
            stamped: Vec::new(),
            vanished: Vec::new(),
            faults: Vec::new(),
            faults_dropped: 0,
        }
    }

    /// Empties the buffers for the next read and keeps their memory.
    pub fn reset(&mut self, at: Time) {
        self.at = at;
        self.purpose = Purpose::Fresh;
        self.health = Health::Ok;
        self.declared.clear();
        self.samples.clear();
        self.stamped.clear();
        self.vanished.clear();
        self.faults.clear();
        self.faults_dropped = 0;
    }

    /// Records a fault, or counts it where there are too many.
    pub fn fault(&mut self, fault: Fault) {
        if self.faults.len() < Self::FAULTS_MAX {
            self.faults.push(fault)
        } else {
            self.faults_dropped += 1
        }
        self.health = self.health.max(Health::Degraded);
    }
}
