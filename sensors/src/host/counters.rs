//! Processor, memory, load, pressure, uptime and disk activity, from `/proc`.
//!
//! Ratios of time are differences between two reads, so the first read has none. Deliberately absent: per-processor series.
//! An editor breaks this by adding `guest` to the processor times (they are inside `user` already), or by letting a counter that
//! went back (`iowait` may) become a huge unsigned number.

use super::files::{Files, Once};
use crate::dictionary::Dictionary;
use crate::gauge::Gauge;
use homeostat_model::Observation;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Processor time since the start, in ticks.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Neither idle nor waiting for IO.
    pub busy: u64,
    /// Idle, or waiting for IO.
    pub idle: u64,
    /// How many processors are online.
    pub cores: u32,
}

/// Reads `/proc/stat`. `None` if it has no `cpu` line.
pub fn parse_stat(text: &str) -> Option<CpuTimes> {
    let mut times = CpuTimes::default();
    let mut lines = text.lines();
    let total = lines.next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guest and guest_nice follow and are inside user and nice.
    for (i, field) in total.split_ascii_whitespace().take(8).enumerate() {
        let ticks: u64 = field.parse().ok()?;
        if i == 3 || i == 4 { times.idle += ticks } else { times.busy += ticks }
    }
    times.cores = lines.take_while(|line| line.starts_with("cpu")).count() as u32;
    Some(times)
}

/// The busy part of the time between two reads; `None` if no time passed.
pub fn busy_ratio(before: CpuTimes, after: CpuTimes) -> Option<f64> {
    let busy = after.busy.saturating_sub(before.busy) as f64;
    let idle = after.idle.saturating_sub(before.idle) as f64;
    (busy + idle > 0.0).then(|| busy / (busy + idle))
}

/// Memory in bytes; `None` is not in the file.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All memory.
    pub total: Option<u64>,
    /// What can be had without swapping (Linux 3.14 and later).
    pub avail: Option<u64>,
    /// All swap.
    pub swap_total: Option<u64>,
    /// Free swap.
    pub swap_free: Option<u64>,
}

/// Reads `/proc/meminfo`.
pub fn parse_meminfo(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let field = match name {
            "MemTotal" => &mut memory.total,
            "MemAvailable" => &mut memory.avail,
            "SwapTotal" => &mut memory.swap_total,
            "SwapFree" => &mut memory.swap_free,
            _ => continue,
        };
        *field = rest.split_ascii_whitespace().next().and_then(|number| number.parse::<u64>().ok()).and_then(|kib| kib.checked_mul(1024));
    }
    memory
}

/// Reads the `some` total of a file in `/proc/pressure`, in microseconds.
pub fn parse_pressure(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split_ascii_whitespace().find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

/// One disk's line of `/proc/diskstats`: its name and the milliseconds it was busy.
pub fn parse_diskstats(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let name = fields.next()?;
        Some((name, fields.nth(9)?.parse().ok()?))
    })
}

#[derive(Debug)]
struct Pressure {
    what: &'static str,
    path: Option<PathBuf>,
    last: Option<u64>,
    gauge: Gauge,
}

#[derive(Debug)]
struct Disk {
    /// `None`: not a disk of its own (partition, loop, mapper).
    gauge: Option<Gauge>,
    last_ms: u64,
    seen: u64,
}

/// More block devices than this are ignored.
const DISKS_MAX: usize = 1024;

/// What has to be remembered between reads.
#[derive(Debug)]
pub(super) struct Counters {
    node: String,
    paths: Paths,
    last: Option<(Instant, Option<CpuTimes>)>,
    cores: u32,
    pressures: [Pressure; 3],
    disks: BTreeMap<String, Disk>,
    reads: u64,
    cpu_busy: Gauge,
    loads: [Gauge; 3],
    load_per_core: Gauge,
    memory_avail_ratio: Gauge,
    memory_avail_bytes: Gauge,
    swap_used_ratio: Gauge,
    uptime: Gauge,
}

#[derive(Debug, Default)]
struct Paths {
    stat: PathBuf,
    loadavg: PathBuf,
    meminfo: PathBuf,
    uptime: PathBuf,
    diskstats: PathBuf,
    block: PathBuf,
}

impl Counters {
    pub(super) fn new(node: &str, files: &Files) -> Counters {
        let path = |below: &str| files.path(below);
        let gauge = |metric: &str| Gauge::new(metric, &[("node", node)]);
        let pressure = |what| Pressure {
            what,
            path: None,
            last: None,
            gauge: Gauge::new("node_pressure_ratio", &[("node", node), ("resource", what)]),
        };
        Counters {
            node: node.to_owned(),
            paths: Paths {
                stat: path("proc/stat"),
                loadavg: path("proc/loadavg"),
                meminfo: path("proc/meminfo"),
                uptime: path("proc/uptime"),
                diskstats: path("proc/diskstats"),
                block: path("sys/block"),
            },
            last: None,
            cores: 0,
            pressures: [pressure("cpu"), pressure("memory"), pressure("io")],
            disks: BTreeMap::new(),
            reads: 0,
            cpu_busy: gauge("node_cpu_busy_ratio"),
            loads: ["node_load1", "node_load5", "node_load15"].map(gauge),
            load_per_core: gauge("node_load1_per_core_ratio"),
            memory_avail_ratio: gauge("node_memory_avail_ratio"),
            memory_avail_bytes: gauge("node_memory_avail_bytes"),
            swap_used_ratio: gauge("node_swap_used_ratio"),
            uptime: gauge("node_uptime_seconds"),
        }
    }

    pub(super) fn read(&mut self, now: Instant, files: &mut Files, once: &mut Once, dictionary: &mut Dictionary, into: &mut Observation) {
        let paths = std::mem::take(&mut self.paths);
        let elapsed = self.last.map(|(last, _)| now.duration_since(last).as_secs_f64()).filter(|seconds| *seconds > 0.0);
        let cpu = self.read_cpu(&paths, files, once, dictionary, into);
        self.read_load(&paths, files, once, dictionary, into);
        self.read_memory(&paths, files, once, dictionary, into);
        self.read_pressure(elapsed, files, once, dictionary, into);
        self.read_disks(elapsed, &paths, files, once, dictionary, into);
        self.last = Some((now, cpu));
        self.paths = paths;
    }

    fn read_cpu(
        &mut self,
        paths: &Paths,
        files: &mut Files,
        once: &mut Once,
        dictionary: &mut Dictionary,
        into: &mut Observation,
    ) -> Option<CpuTimes> {
        match files.text(&paths.uptime) {
            Ok(text) => {
                let seconds = text.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
                self.uptime.push_known(seconds, dictionary, into);
            }
            Err(error) => once.missing("/proc/uptime", &error, "the uptime is unknown", into),
        }
        let text = files.text(&paths.stat).map_err(|error| once.missing("/proc/stat", &error, "processor load is unknown", into)).ok()?;
        let times = parse_stat(text)?;
        self.cores = times.cores;
        let before = self.last.and_then(|(_, before)| before);
        self.cpu_busy.push_known(before.and_then(|before| busy_ratio(before, times)), dictionary, into);
        Some(times)
    }

    fn read_load(&mut self, paths: &Paths, files: &mut Files, once: &mut Once, dictionary: &mut Dictionary, into: &mut Observation) {
        let text = match files.text(&paths.loadavg) {
            Ok(text) => text,
            Err(error) => return once.missing("/proc/loadavg", &error, "the load is unknown", into),
        };
        for (i, (field, gauge)) in text.split_ascii_whitespace().zip(&mut self.loads).enumerate() {
            let load: Option<f64> = field.parse().ok();
            gauge.push_known(load, dictionary, into);
            if i == 0 && self.cores > 0 {
                self.load_per_core.push_known(load.map(|load| load / f64::from(self.cores)), dictionary, into);
            }
        }
    }

    fn read_memory(&mut self, paths: &Paths, files: &mut Files, once: &mut Once, dictionary: &mut Dictionary, into: &mut Observation) {
        let memory = match files.text(&paths.meminfo) {
            Ok(text) => parse_meminfo(text),
            Err(error) => return once.missing("/proc/meminfo", &error, "memory is unknown", into),
        };
        let ratio = |part: Option<u64>, whole: Option<u64>| Some(part? as f64 / whole.filter(|whole| *whole > 0)? as f64);
        self.memory_avail_ratio.push_known(ratio(memory.avail, memory.total), dictionary, into);
        self.memory_avail_bytes.push_known(memory.avail.map(|bytes| bytes as f64), dictionary, into);
        self.swap_used_ratio.push_known(ratio(memory.swap_free, memory.swap_total).map(|free| 1.0 - free), dictionary, into);
    }

    fn read_pressure(
        &mut self,
        elapsed: Option<f64>,
        files: &mut Files,
        once: &mut Once,
        dictionary: &mut Dictionary,
        into: &mut Observation,
    ) {
        for pressure in &mut self.pressures {
            let path = pressure.path.get_or_insert_with(|| files.path(&format!("proc/pressure/{}", pressure.what)));
            let total = match files.text(path) {
                Ok(text) => parse_pressure(text),
                Err(error) => {
                    let advice =
                        "pressure is unknown; it needs Linux 4.20 and, on some distributions, `psi=1` on the kernel's command line";
                    once.missing("/proc/pressure", &error, advice, into);
                    None
                }
            };
            if let (Some(last), Some(total), Some(elapsed)) = (pressure.last, total, elapsed) {
                let waited = total.saturating_sub(last) as f64 / 1e6;
                pressure.gauge.push((waited / elapsed).min(1.0), dictionary, into);
            }
            pressure.last = total;
        }
    }

    fn read_disks(
        &mut self,
        elapsed: Option<f64>,
        paths: &Paths,
        files: &mut Files,
        once: &mut Once,
        dictionary: &mut Dictionary,
        into: &mut Observation,
    ) {
        let text = match files.text(&paths.diskstats) {
            Ok(text) => text,
            Err(error) => return once.missing("/proc/diskstats", &error, "disk activity is unknown", into),
        };
        self.reads += 1;
        for (name, busy_ms) in parse_diskstats(text) {
            if !self.disks.contains_key(name) && self.disks.len() < DISKS_MAX {
                // Whole disks have a device behind them; partitions, loop devices and mappers have not and would count twice.
                let is_disk = paths.block.join(name).join("device").exists();
                let gauge = is_disk.then(|| Gauge::new("disk_io_busy_ratio", &[("node", &self.node), ("disk", name)]));
                self.disks.insert(name.to_owned(), Disk { gauge, last_ms: busy_ms, seen: 0 });
            }
            let Some(disk) = self.disks.get_mut(name) else { continue };
            let was_there = disk.seen + 1 == self.reads;
            // Old kernels count in 32 bits: a counter that went back says nothing this time.
            let delta = busy_ms.checked_sub(disk.last_ms).filter(|_| was_there);
            if let (Some(gauge), Some(delta), Some(elapsed)) = (&mut disk.gauge, delta, elapsed) {
                gauge.push((delta as f64 / 1000.0 / elapsed).min(1.0), dictionary, into);
            }
            (disk.last_ms, disk.seen) = (busy_ms, self.reads);
        }
        let reads = self.reads;
        self.disks.retain(|_, disk| disk.seen == reads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_leaves_out_guests_and_idleness() {
        let before = parse_stat("cpu  100 10 50 800 40 0 0 0 90 9\ncpu0 1\ncpu1 1\nintr 5\n").unwrap();
        assert_eq!(before, CpuTimes { busy: 160, idle: 840, cores: 2 });
        let after = parse_stat("cpu  130 10 50 860 50 5 5 0 120 9\ncpu0 1\n").unwrap();
        assert_eq!(busy_ratio(before, after), Some(40.0 / 110.0));
        assert_eq!(busy_ratio(after, after), None);
        let iowait_went_back = CpuTimes { idle: 0, busy: before.busy + 10, cores: 2 };
        assert_eq!(busy_ratio(before, iowait_went_back), Some(1.0));
        assert_eq!(parse_stat("cpu0 1 2\n"), None);
    }

    #[test]
    fn memory_is_in_bytes_and_what_is_missing_is_unknown() {
        let memory =
            parse_meminfo("MemTotal:       16316412 kB\nMemFree: 1 kB\nMemAvailable:    8158206 kB\nSwapTotal: 0 kB\nHugePages_Total: 0\n");
        assert_eq!((memory.total, memory.avail), (Some(16_316_412 * 1024), Some(8_158_206 * 1024)));
        assert_eq!((memory.swap_total, memory.swap_free), (Some(0), None));
    }

    #[test]
    fn pressure_and_disk_activity_are_read() {
        let text = "some avg10=0.04 avg60=0.22 avg300=0.66 total=22662475\nfull avg10=0.00 avg60=0.12 avg300=0.59 total=21087484\n";
        assert_eq!(parse_pressure(text), Some(22_662_475));
        assert_eq!(parse_pressure(""), None);
        let text = " 259 0 nvme0n1 10 1 80 5 20 2 160 9 0 1234 14 0 0 0 0\n   8 1 sda1 1 2 3\n";
        assert_eq!(parse_diskstats(text).collect::<Vec<_>>(), [("nvme0n1", 1234)]);
    }
}
