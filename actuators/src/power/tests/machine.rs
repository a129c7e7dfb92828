//! A machine whose TCP port opens and closes, and the things around it: agents, controllers, plugs, programs.

use super::super::node::Own;
use super::*;
use crate::conformance::{Seen, Server, answer};
use axum::response::Response;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use tokio::net::{TcpListener, TcpSocket};

enum Port {
    Closed(TcpSocket),
    Open(TcpListener),
}

/// A machine on loopback: up, its port accepts; down, it is refused.
#[derive(Clone)]
pub(super) struct Machine {
    pub address: SocketAddr,
    port: Arc<Mutex<Option<Port>>>,
}

impl Machine {
    pub(super) fn new(up: bool) -> Machine {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let machine = Machine { address: socket.local_addr().unwrap(), port: Arc::new(Mutex::new(Some(Port::Closed(socket)))) };
        machine.set(up);
        machine
    }

    pub(super) fn set(&self, up: bool) {
        let mut port = self.port.lock().unwrap();
        *port = match (port.take(), up) {
            (Some(Port::Closed(socket)), true) => Some(Port::Open(socket.listen(4096).unwrap())),
            (Some(Port::Open(listener)), false) => {
                drop(listener);
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(self.address).unwrap();
                Some(Port::Closed(socket))
            }
            (other, _) => other,
        };
    }

    pub(super) fn up(&self) -> bool {
        matches!(*self.port.lock().unwrap(), Some(Port::Open(_)))
    }

    /// An agent: `POST` or `GET` of `/sleep`, `/off`, `/wake` does it and answers so.
    pub(super) async fn agent(&self, says: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Server {
        let machine = self.clone();
        Server::start(move |_, seen| {
            match seen.uri.path() {
                "/sleep" | "/off" => machine.set(false),
                "/wake" => machine.set(true),
                _ => {}
            }
            says(seen)
        })
        .await
    }

    /// A node's configuration: this machine's port, and more.
    pub(super) fn node(&self, more: Value) -> Value {
        let mut node = json!({ "probe": { "tcp": self.address.to_string() }, "boot_timeout": "400ms", "off_timeout": "400ms" });
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    }
}

/// The whole configuration of one node, `muscle`, with short waits.
pub(super) fn whole(node: Value) -> Value {
    json!({ "poll": "5ms", "packet_gap": "1ms", "silence": "30ms", "nodes": { "muscle": node } })
}

pub(super) fn build(node: Value) -> (tempfile::TempDir, Power) {
    build_on(node, &Own::default()).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

pub(super) fn build_on(node: Value, own: &Own) -> Result<(tempfile::TempDir, Power), Vec<Fault>> {
    let (dir, ledger) = ledger();
    let config = serde_json::from_value(whole(node)).unwrap_or_else(|error| panic!("{error}"));
    Power::on_host(&config, ledger, own).map(|power| (dir, power))
}

pub(super) fn done(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Done(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}

pub(super) fn not_done(outcome: Outcome) -> Fault {
    match outcome {
        Outcome::NotDone(fault) => fault,
        other => panic!("{other:?}"),
    }
}

pub(super) fn unknown(outcome: Outcome) -> Fault {
    match outcome {
        Outcome::Unknown(fault) => fault,
        other => panic!("{other:?}"),
    }
}

/// A program for one test.
pub(super) fn script(dir: &Path, name: &str, body: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

/// What a script runs to ask a server: a request without a body, and its answer read.
pub(super) fn fetch(server: &Server, path: &str) -> String {
    let address = server.url.trim_start_matches("http://").replace(':', "/");
    format!("exec 3<>/dev/tcp/{address}; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3 >/dev/null")
}

/// An `ssh` of the test's, with its key and known hosts beside it.
pub(super) fn ssh(dir: &Path, body: &str) -> (Value, Value) {
    for name in ["key", "known"] {
        std::fs::write(dir.join(name), "x").unwrap();
    }
    let program = script(dir, "ssh", body);
    let host = json!({ "host": "muscle.lan", "user": "homeostat", "known_hosts": dir.join("known"), "program": program });
    (host, json!({ "via": "ssh", "key_file": dir.join("key"), "command": ["sudo", "systemctl", "suspend"] }))
}

/// A Redfish service with one system. `lies`: it takes everything and does nothing, and says what was wished.
pub(super) struct Bmc {
    pub server: Server,
    pub state: Arc<Mutex<&'static str>>,
}

impl Bmc {
    pub(super) async fn start(machine: &Machine, lies: bool) -> Bmc {
        let state = Arc::new(Mutex::new(if machine.up() { "On" } else { "Off" }));
        let (machine, shared) = (machine.clone(), state.clone());
        let server = Server::start(move |_, seen| {
            let path = seen.uri.path();
            let system = "/redfish/v1/Systems/1";
            let allowed = json!(["On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi", "PushPowerButton"]);
            match (seen.method.as_str(), path) {
                ("POST", "/redfish/v1/SessionService/Sessions") => {
                    let mut answer = answer(201, json!({}));
                    answer.headers_mut().insert("x-auth-token", "token-of-the-session".parse().unwrap());
                    answer.headers_mut().insert("location", "/redfish/v1/SessionService/Sessions/5".parse().unwrap());
                    answer
                }
                ("GET", "/redfish/v1/Systems") => answer(200, json!({ "Members": [{ "@odata.id": system }] })),
                ("GET", path) if path == system => answer(
                    200,
                    json!({ "PowerState": *shared.lock().unwrap(), "Actions": { "#ComputerSystem.Reset": {
                        "target": format!("{system}/Actions/ComputerSystem.Reset"), "ResetType@Redfish.AllowableValues": allowed } } }),
                ),
                ("POST", _) => {
                    let on = match seen.json()["ResetType"].as_str().unwrap() {
                        "On" => true,
                        "GracefulShutdown" | "ForceOff" => false,
                        other => panic!("{other}"),
                    };
                    *shared.lock().unwrap() = if on { "On" } else { "Off" };
                    if !lies {
                        machine.set(on);
                    }
                    answer(204, json!({}))
                }
                _ => answer(404, json!({})),
            }
        })
        .await;
        Bmc { server, state }
    }

    pub(super) fn config(&self, auth: &str) -> Value {
        json!({ "url": self.server.url, "user": "homeostat", "password": "hunter2-do-not-show", "auth": auth })
    }
}

/// Requests other than GET.
pub(super) fn writes(server: &Server) -> Vec<Seen> {
    server.seen().into_iter().filter(|seen| seen.method != "GET" && !seen.uri.path().contains("Sessions")).collect()
}

/// A way for the conformance suite: the configuration of `power`, what works, how often the far end was written to.
pub(crate) struct WaySubject {
    pub config: Value,
    pub verb: &'static str,
    pub writes: Box<dyn Fn() -> usize>,
    pub keep: Box<dyn std::any::Any>,
}

/// One subject per way, each against a machine of its own.
pub(crate) async fn way_subjects() -> Vec<WaySubject> {
    const SECRET: &str = "hunter2-do-not-show";
    let subject = |verb: &'static str, node: Value, server: Arc<Server>, writes: fn(&Seen) -> bool, keep: Box<dyn std::any::Any>| {
        let far = server.clone();
        let count = move || far.seen().iter().filter(|seen| writes(seen)).count();
        WaySubject { config: whole(node), verb, writes: Box::new(count), keep: Box::new((server, keep)) }
    };
    let mut subjects = Vec::new();
    let posts = |seen: &Seen| seen.method == "POST";

    let machine = Machine::new(true);
    let agent = Arc::new(machine.agent(|_| answer(200, json!({ "echo": SECRET }))).await);
    let way = json!({ "via": "http", "url": format!("{}/sleep", agent.url), "headers": { "x-key": SECRET } });
    subjects.push(subject("power.sleep", machine.node(json!({ "sleep": way })), agent, posts, Box::new(machine)));

    let machine = Machine::new(true);
    let agent = Arc::new(machine.agent(|_| answer(200, json!({ "Operation": "sleep", "Result": true }))).await);
    let node = json!({ "sleep": { "via": "sleep-on-lan" }, "sleep_on_lan": { "url": agent.url, "user": "u", "password": SECRET } });
    subjects.push(subject("power.sleep", machine.node(node), agent, |_| true, Box::new(machine)));

    let machine = Machine::new(true);
    let bmc = Bmc::start(&machine, false).await;
    let node = json!({ "off": { "via": "redfish" }, "redfish": bmc.config("basic") });
    subjects.push(subject("power.off", machine.node(node), Arc::new(bmc.server), posts, Box::new(machine)));

    let machine = Machine::new(false);
    let woken = machine.clone();
    let cluster = Server::start(move |_, _| {
        woken.set(true);
        answer(200, json!({ "data": "00:11:22:33:44:55" }))
    });
    let cluster = Arc::new(cluster.await);
    let node = json!({ "wake": { "via": "proxmox" }, "proxmox": { "url": cluster.url, "node": "pve2", "token": SECRET } });
    subjects.push(subject("power.wake", machine.node(node), cluster, posts, Box::new(machine)));

    let machine = Machine::new(false);
    let started = machine.clone();
    let home = Server::start(move |_, seen| {
        if seen.method == "POST" {
            started.set(true);
        }
        answer(200, json!({ "state": if started.up() { "on" } else { "off" } }))
    });
    let home = Arc::new(home.await);
    let node = json!({ "on": { "via": "home-assistant" }, "home_assistant": { "url": home.url, "token": SECRET, "plug": "switch.plug" } });
    subjects.push(subject("power.on", machine.node(node), home, posts, Box::new(machine)));

    let (machine, dir) = (Machine::new(true), tempfile::tempdir().unwrap());
    let agent = Arc::new(machine.agent(|_| answer(200, json!({}))).await);
    let (host, way) =
        ssh(dir.path(), &format!("{}; echo 'Connection to muscle.lan closed by remote host.' >&2; exit 255", fetch(&agent, "/sleep")));
    subjects.push(subject("power.sleep", machine.node(json!({ "sleep": way, "ssh": host })), agent, |_| true, Box::new((machine, dir))));

    let (machine, dir) = (Machine::new(true), tempfile::tempdir().unwrap());
    let agent = Arc::new(machine.agent(|_| answer(200, json!({}))).await);
    let state = dir.path().join("state").display().to_string();
    let body = format!(
        "case \"${{@: -1}}\" in status) if [ -e {state} ]; then echo 'Chassis Power is off'; else echo 'Chassis Power is on'; fi;; \
         soft) touch {state}; {};; *) exit 1;; esac",
        fetch(&agent, "/off")
    );
    let program = script(dir.path(), "ipmitool", &body);
    let node = json!({ "off": { "via": "ipmi" }, "ipmi": { "host": "bmc.lan", "user": "u", "password": SECRET, "program": program } });
    subjects.push(subject("power.off", machine.node(node), agent, |_| true, Box::new((machine, dir))));
    subjects
}
