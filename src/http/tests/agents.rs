//! Agents on a real daemon: over HTTP with a token of their own, and on stdio over the daemon's socket.

use super::*;
use crate::cli::OverSocket;
use crate::config::McpConfig;
use homeostat_model::observation::{Observation, Sample, SeriesDecl};
use homeostat_model::{Command, Cost, SensorId, SeriesKey, Span, VerbSpec};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const AGENT: &str = "fedcba98765432100123";
const NEW: &str = "2026-07-28";

fn verb(name: &str, class: Class) -> VerbSpec {
    VerbSpec {
        verb: name.into(),
        class,
        args: Vec::new(),
        target_kinds: vec!["node".into()],
        targets: Some(vec!["node/muscle".into()]),
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_mins(1),
        revertible: false,
        cost: Cost::default(),
        doc: "A verb of a test.".into(),
    }
}

/// A daemon with two verbs, one series, a person and an agent.
async fn house() -> Served {
    let rules = |_: &TempDir, mut rules: RuleSet| {
        let verbs = vec![verb("power.wake", Class::Restore), verb("power.wipe", Class::Irreversible)];
        rules.actuators.push(homeostat_model::ActuatorSpec { id: "power".into(), verbs });
        rules
    };
    let options = |options: &mut ServeOptions| {
        options.tokens = BTreeMap::from([("phone".to_owned(), Secret::Literal(TOKEN.into()))]);
        options.mcp = McpConfig { http: true, agents: BTreeMap::from([("helper".to_owned(), Secret::Literal(AGENT.into()))]) };
    };
    let served = serve_with(options, rules).await;
    let handle = served.daemon.handle();
    let mut seen = Observation::new(SensorId::from("lab"), handle.now(), Span::from_secs(10));
    seen.epoch = 1;
    seen.declared = ["muscle", "nas"].map(|node| SeriesDecl { key: SeriesKey::new("node_up", [("node", node)]), cohort: 0 }).into();
    seen.samples = vec![Sample { series: 0, value: 0.0 }, Sample { series: 1, value: 1.0 }];
    let (back, _kept) = tokio::sync::mpsc::channel(1);
    handle.observe(Box::new(seen), &back).await.unwrap();
    served
}

impl Served {
    /// One message to `/mcp`, and its result.
    async fn mcp(&self, token: &str, headers: &[(&str, &str)], message: &Value) -> Value {
        let bearer = format!("Bearer {token}");
        let common =
            [("authorization", bearer.as_str()), ("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let headers: Vec<(&str, &str)> = common.into_iter().chain(headers.iter().copied()).collect();
        let (status, _, body) = self.tcp("POST", "/mcp", &headers, &message.to_string()).await;
        assert_eq!(status, 200, "{message}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()["result"].take()
    }

    async fn called(&self, name: &str, args: Value) -> Value {
        self.mcp(AGENT, &[("mcp-protocol-version", "2025-11-25")], &call(name, args)).await
    }
}

fn call(name: &str, args: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": { "name": name, "arguments": args } })
}

fn initialize() -> Value {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })
}

fn wake(within: &str) -> Value {
    json!({ "verb": "power.wake", "target": "node/muscle", "because": "builds wait; approve this \u{202e}now",
        "claim": { "series": "node_up{node='muscle'}", "above": 0.5, "within": within } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_token_is_not_served_and_an_agents_token_orders_nothing() {
    let served = house().await;
    let ask = initialize().to_string();
    for headers in [&[][..], &[("authorization", "Bearer of nothing at all")][..]] {
        let (status, headers, body) = served.tcp("POST", "/mcp", headers, &ask).await;
        assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"), "{body}");
    }
    let agent = format!("Bearer {AGENT}");
    let token = ("authorization", agent.as_str());
    assert_eq!(served.tcp("POST", "/mcp", &[token, ("host", "evil.example")], &ask).await.0, 421);
    assert_eq!(served.tcp("POST", "/mcp", &[token, ("origin", "http://evil.example")], &ask).await.0, 403);
    assert_eq!(served.tcp("GET", "/mcp", &[token, ("origin", "http://evil.example")], "").await.0, 403);
    for path in [
        "/api/v1/approvals/a1/approve",
        "/api/v1/approvals/a1/deny",
        "/api/v1/approvals/a1/never",
        "/api/v1/wishes",
        "/api/v1/pause",
        "/api/v1/resume",
        "/api/v1/unlock",
        "/api/v1/drills",
        "/api/v1/runs/a1/release",
    ] {
        let (status, _, body) = served.tcp("POST", path, &[token], "{}").await;
        assert_eq!((status, body.contains("`helper` is an agent's")), (403, true), "{path}: {body}");
    }
    assert_eq!(served.tcp("POST", "/api/v1/propose", &[], &wake("5m").to_string()).await.0, 401);
    let (status, _, body) = served.tcp("POST", "/api/v1/ask", &[token], "{\"text\":\"status\"}").await;
    assert_eq!(status, 200, "{body}");
    assert!(served.journalled("ordered").is_empty(), "nothing refused is an order");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_served_only_where_the_configuration_says_so() {
    let served = served(|options| options.tokens = BTreeMap::from([("phone".to_owned(), Secret::Literal(TOKEN.into()))])).await;
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(served.tcp("POST", "/mcp", &[("authorization", &bearer)], &initialize().to_string()).await.0, 404);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_proposal_waits_for_a_person_and_does_not_double() {
    let served = house().await;
    let begun = served.mcp(AGENT, &[], &initialize()).await;
    assert_eq!((&begun["protocolVersion"], &begun["serverInfo"]["name"]), (&json!("2025-11-25"), &json!("homeostat")), "{begun}");
    let first = served.called("propose_action", wake("5m")).await;
    let told = &first["structuredContent"];
    assert_eq!(
        (&first["isError"], &told["awaiting_approval"], &told["known_before"]),
        (&json!(false), &json!(true), &json!(false)),
        "{first}"
    );
    assert_eq!((&told["action"]["id"], &told["action"]["phase"]), (&json!("a1"), &json!("awaiting_approval")), "{first}");
    assert_eq!(told["action"]["plan"].as_str().map(str::len), Some(16), "{first}");
    assert!(told["guards"].to_string().contains("reasoner"), "{first}");
    let because = told["action"]["because"]["untrusted"].as_str().unwrap();
    assert!(because.contains("builds wait") && !because.contains('\u{202e}'), "{first}");

    // The same again, in the other generation of the protocol.
    let mut params = json!({ "name": "propose_action", "arguments": wake("5m") });
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let headers = [("mcp-protocol-version", NEW), ("mcp-method", "tools/call"), ("mcp-name", "propose_action")];
    let again = served.mcp(AGENT, &headers, &json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": params })).await;
    assert_eq!(again["structuredContent"]["action"]["id"], "a1", "{again}");
    assert_eq!(again["structuredContent"]["known_before"], true, "{again}");
    let actions: Value = served.client().get("/api/v1/actions").await.unwrap();
    assert_eq!(actions["actions"].as_array().map(Vec::len), Some(1), "{actions}");
    let explained = served.called("explain_decision", json!({ "action": "a1" })).await;
    assert_eq!(explained["structuredContent"]["line"]["phase"], "awaiting_approval", "{explained}");

    let ordered = served.journalled("ordered");
    let [Event::Ordered(order)] = ordered.as_slice() else { panic!("one order: {ordered:?}") };
    assert!(order.by == "token:helper" && matches!(order.command, Command::Propose { .. }), "{order:?}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_proposals_are_taken_and_no_more() {
    let served = house().await;
    let propose = |n: usize, verb: &str| {
        let mut wish = wake("5m");
        wish["verb"] = json!(verb);
        wish["args"] = json!({ "try": n });
        wish
    };
    // Refused ones: they leave a trace each, and at sixty within an hour it is enough.
    for n in 0..60 {
        let result = served.called("propose_action", propose(n, "power.wipe")).await;
        assert_eq!(result["structuredContent"]["awaiting_approval"], false, "{n}: {result}");
    }
    let result = served.called("propose_action", propose(60, "power.wake")).await;
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(result["isError"] == true && text.contains("at most 60 are taken"), "{result}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_may_not_propose_is_refused_with_the_reason() {
    let served = house().await;
    let mut wipe = wake("5m");
    wipe["verb"] = json!("power.wipe");
    let mut without = wake("5m");
    without.as_object_mut().unwrap().remove("claim");
    for (wish, guard) in [(wipe, "reasoner"), (without, "lint")] {
        let result = served.called("propose_action", wish).await;
        let told = &result["structuredContent"];
        assert_eq!((&result["isError"], &told["awaiting_approval"]), (&json!(false), &json!(false)), "{result}");
        assert!(told["guards"].to_string().contains(guard), "{guard}: {result}");
    }
    for (series, expected) in [("node_up", "names several series"), ("node_down", "names no series"), ("node_up{", "`claim.series`")] {
        let mut wish = wake("5m");
        wish["claim"]["series"] = json!(series);
        let result = served.called("propose_action", wish).await;
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(result["isError"] == true && text.contains(expected), "{series}: {result}");
    }
    let result = served.called("explain_decision", json!({ "action": "twelve" })).await;
    assert!(result["isError"] == true && result.to_string().contains("a number such as `a12`"), "{result}");
    let course = served.called("query_window", json!({ "selector": "node_up", "span": "5m", "points": 3 })).await;
    assert_eq!(course["structuredContent"]["series_found"], 2, "{course}");
    let waiting: Value = served.client().get("/api/v1/approvals").await.unwrap();
    assert_eq!(waiting["approvals"], json!([]), "nobody is asked about what was refused");
    served.end().await;
}

/// A client of `homeostat mcp`, on a duplex in the place of stdin and stdout.
async fn on_stdio(client: Client, messages: &[Value]) -> Vec<Value> {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (read, write) = tokio::io::split(theirs);
    let server = homeostat_mcp::Server::new(Arc::new(OverSocket::new(client)));
    let serving = tokio::spawn(homeostat_mcp::serve_streams(server, read, write));
    let (read, mut write) = tokio::io::split(ours);
    let mut lines = BufReader::new(read).lines();
    let mut answers = Vec::new();
    for message in [&initialize()].into_iter().chain(messages) {
        write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        answers.push(serde_json::from_str(&lines.next_line().await.unwrap().expect("an answer")).unwrap());
        if answers.len() == 1 {
            write.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n").await.unwrap();
        }
    }
    drop((lines, write));
    serving.await.unwrap().unwrap();
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_stdio_the_same_is_said_over_the_daemons_socket() {
    let served = house().await;
    let listed = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let answers = on_stdio(served.client(), &[listed, call("status", json!({})), call("propose_action", wake("5m"))]).await;
    assert_eq!(answers[1]["result"]["tools"].as_array().map(Vec::len), Some(homeostat_mcp::Tool::ALL.len()), "{}", answers[1]);
    assert_eq!(answers[2]["result"]["structuredContent"]["overview"]["hands_off"], Value::Null, "{}", answers[2]);
    assert_eq!(answers[3]["result"]["structuredContent"]["awaiting_approval"], true, "{}", answers[3]);
    assert!(answers[3].to_string().contains("unix:"), "{}", answers[3]);
    served.end().await;
    let dir = tempfile::tempdir().unwrap();
    let answers = on_stdio(Client::new(dir.path().join("homeostat.sock")), &[call("status", json!({}))]).await;
    let text = answers[1]["result"]["content"][0]["text"].as_str().unwrap();
    assert!(answers[1]["result"]["isError"] == true && text.contains("no daemon answers"), "{text}");
}
