//! What the server fills in and refuses for built-in kinds: the defaults that controllers and clients rely on, and the checks that clients meet.
//!
//! Only those; a full validation of every built-in kind is deliberately absent. Custom resources have schemas instead ([`crate::schema`]).

use crate::meta;
use crate::selector::Labels;
use serde_json::{Value, json};

/// Field, reason and message of one refusal.
pub(crate) type Cause = (String, &'static str, String);

fn fill(object: &mut Value, pointer: &str, value: Value) {
    if object.pointer(pointer).is_none_or(Value::is_null) {
        meta::set(object, pointer, value);
    }
}

/// Fills in the defaults of one kind; `draw` makes the cluster address of a new service.
pub(crate) fn complete(kind: &str, object: &mut Value, draw: u64) {
    match kind {
        "Namespace" => {
            let name = meta::name(object).to_string();
            meta::tag(object, "labels", "kubernetes.io/metadata.name", &name);
            fill(object, "/spec/finalizers", json!(["kubernetes"]));
            fill(object, "/status/phase", json!("Active"));
        }
        "Pod" => {
            pod_spec(object, "/spec");
            fill(object, "/spec/enableServiceLinks", json!(true));
            fill(object, "/status/phase", json!("Pending"));
            fill(object, "/status/qosClass", json!("BestEffort"));
        }
        "Deployment" => {
            fill(object, "/spec/replicas", json!(1));
            fill(object, "/spec/revisionHistoryLimit", json!(10));
            fill(object, "/spec/progressDeadlineSeconds", json!(600));
            fill(object, "/spec/strategy/type", json!("RollingUpdate"));
            if object["spec"]["strategy"]["type"] == "RollingUpdate" {
                fill(object, "/spec/strategy/rollingUpdate/maxSurge", json!("25%"));
                fill(object, "/spec/strategy/rollingUpdate/maxUnavailable", json!("25%"));
            }
            pod_spec(object, "/spec/template/spec");
        }
        "ReplicaSet" => {
            fill(object, "/spec/replicas", json!(1));
            pod_spec(object, "/spec/template/spec");
        }
        "StatefulSet" => {
            fill(object, "/spec/replicas", json!(1));
            fill(object, "/spec/podManagementPolicy", json!("OrderedReady"));
            fill(object, "/spec/revisionHistoryLimit", json!(10));
            fill(object, "/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
            pod_spec(object, "/spec/template/spec");
        }
        "DaemonSet" => {
            fill(object, "/spec/revisionHistoryLimit", json!(10));
            fill(object, "/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}));
            pod_spec(object, "/spec/template/spec");
        }
        "HorizontalPodAutoscaler" => fill(object, "/spec/minReplicas", json!(1)),
        "Service" => service(object, draw),
        "PersistentVolumeClaim" => {
            fill(object, "/spec/volumeMode", json!("Filesystem"));
            fill(object, "/status/phase", json!("Pending"));
        }
        "Secret" => {
            fill(object, "/type", json!("Opaque"));
            let plain = object.get("stringData").cloned().unwrap_or_default();
            for (key, value) in plain.as_object().into_iter().flatten() {
                let encoded = base64(value.as_str().unwrap_or_default().as_bytes());
                meta::set(object, &format!("/data/{}", key.replace('~', "~0").replace('/', "~1")), json!(encoded));
            }
            meta::unset(object, "", "stringData");
        }
        _ => {}
    }
}

fn service(object: &mut Value, draw: u64) {
    fill(object, "/spec/type", json!("ClusterIP"));
    fill(object, "/spec/sessionAffinity", json!("None"));
    fill(object, "/spec/clusterIP", json!(format!("10.96.{}.{}", draw >> 8 & 0xff, 1 + draw % 254)));
    let address = object["spec"]["clusterIP"].clone();
    fill(object, "/spec/clusterIPs", json!([address]));
    for port in object["spec"].get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        fill(port, "/protocol", json!("TCP"));
        let target = port["port"].clone();
        fill(port, "/targetPort", target);
    }
    fill(object, "/status/loadBalancer", json!({}));
}

fn pod_spec(object: &mut Value, at: &str) {
    let Some(spec) = object.pointer_mut(at).filter(|spec| spec.is_object()) else { return };
    fill(spec, "/restartPolicy", json!("Always"));
    fill(spec, "/terminationGracePeriodSeconds", json!(30));
    fill(spec, "/dnsPolicy", json!("ClusterFirst"));
    fill(spec, "/schedulerName", json!("default-scheduler"));
    fill(spec, "/securityContext", json!({}));
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            fill(container, "/imagePullPolicy", json!("IfNotPresent"));
            fill(container, "/resources", json!({}));
            fill(container, "/terminationMessagePath", json!("/dev/termination-log"));
            fill(container, "/terminationMessagePolicy", json!("File"));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                fill(port, "/protocol", json!("TCP"));
            }
        }
    }
}

/// The standard base64 alphabet with padding, for `stringData`.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain([0, 0].iter()).take(3).fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        for at in 0..4 {
            let sextet = (word >> (18 - 6 * at) & 63) as usize;
            out.push(if at <= chunk.len() { ALPHABET[sextet] as char } else { '=' });
        }
    }
    out
}

/// The refusals for one object of a built-in kind.
pub(crate) fn check(kind: &str, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut refuse = |field: &str, reason, message: String| causes.push((field.to_string(), reason, message));
    if let Some(replicas) = meta::int(object, "/spec/replicas").filter(|replicas| *replicas < 0) {
        refuse("spec.replicas", "FieldValueInvalid", format!("Invalid value: {replicas}: must be greater than or equal to 0"));
    }
    if matches!(kind, "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") {
        match Labels::of(&object["spec"]["selector"]).filter(|selector| !selector.is_empty()) {
            None => refuse("spec.selector", "FieldValueRequired", "Required value".into()),
            Some(selector) if !selector.matches(&object["spec"]["template"]) => refuse(
                "spec.template.metadata.labels",
                "FieldValueInvalid",
                format!("Invalid value: {}: `selector` does not match template `labels`", object["spec"]["template"]["metadata"]["labels"]),
            ),
            Some(_) => {}
        }
        if let Some(old) = old.filter(|old| old["spec"]["selector"] != object["spec"]["selector"]) {
            refuse("spec.selector", "FieldValueInvalid", format!("Invalid value: {}: field is immutable", old["spec"]["selector"]));
        }
        containers(object, "/spec/template/spec", &mut causes);
    } else if kind == "CustomResourceDefinition" {
        definition(object, &mut refuse);
    } else if kind == "Pod" {
        containers(object, "/spec", &mut causes);
    } else if kind == "PodDisruptionBudget"
        && object["spec"]["minAvailable"] != Value::Null
        && object["spec"]["maxUnavailable"] != Value::Null
    {
        refuse("spec", "FieldValueInvalid", "Invalid value: minAvailable and maxUnavailable cannot be both set".into());
    } else if kind == "HorizontalPodAutoscaler" {
        let (least, most) = (meta::int(object, "/spec/minReplicas").unwrap_or(1), meta::int(object, "/spec/maxReplicas").unwrap_or(0));
        if most < least.max(1) {
            refuse(
                "spec.maxReplicas",
                "FieldValueInvalid",
                format!("Invalid value: {most}: must be greater than or equal to `minReplicas`"),
            );
        }
    }
    causes
}

/// A definition must name a group with a dot, its names and at least one version, and be called `plural.group`.
fn definition(object: &Value, refuse: &mut impl FnMut(&str, &'static str, String)) {
    let (group, plural) = (meta::text(object, "/spec/group"), meta::text(object, "/spec/names/plural"));
    for pointer in ["/spec/group", "/spec/names/plural", "/spec/names/kind", "/spec/scope"] {
        if meta::text(object, pointer).is_empty() {
            refuse(&pointer[1..].replace('/', "."), "FieldValueRequired", "Required value".into());
        }
    }
    if !group.contains('.') {
        refuse("spec.group", "FieldValueInvalid", format!("Invalid value: \"{group}\": should be a domain with at least one dot"));
    }
    if meta::name(object) != format!("{plural}.{group}") {
        refuse(
            "metadata.name",
            "FieldValueInvalid",
            format!("Invalid value: \"{}\": must be spec.names.plural+\".\"+spec.group", meta::name(object)),
        );
    }
    let versions = meta::list(object, "/spec/versions");
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        refuse("spec.versions", "FieldValueInvalid", "Invalid value: must have exactly one version marked as storage version".into());
    }
    for (number, version) in versions.iter().enumerate() {
        if meta::text(version, "/name").is_empty() || !version["schema"]["openAPIV3Schema"].is_object() {
            refuse(
                &format!("spec.versions[{number}]"),
                "FieldValueRequired",
                "Required value: name and schema.openAPIV3Schema are required".into(),
            );
        }
    }
}

fn containers(object: &Value, at: &str, causes: &mut Vec<Cause>) {
    let path = at[1..].replace('/', ".");
    let all = meta::list(object, &format!("{at}/containers"));
    if all.is_empty() {
        causes.push((format!("{path}.containers"), "FieldValueRequired", "Required value".into()));
    }
    for (number, container) in all.iter().enumerate() {
        for field in ["name", "image"] {
            if container[field].as_str().is_none_or(str::is_empty) {
                causes.push((format!("{path}.containers[{number}].{field}"), "FieldValueRequired", "Required value".into()));
            }
        }
    }
}

/// Whether a name is an RFC 1123 subdomain.
pub(crate) fn good_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !name.is_empty()
        && name.len() <= 253
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_its_padding() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_deployment_needs_its_selector() {
        let mut deployment = json!({"spec": {"replicas": -1, "selector": {"matchLabels": {"a": "1"}}, "template": {"metadata": {"labels": {"a": "2"}}, "spec": {"containers": [{"name": "c"}]}}}});
        complete("Deployment", &mut deployment, 0);
        let fields: Vec<String> = check("Deployment", &deployment, None).into_iter().map(|cause| cause.0).collect();
        assert_eq!(fields, ["spec.replicas", "spec.template.metadata.labels", "spec.template.spec.containers[0].image"]);
        assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    }
}
