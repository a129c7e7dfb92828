//! LangFlow: runs a flow and reads its text (acting.md §6.6).
//!
//! A flow promises no schema and no limit of tokens; the schema goes along in words and the text is checked as every other. Each question
//! has a session of its own, so that no flow answers out of what it remembers of another. Deliberately absent: building flows,
//! webhooks, streams. An editor breaks this by trusting one place in the answer: flows differ.

use crate::config::{Price, check_common, local_timeout};
use crate::drive::{Ask, Dialect, End, Remote, Said, fingerprint, usage};
use crate::wire::Endpoint;
use homeostat_model::{Place, QuestionPurpose, Reasoner, ReasonerSpec, Secret, Span, Target, TokenUsage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A LangFlow and one of its flows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LangflowConfig {
    /// Its name here.
    pub id: String,
    /// Its address: `http://muscle.lan:7860`.
    pub url: String,
    /// The flow's number or name.
    pub flow: String,
    /// Where the models of the flow run: `local` or `cloud`. A flow that asks a cloud is `cloud`, wherever LangFlow itself is.
    #[schemars(with = "String")]
    pub place: Place,
    /// The node it lives on, if that may sleep: `node/muscle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub node: Option<Target>,
    /// The key, sent as `x-api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<Secret>,
    /// How long one question may take.
    #[serde(default = "local_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// The component whose output is read, if there are several: `ChatOutput-ylMzN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_component: Option<String>,
    /// Values for components of the flow: component, parameter, value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tweaks: BTreeMap<String, BTreeMap<String, Value>>,
    /// What it costs.
    #[serde(default)]
    pub price: Price,
}

#[derive(Debug)]
struct Langflow {
    config: LangflowConfig,
}

/// Checks the configuration and builds; connects nowhere.
pub fn reasoner(config: &LangflowConfig) -> Result<Arc<dyn Reasoner>, String> {
    check_common(&config.id, &config.flow, config.timeout, config.price)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !config.flow.chars().all(plain) || config.flow.starts_with('.') {
        return Err(format!("`flow` is `{}`, expected a flow's number or its endpoint's name (letters, digits, `-`, `_`)", config.flow));
    }
    let path = format!("/api/v1/run/{}?stream=false", config.flow);
    let endpoint = Endpoint::new(&config.url, &path, config.place)?.let_in("x-api-key", "", config.api_key.as_ref());
    let spec = ReasonerSpec {
        id: config.id.clone(),
        kind: "langflow".into(),
        model: config.flow.clone(),
        place: config.place,
        node: config.node.clone(),
    };
    Ok(Arc::new(Remote { spec, endpoint, timeout: config.timeout, tokens_min: 0, dialect: Langflow { config: config.clone() } }))
}

/// The text of one output, wherever this kind of component puts it.
fn text_of(output: &Value) -> Option<&str> {
    const PLACES: [&str; 5] =
        ["/results/message/text", "/results/text/text", "/outputs/message/message", "/artifacts/message", "/messages/0/message"];
    PLACES.iter().find_map(|place| output.pointer(place)?.as_str()).filter(|text| !text.trim().is_empty())
}

impl Dialect for Langflow {
    type Purpose = QuestionPurpose;

    fn body(&self, _purpose: QuestionPurpose, ask: &Ask<'_>) -> Value {
        let mut input = format!("{}\n\n{}", ask.system_with_schema(), ask.question.input);
        if let Some(repair) = ask.repair {
            input = format!("{input}\n\n{}\n\n{}", repair.said(), repair.request());
        }
        let mut body = json!({ "input_value": input, "input_type": "chat", "output_type": "chat",
            "session_id": format!("homeostat-{}", fingerprint(ask.question)) });
        if let Some(component) = &self.config.output_component {
            body["output_component"] = json!(component);
        }
        if !self.config.tweaks.is_empty() {
            body["tweaks"] = json!(self.config.tweaks);
        }
        body
    }

    fn read(&self, body: &Value) -> Said {
        let runs = body["outputs"].as_array().into_iter().flatten();
        let outputs: Vec<&Value> = runs.filter_map(|run| run["outputs"].as_array()).flatten().collect();
        let wanted = self.config.output_component.as_deref();
        let chosen = outputs.iter().filter(|output| wanted.is_none_or(|id| output["component_id"] == id));
        let text = chosen.clone().find_map(|output| text_of(output));
        let counted: Vec<TokenUsage> =
            outputs.iter().filter_map(|output| usage(&output["token_usage"], "input_tokens", "output_tokens")).collect();
        let counted = counted.into_iter().reduce(TokenUsage::plus);
        match text {
            Some(text) => Said { usage: counted, ..Said::new(text, End::Whole) },
            None => {
                let words = format!(
                    "no text in any of {} outputs, expected one at `{}`",
                    outputs.len(),
                    "outputs/0/outputs/0/results/message/text"
                );
                Said { usage: counted, ..Said::new("", End::Odd(words)) }
            }
        }
    }
}
