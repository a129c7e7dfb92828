//! What the server answers when it says no: a `v1.Status` object with code, reason and causes, worded as the real one words it.
//!
//! Clients decide on `code`, `reason` and `details.causes`; tests of actuators compare them. Broken when a reason does not belong to its code.

use serde_json::{Value, json};

/// A refusal, as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status and `Status.code`.
    pub code: u16,
    /// `Status.reason`; empty where the real server gives none.
    pub reason: &'static str,
    /// `Status.message`.
    pub message: String,
    /// `Status.details`, or null.
    pub details: Value,
    /// `Retry-After` in seconds, in the header and in `details.retryAfterSeconds`.
    pub retry_after_seconds: Option<u64>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { code, reason, message: message.into(), details: Value::Null, retry_after_seconds: None }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> ApiError {
        self.details = json!({"group": group, "kind": kind});
        if !name.is_empty() {
            self.details["name"] = json!(name);
        }
        self
    }

    /// 404 for an object; `resource` is `plural` or `plural.group`.
    pub(crate) fn not_found(group: &str, plural: &str, name: &str) -> ApiError {
        ApiError::new(404, "NotFound", format!("{} \"{name}\" not found", qualified(group, plural))).about(group, plural, name)
    }

    /// 404 for a path that belongs to no group; no `Status`, but this text alone.
    pub(crate) fn no_page() -> ApiError {
        ApiError::new(404, "", "404 page not found\n")
    }

    /// 404 for a path that nothing serves.
    pub(crate) fn no_route() -> ApiError {
        ApiError::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn already_exists(group: &str, plural: &str, name: &str) -> ApiError {
        ApiError::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", qualified(group, plural))).about(group, plural, name)
    }

    pub(crate) fn conflict(group: &str, plural: &str, name: &str, why: &str) -> ApiError {
        ApiError::new(409, "Conflict", format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(group, plural)))
            .about(group, plural, name)
    }

    pub(crate) fn stale(group: &str, plural: &str, name: &str) -> ApiError {
        ApiError::conflict(
            group,
            plural,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> ApiError {
        ApiError::new(403, "Forbidden", message)
    }

    pub(crate) fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(410, "Expired", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(500, "InternalError", message)
    }

    pub(crate) fn method_not_allowed() -> ApiError {
        ApiError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 422; each cause is `(field, reason, message)`.
    pub(crate) fn invalid(group: &str, kind: &str, name: &str, causes: &[(String, &'static str, String)]) -> ApiError {
        let all: Vec<String> = causes.iter().map(|(field, _, message)| format!("{field}: {message}")).collect();
        let text = if all.len() == 1 { all[0].clone() } else { format!("[{}]", all.join(", ")) };
        let mut error =
            ApiError::new(422, "Invalid", format!("{} \"{name}\" is invalid: {text}", qualified(group, kind))).about(group, kind, name);
        error.details["causes"] =
            causes.iter().map(|(field, reason, message)| json!({"reason": reason, "message": message, "field": field})).collect();
        error
    }

    /// The `v1.Status` object.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            body["details"] = self.details.clone();
        }
        if let Some(seconds) = self.retry_after_seconds {
            body["details"]["retryAfterSeconds"] = json!(seconds);
        }
        body
    }
}

/// `deployments.apps`, or `pods` for the core group.
pub(crate) fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") }
}
