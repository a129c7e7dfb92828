//! What is known about one disk, and its series.
//!
//! Deliberately absent: where the knowledge comes from. An editor breaks this by pushing a value for something unknown.

use super::risk::{DiskSigns, disk_failure_risk};
use crate::dictionary::Dictionary;
use crate::gauge::Gauge;
use homeostat_model::Observation;

/// One disk's state. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskHealth {
    /// The device without `/dev/`, `sda` or `nvme0`; behind a controller with its place there: `sda:megaraid,0`.
    pub disk: String,
    /// The model; empty if unknown.
    pub model: String,
    /// The serial number; empty if unknown.
    pub serial: String,
    /// The counters that speak about failure.
    pub signs: DiskSigns,
    /// ATA 199: transfer errors, the cable's.
    pub crc_errors: Option<f64>,
    /// Temperature, °C.
    pub temperature_celsius: Option<f64>,
    /// Time powered on, seconds.
    pub power_on_seconds: Option<f64>,
    /// How often it was powered on.
    pub power_cycles: Option<f64>,
    /// Failed self-tests in its log.
    pub selftest_errors: Option<f64>,
}

impl DiskHealth {
    /// Whether anything but the identity is known.
    pub fn is_known(&self) -> bool {
        let identity = DiskHealth { disk: self.disk.clone(), model: self.model.clone(), serial: self.serial.clone(), ..Default::default() };
        *self != identity
    }

    /// The annual failure rate as a ratio; see [`disk_failure_risk`].
    pub fn failure_risk(&self) -> Option<f64> {
        disk_failure_risk(&self.signs).map(|risk| risk.ratio)
    }

    /// Every value in the order of [`METRICS`].
    fn values(&self) -> [Option<f64>; METRICS.len()] {
        let signs = &self.signs;
        [
            signs.passed.map(|passed| f64::from(u8::from(passed))),
            self.failure_risk(),
            signs.reallocated,
            signs.pending,
            signs.offline_uncorrectable,
            signs.reported_uncorrectable,
            signs.command_timeouts,
            self.crc_errors,
            self.temperature_celsius,
            self.power_on_seconds,
            self.power_cycles,
            signs.used_ratio,
            signs.spare_avail_ratio,
            signs.spare_threshold_ratio,
            signs.media_errors,
            signs.critical_warning,
            self.selftest_errors,
        ]
    }
}

/// The series of a disk, labelled `{node, disk, model, serial}`; what is unknown has no series.
pub const METRICS: [&str; 17] = [
    "disk_health_passed",
    "disk_failure_risk",
    "disk_reallocated_sectors",
    "disk_pending_sectors",
    "disk_offline_uncorrectable_sectors",
    "disk_reported_uncorrectable_errors",
    "disk_command_timeouts",
    "disk_crc_errors",
    "disk_temperature_celsius",
    "disk_power_on_seconds",
    "disk_power_cycles",
    "disk_used_ratio",
    "disk_spare_avail_ratio",
    "disk_spare_threshold_ratio",
    "disk_media_errors",
    "disk_critical_warning",
    "disk_selftest_errors",
];

/// The series of one disk, made once and kept while its identity stays.
#[derive(Debug)]
pub(super) struct DiskSeries {
    identity: [String; 4],
    gauges: Vec<Gauge>,
    standby: Gauge,
}

impl DiskSeries {
    pub(super) fn new(node: &str, health: &DiskHealth) -> DiskSeries {
        let identity = [node.to_owned(), health.disk.clone(), health.model.clone(), health.serial.clone()];
        let labels: Vec<(&str, &str)> = ["node", "disk", "model", "serial"].into_iter().zip(identity.iter().map(String::as_str)).collect();
        let gauges = METRICS.iter().map(|metric| Gauge::new(metric, &labels)).collect();
        let standby = Gauge::new("disk_standby", &labels);
        DiskSeries { identity, gauges, standby }
    }

    /// Whether these are the series of that disk. A disk that was exchanged has another serial number.
    pub(super) fn fits(&self, node: &str, health: &DiskHealth) -> bool {
        self.identity.iter().map(String::as_str).eq([node, &health.disk, &health.model, &health.serial])
    }

    /// Puts everything known into the row. `standby`: whether the disk sleeps, if that is known.
    pub(super) fn push(&mut self, health: &DiskHealth, standby: Option<bool>, dictionary: &mut Dictionary, into: &mut Observation) {
        for (gauge, value) in self.gauges.iter_mut().zip(health.values()) {
            gauge.push_known(value, dictionary, into);
        }
        self.standby.push_known(standby.map(|sleeps| f64::from(u8::from(sleeps))), dictionary, into);
    }
}
