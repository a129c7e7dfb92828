//! The lab file: what stands in the house. Plain data, checked as a whole before a plant is made of it.
//!
//! Deliberately absent: what happens (faults, see [`crate::scenario`]) and what is done about it (policies). An editor breaks this by
//! giving a field a default that hides a spelling mistake: unknown fields are refused, and names that point nowhere are listed.

use crate::numbers::{BRAIN, MUSCLE, Machine, NAS, SMALL};
use homeostat_model::{Autonomy, Class, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// More nodes than this are refused.
pub const NODES_MAX: usize = 20_000;
/// More services than this are refused.
pub const SERVICES_MAX: usize = 20_000;

/// More replicas of one service than this are never started.
pub const REPLICAS_MAX: u32 = 100;
/// More jobs per day than this are refused.
const JOBS_PER_DAY_MAX: f64 = 1e6;

/// What a node is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A small node.
    Small,
    /// A file server.
    Nas,
    /// Always on; runs the engine.
    Brain,
    /// Has the GPU; sleeps.
    Muscle,
}

impl NodeKind {
    /// Its numbers.
    pub fn machine(self) -> Machine {
        match self {
            NodeKind::Small => SMALL,
            NodeKind::Nas => NAS,
            NodeKind::Brain => BRAIN,
            NodeKind::Muscle => MUSCLE,
        }
    }
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesystemSpec {
    /// Where it is mounted.
    pub mountpoint: String,
    /// Its size in bytes.
    pub size_bytes: f64,
    /// The used share at the beginning.
    pub used_ratio: f64,
    /// By how much of its size it grows in a day.
    #[serde(default)]
    pub grows_per_day: f64,
    /// The part of what is used that a clean-up can free.
    #[serde(default)]
    pub cleanable: f64,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSpec {
    /// Its name: `sda`.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: f64,
    /// How much data is on it.
    pub data_bytes: f64,
    /// How old it is, in years.
    #[serde(default)]
    pub years: f64,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its MAC address, for Wake-on-LAN.
    #[serde(default)]
    pub mac: String,
    /// The power feed it hangs on.
    #[serde(default)]
    pub feed: String,
    /// The switch it hangs on.
    #[serde(default)]
    pub switch: String,
    /// Whether it sleeps when nobody needs it; it begins asleep.
    #[serde(default)]
    pub sleeps: bool,
    /// Its disks.
    #[serde(default)]
    pub disks: Vec<DiskSpec>,
    /// Its filesystems.
    #[serde(default)]
    pub filesystems: Vec<FilesystemSpec>,
}

/// The shape of a load over time; 1 is the peak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Always the same.
    Steady,
    /// People: low at night, two humps a day, less at the weekend or more.
    Daily {
        /// The weekend's share of a working day.
        weekend: f64,
    },
    /// Points that follow each other at this step and repeat; any unit, the largest is the peak.
    Profile {
        /// How long one point lasts.
        step: Span,
        /// The points.
        points: Vec<f64>,
    },
}

/// A controller in the lab that also sets replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// A horizontal autoscaler: replicas follow the load.
    Autoscaler {
        /// The least.
        min: u32,
        /// The most.
        max: u32,
        /// The used share of capacity it aims at.
        target: f64,
    },
    /// GitOps: replicas go back to what the repository says.
    Gitops,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// Its namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Where its replicas may run.
    pub nodes: Vec<String>,
    /// How many there are.
    pub replicas: u32,
    /// Requests per second at the peak.
    pub peak_rps: f64,
    /// How the load moves.
    pub shape: Shape,
    /// Requests per second that one replica can serve.
    pub replica_rps: f64,
    /// The time of a request on an idle replica, in seconds.
    #[serde(default = "default_latency")]
    pub base_latency_seconds: f64,
    /// The latency that its users accept, in seconds.
    #[serde(default = "default_latency_max")]
    pub latency_seconds_max: f64,
    /// Memory of a replica and its limit, in bytes.
    #[serde(default = "default_memory")]
    pub memory_bytes: f64,
    /// The limit.
    #[serde(default = "default_memory_limit")]
    pub memory_limit_bytes: f64,
    /// Processors that a fully used replica takes.
    #[serde(default = "default_cores")]
    pub replica_cores: f64,
    /// Whether its replicas stay where their data is.
    #[serde(default)]
    pub pinned: bool,
    /// Who else sets its replicas.
    #[serde(default)]
    pub owner: Option<Owner>,
}

fn default_namespace() -> String {
    "home".into()
}
fn default_latency() -> f64 {
    0.05
}
fn default_latency_max() -> f64 {
    0.5
}
fn default_memory() -> f64 {
    256.0 * 1024.0 * 1024.0
}
fn default_memory_limit() -> f64 {
    1024.0 * 1024.0 * 1024.0
}
fn default_cores() -> f64 {
    1.0
}

/// Work for the muscle: jobs that wait until somebody does them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// Its name.
    pub name: String,
    /// The node that does the work.
    pub node: String,
    /// Jobs per day, more by day than by night.
    pub jobs_per_day: f64,
    /// How long one job takes, in seconds.
    pub job_seconds: f64,
    /// How long a job may wait, in seconds.
    pub wait_seconds_max: f64,
}

/// A volume with copies on several nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// Its name.
    pub name: String,
    /// The nodes that hold a copy.
    pub nodes: Vec<String>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    /// Its name.
    pub name: String,
    /// How long a new one is good for, in days.
    pub days: f64,
    /// How many days are left at the beginning.
    pub days_left: f64,
    /// Whether it is renewed by itself when a third is left.
    #[serde(default)]
    pub renews: bool,
}

/// A verb that the plant's actuators understand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerbEntry {
    /// What it does to the plant.
    pub does: crate::plant::OpKind,
    /// How much it can hurt.
    pub class: Class,
    /// How long the target needs afterwards.
    pub settle: Span,
    /// How long it may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// The verb that does the opposite.
    #[serde(default)]
    pub opposite: Option<String>,
    /// Its text arguments.
    #[serde(default)]
    pub texts: Vec<String>,
    /// The least number of a whole-number argument, and the most: `{replicas: [1, 10]}`.
    #[serde(default)]
    pub ints: BTreeMap<String, (i64, i64)>,
}

fn default_timeout() -> Span {
    Span::from_secs(60)
}

/// The whole lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    /// Its name.
    pub name: String,
    /// The node that the engine runs on.
    pub engine: String,
    /// How often sensors read.
    #[serde(default = "default_scrape")]
    pub scrape: Span,
    /// Its nodes.
    pub nodes: Vec<NodeSpec>,
    /// Its services.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
    /// Work for a sleeping node.
    #[serde(default)]
    pub queues: Vec<QueueSpec>,
    /// Its volumes.
    #[serde(default)]
    pub volumes: Vec<VolumeSpec>,
    /// The members of its quorum (as etcd has one): most of them must answer.
    #[serde(default)]
    pub quorum: Vec<String>,
    /// Its certificates.
    #[serde(default)]
    pub certificates: Vec<CertificateSpec>,
    /// Its backups.
    #[serde(default)]
    pub backups: Vec<String>,
    /// What can be done.
    #[serde(default)]
    pub verbs: BTreeMap<String, VerbEntry>,
    /// The most autonomy per class.
    #[serde(default)]
    pub autonomy: BTreeMap<Class, Autonomy>,
}

fn default_scrape() -> Span {
    Span::from_secs(30)
}

/// What a lab has beside its own when playbooks run in it. Apart, so that what is drawn by chance in the lab stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equipment {
    /// Its backups.
    #[serde(default)]
    pub backups: Vec<String>,
    /// What can be done; a verb that the lab has is replaced.
    #[serde(default)]
    pub verbs: BTreeMap<String, VerbEntry>,
}

impl Equipment {
    /// Reads an equipment file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Equipment, String> {
        serde_saphyr::from_str(text).map_err(|error| format!("the equipment cannot be read: {error}"))
    }
}

impl Lab {
    /// The lab with more in it.
    #[must_use]
    pub fn equipped(&self, with: &Equipment) -> Lab {
        let mut lab = self.clone();
        lab.backups.extend(with.backups.iter().cloned());
        lab.verbs.extend(with.verbs.iter().map(|(verb, entry)| (verb.clone(), entry.clone())));
        lab
    }

    /// Reads a lab file.
    ///
    /// # Errors
    /// What is wrong with it, with its place where the file's form is the matter; every name that points nowhere.
    pub fn parse(text: &str) -> Result<Lab, String> {
        let lab: Lab = serde_saphyr::from_str(text).map_err(|error| format!("the lab file cannot be read: {error}"))?;
        let problems = lab.problems();
        if problems.is_empty() { Ok(lab) } else { Err(format!("the lab file does not fit together:\n  {}", problems.join("\n  "))) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            if !names.insert(node.name.as_str()) {
                problems.push(format!("the node `{}` stands there twice", node.name));
            }
        }
        let mut known = |name: &str, whose: String| {
            if !names.contains(name) {
                let all: Vec<&str> = names.iter().copied().take(8).collect();
                problems.push(format!("{whose} names the node `{name}`, which is not there (there are: {})", all.join(", ")));
            }
        };
        known(&self.engine, "`engine`".into());
        self.services.iter().for_each(|s| s.nodes.iter().for_each(|n| known(n, format!("the service `{}`", s.name))));
        self.queues.iter().for_each(|q| known(&q.node, format!("the queue `{}`", q.name)));
        self.volumes.iter().for_each(|v| v.nodes.iter().for_each(|n| known(n, format!("the volume `{}`", v.name))));
        self.quorum.iter().for_each(|n| known(n, "`quorum`".into()));
        problems.extend(self.impossible());
        problems
    }

    fn impossible(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.nodes.is_empty() || self.nodes.len() > NODES_MAX {
            problems.push(format!("{} nodes, expected 1 to {NODES_MAX}", self.nodes.len()));
        }
        if self.services.len() > SERVICES_MAX {
            problems.push(format!("{} services, expected at most {SERVICES_MAX}", self.services.len()));
        }
        if self.scrape < Span::from_secs(1) || self.scrape > Span::from_mins(10) {
            problems.push(format!("`scrape` is {}, expected 1s to 10m", self.scrape));
        }
        for service in &self.services {
            if service.nodes.is_empty() || service.replicas > REPLICAS_MAX || service.replica_rps <= 0.0 {
                problems.push(format!(
                    "the service `{}` needs nodes, at most {REPLICAS_MAX} replicas, and a `replica_rps` above 0",
                    service.name
                ));
            }
            if let Some(Owner::Autoscaler { min, max, target }) = &service.owner
                && (min > max || *max > REPLICAS_MAX || *target <= 0.0)
            {
                problems.push(format!("the autoscaler of `{}` needs min <= max <= {REPLICAS_MAX} and a target above 0", service.name));
            }
            if let Shape::Profile { step, points } = &service.shape
                && (points.is_empty() || *step <= Span::ZERO || points.iter().any(|p| !p.is_finite() || *p < 0.0))
            {
                problems.push(format!("the profile of `{}` needs a step above 0 and points of 0 or more", service.name));
            }
        }
        for queue in self.queues.iter().filter(|queue| !(0.0..=JOBS_PER_DAY_MAX).contains(&queue.jobs_per_day) || queue.job_seconds <= 0.0)
        {
            problems.push(format!("the queue `{}` needs 0 to {JOBS_PER_DAY_MAX} jobs per day, each of more than 0 seconds", queue.name));
        }
        problems.extend(twice("service", self.services.iter().map(|service| service.name.as_str())));
        problems.extend(twice("queue", self.queues.iter().map(|queue| queue.name.as_str())));
        problems.extend(twice("volume", self.volumes.iter().map(|volume| volume.name.as_str())));
        problems.extend(twice("backup", self.backups.iter().map(String::as_str)));
        problems.extend(twice("certificate", self.certificates.iter().map(|certificate| certificate.name.as_str())));
        for node in &self.nodes {
            problems.extend(twice("disk", node.disks.iter().map(|disk| disk.name.as_str())));
            problems.extend(twice("mountpoint", node.filesystems.iter().map(|fs| fs.mountpoint.as_str())));
            for fs in &node.filesystems {
                if !(0.0..=1.0).contains(&fs.used_ratio) || fs.size_bytes <= 0.0 {
                    problems.push(format!("{}:{} needs a size above 0 and a used ratio of 0 to 1", node.name, fs.mountpoint));
                }
            }
        }
        problems
    }

    /// A lab of `count` nodes in groups of six, for benches: the same mix as the classic one.
    pub fn sized(&self, count: usize) -> Lab {
        let mut lab = Lab { nodes: Vec::new(), services: Vec::new(), queues: Vec::new(), volumes: Vec::new(), ..self.clone() };
        let groups = count.div_ceil(self.nodes.len().max(1));
        for group in 0..groups {
            let named = |name: &str| if group == 0 { name.to_owned() } else { format!("{name}-g{group}") };
            lab.nodes.extend(self.nodes.iter().map(|node| NodeSpec { name: named(&node.name), ..node.clone() }));
            lab.services.extend(self.services.iter().map(|service| ServiceSpec {
                name: named(&service.name),
                nodes: service.nodes.iter().map(|node| named(node)).collect(),
                ..service.clone()
            }));
            lab.volumes.extend(
                self.volumes
                    .iter()
                    .map(|volume| VolumeSpec { name: named(&volume.name), nodes: volume.nodes.iter().map(|node| named(node)).collect() }),
            );
            lab.queues.extend(self.queues.iter().map(|queue| QueueSpec {
                name: named(&queue.name),
                node: named(&queue.node),
                ..queue.clone()
            }));
        }
        lab.nodes.truncate(count);
        let kept: BTreeSet<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
        lab.services.retain(|service| service.nodes.iter().all(|node| kept.contains(node)));
        lab.volumes.retain(|volume| volume.nodes.iter().all(|node| kept.contains(node)));
        lab.queues.retain(|queue| kept.contains(&queue.node));
        lab
    }
}

/// Names that stand there more than once.
fn twice<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).map(|name| format!("the {kind} `{name}` stands there twice")).collect()
}
