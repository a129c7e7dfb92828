//! What each way sends, and what its answers are worth.

use super::machine::*;
use super::*;
use crate::conformance::{HangsUp, Server, answer, corpus};
use serde_json::Value;

fn samples(folder: &str) -> Option<Value> {
    let dir = corpus(&format!("acting/{folder}"))?;
    Some(serde_json::from_str(&std::fs::read_to_string(dir.join("samples.json")).unwrap()).unwrap())
}

#[tokio::test]
async fn redfish_reads_first_chooses_from_what_is_offered_and_closes_its_session() {
    for auth in ["basic", "session"] {
        let machine = Machine::new(false);
        let bmc = Bmc::start(&machine, false).await;
        let (_dir, power) =
            build(machine.node(json!({ "wake": { "via": "redfish" }, "off": { "via": "redfish" }, "redfish": bmc.config(auth) })));
        let receipt = done(power.apply(Time(0), &action(1, "power.wake", "node/muscle")).await);
        assert!(receipt.observed.starts_with(&format!("tcp {} answered", machine.address)), "{receipt:?}");
        let sent = writes(&bmc.server);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].uri.path(), "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset");
        assert_eq!(sent[0].json(), json!({ "ResetType": "On" }));
        let seen = bmc.server.seen();
        if auth == "basic" {
            assert!(seen.iter().all(|seen| seen.header("authorization").starts_with("Basic ")));
        } else {
            let (opened, closed) =
                (|seen: &&crate::conformance::Seen| seen.method == "POST" && seen.uri.path().ends_with("Sessions"), "DELETE");
            assert_eq!(seen.iter().filter(opened).count(), seen.iter().filter(|seen| seen.method == closed).count());
            assert!(seen.iter().filter(|seen| seen.method == "GET").all(|seen| seen.header("x-auth-token") == "token-of-the-session"));
            assert_eq!(seen[0].json(), json!({ "UserName": "homeostat", "Password": "hunter2-do-not-show" }));
        }
        let receipt = done(power.apply(Time(0), &action(2, "power.off", "node/muscle")).await);
        assert!(receipt.observed.contains("GracefulShutdown") && receipt.observed.contains("silent for"), "{receipt:?}");
        let again = done(power.apply(Time(0), &action(3, "power.off", "node/muscle")).await);
        assert!(again.observed.starts_with("was silent already") && again.undo.is_empty(), "{again:?}");
        assert_eq!(writes(&bmc.server).len(), 2);
    }
}

#[tokio::test]
async fn a_controller_that_lies_is_unknown() {
    // It says "Off", and the node answers on.
    let machine = Machine::new(true);
    let bmc = Bmc::start(&machine, true).await;
    let (_dir, power) = build(machine.node(json!({ "off": { "via": "redfish" }, "redfish": bmc.config("basic") })));
    let off = action(1, "power.off", "node/muscle");
    let fault = unknown(power.apply(Time(0), &off).await);
    assert!(fault.detail.contains("answers"), "{fault}");
    assert_eq!(not_done(power.probe(Time(9000), &off).await).code, FaultCode::TimedOut);
    // Asked again it is off already, by its word alone: nothing is sent to one that is wrong.
    let fault = not_done(power.apply(Time(0), &action(2, "power.off", "node/muscle")).await);
    assert!(fault.code == FaultCode::Conflict && fault.detail.contains("one of them is wrong"), "{fault}");
    assert_eq!(writes(&bmc.server).len(), 1);
    // The node is silent, and the controller goes on saying "On".
    machine.set(false);
    *bmc.state.lock().unwrap() = "On";
    let fault = unknown(power.probe(Time(100), &off).await);
    assert!(fault.detail.contains("says On"), "{fault}");

    // It says "On", and the node stays silent.
    let machine = Machine::new(false);
    let bmc = Bmc::start(&machine, true).await;
    let (_dir, power) = build(machine.node(json!({ "on": { "via": "redfish" }, "redfish": bmc.config("basic") })));
    assert_eq!(unknown(power.apply(Time(0), &action(1, "power.on", "node/muscle")).await).code, FaultCode::TimedOut);
    let fault = not_done(power.apply(Time(0), &action(2, "power.on", "node/muscle")).await);
    assert!(fault.detail.contains("hangs or boots"), "{fault}");
    assert_eq!(writes(&bmc.server).len(), 1);
}

#[tokio::test]
async fn redfish_errors_and_what_is_not_offered() {
    let system = |kinds: Value| {
        json!({ "PowerState": "Off", "Actions": { "#ComputerSystem.Reset": { "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": kinds } } })
    };
    let error = json!({ "error": { "@Message.ExtendedInfo": [{ "MessageId": "Base.1.18.ActionParameterNotSupported" }] } });
    for (read, kinds, write, outcome, words, posts) in [
        (200, json!(["On"]), 400, "not_done", "ActionParameterNotSupported", 1),
        (200, json!(["On"]), 503, "unknown", "did not answer", 1),
        (200, json!(["Nmi"]), 204, "not_done", "offers Nmi", 0),
        (401, json!(["On"]), 204, "not_done", "401", 0),
        (503, json!(["On"]), 204, "not_done", "503", 0),
    ] {
        let (machine, body, error) = (Machine::new(false), system(kinds), error.clone());
        let server = Server::start(move |_, seen| match seen.method.as_str() {
            "GET" => answer(read, body.clone()),
            _ => answer(write, error.clone()),
        });
        let server = server.await;
        let redfish = json!({ "url": server.url, "user": "u", "password": "hunter2-do-not-show", "system": "1" });
        let (_dir, power) = build(machine.node(json!({ "wake": { "via": "redfish" }, "redfish": redfish })));
        let got = power.apply(Time(0), &action(1, "power.wake", "node/muscle")).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &got else { panic!("{got:?}") };
        assert!(got.name() == outcome && fault.detail.contains(words), "{read} {write}: {got:?}");
        assert_eq!(writes(&server).len(), posts, "{read} {write}");
        let ready = power.ready().await;
        assert_eq!(ready.len(), usize::from(posts == 0), "{ready:?}");
    }
}

#[tokio::test]
async fn the_redfish_fixture_is_understood() {
    let Some(samples) = samples("redfish") else { return };
    let machine = Machine::new(false);
    let woken = machine.clone();
    let server = Server::start(move |_, seen| {
        if seen.method == "POST" {
            assert_eq!(seen.json(), samples["POST target"]["request"]);
            woken.set(true);
            return answer(204, json!({}));
        }
        answer(200, samples[format!("GET {}", seen.uri.path())].clone())
    })
    .await;
    let redfish = json!({ "url": server.url, "user": "u", "password": "p", "system": "1" });
    let (_dir, power) = build(machine.node(json!({ "on": { "via": "redfish" }, "redfish": redfish })));
    done(power.apply(Time(0), &action(1, "power.on", "node/muscle")).await);
    assert_eq!(writes(&server)[0].uri.path(), "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset");
}

#[tokio::test]
async fn sleep_on_lan_accepts_before_it_acts() {
    let fixture =
        samples("sleep-on-lan").map_or(json!({ "Operation": "sleep", "Result": true }), |all| all["GET /sleep?format=JSON"].clone());
    let machine = Machine::new(true);
    let agent = machine.agent(move |_| answer(200, fixture.clone())).await;
    let node = |url: &str| machine.node(json!({ "sleep": { "via": "sleep-on-lan" }, "sleep_on_lan": { "url": url } }));
    let (_dir, power) = build(node(&agent.url));
    let receipt = done(power.apply(Time(0), &action(1, "power.sleep", "node/muscle")).await);
    assert!(receipt.observed.contains("the agent took `sleep`"), "{receipt:?}");
    assert_eq!((agent.seen()[0].method.as_str(), agent.seen()[0].uri.to_string()), ("GET", "/sleep?format=JSON".into()));
    // Accepted and not done; refused; not understood.
    machine.set(true);
    for (says, outcome) in
        [(json!({ "Result": true }), "unknown"), (json!({ "Result": false }), "not_done"), (json!("<result><success>true"), "unknown")]
    {
        let agent = Server::start(move |_, _| answer(200, says.clone())).await;
        let (_dir, power) = build(node(&agent.url));
        let got = power.apply(Time(0), &action(1, "power.sleep", "node/muscle")).await;
        assert_eq!(got.name(), outcome, "{got:?}");
        assert_eq!(agent.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_agents_answers() {
    for (status, outcome, code) in [
        (401, "not_done", FaultCode::Denied),
        (404, "not_done", FaultCode::NotFound),
        (409, "not_done", FaultCode::Conflict),
        (429, "not_done", FaultCode::Limit),
        (503, "unknown", FaultCode::TimedOut),
    ] {
        let machine = Machine::new(true);
        let agent = Server::start(move |_, _| answer(status, json!({ "error": "no" }))).await;
        let (_dir, power) = build(machine.node(json!({ "sleep": { "via": "http", "url": agent.url } })));
        let sleep = action(1, "power.sleep", "node/muscle");
        let got = power.apply(Time(0), &sleep).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &got else { panic!("{got:?}") };
        assert_eq!((got.name(), fault.code), (outcome, code), "{status}");
        assert_eq!(power.apply(Time(0), &sleep).await, got, "the same number acts once");
        assert_eq!(agent.seen().len(), 1, "{status}");
    }
    // A lost answer, and the node went to sleep all the same: seen, so done.
    let machine = Machine::new(true);
    let agent = HangsUp::start().await;
    let (_dir, power) = build(machine.node(json!({ "off_timeout": "20s", "sleep": { "via": "http", "url": agent.url } })));
    let asleep = machine.clone();
    let sleep = action(1, "power.sleep", "node/muscle");
    let watching = async {
        while agent.count() == 0 {
            tokio::task::yield_now().await;
        }
        asleep.set(false);
    };
    let (outcome, ()) = tokio::join!(power.apply(Time(0), &sleep), watching);
    assert!(done(outcome).observed.starts_with("it may have been taken"));
    // Nobody there: surely nothing was sent.
    let (machine, closed) = (Machine::new(true), ClosedPort::new());
    let (_dir, power) = build(machine.node(json!({ "sleep": { "via": "http", "url": format!("http://{}", closed.address()) } })));
    assert_eq!(not_done(power.apply(Time(0), &sleep).await).code, FaultCode::Unreachable);
}

#[tokio::test]
async fn proxmox_wakes_and_shuts_down_by_its_forms_and_says_which_right_is_missing() {
    let machine = Machine::new(false);
    let node = machine.clone();
    let cluster = Server::start(move |_, seen| match seen.uri.path() {
        "/api2/json/nodes/pve2/wakeonlan" => {
            node.set(true);
            answer(200, json!({ "data": "00:11:22:33:44:55" }))
        }
        "/api2/json/nodes/pve2/status" => {
            node.set(false);
            answer(200, json!({ "data": null }))
        }
        _ => answer(200, json!({ "data": { "/nodes/pve2": { "Sys.Audit": 1 } } })),
    })
    .await;
    let proxmox = json!({ "url": cluster.url, "node": "pve2", "token": "loop@pve!engine=hunter2-do-not-show" });
    let way = json!({ "via": "proxmox" });
    let (_dir, power) = build(machine.node(json!({ "wake": way, "off": way, "reboot": way, "proxmox": proxmox })));
    let missing = power.ready().await;
    assert!(missing.len() == 3 && missing.iter().all(|(_, fault)| fault.code == FaultCode::Denied), "{missing:?}");
    assert!(missing[0].1.detail.contains("`Sys.PowerMgmt` on `/nodes/pve2`"), "{missing:?}");
    assert!(writes(&cluster).is_empty(), "`ready` writes nothing");
    done(power.apply(Time(0), &action(1, "power.wake", "node/muscle")).await);
    done(power.apply(Time(0), &action(2, "power.off", "node/muscle")).await);
    let sent = writes(&cluster);
    assert_eq!(
        sent.iter().map(|seen| seen.uri.path()).collect::<Vec<_>>(),
        ["/api2/json/nodes/pve2/wakeonlan", "/api2/json/nodes/pve2/status"]
    );
    assert_eq!((sent[1].body.as_slice(), sent[1].header("content-type")), (&b"command=shutdown"[..], "application/x-www-form-urlencoded"));
    assert_eq!(sent[0].header("authorization"), "PVEAPIToken=loop@pve!engine=hunter2-do-not-show");
}

#[tokio::test]
async fn ipmitool_gets_its_password_by_the_environment_only() {
    let (machine, dir) = (Machine::new(true), tempfile::tempdir().unwrap());
    let agent = machine.agent(|_| answer(200, json!({}))).await;
    let log = dir.path().join("log").display().to_string();
    let body = format!(
        "echo \"$IPMI_PASSWORD: $*\" >> {log}\ncase \"${{@: -1}}\" in status) [ \"$(grep -c soft {log})\" = 0 ] && echo 'Chassis Power is on' || \
         echo 'Chassis Power is off';; soft) {};; esac",
        fetch(&agent, "/off")
    );
    let program = script(dir.path(), "ipmitool", &body);
    let ipmi = json!({ "host": "bmc.lan", "user": "homeostat", "password": "hunter2-do-not-show", "program": program });
    let (_dir, power) = build(machine.node(json!({ "off": { "via": "ipmi" }, "ipmi": ipmi })));
    let off = action(1, "power.off", "node/muscle");
    let planned = format!("{:?}", power.preview(&off).unwrap());
    assert!(planned.contains("chassis power soft") && !planned.contains("hunter2"), "{planned}");
    done(power.apply(Time(0), &off).await);
    let lines = std::fs::read_to_string(&log).unwrap();
    let soft: Vec<&str> = lines.lines().filter(|line| line.ends_with("soft")).collect();
    assert_eq!(soft, ["hunter2-do-not-show: -I lanplus -H bmc.lan -U homeostat -E chassis power soft"]);

    // A controller that cannot be reached: surely nothing was done.
    let program = script(dir.path(), "broken", "echo 'Error: Unable to establish IPMI v2 / RMCP+ session' >&2; exit 1");
    let machine = Machine::new(true);
    let ipmi = json!({ "host": "bmc.lan", "user": "u", "password": "p", "program": program });
    let (_dir, power) = build(machine.node(json!({ "off": { "via": "ipmi" }, "ipmi": ipmi })));
    assert_eq!(not_done(power.apply(Time(0), &off).await).code, FaultCode::Unreachable);
    assert_eq!(power.ready().await[0].1.code, FaultCode::Unreachable);
}
