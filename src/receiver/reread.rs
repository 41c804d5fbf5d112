//! Reading a parked delivery once more: the parser may understand today what it did not yesterday.

use bytes::Bytes;
use jiff::Timestamp;

use super::parse::{Headers, Shape, Unreadable};
use super::verify::Verified;
use crate::queue::{Content, Envelope};

/// Reads a delivery that was proven when it came in, and parked because nobody could read it. All of it, or nothing.
pub fn reread(
    shape: &Shape,
    source: &str,
    delivery_id: &str,
    received_at: Timestamp,
    headers: &Headers,
    body: Bytes,
) -> Result<Vec<Envelope>, Unreadable> {
    let delivery = Verified::when_it_was_parked(delivery_id, body);
    let items = shape.read(source, &delivery, received_at, headers);
    let envelope = |item: super::parse::Item| {
        Ok(Envelope {
            delivery_id: item.delivery_id,
            received_at,
            traceparent: None,
            proof: None,
            body: item.body,
            content: Content::Event(item.event?),
        })
    };
    items.into_iter().map(envelope).collect()
}
