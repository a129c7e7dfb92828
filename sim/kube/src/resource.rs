//! Which resources the server serves: the built-in table, and what a CustomResourceDefinition adds while it is installed.
//!
//! A resource is one (group, version, plural). All versions of a group and plural share one shelf of objects, whose `apiVersion` is rewritten on
//! the way out (conversion strategy `None`). Broken when a subresource is offered that [`crate::write`] does not honour, or the other way round.

use serde_json::{Value, json};
use std::sync::Arc;

/// Where the scale subresource reads and writes, as JSON pointers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScalePaths {
    pub(crate) spec: String,
    pub(crate) status: String,
    /// Where the selector stands as text (custom resources); `None` for the built-in kinds, whose selector is `spec.selector`.
    pub(crate) selector: Option<String>,
}

/// One served (group, version, plural).
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
    pub(crate) scale: Option<ScalePaths>,
    /// The structural schema of a custom resource (`openAPIV3Schema`), absent for built-in kinds.
    pub(crate) schema: Option<Arc<Value>>,
    /// `additionalPrinterColumns` of a custom resource.
    pub(crate) columns: Vec<Value>,
    /// Whether this is the version that objects are stored in.
    pub(crate) storage: bool,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The shelf that holds the objects: `plural.group`, or `plural` for the core group.
    pub(crate) fn shelf(&self) -> String {
        if self.group == "events.k8s.io" {
            return "events".into(); // both groups show the same events; see crate::event
        }
        crate::status::qualified(&self.group, &self.plural)
    }

    /// Whether it came from a CustomResourceDefinition.
    pub(crate) fn custom(&self) -> bool {
        self.schema.is_some()
    }

    /// Whether `metadata.generation` counts changes of the wish. Core kinds have none.
    pub(crate) fn counts_generation(&self) -> bool {
        !matches!(self.group.as_str(), "" | "coordination.k8s.io" | "events.k8s.io" | "autoscaling" | "storage.k8s.io")
    }
}

/// A row of the built-in table: group, version, kind, plural, short names, namespaced, status, scale.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], bool, bool, bool);

const BUILT_IN: [Row; 26] = [
    ("", "v1", "Namespace", "namespaces", &["ns"], false, true, false),
    ("", "v1", "Node", "nodes", &["no"], false, true, false),
    ("", "v1", "Pod", "pods", &["po"], true, true, false),
    ("", "v1", "Service", "services", &["svc"], true, true, false),
    ("", "v1", "Endpoints", "endpoints", &["ep"], true, false, false),
    ("", "v1", "Event", "events", &["ev"], true, false, false),
    ("", "v1", "ConfigMap", "configmaps", &["cm"], true, false, false),
    ("", "v1", "Secret", "secrets", &[], true, false, false),
    ("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], true, false, false),
    ("", "v1", "PersistentVolume", "persistentvolumes", &["pv"], false, true, false),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], true, true, false),
    ("", "v1", "ResourceQuota", "resourcequotas", &["quota"], true, true, false),
    ("", "v1", "LimitRange", "limitranges", &["limits"], true, false, false),
    ("apps", "v1", "Deployment", "deployments", &["deploy"], true, true, true),
    ("apps", "v1", "ReplicaSet", "replicasets", &["rs"], true, true, true),
    ("apps", "v1", "StatefulSet", "statefulsets", &["sts"], true, true, true),
    ("apps", "v1", "DaemonSet", "daemonsets", &["ds"], true, true, false),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", &[], true, false, false),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], true, true, false),
    ("batch", "v1", "Job", "jobs", &[], true, true, false),
    ("batch", "v1", "CronJob", "cronjobs", &["cj"], true, true, false),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], true, true, false),
    ("coordination.k8s.io", "v1", "Lease", "leases", &[], true, false, false),
    ("events.k8s.io", "v1", "Event", "events", &["ev"], true, false, false),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", &["sc"], false, false, false),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], false, true, false),
];

/// The built-in resources.
pub(crate) fn built_in() -> Vec<Arc<Resource>> {
    BUILT_IN
        .iter()
        .map(|&(group, version, kind, plural, short, namespaced, status, scale)| {
            Arc::new(Resource {
                group: group.into(),
                version: version.into(),
                kind: kind.into(),
                plural: plural.into(),
                singular: kind.to_lowercase(),
                short: short.iter().map(ToString::to_string).collect(),
                categories: if scale || plural == "pods" || plural == "services" { vec!["all".into()] } else { Vec::new() },
                namespaced,
                status,
                scale: scale.then(|| ScalePaths { spec: "/spec/replicas".into(), status: "/status/replicas".into(), selector: None }),
                schema: None,
                columns: Vec::new(),
                storage: true,
            })
        })
        .collect()
}

/// The resources that a CustomResourceDefinition serves, one for each served version.
pub(crate) fn of_definition(definition: &Value) -> Vec<Arc<Resource>> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let texts = |value: &Value| value.as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default();
    let names = &spec["names"];
    let kind = text(&names["kind"]);
    let singular = names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_string);
    spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["served"] != false)
        .map(|version| {
            let scale = &version["subresources"]["scale"];
            let path = |value: &Value| value.as_str().map(|path| path.replace('.', "/"));
            Arc::new(Resource {
                group: text(&spec["group"]),
                version: text(&version["name"]),
                kind: kind.clone(),
                plural: text(&names["plural"]),
                singular: singular.clone(),
                short: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                namespaced: spec["scope"] != "Cluster",
                status: version["subresources"]["status"].is_object(),
                scale: path(&scale["specReplicasPath"]).map(|spec| ScalePaths {
                    spec,
                    status: path(&scale["statusReplicasPath"]).unwrap_or_default(),
                    selector: path(&scale["labelSelectorPath"]),
                }),
                schema: Some(Arc::new(version["schema"]["openAPIV3Schema"].clone())),
                columns: version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default(),
                storage: version["storage"] == true,
            })
        })
        .collect()
}

/// The empty list object of a resource.
pub(crate) fn list_of(resource: &Resource, version: u64, items: Vec<Value>) -> Value {
    json!({"kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(), "metadata": {"resourceVersion": version.to_string()}, "items": items})
}
