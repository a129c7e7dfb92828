//! Disk health, from `smartctl` on this machine and from Scrutiny.
//!
//! [`risk`] turns counters into an annual failure rate. Deliberately absent: any write to a disk, self-tests, and policy (what is
//! bad enough to act on).

pub mod risk;
