//! The lab that ships with the binary: `labs/classic`, its policies and its scenarios' default.

use crate::lab::Lab;
use homeostat_model::{PolicyOverride, PolicySource};

/// The lab file.
pub const CLASSIC: &str = include_str!("../../labs/classic/lab.yaml");
/// The month that `homeostat simulate` plays when it is given no scenario.
pub const MONTH: &str = include_str!("../../labs/classic/month.yaml");

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
