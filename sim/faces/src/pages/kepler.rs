//! Kepler, both generations: joules by mode (0.9 and earlier), joules and watts by zone (0.10 and later).
//!
//! The plant's watts are package plus dram; a tenth of them is dram's (assumed). Deliberately absent: GPUs and platforms. An editor
//! breaks this by letting zones add up to something else than the plant's watts.

use crate::meter::Meter;
use crate::page::Page;
use homeostat_sim::plant::{Node, Plant};

/// The shares of a node's power; core is part of package.
const PACKAGE: f64 = 0.9;
const DRAM: f64 = 0.1;
const CORE: f64 = 0.55;
const ZONES: [(&str, &str, f64); 3] = [
    ("core", "/sys/class/powercap/intel-rapl:0:0", CORE),
    ("dram", "/sys/class/powercap/intel-rapl:0:2", DRAM),
    ("package", "/sys/class/powercap/intel-rapl:0", PACKAGE),
];

/// A pod on a node and its share of the node's active power.
struct Pod {
    namespace: String,
    name: String,
    share: f64,
}

/// The pods that use a node's processors.
fn pods(plant: &Plant, index: usize) -> Vec<Pod> {
    let node = &plant.nodes[index];
    let mut pods = Vec::new();
    for service in &plant.services {
        let ready = service.ready(&plant.nodes, plant.now()).max(1) as f64;
        let use_each = (service.load_rps / (ready * service.spec.replica_rps)).min(1.0);
        let busy = use_each * service.spec.replica_cores / f64::from(node.machine.cores);
        let here = service.replicas.iter().filter(|r| r.node == index && service.is_ready(r, &plant.nodes, plant.now()));
        pods.extend(here.map(|replica| Pod {
            namespace: service.spec.namespace.clone(),
            name: service.pod(replica),
            share: (busy / node.busy.max(1e-9)).min(1.0),
        }));
    }
    pods
}

/// Watts of being on, and above.
fn watts(node: &Node) -> (f64, f64) {
    let idle = node.machine.idle_watts.min(node.watts);
    (idle, node.watts - idle)
}

/// 0.9 and earlier.
pub(crate) fn old(plant: &Plant, index: usize, meter: &Meter) -> String {
    let node = &plant.nodes[index];
    let mut page = Page::default();
    page.gauge("kepler_exporter_build_info", "A metric with a constant 1 value labeled by version")
        .put(&[("branch", "main"), ("revision", "v0.7.12"), ("version", "v0.7.12")], 1.0);
    page.counter("kepler_node_info", "Aggregated value in  value from os").put(
        &[
            ("components_power_source", "rapl-sysfs"),
            ("cpu_architecture", "Alder Lake"),
            ("platform_power_source", "none"),
            ("source", "os"),
        ],
        1.0,
    );
    for (name, zone, share) in [
        ("kepler_node_core_joules_total", "core", CORE),
        ("kepler_node_dram_joules_total", "dram", DRAM),
        ("kepler_node_package_joules_total", "package", PACKAGE),
    ] {
        page.counter(name, &format!("Aggregated value in {zone} value from rapl-sysfs"));
        for (mode, joules) in [("dynamic", meter.active_joules), ("idle", meter.idle_joules)] {
            let labels = [("instance", node.name.as_str()), ("mode", mode), ("package", "0"), ("source", "rapl-sysfs")];
            page.put(&labels, joules * share);
        }
    }
    page.finish()
}

/// 0.10 and later.
pub(crate) fn new(plant: &Plant, index: usize, meter: &Meter) -> String {
    let node = &plant.nodes[index];
    let (idle, active) = watts(node);
    let name = node.name.as_str();
    let mut page = Page::default();
    page.gauge("kepler_build_info", "A metric with a constant '1' value labeled with version information")
        .put(&[("arch", "amd64"), ("branch", "main"), ("goversion", "go1.24.4"), ("revision", "v0.11.4"), ("version", "v0.11.4")], 1.0);
    let mut zones = |metric: &'static str, kind: &'static str, help: &str, value: f64| {
        page.family(metric, kind, help);
        for (zone, path, share) in ZONES {
            page.put(&[("node_name", name), ("path", path), ("zone", zone)], value * share);
        }
    };
    zones(
        "kepler_node_cpu_active_joules_total",
        "counter",
        "Energy consumption of cpu in active state at node level in joules",
        meter.active_joules,
    );
    zones("kepler_node_cpu_active_watts", "gauge", "Power consumption of cpu in active state at node level in watts", active);
    zones(
        "kepler_node_cpu_idle_joules_total",
        "counter",
        "Energy consumption of cpu in idle state at node level in joules",
        meter.idle_joules,
    );
    zones("kepler_node_cpu_idle_watts", "gauge", "Power consumption of cpu in idle state at node level in watts", idle);
    zones(
        "kepler_node_cpu_joules_total",
        "counter",
        "Energy consumption of cpu at node level in joules",
        meter.active_joules + meter.idle_joules,
    );
    zones("kepler_node_cpu_watts", "gauge", "Power consumption of cpu at node level in watts", active + idle);
    page.gauge("kepler_node_cpu_usage_ratio", "CPU usage ratio of a node (value between 0.0 and 1.0)")
        .put(&[("node_name", name)], node.busy);
    let pods = pods(plant, index);
    if !pods.is_empty() {
        page.gauge("kepler_pod_cpu_watts", "Power consumption of cpu at pod level in watts");
        for pod in &pods {
            let id = format!("{}/{}", pod.namespace, pod.name);
            for (zone, _, share) in ZONES {
                let labels = [
                    ("node_name", name),
                    ("pod_id", id.as_str()),
                    ("pod_name", &pod.name),
                    ("pod_namespace", &pod.namespace),
                    ("state", "running"),
                    ("zone", zone),
                ];
                page.put(&labels, pod.share * active * share);
            }
        }
    }
    page.finish()
}
