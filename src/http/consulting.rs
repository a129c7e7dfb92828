//! What models are asked, and what came of it, over HTTP: the list of questions, and a person's own.
//!
//! Deliberately absent: an answer's way in (models' answers come from the daemon's chain and from nowhere else). An editor breaks this by
//! letting anybody but an operator spend tokens.

use super::api::{Answer, hand_in, order, refused};
use super::{App, failure};
use crate::journal::JournalReader;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use homeostat_model::{Command, EntryBody, Event, Note, Origin, QuestionId, Record, Target};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries of the journal that are looked through for questions.
const ENTRIES_MAX: u32 = 20_000;
/// Questions that are shown.
const QUESTIONS_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consulted {
    target: String,
}

/// `POST /api/v1/questions` with `{"target": "node/nas"}`: asks the models about a thing.
pub(super) async fn consult(State(app): State<Arc<App>>, request: Request) -> Answer<Response> {
    let (by, Consulted { target }) = order::<Consulted>(&app, request).await?;
    let target = Target::from(target.as_str());
    let known = target.clone();
    let is_known = move |kernel: &homeostat_kernel::Kernel| {
        let listed = kernel.verb_specs().filter_map(|spec| spec.targets.as_ref()).flatten().any(|one| *one == known);
        let alerted = kernel.ledger().actions().any(|state| state.proposal.target == known);
        listed || alerted || kernel.things().contains(&known)
    };
    if !app.handle.ask(is_known).await.map_err(refused)? {
        return Err(failure(StatusCode::NOT_FOUND, format!("nothing is known of `{target}`: expected a thing such as node/nas")));
    }
    let newest = |kernel: &homeostat_kernel::Kernel| kernel.ledger().questions().next();
    let before = app.handle.ask(newest).await.map_err(refused)?;
    hand_in(&app, by, Command::Consult { target: target.clone() }).await?;
    let after = app.handle.ask(newest).await.map_err(refused)?;
    if after == before {
        let why = "no question was asked: models are not configured (`reasoning.advice`), or too many questions are open; see the journal";
        return Err(failure(StatusCode::CONFLICT, why.into()));
    }
    Ok(Json(json!({ "question": before.to_string(), "target": target })).into_response())
}

/// A question as it is shown.
#[derive(Default, Serialize)]
struct Line {
    question: String,
    about: String,
    target: String,
    at: Option<homeostat_model::Time>,
    asked_by: Option<String>,
    /// How it ended; empty while it is open.
    end: String,
    by: String,
    tokens: u64,
    cost_euros: f64,
    looks: Vec<String>,
    actions: Vec<String>,
}

/// `GET /api/v1/questions`: the newest questions to models, and what came of each.
pub(super) async fn list(State(app): State<Arc<App>>) -> Answer<Response> {
    let data = app.data.clone();
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<Line>, String> {
        let reader = JournalReader::open(&data).map_err(|error| error.to_string())?;
        let page = reader.tail(ENTRIES_MAX).map_err(|error| error.to_string())?;
        let mut lines: BTreeMap<QuestionId, Line> = BTreeMap::new();
        page.entries.iter().for_each(|entry| take(&mut lines, entry));
        Ok(lines.into_values().rev().take(QUESTIONS_MAX).collect())
    });
    let unavailable = |why: String| failure(StatusCode::SERVICE_UNAVAILABLE, format!("questions cannot be read from the journal: {why}"));
    let lines = read.await.map_err(|error| unavailable(error.to_string()))?.map_err(unavailable)?;
    Ok(Json(json!({ "questions": lines })).into_response())
}

fn take(lines: &mut BTreeMap<QuestionId, Line>, entry: &homeostat_model::Entry) {
    match &entry.body {
        EntryBody::Effect(Record::Asked { question, brief }) => {
            let line = Line {
                question: question.to_string(),
                about: brief.occasion.title.clone(),
                target: brief.occasion.target.to_string(),
                at: Some(entry.at),
                asked_by: brief.occasion.asked_by.clone(),
                ..Line::default()
            };
            lines.insert(*question, line);
        }
        EntryBody::Event(Event::Advised(advice)) => {
            let Some(line) = lines.get_mut(&advice.question) else { return };
            line.by = advice.answer.as_ref().map_or_else(String::new, |answer| answer.by.clone());
            (line.tokens, line.cost_euros) = (advice.usage.total(), advice.cost_euros);
            line.looks = advice.looks.iter().map(|look| look.tool.clone()).collect();
        }
        EntryBody::Effect(Record::Noted(Note::NoProposal { question, why })) => {
            if let Some(line) = lines.get_mut(question).filter(|line| line.end.is_empty()) {
                line.end = format!("no proposal: {why}");
            }
        }
        EntryBody::Effect(Record::Ruled { action, proposal, ruling, .. }) => {
            let Origin::Reasoner(suggested) = &proposal.origin else { return };
            let Some(line) = suggested.question.and_then(|question| lines.get_mut(&question)) else { return };
            line.end = format!("{} on {}: {}", proposal.verb, proposal.target, ruling.verdict.name());
            if !line.actions.contains(&action.to_string()) {
                line.actions.push(action.to_string());
            }
        }
        _ => {}
    }
}
