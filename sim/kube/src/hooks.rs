//! What the plant behind the server does to it: nodes that come and go, pods that crash, metrics, wishes of a GitOps owner, outcomes of workflows.

use crate::control::gitops::Wish;
use crate::control::kratix::Workflow;
use crate::control::kubelet::PodState;
use crate::meta;
use crate::server::KubeServer;
use crate::status::ApiError;
use crate::world::World;
use serde_json::{Value, json};
use std::sync::Arc;

impl KubeServer {
    /// Makes a node Ready or NotReady. Returns `false` when there is no such node.
    pub fn set_node_ready(&self, name: &str, ready: bool) -> bool {
        self.change(|world| {
            let Some(node) = world.get("nodes", "", name) else { return false };
            let now = world.stamp();
            world.amend("nodes", "", name, |node| {
                let (status, reason, message) = match ready {
                    true => ("True", "KubeletReady", "kubelet is posting ready status"),
                    false => ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."),
                };
                meta::set_condition(node, "Ready", status, reason, message, &now);
                let mut taints: Vec<Value> = meta::list(node, "/spec/taints")
                    .iter()
                    .filter(|taint| !meta::text(taint, "/key").starts_with("node.kubernetes.io/unreachable"))
                    .cloned()
                    .collect();
                if !ready {
                    taints.extend(
                        ["NoSchedule", "NoExecute"].map(|effect| json!({"key": "node.kubernetes.io/unreachable", "effect": effect})),
                    );
                }
                if taints.is_empty() { meta::unset(node, "/spec", "taints") } else { meta::set(node, "/spec/taints", Value::Array(taints)) }
            });
            let (kind, reason) = if ready { ("Normal", "NodeReady") } else { ("Normal", "NodeNotReady") };
            world.note(&node, kind, reason, "node-controller", &format!("Node {name} status is now: {reason}"));
            true
        })
    }

    /// Says how a pod's containers are, from the plant: restarts so far, the reason why they wait (`CrashLoopBackOff`, `ImagePullBackOff`; `None`
    /// runs), and whether the pod is ready. Holds until the next call or until the pod goes. Returns `false` when there is no such pod.
    pub fn set_pod_state(&self, namespace: &str, name: &str, restarts: u32, waiting_reason: Option<&str>, ready: bool) -> bool {
        self.change(|world| {
            let Some(pod) = world.get("pods", namespace, name) else { return false };
            let state = PodState { restarts, waiting_reason: waiting_reason.map(str::to_string), ready };
            world.models.kubelet.states.insert(meta::uid(&pod).to_string(), state);
            // A node that does not answer reports nothing; the word counts once it is back.
            let node = world.get("nodes", "", meta::text(&pod, "/spec/nodeName"));
            if node.is_some_and(|node| crate::control::ready(&node)) {
                crate::control::kubelet::settle(world, &pod);
            }
            true
        })
    }

    /// Sets the load that a HorizontalPodAutoscaler sees, summed over all pods in the unit of its target (percent of one pod's request for
    /// `averageUtilization`): it wants `ceil(total / target)` replicas, which is Kubernetes' formula with the average written as total / replicas.
    pub fn set_metric(&self, namespace: &str, autoscaler: &str, total: f64) {
        self.change(|world| world.models.hpa.set_metric(namespace, autoscaler, total));
    }

    /// Sets what a GitOps owner wants an object to be (its `spec`, labels and annotations); the object is made where it is missing, and put back
    /// when it drifts. Objects that carry Argo CD's tracking label or annotation get their first state as wish without this call.
    ///
    /// # Errors
    /// As [`KubeServer::upsert`].
    pub fn set_wish(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        self.change(|world| {
            let stored = world.upsert(object)?;
            let resource = world.of_object(&stored).ok_or_else(ApiError::no_route)?;
            let wish = Wish::of(&stored);
            world.models.gitops.insert(&resource.shelf(), &stored, wish);
            Ok(stored)
        })
    }

    /// Kills the chaos daemon of a node, or brings it back: without it nothing on that node is hit, and nothing that was hit is freed.
    pub fn set_chaos_daemon(&self, node: &str, alive: bool) {
        self.change(|world| {
            let dead = &mut world.models.chaos.dead_daemons;
            if alive { dead.remove(node) } else { dead.insert(node.to_string()) }
        });
    }

    /// Stops Chaos Mesh's controller manager, or starts it: without it experiments stay as they are.
    pub fn set_chaos_controller(&self, alive: bool) {
        self.change(|world| world.models.chaos.down = !alive);
    }

    /// Says how Kratix workflows end for one Promise (namespace empty) or one request, by name. Unset ones succeed.
    pub fn set_workflow(&self, namespace: &str, name: &str, workflow: Workflow) {
        self.change(|world| world.models.kratix.set(namespace, name, workflow));
    }
}

impl World {
    /// Creates or replaces an object whole, on the plant's word.
    pub(crate) fn upsert(&mut self, mut object: Value) -> Result<Arc<Value>, ApiError> {
        let Some(resource) = self.of_object(&object) else {
            return Err(ApiError::bad_request(format!("no resource serves kind {} of {}", object["kind"], object["apiVersion"])));
        };
        let options = crate::write::WriteOptions { manager: "plant".into(), ..Default::default() };
        let (namespace, name) = (meta::namespace(&object).to_string(), meta::name(&object).to_string());
        if resource.namespaced && self.get("namespaces", "", &namespace).is_none() {
            let namespaces = self.resource("", "v1", "namespaces").ok_or_else(ApiError::no_route)?;
            self.create(&namespaces, "", json!({"metadata": {"name": namespace}}), &options)?;
        }
        let status = object.get("status").cloned();
        meta::unset(&mut object, "/metadata", "resourceVersion");
        meta::unset(&mut object, "/metadata", "managedFields");
        let shelf = resource.shelf();
        let stored = match self.get(&shelf, &namespace, &name) {
            None => self.create(&resource, &namespace, object, &options)?,
            Some(_) => self.replace(&resource, &namespace, &name, object, crate::write::Part::Whole, &options)?,
        };
        if let Some(status) = status.filter(|status| *status != stored["status"]) {
            self.amend(&shelf, &namespace, &name, |object| meta::set(object, "/status", status));
        }
        self.get(&shelf, &namespace, &name).ok_or_else(|| ApiError::not_found(&resource.group, &resource.plural, &name))
    }
}
