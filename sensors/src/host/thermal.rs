//! Temperatures from `/sys/class/hwmon` and `/sys/class/thermal`.
//!
//! `hwmonN` numbers change from boot to boot, so a sensor is named as node_exporter names it: the last two parts of the chip's
//! device path (`platform_coretemp_0`, `nvme_nvme0`) and the channel (`temp1`); then both sources give one series. Deliberately
//! absent: fans, voltages, currents. An editor breaks this by naming a sensor after its `hwmonN`, or by taking a channel that
//! cannot be read right now (EAGAIN, ENODATA: the device sleeps) for 0 °C.

use super::files::{Files, Once};
use crate::dictionary::Dictionary;
use crate::gauge::Gauge;
use homeostat_model::{Fault, FaultCode, Observation};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Devices come and go (USB, NVMe): looked for again after this many reads, and when one vanished.
const READS_PER_SEARCH: u32 = 60;
/// More channels than this are not read; reaching it is a fault.
const CHANNELS_MAX: usize = 512;
/// Chips report rubbish for channels that are not connected.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = -60.0..=250.0;

#[derive(Debug)]
struct Channel {
    input: PathBuf,
    gauge: Gauge,
    critical: Option<(f64, Gauge)>,
}

/// All channels.
#[derive(Debug)]
pub(super) struct Thermal {
    node: String,
    channels: Vec<Channel>,
    reads_to_search: u32,
}

impl Thermal {
    pub(super) fn new(node: &str) -> Thermal {
        Thermal { node: node.to_owned(), channels: Vec::new(), reads_to_search: 0 }
    }

    pub(super) fn read(&mut self, files: &mut Files, once: &mut Once, dictionary: &mut Dictionary, into: &mut Observation) {
        if self.reads_to_search == 0 {
            self.search(files, once, into);
            self.reads_to_search = READS_PER_SEARCH;
        }
        self.reads_to_search -= 1;
        for channel in &mut self.channels {
            match files.number::<i64>(&channel.input) {
                Ok(milli) => {
                    let celsius = milli as f64 / 1000.0;
                    channel.gauge.push_known(Some(celsius).filter(|celsius| PLAUSIBLE.contains(celsius)), dictionary, into);
                }
                Err(error) => {
                    if error.kind() == std::io::ErrorKind::NotFound {
                        self.reads_to_search = 0;
                    }
                    continue;
                }
            }
            if let Some((celsius, gauge)) = &mut channel.critical {
                gauge.push(*celsius, dictionary, into);
            }
        }
    }

    fn search(&mut self, files: &mut Files, once: &mut Once, into: &mut Observation) {
        let mut found: BTreeMap<String, (PathBuf, Option<f64>)> = BTreeMap::new();
        let chips = search_chips(files, &mut found);
        search_zones(files, &mut found);
        match chips {
            Err(error) if found.is_empty() => {
                once.missing("/sys/class/hwmon", &error, "no temperatures (virtual machines and containers often have none)", into)
            }
            _ => once.found("/sys/class/hwmon"),
        }
        if found.len() > CHANNELS_MAX {
            let detail = format!("{} temperature channels, the first {CHANNELS_MAX} are read", found.len());
            into.fault(Fault::new(FaultCode::Limit, "list temperatures", detail));
        }
        let known = std::mem::take(&mut self.channels);
        let mut known: BTreeMap<PathBuf, Channel> = known.into_iter().map(|channel| (channel.input.clone(), channel)).collect();
        for (sensor, (input, critical)) in found.into_iter().take(CHANNELS_MAX) {
            let labels = [("node", self.node.as_str()), ("sensor", &sensor)];
            let critical = critical.map(|celsius| (celsius, Gauge::new("temperature_critical_celsius", &labels)));
            // A number may have been given to another chip meanwhile: only the same name at the same place is the same channel.
            let fresh = Channel { input: input.clone(), gauge: Gauge::new("temperature_celsius", &labels), critical };
            let same = known.remove(&input).filter(|old| old.gauge.is_of(&fresh.gauge));
            self.channels.push(same.unwrap_or(fresh));
        }
    }
}

fn search_chips(files: &mut Files, found: &mut BTreeMap<String, (PathBuf, Option<f64>)>) -> std::io::Result<()> {
    for chip in sorted(&files.path("sys/class/hwmon"))? {
        let device = chip.join("device").canonicalize().ok();
        // The kernel shows thermal zones as chips too; those are read as zones.
        if device.as_ref().and_then(|device| device.file_name()).is_some_and(|name| name.to_string_lossy().starts_with("thermal_zone")) {
            continue;
        }
        let name = chip_name(files, &chip, device.as_deref());
        // Old drivers put the channels beside the device.
        for folder in [chip.clone(), chip.join("device")] {
            for input in sorted(&folder).unwrap_or_default() {
                let file = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let Some(channel) = file.strip_suffix("_input").filter(|channel| is_channel(channel)) else { continue };
                let critical = files.number::<i64>(&folder.join(format!("{channel}_crit"))).ok().map(|milli| milli as f64 / 1000.0);
                let critical = critical.filter(|celsius| *celsius > 0.0 && PLAUSIBLE.contains(celsius));
                found.entry(format!("{name}/{channel}")).or_insert((input, critical));
            }
        }
    }
    Ok(())
}

fn is_channel(name: &str) -> bool {
    name.strip_prefix("temp").is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn search_zones(files: &mut Files, found: &mut BTreeMap<String, (PathBuf, Option<f64>)>) {
    for zone in sorted(&files.path("sys/class/thermal")).unwrap_or_default() {
        let folder = zone.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(number) = folder.strip_prefix("thermal_zone") else { continue };
        let kind = files.line(&zone.join("type"));
        found.entry(format!("{kind}/{number}")).or_insert((zone.join("temp"), None));
    }
}

/// As node_exporter names chips: kind and name of the device, else the driver's name, else the number.
fn chip_name(files: &mut Files, chip: &Path, device: Option<&Path>) -> String {
    if let Some(device) = device {
        let part = |path: Option<&Path>| path.and_then(Path::file_name).map(|name| clean(&name.to_string_lossy()));
        if let (Some(kind), Some(name)) = (part(device.parent()), part(Some(device))) {
            return format!("{kind}_{name}");
        }
    }
    let name = clean(&files.line(&chip.join("name")));
    if name.is_empty() { clean(&chip.file_name().unwrap_or_default().to_string_lossy()) } else { name }
}

/// node_exporter's `cleanMetricName`: lower case, what is not a letter, digit or colon becomes `_`, none at the ends.
fn clean(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == ':' { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(plain).collect::<String>().trim_matches('_').to_owned()
}

fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}
