//! Several events of one type in one message: a JSON array of CloudEvents, each with its body as `data`.
//!
//! Under load a message costs the broker more than what is in it, so events that wait anyway travel together. `data` is
//! the body's own text, byte for byte: what has white space around it, or is no JSON, travels alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::FieldTable;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::attributes::{self, Attributes, Lookup};
use super::{DecodeError, EncodeError, HEADERS_BYTES_MAX, Limits, Message};
use crate::queue::{Envelope, seal};

pub(super) const MEDIA_TYPE: &str = "application/cloudevents-batch+json";

/// An event as JSON.
struct Element<'e> {
    attributes: Attributes<'e>,
    data: &'e RawValue,
}

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.attributes.len() + 2))?;
        for (name, value) in self.attributes.iter() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("datacontenttype", "application/json")?;
        map.serialize_entry("data", self.data)?;
        map.end()
    }
}

/// A batch in the making.
#[derive(Default)]
pub(super) struct Batch {
    json: Vec<u8>,
    /// The numbers that its envelopes were added under.
    pub(super) of: Vec<usize>,
}

impl Batch {
    /// Adds an envelope and its [`data`], if that keeps the batch within its limits. `false`: another batch must take it.
    /// An empty batch takes any.
    pub(super) fn add(
        &mut self,
        number: usize,
        envelope: &Envelope,
        data: &RawValue,
        limits: Limits,
    ) -> Result<bool, EncodeError> {
        let element = Element { attributes: Attributes::of(envelope)?, data };
        let before = self.json.len();
        self.json.push(if before == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut self.json, &element)?;
        let fits = self.of.is_empty() || (self.json.len() < limits.bytes && self.of.len() < limits.events);
        if fits {
            self.of.push(number);
        } else {
            self.json.truncate(before);
        }
        Ok(fits)
    }

    /// The message, of envelopes of `kind` of which the first was received at `received_at`.
    pub(super) fn message(mut self, kind: &str, received_at: Timestamp) -> Message {
        self.json.push(b']');
        let properties = super::properties(received_at).with_content_type(MEDIA_TYPE.into());
        Message { routing_key: super::routing_key(kind), properties, body: self.json.into() }
    }
}

/// The body of an envelope that may be in a batch: an event, and JSON from its first byte to its last.
pub(super) fn data(envelope: &Envelope) -> Option<&RawValue> {
    envelope.event()?;
    let data: &RawValue = serde_json::from_slice(&envelope.body).ok()?;
    (data.get().len() == envelope.body.len()).then_some(data)
}

pub(super) fn is_batch(properties: &BasicProperties) -> bool {
    let media_type = properties.content_type().as_ref().map_or("", |media_type| media_type.as_str());
    media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

/// The envelopes of a batch, or what is wrong with each.
pub(super) fn decode(
    properties: &BasicProperties,
    body: &Bytes,
) -> Result<Vec<Result<Envelope, DecodeError>>, DecodeError> {
    // A message in binary mode says nothing else when its content type is changed.
    let none = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&none).inner();
    let attributes = headers.keys().filter_map(|header| super::attribute(header.as_str()));
    if attributes.into_iter().any(|name| name != seal::ATTRIBUTE) {
        return Err(DecodeError::BesideBatch);
    }
    let elements: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|source| DecodeError::NotJson { name: "a batch", source })?;
    if elements.is_empty() {
        return Err(DecodeError::Missing("id"));
    }
    Ok(elements.into_iter().map(|element| read(element, body)).collect())
}

fn read(element: &RawValue, body: &Bytes) -> Result<Envelope, DecodeError> {
    let members: BTreeMap<&str, &RawValue> =
        serde_json::from_str(element.get()).map_err(|source| DecodeError::NotJson { name: "an event", source })?;
    let data = members.get("data").ok_or(DecodeError::Missing("data"))?.get();
    if element.get().len() - data.len() > 2 * HEADERS_BYTES_MAX {
        return Err(DecodeError::TooLong { what: "the attributes", max: HEADERS_BYTES_MAX });
    }
    attributes::read(&Members(members), body.slice_ref(data.as_bytes()))
}

/// Attributes as members of a JSON object.
struct Members<'e>(BTreeMap<&'e str, &'e RawValue>);

impl Lookup for Members<'_> {
    fn find(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, DecodeError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str::<String>(value.get())
            .map(|text| Some(text.into()))
            .map_err(|_| DecodeError::NotText(name))
    }
}
