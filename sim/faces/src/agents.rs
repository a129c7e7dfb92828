//! The agents, plugs and services that actuators of today reach by HTTP; the crate's documentation lists the requests.
//!
//! What they answer is what they saw, or what the plant's lying actuators say. Deliberately absent: the oracle's word. An editor breaks
//! this by answering from a node that does not, or by doing something that a lie says is not done.

use crate::door::{Cut, Door};
use crate::house::cut;
use crate::world::World;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post, put};
use homeostat_model::Target;
use homeostat_sim::plant::{Applied, Disk, Filesystem, Lie, Node, Op, OpKind, Plant, Power};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The longest request body, in bytes.
const BODY_BYTES_MAX: usize = 16 << 10;
/// The most replicas that are taken.
const REPLICAS_MAX: u32 = 100;

type Shared = State<Arc<World>>;
type Line = ConnectInfo<Cut>;

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/agents/{node}", get(agent))
        .route("/agents/{node}/sleep", post(sleep))
        .route("/agents/{node}/filesystem", get(filesystem))
        .route("/agents/{node}/clean", post(clean))
        .route("/agents/{node}/disks/{disk}", get(disk))
        .route("/agents/{node}/disks/{disk}/evacuate", post(evacuate))
        .route("/plugs/{node}", get(plug))
        .route("/plugs/{node}/{what}", post(switch))
        .route("/services/{name}", get(service))
        .route("/services/{name}/restart", post(restart))
        .route("/services/{name}/replicas", put(replicas))
        .route("/pods/{namespace}/{pod}", get(pod).delete(delete_pod))
        .route("/certificates/{name}", get(certificate))
        .route("/certificates/{name}/renew", post(renew))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// The answer to a request that goes no further.
struct Refusal(Box<Response>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Response> for Refusal {
    fn from(response: Response) -> Refusal {
        Refusal(Box::new(response))
    }
}

fn refuse(status: StatusCode, why: impl Into<String>) -> Response {
    (status, Json(json!({ "error": why.into() }))).into_response()
}

fn gone(what: &str, name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no {what} `{name}` in the lab"))
}

/// Reads a request's body.
fn body<T: for<'de> Deserialize<'de>>(bytes: &Bytes, like: &str) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}; expected {like}")).into())
}

fn found(value: Option<Value>, what: &str, name: &str) -> Response {
    value.map_or_else(|| gone(what, name), |value| Json(value).into_response())
}

/// Does it, or whatever the lying actuator makes of it.
async fn perform(world: &World, line: &Cut, word: &str, op: Op) -> Response {
    match world.lie(word, &op) {
        None => told(&op, &world.act(&op)),
        Some(Lie::DoneSaysError) => {
            world.act(&op);
            refuse(StatusCode::CONFLICT, "it failed")
        }
        Some(Lie::DoneNoAnswer) => {
            world.act(&op);
            world.silence().await;
            cut(line)
        }
        Some(Lie::NothingSaysDone) => {
            world.not_done(&op);
            Json(json!({ "taken": true, "observed": "done" })).into_response()
        }
        Some(Lie::NothingNoAnswer) => {
            world.not_done(&op);
            world.silence().await;
            cut(line)
        }
        Some(Lie::Refuses) => {
            world.not_done(&op);
            refuse(StatusCode::FORBIDDEN, "it is refused")
        }
    }
}

fn told(op: &Op, applied: &Applied) -> Response {
    let seen = json!({
        "taken": applied.taken,
        "observed": applied.observed,
        "target": op.target,
        "known_after_seconds": applied.known_after.seconds(),
    });
    let status = if applied.taken { StatusCode::OK } else { StatusCode::CONFLICT };
    (status, Json(seen)).into_response()
}

fn op(does: OpKind, target: String) -> Op {
    Op { does, target: Target::new(target), replicas: None }
}

/// Waits for a node's agent; the answer if it has none.
async fn reach(world: &World, line: &Cut, node: &str) -> Result<usize, Refusal> {
    let index = world.with(|plant| plant.node_index(node)).ok_or_else(|| gone("node", node))?;
    world.pass(index).await.map_err(|()| cut(line))?;
    Ok(index)
}

/// Whether what is not a node can be reached.
fn road(world: &World, line: &Cut) -> Result<(), Refusal> {
    if world.road() == Door::Open { Ok(()) } else { Err(cut(line).into()) }
}

fn filesystem_value(fs: &Filesystem) -> Value {
    json!({
        "mountpoint": fs.mountpoint,
        "size_bytes": fs.size_bytes,
        "avail_bytes": fs.avail_ratio() * fs.size_bytes,
        "avail_ratio": fs.avail_ratio(),
    })
}

fn disk_value(disk: &Disk) -> Value {
    json!({
        "disk": disk.name,
        "size_bytes": disk.size_bytes,
        "data_bytes": disk.data_bytes,
        "evacuating": disk.evacuating.is_some(),
        "passed": disk.passed && !disk.dead,
    })
}

fn node_value(node: &Node) -> Value {
    json!({
        "node": node.name,
        "power": node.power.name(),
        "busy": node.busy,
        "up_seconds": node.up_seconds,
        "cordoned": node.cordoned,
        "filesystems": node.filesystems.iter().map(filesystem_value).collect::<Vec<_>>(),
        "disks": node.disks.iter().map(disk_value).collect::<Vec<_>>(),
    })
}

async fn agent(State(world): Shared, ConnectInfo(line): Line, Path(node): Path<String>) -> Result<Response, Refusal> {
    let index = reach(&world, &line, &node).await?;
    Ok(Json(world.with(|plant| node_value(&plant.nodes[index]))).into_response())
}

async fn sleep(State(world): Shared, ConnectInfo(line): Line, Path(node): Path<String>) -> Result<Response, Refusal> {
    reach(&world, &line, &node).await?;
    Ok(perform(&world, &line, "sleep", op(OpKind::Sleep, format!("node/{node}"))).await)
}

#[derive(Deserialize)]
struct Mounted {
    mountpoint: String,
}

async fn filesystem(
    State(world): Shared,
    ConnectInfo(line): Line,
    Path(node): Path<String>,
    Query(at): Query<Mounted>,
) -> Result<Response, Refusal> {
    reach(&world, &line, &node).await?;
    let value = world.with(|plant| plant.filesystem(&format!("{node}:{}", at.mountpoint)).map(filesystem_value));
    Ok(found(value, "filesystem", &at.mountpoint))
}

async fn clean(State(world): Shared, ConnectInfo(line): Line, Path(node): Path<String>, bytes: Bytes) -> Result<Response, Refusal> {
    reach(&world, &line, &node).await?;
    let at: Mounted = body(&bytes, r#"{"mountpoint": "/srv"}"#)?;
    let name = format!("{node}:{}", at.mountpoint);
    if world.with(|plant| plant.filesystem(&name).is_none()) {
        return Err(Refusal::from(gone("filesystem", &name)));
    }
    Ok(perform(&world, &line, "clean", op(OpKind::Clean, format!("filesystem/{name}"))).await)
}

async fn disk(State(world): Shared, ConnectInfo(line): Line, Path((node, disk)): Path<(String, String)>) -> Result<Response, Refusal> {
    reach(&world, &line, &node).await?;
    Ok(found(world.with(|plant| plant.disk(&format!("{node}:{disk}")).map(disk_value)), "disk", &disk))
}

async fn evacuate(State(world): Shared, ConnectInfo(line): Line, Path((node, disk)): Path<(String, String)>) -> Result<Response, Refusal> {
    reach(&world, &line, &node).await?;
    let name = format!("{node}:{disk}");
    if world.with(|plant| plant.disk(&name).is_none()) {
        return Err(Refusal::from(gone("disk", &name)));
    }
    Ok(perform(&world, &line, "evacuate", op(OpKind::Evacuate, format!("disk/{name}"))).await)
}

/// A node's plug; it has power as long as the feed has.
fn plugged(world: &World, line: &Cut, node: &str) -> Result<Value, Refusal> {
    road(world, line)?;
    let plug = |node: &Node| {
        (node.power != Power::Unpowered)
            .then(|| json!({ "node": node.name, "on": node.power != Power::Off, "watts": node.watts, "joules": node.joules }))
    };
    world.with(|plant| plant.node(node).map(plug)).ok_or_else(|| gone("plug", node))?.ok_or_else(|| cut(line).into())
}

async fn plug(State(world): Shared, ConnectInfo(line): Line, Path(node): Path<String>) -> Result<Response, Refusal> {
    Ok(Json(plugged(&world, &line, &node)?).into_response())
}

async fn switch(State(world): Shared, ConnectInfo(line): Line, Path((node, what)): Path<(String, String)>) -> Result<Response, Refusal> {
    plugged(&world, &line, &node)?;
    let does = match what.as_str() {
        "cycle" => OpKind::PowerCycle,
        "off" => OpKind::PowerOff,
        _ => return Err(Refusal::from(gone("request", &what))),
    };
    Ok(perform(&world, &line, &what, op(does, format!("node/{node}"))).await)
}

fn service_value(plant: &Plant, name: &str) -> Option<Value> {
    let service = &plant.services[plant.service_index(name)?];
    Some(json!({
        "service": service.spec.name,
        "namespace": service.spec.namespace,
        "replicas": service.replicas.len(),
        "ready": service.ready(&plant.nodes, plant.now()),
        "up": service.up,
        "latency_seconds": service.latency_seconds,
    }))
}

async fn service(State(world): Shared, ConnectInfo(line): Line, Path(name): Path<String>) -> Result<Response, Refusal> {
    road(&world, &line)?;
    Ok(found(world.with(|plant| service_value(plant, &name)), "service", &name))
}

async fn restart(State(world): Shared, ConnectInfo(line): Line, Path(name): Path<String>) -> Result<Response, Refusal> {
    road(&world, &line)?;
    world.with(|plant| plant.service_index(&name)).ok_or_else(|| gone("service", &name))?;
    Ok(perform(&world, &line, "restart", op(OpKind::Restart, format!("service/{name}"))).await)
}

#[derive(Deserialize)]
struct Wish {
    replicas: u32,
}

async fn replicas(State(world): Shared, ConnectInfo(line): Line, Path(name): Path<String>, bytes: Bytes) -> Result<Response, Refusal> {
    road(&world, &line)?;
    world.with(|plant| plant.service_index(&name)).ok_or_else(|| gone("service", &name))?;
    let wish: Wish = body(&bytes, r#"{"replicas": 3}"#)?;
    if wish.replicas > REPLICAS_MAX {
        return Err(refuse(StatusCode::BAD_REQUEST, format!("{} replicas: expected at most {REPLICAS_MAX}", wish.replicas)).into());
    }
    let op = Op { replicas: Some(wish.replicas), ..op(OpKind::Scale, format!("service/{name}")) };
    Ok(perform(&world, &line, "replicas", op).await)
}

fn pod_value(plant: &Plant, name: &str) -> Option<Value> {
    let (service, replica) = plant.pod_index(name)?;
    let service = &plant.services[service];
    let replica = &service.replicas[replica];
    Some(json!({
        "namespace": service.spec.namespace,
        "pod": service.pod(replica),
        "node": plant.nodes[replica.node].name,
        "ready": service.is_ready(replica, &plant.nodes, plant.now()),
        "restarts": replica.restarts,
        "waiting": replica.is_waiting(plant.now()),
    }))
}

/// A pod by namespace and name; the plant's own index does not look at the namespace.
fn look_pod(world: &World, line: &Cut, namespace: &str, pod: &str) -> Result<Value, Refusal> {
    road(world, line)?;
    let value = world.with(|plant| pod_value(plant, pod)).filter(|value| value["namespace"] == namespace);
    value.ok_or_else(|| gone("pod", &format!("{namespace}/{pod}")).into())
}

async fn pod(State(world): Shared, ConnectInfo(line): Line, Path((namespace, pod)): Path<(String, String)>) -> Result<Response, Refusal> {
    Ok(Json(look_pod(&world, &line, &namespace, &pod)?).into_response())
}

async fn delete_pod(
    State(world): Shared,
    ConnectInfo(line): Line,
    Path((namespace, pod)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    look_pod(&world, &line, &namespace, &pod)?;
    Ok(perform(&world, &line, "delete-pod", op(OpKind::DeletePod, format!("pod/{namespace}/{pod}"))).await)
}

fn certificate_value(plant: &Plant, name: &str) -> Option<Value> {
    let certificate = plant.certificates.iter().find(|certificate| certificate.name == name)?;
    Some(json!({ "certificate": name, "expires": certificate.expires.seconds(), "days_left": certificate.days_left(plant.now()) }))
}

async fn certificate(State(world): Shared, ConnectInfo(line): Line, Path(name): Path<String>) -> Result<Response, Refusal> {
    road(&world, &line)?;
    Ok(found(world.with(|plant| certificate_value(plant, &name)), "certificate", &name))
}

async fn renew(State(world): Shared, ConnectInfo(line): Line, Path(name): Path<String>) -> Result<Response, Refusal> {
    road(&world, &line)?;
    world.with(|plant| certificate_value(plant, &name)).ok_or_else(|| gone("certificate", &name))?;
    Ok(perform(&world, &line, "renew", op(OpKind::RenewCertificate, format!("certificate/{name}"))).await)
}
