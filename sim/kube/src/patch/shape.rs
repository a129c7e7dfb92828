//! How a list or map merges: by key, as a set, or as one value.
//!
//! Custom resources say it in their schema (`x-kubernetes-list-type`, `x-kubernetes-map-type`); for built-in kinds the table below says it by the
//! field's name and its parent's. Source of the table: the `+listType`, `+listMapKey`, `+patchMergeKey` markers of k8s.io/api. What is not named
//! there merges as Kubernetes' default does: maps by key, lists as one value.

use serde_json::Value;

/// How a list merges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ListKind<'a> {
    /// Replaced as a whole.
    Atomic,
    /// Union of its values.
    Set,
    /// Merged item by item; the keys that identify an item.
    Keyed(Keys<'a>),
}

/// The keys of a keyed list: from the table, or from a schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keys<'a> {
    /// Built-in.
    Table(&'static [&'static str]),
    /// `x-kubernetes-list-map-keys`.
    Schema(&'a [Value]),
}

impl<'a> Keys<'a> {
    pub(crate) fn names(self) -> Vec<&'a str> {
        match self {
            Keys::Table(all) => all.to_vec(),
            Keys::Schema(all) => all.iter().filter_map(Value::as_str).collect(),
        }
    }
}

/// The place of a value in its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    /// The schema of this place, in a custom resource.
    schema: Option<&'a Value>,
    /// Whether the kind is a custom resource (below `metadata` the table counts for all kinds).
    custom: bool,
    name: &'a str,
    parent: &'a str,
}

/// Field, parent (empty: any), keys. A field may stand several times; the first that fits counts.
const KEYED: [(&str, &str, &[&str]); 19] = [
    ("containers", "", &["name"]),
    ("initContainers", "", &["name"]),
    ("ephemeralContainers", "", &["name"]),
    ("env", "", &["name"]),
    ("ports", "spec", &["port", "protocol"]),
    ("ports", "", &["containerPort", "protocol"]),
    ("volumes", "spec", &["name"]),
    ("volumeMounts", "", &["mountPath"]),
    ("volumeDevices", "", &["devicePath"]),
    ("imagePullSecrets", "", &["name"]),
    ("secrets", "", &["name"]),
    ("hostAliases", "", &["ip"]),
    ("topologySpreadConstraints", "", &["topologyKey", "whenUnsatisfiable"]),
    ("conditions", "status", &["type"]),
    ("addresses", "status", &["type"]),
    ("ownerReferences", "metadata", &["uid"]),
    ("podIPs", "status", &["ip"]),
    ("resourceClaims", "spec", &["name"]),
    ("schedulingGates", "spec", &["name"]),
];

const SETS: [(&str, &str); 2] = [("finalizers", "metadata"), ("podCIDRs", "spec")];

const ATOMIC_MAPS: [(&str, &str); 7] = [
    ("selector", "spec"),
    ("nodeSelector", ""),
    ("labelSelector", ""),
    ("fieldRef", ""),
    ("configMapKeyRef", ""),
    ("secretKeyRef", ""),
    ("scaleTargetRef", "spec"),
];

fn fits(entry: (&str, &str), name: &str, parent: &str) -> bool {
    entry.0 == name && (entry.1.is_empty() || entry.1 == parent)
}

impl<'a> Shape<'a> {
    /// The root of a kind; `schema` for custom resources.
    pub(crate) fn root(schema: Option<&'a Value>) -> Shape<'a> {
        Shape { schema, custom: schema.is_some(), name: "", parent: "" }
    }

    /// The place of a field.
    pub(crate) fn field(self, name: &'a str) -> Shape<'a> {
        let at_root = self.name.is_empty();
        if at_root && name == "metadata" {
            return Shape { schema: None, custom: false, name, parent: self.name };
        }
        let schema = self.schema.and_then(|schema| schema["properties"].get(name).or_else(|| schema.get("additionalProperties")));
        Shape { schema, custom: self.custom, name, parent: self.name }
    }

    /// The place of a list's items.
    pub(crate) fn item(self) -> Shape<'a> {
        Shape { schema: self.schema.and_then(|schema| schema.get("items")), ..self }
    }

    /// How a list at this place merges.
    pub(crate) fn list_kind(self) -> ListKind<'a> {
        if self.custom {
            let Some(schema) = self.schema else { return ListKind::Atomic };
            return match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => ListKind::Set,
                Some("map") => match schema["x-kubernetes-list-map-keys"].as_array() {
                    Some(keys) => ListKind::Keyed(Keys::Schema(keys)),
                    None => ListKind::Atomic,
                },
                _ => ListKind::Atomic,
            };
        }
        if let Some((_, _, keys)) = KEYED.iter().find(|(name, parent, _)| fits((name, parent), self.name, self.parent)) {
            return ListKind::Keyed(Keys::Table(keys));
        }
        if SETS.iter().any(|&entry| fits(entry, self.name, self.parent)) {
            return ListKind::Set;
        }
        ListKind::Atomic
    }

    /// Whether a map at this place is replaced as a whole by server-side apply.
    pub(crate) fn atomic_map(self) -> bool {
        if self.custom {
            return self.schema.is_some_and(|schema| schema["x-kubernetes-map-type"] == "atomic");
        }
        ATOMIC_MAPS.iter().any(|&entry| fits(entry, self.name, self.parent))
    }

    /// Whether a map or list at this place is a field of its own when an update adds it. Go's structs are not, and most places of built-in
    /// kinds are; labels, annotations and the like, and everything in a custom resource, are.
    pub(crate) fn is_marked(self) -> bool {
        self.parent == "metadata" || self.custom && !self.name.is_empty()
    }

    /// The one key by which a strategic merge patch finds items, where there is one.
    pub(crate) fn merge_key(self) -> Option<&'a str> {
        if self.name == "taints" {
            return Some("key");
        }
        match self.list_kind() {
            ListKind::Keyed(keys) => keys.names().first().copied(),
            ListKind::Atomic | ListKind::Set => None,
        }
    }
}
