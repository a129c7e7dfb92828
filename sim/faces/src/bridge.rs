//! The plant as a Kubernetes cluster: nodes, Deployments with their pods, autoscalers and GitOps marks, kept alike on both sides.
//!
//! The plant decides what is; the cluster's clients decide what shall be. Before each tick of the cluster, what clients changed since the last
//! one (replicas, a deleted pod, a cordon, a new template) is done to the plant, and then the cluster is brought to what the plant is. The cluster's own
//! controllers find nothing left to do for these objects: the pods of the plant are there by name before a ReplicaSet could make others.
//! Deliberately absent: objects that are none of the plant's (a client's own Deployments run as the cluster's controllers let them), and the
//! cluster's own autoscaling and moving of pods (the plant has its own). An editor breaks this by ticking the cluster before it is alike.

mod objects;

use crate::world::World;
use homeostat_kube_face::{KubeServer, Settings};
use homeostat_model::{Span, Target, Time};
use homeostat_sim::lab::Owner;
use homeostat_sim::plant::{Node, Op, OpKind, Plant, Replica, Service};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const DEPLOYMENTS: &str = "deployments.apps";
const AUTOSCALERS: &str = "horizontalpodautoscalers.autoscaling";
/// The plant moves pods off silent nodes; the cluster itself never does.
const NEVER: Span = Span::from_hours(24 * 365 * 100);
/// GitOps looks this often, as in the plant.
const GITOPS_EVERY: Span = Span::from_mins(3);
/// Stands for the moment from which a crashing replica is ready: none.
const CRASHING: Time = Time(i64::MIN);

/// Keeps a cluster and the plant alike.
pub(crate) struct Bridge {
    kube: KubeServer,
    nodes: BTreeMap<String, ShownNode>,
    services: BTreeMap<String, ShownService>,
}

/// A node as both sides last had it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ShownNode {
    ready: bool,
    cordoned: bool,
}

/// A service as both sides last had it.
#[derive(Clone, Debug, Default)]
struct ShownService {
    replicas: usize,
    template: Value,
    pods: BTreeMap<String, ShownPod>,
    autoscaled: Option<usize>,
}

/// A pod as both sides last had it.
#[derive(Clone, Debug, PartialEq)]
struct ShownPod {
    node: usize,
    silent: bool,
    ready_at: Time,
    restarts: u32,
    waiting: bool,
    ready: bool,
}

/// What the plant says of a service, copied out of its lock.
struct Now {
    service: Service,
    pods: BTreeMap<String, ShownPod>,
}

impl Bridge {
    /// A cluster that shows the plant; both are alike when this returns.
    pub(crate) fn new(world: &World) -> Bridge {
        let start = world.with(|plant| plant.now());
        let settings = Settings { start, not_ready_toleration: NEVER, gitops_delay: GITOPS_EVERY, ..Settings::default() };
        let mut bridge = Bridge { kube: KubeServer::new(settings), nodes: BTreeMap::new(), services: BTreeMap::new() };
        bridge.sync(world);
        bridge
    }

    pub(crate) fn kube(&self) -> &KubeServer {
        &self.kube
    }

    /// Does to the plant what clients did to the cluster, brings the cluster to what the plant is, and lets its time pass.
    pub(crate) fn sync(&mut self, world: &World) {
        self.hear_nodes(world);
        self.hear_services(world);
        let (now, nodes, services) = world.with(|plant| (plant.now(), plant.nodes.clone(), services(plant)));
        for node in &nodes {
            self.show_node(node);
        }
        for shown in services {
            let name = shown.service.spec.name.clone();
            if let Err(error) = self.show_service(world, shown, &nodes, now) {
                // It is tried again with the next sync; the cluster's own counters tell the rest.
                tracing::warn!("the cluster cannot show the service `{name}`: {error}");
            }
        }
        self.kube.tick(now);
    }

    /// Cordons and uncordons.
    fn hear_nodes(&mut self, world: &World) {
        for (name, shown) in &mut self.nodes {
            let Some(node) = self.kube.get("nodes", "", name) else { continue };
            let cordoned = node["spec"]["unschedulable"] == true;
            if cordoned != shown.cordoned {
                let does = if cordoned { OpKind::Cordon } else { OpKind::Uncordon };
                world.act(&Op { does, target: Target::new(format!("node/{name}")), replicas: None });
                shown.cordoned = cordoned;
            }
        }
    }

    /// Replicas, and pods that are gone or going.
    fn hear_services(&mut self, world: &World) {
        for (name, shown) in &mut self.services {
            let namespace = world.with(|plant| plant.service_index(name).map(|index| plant.services[index].spec.namespace.clone()));
            let Some(namespace) = namespace else { continue };
            let deployment = self.kube.get(DEPLOYMENTS, &namespace, name);
            let wish = match &deployment {
                Some(deployment) if deployment["metadata"]["deletionTimestamp"].is_null() => {
                    deployment["spec"]["replicas"].as_u64().unwrap_or(1) as usize
                }
                // Whoever deletes a Deployment wants none of it.
                _ => 0,
            };
            if wish != shown.replicas {
                let target = Target::new(format!("service/{name}"));
                world.act(&Op { does: OpKind::Scale, target, replicas: u32::try_from(wish).ok() });
                shown.replicas = wish;
            }
            hear_pods(&self.kube, world, &namespace, shown);
        }
    }

    fn show_node(&mut self, node: &Node) {
        let now = ShownNode { ready: node.answers(), cordoned: node.cordoned };
        let there = self.kube.get("nodes", "", &node.name);
        let shown = self.nodes.get(&node.name).copied().filter(|_| there.is_some());
        if shown == Some(now) {
            return;
        }
        let object = match &there {
            None => objects::node(node),
            Some(there) => {
                let mut object = Value::clone(there);
                if node.cordoned {
                    object["spec"]["unschedulable"] = json!(true);
                } else if let Some(spec) = object["spec"].as_object_mut() {
                    spec.remove("unschedulable");
                }
                object
            }
        };
        let written = there.is_none() || shown.is_none_or(|shown| shown.cordoned != now.cordoned);
        if written && let Err(error) = self.kube.upsert(object) {
            tracing::warn!("the cluster cannot show the node `{}`: {}", node.name, said(&error));
            return;
        }
        self.kube.set_node_ready(&node.name, now.ready);
        self.nodes.insert(node.name.clone(), now);
    }

    fn show_service(&mut self, world: &World, mut now: Now, nodes: &[Node], time: Time) -> Result<(), String> {
        let (namespace, name) = (now.service.spec.namespace.clone(), now.service.spec.name.clone());
        let there = self.kube.get(DEPLOYMENTS, &namespace, &name);
        let shown = self.services.entry(name.clone()).or_default().clone();
        if there.is_none() && now.service.replicas.is_empty() && !shown.template.is_null() {
            // A client deleted it, and nobody has asked for it since.
            return Ok(());
        }
        let template = there.as_ref().map(|deployment| &deployment["spec"]["template"]);
        let restarted = !shown.template.is_null() && template.is_some_and(|template| *template != shown.template);
        if restarted {
            world.act(&Op { does: OpKind::Restart, target: Target::new(format!("service/{name}")), replicas: None });
            now = world.with(|plant| services(plant)).into_iter().find(|other| other.service.spec.name == name).unwrap_or(now);
        }
        let set = match there.as_deref().and_then(|deployment| self.set_of(deployment)) {
            Some(set) if !restarted => set,
            _ => self.make_set(&now, there.as_deref(), time)?,
        };
        self.show_pods(&now, &set, nodes)?;
        self.show_replicas(&now)?;
        self.show_autoscaler(&now)
    }

    /// Writes the plant's replicas, unless a client has written others since they were last read; those are heard next time.
    fn show_replicas(&mut self, now: &Now) -> Result<(), String> {
        let (spec, wish) = (&now.service.spec, now.service.replicas.len());
        let deployment = self.kube.get(DEPLOYMENTS, &spec.namespace, &spec.name).ok_or("its Deployment is gone")?;
        let shown = self.services.entry(spec.name.clone()).or_default();
        let mut object = objects::owned(&deployment, &spec.owner);
        if deployment["spec"]["replicas"] == shown.replicas {
            object["spec"]["replicas"] = json!(wish);
            shown.replicas = wish;
        }
        if object != *deployment {
            self.kube.upsert(object).map_err(|error| said(&error))?;
        }
        Ok(())
    }

    /// The ReplicaSet of a Deployment's present template, if the cluster has made it.
    fn set_of(&self, deployment: &Value) -> Option<Arc<Value>> {
        let uid = &deployment["metadata"]["uid"];
        self.kube.list("replicasets.apps").into_iter().find(|set| {
            let mut template = set["spec"]["template"].clone();
            if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
                labels.remove("pod-template-hash");
            }
            set["metadata"]["ownerReferences"][0]["uid"] == *uid && template == deployment["spec"]["template"]
        })
    }

    /// Lets the cluster make the ReplicaSet, with no replicas for that moment: it would make pods of other names.
    fn make_set(&mut self, now: &Now, there: Option<&Value>, time: Time) -> Result<Arc<Value>, String> {
        let spec = &now.service.spec;
        let mut object = there.cloned().unwrap_or_else(|| objects::deployment(spec));
        object["spec"]["replicas"] = json!(0);
        self.drop_pods(&spec.namespace, &spec.name, |_| true);
        let written = self.kube.upsert(object).map_err(|error| said(&error))?;
        let shown = self.services.entry(spec.name.clone()).or_default();
        shown.pods.clear();
        (shown.replicas, shown.template) = (0, written["spec"]["template"].clone());
        self.kube.tick(time);
        let deployment = self.kube.get(DEPLOYMENTS, &spec.namespace, &spec.name).ok_or("its Deployment is gone")?;
        self.set_of(&deployment).ok_or_else(|| "the cluster made no ReplicaSet for it".into())
    }

    /// Takes pods of a service away at once.
    fn drop_pods(&self, namespace: &str, service: &str, which: impl Fn(&str) -> bool) {
        for pod in self.kube.list("pods") {
            let metadata = &pod["metadata"];
            let ours = metadata["namespace"] == namespace && metadata["labels"][objects::MARK] == service;
            if let Some(name) = metadata["name"].as_str().filter(|name| ours && which(name)) {
                self.kube.delete("pods", namespace, name);
            }
        }
    }

    fn show_pods(&mut self, now: &Now, set: &Value, nodes: &[Node]) -> Result<(), String> {
        let spec = &now.service.spec;
        self.drop_pods(&spec.namespace, &spec.name, |name| !now.pods.contains_key(name));
        let shown = self.services.entry(spec.name.clone()).or_default();
        shown.pods.retain(|name, _| now.pods.contains_key(name));
        for (name, pod) in &now.pods {
            let there = self.kube.get("pods", &spec.namespace, name);
            let before = shown.pods.get(name).filter(|_| there.is_some());
            let anew = before.is_none_or(|before| is_anew(before, pod));
            if anew {
                self.kube.delete("pods", &spec.namespace, name);
                let object = objects::pod(set, &spec.namespace, name, &nodes[pod.node].name);
                self.kube.upsert(object).map_err(|error| said(&error))?;
            }
            let changed =
                before.is_none_or(|before| (before.restarts, before.waiting, before.ready) != (pod.restarts, pod.waiting, pod.ready));
            if anew || changed {
                let reason = pod.waiting.then_some("CrashLoopBackOff");
                self.kube.set_pod_state(&spec.namespace, name, pod.restarts, reason, pod.ready);
            }
            shown.pods.insert(name.clone(), pod.clone());
        }
        Ok(())
    }

    /// The plant's autoscaler, as an object with a status; the cluster's own controller is given no load and so leaves it alone.
    fn show_autoscaler(&mut self, now: &Now) -> Result<(), String> {
        let spec = &now.service.spec;
        let Some(Owner::Autoscaler { min, max, target }) = &spec.owner else { return Ok(()) };
        let have = now.service.replicas.len();
        let shown = self.services.entry(spec.name.clone()).or_default();
        let there = self.kube.get(AUTOSCALERS, &spec.namespace, &spec.name);
        if there.is_some() && shown.autoscaled == Some(have) {
            return Ok(());
        }
        if there.is_none() {
            self.kube.upsert(objects::autoscaler(spec, *min, *max, *target)).map_err(|error| said(&error))?;
        }
        let status = objects::autoscaler_status(have, now.service.used);
        self.kube.patch_status(AUTOSCALERS, &spec.namespace, &spec.name, &status).map_err(|error| said(&error))?;
        shown.autoscaled = Some(have);
        Ok(())
    }
}

/// Deletes in the plant the pods that clients deleted or evicted.
fn hear_pods(kube: &KubeServer, world: &World, namespace: &str, shown: &mut ShownService) {
    let going: Vec<String> = shown
        .pods
        .keys()
        .filter(|name| kube.get("pods", namespace, name).is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null()))
        .cloned()
        .collect();
    for name in going {
        // What the plant has let go itself meanwhile is not deleted a second time.
        if world.with(|plant| plant.pod_index(&name).is_some()) {
            world.act(&Op { does: OpKind::DeletePod, target: Target::new(format!("pod/{namespace}/{name}")), replicas: None });
        }
        shown.pods.remove(&name);
    }
}

/// Whether the plant has put a new pod in the place of one: elsewhere, with its restarts forgotten, or started again without a crash, a
/// restart or a silent node as its cause.
fn is_anew(before: &ShownPod, now: &ShownPod) -> bool {
    let crashed = before.ready_at == CRASHING;
    let started = !crashed && now.ready_at > before.ready_at && now.restarts == before.restarts;
    now.node != before.node || now.restarts < before.restarts || (started && now.restarts == 0 && !before.silent)
}

fn services(plant: &Plant) -> Vec<Now> {
    let now = plant.now();
    let view = |service: &Service, replica: &Replica| ShownPod {
        node: replica.node,
        silent: !plant.nodes[replica.node].answers() || replica.silent_since.is_some(),
        ready_at: if replica.crash.is_some() { CRASHING } else { replica.ready_at },
        restarts: replica.restarts,
        waiting: replica.is_waiting(now),
        ready: service.is_ready(replica, &plant.nodes, now),
    };
    let pods = |service: &Service| service.replicas.iter().map(|replica| (service.pod(replica), view(service, replica))).collect();
    plant.services.iter().map(|service| Now { pods: pods(service), service: service.clone() }).collect()
}

fn said(error: &homeostat_kube_face::ApiError) -> String {
    error.message.clone()
}
