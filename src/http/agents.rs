//! `/mcp`: the Model Context Protocol on the daemon's own listeners. Every call becomes a request to the API in this process, with the
//! caller's own rights: whoever asks through here can do nothing that the same token cannot do there.
//!
//! Deliberately absent: rights of its own, and what an agent may call; see `homeostat_mcp`. An editor breaks this by asking the API in
//! another's name than the caller's.

use super::App;
use super::api::by_right;
use super::auth::{Peer, asker};
use super::guard;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use homeostat_mcp::{Answer, Caller, House, Mount, Server, Told, mount};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use std::sync::Arc;

/// An answer's bytes before it is cut for the agent.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The daemon itself, asked through its own routes.
struct InProcess(TowerToHyperService<Router>);

impl House for InProcess {
    fn answer<'a>(&'a self, caller: &'a Caller, request: &'a homeostat_mcp::Request) -> Answer<'a> {
        Box::pin(async move {
            let broken = |why: &dyn std::fmt::Display| Told::Unreachable(format!("the daemon's own answer cannot be read: {why}"));
            let head = caller.0.as_ref().ok_or_else(|| Told::Unreachable("the call came with no known caller".into()))?;
            let body = request.body();
            let method = if body.is_some() { "POST" } else { "GET" };
            let mut inner = hyper::Request::builder().method(method).uri(request.path()).header(header::HOST, "localhost");
            if let Some(token) = head.headers.get(header::AUTHORIZATION) {
                inner = inner.header(header::AUTHORIZATION, token);
            }
            if let Some(peer) = head.extensions.get::<Peer>() {
                inner = inner.extension(*peer);
            }
            let body = body.map_or_else(String::new, |body| body.to_string());
            let inner = inner.body(Full::new(Bytes::from(body))).map_err(|error| broken(&error))?;
            let answer = self.0.call(inner).await.map_err(|error| broken(&error))?;
            let status = answer.status();
            let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| broken(&error))?.to_bytes();
            let value: Value = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
            if status.is_success() {
                return Ok(value);
            }
            let error = value["error"].as_str().map_or_else(|| status.to_string(), str::to_owned);
            Err(Told::Refused { status: status.as_u16(), error })
        })
    }
}

/// Lets through whoever may ask.
async fn authorised(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let refused = by_right(&app, &parts, asker).err();
    request = Request::from_parts(parts, body);
    if let Some(mut refused) = refused {
        if refused.status() == StatusCode::UNAUTHORIZED {
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        return refused;
    }
    if let Some(token) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        token.set_sensitive(true);
    }
    next.run(request).await
}

/// The route. `api` is asked; `hosts` are names by which it may be asked, besides this machine's own.
pub(super) fn routes(app: Arc<App>, api: Router, hosts: Vec<String>) -> Router {
    let server = Server::new(Arc::new(InProcess(TowerToHyperService::new(api))));
    Router::new()
        .route_service("/mcp", mount(server, &Mount { hosts }))
        .layer(from_fn_with_state(Arc::clone(&app), authorised))
        .layer(from_fn_with_state(app, guard::guard))
}
