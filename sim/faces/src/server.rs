//! Starting and stopping the faces.
//!
//! Deliberately absent: any address beyond loopback (there is no authentication, so such a setting is refused). An editor breaks this by leaving
//! a task behind after [`Faces::stop`].

use crate::bridge::Bridge;
use crate::door::{Cut, Door, Gate, Port};
use crate::screen::Summary;
use crate::wol::{self, Counters, WakeCounts};
use crate::world::{KeplerAge, World};
use crate::{agents, house};
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use homeostat_kube_face::KubeServer;
use homeostat_model::Time;
use homeostat_sim::plant::Plant;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long [`Faces::stop`] waits before it ends tasks by force.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// How the faces are shown.
#[derive(Clone)]
pub struct FacesSettings {
    /// Where everything listens; loopback only.
    pub host: IpAddr,
    /// The port of a node's exporters, by the node's name; any free one for others.
    pub node_ports: BTreeMap<String, u16>,
    /// The port of the house's pages and of the agents; 0 is any free one.
    pub house_port: u16,
    /// The UDP ports for magic packets; 0 is any free one.
    pub wake_ports: Vec<u16>,
    /// The port of the Kubernetes API; 0 is any free one, `None` shows no cluster.
    pub kube_port: Option<u16>,
    /// Which Kepler a node runs, by the node's name; others have a new one and an old one in turn, in the lab file's order.
    pub kepler: BTreeMap<String, KeplerAge>,
    /// How often the plant is brought up to the clock, in real time.
    pub tick: Duration,
    /// The plant's time.
    pub clock: Arc<dyn Fn() -> Time + Send + Sync>,
}

impl FacesSettings {
    /// Free ports on 127.0.0.1, a tick of 50 ms.
    pub fn new(clock: Arc<dyn Fn() -> Time + Send + Sync>) -> FacesSettings {
        FacesSettings {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            node_ports: BTreeMap::new(),
            house_port: 0,
            wake_ports: vec![0],
            kube_port: Some(0),
            kepler: BTreeMap::new(),
            tick: Duration::from_millis(50),
            clock,
        }
    }
}

/// One page of metrics, as a scraper's configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageAddress {
    /// The exporter's job: `node`, `kepler`, `smartctl`, `kube-state-metrics`, `lab`, `plugs`, `blackbox`.
    pub job: &'static str,
    /// Where it is: `http://127.0.0.1:34567/metrics`.
    pub url: String,
    /// The node that it tells of; `None` for the house.
    pub node: Option<String>,
    /// What a probe probes: the name of a service or a certificate.
    pub target: Option<String>,
}

/// The faces of a plant, as long as this lives; [`Faces::stop`] ends them in order, dropping ends them at once.
pub struct Faces {
    world: Arc<World>,
    nodes: BTreeMap<String, SocketAddr>,
    kepler: BTreeMap<String, KeplerAge>,
    house: SocketAddr,
    wake: Vec<SocketAddr>,
    counters: Arc<Counters>,
    kube: Option<(SocketAddr, KubeServer)>,
    tasks: JoinSet<()>,
    /// Kept open: the house is always there.
    _open: watch::Sender<Door>,
}

impl Faces {
    /// Shows a plant. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// An address that is not loopback, a name that is not in the lab, a port that cannot be had: with its name.
    pub async fn start(plant: Plant, settings: FacesSettings) -> io::Result<Faces> {
        check(&plant, &settings)?;
        let names: Vec<String> = plant.nodes.iter().map(|node| node.name.clone()).collect();
        let ages: Vec<KeplerAge> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let in_turn = if index % 2 == 0 { KeplerAge::New } else { KeplerAge::Old };
                settings.kepler.get(name).copied().unwrap_or(in_turn)
            })
            .collect();
        let world = Arc::new(World::new(plant, ages.clone()));
        let mut tasks = JoinSet::new();
        let mut nodes = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let port = settings.node_ports.get(name).copied().unwrap_or(0);
            let port = hold(settings.host, port, &format!("the node `{name}`"))?;
            nodes.insert(name.clone(), port.address());
            serve(&mut tasks, &world, port.gate(world.door(index)).await, house::node_router(Arc::clone(&world), index));
        }
        let port = hold(settings.host, settings.house_port, "the house")?;
        let house_address = port.address();
        let (open, door) = watch::channel(Door::Open);
        let router = house::house_router().merge(agents::router()).with_state(Arc::clone(&world));
        serve(&mut tasks, &world, port.gate(door.clone()).await, router);
        let (bridge, kube) = match settings.kube_port {
            None => (None, None),
            Some(port) => {
                let port = hold(settings.host, port, "the Kubernetes API")?;
                let bridge = Bridge::new(&world);
                let shown = (port.address(), bridge.kube().clone());
                let guarded = shown.1.router().layer(middleware::from_fn_with_state(Arc::clone(&world), guard));
                serve(&mut tasks, &world, port.gate(door).await, guarded);
                (Some(bridge), Some(shown))
            }
        };
        let counters = Arc::new(Counters::default());
        let mut wake = Vec::new();
        for port in &settings.wake_ports {
            let socket = UdpSocket::bind((settings.host, *port)).await.map_err(|error| named("magic packets", *port, &error))?;
            wake.push(socket.local_addr()?);
            tasks.spawn(wol::listen(socket, Arc::clone(&world), Arc::clone(&counters)));
        }
        tasks.spawn(tick(Arc::clone(&world), settings.clock, settings.tick, bridge));
        let kepler = names.into_iter().zip(ages).collect();
        Ok(Faces { world, nodes, kepler, house: house_address, wake, counters, kube, tasks, _open: open })
    }

    /// The plant behind the faces.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The address of each node's exporters, by the node's name: `/metrics`, `/kepler`, `/smart`. It is also where a TCP connection
    /// stands exactly while the node answers.
    pub fn nodes(&self) -> &BTreeMap<String, SocketAddr> {
        &self.nodes
    }

    /// The address of the house's pages and the agents.
    pub fn house(&self) -> SocketAddr {
        self.house
    }

    /// The address of the Kubernetes API: plain HTTP, no token.
    pub fn kube(&self) -> Option<SocketAddr> {
        self.kube.as_ref().map(|(address, _)| *address)
    }

    /// The cluster behind that address, to add objects and faults of its own.
    pub fn cluster(&self) -> Option<&KubeServer> {
        self.kube.as_ref().map(|(_, server)| server)
    }

    /// Where magic packets are heard.
    pub fn wake(&self) -> &[SocketAddr] {
        &self.wake
    }

    /// Every page that there is. `/smart` only where there are disks; a probe for each service (by HTTP) and certificate (by TLS).
    pub fn pages(&self) -> Vec<PageAddress> {
        let mut pages = Vec::new();
        let mut add = |job, url: String, node: Option<&str>, target: Option<&str>| {
            pages.push(PageAddress { job, url, node: node.map(str::to_owned), target: target.map(str::to_owned) });
        };
        self.world.with(|plant| {
            for node in &plant.nodes {
                let (name, base) = (Some(node.name.as_str()), format!("http://{}", self.nodes[&node.name]));
                add("node", format!("{base}/metrics"), name, None);
                add("kepler", format!("{base}/kepler"), name, None);
                if !node.disks.is_empty() {
                    add("smartctl", format!("{base}/smart"), name, None);
                }
            }
            let base = format!("http://{}", self.house);
            add("kube-state-metrics", format!("{base}/kube-state-metrics/metrics"), None, None);
            add("lab", format!("{base}/lab/metrics"), None, None);
            add("plugs", format!("{base}/plugs/metrics"), None, None);
            let services = plant.services.iter().map(|service| ("http_2xx", service.spec.name.as_str()));
            for (module, name) in services.chain(plant.certificates.iter().map(|certificate| ("tcp_tls", certificate.name.as_str()))) {
                add("blackbox", format!("{base}/probe?module={module}&target={name}"), None, Some(name));
            }
        });
        pages
    }

    /// Which Kepler each node runs.
    pub fn kepler(&self) -> &BTreeMap<String, KeplerAge> {
        &self.kepler
    }

    /// What came over UDP so far.
    pub fn wake_counts(&self) -> WakeCounts {
        self.counters.read()
    }

    /// The plant at this moment, for a screen.
    pub fn summary(&self) -> Summary {
        self.world.with(|plant| Summary::of(plant))
    }

    /// Ends everything: listeners, connections, the clock's task. Gives the world back, with the plant as it is then.
    pub async fn stop(mut self) -> Arc<World> {
        self.close();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
            tracing::warn!("the faces did not end within {STOP_WAIT:?} and were ended by force");
        }
        self.tasks.shutdown().await;
        Arc::clone(&self.world)
    }
}

impl Faces {
    /// Ends watches and waiting, and lets nobody in any more.
    fn close(&self) {
        self.world.close();
        if let Some((_, server)) = &self.kube {
            server.stop();
        }
    }
}

impl Drop for Faces {
    fn drop(&mut self) {
        self.close();
    }
}

/// The cluster can be reached like any other machine, and without its quorum it answers nobody.
async fn guard(State(world): State<Arc<World>>, ConnectInfo(line): ConnectInfo<Cut>, request: Request, next: Next) -> Response {
    if world.road() != Door::Open {
        return house::cut(&line);
    }
    if !world.with(|plant| plant.has_quorum()) {
        world.silence().await;
        return house::cut(&line);
    }
    next.run(request).await
}

fn check(plant: &Plant, settings: &FacesSettings) -> io::Result<()> {
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if !settings.host.is_loopback() {
        return wrong(format!("the faces listen on {}: expected a loopback address, for they ask nobody who they are", settings.host));
    }
    if settings.tick.is_zero() {
        return wrong("the faces' tick is 0: expected some milliseconds".into());
    }
    let unknown = settings.node_ports.keys().chain(settings.kepler.keys()).find(|name| plant.node(name).is_none());
    match unknown {
        Some(name) => wrong(format!("the faces' settings name the node `{name}`, which is not in the lab")),
        None => Ok(()),
    }
}

fn named(whose: &str, port: u16, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("listen for {whose} on port {port}: {error}"))
}

fn hold(host: IpAddr, port: u16, whose: &str) -> io::Result<Port> {
    Port::hold(SocketAddr::new(host, port)).map_err(|error| named(whose, port, &error))
}

fn serve(tasks: &mut JoinSet<()>, world: &Arc<World>, gate: Gate, router: Router) {
    let mut closing = world.closing();
    let service = router.into_make_service_with_connect_info::<Cut>();
    tasks.spawn(async move {
        let closed = async move {
            let _ = closing.wait_for(|closing| *closing).await;
        };
        if let Err(error) = axum::serve(gate, service).with_graceful_shutdown(closed).await {
            tracing::warn!("a face ended: {error}");
        }
    });
}

/// Brings the plant up to the clock, again and again, and the cluster to the plant.
async fn tick(world: Arc<World>, clock: Arc<dyn Fn() -> Time + Send + Sync>, every: Duration, mut bridge: Option<Bridge>) {
    let mut closing = world.closing();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            _ = ticks.tick() => {
                world.advance(clock());
                if let Some(bridge) = &mut bridge {
                    bridge.sync(&world);
                }
            }
        }
    }
}
