//! The experiments of Chaos Mesh on machines: cloud instances and physical machines.
//!
//! They are read and checked like all others, inside Schedules and Workflows too, but `chaos.run` refuses them: they select no pods, so
//! nothing here can say how much they hit. An editor breaks this by making one runnable without counting what it hits.

use super::data::{Expression, Mode, data, words};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

words! {
    /// What happens to the instance.
    AwsAction {
        /// stopped for the duration
        Stop = "ec2-stop",
        /// restarted
        Restart = "ec2-restart",
        /// its volume is taken away
        DetachVolume = "detach-volume",
    }
}
data! {
    /// An EC2 instance suffers.
    AwsChaos {
        /// What happens to it.
        action: AwsAction,
        /// Where.
        aws_region: String,
        /// Which.
        ec2_instance: String,
        ;
        /// How long.
        duration: String,
        /// Another cluster's name.
        remote_cluster: String,
        /// The secret with the key.
        secret_name: String,
        /// Another endpoint.
        endpoint: String,
        /// Which volume.
        #[serde(rename = "volumeID")]
        volume_id: String,
        /// Which device.
        device_name: String,
    }
}

words! {
    /// What happens to the machine.
    AzureAction {
        /// stopped for the duration
        Stop = "vm-stop",
        /// restarted
        Restart = "vm-restart",
        /// its disk is taken away
        DiskDetach = "disk-detach",
    }
}
data! {
    /// An Azure machine suffers.
    AzureChaos {
        /// What happens to it.
        action: AzureAction,
        /// Whose.
        #[serde(rename = "subscriptionID")]
        subscription_id: String,
        /// In which group.
        resource_group_name: String,
        /// Which.
        vm_name: String,
        ;
        /// How long.
        duration: String,
        /// Another cluster's name.
        remote_cluster: String,
        /// The secret with the key.
        secret_name: String,
        /// Which disk.
        disk_name: String,
        /// Its number.
        lun: i64,
    }
}

words! {
    /// What happens to the instance.
    GcpAction {
        /// stopped for the duration
        Stop = "node-stop",
        /// reset
        Reset = "node-reset",
        /// its disks are taken away
        DiskLoss = "disk-loss",
    }
}
data! {
    /// A GCP instance suffers.
    GcpChaos {
        /// What happens to it.
        action: GcpAction,
        /// Whose.
        project: String,
        /// Where.
        zone: String,
        /// Which.
        instance: String,
        ;
        /// How long.
        duration: String,
        /// Another cluster's name.
        remote_cluster: String,
        /// The secret with the key.
        secret_name: String,
        /// Which disks.
        device_names: Vec<String>,
    }
}

data! {
    /// Which physical machines.
    #[derive(Default)]
    MachineSelector {
        ;
        /// Namespaces of their objects.
        namespaces: Vec<String>,
        /// Labels with their values.
        label_selectors: BTreeMap<String, String>,
        /// Annotations with their values.
        annotation_selectors: BTreeMap<String, String>,
        /// Fields.
        field_selectors: BTreeMap<String, String>,
        /// Label expressions.
        expression_selectors: Vec<Expression>,
        /// Names by namespace.
        physical_machines: BTreeMap<String, Vec<String>>,
    }
}

/// A physical machine suffers. What exactly stands under the key named as the action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalMachineChaos {
    /// What happens: one of [`MACHINE_ACTIONS`].
    pub action: String,
    /// How many of the selected machines.
    pub mode: Mode,
    /// The number or percentage that `mode` asks for, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Which machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<MachineSelector>,
    /// The machines' addresses instead; deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Vec<String>>,
    /// Another cluster's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_cluster: Option<String>,
    /// Chaos Mesh's own number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The action's own fields, under its name; nothing else is allowed.
    #[serde(flatten)]
    pub details: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

/// What can happen to a physical machine.
pub const MACHINE_ACTIONS: [&str; 39] = [
    "stress-cpu",
    "stress-mem",
    "disk-read-payload",
    "disk-write-payload",
    "disk-fill",
    "network-corrupt",
    "network-duplicate",
    "network-loss",
    "network-delay",
    "network-partition",
    "network-dns",
    "network-bandwidth",
    "network-flood",
    "network-down",
    "process",
    "jvm-exception",
    "jvm-gc",
    "jvm-latency",
    "jvm-return",
    "jvm-stress",
    "jvm-rule-data",
    "jvm-mysql",
    "clock",
    "redis-expiration",
    "redis-penetration",
    "redis-cacheLimit",
    "redis-restart",
    "redis-stop",
    "kafka-fill",
    "kafka-flood",
    "kafka-io",
    "file-create",
    "file-modify",
    "file-delete",
    "file-rename",
    "file-append",
    "file-replace",
    "vm",
    "user_defined",
];
