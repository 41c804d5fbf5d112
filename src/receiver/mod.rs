//! The webhook endpoint: prove the sender, read the event, make it durable, answer. In that order, by type.
//!
//! `verify` alone makes a [`verify::Verified`], `parse` takes nothing else, and only what came through both is
//! published. A 2xx says that the publisher has confirmed; anything short of that is a 503 and the sender's next
//! attempt. The receiver knows no store, no provider and no broker: neither can make it refuse a webhook.

mod body;
mod head;
mod observe;
mod outcome;
pub mod parse;
mod reply;
mod reread;
mod source;
pub mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::queue::{Content, Envelope, PublishError, Publisher};

use body::Room;
use observe::Observer;
use outcome::{Accepted, Outcome, Rejection};
use verify::{Refusal, Verified};

pub use reread::reread;
pub use source::{Kind, Source, SourceError};

/// What one delivery may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one body.
    pub body_bytes: usize,
    /// From the end of a request's head to the end of its body.
    pub body_timeout: Duration,
    /// Bytes of all bodies that are held at once.
    pub held_bytes: usize,
    /// How long to wait for the publisher, whatever its own patience is: senders wait 15 s.
    pub publish_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            body_timeout: Duration::from_secs(15),
            held_bytes: 64 * 1024 * 1024,
            publish_timeout: Duration::from_secs(10),
        }
    }
}

/// Everything the endpoint needs.
pub struct Receiver {
    sources: BTreeMap<Arc<str>, Source>,
    /// Stands in for a source that does not exist, so that asking for one takes the same steps as a wrong signature.
    nobody: Source,
    publisher: Arc<dyn Publisher>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    room: Room,
    observer: Observer,
}

impl Receiver {
    /// The last of several sources of one name counts.
    #[must_use]
    pub fn new(
        sources: impl IntoIterator<Item = Source>,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        Self {
            sources: sources.into_iter().map(|source| (Arc::clone(source.name()), source)).collect(),
            nobody: Source::nobody(),
            publisher,
            clock,
            limits,
            room: Room::new(limits.held_bytes),
            observer: Observer::default(),
        }
    }

    async fn accept(&self, source: Option<&Source>, request: Request, now: Timestamp) -> Outcome {
        let (head, body) = request.into_parts();
        head::expect_json(&head.headers)?;
        let body = self
            .within(self.limits.body_timeout, self.room.read(body, self.limits.body_bytes))
            .await
            .unwrap_or(Err(Rejection::BodyTooSlow))?;
        let (source, delivery) = self.verify(source, &head.headers, body.bytes.clone())?;
        let (accepted, content) = match parse::read(source.kind(), source.name(), &delivery) {
            Ok(event) => (Accepted::Event { event_type: event.event_type.clone() }, Content::Event(event)),
            Err(parse::Unreadable { why }) => {
                let content = Content::Unreadable {
                    source: source.name().to_string(),
                    why: why.clone(),
                    headers: head::kept(&head.headers),
                };
                (Accepted::Unreadable { why }, content)
            }
        };
        self.publish(Envelope {
            delivery_id: delivery.delivery_id().to_owned(),
            received_at: now,
            traceparent: head::traceparent(&head.headers),
            body: delivery.body().clone(),
            content,
        })
        .await?;
        Ok(accepted)
    }

    /// Hands back the source together with the proof: without a source there is none.
    fn verify<'s>(
        &self,
        source: Option<&'s Source>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(&'s Source, Verified), Refusal> {
        // The clock is read here and not with the head: a sender may take its time with the body.
        let now = self.clock.now();
        let verdict = source.unwrap_or(&self.nobody).verify(headers, body, now);
        match (source, verdict) {
            (Some(source), Ok(delivery)) => Ok((source, delivery)),
            (Some(_), Err(refusal)) => Err(refusal),
            (None, Err(refusal)) if refusal.is_contradiction() => Err(refusal),
            (None, _) => Err(Refusal::SourceUnknown),
        }
    }

    /// Waits until the envelope is durable.
    ///
    /// When the sender hangs up, or the time is over, this is dropped at its `await`: the envelope may or may not have
    /// become durable, and nobody was told that it had. The sender delivers it again and the inbox keeps one of the two,
    /// so nothing needs to outlive the request.
    async fn publish(&self, envelope: Envelope) -> Result<(), PublishError> {
        let timeout = self.limits.publish_timeout;
        let published = self.within(timeout, self.publisher.publish(vec![envelope])).await;
        published.unwrap_or(Err(PublishError::Deadline(timeout)))
    }

    /// `None` when `timeout` passes first. What is ready at once needs no timer.
    async fn within<T>(&self, timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
        let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
        tokio::select! {
            biased;
            done = work => Some(done),
            () = async { self.clock.sleep(timeout).await } => None,
        }
    }
}

/// `POST /webhooks/{source}` and `GET /livez`.
pub fn router(receiver: Receiver) -> Router {
    observe::describe();
    Router::new()
        .route("/webhooks/{source}", post(receive).fallback(reply::method_not_allowed))
        .route("/livez", get(reply::alive).fallback(reply::method_not_allowed))
        .fallback(reply::not_found)
        .with_state(Arc::new(receiver))
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let started = receiver.clock.now();
    // The name as it was sent, not percent-decoded: a source's name has nothing to decode.
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let source = receiver.sources.get(name);
    let outcome = receiver.accept(source, request, started).await;
    let ended = receiver.clock.now();
    receiver.observer.record(source, &outcome, ended, ended.duration_since(started));
    reply::to(&outcome)
}
