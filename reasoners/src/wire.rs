//! One HTTP request to a provider and what its answer means before the dialect reads it: where it goes, how it is let in, how much is
//! read, which status is which class.
//!
//! Redirects are not followed (a host must not hand a question on), proxies of the environment are not used, bodies are read up to
//! [`BODY_BYTES_MAX`]. Deliberately absent: repetitions (`drive`), the shapes of requests (the dialects). An editor breaks this by
//! showing an error with its URL, or by letting a cloud be reached over plain HTTP.

use crate::secret::take;
use homeostat_model::Mask;
use homeostat_model::{Place, ReasonFault, ReasonFaultClass, Secret, Span};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How much of an answer's body is read.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a provider's words is quoted.
const QUOTE_CHARS_MAX: usize = 300;
/// How long a provider's number for a request may be.
const REQUEST_ID_CHARS_MAX: usize = 128;
/// The `code` or `type` of an error that says: the account is empty, waiting does not help.
const EMPTY_ACCOUNT: [&str; 3] = ["insufficient_quota", "billing_hard_limit_reached", "billing_error"];

/// Where a provider is and how we are let in.
#[derive(Clone)]
pub(crate) struct Endpoint {
    url: Url,
    client: Client,
    credential: Option<(&'static str, &'static str, Secret)>,
    headers: Vec<(&'static str, &'static str)>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}{})", self.url.host_str().unwrap_or("?"), self.url.path())
    }
}

/// What came back with a status that says yes.
pub(crate) struct Reply {
    /// The body, JSON.
    pub body: Value,
    /// The provider's number, from its headers.
    pub request_id: Option<String>,
}

/// What went wrong with one request.
#[derive(Debug)]
pub(crate) struct Miss {
    /// The fault, its usage not yet counted.
    pub fault: ReasonFault,
    /// Whether it may be billed: it was sent, and the other side did not say no.
    pub billed: bool,
    /// Whether sending it again can help.
    pub again: bool,
}

impl Miss {
    fn unbilled(class: ReasonFaultClass, text: impl AsRef<str>) -> Miss {
        Miss { fault: ReasonFault::new(class, text), billed: false, again: class.is_retried() }
    }
    fn billed(class: ReasonFaultClass, text: impl AsRef<str>) -> Miss {
        Miss { billed: true, ..Miss::unbilled(class, text) }
    }
}

impl Endpoint {
    /// `base` is the configured address, `path` what a dialect hangs on it. The error says what was expected.
    pub(crate) fn new(base: &str, path: &str, place: Place) -> Result<Endpoint, String> {
        let mut url = Url::parse(base).map_err(|error| format!("`url` is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("`url` must begin with `http://` or `https://` and name a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("`url` must hold no credentials, query or fragment; a key goes into `api_key`".to_owned());
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if place == Place::Cloud && url.scheme() != "https" && !is_loopback(&host) {
            return Err(format!("`url` names `{host}` over plain HTTP: a cloud is reached by `https://`"));
        }
        if place == Place::Local && !is_in_the_house(&host) {
            let known = "a private address, a name without a dot, or one under `.lan`, `.local`, `.internal`, `.home.arpa`";
            return Err(format!("`{host}` does not look like a machine of this house ({known}): say `place: cloud`"));
        }
        let whole = format!("{}{path}", url.path().trim_end_matches('/'));
        let (path, query) = whole.split_once('?').map_or((whole.as_str(), None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        Ok(Endpoint { url, client: client()?, credential: None, headers: Vec::new() })
    }

    /// The same, let in by the header `name: <prefix><secret>`.
    pub(crate) fn let_in(self, name: &'static str, prefix: &'static str, secret: Option<&Secret>) -> Endpoint {
        Endpoint { credential: secret.map(|secret| (name, prefix, secret.clone())), ..self }
    }

    /// The same, with a fixed header.
    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Endpoint {
        self.headers.push((name, value));
        self
    }

    /// The credential as a header, read now; the mask knows it from here on.
    pub(crate) fn headers(&self, mask: &mut Mask) -> Result<HeaderMap, ReasonFault> {
        let unauthorised = |text: String| ReasonFault::new(ReasonFaultClass::Unauthorised, text);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if let Some((name, prefix, secret)) = &self.credential {
            let text = take(mask, secret).map_err(unauthorised)?;
            let value = HeaderValue::try_from(format!("{prefix}{text}"));
            let mut value = value.map_err(|_| unauthorised(format!("the key {secret} holds a character that no header may")))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    /// Sends once. `within` bounds all of it.
    pub(crate) async fn post(&self, headers: HeaderMap, body: &Value, mask: &Mask, within: Duration) -> Result<Reply, Miss> {
        let call = self.client.post(self.url.clone()).headers(headers).body(body.to_string()).timeout(within);
        let mut response = call.send().await.map_err(|error| self.lost(error, mask, within))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > BODY_BYTES_MAX => {
                    let words = format!("the answer has more than {BODY_BYTES_MAX} bytes");
                    return Err(if is_yes(status) {
                        Miss::billed(ReasonFaultClass::Malformed, words)
                    } else {
                        refusal(status, &headers, &Value::Null, words)
                    });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.lost(error, mask, within)),
            }
        }
        let request_id = ["x-request-id", "request-id"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
        let request_id = request_id.map(|id| mask.quote(id, REQUEST_ID_CHARS_MAX)).filter(|id| !id.is_empty());
        let parsed = parse(&body);
        if !is_yes(status) {
            let value = parsed.unwrap_or(Value::Null);
            let words = error_words(&value).unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
            let text = format!("HTTP {status}: {}", mask.quote(&words, QUOTE_CHARS_MAX));
            return Err(refusal(status, &headers, &value, text));
        }
        let Some(body) = parsed else {
            let begin = mask.quote(&String::from_utf8_lossy(&body), QUOTE_CHARS_MAX);
            return Err(Miss::billed(ReasonFaultClass::Malformed, format!("HTTP {status}, expected one JSON document: {begin}")));
        };
        match error_words(&body) {
            None => Ok(Reply { body, request_id }),
            Some(words) => {
                let text = format!("HTTP {status} with an error in it: {}", mask.quote(&words, QUOTE_CHARS_MAX));
                Err(Miss::billed(ReasonFaultClass::Overloaded { retry_after: None }, text))
            }
        }
    }

    /// A request without an answer. Only what failed to connect was surely not sent.
    fn lost(&self, error: reqwest::Error, mask: &Mask, within: Duration) -> Miss {
        let error = error.without_url();
        let host = self.url.host_str().unwrap_or("?");
        let words = format!("{host}: {}", mask.clean(&chain(&error)));
        match (error.is_connect() || error.is_builder(), error.is_timeout()) {
            (true, _) => Miss::unbilled(ReasonFaultClass::Unreachable, words),
            (false, true) => Miss::billed(ReasonFaultClass::TimedOut, format!("{host}: no whole answer within {} ms", within.as_millis())),
            (false, false) => Miss::billed(ReasonFaultClass::Unreachable, words),
        }
    }
}

fn is_yes(status: u16) -> bool {
    (200..300).contains(&status)
}

/// One JSON document; or, of a stream that nobody asked for, the line that holds an error.
fn parse(body: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value);
    }
    let text = std::str::from_utf8(body).ok()?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.trim().trim_start_matches("data:").trim()).ok());
    lines.into_iter().find(|line| error_words(line).is_some())
}

/// The words of `{"error": "…"}`, `{"error": {"message": "…"}}`, `{"event": "error", "data": …}` and `{"detail": "…"}` without anything else.
fn error_words(value: &Value) -> Option<String> {
    let error = match (&value["error"], value["event"].as_str()) {
        (Value::Null, Some("error")) => &value["data"],
        (Value::Null, _) if value.as_object().is_some_and(|map| map.len() == 1) => &value["detail"],
        (error, _) => error,
    };
    match error {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other["message"].as_str().map_or_else(|| other.to_string(), str::to_owned)),
    }
}

/// What a status that is no success means (acting.md §6.3, §6.4).
fn refusal(status: u16, headers: &HeaderMap, body: &Value, text: String) -> Miss {
    let error = &body["error"];
    let empty = [&error["code"], &error["type"]].iter().any(|code| code.as_str().is_some_and(|code| EMPTY_ACCOUNT.contains(&code)));
    let retry_after = retry_after(headers);
    let class = match status {
        402 => ReasonFaultClass::NoBudget,
        429 if empty => ReasonFaultClass::NoBudget,
        429 => ReasonFaultClass::RateLimited { retry_after },
        401 | 403 => ReasonFaultClass::Unauthorised,
        408 | 409 | 425 | 500.. => ReasonFaultClass::Overloaded { retry_after },
        _ => ReasonFaultClass::BadRequest,
    };
    let mut miss = Miss::unbilled(class, text);
    match headers.get("x-should-retry").and_then(|value| value.to_str().ok()) {
        Some("false") => miss.again = false,
        Some("true") if class != ReasonFaultClass::NoBudget => miss.again = true,
        _ => {}
    }
    miss
}

/// The wait that is asked for: `retry-after-ms`, else `retry-after` in seconds. Dates are not read.
fn retry_after(headers: &HeaderMap) -> Option<Span> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let millis = number("retry-after-ms").or_else(|| number("retry-after").map(|seconds| seconds * 1000.0))?;
    Some(Span(millis.min(i64::MAX as f64 / 4.0) as i64))
}

/// An error and its causes, outermost first.
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

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a host is, by its name alone, in the house: no look-up is made.
fn is_in_the_house(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared(ip),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Err(_) => {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            !host.contains('.') || [".lan", ".local", ".internal", ".home.arpa", ".localhost"].iter().any(|end| host.ends_with(end))
        }
    }
}

/// 100.64.0.0/10, where overlay networks of a house live (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
}

/// A client that trusts the system's certificates, or Mozilla's where the system has none.
fn client() -> Result<Client, String> {
    // Fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        Client::builder()
            .user_agent(concat!("homeostat/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
    };
    let mozilla = || {
        let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        builder().tls_backend_preconfigured(config).build()
    };
    builder().build().or_else(|_| mozilla()).map_err(|error| format!("the HTTP client was not built: {}", chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_held_against_the_place() {
        for (base, place, words) in [
            ("ftp://x", Place::Local, "http"),
            ("x", Place::Local, "no address"),
            ("http://u:p@nas", Place::Local, "no credentials"),
            ("http://nas?key=1", Place::Local, "no credentials"),
            ("http://api.openai.com", Place::Cloud, "plain HTTP"),
            ("https://api.openai.com/v1", Place::Local, "place: cloud"),
            ("http://8.8.8.8", Place::Local, "place: cloud"),
        ] {
            let said = Endpoint::new(base, "/x", place).unwrap_err();
            assert!(said.contains(words), "{base}: {said}");
        }
        for host in ["nas", "muscle.lan", "10.0.0.5", "100.64.3.4", "[::1]", "[fd00::1]", "localhost", "llm.internal"] {
            Endpoint::new(&format!("http://{host}:11434"), "/x", Place::Local).unwrap_or_else(|error| panic!("{host}: {error}"));
        }
        let endpoint = Endpoint::new("https://api.example.com/v1/", "/run/a%20b?stream=false", Place::Cloud).unwrap();
        assert_eq!(endpoint.url.as_str(), "https://api.example.com/v1/run/a%20b?stream=false");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(api.example.com/v1/run/a%20b)");
        assert!(Endpoint::new("http://127.0.0.1:9", "/x", Place::Cloud).is_ok());
    }

    #[test]
    fn statuses_have_their_classes() {
        let none = HeaderMap::new();
        for (status, name, again) in [
            (302, "bad_request", false),
            (400, "bad_request", false),
            (401, "unauthorised", false),
            (402, "no_budget", false),
            (403, "unauthorised", false),
            (404, "bad_request", false),
            (408, "overloaded", true),
            (409, "overloaded", true),
            (413, "bad_request", false),
            (429, "rate_limited", true),
            (500, "overloaded", true),
            (503, "overloaded", true),
            (529, "overloaded", true),
        ] {
            let miss = refusal(status, &none, &Value::Null, String::new());
            assert_eq!((miss.fault.class.name(), miss.again, miss.billed), (name, again, false), "{status}");
        }
        let empty = serde_json::json!({ "error": { "message": "m", "type": "x", "code": "insufficient_quota" } });
        assert_eq!(refusal(429, &none, &empty, String::new()).fault.class, ReasonFaultClass::NoBudget);
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("12"));
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
        let miss = refusal(429, &headers, &Value::Null, String::new());
        assert_eq!((miss.fault.class.retry_after(), miss.again), (Some(Span::from_secs(12)), false));
        headers.insert("retry-after-ms", HeaderValue::from_static("250"));
        assert_eq!(retry_after(&headers), Some(Span(250)));
        headers.insert("retry-after-ms", HeaderValue::from_static("nan"));
        headers.insert("retry-after", HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert_eq!(retry_after(&headers), None);
    }

    #[test]
    fn errors_are_found_in_every_form() {
        for (text, words) in [
            (r#"{"error":"busy"}"#, "busy"),
            (r#"{"error":{"message":"m","code":1}}"#, "m"),
            (r#"{"detail":"Not authenticated"}"#, "Not authenticated"),
            ("{\"message\":{\"content\":\"Yes\"}}\n{\"error\":\"late\"}\n", "late"),
            ("data: {\"x\":1}\n\ndata: {\"event\":\"error\",\"data\":{\"message\":\"no\"}}\n", "no"),
        ] {
            assert_eq!(parse(text.as_bytes()).and_then(|value| error_words(&value)).as_deref(), Some(words), "{text}");
        }
        assert!(parse(b"<html>").is_none());
        assert_eq!(error_words(&serde_json::json!({ "error": "", "a": 1 })), None);
        assert_eq!(error_words(&serde_json::json!({ "error": null, "detail": "x", "a": 1 })), None);
    }
}
