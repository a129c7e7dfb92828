//! One service that speaks JSON over HTTP: where it is, how we are let in, and what a call to it taught us.
//!
//! A [`Session`] is one action's conversation: one deadline, one set of secrets, one redactor. Reads are repeated while the other side
//! says "later" (the retry classes are [`client::is_later`]); a write is repeated only if the caller says that twice is once.
//! Deliberately absent: meaning; the caller reads answers. An editor breaks this by turning a lost answer or a 5xx after a write
//! into `NotDone`, or by building a path from text instead of segments.

use crate::client::{self, Answer, Exchange, Patience, Request, asked_wait, exchange_patiently, is_later, put_header, refused};
use crate::ledger::never_started;
use crate::pace::Pace;
use crate::redact::Redactor;
use homeostat_model::{Fault, FaultCode, Outcome, Planned, Secret, Span};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// One read takes at most this.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// In faster time the deadline is at least this: the other side answers in real time.
const DEADLINE_MIN: Duration = Duration::from_secs(2);
/// Attempts of what may be repeated.
const ATTEMPTS: u32 = 3;
/// The first wait between them.
const BACKOFF: Duration = Duration::from_millis(250);
/// How long `ready` waits for an answer, all its questions together.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A header that lets us in: `<prefix><secret>`.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub header: String,
    pub prefix: String,
    pub secret: Secret,
}

impl Credential {
    /// `Authorization: <scheme> <secret>`.
    pub(crate) fn authorization(scheme: &str, secret: &Secret) -> Credential {
        Credential { header: "authorization".into(), prefix: format!("{scheme} "), secret: secret.clone() }
    }
}

/// Where a service is.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    base: Url,
    client: Client,
    credentials: Vec<Credential>,
    headers: Vec<(&'static str, &'static str)>,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

impl Body {
    /// The bytes as they are sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Body::None => Vec::new(),
            Body::Json(value) => value.to_string().into_bytes(),
            Body::Form(pairs) => {
                let mut url = Url::parse("x://x").unwrap_or_else(|_| unreachable!("a constant"));
                url.query_pairs_mut().extend_pairs(pairs);
                url.query().unwrap_or_default().as_bytes().to_vec()
            }
        }
    }

    fn kind(&self) -> Option<&'static str> {
        match self {
            Body::None => None,
            Body::Json(_) => Some("application/json"),
            Body::Form(_) => Some("application/x-www-form-urlencoded"),
        }
    }
}

/// One request by its parts.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub method: Method,
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub body: Body,
}

impl Call {
    /// A call without query and body. `path` is given in segments.
    pub(crate) fn new<S: Into<String>>(method: Method, path: impl IntoIterator<Item = S>) -> Call {
        Call { method, path: path.into_iter().map(Into::into).collect(), query: Vec::new(), body: Body::None }
    }
    /// A reading call.
    pub(crate) fn get<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Call {
        Call::new(Method::GET, path)
    }
    /// With one more pair in the query.
    pub(crate) fn with_query(mut self, name: &str, value: impl Into<String>) -> Call {
        self.query.push((name.into(), value.into()));
        self
    }
    /// With a JSON body.
    pub(crate) fn json(self, body: Value) -> Call {
        Call { body: Body::Json(body), ..self }
    }
    /// With a form as its body.
    pub(crate) fn form(self, pairs: Vec<(&'static str, String)>) -> Call {
        Call { body: Body::Form(pairs), ..self }
    }
}

impl Service {
    /// `base` is `http` or `https`, without credentials, query and fragment.
    pub(crate) fn new(base: &str, client: Client, credentials: Vec<Credential>) -> Result<Service, String> {
        let wrong = |why: &str| format!("`{base}` is not a base URL: {why}");
        let url = Url::parse(base).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("expected `http://host…` or `https://host…`"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("a base URL holds neither credentials nor a query; give the token by its own setting".into());
        }
        Ok(Service { base: url, client, credentials, headers: Vec::new() })
    }

    /// Adds a fixed header.
    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Service {
        self.headers.push((name, value));
        self
    }

    /// The call's URL: the base's path, then the segments, percent-encoded each for itself.
    pub(crate) fn url(&self, call: &Call) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        url
    }

    /// The call as a preview shows it.
    pub(crate) fn planned(&self, call: &Call) -> Planned {
        let body = call.body.bytes();
        Planned {
            call: format!("{} {}", call.method, self.url(call)),
            body: (!body.is_empty()).then(|| String::from_utf8_lossy(&body).into_owned()),
            writes: call.method != Method::GET && call.method != Method::HEAD,
        }
    }

    /// Begins a conversation. The error says which secret cannot be had.
    pub(crate) fn session(&self, doing: impl Into<String>, within: Duration) -> Result<Session<'_>, Outcome> {
        let doing = doing.into();
        let mut redactor = Redactor::default();
        let mut headers = HeaderMap::new();
        let mut put = || -> Result<(), String> {
            for (name, value) in &self.headers {
                put_header(&mut headers, name, value)?;
            }
            for Credential { header, prefix, secret } in &self.credentials {
                put_header(&mut headers, header, &format!("{prefix}{}", redactor.take(secret)?))?;
            }
            Ok(())
        };
        put().map_err(|problem| never_started(&doing, problem))?;
        Ok(Session { service: self, headers, redactor, deadline: Instant::now() + within, doing })
    }
}

/// The real length of what an action is allowed in the daemon's time.
pub(crate) fn real_limit(pace: Pace, allowed: Span) -> Duration {
    if pace == Pace::default() { allowed.to_std() } else { pace.real(allowed).max(DEADLINE_MIN) }
}

/// One action's conversation with a service.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    service: &'a Service,
    headers: HeaderMap,
    /// Knows the secrets of this conversation.
    pub redactor: Redactor,
    /// The end of it.
    pub deadline: Instant,
    /// For `while_doing`.
    pub doing: String,
}

impl Session<'_> {
    fn request(&self, call: &Call) -> Result<Request, Outcome> {
        let mut headers = self.headers.clone();
        if let Some(kind) = call.body.kind() {
            put_header(&mut headers, "content-type", kind).map_err(|problem| self.not_done(FaultCode::Internal, problem))?;
        }
        Ok(Request { method: call.method.clone(), url: self.service.url(call), headers, body: call.body.bytes() })
    }

    async fn exchange(&self, call: &Call, attempts: u32, attempt_timeout: Duration) -> Result<(Exchange, bool), Outcome> {
        let patience = Patience { deadline: self.deadline, attempts, backoff: BACKOFF, attempt_timeout };
        let later = |answer: &Answer| (!answer.is_success() && is_later(answer.status)).then(|| asked_wait(answer, None));
        Ok(exchange_patiently(&self.service.client, &self.request(call)?, patience, later).await)
    }

    /// A read, repeated while the other side says "later". Any definite answer is `Ok`. What is not had is `NotDone`: a read changes
    /// nothing; after a write the caller must say `Unknown` (see [`unsure`]).
    pub(crate) async fn read(&self, call: &Call) -> Result<Answer, Outcome> {
        match self.exchange(call, ATTEMPTS, READ_TIMEOUT).await?.0 {
            Exchange::Answered(answer) if is_later(answer.status) => {
                Err(certain(self.refused(call, &answer))) // it was asked often enough, and it was a question only
            }
            Exchange::Answered(answer) => Ok(answer),
            Exchange::NotSent(why) => Err(self.not_done(FaultCode::Unreachable, self.redactor.clean_head(&why, 500))),
            Exchange::NoAnswer(code, why) => {
                Err(self.not_done(code, format!("{} got no answer: {}", self.shown(call), self.redactor.clean_head(&why, 500))))
            }
        }
    }

    /// A read whose answer must be JSON; 404 is `None`.
    pub(crate) async fn find(&self, call: &Call) -> Result<Option<Value>, Outcome> {
        let answer = self.read(call).await?;
        if answer.status == 404 { Ok(None) } else { self.json_of(call, &answer).map(Some) }
    }

    /// A read whose answer must be JSON.
    pub(crate) async fn fetch(&self, call: &Call) -> Result<Value, Outcome> {
        let answer = self.read(call).await?;
        self.json_of(call, &answer)
    }

    fn json_of(&self, call: &Call, answer: &Answer) -> Result<Value, Outcome> {
        if !answer.is_success() {
            return Err(certain(self.refused(call, answer)));
        }
        answer.json().ok_or_else(|| {
            let why = if answer.whole { "is not JSON" } else { "is too long or broke off" };
            let detail = format!("the answer to {} {why}: {}", self.shown(call), answer.shown(&self.redactor));
            self.not_done(if answer.whole { FaultCode::Malformed } else { FaultCode::Limit }, detail)
        })
    }

    /// A write. Every answer that says yes or no is `Ok`; a lost one, a timeout or a failure on the way is `Unknown`.
    pub(crate) async fn write(&self, call: &Call, idempotent: bool) -> Result<Answer, Outcome> {
        let attempts = if idempotent { ATTEMPTS } else { 1 };
        let all = self.deadline.saturating_duration_since(Instant::now());
        let (exchange, lost) = self.exchange(call, attempts, all / attempts).await?;
        match exchange {
            Exchange::Answered(answer) if answer.is_success() => Ok(answer),
            Exchange::Answered(answer) if lost => Err(unsure(self.refused(call, &answer))),
            Exchange::Answered(answer) if answer.status >= 500 || answer.status == 408 => Err(self.refused(call, &answer)),
            Exchange::Answered(answer) => Ok(answer),
            Exchange::NotSent(why) => {
                let outcome = self.not_done(FaultCode::Unreachable, self.redactor.clean_head(&why, 500));
                Err(if lost { unsure(outcome) } else { outcome })
            }
            Exchange::NoAnswer(code, why) => {
                let detail = format!("{} was sent, but no answer came: {}", self.shown(call), self.redactor.clean_head(&why, 500));
                Err(Outcome::Unknown(Fault::new(code, &self.doing, detail)))
            }
        }
    }

    /// A write that must be answered with 200 to 299.
    pub(crate) async fn send(&self, call: &Call, idempotent: bool) -> Result<Answer, Outcome> {
        let answer = self.write(call, idempotent).await?;
        if answer.is_success() { Ok(answer) } else { Err(self.refused(call, &answer)) }
    }

    /// What a status that is no success means.
    pub(crate) fn refused(&self, call: &Call, answer: &Answer) -> Outcome {
        let mut detail = format!("{} was answered with {}", self.shown(call), answer.shown(&self.redactor));
        if let Some(wait) = asked_wait(answer, None) {
            detail.push_str(&format!("; it asks to wait {} s", wait.as_secs()));
        }
        refused(answer.status, &self.doing, detail)
    }

    /// `NotDone` with this code.
    pub(crate) fn not_done(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::NotDone(Fault::new(code, &self.doing, detail))
    }

    /// `Unknown` with this code.
    pub(crate) fn unknown(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::Unknown(Fault::new(code, &self.doing, detail))
    }

    /// Whether there is time left.
    pub(crate) fn has_time(&self) -> bool {
        Instant::now() < self.deadline
    }

    /// Waits for the next look, not longer than the deadline.
    pub(crate) async fn pause(&self, wait: Duration) {
        tokio::time::sleep(wait.min(self.deadline.saturating_duration_since(Instant::now()))).await;
    }

    fn shown(&self, call: &Call) -> String {
        let url = self.service.url(call);
        self.redactor.clean_head(&format!("{} {}", call.method, url.path()), 200)
    }
}

/// The same, where something may have been done before.
pub(crate) fn unsure(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::NotDone(fault) => Outcome::Unknown(fault),
        outcome => outcome,
    }
}

/// The same, where surely nothing was done: what was asked was a question only.
pub(crate) fn certain(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Unknown(fault) => Outcome::NotDone(fault),
        outcome => outcome,
    }
}

/// The two arms of a step are both outcomes.
pub(crate) fn ended(result: Result<homeostat_model::Receipt, Outcome>) -> Outcome {
    result.map_or_else(|outcome| outcome, Outcome::Done)
}

/// The fault of an outcome that is not `Done`, for `ready`.
pub(crate) fn fault_of(outcome: Outcome) -> Option<Fault> {
    match outcome {
        Outcome::Done(_) => None,
        Outcome::NotDone(fault) | Outcome::Unknown(fault) => Some(fault),
    }
}

/// A fault with what to do about it, by its code.
pub(crate) fn advised(mut fault: Fault, denied: &str) -> Fault {
    if fault.code == FaultCode::Denied {
        fault.detail = format!("{}; {denied}", fault.detail);
    }
    fault
}

/// The client that all of these share.
pub(crate) fn client() -> Result<Client, String> {
    client::client().map_err(|fault| fault.detail)
}

/// Milliseconds since the epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339(at: homeostat_model::Time) -> String {
    jiff::Timestamp::from_millisecond(at.millis()).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{HangsUp, Server, answer};
    use axum::http::HeaderValue;
    use serde_json::json;

    fn service(url: &str) -> Service {
        let secret = Credential::authorization("Bearer", &Secret::Literal("hunter2-long".into()));
        Service::new(url, client().unwrap(), vec![secret]).unwrap()
    }

    #[test]
    fn paths_are_encoded_by_segment_and_bases_are_checked() {
        let service = service("http://x:1/api/");
        let call = Call::get(["a b", "c/../d", "é"]).with_query("q", "a&b");
        assert_eq!(service.url(&call).as_str(), "http://x:1/api/a%20b/c%2F..%2Fd/%C3%A9?q=a%26b");
        for bad in ["ftp://x", "x", "http://u:p@x", "http://x?q=1", "http://x#f"] {
            assert!(Service::new(bad, client().unwrap(), Vec::new()).is_err(), "{bad}");
        }
        assert_eq!(Body::Form(vec![("a", "b c&".into()), ("d", "1".into())]).bytes(), b"a=b+c%26&d=1");
        assert_eq!(rfc3339(homeostat_model::Time(1_795_217_694_000)), "2026-11-20T23:34:54.000Z");
    }

    #[tokio::test]
    async fn reads_wait_as_asked_and_writes_are_not_repeated() {
        let far = Server::start(|number, _| {
            if number == 0 {
                let mut later = answer(429, json!({}));
                later.headers_mut().insert("retry-after", HeaderValue::from_static("0"));
                return later;
            }
            answer(503, json!({ "echo": "hunter2-long" }))
        })
        .await;
        let service = service(&far.url);
        let session = service.session("test", Duration::from_secs(5)).unwrap();
        let Err(Outcome::NotDone(fault)) = session.read(&Call::get(["x"])).await else { panic!() };
        assert!(fault.detail.contains("HTTP 503") && !fault.detail.contains("hunter2"), "{fault}");
        assert_eq!(far.seen().len(), 3);
        let post = Call::new(Method::POST, ["x"]).json(json!({}));
        assert!(matches!(session.write(&post, false).await, Err(Outcome::Unknown(_))));
        assert_eq!(far.seen().len(), 4);
        assert_eq!(far.seen()[3].header("content-type"), "application/json");
    }

    #[tokio::test]
    async fn a_lost_answer_to_a_write_is_unknown_and_a_closed_door_is_not_done() {
        let far = HangsUp::start().await;
        let lost = service(&far.url);
        let session = lost.session("test", Duration::from_secs(5)).unwrap();
        let post = Call::new(Method::POST, ["x"]).json(json!({}));
        assert!(matches!(session.write(&post, false).await, Err(Outcome::Unknown(_))));
        assert_eq!(far.count(), 1);
        let closed = crate::conformance::ClosedPort::new();
        let closed = service(&format!("http://{}", closed.address()));
        let session = closed.session("test", Duration::from_secs(5)).unwrap();
        let Err(Outcome::NotDone(fault)) = session.write(&post, false).await else { panic!() };
        assert_eq!(fault.code, FaultCode::Unreachable);
    }
}
