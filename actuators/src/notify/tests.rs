use super::*;
use crate::conformance::{ClosedPort, HangsUp, Server, action_with, answer, corpus, ledger};
use homeostat_model::Args;
use serde_json::{Value, json};

fn notify(config: Value) -> (tempfile::TempDir, Notify) {
    let (dir, ledger) = ledger();
    (dir, Notify::new(&serde_json::from_value(config).unwrap(), ledger).unwrap_or_else(|faults| panic!("{faults:?}")))
}

fn message(id: u64, pairs: &[(&str, &str)]) -> Action {
    let args = pairs.iter().map(|(name, value)| ((*name).to_owned(), Arg::from(*value))).collect::<Args>();
    action_with(id, "notify.send", "node/muscle", args)
}

fn hello(id: u64) -> Action {
    message(id, &[("title", "Disk <full>"), ("text", "brain & @everyone"), ("priority", "high")])
}

fn done(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done(receipt) => receipt.observed,
        other => panic!("expected done, got {other:?}"),
    }
}

fn fault(outcome: Outcome, name: &str) -> Fault {
    assert_eq!(outcome.name(), name, "{outcome:?}");
    match outcome {
        Outcome::NotDone(fault) | Outcome::Unknown(fault) => fault,
        Outcome::Done(_) => panic!("done has no fault"),
    }
}

/// One server that is every service, told apart by path.
async fn services() -> Server {
    Server::start(|_, seen| {
        use axum::response::IntoResponse;
        match seen.uri.path() {
            "/" => answer(200, json!({ "id": "sPs71M8A2T", "event": "message" })),
            "/bot123:abc/sendMessage" => answer(200, json!({ "ok": true, "result": { "message_id": 777 } })),
            "/slack" => "ok".into_response(),
            "/discord" => answer(200, json!({ "id": "9001" })),
            _ => answer(204, json!({})),
        }
    })
    .await
}

fn all_channels(url: &str) -> Value {
    json!({
        "ntfy": { "kind": "ntfy", "url": url, "topic": "homelab", "token": "tk_hunter2" },
        "telegram": { "kind": "telegram", "token": "123:abc", "chat_id": -1001234567890_i64, "api_base": url },
        "slack": { "kind": "slack", "webhook_url": format!("{url}/slack") },
        "discord": { "kind": "discord", "webhook_url": format!("{url}/discord") },
        "hook": { "kind": "webhook", "url": format!("{url}/hook"), "headers": { "x-key": "hunter2" }, "body": { "msg": "{title}: {text}", "on": "{target}", "id": "{action}", "n": 1 } },
        "log": { "kind": "log" } })
}

#[tokio::test]
async fn every_service_gets_what_it_wants_byte_for_byte() {
    let server = services().await;
    let (_dir, notify) = notify(json!({ "channels": all_channels(&server.url) }));
    let observed = done(notify.apply(Time(0), &hello(5)).await);
    for part in [
        "ntfy: HTTP 200, id sPs71M8A2T",
        "telegram: HTTP 200, id 777",
        "slack: HTTP 200, ok",
        "discord: HTTP 200, id 9001",
        "hook: HTTP 204",
        "log: logged",
    ] {
        assert!(observed.contains(part), "{part} in {observed}");
    }
    assert!(!observed.contains("hunter2"));
    let seen = server.seen();
    let at = |uri: &str| seen.iter().find(|seen| seen.uri == uri).unwrap_or_else(|| panic!("{uri} in {seen:?}"));
    for (uri, body) in [
        ("/", r#"{"message":"brain & @everyone","priority":4,"title":"Disk <full>","topic":"homelab"}"#),
        (
            "/bot123:abc/sendMessage",
            r#"{"chat_id":-1001234567890,"disable_notification":false,"link_preview_options":{"is_disabled":true},"text":"Disk <full>\nbrain & @everyone"}"#,
        ),
        ("/slack", r#"{"text":"Disk &lt;full&gt;\nbrain &amp; @everyone"}"#),
        ("/discord?wait=true", r#"{"allowed_mentions":{"parse":[]},"content":"Disk <full>\nbrain & @everyone"}"#),
        ("/hook", r#"{"id":"a5","msg":"Disk <full>: brain & @everyone","n":1,"on":"node/muscle"}"#),
    ] {
        assert_eq!(String::from_utf8_lossy(&at(uri).body), body, "{uri}");
        assert_eq!((at(uri).method.as_str(), at(uri).header("content-type")), ("POST", "application/json"));
    }
    assert_eq!((at("/").header("authorization"), at("/hook").header("x-key")), ("Bearer tk_hunter2", "hunter2"));
    assert!(!format!("{notify:?}").contains("hunter2") && !format!("{notify:?}").contains("123:abc"), "{notify:?}");
}

#[tokio::test]
async fn requests_use_only_fields_that_the_corpus_samples_have() {
    let Some(dir) = corpus("acting") else { return };
    let server = services().await;
    let (_dir, notify) = notify(json!({ "channels": all_channels(&server.url) }));
    done(notify.apply(Time(0), &hello(1)).await);
    let sample = |file: &str, pointer: &str| {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap().pointer(pointer).unwrap_or_else(|| panic!("{file} {pointer}")).clone()
    };
    for (path, sample, ours) in [
        ("/", sample("ntfy/samples.json", "/publish/body"), &[][..]),
        ("/bot123:abc/sendMessage", sample("telegram/samples.json", "/sendMessage/body"), &["disable_notification"][..]),
        ("/slack", sample("slack/samples-synthetic.json", "/incoming_webhook/body"), &[][..]),
    ] {
        let seen = server.seen().into_iter().find(|seen| seen.uri.path() == path).unwrap().json();
        for (name, value) in seen.as_object().unwrap().iter().filter(|(name, _)| !ours.contains(&name.as_str())) {
            let known = &sample[name];
            assert_eq!(std::mem::discriminant(known), std::mem::discriminant(value), "{path} {name}: {known} {value}");
        }
    }
    // And the answers of the corpus are read: the good one is evidence, the 429 asks for its wait.
    let service = wire::Compiled::new(&serde_json::from_value(all_channels("http://x")["telegram"].clone()).unwrap()).unwrap();
    let say = |status, body: Value| client::Answer { status, retry_after: None, body: body.to_string().into_bytes(), whole: true };
    assert_eq!(service.evidence(&say(200, sample("telegram/samples.json", "/sendMessage_ok"))).as_deref(), Some("HTTP 200, id 777"));
    let later = say(429, sample("telegram/samples.json", "/error_429"));
    assert_eq!((service.evidence(&later), service.asks_to_wait(&later)), (None, Some(Some(Duration::from_secs(14)))));
}

#[tokio::test]
async fn it_waits_as_asked_and_tries_again() {
    let server = Server::start(|number, _| match number {
        0 => answer(429, json!({ "message": "You are being rate limited.", "retry_after": 0.01 })),
        1 => answer(503, json!({})),
        _ => answer(200, json!({ "id": "1" })),
    })
    .await;
    let (_dir, notify) = notify(json!({ "backoff": "1ms", "channels": { "d": { "kind": "discord", "webhook_url": server.url } } }));
    assert_eq!(done(notify.apply(Time(0), &hello(1)).await), "d: HTTP 200, id 1");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_wait_longer_than_the_time_left_ends_it() {
    let server = Server::start(|_, _| answer(429, json!({ "ok": false, "parameters": { "retry_after": 50 } }))).await;
    let (_dir, notify) =
        notify(json!({ "channels": { "t": { "kind": "telegram", "token": "1:a", "chat_id": "@x", "api_base": server.url } } }));
    let fault = fault(notify.apply(Time(0), &hello(1)).await, "not_done");
    assert_eq!((fault.code, server.seen().len()), (FaultCode::Limit, 1));
    assert!(!fault.detail.contains("1:a"), "{fault}");
}

#[tokio::test]
async fn the_same_message_is_not_sent_twice_within_the_window() {
    let server = services().await;
    let (_dir, notify) = notify(json!({ "channels": { "n": { "kind": "ntfy", "url": server.url, "topic": "t" } } }));
    done(notify.apply(Time(0), &hello(1)).await);
    assert!(done(notify.apply(Time(0), &hello(2)).await).starts_with("n: already sent "));
    done(notify.apply(Time(0), &message(3, &[("title", "x"), ("dedup_key", "k")])).await);
    assert!(done(notify.apply(Time(0), &message(4, &[("title", "y"), ("dedup_key", "k")])).await).contains("already sent"));
    assert_eq!(server.seen().len(), 2);

    let (start, window) = (Instant::now(), Duration::from_secs(60));
    let mut recent = channel::Recent::new(window);
    recent.remember(start, "a".into());
    assert_eq!(recent.seen(start + Duration::from_secs(59), "a"), Some(Duration::from_secs(59)));
    assert_eq!((recent.seen(start, "b"), recent.seen(start + window, "a")), (None, None));
}

#[tokio::test]
async fn a_repetition_sends_only_what_is_missing() {
    let good = services().await;
    let flaky = Server::start(|number, _| if number == 0 { answer(403, json!({})) } else { answer(200, json!({ "id": "2" })) }).await;
    let (_dir, notify) = notify(json!({ "dedup_window": "0s", "channels": {
        "good": { "kind": "ntfy", "url": good.url, "topic": "t" }, "flaky": { "kind": "ntfy", "url": flaky.url, "topic": "t" } } }));
    let action = hello(1);
    let fault = fault(notify.apply(Time(0), &action).await, "not_done");
    assert_eq!(fault.code, FaultCode::Denied);
    assert!(fault.detail.contains("good: HTTP 200") && fault.detail.contains("flaky: HTTP 403"), "{fault}");
    assert_eq!(notify.probe(Time(0), &action).await.name(), "not_done");
    assert_eq!(notify.apply(Time(60_001), &action).await.name(), "not_done", "its lease is over: nothing is taken up again");
    let observed = done(notify.apply(Time(1), &action).await);
    assert!(observed.contains("good: delivered before") && observed.contains("flaky: HTTP 200"), "{observed}");
    done(notify.apply(Time(2), &action).await);
    assert_eq!((good.seen().len(), flaky.seen().len()), (1, 2));
}

#[tokio::test]
async fn lost_answers_are_unknown_and_garbage_is_no_evidence() {
    let lost = HangsUp::start().await;
    let garbage = Server::start(|_, _| answer(200, json!([1, { "id": null }]))).await;
    let closed = ClosedPort::new();
    let (_dir, notify) = notify(json!({ "backoff": "1ms", "attempts": 2, "channels": {
        "lost": { "kind": "ntfy", "url": lost.url, "topic": "t" },
        "slack": { "kind": "slack", "webhook_url": garbage.url }, "ntfy": { "kind": "ntfy", "url": garbage.url, "topic": "t" },
        "telegram": { "kind": "telegram", "token": "1:a", "chat_id": 1, "api_base": garbage.url },
        "gone": { "kind": "webhook", "url": format!("http://{}/secret-path", closed.address()) } } }));
    let over = |id, channel: &str| message(id, &[("title", "x"), ("channel", channel)]);
    fault(notify.apply(Time(0), &over(1, "lost")).await, "unknown");
    assert_eq!(lost.count(), 2);
    fault(notify.apply(Time(0), &over(1, "lost")).await, "unknown");
    fault(notify.probe(Time(0), &over(1, "lost")).await, "unknown");
    assert_eq!(lost.count(), 2, "what may have arrived is not sent again");
    for (id, channel) in [(2, "slack"), (3, "ntfy"), (4, "telegram")] {
        assert_eq!(fault(notify.apply(Time(0), &over(id, channel)).await, "unknown").code, FaultCode::Malformed);
    }
    let fault = fault(notify.apply(Time(0), &over(5, "gone")).await, "not_done");
    assert_eq!(fault.code, FaultCode::Unreachable);
    assert!(!fault.detail.contains("secret-path"), "{fault}");
}

#[tokio::test]
async fn a_crash_while_sending_is_unknown_and_only_untouched_channels_are_taken_up() {
    let server = services().await;
    let (_dir, notify) = notify(json!({ "channels": {
        "a": { "kind": "ntfy", "url": server.url, "topic": "a" }, "b": { "kind": "ntfy", "url": server.url, "topic": "b" } } }));
    let (action, mark) = (hello(1), Mark::Apply(ActionId(1)));
    notify.ledger.begin(mark, Time(0), 1).unwrap();
    notify.ledger.note(mark, "a", End::Sending.note()).unwrap();
    fault(notify.probe(Time(1), &action).await, "unknown");
    let fault = fault(notify.apply(Time(1), &action).await, "unknown");
    assert!(fault.detail.contains("a: begun") && fault.detail.contains("b: HTTP 200"), "{fault}");
    assert_eq!(server.seen().iter().map(|seen| seen.json()["topic"].clone()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn announcements_never_fail_the_caller_and_are_counted_when_lost() {
    let server = services().await;
    let notice = Notice { kind: NoticeKind::Approval, action: Some(ActionId(9)), title: "Approve?".into(), text: "wake".into() };
    let config = |url: &str| json!({ "attempts": 1, "channels": { "n": { "kind": "ntfy", "url": url, "topic": "t", "template": "{text} ({action})" } } });
    let (_dir, good) = notify(config(&server.url));
    good.announce(&notice).await;
    assert_eq!(server.seen()[0].json(), json!({ "topic": "t", "title": "Approve?", "message": "wake (a9)", "priority": 4 }));
    assert_eq!(good.announcements_lost(), 0);
    let closed = ClosedPort::new();
    let (_dir, bad) = notify(config(&format!("http://{}", closed.address())));
    bad.announce(&notice).await;
    assert_eq!(bad.announcements_lost(), 1);
    let (_dir, bare) = notify(json!({}));
    bare.announce(&notice).await;
    assert_eq!(bare.announcements_lost(), 0, "the log takes everything");
}

#[test]
fn every_problem_of_a_configuration_is_listed() {
    let (_dir, ledger) = ledger();
    let config = json!({ "default": ["nobody"], "attempts": 0, "timeout": "0s", "channels": {
        "a b": { "kind": "log" }, "c": { "kind": "ntfy", "url": "not a url", "topic": "t" },
        "d": { "kind": "slack", "webhook_url": "hunter2" }, "e": { "kind": "discord", "webhook_url": "${env:X}", "template": "{nope}" },
        "f": { "kind": "webhook", "url": "http://x", "headers": { "a b": "c" } } } });
    let faults = Notify::new(&serde_json::from_value(config).unwrap(), ledger).unwrap_err();
    let text = faults.iter().map(|fault| format!("{fault}\n")).collect::<String>();
    for part in ["`a b`", "`c`", "`d`", "{nope}", "header", "`nobody`", "`attempts`", "`timeout`"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("hunter2"));
    assert!(serde_json::from_value::<NotifyConfig>(json!({ "channels": { "x": { "kind": "log", "extra": 1 } } })).is_err());
}
