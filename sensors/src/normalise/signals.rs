//! The vocabulary: every normalised signal with its unit, labels and meaning.
//!
//! `docs/signals.md` shows the same list; a test compares the two. An editor breaks this by renaming a signal (shipped policies
//! name them), by a unit that is not SI base, or by a signal that no rule and no sensor can fill.

/// One normalised signal.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The metric's name, unit last.
    pub name: &'static str,
    /// The unit: `W`, `J`, `s`, `B`, `°C`, `ratio` (0 to 1), `0/1`, or `1` for counts.
    pub unit: &'static str,
    /// Labels, in order; the last ones may be absent where a source does not say.
    pub labels: &'static [&'static str],
    /// What the value says.
    pub meaning: &'static str,
}

const fn signal(name: &'static str, unit: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Signal {
    Signal { name, unit, labels, meaning }
}

const NODE: &[&str] = &["node"];
const FILESYSTEM: &[&str] = &["node", "mountpoint", "device", "fstype"];
const SENSOR: &[&str] = &["node", "sensor"];
const ZONE: &[&str] = &["node", "zone"];
const POD: &[&str] = &["namespace", "pod", "node"];
const CONTAINER: &[&str] = &["container", "namespace", "pod", "node"];
const DISK: &[&str] = &["node", "disk", "model", "serial"];
const POD_CONTAINER: &[&str] = &["namespace", "pod", "container"];

/// Every signal of the vocabulary.
pub const SIGNALS: &[Signal] = &[
    signal("node_up", "0/1", NODE, "the node answers"),
    signal("node_uptime_seconds", "s", NODE, "time since the node's start"),
    signal("node_cpu_busy_ratio", "ratio", NODE, "processor time neither idle nor waiting for IO, over all processors"),
    signal("node_load1_per_core_ratio", "ratio", NODE, "one-minute load per processor; above 1 means waiting"),
    signal("node_memory_avail_ratio", "ratio", NODE, "memory that can be had without swapping"),
    signal("node_memory_avail_bytes", "B", NODE, "memory that can be had without swapping"),
    signal("node_swap_used_ratio", "ratio", NODE, "used part of swap; absent where there is no swap"),
    signal("node_pressure_ratio", "ratio", &["node", "resource"], "time in which some task waited for `cpu`, `memory` or `io`"),
    signal("filesystem_avail_ratio", "ratio", FILESYSTEM, "space that users can still fill"),
    signal("filesystem_avail_bytes", "B", FILESYSTEM, "space that users can still fill"),
    signal("filesystem_size_bytes", "B", FILESYSTEM, "size"),
    signal("filesystem_files_avail_ratio", "ratio", FILESYSTEM, "free inodes; absent where the filesystem has no fixed number"),
    signal("filesystem_readonly", "0/1", FILESYSTEM, "mounted (or fallen back to) read-only"),
    signal("temperature_celsius", "°C", SENSOR, "temperature"),
    signal("temperature_critical_celsius", "°C", SENSOR, "the sensor's own critical mark"),
    signal("node_power_watts", "W", NODE, "the node's power as far as it is measured"),
    signal("node_energy_joules_total", "J", NODE, "the node's energy, counted up"),
    signal("node_power_zone_watts", "W", ZONE, "power of one zone; zones overlap and must not be summed"),
    signal("node_energy_zone_joules_total", "J", ZONE, "energy of one zone; zones overlap and must not be summed"),
    signal("pod_power_watts", "W", POD, "a running pod's share of the power"),
    signal("pod_energy_joules_total", "J", POD, "a running pod's share of the energy, counted up"),
    signal("container_power_watts", "W", CONTAINER, "a running container's share of the power"),
    signal("container_energy_joules_total", "J", CONTAINER, "a running container's share of the energy, counted up"),
    signal("disk_health_passed", "0/1", DISK, "the disk's own verdict"),
    signal("disk_failure_risk", "ratio", DISK, "observed annual failure rate of disks with such counters"),
    signal("disk_reallocated_sectors", "1", DISK, "SMART 5"),
    signal("disk_pending_sectors", "1", DISK, "SMART 197"),
    signal("disk_offline_uncorrectable_sectors", "1", DISK, "SMART 198"),
    signal("disk_reported_uncorrectable_errors", "1", DISK, "SMART 187"),
    signal("disk_crc_errors", "1", DISK, "SMART 199: the cable, not the disk"),
    signal("disk_temperature_celsius", "°C", DISK, "the disk's temperature"),
    signal("disk_power_on_seconds", "s", DISK, "time the disk has been powered"),
    signal("disk_power_cycles", "1", DISK, "how often it was powered on"),
    signal("disk_used_ratio", "ratio", DISK, "NVMe endurance used up; can exceed 1"),
    signal("disk_spare_avail_ratio", "ratio", DISK, "NVMe spare blocks left"),
    signal("disk_media_errors", "1", DISK, "NVMe media and data integrity errors"),
    signal("disk_critical_warning", "1", DISK, "NVMe critical warning bits; 0 is well"),
    signal("service_up", "0/1", &["service", "node"], "the service answers"),
    signal("certificate_expiry_seconds", "s", &["certificate", "source", "node"], "time left; negative when expired"),
    signal("pod_restarts_total", "1", POD_CONTAINER, "container restarts, counted up"),
    signal("pod_waiting", "0/1", &["namespace", "pod", "container", "reason"], "the container waits for this reason"),
];
