//! The JSON API, health, readiness and metrics. Field names are those of the journal; times are milliseconds since the epoch.
//!
//! Orders are checked first (so that a refusal has a reason), then journalled, then answered with what became of them. Deliberately
//! absent: paging; lists have limits. An editor breaks this by answering an order before `submit` has returned.

use super::auth::{NoRight, Peer, Tokens, asker, operator};
use super::metrics::{CONTENT_TYPE, Facts, KernelFacts, Process};
use super::view::{self, ActionLine, LedgerView, Overview};
use super::webhooks::unavailable;
use super::{App, failure};
use crate::journal::JournalReader;
use crate::live::Refused;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use homeostat_kernel::Ledger;
use homeostat_kernel::kernel::Explanation;
use homeostat_kernel::ledger::Phase;
use homeostat_kernel::policy::ask::Question;
use homeostat_model::{ActionId, Command, EntryBody, Event, Ordered};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// An order's body.
const ORDER_BYTES_MAX: usize = 16 << 10;
/// A reason's characters.
const REASON_CHARS_MAX: usize = 500;
/// The loop must answer within this time to count as alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// Actions of a list, at most.
const ACTIONS_MAX: usize = 1000;
/// Units of one policy in one answer.
const UNITS_MAX: usize = 1000;

/// A result whose error is already an answer.
pub(super) type Answer<T> = Result<T, Response>;

pub(super) fn refused(refused: Refused) -> Response {
    unavailable(&refused)
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
pub(super) fn action_id(text: &str) -> Answer<ActionId> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        failure(StatusCode::BAD_REQUEST, format!("`{shown}` is not an action: expected a number such as `a12`"))
    })
}

// ---- Is it well

pub(super) async fn healthz(State(app): State<Arc<App>>) -> Response {
    match tokio::time::timeout(ALIVE_WITHIN, app.handle.ask(|_| ())).await {
        Ok(Ok(())) => Json(json!({ "alive": true })).into_response(),
        Ok(Err(refused)) => failure(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()),
        Err(_) => failure(StatusCode::SERVICE_UNAVAILABLE, format!("the loop did not answer within {} s", ALIVE_WITHIN.as_secs())),
    }
}

pub(super) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let status = app.handle.status();
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": status.ready, "because": status.not_ready_because }))).into_response()
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    // A loop that hangs must not take the metrics with it: they are how people find out.
    let kernel = tokio::time::timeout(ALIVE_WITHIN, app.handle.ask(KernelFacts::of)).await.ok().and_then(Result::ok);
    let rules = super::scoring::rules(&app).await.ok();
    let (daemon, webhooks, answers) = (app.handle.status(), app.webhooks.status(), app.answers());
    let approvals = app.approvals.as_ref().map(crate::approvals::Door::status);
    let facts = Facts {
        approvals: approvals.as_ref(),
        daemon: &daemon,
        kernel: kernel.as_ref(),
        rules: rules.as_deref(),
        webhooks: &webhooks,
        answers: &answers,
        connections_refused: app.connections_refused(),
        process: Process::read(),
    };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], super::metrics::text(super::metrics::families(&facts))).into_response()
}

// ---- What is

pub(super) async fn status(State(app): State<Arc<App>>) -> Answer<Response> {
    let overview = app.handle.ask(Overview::of).await.map_err(refused)?;
    Ok(Json(json!({ "at": app.handle.now(), "daemon": app.handle.status(), "overview": overview, "webhooks": app.webhooks.status() }))
        .into_response())
}

pub(super) async fn incidents(State(app): State<Arc<App>>) -> Answer<Response> {
    let incidents = app.handle.ask(|kernel| view::incidents(kernel.ledger())).await.map_err(refused)?;
    Ok(Json(json!({ "incidents": incidents })).into_response())
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<usize>,
}

pub(super) async fn actions(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> Answer<Response> {
    let limit = query.limit.unwrap_or(view::ACTIONS_SHOWN).min(ACTIONS_MAX);
    let actions = app.handle.ask(move |kernel| view::actions(kernel.ledger(), limit)).await.map_err(refused)?;
    Ok(Json(json!({ "actions": actions })).into_response())
}

pub(super) async fn approvals(State(app): State<Arc<App>>) -> Answer<Response> {
    let approvals = app.handle.ask(|kernel| view::approvals(kernel.ledger())).await.map_err(refused)?;
    let channels = app.approvals.as_ref().map(crate::approvals::Door::status);
    Ok(Json(json!({ "approvals": approvals, "channels": channels })).into_response())
}

/// From memory, or from the journal where memory no longer has it.
pub(super) async fn explanation(app: &App, id: ActionId) -> Answer<Explanation> {
    if let Some(found) = app.handle.ask(move |kernel| kernel.explain(id)).await.map_err(refused)? {
        return Ok(found);
    }
    let data = app.data.clone();
    let read = tokio::task::spawn_blocking(move || {
        let page = JournalReader::open(&data)?.of_action(id)?;
        let mut ledger = Ledger::default();
        for entry in &page.entries {
            match &entry.body {
                EntryBody::Event(event) => ledger.apply_event(entry.at, event),
                EntryBody::Effect(record) => ledger.apply_record(entry.at, record),
            }
        }
        Ok::<_, crate::journal::JournalError>(Explanation::of(&ledger, id))
    });
    match read.await {
        Ok(Ok(Some(found))) => Ok(found),
        Ok(Ok(None)) => Err(failure(StatusCode::NOT_FOUND, format!("there is no action {id} in memory or journal"))),
        Ok(Err(error)) => Err(failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        Err(error) => Err(failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

pub(super) async fn action(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer<Response> {
    let found = explanation(&app, action_id(&id)?).await?;
    let text = found.text(view::moment);
    Ok(Json(json!({ "line": ActionLine::of(&found.action), "action": found.action, "text": text })).into_response())
}

/// The metrics that the store has, as Prometheus lists them.
pub(super) async fn metric_names(State(app): State<Arc<App>>) -> Answer<Response> {
    let names = app.handle.ask(|kernel| kernel.with_store(homeostat_kernel::store::Store::metrics)).await.map_err(refused)?;
    Ok(Json(json!({ "status": "success", "data": names })).into_response())
}

pub(super) async fn policies(State(app): State<Arc<App>>) -> Answer<Response> {
    let policies = app.handle.ask(view::policies).await.map_err(refused)?;
    Ok(Json(json!({ "policies": policies })).into_response())
}

#[derive(Default, Deserialize)]
pub(super) struct PolicyQuery {
    #[serde(default)]
    pub(super) target: String,
}

/// One policy and its targets whose name holds `target`.
pub(super) async fn policy_and_units(
    app: &App,
    id: String,
    target: String,
) -> Answer<(homeostat_kernel::kernel::PolicyView, Vec<homeostat_kernel::kernel::UnitView>)> {
    let look = move |kernel: &homeostat_kernel::Kernel| {
        let policies = kernel.policies();
        let known: Vec<String> = policies.iter().map(|policy| policy.policy.clone()).collect();
        let found = policies.into_iter().find(|policy| policy.policy == id);
        let mut units = if found.is_some() { kernel.why_policy(&id, &target) } else { Vec::new() };
        units.truncate(UNITS_MAX);
        found.map(|found| (found, units)).ok_or_else(|| format!("there is no policy `{id}`; loaded are: {}", known.join(", ")))
    };
    app.handle.ask(look).await.map_err(refused)?.map_err(|why| failure(StatusCode::NOT_FOUND, why))
}

pub(super) async fn policy(State(app): State<Arc<App>>, Path(id): Path<String>, Query(query): Query<PolicyQuery>) -> Answer<Response> {
    let (policy, units) = policy_and_units(&app, id, query.target).await?;
    Ok(Json(json!({ "policy": policy, "units": units })).into_response())
}

/// A question to the windows. It changes nothing, but the loop stands still while it is answered: it needs the right to ask.
pub(super) async fn evaluate(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (_, question) = asked::<Question>(&app, request).await?;
    let answered = app.handle.ask(move |kernel| kernel.answer(&question)).await.map_err(refused)?;
    let answered = answered.map_err(|why| failure(StatusCode::UNPROCESSABLE_ENTITY, why.to_string()))?;
    Ok(Json(answered).into_response())
}

// ---- Orders

/// Who orders, and what the body says. An empty body is an empty order.
pub(super) async fn order<T: DeserializeOwned>(app: &App, request: Request) -> Answer<(String, T)> {
    taken(app, request, operator).await
}

/// Who asks or proposes, and what the body says: as [`order`], and agents, too. For what changes nothing or waits for a person.
pub(super) async fn asked<T: DeserializeOwned>(app: &App, request: Request) -> Answer<(String, T)> {
    taken(app, request, asker).await
}

/// How a right is found: who has it, by the connection, the daemon's user, the headers and the tokens.
type Right = fn(Peer, u32, &HeaderMap, &Tokens) -> Result<String, NoRight>;

async fn taken<T: DeserializeOwned>(app: &App, request: Request, right: Right) -> Answer<(String, T)> {
    let (parts, body) = request.into_parts();
    let by = by_right(app, &parts, right)?;
    Ok((by, order_body(body).await?))
}

/// Who has the right, or why nobody has.
#[expect(clippy::result_large_err, reason = "the error is the answer, made once per refused request")]
pub(super) fn by_right(app: &App, parts: &Parts, right: Right) -> Answer<String> {
    let peer = parts.extensions.get::<Peer>().copied();
    let peer = peer.ok_or_else(|| failure(StatusCode::INTERNAL_SERVER_ERROR, "the connection has no known other end".into()))?;
    right(peer, app.own_uid, &parts.headers, &app.tokens).map_err(|no| {
        tracing::warn!(path = parts.uri.path(), why = %no, "An order was refused.");
        failure(no.status(), no.to_string())
    })
}

async fn order_body<T: DeserializeOwned>(body: Body) -> Answer<T> {
    let bytes = axum::body::to_bytes(body, ORDER_BYTES_MAX)
        .await
        .map_err(|_| failure(StatusCode::PAYLOAD_TOO_LARGE, format!("an order has at most {ORDER_BYTES_MAX} bytes")))?;
    let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| failure(StatusCode::BAD_REQUEST, format!("the order's body cannot be read: {error}")))
}

/// Journals an order of somebody who may give it.
pub(super) async fn hand_in(app: &App, by: String, command: Command) -> Answer<()> {
    let _turn = super::rights::turn(app, &by, &command).await?;
    tracing::info!(by, command = ?command, "An order.");
    app.handle.submit(Event::Ordered(Ordered { by, command })).await.map_err(refused)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    plan: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// 404 or 409 with the reason if an answer to this action does not count.
pub(super) async fn check_answerable(app: &App, id: ActionId, plan: Option<String>) -> Answer<()> {
    let look = move |kernel: &homeostat_kernel::Kernel| (kernel.ledger().action(id).is_some(), kernel.answerable(id, plan.as_deref()));
    match app.handle.ask(look).await.map_err(refused)? {
        (_, Ok(())) => Ok(()),
        (true, Err(why)) => Err(failure(StatusCode::CONFLICT, format!("{id} cannot be answered: {why}"))),
        (false, Err(why)) => Err(failure(StatusCode::NOT_FOUND, format!("{id} cannot be answered: {why}"))),
    }
}

pub(super) async fn line_of(app: &App, id: ActionId) -> Answer<Response> {
    let line = app.handle.ask(move |kernel| kernel.ledger().action(id).map(ActionLine::of)).await.map_err(refused)?;
    Ok(Json(json!({ "action": line })).into_response())
}

pub(super) async fn approve(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Answer<Response> {
    let (by, Approval { plan }) = order(&app, request).await?;
    let id = action_id(&id)?;
    check_answerable(&app, id, plan.clone()).await?;
    let person = by.clone();
    hand_in(&app, by, Command::Approve { action: id, plan }).await?;
    // What became of the yes is read from where it stands now, not guessed before.
    let held = app.handle.ask(move |kernel| {
        let waits = kernel.ledger().action(id).is_some_and(|state| matches!(state.phase, Phase::Awaiting { .. }));
        waits.then(|| kernel.held(id, &person).unwrap_or_else(|| "something holds it".into()))
    });
    if let Some(why) = held.await.map_err(refused)? {
        return Err(failure(StatusCode::CONFLICT, format!("approve {id}: {why}; the question stays open, say yes again then")));
    }
    line_of(&app, id).await
}

pub(super) async fn deny(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Answer<Response> {
    let (by, Nothing {}) = order(&app, request).await?;
    let id = action_id(&id)?;
    check_answerable(&app, id, None).await?;
    hand_in(&app, by, Command::Deny { action: id }).await?;
    line_of(&app, id).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    reason: Option<String>,
}

async fn hands_off(app: &App) -> Answer<Response> {
    let view = app.handle.ask(|kernel| LedgerView::of(kernel.ledger(), 0)).await.map_err(refused)?;
    Ok(Json(json!({ "hands_off": view.hands_off })).into_response())
}

pub(super) async fn pause(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Pause { reason }) = order(&app, request).await?;
    let reason: String = reason.unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
    let reason = if reason.trim().is_empty() { "no reason given".into() } else { reason };
    hand_in(&app, by, Command::Pause { reason }).await?;
    hands_off(&app).await
}

pub(super) async fn resume(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Nothing {}) = order(&app, request).await?;
    hand_in(&app, by, Command::Resume).await?;
    hands_off(&app).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unlock {
    policy: String,
    #[serde(default)]
    symptom: String,
}

pub(super) async fn unlock(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Unlock { policy, symptom }) = order(&app, request).await?;
    // A misspelt name would unlock nothing and say nothing. A rhythm locks a target, whose name stands in the policy's place.
    let target = homeostat_model::Target::from(policy.as_str());
    let is_target = app.handle.ask(move |kernel| !kernel.ledger().trust().trips(&target).is_empty()).await.map_err(refused)?;
    if !is_target {
        policy_and_units(&app, policy.clone(), "\0".into()).await?;
    }
    hand_in(&app, by, Command::Unlock { policy: policy.clone(), symptom: symptom.clone() }).await?;
    Ok(Json(json!({ "unlocked": { "policy": policy, "symptom": symptom } })).into_response())
}
