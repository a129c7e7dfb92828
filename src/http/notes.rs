//! Incidents with their notes over HTTP.
//!
//! The book of incidents is kept between requests and takes in what the journal has beyond it. Deliberately absent: a model's words;
//! those stand in the files that the daemon writes. An editor breaks this by reading the journal on the loop, or on the runtime's threads.

use super::api::Answer;
use super::{App, failure};
use crate::incidents::{Incident, Note, read};
use crate::journal::{JournalError, JournalReader};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use homeostat_model::Time;
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, PoisonError};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    since: Option<String>,
}

/// `GET /api/v1/notes?since=7d`
pub(super) async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> Answer<Response> {
    let bad = |why: String| failure(StatusCode::BAD_REQUEST, why);
    let since = query.since.map_or(Ok(crate::digest::WEEK), |text| crate::digest::span(&text)).map_err(bad)?;
    let from = app.handle.now() - since;
    let (found, refused) = look(&app, move |book, _| {
        let found: Vec<Incident> = book.incidents().into_iter().filter(|incident| incident.heard >= from).cloned().collect();
        Ok((found, book.refused()))
    })
    .await?;
    Ok(Json(json!({ "incidents": found, "refused": refused })).into_response())
}

#[derive(Deserialize)]
pub(super) struct NoteQuery {
    format: Option<String>,
}

/// `GET /api/v1/notes/{id}?format=markdown|json`; `latest` is the newest.
pub(super) async fn note(State(app): State<Arc<App>>, Path(id): Path<String>, Query(query): Query<NoteQuery>) -> Answer<Response> {
    let format = query.format.unwrap_or_else(|| "markdown".into());
    if !matches!(format.as_str(), "json" | "markdown") {
        let shown: String = format.chars().take(40).collect();
        return Err(failure(StatusCode::BAD_REQUEST, format!("`{shown}` is no format: expected markdown or json")));
    }
    let found: Result<Note, String> = look(&app, move |book, reader| match book.find(&id) {
        Ok(incident) => read::note(reader, incident).map(Ok),
        Err(why) => Ok(Err(why)),
    })
    .await?;
    let note = found.map_err(|why| failure(StatusCode::NOT_FOUND, why))?;
    Ok(match format.as_str() {
        "json" => Json(note).into_response(),
        _ => ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], note.markdown()).into_response(),
    })
}

/// Looks into the book, brought up to now.
async fn look<T: Send + 'static>(
    app: &Arc<App>,
    look: impl FnOnce(&crate::incidents::Book, &JournalReader) -> Result<T, JournalError> + Send + 'static,
) -> Answer<T> {
    let (held, now): (Arc<App>, Time) = (Arc::clone(app), app.handle.now());
    let read = tokio::task::spawn_blocking(move || {
        let reader = JournalReader::open(&held.data)?;
        let mut book = held.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        read::catch_up(&mut book, &reader, now)?;
        look(&book, &reader)
    });
    let unavailable = |why: String| failure(StatusCode::SERVICE_UNAVAILABLE, format!("incidents cannot be read from the journal: {why}"));
    read.await.map_err(|error| unavailable(error.to_string()))?.map_err(|error| unavailable(error.to_string()))
}
