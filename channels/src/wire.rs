//! One HTTP request to a service, and what its answer means before the channel reads it.
//!
//! Redirects are not followed, proxies of the environment are not used, bodies are read up to [`BODY_BYTES_MAX`]. Deliberately absent:
//! repetitions, and every address in a text: Telegram's and the webhooks' hold a secret. An editor breaks this by showing an error of
//! `reqwest` with its URL.

use crate::channel::Miss;
use homeostat_model::Mask;
use homeostat_model::{Fault, FaultCode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Url};
use serde_json::Value;
use std::time::Duration;

/// How much of an answer's body is read.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// How much of a service's words is quoted.
const QUOTE_CHARS_MAX: usize = 200;
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one message may take.
pub(crate) const SEND_WITHIN: Duration = Duration::from_secs(15);

/// What came back.
pub(crate) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as JSON, or null.
    pub json: Value,
    /// The body's beginning as text.
    pub text: String,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The wait that is asked for: in the body (seconds, maybe a float), else in `Retry-After` (seconds).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let body = self.json.get("retry_after").or_else(|| self.json.pointer("/parameters/retry_after")).and_then(Value::as_f64);
        let header = || self.headers.get("retry-after")?.to_str().ok()?.trim().parse::<f64>().ok();
        let seconds = body.or_else(header).filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
        Some(Duration::from_secs_f64(seconds.min(86_400.0)))
    }
}

/// One call: what is being done in words, and with which secrets its texts must be cleaned.
pub(crate) struct Call<'a> {
    pub client: &'a Client,
    pub doing: &'a str,
    pub mask: &'a Mask,
}

impl Call<'_> {
    pub(crate) fn miss(&self, code: FaultCode, again: bool, detail: &str) -> Miss {
        let detail = self.mask.quote(detail, 4 * QUOTE_CHARS_MAX);
        Miss { fault: Fault::new(code, self.doing, detail), again, retry_after: None }
    }

    /// Sends JSON once.
    pub(crate) async fn send(&self, method: Method, url: Url, bearer: Option<&str>, body: &Value, within: Duration) -> Result<Reply, Miss> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        if let Some(token) = bearer {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| self.miss(FaultCode::Malformed, false, "the token holds a character that no header may"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let request = self.client.request(method, url).headers(headers).body(body.to_string()).timeout(within);
        let mut response = request.send().await.map_err(|error| self.lost(error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(error))? {
            if bytes.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(self.miss(FaultCode::Limit, false, &format!("the answer has more than {BODY_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
        Ok(Reply { status, headers, json, text })
    }

    fn lost(&self, error: reqwest::Error) -> Miss {
        let error = error.without_url();
        let code = if error.is_timeout() { FaultCode::TimedOut } else { FaultCode::Unreachable };
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            words = format!("{words}: {inner}");
            cause = inner.source();
        }
        self.miss(code, true, &words)
    }

    /// What a status that is no success means; `words` are the service's.
    pub(crate) fn refusal(&self, reply: &Reply, words: &str) -> Miss {
        let (code, again) = match reply.status {
            401 | 403 => (FaultCode::Denied, false),
            404 | 410 => (FaultCode::NotFound, false),
            408 | 425 => (FaultCode::TimedOut, true),
            409 => (FaultCode::Conflict, true),
            429 => (FaultCode::Limit, true),
            500.. => (FaultCode::Failed, true),
            _ => (FaultCode::Malformed, false),
        };
        let words = self.mask.quote(words, QUOTE_CHARS_MAX);
        let mut miss = self.miss(code, again, &format!("HTTP {}: {words}", reply.status));
        miss.retry_after = reply.retry_after();
        miss
    }
}

/// A service's root, as configured: no credentials, query or fragment. The error says what was expected.
pub(crate) fn root(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("must begin with `http://` or `https://` and name a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must hold no credentials, query or fragment".to_owned());
    }
    Ok(url)
}

/// The root with more path behind it.
pub(crate) fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    url.set_path(&format!("{}{path}", root.path().trim_end_matches('/')));
    url
}

/// An address that is a secret as a whole. The error does not show it.
pub(crate) fn secret_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Ok(url),
        _ => Err("it is no address: expected `https://host/…`".into()),
    }
}

/// A client that trusts the system's certificates, or Mozilla's where the system has none.
pub(crate) fn client() -> Result<Client, String> {
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
    builder().build().or_else(|_| mozilla()).map_err(|error| format!("the HTTP client was not built: {error}"))
}
