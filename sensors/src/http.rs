//! How bytes come over HTTP: one reader for all sources, with credentials, TLS, a body cap and one deadline over everything.
//!
//! Deliberately absent: proxies (a lab's exporters are near), redirects to another host (they would carry credentials away),
//! retries (the next read is the retry) and cookies. An editor breaks this by reading a body with `bytes()`, `text()` or
//! `json()`, which know no limit, by putting a full URL into a fault, or by resolving a secret once and keeping it.

mod tls;

use homeostat_model::{Fault, FaultCode, Secret, Span};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

pub use tls::TlsConfig;

/// Same-host redirects followed in one request.
const REDIRECTS_MAX: usize = 5;
/// Query parameters whose values may be shown in faults; others may be credentials.
const SHOWN_PARAMETERS: [&str; 7] = ["target", "module", "match[]", "collect[]", "name[]", "device", "path"];

/// Where to read over HTTP, and how to be let in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// The address, `http://nas:9100/metrics`. Credentials do not belong here but into `basic` or `bearer`.
    pub url: String,
    /// A token sent as `Authorization: Bearer …`: `${env:NAME}`, `${file:/path}` or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub bearer: Option<Secret>,
    /// A name and password sent as `Authorization: Basic …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// More request headers; values may be secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// How far to trust the server's certificate. Without it: the public web's certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Whether to ask for gzip. Without it: yes, except from this machine itself, where it only costs processor time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip: Option<bool>,
}

impl HttpConfig {
    /// A plain address without credentials.
    pub fn plain(url: impl Into<String>) -> HttpConfig {
        HttpConfig { url: url.into(), bearer: None, basic: None, headers: BTreeMap::new(), tls: None, gzip: None }
    }
}

/// A name and a password.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The name.
    pub username: String,
    /// The password: `${env:NAME}`, `${file:/path}` or text.
    #[schemars(with = "String")]
    pub password: Secret,
}

/// What a server answered; the body is in the caller's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type` header, if there is a readable one.
    pub content_type: Option<String>,
}

impl Answer {
    /// A fault unless the status is 2xx: 404 and 410 are `NotFound`, 429 is `Limit`, all else is `Failed`. `doing` names the
    /// operation and object; the first words of `body` are shown (never for a 2xx).
    pub fn require_success(&self, doing: &str, body: &[u8]) -> Result<(), Fault> {
        let code = match self.status {
            200..=299 => return Ok(()),
            404 | 410 => FaultCode::NotFound,
            429 => FaultCode::Limit,
            _ => FaultCode::Failed,
        };
        let head = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let head: Vec<&str> = head.split_whitespace().collect();
        Err(Fault::new(code, doing, format!("answered with HTTP status {}, expected 200: {:?}", self.status, head.join(" "))))
    }
}

/// Reads from one server. Connections are kept and used again; secrets are resolved at each request, so a rotated file is seen.
#[derive(Debug)]
pub struct HttpReader {
    client: reqwest::Client,
    config: HttpConfig,
    url: Url,
    timeout: Duration,
}

impl HttpReader {
    /// A reader for `config.url`; `timeout` bounds each request as a whole, body included. Fails (`Malformed`, `NotFound`) on a
    /// bad address, header name or certificate file; does no network IO.
    pub fn new(config: &HttpConfig, timeout: Span) -> Result<HttpReader, Fault> {
        let doing = "set up the HTTP reader";
        let url = parse_url(&config.url)?;
        if config.bearer.is_some() && config.basic.is_some() {
            let detail = "both `bearer` and `basic` are given: a request has one `Authorization`; keep one of them";
            return Err(Fault::new(FaultCode::Malformed, format!("{doing} for {}", shown(&url)), detail));
        }
        for name in config.headers.keys() {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                let detail = format!("`{name}` in `headers` is not an HTTP header's name");
                return Err(Fault::new(FaultCode::Malformed, format!("{doing} for {}", shown(&url)), detail));
            }
        }
        let tls = tls::client_config(config.tls.as_ref())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .gzip(config.gzip.unwrap_or_else(|| !is_loopback(&url)))
            .redirect(redirect::Policy::custom(follow_on_same_host))
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(600))
            .user_agent(concat!("homeostat/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Fault::new(FaultCode::Internal, format!("{doing} for {}", shown(&url)), root_cause(&error)))?;
        Ok(HttpReader { client, config: config.clone(), url, timeout: timeout.to_std() })
    }

    /// The configured address.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The configured address as faults show it: no credentials, no unknown query values.
    pub fn shown_url(&self) -> String {
        shown(&self.url)
    }

    /// GET. The decompressed body replaces `into`, at most `body_bytes_max` bytes.
    ///
    /// `Ok` for every HTTP status but 401 and 403 (see [`Answer::require_success`]). Faults: `Unreachable` (no connection),
    /// `TimedOut` (no whole answer in time, also a body that drips), `Denied` (401, 403, a secret that cannot be had),
    /// `Limit` (body over the cap), `Malformed` (body cut short or not what its encoding says, redirect to another host).
    pub async fn get(&self, url: &str, accept: &str, body_bytes_max: usize, into: &mut Vec<u8>) -> Result<Answer, Fault> {
        let url = self.address(url)?;
        let doing = format!("GET {}", shown(&url));
        let request = self.client.request(Method::GET, url);
        self.send(request, accept, body_bytes_max, into, &doing).await
    }

    /// POST with a form body, as Prometheus takes long queries. Otherwise as [`HttpReader::get`].
    pub async fn post_form(
        &self,
        url: &str,
        form: &[(&str, &str)],
        accept: &str,
        body_bytes_max: usize,
        into: &mut Vec<u8>,
    ) -> Result<Answer, Fault> {
        let url = self.address(url)?;
        let doing = format!("POST {}", shown(&url));
        let request = self.client.request(Method::POST, url).form(form);
        self.send(request, accept, body_bytes_max, into, &doing).await
    }

    /// The URL of a request. Another host than the configured one would get the credentials of the first: refused.
    fn address(&self, url: &str) -> Result<Url, Fault> {
        if url == self.url.as_str() {
            return Ok(self.url.clone());
        }
        let url = parse_url(url)?;
        if url.origin() != self.url.origin() {
            let detail = format!("this reader may only talk to {}", shown(&self.url));
            return Err(Fault::new(FaultCode::Malformed, format!("request {}", shown(&url)), detail));
        }
        Ok(url)
    }

    async fn send(
        &self,
        request: RequestBuilder,
        accept: &str,
        body_bytes_max: usize,
        into: &mut Vec<u8>,
        doing: &str,
    ) -> Result<Answer, Fault> {
        into.clear();
        let request = self.with_credentials(request.header(ACCEPT, accept), doing)?;
        match tokio::time::timeout(self.timeout, exchange(request, body_bytes_max, into, doing)).await {
            Ok(result) => result,
            Err(_) => {
                let seconds = self.timeout.as_secs_f64();
                let detail = format!("no whole answer within {seconds} s; {} bytes of the body had come", into.len());
                Err(Fault::new(FaultCode::TimedOut, doing, detail))
            }
        }
    }

    fn with_credentials(&self, mut request: RequestBuilder, doing: &str) -> Result<RequestBuilder, Fault> {
        let denied = |detail: String| Fault::new(FaultCode::Denied, doing, detail);
        let resolve = |secret: &Secret| secret.resolve(|n| std::env::var(n).ok(), |p| std::fs::read_to_string(p)).map_err(denied);
        if let Some(bearer) = &self.config.bearer {
            request = request.bearer_auth(resolve(bearer)?);
        }
        if let Some(basic) = &self.config.basic {
            request = request.basic_auth(&basic.username, Some(resolve(&basic.password)?));
        }
        for (name, secret) in &self.config.headers {
            let mut value = HeaderValue::from_str(&resolve(secret)?)
                .map_err(|_| denied(format!("the value of the header `{name}` holds characters that no header may have")))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        Ok(request)
    }
}

/// Sends the request and reads the body into `into`, chunk by chunk.
async fn exchange(request: RequestBuilder, body_bytes_max: usize, into: &mut Vec<u8>, doing: &str) -> Result<Answer, Fault> {
    let mut response = request.send().await.map_err(|error| send_fault(error, doing))?;
    let status = response.status().as_u16();
    if status == 401 || status == 403 {
        let detail = format!("answered with HTTP status {status}: the server wants other credentials (`bearer`, `basic`, `headers`)");
        return Err(Fault::new(FaultCode::Denied, doing, detail));
    }
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    read_body(&mut response, body_bytes_max, into, doing).await?;
    Ok(Answer { status, content_type })
}

async fn read_body(response: &mut Response, body_bytes_max: usize, into: &mut Vec<u8>, doing: &str) -> Result<(), Fault> {
    let over = |announced: &str| {
        let detail = format!("the body {announced} more than {body_bytes_max} bytes, the limit (`body_bytes_max`)");
        Err(Fault::new(FaultCode::Limit, doing, detail))
    };
    // Known only without compression; with it the cap works on what comes out.
    if response.content_length().is_some_and(|length| length > body_bytes_max as u64) {
        return over("is announced with");
    }
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if into.len() + chunk.len() > body_bytes_max => return over("has"),
            Ok(Some(chunk)) => into.extend_from_slice(&chunk),
            Ok(None) => return Ok(()),
            Err(error) => {
                let detail = format!("the body broke off after {} bytes: {}", into.len(), root_cause(&error));
                return Err(Fault::new(FaultCode::Malformed, doing, detail));
            }
        }
    }
}

fn send_fault(error: reqwest::Error, doing: &str) -> Fault {
    let code = if error.is_timeout() {
        FaultCode::TimedOut
    } else if error.is_redirect() {
        FaultCode::Malformed
    } else {
        FaultCode::Unreachable
    };
    Fault::new(code, doing, root_cause(&error.without_url()))
}

/// The innermost cause: the layers above only say "error sending request".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn follow_on_same_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let to = attempt.url().clone();
    let Some(from) = attempt.previous().last().cloned() else { return attempt.stop() };
    let upgrade = from.scheme() == "http" && to.scheme() == "https" && from.host() == to.host();
    if to.origin() != from.origin() && !upgrade {
        return attempt.error(format!("redirected to another server, {}; if that is right, put it into `url`", shown(&to)));
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(format!("more than {REDIRECTS_MAX} redirects, the last to {}", shown(&to)));
    }
    attempt.follow()
}

fn parse_url(text: &str) -> Result<Url, Fault> {
    let doing = "read a URL";
    // The text may hold a password: it is never shown unless it parses and is free of one.
    let url = Url::parse(text).map_err(|error| {
        Fault::new(FaultCode::Malformed, doing, format!("not a URL ({error}): expected one like `http://nas:9100/metrics`"))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        let detail = format!("`{}:` is not a scheme this reads: expected `http:` or `https:` and a host", url.scheme());
        return Err(Fault::new(FaultCode::Malformed, doing, detail));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let detail = "the URL holds a name or a password: put them into `basic: {username, password}`";
        return Err(Fault::new(FaultCode::Malformed, format!("{doing} {}", shown(&url)), detail));
    }
    Ok(url)
}

/// A URL without user, password, fragment and the values of parameters that may be secret.
fn shown(url: &Url) -> String {
    let mut text = format!("{}://{}", url.scheme(), url.host_str().unwrap_or(""));
    if let Some(port) = url.port() {
        text.push_str(&format!(":{port}"));
    }
    text.push_str(url.path());
    for (i, (name, value)) in url.query_pairs().enumerate() {
        let value = if SHOWN_PARAMETERS.contains(&&*name) { &*value } else { "…" };
        text.push_str(&format!("{}{name}={value}", if i == 0 { '?' } else { '&' }));
    }
    text
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
