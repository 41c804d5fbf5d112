//! From a request of Seam's API to its answer: faults, then authentication, method, parameters, handler, in the order
//! in which Seam's server checks.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::Sandbox;
use super::answer::{error_response, text_response};
use super::faults::Fault;
use super::input::Input;
use super::routes::{self, Call, Endpoint};
use super::world::World;
use super::world::ids::ClientSessionId;
use crate::http::HangUp;

/// Bytes of a call's body. Seam's largest parameters are lists of ids.
const BODY_MAX: usize = 1024 * 1024;

/// Longer than any client waits; then the connection is hung up on.
const SWALLOWED_FOR: Duration = Duration::from_mins(10);

pub(crate) async fn seam(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let mut response = answer(&sandbox, request).await;
    if let Ok(id) = HeaderValue::from_str(&sandbox.request_id().to_string()) {
        response.headers_mut().insert("seam-request-id", id);
    }
    response
}

async fn answer(sandbox: &Sandbox, request: Request) -> Response {
    let Some(endpoint) = routes::find(request.uri().path()) else {
        return text_response(StatusCode::NOT_FOUND, "Not Found");
    };
    match sandbox.strike(endpoint.path) {
        None => handle(sandbox, endpoint, request).await,
        Some(Fault::Status(status)) => failed(status),
        Some(Fault::RateLimit(wait)) => rate_limited(wait.as_secs().max(1)),
        Some(Fault::Timeout) => {
            sandbox.pause(SWALLOWED_FOR).await;
            hang_up()
        }
        Some(Fault::CutAfterCommit) => {
            handle(sandbox, endpoint, request).await;
            hang_up()
        }
        Some(Fault::Slow(wait)) => {
            let response = handle(sandbox, endpoint, request).await;
            sandbox.pause(wait).await;
            response
        }
        Some(Fault::Garbage) => {
            handle(sandbox, endpoint, request).await;
            text_response(StatusCode::OK, "<html><body>It works!</body></html>")
        }
    }
}

fn failed(status: StatusCode) -> Response {
    let kind = status.canonical_reason().unwrap_or("unknown_error").to_lowercase().replace([' ', '-'], "_");
    error_response(status, &kind, "A fault was ordered")
}

fn rate_limited(seconds: u64) -> Response {
    let mut response = error_response(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn hang_up() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(HangUp);
    response
}

async fn handle(sandbox: &Sandbox, endpoint: &Endpoint, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let url = format!("http://{host}{}", endpoint.path);
    sandbox.with_world(|world, now| {
        let session = match caller(&parts.headers, sandbox.api_key(), world, now) {
            Ok(session) => session,
            Err(message) => return error_response(StatusCode::UNAUTHORIZED, "unauthorized", message),
        };
        if !endpoint.takes(&parts.method) {
            let message = format!("only {} accepted", endpoint.accepts());
            return error_response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
        }
        let input = match read_input(&parts, &body) {
            Ok(input) => input,
            Err(response) => return response,
        };
        let mut call = Call { world, now, input, url: &url, session };
        let outcome = (endpoint.handler)(&mut call);
        sandbox.name_oddities(endpoint.path, &call.input);
        match outcome {
            Ok(answer) => answer.into_response(),
            Err(refusal) => refusal.into_response(),
        }
    })
}

/// Who calls: the workspace by its API key (`None`), or an app by its client session's token.
fn caller(
    headers: &HeaderMap,
    api_key: &str,
    world: &World,
    now: jiff::Timestamp,
) -> Result<Option<ClientSessionId>, &'static str> {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
    let bearer = headers.get(AUTHORIZATION).and_then(text);
    let bearer = bearer.as_deref().and_then(|value| value.strip_prefix("Bearer "));
    if bearer == Some(api_key) {
        return Ok(None);
    }
    let session = headers.get("client-session-token").and_then(text);
    let token = bearer.or(session.as_deref()).ok_or("No authentication methods succeeded")?;
    match world.session_by_token(token, now) {
        Some(session) => Ok(Some(session.client_session_id)),
        None if token.starts_with("seam_cst") => Err("Client session token not found"),
        None => Err("API Key not found"),
    }
}

#[expect(clippy::result_large_err, reason = "the error is the answer, and is sent at once")]
fn read_input(parts: &Parts, body: &Bytes) -> Result<Input, Response> {
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let query: Vec<(String, String)> = query.into_owned().collect();
    if body.is_empty() {
        return Ok(Input::new(&query, Map::new()));
    }
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/json") {
        let message = format!("{} requests must have Content-Type header with \"application/json\"", parts.method);
        return Err(error_response(StatusCode::BAD_REQUEST, "invalid_content_type", &message));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(Input::new(&query, fields)),
        Ok(_) => Err(error_response(StatusCode::BAD_REQUEST, "invalid_input", "Expected object")),
        Err(_) => Err(text_response(StatusCode::BAD_REQUEST, "Invalid JSON")),
    }
}
