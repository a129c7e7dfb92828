//! The plant: a homelab as plain, seeded data that moves in steps of time.
//!
//! `advance` lets time pass, `begin` makes something go wrong, `act` does something about it, `Sight` shows what sensors would see.
//! Deliberately absent: sockets, clocks, and everything that decides. An editor breaks this by letting what is done change what is
//! drawn by chance: runs with and without an action on one seed must meet the same weather.

mod aims;
mod fault;
mod keeping;
mod load;
mod node;
mod op;
mod service;
mod sight;
mod storage;

pub use aims::{Aim, Breach, Meter};
pub use fault::{Active, Fault, Lie, Planned};
pub use keeping::{Back, Backup};
pub use load::{People, day_and_hour, share};
pub use node::{Exporter, Node, Power};
pub use op::{Applied, Judged, Op, OpKind, Worth};
pub use service::{Crash, Replica, Service};
pub use sight::Sight;
pub use storage::{Disk, Filesystem};

use crate::lab::Lab;
use crate::numbers::{SYSTEM_BUSY, SYSTEM_MEMORY};
use homeostat_model::{Span, Time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What is remembered of what happened.
const LOG_MAX: usize = 10_000;
const DAY: f64 = 86_400.0;

/// Work that waits for a node.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// The node, by index.
    pub node: usize,
    /// When each waiting job came.
    pub waiting: VecDeque<Time>,
    /// What is left of the job that is being done, in seconds.
    pub at_work_seconds: f64,
    /// Jobs done.
    pub done: u64,
    /// How long a job may wait, in seconds.
    pub wait_seconds_max: f64,
    jobs_per_day: f64,
    job_seconds: f64,
    thing: u64,
}

impl Queue {
    /// Jobs that are not done.
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.at_work_seconds > 0.0)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long the oldest waiting job has waited, in seconds.
    pub fn wait_seconds(&self, now: Time) -> f64 {
        self.waiting.front().map_or(0.0, |came| now.since(*came).seconds())
    }
}

/// A volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The nodes with a copy, by index.
    pub nodes: Vec<usize>,
}

/// A certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its name.
    pub name: String,
    /// How long a new one is good for, in days.
    pub days: f64,
    /// When it expires.
    pub expires: Time,
    /// Whether it is renewed by itself.
    pub renews: bool,
    /// It is not, any more.
    pub stuck: bool,
}

impl Certificate {
    /// Days that are left.
    pub fn days_left(&self, now: Time) -> f64 {
        (self.expires.millis() - now.millis()) as f64 / (1000.0 * DAY)
    }

    fn renew(&mut self, now: Time) {
        self.expires = now + Span::from_millis((self.days * DAY * 1000.0) as i64);
    }
}

/// The plant. See the module.
#[derive(Clone, Debug)]
pub struct Plant {
    /// What stands there.
    pub lab: Arc<Lab>,
    /// Its nodes, in the lab file's order.
    pub nodes: Vec<Node>,
    /// Its services.
    pub services: Vec<Service>,
    /// Its queues.
    pub queues: Vec<Queue>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// Its backups.
    pub backups: Vec<Backup>,
    /// The quorum's members, by index.
    pub quorum: Vec<usize>,
    /// What is wrong just now.
    pub active: Vec<Active>,
    /// What it has cost so far.
    pub meter: Meter,
    now: Time,
    seed: u64,
    step: Span,
    planned: VecDeque<Planned>,
    began: Time,
    log: VecDeque<(Time, String)>,
    /// What is made of the nodes in this step; kept for its memory.
    uses: Vec<Use>,
    node_names: BTreeMap<String, usize>,
    service_names: BTreeMap<String, usize>,
}

impl Plant {
    /// A plant as the lab file says, at `at`. Steps are as long as a scrape, at most 30 s.
    pub fn new(lab: Arc<Lab>, seed: u64, at: Time) -> Plant {
        let node_names: BTreeMap<String, usize> = lab.nodes.iter().enumerate().map(|(index, node)| (node.name.clone(), index)).collect();
        let indices = |names: &[String]| names.iter().filter_map(|name| node_names.get(name).copied()).collect::<Vec<_>>();
        let services: Vec<Service> = lab.services.iter().map(|spec| Service::new(spec, indices(&spec.nodes), at)).collect();
        let mut plant = Plant {
            nodes: lab.nodes.iter().map(|spec| Node::new(spec, seed)).collect(),
            services,
            queues: lab.queues.iter().map(|spec| new_queue(spec, node_names[&spec.node])).collect(),
            volumes: lab.volumes.iter().map(|spec| Volume { name: spec.name.clone(), nodes: indices(&spec.nodes) }).collect(),
            certificates: lab.certificates.iter().map(|spec| new_certificate(spec, at)).collect(),
            backups: lab.backups.iter().map(|name| Backup::new(name, at)).collect(),
            quorum: indices(&lab.quorum),
            active: Vec::new(),
            meter: Meter::default(),
            now: at,
            seed,
            step: lab.scrape.min(Span::from_secs(30)),
            planned: VecDeque::new(),
            began: at,
            log: VecDeque::new(),
            uses: Vec::new(),
            node_names,
            service_names: lab.services.iter().enumerate().map(|(index, service)| (service.name.clone(), index)).collect(),
            lab: Arc::clone(&lab),
        };
        plant.settle();
        plant
    }

    /// The plant's time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// When the run began.
    pub fn began(&self) -> Time {
        self.began
    }

    /// What it is made of by chance.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Sets what will go wrong; times count from the beginning of the run.
    pub fn plan(&mut self, mut faults: Vec<Planned>) {
        faults.sort_by_key(|planned| planned.at);
        self.planned = faults.into();
    }

    /// Lets time pass, in steps.
    pub fn advance(&mut self, to: Time) {
        while self.now < to {
            let next = (self.now + self.step).min(to);
            let seconds = next.since(self.now).seconds();
            self.now = next;
            self.begin_planned();
            self.end_faults();
            self.pass(seconds);
        }
    }

    fn begin_planned(&mut self) {
        while self.planned.front().is_some_and(|planned| self.began + planned.at <= self.now) {
            let Some(planned) = self.planned.pop_front() else { return };
            let text = format!("{} {}", planned.fault.name(), planned.fault.thing());
            match self.begin(planned.fault, planned.lasts) {
                Ok(()) => self.note(text),
                Err(error) => self.note(error),
            }
        }
    }

    /// One step. Nodes and services are each walked once: a large lab does not fit into the processor's caches, and every further walk
    /// would fetch it from memory again.
    fn pass(&mut self, seconds: f64) {
        let (now, seed) = (self.now, self.seed);
        let mut uses = std::mem::take(&mut self.uses);
        uses.clear();
        uses.resize(self.nodes.len(), Use::SYSTEM);
        let today = load::People::at(now);
        for service in &mut self.services {
            service.step(&self.nodes, seed, now, &today, seconds);
            service.add_uses(&self.nodes, now, &mut uses);
        }
        for queue in &mut self.queues {
            step_queue(queue, &self.nodes, seed, now, &today, seconds);
            uses[queue.node].has_job |= queue.at_work_seconds > 0.0;
            uses[queue.node].has_work |= !queue.is_empty();
        }
        let mut meter = self.begin_measure(seconds);
        for (index, node) in self.nodes.iter_mut().enumerate() {
            uses[index].settle(node);
            node.step(now, seconds);
            let on = matches!(node.power, Power::On | Power::Suspending { .. });
            if on {
                node.disks.iter_mut().for_each(|disk| disk.step(now, seconds));
            }
            if node.works() {
                node.filesystems.iter_mut().for_each(|fs| fs.step(seconds));
            }
            meter.measure_node(index, node, uses[index].has_work, now, seconds);
        }
        self.uses = uses;
        for certificate in &mut self.certificates {
            if certificate.renews && !certificate.stuck && certificate.days_left(now) < certificate.days / 3.0 {
                certificate.renew(now);
            }
        }
        self.end_measure(meter, seconds);
    }

    /// Sets what the services and queues make of the nodes' processors and memory.
    fn settle(&mut self) {
        let mut uses = vec![Use::SYSTEM; self.nodes.len()];
        self.services.iter().for_each(|service| service.add_uses(&self.nodes, self.now, &mut uses));
        self.queues.iter().for_each(|queue| uses[queue.node].has_job |= queue.at_work_seconds > 0.0);
        self.nodes.iter_mut().zip(&uses).for_each(|(node, used)| used.settle(node));
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.node_index(name).map(|index| &self.nodes[index])
    }

    /// A node's index.
    pub fn node_index(&self, name: &str) -> Option<usize> {
        self.node_names.get(name).copied()
    }

    /// A service's index.
    pub fn service_index(&self, name: &str) -> Option<usize> {
        self.service_names.get(name).copied()
    }

    /// A pod by `namespace/name` or name: service and replica, by index.
    pub fn pod_index(&self, name: &str) -> Option<(usize, usize)> {
        let name = name.rsplit('/').next()?;
        let (service, number) = name.rsplit_once('-')?;
        let (service, number) = (self.service_index(service)?, number.parse::<u32>().ok()?);
        let replica = self.services[service].replicas.iter().position(|replica| replica.number == number)?;
        Some((service, replica))
    }

    /// A filesystem by `node:mountpoint`.
    pub fn filesystem(&self, name: &str) -> Option<&Filesystem> {
        let (node, mountpoint) = name.split_once(':')?;
        self.node(node)?.filesystems.iter().find(|fs| fs.mountpoint == mountpoint)
    }

    /// A disk by `node:disk`.
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        let (node, disk) = name.split_once(':')?;
        self.node(node)?.disks.iter().find(|known| known.name == disk)
    }

    /// With whether its node answers.
    fn filesystem_mut(&mut self, name: &str) -> Option<(bool, &mut Filesystem)> {
        let (node, mountpoint) = name.split_once(':')?;
        let node = self.node_index(node).map(|index| &mut self.nodes[index])?;
        let answers = node.answers();
        node.filesystems.iter_mut().find(|fs| fs.mountpoint == mountpoint).map(|fs| (answers, fs))
    }

    fn disk_mut(&mut self, name: &str) -> Option<(bool, &mut Disk)> {
        let (node, disk) = name.split_once(':')?;
        let node = self.node_index(node).map(|index| &mut self.nodes[index])?;
        let answers = node.answers();
        node.disks.iter_mut().find(|known| known.name == disk).map(|disk| (answers, disk))
    }

    /// Whether most of the quorum answers.
    pub fn has_quorum(&self) -> bool {
        let up = self.quorum.iter().filter(|member| self.nodes[**member].answers()).count();
        self.quorum.is_empty() || 2 * up > self.quorum.len()
    }

    /// Remembers what happened.
    pub fn note(&mut self, text: String) {
        if self.log.len() >= LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back((self.now, text));
    }

    /// What happened, oldest first; bounded.
    pub fn log(&self) -> impl Iterator<Item = &(Time, String)> {
        self.log.iter()
    }
}

/// What services and queues make of one node. Kept apart from the nodes, close together, while the services are walked.
#[derive(Copy, Clone, Debug)]
struct Use {
    /// The used share of its processors.
    busy: f64,
    /// Used memory, in bytes, once a replica was added.
    memory_bytes: f64,
    has_replicas: bool,
    /// A queue's job is at work.
    has_job: bool,
    /// A queue has work for it, begun or waiting.
    has_work: bool,
}

impl Use {
    /// What the system itself uses.
    const SYSTEM: Use = Use { busy: SYSTEM_BUSY, memory_bytes: 0.0, has_replicas: false, has_job: false, has_work: false };

    /// Adds a replica that serves on this node.
    fn add(&mut self, node: &Node, busy: f64, memory_bytes: f64) {
        if !self.has_replicas {
            (self.has_replicas, self.memory_bytes) = (true, SYSTEM_MEMORY * node.machine.memory_bytes);
        }
        self.busy += busy;
        self.memory_bytes += memory_bytes;
    }

    fn settle(&self, node: &mut Node) {
        let works = node.works();
        let memory = if self.has_replicas { self.memory_bytes } else { SYSTEM_MEMORY * node.machine.memory_bytes };
        let busy = if self.has_job { 0.9 } else { self.busy };
        // What does not work serves nobody: nothing was added to it.
        let (busy, memory) = if works { (busy, memory) } else { (0.0, 0.0) };
        node.busy = busy.min(1.0);
        node.memory_used_bytes = memory.min(node.machine.memory_bytes);
    }
}

fn new_queue(spec: &crate::lab::QueueSpec, node: usize) -> Queue {
    Queue {
        name: spec.name.clone(),
        node,
        waiting: VecDeque::new(),
        at_work_seconds: 0.0,
        done: 0,
        wait_seconds_max: spec.wait_seconds_max,
        jobs_per_day: spec.jobs_per_day,
        job_seconds: spec.job_seconds,
        thing: crate::chance::hash(&spec.name),
    }
}

fn new_certificate(spec: &crate::lab::CertificateSpec, at: Time) -> Certificate {
    let expires = at + Span::from_millis((spec.days_left * DAY * 1000.0) as i64);
    Certificate { name: spec.name.clone(), days: spec.days, expires, renews: spec.renews, stuck: false }
}

fn step_queue(queue: &mut Queue, nodes: &[Node], seed: u64, now: Time, today: &load::People, seconds: f64) {
    const WAITING_MAX: usize = 10_000;
    let span = Span::from_millis((seconds * 1000.0) as i64);
    for _ in 0..load::arrivals(queue.jobs_per_day, seed, queue.thing, now, span, today) {
        if queue.waiting.len() < WAITING_MAX {
            queue.waiting.push_back(now);
        }
    }
    let mut left = if nodes[queue.node].works() { seconds } else { 0.0 };
    while left > 0.0 {
        if queue.at_work_seconds <= 0.0 {
            if queue.waiting.pop_front().is_none() {
                break;
            }
            queue.at_work_seconds = queue.job_seconds;
        }
        let done = left.min(queue.at_work_seconds);
        queue.at_work_seconds -= done;
        left -= done;
        queue.done += u64::from(queue.at_work_seconds <= 0.0);
    }
}

#[cfg(test)]
mod tests;
