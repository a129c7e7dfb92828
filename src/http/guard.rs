//! What every request passes: is it for us (DNS rebinding), is it from another web page, how long may it take, and does a panic stop
//! only it.
//!
//! Deliberately absent: rights; see `auth`. An editor breaks this by letting a name that is not configured reach the pages or the API:
//! any web page could then read this machine's state through its visitor's browser.

use super::auth::Peer;
use super::{App, failure};
use crate::dispatch::Caught;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A request may take this long, body included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Paths that other machines ask by whatever name they have for this one; they show no decision and take no order without a token or
/// signature of their own.
const ANY_HOST: [&str; 6] = ["/healthz", "/readyz", "/metrics", "/webhooks/", "/answer/", "/slack/interactive"];
/// Paths whose right is a one-time token that no page can know, so that it does not matter which site's page posts.
const ANY_SITE: &str = "/answer/";
/// Headers of every answer.
const ANSWER_HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
];

/// The name part of `Host`, lower case, without port and brackets; `None` if it is none.
fn name_of(host: &str) -> Option<String> {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (port.is_empty() || port.starts_with(':')).then_some(name)?
        }
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// Whether a request that names this host is meant for us. A number cannot be rebound, a name can: only `localhost` and configured
/// names count.
pub fn is_our_host(host: &str, configured: &[String]) -> bool {
    let Some(name) = name_of(host) else { return false };
    name.parse::<IpAddr>().is_ok() || name == "localhost" || configured.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

fn host_of<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    // An absolute request target overrides `Host` (RFC 9112 §3.2.2).
    uri.authority().map(|authority| authority.as_str()).or_else(|| headers.get(header::HOST)?.to_str().ok())
}

/// Whether a browser says that another site's page made this request.
fn is_cross_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return true;
    }
    text(header::ORIGIN).is_some_and(|origin| origin.split_once("://").map(|(_, rest)| rest) != host)
}

fn refusal(app: &App, peer: Peer, request: &Request) -> Option<Response> {
    let path = request.uri().path();
    let host = host_of(request.headers(), request.uri());
    let any_host = ANY_HOST.iter().any(|known| path.starts_with(known));
    if matches!(peer, Peer::Tcp(_)) && !any_host && !host.is_some_and(|host| is_our_host(host, &app.hosts)) {
        let shown: String = host.unwrap_or("no name").chars().take(100).collect();
        let text = format!("this is not `{shown}`: use `localhost` or an address");
        return Some(failure(StatusCode::MISDIRECTED_REQUEST, text));
    }
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if writes && !path.starts_with(ANY_SITE) && is_cross_site(request.headers(), host) {
        return Some(failure(StatusCode::FORBIDDEN, "an order or alert from another site's page is not taken".into()));
    }
    None
}

/// The outermost layer.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let refused = match peer {
        Some(peer) => refusal(&app, peer, &request),
        None => Some(failure(StatusCode::INTERNAL_SERVER_ERROR, "the connection has no known other end".into())),
    };
    let mut response = match refused {
        Some(response) => response,
        None => match tokio::time::timeout(REQUEST_TIME_MAX, Caught(Box::pin(next.run(request)))).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => {
                tracing::error!(panic, "A request's handler panicked.");
                failure(StatusCode::INTERNAL_SERVER_ERROR, "this request failed by a defect of ours; the log says more".into())
            }
            Err(_) => failure(StatusCode::REQUEST_TIMEOUT, format!("the request took more than {} s", REQUEST_TIME_MAX.as_secs())),
        },
    };
    for (name, value) in ANSWER_HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    app.count_answer(response.status());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_rebound_are_refused() {
        let configured = ["lab.example".to_owned()];
        for ours in ["localhost", "LOCALHOST:9797", "127.0.0.1:1", "[::1]:9797", "192.168.1.5", "Lab.Example:80", "localhost."] {
            assert!(is_our_host(ours, &configured), "{ours}");
        }
        for foreign in ["evil.example", "localhost.evil.example", "", ":80", "[::1", "127.0.0.1.evil.example", "[::1]x", "lab.example.evil"]
        {
            assert!(!is_our_host(foreign, &configured), "{foreign}");
        }
    }

    #[test]
    fn other_sites_pages_are_known_by_what_browsers_say() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            HeaderMap::from_iter(pairs.iter().map(|(n, v)| (header::HeaderName::from_static(n), HeaderValue::from_static(v))))
        };
        let host = Some("localhost:9797");
        assert!(!is_cross_site(&headers(&[]), host));
        assert!(!is_cross_site(&headers(&[("origin", "http://localhost:9797"), ("sec-fetch-site", "same-origin")]), host));
        assert!(is_cross_site(&headers(&[("origin", "http://evil.example")]), host));
        assert!(is_cross_site(&headers(&[("origin", "null")]), host));
        assert!(is_cross_site(&headers(&[("sec-fetch-site", "cross-site")]), host));
    }
}
