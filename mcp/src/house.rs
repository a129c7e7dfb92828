//! What is ever asked of a daemon: a closed list of requests, and who asks them.
//!
//! Deliberately absent: a request by free path, and one that answers, lifts or runs anything. An editor breaks this by adding a variant
//! that changes something beside [`Request::Propose`], whose wish always waits for a person.

use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// An answer on its way.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Value, Told>> + Send + 'a>>;

/// A daemon, wherever it runs.
pub trait House: Send + Sync + 'static {
    /// Asks it. The answer is the JSON of the HTTP API's route ([`Request::path`]).
    fn answer<'a>(&'a self, caller: &'a Caller, request: &'a Request) -> Answer<'a>;
}

/// Who asks: the HTTP request's head where the call came over HTTP, with what the listener knows of the connection among its
/// extensions; nothing on stdio, where the process speaks for its own user.
#[derive(Clone, Default)]
pub struct Caller(pub Option<http::request::Parts>);

impl fmt::Debug for Caller {
    /// Headers hold tokens: none is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Caller(http)" } else { "Caller(stdio)" })
    }
}

/// Why there is no answer; each text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Told {
    /// The arguments are wrong.
    #[error("{0}")]
    Wrong(String),
    /// The daemon says no.
    #[error("{error} (status {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        error: String,
    },
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the daemon did not answer within {0} s: ask for less, or again later")]
    Late(u64),
    /// Too many calls at once.
    #[error("{0} calls are under way already: wait for one of them, then call again")]
    Busy(usize),
}

/// A wish of an agent. It is ruled like any other, and always waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposing {
    /// What, as `actuator.verb`.
    pub verb: String,
    /// To what, as `kind/name`.
    pub target: String,
    /// How: values are texts, numbers or booleans; the verb's schema reads them.
    pub args: Map<String, Value>,
    /// Why.
    pub because: String,
    /// What must come true, so that the action can be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claimed>,
}

/// A statement that can turn out false: `node_power_watts{node="muscle"}` below 40 within 10 min.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claimed {
    /// A selector that names one series.
    pub series: String,
    /// The value that it must exceed, in the series' unit. This or `below`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The value that it must fall below, in the series' unit. This or `above`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// How long it must stay there: `2m`; without it one sample is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// By when, from the moment that the action is sent: `10m`.
    pub within: String,
}

/// All that is ever asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// How everything stands.
    Status,
    /// Alerts, grouped.
    Incidents,
    /// Actions, the last moved first.
    Actions {
        /// At most so many.
        limit: usize,
    },
    /// One action with all that is known of it.
    Action {
        /// Its number: `a12`.
        id: String,
    },
    /// One policy on its targets.
    Policy {
        /// The policy's name.
        policy: String,
        /// A part of the target's name.
        target: String,
    },
    /// What is believed of every action.
    Scores,
    /// Every score of one policy.
    PolicyScores {
        /// The policy's name.
        policy: String,
    },
    /// What was spent, what is left, what is locked.
    Ledger {
        /// One month: `2026-11`.
        month: Option<String>,
    },
    /// A question in words; a request in words becomes a plan that is shown.
    Ask {
        /// What is asked.
        text: String,
    },
    /// An expression over the windows.
    Evaluate {
        /// The expression.
        text: String,
        /// How far back series are drawn: `1h`.
        plot: Option<String>,
        /// Into how many points.
        points: usize,
    },
    /// A wish that waits for a person.
    Propose(Proposing),
}

impl Request {
    /// The route: path and query.
    pub fn path(&self) -> String {
        match self {
            Request::Status => "/api/v1/status".into(),
            Request::Incidents => "/api/v1/incidents".into(),
            Request::Actions { limit } => format!("/api/v1/actions?limit={limit}"),
            Request::Action { id } => format!("/api/v1/actions/{}", escaped(id)),
            Request::Policy { policy, target } => format!("/api/v1/policies/{}?target={}", escaped(policy), escaped(target)),
            Request::Scores => "/api/v1/scores".into(),
            Request::PolicyScores { policy } => format!("/api/v1/scores/{}", escaped(policy)),
            Request::Ledger { month: None } => "/api/v1/ledger".into(),
            Request::Ledger { month: Some(month) } => format!("/api/v1/ledger?month={}", escaped(month)),
            Request::Ask { .. } => "/api/v1/ask".into(),
            Request::Evaluate { .. } => "/api/v1/evaluate".into(),
            Request::Propose(_) => "/api/v1/propose".into(),
        }
    }

    /// The body of a `POST`; `None`: it is a `GET`.
    pub fn body(&self) -> Option<Value> {
        match self {
            Request::Ask { text } => Some(json!({ "text": text })),
            Request::Evaluate { text, plot: Some(plot), points } => Some(json!({ "text": text, "plot": plot, "points": points })),
            Request::Evaluate { text, plot: None, .. } => Some(json!({ "text": text })),
            Request::Propose(wish) => Some(json!(wish)),
            _ => None,
        }
    }
}

/// A text as one part of a path or a query value (RFC 3986: what is not unreserved is escaped). A name that is only dots would be a
/// step in the path, so that dots are escaped, too.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        match byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            true => path.push(byte.into()),
            false => path += &format!("%{byte:02X}"),
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_the_path() {
        let id = "../approvals/a1/approve?x=1#".to_owned();
        assert_eq!(Request::Action { id }.path(), "/api/v1/actions/%2E%2E%2Fapprovals%2Fa1%2Fapprove%3Fx%3D1%23");
        let ledger = Request::Ledger { month: Some("2026-11&x".into()) };
        assert_eq!((ledger.path().as_str(), ledger.body()), ("/api/v1/ledger?month=2026-11%26x", None));
    }
}
