//! The ops API, from its client's side: one request per call, and every failure in words that say what to do.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{Method, StatusCode};
use reqwest::{Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use crate::domain::FieldError;
use crate::ops::wire::ErrorBody;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two reads of an answer. A stream sends a heartbeat every 15 s.
const READ_TIMEOUT: Duration = Duration::from_secs(40);
const PAGE: &str = "1000";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where the API is, and who asks.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `KEYFERRY_OPS_URL`
    pub url: String,
    /// `KEYFERRY_OPS_TOKEN`
    pub token: Option<SecretString>,
}

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "nothing answers at {url} ({why})\n\
         Start it with `keyferry run` (or `keyferry work`), or set KEYFERRY_OPS_URL to where its ops port is."
    )]
    Unreachable { url: Url, why: String },
    #[error("the answer of {url} broke off ({why})")]
    Lost { url: Url, why: String },
    #[error("{message}{}", listed(.fields))]
    Refused { status: StatusCode, message: String, fields: Vec<FieldError> },
    #[error(
        "{url} answered {status}, and not in Keyferry's words\n\
         Is that the ops port (by default 8081), and not the receiver's or a proxy's? Set KEYFERRY_OPS_URL."
    )]
    Foreign { url: Url, status: StatusCode },
}

impl ClientError {
    /// Whether it may pass without anybody doing anything: the server is away or overloaded.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => true,
            Self::Refused { status, .. } | Self::Foreign { status, .. } => status.is_server_error(),
        }
    }
}

fn listed(fields: &[FieldError]) -> String {
    fields.iter().fold(String::new(), |list, field| list + "\n  " + &field.field + ": " + &field.reason)
}

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

/// An answer that is no refusal.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .context("the answer is not what this version expects: is the server of the same version?")
    }
}

impl Client {
    pub(super) fn new(connection: Connection) -> anyhow::Result<Self> {
        let base = Url::parse(&connection.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .with_context(|| format!("KEYFERRY_OPS_URL is {:?}, and not an http:// or https:// URL", connection.url))?;
        let http = reqwest::Client::builder()
            // The token goes to the ops port and to nobody in between.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // The token is for the one host that was named.
            .redirect(redirect::Policy::none())
            .build()
            .context("the HTTP client cannot be built")?;
        Ok(Self { http, base, token: connection.token })
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Reply> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        self.whole(response).await
    }

    /// One page of a list, as long as pages get.
    pub(super) async fn page<T: DeserializeOwned>(&self, path: &[&str], cursor: Option<&str>) -> anyhow::Result<T> {
        let mut query = vec![("limit", PAGE)];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        self.get(path, &query).await?.read()
    }

    pub(super) async fn put(&self, path: &[&str], body: Vec<u8>) -> anyhow::Result<Reply> {
        let request = self.request(Method::PUT, path).header(CONTENT_TYPE, "application/json").body(body);
        let response = self.send(request).await?;
        self.whole(response).await
    }

    pub(super) async fn post(&self, path: &[&str]) -> anyhow::Result<Reply> {
        let response = self.send(self.request(Method::POST, path)).await?;
        self.whole(response).await
    }

    pub(super) async fn delete(&self, path: &[&str]) -> anyhow::Result<Reply> {
        let response = self.send(self.request(Method::DELETE, path)).await?;
        self.whole(response).await
    }

    /// The ledger's stream after line `after`.
    pub(super) async fn follow(&self, after: i64) -> Result<Response, ClientError> {
        self.send(self.request(Method::GET, &["v1", "ledger", "stream"]).header(LAST_EVENT_ID, after)).await
    }

    /// The next piece of a stream; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, ClientError> {
        response.chunk().await.map_err(|error| self.lost(&error))
    }

    fn request(&self, method: Method, path: &[&str]) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each is percent-encoded: a plan's key may have what a path may not.
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|error| ClientError::Unreachable { url: self.base.clone(), why: innermost(&error) })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => ClientError::Refused { status, message: error.message, fields: error.fields },
            Err(_) => ClientError::Foreign { url: self.base.clone(), status },
        })
    }

    async fn whole(&self, response: Response) -> anyhow::Result<Reply> {
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.lost(&error))?;
        Ok(Reply { status, body })
    }

    fn lost(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Lost { url: self.base.clone(), why: innermost(error) }
    }
}

/// reqwest's own words name the URL again; the cause at the bottom says what happened.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
