//! A look at the provider for `keyferry doctor`: does it answer us, what is its time, and whom does it tell of what.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::error::{Call, Failure, judge};
use super::wire::{self, Object};
use super::{ProviderError, SeamClient};

const WEBHOOKS_LIST: Call = Call::repeatable("/webhooks/list");

/// A webhook as Seam tells it. Whether it is disabled, Seam does not tell.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub url: String,
    /// `*` is every type.
    pub event_types: Vec<String>,
    pub secret: Option<SecretString>,
}

/// What one call has shown.
#[derive(Debug)]
pub struct Inspection {
    pub status: Option<u16>,
    /// The provider's clock, by the `Date` of its answer, to the second; and ours at that moment.
    pub clock: Option<(Timestamp, Timestamp)>,
    pub webhooks: Result<Vec<Webhook>, ProviderError>,
}

impl SeamClient {
    pub async fn inspect(&self) -> Inspection {
        let attempt = self.sender.post(WEBHOOKS_LIST, &json!({})).await;
        let now = self.clock.now();
        let date = attempt.date.as_deref().and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        let webhooks = attempt
            .outcome
            .and_then(|body| wire::page::<Webhook>(&body).map_err(Failure::Unreadable))
            .map(|page| page.items)
            .map_err(|failure| judge(WEBHOOKS_LIST, failure, now, self.retry_after_max));
        Inspection { status: attempt.status, clock: date.map(|date| (date, now)), webhooks }
    }
}

impl Object for Webhook {
    const ONE: &'static str = "webhook";
    const MANY: &'static str = "webhooks";
    const ID: &'static str = "webhook_id";

    fn read(raw: &RawValue) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Wire {
            url: String,
            event_types: Option<Vec<String>>,
            secret: Option<SecretString>,
        }
        let Wire { url, event_types, secret } = serde_json::from_str(raw.get())?;
        Ok(Self { url, event_types: event_types.unwrap_or_else(|| vec!["*".to_owned()]), secret })
    }
}
