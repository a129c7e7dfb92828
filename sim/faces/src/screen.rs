//! What a person sees of the whole plant: one plain summary, for a terminal or `GET /plant`.
//!
//! It shows the truth, faults included: for screens only. Deliberately absent: the oracle's word (see [`crate::Did`]). An editor breaks
//! this by letting anything that decides read it.

use homeostat_model::Time;
use homeostat_sim::plant::Plant;
use serde::Serialize;

/// The plant at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The plant's time.
    pub at: Time,
    /// Energy used since the beginning, in joules.
    pub joules: f64,
    /// What a lab without sleep would have used, in joules.
    pub joules_always_on: f64,
    /// Seconds in which users of a service were not served well, over all services.
    pub disrupted_seconds: f64,
    /// Aims that are not met just now: `filesystem/nas:/srv`.
    pub breached: Vec<String>,
    /// The nodes, in the lab file's order.
    pub nodes: Vec<NodeView>,
    /// The services.
    pub services: Vec<ServiceView>,
    /// The queues.
    pub queues: Vec<QueueView>,
    /// What is wrong just now.
    pub faults: Vec<FaultView>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `on`, `asleep`, `starting` …, or `hung`.
    pub state: &'static str,
    /// Whether it answers over the network.
    pub answers: bool,
    /// Whether nothing new is placed on it.
    pub cordoned: bool,
    /// Its power, in watts.
    pub watts: f64,
    /// Its temperature, in °C.
    pub celsius: f64,
    /// The used share of its processors.
    pub busy: f64,
    /// The used share of its memory.
    pub memory_used: f64,
    /// Its filesystems: where, and the used share.
    pub filesystems: Vec<(String, f64)>,
    /// Its disks: name, pending sectors, data in bytes.
    pub disks: Vec<(String, f64, f64)>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub up: bool,
    /// Its replicas, and how many of them serve.
    pub replicas: usize,
    /// How many serve.
    pub ready: usize,
    /// Replicas that wait to be restarted after a crash.
    pub crashing: usize,
    /// The time of a request, in seconds.
    pub latency_seconds: f64,
    /// Requests per second.
    pub load_rps: f64,
}

/// Work that waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// The node that does it.
    pub node: String,
    /// Jobs that are not done.
    pub jobs: usize,
    /// Jobs that are done.
    pub done: u64,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultView {
    /// Its kind, as scenario files spell it.
    pub fault: String,
    /// What it is about: `node/nas`; empty for the whole house.
    pub thing: String,
    /// Since when.
    pub since: Time,
}

impl Summary {
    /// The plant as it is now.
    pub fn of(plant: &Plant) -> Summary {
        let now = plant.now();
        let queues = plant.queues.iter().map(|queue| QueueView {
            name: queue.name.clone(),
            node: plant.nodes[queue.node].name.clone(),
            jobs: queue.len(),
            done: queue.done,
        });
        let services = plant.services.iter().map(|service| ServiceView {
            name: service.spec.name.clone(),
            up: service.up,
            replicas: service.replicas.len(),
            ready: service.ready(&plant.nodes, now),
            crashing: service.replicas.iter().filter(|replica| replica.crash.is_some()).count(),
            latency_seconds: service.latency_seconds,
            load_rps: service.load_rps,
        });
        let faults =
            plant.active.iter().map(|active| FaultView { fault: active.fault.name(), thing: active.fault.thing(), since: active.since });
        Summary {
            at: now,
            joules: plant.meter.joules,
            joules_always_on: plant.meter.joules_always_on,
            disrupted_seconds: plant.meter.disrupted_seconds,
            breached: plant.meter.breached().map(|aim| aim.0.clone()).collect(),
            nodes: plant.nodes.iter().map(node_view).collect(),
            services: services.collect(),
            queues: queues.collect(),
            faults: faults.collect(),
        }
    }
}

fn node_view(node: &homeostat_sim::plant::Node) -> NodeView {
    NodeView {
        name: node.name.clone(),
        state: if node.hung { "hung" } else { node.power.name() },
        answers: node.answers(),
        cordoned: node.cordoned,
        watts: node.watts,
        celsius: node.celsius,
        busy: node.busy,
        memory_used: 1.0 - node.memory_avail_ratio(),
        filesystems: node.filesystems.iter().map(|fs| (fs.mountpoint.clone(), 1.0 - fs.avail_ratio())).collect(),
        disks: node.disks.iter().map(|disk| (disk.name.clone(), disk.pending, disk.data_bytes)).collect(),
    }
}
