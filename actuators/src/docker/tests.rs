use super::*;
use crate::conformance::{HangsUp, Server, Subject, action, answer, conforms, corpus, ledger, subject};
use serde_json::json;
use std::sync::Mutex;

const BEFORE_AT: &str = "2026-11-20T22:00:00Z";
const AFTER_AT: &str = "2026-11-20T23:35:00Z";

fn inspected(started_at: &str, status: &str, health: &str) -> Value {
    json!({ "State": { "Status": status, "StartedAt": started_at, "Health": { "Status": health, "FailingStreak": 0, "Log": [] } } })
}

/// A daemon: `inspections` are given one after the other once a restart was asked for, the last for ever.
async fn daemon(restart: u16, inspections: Vec<Value>) -> Server {
    let asked = Arc::new(Mutex::new(None::<usize>));
    Server::start(move |_, seen| {
        let mut asked = asked.lock().unwrap();
        match (seen.method.as_str(), seen.uri.path()) {
            ("GET", "/version") => answer(200, json!({ "ApiVersion": "1.45", "MinAPIVersion": "1.24" })),
            ("POST", "/v1.45/containers/web/restart") => {
                *asked = Some(0);
                answer(restart, if restart == 204 { json!(null) } else { json!({ "message": "no" }) })
            }
            ("GET", "/v1.45/containers/web/json") => match asked.as_mut() {
                None => answer(200, inspected(BEFORE_AT, "running", "unhealthy")),
                Some(count) => {
                    let at = (*count).min(inspections.len() - 1);
                    *count += 1;
                    answer(200, inspections[at].clone())
                }
            },
            _ => answer(404, json!({ "message": "No such container" })),
        }
    })
    .await
}

fn config(url: &str) -> DockerConfig {
    let text = json!({ "address": url.replace("http://", "tcp://"), "containers": ["web", "gone"], "poll": "5ms", "timeout": "20s" });
    serde_json::from_value(text).unwrap()
}

fn writes(far: &Server) -> usize {
    far.seen().iter().filter(|seen| seen.method != "GET").count()
}

#[tokio::test]
async fn a_restart_is_done_when_it_runs_anew_and_is_healthy() {
    let far = daemon(
        204,
        vec![
            inspected(BEFORE_AT, "running", "unhealthy"),
            inspected(AFTER_AT, "running", "starting"),
            inspected(AFTER_AT, "running", "healthy"),
        ],
    )
    .await;
    let (_dir, ledger) = ledger();
    let docker = Docker::new(&config(&far.url), ledger).unwrap();
    let Outcome::Done(receipt) = docker.apply(Time(0), &action(1, "docker.restart", "container/web")).await else { panic!() };
    assert!(receipt.observed.contains(AFTER_AT) && receipt.observed.contains("healthy"), "{receipt:?}");
    let shown: Vec<String> = far.seen().iter().map(|seen| format!("{} {}", seen.method, seen.uri)).collect();
    assert_eq!(shown[..3], ["GET /version", "GET /v1.45/containers/web/json", "POST /v1.45/containers/web/restart?t=10"]);
    assert_eq!((writes(&far), shown.len()), (1, 6));
}

#[tokio::test]
async fn what_is_ill_afterwards_is_a_failure_and_what_still_starts_is_unknown() {
    for (health, name) in [("unhealthy", "not_done"), ("starting", "unknown")] {
        let far = daemon(204, vec![inspected(AFTER_AT, "running", health)]).await;
        let (_dir, ledger) = ledger();
        let docker = Docker::new(&config(&far.url), ledger).unwrap();
        let act = Action { timeout: Span::from_millis(300), ..action(1, "docker.restart", "container/web") };
        let outcome = docker.apply(Time(0), &act).await;
        assert_eq!(outcome.name(), name, "{outcome:?}");
        assert_eq!(writes(&far), 1);
    }
}

#[tokio::test]
async fn refusals_have_their_names_and_nothing_is_sent_twice() {
    for (status, name, code) in [
        (403, "not_done", FaultCode::Denied),
        (404, "not_done", FaultCode::NotFound),
        (409, "not_done", FaultCode::Conflict),
        (429, "not_done", FaultCode::Limit),
        (500, "unknown", FaultCode::Failed),
    ] {
        let far = daemon(status, vec![inspected(BEFORE_AT, "running", "unhealthy")]).await;
        let (_dir, ledger) = ledger();
        let docker = Docker::new(&config(&far.url), ledger).unwrap();
        let act = action(1, "docker.restart", "container/web");
        let outcome = docker.apply(Time(0), &act).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!((outcome.name(), fault.code), (name, code), "{status}");
        docker.apply(Time(0), &act).await;
        assert_eq!(writes(&far), 1, "{status}");
        if status == 500 {
            assert_eq!(docker.probe(Time(1), &act).await.name(), "unknown", "it may still be on its way");
            assert_eq!(docker.probe(Time(30_000), &act).await.name(), "not_done");
        }
    }
    let far = daemon(204, vec![json!({})]).await;
    let (_dir, ledger) = ledger();
    let docker = Docker::new(&config(&far.url), ledger).unwrap();
    let Outcome::NotDone(fault) = docker.apply(Time(0), &action(1, "docker.restart", "container/gone")).await else { panic!() };
    assert_eq!((fault.code, writes(&far)), (FaultCode::NotFound, 0));
    assert!(docker.check(&action(1, "docker.restart", "container/other")).is_err());
}

#[tokio::test]
async fn a_daemon_that_hangs_up_is_not_done_before_the_restart() {
    let far = HangsUp::start().await;
    let (_dir, ledger) = ledger();
    let docker = Docker::new(&config(&far.url), ledger).unwrap();
    let act = Action { timeout: Span::from_secs(2), ..action(1, "docker.restart", "container/web") };
    assert_eq!(docker.apply(Time(0), &act).await.name(), "not_done");
    assert_eq!(docker.ready().await.len(), 1);
}

#[tokio::test]
async fn the_socket_is_spoken_to_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let app = axum::Router::new().fallback(|uri: axum::http::Uri| async move {
        match uri.path() {
            "/version" => answer(200, json!({ "ApiVersion": "1.53", "MinAPIVersion": "1.44" })),
            "/v1.51/containers/web/json" => answer(200, inspected(BEFORE_AT, "running", "healthy")),
            _ => answer(403, json!({ "message": "proxied away" })),
        }
    });
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let (_dir, ledger) = ledger();
    let one = DockerConfig { address: format!("unix://{}", path.display()), containers: vec!["web".into()], ..config("tcp://x") };
    assert_eq!(Docker::new(&one, ledger.clone()).unwrap().ready().await, []);
    let faults = Docker::new(&DockerConfig { containers: vec!["hidden".into()], ..one }, ledger).unwrap().ready().await;
    assert!(faults[0].1.detail.contains("filtering proxy"), "{faults:?}");
    task.abort();
}

#[test]
fn previews_send_nothing_and_wrong_configurations_are_listed() {
    let (_dir, ledger) = ledger();
    let docker = Docker::new(&config("http://127.0.0.1:9"), ledger.clone()).unwrap();
    let planned = docker.preview(&action(1, "docker.restart", "container/web")).unwrap();
    assert_eq!(planned.iter().map(|step| step.writes).collect::<Vec<_>>(), [false, false, true]);
    assert!(planned[2].call.ends_with("/containers/web/restart?t=10"), "{planned:?}");
    let bad = DockerConfig { address: "ftp://x".into(), containers: vec!["a/b".into()], ..config("http://x") };
    assert_eq!(Docker::new(&bad, ledger).err().unwrap().len(), 2);
}

#[test]
fn the_corpus_inspection_is_read() {
    let Some(dir) = corpus("acting/docker") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("samples-synthetic.json")).unwrap()).unwrap();
    let seen = Seen::read(&all["GET /v1.51/containers/web/json"]).unwrap();
    assert!(seen.is_well() && seen.started_at == AFTER_AT, "{seen:?}");
}

#[tokio::test]
async fn docker_conforms() {
    let far = Arc::new(daemon(204, vec![inspected(AFTER_AT, "running", "healthy")]).await);
    let (dir, actuator) = subject(json!({ "docker": config(&far.url) }), "docker");
    let counted = far.clone();
    let good = action(1, "docker.restart", "container/web");
    // The second action finds the container started as the first left it and waits in vain: let it wait shortly.
    let good = Action { timeout: Span::from_millis(500), ..good };
    conforms(Subject { actuator, good, count: Box::new(move || writes(&counted)), once: 1, _keep: Box::new((dir, far)) }).await;
}
