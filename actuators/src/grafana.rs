//! `grafana.annotate`: a mark on the dashboards for what was decided, and the same for every action by itself ([`Annotator`]).
//!
//! An annotation carries the tags `homeostat` and `homeostat:<journal>-a<id>`; by the second it is found again, so that one action has
//! one mark. The annotator opens a mark when an action begins and gives it an end (`PATCH` of `timeEnd`) when it settled. Deliberately
//! absent: dashboards, and taking a mark back (it is a record). An editor breaks this by letting a failing Grafana stop an action.

#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Ledger, Mark, doing, never_started, not_revertible, probing};
use crate::pace::Pace;
use crate::rest::{self, Call, Credential, READY_TIMEOUT, Service, Session, advised, ended, fault_of, real_limit, unsure};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret,
    Span, Time, Verb, VerbSpec,
};
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// How long a text may be.
const TEXT_BYTES_MAX: usize = 1000;
/// How long an annotator waits for Grafana.
const ANNOTATOR_TIMEOUT: Span = Span::from_secs(10);
/// What the service account needs.
const RIGHTS: &str =
    "the service account needs `annotations:create`, `annotations:read` and `annotations:write` (the role Editor has them)";

/// A Grafana that shows what was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrafanaConfig {
    /// Its address, with the path prefix if there is one: `http://grafana.lan:3000`.
    pub url: String,
    /// A service account's token.
    #[schemars(with = "String")]
    pub token: Secret,
    /// The dashboard that is annotated; all of them (by tag) if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_uid: Option<String>,
    /// The panel of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panel_id: Option<i64>,
    /// More tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether every action is marked by itself, from its start to its end.
    #[serde(default)]
    pub every_action: bool,
    /// How long all requests together may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
}

fn timeout_default() -> Span {
    Span::from_secs(30)
}

/// Marks actions on dashboards; cheap to clone, asks nobody's leave.
#[derive(Clone, Debug)]
pub struct Annotator {
    service: Service,
    config: Arc<GrafanaConfig>,
    journal_id: Arc<str>,
}

/// The actuator `grafana`.
#[derive(Debug)]
pub struct Grafana {
    annotator: Annotator,
    spec: VerbSpec,
    pace: Pace,
    ledger: Arc<Ledger>,
}

impl Annotator {
    fn tag(&self, action: &Action) -> String {
        format!("homeostat:{}-{}", self.journal_id, action.id)
    }

    fn find_call(&self, action: &Action) -> Call {
        let call = Call::get(["api", "annotations"]).with_query("type", "annotation").with_query("limit", "10");
        call.with_query("tags", self.tag(action))
    }

    fn post_call(&self, now: Time, action: &Action, text: &str, ends: Option<Time>, tags: &[&str]) -> Call {
        let mut all = vec!["homeostat".to_owned(), self.tag(action), action.verb.to_string(), action.target.to_string()];
        all.extend(self.config.tags.iter().cloned().chain(tags.iter().map(|tag| (*tag).to_owned())));
        let text: String = text.chars().take(TEXT_BYTES_MAX).collect();
        let mut body = json!({ "time": now.millis(), "tags": all, "text": text });
        for (name, value) in [
            ("timeEnd", ends.map(|at| json!(at.millis()))),
            ("dashboardUID", self.config.dashboard_uid.as_ref().map(|uid| json!(uid))),
            ("panelId", self.config.panel_id.map(|id| json!(id))),
        ] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        Call::new(Method::POST, ["api", "annotations"]).json(body)
    }

    /// The mark of an action, if there is one.
    async fn find(&self, session: &Session<'_>, action: &Action) -> Result<Option<i64>, Outcome> {
        let list = session.fetch(&self.find_call(action)).await?;
        let tag = self.tag(action);
        let has_tag = |one: &&Value| one["tags"].as_array().is_some_and(|tags| tags.iter().any(|known| known.as_str() == Some(&tag)));
        Ok(list.as_array().into_iter().flatten().filter(has_tag).find_map(|one| one["id"].as_i64()))
    }

    /// Finds the action's mark or makes it; its number.
    async fn post(&self, session: &Session<'_>, action: &Action, call: &Call) -> Result<i64, Outcome> {
        if let Some(id) = self.find(session, action).await? {
            return Ok(id);
        }
        let answer = session.send(call, false).await?;
        let id = answer.json().and_then(|body| body["id"].as_i64());
        id.ok_or_else(|| session.unknown(FaultCode::Malformed, format!("no id came back: {}", answer.shown(&session.redactor))))
    }

    fn session(&self, what: &str, action: &Action) -> Result<Session<'_>, Fault> {
        let doing = format!("{what} the mark of {} {}", action.id, action.verb);
        self.service.session(doing.as_str(), ANNOTATOR_TIMEOUT.to_std()).map_err(|outcome| lost(outcome, &doing))
    }

    /// To be called when an action begins: opens its mark. Twice is once. A fault is for the log only.
    pub async fn begun(&self, now: Time, action: &Action) -> Result<i64, Fault> {
        let session = self.session("open", action)?;
        let text = format!("{} {} on {}: {}", action.id, action.verb, action.target, action.because);
        let call = self.post_call(now, action, &text, None, &[]);
        self.post(&session, action, &call).await.map_err(|outcome| lost(outcome, &session.doing))
    }

    /// To be called when it settled: gives its mark an end and tells how. Without a mark nothing is done.
    pub async fn settled(&self, now: Time, action: &Action, outcome: &Outcome) -> Result<(), Fault> {
        let session = self.session("close", action)?;
        let told = match outcome {
            Outcome::Done(receipt) => receipt.observed.clone(),
            Outcome::NotDone(fault) | Outcome::Unknown(fault) => fault.detail.clone(),
        };
        let text = format!("{} {} on {}: {} — {}: {told}", action.id, action.verb, action.target, action.because, outcome.name());
        let text: String = text.chars().take(TEXT_BYTES_MAX).collect();
        let done = async {
            let Some(id) = self.find(&session, action).await? else { return Ok(()) };
            let body = json!({ "timeEnd": now.millis(), "text": text });
            session.send(&Call::new(Method::PATCH, ["api", "annotations", &id.to_string()]).json(body), true).await.map(drop)
        };
        done.await.map_err(|outcome| lost(outcome, &session.doing))
    }
}

fn lost(outcome: Outcome, doing: &str) -> Fault {
    fault_of(outcome).unwrap_or_else(|| Fault::new(FaultCode::Internal, doing, "no fault in a failure"))
}

impl Grafana {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed. `journal_id` stands in the tags.
    pub fn new(config: &GrafanaConfig, ledger: Arc<Ledger>, journal_id: &str) -> Result<Grafana, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.timeout <= Span::ZERO || config.tags.len() > 10 {
            problems.push("`timeout` must be more than 0s, and `tags` at most ten".to_owned());
        }
        if config.panel_id.is_some() && config.dashboard_uid.is_none() {
            problems.push("`panel_id` without `dashboard_uid` names no panel".to_owned());
        }
        let credentials = vec![Credential::authorization("Bearer", &config.token)];
        match rest::client().and_then(|client| Service::new(&config.url, client, credentials)) {
            Ok(service) if problems.is_empty() => {
                let annotator = Annotator { service, config: Arc::new(config.clone()), journal_id: journal_id.into() };
                Ok(Grafana { annotator, spec: annotate_spec(config), pace: Pace::default(), ledger })
            }
            other => {
                problems.extend(other.err());
                Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `grafana`", text)).collect())
            }
        }
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Grafana {
        Grafana { pace, ..self }
    }

    /// What marks every action, if the configuration asks for it.
    pub fn annotator(&self) -> Option<Annotator> {
        self.annotator.config.every_action.then(|| self.annotator.clone())
    }

    fn accept(&self, action: &Action) -> Result<(), Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)
    }

    fn call(&self, now: Time, action: &Action) -> Call {
        let text = action.args.get("text").and_then(Arg::as_text).unwrap_or(&action.because);
        let ends = match action.args.get("duration_minutes") {
            Some(Arg::Int(minutes)) => Some(now + Span::from_mins(*minutes)),
            _ => None,
        };
        let tags: Vec<&str> = action.args.get("tag").and_then(Arg::as_text).into_iter().collect();
        self.annotator.post_call(now, action, text, ends, &tags)
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        if let Err(fault) = self.accept(action) {
            return never_started(doing, fault.detail);
        }
        let limit = real_limit(self.pace, action.timeout.min(self.spec.timeout));
        let session = match self.annotator.service.session(doing, limit) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let posted = self.annotator.post(&session, action, &self.call(now, action)).await;
        self.ledger.settle(mark, ended(posted.map(receipt)))
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let session = match self.annotator.service.session(probing(action), READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        match self.annotator.find(&session, action).await {
            Ok(Some(id)) => Outcome::Done(receipt(id)),
            Ok(None) if now.since(started.at) <= self.spec.timeout => {
                session.unknown(FaultCode::TimedOut, "there is no such annotation yet")
            }
            Ok(None) => session.not_done(FaultCode::Failed, "there is no such annotation"),
            Err(outcome) => unsure(outcome),
        }
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let asked = async {
            let session = self.annotator.service.session("ask Grafana", READY_TIMEOUT)?;
            let list = session.fetch(&Call::get(["api", "annotations"]).with_query("limit", "1")).await?;
            let odd = || session.not_done(FaultCode::Malformed, "this is no Grafana: /api/annotations gave no list");
            list.as_array().map(drop).ok_or_else(odd)
        };
        let fault = asked.await.err().and_then(fault_of).map(|fault| advised(fault, RIGHTS));
        fault.map(|fault| (self.spec.verb.clone(), fault)).into_iter().collect()
    }
}

fn receipt(id: i64) -> Receipt {
    Receipt { observed: format!("annotation {id}"), undo: [("id".to_owned(), Arg::Int(id))].into() }
}

impl Actuator for Grafana {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "grafana".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.accept(action)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        self.accept(action)?;
        // The moment of the call is not known yet; the lease's end stands in for it.
        let calls = [self.annotator.find_call(action), self.call(action.lease.expires, action)];
        Ok(calls.iter().map(|call| self.annotator.service.planned(call)).collect())
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

    fn revert<'a>(&'a self, _now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async { not_revertible(action, "a mark is a record and stays") })
    }
}

fn annotate_spec(config: &GrafanaConfig) -> VerbSpec {
    let arg = |name: &str, kind: ArgKind, doc: &str| ArgSpec { name: name.into(), kind, required: false, doc: doc.into() };
    VerbSpec {
        verb: "grafana.annotate".into(),
        class: Class::Notify,
        args: vec![
            arg("text", ArgKind::Text(TEXT_BYTES_MAX), "What it says; the reason if not given."),
            arg("duration_minutes", ArgKind::Int(1, 10_080), "How long the marked time is, in minutes; a moment if not given."),
            arg("tag", ArgKind::Text(50), "One more tag."),
        ],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: config.timeout,
        revertible: false,
        cost: Cost::default(),
        doc: "Marks a moment or a time on the dashboards.".into(),
    }
}
