//! What a model may look at besides its brief. All of it only reads, is chosen by number or out of a list, and is bounded.
//!
//! Log lines come as templates and are tainted; so is whatever the journal says in other people's words. Deliberately absent: queries that a
//! model writes, paths, names of hosts. An editor breaks this by adding a tool that takes free text to anything but a search in our own
//! documents, or one that changes something.

use crate::config::LokiConfig;
use crate::live::Handle;
use homeostat_kernel::reason::words;
use homeostat_model::{ActionId, Brief, Look, Span, Target};
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes of one look's answer.
const SAID_BYTES_MAX: usize = 4_000;
/// Bytes that are read from Loki.
const LOKI_BYTES_MAX: usize = 1 << 20;
/// Lines that are asked for.
const LOKI_LINES_MAX: u32 = 300;
/// Characters of one template.
const LINE_CHARS_MAX: usize = 200;
/// How long Loki may take.
const LOKI_PATIENCE: Duration = Duration::from_secs(10);
/// The windows that may be asked for.
const SPANS: [(&str, Span); 4] =
    [("15m", Span::from_mins(15)), ("1h", Span::from_hours(1)), ("6h", Span::from_hours(6)), ("24h", Span::from_hours(24))];
/// Our own documents, for `search`.
const DOCS: [(&str, &str); 5] = [
    ("safety", include_str!("../../docs/safety.md")),
    ("scores", include_str!("../../docs/scores.md")),
    ("signals", include_str!("../../docs/signals.md")),
    ("playbooks", include_str!("../../docs/playbooks.md")),
    ("policy-api", include_str!("../../docs/policy-api.md")),
];

/// The schema of one look at what this brief allows.
pub fn schema(brief: &Brief, logs: bool) -> Value {
    let tool = |name: &str, fields: &[(&str, Value)]| {
        let mut properties = serde_json::Map::from_iter([("tool".to_owned(), json!({ "type": "string", "enum": [name] }))]);
        properties.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let required: Vec<&String> = properties.keys().collect();
        json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
    };
    let numbers = |len: usize| json!({ "type": "integer", "enum": (0..len).collect::<Vec<_>>() });
    let mut tools = vec![tool("incidents", &[]), tool("search", &[("words", json!({ "type": "string" }))])];
    if !brief.readings.is_empty() {
        let spans: Vec<&str> = SPANS.iter().map(|(name, _)| *name).collect();
        tools.push(tool("window", &[("reading", numbers(brief.readings.len())), ("span", json!({ "type": "string", "enum": spans }))]));
    }
    let actions = past_actions(brief);
    if !actions.is_empty() {
        tools.push(tool("past_action", &[("action", json!({ "type": "string", "enum": actions }))]));
    }
    if logs && !brief.targets.is_empty() {
        tools.push(tool("logs", &[("target", numbers(brief.targets.len()))]));
    }
    json!({ "anyOf": tools })
}

fn past_actions(brief: &Brief) -> Vec<String> {
    let facts: Value = serde_json::from_str(&brief.facts).unwrap_or_default();
    let listed = facts["past_actions"].as_array().cloned().unwrap_or_default();
    listed.iter().filter_map(|action| action["action"].as_str().map(str::to_owned)).collect()
}

/// Looks. What cannot be had is said, never guessed.
pub async fn look(handle: &Handle, loki: Option<&LokiConfig>, brief: &Brief, asked: &Value) -> Look {
    let tool = asked["tool"].as_str().unwrap_or_default().to_owned();
    let (said, tainted) = match tool.as_str() {
        "incidents" => (incidents(handle).await, false),
        "window" => (window(handle, brief, asked).await, false),
        "past_action" => (past_action(handle, asked).await, true),
        "logs" => (logs(handle, loki, brief, asked).await, true),
        "search" => (Ok(search(asked["words"].as_str().unwrap_or_default())), false),
        other => (Err(format!("there is no tool `{}`", words::clean_label(other, 40))), false),
    };
    let said = said.unwrap_or_else(|why| json!({ "error": why })).to_string();
    let said = if said.len() > SAID_BYTES_MAX { json!({ "error": "the answer was too long" }).to_string() } else { said };
    Look { tool: words::clean_label(&tool, 40), asked: asked.to_string(), said, tainted }
}

async fn incidents(handle: &Handle) -> Result<Value, String> {
    let told = |kernel: &homeostat_kernel::Kernel| {
        let now = kernel.now();
        let firing = kernel.ledger().alerts().filter(|known| known.firing).take(20);
        let lines = firing.map(|known| {
            json!({ "alert": words::clean_label(&known.alert.name, 128), "lasting": now.since(known.since).to_string(), "repeats": known.repeats })
        });
        Value::Array(lines.collect())
    };
    handle.ask(told).await.map_err(|refused| refused.to_string())
}

async fn window(handle: &Handle, brief: &Brief, asked: &Value) -> Result<Value, String> {
    let place = asked["reading"].as_u64().and_then(|place| brief.readings.get(place as usize)).ok_or("there is no such reading")?;
    let (name, span) = SPANS.into_iter().find(|(name, _)| Some(*name) == asked["span"].as_str()).ok_or("there is no such span")?;
    let key = place.series.clone().ok_or("no series answered that reading")?;
    let told = move |kernel: &homeostat_kernel::Kernel| {
        let now = kernel.now();
        kernel.with_store(|store| {
            let series = store.find(&key).ok_or("the series is gone")?;
            let window = store.window(series, now, span);
            let value = |read: homeostat_kernel::store::Read| read.value.value().filter(|value| value.is_finite());
            let quantile = |q: f64| value(window.quantile(q));
            Ok(json!({
                "span": name, "count": value(window.count()), "min": value(window.min()), "avg": value(window.avg()), "max": value(window.max()),
                "p10": quantile(0.1), "p50": quantile(0.5), "p90": quantile(0.9),
                "change_per_hour": value(window.slope()).map(|slope| slope * 3600.0), "coverage": value(window.coverage()),
            }))
        })
    };
    handle.ask(told).await.map_err(|refused| refused.to_string())?.map_err(|why: &str| why.to_owned())
}

async fn past_action(handle: &Handle, asked: &Value) -> Result<Value, String> {
    let id: ActionId = asked["action"].as_str().unwrap_or_default().parse().map_err(|_| "that is no action's number".to_owned())?;
    let told = move |kernel: &homeostat_kernel::Kernel| {
        let text = kernel.explain(id).map(|explanation| explanation.text(|at| format!("{} ago", kernel.now().since(at))));
        text.map(|text| {
            let lines = text.lines().take(40).map(|line| words::one_line(line, LINE_CHARS_MAX).text);
            json!({ "explained": lines.collect::<Vec<_>>() })
        })
    };
    handle.ask(told).await.map_err(|refused| refused.to_string())?.ok_or_else(|| format!("{id} is not in memory any more"))
}

/// Paragraphs of our documents that hold all the words, at most five.
fn search(text: &str) -> Value {
    let wanted: Vec<String> = text.split_whitespace().take(8).map(str::to_lowercase).collect();
    if wanted.is_empty() {
        return json!({ "error": "no words were given" });
    }
    let holds = |paragraph: &&str| {
        let lower = paragraph.to_lowercase();
        wanted.iter().all(|word| lower.contains(word))
    };
    let found = DOCS.iter().flat_map(|(name, text)| text.split("\n\n").filter(holds).map(move |paragraph| (*name, paragraph)));
    let lines =
        found.take(5).map(|(name, paragraph)| json!({ "document": name, "text": paragraph.trim().chars().take(600).collect::<String>() }));
    Value::Array(lines.collect())
}

async fn logs(handle: &Handle, loki: Option<&LokiConfig>, brief: &Brief, asked: &Value) -> Result<Value, String> {
    let loki = loki.ok_or("no logs are configured (`reasoning.loki`)")?;
    let target = asked["target"].as_u64().and_then(|place| brief.targets.get(place as usize)).ok_or("there is no such target")?;
    let query = selector(loki, target)?;
    let now = handle.ask(|kernel| kernel.now()).await.map_err(|refused| refused.to_string())?;
    let nanos = |at: homeostat_model::Time| format!("{}000000", at.millis());
    let client = reqwest::Client::builder().timeout(LOKI_PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
    let client = client.map_err(|_| "no connection could be made ready".to_owned())?;
    let parameters = [
        ("query", query),
        ("start", nanos(now - Span::from_hours(1))),
        ("end", nanos(now)),
        ("limit", LOKI_LINES_MAX.to_string()),
        ("direction", "backward".to_owned()),
    ];
    let address = format!("{}/loki/api/v1/query_range", loki.url.trim_end_matches('/'));
    let address = reqwest::Url::parse_with_params(&address, &parameters).map_err(|_| "`reasoning.loki.url` is no address".to_owned())?;
    let mut request = client.get(address);
    if let Some(token) = &loki.token {
        let text = token.resolve(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path));
        request = request.bearer_auth(text.map_err(|_| "the token of `reasoning.loki` cannot be read".to_owned())?.trim());
    }
    // The error of a request holds its address; nothing of it is told.
    let mut response = request.send().await.map_err(|_| "Loki does not answer".to_owned())?;
    if !response.status().is_success() {
        return Err(format!("Loki answers with {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "Loki's answer broke off".to_owned())? {
        if body.len() + chunk.len() > LOKI_BYTES_MAX {
            return Err(format!("Loki's answer has more than {LOKI_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    templates(&body)
}

/// Log lines of Loki's answer as templates, the most frequent first.
fn templates(body: &[u8]) -> Result<Value, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "Loki's answer is no JSON".to_owned())?;
    let streams = answer["data"]["result"].as_array().ok_or("Loki's answer holds no streams")?;
    let values = streams.iter().filter_map(|stream| stream["values"].as_array()).flatten();
    let lines: Vec<&str> = values.filter_map(|value| value.get(1)?.as_str()).collect();
    let found = words::templates(lines.iter().copied(), LINE_CHARS_MAX, 20).counted;
    let lines_told: Vec<Value> = found.into_iter().map(|(template, count)| json!({ "line": template.text, "count": count })).collect();
    Ok(json!({ "lines": lines.len(), "templates": lines_told }))
}

/// The stream selector of a target. Its name goes in as a quoted text.
fn selector(loki: &LokiConfig, target: &Target) -> Result<String, String> {
    let pattern = loki.selectors.get(target.kind()).ok_or_else(|| format!("no logs are configured for a {}", target.kind()))?;
    let mut parts = target.name().splitn(2, '/');
    let mut query = pattern.clone();
    for place in ["{1}", "{2}"] {
        if query.contains(place) {
            let part = parts.next().ok_or_else(|| format!("{target} has too few parts for its selector"))?;
            if part.chars().any(|c| c == '"' || c == '\\' || c == '`' || c.is_control()) {
                return Err(format!("the name of {} cannot stand in a selector", target.kind()));
            }
            query = query.replace(place, part);
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loki() -> LokiConfig {
        serde_json::from_value(json!({ "url": "http://127.0.0.1:1" })).unwrap()
    }

    #[test]
    fn a_name_cannot_break_out_of_its_selector() {
        assert_eq!(selector(&loki(), &"pod/home/web".into()).unwrap(), r#"{namespace="home",pod="web"}"#);
        assert!(selector(&loki(), &"pod/web".into()).is_err());
        assert!(selector(&loki(), &Target::from(r#"node/a"} or {x="#)).is_err());
        assert!(selector(&loki(), &"disk/a:sda".into()).is_err());
    }

    #[test]
    fn log_lines_are_templates() {
        let body = json!({ "status": "success", "data": { "resultType": "streams", "result": [{ "stream": {}, "values": [
            ["1", "GET /a 200 in 12 ms"], ["2", "GET /a 200 in 99 ms"], ["3", "\u{1b}[31mfail\u{202e}"],
        ] }] } });
        let said = templates(body.to_string().as_bytes()).unwrap();
        assert_eq!((&said["lines"], &said["templates"][0]["count"]), (&json!(3), &json!(2)), "{said}");
        assert!(!said.to_string().contains("u001b") && !said.to_string().contains('\u{202e}'), "{said}");
        assert!(templates(b"<html>").is_err() && templates(b"{}").is_err());
    }

    #[test]
    fn our_documents_are_searched() {
        assert!(!search("witnesses").as_array().unwrap().is_empty());
        assert_eq!(search("xyzzy plugh"), json!([]));
    }
}
