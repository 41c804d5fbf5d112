//! How the world's objects look to a client: Seam's resource shapes, written out by hand.
//!
//! These structs are the sandbox's own and are shared with nobody. Fields and their order follow the OpenAPI document of
//! `@seamapi/types` 1.977.0.

mod access;
mod credential;
mod people;
mod phone;
mod session;
mod system;

pub(crate) use phone::phone_session;
pub(crate) use session::workspace;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::world::World;
use super::world::moment::At;
use super::world::table::Row;

/// A note on an object: `warning_code` or `error_code` or `mutation_code`, a message and a time.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    #[serde(skip_serializing_if = "Option::is_none")]
    warning_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutation_code: Option<&'static str>,
    message: String,
    created_at: At,
}

impl Note {
    fn blank(message: &str, at: Timestamp) -> Self {
        Self {
            warning_code: None,
            error_code: None,
            mutation_code: None,
            message: message.to_owned(),
            created_at: At(at),
        }
    }

    fn warning(code: &'static str, message: &str, at: Timestamp) -> Self {
        Self { warning_code: Some(code), ..Self::blank(message, at) }
    }

    fn error(code: &'static str, message: &str, at: Timestamp) -> Self {
        Self { error_code: Some(code), ..Self::blank(message, at) }
    }

    fn mutation(code: &'static str, message: &str, at: Timestamp) -> Self {
        Self { mutation_code: Some(code), ..Self::blank(message, at) }
    }
}

/// Lists that Seam's objects have and that are always empty here.
const NOTHING: [Note; 0] = [];

fn at(time: Option<Timestamp>) -> Option<At> {
    time.map(At)
}

/// A family's own words, under the family's key.
fn family_words(key: Option<&'static str>, words: &Value) -> Map<String, Value> {
    key.filter(|_| !words.is_null()).map(|key| (key.to_owned(), words.clone())).into_iter().collect()
}

/// An object's wire form.
pub(crate) trait Wire: Row {
    fn wire(&self, world: &World) -> Value;

    /// What the control room tells of it, and Seam does not.
    fn secrets(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

/// Everything that ever was of one kind, for the control room: with `deleted_at` and what Seam does not tell.
pub(crate) fn records<T: Wire>(world: &World, rows: &[T]) -> Vec<Value> {
    rows.iter()
        .map(|row| {
            let mut value = row.wire(world);
            if let Value::Object(fields) = &mut value {
                let deleted_at = row.deleted_at().map(|at| ("deleted_at", Value::String(At(at).to_string())));
                fields
                    .extend(row.secrets().into_iter().chain(deleted_at).map(|(name, value)| (name.to_owned(), value)));
            }
            value
        })
        .collect()
}

fn value(object: impl Serialize) -> Value {
    // String keys throughout: this cannot fail.
    serde_json::to_value(object).unwrap_or_default()
}
