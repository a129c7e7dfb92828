//! `POST /api/v1/propose`: the wish of somebody who may not order, such as an agent. It is ruled like any other and waits for a person.
//!
//! What is answered is what the kernel made of it, read after the journal has it. Deliberately absent: any way to a yes. An editor breaks
//! this by handing in another command than `Propose`: whoever has an agent's token comes here.

use super::acting::{named, typed};
use super::api::{Answer, asked, hand_in, refused};
use super::view::ActionLine;
use super::{App, failure};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use homeostat_kernel::Kernel;
use homeostat_kernel::ledger::ActionState;
use homeostat_kernel::store::Selector;
use homeostat_model::{ActionId, Args, Claim, ClaimSubject, Command, Origin, Relation, SeriesKey, Span, Stance, Target, Time, Verb};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A reason's characters.
const BECAUSE_CHARS_MAX: usize = 500;
/// Proposals that nobody asked for and that wait for a person, at once.
const WAITING_MAX: usize = 10;
/// Proposals that nobody asked for, within an hour: each may ring somebody's phone, and stays in the journal.
const HOURLY_MAX: usize = 60;
/// Series that are named where a claim's selector names several.
const SERIES_NAMED: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposed {
    verb: String,
    target: String,
    #[serde(default)]
    args: BTreeMap<String, Value>,
    because: String,
    #[serde(default)]
    claim: Option<Claimed>,
}

/// A claim as it comes in: exactly one of `above` and `below`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claimed {
    /// A selector that names one series.
    series: String,
    #[serde(default)]
    above: Option<f64>,
    #[serde(default)]
    below: Option<f64>,
    #[serde(default)]
    held: Option<Span>,
    within: Span,
}

/// The one series that a selector names.
fn one_series(kernel: &Kernel, text: &str) -> Result<SeriesKey, String> {
    let selector = Selector::parse(text).map_err(|error| format!("`claim.series`: {error}"))?;
    let found: Vec<SeriesKey> = kernel
        .with_store(|store| store.select(&selector).into_iter().filter_map(|series| store.key(series)).take(SERIES_NAMED + 1).collect());
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            Err("`claim.series` names no series that is in the windows: look with `status` or `POST /api/v1/evaluate` for one that is"
                .into())
        }
        several => {
            let named: Vec<String> = several.iter().take(SERIES_NAMED).map(ToString::to_string).collect();
            let more = if several.len() > SERIES_NAMED { ", …" } else { "" };
            Err(format!("`claim.series` names several series, expected one: {}{more}", named.join(", ")))
        }
    }
}

fn claim(kernel: &Kernel, given: &Claimed) -> Result<Claim, String> {
    let (relation, threshold) = match (given.above, given.below) {
        (Some(above), None) => (Relation::Above, above),
        (None, Some(below)) => (Relation::Below, below),
        _ => return Err("`claim`: expected either `above` or `below`, with a number in the series' unit".into()),
    };
    if !threshold.is_finite() || given.within <= Span::ZERO {
        return Err("`claim`: expected a finite number, and a `within` of more than 0s".into());
    }
    let series = one_series(kernel, &given.series)?;
    let held = given.held.unwrap_or(Span::ZERO).max(Span::ZERO);
    Ok(Claim { subject: ClaimSubject::Series { series, relation, threshold, held }, within: given.within })
}

/// What stands against a wish, or asks: the guards that did not let it pass.
fn guards(state: &ActionState) -> Vec<Value> {
    let spoke = state.ruling.reasons.iter().filter(|reason| reason.stance != Stance::Pass);
    spoke.map(|reason| json!({ "guard": reason.guard, "text": reason.text })).collect()
}

/// The wishes of those who come here: nobody asked for them.
fn unasked(kernel: &Kernel) -> impl Iterator<Item = &ActionState> {
    let ours = |state: &&ActionState| matches!(&state.proposal.origin, Origin::Reasoner(suggested) if suggested.question.is_none());
    kernel.ledger().actions().filter(ours)
}

/// The newest wish for this, from `begin` on or still open.
fn found(kernel: &Kernel, wish: &Wished, begin: ActionId) -> Option<Value> {
    let same = |state: &&ActionState| {
        let proposal = &state.proposal;
        proposal.verb == wish.verb && proposal.target == wish.target && proposal.args == wish.args
    };
    let state = unasked(kernel).filter(same).max_by_key(|state| state.id)?;
    // An older one that is closed is another one.
    (state.id >= begin || state.phase.is_open()).then(|| {
        json!({
            "action": ActionLine::of(state), "verdict": state.ruling.verdict.name(), "guards": guards(state),
            "known_before": state.id < begin,
        })
    })
}

/// Why no more proposals are taken now.
fn too_many(kernel: &Kernel, now: Time) -> Option<String> {
    let waiting = unasked(kernel).filter(|state| state.phase.is_open()).count();
    let lately = unasked(kernel).filter(|state| now.since(state.ruled_at) < Span::from_hours(1)).count();
    if waiting >= WAITING_MAX {
        return Some(format!("{waiting} proposals wait for a person already, at most {WAITING_MAX} may: wait until some are answered"));
    }
    (lately >= HOURLY_MAX)
        .then(|| format!("there were {lately} proposals within an hour, at most {HOURLY_MAX} are taken: come again later"))
}

/// What is wished, read by the verb's schema.
#[derive(Clone)]
struct Wished {
    verb: Verb,
    target: Target,
    args: Args,
}

/// What stands before a proposal is handed in.
enum Before {
    /// The same is open already: this is it.
    Known(Value),
    /// Not now.
    TooMany(String),
    /// It is new; the number of the next action, and its claim.
    New(Wished, Box<Option<Claim>>, ActionId),
}

/// `POST /api/v1/propose`
pub(super) async fn propose(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Proposed { verb, target, args, because, claim: claimed }) = asked(&app, request).await?;
    let (verb, target) = named(verb, target)?;
    let because: String = because.chars().take(BECAUSE_CHARS_MAX).collect();
    if because.trim().is_empty() {
        return Err(failure(StatusCode::BAD_REQUEST, "`because` is empty: say why, for the person who decides".into()));
    }
    let now = app.handle.now();
    let look = move |kernel: &Kernel| {
        let claim = claimed.map(|given| claim(kernel, &given)).transpose()?;
        let wish = Wished { args: typed(kernel, &verb, args), verb, target };
        let next = kernel.ledger().next_action();
        Ok::<_, String>(match (found(kernel, &wish, next), too_many(kernel, now)) {
            (Some(known), _) => Before::Known(known),
            (None, Some(why)) => Before::TooMany(why),
            (None, None) => Before::New(wish, Box::new(claim), next),
        })
    };
    let before = app.handle.ask(look).await.map_err(refused)?.map_err(|why| failure(StatusCode::UNPROCESSABLE_ENTITY, why))?;
    let (wish, claim, next) = match before {
        Before::Known(known) => return Ok(Json(known).into_response()),
        Before::TooMany(why) => return Err(failure(StatusCode::TOO_MANY_REQUESTS, why)),
        Before::New(wish, claim, next) => (wish, claim, next),
    };
    let Wished { verb, target, args } = wish.clone();
    hand_in(&app, by, Command::Propose { verb, target, args, because, claim: *claim }).await?;
    match app.handle.ask(move |kernel| found(kernel, &wish, next)).await.map_err(refused)? {
        Some(answer) => Ok(Json(answer).into_response()),
        None => Err(failure(StatusCode::CONFLICT, "the proposal left no action; see `homeostat journal tail`".into())),
    }
}
