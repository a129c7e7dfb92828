//! The two ways to an Application: Argo CD's REST API, or its object on the cluster.
//!
//! The object's way is a guarded merge patch: it names the `resourceVersion` that was read, because a patch into an operation under way
//! would mix two. Deliberately absent: what an answer means ([`super::state`]). An editor breaks this by patching without that guard.

use super::state::{Ask, entry};
use crate::kube::call::{Call as KubeCall, Kind};
use crate::kube::frame::{Run, Step, annotations};
use crate::ledger::{Ledger, Mark, never_started};
use crate::pace::Pace;
use crate::rest::{Call, Session};
use homeostat_model::{Action, Arg, Fault, FaultCode, Outcome, Span};
use reqwest::Method;
use serde_json::{Value, json};

/// Applications on the cluster.
pub(super) const APPLICATION: Kind = Kind::namespaced("argoproj.io", "v1alpha1", "Application", "applications");

/// A conversation over REST.
pub(super) struct Rest<'a> {
    pub session: &'a Session<'a>,
    pub ledger: &'a Ledger,
    pub mark: Mark,
    pub pace: Pace,
    pub poll: Span,
    pub project: Option<&'a str>,
}

/// One of the two ways, for one action.
pub(super) enum Door<'a> {
    Rest(Rest<'a>),
    Crd { run: &'a Run<'a>, namespace: &'a str },
}

/// The requests of the REST way.
pub(super) fn rest_get(app: &str, project: Option<&str>, refresh: Option<&str>) -> Call {
    let mut call = Call::get(["api", "v1", "applications", app]);
    if let Some(project) = project {
        call = call.with_query("project", project); // without it a missing application is a 403
    }
    if let Some(refresh) = refresh {
        call = call.with_query("refresh", refresh);
    }
    call
}

fn infos(decision: &str, because: &str) -> Value {
    let reason: String = because.chars().filter(|c| !c.is_control()).take(256).collect();
    json!([{ "name": "decision", "value": decision }, { "name": "reason", "value": reason }])
}

/// The write of an ask over REST. A refresh is a read that makes Argo CD compare again.
pub(super) fn rest_write(name: &str, project: Option<&str>, ask: &Ask, decision: &str, because: &str) -> Call {
    let call = |verb: &str| Call::new(Method::POST, ["api", "v1", "applications", name, verb]);
    let mut body = json!({ "name": name, "dryRun": false });
    if let Some(project) = project {
        body["project"] = json!(project);
    }
    match ask {
        Ask::Sync { revision, prune } => {
            body["prune"] = json!(prune);
            body["strategy"] = json!({ "hook": {} });
            body["infos"] = infos(decision, because);
            if let Some(revision) = revision {
                body["revision"] = json!(revision);
            }
            call("sync").json(body)
        }
        Ask::Rollback { id } => {
            body["id"] = json!(id);
            body["prune"] = json!(false);
            call("rollback").json(body)
        }
        Ask::Refresh { hard } => rest_get(name, project, Some(if *hard { "hard" } else { "normal" })),
    }
}

/// The write of an ask into the object that was read.
pub(super) fn crd_write(namespace: &str, name: &str, app: &Value, ask: &Ask, decision: &str, because: &str) -> KubeCall {
    let mut body = json!({ "metadata": { "resourceVersion": app["metadata"]["resourceVersion"] } });
    let sync = match ask {
        Ask::Refresh { hard } => {
            body["metadata"]["annotations"] = json!({ "argocd.argoproj.io/refresh": if *hard { "hard" } else { "normal" } });
            return KubeCall::merge(APPLICATION.path(namespace, name), body);
        }
        Ask::Sync { revision, prune } => {
            let mut sync = json!({ "prune": prune, "syncStrategy": { "hook": {} } });
            if let Some(revision) = revision {
                sync["revision"] = json!(revision);
            }
            sync
        }
        Ask::Rollback { id } => {
            let known = entry(app, *id).cloned().unwrap_or_default();
            let mut sync = json!({ "revision": known["revision"], "prune": false, "syncStrategy": { "apply": {} } });
            for field in ["source", "sources", "revisions"] {
                if !known[field].is_null() {
                    sync[field] = known[field].clone();
                }
            }
            sync
        }
    };
    body["operation"] = json!({ "initiatedBy": { "username": "homeostat" }, "info": infos(decision, because), "sync": sync });
    KubeCall::merge(APPLICATION.path(namespace, name), body)
}

impl Door<'_> {
    /// The Application; `None`: there is none.
    pub(super) async fn app(&self, name: &str) -> Step<Option<Value>> {
        match self {
            Door::Rest(rest) => rest.session.find(&rest_get(name, rest.project, None)).await,
            Door::Crd { run, namespace } => match run.read(&KubeCall::get(APPLICATION.path(namespace, name))).await {
                Ok(app) => Ok(Some(app)),
                Err(refusal) if refusal.is_gone() => Ok(None),
                Err(refusal) => Err(run.refused(&refusal)),
            },
        }
    }

    /// Whether a sync window denies a sync now; the controller judges it where there is no REST.
    pub(super) async fn window(&self, name: &str) -> Step<Option<String>> {
        let Door::Rest(rest) = self else { return Ok(None) };
        let call = Call::get(["api", "v1", "applications", name, "syncwindows"]);
        let call = rest.project.map_or(call.clone(), |project| call.with_query("project", project));
        let windows = rest.session.fetch(&call).await?;
        Ok((windows["canSync"] == false).then(|| "blocked by sync window".to_owned()))
    }

    pub(super) fn note(&self, name: &str, value: Arg) -> Step<()> {
        match self {
            Door::Rest(rest) => {
                rest.ledger.note(rest.mark, name, value).map_err(|fault| never_started(&rest.session.doing, fault.to_string()))
            }
            Door::Crd { run, .. } => run.note(name, value),
        }
    }

    /// Begins what is asked.
    pub(super) async fn write(&self, action: &Action, app: &Value, ask: &Ask, decision: &str) -> Step<()> {
        let name = action.target.name();
        match self {
            Door::Rest(rest) => {
                let project = rest.project.or(app["spec"]["project"].as_str());
                let call = rest_write(name, project, ask, decision, &action.because);
                let answer = rest.session.write(&call, matches!(ask, Ask::Refresh { .. })).await?;
                if answer.is_success() { Ok(()) } else { Err(told(rest.session, &call, &answer)) }
            }
            Door::Crd { run, namespace } => {
                let call = crd_write(namespace, name, app, ask, decision, &action.because);
                run.read(&call.clone().dry()).await.map_err(|refusal| run.refused(&refusal))?;
                run.write(&call).await?.map(drop).map_err(|refusal| run.refused(&refusal))
            }
        }
    }

    pub(super) fn not_done(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        match self {
            Door::Rest(rest) => rest.session.not_done(code, detail),
            Door::Crd { run, .. } => run.not_done(code, detail),
        }
    }

    pub(super) fn unknown(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        match self {
            Door::Rest(rest) => rest.session.unknown(code, detail),
            Door::Crd { run, .. } => run.unknown(code, detail),
        }
    }

    /// Waits for the next look; `false` when there is no time for one.
    pub(super) async fn pause(&self) -> bool {
        match self {
            Door::Rest(rest) => {
                rest.session.pause(rest.pace.real(rest.poll)).await;
                rest.session.has_time()
            }
            Door::Crd { run, .. } => run.pause().await,
        }
    }
}

/// Argo CD answers 400 to what its state does not allow (gRPC's FailedPrecondition); that is a conflict, not a wrong request.
fn told(session: &Session<'_>, call: &Call, answer: &crate::client::Answer) -> Outcome {
    let body = answer.json().unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default();
    const STATES: [&str; 4] = ["already in progress", "auto-sync", "is deleting", "sync window"];
    if STATES.iter().any(|state| message.contains(state)) {
        return session.not_done(FaultCode::Conflict, session.redactor.clean_head(&format!("HTTP {}: {message}", answer.status), 400));
    }
    session.refused(call, answer)
}

/// A fault's words, for what is seen while waiting.
pub(super) fn words(outcome: Outcome) -> String {
    crate::rest::fault_of(outcome).map(|fault: Fault| fault.detail).unwrap_or_default()
}

/// What stands in the info of an operation on the cluster.
pub(super) fn decision_of(run: &Run<'_>) -> String {
    annotations(run.client, run.action)[crate::kube::frame::DECISION].as_str().unwrap_or_default().to_owned()
}
