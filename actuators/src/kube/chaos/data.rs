//! The experiments of Chaos Mesh v2.8 (`chaos-mesh.org/v1alpha1`) on pods, network and load, as typed data.
//!
//! Field names and kinds are those of the CustomResourceDefinitions; unknown fields are refused, so that a misspelt bound is not a
//! missing bound. The other kinds on pods are in [`super::inside`], those on machines in
//! [`super::machines`], those made of others in [`super::compose`]; what values are allowed is in [`super::rules`]. Deliberately absent: the three internal kinds (`PodNetworkChaos` …). An editor breaks this by adding a field that
//! the definitions do not have: the server would drop it silently.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A struct with fields that must be there and fields that may; camel case, nothing unknown.
macro_rules! data {
    ($(#[$doc:meta])* $name:ident { $($(#[$must_doc:meta])* $must:ident: $must_type:ty),* $(,)? ; $($(#[$may_doc:meta])* $may:ident: $may_type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$must_doc])* pub $must: $must_type,)*
            $($(#[$may_doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $may: Option<$may_type>,)*
        }
    };
}
/// The same with what every experiment on pods has.
macro_rules! experiment {
    ($(#[$doc:meta])* $name:ident { $($(#[$must_doc:meta])* $must:ident: $must_type:ty),* $(,)? ; $($(#[$may_doc:meta])* $may:ident: $may_type:ty),* $(,)? }) => {
        data! {
            $(#[$doc])*
            $name {
                /// How many of the selected pods are hit.
                mode: Mode,
                /// Which pods may be hit.
                selector: Selector,
                $($(#[$must_doc])* $must: $must_type,)*
                ;
                /// The number or percentage that `mode` asks for, as text.
                value: String,
                /// How long it lasts, as a Go duration (`90s`), counted from creation. None: until it is deleted.
                duration: String,
                /// Another cluster's name.
                remote_cluster: String,
                $($(#[$may_doc])* $may: $may_type,)*
            }
        }
    };
}
/// A choice among words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$word_doc])* #[serde(rename = $text)] $word),* }
    };
}
pub(super) use {data, experiment, words};

words! {
    /// How many of the selected pods are hit.
    Mode {
        /// one, by chance
        One = "one",
        /// all
        All = "all",
        /// as many as `value` says
        Fixed = "fixed",
        /// as many per cent as `value` says
        FixedPercent = "fixed-percent",
        /// by chance, at most as many per cent as `value` says
        RandomMaxPercent = "random-max-percent",
    }
}

data! {
    /// Which pods; all that is given must fit. Without namespaces Chaos Mesh takes the experiment's own.
    #[derive(Default)]
    Selector {
        ;
        /// Namespaces.
        namespaces: Vec<String>,
        /// Labels with their values.
        label_selectors: BTreeMap<String, String>,
        /// Annotations with their values.
        annotation_selectors: BTreeMap<String, String>,
        /// Fields such as `metadata.name`.
        field_selectors: BTreeMap<String, String>,
        /// Label expressions.
        expression_selectors: Vec<Expression>,
        /// Node names.
        nodes: Vec<String>,
        /// Labels of nodes.
        node_selectors: BTreeMap<String, String>,
        /// Pod names by namespace; then nothing else counts.
        pods: BTreeMap<String, Vec<String>>,
        /// Phases such as `Running`.
        pod_phase_selectors: Vec<String>,
    }
}
data! {
    /// One label expression.
    Expression {
        /// The label.
        key: String,
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        operator: String,
        ;
        /// The values, for the first two.
        values: Vec<String>,
    }
}

words! {
    /// What happens to the pods.
    PodAction {
        /// deleted; their controller makes new ones
        PodKill = "pod-kill",
        /// kept from running for the duration
        PodFailure = "pod-failure",
        /// one container is killed
        ContainerKill = "container-kill",
    }
}
experiment! {
    /// Pods die.
    PodChaos {
        /// What happens to them.
        action: PodAction,
        ;
        /// Seconds between TERM and KILL.
        grace_period: i64,
        /// Containers; needed for `container-kill`.
        container_names: Vec<String>,
    }
}

words! {
    /// What happens to packets.
    NetworkAction {
        /// several at once
        Netem = "netem",
        /// late
        Delay = "delay",
        /// lost
        Loss = "loss",
        /// doubled
        Duplicate = "duplicate",
        /// garbled
        Corrupt = "corrupt",
        /// none passes
        Partition = "partition",
        /// few pass
        Bandwidth = "bandwidth",
    }
}
words! {
    /// Which way.
    Direction {
        /// from the selected pods to the target
        To = "to",
        /// from the target to the selected pods
        From = "from",
        /// both
        Both = "both",
    }
}
experiment! {
    /// Packets suffer.
    NetworkChaos {
        /// What happens to them.
        action: NetworkAction,
        ;
        /// For `delay` and `netem`.
        delay: Delay,
        /// For `loss` and `netem`.
        loss: Loss,
        /// For `duplicate` and `netem`.
        duplicate: Duplicate,
        /// For `corrupt` and `netem`.
        corrupt: Corrupt,
        /// For `netem`.
        rate: Rate,
        /// For `bandwidth`.
        bandwidth: Bandwidth,
        /// Which way; `to` if not given.
        direction: Direction,
        /// The other side's pods.
        target: NetworkTarget,
        /// The other side outside the cluster: addresses, networks or names, with a port or without.
        external_targets: Vec<String>,
        /// The selected pods' network interface.
        device: String,
        /// The target pods' network interface.
        target_device: String,
    }
}
data! {
    /// Late packets.
    Delay {
        /// How late: `200ms`.
        latency: String,
        ;
        /// More or less.
        jitter: String,
        /// Per cent, as text.
        correlation: String,
        /// Some overtake.
        reorder: Reorder,
    }
}
data! {
    /// Packets that overtake.
    Reorder {
        /// Per cent, as text.
        reorder: String,
        /// Packets between two.
        gap: i64,
        ;
        /// Per cent, as text.
        correlation: String,
    }
}
data! {
    /// Lost packets.
    Loss {
        /// Per cent, as text.
        loss: String,
        ;
        /// Per cent, as text.
        correlation: String,
    }
}
data! {
    /// Doubled packets.
    Duplicate {
        /// Per cent, as text.
        duplicate: String,
        ;
        /// Per cent, as text.
        correlation: String,
    }
}
data! {
    /// Garbled packets.
    Corrupt {
        /// Per cent, as text.
        corrupt: String,
        ;
        /// Per cent, as text.
        correlation: String,
    }
}
data! {
    /// A rate.
    Rate {
        /// `1mbps`.
        rate: String,
        ;
    }
}
data! {
    /// A token bucket.
    Bandwidth {
        /// `1mbps`.
        rate: String,
        /// Bytes that may wait.
        limit: i64,
        /// Bytes of the bucket.
        buffer: i64,
        ;
        /// Bytes a second at most.
        peakrate: i64,
        /// Bytes of the peak's bucket.
        minburst: i64,
    }
}
data! {
    /// The other side of a NetworkChaos.
    NetworkTarget {
        /// How many of them.
        mode: Mode,
        /// Which pods.
        selector: Selector,
        ;
        /// The number or percentage that `mode` asks for, as text.
        value: String,
    }
}

experiment! {
    /// Processors or memory are busy.
    StressChaos {
        ;
        /// What is busy.
        stressors: Stressors,
        /// Arguments of stress-ng instead.
        stressng_stressors: String,
        /// Containers; the first if not given.
        container_names: Vec<String>,
    }
}
data! {
    /// What is busy.
    Stressors {
        ;
        /// Processors.
        cpu: CpuStressor,
        /// Memory.
        memory: MemoryStressor,
    }
}
data! {
    /// Busy processors.
    CpuStressor {
        /// Threads.
        workers: i64,
        ;
        /// Per cent of each.
        load: i64,
        /// More arguments of stress-ng.
        options: Vec<String>,
    }
}
data! {
    /// Busy memory.
    MemoryStressor {
        /// Threads.
        workers: i64,
        ;
        /// How much: `256MB`, `25%`.
        size: String,
        /// Who dies first; -1000 to 1000.
        oom_score_adj: i64,
        /// More arguments of stress-ng.
        options: Vec<String>,
    }
}
