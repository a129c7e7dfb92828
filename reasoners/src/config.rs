//! Which reasoners there are: the section `reasoners` of the configuration, and what all of them have in common.
//!
//! Deliberately absent: connecting, and reading credentials (both happen when a question is asked). An editor breaks this by sorting the
//! list: its order is the order in which reasoners are asked.

use crate::chain::{BreakerConfig, CacheConfig, Chain, ChainSettings, Member};
use crate::{BudgetConfig, anthropic, canned, langflow, ollama, openai, perplexity};
use homeostat_model::{Fault, FaultCode, QuestionPurpose, Reasoner, Span, TokenUsage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many reasoners there may be.
const REASONERS_MAX: usize = 16;
/// The longest time for one question.
const TIMEOUT_MAX: Span = Span::from_hours(1);

/// What a reasoner costs.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Price {
    /// Euros for a million tokens read.
    pub euros_per_million_input_tokens: f64,
    /// Euros for a million tokens written.
    pub euros_per_million_output_tokens: f64,
    /// Euros for each request besides: a search.
    pub euros_per_request: f64,
}

impl Price {
    /// What so many tokens and requests cost, in euros.
    pub fn euros(self, usage: TokenUsage, requests: u64) -> f64 {
        usage.input_tokens as f64 / 1e6 * self.euros_per_million_input_tokens
            + usage.output_tokens as f64 / 1e6 * self.euros_per_million_output_tokens
            + requests as f64 * self.euros_per_request
    }

    /// Whether nothing costs anything.
    pub fn is_free(self) -> bool {
        self == Price::default()
    }

    fn is_sane(self) -> bool {
        let sane = |euros: f64| euros.is_finite() && (0.0..=1e6).contains(&euros);
        sane(self.euros_per_million_input_tokens) && sane(self.euros_per_million_output_tokens) && sane(self.euros_per_request)
    }
}

/// One reasoner, by its dialect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReasonerConfig {
    /// Ollama.
    Ollama(ollama::OllamaConfig),
    /// OpenAI, llama.cpp, vLLM, LM Studio and whoever speaks like them.
    Openai(openai::OpenaiConfig),
    /// Anthropic.
    Anthropic(anthropic::AnthropicConfig),
    /// Perplexity, for research.
    Perplexity(perplexity::PerplexityConfig),
    /// A flow of LangFlow.
    Langflow(langflow::LangflowConfig),
    /// Written answers.
    Canned(canned::CannedConfig),
}

impl ReasonerConfig {
    /// Its name.
    pub fn id(&self) -> &str {
        match self {
            ReasonerConfig::Ollama(config) => &config.id,
            ReasonerConfig::Openai(config) => &config.id,
            ReasonerConfig::Anthropic(config) => &config.id,
            ReasonerConfig::Perplexity(config) => &config.id,
            ReasonerConfig::Langflow(config) => &config.id,
            ReasonerConfig::Canned(config) => &config.id,
        }
    }

    /// What it costs, as a bound: tokens that a provider keeps for later cost more to write.
    pub fn price(&self) -> Price {
        match self {
            ReasonerConfig::Ollama(config) => config.price,
            ReasonerConfig::Openai(config) => config.price,
            ReasonerConfig::Anthropic(config) => anthropic::price(config),
            ReasonerConfig::Perplexity(config) => config.price,
            ReasonerConfig::Langflow(config) => config.price,
            ReasonerConfig::Canned(config) => config.price,
        }
    }

    /// Checks it and builds; connects nowhere, reads no credential.
    pub fn build(&self) -> Result<Arc<dyn Reasoner>, String> {
        match self {
            ReasonerConfig::Ollama(config) => ollama::reasoner(config),
            ReasonerConfig::Openai(config) => openai::reasoner(config),
            ReasonerConfig::Anthropic(config) => anthropic::reasoner(config),
            ReasonerConfig::Perplexity(config) => perplexity::reasoner(config),
            ReasonerConfig::Langflow(config) => langflow::reasoner(config),
            ReasonerConfig::Canned(config) => canned::reasoner(config),
        }
    }
}

/// The reasoners and what they may use up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReasonersConfig {
    /// The reasoners, in the order in which they are asked; local ones come before clouds all the same.
    pub ask: Vec<ReasonerConfig>,
    /// The purposes for which a cloud may be asked: `advice`, `verify`, `prose`, `ask`, `draft`, `research`. Empty: none.
    #[schemars(with = "Vec<String>")]
    pub cloud_for: BTreeSet<QuestionPurpose>,
    /// What a reasoner is asked for, by its name; who is not listed is asked for all it can.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub only_for: BTreeMap<String, BTreeSet<QuestionPurpose>>,
    /// What all of them together may use up.
    pub budget: BudgetConfig,
    /// Answers that are given again.
    pub cache: CacheConfig,
    /// When a reasoner that fails is left alone.
    pub breaker: BreakerConfig,
    /// How many questions may be under way at once.
    pub questions_max: usize,
}

impl Default for ReasonersConfig {
    fn default() -> ReasonersConfig {
        ReasonersConfig {
            ask: Vec::new(),
            cloud_for: BTreeSet::new(),
            only_for: BTreeMap::new(),
            budget: BudgetConfig::default(),
            cache: CacheConfig::default(),
            breaker: BreakerConfig::default(),
            questions_max: 4,
        }
    }
}

impl ReasonersConfig {
    /// Checks all of it and builds the chain; connects nowhere. Every problem is listed.
    pub fn build(&self) -> Result<Chain, Vec<Fault>> {
        let mut problems = Vec::new();
        if self.ask.len() > REASONERS_MAX {
            problems.push(format!("{} reasoners, at most {REASONERS_MAX} are allowed", self.ask.len()));
        }
        for name in self.only_for.keys().filter(|name| !self.ask.iter().any(|config| config.id() == *name)) {
            problems.push(format!("`only_for` names `{name}`, which is no reasoner"));
        }
        let mut members = Vec::new();
        for config in &self.ask {
            match config.build() {
                Ok(reasoner) => members.push(Member { reasoner, price: config.price(), only_for: self.only_for.get(config.id()).cloned() }),
                Err(problem) => problems.push(format!("reasoner `{}`: {problem}", config.id())),
            }
        }
        let settings = ChainSettings {
            cloud_for: self.cloud_for.clone(),
            budget: self.budget,
            cache: self.cache,
            breaker: self.breaker,
            questions_max: self.questions_max,
        };
        let chain = Chain::new(members, settings).map_err(|more| problems.extend(more)).ok();
        match chain {
            Some(chain) if problems.is_empty() => Ok(chain),
            _ => Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `reasoners`", text)).collect()),
        }
    }
}

pub(crate) fn local_timeout() -> Span {
    Span::from_secs(120)
}
pub(crate) fn cloud_timeout() -> Span {
    Span::from_secs(60)
}

/// What every reasoner's configuration is checked for.
pub(crate) fn check_common(id: &str, model: &str, timeout: Span, price: Price) -> Result<(), String> {
    if id.is_empty() || id.len() > 64 || !id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err("`id` must be 1 to 64 letters, digits, `-`, `_` or `.`".to_owned());
    }
    if model.trim().is_empty() || model.len() > 200 || model.chars().any(char::is_control) {
        return Err("the model's name must have 1 to 200 characters".to_owned());
    }
    if timeout <= Span::ZERO || timeout > TIMEOUT_MAX {
        return Err(format!("`timeout` is {timeout}, expected more than 0s and at most {TIMEOUT_MAX}"));
    }
    if !price.is_sane() {
        return Err("`price` must hold numbers from 0 to 1000000".to_owned());
    }
    Ok(())
}
