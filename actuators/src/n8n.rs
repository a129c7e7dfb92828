//! `n8n.trigger`: a configured workflow, started by its production webhook, with our own number in the payload.
//!
//! What an answer proves depends on the webhook's reply mode: "immediately" proves acceptance only, so the outcome is `Unknown` unless the
//! execution can be read by the API; "when the last node finishes" and "respond node" prove the end. Deliberately absent: test webhooks,
//! activating workflows, retrying executions. An editor breaks this by calling "Workflow was started" a success.

#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Ledger, Mark, doing, never_started, not_revertible, probing};
use crate::pace::Pace;
use crate::rest::{self, Call, Credential, READY_TIMEOUT, Service, Session, advised, ended, fault_of, real_limit, unsure};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret,
    Span, Target, Time, Verb, VerbSpec,
};
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many values of an action go along.
const VALUES_MAX: usize = 20;
/// The ledger's note of the execution's number.
const EXECUTION: &str = "execution";

/// An n8n and the workflows of it that may be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct N8nConfig {
    /// Its address: `http://n8n.lan:5678`.
    pub url: String,
    /// An API key (`workflow:read`, `execution:read`), to see whether workflows are active and how executions ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<Secret>,
    /// The workflows, by name; `cleanup` becomes the target `workflow/cleanup`.
    pub workflows: BTreeMap<String, WorkflowConfig>,
    /// How much they can hurt: the worst of them.
    #[serde(default = "class_default")]
    #[schemars(with = "String")]
    pub class: Class,
    /// How long a workflow may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Between two looks at an execution.
    #[serde(default = "poll_default")]
    #[schemars(with = "String")]
    pub poll: Span,
    /// How long the world needs afterwards before symptoms mean anything again.
    #[serde(default)]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// One workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowConfig {
    /// The webhook's path, after `/webhook/`.
    pub path: String,
    /// Its number, to ask the API whether it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Headers that the webhook asks for. The values are taken out of everything that is shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// When the webhook answers.
    #[serde(default)]
    pub reply: Reply,
}

/// When a webhook answers.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// At once: accepted only. With an API key, and a workflow that answers `{"executionId": …}`, the execution is followed.
    #[default]
    Immediately,
    /// When its last node finished, or by a Respond node: a 2xx proves the end.
    WhenDone,
}

fn class_default() -> Class {
    Class::Disruptive
}
fn timeout_default() -> Span {
    Span::from_mins(5)
}
fn poll_default() -> Span {
    Span::from_secs(2)
}

#[derive(Debug)]
struct Workflow {
    config: WorkflowConfig,
    hook: Service,
}

/// The actuator `n8n`.
#[derive(Debug)]
pub struct N8n {
    workflows: BTreeMap<Target, Workflow>,
    api: Option<Service>,
    spec: VerbSpec,
    poll: Span,
    journal_id: String,
    pace: Pace,
    ledger: Arc<Ledger>,
}

impl N8n {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed. `journal_id` stands in the payload.
    pub fn new(config: &N8nConfig, ledger: Arc<Ledger>, journal_id: &str) -> Result<N8n, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.workflows.is_empty() || config.timeout <= Span::ZERO || config.poll <= Span::ZERO {
            problems.push("`workflows` must list at least one; `timeout` and `poll` must be more than 0s".to_owned());
        }
        let mut service = |credentials: Vec<Credential>| {
            let built = rest::client().and_then(|client| Service::new(&config.url, client, credentials));
            built.map_err(|problem| problems.push(problem)).ok()
        };
        let key = |secret: &Secret| Credential { header: "x-n8n-api-key".into(), prefix: String::new(), secret: secret.clone() };
        let api = config.api_key.as_ref().and_then(|secret| service(vec![key(secret)]));
        let mut workflows = BTreeMap::new();
        for (name, one) in &config.workflows {
            let header =
                |(name, secret): (&String, &Secret)| Credential { header: name.clone(), prefix: String::new(), secret: secret.clone() };
            if let Some(hook) = service(one.headers.iter().map(header).collect()) {
                workflows.insert(Target::from(format!("workflow/{name}")), Workflow { config: one.clone(), hook });
            }
        }
        for (name, one) in &config.workflows {
            if one.path.is_empty() || one.path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
                problems.push(format!("workflow `{name}`: `path` is `{}`, expected what stands after `/webhook/`", one.path));
            }
        }
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `n8n`", text)).collect());
        }
        let spec = trigger_spec(config, workflows.keys().cloned().collect());
        Ok(N8n { workflows, api, spec, poll: config.poll, journal_id: journal_id.into(), pace: Pace::default(), ledger })
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> N8n {
        N8n { pace, ..self }
    }

    fn workflow(&self, action: &Action) -> Result<&Workflow, Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)?;
        let missing = || Fault::new(FaultCode::NotFound, format!("check {} {}", action.id, action.verb), format!("no `{}`", action.target));
        self.workflows.get(&action.target).ok_or_else(missing)
    }

    fn call(&self, workflow: &Workflow, action: &Action) -> Call {
        let values: BTreeMap<&str, &str> = match action.args.get("values") {
            Some(Arg::Map(map)) => map.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_text()?))).collect(),
            _ => BTreeMap::new(),
        };
        let path = std::iter::once("webhook").chain(workflow.config.path.split('/'));
        Call::new(Method::POST, path).json(json!({
            "decision": format!("{}-{}", self.journal_id, action.id), "target": action.target.to_string(),
            "because": action.because.chars().take(500).collect::<String>(), "values": values,
        }))
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let workflow = match self.workflow(action) {
            Ok(workflow) => workflow,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let limit = real_limit(self.pace, action.timeout.min(self.spec.timeout));
        let session = match workflow.hook.session(doing.as_str(), limit) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let api = match self.api.as_ref().map(|api| api.session(doing.as_str(), limit)).transpose() {
            Ok(api) => api,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(self.trigger(&session, api.as_ref(), workflow, action).await);
        self.ledger.settle(mark, outcome)
    }

    async fn trigger(
        &self,
        session: &Session<'_>,
        api: Option<&Session<'_>>,
        workflow: &Workflow,
        action: &Action,
    ) -> Result<Receipt, Outcome> {
        let answer = session.send(&self.call(workflow, action), false).await?;
        if workflow.config.reply == Reply::WhenDone {
            return Ok(Receipt { observed: format!("the workflow finished: {}", answer.shown(&session.redactor)), ..Receipt::default() });
        }
        let id = answer.json().as_ref().and_then(execution_id);
        let (Some(api), Some(id)) = (api, id) else {
            let detail = format!("accepted only ({}); the webhook answers before the workflow ends", answer.shown(&session.redactor));
            return Err(session.unknown(FaultCode::TimedOut, detail));
        };
        if let Err(fault) = self.ledger.note(Mark::Apply(action.id), EXECUTION, Arg::Text(id.clone())) {
            tracing::warn!(%fault, "The execution was not noted; a probe after a crash cannot find it.");
        }
        while api.has_time() {
            if let Some(ended) = execution(api, &id).await.unwrap_or(None) {
                return ended;
            }
            api.pause(self.pace.real(self.poll)).await;
        }
        Err(session.unknown(FaultCode::TimedOut, format!("execution {id} was not seen to end in time")))
    }

    async fn look(&self, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let unknown = |detail: &str| Outcome::Unknown(Fault::new(FaultCode::Conflict, probing(action), detail));
        let (Some(api), Some(id)) = (&self.api, started.notes.get(EXECUTION).and_then(Arg::as_text)) else {
            return unknown("it was sent at most once; how it ended cannot be read (no API key, or no execution number came back)");
        };
        let session = match api.session(probing(action), READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        match execution(&session, id).await {
            Ok(Some(result)) => ended(result),
            Ok(None) => unknown("the execution still runs"),
            Err(outcome) => unsure(outcome),
        }
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let asked = async {
            let Some(api) = &self.api else { return Ok(()) };
            let session = api.session("ask n8n", READY_TIMEOUT)?;
            for (target, workflow) in &self.workflows {
                let Some(id) = &workflow.config.workflow_id else { continue };
                let Some(body) = session.find(&Call::get(["api", "v1", "workflows", id])).await? else {
                    return Err(session.not_done(FaultCode::NotFound, format!("there is no workflow {id} for `{target}`")));
                };
                if body["active"].as_bool() != Some(true) {
                    let detail =
                        format!("workflow {id} for `{target}` is not active: its production webhook answers 404; activate it in n8n");
                    return Err(session.not_done(FaultCode::Failed, detail));
                }
            }
            Ok(())
        };
        let fault = asked.await.err().and_then(fault_of);
        let fault = fault.map(|fault| advised(fault, "the API key needs `workflow:read` and `execution:read`"));
        fault.map(|fault| (self.spec.verb.clone(), fault)).into_iter().collect()
    }
}

/// The execution's number in a webhook's answer: a text or a number.
fn execution_id(body: &Value) -> Option<String> {
    let id = body.get("executionId")?;
    let text = id.as_str().map(str::to_owned).or_else(|| id.as_u64().map(|number| number.to_string()))?;
    (!text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')).then_some(text)
}

/// How an execution ended; `None`: it has not.
async fn execution(session: &Session<'_>, id: &str) -> Result<Option<Result<Receipt, Outcome>>, Outcome> {
    let body = session.fetch(&Call::get(["api", "v1", "executions", id]).with_query("includeData", "false")).await?;
    let status = body["status"].as_str().unwrap_or_default();
    let finished = body["finished"].as_bool().unwrap_or(false);
    Ok(match status {
        "success" => Some(Ok(Receipt { observed: format!("execution {id} succeeded"), ..Receipt::default() })),
        "error" | "crashed" | "canceled" => Some(Err(session.not_done(FaultCode::Failed, format!("execution {id} ended with `{status}`")))),
        "" if finished => Some(Ok(Receipt { observed: format!("execution {id} finished"), ..Receipt::default() })),
        _ => None,
    })
}

impl Actuator for N8n {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "n8n".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.workflow(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let workflow = self.workflow(action)?;
        Ok(vec![workflow.hook.planned(&self.call(workflow, action))])
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action))
    }

    fn probe<'a>(&'a self, _now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(action))
    }

    fn revert<'a>(&'a self, _now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async { not_revertible(action, "start the workflow that does the opposite") })
    }
}

fn trigger_spec(config: &N8nConfig, targets: Vec<Target>) -> VerbSpec {
    VerbSpec {
        verb: "n8n.trigger".into(),
        class: config.class,
        args: vec![ArgSpec {
            name: "values".into(),
            kind: ArgKind::TextMap(VALUES_MAX),
            required: false,
            doc: "What the workflow gets besides the decision, the target and the reason.".into(),
        }],
        target_kinds: vec!["workflow".into()],
        targets: Some(targets),
        opposite: None,
        settle: config.settle,
        timeout: config.timeout,
        revertible: false,
        cost: Cost::default(),
        doc: "Starts a configured workflow.".into(),
    }
}
