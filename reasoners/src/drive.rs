//! One question to one provider: send, read, check, repair once, repeat what may be repeated, and count what it used up.
//!
//! Deliberately absent: who is asked and whether there is budget (`chain`), the shapes of requests (the dialects). An editor breaks
//! this by sending more than [`REQUESTS_BILLED_MAX`] requests that can be billed, by forgetting to count one whose answer was lost, or
//! by reading an answer that was cut as if it were whole.

use crate::shape::{self, Shape};
use crate::wire::{Endpoint, Reply};
use homeostat_model::Mask;
use homeostat_model::{
    Answer, BoxFuture, Question, QuestionPurpose, REQUESTS_BILLED_MAX, ReasonFault, ReasonFaultClass, Reasoner, ReasonerSpec, Span,
    TokenUsage,
};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Display;
use std::time::Duration;
use tokio::time::Instant;

/// How often a request is repeated.
const RETRIES: u32 = 2;
/// The first wait before a repetition; it doubles. Tests have no time.
const BACKOFF: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 500 });
/// A back-off is never longer.
const BACKOFF_MAX: Duration = Duration::from_secs(8);
/// Who asks for a longer wait is not waited for.
const RETRY_AFTER_MAX: Span = Span::from_secs(120);
/// How much of a broken answer is sent back for its repair. With the validator's words it must fit `REQUEST_OVERHEAD_TOKENS`.
const REPAIR_BYTES_MAX: usize = 4000;
/// How much a model may be told.
const QUESTION_BYTES_MAX: usize = 1024 * 1024;
/// How much a model may write; what is longer was not asked for.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// How much of a model's words is quoted.
const QUOTE_CHARS_MAX: usize = 300;
/// How many citations are kept, and how long one may be.
const CITATIONS_MAX: usize = 20;
const CITATION_BYTES_MAX: usize = 500;

/// What a dialect is asked to write a request for.
pub(crate) struct Ask<'a> {
    /// The question.
    pub question: &'a Question,
    /// Its schema, read.
    pub schema: &'a Value,
    /// How many tokens the answer may have.
    pub tokens_max: u32,
    /// The broken answer before this one.
    pub repair: Option<&'a Repair>,
}

/// An answer that did not match.
pub(crate) struct Repair {
    said: String,
    words: String,
}

impl Repair {
    fn new(said: &str, words: &str) -> Repair {
        let cut = (0..=REPAIR_BYTES_MAX.min(said.len())).rev().find(|cut| said.is_char_boundary(*cut)).unwrap_or(0);
        let said = if said.trim().is_empty() { "(nothing)" } else { &said[..cut] };
        Repair { said: said.to_owned(), words: words.to_owned() }
    }

    /// The broken answer, cut; never empty.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// What to say about it.
    pub(crate) fn request(&self) -> String {
        format!("That answer cannot be used: {}. Answer again: one JSON object that matches the schema, nothing else.", self.words)
    }
}

impl Ask<'_> {
    /// The turns of the conversation after the system's: role and text.
    pub(crate) fn turns(&self) -> Vec<Value> {
        let turn = |role: &str, text: &str| json!({ "role": role, "content": text });
        let mut turns = vec![turn("user", &self.question.input)];
        if let Some(repair) = self.repair {
            turns.extend([turn("assistant", repair.said()), turn("user", &repair.request())]);
        }
        turns
    }

    /// The system's words with the schema in them, for models that see it nowhere else.
    pub(crate) fn system_with_schema(&self) -> String {
        format!("{}\n\nAnswer with one JSON object that matches this JSON Schema, and nothing else:\n{}", self.question.system, self.schema)
    }
}

/// How an answer ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// The model was done.
    Whole,
    /// It was cut at the limit of tokens.
    Cut,
    /// It declined, with these words.
    Refused(String),
    /// Anything else, in words: then it is no answer.
    Odd(String),
}

/// What a dialect found in a reply.
#[derive(Debug)]
pub(crate) struct Said {
    pub text: String,
    pub end: End,
    pub usage: Option<TokenUsage>,
    pub model: Option<String>,
    pub request_id: Option<String>,
    pub cost_euros: Option<f64>,
    pub citations: Vec<String>,
}

impl Said {
    /// An answer with these words and nothing known besides.
    pub(crate) fn new(text: impl Into<String>, end: End) -> Said {
        Said { text: text.into(), end, usage: None, model: None, request_id: None, cost_euros: None, citations: Vec::new() }
    }
}

/// Reads two counts at these names of `usage`; `None` unless both are there.
pub(crate) fn usage(usage: &Value, input: &str, output: &str) -> Option<TokenUsage> {
    Some(TokenUsage { input_tokens: usage[input].as_u64()?, output_tokens: usage[output].as_u64()?, estimated: false })
}

/// A text at a name.
pub(crate) fn text_at(body: &Value, name: &str) -> Option<String> {
    body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// How a provider's requests and answers look.
pub(crate) trait Dialect: Send + Sync {
    /// The purposes it may be asked for; what does not convert is not asked.
    type Purpose: TryFrom<QuestionPurpose, Error: Display> + Copy + Send;
    /// The request's body.
    fn body(&self, purpose: Self::Purpose, ask: &Ask<'_>) -> Value;
    /// What a reply says. Total: whatever comes, something is made of it.
    fn read(&self, body: &Value) -> Said;
}

/// A provider: its dialect, where it is, how long it may take.
#[derive(Debug)]
pub(crate) struct Remote<D> {
    pub spec: ReasonerSpec,
    pub endpoint: Endpoint,
    pub timeout: Span,
    /// It is asked for at least as many tokens.
    pub tokens_min: u32,
    pub dialect: D,
}

/// What was used up so far.
#[derive(Default)]
struct Tally {
    usage: TokenUsage,
    requests: u32,
    billed: u64,
    /// What the provider says that all of it cost; `None`: it did not say so of each.
    cost_euros: Option<f64>,
}

impl<D: Dialect> Remote<D> {
    fn tokens_max(&self, question: &Question) -> u32 {
        question.tokens_max.max(self.tokens_min)
    }

    async fn ask(&self, question: &Question) -> Result<Answer, ReasonFault> {
        let started = Instant::now();
        let mut tally = Tally { cost_euros: Some(0.0), ..Tally::default() };
        let result = self.converse(question, started, &mut tally).await;
        let latency = Span(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
        let (id, model, purpose, requests) = (&self.spec.id, &self.spec.model, question.purpose.name(), tally.requests);
        let TokenUsage { input_tokens, output_tokens, .. } = tally.usage;
        let asked = fingerprint(question);
        match result {
            Ok(answer) => {
                tracing::debug!(id, model, purpose, asked, requests, input_tokens, output_tokens, %latency, "A reasoner answered.");
                Ok(Answer { usage: tally.usage, cost_euros: tally.cost_euros, requests, latency, ..answer })
            }
            Err(fault) => {
                tracing::debug!(id, model, purpose, asked, requests, input_tokens, output_tokens, %latency, %fault, "A reasoner did not answer.");
                let away = matches!(fault.class, ReasonFaultClass::Unreachable);
                let node = if away { self.spec.node.clone() } else { None };
                Err(ReasonFault { usage: tally.usage, requests, node, ..fault })
            }
        }
    }

    async fn converse(&self, question: &Question, started: Instant, tally: &mut Tally) -> Result<Answer, ReasonFault> {
        let purpose = D::Purpose::try_from(question.purpose);
        let purpose = purpose.map_err(|error| ReasonFault::new(ReasonFaultClass::NotAllowed, format!("{}: {error}", self.spec.id)))?;
        let wrong = |text: String| ReasonFault::new(ReasonFaultClass::BadRequest, text);
        let bytes = question.system.len() + question.input.len();
        if bytes > QUESTION_BYTES_MAX {
            return Err(wrong(format!("the question has {bytes} bytes, at most {QUESTION_BYTES_MAX} are sent")));
        }
        let shape = Shape::parse(&question.schema).map_err(wrong)?;
        let schema = serde_json::from_str(&question.schema).map_err(|error| wrong(format!("the schema is no JSON: {error}")))?;
        serde_json::from_str::<serde::de::IgnoredAny>(&question.input).map_err(|error| wrong(format!("the input is no JSON: {error}")))?;
        let deadline = started + question.timeout.min(self.timeout).to_std();
        let tokens_max = self.tokens_max(question);
        let bound = question.request_bound(tokens_max);
        let mut mask = Mask::default();
        let headers = self.endpoint.headers(&mut mask)?;
        let mut repair: Option<Repair> = None;
        loop {
            let body = self.dialect.body(purpose, &Ask { question, schema: &schema, tokens_max, repair: repair.as_ref() });
            let reply = self.send(&headers, &body, &mask, deadline, bound, tally).await?;
            let said = self.dialect.read(&reply.body);
            tally.usage = tally.usage.plus(said.usage.unwrap_or(bound));
            let cost = said.cost_euros.filter(|euros| euros.is_finite() && *euros >= 0.0);
            tally.cost_euros = tally.cost_euros.zip(cost).map(|(before, cost)| before + cost);
            let text = whole(&said, &mask)?;
            match shape::read(&shape, &text) {
                Ok(json) => return Ok(self.answer(json, reply, said, &mask, repair.is_some())),
                Err(words) => {
                    let words = mask.quote(&words, QUOTE_CHARS_MAX);
                    if repair.is_some() || tally.billed >= REQUESTS_BILLED_MAX {
                        return Err(ReasonFault::new(ReasonFaultClass::Malformed, words));
                    }
                    repair = Some(Repair::new(&text, &words));
                }
            }
        }
    }

    /// Sends until there is a reply, repeating by class; waits what is asked for.
    async fn send(
        &self,
        headers: &HeaderMap,
        body: &Value,
        mask: &Mask,
        deadline: Instant,
        bound: TokenUsage,
        tally: &mut Tally,
    ) -> Result<Reply, ReasonFault> {
        let mut retries = 0;
        loop {
            let within = deadline.saturating_duration_since(Instant::now());
            if within.is_zero() {
                return Err(ReasonFault::new(ReasonFaultClass::TimedOut, format!("{}: no time left to ask", self.spec.id)));
            }
            tally.requests += 1;
            let miss = match self.endpoint.post(headers.clone(), body, mask, within).await {
                Ok(reply) => {
                    tally.billed += 1;
                    return Ok(reply);
                }
                Err(miss) => miss,
            };
            if miss.billed {
                tally.billed += 1;
                tally.usage = tally.usage.plus(bound);
                tally.cost_euros = None;
            }
            let asked = miss.fault.class.retry_after().unwrap_or(Span::ZERO);
            let wait = asked.to_std().max((BACKOFF * (1 << retries)).min(BACKOFF_MAX));
            let spent = retries >= RETRIES || tally.billed >= REQUESTS_BILLED_MAX;
            if !miss.again || spent || asked > RETRY_AFTER_MAX || Instant::now() + wait >= deadline {
                return Err(miss.fault);
            }
            tokio::time::sleep(wait).await;
            retries += 1;
        }
    }

    fn answer(&self, json: String, reply: Reply, said: Said, mask: &Mask, repaired: bool) -> Answer {
        let named = |text: Option<String>| text.map(|text| mask.quote(&text, 128)).filter(|text| !text.is_empty());
        let web = |url: &String| url.len() <= CITATION_BYTES_MAX && (url.starts_with("https://") || url.starts_with("http://"));
        Answer {
            json,
            usage: TokenUsage::default(),
            model: named(said.model).unwrap_or_else(|| self.spec.model.clone()),
            request_id: reply.request_id.or_else(|| named(said.request_id)),
            latency: Span::ZERO,
            cost_euros: None,
            citations: said.citations.iter().filter(|url| web(url)).map(|url| mask.quote(url, 500)).take(CITATIONS_MAX).collect(),
            requests: 0,
            repaired,
        }
    }
}

/// The text of an answer that ended well.
fn whole(said: &Said, mask: &Mask) -> Result<String, ReasonFault> {
    let (class, words) = match &said.end {
        End::Whole if said.text.len() <= TEXT_BYTES_MAX => return Ok(mask.clean(&said.text)),
        End::Whole => (ReasonFaultClass::Malformed, format!("{} bytes of text, at most {TEXT_BYTES_MAX} are read", said.text.len())),
        End::Cut => (ReasonFaultClass::Truncated, "the answer was cut at the limit of tokens".to_owned()),
        End::Refused(words) => (ReasonFaultClass::Refused, format!("the model declined: {}", mask.quote(words, QUOTE_CHARS_MAX))),
        End::Odd(words) => (ReasonFaultClass::Malformed, mask.quote(words, QUOTE_CHARS_MAX)),
    };
    Err(ReasonFault::new(class, words))
}

/// Sixteen hexadecimal digits that name a question without telling it.
pub(crate) fn fingerprint(question: &Question) -> String {
    let mut hash = Sha256::new();
    for part in [&question.system, &question.input, &question.schema] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl<D: Dialect> Reasoner for Remote<D> {
    fn spec(&self) -> ReasonerSpec {
        self.spec.clone()
    }

    fn bound(&self, question: &Question) -> TokenUsage {
        question.request_bound(self.tokens_max(question)).times(REQUESTS_BILLED_MAX)
    }

    fn complete<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Answer, ReasonFault>> {
        Box::pin(self.ask(question))
    }
}
