//! Asks this machine's disks by running `smartctl`.
//!
//! One process at a time, arguments only (no shell), an environment of two fixed variables, capped output, killed at its time.
//! A sleeping disk is not woken: its last values are repeated and `disk_standby` is 1. Deliberately absent: writing to disks,
//! starting self-tests. An editor breaks this by passing a scanned `type` as its own argument, or by waking disks by default.

use super::health::DiskSeries;
use super::report::{SmartReport, disk_name, parse, parse_scan};
use super::{DISKS_MAX, DiskHealth};
use crate::dictionary::Dictionary;
use homeostat_model::{BoxFuture, Fault, FaultCode, Health, Observation, Sensor, SensorId, SensorSpec, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::Instant;

/// A report has some 20 KiB; logs can make it longer.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// Where `smartctl` is looked for; a service's own `PATH` often lacks the `sbin` folders.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// Reads disk health by `smartctl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmartConfig {
    /// The sensor's name.
    #[serde(default = "default_name")]
    pub name: String,
    /// The label `node`. Without it: this machine's host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The program: a name to look for, or a path.
    #[serde(default = "default_program")]
    pub smartctl: String,
    /// The disks to ask. Without it: those that `smartctl --scan` lists at each read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<SmartDevice>>,
    /// How often to read.
    #[serde(default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Span,
    /// How long one read of all disks may take.
    #[serde(default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long one disk may take.
    #[serde(default = "default_device_timeout")]
    #[schemars(with = "String")]
    pub device_timeout: Span,
    /// Whether sleeping disks are woken to be read. Left alone, their last values are repeated.
    #[serde(default)]
    pub wake: bool,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmartDevice {
    /// Its path, `/dev/sda`.
    pub path: String,
    /// `smartctl`'s device type, `sat` or `megaraid,0`. Without it: detected.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

fn default_name() -> String {
    "smart".into()
}
fn default_program() -> String {
    "smartctl".into()
}
fn default_interval() -> Span {
    Span::from_mins(10)
}
fn default_timeout() -> Span {
    Span::from_mins(2)
}
fn default_device_timeout() -> Span {
    Span::from_secs(30)
}

impl Default for SmartConfig {
    fn default() -> SmartConfig {
        SmartConfig {
            name: default_name(),
            node: None,
            smartctl: default_program(),
            devices: None,
            interval: default_interval(),
            timeout: default_timeout(),
            device_timeout: default_device_timeout(),
            wake: false,
        }
    }
}

/// A disk and what was last known about it.
#[derive(Debug)]
struct Disk {
    device: SmartDevice,
    last: Option<DiskHealth>,
    series: Option<DiskSeries>,
    /// Whether it slept in this read; `None` if it could not be asked.
    standby: Option<bool>,
}

/// The sensor.
#[derive(Debug)]
pub struct SmartSensor {
    config: SmartConfig,
    node: String,
    disks: Vec<Disk>,
    dictionary: Dictionary,
}

impl SmartSensor {
    /// A sensor; fails (`Malformed`) on device paths that are not absolute. Does no IO but asking for the host name.
    pub fn new(config: &SmartConfig) -> Result<SmartSensor, Fault> {
        let doing = format!("set up the sensor `{}`", config.name);
        let devices = config.devices.as_deref().unwrap_or(&[]);
        if let Some(bad) = devices.iter().find(|device| !device.path.starts_with('/')) {
            let detail = format!("`{}` in `devices` is not an absolute path, expected one like `/dev/sda`", bad.path);
            return Err(Fault::new(FaultCode::Malformed, doing, detail));
        }
        if devices.len() > DISKS_MAX {
            let detail = format!("`devices` holds {} disks, at most {DISKS_MAX} are read", devices.len());
            return Err(Fault::new(FaultCode::Limit, doing, detail));
        }
        let node = config.node.clone().unwrap_or_else(crate::host::host_name);
        let dictionary = Dictionary::new(DISKS_MAX * 20);
        Ok(SmartSensor { config: config.clone(), node, disks: Vec::new(), dictionary })
    }

    async fn read_all(&mut self, into: &mut Observation) {
        // Blind reads too must say where the dictionary stands.
        self.dictionary.begin(into);
        // A tenth is kept back so that what was read is handed over before the daemon's own deadline.
        let deadline = Instant::now() + self.config.timeout.to_std().mul_f64(0.9);
        let devices = match self.devices(deadline, into).await {
            Ok(devices) => devices,
            Err(fault) => return blind(into, fault),
        };
        self.keep(devices);
        for i in 0..self.disks.len() {
            self.disks[i].standby = None;
            match self.ask(&self.disks[i].device, deadline).await {
                Ok(SmartReport::Health(health)) => {
                    let disk = &mut self.disks[i];
                    (disk.last, disk.standby) = (Some(*health), Some(false));
                }
                Ok(SmartReport::Standby) => self.disks[i].standby = Some(true),
                Err(fault) => into.fault(fault),
            }
        }
        self.push(into);
    }

    fn push(&mut self, into: &mut Observation) {
        if !self.disks.iter().any(|disk| disk.standby.is_some()) {
            into.health = Health::Blind;
            return;
        }
        for disk in self.disks.iter_mut() {
            let Some(standby) = disk.standby else { continue };
            // Never seen awake: only its path is known.
            let nameless = || DiskHealth { disk: disk_name(&disk.device.path, disk.device.kind.as_deref()), ..Default::default() };
            let health = disk.last.clone().unwrap_or_else(nameless);
            let series = match &mut disk.series {
                Some(series) if series.fits(&self.node, &health) => series,
                other => other.insert(DiskSeries::new(&self.node, &health)),
            };
            series.push(&health, Some(standby), &mut self.dictionary, into);
        }
        self.dictionary.commit(into);
    }

    async fn devices(&self, deadline: Instant, into: &mut Observation) -> Result<Vec<SmartDevice>, Fault> {
        if let Some(devices) = &self.config.devices {
            return Ok(devices.clone());
        }
        const DOING: &str = "list disks by `smartctl --scan`";
        let output = self.run(&["--json", "--scan"], DOING, deadline).await?;
        let mut devices: Vec<SmartDevice> = parse_scan(&output)?
            .into_iter()
            .filter(|(path, _)| path.starts_with('/'))
            .map(|(path, kind)| SmartDevice { path, kind })
            .collect();
        if devices.is_empty() {
            let detail = "it lists no disk that can be asked (virtual disks cannot); set `devices`, or leave this sensor out";
            return Err(Fault::new(FaultCode::NotFound, DOING, detail));
        }
        if devices.len() > DISKS_MAX {
            into.fault(Fault::new(FaultCode::Limit, DOING, format!("{} disks, the first {DISKS_MAX} are read", devices.len())));
            devices.truncate(DISKS_MAX);
        }
        Ok(devices)
    }

    /// Takes over the list; what is known about disks that stay is kept.
    fn keep(&mut self, devices: Vec<SmartDevice>) {
        let mut old = std::mem::take(&mut self.disks);
        self.disks = devices
            .into_iter()
            .map(|device| match old.iter().position(|disk| disk.device == device) {
                Some(i) => old.swap_remove(i),
                None => Disk { device, last: None, series: None, standby: None },
            })
            .collect();
    }

    async fn ask(&self, device: &SmartDevice, deadline: Instant) -> Result<SmartReport, Fault> {
        let nocheck = if self.config.wake { "--nocheck=never" } else { "--nocheck=standby" };
        let kind = device.kind.as_deref().filter(|kind| !matches!(*kind, "scsi" | "ata"));
        // A plain scan calls SATA disks `scsi`: forced to that, `smartctl` would not find their attributes. It detects those itself.
        let kind = kind.map(|kind| format!("--device={kind}"));
        let mut arguments = vec!["--json", "--info", "--health", "--attributes", "--tolerance=verypermissive", nocheck];
        arguments.extend(["--format=brief", "--log=error", "--log=selftest"]);
        arguments.extend(kind.as_deref());
        arguments.push(&device.path);
        let doing = format!("read the health of {}", device.path);
        let output = self.run(&arguments, &doing, deadline).await?;
        parse(&device.path, &output)
    }

    /// Runs the program and gives what it printed. The exit status is in the JSON.
    async fn run(&self, arguments: &[&str], doing: &str, deadline: Instant) -> Result<Vec<u8>, Fault> {
        let limit = (Instant::now() + self.config.device_timeout.to_std()).min(deadline);
        if limit <= Instant::now() {
            let detail = format!("no time is left: the disks before it took all of `timeout` ({})", self.config.timeout);
            return Err(Fault::new(FaultCode::TimedOut, doing, detail));
        }
        let started = Command::new(&self.config.smartctl)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = started.map_err(|error| self.not_started(&error, doing))?;
        let mut output = Vec::new();
        let stdout = child.stdout.take();
        let reading = async {
            if let Some(stdout) = stdout {
                stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut output).await?;
            }
            if output.len() as u64 <= OUTPUT_BYTES_MAX {
                child.wait().await?;
            }
            std::io::Result::Ok(())
        };
        let result = tokio::time::timeout_at(limit, reading).await;
        let fault = match result {
            Ok(Ok(())) if output.len() as u64 <= OUTPUT_BYTES_MAX => return Ok(output),
            Ok(Ok(())) => Fault::new(FaultCode::Limit, doing, format!("`smartctl` printed more than {OUTPUT_BYTES_MAX} bytes")),
            Ok(Err(error)) => Fault::new(FaultCode::Failed, doing, format!("reading from `smartctl` failed: {error}")),
            Err(_) => Fault::new(FaultCode::TimedOut, doing, format!("no answer within {} (`device_timeout`)", self.config.device_timeout)),
        };
        // A disk in trouble can hold the process in the kernel, where no signal reaches it: it is not waited for long.
        let _ = child.start_kill();
        let _ = tokio::time::timeout(Duration::from_millis(200), child.wait()).await;
        Err(fault)
    }

    fn not_started(&self, error: &std::io::Error, doing: &str) -> Fault {
        let program = &self.config.smartctl;
        match error.kind() {
            std::io::ErrorKind::NotFound => Fault::new(
                FaultCode::NotFound,
                doing,
                format!(
                    "the program `{program}` was not found in {PATH}; install the package `smartmontools`, or set `smartctl` to its path"
                ),
            ),
            std::io::ErrorKind::PermissionDenied => {
                Fault::new(FaultCode::Denied, doing, format!("`{program}` may not be run: {error}; expected an executable file"))
            }
            _ => Fault::new(FaultCode::NeverStarted, doing, format!("`{program}` could not be started: {error}")),
        }
    }
}

fn blind(into: &mut Observation, fault: Fault) {
    into.fault(fault);
    into.health = Health::Blind;
}

impl Sensor for SmartSensor {
    fn spec(&self) -> SensorSpec {
        SensorSpec {
            id: SensorId::from(self.config.name.as_str()),
            kind: "smart".into(),
            interval: self.config.interval,
            timeout: self.config.timeout,
            source: format!("{} on {}", self.config.smartctl, self.node),
        }
    }

    fn read<'a>(&'a mut self, _at: Time, into: &'a mut Observation) -> BoxFuture<'a, ()> {
        Box::pin(self.read_all(into))
    }
}

#[cfg(test)]
mod tests;
