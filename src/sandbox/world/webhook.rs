//! Webhooks as the workspace knows them: whom to tell, of what, and with which secret. Delivering is `deliver`'s.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::World;
use super::event_types::KNOWN;
use super::ids::WebhookId;
use super::refusal::Refusal;
use super::rules::scaled;
use super::table::row;
use crate::clock::add;

/// How long a replaced secret still signs, in Svix's default.
const OLD_SECRET_LIVES: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Webhook {
    pub(crate) webhook_id: WebhookId,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) url: String,
    pub(crate) event_types: Vec<String>,
    pub(crate) secret: String,
    /// Replaced secrets, and until when they sign along.
    pub(crate) old_secrets: Vec<(String, Timestamp)>,
    /// Since when deliveries have done nothing but fail.
    pub(crate) failing_since: Option<Timestamp>,
    /// Given up after five days of failure, as Svix does.
    pub(crate) disabled_at: Option<Timestamp>,
}
row!(Webhook, webhook_id: WebhookId);

impl std::fmt::Debug for Webhook {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Webhook").field("webhook_id", &self.webhook_id).finish_non_exhaustive()
    }
}

impl Webhook {
    pub(crate) fn wants(&self, event_type: &str) -> bool {
        self.disabled_at.is_none() && self.event_types.iter().any(|wanted| wanted == "*" || wanted == event_type)
    }

    /// The secrets that sign now, the newest first.
    pub(crate) fn secrets(&self, now: Timestamp) -> Vec<String> {
        let old = self.old_secrets.iter().filter(|(_, until)| now < *until).map(|(secret, _)| secret.clone());
        std::iter::once(self.secret.clone()).chain(old).collect()
    }
}

impl World {
    pub(crate) fn webhook(&self, id: WebhookId) -> Result<&Webhook, Refusal> {
        self.webhooks.get(id).ok_or_else(no_webhook)
    }

    /// A webhook that hears of what happens from now on.
    pub(crate) fn create_webhook(
        &mut self,
        url: String,
        event_types: Vec<String>,
        now: Timestamp,
    ) -> Result<WebhookId, Refusal> {
        check_event_types(&event_types)?;
        let webhook_id = self.chance.id();
        let secret = self.new_secret();
        self.webhooks.insert(Webhook {
            webhook_id,
            created_at: now,
            deleted_at: None,
            url,
            event_types,
            secret,
            old_secrets: Vec::new(),
            failing_since: None,
            disabled_at: None,
        });
        Ok(webhook_id)
    }

    pub(crate) fn update_webhook(&mut self, id: WebhookId, event_types: Vec<String>) -> Result<(), Refusal> {
        check_event_types(&event_types)?;
        self.webhooks.get_mut(id).ok_or_else(no_webhook)?.event_types = event_types;
        Ok(())
    }

    pub(crate) fn delete_webhook(&mut self, id: WebhookId, now: Timestamp) -> Result<(), Refusal> {
        self.webhooks.get_mut(id).ok_or_else(no_webhook)?.deleted_at = Some(now);
        Ok(())
    }

    /// Gives a webhook a new secret; the old one signs along for a day.
    pub(crate) fn rotate_webhook_secret(&mut self, id: WebhookId, now: Timestamp) -> Result<String, Refusal> {
        let secret = self.new_secret();
        let until = add(now, scaled(OLD_SECRET_LIVES, self.rules.speed));
        let webhook = self.webhooks.get_mut(id).ok_or_else(no_webhook)?;
        let old = std::mem::replace(&mut webhook.secret, secret.clone());
        webhook.old_secrets.retain(|(_, until)| now < *until);
        webhook.old_secrets.insert(0, (old, until));
        Ok(secret)
    }

    fn new_secret(&mut self) -> String {
        use base64::Engine as _;
        format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(self.chance.bytes::<24>()))
    }
}

fn check_event_types(event_types: &[String]) -> Result<(), Refusal> {
    if event_types.iter().all(|name| name == "*" || KNOWN.contains(&name.as_str())) {
        return Ok(());
    }
    Err(Refusal::bad("invalid_event_types", "Invalid event types"))
}

fn no_webhook() -> Refusal {
    Refusal::not_found("webhook", "Webhook")
}
