//! Counters that a node's exporters show and the plant does not hold: integrated here, at each advance, from what the plant is then.
//!
//! They count from the node's start and begin anew when it starts again, as the kernel's and RAPL's do. Deliberately absent: chance.
//! An editor breaks this by letting a counter go back without a start of the node, or by letting a processor's modes add up to another
//! time than the node has been up.

use homeostat_sim::plant::{Disk, Exporter, Node};

/// Assumed: what the system itself sends and receives, in bytes per second, and what a fully used node does on top.
const NET_IDLE: f64 = 2e3;
const NET_BUSY: f64 = 6e6;
/// Assumed: the same of a disk.
const DISK_IDLE: f64 = 2e4;
const DISK_BUSY: f64 = 20e6;
/// Above this use, some task waits for a processor.
const CROWDED: f64 = 0.7;
/// The share of idle time that is waiting for disks.
const IOWAIT: f64 = 0.01;
/// How busy time falls on modes.
pub(crate) const BUSY_MODES: [(&str, f64); 6] =
    [("irq", 0.0), ("nice", 0.0), ("softirq", 0.03), ("steal", 0.0), ("system", 0.25), ("user", 0.72)];

/// One node's counters since its start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// Time up, in seconds.
    pub(crate) up_seconds: f64,
    /// Processor time in use, in seconds of one processor; all are used alike.
    pub(crate) busy_seconds: f64,
    /// Energy above idle, in joules.
    pub(crate) active_joules: f64,
    /// Energy of being on, in joules.
    pub(crate) idle_joules: f64,
    pub(crate) net_bytes: f64,
    pub(crate) cpu_waiting_seconds: f64,
    pub(crate) memory_waiting_seconds: f64,
    pub(crate) io_waiting_seconds: f64,
    pub(crate) load: [f64; 3],
    pub(crate) disks: Vec<DiskMeter>,
    starts: u32,
    /// The plant's own counter when it was last looked at, in joules.
    joules: f64,
}

/// One disk's counters since the node's start.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskMeter {
    pub(crate) read_bytes: f64,
    pub(crate) written_bytes: f64,
    pub(crate) busy_seconds: f64,
}

/// The share of use that an exporter shows: a lying one shows more.
pub(crate) fn shown(node: &Node, ratio: f64) -> f64 {
    let times = if let Exporter::Lying(factor) = node.exporter { factor } else { 1.0 };
    (ratio * times).clamp(0.0, 1.0)
}

impl Meter {
    /// Counts up to the present of a node. Where it was up all the time since the last call, `node.up_seconds` says how long that is.
    pub(crate) fn count(&mut self, node: &Node) {
        if node.starts != self.starts || node.up_seconds < self.up_seconds {
            // What it drew while it was off is not counted by anything that runs on it.
            let joules = node.joules - node.watts * node.up_seconds;
            *self = Meter { starts: node.starts, joules, ..Meter::default() };
        }
        if node.up_seconds == 0.0 {
            self.joules = node.joules;
        }
        let seconds = node.up_seconds - self.up_seconds;
        self.up_seconds = node.up_seconds;
        self.disks.resize_with(node.disks.len(), DiskMeter::default);
        if seconds <= 0.0 {
            return;
        }
        let busy = shown(node, node.busy);
        self.busy_seconds += busy * seconds;
        let drawn = node.joules - self.joules;
        let idle = (node.machine.idle_watts * seconds).min(drawn);
        self.idle_joules += idle;
        self.active_joules += drawn - idle;
        self.joules = node.joules;
        self.net_bytes += (NET_IDLE + NET_BUSY * node.busy) * seconds;
        self.cpu_waiting_seconds += ((busy - CROWDED) / (1.0 - CROWDED)).max(0.0) * seconds;
        self.memory_waiting_seconds += if node.memory_avail_ratio() < 0.05 { 0.3 * seconds } else { 0.0 };
        let moving = node.disks.iter().any(|disk| disk.evacuating.is_some());
        self.io_waiting_seconds += if moving { 0.2 } else { 0.002 } * seconds;
        let wants = node.busy * f64::from(node.machine.cores);
        for (load, minutes) in self.load.iter_mut().zip([1.0, 5.0, 15.0]) {
            *load += (wants - *load) * (1.0 - (-seconds / (60.0 * minutes)).exp());
        }
        for (meter, disk) in self.disks.iter_mut().zip(&node.disks) {
            meter.count(disk, node.busy, seconds);
        }
    }

    /// Idle and waiting time of one processor.
    pub(crate) fn idle_seconds(&self) -> (f64, f64) {
        let rest = self.up_seconds - self.busy_seconds;
        (rest * (1.0 - IOWAIT), rest * IOWAIT)
    }
}

impl DiskMeter {
    fn count(&mut self, disk: &Disk, busy: f64, seconds: f64) {
        if disk.dead {
            return;
        }
        let usual = DISK_IDLE + DISK_BUSY * busy;
        self.read_bytes += (usual + disk.evacuating.unwrap_or(0.0)) * seconds;
        self.written_bytes += usual / 3.0 * seconds;
        let share: f64 = 0.01 + 0.2 * busy + if disk.evacuating.is_some() { 0.6 } else { 0.0 };
        self.busy_seconds += share.min(1.0) * seconds;
    }
}
