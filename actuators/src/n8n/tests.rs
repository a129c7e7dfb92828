use super::*;
use crate::conformance::{HangsUp, SECRET, Server, Subject, action, answer, conforms, ledger, subject};

/// An n8n: `hook` is what the webhook answers, `execution` the state of execution 17.
async fn face(hook: (u16, Value), execution: &'static str) -> Server {
    Server::start(move |_, seen| match (seen.method.as_str(), seen.uri.path()) {
        ("POST", "/webhook/ops/cleanup") => answer(hook.0, hook.1.clone()),
        ("GET", "/api/v1/executions/17") => answer(200, json!({ "id": 17, "status": execution, "finished": execution == "success" })),
        ("GET", "/api/v1/workflows/w1") => answer(200, json!({ "active": execution != "error" })),
        _ => answer(404, json!({})),
    })
    .await
}

fn config(url: &str, reply: &str) -> Value {
    json!({ "url": url, "api_key": SECRET, "poll": "5ms",
        "workflows": { "cleanup": { "path": "ops/cleanup", "workflow_id": "w1", "headers": { "x-hook": SECRET }, "reply": reply } } })
}

fn built(url: &str, reply: &str) -> (tempfile::TempDir, N8n) {
    let (dir, ledger) = ledger();
    (dir, N8n::new(&serde_json::from_value(config(url, reply)).unwrap(), ledger, "j1").unwrap())
}

fn act(id: u64) -> Action {
    action(id, "n8n.trigger", "workflow/cleanup")
}

fn writes(far: &Server) -> usize {
    far.seen().iter().filter(|seen| seen.method != "GET").count()
}

#[tokio::test]
async fn accepted_is_not_done_until_the_execution_says_so() {
    for (hook, execution, reply, name) in [
        (json!({ "message": "Workflow was started" }), "running", "immediately", "unknown"),
        (json!({ "executionId": 17 }), "success", "immediately", "done"),
        (json!({ "executionId": "17" }), "error", "immediately", "not_done"),
        (json!({ "executionId": "17" }), "running", "immediately", "unknown"),
        (json!({ "executionId": "../x" }), "success", "immediately", "unknown"),
        (json!({ "ok": true }), "running", "when_done", "done"),
    ] {
        let far = face((200, hook.clone()), execution).await;
        let (_dir, n8n) = built(&far.url, reply);
        let short = Action { timeout: Span::from_millis(200), ..act(1) };
        let outcome = n8n.apply(Time(0), &short).await;
        assert_eq!((outcome.name(), writes(&far)), (name, 1), "{hook} {outcome:?}");
        assert_eq!(far.seen()[0].json()["decision"], "j1-a1");
        n8n.apply(Time(0), &short).await;
        assert_eq!((writes(&far), n8n.probe(Time(1), &short).await.name()), (1, name));
    }
}

#[tokio::test]
async fn refusals_lost_answers_and_readiness() {
    for (status, name, code) in [
        (403, "not_done", FaultCode::Denied),
        (404, "not_done", FaultCode::NotFound),
        (429, "not_done", FaultCode::Limit),
        (500, "unknown", FaultCode::Failed),
    ] {
        let far = face((status, json!({ "message": "no" })), "success").await;
        let (_dir, n8n) = built(&far.url, "when_done");
        let outcome = n8n.apply(Time(0), &act(1)).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &outcome else { panic!("{outcome:?}") };
        assert_eq!((outcome.name(), fault.code, writes(&far)), (name, code, 1), "{status}");
    }
    let mute = HangsUp::start().await;
    let (_dir, n8n) = built(&mute.url, "when_done");
    assert_eq!((n8n.apply(Time(0), &act(1)).await.name(), mute.count()), ("unknown", 1));
    assert_eq!(n8n.probe(Time(900_000), &act(1)).await.name(), "unknown");
    let far = face((200, json!({})), "success").await;
    let (_dir, n8n) = built(&far.url, "when_done");
    assert_eq!(n8n.ready().await, []);
    let far = face((200, json!({})), "error").await;
    let (_dir, n8n) = built(&far.url, "when_done");
    assert!(n8n.ready().await[0].1.detail.contains("activate it"));
    assert_eq!(writes(&far), 0);
    let planned = n8n.preview(&act(1)).unwrap();
    assert!(planned[0].writes && planned[0].call.ends_with("/webhook/ops/cleanup"), "{planned:?}");
    let (_dir, ledger) = ledger();
    let mut bad = config("http://x", "when_done");
    bad["workflows"]["cleanup"]["path"] = json!("../webhook-test/x");
    assert_eq!(N8n::new(&serde_json::from_value(bad).unwrap(), ledger, "j1").err().unwrap().len(), 1);
}

#[tokio::test]
async fn n8n_conforms() {
    let far = Arc::new(face((200, json!({ "echo": SECRET })), "success").await);
    let (dir, actuator) = subject(json!({ "n8n": config(&far.url, "when_done") }), "n8n");
    let counted = far.clone();
    conforms(Subject { actuator, good: act(1), count: Box::new(move || writes(&counted)), once: 1, _keep: Box::new((dir, far)) }).await;
}
