//! `alertmanager.silence`: quiet for exactly the alert that is being worked on, until the work must be over.
//!
//! The matchers are equalities of the alert's own labels, never patterns, never none; the end is bounded; the comment begins with the
//! decision, by which the silence is found again. Undoing lets it expire. Deliberately absent: resolving alerts, changing a silence.
//! An editor breaks this by a matcher that is not an equality, or by an end that is taken from the action unbounded.

#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Ledger, Mark, doing, never_started, probing};
use crate::pace::Pace;
use crate::rest::{self, Call, Credential, READY_TIMEOUT, Service, Session, advised, ended, fault_of, real_limit, rfc3339, unsure};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret,
    Span, Time, Verb, VerbSpec,
};
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many labels a silence may match.
const LABELS_MAX: usize = 32;
/// The longest silence that can be configured.
const DURATION_MAX: Span = Span::from_hours(24);
/// How much of the reason is told.
const REASON_CHARS_MAX: usize = 200;
/// Who says so.
const CREATOR: &str = "homeostat";

/// An Alertmanager (0.22 or newer: API v2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// Its address, with the path prefix if there is one: `http://alertmanager.lan:9093`.
    pub url: String,
    /// Headers, such as `authorization`. The values are taken out of everything that is shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// No silence is longer, whatever an action asks for; at most a day.
    #[serde(default = "duration_default")]
    #[schemars(with = "String")]
    pub duration_max: Span,
    /// Labels without which nothing is silenced.
    #[serde(default = "require_default")]
    pub require: Vec<String>,
    /// How long all requests together may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
}

fn duration_default() -> Span {
    Span::from_hours(2)
}
fn require_default() -> Vec<String> {
    vec!["alertname".into()]
}
fn timeout_default() -> Span {
    Span::from_secs(30)
}

/// The actuator `alertmanager`.
#[derive(Debug)]
pub struct Alertmanager {
    service: Service,
    spec: VerbSpec,
    config: AlertmanagerConfig,
    journal_id: String,
    pace: Pace,
    ledger: Arc<Ledger>,
}

/// A silence as it is.
#[derive(Clone, Debug, PartialEq)]
struct Silence {
    id: String,
    state: String,
    comment: String,
    ends_at: String,
}

impl Silence {
    fn read(body: &Value) -> Option<Silence> {
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Some(Silence { id: text("/id")?, state: text("/status/state")?, comment: text("/comment")?, ends_at: text("/endsAt")? })
    }

    fn is_over(&self) -> bool {
        self.state == "expired"
    }
}

impl Alertmanager {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed. `journal_id` stands in the comment.
    pub fn new(config: &AlertmanagerConfig, ledger: Arc<Ledger>, journal_id: &str) -> Result<Alertmanager, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.duration_max < Span::from_mins(1) || config.duration_max > DURATION_MAX || config.timeout <= Span::ZERO {
            problems.push(format!("`duration_max` must be 1m to {DURATION_MAX}, and `timeout` more than 0s"));
        }
        if config.require.is_empty() {
            problems.push("`require` is empty: a silence needs at least one label it cannot do without".into());
        }
        let credential =
            |(name, secret): (&String, &Secret)| Credential { header: name.clone(), prefix: String::new(), secret: secret.clone() };
        let credentials = config.headers.iter().map(credential).collect();
        let service = rest::client().and_then(|client| Service::new(&config.url, client, credentials));
        match service {
            Ok(service) if problems.is_empty() => Ok(Alertmanager {
                service,
                spec: silence_spec(config),
                config: config.clone(),
                journal_id: journal_id.into(),
                pace: Pace::default(),
                ledger,
            }),
            other => {
                problems.extend(other.err());
                Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `alertmanager`", text)).collect())
            }
        }
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Alertmanager {
        Alertmanager { pace, ..self }
    }

    /// The labels to match, everything checked.
    fn labels(&self, action: &Action) -> Result<BTreeMap<String, String>, Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)?;
        let refuse = |problem: String| Err(Fault::new(FaultCode::Malformed, format!("check {} {}", action.id, action.verb), problem));
        let Some(Arg::Map(map)) = action.args.get("labels") else { return refuse("`labels` is missing".into()) };
        let labels: BTreeMap<String, String> =
            map.iter().filter_map(|(name, value)| Some((name.clone(), value.as_text()?.to_owned()))).collect();
        if let Some(name) = self.config.require.iter().find(|name| labels.get(*name).is_none_or(String::is_empty)) {
            return refuse(format!("`labels` has no `{name}`: a silence without it would hide other alerts"));
        }
        for (name, value) in &labels {
            let named = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
            if !named || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return refuse(format!("`{name}` is not a label's name"));
            }
            if value.is_empty() || value.len() > 500 || value.chars().any(char::is_control) {
                return refuse(format!("the label `{name}` is empty, too long or holds a control character: it matches nothing exactly"));
            }
        }
        Ok(labels)
    }

    fn decision(&self, action: &Action) -> String {
        format!("homeostat/decision: {}-{}", self.journal_id, action.id)
    }

    fn list_call(&self, labels: &BTreeMap<String, String>) -> Call {
        let filter = |(name, value): (&String, &String)| format!("{name}={}", Value::String(value.clone()));
        labels.iter().fold(Call::get(["api", "v2", "silences"]), |call, label| call.with_query("filter", filter(label)))
    }

    fn post_call(&self, now: Time, action: &Action, labels: &BTreeMap<String, String>) -> Call {
        let asked = match action.args.get("duration_minutes") {
            Some(Arg::Int(minutes)) => Span::from_mins(*minutes),
            _ => self.config.duration_max,
        };
        let ends = now + asked.min(self.config.duration_max);
        let matcher = |(name, value): (&String, &String)| json!({ "name": name, "value": value, "isRegex": false, "isEqual": true });
        let reason: String = action.because.chars().take(REASON_CHARS_MAX).collect();
        Call::new(Method::POST, ["api", "v2", "silences"]).json(json!({
            "matchers": labels.iter().map(matcher).collect::<Vec<_>>(),
            "startsAt": rfc3339(now), "endsAt": rfc3339(ends), "createdBy": CREATOR,
            "comment": format!("{} ({reason})", self.decision(action)),
        }))
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let labels = match self.labels(action) {
            Ok(labels) => labels,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let session = match self.service.session(doing, real_limit(self.pace, action.timeout.min(self.spec.timeout))) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(self.silence(&session, now, action, &labels).await);
        self.ledger.settle(mark, outcome)
    }

    async fn silence(
        &self,
        session: &Session<'_>,
        now: Time,
        action: &Action,
        labels: &BTreeMap<String, String>,
    ) -> Result<Receipt, Outcome> {
        if let Some(known) = self.find(session, action, labels).await? {
            return Ok(receipt(&known));
        }
        let answer = session.send(&self.post_call(now, action, labels), false).await?;
        let body = answer.json().unwrap_or_default();
        let Some(id) = body["silenceID"].as_str() else {
            return Err(session.unknown(FaultCode::Malformed, format!("no silenceID came back: {}", answer.shown(&session.redactor))));
        };
        match read(session, id).await.map_err(unsure)? {
            Some(silence) if !silence.is_over() => Ok(receipt(&silence)),
            Some(_) => {
                Err(session.not_done(FaultCode::Failed, format!("silence {id} was made and is expired already: do the clocks agree?")))
            }
            None => Err(session.unknown(FaultCode::NotFound, format!("silence {id} was made and cannot be found"))),
        }
    }

    /// The silence of this action that is not over.
    async fn find(&self, session: &Session<'_>, action: &Action, labels: &BTreeMap<String, String>) -> Result<Option<Silence>, Outcome> {
        let list = session.fetch(&self.list_call(labels)).await?;
        let ours = format!("{} ", self.decision(action));
        let mut silences = list.as_array().into_iter().flatten().filter_map(Silence::read);
        Ok(silences.find(|silence| !silence.is_over() && silence.comment.starts_with(&ours)))
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let labels = match self.labels(action) {
            Ok(labels) => labels,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let session = match self.service.session(probing(action), READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        match self.find(&session, action, &labels).await {
            Ok(Some(silence)) => Outcome::Done(receipt(&silence)),
            Ok(None) if now.since(started.at) <= self.spec.timeout => session.unknown(FaultCode::TimedOut, "there is no such silence yet"),
            Ok(None) => session.not_done(FaultCode::Failed, "there is no such silence"),
            Err(outcome) => unsure(outcome),
        }
    }

    async fn take_back(&self, now: Time, action: &Action, receipt: &Receipt) -> Outcome {
        let mark = Mark::Revert(action.id);
        let doing = doing(mark, action);
        let text = |name: &str| receipt.undo.get(name).and_then(Arg::as_text);
        let (Some(id), Some(ends_at)) = (text("id"), text("ends_at")) else {
            return never_started(doing, "the receipt names no silence: nothing was silenced");
        };
        let session = match self.service.session(doing, real_limit(self.pace, self.spec.timeout)) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(self.expire(&session, action, id, ends_at).await);
        self.ledger.settle(mark, outcome)
    }

    async fn expire(&self, session: &Session<'_>, action: &Action, id: &str, ends_at: &str) -> Result<Receipt, Outcome> {
        let over = |how: &str| Ok(Receipt { observed: format!("silence {id} {how}"), ..Receipt::default() });
        let Some(silence) = read(session, id).await? else { return over("is gone") };
        if silence.is_over() {
            return over("was over already");
        }
        if silence.ends_at != ends_at || !silence.comment.starts_with(&self.decision(action)) {
            return Err(session.not_done(FaultCode::Conflict, format!("somebody changed silence {id} since; expire it by hand")));
        }
        session.send(&Call::new(Method::DELETE, ["api", "v2", "silence", id]), true).await?;
        match read(session, id).await.map_err(unsure)? {
            Some(silence) if !silence.is_over() => {
                Err(session.unknown(FaultCode::Failed, format!("silence {id} is still {}", silence.state)))
            }
            _ => over("is expired"),
        }
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let asked = async {
            let session = self.service.session("ask the Alertmanager", READY_TIMEOUT)?;
            let status = session.fetch(&Call::get(["api", "v2", "status"])).await?;
            let known = status.get("versionInfo").is_some() || status.get("cluster").is_some();
            if known {
                Ok(())
            } else {
                Err(session.not_done(FaultCode::Malformed, "this is no Alertmanager: /api/v2/status says nothing known"))
            }
        };
        let fault = asked.await.err().and_then(fault_of);
        let fault = fault.map(|fault| advised(fault, "add an `authorization` header that may read status and write silences"));
        fault.map(|fault| (self.spec.verb.clone(), fault)).into_iter().collect()
    }
}

/// One silence by its id; 404 is `None`.
async fn read(session: &Session<'_>, id: &str) -> Result<Option<Silence>, Outcome> {
    let Some(body) = session.find(&Call::get(["api", "v2", "silence", id])).await? else { return Ok(None) };
    let odd = || session.not_done(FaultCode::Malformed, format!("silence {id} has no id, state, comment or end"));
    Silence::read(&body).map(Some).ok_or_else(odd)
}

fn receipt(silence: &Silence) -> Receipt {
    let undo = [("id", Arg::Text(silence.id.clone())), ("ends_at", Arg::Text(silence.ends_at.clone()))];
    Receipt {
        observed: format!("silence {} is {} until {}", silence.id, silence.state, silence.ends_at),
        undo: undo.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

impl Actuator for Alertmanager {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "alertmanager".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.labels(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let labels = self.labels(action)?;
        // The start is the moment of the call; the lease's end stands in for it here.
        let calls = [self.list_call(&labels), self.post_call(action.lease.expires, action, &labels)];
        Ok(calls.iter().map(|call| self.service.planned(call)).collect())
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(now, action))
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(self.take_back(now, action, receipt))
    }
}

fn silence_spec(config: &AlertmanagerConfig) -> VerbSpec {
    let minutes_max = config.duration_max.millis() / 60_000;
    VerbSpec {
        verb: "alertmanager.silence".into(),
        class: Class::Reversible,
        args: vec![
            ArgSpec {
                name: "labels".into(),
                kind: ArgKind::TextMap(LABELS_MAX),
                required: true,
                doc: "The alert's labels; each becomes an equality.".into(),
            },
            ArgSpec {
                name: "duration_minutes".into(),
                kind: ArgKind::Int(1, minutes_max),
                required: false,
                doc: "How long at most, in minutes; the configured bound if not given.".into(),
            },
        ],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: config.timeout,
        revertible: true,
        cost: Cost::default(),
        doc: "Silences exactly one alert while it is worked on.".into(),
    }
}
