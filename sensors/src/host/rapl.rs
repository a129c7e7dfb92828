//! Power and energy from the processor's own meters: `/sys/class/powercap/intel-rapl*` (also AMD Zen).
//!
//! Counters are microjoules that wrap at `max_energy_range_uj`, some 44 minutes at 100 W; here they are unwrapped, so that
//! `node_energy_joules_total` only grows. Zones overlap (`psys` holds `package`, `package` holds `core`): the node is the packages
//! and their memory, or `psys` where there is no package. Deliberately absent: other meters (UPS, BMC, plugs have sensors of
//! their own). An editor breaks this by summing all zones, by counting `intel-rapl-mmio` (it repeats a package), or by taking a
//! counter that started anew for a wrap.

use super::files::{Files, Once};
use crate::dictionary::Dictionary;
use crate::gauge::Gauge;
use homeostat_model::Observation;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Zones whose limits say nothing get this one: no single socket draws more.
const PLAUSIBLE_WATTS: f64 = 1000.0;

/// A wrapping counter, unwrapped.
#[derive(Clone, Debug, PartialEq)]
pub struct Unwrapped {
    /// The value at which the counter starts again from 0, in microjoules.
    range_uj: u64,
    /// More power than this is not believed, in watts.
    watts_max: f64,
    last_uj: Option<u64>,
    total_uj: u128,
}

impl Unwrapped {
    /// A counter that wraps at `range_uj` and never really exceeds `watts_max`.
    pub fn new(range_uj: u64, watts_max: f64) -> Unwrapped {
        Unwrapped { range_uj, watts_max, last_uj: None, total_uj: 0 }
    }

    /// Takes a reading, `seconds` after the one before, and gives the mean power since then in watts. The first reading gives
    /// nothing, nor does one that implies more than the plausible power (the counter started anew after suspend); the total then stays.
    ///
    /// Less than before means one wrap: `(range - last) + now` (node_exporter, Kepler). More than one wrap cannot be seen.
    pub fn advance(&mut self, now_uj: u64, seconds: f64) -> Option<f64> {
        let last = self.last_uj.replace(now_uj)?;
        let delta = if now_uj >= last { now_uj - last } else { self.range_uj.checked_sub(last)?.checked_add(now_uj)? };
        if seconds <= 0.0 {
            return None;
        }
        let watts = delta as f64 / 1e6 / seconds;
        if watts > self.watts_max {
            return None;
        }
        self.total_uj += u128::from(delta);
        Some(watts)
    }

    /// Forgets the last reading, after a gap: the next one is a first.
    pub fn interrupt(&mut self) {
        self.last_uj = None;
    }

    /// All energy since the first reading, in joules.
    pub fn joules(&self) -> f64 {
        self.total_uj as f64 / 1e6
    }
}

/// Which sum a zone belongs to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Role {
    Package,
    Memory,
    Platform,
    Part,
}

#[derive(Debug)]
struct Zone {
    energy: PathBuf,
    role: Role,
    counter: Unwrapped,
    read_at: Option<Instant>,
    watts: Gauge,
    joules: Gauge,
}

/// All zones.
#[derive(Debug)]
pub(super) struct Rapl {
    node: String,
    zones: Option<Vec<Zone>>,
    watts: Gauge,
    joules: Gauge,
    /// Energy of the node; grows by what all its zones grew in one read.
    total_joules: f64,
}

impl Rapl {
    pub(super) fn new(node: &str) -> Rapl {
        let gauge = |metric| Gauge::new(metric, &[("node", node)]);
        let (watts, joules) = (gauge("node_power_watts"), gauge("node_energy_joules_total"));
        Rapl { node: node.to_owned(), zones: None, watts, joules, total_joules: 0.0 }
    }

    pub(super) fn read(&mut self, now: Instant, files: &mut Files, once: &mut Once, dictionary: &mut Dictionary, into: &mut Observation) {
        if self.zones.is_none() {
            self.zones = match search(&self.node, files) {
                Ok(zones) => Some(zones),
                Err(error) => {
                    let advice =
                        "the processor's power is unknown (virtual machines and most ARM boards have no meter; else load `intel_rapl_msr`)";
                    once.missing("/sys/class/powercap", &error, advice, into);
                    Some(Vec::new())
                }
            };
        }
        let Some(zones) = &mut self.zones else { return };
        let has_package = zones.iter().any(|zone| zone.role == Role::Package);
        let mut sum = Some((0.0, 0.0));
        let mut counted = false;
        for zone in zones {
            let counts = if has_package { matches!(zone.role, Role::Package | Role::Memory) } else { zone.role == Role::Platform };
            let read = zone.read(now, files, once, dictionary, into);
            if counts {
                counted = true;
                sum = sum.zip(read).map(|((watts, joules), (w, j))| (watts + w, joules + j));
            }
        }
        // One zone unknown: the sum would be too low, which is worse than none.
        if let Some((watts, joules)) = sum.filter(|_| counted) {
            self.total_joules += joules;
            self.watts.push(watts, dictionary, into);
            self.joules.push(self.total_joules, dictionary, into);
        }
    }
}

impl Zone {
    /// Mean power since the last read in watts, and the energy since then in joules.
    fn read(
        &mut self,
        now: Instant,
        files: &mut Files,
        once: &mut Once,
        dictionary: &mut Dictionary,
        into: &mut Observation,
    ) -> Option<(f64, f64)> {
        let energy_uj = match files.number::<u64>(&self.energy) {
            Ok(energy_uj) => energy_uj,
            Err(error) => {
                let advice = "only root may read it since Linux 5.10 (PLATYPUS, CVE-2020-8694): run as root, give the service \
                              CAP_DAC_READ_SEARCH, or make `energy_uj` readable by a udev rule";
                once.missing("the processor's energy counter (energy_uj)", &error, advice, into);
                self.counter.interrupt();
                self.read_at = None;
                return None;
            }
        };
        let seconds = self.read_at.map_or(0.0, |last| now.duration_since(last).as_secs_f64());
        self.read_at = Some(now);
        let before = self.counter.joules();
        let watts = self.counter.advance(energy_uj, seconds)?;
        self.watts.push(watts, dictionary, into);
        self.joules.push(self.counter.joules(), dictionary, into);
        Some((watts, self.counter.joules() - before))
    }
}

/// The zones that are there, without those that repeat another.
fn search(node: &str, files: &mut Files) -> std::io::Result<Vec<Zone>> {
    let folder = files.path("sys/class/powercap");
    let mut names: Vec<String> = std::fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let mut zones: Vec<(String, Zone)> = Vec::new();
    for standard in [true, false] {
        let prefix = if standard { "intel-rapl:" } else { "intel-rapl-mmio:" };
        for name in names.iter().filter(|name| name.starts_with(prefix)) {
            let path = folder.join(name);
            let Some((label, role)) = zone_label(name.trim_start_matches(prefix), &files.line(&path.join("name"))) else { continue };
            if zones.iter().any(|(known, _)| *known == label) {
                continue;
            }
            let Ok(range_uj) = files.number::<u64>(&path.join("max_energy_range_uj")) else { continue };
            let gauge = |metric| Gauge::new(metric, &[("node", node), ("zone", &label)]);
            let (watts, joules) = (gauge("node_power_zone_watts"), gauge("node_energy_zone_joules_total"));
            let counter = Unwrapped::new(range_uj, 2.0 * watts_max(files, &path));
            zones.push((label, Zone { energy: path.join("energy_uj"), role, counter, read_at: None, watts, joules }));
        }
    }
    if zones.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no zone `intel-rapl:…` in it"));
    }
    Ok(zones.into_iter().map(|(_, zone)| zone).collect())
}

/// The label of the zone with this index (`0` a package, `0:2` a part of package 0) and name. Parts carry their package's
/// number: `dram-0`.
fn zone_label(index: &str, name: &str) -> Option<(String, Role)> {
    let (package, is_part) = index.split_once(':').map_or((index, false), |(package, _)| (package, true));
    let role = match name {
        "" => return None,
        "psys" => Role::Platform,
        "dram" => Role::Memory,
        name if name.starts_with("package") && !is_part => Role::Package,
        _ => Role::Part,
    };
    let is_numbered = name.bytes().last().is_some_and(|b| b.is_ascii_digit());
    let label = if is_numbered || role == Role::Platform { name.to_owned() } else { format!("{name}-{package}") };
    Some((label, role))
}

/// The highest power that the zone's limits name, in watts; [`PLAUSIBLE_WATTS`] where they name none.
fn watts_max(files: &mut Files, zone: &Path) -> f64 {
    let mut most = 0.0f64;
    for constraint in 0..4 {
        for file in ["max_power_uw", "power_limit_uw"] {
            let limit: u64 = files.number(&zone.join(format!("constraint_{constraint}_{file}"))).unwrap_or(0);
            most = most.max(limit as f64 / 1e6);
        }
    }
    if most > 0.0 { most } else { PLAUSIBLE_WATTS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_reading_and_implausible_ones_give_nothing() {
        let mut counter = Unwrapped::new(262_143_328_850, 200.0);
        assert_eq!(counter.advance(240_422_366_267, 0.0), None);
        assert_eq!(counter.advance(240_472_366_267, 1.0), Some(50.0));
        assert_eq!(counter.advance(5_000_000, 1.0), None, "started anew after suspend: 21 kW are no wrap");
        assert_eq!((counter.advance(55_000_000, 1.0), counter.joules()), (Some(50.0), 100.0));
        assert_eq!(counter.advance(60_000_000, 0.0), None);
        counter.interrupt();
        assert_eq!((counter.advance(70_000_000, 1.0), counter.joules()), (None, 100.0));
        assert_eq!(Unwrapped { last_uj: Some(10), ..Unwrapped::new(5, 200.0) }.advance(1, 1.0), None, "above its own range");
    }

    #[test]
    fn a_wrap_is_added_up() {
        let mut counter = Unwrapped::new(1_000_000, 200.0);
        counter.advance(900_000, 1.0);
        assert_eq!((counter.advance(100_000, 1.0), counter.joules()), (Some(0.2), 0.2));
    }

    #[test]
    fn zones_are_named_by_package() {
        let label = zone_label;
        assert_eq!(label("0", "package-0"), Some(("package-0".into(), Role::Package)));
        assert_eq!(label("0:0", "core"), Some(("core-0".into(), Role::Part)));
        assert_eq!(label("1:2", "dram"), Some(("dram-1".into(), Role::Memory)));
        assert_eq!(label("1", "psys"), Some(("psys".into(), Role::Platform)));
        assert_eq!(label("0", ""), None);
    }

    proptest! {
        #[test]
        fn unwrapping_is_counting_without_wraps(range in 1_000u64..1 << 40, start in any::<u64>(), steps in prop::collection::vec((0.0f64..1.0, 1u32..60), 1..200)) {
            let mut counter = Unwrapped::new(range, f64::INFINITY);
            // The naive counter never wraps; the meter shows it modulo its range.
            let mut naive = u128::from(start % range);
            let began = naive;
            counter.advance((naive % u128::from(range)) as u64, 0.0);
            let mut last_joules = 0.0;
            for (part, seconds) in steps {
                let delta = (range as f64 * part) as u64 % range;
                naive += u128::from(delta);
                let watts = counter.advance((naive % u128::from(range)) as u64, f64::from(seconds)).unwrap();
                prop_assert!((watts - delta as f64 / 1e6 / f64::from(seconds)).abs() <= 1e-9 * watts.max(1.0));
                prop_assert_eq!(counter.total_uj, naive - began);
                prop_assert!(counter.joules() >= last_joules);
                last_joules = counter.joules();
            }
        }
    }
}
