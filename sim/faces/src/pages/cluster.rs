//! kube-state-metrics: nodes, pods, deployments, autoscalers, as the cluster believes them to be.
//!
//! A node that is asleep or off is NotReady with status unknown, as the node controller has it. Series of reasons are there only while
//! the reason is. Deliberately absent: use (that is node_exporter's). An editor breaks this by showing a zero for a reason that is not.

use super::flag;
use crate::page::Page;
use homeostat_sim::lab::Owner;
use homeostat_sim::plant::{Plant, Replica, Service};

pub(crate) fn render(plant: &Plant) -> String {
    let mut page = Page::default();
    nodes(&mut page, plant);
    deployments(&mut page, plant);
    autoscalers(&mut page, plant);
    pods(&mut page, plant);
    containers(&mut page, plant);
    page.finish()
}

fn nodes(page: &mut Page, plant: &Plant) {
    page.gauge("kube_node_created", "[STABLE] Unix creation timestamp");
    for node in &plant.nodes {
        page.put(&[("node", &node.name)], plant.began().seconds().floor());
    }
    page.gauge("kube_node_info", "[STABLE] Information about a cluster node.");
    for node in &plant.nodes {
        let labels = [
            ("node", node.name.as_str()),
            ("kernel_version", "6.1.0-28-amd64"),
            ("os_image", "Debian GNU/Linux 12 (bookworm)"),
            ("container_runtime_version", "containerd://1.7.24"),
            ("kubelet_version", "v1.34.2"),
            ("kubeproxy_version", "deprecated"),
            ("provider_id", ""),
            ("pod_cidr", ""),
            ("system_uuid", ""),
            ("internal_ip", "127.0.0.1"),
        ];
        page.put(&labels, 1.0);
    }
    page.gauge("kube_node_spec_unschedulable", "[STABLE] Whether a node can schedule new pods.");
    for node in &plant.nodes {
        page.put(&[("node", &node.name)], flag(node.cordoned));
    }
    for (name, help) in [
        ("kube_node_status_allocatable", "[STABLE] The allocatable for different resources of a node that are available for scheduling."),
        ("kube_node_status_capacity", "[STABLE] The capacity for different resources of a node."),
    ] {
        page.gauge(name, help);
        for node in &plant.nodes {
            page.put(&[("node", &node.name), ("resource", "cpu"), ("unit", "core")], f64::from(node.machine.cores));
            page.put(&[("node", &node.name), ("resource", "memory"), ("unit", "byte")], node.machine.memory_bytes);
        }
    }
    page.gauge("kube_node_status_condition", "[STABLE] The condition of a cluster node.");
    for node in &plant.nodes {
        let is = if node.answers() { "true" } else { "unknown" };
        for status in ["true", "false", "unknown"] {
            page.put(&[("node", &node.name), ("condition", "Ready"), ("status", status)], flag(status == is));
        }
    }
}

fn deployments(page: &mut Page, plant: &Plant) {
    let ready = |service: &Service| service.ready(&plant.nodes, plant.now()) as f64;
    let have = |service: &Service| service.replicas.len() as f64;
    let mut each = |name, help: &str, value: &dyn Fn(&Service) -> f64| {
        page.gauge(name, help);
        for service in &plant.services {
            page.put(&[("namespace", &service.spec.namespace), ("deployment", &service.spec.name)], value(service));
        }
    };
    each("kube_deployment_created", "[STABLE] Unix creation timestamp", &|_| plant.began().seconds().floor());
    each("kube_deployment_spec_replicas", "[STABLE] Number of desired pods for a deployment.", &have);
    each("kube_deployment_status_replicas", "[STABLE] The number of replicas per deployment.", &have);
    each("kube_deployment_status_replicas_available", "[STABLE] The number of available replicas per deployment.", &ready);
    each("kube_deployment_status_replicas_ready", "[STABLE] The number of ready replicas per deployment.", &ready);
    each("kube_deployment_status_replicas_unavailable", "[STABLE] The number of unavailable replicas per deployment.", &|service| {
        have(service) - ready(service)
    });
}

fn autoscalers(page: &mut Page, plant: &Plant) {
    let owned: Vec<(&Service, u32, u32)> = plant
        .services
        .iter()
        .filter_map(|service| match &service.spec.owner {
            Some(Owner::Autoscaler { min, max, .. }) => Some((service, *min, *max)),
            _ => None,
        })
        .collect();
    if owned.is_empty() {
        return;
    }
    page.gauge("kube_horizontalpodautoscaler_info", "Information about this autoscaler.");
    for (service, _, _) in &owned {
        let name = service.spec.name.as_str();
        let labels = [
            ("namespace", service.spec.namespace.as_str()),
            ("horizontalpodautoscaler", name),
            ("scaletargetref_api_version", "apps/v1"),
            ("scaletargetref_kind", "Deployment"),
            ("scaletargetref_name", name),
        ];
        page.put(&labels, 1.0);
    }
    let mut each = |name, help: &str, value: &dyn Fn(&(&Service, u32, u32)) -> f64| {
        page.gauge(name, help);
        for owned in &owned {
            page.put(&[("namespace", &owned.0.spec.namespace), ("horizontalpodautoscaler", &owned.0.spec.name)], value(owned));
        }
    };
    each(
        "kube_horizontalpodautoscaler_spec_max_replicas",
        "[STABLE] Upper limit for the number of pods that can be set by the autoscaler; cannot be smaller than MinReplicas.",
        &|owned| f64::from(owned.2),
    );
    each(
        "kube_horizontalpodautoscaler_spec_min_replicas",
        "[STABLE] Lower limit for the number of pods that can be set by the autoscaler, default 1.",
        &|owned| f64::from(owned.1),
    );
    each(
        "kube_horizontalpodautoscaler_status_current_replicas",
        "[STABLE] Current number of replicas of pods managed by this autoscaler.",
        &|owned| owned.0.replicas.len() as f64,
    );
}

/// Writes one sample per pod: labels `namespace`, `pod`, `uid` and whatever `put` adds.
fn each_pod(plant: &Plant, mut put: impl FnMut(&Service, &Replica, &str, &str)) {
    for service in &plant.services {
        for replica in &service.replicas {
            let pod = service.pod(replica);
            let uid = format!("{:016x}", homeostat_sim::chance::hash(&pod));
            put(service, replica, &pod, &uid);
        }
    }
}

fn pods(page: &mut Page, plant: &Plant) {
    let now = plant.now();
    page.gauge("kube_pod_info", "[STABLE] Information about pod.");
    each_pod(plant, |service, replica, pod, uid| {
        let labels = [
            ("namespace", service.spec.namespace.as_str()),
            ("pod", pod),
            ("uid", uid),
            ("host_ip", "127.0.0.1"),
            ("pod_ip", ""),
            ("node", plant.nodes[replica.node].name.as_str()),
            ("created_by_kind", "ReplicaSet"),
            ("created_by_name", service.spec.name.as_str()),
            ("priority_class", ""),
            ("host_network", "false"),
        ];
        page.put(&labels, 1.0);
    });
    page.gauge("kube_pod_status_phase", "[STABLE] The pods current phase.");
    each_pod(plant, |service, _, pod, uid| {
        for phase in ["Pending", "Succeeded", "Failed", "Unknown", "Running"] {
            let labels = [("namespace", service.spec.namespace.as_str()), ("pod", pod), ("uid", uid), ("phase", phase)];
            page.put(&labels, flag(phase == "Running"));
        }
    });
    page.gauge("kube_pod_status_ready", "[STABLE] Describes whether the pod is ready to serve requests.");
    each_pod(plant, |service, replica, pod, uid| {
        let ready = service.is_ready(replica, &plant.nodes, now);
        for condition in ["true", "false", "unknown"] {
            let labels = [("namespace", service.spec.namespace.as_str()), ("pod", pod), ("uid", uid), ("condition", condition)];
            page.put(&labels, flag((condition == "true") == ready && condition != "unknown"));
        }
    });
}

fn containers(page: &mut Page, plant: &Plant) {
    let now = plant.now();
    let each = |page: &mut Page, value: &dyn Fn(&Service, &Replica) -> f64| {
        each_pod(plant, |service, replica, pod, uid| {
            let labels = [("namespace", service.spec.namespace.as_str()), ("pod", pod), ("uid", uid), ("container", "main")];
            page.put(&labels, value(service, replica));
        });
    };
    page.counter("kube_pod_container_status_restarts_total", "[STABLE] The number of container restarts per container.");
    each(page, &|_, replica| f64::from(replica.restarts));
    page.gauge("kube_pod_container_status_ready", "[STABLE] Describes whether the containers readiness check succeeded.");
    each(page, &|service, replica| flag(service.is_ready(replica, &plant.nodes, now)));
    page.gauge("kube_pod_container_status_running", "[STABLE] Describes whether the container is currently in running state.");
    each(page, &|_, replica| flag(!replica.is_waiting(now)));
    page.gauge("kube_pod_container_status_waiting", "[STABLE] Describes whether the container is currently in waiting state.");
    each(page, &|_, replica| flag(replica.is_waiting(now)));
    page.gauge("kube_pod_container_status_waiting_reason", "[STABLE] Describes the reason the container is currently in waiting state.");
    each_pod(plant, |service, replica, pod, uid| {
        if replica.is_waiting(now) {
            let namespace = service.spec.namespace.as_str();
            page.put(&[("namespace", namespace), ("pod", pod), ("uid", uid), ("container", "main"), ("reason", "CrashLoopBackOff")], 1.0);
        }
    });
    page.gauge("kube_pod_container_resource_limits", "The number of requested limit resource by a container.");
    each_pod(plant, |service, replica, pod, uid| {
        let labels = [
            ("namespace", service.spec.namespace.as_str()),
            ("pod", pod),
            ("uid", uid),
            ("container", "main"),
            ("node", plant.nodes[replica.node].name.as_str()),
            ("resource", "memory"),
            ("unit", "byte"),
        ];
        page.put(&labels, service.spec.memory_limit_bytes);
    });
}
