//! Anthropic's Messages, version 2026-10-21 (acting.md §6.4).
//!
//! The schema goes into `output_config.format`, not into a forced tool, which models that think may refuse; no `temperature`, which this
//! version refuses. `max_tokens` counts thinking, hence the floor. Deliberately absent: tools, streaming. An editor breaks this by
//! accepting a `stop_reason` other than `end_turn`.

use crate::config::{Price, check_common, cloud_timeout};
use crate::drive::{Ask, Dialect, End, Remote, Said, text_at};
use crate::wire::Endpoint;
use homeostat_model::{Place, QuestionPurpose, Reasoner, ReasonerSpec, Secret, Span, TokenUsage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The version of the interface that this file speaks.
const VERSION: &str = "2026-10-21";
/// Newer models think before they answer, and that counts.
const TOKENS_MIN: u32 = 2048;

/// One of Anthropic's models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnthropicConfig {
    /// Its name here.
    pub id: String,
    /// Its address.
    #[serde(default = "url_default")]
    pub url: String,
    /// The model.
    pub model: String,
    /// The key, sent as `x-api-key`.
    #[schemars(with = "String")]
    pub api_key: Secret,
    /// How long one question may take.
    #[serde(default = "cloud_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// It is asked for at least as many tokens; thinking counts.
    #[serde(default = "tokens_min_default")]
    pub tokens_min: u32,
    /// How much it thinks: `low`, `medium`, `high`, `xhigh`, `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// How long the provider keeps the constant part of the question, to read it cheaper: `5m` or `1h`; not said: not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<PromptCache>,
    /// What it costs.
    #[serde(default)]
    pub price: Price,
}

/// How long the provider keeps a prompt's beginning.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PromptCache {
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// An hour.
    #[serde(rename = "1h")]
    Hour,
}

fn url_default() -> String {
    "https://api.anthropic.com".into()
}
fn tokens_min_default() -> u32 {
    TOKENS_MIN
}

/// The price of a token read, if it may be one that is written into the provider's cache: a quarter dearer for five minutes, twice the
/// price for an hour. Those that come from there are cheaper; a budget counts them all as if they were written.
pub(crate) fn price(config: &AnthropicConfig) -> Price {
    let factor = match config.cache {
        None => 1.0,
        Some(PromptCache::FiveMinutes) => 1.25,
        Some(PromptCache::Hour) => 2.0,
    };
    Price { euros_per_million_input_tokens: config.price.euros_per_million_input_tokens * factor, ..config.price }
}

#[derive(Debug)]
struct Anthropic {
    config: AnthropicConfig,
}

/// Checks the configuration and builds; connects nowhere.
pub fn reasoner(config: &AnthropicConfig) -> Result<Arc<dyn Reasoner>, String> {
    check_common(&config.id, &config.model, config.timeout, config.price)?;
    let endpoint = Endpoint::new(&config.url, "/v1/messages", Place::Cloud)?;
    let endpoint = endpoint.let_in("x-api-key", "", Some(&config.api_key)).with_header("anthropic-version", VERSION);
    let spec =
        ReasonerSpec { id: config.id.clone(), kind: "anthropic".into(), model: config.model.clone(), place: Place::Cloud, node: None };
    let tokens_min = config.tokens_min;
    Ok(Arc::new(Remote { spec, endpoint, timeout: config.timeout, tokens_min, dialect: Anthropic { config: config.clone() } }))
}

impl Dialect for Anthropic {
    type Purpose = QuestionPurpose;

    fn body(&self, _purpose: QuestionPurpose, ask: &Ask<'_>) -> Value {
        let mut system = json!({ "type": "text", "text": ask.question.system });
        if let Some(ttl) = self.config.cache {
            system["cache_control"] = json!({ "type": "ephemeral", "ttl": ttl });
        }
        let mut output = json!({ "format": { "type": "json_schema", "schema": ask.schema } });
        if let Some(effort) = &self.config.effort {
            output["effort"] = json!(effort);
        }
        json!({ "model": self.config.model, "max_tokens": ask.tokens_max, "system": [system], "messages": ask.turns(),
            "output_config": output })
    }

    fn read(&self, body: &Value) -> Said {
        let end = match body["stop_reason"].as_str() {
            Some("end_turn") => End::Whole,
            Some("max_tokens" | "model_context_window_exceeded") => End::Cut,
            Some("refusal") => End::Refused(body["stop_details"]["explanation"].as_str().unwrap_or("no reason given").to_owned()),
            other => End::Odd(format!("`stop_reason` is {other:?}, expected `end_turn`")),
        };
        let blocks = body["content"].as_array().into_iter().flatten().filter(|block| block["type"] == "text");
        let text: String = blocks.filter_map(|block| block["text"].as_str()).collect();
        let usage = &body["usage"];
        let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"].iter().filter_map(|name| usage[*name].as_u64());
        let counted = usage["input_tokens"].as_u64().zip(usage["output_tokens"].as_u64()).map(|(input, output_tokens)| TokenUsage {
            input_tokens: cached.fold(input, u64::saturating_add),
            output_tokens,
            estimated: false,
        });
        Said { usage: counted, model: text_at(body, "model"), request_id: text_at(body, "id"), ..Said::new(text, end) }
    }
}
