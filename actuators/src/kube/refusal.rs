//! What an API server's "no" means, and what is known after it: the one table from errors to faults and outcomes.
//!
//! After the API conventions (`Status` objects) and the API server's registry code; the classes of what may be repeated are those
//! of [`Meaning::Later`]. Deliberately absent: repeating. An editor breaks this by calling a lost answer definite, or a
//! disruption budget's 429 "later": a budget is asked again by whoever drains, every five seconds, not by the client.

use homeostat_model::{Fault, FaultCode, Outcome};
use serde_json::Value;
use std::time::Duration;

/// A wait that a server asks for is never longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How much of a text of the server is kept.
const TEXT_CHARS_MAX: usize = 600;

/// One cause inside a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// E.g. `FieldManagerConflict`, `DisruptionBudget`, `FieldValueInvalid`.
    pub reason: String,
    /// In words.
    pub message: String,
    /// The field, e.g. `.spec.replicas`.
    pub field: String,
}

/// How a call ended that brought no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server answered no.
    Answered {
        /// The HTTP status.
        code: u16,
        /// The `Status`' reason: `Conflict`, `AlreadyExists`, …
        reason: String,
        /// The `Status`' message.
        message: String,
        /// Its causes.
        causes: Vec<Cause>,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// No connection stood; nothing left this machine.
    NotSent(String),
    /// It may have arrived; no whole answer came.
    NoAnswer(FaultCode, String),
    /// An answer came that cannot be read.
    Unreadable(String),
}

/// A call without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How the last attempt ended.
    pub ending: Ending,
    /// Whether an earlier attempt of the same call may have been carried out unseen.
    pub lost: bool,
    /// Whether the call could have changed something.
    pub wrote: bool,
}

/// What a refusal means.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// There is no such thing (404, 410 `Gone`).
    Gone,
    /// One of that name is there already (409 `AlreadyExists`).
    Exists,
    /// It changed since it was read (409 `Conflict`): read again and decide again.
    Stale,
    /// Somebody else holds the field (409 with `FieldManagerConflict`): never forced.
    Owned,
    /// A list's token is too old (410 `Expired`): list from the start.
    Expired,
    /// It can never be right (400, 422, an apply's 500 `failed to create typed patch object`, and other refusals).
    Invalid,
    /// Not allowed: missing rights, or a webhook's denial (401, 403).
    Denied,
    /// A disruption budget has nothing left (429 with `DisruptionBudget`).
    Budget,
    /// Two disruption budgets hold one pod (500): a person must mend it.
    TwoBudgets,
    /// It passes: 408, 425, 429, 500, 502, 503, 504, 529, or no connection.
    Later,
    /// Nothing is known: the answer was lost.
    Lost,
}

impl Refusal {
    /// From a status and its body; `retry_after` is the header's.
    pub fn answered(code: u16, body: &[u8], retry_after: Option<Duration>) -> Refusal {
        let status: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value, field: &str| cut(value[field].as_str().unwrap_or_default());
        let causes = status["details"]["causes"].as_array().into_iter().flatten().take(20);
        let causes = causes.map(|c| Cause { reason: text(c, "reason"), message: text(c, "message"), field: text(c, "field") }).collect();
        let in_body = status["details"]["retryAfterSeconds"].as_u64().filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let message = match text(&status, "message") {
            empty if empty.is_empty() => {
                String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
            }
            message => message,
        };
        let retry_after = retry_after.max(in_body).map(|wait| wait.min(RETRY_AFTER_MAX));
        let ending = Ending::Answered { code, reason: text(&status, "reason"), message, causes, retry_after };
        Refusal { ending, lost: false, wrote: false }
    }

    /// What it means.
    pub fn meaning(&self) -> Meaning {
        match &self.ending {
            Ending::NotSent(_) => Meaning::Later,
            Ending::NoAnswer(..) | Ending::Unreadable(_) => Meaning::Lost,
            Ending::Answered { code, reason, message, causes, .. } => {
                let caused = |by: &str| causes.iter().any(|cause| cause.reason == by);
                match code {
                    404 => Meaning::Gone,
                    409 if reason == "AlreadyExists" => Meaning::Exists,
                    409 if caused("FieldManagerConflict") => Meaning::Owned,
                    409 => Meaning::Stale,
                    410 if reason == "Gone" => Meaning::Gone,
                    410 => Meaning::Expired,
                    401 | 403 => Meaning::Denied,
                    429 if caused("DisruptionBudget") => Meaning::Budget,
                    500 if message.contains("more than one PodDisruptionBudget") => Meaning::TwoBudgets,
                    // An apply that does not fit the schema has no better code.
                    500 if message.starts_with("failed to create typed patch object") => Meaning::Invalid,
                    408 | 425 | 429 | 500 | 502 | 503 | 504 | 529 => Meaning::Later,
                    _ => Meaning::Invalid,
                }
            }
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.ending {
            Ending::Answered { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether there is no such thing.
    pub fn is_gone(&self) -> bool {
        self.meaning() == Meaning::Gone
    }

    /// Whether it passes by itself or by asking again: nothing can be said yet.
    pub fn is_passing(&self) -> bool {
        matches!(self.meaning(), Meaning::Later | Meaning::Lost)
    }

    /// Whether the call surely changed nothing.
    pub fn is_definite(&self) -> bool {
        if !self.wrote {
            return true;
        }
        let refused = match &self.ending {
            Ending::NotSent(_) => true,
            // A 429 is given before anything is begun; a 5xx or a 408 may come after.
            Ending::Answered { code, .. } => {
                (300..500).contains(code) && *code != 408 || matches!(self.meaning(), Meaning::TwoBudgets | Meaning::Invalid)
            }
            Ending::NoAnswer(..) | Ending::Unreadable(_) => false,
        };
        refused && !self.lost
    }

    /// The fault's code.
    pub fn code(&self) -> FaultCode {
        match (&self.ending, self.meaning()) {
            (Ending::NotSent(_), _) => FaultCode::Unreachable,
            (Ending::NoAnswer(code, _), _) => *code,
            (Ending::Unreadable(_), _) => FaultCode::Malformed,
            (Ending::Answered { code, .. }, meaning) => match meaning {
                Meaning::Gone => FaultCode::NotFound,
                Meaning::Exists | Meaning::Stale | Meaning::Owned | Meaning::Expired => FaultCode::Conflict,
                Meaning::Denied => FaultCode::Denied,
                Meaning::Invalid => FaultCode::Malformed,
                Meaning::Budget => FaultCode::Limit,
                Meaning::TwoBudgets => FaultCode::Conflict,
                _ if *code == 429 => FaultCode::Limit,
                _ if matches!(code, 408 | 504) => FaultCode::TimedOut,
                _ => FaultCode::Failed,
            },
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        let said = match &self.ending {
            Ending::NotSent(why) => format!("no connection: {why}"),
            Ending::NoAnswer(_, why) => format!("no answer: {why}"),
            Ending::Unreadable(why) => format!("the answer cannot be read: {why}"),
            Ending::Answered { code, reason, message, causes, .. } => {
                let mut words = format!("HTTP {code} {reason}: {message}");
                for cause in causes.iter().take(3).filter(|cause| !message.contains(&cause.message)) {
                    words.push_str(&format!("; {} {}", cause.field, cause.message));
                }
                words
            }
        };
        match self.meaning() {
            Meaning::Owned => format!("{said}. Another manager holds the field; it is not taken from it"),
            Meaning::TwoBudgets => format!("{said} Leave the pod in one PodDisruptionBudget"),
            _ => said,
        }
    }

    /// As a fault.
    pub fn fault(&self, doing: impl Into<String>) -> Fault {
        Fault::new(self.code(), doing, self.words())
    }

    /// What is known if this call was the only one that could have changed anything: `NotDone` if the refusal is definite (with
    /// `NeverStarted` if nothing left this machine), else `Unknown`.
    pub fn outcome(&self, doing: impl Into<String>) -> Outcome {
        match (self.is_definite(), &self.ending) {
            (true, Ending::NotSent(_)) => Outcome::NotDone(Fault::new(FaultCode::NeverStarted, doing, self.words())),
            (true, _) => Outcome::NotDone(self.fault(doing)),
            (false, _) => Outcome::Unknown(self.fault(doing)),
        }
    }
}

/// A server's text without its middle if it is long: a refused patch is answered with the whole object, and the reason after it.
fn cut(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= TEXT_CHARS_MAX {
        return text.to_owned();
    }
    let (head, tail) = (TEXT_CHARS_MAX / 3, TEXT_CHARS_MAX * 2 / 3);
    let part = |range: &[char]| range.iter().collect::<String>();
    format!("{} … {}", part(&chars[..head]), part(&chars[chars.len() - tail..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(code: u16, reason: &str, message: &str, causes: Value) -> Refusal {
        let body = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, "details": { "causes": causes } });
        Refusal { wrote: true, ..Refusal::answered(code, body.to_string().as_bytes(), None) }
    }

    #[test]
    fn every_row_of_the_table() {
        let budget =
            json!([{ "reason": "DisruptionBudget", "message": "The disruption budget shop needs 2 healthy pods and has 2 currently" }]);
        let held = json!([{ "reason": "FieldManagerConflict", "message": "conflict with \"kubectl\"", "field": ".spec.replicas" }]);
        let none = json!([]);
        let rows = [
            (status(404, "NotFound", "gone", none.clone()), Meaning::Gone, FaultCode::NotFound, "not_done"),
            (status(409, "AlreadyExists", "there", none.clone()), Meaning::Exists, FaultCode::Conflict, "not_done"),
            (status(409, "Conflict", "modified", none.clone()), Meaning::Stale, FaultCode::Conflict, "not_done"),
            (status(409, "Conflict", "held", held), Meaning::Owned, FaultCode::Conflict, "not_done"),
            (status(410, "Expired", "old", none.clone()), Meaning::Expired, FaultCode::Conflict, "not_done"),
            (status(410, "Gone", "gone", none.clone()), Meaning::Gone, FaultCode::NotFound, "not_done"),
            (status(422, "Invalid", "bad", none.clone()), Meaning::Invalid, FaultCode::Malformed, "not_done"),
            (status(400, "BadRequest", "bad", none.clone()), Meaning::Invalid, FaultCode::Malformed, "not_done"),
            (status(401, "Unauthorized", "who", none.clone()), Meaning::Denied, FaultCode::Denied, "not_done"),
            (status(403, "Forbidden", "no", none.clone()), Meaning::Denied, FaultCode::Denied, "not_done"),
            (status(429, "TooManyRequests", "no", budget), Meaning::Budget, FaultCode::Limit, "not_done"),
            (status(429, "TooManyRequests", "busy", none.clone()), Meaning::Later, FaultCode::Limit, "not_done"),
            (status(500, "InternalError", "etcd", none.clone()), Meaning::Later, FaultCode::Failed, "unknown"),
            (
                status(
                    500,
                    "",
                    "failed to create typed patch object (web/a; v1, Kind=X): .spec.odd: field not declared in schema",
                    none.clone(),
                ),
                Meaning::Invalid,
                FaultCode::Malformed,
                "not_done",
            ),
            (status(503, "ServiceUnavailable", "down", none.clone()), Meaning::Later, FaultCode::Failed, "unknown"),
            (status(504, "Timeout", "late", none.clone()), Meaning::Later, FaultCode::TimedOut, "unknown"),
            (
                status(500, "", "This pod has more than one PodDisruptionBudget, which", none),
                Meaning::TwoBudgets,
                FaultCode::Conflict,
                "not_done",
            ),
        ];
        for (refusal, meaning, code, outcome) in rows {
            let got = refusal.outcome("x");
            assert_eq!((refusal.meaning(), refusal.code(), got.name()), (meaning, code, outcome), "{refusal:?}");
        }
    }

    #[test]
    fn a_webhooks_denial_keeps_its_words() {
        let refusal = status(403, "Forbidden", "admission webhook \"policy.lab\" denied the request: replicas above 3", json!([]));
        let Outcome::NotDone(fault) = refusal.outcome("apply a1") else { panic!() };
        assert!(fault.detail.contains("replicas above 3"), "{fault}");
    }

    #[test]
    fn what_may_have_arrived_is_unknown_and_what_did_not_leave_never_started() {
        let of = |ending, lost| Refusal { ending, lost, wrote: true };
        let Outcome::NotDone(fault) = of(Ending::NotSent("refused".into()), false).outcome("x") else { panic!() };
        assert_eq!(fault.code, FaultCode::NeverStarted);
        assert_eq!(of(Ending::NotSent("refused".into()), true).outcome("x").name(), "unknown");
        let Outcome::Unknown(fault) = of(Ending::NoAnswer(FaultCode::TimedOut, "10 s".into()), false).outcome("x") else { panic!() };
        assert_eq!(fault.code, FaultCode::TimedOut);
        let denied_after_loss = Refusal { lost: true, ..status(403, "Forbidden", "no", json!([])) };
        assert_eq!(denied_after_loss.outcome("x").name(), "unknown", "the first attempt may have been done");
        let read = Refusal { wrote: false, ..status(503, "", "", json!([])) };
        assert_eq!(read.outcome("x").name(), "not_done", "a read changes nothing");
    }

    #[test]
    fn the_reason_after_a_long_object_is_kept() {
        let words = format!("patch: Invalid value: \"{}\": strict decoding error: unknown field \"spec.odd\"", "ä".repeat(5000));
        let said = status(422, "Invalid", &words, json!([])).words();
        assert!(
            said.contains("patch: Invalid value") && said.ends_with("unknown field \"spec.odd\"") && said.chars().count() < 700,
            "{said}"
        );
    }

    #[test]
    fn waits_come_from_header_and_body_and_are_capped() {
        let body = br#"{"details":{"retryAfterSeconds":7}}"#;
        assert_eq!(Refusal::answered(429, body, None).retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(Refusal::answered(429, b"busy", Some(Duration::from_secs(9999))).retry_after(), Some(RETRY_AFTER_MAX));
        assert_eq!(Refusal::answered(502, b"<html>bad gateway</html>", None).words(), "HTTP 502 : <html>bad gateway</html>");
    }
}
