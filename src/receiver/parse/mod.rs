//! What does a proven body say? One file per kind of body, each a small borrowed read of the few fields that we use.
//!
//! `document` looks over the bytes before anything is read from them. No tree of the JSON is built where the fields are
//! known: those that nobody reads cost a scan and nothing else. A body that cannot be understood is not the sender's
//! forgery but somebody's mistake, ours included, so it becomes an [`Unreadable`] that a person will look at, not a
//! refusal that the sender would repeat for a day.

mod cloud_events;
mod document;
mod field;
pub mod pointers;
mod seam;
mod standard;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::Event;

use super::verify::Verified;
pub use pointers::Pointers;

/// Why a body was put aside: a sentence that names the field and the problem and repeats nothing of the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unreadable {
    pub why: String,
}

impl Unreadable {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// What the bodies of a source look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Seam's event objects.
    Seam,
    /// Our own events, which have the shape of Seam's.
    Standard,
    /// HID Origo's CloudEvents: single, or up to `items_max` in a batch.
    CloudEvents { items_max: usize },
    /// Whatever JSON the pointers find their way in.
    Pointers(Arc<Pointers>),
}

/// Headers by their names in lower case: those that the shape asked for, and that a person may need.
pub type Headers = BTreeMap<String, String>;

/// One event of a delivery, or one part of it that cannot be read. What cannot be read at all is one item, the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The delivery's own id, or what tells this item of a batch from the others.
    pub delivery_id: String,
    /// The item's part of the body, byte for byte.
    pub body: Bytes,
    pub event: Result<Event, Unreadable>,
}

impl Shape {
    /// The headers, in lower case, that are read along with the body.
    #[must_use]
    pub fn headers(&self) -> Vec<&str> {
        match self {
            Self::Seam | Self::Standard => Vec::new(),
            Self::CloudEvents { .. } => cloud_events::HEADERS.to_vec(),
            Self::Pointers(pointers) => pointers.headers(),
        }
    }

    /// Reads what a proven delivery of the source named `source` carries.
    #[must_use]
    pub fn read(&self, source: &str, delivery: &Verified, received_at: Timestamp, headers: &Headers) -> Vec<Item> {
        let body = delivery.body();
        let text = || document::object(body);
        match self {
            Self::Seam => whole(delivery, text().and_then(|text| seam::read(source, text))),
            Self::Standard => whole(delivery, text().and_then(|text| standard::read(source, text))),
            Self::CloudEvents { items_max } => cloud_events::read(source, delivery, headers, *items_max)
                .unwrap_or_else(|why| whole(delivery, Err(why))),
            Self::Pointers(pointers) => {
                whole(delivery, text().and_then(|text| pointers.read(source, text, received_at, headers)))
            }
        }
    }
}

fn whole(delivery: &Verified, event: Result<Event, Unreadable>) -> Vec<Item> {
    vec![Item { delivery_id: delivery.delivery_id().to_owned(), body: delivery.body().clone(), event }]
}

/// A type that others chose, of which we ask only what the bus asks: it is the routing key there.
fn free_type(event_type: String) -> Result<String, Unreadable> {
    const BYTES_MAX: usize = 128;
    if event_type.len() <= BYTES_MAX && event_type.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(event_type)
    } else {
        Err(Unreadable::new(format!("The event's type is not 1 to {BYTES_MAX} printable ASCII characters.")))
    }
}
