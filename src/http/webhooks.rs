//! Alerts that come in: let in, counted, read, and answered with 200 only once they are in the journal.
//!
//! Order of checks: rate, size, sender, shape; nothing is parsed before the sender is known. Alertmanager repeats after 5xx and
//! never after 4xx, so whatever a repeat could cure (journal, queue) is 503. An editor breaks this by answering before
//! `submit` has returned.

use super::{App, failure};
use crate::config::WebhooksConfig;
use crate::live::Refused;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use homeostat_model::{AlertDelivery, AlertSource, Event, Span};
use homeostat_sensors::webhook::{self, RateLimit, ReplayGuard, WebhookAuth, WebhookAuthConfig, WebhookLimits};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counters of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WebhookStatus {
    /// Deliveries that came in.
    pub received: u64,
    /// Alerts in deliveries that were taken.
    pub alerts: u64,
    /// Alerts that the sender said it left out.
    pub truncated: u64,
    /// Deliveries by what became of them: `accepted`, `rate_limited`, `too_large`, `unauthorized`, `malformed`, `unavailable`.
    pub results: BTreeMap<&'static str, u64>,
}

/// One source's gate.
struct Gate {
    rate: RateLimit,
    replay: ReplayGuard,
    status: WebhookStatus,
}

/// All sources.
pub(super) struct Webhooks {
    alertmanager: WebhookAuth,
    grafana: WebhookAuth,
    limits: WebhookLimits,
    gates: [Mutex<Gate>; 2],
}

impl Webhooks {
    /// Fetches the secrets; the error names the reference that cannot be had.
    pub(super) fn new(config: &WebhooksConfig) -> Result<Webhooks, String> {
        let resolve = |auth: &WebhookAuthConfig| auth.resolve(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path));
        let rate = || RateLimit::new(config.per_second_max, f64::from(config.burst_max));
        let gate = || Mutex::new(Gate { rate: rate(), replay: ReplayGuard::default(), status: WebhookStatus::default() });
        Ok(Webhooks {
            alertmanager: resolve(&config.alertmanager)?,
            grafana: resolve(&config.grafana)?,
            limits: config.limits.clone(),
            gates: [gate(), gate()],
        })
    }

    fn gate(&self, source: AlertSource) -> std::sync::MutexGuard<'_, Gate> {
        let index = match source {
            AlertSource::Alertmanager => 0,
            AlertSource::Grafana => 1,
        };
        self.gates[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counters by source.
    pub(super) fn status(&self) -> BTreeMap<&'static str, WebhookStatus> {
        [AlertSource::Alertmanager, AlertSource::Grafana]
            .into_iter()
            .map(|source| (source.name(), self.gate(source).status.clone()))
            .collect()
    }

    fn count(&self, source: AlertSource, result: &'static str) {
        *self.gate(source).status.results.entry(result).or_default() += 1;
    }

    fn auth(&self, source: AlertSource) -> &WebhookAuth {
        match source {
            AlertSource::Alertmanager => &self.alertmanager,
            AlertSource::Grafana => &self.grafana,
        }
    }
}

/// What became of a delivery: a word for the counter, and the answer.
type Turned = (&'static str, Response);

pub(super) async fn alertmanager(State(app): State<Arc<App>>, request: Request) -> Response {
    receive(&app, AlertSource::Alertmanager, request).await
}

pub(super) async fn grafana(State(app): State<Arc<App>>, request: Request) -> Response {
    receive(&app, AlertSource::Grafana, request).await
}

async fn receive(app: &App, source: AlertSource, request: Request) -> Response {
    app.webhooks.gate(source).status.received += 1;
    let (result, response) = match admit(app, source, request).await {
        Ok(delivery) => hand_in(app, source, delivery).await,
        Err(turned) => turned,
    };
    if result != "accepted" {
        tracing::warn!(source = source.name(), result, status = response.status().as_u16(), "An alert delivery was not taken.");
    }
    app.webhooks.count(source, result);
    response
}

/// Everything before the journal.
async fn admit(app: &App, source: AlertSource, request: Request) -> Result<AlertDelivery, Turned> {
    let now = app.handle.now();
    let slow = {
        let mut gate = app.webhooks.gate(source);
        if gate.rate.allow(now) { None } else { Some(gate.rate.retry_after().unwrap_or(Span::from_mins(1))) }
    };
    if let Some(wait) = slow {
        let answer = failure(
            StatusCode::TOO_MANY_REQUESTS,
            "more deliveries than `webhooks.per_second_max` allows; none of this one was taken".into(),
        );
        return Err(("rate_limited", retry_after(answer, wait)));
    }
    let limits = &app.webhooks.limits;
    let (parts, body) = request.into_parts();
    let body = read(body, limits.body_bytes_max).await?;
    let header = |name: &str| header_text(&parts.headers, name);
    let verified = app.webhooks.auth(source).verify(now, &header, &body, &mut app.webhooks.gate(source).replay);
    verified.map_err(|error| {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::UNAUTHORIZED);
        ("unauthorized", failure(status, error.to_string()))
    })?;
    webhook::parse(source, &body, limits).map_err(|error| {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
        (if error.status == 413 { "too_large" } else { "malformed" }, failure(status, error.message))
    })
}

fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

async fn read(body: Body, bytes_max: usize) -> Result<axum::body::Bytes, Turned> {
    axum::body::to_bytes(body, bytes_max).await.map_err(|error| {
        // A body that is cut short is the other reason; both leave nothing to read.
        let message =
            format!("the body cannot be read up to `body_bytes_max` ({bytes_max} bytes): {error}; set `max_alerts` or `maxAlerts` lower");
        ("too_large", failure(StatusCode::PAYLOAD_TOO_LARGE, message))
    })
}

async fn hand_in(app: &App, source: AlertSource, delivery: AlertDelivery) -> Turned {
    let (count, truncated) = (delivery.alerts.len() as u64, delivery.truncated);
    // A delivery without alerts says nothing; writing it down would let anybody fill the journal for free.
    let taken = if count == 0 { Ok(()) } else { app.handle.submit(Event::Alerted(delivery)).await };
    match taken {
        Ok(()) => {
            let mut gate = app.webhooks.gate(source);
            gate.status.alerts += count;
            gate.status.truncated += truncated;
            drop(gate);
            ("accepted", Json(serde_json::json!({ "accepted": count, "truncated": truncated })).into_response())
        }
        Err(refused) => ("unavailable", unavailable(&refused)),
    }
}

/// 503 with a time to come back: the sender should repeat.
pub(super) fn unavailable(refused: &Refused) -> Response {
    let wait = match refused {
        Refused::Full => Span::from_secs(1),
        Refused::Stopping | Refused::Journal(_) => Span::from_secs(10),
    };
    retry_after(failure(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()), wait)
}

fn retry_after(mut response: Response, wait: Span) -> Response {
    let seconds = (wait.millis().max(0) as u64).div_ceil(1000).max(1);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
