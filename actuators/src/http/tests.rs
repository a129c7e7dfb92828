use super::*;
use crate::conformance::{ClosedPort, HangsUp, Server, action, action_with, answer, ledger};
use homeostat_model::{Arg, Args};
use serde_json::json;

fn http(requests: serde_json::Value) -> (tempfile::TempDir, Http) {
    let (dir, ledger) = ledger();
    let config = serde_json::from_value(json!({ "requests": requests })).unwrap();
    (dir, Http::new(&config, ledger, "journal7").unwrap_or_else(|faults| panic!("{faults:?}")))
}

fn fault(outcome: Outcome, name: &str) -> Fault {
    assert_eq!(outcome.name(), name, "{outcome:?}");
    match outcome {
        Outcome::NotDone(fault) | Outcome::Unknown(fault) => fault,
        Outcome::Done(_) => panic!("done has no fault"),
    }
}

#[tokio::test]
async fn places_are_filled_typed_and_encoded_and_the_key_is_sent() {
    let server = Server::start(|_, _| answer(202, json!({}))).await;
    let (_dir, http) = http(json!({ "scale": { "doc": "Scales.",
        "args": { "replicas": { "kind": "int", "doc": "How many.", "min": 0, "max": 9 }, "why": { "kind": "text", "doc": "Why.", "default": "a&b=c/../d" } },
        "send": { "method": "PATCH", "url": format!("{}/apps/{{target_name}}?why={{why}}", server.url),
                  "headers": { "authorization": "Bearer hunter2" },
                  "json": { "spec": { "replicas": "{replicas}", "note": "to {replicas}: {why}" } } } } }));
    let action = action_with(12, "http.scale", "app/we b", Args::from([("replicas".to_owned(), Arg::Int(3))]));
    let Outcome::Done(receipt) = http.apply(Time(0), &action).await else { panic!() };
    assert_eq!(receipt.observed, "HTTP 202");
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.uri.to_string().as_str()), ("PATCH", "/apps/we%20b?why=a%26b%3Dc%2F..%2Fd"));
    assert_eq!((seen.header("idempotency-key"), seen.header("authorization")), ("journal7-a12", "Bearer hunter2"));
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.json(), json!({ "spec": { "replicas": 3, "note": "to 3: a&b=c/../d" } }));
    assert!(!format!("{http:?}").contains("hunter2"));
    let up = action_with(13, "http.scale", "app/..", action.args.clone());
    assert!(http.check(&up).unwrap_err().detail.contains("changes the path"));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn refused_connection_not_done_lost_answer_unknown() {
    let closed = ClosedPort::new();
    let gone = format!("http://{}/", closed.address());
    let lost = HangsUp::start().await;
    let (_dir, http) = http(json!({
        "gone": { "doc": "Nobody.", "send": { "url": gone } },
        "lost": { "doc": "Hangs up.", "send": { "url": lost.url } },
        "put": { "doc": "Hangs up.", "backoff": "1ms", "send": { "method": "PUT", "url": lost.url, "text": "on" } } }));
    let refused = fault(http.apply(Time(0), &action(1, "http.gone", "x/y")).await, "not_done");
    assert_eq!(refused.code, FaultCode::Unreachable);
    let action_lost = action(2, "http.lost", "x/y");
    fault(http.apply(Time(0), &action_lost).await, "unknown");
    assert_eq!(lost.count(), 1, "a POST is not repeated");
    fault(http.probe(Time(0), &action_lost).await, "unknown");
    fault(http.apply(Time(0), &action_lost).await, "unknown");
    assert_eq!(lost.count(), 1);
    fault(http.apply(Time(0), &action(3, "http.put", "x/y")).await, "unknown");
    assert_eq!(lost.count(), 4, "a PUT is tried three times");
}

#[tokio::test]
async fn answers_are_read_as_they_are() {
    let server = Server::start(|_, seen| match seen.uri.path() {
        "/moved" => (axum::http::StatusCode::FOUND, [("location", "/ok")], "").into_response(),
        "/denied" => answer(403, json!({ "token": "hunter2-secret" })),
        "/broken" => answer(500, json!("\u{1b}[31mgarbage")),
        "/big" => (axum::http::StatusCode::BAD_REQUEST, "x".repeat(1 << 20)).into_response(),
        _ => answer(200, json!("no")),
    })
    .await;
    use axum::response::IntoResponse;
    let request = |path: &str| json!({ "doc": "Asks.", "send": { "url": format!("{}/{path}", server.url), "headers": { "x-token": "hunter2-secret" }, "expect_body": "\"yes\"" } });
    let (_dir, http) = http(
        json!({ "moved": request("moved"), "denied": request("denied"), "broken": request("broken"), "big": request("big"), "no": request("no") }),
    );
    for (id, verb, name, code) in [
        (1, "http.moved", "not_done", FaultCode::Failed),
        (2, "http.denied", "not_done", FaultCode::Denied),
        (3, "http.broken", "unknown", FaultCode::Failed),
        (4, "http.big", "not_done", FaultCode::Failed),
        (5, "http.no", "unknown", FaultCode::Failed),
    ] {
        let fault = fault(http.apply(Time(0), &action(id, verb, "x/y")).await, name);
        assert_eq!(fault.code, code, "{fault}");
        assert!(!fault.detail.contains("hunter2") && !fault.detail.contains('\u{1b}') && fault.detail.len() < 400, "{fault}");
    }
    assert_eq!(server.seen().len(), 5, "no redirect was followed, nothing was repeated");
}

#[tokio::test]
async fn an_idempotent_request_is_repeated_while_the_server_says_later() {
    let server = Server::start(|number, _| if number < 2 { answer(503, json!({})) } else { answer(200, json!({})) }).await;
    let (_dir, http) = http(json!({ "on": { "doc": "On.", "idempotent": true, "backoff": "1ms", "send": { "url": server.url } } }));
    assert!(matches!(http.apply(Time(0), &action(1, "http.on", "x/y")).await, Outcome::Done(_)));
    assert_eq!(server.seen().iter().map(|seen| seen.header("idempotency-key").to_owned()).collect::<Vec<_>>(), ["journal7-a1"; 3]);
}

#[tokio::test]
async fn the_probe_asks_the_world_when_the_answer_was_lost() {
    let lost = HangsUp::start().await;
    let world = Server::start(|number, _| match number {
        0 => answer(200, json!({ "state": "off" })),
        1 => answer(200, json!("garbage")),
        2 => answer(502, json!({})),
        3 => answer(200, json!({ "state": "off" })),
        _ => answer(200, json!({ "state": "on" })),
    })
    .await;
    let (_dir, http) = http(json!({ "switch": { "doc": "Switches.", "send": { "url": lost.url },
        "args": { "to": { "kind": "one_of", "doc": "To what.", "values": ["on", "off"] } },
        "probe": { "url": format!("{}/states/{{target_name}}", world.url), "expect_json_pointer": "/state", "equals": "{to}" } } }));
    let action = action_with(1, "http.switch", "plug/lamp", Args::from([("to".to_owned(), Arg::from("on"))]));
    assert_eq!(fault(http.probe(Time(0), &action).await, "not_done").code, FaultCode::NeverStarted);
    fault(http.apply(Time(0), &action).await, "unknown");
    assert!(fault(http.probe(Time(1), &action).await, "unknown").detail.starts_with("not yet"));
    fault(http.probe(Time(99_000), &action).await, "not_done");
    fault(http.probe(Time(99_000), &action).await, "unknown");
    fault(http.probe(Time(99_000), &action).await, "not_done");
    let Outcome::Done(receipt) = http.probe(Time(99_000), &action).await else { panic!() };
    assert_eq!(receipt.observed, "probe: HTTP 200, `/state` is \"on\"");
    assert!(world.seen().iter().all(|seen| seen.uri == "/states/lamp" && seen.method == "GET"));
}

#[tokio::test]
async fn revert_is_its_own_request_done_once_even_after_the_lease() {
    let server = Server::start(|_, _| answer(204, json!({}))).await;
    let (_dir, http) = http(json!({ "pause": { "doc": "Pauses.", "send": { "url": format!("{}/pause", server.url) },
        "revert": { "method": "DELETE", "url": format!("{}/pause", server.url) } } }));
    assert!(http.spec().verbs[0].revertible);
    let action = action(1, "http.pause", "x/y");
    let Outcome::Done(receipt) = http.apply(Time(0), &action).await else { panic!() };
    for _ in 0..2 {
        assert!(matches!(http.revert(Time(999_000), &action, &receipt).await, Outcome::Done(_)));
    }
    let seen = server.seen();
    let shown: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.header("idempotency-key"))).collect();
    assert_eq!(shown, [("POST", "journal7-a1"), ("DELETE", "journal7-a1-revert")]);
}

#[tokio::test]
async fn a_missing_secret_never_starts() {
    let server = Server::start(|_, _| answer(200, json!({}))).await;
    let (_dir, http) =
        http(json!({ "x": { "doc": "X it.", "send": { "url": server.url, "headers": { "a": "${env:HOMEOSTAT_TEST_NOT_SET}" } } } }));
    let fault = fault(http.apply(Time(0), &action(1, "http.x", "x/y")).await, "not_done");
    assert_eq!((fault.code, server.seen().len()), (FaultCode::NeverStarted, 0));
    assert!(fault.detail.contains("HOMEOSTAT_TEST_NOT_SET"), "{fault}");
}

#[test]
fn every_problem_of_a_configuration_is_listed() {
    let (_dir, ledger) = ledger();
    let config = json!({ "requests": {
        "a": { "doc": "A.", "attempts": 0, "timeout": "2h", "send": { "method": "get", "url": "http://{target_name}.lan/x", "headers": { "a b": "c" }, "json": {}, "text": "", "expect_body": "(", "expect_status": [42] } },
        "b": { "doc": "B.", "send": { "url": "https://user:pw@host/" }, "probe": { "url": "http://h/{nope}", "equals": 1 } },
        "c": { "doc": "C.", "send": { "url": "http://h/a/../b" } } } });
    let faults = Http::new(&serde_json::from_value(config).unwrap(), ledger, "j").unwrap_err();
    let text = faults.iter().map(|fault| format!("{fault}")).collect::<Vec<_>>().join("\n");
    for part in [
        "`attempts`",
        "`timeout`",
        "not a method",
        "place in its host",
        "`a b`",
        "both `json` and `text`",
        "`expect_body`",
        "42",
        "credentials",
        "{nope}",
        "expect_json_pointer",
        "changes the path",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("pw@"), "{text}");
}
