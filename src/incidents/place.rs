//! What a symptom is about, and which things are at one place.
//!
//! Labels are read as the kernel reads them ([`homeostat_kernel::about`]), so that an alert, the policy that saw the same, and what was
//! done stand in one incident. Deliberately absent: topology; that two nodes fail for one reason is not known here. An editor breaks
//! this by naming a target otherwise than the kernel does: `tests` compares both.

use homeostat_authoring::suite::notation;
use homeostat_kernel::about::of_labels;
use homeostat_model::Target;

/// What a symptom is about: `filesystem_avail_ratio{node="nas",mountpoint="/"}`; `None`: it names no series, or nothing by labels.
pub fn of_symptom(symptom: &str) -> Option<Target> {
    of_labels(&notation::series_key(symptom).ok()?.labels)
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
