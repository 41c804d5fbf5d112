//! What a sender is told: the only file that knows the receiver's statuses.
//!
//! All answers are fixed and have no body. Whoever cannot prove to be a source learns nothing, least of all which part
//! of the proof was missing; whoever can is told only what changes the sender's behaviour: stop, or come again.
//! Never a 410 (Standard Webhooks senders disable an endpoint for it), never a redirect.

use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderName, StatusCode};

use super::outcome::{Outcome, Rejection};
use super::source::Kind;

/// Long enough for a broker to restart, short beside any sender's own schedule.
const RETRY_AFTER_SECONDS: &str = "5";
/// After these the rest of the body may still be on its way, so the connection cannot carry another request.
const CLOSE: [(HeaderName, &str); 1] = [(CONNECTION, "close")];

/// The answer to a delivery of a source of this kind, if the source exists.
pub(super) fn to(outcome: &Outcome, kind: Option<Kind>) -> Response {
    match outcome {
        // What cannot be read is accepted too: a 4xx would be repeated for a day and could disable the endpoint.
        Ok(_) => accepted(kind).into_response(),
        Err(Rejection::Refused(refusal)) if refusal.is_contradiction() => StatusCode::BAD_REQUEST.into_response(),
        Err(Rejection::Refused(_)) => StatusCode::UNAUTHORIZED.into_response(),
        Err(Rejection::BodyBroken) => (StatusCode::BAD_REQUEST, CLOSE).into_response(),
        Err(Rejection::BodyTooSlow) => (StatusCode::REQUEST_TIMEOUT, CLOSE).into_response(),
        Err(Rejection::BodyTooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, CLOSE).into_response(),
        Err(Rejection::NotJson) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, CLOSE).into_response(),
        Err(Rejection::NoRoom) => (StatusCode::SERVICE_UNAVAILABLE, later(), CLOSE).into_response(),
        Err(Rejection::NotDurable(_)) => (StatusCode::SERVICE_UNAVAILABLE, later()).into_response(),
    }
}

/// HID Origo takes a 200 for success and nothing else.
fn accepted(kind: Option<Kind>) -> StatusCode {
    match kind {
        Some(Kind::HidOrigo) => StatusCode::OK,
        Some(Kind::Seam | Kind::Standard | Kind::Hmac) | None => StatusCode::ACCEPTED,
    }
}

fn later() -> [(HeaderName, &'static str); 1] {
    [(RETRY_AFTER, RETRY_AFTER_SECONDS)]
}

pub(super) async fn alive() -> StatusCode {
    StatusCode::OK
}

pub(super) async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// The router adds `Allow`.
pub(super) async fn method_not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}
