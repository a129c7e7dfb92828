//! The plant's things as Kubernetes objects.
//!
//! Deliberately absent: when they are written (the bridge). An editor breaks this by a template that depends on anything but the lab
//! file: a changed template is a restart.

use homeostat_sim::lab::{Owner, ServiceSpec};
use homeostat_sim::plant::Node;
use serde_json::{Value, json};

/// The label that says which of the plant's services something belongs to.
pub(super) const MARK: &str = "app.kubernetes.io/name";
/// What Argo CD marks its objects with.
const TRACKING: &str = "argocd.argoproj.io/tracking-id";

pub(super) fn node(node: &Node) -> Value {
    let cores = node.machine.cores.to_string();
    let memory = format!("{}Ki", (node.machine.memory_bytes / 1024.0) as u64);
    let room = json!({ "cpu": cores, "memory": memory, "pods": "110" });
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": { "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" },
        },
        "spec": {},
        "status": {
            "capacity": room,
            "allocatable": room,
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": node.name }],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "containerd://1.7.24",
                "kernelVersion": "6.1.0-28-amd64",
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.34.2",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "systemUUID": "",
            },
        },
    });
    if node.cordoned {
        object["spec"]["unschedulable"] = json!(true);
    }
    object
}

pub(super) fn deployment(spec: &ServiceSpec) -> Value {
    let labels = json!({ MARK: spec.name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": spec.name, "namespace": spec.namespace, "labels": labels },
        "spec": {
            "replicas": spec.replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [{
                        "name": "main",
                        "image": format!("registry.lab/{}:1", spec.name),
                        "resources": {
                            "requests": { "cpu": format!("{}m", (spec.replica_cores * 100.0) as u64), "memory": mebibytes(spec.memory_bytes) },
                            "limits": { "memory": mebibytes(spec.memory_limit_bytes) },
                        },
                    }],
                },
            },
        },
    })
}

fn mebibytes(bytes: f64) -> String {
    format!("{}Mi", (bytes / 1024.0 / 1024.0) as u64)
}

/// The Deployment with its owner's mark, once it has its replicas: what Argo CD first sees is what it wants.
pub(super) fn owned(deployment: &Value, owner: &Option<Owner>) -> Value {
    let mut object = deployment.clone();
    if matches!(owner, Some(Owner::Gitops)) && object["metadata"]["annotations"][TRACKING].is_null() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        object["metadata"]["annotations"][TRACKING] = json!(format!("{name}:apps/Deployment:{namespace}/{name}"));
    }
    object
}

/// A pod of a ReplicaSet under the plant's own name.
pub(super) fn pod(set: &Value, namespace: &str, name: &str, node: &str) -> Value {
    let template = &set["spec"]["template"];
    let mut metadata = json!({
        "name": name,
        "namespace": namespace,
        "labels": template["metadata"]["labels"],
        "ownerReferences": [{
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": set["metadata"]["name"],
            "uid": set["metadata"]["uid"],
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    });
    if template["metadata"]["annotations"].is_object() {
        metadata["annotations"] = template["metadata"]["annotations"].clone();
    }
    let mut object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] });
    object["spec"]["nodeName"] = json!(node);
    object
}

pub(super) fn autoscaler(spec: &ServiceSpec, min: u32, max: u32, target: f64) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": spec.name, "namespace": spec.namespace },
        "spec": {
            "minReplicas": min,
            "maxReplicas": max,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": spec.name },
            "metrics": [{
                "type": "Resource",
                "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": (target * 100.0).round() as u64 } },
            }],
        },
    })
}

pub(super) fn autoscaler_status(replicas: usize, used: f64) -> Value {
    json!({
        "currentReplicas": replicas,
        "desiredReplicas": replicas,
        "currentMetrics": [{
            "type": "Resource",
            "resource": { "name": "cpu", "current": { "averageUtilization": (used * 100.0).round() as u64, "averageValue": "0" } },
        }],
    })
}
