//! Between the receiver and the inbox: what travels, and the two ways it travels.
//!
//! With RabbitMQ, [`Publisher`] is a confirmed publish and intake consumes into the [`Inbox`]; without it, the publisher
//! is the inbox itself. The receiver sees only [`Publisher`], the store only [`Inbox`]; neither knows which way it is.

pub mod direct;
pub mod envelope;
pub mod opening;
pub mod rabbitmq;
pub mod seal;
mod waiting;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::Event;

/// How the `delivery_id` begins of what no delivery brought, but was read from the provider's list of events.
pub const PULLED: &str = "listed:";

/// One event, or one delivery that could not be read, on its way into the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The sender's id of the delivery (`svix-id`, `webhook-id`): the same over all attempts. One delivery may carry
    /// several envelopes.
    pub delivery_id: String,
    pub received_at: Timestamp,
    /// W3C `traceparent` of the request, so that one trace runs from the webhook to the key.
    pub traceparent: Option<String>,
    /// How the delivery was proven; `None` for what Keyferry tells itself.
    pub proof: Option<Proof>,
    /// The event's JSON, or the unreadable body, byte for byte as received.
    pub body: Bytes,
    pub content: Content,
}

impl Envelope {
    /// Itself and its event, if it holds one.
    #[must_use]
    pub fn event(&self) -> Option<(&Self, &Event)> {
        match &self.content {
            Content::Event(event) => Some((self, event)),
            Content::Unreadable { .. } => None,
        }
    }
}

/// What is kept of a delivery's proof, so that rotating a secret and a wrong clock can be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The name of the secret that verified; not itself a secret.
    pub secret: String,
    /// When the sender signed, where its scheme says so.
    pub sent_at: Option<Timestamp>,
}

/// What an envelope holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Event(Event),
    /// Genuine, since its signature held, but not to be understood: to be parked with its bytes for a person.
    Unreadable {
        source: String,
        why: String,
        /// What helps a person to read the body. Never a signature or a credential.
        headers: BTreeMap<String, String>,
    },
}

/// Makes envelopes durable.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Returns `Ok` only when every envelope of the batch is durable. On `Err` each may or may not be: the sender
    /// delivers again and the inbox drops what it has.
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError>;
}

/// Why a batch is not known to be durable. All of it means the same to a sender: come again.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("it was not confirmed within {0:?}")]
    Deadline(std::time::Duration),
    #[error("too many publishes are in flight already")]
    Full,
    #[error("the queue refused it: {0}")]
    Refused(String),
    #[error("the queue cannot be reached: {0}")]
    Unavailable(String),
}

/// Where envelopes end up: the store's inbox.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Commits the whole batch in one transaction. What is there already (same source and event id) is dropped.
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError>;
}

/// The inbox could not commit; nothing of the batch was stored, or (after a lost connection) all of it was.
#[derive(Debug, thiserror::Error)]
#[error("the inbox could not commit: {0}")]
pub struct InboxError(pub String);
