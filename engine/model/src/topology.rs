//! What hangs on what, as settings: links that people wrote down, and rules that read links, owners and health out of series.
//!
//! Plain data; the kernel builds the graph from it and from the windows whenever a ruling needs it, so a replay builds the same
//! one. Deliberately absent: the graph itself, and anything that asks a cluster. An editor breaks this by changing what an edge
//! means: guards decide by it.

use crate::{Relation, Target};
use serde::{Deserialize, Serialize};

/// How one target hangs on another. Of `depends_on` it needs all, of each other kind at least one: a volume with three `stores_on`
/// survives the loss of two, a deployment lives while one of its pods runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// It does not work without the other.
    DependsOn,
    /// It runs there; several of these are replicas.
    RunsOn,
    /// Its data is kept there; several of these are copies.
    StoresOn,
    /// It gets its power there; several of these are redundant supplies.
    PoweredBy,
}

impl Edge {
    /// All kinds.
    pub const ALL: [Edge; 4] = [Edge::DependsOn, Edge::RunsOn, Edge::StoresOn, Edge::PoweredBy];

    /// The name used in configuration and texts.
    pub fn name(self) -> &'static str {
        match self {
            Edge::DependsOn => "depends_on",
            Edge::RunsOn => "runs_on",
            Edge::StoresOn => "stores_on",
            Edge::PoweredBy => "powered_by",
        }
    }
}

/// One link that is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What hangs, `service/photos`.
    pub from: Target,
    /// How.
    pub edge: Edge,
    /// On what, `node/nas`.
    pub to: Target,
}

/// Reads one link out of each series that a selector names. Texts in braces are label names: `pod/{namespace}/{pod}`. A series
/// whose newest value is 0, that has ended, or that lacks one of the labels gives no link; one that is stale still does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkRule {
    /// A PromQL vector selector.
    pub series: String,
    /// What hangs.
    pub from: String,
    /// How.
    pub edge: Edge,
    /// On what.
    pub to: String,
    /// Only where `to` itself hangs on something: an old replica set without pods carries nothing.
    #[serde(default)]
    pub if_supported: bool,
}

/// Reads who else steers a field of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnerRule {
    /// A PromQL vector selector.
    pub series: String,
    /// The target, with labels in braces; `*` stands for anything.
    pub target: String,
    /// The verbs that write the field: `scale.*`.
    pub verbs: Vec<String>,
    /// The field, for people: `replicas`.
    pub field: String,
    /// The owner, for people, with labels in braces.
    pub owner: String,
    /// What to do instead.
    pub instead: String,
}

/// Reads whether a target is healthy. Where several series speak of one target, all must say so; a stale one makes it unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthRule {
    /// A PromQL vector selector.
    pub series: String,
    /// The target, with labels in braces.
    pub target: String,
    /// Healthy is on this side …
    pub relation: Relation,
    /// … of this threshold, in the series' unit.
    pub threshold: f64,
}

/// Members of which a number must be up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Its name, `etcd`.
    pub name: String,
    /// The members.
    pub members: Vec<Target>,
    /// How many must be up; none: more than half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<u32>,
}

impl Quorum {
    /// How many must be up.
    pub fn needed(&self) -> usize {
        self.need.map_or(self.members.len() / 2 + 1, |need| need as usize)
    }
}

/// Everything the topology is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopologySettings {
    /// Links that are written down.
    pub links: Vec<Link>,
    /// Links that are read.
    pub rules: Vec<LinkRule>,
    /// Who else steers what.
    pub owners: Vec<OwnerRule>,
    /// What is healthy.
    pub healthy: Vec<HealthRule>,
    /// Members of which a number must be up.
    pub quorums: Vec<Quorum>,
    /// Targets in all; what is beyond is left out, and then nothing that takes something down is let through.
    pub targets_max: u32,
    /// Links in all; the same.
    pub links_max: u32,
}

impl Default for TopologySettings {
    fn default() -> TopologySettings {
        TopologySettings {
            links: Vec::new(),
            rules: Vec::new(),
            owners: Vec::new(),
            healthy: Vec::new(),
            quorums: Vec::new(),
            targets_max: 20_000,
            links_max: 100_000,
        }
    }
}

impl TopologySettings {
    /// The rules that ship: kube-state-metrics, Longhorn's replicas, horizontal pod autoscalers, and `node_up`. Metric and label
    /// names as in kube-state-metrics' documentation and Longhorn's list of metrics.
    pub fn shipped() -> TopologySettings {
        let link = |series: &str, from: &str, edge, to: &str| LinkRule {
            series: series.into(),
            from: from.into(),
            edge,
            to: to.into(),
            if_supported: false,
        };
        let mut rules = vec![
            link(r#"kube_pod_info{node!=""}"#, "pod/{namespace}/{pod}", Edge::RunsOn, "node/{node}"),
            link(
                r#"kube_pod_owner{owner_kind="ReplicaSet"}"#,
                "replicaset/{namespace}/{owner_name}",
                Edge::RunsOn,
                "pod/{namespace}/{pod}",
            ),
            link(
                r#"kube_pod_owner{owner_kind="StatefulSet"}"#,
                "statefulset/{namespace}/{owner_name}",
                Edge::RunsOn,
                "pod/{namespace}/{pod}",
            ),
            link(r#"kube_pod_owner{owner_kind="DaemonSet"}"#, "daemonset/{namespace}/{owner_name}", Edge::RunsOn, "pod/{namespace}/{pod}"),
            link(
                r#"kube_replicaset_owner{owner_kind="Deployment"}"#,
                "deployment/{namespace}/{owner_name}",
                Edge::RunsOn,
                "replicaset/{namespace}/{replicaset}",
            ),
            link(
                "kube_pod_spec_volumes_persistentvolumeclaims_info",
                "pod/{namespace}/{pod}",
                Edge::DependsOn,
                "claim/{namespace}/{persistentvolumeclaim}",
            ),
            link(
                r#"kube_persistentvolumeclaim_info{volumename!=""}"#,
                "claim/{namespace}/{persistentvolumeclaim}",
                Edge::DependsOn,
                "volume/{volumename}",
            ),
            // A replica in error is no copy.
            link(r#"longhorn_replica_state{state=~"running|stopped"}"#, "volume/{volume}", Edge::StoresOn, "node/{node}"),
        ];
        rules[4].if_supported = true;
        let autoscaled = |kind: &str| OwnerRule {
            series: format!("kube_horizontalpodautoscaler_info{{scaletargetref_kind=\"{kind}\"}}"),
            target: format!("{}/{{namespace}}/{{scaletargetref_name}}", kind.to_lowercase()),
            verbs: vec!["scale.*".into()],
            field: "replicas".into(),
            owner: "the autoscaler {namespace}/{horizontalpodautoscaler}".into(),
            instead: "change its minReplicas and maxReplicas".into(),
        };
        TopologySettings {
            rules,
            owners: vec![autoscaled("Deployment"), autoscaled("StatefulSet")],
            healthy: vec![HealthRule { series: "node_up".into(), target: "node/{node}".into(), relation: Relation::Above, threshold: 0.5 }],
            ..TopologySettings::default()
        }
    }
}
