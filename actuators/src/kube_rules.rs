//! Which Kubernetes rights each actuator needs: pure data, the one source for `homeostat rbac`, the Helm chart and readiness messages.
//!
//! A row is as small as the actuator allows: `deployments/scale` where the whole object is not needed, one namespace where the objects
//! live in one. `create` cannot be limited to names (the name is not known to the authorizer), so limits by name are absent. Deliberately
//! absent: any right on secrets, on roles, and `delete` on promises (deleting one deletes every request made of it). An editor breaks
//! this by adding a verb that no actuator sends: what a stolen token may do is decided here.

use serde::Serialize;

/// The verbs that only look. Watching shows no more than listing.
pub const READING_VERBS: [&str; 3] = ["get", "list", "watch"];

/// One rule, as in a Role's `rules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeRule {
    /// API groups; the core group is the empty text.
    pub api_groups: Vec<String>,
    /// Plurals, with their subresource: `pods/eviction`.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Whether a Role in each configured namespace is enough; otherwise only a ClusterRole will do.
    #[serde(skip)]
    pub namespaced: bool,
}

/// A rule of the table: whether Roles are enough, group, resources, verbs.
type Row = (bool, &'static str, &'static [&'static str], &'static [&'static str]);

const NAMESPACED: bool = true;
const CLUSTER: bool = false;

/// What one actuator needs.
#[derive(Clone, Copy, Debug)]
pub struct KubeRights {
    /// The actuator, as in the configuration and before the dot of its verbs.
    pub actuator: &'static str,
    /// What the rights are for, in one sentence.
    pub doc: &'static str,
    /// Where its objects live, if in one namespace; `None`: anywhere, so its rights hold for the whole cluster unless namespaces are given.
    pub namespace: Option<&'static str>,
    rows: &'static [Row],
}

const CHAOS_KINDS: &[&str] = &[
    "podchaos",
    "networkchaos",
    "stresschaos",
    "iochaos",
    "timechaos",
    "dnschaos",
    "httpchaos",
    "kernelchaos",
    "jvmchaos",
    "blockchaos",
    "schedules",
    "workflows",
];
const WORKLOADS: &[&str] = &["deployments", "statefulsets", "daemonsets"];

/// Every actuator that speaks to Kubernetes, by name.
pub const KUBE_RIGHTS: [KubeRights; 9] = [
    KubeRights {
        actuator: "argo",
        doc: "Sync and roll back Argo CD applications by their `operation` field.",
        namespace: Some("argocd"),
        rows: &[(NAMESPACED, "argoproj.io", &["applications"], &["get", "list", "watch", "patch"])],
    },
    KubeRights {
        actuator: "chaos",
        doc: "Run Chaos Mesh experiments. Chaos Mesh asks for `create` in every namespace that an experiment aims at, too.",
        namespace: None,
        rows: &[
            (NAMESPACED, "chaos-mesh.org", CHAOS_KINDS, &["get", "list", "create", "delete"]),
            (NAMESPACED, "", &["pods"], &["list"]),
            (CLUSTER, "", &["namespaces"], &["get"]),
            (CLUSTER, "", &["nodes"], &["list"]),
        ],
    },
    KubeRights {
        actuator: "kratix",
        doc: "Find Kratix promises. Each kind that may be requested needs a rule of its own.",
        namespace: None,
        rows: &[(CLUSTER, "platform.kratix.io", &["promises"], &["get"])],
    },
    KubeRights {
        actuator: "node",
        doc: "Cordon, drain and uncordon nodes. Draining creates evictions, which budgets may refuse. A node's pods live in any namespace.",
        namespace: None,
        rows: &[
            (CLUSTER, "", &["nodes"], &["get", "patch"]),
            (CLUSTER, "", &["pods"], &["list"]),
            (CLUSTER, "", &["pods/eviction"], &["create"]),
        ],
    },
    KubeRights {
        actuator: "pod",
        doc: "Evict a pod within disruption budgets, so that its controller makes another.",
        namespace: None,
        rows: &[(NAMESPACED, "", &["pods"], &["get", "list"]), (NAMESPACED, "", &["pods/eviction"], &["create"])],
    },
    KubeRights {
        actuator: "resources",
        doc: "Change requests and limits. `patch` on a workload may change all of it: grant it only where it is wanted.",
        namespace: None,
        rows: &[
            (NAMESPACED, "apps", WORKLOADS, &["get", "patch"]),
            (NAMESPACED, "autoscaling.k8s.io", &["verticalpodautoscalers"], &["list"]),
        ],
    },
    KubeRights {
        actuator: "restart",
        doc: "Restart rollouts. `patch` on a workload may change all of it: grant it only where it is wanted.",
        namespace: None,
        rows: &[(NAMESPACED, "apps", WORKLOADS, &["get", "patch"])],
    },
    KubeRights {
        actuator: "scale",
        doc: "Change the number of replicas, and nothing else of a workload.",
        namespace: None,
        rows: &[
            (NAMESPACED, "apps", &["deployments/scale", "statefulsets/scale"], &["get", "update"]),
            (NAMESPACED, "apps", &["deployments", "statefulsets"], &["get"]),
            (NAMESPACED, "autoscaling", &["horizontalpodautoscalers"], &["list"]),
            (NAMESPACED, "keda.sh", &["scaledobjects"], &["list"]),
        ],
    },
    KubeRights {
        actuator: "velero",
        doc: "Make backups, and take back its own. With `restore` in the configuration: bring them back.",
        namespace: Some("velero"),
        rows: &[
            (NAMESPACED, "velero.io", &["backupstoragelocations"], &["get"]),
            (NAMESPACED, "velero.io", &["backups", "deletebackuprequests"], &["get", "create"]),
        ],
    },
];

/// What every client of the API needs to know its own rights. `system:basic-user` grants it in most clusters already.
pub fn review_rule() -> KubeRule {
    KubeRule { namespaced: CLUSTER, ..KubeRule::new("authorization.k8s.io", &["selfsubjectaccessreviews"], &["create"]) }
}

impl KubeRule {
    /// A rule on objects of one group that live in namespaces.
    pub fn new(group: &str, resources: &[&str], verbs: &[&str]) -> KubeRule {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        KubeRule { api_groups: vec![group.to_owned()], resources: owned(resources), verbs: owned(verbs), namespaced: NAMESPACED }
    }

    /// The same rule with the verbs that only look; `None` if it has none, as `pods/eviction`.
    pub fn reading(&self) -> Option<KubeRule> {
        let verbs: Vec<String> = self.verbs.iter().filter(|verb| READING_VERBS.contains(&verb.as_str())).cloned().collect();
        (!verbs.is_empty()).then(|| KubeRule { verbs, ..self.clone() })
    }
}

impl KubeRights {
    /// The row of an actuator; `None` if it does not speak to Kubernetes.
    pub fn of(actuator: &str) -> Option<&'static KubeRights> {
        KUBE_RIGHTS.iter().find(|rights| rights.actuator == actuator)
    }

    /// Its rules.
    pub fn rules(&self) -> Vec<KubeRule> {
        let rule = |row: &Row| KubeRule { namespaced: row.0, ..KubeRule::new(row.1, row.2, row.3) };
        self.rows.iter().map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_known_and_small() {
        assert!(KUBE_RIGHTS.is_sorted_by_key(|rights| rights.actuator));
        let verbs = ["get", "list", "watch", "create", "update", "patch", "delete"];
        for rights in KUBE_RIGHTS {
            assert!(!rights.rules().is_empty() && rights.doc.ends_with('.'), "{}", rights.actuator);
            for rule in rights.rules() {
                let all: Vec<&str> = rule.api_groups.iter().chain(&rule.resources).chain(&rule.verbs).map(String::as_str).collect();
                assert!(!all.contains(&"*"), "{}: {rule:?} holds a wildcard", rights.actuator);
                assert!(rule.verbs.iter().all(|verb| verbs.contains(&verb.as_str())), "{}: {rule:?}", rights.actuator);
                assert!(rule.resources.iter().all(|resource| !resource.starts_with("secrets") && !resource.contains("role")), "{rule:?}");
                let deletes = rule.verbs.iter().any(|verb| verb == "delete");
                assert!(!(deletes && rule.resources.iter().any(|resource| resource.starts_with("promise"))), "{rule:?}");
            }
        }
    }

    #[test]
    fn looking_keeps_only_verbs_that_look() {
        let eviction = KubeRule::new("", &["pods/eviction"], &["create"]);
        assert_eq!(eviction.reading(), None);
        let nodes = KubeRule::new("", &["nodes"], &["get", "patch", "watch"]);
        assert_eq!(nodes.reading().unwrap().verbs, ["get", "watch"]);
    }
}
