//! Disk health, from `smartctl` on this machine and from Scrutiny.
//!
//! [`report`] reads `smartctl --json`, [`scrutiny`] Scrutiny's answers; both give a [`DiskHealth`], which [`health`] turns into the
//! common series. [`risk`] turns counters into an annual failure rate. Deliberately absent: any write to a disk, self-tests, and
//! policy (what is bad enough to act on). An editor breaks this by letting an unknown value become 0, or a sleeping disk a fault.

pub mod health;
pub mod report;
pub mod risk;
pub mod scrutiny;
pub mod smartctl;

pub use health::DiskHealth;
pub use risk::{DiskSigns, Risk, disk_failure_risk};
pub use scrutiny::{ScrutinyConfig, ScrutinySensor};
pub use smartctl::{SmartConfig, SmartDevice, SmartSensor};

/// More disks than this are not read; reaching it is a fault.
const DISKS_MAX: usize = 256;
