//! One event in one message: the attributes are headers, the body is what the sender sent, byte for byte.

use std::borrow::Cow;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::attributes::{self, Attributes, Lookup};
use super::{DecodeError, EncodeError, HEADERS_BYTES_MAX, Message, PREFIX, PREFIX_OTHER};
use crate::queue::{Content, Envelope, seal};

/// The message that carries `envelope` alone.
pub fn encode(envelope: &Envelope) -> Result<Message, EncodeError> {
    let (id, media_type) = match &envelope.content {
        Content::Event(event) => (&event.event_id, "application/json"),
        Content::Unreadable { .. } => (&envelope.delivery_id, "application/octet-stream"),
    };
    let mut headers = FieldTable::default();
    for (name, value) in Attributes::of(envelope)?.iter() {
        headers.insert(header(name), AMQPValue::LongString(value.into()));
    }
    let mut properties =
        super::properties(envelope.received_at).with_content_type(media_type.into()).with_headers(headers);
    // A convenience for people and tools. An id that AMQP has no room for is still whole in the attribute.
    if let Ok(id) = ShortString::try_new(id.as_str()) {
        properties = properties.with_message_id(id);
    }
    let routing_key = super::routing_key(super::kind(envelope));
    Ok(Message { routing_key, properties, body: envelope.body.clone() })
}

/// The envelope that a message carries alone.
pub fn decode(properties: &BasicProperties, body: impl Into<Bytes>) -> Result<Envelope, DecodeError> {
    let none = FieldTable::default();
    let headers = Headers(properties.headers().as_ref().unwrap_or(&none));
    let bytes: usize = headers.0.inner().iter().map(|(name, value)| attribute_bytes(name.as_str(), value)).sum();
    if bytes > HEADERS_BYTES_MAX {
        return Err(DecodeError::TooLong { what: "the attributes", max: HEADERS_BYTES_MAX });
    }
    attributes::read(&headers, body.into())
}

/// The header that an attribute is written to.
pub(in crate::queue) fn header(name: &str) -> ShortString {
    format!("{PREFIX}{name}").into()
}

/// The attribute that a header holds, under either prefix.
pub(in crate::queue) fn attribute(header: &str) -> Option<&str> {
    header.strip_prefix(PREFIX).or_else(|| header.strip_prefix(PREFIX_OTHER))
}

/// What a receiver counts of it. A seal comes on top of that, and so does what the broker adds.
fn attribute_bytes(header: &str, value: &AMQPValue) -> usize {
    match (attribute(header), value) {
        (Some(name), AMQPValue::LongString(text)) if name != seal::ATTRIBUTE => {
            header.len() + text.as_bytes().len() + 6
        }
        _ => 0,
    }
}

/// Attributes as headers.
struct Headers<'h>(&'h FieldTable);

impl Lookup for Headers<'_> {
    fn find(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, DecodeError> {
        let entries = self.0.inner();
        let value = [PREFIX, PREFIX_OTHER].iter().find_map(|prefix| entries.get(format!("{prefix}{name}").as_str()));
        match value {
            None => Ok(None),
            Some(AMQPValue::LongString(text)) => match str::from_utf8(text.as_bytes()) {
                Ok(text) => Ok(Some(text.into())),
                Err(_) => Err(DecodeError::NotText(name)),
            },
            Some(_) => Err(DecodeError::NotText(name)),
        }
    }
}
