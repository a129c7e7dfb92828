//! What an alert or a symptom is about, and which of these belong together.
//!
//! The most specific thing that labels name, as the kernel finds a wish's target (`kernel::evaluating`), so that an alert, the policy
//! that saw the same, and what was done stand in one incident. Deliberately absent: topology; that two nodes fail for one reason is
//! not known here. An editor breaks this by naming a target otherwise than the kernel does: `tests` compares both.

use homeostat_authoring::suite::notation;
use homeostat_model::{Alert, Labels, Target};

/// What an alert is about.
pub fn of_alert(alert: &Alert) -> Target {
    of_labels(&alert.labels).unwrap_or_else(|| Target::new(format!("alert/{}", alert.name)))
}

/// What a symptom is about: `filesystem_avail_ratio{node="nas",mountpoint="/"}`; `None`: it names no series, or nothing by labels.
pub fn of_symptom(symptom: &str) -> Option<Target> {
    of_labels(&notation::series_key(symptom).ok()?.labels)
}

/// The most specific thing that the labels name.
fn of_labels(labels: &Labels) -> Option<Target> {
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

/// Where a target is: parts of a node (filesystems, disks) are at the node, all else at itself. What is at one place is one incident.
pub fn place(target: &Target) -> Target {
    match (target.kind(), target.name().split_once(':')) {
        ("filesystem" | "disk", Some((node, _))) if !node.is_empty() => Target::new(format!("node/{node}")),
        _ => target.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_node_are_at_the_node() {
        let at = |symptom: &str| of_symptom(symptom).map(|target| place(&target).to_string());
        assert_eq!(at("filesystem_avail_ratio{node=\"nas\",mountpoint=\"/\"}").as_deref(), Some("node/nas"));
        assert_eq!(at("disk_celsius{instance=\"nas:9100\",disk=\"sda\"}").as_deref(), Some("node/nas"));
        assert_eq!(at("service_up{service=\"https://git.lab\"}").as_deref(), Some("service/https://git.lab"));
        assert_eq!(at("pod_restarts_total{pod=\"web-0\",namespace=\"shop\",node=\"nas\"}").as_deref(), Some("pod/shop/web-0"));
        assert_eq!((at("room_celsius"), at("alert/Fan/f1"), at("no series {")), (None, None, None));
    }
}
