//! Reading a request: path, query and body, each refused in the API's own words.

use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Desk;
use super::reply::{Answer, Refusal};

const BODY_BYTES_MAX: usize = 256 * 1024;
const BODY_TIMEOUT: SignedDuration = SignedDuration::from_secs(15);

/// Items on a page: what is given when nobody asks, and what may be asked for.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

/// The path's one variable part, percent-decoded.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        // What is not UTF-8 names nothing.
        let segment = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Refusal::NoSuchPath)?;
        Ok(Self(segment.0))
    }
}

/// The query. Parameters that nobody knows are refused: a misspelt filter would otherwise list everything.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Refusal::parameter("query", rejection.body_text())),
        }
    }
}

/// The parameters that all lists have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<u32>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

impl Page {
    pub(super) fn new(limit: Option<u32>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    pub(super) fn limit(&self) -> Answer<u32> {
        match self.limit.unwrap_or(PAGE) {
            limit @ 1..=PAGE_MAX => Ok(limit),
            _ => Err(Refusal::parameter("limit", format!("a page has 1 to {PAGE_MAX} items"))),
        }
    }

    pub(super) fn cursor(self) -> Option<String> {
        self.cursor
    }

    pub(super) fn numeric_cursor(&self) -> Answer<i64> {
        let cursor = self.cursor.as_deref().unwrap_or("0");
        cursor.parse().map_err(|_| Refusal::parameter("cursor", "it is not the `next` of a page of this list"))
    }
}

/// A JSON body within its limits, not looked into yet.
pub(super) struct JsonBody(pub(super) Bytes);

impl FromRequest<Arc<Desk>> for JsonBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Answer<Self> {
        if !may_be_json(request.headers()) {
            return Err(Refusal::NotJson);
        }
        let body = request.into_body();
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(Refusal::BodyTooLarge);
        }
        tokio::select! {
            biased;
            body = Limited::new(body, BODY_BYTES_MAX).collect() => match body {
                Ok(body) => Ok(Self(body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
                Err(_) => Err(Refusal::BodyBroken),
            },
            () = desk.api.clock.sleep(BODY_TIMEOUT) => Err(Refusal::BodyTooSlow),
        }
    }
}

/// A body that names no type will speak for itself.
fn may_be_json(headers: &HeaderMap) -> bool {
    let is_json = |value: &HeaderValue| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"application/json")
    };
    !headers.contains_key(CONTENT_ENCODING) && headers.get_all(CONTENT_TYPE).iter().all(is_json)
}
