//! What sensors would see: one read per node's exporter, and one of the whole house (probes and the cluster's state), in the
//! normalised vocabulary of `docs/signals.md` and a few raw names of the plant's own.
//!
//! A series that is not in a read is stale from then on, as with the real sensors; a sensor that cannot see is blind. An editor breaks
//! this by showing something that no exporter could know (causes, the oracle's word).

use super::fault::Fault;
use super::node::{Exporter, Power};
use super::service::Service;
use super::{Disk, Node, Plant};
use crate::lab::Owner;
use crate::numbers::failure_rate;
use homeostat_model::{Fault as Trouble, FaultCode, Health, Observation, Sample, SensorId, SeriesDecl, SeriesKey, Span, Time};
use std::collections::BTreeMap;

/// The sensors of a plant. Sensor 0 sees the house; sensor 1 + i is node i's exporter.
pub struct Sight {
    eyes: Vec<Eye>,
    engine: Option<usize>,
}

struct Eye {
    observation: Box<Observation>,
    declared: u32,
    pods: BTreeMap<(usize, u32), u32>,
    last: Vec<Sample>,
}

impl Sight {
    /// The sensors of a plant, each reading every `interval`.
    pub fn new(plant: &Plant, interval: Span) -> Sight {
        let eye = |name: &str| {
            let mut observation = Box::new(Observation::new(SensorId::from(name), Time(0), interval));
            observation.epoch = 1;
            Eye { observation, declared: 0, pods: BTreeMap::new(), last: Vec::new() }
        };
        let mut eyes = vec![eye("house")];
        eyes.extend(plant.nodes.iter().map(|node| eye(&node.name)));
        Sight { eyes, engine: plant.node_index(&plant.lab.engine) }
    }

    /// How many sensors there are.
    pub fn len(&self) -> usize {
        self.eyes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.eyes.is_empty()
    }

    /// Starts all dictionaries anew, as after a restart of the engine.
    pub fn forget(&mut self) {
        for eye in &mut self.eyes {
            eye.observation.epoch += 1;
            eye.declared = 0;
            eye.pods.clear();
        }
    }

    /// What a sensor sees now.
    pub fn read(&mut self, plant: &Plant, sensor: usize, now: Time) -> &Observation {
        let engine = self.engine;
        let eye = &mut self.eyes[sensor];
        eye.observation.reset(now);
        eye.observation.declared_before = eye.declared;
        let cut_off = plant.engine_cut_off();
        if sensor == 0 {
            if cut_off || plant.suffers(|fault| matches!(fault, Fault::HouseBlind)) {
                eye.blind("read the house", "nothing answers");
            } else {
                eye.see_house(plant, now);
            }
        } else {
            let index = sensor - 1;
            let node = &plant.nodes[index];
            if (cut_off && Some(index) != engine) || !node.answers() || node.exporter == Exporter::Down {
                eye.blind("read the exporter", "connection refused");
            } else {
                eye.see_node(node);
            }
        }
        &eye.observation
    }
}

impl Eye {
    fn blind(&mut self, doing: &str, why: &str) {
        self.observation.fault(Trouble::new(FaultCode::Unreachable, doing, why));
        self.observation.health = Health::Blind;
    }

    fn declare(&mut self, key: SeriesKey) -> u32 {
        self.observation.declared.push(SeriesDecl { key, cohort: 0 });
        self.declared += 1;
        self.declared - 1
    }

    fn see_node(&mut self, node: &Node) {
        if node.exporter == Exporter::Frozen && !self.last.is_empty() && self.declared > 0 {
            self.observation.samples.extend_from_slice(&self.last);
            return;
        }
        if self.declared == 0 {
            for key in node_keys(node) {
                self.declare(key);
            }
        }
        let mut series = 0;
        let samples = &mut self.observation.samples;
        node_values(node, &mut |value| {
            samples.push(Sample { series, value });
            series += 1;
        });
        self.last.clone_from(&self.observation.samples);
    }

    fn see_house(&mut self, plant: &Plant, now: Time) {
        if self.declared == 0 {
            for key in house_keys(plant) {
                self.declare(key);
            }
        }
        let mut series = 0;
        let samples = &mut self.observation.samples;
        house_values(plant, now, &mut |value| {
            samples.push(Sample { series, value });
            series += 1;
        });
        for (index, service) in plant.services.iter().enumerate() {
            for replica in &service.replicas {
                let first = match self.pods.get(&(index, replica.number)) {
                    Some(first) => *first,
                    None => {
                        let pod = service.pod(replica);
                        let labels = [("namespace", service.spec.namespace.as_str()), ("pod", pod.as_str()), ("container", "main")];
                        let first = self.declare(SeriesKey::new("pod_restarts_total", labels));
                        self.declare(SeriesKey::new("pod_waiting", labels.into_iter().chain([("reason", "CrashLoopBackOff")])));
                        self.pods.insert((index, replica.number), first);
                        first
                    }
                };
                let waits = f64::from(u8::from(replica.is_waiting(now)));
                self.observation.samples.push(Sample { series: first, value: f64::from(replica.restarts) });
                self.observation.samples.push(Sample { series: first + 1, value: waits });
            }
        }
    }
}

fn node_keys(node: &Node) -> Vec<SeriesKey> {
    let name = node.name.as_str();
    let own = |metric: &str| SeriesKey::new(metric, [("node", name)]);
    let mut keys: Vec<SeriesKey> =
        ["node_cpu_busy_ratio", "node_memory_avail_ratio", "node_power_watts", "node_energy_joules_total", "node_uptime_seconds"]
            .map(own)
            .into();
    keys.push(SeriesKey::new("temperature_celsius", [("node", name), ("sensor", "cpu")]));
    for fs in &node.filesystems {
        let labels = [("node", name), ("mountpoint", fs.mountpoint.as_str()), ("device", "/dev/data"), ("fstype", "ext4")];
        keys.push(SeriesKey::new("filesystem_avail_ratio", labels));
        keys.push(SeriesKey::new("filesystem_avail_bytes", labels));
    }
    for disk in &node.disks {
        let serial = format!("{name}-{}", disk.name);
        let labels = [("node", name), ("disk", disk.name.as_str()), ("model", "HD-8T"), ("serial", serial.as_str())];
        for metric in DISK_METRICS {
            keys.push(SeriesKey::new(metric, labels));
        }
    }
    keys
}

const DISK_METRICS: [&str; 7] = [
    "disk_health_passed",
    "disk_pending_sectors",
    "disk_reallocated_sectors",
    "disk_reported_uncorrectable_errors",
    "disk_failure_risk",
    "disk_power_on_seconds",
    "disk_data_bytes",
];

/// Values in the order of [`node_keys`].
fn node_values(node: &Node, push: &mut impl FnMut(f64)) {
    let times = if let Exporter::Lying(factor) = node.exporter { factor } else { 1.0 };
    let used = |ratio: f64| (ratio * times).clamp(0.0, 1.0);
    push(used(node.busy));
    push(1.0 - used(1.0 - node.memory_avail_ratio()));
    push(node.watts);
    push(node.joules);
    push(node.up_seconds);
    push(node.celsius);
    for fs in &node.filesystems {
        let avail = 1.0 - used(1.0 - fs.avail_ratio());
        push(avail);
        push(avail * fs.size_bytes);
    }
    for disk in &node.disks {
        disk_values(disk, push);
    }
}

fn disk_values(disk: &Disk, push: &mut impl FnMut(f64)) {
    push(f64::from(u8::from(disk.passed)));
    push(disk.pending);
    push(disk.reallocated);
    push(disk.reported);
    push(failure_rate(disk.pending));
    push(disk.powered_seconds);
    push(disk.data_bytes);
}

/// The services whose replicas an autoscaler holds; kube-state-metrics names the autoscaler and what it scales.
fn autoscaled(plant: &Plant) -> impl Iterator<Item = &Service> {
    plant.services.iter().filter(|service| matches!(service.spec.owner, Some(Owner::Autoscaler { .. })))
}

fn house_keys(plant: &Plant) -> Vec<SeriesKey> {
    let mut keys: Vec<SeriesKey> = plant.nodes.iter().map(|node| SeriesKey::new("node_up", [("node", node.name.as_str())])).collect();
    for service in &plant.services {
        let name = service.spec.name.as_str();
        for metric in ["service_up", "service_latency_seconds", "service_requests_per_second", "service_replicas", "service_ready_replicas"]
        {
            keys.push(SeriesKey::new(metric, [("service", name)]));
        }
    }
    for service in autoscaled(plant) {
        let (namespace, name) = (service.spec.namespace.as_str(), service.spec.name.as_str());
        let labels = [
            ("namespace", namespace),
            ("horizontalpodautoscaler", name),
            ("scaletargetref_kind", "Deployment"),
            ("scaletargetref_name", name),
        ];
        keys.push(SeriesKey::new("kube_horizontalpodautoscaler_info", labels));
    }
    for queue in &plant.queues {
        let node = plant.nodes[queue.node].name.as_str();
        for metric in ["inference_queue_length", "inference_queue_wait_seconds"] {
            keys.push(SeriesKey::new(metric, [("queue", queue.name.as_str()), ("node", node)]));
        }
    }
    for certificate in &plant.certificates {
        keys.push(SeriesKey::new("certificate_expiry_seconds", [("certificate", certificate.name.as_str())]));
    }
    for volume in &plant.volumes {
        keys.push(SeriesKey::new("volume_copies", [("volume", volume.name.as_str())]));
    }
    for backup in &plant.backups {
        keys.push(SeriesKey::new("backup_age_seconds", [("backup", backup.name.as_str())]));
    }
    keys
}

/// Values in the order of [`house_keys`].
fn house_values(plant: &Plant, now: Time, push: &mut impl FnMut(f64)) {
    let flag = |on: bool| f64::from(u8::from(on));
    plant.nodes.iter().for_each(|node| push(flag(node.answers() && node.power == Power::On)));
    for service in &plant.services {
        push(flag(service.up));
        push(service.latency_seconds);
        push(service.load_rps);
        push(service.replicas.len() as f64);
        push(service.ready(&plant.nodes, now) as f64);
    }
    autoscaled(plant).for_each(|_| push(1.0));
    for queue in &plant.queues {
        push(queue.len() as f64);
        push(queue.wait_seconds(now));
    }
    plant.certificates.iter().for_each(|certificate| push(certificate.days_left(now) * 86_400.0));
    for volume in &plant.volumes {
        push(volume.nodes.iter().filter(|node| plant.nodes[**node].answers()).count() as f64);
    }
    plant.backups.iter().for_each(|backup| push(now.since(backup.made_at).seconds()));
}
