//! What labels are about, which series are about a thing, and whether anything of it can be seen now.
//!
//! One rule for all: a policy's subject, an alert, an incident's place and a brief's readings are of the same thing where the labels are.
//! Deliberately absent: what the values mean, and what hangs on what ([`crate::topology`]). An editor breaks this by changing one way
//! without the way back, or by taking a thing of which nothing is known for one that is seen.

use crate::topology::World;
use homeostat_model::{Alert, Labels, SeriesKey, Target};

/// What a series is about; itself, where its labels name nothing.
pub fn of_series(key: &SeriesKey) -> Target {
    of_labels(&key.labels).unwrap_or_else(|| Target::new(format!("series/{key}")))
}

/// What an alert is about; itself, where its labels name nothing.
pub fn of_alert(alert: &Alert) -> Target {
    of_labels(&alert.labels).unwrap_or_else(|| Target::new(format!("alert/{}", alert.name)))
}

/// The most specific thing that the labels name.
pub fn of_labels(labels: &Labels) -> Option<Target> {
    let host = labels.get("instance").map(|instance| instance.rsplit_once(':').map_or(instance, |(host, _)| host));
    let node = labels.get("node").or(host);
    let text = match (labels.get("mountpoint"), labels.get("disk"), labels.get("pod"), labels.get("certificate"), labels.get("service")) {
        (Some(mountpoint), ..) => format!("filesystem/{}:{mountpoint}", node?),
        (_, Some(disk), ..) => format!("disk/{}:{disk}", node?),
        (_, _, Some(pod), ..) => format!("pod/{}/{pod}", labels.get("namespace").unwrap_or("default")),
        (_, _, _, Some(certificate), _) => format!("certificate/{certificate}"),
        (_, _, _, _, Some(service)) => format!("service/{service}"),
        _ => format!("node/{}", node?),
    };
    Some(Target::new(text))
}

/// Selectors of the series that are about a thing, by the labels that its kind is named by.
pub fn selectors_of(target: &Target) -> Vec<String> {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let name = target.name();
    let two = |first: &str, second: &str, separator: char| {
        name.split_once(separator).map(|(a, b)| format!("{{{first}={},{second}={}}}", quote(a), quote(b))).into_iter().collect()
    };
    match target.kind() {
        "node" => {
            vec![format!("{{node={}}}", quote(name)), format!("{{instance=~{}}}", quote(&format!("{}(:[0-9]+)?", regex::escape(name))))]
        }
        "filesystem" => two("node", "mountpoint", ':'),
        "disk" => two("node", "disk", ':'),
        kind @ ("pod" | "deployment" | "statefulset" | "daemonset") => two("namespace", kind, '/'),
        kind if !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
            vec![format!("{{{kind}={}}}", quote(name))]
        }
        _ => Vec::new(),
    }
}

/// Whether anything about a thing is known now: a series of it has a current sample.
pub fn is_seen(world: &World<'_>, target: &Target) -> bool {
    let reads = selectors_of(target).into_iter().filter_map(|selector| world.read(&selector).ok()).flatten();
    reads.into_iter().any(|(_, read)| read.value.value().is_some())
}
