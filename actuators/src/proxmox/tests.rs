use super::*;
use crate::conformance::{HangsUp, SECRET, Server, Subject, action, action_with, answer, conforms, corpus, ledger, subject};
use serde_json::{Value, json};
use std::sync::Mutex;

/// A cluster of pve1 and pve2 with guest 104.
#[derive(Clone)]
struct Cluster {
    node: String,
    status: String,
    ha: i64,
    lock: Option<String>,
    disks: Value,
    /// How a task exits; `None`: never.
    exit: Option<String>,
    /// Whether a task has its effect.
    works: bool,
    /// What a write is answered with.
    answers: u16,
}

impl Default for Cluster {
    fn default() -> Cluster {
        let text = str::to_owned;
        Cluster {
            node: text("pve1"),
            status: text("stopped"),
            ha: 0,
            lock: None,
            disks: json!([]),
            exit: Some(text("OK")),
            works: true,
            answers: 200,
        }
    }
}

struct Face {
    server: Server,
    cluster: Arc<Mutex<Cluster>>,
}

impl Face {
    async fn start(cluster: Cluster) -> Face {
        let cluster = Arc::new(Mutex::new(cluster));
        let kept = cluster.clone();
        let server = Server::start(move |_, seen| {
            let mut cluster = kept.lock().unwrap();
            let path: Vec<&str> = seen.uri.path().trim_start_matches("/api2/json/").split('/').collect();
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            match (seen.method.as_str(), &path[..]) {
                ("GET", ["cluster", "resources"]) => answer(200, json!({ "data": [{ "vmid": 104, "node": cluster.node }] })),
                ("GET", ["nodes", node, "qemu", "104", "status", "current"]) if *node == cluster.node => {
                    let data = json!({ "status": cluster.status, "ha": { "managed": cluster.ha }, "lock": cluster.lock });
                    answer(200, json!({ "data": data }))
                }
                ("GET", ["nodes", _, "qemu", "104", "migrate"]) => {
                    let data = json!({ "running": 1, "allowed_nodes": ["pve2"], "not_allowed_nodes": {}, "local_disks": cluster.disks, "local_resources": [] });
                    answer(200, json!({ "data": data }))
                }
                // The task is known on pve1 only, whoever was asked.
                ("GET", ["nodes", "pve1", "tasks", upid, "status"]) if upid.starts_with("UPID:pve1:") => match &cluster.exit {
                    Some(exit) => answer(200, json!({ "data": { "status": "stopped", "exitstatus": exit } })),
                    None => answer(200, json!({ "data": { "status": "running" } })),
                },
                ("POST", ["nodes", _, "qemu", "104", rest @ ..]) => {
                    if cluster.works {
                        match rest {
                            ["status", "start"] => cluster.status = "running".into(),
                            ["status", _] => cluster.status = "stopped".into(),
                            _ => cluster.node = body.split(['=', '&']).nth(1).unwrap().to_owned(),
                        }
                    }
                    answer(cluster.answers, json!({ "data": "UPID:pve1:0003A2B1:012F4C55:691F9E2A:qmstart:104:loopd@pve!engine:" }))
                }
                _ => answer(500, json!({ "data": null })),
            }
        })
        .await;
        Face { server, cluster }
    }

    fn writes(&self) -> Vec<String> {
        let writes = self.server.seen().into_iter().filter(|seen| seen.method != "GET");
        writes.map(|seen| format!("{} {} {}", seen.method, seen.uri, String::from_utf8_lossy(&seen.body))).collect()
    }

    fn actuator(&self) -> (tempfile::TempDir, Proxmox) {
        let (dir, ledger) = ledger();
        (dir, Proxmox::new(&config(&self.server.url), ledger).unwrap())
    }
}

fn config(url: &str) -> ProxmoxConfig {
    let text = json!({ "url": url, "token_id": "engine@pve!loop", "token": SECRET, "guests": { "db": { "vmid": 104 } }, "poll": "5ms" });
    serde_json::from_value(text).unwrap()
}

fn act(id: u64, verb: &str) -> Action {
    action(id, verb, "guest/db")
}

fn migrate(id: u64) -> Action {
    action_with(id, "proxmox.migrate", "guest/db", [("to".to_owned(), Arg::from("pve2")), ("from".to_owned(), Arg::from("pve1"))].into())
}

fn code(outcome: &Outcome) -> (&'static str, FaultCode) {
    let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = outcome else { panic!("{outcome:?}") };
    (outcome.name(), fault.code)
}

#[tokio::test]
async fn a_task_is_followed_on_its_node_and_the_guest_is_seen() {
    let face = Face::start(Cluster::default()).await;
    let (_dir, actuator) = face.actuator();
    assert_eq!(actuator.ready().await, []);
    let start = act(1, "proxmox.start");
    let Outcome::Done(receipt) = actuator.apply(Time(0), &start).await else { panic!() };
    assert_eq!((receipt.observed.as_str(), face.writes().len()), ("guest 104 is running on `pve1`", 1));
    assert_eq!(face.server.seen()[0].header("authorization"), format!("PVEAPIToken=engine@pve!loop={SECRET}"));
    // Already so: nothing is sent, and nothing is to be undone.
    let Outcome::Done(same) = actuator.apply(Time(0), &act(2, "proxmox.start")).await else { panic!() };
    assert!(same.observed.contains("already") && same.undo.is_empty(), "{same:?}");
    assert_eq!(actuator.revert(Time(0), &act(2, "proxmox.start"), &same).await.name(), "not_done");
    let Outcome::Done(_) = actuator.apply(Time(0), &migrate(3)).await else { panic!() };
    assert_eq!(face.writes()[1], "POST /api2/json/nodes/pve1/qemu/104/migrate target=pve2&online=1");
    let Outcome::Done(_) = actuator.revert(Time(0), &start, &receipt).await else { panic!() };
    assert_eq!(face.writes()[2], "POST /api2/json/nodes/pve2/qemu/104/status/shutdown timeout=120&forceStop=0");
    actuator.revert(Time(0), &start, &receipt).await;
    assert_eq!(face.writes().len(), 3);
}

#[tokio::test]
async fn what_others_hold_is_refused_before_anything_is_sent() {
    let ha = Cluster { ha: 1, ..Cluster::default() };
    let locked = Cluster { lock: Some("backup".into()), ..Cluster::default() };
    let disks = Cluster { status: "running".into(), disks: json!([{ "volid": "local:1" }]), ..Cluster::default() };
    let moved = Cluster { status: "running".into(), node: "pve3".into(), ..Cluster::default() };
    for (cluster, act) in [(ha, act(1, "proxmox.start")), (locked, act(1, "proxmox.start")), (disks, migrate(1)), (moved, migrate(1))] {
        let face = Face::start(cluster).await;
        let (_dir, actuator) = face.actuator();
        assert_eq!(code(&actuator.apply(Time(0), &act).await), ("not_done", FaultCode::Conflict));
        assert_eq!(face.writes().len(), 0);
    }
}

#[tokio::test]
async fn tasks_that_fail_hang_or_lie_have_their_names() {
    let failed = Cluster { exit: Some("VM 104 already running".into()), works: false, ..Cluster::default() };
    let lied = Cluster { works: false, ..Cluster::default() };
    let hangs = Cluster { exit: None, works: false, ..Cluster::default() };
    for (cluster, expected) in [
        (failed.clone(), ("not_done", FaultCode::Failed)),
        (lied, ("not_done", FaultCode::Failed)),
        (hangs, ("unknown", FaultCode::TimedOut)),
    ] {
        let face = Face::start(cluster).await;
        let (_dir, actuator) = face.actuator();
        let start = Action { timeout: Span::from_millis(400), ..act(1, "proxmox.start") };
        assert_eq!(code(&actuator.apply(Time(0), &start).await), expected);
        assert_eq!(face.writes().len(), 1);
        if expected.0 == "unknown" {
            assert_eq!(actuator.probe(Time(1), &start).await.name(), "unknown");
            face.cluster.lock().unwrap().exit = Some("OK".into());
            face.cluster.lock().unwrap().status = "running".into();
            assert_eq!(actuator.probe(Time(1), &start).await.name(), "done");
        }
    }
    // Somebody else started it in between: the task fails, the world is as wished.
    let face = Face::start(Cluster { works: true, ..failed }).await;
    let (_dir, actuator) = face.actuator();
    assert_eq!(actuator.apply(Time(0), &act(1, "proxmox.start")).await.name(), "done");
}

#[tokio::test]
async fn refusals_and_lost_answers() {
    for (status, expected) in [
        (401, ("not_done", FaultCode::Denied)),
        (403, ("not_done", FaultCode::Denied)),
        (404, ("not_done", FaultCode::NotFound)),
        (429, ("not_done", FaultCode::Limit)),
        (502, ("unknown", FaultCode::Failed)),
    ] {
        let face = Face::start(Cluster { answers: status, works: status == 502, ..Cluster::default() }).await;
        let (_dir, actuator) = face.actuator();
        let start = act(1, "proxmox.start");
        assert_eq!(code(&actuator.apply(Time(0), &start).await), expected, "{status}");
        actuator.apply(Time(0), &start).await;
        assert_eq!(face.writes().len(), 1);
        if status == 502 {
            assert_eq!(actuator.probe(Time(1), &start).await.name(), "done", "it took effect");
        }
    }
    let mute = HangsUp::start().await;
    let (_dir, ledger) = ledger();
    let actuator = Proxmox::new(&config(&mute.url), ledger.clone()).unwrap();
    assert_eq!(actuator.apply(Time(0), &act(1, "proxmox.start")).await.name(), "not_done");
    assert_eq!(actuator.ready().await.len(), 4, "one fault per verb");
    let denied = Server::start(|_, _| answer(403, json!({ "message": "Permission check failed" }))).await;
    let faults = Proxmox::new(&config(&denied.url), ledger).unwrap().ready().await;
    assert!(faults[0].1.detail.contains("VM.PowerMgmt"), "{faults:?}");
}

#[tokio::test]
async fn previews_send_nothing() {
    let face = Face::start(Cluster::default()).await;
    let (_dir, actuator) = face.actuator();
    let planned = actuator.preview(&migrate(1)).unwrap();
    assert_eq!(planned.iter().map(|step| step.writes).collect::<Vec<_>>(), [false, false, false, true, false]);
    assert_eq!(face.server.seen().len(), 0);
    let bad = action_with(1, "proxmox.migrate", "guest/db", [("to".to_owned(), Arg::from("a/b"))].into());
    assert!(actuator.check(&bad).is_err() && actuator.check(&act(1, "proxmox.migrate")).is_err());
    let (_dir, ledger) = ledger();
    let bad = ProxmoxConfig { url: "x".into(), token_id: "x".into(), guests: BTreeMap::new(), ..config("http://x") };
    assert_eq!(Proxmox::new(&bad, ledger).err().unwrap().len(), 3);
}

#[test]
fn the_corpus_tasks_are_read() {
    assert_eq!(Upid::parse("UPID:pve1:zz:0:0:qmstart:1:u:"), None);
    let Some(dir) = corpus("acting/proxmox") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("samples.json")).unwrap()).unwrap();
    let upid = Upid::parse(all["POST /api2/json/nodes/pve1/qemu/104/status/start"]["data"].as_str().unwrap()).unwrap();
    assert_eq!(upid.node, "pve1");
}

#[tokio::test]
async fn proxmox_conforms() {
    let face = Arc::new(Face::start(Cluster::default()).await);
    let mut config = serde_json::to_value(config(&face.server.url)).unwrap();
    config["token"] = json!(SECRET); // literals are not written
    let (dir, actuator) = subject(json!({ "proxmox": config }), "proxmox");
    let counted = face.clone();
    let good = act(1, "proxmox.start");
    conforms(Subject { actuator, good, count: Box::new(move || counted.writes().len()), once: 1, _keep: Box::new((dir, face)) }).await;
}
