//! The webhook endpoint: prove the sender, read the event, make it durable, answer. In that order, by type.
//!
//! `verify` alone makes a [`verify::Verified`], `parse` takes nothing else, and only what came through both is
//! published, all that one delivery carries at once. A 2xx says that the publisher has confirmed; anything short of that is a 503 and the sender's next
//! attempt. The receiver knows no store, no provider and no broker: neither can make it refuse a webhook.

mod body;
pub mod explain;
mod head;
mod meters;
mod observe;
mod outcome;
pub mod parse;
mod reply;
mod reread;
mod roster;
mod source;
pub mod verify;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::queue::{self, Content, Envelope, PublishError, Publisher};

use body::Room;
use observe::Observer;
use outcome::{Accepted, Outcome, Rejection};
use verify::{Refused, Verified};

pub use reread::reread;
pub use roster::Roster;
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
            held_bytes: 32 * 1024 * 1024,
            publish_timeout: Duration::from_secs(10),
        }
    }
}

/// Everything the endpoint needs.
pub struct Receiver {
    /// Swapped when the configuration is read again; a request takes the one that stands when it begins.
    roster: watch::Receiver<Arc<Roster>>,
    publisher: Arc<dyn Publisher>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    room: Room,
    observer: Observer,
}

impl Receiver {
    /// With sources that stay as they are. The last of several of one name counts.
    #[must_use]
    pub fn new(
        sources: impl IntoIterator<Item = Source>,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        let (_, roster) = watch::channel(Arc::new(Roster::new(sources)));
        Self::following(roster, publisher, clock, limits)
    }

    /// With the sources of whatever roster was sent last.
    #[must_use]
    pub fn following(
        roster: watch::Receiver<Arc<Roster>>,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        Self { roster, publisher, clock, limits, room: Room::new(limits.held_bytes), observer: Observer::default() }
    }

    async fn accept(&self, roster: &Roster, source: Option<&Source>, request: Request, now: Timestamp) -> Outcome {
        let (head, body) = request.into_parts();
        head::expect_json(&head.headers)?;
        let body = self
            .within(self.limits.body_timeout, self.room.read(body, self.limits.body_bytes))
            .await
            .unwrap_or(Err(Rejection::BodyTooSlow))?;
        // The clock is read here and not with the head: a sender may take its time with the body.
        let proven_at = self.clock.now();
        let verdict = roster.verify(source, &head.headers, &body.bytes, proven_at);
        self.observer.proven(source, &verdict, proven_at);
        let (source, delivery) = verdict.map_err(|Refused { refusal, .. }| refusal)?;
        let (accepted, envelopes) = envelopes(source, &delivery, &head, now);
        if !envelopes.is_empty() {
            self.publish(envelopes).await?;
        }
        Ok(accepted)
    }

    /// Waits until all envelopes of a delivery are durable.
    ///
    /// When the sender hangs up, or the time is over, this is dropped at its `await`: each may or may not have become
    /// durable, and nobody was told that it had. The sender delivers it again and the inbox keeps one of the two,
    /// so nothing needs to outlive the request.
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        let timeout = self.limits.publish_timeout;
        let published = self.within(timeout, self.publisher.publish(batch)).await;
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

/// What a proven delivery becomes: an envelope for each event, and for each part that cannot be read.
fn envelopes(source: &Source, delivery: &Verified, head: &Parts, received_at: Timestamp) -> (Accepted, Vec<Envelope>) {
    let (mut accepted, asked) = (Accepted::default(), source.shape().headers());
    let kept = || head::kept(&head.headers, &asked);
    let headers = if asked.is_empty() { parse::Headers::new() } else { kept() };
    let proof = queue::Proof { secret: delivery.proof().secret().to_string(), sent_at: delivery.proof().sent_at() };
    let traceparent = head::traceparent(&head.headers);
    let mut envelope = |item: parse::Item| {
        let content = match item.event {
            Ok(event) => {
                accepted.event_types.push(event.event_type.clone());
                Content::Event(event)
            }
            Err(parse::Unreadable { why }) => {
                accepted.unreadable.push(why.clone());
                Content::Unreadable { source: source.name().to_string(), why, headers: kept() }
            }
        };
        Envelope {
            delivery_id: item.delivery_id,
            received_at,
            traceparent: traceparent.clone(),
            proof: Some(proof.clone()),
            body: item.body,
            content,
        }
    };
    let envelopes = source.read(delivery, received_at, &headers).into_iter().map(&mut envelope).collect();
    (accepted, envelopes)
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
    let roster = Arc::clone(&receiver.roster.borrow());
    // The name as it was sent, not percent-decoded: a source's name has nothing to decode.
    let source = roster.get(request.uri().path().rsplit('/').next().unwrap_or_default());
    let outcome = receiver.accept(&roster, source, request, started).await;
    let ended = receiver.clock.now();
    receiver.observer.record(source, &outcome, ended, ended.duration_since(started));
    reply::to(&outcome, source.map(Source::kind))
}
