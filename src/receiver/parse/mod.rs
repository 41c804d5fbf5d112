//! What does a proven body say? One file per kind of body, each a small borrowed read of the few fields that we use.
//!
//! `document` looks over the bytes before anything is read from them. No tree of the JSON is built: fields that nobody
//! reads cost a scan and nothing else. A body that cannot be
//! understood is not the sender's forgery but somebody's mistake, ours included, so it becomes an [`Unreadable`] that a
//! person will look at, not a refusal that the sender would repeat for a day.

mod document;
mod field;
mod seam;
mod standard;

use crate::domain::Event;

use super::source::Kind;
use super::verify::Verified;

pub use seam::ACTED_ON;

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

/// Reads the event that a proven delivery carries.
pub fn read(kind: Kind, source: &str, delivery: &Verified) -> Result<Event, Unreadable> {
    let text = document::object(delivery.body())?;
    match kind {
        Kind::Seam => seam::read(source, text),
        Kind::Standard => standard::read(source, text),
    }
}
