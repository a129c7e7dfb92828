//! Every dialect against a server that speaks it: what is sent, byte by byte, and what becomes of each kind of answer.

pub(crate) mod far_end;
mod fixtures;
mod llama;
mod secrets;

use crate::config::ReasonerConfig;
use far_end::{Drip, FarEnd, Scripted, question, schema};
use homeostat_model::{Question, QuestionPurpose, ReasonFaultClass, Reasoner, Span, TokenUsage};
use serde_json::{Value, json};
use std::sync::Arc;

/// A key that is found again wherever it should not be.
const KEY: &str = "sk-test-0123456789abcdef";
const GOOD: &str = r#"{"target":2,"action":"wake"}"#;
const CANONICAL: &str = r#"{"action":"wake","target":2}"#;
const BROKEN: &str = r#"{"action":"fly","target":2}"#;

/// How a dialect says things.
struct Face {
    name: &'static str,
    config: fn(&str) -> Value,
    /// A body in which the model says this and is done; 11 tokens read, 7 written.
    says: fn(&str) -> Value,
    cut: Option<fn() -> Value>,
    refuses: Option<fn() -> Value>,
    error: fn(&str) -> Value,
    usage: TokenUsage,
}

/// What was reported.
const REPORTED: TokenUsage = TokenUsage { input_tokens: 11, output_tokens: 7, estimated: false };

fn ollama_says(text: &str) -> Value {
    json!({ "model": "m1", "message": { "role": "assistant", "content": text }, "done": true, "done_reason": "stop",
        "prompt_eval_count": 11, "eval_count": 7 })
}

fn chat_says(text: &str) -> Value {
    json!({ "id": "chatcmpl-1", "model": "m1", "choices": [{ "index": 0, "finish_reason": "stop",
        "message": { "role": "assistant", "content": text, "refusal": null } }], "usage": { "prompt_tokens": 11, "completion_tokens": 7 } })
}

fn responses_says(text: &str) -> Value {
    json!({ "id": "resp_1", "model": "m1", "status": "completed", "error": null, "incomplete_details": null, "output": [
        { "type": "reasoning", "summary": [] },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": text, "annotations": [] }] }],
        "usage": { "input_tokens": 11, "output_tokens": 7 } })
}

fn anthropic_says(text: &str) -> Value {
    json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m1", "stop_reason": "end_turn", "content": [
        { "type": "thinking", "thinking": "{}" }, { "type": "text", "text": text }],
        "usage": { "input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 4, "output_tokens": 7 } })
}

fn langflow_says(text: &str) -> Value {
    json!({ "session_id": "s", "outputs": [{ "inputs": {}, "outputs": [
        { "results": {}, "component_id": "Other-1" },
        { "results": { "message": { "text": text } }, "component_id": "ChatOutput-1", "token_usage": { "input_tokens": 11, "output_tokens": 7 } }] }] })
}

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn openai_error(words: &str) -> Value {
    json!({ "error": { "message": words, "type": "x", "param": null, "code": null } })
}

fn faces() -> Vec<Face> {
    vec![
        Face {
            name: "ollama",
            config: |url| json!({ "kind": "ollama", "id": "r", "url": url, "model": "m1", "api_key": KEY }),
            says: ollama_says,
            cut: Some(|| with(ollama_says("{\"act"), "/done_reason", json!("length"))),
            refuses: None,
            error: |words| json!({ "error": words }),
            usage: REPORTED,
        },
        Face {
            name: "openai chat completions",
            config: |url| json!({ "kind": "openai", "id": "r", "url": format!("{url}/v1"), "model": "m1", "api_key": KEY }),
            says: chat_says,
            cut: Some(|| with(chat_says("{\"act"), "/choices/0/finish_reason", json!("length"))),
            refuses: Some(|| with(chat_says(""), "/choices/0/message/refusal", json!("I will not."))),
            error: openai_error,
            usage: REPORTED,
        },
        Face {
            name: "openai responses",
            config: |url| json!({ "kind": "openai", "api": "responses", "id": "r", "url": format!("{url}/v1"), "model": "m1", "api_key": KEY }),
            says: responses_says,
            cut: Some(|| {
                let body = with(responses_says("{\"act"), "/status", json!("incomplete"));
                with(body, "/incomplete_details", json!({ "reason": "max_output_tokens" }))
            }),
            refuses: Some(|| with(responses_says(""), "/output/1/content", json!([{ "type": "refusal", "refusal": "I will not." }]))),
            error: openai_error,
            usage: REPORTED,
        },
        Face {
            name: "anthropic",
            config: |url| json!({ "kind": "anthropic", "id": "r", "url": url, "model": "m1", "api_key": KEY }),
            says: anthropic_says,
            cut: Some(|| with(anthropic_says("{\"act"), "/stop_reason", json!("max_tokens"))),
            refuses: Some(|| with(anthropic_says(""), "/stop_reason", json!("refusal"))),
            error: |words| json!({ "type": "error", "error": { "type": "api_error", "message": words }, "request_id": "req_1" }),
            usage: REPORTED,
        },
        Face {
            name: "perplexity",
            config: |url| json!({ "kind": "perplexity", "id": "r", "url": url, "model": "m1", "api_key": KEY }),
            says: chat_says,
            cut: Some(|| with(chat_says("{\"act"), "/choices/0/finish_reason", json!("length"))),
            refuses: Some(|| with(chat_says(""), "/choices/0/finish_reason", json!("content_filter"))),
            error: openai_error,
            usage: REPORTED,
        },
        Face {
            name: "langflow",
            config: |url| json!({ "kind": "langflow", "id": "r", "url": url, "flow": "f-1", "place": "local", "api_key": KEY }),
            says: langflow_says,
            cut: None,
            refuses: None,
            error: |words| json!({ "detail": words }),
            usage: REPORTED,
        },
    ]
}

fn built(config: Value) -> Arc<dyn Reasoner> {
    let config: ReasonerConfig = serde_json::from_value(config).unwrap();
    config.build().unwrap()
}

fn yes(body: Value) -> Scripted {
    (200, Vec::new(), body.to_string())
}

fn class(name: &str, result: Result<homeostat_model::Answer, homeostat_model::ReasonFault>) -> (&'static str, String, u32) {
    let fault = result.map(|answer| panic!("{name}: {answer:?}")).unwrap_err();
    assert!(!fault.to_string().contains(KEY) && !format!("{fault:?}").contains(KEY), "{name}: {fault:?}");
    (fault.class.name(), fault.text, fault.requests)
}

#[tokio::test]
async fn an_answer_comes_back_checked_and_counted() {
    for face in faces() {
        let far = FarEnd::script(vec![(200, vec![("x-request-id", "req-9".into())], (face.says)(GOOD).to_string())]).await;
        let answer = built((face.config)(&far.url)).complete(&question()).await.unwrap_or_else(|fault| panic!("{}: {fault}", face.name));
        assert_eq!(
            (answer.json.as_str(), answer.usage, answer.requests, answer.repaired),
            (CANONICAL, face.usage, 1, false),
            "{}",
            face.name
        );
        assert_eq!(answer.request_id.as_deref(), Some("req-9"), "{}", face.name);
        // A target that is not in any list is well-formed all the same: the catalogue refuses it, not this crate.
        let far = FarEnd::script(vec![yes((face.says)(r#"{"action":"none","target":99999}"#))]).await;
        let answer = built((face.config)(&far.url)).complete(&question()).await.unwrap();
        assert_eq!(answer.json, r#"{"action":"none","target":99999}"#, "{}", face.name);
    }
}

#[tokio::test]
async fn a_broken_answer_is_repaired_once() {
    for face in faces() {
        let far = FarEnd::script(vec![yes((face.says)(BROKEN)), yes((face.says)(GOOD))]).await;
        let answer = built((face.config)(&far.url)).complete(&question()).await.unwrap();
        assert_eq!((answer.json.as_str(), answer.requests, answer.repaired), (CANONICAL, 2, true), "{}", face.name);
        assert_eq!(answer.usage, face.usage.times(2), "{}", face.name);
        let again = far.seen()[1].body.clone();
        assert!(
            again.contains(r#"/action is \"fly\", expected one of"#) && again.contains(&BROKEN.replace('"', "\\\"")),
            "{}: {again}",
            face.name
        );
        for broken in [BROKEN, "not JSON", "", "{\"action\":\"wake\"}"] {
            let far = FarEnd::script(vec![yes((face.says)(broken))]).await;
            let reasoner = built((face.config)(&far.url));
            let result = reasoner.complete(&question()).await;
            let bound = reasoner.bound(&question());
            let used = result.as_ref().unwrap_err().usage;
            assert!(used.total() <= bound.total(), "{}", face.name);
            let (class, _, requests) = class(face.name, result);
            // A flow without text is no answer at all, so there is nothing to repair.
            let empty_flow = face.name == "langflow" && broken.is_empty();
            assert_eq!(
                (class, requests, far.seen().len()),
                ("malformed", if empty_flow { 1 } else { 2 }, requests as usize),
                "{}: {broken}",
                face.name
            );
        }
    }
}

#[tokio::test]
async fn a_cut_answer_and_a_refusal_are_no_answers() {
    for face in faces() {
        for (body, expected) in [(face.cut.map(|cut| cut()), "truncated"), (face.refuses.map(|refuses| refuses()), "refused")] {
            let Some(body) = body else { continue };
            let far = FarEnd::script(vec![yes(body)]).await;
            let result = built((face.config)(&far.url)).complete(&question()).await;
            assert_eq!(result.as_ref().unwrap_err().usage, face.usage, "{}: what was used up counts", face.name);
            assert_eq!((class(face.name, result).0, far.seen().len()), (expected, 1), "{}", face.name);
        }
    }
    for (face, pointer, value) in [
        (0, "/done_reason", "load"),
        (1, "/choices/0/finish_reason", "tool_calls"),
        (2, "/status", "failed"),
        (3, "/stop_reason", "pause_turn"),
    ] {
        let face = &faces()[face];
        let far = FarEnd::script(vec![yes(with((face.says)(GOOD), pointer, json!(value)))]).await;
        assert_eq!(class(face.name, built((face.config)(&far.url)).complete(&question()).await).0, "malformed", "{} {value}", face.name);
    }
}

#[tokio::test]
async fn refusals_of_the_service_have_their_class_and_leak_nothing() {
    for face in faces() {
        for (status, expected, requests) in [
            (400, "bad_request", 1),
            (401, "unauthorised", 1),
            (403, "unauthorised", 1),
            (404, "bad_request", 1),
            (302, "bad_request", 1),
            (402, "no_budget", 1),
        ] {
            let headers = vec![("location", "http://127.0.0.1:1/elsewhere".to_owned())];
            let far = FarEnd::script(vec![(status, headers, (face.error)(&format!("no: {KEY}")).to_string())]).await;
            let result = built((face.config)(&far.url)).complete(&question()).await;
            assert_eq!(result.as_ref().unwrap_err().usage, TokenUsage::default(), "{}: a refusal costs nothing", face.name);
            let (class, text, sent) = class(face.name, result);
            assert_eq!((class, sent, far.seen().len()), (expected, requests, requests as usize), "{} {status}", face.name);
            assert!(text.contains(&format!("HTTP {status}: no: <secret>")), "{}: {text}", face.name);
        }
    }
}

#[tokio::test]
async fn later_is_waited_for_and_counted() {
    for face in faces() {
        let later = |status, name, value: &str| (status, vec![(name, value.to_owned())], (face.error)("later").to_string());
        let far = FarEnd::script(vec![later(429, "retry-after", "0"), later(503, "retry-after-ms", "1"), yes((face.says)(GOOD))]).await;
        let answer = built((face.config)(&far.url)).complete(&question()).await.unwrap();
        assert_eq!((answer.requests, answer.usage, far.seen().len()), (3, face.usage, 3), "{}", face.name);
        assert_eq!(far.seen()[0].body, far.seen()[2].body, "{}: the same again", face.name);
        for (status, wait, class_name) in [(429, "12", "rate_limited"), (529, "121", "overloaded"), (503, "100000", "overloaded")] {
            // Whoever asks for more time than the question has, or than anybody waits, is not asked again.
            let far = FarEnd::script(vec![later(status, "retry-after", wait)]).await;
            let patient = wait == "121";
            let asked = Question { timeout: if patient { Span::from_hours(1) } else { Span::from_secs(10) }, ..question() };
            let mut config = (face.config)(&far.url);
            config["timeout"] = json!("1h");
            let fault = built(config).complete(&asked).await.unwrap_err();
            assert_eq!(fault.class.retry_after(), Some(Span::from_secs(wait.parse().unwrap())), "{}", face.name);
            assert_eq!((fault.class.name(), fault.requests), (class_name, 1), "{}", face.name);
        }
        let far = FarEnd::script(vec![(503, vec![("x-should-retry", "false".into())], (face.error)("no").to_string())]).await;
        assert_eq!(class(face.name, built((face.config)(&far.url)).complete(&question()).await).2, 1, "{}", face.name);
    }
    let face = &faces()[1];
    let empty = json!({ "error": { "message": "quota", "type": "insufficient_quota", "code": "insufficient_quota" } }).to_string();
    let far = FarEnd::script(vec![(429, Vec::new(), empty)]).await;
    assert_eq!(class(face.name, built((face.config)(&far.url)).complete(&question()).await), ("no_budget", "HTTP 429: quota".into(), 1));
}

#[tokio::test]
async fn errors_within_a_yes_are_errors() {
    for face in faces() {
        let line = format!("{}\n{}\n", json!({ "message": { "content": "{" }, "done": false }), (face.error)("out of memory"));
        let far = FarEnd::script(vec![(200, Vec::new(), line)]).await;
        let reasoner = built((face.config)(&far.url));
        let fault = reasoner.complete(&question()).await.unwrap_err();
        assert_eq!((fault.class.name(), fault.requests), ("overloaded", 2), "{}: {fault}", face.name);
        assert_eq!(fault.usage.total(), reasoner.bound(&question()).total(), "{}: nobody knows what it cost", face.name);
        assert!(fault.text.contains("out of memory"), "{}: {fault}", face.name);
        let far = FarEnd::script(vec![(200, Vec::new(), format!("<html>{KEY}"))]).await;
        let result = built((face.config)(&far.url)).complete(&question()).await;
        assert!(result.as_ref().unwrap_err().text.contains("<html><secret>"), "{}", face.name);
        assert_eq!(class(face.name, result).0, "malformed", "{}", face.name);
        let far = FarEnd::script(vec![(200, Vec::new(), " ".repeat(crate::BODY_BYTES_MAX + 1))]).await;
        let (class, text, requests) = class(face.name, built((face.config)(&far.url)).complete(&question()).await);
        assert!(class == "malformed" && requests == 1 && text.contains("more than 1048576 bytes"), "{}: {text}", face.name);
        let far = FarEnd::script(vec![yes(
            json!({ "choices": 1, "output": 2, "content": {}, "outputs": [1, { "outputs": "x" }], "message": [] }),
        )])
        .await;
        let fault = built((face.config)(&far.url)).complete(&question()).await.unwrap_err();
        assert_eq!(fault.class.name(), "malformed", "{}: nothing that comes is believed to be there", face.name);
    }
}

/// A port on loopback that is taken and that nobody listens on.
fn closed_port() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

#[tokio::test]
async fn time_runs_out() {
    // All at once, so that a time that no machine misses is not waited for six times.
    let mut tasks = tokio::task::JoinSet::new();
    for face in faces() {
        tasks.spawn(async move {
            let far = Drip::start("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{\"a\":", " ").await;
            // Whichever is shorter counts: the question's time, or the reasoner's own.
            let (ours, theirs) = if face.name == "ollama" { ("2s", 3600) } else { ("1h", 2) };
            let short = Question { timeout: Span::from_secs(theirs), ..question() };
            let mut config = (face.config)(&far.url);
            config["timeout"] = json!(ours);
            let reasoner = built(config);
            let fault = reasoner.complete(&short).await.unwrap_err();
            assert_eq!((fault.class, fault.requests, far.count()), (ReasonFaultClass::TimedOut, 1, 1), "{}: {fault}", face.name);
            assert!(fault.usage.estimated && fault.usage.total() * 2 == reasoner.bound(&short).total(), "{}: it may be billed", face.name);
        });
    }
    assert_eq!(tasks.join_all().await.len(), 6);
}

#[tokio::test]
async fn lines_break() {
    for face in faces() {
        let far = Drip::start("", "").await;
        let fault = built((face.config)(&far.url)).complete(&question()).await.unwrap_err();
        assert_eq!((fault.class, fault.requests, far.count()), (ReasonFaultClass::Unreachable, 2, 2), "{}: it may be billed", face.name);
        let (_closed, url) = closed_port();
        let fault = built((face.config)(&url)).complete(&question()).await.unwrap_err();
        assert_eq!((fault.class, fault.requests, fault.usage), (ReasonFaultClass::Unreachable, 3, TokenUsage::default()), "{}", face.name);
    }
    let (_closed, url) = closed_port();
    let config = json!({ "kind": "ollama", "id": "r", "url": url, "model": "m", "node": "node/muscle" });
    assert_eq!(built(config).complete(&question()).await.unwrap_err().node, Some("node/muscle".into()));
}

#[test]
fn what_is_written_into_a_providers_cache_is_counted_dearer() {
    let config = |cache: Value| -> ReasonerConfig {
        let price = json!({ "euros_per_million_input_tokens": 4.0, "euros_per_million_output_tokens": 20.0 });
        serde_json::from_value(json!({ "kind": "anthropic", "id": "r", "model": "m", "api_key": KEY, "cache": cache, "price": price }))
            .unwrap()
    };
    for (cache, euros) in [(Value::Null, 4.0), (json!("5m"), 5.0), (json!("1h"), 8.0)] {
        let price = config(cache).price();
        assert_eq!((price.euros_per_million_input_tokens, price.euros_per_million_output_tokens), (euros, 20.0));
    }
}

/// A request: path and query, headers, body.
type Documented = (&'static str, Vec<(&'static str, String)>, String);

#[tokio::test]
async fn what_is_sent_is_what_is_documented() {
    let [schema, input] = [schema().to_string(), json!(question().input).to_string()];
    let told =
        json!(format!("Choose.\n\nAnswer with one JSON object that matches this JSON Schema, and nothing else:\n{schema}")).to_string();
    let user = format!(r#"{{"content":{input},"role":"user"}}"#);
    let system = r#"{"content":"Choose.","role":"system"}"#;
    let bearer = ("authorization", format!("Bearer {KEY}"));
    let flow_input = json!(format!("{}\n\n{}", serde_json::from_str::<String>(&told).unwrap(), question().input)).to_string();
    let expected: [Documented; 6] = [
        (
            "/api/chat",
            vec![bearer.clone()],
            format!(
                r#"{{"format":{schema},"messages":[{{"content":{told},"role":"system"}},{user}],"model":"m1","options":{{"num_predict":300,"temperature":0.0}},"shift":false,"stream":false,"truncate":false}}"#
            ),
        ),
        (
            "/v1/chat/completions",
            vec![bearer.clone()],
            format!(
                r#"{{"max_completion_tokens":300,"messages":[{system},{user}],"model":"m1","response_format":{{"json_schema":{{"name":"answer","schema":{schema},"strict":true}},"type":"json_schema"}},"store":false}}"#
            ),
        ),
        (
            "/v1/responses",
            vec![bearer.clone()],
            format!(
                r#"{{"input":[{user}],"instructions":"Choose.","max_output_tokens":300,"model":"m1","store":false,"text":{{"format":{{"name":"answer","schema":{schema},"strict":true,"type":"json_schema"}}}}}}"#
            ),
        ),
        (
            "/v1/messages",
            vec![("x-api-key", KEY.into()), ("anthropic-version", "2026-10-21".into()), ("authorization", String::new())],
            format!(
                r#"{{"max_tokens":2048,"messages":[{user}],"model":"m1","output_config":{{"format":{{"schema":{schema},"type":"json_schema"}}}},"system":[{{"text":"Choose.","type":"text"}}]}}"#
            ),
        ),
        (
            "/chat/completions",
            vec![bearer],
            format!(
                r#"{{"max_tokens":300,"messages":[{system},{user}],"model":"m1","response_format":{{"json_schema":{{"schema":{schema}}},"type":"json_schema"}}}}"#
            ),
        ),
        (
            "/api/v1/run/f-1?stream=false",
            vec![("x-api-key", KEY.into()), ("authorization", String::new())],
            format!(
                r#"{{"input_type":"chat","input_value":{flow_input},"output_type":"chat","session_id":"homeostat-{}"}}"#,
                crate::drive::fingerprint(&question())
            ),
        ),
    ];
    for (face, (path, headers, body)) in faces().into_iter().zip(expected) {
        let far = FarEnd::script(vec![yes((face.says)(GOOD))]).await;
        built((face.config)(&far.url)).complete(&question()).await.unwrap();
        let seen = far.seen().remove(0);
        assert_eq!((seen.method.as_str(), seen.uri.to_string().as_str(), seen.header("content-type")), ("POST", path, "application/json"));
        assert_eq!(seen.body, body, "{}", face.name);
        for (name, value) in headers {
            assert_eq!(seen.header(name), value, "{} {name}", face.name);
        }
    }
}

#[tokio::test]
async fn what_is_configured_is_sent() {
    let cases = [
        (
            ollama_says as fn(&str) -> Value,
            json!({ "kind": "ollama", "model": "m", "context_tokens": 8192, "seed": 7, "keep_alive": "10m", "think": false, "temperature": 0.5 }),
            vec![
                ("/options/num_ctx", json!(8192)),
                ("/options/seed", json!(7)),
                ("/keep_alive", json!(600)),
                ("/think", json!(false)),
                ("/options/temperature", json!(0.5)),
            ],
        ),
        (ollama_says, json!({ "kind": "ollama", "model": "m:cloud", "place": "cloud" }), vec![("/format", Value::Null)]),
        (
            chat_says,
            json!({ "kind": "openai", "model": "m", "place": "local", "tokens_field": "max_tokens", "seed": 7, "temperature": 0.0, "reasoning_effort": "low" }),
            vec![
                ("/max_tokens", json!(300)),
                ("/store", Value::Null),
                ("/seed", json!(7)),
                ("/temperature", json!(0.0)),
                ("/reasoning_effort", json!("low")),
            ],
        ),
        (
            responses_says,
            json!({ "kind": "openai", "api": "responses", "model": "m", "tokens_min": 4000, "reasoning_effort": "high" }),
            vec![("/max_output_tokens", json!(4000)), ("/reasoning/effort", json!("high")), ("/store", json!(false))],
        ),
        (
            anthropic_says,
            json!({ "kind": "anthropic", "model": "m", "api_key": KEY, "effort": "low", "cache": "1h", "tokens_min": 3000 }),
            vec![
                ("/output_config/effort", json!("low")),
                ("/system/0/cache_control", json!({ "type": "ephemeral", "ttl": "1h" })),
                ("/max_tokens", json!(3000)),
            ],
        ),
        (
            chat_says,
            json!({ "kind": "perplexity", "model": "sonar", "api_key": KEY, "domains": ["nvd.nist.gov"], "recency": "month", "context": "low" }),
            vec![
                ("/search_domain_filter", json!(["nvd.nist.gov"])),
                ("/search_recency_filter", json!("month")),
                ("/web_search_options", json!({ "search_context_size": "low" })),
            ],
        ),
        (
            langflow_says,
            json!({ "kind": "langflow", "flow": "f", "place": "local", "output_component": "ChatOutput-1", "tweaks": { "A-1": { "temperature": 0.1 } } }),
            vec![("/output_component", json!("ChatOutput-1")), ("/tweaks", json!({ "A-1": { "temperature": 0.1 } }))],
        ),
    ];
    for (says, mut config, expected) in cases {
        let far = FarEnd::script(vec![yes(says(GOOD))]).await;
        config["id"] = json!("r");
        config["url"] = json!(far.url);
        built(config.clone()).complete(&question()).await.unwrap();
        let sent = far.seen()[0].json();
        for (pointer, value) in expected {
            assert_eq!(sent.pointer(pointer).unwrap_or(&Value::Null), &value, "{config} {pointer}");
        }
    }
}

#[tokio::test]
async fn research_has_citations_and_makes_no_proposals() {
    let mut body = chat_says(GOOD);
    body["citations"] = json!(["https://a.example/1", "javascript:alert(1)", "https://a.example/1", 7]);
    body["search_results"] = json!([{ "url": "https://b.example/2", "title": "t" }]);
    body["usage"]["cost"] = json!({ "total_cost": 0.006 });
    let far = FarEnd::script(vec![yes(with(body.clone(), "/choices/0/message/content", json!(BROKEN))), yes(body)]).await;
    let config = json!({ "kind": "perplexity", "id": "r", "url": far.url, "model": "sonar", "api_key": KEY, "euros_per_dollar": 0.5 });
    let reasoner = built(config);
    for purpose in QuestionPurpose::ALL {
        let asked = Question { purpose, ..question() };
        if matches!(purpose, QuestionPurpose::Advice | QuestionPurpose::Verify | QuestionPurpose::Draft) {
            let fault = reasoner.complete(&asked).await.unwrap_err();
            assert_eq!((fault.class, fault.requests), (ReasonFaultClass::NotAllowed, 0));
        }
    }
    assert!(far.seen().is_empty(), "nothing was sent for a proposal");
    let answer = reasoner.complete(&Question { purpose: QuestionPurpose::Research, ..question() }).await.unwrap();
    assert_eq!(answer.citations, ["https://a.example/1", "https://b.example/2"]);
    assert!((answer.cost_euros.unwrap() - 0.006).abs() < 1e-12, "both requests cost: {:?}", answer.cost_euros);
}

#[tokio::test]
async fn questions_that_cannot_be_asked_are_not_sent() {
    for face in faces() {
        let far = FarEnd::script(vec![yes((face.says)(GOOD))]).await;
        let reasoner = built((face.config)(&far.url));
        let bad_schema = Question { schema: schema().to_string().replace("integer", "whole"), ..question() };
        let bad_input = Question { input: "load: 0.9".into(), ..question() };
        let no_time = Question { timeout: Span::ZERO, ..question() };
        let long = Question { input: json!("x".repeat(2 << 20)).to_string(), ..question() };
        for (asked, expected) in [(long, "bad_request"), (bad_schema, "bad_request"), (bad_input, "bad_request"), (no_time, "timed_out")] {
            assert_eq!((class(face.name, reasoner.complete(&asked).await).0, far.seen().len()), (expected, 0), "{}", face.name);
        }
    }
}

#[test]
fn configurations_are_checked() {
    for (config, words) in [
        (json!({ "kind": "ollama", "id": "r", "model": "qwen3-coder:480b-cloud" }), "place: cloud"),
        (json!({ "kind": "ollama", "id": "r r", "model": "m" }), "`id`"),
        (json!({ "kind": "ollama", "id": "r", "model": "" }), "name"),
        (json!({ "kind": "ollama", "id": "r", "model": "m", "timeout": "0s" }), "timeout"),
        (json!({ "kind": "ollama", "id": "r", "model": "m", "temperature": -1.0 }), "temperature"),
        (json!({ "kind": "openai", "id": "r", "model": "m", "url": "http://api.openai.com/v1" }), "plain HTTP"),
        (json!({ "kind": "anthropic", "id": "r", "model": "m", "api_key": "k", "price": { "euros_per_request": -1.0 } }), "price"),
        (json!({ "kind": "perplexity", "id": "r", "model": "m", "api_key": "k", "euros_per_dollar": 0.0 }), "euros_per_dollar"),
        (json!({ "kind": "langflow", "id": "r", "url": "http://nas", "place": "local", "flow": "../x" }), "flow"),
    ] {
        let parsed: ReasonerConfig = serde_json::from_value(config.clone()).unwrap();
        let said = parsed.build().err().unwrap_or_else(|| panic!("{config} was built"));
        assert!(said.contains(words), "{config}: {said}");
    }
    for unknown in ["ollama", "openai", "anthropic", "perplexity", "langflow", "canned"] {
        let config = json!({ "kind": unknown, "id": "r", "model": "m", "url": "http://nas", "flow": "f", "api_key": "k", "colour": "red" });
        let error = serde_json::from_value::<ReasonerConfig>(config).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{unknown}: {error}");
    }
    let schema = serde_json::to_string(&schemars::schema_for!(crate::ReasonersConfig)).unwrap();
    assert!(["ollama", "langflow", "cloud_for", "tokens_per_month"].iter().all(|word| schema.contains(word)), "{schema}");
}
