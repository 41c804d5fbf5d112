//! One attempt at one call: the request goes out once, and its answer comes back whole, in time and within its size.
//!
//! Every call is a POST with a JSON body, which each of Seam's paths accepts. That is one encoding for arrays, times and
//! absence instead of two, keeps people's ids out of addresses (which proxies log), and is the method that nothing on
//! the way repeats by itself.
//!
//! Nothing here repeats it either. reqwest's retries are off. Below it, hyper-util sends a request again only if a
//! *reused* connection closed before taking it, so creates get a connection of their own: for them that path does not
//! exist, nor does the race with a server that is just closing an idle connection, whose answer would be lost.

use std::error::Error;
use std::time::Duration;

use http::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};
use serde::Serialize;

use super::error::{Call, Failure, Refusal, cleaned};
use super::settings::{Endpoint, Settings};

/// Idle connections kept, and for how long: well below the minute after which servers commonly close them.
const IDLE_CONNECTIONS_MAX: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(20);

/// Sends requests and reads answers; knows nothing of what is in them.
pub(super) struct Sender {
    endpoint: Endpoint,
    /// For calls that may be repeated: keeps connections.
    keeping: Client,
    /// For calls that may not: a new connection each.
    fresh: Client,
    deadline: Duration,
    response_bytes_max: usize,
}

/// What came back.
pub(super) struct Attempt {
    pub(super) status: Option<u16>,
    /// `seam-request-id`, which Seam's support asks for.
    pub(super) request_id: Option<String>,
    /// When the answer was made, by the provider's clock.
    pub(super) date: Option<String>,
    /// The body of a 2xx.
    pub(super) outcome: Result<Vec<u8>, Failure>,
}

impl Sender {
    pub(super) fn new(settings: &Settings) -> reqwest::Result<Self> {
        Ok(Self {
            endpoint: settings.endpoint.clone(),
            keeping: client(settings, IDLE_CONNECTIONS_MAX)?,
            fresh: client(settings, 0)?,
            deadline: settings.deadline,
            response_bytes_max: settings.response_bytes_max,
        })
    }

    pub(super) async fn post(&self, call: Call, request: &(impl Serialize + Sync)) -> Attempt {
        let client = if call.is_repeatable { &self.keeping } else { &self.fresh };
        let response = match client.post(self.endpoint.at(call.path)).json(request).send().await {
            Ok(response) => response,
            Err(error) => {
                return Attempt {
                    status: None,
                    request_id: None,
                    date: None,
                    outcome: Err(self.without_answer(&error)),
                };
            }
        };
        let status = response.status();
        let request_id = header(response.headers(), "seam-request-id");
        let date = header(response.headers(), DATE.as_str());
        let retry_after = header(response.headers(), RETRY_AFTER.as_str());
        let body = self.whole_body(response).await;
        let outcome = if status.is_success() {
            body
        } else {
            // A refusal's status says enough: that its explanation got lost changes nothing.
            Err(Failure::Refused(Refusal { status, retry_after, body: body.unwrap_or_default() }))
        };
        Attempt { status: Some(status.as_u16()), request_id, date, outcome }
    }

    async fn whole_body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.without_answer(&error))? {
            if body.len() + chunk.len() > self.response_bytes_max {
                return Err(Failure::Unreadable(format!("the answer exceeds {} bytes", self.response_bytes_max)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn without_answer(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() || error.is_builder() {
            return Failure::NotSent(format!("no connection: {}", root_of(error)));
        }
        if error.is_timeout() {
            return Failure::Lost(format!("no whole answer within {} ms", self.deadline.as_millis()));
        }
        Failure::Lost(format!("the connection was lost: {}", root_of(error)))
    }
}

fn client(settings: &Settings, idle_connections_max: usize) -> reqwest::Result<Client> {
    let mut headers = HeaderMap::new();
    // An `ApiKey` is made of visible ASCII, which is always a header's value.
    if let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", settings.api_key.expose())) {
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Client::builder()
        .user_agent(concat!("keyferry/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // A proxy from the environment would get the key without anybody having configured that.
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.deadline)
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(idle_connections_max)
        .build()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(cleaned)
}

/// The innermost cause: "Connection refused" and the like, without the address that the outer layers add.
fn root_of(error: &reqwest::Error) -> String {
    let mut root: &dyn Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    cleaned(&root.to_string())
}
