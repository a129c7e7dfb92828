//! What the plant's services and disks say of themselves beside the standard exporters: queues, copies, latency, data on disks.
//!
//! The raw names are those that the plant's sight has in virtual time. Deliberately absent: whatever blackbox, kube-state-metrics or an exporter
//! shows already. An editor breaks this by showing the state of something whose node does not answer.

use crate::page::Page;
use homeostat_sim::plant::{Plant, Service};

pub(crate) fn render(plant: &Plant) -> String {
    let mut page = Page::default();
    let mut each = |name, help: &str, value: &dyn Fn(&Service) -> f64| {
        page.gauge(name, help);
        for service in &plant.services {
            page.put(&[("service", &service.spec.name)], value(service));
        }
    };
    each("service_latency_seconds", "The time that a request takes.", &|service| service.latency_seconds);
    each("service_ready_replicas", "Replicas that serve.", &|service| service.ready(&plant.nodes, plant.now()) as f64);
    each("service_replicas", "Replicas that shall be.", &|service| service.replicas.len() as f64);
    each("service_requests_per_second", "What is asked of the service.", &|service| service.load_rps);
    if !plant.queues.is_empty() {
        let mut each = |name, help: &str, value: &dyn Fn(&homeostat_sim::plant::Queue) -> f64| {
            page.gauge(name, help);
            for queue in &plant.queues {
                page.put(&[("queue", &queue.name), ("node", &plant.nodes[queue.node].name)], value(queue));
            }
        };
        each("inference_queue_length", "Jobs that are not done.", &|queue| queue.len() as f64);
        each("inference_queue_wait_seconds", "How long the oldest waiting job has waited.", &|queue| queue.wait_seconds(plant.now()));
    }
    if !plant.volumes.is_empty() {
        page.gauge("volume_copies", "Copies of a volume that can be reached.");
        for volume in &plant.volumes {
            let copies = volume.nodes.iter().filter(|node| plant.nodes[**node].answers()).count();
            page.put(&[("volume", &volume.name)], copies as f64);
        }
    }
    page.gauge("disk_data_bytes", "Data on a disk.");
    for node in plant.nodes.iter().filter(|node| node.answers()) {
        for disk in node.disks.iter().filter(|disk| !disk.dead) {
            let serial = super::smart::serial(node, disk);
            let labels = [("node", node.name.as_str()), ("disk", &disk.name), ("model", super::smart::MODEL), ("serial", &serial)];
            page.put(&labels, disk.data_bytes);
        }
    }
    page.finish()
}
