//! The plant's pods and nodes in the Kubernetes face, and what is deleted there in the plant: the daemon deletes a pod by the API that a
//! real cluster has.
//!
//! The plant decides what runs where; the API server shows it. Pods are plain ones that tolerate a silent node for ever, so that no
//! controller of the face moves what the plant moves. Deliberately absent: scaling and draining by the API. An editor breaks this by
//! taking a pod away here without forgetting it first: its deletion would then come back as somebody's wish.

use crate::clock::{Clock, ScaledClock};
use homeostat_faces::World;
use homeostat_kube_face::{KubeServer, Settings};
use homeostat_model::{Target, Time};
use homeostat_sim::plant::{Op, OpKind, Plant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How often both sides are compared, in real time.
const COMPARE_EVERY: Duration = Duration::from_millis(40);
/// How long the server may take to end.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// Changes that are read at once.
const CHANGES_MAX: usize = 1_000;

/// The Kubernetes face of a plant; [`Cluster::stop`] ends it.
pub struct Cluster {
    server: KubeServer,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

/// A pod as the plant has it.
#[derive(Clone, Debug, PartialEq)]
struct Pod {
    node: String,
    service: String,
    restarts: u32,
    waits: bool,
    ready: bool,
}

/// By namespace and name.
type Pods = BTreeMap<(String, String), Pod>;

/// A pod as the API server was told of it. A new pod of the same name is another one, by its uid.
struct Shown {
    pod: Pod,
    uid: String,
}

/// What the API server was told, and up to where it was heard.
struct Mirror {
    server: KubeServer,
    pods: BTreeMap<(String, String), Shown>,
    nodes: BTreeMap<String, bool>,
    version: u64,
}

impl Cluster {
    /// Shows the plant's cluster on a free loopback port.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(world: Arc<World>, clock: Arc<ScaledClock>) -> std::io::Result<Cluster> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = KubeServer::new(Settings { start: clock.now(), ..Settings::default() });
        let mut mirror = Mirror::new(server.clone());
        // Everything is there before anybody asks.
        mirror.compare(&world, clock.now());
        let served = server.serve(listener);
        let serving = tokio::spawn(async move {
            if let Ok(Err(error)) = served.await {
                tracing::warn!(%error, "The Kubernetes face ended.");
            }
        });
        let comparing = tokio::spawn(async move {
            let mut beat = tokio::time::interval(COMPARE_EVERY);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                beat.tick().await;
                mirror.compare(&world, clock.now());
            }
        });
        Ok(Cluster { server, address, tasks: vec![comparing, serving] })
    }

    /// Where the API is: `kubectl --server http://<address>`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop();
        let mut tasks = self.tasks.into_iter();
        if let Some(comparing) = tasks.next() {
            comparing.abort();
        }
        for task in tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout(STOP_WAIT, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

impl Mirror {
    fn new(server: KubeServer) -> Mirror {
        Mirror { version: server.version(), server, pods: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    /// Brings what was deleted over the API to the plant, and what the plant has become to the API.
    fn compare(&mut self, world: &World, now: Time) {
        self.server.tick(now);
        for (namespace, name) in self.deleted() {
            // Gone there: known no more, so that the plant's new one is shown as a new one.
            self.pods.remove(&(namespace.clone(), name.clone()));
            world.act(&Op { does: OpKind::DeletePod, target: Target::from(format!("pod/{namespace}/{name}")), replicas: None });
        }
        let (nodes, pods) = world.with(|plant| (nodes_of(plant), pods_of(plant)));
        self.show_nodes(nodes);
        self.show_pods(pods);
    }

    /// Pods that somebody deleted since the last look; not those that were taken away here.
    fn deleted(&mut self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        loop {
            let changes = match self.server.changes_since(self.version, CHANGES_MAX) {
                Ok(changes) => changes,
                Err(_) => {
                    // Too much has happened; what is not there now was deleted.
                    self.version = self.server.version();
                    let gone = |(key, shown): &(&(String, String), &Shown)| self.uid(key).as_ref() != Some(&shown.uid);
                    return self.pods.iter().filter(gone).map(|(key, _)| key.clone()).collect();
                }
            };
            let Some(last) = changes.last() else { return found };
            self.version = last.version;
            for change in changes.iter().filter(|change| change.gone && change.shelf == "pods") {
                let text = |field: &str| change.object["metadata"][field].as_str().unwrap_or_default().to_owned();
                let key = (text("namespace"), text("name"));
                if self.pods.get(&key).is_some_and(|shown| shown.uid == text("uid")) {
                    found.push(key);
                }
            }
        }
    }

    fn uid(&self, (namespace, name): &(String, String)) -> Option<String> {
        self.server.get("pods", namespace, name)?["metadata"]["uid"].as_str().map(str::to_owned)
    }

    fn show_nodes(&mut self, nodes: BTreeMap<String, bool>) {
        for (name, ready) in nodes {
            match self.nodes.insert(name.clone(), ready) {
                Some(before) if before == ready => {}
                Some(_) => drop(self.server.set_node_ready(&name, ready)),
                None => {
                    self.put(node_object(&name));
                    self.server.set_node_ready(&name, ready);
                }
            }
        }
    }

    fn show_pods(&mut self, pods: Pods) {
        let moved = |(key, old): (&(String, String), &Shown)| pods.get(key).is_none_or(|new| new.node != old.pod.node).then(|| key.clone());
        for key in self.pods.iter().filter_map(moved).collect::<Vec<_>>() {
            self.pods.remove(&key);
            self.server.delete("pods", &key.0, &key.1);
        }
        for (key, pod) in pods {
            if self.pods.get(&key).is_some_and(|shown| shown.pod == pod) {
                continue;
            }
            if !self.pods.contains_key(&key) {
                self.put(pod_object(&key.0, &key.1, &pod));
            }
            let reason = pod.waits.then_some("CrashLoopBackOff");
            self.server.set_pod_state(&key.0, &key.1, pod.restarts, reason, pod.ready);
            if let Some(uid) = self.uid(&key) {
                self.pods.insert(key, Shown { pod, uid });
            }
        }
    }

    fn put(&self, object: Value) {
        if let Err(error) = self.server.upsert(object) {
            tracing::warn!(?error, "The Kubernetes face does not take an object of the plant.");
        }
    }
}

fn nodes_of(plant: &Plant) -> BTreeMap<String, bool> {
    plant.nodes.iter().map(|node| (node.name.clone(), node.answers())).collect()
}

fn pods_of(plant: &Plant) -> Pods {
    let now = plant.now();
    let each = plant.services.iter().flat_map(|service| service.replicas.iter().map(move |replica| (service, replica)));
    each.map(|(service, replica)| {
        let pod = Pod {
            node: plant.nodes[replica.node].name.clone(),
            service: service.spec.name.clone(),
            restarts: replica.restarts,
            waits: replica.is_waiting(now),
            ready: service.is_ready(replica, &plant.nodes, now),
        };
        ((service.spec.namespace.clone(), service.pod(replica)), pod)
    })
    .collect()
}

fn node_object(name: &str) -> Value {
    let room = json!({ "cpu": "4", "memory": "16Gi", "pods": "110" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": name }],
            "nodeInfo": { "kubeletVersion": "v1.34.1", "osImage": "Debian GNU/Linux 12", "kernelVersion": "6.1.0", "containerRuntimeVersion": "containerd://2.1.4" },
        },
    })
}

fn pod_object(namespace: &str, name: &str, pod: &Pod) -> Value {
    // Without `tolerationSeconds` a toleration has no end.
    let stays = ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"]
        .map(|key| json!({ "key": key, "operator": "Exists", "effect": "NoExecute" }));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "namespace": namespace, "name": name, "labels": { "app": pod.service } },
        "spec": {
            "nodeName": pod.node,
            "containers": [{ "name": "main", "image": format!("registry.home.lab/{}:1", pod.service) }],
            "tolerations": stays,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::CLASSIC_LAB;
    use homeostat_faces::{Faces, FacesSettings};
    use homeostat_model::Span;
    use homeostat_sim::lab::Lab;
    use homeostat_sim::plant::Fault;

    /// A mirror of the classic lab whose time stands still until it is moved.
    async fn house() -> (Faces, Mirror) {
        let lab = Arc::new(Lab::parse(CLASSIC_LAB).unwrap());
        let start = Time(1_770_000_000_000);
        let faces = Faces::start(Plant::new(lab, 1, start), FacesSettings::new(Arc::new(move || start))).await.unwrap();
        let server = KubeServer::new(Settings { start, ..Settings::default() });
        (faces, Mirror::new(server))
    }

    fn pass(faces: &Faces, mirror: &mut Mirror, span: Span) -> Time {
        let now = faces.world().with(|plant| plant.now()) + span;
        faces.world().advance(now);
        mirror.compare(faces.world(), now);
        now
    }

    fn pod(mirror: &Mirror, name: &str) -> Option<Arc<Value>> {
        mirror.server.get("pods", "home", name)
    }

    #[tokio::test]
    async fn a_pod_deleted_over_the_api_comes_back_well_in_the_plant_and_in_the_api() {
        let (faces, mut mirror) = house().await;
        pass(&faces, &mut mirror, Span::from_secs(30));
        let crash = Fault::CrashLoop { service: "photos".into(), image: false };
        faces.world().with(|plant| plant.begin(crash, None)).unwrap();
        pass(&faces, &mut mirror, Span::from_mins(5));
        let before = pod(&mirror, "photos-0").expect("it is shown");
        let status = &before["status"]["containerStatuses"][0];
        assert!(status["restartCount"].as_u64() >= Some(3), "{before}");
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/api/v1/namespaces/home/pods/photos-0", address.local_addr().unwrap());
        let served = mirror.server.serve(address);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = reqwest::Client::builder().no_proxy().build().unwrap().delete(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        for _ in 0..4 {
            pass(&faces, &mut mirror, Span::from_secs(30));
        }
        let after = pod(&mirror, "photos-0").expect("a new one came");
        assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0, "{after}");
        let replica = faces.world().with(|plant| plant.services[plant.service_index("photos").unwrap()].replicas[0].clone());
        assert_eq!((replica.crash, replica.restarts), (None, 0));
        let deleted = faces.world().did().iter().filter(|did| did.op.does == OpKind::DeletePod).count();
        assert_eq!(deleted, 1, "one deletion there is one here");
        mirror.server.stop();
        served.await.unwrap().unwrap();
        faces.stop().await;
    }

    #[tokio::test]
    async fn what_the_plant_moves_is_nobodys_wish() {
        let (faces, mut mirror) = house().await;
        pass(&faces, &mut mirror, Span::from_secs(30));
        let shown = mirror.server.list("pods").len();
        assert_eq!(shown, faces.world().with(|plant| pods_of(plant).len()));
        faces.world().with(|plant| plant.begin(Fault::Hang { node: "nano-1".into() }, None)).unwrap();
        pass(&faces, &mut mirror, Span::from_secs(30));
        let node = mirror.server.get("nodes", "", "nano-1").unwrap();
        assert!(node.to_string().contains("NodeStatusUnknown"), "{node}");
        for _ in 0..30 {
            pass(&faces, &mut mirror, Span::from_secs(30));
        }
        assert_eq!(mirror.server.list("pods").len(), shown);
        assert!(faces.world().did().is_empty(), "{:?}", faces.world().did());
        let moved = mirror.server.list("pods").iter().filter(|pod| pod["spec"]["nodeName"] == "nano-1").count();
        let there = faces.world().with(|plant| pods_of(plant).values().filter(|pod| pod.node == "nano-1").count());
        assert_eq!(moved, there);
        faces.stop().await;
    }
}
