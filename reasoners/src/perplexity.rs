//! Perplexity: research on the open web, with citations (acting.md §6.5).
//!
//! What it says is written by strangers. So it is no [`QuestionPurpose`] that it takes but an [`Enrichment`], which knows no advice, no
//! verification and no draft. Deliberately absent: anything that could end as a proposal. An editor breaks this by widening that type.

use crate::config::{Price, check_common, cloud_timeout};
use crate::drive::{Ask, Dialect, Remote, Said};
use crate::openai::read_chat;
use crate::wire::Endpoint;
use homeostat_model::{Place, QuestionPurpose, Reasoner, ReasonerSpec, Secret, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// One of Perplexity's models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerplexityConfig {
    /// Its name here.
    pub id: String,
    /// Its address.
    #[serde(default = "url_default")]
    pub url: String,
    /// The model: `sonar`, `sonar-pro` …
    pub model: String,
    /// The key, sent as `Authorization: Bearer`.
    #[schemars(with = "String")]
    pub api_key: Secret,
    /// How long one question may take.
    #[serde(default = "cloud_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Only these sites; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Only pages this new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recency: Option<Recency>,
    /// How much of what was found is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<SearchContext>,
    /// Its own accounts are in dollars; how many euros one is.
    #[serde(default = "euros_per_dollar_default")]
    pub euros_per_dollar: f64,
    /// What it costs at most, where it does not say so itself. Searches cost per request.
    #[serde(default)]
    pub price: Price,
}

/// How new a page must be.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recency {
    /// Of the last hour.
    Hour,
    /// Of the last day.
    Day,
    /// Of the last week.
    Week,
    /// Of the last month.
    Month,
    /// Of the last year.
    Year,
}

/// How much of what was found is read.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchContext {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// What text from the open web may be used for: to tell people something.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Enrichment {
    /// Prose for a note.
    Prose,
    /// An answer to a person.
    Ask,
    /// What is known outside.
    Research,
}

impl TryFrom<QuestionPurpose> for Enrichment {
    type Error = String;

    fn try_from(purpose: QuestionPurpose) -> Result<Enrichment, String> {
        match purpose {
            QuestionPurpose::Prose => Ok(Enrichment::Prose),
            QuestionPurpose::Ask => Ok(Enrichment::Ask),
            QuestionPurpose::Research => Ok(Enrichment::Research),
            QuestionPurpose::Advice | QuestionPurpose::Verify | QuestionPurpose::Draft => {
                Err(format!("text from the open web is for people; it is not asked for `{}`", purpose.name()))
            }
        }
    }
}

fn url_default() -> String {
    "https://api.perplexity.ai".into()
}
fn euros_per_dollar_default() -> f64 {
    1.0
}

#[derive(Debug)]
struct Perplexity {
    config: PerplexityConfig,
}

/// Checks the configuration and builds; connects nowhere.
pub fn reasoner(config: &PerplexityConfig) -> Result<Arc<dyn Reasoner>, String> {
    check_common(&config.id, &config.model, config.timeout, config.price)?;
    if !config.euros_per_dollar.is_finite() || config.euros_per_dollar <= 0.0 {
        return Err(format!("`euros_per_dollar` is {}, expected more than 0", config.euros_per_dollar));
    }
    let endpoint = Endpoint::new(&config.url, "/chat/completions", Place::Cloud)?.let_in("authorization", "Bearer ", Some(&config.api_key));
    let spec =
        ReasonerSpec { id: config.id.clone(), kind: "perplexity".into(), model: config.model.clone(), place: Place::Cloud, node: None };
    Ok(Arc::new(Remote { spec, endpoint, timeout: config.timeout, tokens_min: 0, dialect: Perplexity { config: config.clone() } }))
}

impl Dialect for Perplexity {
    type Purpose = Enrichment;

    fn body(&self, _purpose: Enrichment, ask: &Ask<'_>) -> Value {
        let config = &self.config;
        let mut messages = vec![json!({ "role": "system", "content": ask.question.system })];
        messages.extend(ask.turns());
        let format = json!({ "type": "json_schema", "json_schema": { "schema": ask.schema } });
        let mut body = json!({ "model": config.model, "messages": messages, "response_format": format, "max_tokens": ask.tokens_max });
        if !config.domains.is_empty() {
            body["search_domain_filter"] = json!(config.domains);
        }
        if let Some(recency) = config.recency {
            body["search_recency_filter"] = json!(recency);
        }
        if let Some(context) = config.context {
            body["web_search_options"] = json!({ "search_context_size": context });
        }
        body
    }

    fn read(&self, body: &Value) -> Said {
        let listed = body["citations"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let found = body["search_results"].as_array().into_iter().flatten().filter_map(|result| result["url"].as_str());
        let mut citations: Vec<String> = Vec::new();
        for url in listed.chain(found) {
            if !citations.iter().any(|known| known == url) {
                citations.push(url.to_owned());
            }
        }
        let dollars = body["usage"]["cost"]["total_cost"].as_f64();
        Said { citations, cost_euros: dollars.map(|dollars| dollars * self.config.euros_per_dollar), ..read_chat(body) }
    }
}
