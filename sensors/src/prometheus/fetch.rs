//! Requests to the API under one deadline, with at most two retries where a retry can help.
//!
//! 429, 499, 5xx and network errors are tried again after a jittered wait; 400 and 422 never (the query will not get better), nor a
//! 503 that is the server's own query timeout (ask for less instead). Deliberately absent: what to ask. An editor breaks this
//! by waiting past the deadline, or by retrying in step with every other client.

use super::answer;
use crate::http::HttpReader;
use homeostat_model::{Fault, FaultCode};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;
use tokio::time::Instant;

/// Retries after the first try.
const RETRIES_MAX: u32 = 2;
/// The first wait, on average; the second is three times as long.
const WAIT: Duration = Duration::from_millis(200);

/// What was asked for; the number is the place in the configuration.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Selector(usize),
    Query(usize),
    Alerts,
    Rules,
    Targets,
}

/// An answer with HTTP status 2xx.
pub(super) struct Fetched {
    pub(super) asked: Asked,
    pub(super) body: Vec<u8>,
}

/// Sends requests to one server.
#[derive(Debug)]
pub(super) struct Fetcher {
    reader: HttpReader,
    base: String,
    body_bytes_max: usize,
}

impl Fetcher {
    pub(super) fn new(reader: HttpReader, body_bytes_max: usize) -> Fetcher {
        let base = format!("{}/api/v1", reader.url().trim_end_matches('/'));
        Fetcher { reader, base, body_bytes_max }
    }

    /// The server without credentials.
    pub(super) fn shown_url(&self) -> String {
        self.reader.shown_url()
    }

    /// POST with a form: selectors can be longer than a URL may be.
    pub(super) async fn post(&self, path: &str, form: &[(&str, String)], deadline: Instant) -> Result<Vec<u8>, Fault> {
        self.retry(path, Some(form), deadline).await
    }

    pub(super) async fn get(&self, path: &str, deadline: Instant) -> Result<Vec<u8>, Fault> {
        self.retry(path, None, deadline).await
    }

    async fn retry(&self, path: &str, form: Option<&[(&str, String)]>, deadline: Instant) -> Result<Vec<u8>, Fault> {
        let mut wait = WAIT;
        for attempt in 0.. {
            let (fault, again) = match self.once(path, form, deadline).await {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            let pause = jittered(wait);
            if !again || attempt >= RETRIES_MAX || Instant::now() + pause >= deadline {
                return Err(fault);
            }
            tokio::time::sleep(pause).await;
            wait *= 3;
        }
        unreachable!("the loop ends by returning")
    }

    /// One try; the fault says whether another may help.
    async fn once(&self, path: &str, form: Option<&[(&str, String)]>, deadline: Instant) -> Result<Vec<u8>, (Fault, bool)> {
        let url = format!("{}/{path}", self.base);
        let doing =
            format!("{} {}/api/v1/{path}", if form.is_some() { "POST" } else { "GET" }, self.reader.shown_url().trim_end_matches('/'));
        let left = deadline.saturating_duration_since(Instant::now());
        let mut body = Vec::new();
        let server_timeout = format!("{}ms", left.as_millis().max(1));
        let exchange = async {
            match form {
                Some(form) => {
                    let mut fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    fields.push(("timeout", &server_timeout));
                    self.reader.post_form(&url, &fields, "application/json", self.body_bytes_max, &mut body).await
                }
                None => self.reader.get(&url, "application/json", self.body_bytes_max, &mut body).await,
            }
        };
        let answer = match tokio::time::timeout(left, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => {
                let again = fault.code == FaultCode::Unreachable;
                return Err((fault, again));
            }
            Err(_) => return Err((Fault::new(FaultCode::TimedOut, doing, "the read's time was up before a whole answer came"), false)),
        };
        if (200..300).contains(&answer.status) {
            return Ok(body);
        }
        let fault = answer::refusal(answer.status, &body, &doing);
        let own_timeout = answer.status == 503 && fault.code == FaultCode::TimedOut;
        Err((fault, matches!(answer.status, 429 | 499 | 500..=599) && !own_timeout))
    }
}

/// Between half and one and a half of `wait`.
fn jittered(wait: Duration) -> Duration {
    // Every RandomState is seeded differently; that is all the randomness this needs.
    let random = RandomState::new().build_hasher().finish() % 1000;
    wait.mul_f64(0.5 + random as f64 / 1000.0)
}
