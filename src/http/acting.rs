//! Acting on a person's word: wishes, dry runs, runs of playbooks and their release.
//!
//! A dry run asks the kernel what its guards would say, and the actuators what they would send (`preview`, which has no client).
//! Deliberately absent: any way around the guards; a wish is ruled on like a policy's. An editor breaks this by letting a dry run
//! reach an actuator's `apply`.

use super::api::{Answer, action_id, hand_in, order, refused};
use super::{App, failure};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use homeostat_kernel::Kernel;
use homeostat_kernel::kernel::{Plan, PlannedStep};
use homeostat_kernel::ledger::Run;
use homeostat_model::{Action, ActionId, Arg, ArgKind, Args, Command, Planned, Target, Verb};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A reason's characters.
const BECAUSE_CHARS_MAX: usize = 500;
/// Runs in one answer.
const RUNS_SHOWN: usize = 100;

/// A wish as it comes in: argument values are texts, read by the verb's own schema.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    verb: String,
    target: String,
    #[serde(default)]
    args: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    because: String,
    /// The plan that was shown; another one by now is refused.
    #[serde(default)]
    plan: Option<String>,
}

/// A dry run is asked for by a wish, or by an action's number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRun {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    verb: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    args: BTreeMap<String, serde_json::Value>,
}

/// Reads values by the verb's schema, so that `3` is a number where one is expected and a text where that is.
pub(super) fn typed(kernel: &Kernel, verb: &Verb, args: BTreeMap<String, serde_json::Value>) -> Args {
    let spec = kernel.verb_spec(verb);
    let read = |name: &str, value: serde_json::Value| {
        let kind = spec.and_then(|spec| spec.args.iter().find(|arg| arg.name == name)).map(|arg| &arg.kind);
        match (kind, value) {
            (Some(ArgKind::Text(_) | ArgKind::OneOf(_)), serde_json::Value::String(text)) => Arg::Text(text),
            (_, serde_json::Value::String(text)) => serde_json::from_str(&text).unwrap_or(Arg::Text(text)),
            (_, other) => serde_json::from_value(other).unwrap_or_else(|_| Arg::Text(String::new())),
        }
    };
    args.into_iter().map(|(name, value)| (name.clone(), read(&name, value))).collect()
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
pub(super) fn named(verb: String, target: String) -> Answer<(Verb, Target)> {
    if verb.split_once('.').is_none_or(|(actuator, name)| actuator.is_empty() || name.is_empty()) {
        return Err(failure(StatusCode::BAD_REQUEST, format!("`{verb}` is not a verb: expected `actuator.verb`, such as `power.wake`")));
    }
    if target.split_once('/').is_none_or(|(kind, name)| kind.is_empty() || name.is_empty()) {
        return Err(failure(StatusCode::BAD_REQUEST, format!("`{target}` is not a target: expected `kind/name`, such as `node/nas`")));
    }
    Ok((Verb::from(verb), Target::from(target)))
}

/// `POST /api/v1/wishes`
pub(super) async fn wish(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Wish { verb, target, args, because, plan }) = order(&app, request).await?;
    let (verb, target) = named(verb, target)?;
    let because: String = because.chars().take(BECAUSE_CHARS_MAX).collect();
    let because = if because.trim().is_empty() { format!("ordered by {by}") } else { because };
    let asked = (verb.clone(), target.clone(), args);
    let look = move |kernel: &Kernel| {
        let args = typed(kernel, &asked.0, asked.2);
        let now = kernel.plan("you", &asked.0, &asked.1, &args).plan;
        (args, kernel.ledger().next_action(), now)
    };
    let (args, before, now) = app.handle.ask(look).await.map_err(refused)?;
    if let Some(shown) = plan.filter(|shown| *shown != now) {
        return Err(failure(StatusCode::CONFLICT, format!("the plan is {now} now, the order was for {shown}: ask for it again")));
    }
    hand_in(&app, by.clone(), Command::Wish { verb: verb.clone(), target: target.clone(), args, because }).await?;
    let found = app.handle.ask(move |kernel| {
        let mine = |state: &&homeostat_kernel::ledger::ActionState| {
            state.id >= before && state.proposal.verb == verb && state.proposal.target == target && state.proposal.origin.run().is_none()
        };
        kernel.ledger().actions().find(mine).map(super::view::ActionLine::of)
    });
    match found.await.map_err(refused)? {
        Some(line) => Ok(Json(json!({ "action": line })).into_response()),
        None => Err(failure(StatusCode::CONFLICT, "the same wish is open already: see `homeostat actions`".into())),
    }
}

/// One step of a plan with what would be sent.
#[derive(Serialize)]
struct Previewed {
    #[serde(flatten)]
    step: PlannedStep,
    /// What the actuator would send, in order.
    sends: Vec<Planned>,
    /// Why it could not, at all.
    refused: Option<String>,
}

/// `POST /api/v1/plan`: a dry run. It needs no right to order: it orders nothing.
pub(super) async fn plan(State(app): State<Arc<App>>, Json(asked): Json<DryRun>) -> Answer<Response> {
    let found: Option<Plan> = match asked.action.as_deref() {
        Some(id) => {
            let id = action_id(id)?;
            app.handle.ask(move |kernel| kernel.plan_again(id)).await.map_err(refused)?
        }
        None => {
            let (verb, target) = named(asked.verb, asked.target)?;
            let args = asked.args;
            let look = move |kernel: &Kernel| kernel.plan("you", &verb, &target, &typed(kernel, &verb, args));
            Some(app.handle.ask(look).await.map_err(refused)?)
        }
    };
    let Some(plan) = found else { return Err(failure(StatusCode::NOT_FOUND, "there is no such action in memory".into())) };
    Ok(Json(previewed(&app, plan)).into_response())
}

/// A plan with what would be sent.
pub(super) fn previewed(app: &App, mut plan: Plan) -> serde_json::Value {
    let steps: Vec<Previewed> = std::mem::take(&mut plan.steps).into_iter().map(|step| preview(app, step)).collect();
    json!({ "plan": plan, "steps": steps })
}

fn preview(app: &App, step: PlannedStep) -> Previewed {
    let shown = |action: &Action| {
        let actuator = app.actuators.iter().find(|actuator| actuator.spec().verbs.iter().any(|spec| spec.verb == action.verb));
        actuator.map(|actuator| actuator.preview(action))
    };
    let (sends, refused) = match step.action.as_ref().and_then(shown) {
        Some(Ok(sends)) => (sends, None),
        Some(Err(fault)) => (Vec::new(), Some(fault.to_string())),
        None => (Vec::new(), None),
    };
    Previewed { step, sends, refused }
}

/// A run as lists show it.
#[derive(Serialize)]
struct RunLine<'a> {
    id: String,
    playbook: &'a str,
    target: &'a Target,
    began_at: homeostat_model::Time,
    /// `running`, `undoing`, or how it ended; `stuck` until it is released.
    state: &'static str,
    why: &'a str,
    released: bool,
    steps: Vec<(&'a str, &'static str)>,
    actions: Vec<String>,
}

impl<'a> RunLine<'a> {
    fn of(run: &'a Run) -> RunLine<'a> {
        let (state, why) = match (&run.end, &run.undoing) {
            (Some((_, end, why)), _) => (end.name(), why.as_str()),
            (None, Some((_, why))) => ("undoing", why.as_str()),
            (None, None) => ("running", ""),
        };
        RunLine {
            id: run.id.to_string(),
            playbook: &run.playbook.id,
            target: &run.target,
            began_at: run.began_at,
            state,
            why,
            released: run.released,
            steps: run.playbook.steps.iter().map(|step| (step.id.as_str(), run.phase(step).name())).collect(),
            actions: run.actions.iter().map(ActionId::to_string).collect(),
        }
    }
}

/// `GET /api/v1/runs`
pub(super) async fn runs(State(app): State<Arc<App>>) -> Answer<Response> {
    let look = |kernel: &Kernel| {
        let newest = kernel.ledger().runs().rev().take(RUNS_SHOWN);
        newest.map(|run| serde_json::to_value(RunLine::of(run)).unwrap_or_default()).collect::<Vec<_>>()
    };
    Ok(Json(json!({ "runs": app.handle.ask(look).await.map_err(refused)? })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `POST /api/v1/runs/{id}/release`
pub(super) async fn release(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Answer<Response> {
    let (by, Nothing {}) = order(&app, request).await?;
    let run = action_id(&id)?;
    let stuck = app.handle.ask(move |kernel| kernel.ledger().run(run).map(Run::is_stuck)).await.map_err(refused)?;
    match stuck {
        None => return Err(failure(StatusCode::NOT_FOUND, format!("there is no run {run} in memory"))),
        Some(false) => return Err(failure(StatusCode::CONFLICT, format!("run {run} is not stuck"))),
        Some(true) => {}
    }
    hand_in(&app, by, Command::Release { run }).await?;
    Ok(Json(json!({ "released": run.to_string() })).into_response())
}

/// `GET /api/v1/playbooks`
pub(super) async fn playbooks(State(app): State<Arc<App>>) -> Answer<Response> {
    let look = |kernel: &Kernel| {
        let line = |checked: &homeostat_kernel::playbook::Checked| json!({ "spec": checked.spec, "playbook": checked.playbook });
        kernel.playbooks().map(line).collect::<Vec<_>>()
    };
    Ok(Json(json!({ "playbooks": app.handle.ask(look).await.map_err(refused)? })).into_response())
}
