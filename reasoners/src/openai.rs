//! OpenAI and all that speak like it (llama.cpp, vLLM, LM Studio): chat completions and responses (acting.md §6.3).
//!
//! Strict schema, nothing stored with the provider, no tools. Deliberately absent: streaming. An editor breaks this by reading past a
//! `refusal`, by taking a `finish_reason` other than `stop` for an end, or by sending `temperature` unasked (reasoning models refuse it).

use crate::config::{Price, check_common, cloud_timeout, local_timeout};
use crate::drive::{Ask, Dialect, End, Remote, Said, text_at, usage};
use crate::wire::Endpoint;
use homeostat_model::{Place, QuestionPurpose, Reasoner, ReasonerSpec, Secret, Span, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The schema's name; it means nothing.
const SCHEMA_NAME: &str = "answer";

/// OpenAI, or a server that speaks like it, and one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenaiConfig {
    /// Its name here.
    pub id: String,
    /// Its address, with `/v1`: `http://muscle.lan:8080/v1`.
    #[serde(default = "url_default")]
    pub url: String,
    /// The model.
    pub model: String,
    /// Where the model runs: `local` or `cloud`.
    #[serde(default = "place_default")]
    #[schemars(with = "String")]
    pub place: Place,
    /// The node it lives on, if that may sleep: `node/muscle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub node: Option<Target>,
    /// The key, sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<Secret>,
    /// Which of the two interfaces is used.
    #[serde(default)]
    pub api: OpenaiApi,
    /// How long one question may take; not said: 2m for a local one, 1m for a cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Span>,
    /// The field that limits an answer's tokens in chat completions; older servers know `max_tokens` only.
    #[serde(default)]
    pub tokens_field: TokensField,
    /// It is asked for at least as many tokens: a model that thinks first needs room for it.
    #[serde(default)]
    pub tokens_min: u32,
    /// How much it thinks: `none`, `low` … as the model knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    /// How freely it chooses its words. Not sent unless said: some models refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Repeats the same choice for the same question, where the server can; chat completions only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// What it costs.
    #[serde(default)]
    pub price: Price,
}

/// The two interfaces.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenaiApi {
    /// `POST /chat/completions`: what every compatible server has.
    #[default]
    ChatCompletions,
    /// `POST /responses`.
    Responses,
}

/// The field that limits an answer's tokens.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokensField {
    /// The newer one.
    #[default]
    MaxCompletionTokens,
    /// The older one.
    MaxTokens,
}

fn url_default() -> String {
    "https://api.openai.com/v1".into()
}
fn place_default() -> Place {
    Place::Cloud
}

#[derive(Debug)]
struct Chat(OpenaiConfig);
#[derive(Debug)]
struct Responses(OpenaiConfig);

/// Checks the configuration and builds; connects nowhere.
pub fn reasoner(config: &OpenaiConfig) -> Result<Arc<dyn Reasoner>, String> {
    let timeout = config.timeout.unwrap_or_else(|| if config.place == Place::Local { local_timeout() } else { cloud_timeout() });
    check_common(&config.id, &config.model, timeout, config.price)?;
    if config.temperature.is_some_and(|temperature| !temperature.is_finite() || temperature < 0.0) {
        return Err("`temperature` must be 0 or more".to_owned());
    }
    let path = match config.api {
        OpenaiApi::ChatCompletions => "/chat/completions",
        OpenaiApi::Responses => "/responses",
    };
    let endpoint = Endpoint::new(&config.url, path, config.place)?.let_in("authorization", "Bearer ", config.api_key.as_ref());
    let spec = ReasonerSpec {
        id: config.id.clone(),
        kind: "openai".into(),
        model: config.model.clone(),
        place: config.place,
        node: config.node.clone(),
    };
    let tokens_min = config.tokens_min;
    Ok(match config.api {
        OpenaiApi::ChatCompletions => Arc::new(Remote { spec, endpoint, timeout, tokens_min, dialect: Chat(config.clone()) }),
        OpenaiApi::Responses => Arc::new(Remote { spec, endpoint, timeout, tokens_min, dialect: Responses(config.clone()) }),
    })
}

impl Dialect for Chat {
    type Purpose = QuestionPurpose;

    fn body(&self, _purpose: QuestionPurpose, ask: &Ask<'_>) -> Value {
        let Chat(config) = self;
        let mut messages = vec![json!({ "role": "system", "content": ask.question.system })];
        messages.extend(ask.turns());
        let format = json!({ "type": "json_schema", "json_schema": { "name": SCHEMA_NAME, "schema": ask.schema, "strict": true } });
        let mut body = json!({ "model": config.model, "messages": messages, "response_format": format });
        let tokens_field = match config.tokens_field {
            TokensField::MaxCompletionTokens => "max_completion_tokens",
            TokensField::MaxTokens => "max_tokens",
        };
        body[tokens_field] = json!(ask.tokens_max);
        if config.place == Place::Cloud {
            body["store"] = json!(false);
        }
        if let Some(effort) = &config.reasoning_effort {
            body["reasoning_effort"] = json!(effort);
        }
        if let Some(temperature) = config.temperature {
            body["temperature"] = json!(temperature);
        }
        if let Some(seed) = config.seed {
            body["seed"] = json!(seed);
        }
        body
    }

    fn read(&self, body: &Value) -> Said {
        read_chat(body)
    }
}

/// Reads an answer of chat completions; Perplexity's looks the same.
pub(crate) fn read_chat(body: &Value) -> Said {
    let choice = &body["choices"][0];
    let message = &choice["message"];
    let end = match (message["refusal"].as_str(), choice["finish_reason"].as_str()) {
        (Some(words), _) if !words.is_empty() => End::Refused(words.to_owned()),
        (_, Some("stop")) => End::Whole,
        (_, Some("length")) => End::Cut,
        (_, Some("content_filter")) => End::Refused("the provider's content filter".to_owned()),
        (_, other) => End::Odd(format!("`finish_reason` is {other:?}, expected `stop`")),
    };
    let text = message["content"].as_str().unwrap_or_default();
    Said {
        usage: usage(&body["usage"], "prompt_tokens", "completion_tokens"),
        model: text_at(body, "model"),
        request_id: text_at(body, "id"),
        ..Said::new(text, end)
    }
}

impl Dialect for Responses {
    type Purpose = QuestionPurpose;

    fn body(&self, _purpose: QuestionPurpose, ask: &Ask<'_>) -> Value {
        let Responses(config) = self;
        let format = json!({ "type": "json_schema", "name": SCHEMA_NAME, "schema": ask.schema, "strict": true });
        let mut body = json!({ "model": config.model, "instructions": ask.question.system, "input": ask.turns(),
            "text": { "format": format }, "max_output_tokens": ask.tokens_max });
        if config.place == Place::Cloud {
            body["store"] = json!(false);
        }
        if let Some(effort) = &config.reasoning_effort {
            body["reasoning"] = json!({ "effort": effort });
        }
        if let Some(temperature) = config.temperature {
            body["temperature"] = json!(temperature);
        }
        body
    }

    fn read(&self, body: &Value) -> Said {
        let items = body["output"].as_array().into_iter().flatten();
        let parts: Vec<&Value> =
            items.filter(|item| item["type"] == "message").flat_map(|item| item["content"].as_array()).flatten().collect();
        let refusal = parts.iter().find(|part| part["type"] == "refusal").and_then(|part| part["refusal"].as_str());
        let end = match (refusal, body["status"].as_str(), body["incomplete_details"]["reason"].as_str()) {
            (Some(words), ..) => End::Refused(words.to_owned()),
            (_, Some("completed"), _) => End::Whole,
            (_, Some("incomplete"), Some("content_filter")) => End::Refused("the provider's content filter".to_owned()),
            (_, Some("incomplete"), _) => End::Cut,
            (_, other, _) => End::Odd(format!("`status` is {other:?}, expected `completed`")),
        };
        let text: String = parts.iter().filter(|part| part["type"] == "output_text").filter_map(|part| part["text"].as_str()).collect();
        Said {
            usage: usage(&body["usage"], "input_tokens", "output_tokens"),
            model: text_at(body, "model"),
            request_id: text_at(body, "id"),
            ..Said::new(text, end)
        }
    }
}
