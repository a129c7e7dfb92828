//! `http.<name>`: a configured request.
//!
//! Config, check and the actuator are here; `compile` turns the configuration into templates. The host is fixed when the
//! configuration is read: places stand in path, query and body only, percent-encoded or as JSON values. Deliberately absent:
//! redirects, and repeating a request that is not idempotent. An editor breaks this by calling a lost answer or a 5xx `NotDone`.

mod compile;
#[cfg(test)]
mod tests;

use crate::args::{ArgConfig, Declarations, check_against, unknown_verb};
use crate::client::{self, Answer, Exchange, Patience, Request, exchange_patiently, is_later, refused};
use crate::ledger::{Begin, Ledger, Mark, doing, never_started, not_revertible, time_allowed};
use crate::redact::Redactor;
use crate::template::Values;
use compile::{Call, Probe};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, BoxFuture, Class, Fault, FaultCode, Outcome, Planned, Receipt, Secret, Span, Time, Verb, VerbSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Requests by name; `scale-down` becomes the verb `http.scale-down`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// The requests.
    pub requests: BTreeMap<String, RequestConfig>,
}

/// One verb: what is sent, what counts as success, how to look and how to take it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestConfig {
    /// What it does, in one sentence.
    pub doc: String,
    /// What is sent.
    pub send: CallConfig,
    /// The arguments it takes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, ArgConfig>,
    /// How much it can hurt: `notify`, `restore`, `reversible`, `disruptive` or `irreversible`.
    #[serde(default = "class_default")]
    #[schemars(with = "String")]
    pub class: Class,
    /// How long all attempts together may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long the target needs afterwards before its symptoms mean anything again.
    #[serde(default)]
    #[schemars(with = "String")]
    pub settle: Span,
    /// Whether sending it twice is the same as once; then it is repeated after a lost answer. If not given: GET, HEAD, PUT, DELETE
    /// and OPTIONS are, others are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// How often an idempotent request is tried at most.
    #[serde(default = "attempts_default")]
    pub attempts: u32,
    /// The first wait between two attempts; it doubles, with jitter.
    #[serde(default = "backoff_default")]
    #[schemars(with = "String")]
    pub backoff: Span,
    /// The target kinds it accepts; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_kinds: Vec<String>,
    /// The verb that does the opposite, e.g. `http.scale-up`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opposite: Option<String>,
    /// How to see whether it is done, when the answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeConfig>,
    /// The request that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<CallConfig>,
}

/// One request and the answer it expects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallConfig {
    /// The method; `POST` if not given.
    #[serde(default = "method_default")]
    pub method: String,
    /// Where to: `http` or `https`, with `{arg}` places in path and query only.
    pub url: String,
    /// Headers. The values are taken out of everything that is shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// A JSON body; a text that is one place becomes the value in its own kind. `content-type` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// A text body instead, with places put in as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The statuses that mean success; empty: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_status: Vec<u16>,
    /// A regular expression that must be found in the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_body: Option<String>,
}

/// How to see whether it is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// What to GET, with places as in the request.
    pub url: String,
    /// Headers. The values are taken out of everything that is shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// The statuses that mean "done"; empty: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_status: Vec<u16>,
    /// Where to look in the JSON body: a JSON pointer such as `/spec/replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_json_pointer: Option<String>,
    /// What must be found there; texts may hold places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<serde_json::Value>,
}

fn class_default() -> Class {
    Class::Disruptive
}
fn timeout_default() -> Span {
    Span::from_secs(30)
}
fn backoff_default() -> Span {
    Span::from_millis(500)
}
fn attempts_default() -> u32 {
    3
}
fn method_default() -> String {
    "POST".into()
}

#[derive(Debug)]
struct Configured {
    spec: VerbSpec,
    args: Declarations,
    send: Call,
    probe: Option<Probe>,
    revert: Option<Call>,
    attempts: u32,
    backoff: Duration,
}

/// The actuator `http`.
#[derive(Debug)]
pub struct Http {
    requests: BTreeMap<Verb, Configured>,
    ledger: Arc<Ledger>,
    client: reqwest::Client,
    journal_id: String,
}

impl Http {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed. `journal_id` stands in `Idempotency-Key`.
    pub fn new(config: &HttpConfig, ledger: Arc<Ledger>, journal_id: &str) -> Result<Http, Vec<Fault>> {
        let client = client::client().map_err(|fault| vec![fault])?;
        let mut requests = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, request) in &config.requests {
            match compile::compile(name, request) {
                Ok(request) => drop(requests.insert(request.spec.verb.clone(), request)),
                Err(problems) => faults.extend(
                    problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, format!("configure request `http.{name}`"), text)),
                ),
            }
        }
        if faults.is_empty() { Ok(Http { requests, ledger, client, journal_id: journal_id.into() }) } else { Err(faults) }
    }

    /// The configured request and the values for its places, everything checked.
    fn prepare(&self, action: &Action) -> Result<(&Configured, Values), Fault> {
        let specs = self.requests.values().map(|request| &request.spec);
        let request = self.requests.get(&action.verb).ok_or_else(|| unknown_verb(action, specs))?;
        check_against(&request.spec, action)?;
        let refuse = |problems: String| Fault::new(FaultCode::Malformed, format!("check {} {}", action.id, action.verb), problems);
        let values = request.args.values(action).map_err(|problems| refuse(problems.join("; ")))?;
        let calls = [Some(&request.send), request.revert.as_ref()];
        for call in calls.into_iter().flatten() {
            call.url(&values).map_err(&refuse)?;
        }
        if let Some(probe) = &request.probe {
            probe.call.url(&values).map_err(&refuse)?;
        }
        Ok((request, values))
    }

    /// Sends the request of `apply` or `revert`, once per mark.
    async fn run(&self, now: Time, action: &Action, mark: Mark) -> Outcome {
        let doing = doing(mark, action);
        let (configured, values) = match self.prepare(action) {
            Ok(prepared) => prepared,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let call = match (mark, &configured.revert) {
            (Mark::Apply(_), _) => &configured.send,
            (Mark::Revert(_), Some(call)) => call,
            (Mark::Revert(_), None) => return not_revertible(action, "its configuration has no `revert`"),
        };
        let mut redactor = Redactor::default();
        let key = format!("{}-{mark}", self.journal_id);
        let request = match call.request(&values, Some(&key), &mut redactor) {
            Ok(request) => request,
            Err(problem) => return never_started(doing, problem),
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = self.send(configured, call, request, action, doing, &redactor).await;
        self.ledger.settle(mark, outcome)
    }

    async fn send(
        &self,
        configured: &Configured,
        call: &Call,
        request: Request,
        action: &Action,
        doing: String,
        redactor: &Redactor,
    ) -> Outcome {
        let allowed = time_allowed(action, configured.spec.timeout);
        let attempts = if call.idempotent { configured.attempts } else { 1 };
        let patience =
            Patience { deadline: Instant::now() + allowed, attempts, backoff: configured.backoff, attempt_timeout: allowed / attempts };
        let later = |answer: &Answer| {
            let repeat = !call.accepts(answer) && is_later(answer.status);
            repeat.then(|| client::asked_wait(answer, None))
        };
        let (exchange, lost) = exchange_patiently(&self.client, &request, patience, later).await;
        match exchange {
            Exchange::Answered(answer) if call.accepts(&answer) => {
                Outcome::Done(Receipt { observed: format!("HTTP {}", answer.status), ..Receipt::default() })
            }
            Exchange::Answered(answer) => {
                let expected = call.expected();
                let detail = format!("{}; expected {expected}", answer.shown(redactor));
                match refused(answer.status, &doing, detail) {
                    Outcome::NotDone(fault) if lost => Outcome::Unknown(fault),
                    outcome => outcome,
                }
            }
            Exchange::NotSent(why) if !lost => Outcome::NotDone(Fault::new(FaultCode::Unreachable, doing, redactor.clean_head(&why, 500))),
            Exchange::NotSent(why) => Outcome::Unknown(Fault::new(FaultCode::Unreachable, doing, redactor.clean_head(&why, 500))),
            Exchange::NoAnswer(code, why) => {
                let detail = format!("sent, but no answer came: {}", redactor.clean_head(&why, 500));
                Outcome::Unknown(Fault::new(code, doing, detail))
            }
        }
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = format!("probe {} {} on {}", action.id, action.verb, action.target);
        let (known, started) = match self.ledger.look(mark).and_then(|known| Ok((known, self.ledger.started(mark)?))) {
            Ok(known) => known,
            Err(fault) => return Outcome::Unknown(fault),
        };
        match known {
            Begin::Fresh => return never_started(doing, "it was never started here"),
            Begin::Started(_) | Begin::Finished(Outcome::Unknown(_)) => {}
            Begin::Finished(outcome) => return outcome,
        }
        let (configured, values) = match self.prepare(action) {
            Ok(prepared) => prepared,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let Some(probe) = &configured.probe else {
            let detail = "it was begun and its answer was not seen; its configuration has no `probe`";
            return Outcome::Unknown(Fault::new(FaultCode::Conflict, doing, detail));
        };
        let mut redactor = Redactor::default();
        let request = match probe.call.request(&values, None, &mut redactor) {
            Ok(request) => request,
            Err(problem) => return Outcome::Unknown(Fault::new(FaultCode::Failed, doing, problem)),
        };
        let within = configured.spec.timeout;
        match client::exchange(&self.client, request, within.to_std()).await {
            Exchange::Answered(answer) => {
                // While the request may still be on its way, "not there" only means "not yet".
                let pending = started.is_some_and(|started| now.since(started.at) <= within);
                probe.told(&answer, &values, doing, pending, &redactor)
            }
            Exchange::NotSent(why) => Outcome::Unknown(Fault::new(FaultCode::Unreachable, doing, redactor.clean_head(&why, 500))),
            Exchange::NoAnswer(code, why) => Outcome::Unknown(Fault::new(code, doing, redactor.clean_head(&why, 500))),
        }
    }
}

impl Actuator for Http {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "http".into(), verbs: self.requests.values().map(|request| request.spec.clone()).collect() }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.prepare(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let (configured, values) = self.prepare(action)?;
        let planned = configured.send.planned(&values);
        // What is sent on order is meant to do something, whatever its method says.
        let planned = planned.map(|planned| vec![Planned { writes: true, ..planned }]);
        planned.map_err(|problem| Fault::new(FaultCode::Malformed, format!("preview {}", action.verb), problem))
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action, Mark::Apply(action.id)))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(now, action))
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action, Mark::Revert(action.id)))
    }
}
