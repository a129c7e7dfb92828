//! Ollama: `POST /api/chat`, not streamed, the schema as a constraint and in words (acting.md §6.2).
//!
//! The prompt may not be cut silently (`truncate`, `shift`): a brief that lost its middle is another brief. Deliberately absent: tools,
//! pulling and unloading models. An editor breaks this by taking `done_reason: length` for an answer, or by letting one of Ollama's
//! cloud models pass for local.

use crate::config::{Price, check_common, local_timeout};
use crate::drive::{Ask, Dialect, End, Remote, Said, text_at, usage};
use crate::wire::Endpoint;
use homeostat_model::{Place, QuestionPurpose, Reasoner, ReasonerSpec, Secret, Span, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// An Ollama and one of its models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OllamaConfig {
    /// Its name here.
    pub id: String,
    /// Its address.
    #[serde(default = "url_default")]
    pub url: String,
    /// The model: `qwen3:8b`.
    pub model: String,
    /// Where the model runs: `local` or `cloud`. Ollama's own cloud models (`…-cloud`) are `cloud`.
    #[serde(default = "place_default")]
    #[schemars(with = "String")]
    pub place: Place,
    /// The node it lives on, if that may sleep: `node/muscle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub node: Option<Target>,
    /// A key for a proxy before it; Ollama itself asks for none. Sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<Secret>,
    /// How long one question may take; loading a model counts.
    #[serde(default = "local_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How many tokens brief and answer may have together; Ollama's own default is small. A longer brief is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// How freely it chooses its words; 0 is the most repeatable.
    #[serde(default)]
    pub temperature: f64,
    /// Repeats the same choice for the same question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// How long the model stays loaded afterwards: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub keep_alive: Option<Span>,
    /// Whether it thinks before it answers; not said: the model's own habit. Thinking counts as tokens of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think: Option<bool>,
    /// What it costs; electricity is not counted here.
    #[serde(default)]
    pub price: Price,
}

fn url_default() -> String {
    "http://127.0.0.1:11434".into()
}
fn place_default() -> Place {
    Place::Local
}

#[derive(Debug)]
struct Ollama {
    config: OllamaConfig,
}

/// Checks the configuration and builds; connects nowhere.
pub fn reasoner(config: &OllamaConfig) -> Result<Arc<dyn Reasoner>, String> {
    check_common(&config.id, &config.model, config.timeout, config.price)?;
    let tag = config.model.rsplit(':').next().unwrap_or_default();
    if config.place == Place::Local && (tag == "cloud" || config.model.ends_with("-cloud")) {
        return Err(format!("`{}` runs on Ollama's machines, not here: say `place: cloud`", config.model));
    }
    if !config.temperature.is_finite() || config.temperature < 0.0 {
        return Err(format!("`temperature` is {}, expected 0 or more", config.temperature));
    }
    let endpoint = Endpoint::new(&config.url, "/api/chat", config.place)?.let_in("authorization", "Bearer ", config.api_key.as_ref());
    let spec = ReasonerSpec {
        id: config.id.clone(),
        kind: "ollama".into(),
        model: config.model.clone(),
        place: config.place,
        node: config.node.clone(),
    };
    Ok(Arc::new(Remote { spec, endpoint, timeout: config.timeout, tokens_min: 0, dialect: Ollama { config: config.clone() } }))
}

impl Dialect for Ollama {
    type Purpose = QuestionPurpose;

    fn body(&self, _purpose: QuestionPurpose, ask: &Ask<'_>) -> Value {
        let config = &self.config;
        let mut messages = vec![json!({ "role": "system", "content": ask.system_with_schema() })];
        messages.extend(ask.turns());
        let mut options = json!({ "num_predict": ask.tokens_max, "temperature": config.temperature });
        if let Some(tokens) = config.context_tokens {
            options["num_ctx"] = json!(tokens);
        }
        if let Some(seed) = config.seed {
            options["seed"] = json!(seed);
        }
        let mut body = json!({ "model": config.model, "messages": messages, "options": options, "stream": false,
            "truncate": false, "shift": false });
        if config.place == Place::Local {
            body["format"] = ask.schema.clone(); // its cloud models take none
        }
        if let Some(keep_alive) = config.keep_alive {
            body["keep_alive"] = json!(keep_alive.millis() / 1000);
        }
        if let Some(think) = config.think {
            body["think"] = json!(think);
        }
        body
    }

    fn read(&self, body: &Value) -> Said {
        let end = match (body["message"]["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()), body["done_reason"].as_str()) {
            (true, _) => End::Odd("it called a tool, and was given none".to_owned()),
            (false, Some("stop")) => End::Whole,
            (false, None) if body["done"] == true => End::Whole, // older servers do not tell
            (false, Some("length")) => End::Cut,
            (false, other) => End::Odd(format!("`done_reason` is {other:?}, expected `stop`")),
        };
        let text = body["message"]["content"].as_str().unwrap_or_default();
        Said { usage: usage(body, "prompt_eval_count", "eval_count"), model: text_at(body, "model"), ..Said::new(text, end) }
    }
}
