//! The lab that ships with the binary: `labs/classic`, its policies and its scenarios' default; and the shipped playbooks.

use crate::lab::{Equipment, Lab};
use homeostat_model::{Playbook, PolicyOverride, PolicySource};

/// The lab file.
pub const CLASSIC: &str = include_str!("../../labs/classic/lab.yaml");
/// The month that `homeostat simulate` plays when it is given no scenario.
pub const MONTH: &str = include_str!("../../labs/classic/month.yaml");

/// What the lab has beside its own where playbooks run.
pub const EQUIPMENT: &str = include_str!("../../labs/classic/playbooks.yaml");

macro_rules! policies {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../labs/classic/policies/", $name, ".rhai")))),*]
    };
}

/// The lab's own policies, by name.
pub const POLICIES: &[(&str, &str)] = policies![
    "certificate-renew",
    "crash-loop",
    "disk-cleanup",
    "disk-evacuate",
    "muscle-sleep",
    "muscle-wake",
    "node-power-cycle",
    "service-restart",
    "service-scale",
];

macro_rules! playbooks {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../playbooks/", $name, ".yaml")))),*]
    };
}

/// The shipped playbooks, by name; a test compares this list with the folder.
pub const PLAYBOOKS: &[(&str, &str)] = playbooks![
    "backup-then-upgrade",
    "certificate-renewal",
    "chaos-drill",
    "crash-loop-first-aid",
    "disk-cleanup",
    "disk-evacuation",
    "nas-maintenance",
    "node-sleep",
    "restore-test",
    "rolling-reboot",
    "scale-for-a-surge",
    "wake-for-work",
];

/// A shipped playbook.
///
/// # Errors
/// There is none of that name, or its file is broken; a test sees to that it is not.
pub fn playbook(name: &str) -> Result<Playbook, String> {
    let known = || PLAYBOOKS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let (_, text) = PLAYBOOKS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| format!("there is no playbook `{name}` (there are: {})", known()))?;
    let playbook: Playbook = serde_saphyr::from_str(text).map_err(|error| format!("the playbook {name}: {error}"))?;
    Ok(Playbook { id: name.to_owned(), ..playbook })
}

/// What the classic lab has beside its own where playbooks run.
///
/// # Errors
/// The shipped file is broken; a test sees to that it is not.
pub fn equipment() -> Result<Equipment, String> {
    Equipment::parse(EQUIPMENT)
}

/// The classic lab.
///
/// # Errors
/// The shipped file is broken; a test sees to that it is not.
pub fn classic() -> Result<Lab, String> {
    Lab::parse(CLASSIC)
}

/// The lab's policies as the kernel takes them.
pub fn policies() -> Vec<PolicySource> {
    let source = |(name, text): &(&str, &str)| PolicySource {
        id: (*name).into(),
        path: format!("labs/classic/policies/{name}.rhai"),
        text: (*text).to_owned(),
        overrides: PolicyOverride::default(),
    };
    POLICIES.iter().map(source).collect()
}
