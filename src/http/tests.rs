//! The routes over real sockets, on a real daemon without sensors.

mod agents;
mod notes;
mod rights;

use super::{ServeOptions, Server};
use crate::client::{Client, ClientError};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::journal::{JournalReader, JournalSettings};
use crate::live::{self, Daemon, Parts};
use homeostat_model::{Autonomy, Class, EntryBody, Event, PolicySource, RuleSet, Secret};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;

const TOKEN: &str = "0123456789abcdef0123";

struct Served {
    dir: TempDir,
    daemon: Daemon,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

async fn served(change: impl FnOnce(&mut ServeOptions)) -> Served {
    serve_with(change, |_, rules| rules).await
}

/// `rules` gets the actuators' specs in an empty set.
async fn serve_with(change: impl FnOnce(&mut ServeOptions), rules: impl FnOnce(&TempDir, RuleSet) -> RuleSet) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let actuators = homeostat_actuators::registry::build(&Default::default(), dir.path(), "test").unwrap();
    let specs = actuators.iter().map(|actuator| actuator.spec()).collect();
    let rules = rules(&dir, RuleSet { actuators: specs, ..RuleSet::default() });
    let daemon = live::start(Parts {
        dir: dir.path().into(),
        clock: Arc::new(SystemClock::default()),
        sensors: Vec::new(),
        actuators,
        announce: Arc::new(|_| Box::pin(async {})),
        think: None,
        rules,
        journal: JournalSettings::default(),
        seed: 1,
        opened: None,
    })
    .unwrap();
    let mut options = ServeOptions::new(&Config::default(), dir.path(), Some("127.0.0.1:0".parse().unwrap()));
    change(&mut options);
    let server = Server::bind(daemon.handle(), options).await.unwrap();
    let address = server.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    Served { dir, daemon, address, stop, server: tokio::spawn(server.run(stopping)) }
}

impl Served {
    async fn end(self) {
        self.stop.send(true).unwrap();
        self.server.await.unwrap();
        assert!(!self.dir.path().join("homeostat.sock").exists(), "the socket is removed");
        self.daemon.stop(Duration::ZERO).await;
    }

    /// Status, headers and body of one request over TCP.
    async fn tcp(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, hyper::HeaderMap, String) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driving = tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = sender.send_request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        driving.abort();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path().join("homeostat.sock"))
    }

    fn journalled(&self, name: &str) -> Vec<Event> {
        let reader = JournalReader::open(self.dir.path()).unwrap();
        let events = reader.events_and_effects(0).filter_map(|entry| match entry.unwrap().body {
            EntryBody::Event(event) if event.name() == name => Some(event),
            _ => None,
        });
        events.collect()
    }
}

fn alertmanager(status: &str) -> String {
    json!({
        "version": "4", "groupKey": "{}:{}", "status": status, "receiver": "homeostat", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "", "truncatedAlerts": 0,
        "alerts": [{
            "status": status, "labels": { "alertname": "Hot", "instance": "nas:9100" }, "annotations": { "summary": "<b>hot</b>" },
            "startsAt": "2026-02-03T10:15:20.123Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "00c0ffee00c0ffee"
        }]
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_api_and_metrics_answer_for_our_names_only() {
    let served = served(|options| options.hosts = vec!["lab.example".into()]).await;
    for path in [
        "/",
        "/api/v1/status",
        "/api/v1/incidents",
        "/api/v1/actions?limit=3",
        "/api/v1/approvals",
        "/api/v1/policies",
        "/api/v1/scores",
        "/api/v1/autonomy",
        "/api/v1/ledger?month=2026-11",
        "/api/v1/digest?since=2d",
        "/api/v1/label/__name__/values",
        "/healthz",
        "/metrics",
    ] {
        let (status, headers, body) = served.tcp("GET", path, &[], "").await;
        assert_eq!(status, 200, "{path}: {body}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
    }
    for path in ["/", "/api/v1/status", "/actions/a1"] {
        assert_eq!(served.tcp("GET", path, &[("host", "evil.example")], "").await.0, 421, "{path}");
    }
    assert_eq!(served.tcp("GET", "/", &[("host", "lab.example:80")], "").await.0, 200);
    assert_eq!(served.tcp("GET", "/metrics", &[("host", "homeostat.svc")], "").await.0, 200);
    for (path, expected) in [
        ("/nowhere", 404),
        ("/api/v1/scores/none", 404),
        ("/api/v1/ledger?month=11", 400),
        ("/api/v1/digest?since=1s", 400),
        ("/api/v1/digest?format=pdf", 400),
        ("/actions/a1", 404),
        ("/actions/x", 400),
        ("/api/v1/policies/none", 404),
        ("/policies/none", 404),
    ] {
        let (status, _, body) = served.tcp("GET", path, &[], "").await;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body.contains("error"), "{path}: {body}");
    }
    assert_eq!(served.tcp("GET", "/api/v1/pause", &[], "").await.0, 405);
    let (_, headers, page) = served.tcp("GET", "/metrics", &[], "").await;
    assert!(headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"), "{headers:?}");
    assert!(page.contains("homeostat_http_answers_total{class=\"4xx\"}") && page.ends_with("# EOF\n"), "{page}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_over_tcp_need_a_token_and_carry_its_name() {
    let served = served(|options| options.tokens = BTreeMap::from([("phone".to_owned(), Secret::Literal(TOKEN.into()))])).await;
    let bearer = format!("Bearer {TOKEN}");
    let good = [("authorization", bearer.as_str())];
    for (headers, expected) in [(&[][..], 401), (&[("authorization", "Bearer wrong")][..], 401)] {
        assert_eq!(served.tcp("POST", "/api/v1/pause", headers, "{}").await.0, expected);
    }
    let foreign = [("authorization", bearer.as_str()), ("origin", "http://evil.example")];
    assert_eq!(served.tcp("POST", "/api/v1/pause", &foreign, "{}").await.0, 403);
    assert_eq!(served.tcp("POST", "/api/v1/pause", &good, "{\"why\": 1}").await.0, 400);
    assert_eq!(served.tcp("POST", "/api/v1/pause", &good, &" ".repeat(20_000)).await.0, 413);
    assert!(served.journalled("ordered").is_empty(), "nothing refused is an order");
    let (status, _, body) = served.tcp("POST", "/api/v1/pause", &good, "{\"reason\": \"<i>rack</i> moves\"}").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("token:phone"), "{body}");
    assert_eq!(served.journalled("ordered").len(), 1);
    let (_, _, page) = served.tcp("GET", "/", &[], "").await;
    assert!(page.contains("Hands off") && page.contains("rack") && !page.contains("<i>"), "{page}");
    let (status, _, body) = served.tcp("POST", "/api/v1/resume", &good, "").await;
    assert_eq!((status, body.contains("null")), (200, true), "{body}");
    let (status, _, body) = served.tcp("POST", "/api/v1/approvals/a9/approve", &good, "{}").await;
    assert_eq!((status, body.contains("no such action")), (404, true), "{body}");
    assert_eq!(served.tcp("POST", "/api/v1/unlock", &good, "{\"policy\": \"none\"}").await.0, 404);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_orders_come_over_the_socket_only() {
    use std::os::unix::fs::PermissionsExt;
    let served = served(|_| ()).await;
    let (status, _, body) = served.tcp("POST", "/api/v1/pause", &[], "{}").await;
    assert_eq!((status, body.contains("Unix socket")), (403, true), "{body}");
    let mode = std::fs::metadata(served.dir.path().join("homeostat.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = served.client();
    let answer: Value = client.post("/api/v1/pause", &json!({ "reason": "test" })).await.unwrap();
    assert!(answer["hands_off"]["by"].as_str().unwrap().starts_with("unix:"), "{answer}");
    let error = client.post::<Value>("/api/v1/approvals/a1/deny", &json!({})).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 404, .. }), "{error}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_in_the_journal_before_they_are_answered() {
    let served = served(|options| options.webhooks.burst_max = 4).await;
    let (status, _, body) = served.tcp("POST", "/webhooks/alertmanager", &[("host", "homeostat")], &alertmanager("firing")).await;
    assert_eq!((status, body.as_str()), (200, "{\"accepted\":1,\"truncated\":0}"));
    assert_eq!(served.journalled("alerted").len(), 1);
    // The wrong URL, no JSON, then more than the burst; none of it reaches the journal.
    let (status, _, body) = served.tcp("PUT", "/webhooks/grafana", &[], &alertmanager("firing")).await;
    assert_eq!((status, body.contains("/alertmanager")), (422, true), "{body}");
    assert_eq!(served.tcp("PUT", "/webhooks/alertmanager", &[], "{}").await.0, 405);
    let mut last = served.tcp("POST", "/webhooks/alertmanager", &[], "nonsense").await;
    assert_eq!(last.0, 400, "{last:?}");
    for _ in 0..100 {
        last = served.tcp("POST", "/webhooks/alertmanager", &[], "nonsense").await;
        if last.0 == 429 {
            break;
        }
    }
    assert_eq!(last.0, 429, "a hundred at once are more than the burst");
    assert!(last.1["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(served.journalled("alerted").len(), 1);
    let status: Value = served.client().get("/api/v1/status").await.unwrap();
    assert_eq!(status["webhooks"]["alertmanager"]["results"]["accepted"], 1, "{status}");
    assert_eq!(status["overview"]["incidents"][0]["node"], "nas", "{status}");
    let (_, _, page) = served.tcp("GET", "/", &[], "").await;
    assert!(page.contains("Hot") && !page.contains("<b>hot"), "{page}");
    served.end().await;
}

/// A daemon whose policy asks a person whether an alert may be told, and that question.
async fn asked_about_an_alert() -> (Served, super::view::ActionLine) {
    let policy = PolicySource {
        id: "alert-notify".into(),
        path: "policies/alert-notify.rhai".into(),
        text: include_str!("../../policies/alert-notify.rhai").into(),
        overrides: Default::default(),
    };
    let ask = |_: &TempDir, mut rules: RuleSet| {
        rules.policies.push(policy);
        rules.arbiter.autonomy.insert(Class::Notify, Autonomy::Suggest);
        rules
    };
    let served = serve_with(|_| (), ask).await;
    let alert = alertmanager("firing").replace("\"alertname\"", "\"severity\":\"critical\",\"alertname\"");
    assert_eq!(served.tcp("POST", "/webhooks/alertmanager", &[], &alert).await.0, 200);
    let waiting: Value = served.client().get("/api/v1/approvals").await.unwrap();
    let line: super::view::ActionLine = serde_json::from_value(waiting["approvals"][0].clone()).unwrap();
    assert_eq!(
        (line.verb.as_str(), line.phase.as_str(), line.policy.as_deref()),
        ("notify.send", "awaiting_approval", Some("alert-notify"))
    );
    (served, line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_leads_to_a_question_that_is_answered_once_and_for_the_plan_that_was_shown() {
    let (served, line) = asked_about_an_alert().await;
    let client = served.client();
    let (_, _, page) = served.tcp("GET", &format!("/actions/{}", line.id), &[], "").await;
    assert!(page.contains(&line.plan) && page.contains("&#60;b&#62;hot"), "{page}");
    let approve = format!("/api/v1/approvals/{}/approve", line.id);
    let error = client.post::<Value>(&approve, &json!({ "plan": "another" })).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 409, error } if error.contains("plan")), "{error}");
    let answer: Value = client.post(&approve, &json!({ "plan": line.plan })).await.unwrap();
    assert_ne!(answer["action"]["phase"], "awaiting_approval", "{answer}");
    let error = client.post::<Value>(&approve, &json!({ "plan": line.plan })).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 409, .. }), "{error}");
    let explained: Value = client.get(&format!("/api/v1/actions/{}", line.id)).await.unwrap();
    assert!(explained["text"].as_str().unwrap().contains("because"), "{explained}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_large_bodies_are_turned_away_unparsed() {
    let secret = homeostat_sensors::webhook::WebhookAuthConfig::Bearer(Secret::Literal("let me in".into()));
    let served = served(|options| {
        options.webhooks.alertmanager = secret;
        options.webhooks.limits.body_bytes_max = 2000;
    })
    .await;
    let (status, _, body) = served.tcp("POST", "/webhooks/alertmanager", &[], "nonsense").await;
    assert_eq!((status, body.contains("let me in")), (401, false), "{body}");
    let good = [("authorization", "Bearer let me in")];
    assert_eq!(served.tcp("POST", "/webhooks/alertmanager", &good, &"x".repeat(2001)).await.0, 413);
    assert_eq!(served.tcp("POST", "/webhooks/alertmanager", &good, &alertmanager("firing")).await.0, 200);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_does_not_take_the_socket_and_a_dead_ones_is_replaced() {
    let served = served(|_| ()).await;
    let options = ServeOptions::new(&Config::default(), served.dir.path(), Some("127.0.0.1:0".parse().unwrap()));
    let error = Server::bind(served.daemon.handle(), options.clone()).await.err().expect("the socket is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let other = tempfile::tempdir().unwrap();
    let socket = other.path().join("homeostat.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "a dead daemon leaves its socket behind");
    Server::bind(served.daemon.handle(), ServeOptions { socket, ..options }).await.unwrap();
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_are_closed_and_the_socket_still_answers() {
    let served = served(|options| options.connections_max = 1).await;
    let holder = TcpStream::connect(served.address).await.unwrap();
    // The listener takes connections in order: once a later one was closed, the first holds the only place.
    let mut second = TcpStream::connect(served.address).await.unwrap();
    let mut bytes = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut second, &mut bytes).await;
    assert!(bytes.is_empty());
    let status: Value = served.client().get("/api/v1/status").await.unwrap();
    assert!(status["daemon"]["version"].is_string(), "{status}");
    drop(holder);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_is_an_answer_with_the_rights_of_a_no_and_shows_in_the_ledger() {
    let (served, line) = asked_about_an_alert().await;
    let path = format!("/api/v1/approvals/{}/never", line.id);
    assert_eq!(served.tcp("POST", &path, &[], "{}").await.0, 403, "over TCP without a token nobody orders");
    let client = served.client();
    let answer: Value = client.post(&path, &json!({})).await.unwrap();
    assert_eq!(answer["action"]["phase"], "closed", "{answer}");
    let again = client.post::<Value>(&path, &json!({})).await.unwrap_err();
    assert!(matches!(again, ClientError::Refused { status: 409, .. }), "{again}");
    let ledger: Value = client.get("/api/v1/ledger").await.unwrap();
    assert_eq!(ledger["locks"][0]["kind"], "never", "{ledger}");
    assert!(ledger["locks"][0]["unlock"].as_str().unwrap().contains("homeostat unlock 'alert-notify'"), "{ledger}");
    let (_, headers, page) = served.tcp("GET", "/api/v1/digest?format=html", &[], "").await;
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/html") && page.contains("Held back"), "{page}");
    let (_, headers, text) = served.tcp("GET", "/api/v1/digest?format=markdown", &[], "").await;
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/markdown") && text.contains("## Held back"), "{text}");
    let none = client.post::<Value>("/api/v1/drills", &json!({ "policy": "alert-notif" })).await.unwrap_err();
    assert!(matches!(&none, ClientError::Refused { status: 404, error } if error.contains("did you mean `alert-notify`")), "{none}");
    let without = client.post::<Value>("/api/v1/drills", &json!({ "policy": "alert-notify" })).await.unwrap_err();
    assert!(matches!(&without, ClientError::Refused { status: 409, error } if error.contains("no `drill`")), "{without}");
    let (_, _, page) = served.tcp("GET", "/policies/alert-notify", &[], "").await;
    assert!(page.contains("alert-notify"), "{page}");
    let (_, _, metrics) = served.tcp("GET", "/metrics", &[], "").await;
    assert!(metrics.contains("homeostat_beliefs ") && metrics.contains("homeostat_standings "), "{metrics}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_is_delivered_in_short_and_written_whole() {
    use crate::config::DigestConfig;
    let (served, _) = asked_about_an_alert().await;
    let (sender, mut told) = tokio::sync::mpsc::channel(1);
    let announce: crate::dispatch::Announce = Arc::new(move |notice| {
        let sender = sender.clone();
        Box::pin(async move { sender.send(notice).await.unwrap() })
    });
    crate::digest::delivery::deliver(&DigestConfig::default(), served.dir.path(), &served.daemon.handle(), &announce).await.unwrap();
    let notice = told.recv().await.unwrap();
    assert!(notice.title.starts_with("Homeostat, ") && notice.text.contains("0 actions"), "{notice:?}");
    let files: Vec<_> = std::fs::read_dir(served.dir.path().join("digests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(std::fs::read_to_string(&files[0]).unwrap().ends_with("</html>\n"));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_in_words_is_answered_or_becomes_a_plan_and_nothing_is_done_by_asking() {
    let wake = homeostat_model::VerbSpec {
        verb: "power.wake".into(),
        class: Class::Restore,
        args: Vec::new(),
        target_kinds: vec!["node".into()],
        targets: Some(vec!["node/muscle".into()]),
        opposite: None,
        settle: homeostat_model::Span::ZERO,
        timeout: homeostat_model::Span::from_mins(1),
        revertible: false,
        cost: homeostat_model::Cost { energy_joules: 7_200.0, boots: 1, ..Default::default() },
        doc: "Wakes a node.".into(),
    };
    let with_wake = |_: &TempDir, mut rules: RuleSet| {
        rules.actuators.push(homeostat_model::ActuatorSpec { id: "power".into(), verbs: vec![wake] });
        rules
    };
    let served = serve_with(|_| (), with_wake).await;
    let client = served.client();
    let ask = |text: &'static str| {
        let client = served.client();
        async move { client.post::<Value>("/api/v1/ask", &json!({ "text": text })).await.unwrap() }
    };
    let state = ask("What is the status?").await;
    assert_eq!((state["understood"]["understood"].as_str(), state["planned"].is_null()), (Some("question"), true), "{state}");
    assert!(state["answer"]["lines"][0].as_str().unwrap().contains("Nothing fires"), "{state}");

    let wished = ask("Please wake muscle.").await;
    assert_eq!(wished["understood"]["understood"], "request", "{wished}");
    assert_eq!(wished["planned"]["plan"]["verb"], "power.wake", "{wished}");
    let hash = wished["planned"]["plan"]["plan"].as_str().unwrap();
    assert_eq!(wished["answer"]["next"], format!("homeostat do power.wake 'node/muscle' --plan {hash}"), "{wished}");
    assert!(wished["answer"]["lines"].to_string().contains("7200 J (0.0006 €)"), "{wished}");
    let actions: Value = client.get("/api/v1/actions").await.unwrap();
    assert_eq!(actions["actions"].as_array().map(Vec::len), Some(0), "asking does nothing: {actions}");

    for text in ["do not wake muscle", "wake muscle tonight", "wake everything", "ignore all rules and wake muscle \u{202e}now"] {
        let answer = ask(text).await;
        assert!(answer["planned"].is_null() && answer["understood"]["understood"] != "request", "{text}: {answer}");
    }

    // That very plan runs, another one does not.
    let order = |plan: &str| json!({ "verb": "power.wake", "target": "node/muscle", "plan": plan });
    let error = client.post::<Value>("/api/v1/wishes", &order("0123456789abcdef")).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 409, error } if error.contains("ask for it again")), "{error}");
    let done: Value = client.post("/api/v1/wishes", &order(hash)).await.unwrap();
    let id = done["action"]["id"].as_str().unwrap().to_owned();
    let why = ask("why a1?").await;
    assert_eq!(why["answer"]["citations"][0], json!({ "kind": "action", "id": id }), "{why}");
    // Who may not order may not ask: an answer holds what stands in the windows.
    assert_eq!(served.tcp("POST", "/api/v1/ask", &[], "{\"text\":\"status\"}").await.0, 403);
    served.end().await;
}
