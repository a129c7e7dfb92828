//! The transport: one axum handler for all paths, which reads a request with its limits, lets a fault strike, and writes the answer.

use crate::api::{Answer, Call, answer};
use crate::fault::{self, FaultKind};
use crate::route::Query;
use crate::server::Shared;
use crate::status::ApiError;
use crate::watch;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The longest injected wait.
const LONGEST_WAIT_MS: u64 = 600_000;

pub(crate) async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match respond(&shared, request).await {
        Ok(response) => response,
        Err(error) => refuse(&error),
    }
}

async fn respond(shared: &Arc<Shared>, request: Request) -> Result<Response, ApiError> {
    let call = read(shared, request).await?;
    shared.lock().counters.requests += 1;
    // An answer is lost only of what does something: a dry run is passed over.
    let dry = !call.query.get("dryRun").is_empty();
    let struck = shared.faults().strike(&call.method, &call.path, dry);
    if struck.is_some() {
        shared.lock().counters.faults += 1;
    }
    match struck {
        None => write(shared, run(shared, &call)?),
        Some(FaultKind::Status { code, retry_after_seconds }) => Err(fault::refusal(code, retry_after_seconds)),
        Some(FaultKind::Initializing) => Err(fault::initializing()),
        Some(FaultKind::Timeout { real_ms }) => {
            tokio::time::sleep(Duration::from_millis(real_ms.min(LONGEST_WAIT_MS))).await;
            Err(fault::refusal(504, None))
        }
        Some(FaultKind::DropAfterDoing) => {
            run(shared, &call)?;
            Err(fault::refusal(500, None))
        }
        Some(FaultKind::PretendDone) => {
            let mut pretended = call.clone();
            if call.method != "GET" {
                pretended.query.set("dryRun", "All");
            }
            write(shared, run(shared, &pretended)?)
        }
    }
}

fn run(shared: &Arc<Shared>, call: &Call) -> Result<Answer, ApiError> {
    let mut world = shared.lock();
    let before = world.version;
    let result = answer(&mut world, call);
    let after = world.version;
    drop(world);
    if after != before {
        shared.changed.send_replace(after);
    }
    tracing::debug!(method = call.method, path = call.path, ok = result.is_ok(), "kubernetes request");
    result
}

/// Reads a request, its body up to the limit.
async fn read(shared: &Arc<Shared>, request: Request) -> Result<Call, ApiError> {
    let (parts, body) = request.into_parts();
    let (limit, token) = {
        let world = shared.lock();
        (world.settings.limits.body_bytes, world.settings.token.clone())
    };
    let header = |name: HeaderName| text(&parts.headers, name);
    if let Some(token) = token {
        let given = header(AUTHORIZATION);
        if given.strip_prefix("Bearer ").map(str::trim) != Some(token.0.as_str()) {
            return Err(ApiError::new(401, "Unauthorized", "Unauthorized"));
        }
    }
    let bytes = to_bytes(body, limit)
        .await
        .map_err(|_| ApiError::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}")))?;
    let content_type = header(CONTENT_TYPE);
    let body = if bytes.is_empty() { Value::Null } else { decode(&bytes, &content_type)? };
    Ok(Call {
        method: parts.method.as_str().to_string(),
        path: parts.uri.path().to_string(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        accept: header(ACCEPT),
        content_type,
        user_agent: header(USER_AGENT),
        host: header(HOST),
        body,
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_string()
}

/// JSON, or YAML where the content type says so.
fn decode(bytes: &[u8], content_type: &str) -> Result<Value, ApiError> {
    if content_type.contains("protobuf") || content_type.contains("cbor") {
        return Err(ApiError::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - got {content_type}, accepted media types include: application/json, application/yaml"
            ),
        ));
    }
    let json = serde_json::from_slice(bytes);
    match json {
        Ok(value) => Ok(value),
        Err(_) if content_type.contains("yaml") => {
            let text = std::str::from_utf8(bytes).map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
            serde_saphyr::from_str(text).map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
        }
        Err(error) => Err(ApiError::bad_request(format!("the object provided is unrecognized (must be of type JSON): {error}"))),
    }
}

fn write(shared: &Arc<Shared>, answer: Answer) -> Result<Response, ApiError> {
    Ok(match answer {
        Answer::Json(code, body) => json_response(code, &body),
        Answer::Text(text) => response(200, "text/plain; charset=utf-8", Body::from(text)),
        Answer::Raw(content_type, bytes) => response(200, content_type, Body::from(bytes)),
        Answer::Watch(spec) => response(200, "application/json", Body::from_stream(watch::open(shared, *spec)?)),
    })
}

fn refuse(error: &ApiError) -> Response {
    if *error == ApiError::no_page() {
        return response(404, "text/plain; charset=utf-8", Body::from(error.message.clone()));
    }
    let mut response = json_response(error.code, &error.body());
    if let Some(seconds) = error.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn json_response(code: u16, body: &Value) -> Response {
    // An aggregated discovery names itself in the content type; clients fall back to plain discovery without it.
    let version = body["apiVersion"].as_str().and_then(|version| version.strip_prefix("apidiscovery.k8s.io/"));
    match version {
        Some(version) => response(
            code,
            &format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"),
            Body::from(body.to_string()),
        ),
        None => response(code, "application/json", Body::from(body.to_string())),
    }
}

fn response(code: u16, content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}
