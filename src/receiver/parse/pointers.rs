//! Bodies of any JSON shape: the configuration says where the id, the type, the time and the subject stand.
//!
//! A place is a JSON pointer into the body, or a header. A header is not signed, so what it says is worth no more than
//! the connection; it is there for senders like GitHub, which name the event nowhere else.

use std::collections::BTreeMap;
use std::str::FromStr;

use http::HeaderName;
use jiff::Timestamp;
use serde_json::Value;

use super::field::{self, Field};
use super::{Headers, Unreadable, free_type};
use crate::domain::{Event, Fact, Person};

const POINTER_BYTES_MAX: usize = 256;

/// Where one value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// RFC 6901.
    Pointer(String),
    Header(HeaderName),
}

/// Neither a pointer nor a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place is a JSON pointer like /data/id (at most {POINTER_BYTES_MAX} bytes), or header:NAME")]
pub struct PlaceError;

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if let Some(name) = text.strip_prefix("header:") {
            return HeaderName::from_str(name).map(Self::Header).map_err(|_| PlaceError);
        }
        // A `~` escapes: `~0` is itself, `~1` a slash, and nothing else has a meaning.
        let is_escaped = |rest: &str| matches!(rest.as_bytes().first(), Some(b'0' | b'1'));
        let good = text.starts_with('/') && text.split('~').skip(1).all(is_escaped);
        if good && text.len() <= POINTER_BYTES_MAX { Ok(Self::Pointer(text.to_owned())) } else { Err(PlaceError) }
    }
}

/// What a type of event means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    PhoneRegistered,
    PhoneDeactivated,
    CredentialIssued,
}

/// Where everything stands, and what the sender's types mean. Types without a meaning are recorded and ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointers {
    pub id: Place,
    pub event_type: Place,
    /// RFC 3339, or whole seconds since 1970. Without it, an event happened when it was received.
    pub time: Option<Place>,
    pub user_identity_id: Option<Place>,
    pub user_identity_key: Option<Place>,
    /// The sender's own id of the person, which a plan has among its aliases.
    pub alias: Option<Place>,
    pub device_id: Option<Place>,
    pub device_type: Option<Place>,
    pub acs_credential_id: Option<Place>,
    pub meanings: BTreeMap<String, Meaning>,
}

impl Pointers {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let optional = [
            &self.time,
            &self.user_identity_id,
            &self.user_identity_key,
            &self.alias,
            &self.device_id,
            &self.device_type,
            &self.acs_credential_id,
        ];
        [&self.id, &self.event_type].into_iter().chain(optional.into_iter().flatten())
    }

    pub(super) fn headers(&self) -> Vec<&str> {
        fn header(place: &Place) -> Option<&str> {
            match place {
                Place::Header(name) => Some(name.as_str()),
                Place::Pointer(_) => None,
            }
        }
        self.places().filter_map(header).collect()
    }

    pub(super) fn read(
        &self,
        source: &str,
        text: &str,
        received_at: Timestamp,
        headers: &Headers,
    ) -> Result<Event, Unreadable> {
        let body: Value = field::object(text)?;
        let found = Found { body: &body, headers };
        let event_type = free_type(found.id(&self.event_type, "the event's type")?)?;
        Ok(Event {
            source: source.to_owned(),
            event_id: found.id(&self.id, "the event's id")?,
            occurred_at: self.time.as_ref().map_or(Ok(received_at), |place| found.time(place))?,
            fact: self.fact(source, &event_type, &found)?,
            event_type,
        })
    }

    fn fact(&self, source: &str, event_type: &str, found: &Found<'_>) -> Result<Fact, Unreadable> {
        let wanted = |place: &Option<Place>, what: &str| match place {
            Some(place) => found.id(place, what),
            None => Err(Unreadable::new(format!("The source's configuration does not say where {what} stands."))),
        };
        Ok(match self.meanings.get(event_type) {
            None => Fact::Other,
            Some(Meaning::PhoneRegistered) => Fact::PhoneRegistered {
                person: self.person(source, found)?,
                device_id: found.optional_id(self.device_id.as_ref(), "the phone's id")?,
                device_type: found.optional_id(self.device_type.as_ref(), "the phone's type")?,
            },
            Some(Meaning::PhoneDeactivated) => {
                Fact::PhoneDeactivated { device_id: wanted(&self.device_id, "the phone's id")? }
            }
            Some(Meaning::CredentialIssued) => {
                Fact::CredentialChanged { acs_credential_id: wanted(&self.acs_credential_id, "the credential's id")? }
            }
        })
    }

    /// The first that is there of: Seam's id, the customer's key, the sender's own id.
    fn person(&self, source: &str, found: &Found<'_>) -> Result<Person, Unreadable> {
        let what = "the person's id";
        if let Some(id) = found.optional_id(self.user_identity_id.as_ref(), what)? {
            return Ok(Person::UserIdentityId(id));
        }
        if let Some(key) = found.optional_id(self.user_identity_key.as_ref(), what)? {
            return Ok(Person::UserIdentityKey(key));
        }
        match found.optional_id(self.alias.as_ref(), what)? {
            Some(id) => Ok(Person::Alias { source: source.to_owned(), id }),
            None => Err(Unreadable::new("Whose phone? Nothing stands where the person's id should.")),
        }
    }
}

struct Found<'a> {
    body: &'a Value,
    headers: &'a Headers,
}

impl Found<'_> {
    fn id(&self, place: &Place, what: &str) -> Result<String, Unreadable> {
        self.field(place).id(&named(place, what))
    }

    fn optional_id(&self, place: Option<&Place>, what: &str) -> Result<Option<String>, Unreadable> {
        place.map_or(Ok(None), |place| self.field(place).optional_id(&named(place, what)))
    }

    fn time(&self, place: &Place) -> Result<Timestamp, Unreadable> {
        let name = named(place, "the event's time");
        let field = self.field(place);
        if let Field::Text(text) = &field
            && let Ok(seconds) = text.parse::<u32>()
        {
            return Timestamp::from_second(seconds.into())
                .map_err(|_| Unreadable::new(format!("`{name}` is no time.")));
        }
        field.time(&name)
    }

    /// A number counts as the text that it is written as, if it is whole.
    fn field(&self, place: &Place) -> Field<'_> {
        let value = match place {
            Place::Header(name) => {
                return self.headers.get(name.as_str()).map_or(Field::Missing, |text| Field::Text(text.into()));
            }
            Place::Pointer(pointer) => self.body.pointer(pointer),
        };
        match value {
            None => Field::Missing,
            Some(Value::Null) => Field::Null,
            Some(Value::String(text)) => Field::Text(text.into()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Field::Text(number.to_string().into()),
            Some(Value::Number(_)) => Field::Other("a fraction"),
            Some(Value::Bool(_)) => Field::Other("a boolean"),
            Some(Value::Array(_)) => Field::Other("an array"),
            Some(Value::Object(_)) => Field::Other("an object"),
        }
    }
}

/// What is missing, and where it was looked for: the place is the configuration's, not the sender's.
fn named(place: &Place, what: &str) -> String {
    match place {
        Place::Pointer(pointer) => format!("{pointer} ({what})"),
        Place::Header(name) => format!("{name} ({what})"),
    }
}
