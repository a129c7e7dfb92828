//! `argo.sync`, `argo.rollback`, `argo.refresh`: Applications of Argo CD, by its REST API or by their objects on the cluster.
//!
//! An operation is done when it began after ours was sent, carries our decision, succeeded, and the Application is Synced and Healthy.
//! [`state`] says what an Application means, [`door`] how it is reached. Deliberately absent: creating and deleting Applications, and
//! switching auto-sync. An editor breaks this by reading an operation that was there before as ours.

mod door;
mod state;
#[cfg(test)]
mod tests;

use super::call::{Call as KubeCall, name_problem};
use super::client::KubeClient;
use super::frame::{Deed, Framed, Run, Step, seen};
use super::rights::{Needs, Rule};
use crate::args::{check_against, unknown_verb};
use crate::ledger::{Begin, Ledger, Mark, doing, never_started, not_revertible};
use crate::pace::Pace;
use crate::rest::{self, Call, Credential, Service, advised, ended, fault_of, real_limit, unsure};
use door::{APPLICATION, Door, Rest, crd_write, decision_of, rest_get, rest_write, words};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret,
    Span, Time, Verb, VerbSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use state::{Ask, Progress, compared, is_already, newest, progress, refusal, started};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Notes beside the mark: what stood there before, and what ran.
const BEFORE: &str = "before";
const HISTORY: &str = "history_id";
/// What to do where we are not let in.
const RIGHTS: &str = "the token needs `applications, get`, `sync` and `override` for this project in Argo CD's RBAC";

/// Applications of Argo CD: the target is `application/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArgoConfig {
    /// How Argo CD is reached.
    pub via: ArgoVia,
    /// How long an operation may take until the Application is synced and healthy.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Between two looks.
    #[serde(default = "poll_default")]
    #[schemars(with = "String")]
    pub poll: Span,
    /// How long an Application needs afterwards before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// How Argo CD is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum ArgoVia {
    /// By its REST API.
    Rest {
        /// E.g. `https://argocd.lan`.
        url: String,
        /// A token of a project role, or of an account with `apiKey`.
        #[schemars(with = "String")]
        token: Secret,
        /// The project of the Applications; without it a missing one looks like a forbidden one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
    },
    /// By the Applications' objects on the cluster of the `kubernetes` section.
    Crd {
        /// The namespace they are in.
        #[serde(default = "namespace_default")]
        namespace: String,
    },
}

fn namespace_default() -> String {
    "argocd".into()
}
fn timeout_default() -> Span {
    Span::from_mins(10)
}
fn poll_default() -> Span {
    Span::from_secs(2)
}
fn settle_default() -> Span {
    Span::from_mins(3)
}

/// The actuator `argo`.
pub enum Argo {
    /// Over REST.
    Rest(Box<ArgoRest>),
    /// Over the cluster.
    Crd(Box<Framed<ArgoCrd>>),
}

/// The REST way.
pub struct ArgoRest {
    config: ArgoConfig,
    service: Service,
    project: Option<String>,
    ledger: Arc<Ledger>,
    journal: String,
    pace: Pace,
}

/// The cluster's way.
pub struct ArgoCrd {
    config: ArgoConfig,
    namespace: String,
}

impl Argo {
    /// Checks the configuration; sends nothing. `cluster` is needed for `via: {by: crd}`. Every problem is listed.
    pub fn new(
        config: &ArgoConfig,
        cluster: Option<&Arc<KubeClient>>,
        ledger: Arc<Ledger>,
        journal: &str,
        pace: Pace,
    ) -> Result<Argo, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.timeout <= Span::ZERO || config.poll <= Span::ZERO {
            problems.push("`timeout` and `poll` must be more than 0s".to_owned());
        }
        let mut built = None;
        match &config.via {
            ArgoVia::Rest { url, token, project } => {
                let service = rest::client().and_then(|client| Service::new(url, client, vec![Credential::authorization("Bearer", token)]));
                match service {
                    Ok(service) => {
                        let (config, project, journal) = (config.clone(), project.clone(), journal.to_owned());
                        built = Some(Argo::Rest(Box::new(ArgoRest { config, service, project, ledger, journal, pace })));
                    }
                    Err(problem) => problems.push(format!("`via.url`: {problem}")),
                }
            }
            ArgoVia::Crd { namespace } => {
                problems.extend(name_problem(namespace).map(|problem| format!("`via.namespace`: {problem}")));
                match cluster {
                    Some(client) => {
                        let deed = ArgoCrd { config: config.clone(), namespace: namespace.clone() };
                        built = Some(Argo::Crd(Box::new(Framed::new(deed, client.clone(), ledger))));
                    }
                    None => problems.push("`via: {by: crd}` needs the section `kubernetes`".into()),
                }
            }
        }
        match built {
            Some(argo) if problems.is_empty() => Ok(argo),
            _ => Err(problems.into_iter().map(|problem| Fault::new(FaultCode::Malformed, "configure `argo`", problem)).collect()),
        }
    }

    fn inner(&self) -> &dyn Actuator {
        match self {
            Argo::Rest(rest) => rest.as_ref(),
            Argo::Crd(crd) => crd.as_ref(),
        }
    }
}

fn specs(config: &ArgoConfig) -> Vec<VerbSpec> {
    let arg = |name: &str, kind, required, doc: &str| ArgSpec { name: name.into(), kind, required, doc: doc.into() };
    let sync = VerbSpec {
        verb: "argo.sync".into(),
        class: Class::Disruptive,
        args: vec![
            arg("revision", ArgKind::Text(200), false, "The revision; the tracked one if not given."),
            arg("prune", ArgKind::Bool, false, "Whether what is no longer there is deleted; not, if not given."),
        ],
        target_kinds: vec!["application".into()],
        targets: None,
        opposite: Some("argo.rollback".into()),
        settle: config.settle,
        timeout: config.timeout,
        revertible: true,
        cost: Cost { disruption: config.settle, energy_joules: 0.0, ..Cost::default() },
        doc: "Syncs an Application and waits until it is synced and healthy.".into(),
    };
    let rollback = VerbSpec {
        verb: "argo.rollback".into(),
        args: vec![arg("id", ArgKind::Int(0, i64::MAX), true, "The entry of the Application's history.")],
        opposite: Some("argo.sync".into()),
        doc: "Brings an Application back to an entry of its history; refused while auto-sync is on.".into(),
        ..sync.clone()
    };
    let refresh = VerbSpec {
        verb: "argo.refresh".into(),
        class: Class::Reversible,
        args: vec![arg("hard", ArgKind::Bool, false, "Whether the manifests are made anew as well; not, if not given.")],
        opposite: None,
        settle: Span::ZERO,
        revertible: false,
        cost: Cost::default(),
        doc: "Makes Argo CD compare an Application with its source again; with auto-sync this can begin a sync.".into(),
        ..sync.clone()
    };
    vec![sync, rollback, refresh]
}

fn asked(action: &Action) -> Result<Ask, String> {
    if let Some(problem) = name_problem(action.target.name()) {
        return Err(problem);
    }
    let flag = |name: &str| action.args.get(name) == Some(&Arg::Bool(true));
    match action.verb.as_str() {
        "argo.rollback" => match action.args.get("id") {
            Some(Arg::Int(id)) => Ok(Ask::Rollback { id: *id }),
            _ => Err("`id` is missing".into()),
        },
        "argo.refresh" => Ok(Ask::Refresh { hard: flag("hard") }),
        _ => {
            let revision = action.args.get("revision").and_then(Arg::as_text).map(str::to_owned);
            let plain = |c: char| c.is_ascii_graphic();
            if revision.as_ref().is_some_and(|revision| revision.is_empty() || !revision.chars().all(plain)) {
                return Err("`revision` is no revision".into());
            }
            Ok(Ask::Sync { revision, prune: flag("prune") })
        }
    }
}

/// Begins what is asked and waits for its end. `None` for `already`: an undo does not stop at "was already so".
async fn begin(door: &Door<'_>, action: &Action, ask: &Ask, decision: &str) -> Step<Receipt> {
    let name = action.target.name();
    let Some(app) = door.app(name).await? else {
        return Err(door.not_done(FaultCode::NotFound, format!("there is no Application `{name}`; nothing was sent")));
    };
    if is_already(&app, ask) {
        return Ok(seen(format!("`{name}` was already so: Synced and Healthy")));
    }
    if let Some((code, why)) = refusal(&app, ask) {
        return Err(door.not_done(code, format!("{why}; nothing was sent")));
    }
    if !matches!(ask, Ask::Refresh { .. })
        && let Some(why) = door.window(name).await?
    {
        return Err(door.not_done(FaultCode::Conflict, format!("{why}; nothing was sent")));
    }
    let before = if matches!(ask, Ask::Refresh { .. }) { compared(&app) } else { started(&app) }.to_owned();
    let mut undo = BTreeMap::new();
    if let Some(id) = newest(&app).filter(|_| !matches!(ask, Ask::Refresh { .. })) {
        undo.insert(HISTORY.to_owned(), Arg::Int(id));
        door.note(HISTORY, Arg::Int(id))?;
    }
    door.note(BEFORE, Arg::Text(before.clone()))?;
    let sent = door.write(action, &app, ask, decision).await;
    if let Err(outcome @ Outcome::NotDone(_)) = sent {
        return Err(outcome);
    }
    // A lost answer is looked into as well: the operation carries our decision.
    let lost = sent.err();
    let observed = watch(door, name, ask, &before, decision, lost).await?;
    Ok(Receipt { observed, undo })
}

async fn watch(door: &Door<'_>, name: &str, ask: &Ask, before: &str, decision: &str, lost: Option<Outcome>) -> Step<String> {
    loop {
        let last = match door.app(name).await {
            Ok(Some(app)) => match progress(&app, ask, before, decision) {
                Progress::Done(observed) => return Ok(format!("`{name}` {observed}")),
                Progress::Failed(why) => return Err(door.not_done(FaultCode::Failed, format!("the operation failed: {why}"))),
                Progress::Waiting(why) => why,
            },
            Ok(None) => return Err(door.unknown(FaultCode::NotFound, format!("`{name}` was deleted meanwhile"))),
            Err(outcome) => words(outcome),
        };
        if !door.pause().await {
            return Err(lost.unwrap_or_else(|| door.unknown(FaultCode::TimedOut, format!("`{name}` is not at its end: {last}"))));
        }
    }
}

/// Looks once.
async fn look(door: &Door<'_>, action: &Action, ask: &Ask, before: &str, decision: &str, over: bool) -> Step<Receipt> {
    let name = action.target.name();
    let Some(app) = door.app(name).await.map_err(unsure)? else {
        return Err(door.unknown(FaultCode::NotFound, format!("there is no Application `{name}`")));
    };
    match progress(&app, ask, before, decision) {
        Progress::Done(observed) => Ok(seen(format!("`{name}` {observed}"))),
        Progress::Failed(why) => Err(door.not_done(FaultCode::Failed, format!("the operation failed: {why}"))),
        Progress::Waiting(why) if over && started(&app) == before && app["operation"].is_null() => {
            Err(door.not_done(FaultCode::TimedOut, format!("it never began: {why}")))
        }
        Progress::Waiting(why) => Err(door.unknown(FaultCode::TimedOut, why)),
    }
}

/// The undo: back to what ran before, unless something else ran since.
fn way_back(receipt: &Receipt) -> Option<Ask> {
    match receipt.undo.get(HISTORY) {
        Some(Arg::Int(id)) => Some(Ask::Rollback { id: *id }),
        _ => None,
    }
}

const NO_HISTORY: &str = "nothing was changed, or the Application had no history to go back to";

impl ArgoRest {
    fn verb(&self, action: &Action) -> Result<(VerbSpec, Ask), Fault> {
        let specs = specs(&self.config);
        let spec = specs.iter().find(|spec| spec.verb == action.verb).ok_or_else(|| unknown_verb(action, specs.iter()))?;
        check_against(spec, action)?;
        let refuse = |problem| Fault::new(FaultCode::Malformed, format!("check {} {}", action.id, action.verb), problem);
        Ok((spec.clone(), asked(action).map_err(refuse)?))
    }

    fn decision(&self, action: &Action, mark: Mark) -> String {
        let undo = if matches!(mark, Mark::Revert(_)) { "-revert" } else { "" };
        format!("{}-{}{undo}", self.journal, action.id)
    }

    async fn run(&self, now: Time, action: &Action, mark: Mark, ask: Result<Ask, Outcome>) -> Outcome {
        let doing = doing(mark, action);
        let spec = match self.verb(action) {
            Ok((spec, _)) => spec,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let ask = match ask {
            Ok(ask) => ask,
            Err(outcome) => return outcome,
        };
        let session = match self.service.session(doing, real_limit(self.pace, action.timeout.min(spec.timeout))) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let door = Door::Rest(Rest {
            session: &session,
            ledger: &self.ledger,
            mark,
            pace: self.pace,
            poll: self.config.poll,
            project: self.project.as_deref(),
        });
        let outcome = ended(begin(&door, action, &ask, &self.decision(action, mark)).await);
        self.ledger.settle(mark, outcome)
    }

    async fn probed(&self, now: Time, action: &Action) -> Outcome {
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
        let over = started.as_ref().is_none_or(|started| now.since(started.at) > action.timeout);
        let Some(before) = started.and_then(|started| started.notes.get(BEFORE).and_then(Arg::as_text).map(str::to_owned)) else {
            return if over {
                never_started(doing, "it was begun, but nothing was sent")
            } else {
                Outcome::Unknown(Fault::new(FaultCode::TimedOut, doing, "it was begun and has sent nothing yet"))
            };
        };
        let session = match self.service.session(doing.clone(), rest::READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        let ask = match self.verb(action) {
            Ok((_, ask)) => ask,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let (ledger, project) = (self.ledger.as_ref(), self.project.as_deref());
        let door = Door::Rest(Rest { session: &session, ledger, mark, pace: self.pace, poll: self.config.poll, project });
        let outcome = ended(look(&door, action, &ask, &before, &self.decision(action, mark), over).await);
        if matches!(outcome, Outcome::Unknown(_)) { outcome } else { self.ledger.settle(mark, outcome) }
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let asked = async {
            let session = self.service.session("ask Argo CD", rest::READY_TIMEOUT)?;
            let call = Call::get(["api", "v1", "applications"]).with_query("fields", "items.metadata.name");
            let call = self.project.as_ref().map_or(call.clone(), |project| call.with_query("projects", project));
            session.fetch(&call).await
        };
        let Some(fault) = asked.await.err().and_then(fault_of) else { return Vec::new() };
        let fault = advised(fault, RIGHTS);
        specs(&self.config).into_iter().map(|spec| (spec.verb, fault.clone())).collect()
    }
}

impl Actuator for ArgoRest {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "argo".into(), verbs: specs(&self.config) }
    }
    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.verb(action).map(drop)
    }
    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let (_, ask) = self.verb(action)?;
        let (name, project) = (action.target.name(), self.project.as_deref());
        let read = self.service.planned(&rest_get(name, project, None));
        let decision = self.decision(action, Mark::Apply(action.id));
        let mut write = self.service.planned(&rest_write(name, project, &ask, &decision, &action.because));
        write.writes = true; // a refresh is a GET that makes Argo CD work
        let windows = self.service.planned(&Call::get(["api", "v1", "applications", name, "syncwindows"]));
        Ok(if matches!(ask, Ask::Refresh { .. }) { vec![read, write] } else { vec![read, windows, write] })
    }
    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }
    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        let mark = Mark::Apply(action.id);
        let ask = asked(action).map_err(|problem| never_started(doing(mark, action), problem));
        Box::pin(self.run(now, action, mark, ask))
    }
    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.probed(now, action))
    }
    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        let ask = way_back(receipt).ok_or_else(|| not_revertible(action, NO_HISTORY));
        Box::pin(self.run(now, action, Mark::Revert(action.id), ask))
    }
}

impl Deed for ArgoCrd {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "argo".into(), verbs: specs(&self.config) }
    }
    fn needs(&self) -> Vec<Needs> {
        let rules = vec![Rule::of(&APPLICATION, "", &["get", "patch"], "to read Applications and begin operations")];
        specs(&self.config)
            .into_iter()
            .map(|spec| Needs { verb: spec.verb, kinds: vec![(APPLICATION, "")], rules: rules.clone() })
            .collect()
    }
    fn check(&self, _client: &KubeClient, action: &Action) -> Result<(), Fault> {
        let refuse = |problem| Fault::new(FaultCode::Malformed, format!("check {} {}", action.id, action.verb), problem);
        asked(action).map(drop).map_err(refuse)
    }
    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<KubeCall>, Fault> {
        let refuse = |problem| Fault::new(FaultCode::Malformed, format!("preview {} {}", action.id, action.verb), problem);
        let ask = asked(action).map_err(refuse)?;
        let decision = super::frame::decision(client, action);
        let read = json!({ "metadata": { "resourceVersion": "<resourceVersion>" } });
        let write = crd_write(&self.namespace, action.target.name(), &read, &ask, &decision, &action.because);
        let get = KubeCall::get(APPLICATION.path(&self.namespace, action.target.name()));
        Ok(vec![get.clone(), write.clone().dry(), write, get])
    }
    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async move {
            let ask = asked(run.action).map_err(|problem| run.not_done(FaultCode::Malformed, problem))?;
            let door = Door::Crd { run, namespace: &self.namespace };
            begin(&door, run.action, &ask, &decision_of(run)).await
        })
    }
    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async move {
            let ask = asked(run.action).map_err(|problem| run.unknown(FaultCode::Malformed, problem))?;
            let before = run.noted_text(BEFORE).unwrap_or_default();
            let door = Door::Crd { run, namespace: &self.namespace };
            look(&door, run.action, &ask, &before, &decision_of(run), run.over).await
        })
    }
    fn back<'a>(&'a self, run: &'a Run<'a>, receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async move {
            let Some(ask) = way_back(receipt) else { return Err(run.not_done(FaultCode::NotFound, NO_HISTORY)) };
            let door = Door::Crd { run, namespace: &self.namespace };
            begin(&door, run.action, &ask, &format!("{}-revert", decision_of(run))).await
        })
    }
    fn instead(&self) -> &'static str {
        "a comparison changes nothing that could be taken back"
    }
}

impl Actuator for Argo {
    fn spec(&self) -> ActuatorSpec {
        self.inner().spec()
    }
    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.inner().check(action)
    }
    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        self.inner().preview(action)
    }
    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        self.inner().ready()
    }
    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        self.inner().apply(now, action)
    }
    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        self.inner().probe(now, action)
    }
    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        self.inner().revert(now, action, receipt)
    }
}
