//! What goes wrong: each fault changes the plant at a moment, and most end by themselves after a while.
//!
//! Faults of the engine's own world (cut off, clock step, restart, actuators that lie) do not change the plant; the driver looks them up. An
//! editor breaks this by undoing something at the end of a fault that a person or an action has changed meanwhile.

use super::Plant;
use super::node::{Exporter, Power};
use super::op::Op;
use super::service::Crash;
use homeostat_model::{Span, Time};
use serde::{Deserialize, Serialize};

/// How an actuator misleads.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// It does it and says that it failed.
    DoneSaysError,
    /// It does nothing and says that it is done.
    NothingSaysDone,
    /// It does it and is never heard of again.
    DoneNoAnswer,
    /// It does nothing and is never heard of again.
    NothingNoAnswer,
    /// It refuses at once, and says so.
    Refuses,
}

/// A fault. Its fields are names of the lab file's things, and numbers that each line explains.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// A node goes off and stays off.
    Crash { node: String },
    /// A node is on and does nothing any more.
    Hang { node: String },
    /// A node's next start takes so many times as long.
    SlowBoot { node: String, factor: f64 },
    /// So many magic packets do not reach a node.
    LostPackets { node: String, count: u32 },
    /// A node's network card is dead.
    DeadNic { node: String },
    /// A disk fails: first signs now, dead after `within`.
    DiskFails { node: String, disk: String, within: Span },
    /// A service's replicas lose memory, in bytes per second each.
    Leak { service: String, bytes_per_second: f64 },
    /// A log runs away, by so much of the filesystem's size in a day.
    RunawayLog { node: String, mountpoint: String, per_day: f64 },
    /// So many times the usual load comes.
    Surge { service: String, factor: f64 },
    /// A replica crashes again and again; with `image`, a new pod does too.
    CrashLoop {
        service: String,
        #[serde(default)]
        image: bool,
    },
    /// A service is slow in a way that no restart cures.
    Misconfigured { service: String },
    /// A certificate is not renewed by itself any more.
    RenewalStuck { certificate: String },
    /// A service's next release does not run.
    BadRelease { service: String },
    /// The newest copy of a backup cannot be brought back.
    DamagedBackup { backup: String },
    /// A power feed is dead.
    FeedDown { feed: String },
    /// A switch is dead.
    SwitchDown { switch: String },
    /// A node's exporter does not answer.
    ExporterDown { node: String },
    /// It shows what was, again and again.
    ExporterFrozen { node: String },
    /// It shows use this many times too high.
    ExporterLies { node: String, factor: f64 },
    /// What sees the whole house (Prometheus, its probes) does not answer.
    HouseBlind,
    /// The engine's own network is gone: it sees its own node only, and nothing that it sends arrives.
    EngineCutOff,
    /// The engine is killed and starts again after the fault's time.
    EngineRestart,
    /// The engine's wall clock steps, by so many seconds.
    ClockStep { seconds: i64 },
    /// An actuator misleads.
    Actuator { verb: String, how: Lie },
    /// A person does something.
    Person { op: Op },
}

impl Fault {
    /// What it is about, as a target's name would say it; empty where it is the whole house or the engine.
    pub fn thing(&self) -> String {
        match self {
            Fault::Crash { node }
            | Fault::Hang { node }
            | Fault::SlowBoot { node, .. }
            | Fault::LostPackets { node, .. }
            | Fault::DeadNic { node }
            | Fault::ExporterDown { node }
            | Fault::ExporterFrozen { node }
            | Fault::ExporterLies { node, .. } => format!("node/{node}"),
            Fault::DiskFails { node, disk, .. } => format!("disk/{node}:{disk}"),
            Fault::RunawayLog { node, mountpoint, .. } => format!("filesystem/{node}:{mountpoint}"),
            Fault::Leak { service, .. }
            | Fault::Surge { service, .. }
            | Fault::CrashLoop { service, .. }
            | Fault::BadRelease { service }
            | Fault::Misconfigured { service } => {
                format!("service/{service}")
            }
            Fault::RenewalStuck { certificate } => format!("certificate/{certificate}"),
            Fault::DamagedBackup { backup } => format!("backup/{backup}"),
            Fault::Person { op } => op.target.to_string(),
            Fault::FeedDown { .. }
            | Fault::SwitchDown { .. }
            | Fault::HouseBlind
            | Fault::EngineCutOff
            | Fault::EngineRestart
            | Fault::ClockStep { .. }
            | Fault::Actuator { .. } => String::new(),
        }
    }

    /// Whether both do the same to the same thing.
    pub fn does_the_same(&self, other: &Fault) -> bool {
        let place = |fault: &Fault| match fault {
            Fault::FeedDown { feed } => feed.clone(),
            Fault::SwitchDown { switch } => switch.clone(),
            Fault::Actuator { verb, .. } => verb.clone(),
            fault => fault.thing(),
        };
        std::mem::discriminant(self) == std::mem::discriminant(other) && place(self) == place(other)
    }

    /// Whether it is a state that lasts as long as the fault does, so that setting it again changes nothing.
    fn is_a_level(&self) -> bool {
        matches!(
            self,
            Fault::DeadNic { .. }
                | Fault::Leak { .. }
                | Fault::RunawayLog { .. }
                | Fault::Surge { .. }
                | Fault::Misconfigured { .. }
                | Fault::RenewalStuck { .. }
                | Fault::FeedDown { .. }
                | Fault::SwitchDown { .. }
                | Fault::ExporterDown { .. }
                | Fault::ExporterFrozen { .. }
                | Fault::ExporterLies { .. }
        )
    }

    /// Its name, as scenario files spell it.
    pub fn name(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// Whether it is a matter of the house that somebody may have to mend, as opposed to one of perception or of the engine.
    pub fn needs_mending(&self) -> bool {
        !self.thing().is_empty()
            && !matches!(
                self,
                Fault::SlowBoot { .. }
                    | Fault::LostPackets { .. }
                    | Fault::ExporterDown { .. }
                    | Fault::ExporterFrozen { .. }
                    | Fault::ExporterLies { .. }
                    | Fault::BadRelease { .. }
                    | Fault::Person { .. }
            )
    }
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// When it begins, from the beginning of the run.
    pub at: Span,
    /// How long it lasts; absent: until somebody mends it.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// What.
    pub fault: Fault,
}

/// A fault that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// Since when.
    pub since: Time,
    /// When it ends by itself.
    pub until: Option<Time>,
    /// What.
    pub fault: Fault,
}

impl Plant {
    /// Begins a fault now.
    ///
    /// # Errors
    /// What it names is not there.
    pub fn begin(&mut self, fault: Fault, lasts: Option<Span>) -> Result<(), String> {
        if !self.set(&fault, true) {
            return Err(format!("the fault `{}` names {}, which is not in the lab", fault.name(), fault.thing()));
        }
        self.active.push(Active { since: self.now, until: lasts.map(|span| self.now + span), fault });
        Ok(())
    }

    pub(super) fn end_faults(&mut self) {
        let now = self.now;
        while let Some(index) = self.active.iter().position(|active| active.until.is_some_and(|until| until <= now)) {
            let active = self.active.remove(index);
            // Another fault may still do the same to the same thing.
            if !self.active.iter().any(|other| other.fault.does_the_same(&active.fault)) {
                self.set(&active.fault, false);
            }
            // What still lasts must not end with it: a node whose feed comes back may have a dead switch.
            let lasting: Vec<Fault> = self.active.iter().map(|other| other.fault.clone()).filter(Fault::is_a_level).collect();
            for fault in lasting {
                self.set(&fault, true);
            }
        }
    }

    /// Whether the engine's network is gone, by a fault of its own or of its host's.
    pub fn engine_cut_off(&self) -> bool {
        self.suffers(|fault| matches!(fault, Fault::EngineCutOff)) || self.node(&self.lab.engine).is_some_and(|node| !node.reachable())
    }

    /// Whether what a fault names is there.
    pub fn knows(&self, fault: &Fault) -> bool {
        let thing = match fault {
            Fault::FeedDown { feed } => return self.nodes.iter().any(|node| &node.feed == feed),
            Fault::SwitchDown { switch } => return self.nodes.iter().any(|node| &node.switch == switch),
            fault => fault.thing(),
        };
        let Some((kind, name)) = thing.split_once('/') else { return true };
        match kind {
            "node" => self.node_index(name).is_some(),
            "service" => self.service_index(name).is_some(),
            "disk" => self.disk(name).is_some(),
            "filesystem" => self.filesystem(name).is_some(),
            "backup" => self.backups.iter().any(|known| known.name == name),
            "certificate" => self.certificates.iter().any(|known| known.name == name),
            _ => self.pod_index(name).is_some(),
        }
    }

    /// Whether a fault of this kind is under way.
    pub fn suffers(&self, is: impl Fn(&Fault) -> bool) -> bool {
        self.active.iter().any(|active| is(&active.fault))
    }

    /// How the actuator of a verb misleads just now.
    pub fn lie(&self, verb: &str) -> Option<Lie> {
        self.active.iter().rev().find_map(|active| match &active.fault {
            Fault::Actuator { verb: lying, how } if lying == verb || lying == "*" => Some(*how),
            _ => None,
        })
    }

    pub(super) fn set(&mut self, fault: &Fault, begins: bool) -> bool {
        match fault {
            Fault::Crash { node } | Fault::Hang { node } | Fault::DeadNic { node } => self.with_node(node, |node, now| match fault {
                Fault::Crash { .. } if begins => {
                    node.switch_off();
                }
                Fault::Crash { .. } if node.power == Power::Off && !node.sleeps => {
                    node.start(now);
                }
                Fault::Hang { .. } => node.hung = begins && node.power == Power::On,
                Fault::DeadNic { .. } => node.nic_dead = begins,
                _ => {}
            }),
            Fault::SlowBoot { node, factor } => {
                self.with_node(node, |node, _| node.slow_start = if begins { factor.max(1.0) } else { 1.0 })
            }
            Fault::LostPackets { node, count } => self.with_node(node, |node, _| node.packets_lost = if begins { *count } else { 0 }),
            Fault::ExporterDown { node } => {
                self.with_node(node, |node, _| node.exporter = if begins { Exporter::Down } else { Exporter::Honest })
            }
            Fault::ExporterFrozen { node } => {
                self.with_node(node, |node, _| node.exporter = if begins { Exporter::Frozen } else { Exporter::Honest })
            }
            Fault::ExporterLies { node, factor } => {
                self.with_node(node, |node, _| node.exporter = if begins { Exporter::Lying(*factor) } else { Exporter::Honest })
            }
            Fault::FeedDown { feed } => {
                let crashed: Vec<String> = self
                    .active
                    .iter()
                    .filter(|other| matches!(other.fault, Fault::Crash { .. }))
                    .map(|other| other.fault.thing())
                    .collect();
                self.with_nodes(|node, now| {
                    if &node.feed != feed {
                        return false;
                    }
                    if begins {
                        (node.power, node.hung) = (Power::Unpowered, false);
                    } else if node.power == Power::Unpowered {
                        node.power = Power::Off;
                        if !node.sleeps && !crashed.contains(&format!("node/{}", node.name)) {
                            node.start(now);
                        }
                    }
                    true
                })
            }
            Fault::SwitchDown { switch } => self.with_nodes(|node, _| {
                let hit = &node.switch == switch;
                node.cut_off = if hit { begins } else { node.cut_off };
                hit
            }),
            Fault::DiskFails { node, disk, within } => self.set_disk(node, disk, *within, begins),
            Fault::RunawayLog { node, mountpoint, per_day } => match self.filesystem_mut(&format!("{node}:{mountpoint}")) {
                Some((_, fs)) => {
                    fs.runaway_per_day = if begins { *per_day } else { 0.0 };
                    true
                }
                None => false,
            },
            Fault::Leak { service, .. }
            | Fault::Surge { service, .. }
            | Fault::CrashLoop { service, .. }
            | Fault::Misconfigured { service } => {
                let Some(index) = self.service_index(service) else { return false };
                self.set_service(index, fault, begins);
                true
            }
            Fault::RenewalStuck { certificate } => match self.certificates.iter_mut().find(|known| &known.name == certificate) {
                Some(known) => {
                    known.stuck = begins;
                    true
                }
                None => false,
            },
            Fault::BadRelease { service } => {
                let Some(index) = self.service_index(service) else { return false };
                self.services[index].next_is_bad = begins;
                true
            }
            Fault::DamagedBackup { backup } => match self.backups.iter_mut().find(|known| &known.name == backup) {
                Some(known) => {
                    known.damaged = begins;
                    true
                }
                None => false,
            },
            Fault::Person { op } => {
                if begins {
                    let taken = self.act(op).taken;
                    let by = format!("a person: {:?} {}", op.does, op.target);
                    self.note(by);
                    self.note(if taken { "it was done".into() } else { "nothing came of it".into() });
                }
                true
            }
            Fault::HouseBlind | Fault::EngineCutOff | Fault::EngineRestart | Fault::ClockStep { .. } | Fault::Actuator { .. } => true,
        }
    }

    fn with_node(&mut self, name: &str, change: impl FnOnce(&mut super::Node, Time)) -> bool {
        let Some(index) = self.node_index(name) else { return false };
        change(&mut self.nodes[index], self.now);
        true
    }

    fn with_nodes(&mut self, change: impl Fn(&mut super::Node, Time) -> bool) -> bool {
        let now = self.now;
        // Every node, not only up to the first that it concerns.
        self.nodes.iter_mut().filter_map(|node| change(node, now).then_some(())).count() > 0
    }

    fn set_disk(&mut self, node: &str, disk: &str, within: Span, begins: bool) -> bool {
        let now = self.now;
        match self.disk_mut(&format!("{node}:{disk}")) {
            Some((_, disk)) if begins => disk.failing = Some((now, now + within)),
            Some((_, disk)) if !disk.dead => disk.failing = None,
            Some(_) => {}
            None => return false,
        }
        true
    }

    fn set_service(&mut self, index: usize, fault: &Fault, begins: bool) {
        let now = self.now;
        let service = &mut self.services[index];
        match fault {
            Fault::Leak { bytes_per_second, .. } => service.leaks_bytes_per_second = if begins { *bytes_per_second } else { 0.0 },
            Fault::Surge { factor, .. } => service.surge = if begins { *factor } else { 1.0 },
            Fault::Misconfigured { .. } => service.misconfigured = begins,
            Fault::CrashLoop { image, .. } if begins => {
                let crash = if *image { Crash::Image } else { Crash::State };
                let hit = if *image { service.replicas.len() } else { 1 };
                for replica in service.replicas.iter_mut().take(hit) {
                    (replica.crash, replica.ready_at) = (Some(crash), now);
                }
            }
            Fault::CrashLoop { .. } => service.replicas.iter_mut().for_each(|replica| replica.crash = None),
            _ => {}
        }
    }
}
