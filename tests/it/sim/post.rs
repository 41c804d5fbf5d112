//! Who sends webhooks: the provider and the customer's backend, at least once, late, twice and out of order.

use std::collections::BTreeMap;

use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::add;
use keyferry::receiver::verify::Secret;
use keyferry::receiver::verify::standard_webhooks::sign;
use keyferry::receiver::{Kind, Source};
use serde_json::Value;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// As Svix waits, but for the hours.
const PAUSES_SECONDS: [i64; 4] = [5, 20, 60, 300];

/// A message on its way, until it is answered with a 2xx.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) source: &'static str,
    pub(super) event_id: String,
    pub(super) event_type: String,
    body: String,
    attempts: usize,
}

impl Message {
    pub(super) fn new(source: &'static str, event: &Value) -> Self {
        let text = |field: &str| event[field].as_str().expect("an event").to_owned();
        let (event_id, event_type) = (text("event_id"), text("event_type"));
        Self { source, event_id, event_type, body: event.to_string(), attempts: 0 }
    }

    /// Signed and sent `at` this moment of the sender's.
    pub(super) fn request(&self, at: Timestamp) -> Request<Body> {
        let kind = kind(self.source);
        let id = format!("msg_{}", self.event_id);
        let signature = sign(&secret(), &id, at, self.body.as_bytes());
        Request::post(format!("/webhooks/{}", self.source))
            .header(CONTENT_TYPE, "application/json")
            .header(kind.family().id(), id)
            .header(kind.family().timestamp(), at.as_second().to_string())
            .header(kind.family().signature(), signature)
            .body(Body::from(self.body.clone()))
            .expect("a request")
    }
}

fn kind(source: &str) -> Kind {
    if source == "seam" { Kind::Seam } else { Kind::Standard }
}

fn secret() -> Secret {
    Secret::parse(SECRET).expect("a secret")
}

/// The senders, as a receiver knows them.
pub(super) fn sources() -> [Source; 2] {
    ["seam", "app"].map(|name| {
        let tolerance = SignedDuration::from_mins(5);
        Source::new(name, kind(name), vec![secret()], tolerance).expect("a source")
    })
}

#[derive(Default)]
pub(super) struct Post {
    waiting: BTreeMap<(Timestamp, u64), Message>,
    numbered: u64,
}

impl Post {
    pub(super) fn send(&mut self, due: Timestamp, message: Message) {
        self.numbered += 1;
        self.waiting.insert((due, self.numbered), message);
    }

    /// Whoever was not answered with a 2xx comes again.
    pub(super) fn send_again(&mut self, now: Timestamp, mut message: Message) {
        let pause = PAUSES_SECONDS[message.attempts.min(PAUSES_SECONDS.len() - 1)];
        message.attempts += 1;
        self.send(add(now, SignedDuration::from_secs(pause)), message);
    }

    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Message> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.waiting.keys().next().map(|(due, _)| *due)
    }
}
