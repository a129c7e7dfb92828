//! What alert senders post: Alertmanager's webhook (version 4) and Grafana's webhook contact point (version 1), and whether the
//! sender may. All pure: bytes, headers and the time come from the caller, which owns the listener.
//!
//! Deliberately absent: the listener, dedupe (the kernel's, by fingerprint, start and status; senders repeat), and any reading of
//! texts: annotations and `valueString` carry what people and workloads wrote and are shown, never parsed. An editor breaks this
//! by applying a part of a delivery, by answering 4xx for something a repeat would cure (Alertmanager repeats 5xx only), or by
//! parsing a body before it has been authenticated.

pub mod auth;
pub mod rate;

mod fingerprint;
mod payload;

pub use auth::{AuthError, ReplayGuard, WebhookAuth, WebhookAuthConfig};
pub use fingerprint::label_fingerprint;
pub use rate::RateLimit;

use homeostat_model::{AlertDelivery, AlertSource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much one delivery may hold. What exceeds a limit is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookLimits {
    /// Bytes of the body.
    pub body_bytes_max: usize,
    /// Alerts in one delivery; senders can be told too (`max_alerts`, `maxAlerts`).
    pub alerts_max: usize,
    /// Labels of one alert; annotations have the same limit.
    pub labels_max: usize,
    /// Bytes of one label's or annotation's value, and of a name.
    pub value_bytes_max: usize,
    /// Bytes of all labels and annotations of one alert together; also of receiver and group key.
    pub alert_bytes_max: usize,
}

impl Default for WebhookLimits {
    fn default() -> WebhookLimits {
        WebhookLimits { body_bytes_max: 8 << 20, alerts_max: 1000, labels_max: 64, value_bytes_max: 4096, alert_bytes_max: 100 << 10 }
    }
}

/// Why a delivery was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookError {
    /// The HTTP status to answer with: 400 not JSON, 413 too many bytes, 422 JSON of another shape.
    pub status: u16,
    /// What was expected, and how to get there.
    pub message: String,
}

impl WebhookError {
    fn new(status: u16, message: impl Into<String>) -> WebhookError {
        WebhookError { status, message: message.into() }
    }
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (HTTP status {})", self.message, self.status)
    }
}

impl std::error::Error for WebhookError {}

/// Reads one delivery that came in at the URL of `source`. All or nothing: one alert over a limit refuses the delivery, and the
/// message names that alert.
///
/// Unknown fields are ignored; of a key given twice the last counts. A payload of the other kind, or one that a user's template
/// made, is refused with 422 and told where it belongs.
pub fn parse(source: AlertSource, body: &[u8], limits: &WebhookLimits) -> Result<AlertDelivery, WebhookError> {
    if body.len() > limits.body_bytes_max {
        let message = format!(
            "the body has {} bytes, at most {} are read (`body_bytes_max`); set `max_alerts` (Alertmanager) or `maxAlerts` (Grafana) lower",
            body.len(),
            limits.body_bytes_max
        );
        return Err(WebhookError::new(413, message));
    }
    // A `Value` first: derived structs refuse a key given twice, which RFC 8259 allows senders. Nesting is bounded by serde_json.
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|error| {
        WebhookError::new(400, format!("the body is not JSON in UTF-8: {error}; expected the webhook of {}", source.name()))
    })?;
    payload::read(source, &value, limits)
}

#[cfg(test)]
mod tests;
