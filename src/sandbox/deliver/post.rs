//! One attempt at one delivery, and what its answer means.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use jiff::SignedDuration;
use reqwest::redirect::Policy;

use super::outbox::Attempt;
use super::schedule::Failure;

/// How long a recipient may take to answer, in Svix's hosted service. It is real time at any speed: the recipient's
/// machine is no faster for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    Failed(Failure),
    /// The recipient asked for no further attempts at this message (`webhook-delivery: abort-message`).
    Abort,
    /// The recipient asked for no further messages at all (`webhook-delivery: disable`).
    Disable,
}

pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent("Svix-Webhooks/1.84 (sandbox)")
        .build()
}

/// Any status from 200 to 299 in time is a delivery; everything else, redirects included, is a failure.
pub(crate) async fn post(client: &reqwest::Client, attempt: &Attempt) -> Verdict {
    let mut request = client.post(&attempt.url).body(attempt.body.clone());
    for (name, value) in &attempt.headers {
        request = request.header(name, value);
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "a delivery did not arrive");
            let failure = if error.is_timeout() { Failure::Overload { retry_after: None } } else { Failure::Plain };
            return Verdict::Failed(failure);
        }
    };
    match response.headers().get("webhook-delivery").map(http::HeaderValue::as_bytes) {
        Some(b"abort-message") => return Verdict::Abort,
        Some(b"disable") => return Verdict::Disable,
        _ => {}
    }
    if response.status().is_success() {
        return Verdict::Delivered;
    }
    tracing::debug!(status = response.status().as_u16(), "a delivery was refused");
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|text| text.parse().ok()).map(SignedDuration::from_secs);
        return Verdict::Failed(Failure::Overload { retry_after });
    }
    Verdict::Failed(Failure::Plain)
}
