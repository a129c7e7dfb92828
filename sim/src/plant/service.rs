//! Services: replicas on nodes, latency that grows with load, memory that leaks, containers that crash, and the controllers in the
//! lab that also set replicas.
//!
//! Latency is that of a queue with one server: `base / (1 - use)` (M/M/1), up to a client's patience. An editor breaks this by
//! counting a replica as ready on a node that does not answer.

use super::load;
use super::node::Node;
use crate::lab::{Owner, ServiceSpec};
use crate::numbers::{LATENCY_SECONDS_MAX, MOVE_AFTER_SECONDS, READY_SECONDS, RESTART_WAIT_SECONDS, RESTART_WAIT_SECONDS_MAX};
use homeostat_model::{Span, Time};

/// How often the autoscaler looks, and how often GitOps does.
const AUTOSCALER_EVERY: Span = Span::from_mins(1);
const GITOPS_EVERY: Span = Span::from_mins(3);
/// The autoscaler leaves small differences alone; Kubernetes' tolerance is 10 %.
const AUTOSCALER_TOLERANCE: f64 = 0.1;
/// The autoscaler goes down only after the need was low for this long; Kubernetes' stabilization window.
const AUTOSCALER_DOWN_AFTER: Span = Span::from_mins(5);

/// Why a container crashes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Bad state in the pod: a new pod is well.
    State,
    /// A bad image or configuration: a new pod crashes too.
    Image,
}

/// One replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// Its number; with the service's name its pod's name.
    pub number: u32,
    /// The node, by index.
    pub node: usize,
    /// Ready from then on.
    pub ready_at: Time,
    /// Container restarts.
    pub restarts: u32,
    /// Why it crashes.
    pub crash: Option<Crash>,
    /// What leaked, in bytes.
    pub leaked_bytes: f64,
    /// Since when its node is silent.
    pub silent_since: Option<Time>,
    wait_seconds: f64,
}

impl Replica {
    fn new(number: u32, node: usize, ready_at: Time) -> Replica {
        let wait_seconds = RESTART_WAIT_SECONDS;
        Replica { number, node, ready_at, restarts: 0, crash: None, leaked_bytes: 0.0, silent_since: None, wait_seconds }
    }

    /// Whether it waits to be restarted after a crash.
    pub fn is_waiting(&self, now: Time) -> bool {
        self.crash.is_some() && now < self.ready_at
    }
}

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What the lab file says.
    pub spec: ServiceSpec,
    /// Its replicas.
    pub replicas: Vec<Replica>,
    /// What is asked of it, in requests per second.
    pub load_rps: f64,
    /// How many times its usual load comes.
    pub surge: f64,
    /// The time of a request, in seconds.
    pub latency_seconds: f64,
    /// Whether it answers.
    pub up: bool,
    /// The used share of its capacity.
    pub used: f64,
    /// Each replica loses this much memory, in bytes per second.
    pub leaks_bytes_per_second: f64,
    /// It is broken in a way that no restart cures.
    pub misconfigured: bool,
    /// How often it was upgraded.
    pub release: u32,
    /// What comes with the next upgrade does not run.
    pub next_is_bad: bool,
    /// A person has switched it off.
    pub stopped_by_person: bool,
    thing: u64,
    nodes: Vec<usize>,
    next_number: u32,
    looked_at: Time,
    low_since: Option<Time>,
}

impl Service {
    pub(super) fn new(spec: &ServiceSpec, nodes: Vec<usize>, at: Time) -> Service {
        let replicas = (0..spec.replicas).map(|number| Replica::new(number, nodes[number as usize % nodes.len()], at)).collect();
        Service {
            thing: crate::chance::hash(&spec.name),
            spec: spec.clone(),
            replicas,
            load_rps: 0.0,
            surge: 1.0,
            latency_seconds: spec.base_latency_seconds,
            up: true,
            used: 0.0,
            leaks_bytes_per_second: 0.0,
            misconfigured: false,
            release: 0,
            next_is_bad: false,
            stopped_by_person: false,
            nodes,
            next_number: spec.replicas,
            looked_at: at,
            low_since: None,
        }
    }

    /// The name of a replica's pod.
    pub fn pod(&self, replica: &Replica) -> String {
        format!("{}-{}", self.spec.name, replica.number)
    }

    /// Whether this replica serves.
    pub fn is_ready(&self, replica: &Replica, nodes: &[Node], now: Time) -> bool {
        nodes[replica.node].answers() && now >= replica.ready_at && replica.crash.is_none() && !self.stopped_by_person
    }

    /// How many replicas serve.
    pub fn ready(&self, nodes: &[Node], now: Time) -> usize {
        self.replicas.iter().filter(|replica| self.is_ready(replica, nodes, now)).count()
    }

    /// How many replicas the present load needs, at 70 % use.
    pub fn needed(&self) -> u32 {
        ((self.load_rps / (0.7 * self.spec.replica_rps)).ceil() as u32).max(1)
    }

    /// Whether its users are served as they expect.
    pub fn serves_well(&self) -> bool {
        self.up && self.latency_seconds <= self.spec.latency_seconds_max
    }

    /// Sets how many replicas there shall be; whether that changes anything.
    pub(super) fn scale(&mut self, replicas: u32, nodes: &[Node], now: Time) -> bool {
        let before = self.replicas.len();
        while self.replicas.len() > replicas as usize {
            self.replicas.pop();
        }
        while self.replicas.len() < replicas as usize {
            let node = self.place(self.replicas.len(), nodes);
            let mut replica = Replica::new(self.next_number, node, now + seconds(READY_SECONDS));
            replica.crash = self.replicas.iter().find_map(|other| other.crash.filter(|crash| *crash == Crash::Image));
            self.replicas.push(replica);
            self.next_number += 1;
        }
        before != self.replicas.len()
    }

    /// The node with the fewest replicas of this service among those that may take one; where none may, the next in turn.
    fn place(&self, turn: usize, nodes: &[Node]) -> usize {
        let count = |node: usize| self.replicas.iter().filter(|replica| replica.node == node).count();
        let free = self.nodes.iter().copied().filter(|node| nodes[*node].answers() && !nodes[*node].cordoned);
        free.min_by_key(|node| count(*node)).unwrap_or(self.nodes[turn % self.nodes.len()])
    }

    /// Starts one replica anew, as deleting its pod does; cures bad state, leaks and nothing else.
    pub(super) fn renew(&mut self, index: usize, nodes: &[Node], now: Time) {
        let node = if self.spec.pinned { self.replicas[index].node } else { self.place(index, nodes) };
        let replica = &mut self.replicas[index];
        let crash = replica.crash.filter(|crash| *crash == Crash::Image);
        *replica = Replica { node, crash, ..Replica::new(replica.number, node, now + seconds(READY_SECONDS)) };
    }

    /// Lets `seconds` pass until `now`.
    pub(super) fn step(&mut self, nodes: &[Node], seed: u64, now: Time, today: &load::People, seconds: f64) {
        self.load_rps = self.surge * load::requests_per_second(&self.spec.shape, self.spec.peak_rps, seed, self.thing, now, today);
        self.step_replicas(nodes, now, seconds);
        self.step_owner(nodes, now);
        let ready = self.ready(nodes, now);
        let leaky = self.replicas.iter().any(|r| r.leaked_bytes > 0.6 * (self.spec.memory_limit_bytes - self.spec.memory_bytes));
        self.up = ready > 0;
        self.used = if ready == 0 { 0.0 } else { self.load_rps / (ready as f64 * self.spec.replica_rps) };
        let slow = if leaky { 3.0 } else { 1.0 } * if self.misconfigured { 20.0 } else { 1.0 };
        let queueing = 1.0 / (1.0 - self.used.min(0.999));
        self.latency_seconds =
            if self.up { (slow * self.spec.base_latency_seconds * queueing).min(LATENCY_SECONDS_MAX) } else { LATENCY_SECONDS_MAX };
    }

    /// Adds what its replicas use of their nodes.
    pub(super) fn add_uses(&self, nodes: &[Node], now: Time, uses: &mut [super::Use]) {
        let ready = self.ready(nodes, now).max(1) as f64;
        let use_each = (self.load_rps / (ready * self.spec.replica_rps)).min(1.0);
        for replica in self.replicas.iter().filter(|replica| self.is_ready(replica, nodes, now)) {
            let node = &nodes[replica.node];
            let busy = use_each * self.spec.replica_cores / f64::from(node.machine.cores);
            uses[replica.node].add(node, busy, self.spec.memory_bytes + replica.leaked_bytes);
        }
    }

    fn step_replicas(&mut self, nodes: &[Node], now: Time, seconds_passed: f64) {
        let room = self.spec.memory_limit_bytes - self.spec.memory_bytes;
        let mut to_move = Vec::new();
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            let answers = nodes[replica.node].answers();
            if answers {
                if replica.silent_since.take().is_some() {
                    // Its node is back: it starts anew there.
                    replica.ready_at = now + seconds(READY_SECONDS);
                    replica.leaked_bytes = 0.0;
                }
            } else {
                let since = *replica.silent_since.get_or_insert(now);
                if !self.spec.pinned && now.since(since).seconds() >= MOVE_AFTER_SECONDS {
                    to_move.push(index);
                }
                continue;
            }
            if replica.crash.is_some() {
                if now >= replica.ready_at {
                    replica.restarts += 1;
                    replica.ready_at = now + seconds(replica.wait_seconds);
                    replica.wait_seconds = (replica.wait_seconds * 2.0).min(RESTART_WAIT_SECONDS_MAX);
                }
                continue;
            }
            replica.leaked_bytes += self.leaks_bytes_per_second * seconds_passed;
            if replica.leaked_bytes > room {
                // Out of memory: the kernel ends it, the kubelet starts it again.
                replica.restarts += 1;
                replica.leaked_bytes = 0.0;
                replica.ready_at = now + seconds(READY_SECONDS);
            }
        }
        for index in to_move {
            self.renew(index, nodes, now);
        }
    }

    fn step_owner(&mut self, nodes: &[Node], now: Time) {
        match &self.spec.owner {
            Some(Owner::Autoscaler { min, max, target }) if now.since(self.looked_at) >= AUTOSCALER_EVERY => {
                let (min, max, target) = (*min, *max, *target);
                self.looked_at = now;
                let have = self.replicas.len().max(1) as f64;
                let use_now = self.load_rps / (have * self.spec.replica_rps);
                let wish = ((have * use_now / target).ceil() as u32).clamp(min, max);
                if (use_now / target - 1.0).abs() <= AUTOSCALER_TOLERANCE || wish == have as u32 {
                    self.low_since = None;
                } else if f64::from(wish) > have {
                    self.low_since = None;
                    self.scale(wish, nodes, now);
                } else if now.since(*self.low_since.get_or_insert(now)) >= AUTOSCALER_DOWN_AFTER {
                    self.scale(wish, nodes, now);
                }
            }
            Some(Owner::Gitops) if now.since(self.looked_at) >= GITOPS_EVERY => {
                self.looked_at = now;
                self.scale(self.spec.replicas, nodes, now);
            }
            _ => {}
        }
    }
}

fn seconds(seconds: f64) -> Span {
    Span::from_millis((seconds * 1000.0) as i64)
}
