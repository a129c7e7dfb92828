//! The label half of the normaliser: from a raw series' labels to a signal's. Runs once per declared series, never per value.
//!
//! Deliberately absent: numbers. An editor breaks this by taking the label of the thing that scraped (kube-state-metrics' own
//! `pod`) for the thing that is described (`exported_pod`), or by a node name that differs between two sources.

use super::rules::Shape;
use homeostat_model::Labels;
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of filesystem that are not storage, or are full by nature.
const PSEUDO_FILESYSTEMS: [&str; 24] = [
    "tmpfs",
    "ramfs",
    "overlay",
    "squashfs",
    "iso9660",
    "erofs",
    "cramfs",
    "udf",
    "devtmpfs",
    "devfs",
    "autofs",
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "nsfs",
    "efivarfs",
    "fuse.lxcfs",
    "fuse.gvfsd-fuse",
    "fuse.portal",
    "rpc_pipefs",
    "tracefs",
    "configfs",
    "rootfs",
];
/// Words in a job's name that say that it scrapes nodes: `node`, `node-exporter`, `kubernetes-nodes`, `integrations/unix` …
const NODE_JOB_WORDS: [&str; 5] = ["node", "nodes", "nodeexporter", "unix", "windows"];

/// Stands for `up` in a join; no device or pod has this name.
const UP: &str = "\u{1}up";

/// What several raw series say together about labels.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The node that the sensor is configured for; wins over `instance`.
    node: Option<String>,
    /// Jobs that scrape nodes, beside those whose name says so.
    node_jobs: Vec<String>,
    /// Scrape targets that turned out to be nodes, by scope.
    node_targets: BTreeSet<String>,
    /// Model, serial number and whether it is NVMe, by scope and device.
    disks: BTreeMap<(String, String), Disk>,
    /// Namespace and name by scope and pod id.
    pods: BTreeMap<(String, String), (String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Disk {
    model: String,
    serial: String,
    nvme: bool,
}

impl Known {
    /// Nothing known but the configuration.
    pub(super) fn new(node: Option<String>, node_jobs: Vec<String>) -> Known {
        Known { node, node_jobs, ..Known::default() }
    }

    /// Forgets the world, keeps the configuration.
    pub(super) fn clear(&mut self) {
        self.node_targets.clear();
        self.disks.clear();
        self.pods.clear();
    }

    /// Learns from a series that describes others. Returns the join (see [`join`]) whose derived labels change by it.
    pub(super) fn learn(&mut self, metric: &str, labels: &Labels) -> Option<(String, String)> {
        let text = |name| labels.get(name).unwrap_or("").to_owned();
        match metric {
            // Whatever has a boot time is a node, whatever its job is called.
            "node_boot_time_seconds" => {
                let scope = scope(labels);
                self.node_targets.insert(scope.clone()).then(|| (scope, UP.to_owned()))
            }
            "smartctl_device" => {
                let nvme = text("interface").contains("nvme") || text("protocol") == "NVMe";
                let disk = Disk { model: text("model_name"), serial: text("serial_number"), nvme };
                let key = (scope(labels), disk_name(labels)?.to_owned());
                (self.disks.insert(key.clone(), disk.clone()) != Some(disk)).then_some(key)
            }
            "kepler_pod_cpu_watts" | "kepler_pod_cpu_joules_total" => {
                let key = (scope(labels), text("pod_id"));
                let pod = (text("pod_namespace"), text("pod_name"));
                (!pod.1.is_empty() && self.pods.insert(key.clone(), pod.clone()) != Some(pod)).then_some(key)
            }
            _ => None,
        }
    }

    /// The derived labels; `None` where the rule has nothing to say about this series.
    pub(super) fn shape(&self, shape: Shape, labels: &Labels) -> Option<Labels> {
        let get = |name| labels.get(name).unwrap_or("");
        let node = self.node_of(labels);
        let job_words = || get("job").split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
        let is_node_job = || {
            job_words().any(|word| NODE_JOB_WORDS.contains(&&*word))
                || self.node_jobs.iter().any(|job| job == get("job"))
                || self.node_targets.contains(&scope(labels))
        };
        let pairs: Vec<(&str, String)> = match shape {
            Shape::Node => vec![("node", node)],
            Shape::NodeJob if is_node_job() => vec![("node", node)],
            Shape::NodeJob => return None,
            Shape::ServiceJob if is_node_job() || get("job").is_empty() || job_words().any(|w| w == "blackbox") => return None,
            Shape::ServiceJob => vec![("service", get("job").to_owned()), ("node", node)],
            Shape::Probe => vec![("service", self.probed(labels)), ("node", node)],
            Shape::Unit if !get("name").ends_with(".service") => return None,
            Shape::Unit => vec![("service", get("name").to_owned()), ("node", node)],
            Shape::KubeNode => vec![("node", exported(labels, "node").to_owned())],
            Shape::Pressure(resource) => vec![("node", node), ("resource", resource.to_owned())],
            Shape::Filesystem if PSEUDO_FILESYSTEMS.contains(&get("fstype")) => return None,
            Shape::Filesystem => with(&["mountpoint", "device", "fstype"], labels, node),
            Shape::Hwmon => vec![("sensor", format!("{}/{}", get("chip"), get("sensor"))), ("node", node)],
            Shape::ThermalZone => vec![("sensor", format!("{}/{}", get("type"), get("zone"))), ("node", node)],
            Shape::Zone(zone) => vec![("zone", zone.to_owned()), ("node", node)],
            Shape::ZoneLabel => vec![("zone", zone_name(labels)?.to_owned()), ("node", node)],
            Shape::Pod => vec![("namespace", get("pod_namespace").to_owned()), ("pod", named(labels, "pod_name")?), ("node", node)],
            Shape::PodOfContainer => {
                vec![("namespace", get("container_namespace").to_owned()), ("pod", named(labels, "pod_name")?), ("node", node)]
            }
            Shape::Container => {
                let (namespace, pod) = self.pods.get(&(scope(labels), get("pod_id").to_owned())).cloned().unwrap_or_default();
                vec![("container", named(labels, "container_name")?), ("namespace", namespace), ("pod", pod), ("node", node)]
            }
            Shape::OldContainer => vec![
                ("container", named(labels, "container_name")?),
                ("namespace", get("container_namespace").to_owned()),
                ("pod", get("pod_name").to_owned()),
                ("node", node),
            ],
            Shape::Disk => self.disk_labels(labels, node)?,
            Shape::Nvme if !self.is_nvme(labels) => return None,
            Shape::Nvme => self.disk_labels(labels, node)?,
            Shape::ProbedCertificate => vec![("certificate", self.probed(labels)), ("source", "blackbox".into()), ("node", node)],
            Shape::ManagedCertificate => {
                let certificate = format!("{}/{}", exported(labels, "namespace"), exported(labels, "name"));
                vec![("certificate", certificate), ("source", "cert-manager".into())]
            }
            Shape::KubeletCertificate(name) => vec![("certificate", name.into()), ("source", "kubelet".into()), ("node", node)],
            Shape::PodContainer => pod_labels(&["namespace", "pod", "container"], labels),
            Shape::PodContainerReason => pod_labels(&["namespace", "pod", "container", "reason"], labels),
        };
        Some(Labels::new(pairs))
    }

    /// The node: as configured, else the label `node`, Kepler's `node_name`, its renamed `instance`, else the host in `instance`.
    fn node_of(&self, labels: &Labels) -> String {
        if let Some(node) = &self.node {
            return node.clone();
        }
        if let Some(node) = labels.get("node").or_else(|| labels.get("node_name")) {
            return node.to_owned();
        }
        host_part(exported(labels, "instance")).to_owned()
    }

    /// What a probe probed.
    fn probed(&self, labels: &Labels) -> String {
        let target = labels.get("target").or_else(|| labels.get("instance"));
        target.map_or_else(|| self.node.clone().unwrap_or_default(), str::to_owned)
    }

    fn is_nvme(&self, labels: &Labels) -> bool {
        let Some(device) = disk_name(labels) else { return false };
        device.starts_with("nvme") || self.disks.get(&(scope(labels), device.to_owned())).is_some_and(|disk| disk.nvme)
    }

    fn disk_labels(&self, labels: &Labels, node: String) -> Option<Vec<(&'static str, String)>> {
        let device = disk_name(labels)?;
        let mut pairs = vec![("node", node), ("disk", device.to_owned())];
        if let Some(disk) = self.disks.get(&(scope(labels), device.to_owned())) {
            pairs.extend([("model", disk.model.clone()), ("serial", disk.serial.clone())]);
        }
        Some(pairs)
    }
}

/// The join that a series' derived labels rest on: its scope and the device or pod that another series describes.
pub(super) fn join(shape: Shape, labels: &Labels) -> Option<(String, String)> {
    match shape {
        Shape::Disk | Shape::Nvme => Some((scope(labels), disk_name(labels)?.to_owned())),
        Shape::NodeJob | Shape::ServiceJob => Some((scope(labels), UP.to_owned())),
        Shape::Container => Some((scope(labels), labels.get("pod_id")?.to_owned())),
        _ => None,
    }
}

/// The scrape target that a series came from: devices and pod ids are unique within it.
fn scope(labels: &Labels) -> String {
    let get = |name| labels.get(name).unwrap_or("");
    format!("{}\u{1}{}\u{1}{}", get("job"), get("instance"), get("node_name"))
}

/// `sda`, whether the exporter says `sda` (since 0.10) or `/dev/sda`.
fn disk_name(labels: &Labels) -> Option<&str> {
    labels.get("device").map(|device| device.strip_prefix("/dev/").unwrap_or(device))
}

/// `package` of `package-0`.
fn zone_name(labels: &Labels) -> Option<&str> {
    let zone = labels.get("zone").or_else(|| labels.get("rapl_zone"))?;
    Some(zone.split('-').next().unwrap_or(zone))
}

/// A label that must not be empty.
fn named(labels: &Labels, name: &str) -> Option<String> {
    labels.get(name).map(str::to_owned)
}

/// The described object's label: Prometheus renames it where the scraped target has one of that name.
fn exported<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.get(&format!("exported_{name}")).or_else(|| labels.get(name)).unwrap_or("")
}

fn pod_labels<'n>(names: &[&'n str], labels: &Labels) -> Vec<(&'n str, String)> {
    names.iter().map(|name| (*name, exported(labels, name).to_owned())).collect()
}

fn with<'n>(names: &[&'n str], labels: &Labels, node: String) -> Vec<(&'n str, String)> {
    let taken = names.iter().map(|name| (*name, labels.get(name).unwrap_or("").to_owned()));
    taken.chain([("node", node)]).collect()
}

/// The host of `host:port`, `[::1]:port`, `https://user@host:port/path` or a bare name.
fn host_part(instance: &str) -> &str {
    let rest = instance.split_once("://").map_or(instance, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if let Some(inner) = rest.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match rest.split_once(':') {
        // More than one colon and no brackets: a bare IPv6 address.
        Some((_, after)) if after.contains(':') => rest,
        Some((host, _)) => host,
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::host_part;

    #[test]
    fn the_host_is_taken_out_of_any_instance() {
        for (instance, host) in [
            ("nas:9100", "nas"),
            ("brain", "brain"),
            ("10.0.0.4:9100", "10.0.0.4"),
            ("[fd00::1]:9100", "fd00::1"),
            ("fd00::1", "fd00::1"),
            ("https://a:b@lab.example:8443/x?y=z:1", "lab.example"),
            ("", ""),
        ] {
            assert_eq!(host_part(instance), host, "{instance}");
        }
    }
}
