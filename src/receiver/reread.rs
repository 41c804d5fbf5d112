//! Reading a parked delivery once more: the parser may understand today what it did not yesterday.

use bytes::Bytes;
use jiff::Timestamp;

use super::parse::{self, Unreadable};
use super::source::Kind;
use super::verify::Verified;
use crate::queue::{Content, Envelope};

/// Reads a delivery that was proven when it came in, and parked because nobody could read it.
pub fn reread(
    kind: Kind,
    source: &str,
    delivery_id: &str,
    received_at: Timestamp,
    body: Bytes,
) -> Result<Envelope, Unreadable> {
    let delivery = Verified::when_it_was_parked(delivery_id, received_at, body);
    let event = parse::read(kind, source, &delivery)?;
    Ok(Envelope {
        delivery_id: delivery_id.to_owned(),
        received_at,
        traceparent: None,
        body: delivery.body().clone(),
        content: Content::Event(event),
    })
}
