//! What a client is told: the only file that knows the statuses of refusals.
//!
//! Every refusal has one shape, and its message says what happened, what that means and what to do. What went wrong
//! inside is logged here, once, and not told.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use metrics::{counter, describe_counter};

use super::wire::{ErrorBody, ErrorDetail};
use crate::domain::FieldError;
use crate::store::StoreError;

const REFUSALS: &str = "keyferry_ops_refusals_total";

pub(super) fn describe() {
    describe_counter!(REFUSALS, "Requests to the ops port that were refused, by the type in the answer");
}

pub(super) type Answer<T> = Result<T, Refusal>;

/// How a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    Unauthorized,
    ForeignHost,
    ForeignOrigin,
    NoSuchPath,
    MethodNotAllowed,
    /// A parameter of the query, or a header, that cannot be understood.
    Parameter(FieldError),
    NotFound {
        what: &'static str,
        id: String,
    },
    NotJson,
    BodyTooLarge,
    BodyTooSlow,
    BodyBroken,
    NoJson(String),
    Plan(Vec<FieldError>),
    PlanConflict(&'static str),
    StillUnreadable(String),
    TooManyFollowers,
    Opening,
    /// The database does not answer.
    StoreAway(StoreError),
    /// What should not be.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if error.is_of_database() { Self::StoreAway(error) } else { Self::Store(error) }
    }
}

impl Refusal {
    pub(super) fn parameter(name: &str, reason: impl Into<String>) -> Self {
        Self::Parameter(FieldError::new(name, reason))
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NoSuchPath | Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Parameter(_) | Self::BodyBroken | Self::NoJson(_) => StatusCode::BAD_REQUEST,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Plan(_) | Self::StillUnreadable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PlanConflict(_) => StatusCode::CONFLICT,
            Self::TooManyFollowers | Self::Opening | Self::StoreAway(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The word for programs.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
            Self::NoSuchPath => "no_such_path",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Parameter(_) => "invalid_parameter",
            Self::NotFound { .. } => "not_found",
            Self::NotJson => "not_json",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::NoJson(_) => "unreadable_json",
            Self::Plan(_) => "invalid_plan",
            Self::PlanConflict(_) => "plan_conflict",
            Self::StillUnreadable(_) => "still_unreadable",
            Self::TooManyFollowers => "too_many_followers",
            Self::Opening | Self::StoreAway(_) => "store_unavailable",
            Self::Store(_) => "internal",
        }
    }

    /// The sentence for people.
    fn message(&self) -> String {
        let fixed = match self {
            Self::NotFound { what, id } => return format!("there is no {what} {id:?}"),
            Self::NoJson(why) => return format!("the body is not JSON ({why}); nothing was changed"),
            Self::PlanConflict(why) => return format!("the plan was not changed: {why}"),
            Self::StillUnreadable(why) => {
                return format!("it still cannot be read ({why}), so it stays parked; discard it if it never will be");
            }
            Self::Unauthorized => {
                "the API wants the header `Authorization: Bearer …` with the token that the server was started with \
                 (KEYFERRY_OPS_TOKEN)"
            }
            Self::ForeignHost => {
                "without a token the API answers on this machine only, and the Host header names another: ask for \
                 127.0.0.1, or set KEYFERRY_OPS_TOKEN"
            }
            Self::ForeignOrigin => "the request comes from a page of another site; the API takes none from there",
            Self::NoSuchPath => "nothing is at this path; the API's paths are listed in /v1/openapi.json",
            Self::MethodNotAllowed => "the path takes other methods, which the Allow header lists",
            Self::Parameter(_) => "a parameter cannot be understood; nothing was done",
            Self::NotJson => "the body is to be plain JSON: `Content-Type: application/json`, and no Content-Encoding",
            Self::BodyTooLarge => "the body is larger than 256 KiB; nothing was changed",
            Self::BodyTooSlow => "the body did not arrive within 15 s; nothing was changed",
            Self::BodyBroken => "the body was cut off on its way; nothing was changed",
            Self::Plan(_) => "the plan cannot stand as it is; nothing was changed. Mend the fields and put it again",
            Self::TooManyFollowers => "too many clients follow the ledger already; read /v1/ledger?after=SEQ instead",
            Self::Opening => {
                "the store is not open yet, so nothing can be read or changed; ask again. The server's log says what it \
                 waits for"
            }
            Self::StoreAway(_) => {
                "the database did not answer, and nothing is known to have changed; ask again. The server's log says why"
            }
            Self::Store(_) => {
                "the request failed inside, and nothing is known to have changed; the server's log says why"
            }
        };
        fixed.to_owned()
    }

    fn fields(self) -> Vec<FieldError> {
        match self {
            Self::Plan(fields) => fields,
            Self::Parameter(field) => vec![field],
            _ => vec![],
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        counter!(REFUSALS, "type" => self.kind()).increment(1);
        if let Self::Store(error) | Self::StoreAway(error) = &self {
            tracing::error!(%error, "a request to the ops API failed on the store");
        }
        let (status, kind, message) = (self.status(), self.kind(), self.message());
        // The rest of a body may still be on its way, so the connection cannot carry another request.
        let ends = matches!(self, Self::BodyTooLarge | Self::BodyTooSlow | Self::BodyBroken | Self::NotJson);
        let error = ErrorDetail { kind: kind.to_owned(), message, fields: self.fields() };
        let mut response = (status, Json(ErrorBody { error })).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if ends {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

pub(super) async fn not_found() -> Refusal {
    Refusal::NoSuchPath
}

pub(super) async fn opening() -> Refusal {
    Refusal::Opening
}

/// The router adds `Allow`.
pub(super) async fn method_not_allowed() -> Refusal {
    Refusal::MethodNotAllowed
}

/// What every answer says: it holds for this moment only, is what it says that it is, and is for no page of another site.
/// What is opened in a browser by itself, the page aside, may load and run nothing.
pub(super) async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], include_str!("../../schemas/api/openapi.json"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_database_that_is_away_is_told_apart_from_a_mistake_of_ours() {
        let away = || StoreError::Postgres(sqlx::Error::PoolTimedOut);
        for error in [away(), StoreError::Shared(Arc::new(away()))] {
            assert_eq!(Refusal::from(error).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let wrong = StoreError::Corrupt("a status that nobody knows".to_owned());
        assert_eq!(Refusal::from(wrong).status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
