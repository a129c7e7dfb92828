//! What was learned and earned, over HTTP: scores, autonomy, spending; and two orders: never again, and a drill.
//!
//! Rules come from the journal (`scores::Rules`), the ledger from the kernel; what is answered is the same data that the command line
//! makes from a folded journal. Deliberately absent: raising autonomy by hand. An editor breaks this by reading the journal on the loop.

use super::api::{Answer, action_id, check_answerable, hand_in, line_of, order, refused};
use super::view::ActionLine;
use super::{App, failure};
use crate::digest::Digest;
use crate::journal::{Filter, JournalReader};
use crate::scores::Rules;
use crate::scores::autonomy::AutonomyView;
use crate::scores::show::{PolicyScores, unknown};
use crate::scores::spending::SpendingView;
use crate::scores::table::ScoreTable;
use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use homeostat_kernel::Kernel;
use homeostat_kernel::score::books::Month;
use homeostat_model::{Command, EntryBody, Note, Origin, PolicyId, Record, Verdict};
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, PoisonError};

/// Notes that are looked through for the reason of a refusal.
const NOTES_MAX: u32 = 20;

/// The rules in force; read again only where something was loaded since.
pub(super) async fn rules(app: &App) -> Answer<Arc<Rules>> {
    let known = app.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let data = app.data.clone();
    let earlier = known.clone();
    let read = tokio::task::spawn_blocking(move || Rules::read(&JournalReader::open(&data)?, earlier.as_deref()));
    let unavailable = |why: String| failure(StatusCode::SERVICE_UNAVAILABLE, format!("the rules cannot be read from the journal: {why}"));
    let found = read.await.map_err(|error| unavailable(error.to_string()))?.map_err(|error| unavailable(error.to_string()))?;
    if let Some(known) = known.filter(|known| known.seq == found.seq && found.seq > 0) {
        return Ok(known);
    }
    let found = Arc::new(found);
    *app.rules.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&found));
    Ok(found)
}

/// Asks the kernel, with the rules at hand.
pub(super) async fn look<T: Send + 'static>(app: &App, look: impl FnOnce(&Kernel, &Rules) -> T + Send + 'static) -> Answer<T> {
    let rules = rules(app).await?;
    app.handle.ask(move |kernel| look(kernel, &rules)).await.map_err(refused)
}

/// `GET /api/v1/scores`
pub(super) async fn scores(State(app): State<Arc<App>>) -> Answer<Response> {
    let at = app.handle.now();
    Ok(Json(look(&app, move |kernel, rules| ScoreTable::of(kernel.ledger(), rules, at)).await?).into_response())
}

pub(super) async fn scores_of(app: &App, policy: String) -> Answer<PolicyScores> {
    let at = app.handle.now();
    let found = look(app, move |kernel, rules| PolicyScores::of(kernel.ledger(), rules, &policy, at)).await?;
    found.map_err(|why| failure(StatusCode::NOT_FOUND, why))
}

/// `GET /api/v1/scores/{policy}`
pub(super) async fn policy_scores(State(app): State<Arc<App>>, Path(policy): Path<String>) -> Answer<Response> {
    Ok(Json(scores_of(&app, policy).await?).into_response())
}

/// `GET /api/v1/autonomy`
pub(super) async fn autonomy(State(app): State<Arc<App>>) -> Answer<Response> {
    let at = app.handle.now();
    Ok(Json(look(&app, move |kernel, rules| AutonomyView::of(kernel.ledger(), rules, at)).await?).into_response())
}

#[derive(Deserialize)]
pub(super) struct MonthQuery {
    month: Option<String>,
}

/// `GET /api/v1/ledger`
pub(super) async fn ledger(State(app): State<Arc<App>>, Query(query): Query<MonthQuery>) -> Answer<Response> {
    let at = app.handle.now();
    let month = query.month.map(|text| text.parse::<Month>()).transpose().map_err(|why| failure(StatusCode::BAD_REQUEST, why))?;
    Ok(Json(look(&app, move |kernel, rules| SpendingView::of(kernel.ledger(), rules, at, month)).await?).into_response())
}

#[derive(Deserialize)]
pub(super) struct DigestQuery {
    since: Option<String>,
    format: Option<String>,
}

/// `GET /api/v1/digest?since=7d&format=json|markdown|html|short`
pub(super) async fn digest(State(app): State<Arc<App>>, Query(query): Query<DigestQuery>) -> Answer<Response> {
    let bad = |why: String| failure(StatusCode::BAD_REQUEST, why);
    let since = query.since.map_or(Ok(crate::digest::WEEK), |text| crate::digest::span(&text)).map_err(bad)?;
    let at = app.handle.now();
    let format = query.format.unwrap_or_else(|| "json".into());
    if !matches!(format.as_str(), "json" | "markdown" | "html" | "short") {
        let shown: String = format.chars().take(40).collect();
        return Err(bad(format!("`{shown}` is no format: expected json, markdown, html or short")));
    }
    let digest = look(&app, move |kernel, rules| Digest::of(kernel.ledger(), rules, at, since)).await?;
    let text = |kind: &'static str, text: String| ([(header::CONTENT_TYPE, kind)], text).into_response();
    Ok(match format.as_str() {
        "markdown" => text("text/markdown; charset=utf-8", digest.markdown()),
        "html" => text("text/html; charset=utf-8", digest.html()),
        "short" => text("text/plain; charset=utf-8", digest.short()),
        _ => Json(digest).into_response(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `POST /api/v1/approvals/{id}/never`: no, and never again for this target.
pub(super) async fn never(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Answer<Response> {
    let (by, Nothing {}) = order(&app, request).await?;
    let id = action_id(&id)?;
    check_answerable(&app, id, None).await?;
    hand_in(&app, by, Command::Never { action: id }).await?;
    line_of(&app, id).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drill {
    policy: String,
}

/// `POST /api/v1/drills`: makes the fault of a policy's drill now.
pub(super) async fn drill(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Drill { policy }) = order(&app, request).await?;
    let id = PolicyId::from(policy.as_str());
    let asked = (id.clone(), policy.clone());
    let before = look(&app, move |kernel, rules| {
        let (id, policy) = asked;
        match rules.policies.get(&id) {
            None => Err((StatusCode::NOT_FOUND, unknown(kernel.ledger(), rules, &policy))),
            Some(facts) if facts.drill_every.is_none() => {
                Err((StatusCode::CONFLICT, format!("the policy `{policy}` has no `drill` in its `policy()`; docs/scores.md shows one")))
            }
            Some(_) => Ok(kernel.ledger().next_action()),
        }
    });
    let before = before.await?.map_err(|(status, why)| failure(status, why))?;
    hand_in(&app, by, Command::Drill { policy: policy.clone() }).await?;
    let found = app.handle.ask(move |kernel| {
        let mine =
            |state: &&homeostat_kernel::ledger::ActionState| state.id >= before && state.proposal.origin == Origin::Drill(id.clone());
        let state = kernel.ledger().actions().find(mine)?;
        Some((ActionLine::of(state), state.sent_at.is_some() || matches!(state.ruling.verdict, Verdict::AwaitingApproval { .. })))
    });
    match found.await.map_err(refused)? {
        Some((line, true)) => Ok(Json(json!({ "action": line })).into_response()),
        other => {
            let held = other.and_then(|(line, _)| line.decided_by);
            let why = match held {
                Some(why) => Some(format!("the drill of `{policy}` cannot be held now: {why}")),
                None => why_refused(&app, &policy).await,
            };
            Err(failure(
                StatusCode::CONFLICT,
                why.unwrap_or_else(|| format!("the drill of `{policy}` was not begun; see `homeostat journal tail`")),
            ))
        }
    }
}

/// The newest refusal of a drill, from the journal.
async fn why_refused(app: &App, policy: &str) -> Option<String> {
    let (data, begins) = (app.data.clone(), format!("drill {policy}: "));
    let read = tokio::task::spawn_blocking(move || {
        let filter = Filter { name: Some("noted".into()), newest_first: true, limit: NOTES_MAX, ..Filter::default() };
        let page = JournalReader::open(&data).ok()?.find(&filter).ok()?;
        page.entries.into_iter().find_map(|entry| match entry.body {
            EntryBody::Effect(Record::Noted(Note::OrderRefused { why, .. })) => why.strip_prefix(&begins).map(str::to_owned),
            _ => None,
        })
    });
    read.await.ok().flatten()
}
