//! Reading single fields strictly, with errors that a person can act on and that leak nothing.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Unreadable;
use crate::domain::text::is_steering;

/// Bytes of an id; every known sender uses UUIDs or shorter keys.
const ID_BYTES_MAX: usize = 256;
/// Bytes of an event type, which is also the routing key on the bus (AMQP allows 255).
const EVENT_TYPE_BYTES_MAX: usize = 128;

/// Reads the one JSON object that `text` is, which [`document`](super::document) has looked over.
pub(super) fn object<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Unreadable> {
    // What serde_json says here holds positions and our own field names, never content: values of a wrong type, whose
    // errors would quote them, are taken in by `Field`, and `document` has seen the opening brace.
    serde_json::from_str(text).map_err(|error| Unreadable::new(format!("The body is not the JSON we read: {error}.")))
}

/// The value of one field, whatever its type: so that a wrong type is named with the field, in our words.
#[derive(Debug, Default)]
pub(super) enum Field<'a> {
    #[default]
    Missing,
    Null,
    Text(Cow<'a, str>),
    Other(&'static str),
}

impl Field<'_> {
    /// An id that must be there.
    pub(super) fn id(&self, name: &str) -> Result<String, Unreadable> {
        self.optional_id(name)?.ok_or_else(|| missing(name))
    }

    /// An id that may be absent or null.
    pub(super) fn optional_id(&self, name: &str) -> Result<Option<String>, Unreadable> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if text.is_empty() {
            Err(Unreadable::new(format!("`{name}` is empty.")))
        } else if text.len() > ID_BYTES_MAX {
            Err(Unreadable::new(format!("`{name}` is longer than {ID_BYTES_MAX} bytes.")))
        } else if text.chars().any(is_steering) {
            Err(Unreadable::new(format!("`{name}` contains a control character or one that turns text around.")))
        } else {
            Ok(Some(text.to_owned()))
        }
    }

    pub(super) fn event_type(&self) -> Result<&str, Unreadable> {
        let text = self.text("event_type")?.ok_or_else(|| missing("event_type"))?;
        let sane = (1..=EVENT_TYPE_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
        if sane {
            Ok(text)
        } else {
            Err(Unreadable::new(format!(
                "`event_type` is not 1 to {EVENT_TYPE_BYTES_MAX} characters of a-z, 0-9, `_` and `.`."
            )))
        }
    }

    /// RFC 3339 and nothing wider, from 1970 on.
    pub(super) fn time(&self, name: &str) -> Result<Timestamp, Unreadable> {
        let text = self.text(name)?.ok_or_else(|| missing(name))?;
        let wrong = || Unreadable::new(format!("`{name}` is not an RFC 3339 time of the years 1970 to 9999."));
        if !is_rfc3339_shape(text.as_bytes()) {
            return Err(wrong());
        }
        text.parse().ok().filter(|&at| at >= Timestamp::UNIX_EPOCH).ok_or_else(wrong)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Unreadable> {
        match self {
            Self::Missing | Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Other(what) => Err(Unreadable::new(format!("`{name}` is {what}, not a string."))),
        }
    }
}

fn missing(name: &str) -> Unreadable {
    Unreadable::new(format!("`{name}` is missing."))
}

/// `YYYY-MM-DDThh:mm:ss`, a fraction of 1 to 9 digits or none, `Z` or `±hh:mm`. The parser behind it checks the ranges,
/// but would also take weeks, annotations and offsets with seconds.
fn is_rfc3339_shape(text: &[u8]) -> bool {
    let Some((start, mut rest)) = text.split_at_checked(19) else { return false };
    if !fits(start, b"0000-00-00T00:00:00") {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        rest = &fraction[digits..];
    }
    rest == b"Z" || fits(rest, b"+00:00") || fits(rest, b"-00:00")
}

/// Whether `text` has a digit where `shape` has a `0`, and `shape`'s own byte elsewhere.
fn fits(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text
            .iter()
            .zip(shape)
            .all(|(byte, wanted)| if *wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted })
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Option<Timestamp> {
        Field::Text(Cow::Borrowed(text)).time("occurred_at").ok()
    }

    #[test]
    fn a_time_is_rfc_3339_and_nothing_wider() {
        for good in [
            "2026-03-01T10:40:05Z",
            "2026-03-01T10:40:05.356Z",
            "2026-03-01T10:40:05.123456789Z",
            "2026-03-01T11:40:05+01:00",
            "2024-02-29T00:00:00-00:00",
            "1970-01-01T00:00:00Z",
            "9999-12-30T00:00:00Z",
        ] {
            assert!(time(good).is_some(), "{good} is a time");
        }
        for bad in [
            "",
            "2026-03-01",
            "2026-03-01T10:40:05",
            "2026-03-01 10:40:05Z",
            "2026-02-30T10:40:05Z",
            "2026-03-01T25:00:00Z",
            "2026-03-01T10:40:05.Z",
            "2026-03-01T10:40:05.1234567890Z",
            "2026-03-01T10:40:05,5Z",
            "2026-03-01T10:40:05+01",
            "2026-03-01T10:40:05+01:00:00",
            "2026-03-01T10:40:05Z[Europe/Zurich]",
            "20260301T104005Z",
            "+002026-03-01T10:40:05Z",
            "1969-12-31T23:59:59Z",
            "1772361605",
            "٢٠٢٦-03-01T10:40:05Z",
        ] {
            assert!(time(bad).is_none(), "{bad} is not a time");
        }
    }
}
