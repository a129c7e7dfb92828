use super::*;
use crate::conformance::{HangsUp, SECRET, Server, Subject, action, answer, conforms, corpus, ledger, subject};
use std::sync::Mutex;

struct Face {
    server: Server,
    state: Arc<Mutex<String>>,
}

impl Face {
    /// A plug in this state. `answers`: what a service call is answered with; `works`: whether it has its effect.
    async fn start(first: &str, answers: u16, works: bool) -> Face {
        let state = Arc::new(Mutex::new(first.to_owned()));
        let kept = state.clone();
        let server = Server::start(move |_, seen| match (seen.method.as_str(), seen.uri.path()) {
            ("GET", "/api/states/switch.nas_plug") => {
                answer(200, json!({ "entity_id": "switch.nas_plug", "state": *kept.lock().unwrap() }))
            }
            ("GET", "/api/states/sensor.nas_watts") => answer(200, json!({ "state": "3.5" })),
            ("POST", path) => {
                if works {
                    *kept.lock().unwrap() = if path.ends_with("turn_on") { "on" } else { "off" }.to_owned();
                }
                answer(answers, json!([])) // none of the changed states, as it happens
            }
            _ => answer(404, json!({ "message": "Entity not found." })),
        })
        .await;
        Face { server, state }
    }

    fn writes(&self) -> usize {
        self.server.seen().iter().filter(|seen| seen.method != "GET").count()
    }

    fn actuator(&self) -> (tempfile::TempDir, HomeAssistant) {
        let (dir, ledger) = ledger();
        (dir, HomeAssistant::new(&serde_json::from_value(config(&self.server.url)).unwrap(), ledger).unwrap())
    }
}

fn config(url: &str) -> Value {
    let call = |service: &str, expect: &str, back: &str| json!({ "service": service, "entity": "switch.nas_plug", "expect": expect, "revert_service": back });
    let mut off = call("switch.turn_off", "off", "switch.turn_on");
    off["only_below"] = json!({ "entity": "sensor.nas_watts", "below": 3 });
    json!({ "url": url, "token": SECRET, "poll": "5ms", "calls": { "on": call("switch.turn_on", "on", "switch.turn_off"), "off": off } })
}

fn act(id: u64, name: &str) -> Action {
    action(id, "home-assistant.call", &format!("service/{name}"))
}

#[tokio::test]
async fn a_state_proves_it_and_it_is_taken_back_once() {
    let face = Face::start("off", 200, true).await;
    let (_dir, actuator) = face.actuator();
    assert_eq!(actuator.ready().await, []);
    let Outcome::Done(receipt) = actuator.apply(Time(0), &act(1, "on")).await else { panic!() };
    let sent = face.server.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!((sent.uri.path(), sent.json()), ("/api/services/switch/turn_on", json!({ "entity_id": "switch.nas_plug" })));
    assert_eq!(sent.header("authorization"), format!("Bearer {SECRET}"));
    let Outcome::Done(same) = actuator.apply(Time(0), &act(2, "on")).await else { panic!() };
    assert!(same.observed.contains("already") && same.undo.is_empty() && face.writes() == 1, "{same:?}");
    assert_eq!(actuator.revert(Time(0), &act(1, "on"), &receipt).await.name(), "done");
    actuator.revert(Time(0), &act(1, "on"), &receipt).await;
    assert_eq!((face.writes(), face.state.lock().unwrap().as_str()), (2, "off"));
}

#[tokio::test]
async fn what_is_not_proven_is_not_done_or_unknown() {
    let face = Face::start("unavailable", 200, true).await;
    let (_dir, actuator) = face.actuator();
    assert_eq!(actuator.apply(Time(0), &act(1, "on")).await.name(), "not_done");
    assert_eq!(face.writes(), 0);
    // The guard: the plug still carries a load.
    let face = Face::start("on", 200, true).await;
    let (_dir, actuator) = face.actuator();
    let Outcome::NotDone(fault) = actuator.apply(Time(0), &act(1, "off")).await else { panic!() };
    assert_eq!((fault.code, face.writes()), (FaultCode::Conflict, 0));
    // 200 and no effect.
    let face = Face::start("off", 200, false).await;
    let (_dir, actuator) = face.actuator();
    let on = Action { timeout: Span::from_millis(200), ..act(1, "on") };
    assert_eq!(actuator.apply(Time(0), &on).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(1), &on).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(90_000), &on).await.name(), "not_done");
    *face.state.lock().unwrap() = "on".into();
    assert_eq!(actuator.probe(Time(90_000), &on).await.name(), "done");
    assert_eq!(face.writes(), 1);
}

#[tokio::test]
async fn refusals_and_lost_answers() {
    for (status, name, code) in [
        (400, "not_done", FaultCode::Failed),
        (401, "not_done", FaultCode::Denied),
        (404, "not_done", FaultCode::NotFound),
        (405, "not_done", FaultCode::Failed),
        (429, "not_done", FaultCode::Limit),
        (502, "unknown", FaultCode::Failed),
    ] {
        let face = Face::start("off", status, status == 502).await;
        let (_dir, actuator) = face.actuator();
        let outcome = actuator.apply(Time(0), &act(1, "on")).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!((outcome.name(), fault.code, face.writes()), (name, code, 1), "{status}");
        actuator.apply(Time(0), &act(1, "on")).await;
        assert_eq!(face.writes(), 1);
        if status == 502 {
            assert_eq!(actuator.probe(Time(1), &act(1, "on")).await.name(), "done");
        }
    }
    let mute = HangsUp::start().await;
    let (_dir, ledger) = ledger();
    let actuator = HomeAssistant::new(&serde_json::from_value(config(&mute.url)).unwrap(), ledger).unwrap();
    assert_eq!(actuator.apply(Time(0), &act(1, "on")).await.name(), "not_done");
    assert_eq!(actuator.ready().await.len(), 1);
}

#[tokio::test]
async fn previews_send_nothing_and_only_configured_services_are_called() {
    let face = Face::start("off", 200, true).await;
    let (_dir, actuator) = face.actuator();
    let planned = actuator.preview(&act(1, "off")).unwrap();
    assert_eq!(planned.iter().map(|step| step.writes).collect::<Vec<_>>(), [false, false, true]);
    assert!(actuator.check(&act(1, "unlock-door")).is_err());
    assert_eq!(face.server.seen().len(), 0);
    let (_dir, ledger) = ledger();
    let mut bad = config("x");
    bad["calls"]["on"]["entity"] = json!("../x");
    bad["calls"]["off"]["expect"] = json!("unavailable");
    assert_eq!(HomeAssistant::new(&serde_json::from_value(bad).unwrap(), ledger).err().unwrap().len(), 3);
    let Some(dir) = corpus("acting/home-assistant") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("samples-synthetic.json")).unwrap()).unwrap();
    let ours = service_call(&actuator.calls[&Target::from("service/on")], "switch.turn_on");
    assert_eq!(serde_json::from_slice::<Value>(&ours.body.bytes()).unwrap(), all["call"]["body"]);
}

#[tokio::test]
async fn home_assistant_conforms() {
    let face = Arc::new(Face::start("off", 200, true).await);
    let (dir, actuator) = subject(json!({ "home_assistant": config(&face.server.url) }), "home-assistant");
    let counted = face.clone();
    conforms(Subject { actuator, good: act(1, "on"), count: Box::new(move || counted.writes()), once: 1, _keep: Box::new((dir, face)) })
        .await;
}
