//! Which series speak of a target, by their labels alone.
//!
//! Deliberately absent: topology. An editor breaks this by letting a series of another target in: the draft's selector is made of what
//! is decided here.

use homeostat_model::{SeriesKey, Target};

/// Labels that name what a target's last part can be.
const NAMES: [&str; 14] = [
    "deployment",
    "statefulset",
    "daemonset",
    "workload",
    "app",
    "service",
    "job",
    "container",
    "name",
    "pod",
    "certificate",
    "disk",
    "unit",
    "room",
];

/// Whether a series is about this target.
pub fn relates(target: &Target, key: &SeriesKey) -> bool {
    let label = |name: &str| key.labels.get(name);
    let host = label("instance").map(|instance| instance.rsplit_once(':').map_or(instance, |(host, _)| host));
    let node = label("node").or(host);
    match target.kind() {
        "node" => node == Some(target.name()),
        "filesystem" => target.name().split_once(':').is_some_and(|(on, mount)| node == Some(on) && label("mountpoint") == Some(mount)),
        "disk" => target.name().split_once(':').is_some_and(|(on, disk)| node == Some(on) && label("disk") == Some(disk)),
        "service" => label("service") == Some(target.name()),
        "" => false,
        _ => match target.name().rsplit_once('/') {
            Some((namespace, name)) => label("namespace") == Some(namespace) && is_named(key, name),
            None => is_named(key, target.name()),
        },
    }
}

fn is_named(key: &SeriesKey, name: &str) -> bool {
    NAMES.iter().any(|label| key.labels.get(label) == Some(name)) || pod_prefix(key, name)
}

/// Pods of a workload are named after it, with an ending of their own: known by that alone, they need a pattern in a selector.
pub(super) fn pod_prefix(key: &SeriesKey, name: &str) -> bool {
    key.labels.get("pod").and_then(|pod| pod.strip_prefix(name)).is_some_and(|ending| ending.starts_with('-') && ending.len() > 1)
}

/// Whether some label other than the pod's own name says that it belongs to the target.
pub(super) fn is_named_for_good(key: &SeriesKey, name: &str) -> bool {
    NAMES.iter().any(|label| *label != "pod" && key.labels.get(label) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_of_their_target_and_of_no_other() {
        let is = |target: &str, labels: &[(&str, &str)]| relates(&target.into(), &SeriesKey::new("m", labels.iter().copied()));
        assert!(is("node/nas", &[("node", "nas")]) && is("node/nas", &[("instance", "nas:9100")]));
        assert!(!is("node/nas", &[("node", "nas2")]) && !is("node/nas", &[]));
        assert!(is("filesystem/nas:/", &[("node", "nas"), ("mountpoint", "/")]) && !is("filesystem/nas:/", &[("node", "nas")]));
        let pod = [("namespace", "media"), ("pod", "jellyfin-6d4-x2")];
        assert!(is("deployment/media/jellyfin", &pod) && !is("deployment/media/jelly", &pod) && !is("deployment/shop/jellyfin", &pod));
        assert!(!is("deployment/media/jellyfin", &[("namespace", "media"), ("pod", "jellyfinder-6d4")]));
        assert!(is("service/web", &[("service", "web")]) && !is("jellyfin", &[("app", "jellyfin")]));
    }
}
