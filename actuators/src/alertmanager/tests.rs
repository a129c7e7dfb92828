use super::*;
use crate::conformance::{HangsUp, SECRET, Server, Subject, action_with, answer, conforms, ledger, subject};
use homeostat_model::Args;
use std::sync::Mutex;

/// An Alertmanager that keeps silences. `refuse`: what a POST is answered with instead, after (`true`) or before it took effect.
struct Face {
    server: Server,
    silences: Arc<Mutex<Vec<Value>>>,
}

impl Face {
    async fn start(refuse: Option<(u16, bool)>) -> Face {
        let silences = Arc::new(Mutex::new(Vec::<Value>::new()));
        let kept = silences.clone();
        let server = Server::start(move |_, seen| {
            let mut kept = kept.lock().unwrap();
            let path = seen.uri.path();
            match (seen.method.as_str(), path) {
                ("GET", "/am/api/v2/status") => answer(200, json!({ "versionInfo": {}, "cluster": {} })),
                ("GET", "/am/api/v2/silences") => answer(200, json!(*kept)),
                ("POST", "/am/api/v2/silences") => {
                    if let Some((status, false)) = refuse {
                        return answer(status, json!("Failed to create silence: end time can't be in the past"));
                    }
                    let id = format!("s{}", kept.len());
                    let mut silence = seen.json();
                    silence["id"] = json!(id);
                    silence["status"] = json!({ "state": "active" });
                    kept.push(silence);
                    refuse.map_or_else(|| answer(200, json!({ "silenceID": id })), |(status, _)| answer(status, json!({ "code": status })))
                }
                (method, path) => {
                    let found = kept.iter_mut().find(|silence| path.ends_with(&format!("/{}", silence["id"].as_str().unwrap())));
                    match (method, found) {
                        ("GET", Some(silence)) => answer(200, silence.clone()),
                        ("DELETE", Some(silence)) => {
                            silence["status"]["state"] = json!("expired");
                            answer(200, json!(null))
                        }
                        _ => answer(404, json!(null)),
                    }
                }
            }
        })
        .await;
        Face { server, silences }
    }

    fn writes(&self) -> usize {
        self.server.seen().iter().filter(|seen| seen.method != "GET").count()
    }

    fn actuator(&self) -> (tempfile::TempDir, Alertmanager) {
        let (dir, ledger) = ledger();
        (dir, Alertmanager::new(&config(&self.server.url), ledger, "j1").unwrap())
    }
}

fn config(url: &str) -> AlertmanagerConfig {
    serde_json::from_value(json!({ "url": format!("{url}/am/"), "headers": { "authorization": SECRET }, "duration_max": "1h" })).unwrap()
}

fn silence(id: u64, labels: &[(&str, &str)]) -> Action {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), Arg::from(*value))).collect();
    action_with(id, "alertmanager.silence", "node/nas", Args::from([("labels".to_owned(), Arg::Map(labels))]))
}

fn good(id: u64) -> Action {
    silence(id, &[("alertname", "DiskFull"), ("instance", "na\"s:9100")])
}

#[tokio::test]
async fn one_alert_is_silenced_exactly_bounded_and_by_name() {
    let face = Face::start(None).await;
    let (_dir, actuator) = face.actuator();
    let outcome = actuator.apply(Time(0), &good(1)).await;
    let Outcome::Done(receipt) = &outcome else { panic!("{outcome:?}") };
    let seen = face.server.seen();
    assert_eq!(seen[0].uri.query().unwrap(), "filter=alertname%3D%22DiskFull%22&filter=instance%3D%22na%5C%22s%3A9100%22");
    let sent = seen[1].json();
    assert_eq!(sent["matchers"][0], json!({ "name": "alertname", "value": "DiskFull", "isRegex": false, "isEqual": true }));
    assert_eq!((sent["startsAt"].as_str(), sent["endsAt"].as_str()), (Some("1970-01-01T00:00:00.000Z"), Some("1970-01-01T01:00:00.000Z")));
    assert!(sent["comment"].as_str().unwrap().starts_with("homeostat/decision: j1-a1 "), "{sent}");

    // Found again by its comment, by a daemon that lost its receipts; `a1` is not `a11`.
    let (_dir2, again) = face.actuator();
    assert!(matches!(again.apply(Time(0), &good(1)).await, Outcome::Done(_)));
    assert_eq!(face.writes(), 1);
    assert!(matches!(again.apply(Time(0), &good(11)).await, Outcome::Done(_)));
    assert_eq!(face.writes(), 2);

    assert!(matches!(actuator.revert(Time(0), &good(1), receipt).await, Outcome::Done(_)));
    assert_eq!(face.silences.lock().unwrap()[0]["status"]["state"], "expired");
    assert!(matches!(actuator.revert(Time(0), &good(1), receipt).await, Outcome::Done(_)));
    assert_eq!(face.writes(), 3);
}

#[tokio::test]
async fn what_somebody_changed_is_left_alone() {
    let face = Face::start(None).await;
    let (_dir, actuator) = face.actuator();
    let Outcome::Done(receipt) = actuator.apply(Time(0), &good(1)).await else { panic!() };
    face.silences.lock().unwrap()[0]["endsAt"] = json!("2030-01-01T00:00:00.000Z");
    let Outcome::NotDone(fault) = actuator.revert(Time(0), &good(1), &receipt).await else { panic!() };
    assert_eq!((fault.code, face.writes()), (FaultCode::Conflict, 1));
}

#[tokio::test]
async fn refusals_and_lost_answers() {
    for (status, name, code) in [
        (400, "not_done", FaultCode::Failed),
        (401, "not_done", FaultCode::Denied),
        (403, "not_done", FaultCode::Denied),
        (422, "not_done", FaultCode::Failed),
        (429, "not_done", FaultCode::Limit),
        (503, "unknown", FaultCode::Failed),
    ] {
        let face = Face::start(Some((status, false))).await;
        let (_dir, actuator) = face.actuator();
        let outcome = actuator.apply(Time(0), &good(1)).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!((outcome.name(), fault.code, face.writes()), (name, code, 1), "{status}");
        actuator.apply(Time(0), &good(1)).await;
        assert_eq!(face.writes(), 1);
    }
    // It took effect, but the answer was a gateway's: the probe finds it by its comment.
    let face = Face::start(Some((502, true))).await;
    let (_dir, actuator) = face.actuator();
    assert_eq!(actuator.apply(Time(0), &good(1)).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(1), &good(1)).await.name(), "done");
    face.silences.lock().unwrap().clear();
    assert_eq!(actuator.probe(Time(1), &good(1)).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(90_000), &good(1)).await.name(), "not_done");
    let mute = HangsUp::start().await;
    let (_dir, ledger) = ledger();
    let actuator = Alertmanager::new(&config(&mute.url), ledger, "j1").unwrap();
    assert_eq!(actuator.apply(Time(0), &good(1)).await.name(), "not_done");
}

#[tokio::test]
async fn nothing_broad_is_ever_silenced() {
    let face = Face::start(None).await;
    let (_dir, actuator) = face.actuator();
    for labels in
        [&[][..], &[("instance", "nas")], &[("alertname", "")], &[("alertname", "x"), ("a-b", "y")], &[("alertname", "x"), ("b", "")]]
    {
        let act = silence(1, labels);
        assert!(actuator.check(&act).is_err(), "{labels:?}");
        assert_eq!(actuator.apply(Time(0), &act).await.name(), "not_done");
    }
    let mut long = good(1);
    long.args.insert("duration_minutes".into(), Arg::Int(61));
    assert!(actuator.check(&long).is_err());
    let planned = actuator.preview(&good(1)).unwrap();
    assert_eq!(planned.iter().map(|step| step.writes).collect::<Vec<_>>(), [false, true]);
    assert_eq!(face.server.seen().len(), 0);
    assert_eq!(actuator.ready().await, []);
    let (_dir, ledger) = ledger();
    let bad = AlertmanagerConfig { url: "x".into(), duration_max: Span::from_hours(99), require: Vec::new(), ..config("http://x") };
    assert_eq!(Alertmanager::new(&bad, ledger, "j1").err().unwrap().len(), 3);
}

#[tokio::test]
async fn alertmanager_conforms() {
    let face = Arc::new(Face::start(None).await);
    let config = json!({ "url": format!("{}/am", face.server.url), "headers": { "authorization": SECRET } });
    let (dir, actuator) = subject(json!({ "alertmanager": config }), "alertmanager");
    let counted = face.clone();
    conforms(Subject { actuator, good: good(1), count: Box::new(move || counted.writes()), once: 1, _keep: Box::new((dir, face)) }).await;
}
