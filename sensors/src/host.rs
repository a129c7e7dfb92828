//! This machine, without any set-up: processor, memory, pressure, filesystems, disks, temperatures, power.
//!
//! Reads `/proc` and `/sys` below a root that can be changed (a container sees its host below `/host`, tests have own trees).
//! What a machine does not have is said once and then left out; the rest goes on. Deliberately absent: anything that asks a disk
//! (see [`crate::smart`]), processes, network, and writing. An editor breaks this by blocking on a mount whose server is gone
//! (only [`filesystems`] may ask mounts), by making labels at each read, or by reporting a rate on the first read.

pub mod counters;
pub mod filesystems;
pub mod rapl;
pub mod thermal;

mod files;

use crate::dictionary::Dictionary;
use crate::gauge::Gauge;
use counters::Counters;
use files::{Files, Once};
use filesystems::{Filesystems, MountRow};
use homeostat_model::{BoxFuture, Fault, FaultCode, Health, Observation, Sensor, SensorId, SensorSpec, Span, Time};
use rapl::Rapl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;
use thermal::Thermal;
use tokio::task::JoinHandle;

/// Reads this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// The sensor's name.
    #[serde(default = "default_name")]
    pub name: String,
    /// The label `node`. Without it: this machine's host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How often to read.
    #[serde(default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Span,
    /// How long one read may take. A filesystem that does not answer in half of it is left out.
    #[serde(default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Mount points to leave out; a trailing `*` stands for any ending: `/mnt/*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_mounts: Vec<String>,
    /// Where the machine's `/proc` and `/sys` are. In a container with the host mounted at `/host`: `/host`.
    #[serde(default = "default_root")]
    pub root: PathBuf,
}

fn default_name() -> String {
    "host".into()
}
fn default_interval() -> Span {
    Span::from_secs(5)
}
fn default_timeout() -> Span {
    Span::from_secs(4)
}
fn default_root() -> PathBuf {
    PathBuf::from("/")
}

impl Default for HostConfig {
    fn default() -> HostConfig {
        HostConfig {
            name: default_name(),
            node: None,
            interval: default_interval(),
            timeout: default_timeout(),
            ignore_mounts: Vec::new(),
            root: default_root(),
        }
    }
}

/// This machine's host name; `localhost` if it has none.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() || name == "(none)" { "localhost".into() } else { name }
}

/// Series of one machine; hundreds of disks and mounts fit.
const SERIES_MAX: usize = 10_000;

/// Everything but the mounts: read as one piece on a thread where blocking is allowed (a chip behind a slow bus can take long).
#[derive(Debug)]
struct Machine {
    files: Files,
    counters: Counters,
    thermal: Thermal,
    rapl: Rapl,
    mounts: filesystems::MountSeries,
    up: Gauge,
    once: Once,
    dictionary: Dictionary,
    row: Observation,
}

impl Machine {
    fn read(&mut self, at: Time, now: Instant, mounts: &[MountRow]) {
        let Machine { files, counters, thermal, rapl, mounts: mount_series, up, once, dictionary, row } = self;
        row.reset(at);
        dictionary.begin(row);
        counters.read(now, files, once, dictionary, row);
        thermal.read(files, once, dictionary, row);
        rapl.read(now, files, once, dictionary, row);
        mount_series.push(mounts, dictionary, row);
        if row.samples.is_empty() {
            let detail =
                format!("nothing could be read below {}; expected a Linux machine's `/proc` and `/sys` there", files.root().display());
            row.fault(Fault::new(FaultCode::NotFound, "read this machine", detail));
            row.health = Health::Blind;
        } else {
            up.push(1.0, dictionary, row);
        }
        dictionary.commit(row);
    }
}

/// A machine that is being read may outlive the read that asked: then the next read waits for it.
#[derive(Debug)]
enum Work {
    Idle(Box<Machine>),
    Busy(JoinHandle<Box<Machine>>),
    /// Its thread panicked; the next read builds it anew.
    Lost,
}

/// The sensor.
#[derive(Debug)]
pub struct HostSensor {
    config: HostConfig,
    node: String,
    filesystems: Filesystems,
    work: Work,
    /// The first epoch that was never handed over: a machine that is built anew begins there, so that none is repeated.
    epoch: u32,
}

impl HostSensor {
    /// A sensor. Reads nothing yet but the host name.
    pub fn new(config: &HostConfig) -> HostSensor {
        let node = config.node.clone().unwrap_or_else(host_name);
        let filesystems = Filesystems::new(&config.root, &config.ignore_mounts);
        HostSensor { config: config.clone(), node, filesystems, work: Work::Lost, epoch: 0 }
    }

    fn build(&self) -> Box<Machine> {
        let node = self.node.as_str();
        let mut dictionary = Dictionary::new(SERIES_MAX);
        (0..self.epoch).for_each(|_| dictionary.renew());
        let files = Files::new(&self.config.root);
        Box::new(Machine {
            counters: Counters::new(node, &files),
            files,
            thermal: Thermal::new(node),
            rapl: Rapl::new(node),
            mounts: filesystems::MountSeries::new(node),
            up: Gauge::new("node_up", &[("node", node)]),
            once: Once::default(),
            dictionary,
            row: Observation::new(SensorId::from(self.config.name.as_str()), Time(0), self.config.interval),
        })
    }

    /// The machine, once it is free. If its last row was never handed over, its series are declared anew.
    async fn machine(&mut self) -> Box<Machine> {
        if let Work::Busy(handle) = &mut self.work {
            self.work = match handle.await {
                Ok(mut machine) => {
                    machine.dictionary.renew();
                    Work::Idle(machine)
                }
                Err(_) => Work::Lost,
            };
        }
        match std::mem::replace(&mut self.work, Work::Lost) {
            Work::Idle(machine) => machine,
            _ => self.build(),
        }
    }

    async fn read_all(&mut self, at: Time, into: &mut Observation) {
        let deadline = tokio::time::Instant::now() + self.config.timeout.to_std() / 2;
        let (mounts, faults) = self.filesystems.measure(deadline).await;
        let mut machine = self.machine().await;
        self.work = Work::Busy(tokio::task::spawn_blocking(move || {
            machine.read(at, Instant::now(), &mounts);
            machine
        }));
        let Work::Busy(handle) = &mut self.work else { return };
        match handle.await {
            Ok(mut machine) => {
                take(&mut machine.row, into);
                self.epoch = into.epoch + 1;
                self.work = Work::Idle(machine);
            }
            Err(error) => {
                self.work = Work::Lost;
                (into.epoch, into.declared_before) = (self.epoch, 0);
                into.fault(Fault::new(FaultCode::Internal, "read this machine", format!("the reading thread stopped: {error}")));
                into.health = Health::Blind;
            }
        }
        faults.into_iter().for_each(|fault| into.fault(fault));
    }
}

/// Hands the row over and leaves the emptied buffers of `into` behind, for the next read.
fn take(row: &mut Observation, into: &mut Observation) {
    (into.health, into.epoch, into.declared_before, into.faults_dropped) = (row.health, row.epoch, row.declared_before, row.faults_dropped);
    std::mem::swap(&mut into.declared, &mut row.declared);
    std::mem::swap(&mut into.samples, &mut row.samples);
    std::mem::swap(&mut into.faults, &mut row.faults);
}

impl Sensor for HostSensor {
    fn spec(&self) -> SensorSpec {
        SensorSpec {
            id: SensorId::from(self.config.name.as_str()),
            kind: "host".into(),
            interval: self.config.interval,
            timeout: self.config.timeout,
            source: format!("{} ({})", self.node, self.config.root.display()),
        }
    }

    fn read<'a>(&'a mut self, at: Time, into: &'a mut Observation) -> BoxFuture<'a, ()> {
        Box::pin(self.read_all(at, into))
    }
}

#[cfg(test)]
mod tests;
