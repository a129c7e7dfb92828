//! What a reasoner is: a question with a schema goes in, JSON of that schema comes out, or a fault. It can do nothing else.
//!
//! JSON and JSON Schema travel as text, because this crate depends on `serde` alone. Deliberately absent: what a question is about
//! (the kernel builds it), proposals (an answer is text until the catalogue was asked), tools, and anything that approves. An editor
//! breaks this by letting an answer that does not match its schema be an [`Answer`], or by putting a text from a provider into a
//! fault without taking the credentials out.

use crate::{BoxFuture, Span, Target};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a model runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the house: what it is told stays there.
    Local,
    /// With somebody else: what it is told must have been redacted before, and it usually costs money.
    Cloud,
}

/// What an answer is for. Decides whether a cloud may be asked, and which reasoners are ever asked.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionPurpose {
    /// Which actions to propose for an incident.
    Advice,
    /// Whether a proposal should be vetoed.
    Verify,
    /// Text for people: the note after an incident.
    Prose,
    /// What somebody asked in their own words.
    Ask,
    /// A policy, for review.
    Draft,
    /// What is known outside about something; untrusted, for people only.
    Research,
}

impl QuestionPurpose {
    /// All of them.
    pub const ALL: [QuestionPurpose; 6] = [
        QuestionPurpose::Advice,
        QuestionPurpose::Verify,
        QuestionPurpose::Prose,
        QuestionPurpose::Ask,
        QuestionPurpose::Draft,
        QuestionPurpose::Research,
    ];

    /// The name used in configuration, metrics and journal.
    pub fn name(self) -> &'static str {
        match self {
            QuestionPurpose::Advice => "advice",
            QuestionPurpose::Verify => "verify",
            QuestionPurpose::Prose => "prose",
            QuestionPurpose::Ask => "ask",
            QuestionPurpose::Draft => "draft",
            QuestionPurpose::Research => "research",
        }
    }
}

/// What a reasoner is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonerSpec {
    /// Its name, unique among the configured.
    pub id: String,
    /// Its dialect, as in the configuration: `ollama`, `anthropic` …
    pub kind: String,
    /// The model that is asked, by the provider's name for it.
    pub model: String,
    /// Where it runs.
    pub place: Place,
    /// The node that a local model lives on: `node/muscle`. If that node sleeps, waking it is a proposal of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Target>,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What the answer is for.
    pub purpose: QuestionPurpose,
    /// What the model is told to do; ours, holds nothing from outside.
    pub system: String,
    /// What it is asked about: one JSON document. For a cloud, redacted already.
    pub input: String,
    /// The shape of the answer: a JSON Schema with an object at its root, every property required, nothing additional, and none but the
    /// words `type`, `properties`, `required`, `additionalProperties`, `items`, `enum`, `anyOf`, `description`, `title`.
    pub schema: String,
    /// How many tokens one answer may have. Some dialects ask for more where a model thinks before it answers.
    pub tokens_max: u32,
    /// How long all of it may take, repetitions and repair included.
    pub timeout: Span,
}

/// How many requests of one question may be billed: the first, and a repair or the repetition of one whose answer was lost.
pub const REQUESTS_BILLED_MAX: u64 = 2;
/// Tokens of a request besides the question's texts: the chat template, a provider's own frame, and what a repair quotes.
pub const REQUEST_OVERHEAD_TOKENS: u64 = 6_000;

impl Question {
    /// The most tokens that one request for this question can use, if answers may have `tokens_max`: a token is at least one byte, and
    /// a schema may be told twice (in words and as a constraint).
    pub fn request_bound(&self, tokens_max: u32) -> TokenUsage {
        let bytes = self.system.len() + self.input.len() + 2 * self.schema.len();
        let input_tokens = (bytes as u64).saturating_add(REQUEST_OVERHEAD_TOKENS);
        TokenUsage { input_tokens, output_tokens: u64::from(tokens_max), estimated: true }
    }
}

/// What was used up.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Tokens written, thinking included.
    pub output_tokens: u64,
    /// Whether a part is a bound of ours because the provider reported nothing.
    #[serde(default)]
    pub estimated: bool,
}

impl TokenUsage {
    /// Both, saturating.
    pub fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// This and another, saturating.
    #[must_use]
    pub fn plus(self, other: TokenUsage) -> TokenUsage {
        TokenUsage {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            estimated: self.estimated || other.estimated,
        }
    }

    /// This so many times, saturating.
    #[must_use]
    pub fn times(self, count: u64) -> TokenUsage {
        TokenUsage {
            input_tokens: self.input_tokens.saturating_mul(count),
            output_tokens: self.output_tokens.saturating_mul(count),
            estimated: self.estimated,
        }
    }
}

/// An answer that matches the question's schema. Its words are a model's: form is checked, truth is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// One JSON object, keys sorted, no blanks.
    pub json: String,
    /// What all requests for it used up together.
    pub usage: TokenUsage,
    /// The model that answered, by the provider's word.
    pub model: String,
    /// The provider's number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// How long it took.
    pub latency: Span,
    /// What it cost, if the provider says so or prices are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_euros: Option<f64>,
    /// Where it was found, from research only: web addresses. Untrusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<String>,
    /// How many requests were sent.
    pub requests: u32,
    /// Whether the first answer did not match and was asked for again.
    #[serde(default)]
    pub repaired: bool,
}

/// Why there is no answer. Code branches on this and on nothing else.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonFaultClass {
    /// The model declined. That is an answer: nobody else is asked.
    Refused,
    /// The answer was cut at the limit of tokens.
    Truncated,
    /// What came does not match the schema, after a repair too; or is no answer of this dialect; or is over a limit.
    Malformed,
    /// The credentials are missing or not accepted.
    Unauthorised,
    /// Too many requests.
    RateLimited {
        /// How long the provider asks to wait.
        retry_after: Option<Span>,
    },
    /// The other side is there and cannot now.
    Overloaded {
        /// How long the provider asks to wait.
        retry_after: Option<Span>,
    },
    /// Nothing answered; or the node that it lives on sleeps.
    Unreachable,
    /// No answer in the time allowed.
    TimedOut,
    /// The request is wrong: the schema, an unknown model, too long a text, a redirect.
    BadRequest,
    /// Tokens or money are used up: ours, or the account's with the provider.
    NoBudget,
    /// This reasoner may not be asked for this purpose.
    NotAllowed,
    /// It failed too often lately and is left alone for a while.
    CircuitOpen,
}

impl ReasonFaultClass {
    /// The name used in metrics and journal.
    pub fn name(self) -> &'static str {
        match self {
            ReasonFaultClass::Refused => "refused",
            ReasonFaultClass::Truncated => "truncated",
            ReasonFaultClass::Malformed => "malformed",
            ReasonFaultClass::Unauthorised => "unauthorised",
            ReasonFaultClass::RateLimited { .. } => "rate_limited",
            ReasonFaultClass::Overloaded { .. } => "overloaded",
            ReasonFaultClass::Unreachable => "unreachable",
            ReasonFaultClass::TimedOut => "timed_out",
            ReasonFaultClass::BadRequest => "bad_request",
            ReasonFaultClass::NoBudget => "no_budget",
            ReasonFaultClass::NotAllowed => "not_allowed",
            ReasonFaultClass::CircuitOpen => "circuit_open",
        }
    }

    /// Whether a reasoner repeats the request itself, within the question's timeout: rate limited, overloaded, unreachable.
    pub fn is_retried(self) -> bool {
        matches!(self, ReasonFaultClass::RateLimited { .. } | ReasonFaultClass::Overloaded { .. } | ReasonFaultClass::Unreachable)
    }

    /// Whether the model did answer, if not usefully: then there is no proposal, and no other model is asked until one says yes.
    pub fn is_the_models_word(self) -> bool {
        matches!(self, ReasonFaultClass::Refused | ReasonFaultClass::Truncated | ReasonFaultClass::Malformed)
    }

    /// How long the provider asks to wait.
    pub fn retry_after(self) -> Option<Span> {
        match self {
            ReasonFaultClass::RateLimited { retry_after } | ReasonFaultClass::Overloaded { retry_after } => retry_after,
            _ => None,
        }
    }
}

/// Why there is no answer. Never holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonFault {
    /// For branching.
    pub class: ReasonFaultClass,
    /// What was seen, and what was expected, for people. May quote the other side: at most 500 characters, no control characters.
    pub text: String,
    /// The node that would have to be awake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Target>,
    /// What was used up all the same; a lost answer counts in full.
    pub usage: TokenUsage,
    /// How many requests were sent.
    pub requests: u32,
}

impl ReasonFault {
    /// A fault that cost nothing. The text is cut at 500 characters; control and bidirectional characters go.
    pub fn new(class: ReasonFaultClass, text: impl AsRef<str>) -> ReasonFault {
        const TEXT_CHARS_MAX: usize = 500;
        let odd = |c: &char| c.is_control() || matches!(*c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let text = text.as_ref().chars().filter(|c| !odd(c)).take(TEXT_CHARS_MAX).collect();
        ReasonFault { class, text, node: None, usage: TokenUsage::default(), requests: 0 }
    }
}

impl fmt::Display for ReasonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.name(), self.text)
    }
}

impl std::error::Error for ReasonFault {}

/// A language model behind one dialect.
pub trait Reasoner: Send + Sync {
    /// What it is. No IO.
    fn spec(&self) -> ReasonerSpec;

    /// The most tokens that [`Reasoner::complete`] can use for this question, repetitions and repair included. Budgets reserve this
    /// before the call. Must not be less than what a provider that keeps to its own limits can report. No IO.
    fn bound(&self, question: &Question) -> TokenUsage {
        question.request_bound(question.tokens_max).times(REQUESTS_BILLED_MAX)
    }

    /// Asks. `Ok` holds JSON that matches the question's schema. Takes at most the question's timeout, and the reasoner's own if that
    /// is shorter; sends at most [`REQUESTS_BILLED_MAX`] requests that can be billed. Credentials are read at this moment and forgotten after.
    ///
    /// Cancel-safe: dropping the future closes the connection and leaves nothing half-done with us; what the provider has worked on
    /// by then may be billed, so a caller counts a dropped call at its bound.
    fn complete<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Answer, ReasonFault>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_short_and_shows_no_control_characters() {
        let fault = ReasonFault::new(ReasonFaultClass::Malformed, format!("a\u{1b}[31m\u{202e}b{}", "x".repeat(900)));
        assert!(fault.text.starts_with("a[31mbx") && fault.text.chars().count() == 500, "{fault}");
        assert!(fault.to_string().starts_with("malformed: a"));
    }

    #[test]
    fn a_bound_covers_every_byte_and_never_overflows() {
        let question = Question {
            purpose: QuestionPurpose::Advice,
            system: "s".repeat(10),
            input: "i".repeat(20),
            schema: "x".repeat(5),
            tokens_max: 7,
            timeout: Span::from_secs(1),
        };
        let bound = question.request_bound(7);
        assert_eq!(
            (bound.input_tokens, bound.output_tokens, bound.total()),
            (40 + REQUEST_OVERHEAD_TOKENS, 7, 47 + REQUEST_OVERHEAD_TOKENS)
        );
        assert_eq!(bound.times(u64::MAX).plus(bound).total(), u64::MAX);
    }

    #[test]
    fn classes_travel_as_data() {
        let class = ReasonFaultClass::RateLimited { retry_after: Some(Span::from_secs(12)) };
        let text = serde_json::to_string(&class).unwrap();
        assert_eq!(text, r#"{"rate_limited":{"retry_after":"12s"}}"#);
        assert_eq!(serde_json::from_str::<ReasonFaultClass>(&text).unwrap(), class);
        assert!(class.is_retried() && !class.is_the_models_word() && class.retry_after() == Some(Span::from_secs(12)));
        for purpose in QuestionPurpose::ALL {
            assert_eq!(serde_json::to_string(&purpose).unwrap(), format!("\"{}\"", purpose.name()));
        }
    }
}
