//! Answers by link: the page that asks again, the answer itself, and presses over Slack.
//!
//! The one-time token in the path is the whole right: no header, no cookie, no body counts. A GET orders nothing, because chats fetch links to
//! preview them; its page holds a button that posts. Tokens that are not known are counted against a limit, and no others, so that a
//! flood of guesses cannot lock people out. Deliberately absent: any look at who asks. An editor breaks this by answering on GET, by
//! putting a token into a log line, or by sending the page with `no-referrer`: browsers then post with `Origin: null`.

use super::{App, failure};
use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use homeostat_channels::slack::{BODY_BYTES_MAX, SlackRefusal};
use homeostat_channels::{Refusal, Told};
use homeostat_model::Time;
use homeostat_sensors::webhook::RateLimit;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unknown tokens that may come at once, and in the long run per second.
const GUESSES_BURST: f64 = 20.0;
const GUESSES_PER_SECOND: f64 = 0.5;
/// The page of an answer may post to itself, and says where it comes from, but to nobody else.
const PAGE_HEADERS: [(HeaderName, &str); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (header::REFERRER_POLICY, "same-origin"),
];

/// Counts tokens that are not known.
pub(super) struct Guesses(Mutex<RateLimit>);

impl Default for Guesses {
    fn default() -> Guesses {
        Guesses(Mutex::new(RateLimit::new(GUESSES_PER_SECOND, GUESSES_BURST)))
    }
}

impl Guesses {
    fn allow(&self, now: Time) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).allow(now)
    }
}

#[derive(Template)]
#[template(path = "answer.html")]
struct AnswerPage<'a> {
    title: &'a str,
    text: &'a str,
    /// What the button says; without one there is none.
    button: Option<&'a str>,
}

fn page(status: StatusCode, page: &AnswerPage<'_>) -> Response {
    let Ok(html) = page.render() else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown".into());
    };
    let mut response = (status, Html(html)).into_response();
    for (name, value) in PAGE_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn off() -> Response {
    failure(StatusCode::NOT_FOUND, "no channel of `approvals` is configured".into())
}

fn overrun() -> Response {
    failure(StatusCode::SERVICE_UNAVAILABLE, "too much is going on, or Homeostat is stopping; try again".into())
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unknown | Refusal::Elsewhere => StatusCode::NOT_FOUND,
        Refusal::Late | Refusal::Over { .. } => StatusCode::GONE,
        Refusal::Answered { .. } => StatusCode::CONFLICT,
    }
}

/// A refusal, or 429 where there were too many guesses.
fn refused(app: &App, refusal: &Refusal) -> Response {
    if *refusal == Refusal::Unknown && !app.guesses.allow(app.handle.now()) {
        return failure(
            StatusCode::TOO_MANY_REQUESTS,
            "too many answers with unknown tokens; the answers of open questions still work".into(),
        );
    }
    page(status_of(refusal), &AnswerPage { title: "Not taken", text: &refusal.to_string(), button: None })
}

/// `GET /answer/{token}`: the question, and a button. Nothing is used up.
pub(super) async fn show(State(app): State<Arc<App>>, Path(token): Path<String>) -> Response {
    let Some(door) = &app.approvals else { return off() };
    match door.look(&token).await {
        None => overrun(),
        Some(Err(refusal)) => refused(&app, &refusal),
        Some(Ok((taken, text))) => {
            let (title, button) = (format!("{}: {}?", taken.action, taken.answer.label()), format!("{}, really", taken.answer.label()));
            page(StatusCode::OK, &AnswerPage { title: &title, text: &text, button: Some(&button) })
        }
    }
}

/// `POST /answer/{token}`: the answer. The body is not read.
pub(super) async fn answer(State(app): State<Arc<App>>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    let Some(door) = &app.approvals else { return off() };
    // A token that is unknown must not reach the counter of refused answers unlimited.
    let known = match door.look(&token).await {
        None => return overrun(),
        Some(Err(refusal)) => return refused(&app, &refusal),
        Some(Ok(_)) => door.answer(&token).await,
    };
    let Some(told) = known else { return overrun() };
    let (status, title) = match &told {
        Told::Taken(_) => (StatusCode::OK, "Taken"),
        Told::Refused(_) => (StatusCode::CONFLICT, "Not taken"),
    };
    let wants_page = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    let mut response = if wants_page {
        page(status, &AnswerPage { title, text: told.words(), button: None })
    } else {
        (status, axum::Json(json!({ "taken": status == StatusCode::OK, "words": told.words() }))).into_response()
    };
    // ntfy's web app posts from its own origin and wants to read how it went; the token was the right, and it is used up.
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// `POST /slack/interactive`: a signed press.
pub(super) async fn slack(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(door) = &app.approvals else { return off() };
    let (parts, body): (_, Body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return failure(StatusCode::PAYLOAD_TOO_LARGE, format!("a press has at most {BODY_BYTES_MAX} bytes"));
    };
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Slack signs the real time, whatever the daemon's clock is.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    match door.slack(now, text("x-slack-request-timestamp"), text("x-slack-signature"), &body) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(why) => {
            let status = match why {
                SlackRefusal::Off => StatusCode::NOT_FOUND,
                SlackRefusal::Signature => StatusCode::UNAUTHORIZED,
                SlackRefusal::Malformed => StatusCode::BAD_REQUEST,
            };
            failure(status, why.to_string())
        }
    }
}
