//! Disks that wear and fail, filesystems that fill.
//!
//! A disk that begins to fail shows pending sectors that grow; the chance that it dies follows the table of yearly failure rates,
//! raised by the fault that was put on it. Deliberately absent: files. An editor breaks this by letting a clean-up free more than
//! was cleanable.

use crate::lab::{DiskSpec, FilesystemSpec};
use homeostat_model::Time;

const DAY: f64 = 86_400.0;

/// A disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: f64,
    /// The data on it.
    pub data_bytes: f64,
    /// Time it has been powered, in seconds.
    pub powered_seconds: f64,
    /// How often it was powered on.
    pub power_cycles: f64,
    /// SMART 5.
    pub reallocated: f64,
    /// SMART 197.
    pub pending: f64,
    /// SMART 187.
    pub reported: f64,
    /// Its own verdict.
    pub passed: bool,
    /// It is dead.
    pub dead: bool,
    /// Since when it fails, and when it will be dead.
    pub failing: Option<(Time, Time)>,
    /// Data moves off it, at so many bytes per second.
    pub evacuating: Option<f64>,
}

impl Disk {
    pub(super) fn new(spec: &DiskSpec) -> Disk {
        Disk {
            name: spec.name.clone(),
            size_bytes: spec.size_bytes,
            data_bytes: spec.data_bytes,
            powered_seconds: spec.years * 365.0 * DAY,
            power_cycles: 20.0 + spec.years * 12.0,
            reallocated: 0.0,
            pending: 0.0,
            reported: 0.0,
            passed: true,
            dead: false,
            failing: None,
            evacuating: None,
        }
    }

    /// Whether data is lost if it dies now.
    pub fn holds_data_and_fails(&self) -> bool {
        (self.failing.is_some() || self.dead) && self.data_bytes > 0.0
    }

    pub(super) fn step(&mut self, now: Time, seconds: f64) {
        if self.dead {
            return;
        }
        self.powered_seconds += seconds;
        if let Some((since, dies_at)) = self.failing {
            // Sectors go bad slowly at first: the square of the share of its last days.
            let share = (now.since(since).seconds() / dies_at.since(since).seconds().max(1.0)).clamp(0.0, 1.0);
            self.pending = (2.0 + 40.0 * share * share).floor();
            self.reallocated = (16.0 * share * share).floor();
            self.reported = (8.0 * share * share).floor();
            self.passed = share < 0.7;
            self.dead = share >= 1.0;
        }
        if let Some(bytes_per_second) = self.evacuating {
            self.data_bytes = (self.data_bytes - bytes_per_second * seconds).max(0.0);
            if self.data_bytes == 0.0 {
                self.evacuating = None;
            }
        }
    }
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mountpoint: String,
    /// Its size in bytes.
    pub size_bytes: f64,
    /// What is used.
    pub used_bytes: f64,
    /// What of it a clean-up frees.
    pub cleanable_bytes: f64,
    /// By how much of its size it grows in a day.
    pub grows_per_day: f64,
    /// A log that runs away: by how much of its size it grows in a day on top; a clean-up frees that too.
    pub runaway_per_day: f64,
}

impl Filesystem {
    pub(super) fn new(spec: &FilesystemSpec) -> Filesystem {
        let used_bytes = spec.size_bytes * spec.used_ratio;
        Filesystem {
            mountpoint: spec.mountpoint.clone(),
            size_bytes: spec.size_bytes,
            used_bytes,
            cleanable_bytes: used_bytes * spec.cleanable,
            grows_per_day: spec.grows_per_day,
            runaway_per_day: 0.0,
        }
    }

    /// The share that is left.
    pub fn avail_ratio(&self) -> f64 {
        (1.0 - self.used_bytes / self.size_bytes).clamp(0.0, 1.0)
    }

    pub(super) fn step(&mut self, seconds: f64) {
        let days = seconds / DAY;
        // What meets the brim is not written.
        let runaway = (self.runaway_per_day * self.size_bytes * days).min(self.size_bytes - self.used_bytes);
        let grown = (self.grows_per_day * self.size_bytes * days).min(self.size_bytes - self.used_bytes - runaway);
        self.used_bytes = (self.used_bytes + grown + runaway).min(self.size_bytes);
        // Of ordinary growth a tenth is rubbish; of a log that runs away, all.
        self.cleanable_bytes += runaway + 0.1 * grown;
        self.cleanable_bytes = self.cleanable_bytes.min(self.used_bytes);
    }

    /// Frees what can be freed; gives how many bytes that were.
    pub(super) fn clean(&mut self) -> f64 {
        let freed = self.cleanable_bytes;
        self.used_bytes -= freed;
        self.cleanable_bytes = 0.0;
        freed
    }
}
