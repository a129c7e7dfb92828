use super::*;
use crate::conformance::{HangsUp, SECRET, Server, Subject, action, action_with, answer, conforms, corpus, ledger, subject};
use std::sync::Mutex;

struct Face {
    server: Server,
    marks: Arc<Mutex<Vec<Value>>>,
}

impl Face {
    /// `refuse`: what a POST is answered with, after (`true`) or before it took effect.
    async fn start(refuse: Option<(u16, bool)>) -> Face {
        let marks = Arc::new(Mutex::new(Vec::<Value>::new()));
        let kept = marks.clone();
        let server = Server::start(move |_, seen| {
            let mut kept = kept.lock().unwrap();
            match (seen.method.as_str(), seen.uri.path()) {
                ("GET", "/api/annotations") => answer(200, json!(*kept)),
                ("POST", "/api/annotations") => {
                    if let Some((status, false)) = refuse {
                        return answer(status, json!({ "message": "no" }));
                    }
                    let id = kept.len() + 1;
                    let mut mark = seen.json();
                    mark["id"] = json!(id);
                    kept.push(mark);
                    let body = json!({ "message": "Annotation added", "id": id });
                    answer(refuse.map_or(200, |(status, _)| status), body)
                }
                ("PATCH", path) => {
                    let at: usize = path.rsplit('/').next().unwrap().parse().unwrap();
                    for (name, value) in seen.json().as_object().unwrap() {
                        kept[at - 1][name] = value.clone();
                    }
                    answer(200, json!({ "message": "Annotation patched" }))
                }
                _ => answer(404, json!({})),
            }
        })
        .await;
        Face { server, marks }
    }

    fn writes(&self) -> usize {
        self.server.seen().iter().filter(|seen| seen.method != "GET").count()
    }

    fn actuator(&self) -> (tempfile::TempDir, Grafana) {
        let (dir, ledger) = ledger();
        (dir, Grafana::new(&config(&self.server.url), ledger, "j1").unwrap())
    }
}

fn config(url: &str) -> GrafanaConfig {
    serde_json::from_value(json!({ "url": url, "token": SECRET, "dashboard_uid": "abc", "panel_id": 2, "every_action": true })).unwrap()
}

fn mark(id: u64) -> Action {
    let args = [("text".to_owned(), Arg::from("wake nas")), ("duration_minutes".to_owned(), Arg::Int(1))].into();
    action_with(id, "grafana.annotate", "node/nas", args)
}

#[tokio::test]
async fn a_mark_is_made_once_and_as_the_corpus_shows() {
    let face = Face::start(None).await;
    let (_dir, actuator) = face.actuator();
    let outcome = actuator.apply(Time(5_000), &mark(1)).await;
    assert!(matches!(&outcome, Outcome::Done(receipt) if receipt.undo["id"] == Arg::Int(1)), "{outcome:?}");
    let sent = face.server.seen()[1].json();
    assert_eq!((&sent["time"], &sent["timeEnd"], &sent["text"]), (&json!(5_000), &json!(65_000), &json!("wake nas")));
    assert!(sent["tags"].as_array().unwrap().contains(&json!("homeostat:j1-a1")), "{sent}");
    assert_eq!(face.server.seen()[1].header("authorization"), format!("Bearer {SECRET}"));
    let (_dir2, again) = face.actuator();
    assert!(matches!(again.apply(Time(5_000), &mark(1)).await, Outcome::Done(_)));
    assert_eq!(face.writes(), 1);
    let Some(dir) = corpus("acting/grafana") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("annotation-synthetic.json")).unwrap()).unwrap();
    let known = all["POST /api/annotations"]["body"].as_object().unwrap();
    assert!(sent.as_object().unwrap().keys().all(|name| known.contains_key(name)), "{sent}");
}

#[tokio::test]
async fn every_action_is_marked_from_its_start_to_its_end() {
    let face = Face::start(None).await;
    let (_dir, actuator) = face.actuator();
    let annotator = actuator.annotator().unwrap();
    let woken = action(3, "power.wake", "node/nas");
    assert_eq!(annotator.begun(Time(1_000), &woken).await, Ok(1));
    assert_eq!(annotator.begun(Time(1_000), &woken).await, Ok(1));
    let done = Outcome::Done(Receipt { observed: "tcp answered".into(), ..Receipt::default() });
    assert_eq!(annotator.settled(Time(9_000), &woken, &done).await, Ok(()));
    let marks = face.marks.lock().unwrap().clone();
    assert_eq!((marks.len(), &marks[0]["time"], &marks[0]["timeEnd"]), (1, &json!(1_000), &json!(9_000)));
    assert!(marks[0]["text"].as_str().unwrap().contains("done: tcp answered"), "{marks:?}");
    let other = action(4, "power.wake", "node/nas");
    assert_eq!(annotator.settled(Time(9_000), &other, &done).await, Ok(()), "no mark, nothing to close");
    assert_eq!(face.writes(), 2);
    let mute = HangsUp::start().await;
    let (_dir, ledger) = ledger();
    let annotator = Grafana::new(&config(&mute.url), ledger, "j1").unwrap().annotator().unwrap();
    let fault = annotator.begun(Time(0), &woken).await.unwrap_err();
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
}

#[tokio::test]
async fn refusals_and_lost_answers() {
    for (status, name, code) in [
        (400, "not_done", FaultCode::Failed),
        (401, "not_done", FaultCode::Denied),
        (403, "not_done", FaultCode::Denied),
        (404, "not_done", FaultCode::NotFound),
        (429, "not_done", FaultCode::Limit),
        (500, "unknown", FaultCode::Failed),
    ] {
        let face = Face::start(Some((status, false))).await;
        let (_dir, actuator) = face.actuator();
        let outcome = actuator.apply(Time(0), &mark(1)).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!((outcome.name(), fault.code, face.writes()), (name, code, 1), "{status}");
    }
    let face = Face::start(Some((502, true))).await;
    let (_dir, actuator) = face.actuator();
    assert_eq!(actuator.apply(Time(0), &mark(1)).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(1), &mark(1)).await.name(), "done");
    face.marks.lock().unwrap().clear();
    assert_eq!(actuator.probe(Time(1), &mark(1)).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(90_000), &mark(1)).await.name(), "not_done");
}

#[tokio::test]
async fn previews_and_questions_write_nothing() {
    let face = Face::start(None).await;
    let (_dir, actuator) = face.actuator();
    let planned = actuator.preview(&mark(1)).unwrap();
    assert!(planned[1].writes && planned[1].body.as_ref().unwrap().contains("wake nas"), "{planned:?}");
    assert_eq!((face.server.seen().len(), actuator.ready().await, face.writes()), (0, vec![], 0));
    let (_dir, ledger) = ledger();
    let denied = Server::start(|_, _| answer(403, json!({ "message": "no" }))).await;
    let faults = Grafana::new(&config(&denied.url), ledger.clone(), "j1").unwrap().ready().await;
    assert!(faults[0].1.detail.contains("annotations:create"), "{faults:?}");
    let bad = GrafanaConfig { url: "x".into(), dashboard_uid: None, timeout: Span::ZERO, ..config("http://x") };
    assert_eq!(Grafana::new(&bad, ledger, "j1").err().unwrap().len(), 3);
}

#[tokio::test]
async fn grafana_conforms() {
    let face = Arc::new(Face::start(None).await);
    let (dir, actuator) = subject(json!({ "grafana": { "url": face.server.url, "token": SECRET } }), "grafana");
    let counted = face.clone();
    conforms(Subject { actuator, good: mark(1), count: Box::new(move || counted.writes()), once: 1, _keep: Box::new((dir, face)) }).await;
}
