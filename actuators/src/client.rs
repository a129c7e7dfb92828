//! One HTTP exchange and what is known after it: nothing left, something left and nobody answered, or an answer.
//!
//! Redirects are not followed, proxies from the environment are not used, connections are not kept (a stale one would blur whether
//! something left), bodies are read up to [`BODY_BYTES_MAX`]. Deliberately absent: meaning; callers read the answer. An editor
//! breaks this by mapping an error without asking whether the request may have left, or by showing an error with its URL (it can
//! hold a token).

use crate::redact::Redactor;
use homeostat_model::{Fault, FaultCode, Outcome};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Url};
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;
use tokio::time::Instant;

/// How much of an answer's body is read.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A wait that a server asks for is never longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A back-off is never longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How much of a body is quoted.
const QUOTE_CHARS_MAX: usize = 200;

/// What all clients have in common.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    // Fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("homeostat/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
}

/// A client that trusts the system's certificates, or Mozilla's where the system has none.
pub fn client() -> Result<Client, Fault> {
    client_at(None)
}

/// The same; with a socket, all its connections are made there and not to the host of the URL.
pub fn client_at(socket: Option<&std::path::Path>) -> Result<Client, Fault> {
    let builder = || match socket {
        Some(path) => builder().unix_socket(path),
        None => builder(),
    };
    let mozilla = || {
        let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        builder().tls_backend_preconfigured(config).build()
    };
    builder().build().or_else(|_| mozilla()).map_err(|error| Fault::new(FaultCode::Internal, "build the HTTP client", chain(&error)))
}

/// A request, complete.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers, marked sensitive where they hold secrets.
    pub headers: HeaderMap,
    /// The body; empty: none.
    pub body: Vec<u8>,
}

/// An answer, its body cut at [`BODY_BYTES_MAX`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Retry-After` in whole seconds, if it was sent so.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body came whole: not cut, not broken off.
    pub whole: bool,
}

impl Answer {
    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON, if it came whole and is JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        self.whole.then(|| serde_json::from_slice(&self.body).ok())?
    }

    /// The status and the body's beginning, for people.
    pub fn shown(&self, redactor: &Redactor) -> String {
        let text = redactor.clean_head(&String::from_utf8_lossy(&self.body), QUOTE_CHARS_MAX);
        if text.is_empty() { format!("HTTP {}", self.status) } else { format!("HTTP {}: {text}", self.status) }
    }
}

/// What is known after an exchange.
#[derive(Clone, Debug)]
pub enum Exchange {
    /// Nothing left this machine but attempts to connect; why.
    NotSent(String),
    /// Something may have left; no answer came; why.
    NoAnswer(FaultCode, String),
    /// The other side answered.
    Answered(Answer),
}

/// Sends once. `within` bounds all of it.
pub async fn exchange(client: &Client, request: Request, within: Duration) -> Exchange {
    exchange_with_headers(client, request, within).await.0
}

/// The same, with the answer's headers; none without an answer.
pub(crate) async fn exchange_with_headers(client: &Client, request: Request, within: Duration) -> (Exchange, HeaderMap) {
    let host = request.url.host_str().unwrap_or("?").to_owned();
    let mut call = client.request(request.method, request.url).headers(request.headers).timeout(within);
    if !request.body.is_empty() {
        call = call.body(request.body);
    }
    match call.send().await {
        Ok(response) => {
            let headers = response.headers().clone();
            (Exchange::Answered(read(response).await), headers)
        }
        Err(error) => {
            let error = error.without_url();
            let words = format!("{host}: {}", chain(&error));
            let exchange = if error.is_connect() || error.is_builder() {
                Exchange::NotSent(words)
            } else {
                Exchange::NoAnswer(if error.is_timeout() { FaultCode::TimedOut } else { FaultCode::Unreachable }, words)
            };
            (exchange, HeaderMap::new())
        }
    }
}

async fn read(mut response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let mut body = Vec::new();
    let whole = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_BYTES_MAX => {
                body.extend_from_slice(&chunk[..BODY_BYTES_MAX - body.len()]);
                break false;
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    Answer { status, retry_after, body, whole }
}

/// An error and its causes, outermost first, without the URL.
fn chain(error: &dyn Error) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.contains(&text) {
            words.push(text);
        }
        cause = inner.source();
    }
    words.join(": ")
}

/// Adds a header; the error names the header, never its value.
pub fn put_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let key = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not a header's name"))?;
    let mut value =
        HeaderValue::try_from(value).map_err(|_| format!("the value of header `{name}` holds a character that no header may"))?;
    value.set_sensitive(true);
    headers.insert(key, value);
    Ok(())
}

/// The exponential wait before attempt `attempt` (1: the first repetition): `base`, twice that …, each between half and all of it.
pub fn backoff(base: Duration, attempt: u32) -> Duration {
    let full = base.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    full.mul_f64(0.5 + random / 2.0)
}

/// The wait a server asks for, capped; `asked_in_body` is what the service wrote there.
pub fn asked_wait(answer: &Answer, asked_in_body: Option<f64>) -> Option<Duration> {
    let body = asked_in_body.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let body = body.map(|seconds| Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())));
    answer.retry_after.max(body).map(|wait| wait.min(RETRY_AFTER_MAX))
}

/// Whether a status says "later", not "no": acting.md §8.6.
pub fn is_later(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 529)
}

/// What a status that is no success means: a refusal (`NotDone`), or a failure on the way that tells nothing (`Unknown`).
pub fn refused(status: u16, doing: &str, detail: String) -> Outcome {
    let code = match status {
        401 | 403 => FaultCode::Denied,
        404 | 410 => FaultCode::NotFound,
        409 | 412 => FaultCode::Conflict,
        429 => FaultCode::Limit,
        _ => FaultCode::Failed,
    };
    let fault = Fault::new(code, doing, detail);
    if (300..500).contains(&status) && status != 408 { Outcome::NotDone(fault) } else { Outcome::Unknown(fault) }
}

/// How often and how long to try.
#[derive(Copy, Clone, Debug)]
pub struct Patience {
    /// The end of all attempts.
    pub deadline: Instant,
    /// How many attempts at most; 1: no repetition.
    pub attempts: u32,
    /// The first wait between two attempts.
    pub backoff: Duration,
    /// One attempt takes at most this.
    pub attempt_timeout: Duration,
}

/// Exchanges until something definite is known, patience ends, or waiting would pass the deadline. The flag tells whether any attempt
/// may have left without an answer. `later` reads an answer that is no "yes": `Some(wait)` asks for a repetition.
pub async fn exchange_patiently(
    client: &Client,
    request: &Request,
    patience: Patience,
    later: impl Fn(&Answer) -> Option<Option<Duration>>,
) -> (Exchange, bool) {
    let mut lost = false;
    let mut attempt = 1;
    loop {
        let within = patience.deadline.saturating_duration_since(Instant::now()).min(patience.attempt_timeout);
        let result = exchange(client, request.clone(), within).await;
        let asked = match &result {
            Exchange::Answered(answer) => match later(answer) {
                Some(asked) => asked,
                None => return (result, lost),
            },
            Exchange::NoAnswer(..) => {
                lost = true;
                None
            }
            Exchange::NotSent(_) => None,
        };
        let wait = asked.unwrap_or_default().max(backoff(patience.backoff, attempt));
        if attempt >= patience.attempts || Instant::now() + wait >= patience.deadline {
            return (result, lost);
        }
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_builds_and_back_off_grows_within_its_bounds() {
        client().unwrap();
        let base = Duration::from_millis(100);
        for attempt in 1..40 {
            let full = base.saturating_mul(1 << (attempt - 1).min(16)).min(BACKOFF_MAX);
            let wait = backoff(base, attempt);
            assert!(full / 2 <= wait && wait <= full, "{attempt} {wait:?}");
        }
    }

    #[test]
    fn only_refusals_are_not_done() {
        for (status, name, code) in [
            (302, "not_done", FaultCode::Failed),
            (401, "not_done", FaultCode::Denied),
            (404, "not_done", FaultCode::NotFound),
            (409, "not_done", FaultCode::Conflict),
            (429, "not_done", FaultCode::Limit),
            (408, "unknown", FaultCode::Failed),
            (500, "unknown", FaultCode::Failed),
            (204, "unknown", FaultCode::Failed),
        ] {
            let outcome = refused(status, "x", String::new());
            let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &outcome else { panic!() };
            assert_eq!((outcome.name(), fault.code), (name, code), "{status}");
        }
    }

    #[test]
    fn asked_waits_are_capped_and_never_wrong_numbers() {
        let answer = |seconds| Answer { status: 429, retry_after: seconds, body: Vec::new(), whole: true };
        assert_eq!(asked_wait(&answer(None), None), None);
        assert_eq!(asked_wait(&answer(None), Some(0.25)), Some(Duration::from_millis(250)));
        assert_eq!(asked_wait(&answer(Some(Duration::from_secs(7))), Some(-1.0)), Some(Duration::from_secs(7)));
        assert_eq!(asked_wait(&answer(Some(Duration::from_secs(9999))), Some(f64::INFINITY)), Some(RETRY_AFTER_MAX));
        assert_eq!(asked_wait(&answer(None), Some(1e300)), Some(RETRY_AFTER_MAX));
    }
}
