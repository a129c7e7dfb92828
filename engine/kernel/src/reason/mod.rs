//! What reasoners are told, and how their answers are read. Pure: from the windows, the ledger and the rules to a [`homeostat_model::Brief`],
//! and from an answer's JSON to a [`homeostat_model::Pick`] of that brief, or to why there is none.
//!
//! Deliberately absent: asking (the daemon), redaction (it is done where a cloud is asked), trust (the arbiter). An editor breaks this by
//! letting text from workloads into the facts, or by giving a model a name to fill in where a number would do.

pub mod catalogue;
pub mod words;

/// The labels that name things: no other is told as a fact, and no cloud is told what these hold.
pub const NAMING_LABELS: [&str; 14] = [
    "node",
    "instance",
    "mountpoint",
    "disk",
    "device",
    "pod",
    "namespace",
    "deployment",
    "statefulset",
    "daemonset",
    "service",
    "job",
    "sensor",
    "certificate",
];
