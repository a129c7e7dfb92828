//! Answers that are written beforehand: for tests, drills and the demo. No key, no network, no chance.
//!
//! They go through the same check of their shape as a model's. Deliberately absent: repair (the same answer would come again) and
//! waiting. An editor breaks this by letting it look at a clock: two runs must give the same answers.

use crate::config::{Price, check_common};
use crate::drive::fingerprint;
use crate::shape::{self, Shape};
use homeostat_model::{
    Answer, BoxFuture, Place, Question, QuestionPurpose, ReasonFault, ReasonFaultClass, Reasoner, ReasonerSpec, Span, Target, TokenUsage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Bytes that count as a token.
const BYTES_PER_TOKEN: u64 = 4;

/// A table of answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CannedConfig {
    /// Its name here.
    pub id: String,
    /// What it calls itself.
    #[serde(default = "model_default")]
    pub model: String,
    /// Where it plays to run: `local` or `cloud`.
    #[serde(default = "place_default")]
    #[schemars(with = "String")]
    pub place: Place,
    /// The node it plays to live on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub node: Option<Target>,
    /// The answers; the first that fits is given.
    pub answers: Vec<CannedAnswer>,
    /// What it plays to cost.
    #[serde(default)]
    pub price: Price,
}

/// One answer and when it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CannedAnswer {
    /// Only for this purpose; not said: for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub purpose: Option<QuestionPurpose>,
    /// Only if the question's input contains all of these texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// The answer.
    pub answer: Value,
}

fn model_default() -> String {
    "canned".into()
}
fn place_default() -> Place {
    Place::Local
}

/// What makes an answer of a question: the model's text, or a fault.
type Script = Box<dyn Fn(&Question) -> Result<String, ReasonFault> + Send + Sync>;

/// A reasoner without a model.
pub struct Canned {
    spec: ReasonerSpec,
    script: Script,
}

impl std::fmt::Debug for Canned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canned({:?})", self.spec)
    }
}

/// Checks the configuration and builds.
pub fn reasoner(config: &CannedConfig) -> Result<Arc<dyn Reasoner>, String> {
    check_common(&config.id, &config.model, Span::from_secs(1), config.price)?;
    let spec = ReasonerSpec {
        id: config.id.clone(),
        kind: "canned".into(),
        model: config.model.clone(),
        place: config.place,
        node: config.node.clone(),
    };
    let answers = config.answers.clone();
    Ok(Arc::new(Canned::new(spec, move |question| {
        let fits = |one: &&CannedAnswer| {
            one.purpose.is_none_or(|purpose| purpose == question.purpose) && one.contains.iter().all(|text| question.input.contains(text))
        };
        let words = || format!("none of {} canned answers fits this question for `{}`", answers.len(), question.purpose.name());
        let found = answers.iter().find(fits).ok_or_else(|| ReasonFault::new(ReasonFaultClass::Refused, words()));
        found.map(|one| one.answer.to_string())
    })))
}

impl Canned {
    /// A reasoner that answers by a function: what a model would write, or a fault.
    pub fn new(spec: ReasonerSpec, script: impl Fn(&Question) -> Result<String, ReasonFault> + Send + Sync + 'static) -> Canned {
        Canned { spec, script: Box::new(script) }
    }

    fn answer(&self, question: &Question) -> Result<Answer, ReasonFault> {
        let shape = Shape::parse(&question.schema).map_err(|words| ReasonFault::new(ReasonFaultClass::BadRequest, words))?;
        let text = (self.script)(question).map_err(|fault| ReasonFault { requests: 1, ..fault })?;
        let tokens = |bytes: usize| (bytes as u64).div_ceil(BYTES_PER_TOKEN);
        let usage = TokenUsage {
            input_tokens: tokens(question.system.len() + question.input.len()),
            output_tokens: tokens(text.len()).min(u64::from(question.tokens_max)),
            estimated: false,
        };
        let json = shape::read(&shape, &text).map_err(|words| {
            let fault = ReasonFault::new(ReasonFaultClass::Malformed, words);
            ReasonFault { usage, requests: 1, ..fault }
        })?;
        Ok(Answer {
            json,
            usage,
            model: self.spec.model.clone(),
            request_id: Some(format!("canned-{}", fingerprint(question))),
            latency: Span::ZERO,
            cost_euros: None,
            citations: Vec::new(),
            requests: 1,
            repaired: false,
        })
    }
}

impl Reasoner for Canned {
    fn spec(&self) -> ReasonerSpec {
        self.spec.clone()
    }

    fn complete<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Answer, ReasonFault>> {
        Box::pin(async { self.answer(question) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::far_end::{question, schema};
    use serde_json::json;

    #[tokio::test]
    async fn the_first_that_fits_is_given() {
        let config: CannedConfig = serde_json::from_value(json!({ "id": "demo", "answers": [
            { "purpose": "ask", "contains": ["disk", "nas"], "answer": { "action": "none", "target": 1 } },
            { "contains": ["disk"], "answer": { "action": "wake", "target": 2 } },
            { "contains": ["broken"], "answer": { "action": "fly" } },
        ] }))
        .unwrap();
        let canned = reasoner(&config).unwrap();
        let ask = |input: &str| Question { input: input.to_owned(), ..question() };
        let first = canned.complete(&ask(r#"["disk","nas"]"#)).await.unwrap();
        assert_eq!((first.json.as_str(), first.requests, first.usage.estimated), (r#"{"action":"none","target":1}"#, 1, false));
        assert_eq!(first, canned.complete(&ask(r#"["disk","nas"]"#)).await.unwrap());
        assert_eq!(canned.complete(&ask(r#"["disk"]"#)).await.unwrap().json, r#"{"action":"wake","target":2}"#);
        assert_eq!(canned.complete(&ask(r#"["broken"]"#)).await.unwrap_err().class, ReasonFaultClass::Malformed);
        assert_eq!(canned.complete(&ask("[]")).await.unwrap_err().class, ReasonFaultClass::Refused);
        let other = Question { purpose: QuestionPurpose::Advice, ..ask(r#"["disk","nas"]"#) };
        assert_eq!(canned.complete(&other).await.unwrap().json, r#"{"action":"wake","target":2}"#, "by purpose too");
        let bad = Question { schema: schema().to_string().replace("enum", "oneOf"), ..ask("[]") };
        assert_eq!(canned.complete(&bad).await.unwrap_err().class, ReasonFaultClass::BadRequest);
    }
}
