//! HID Origo's callbacks: CloudEvents 1.0, a batch of them, a single one, or one in binary mode.
//!
//! Origo tells of endpoints (phones) and credentials under its own ids; whose they are it says by the user id that it
//! was given when the person was made there, which a plan names among its aliases. `ENDPOINT_ACTIVE` is a registered
//! phone; `CREDENTIAL_ISSUED` is the manager's word about a key, and a reason to look at the provider. Everything else is
//! recorded and ignored. Each item of a batch stands for itself: one that cannot be read keeps none from being acted on.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::field::{self, Field};
use super::{Headers, Item, Unreadable, document, free_type};
use crate::domain::{Event, Fact, Person};
use crate::receiver::verify::{Verified, digest};

/// The attributes of an event in binary mode, and what tells it from the others.
pub(super) const HEADERS: [&str; 6] = ["content-type", "ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time"];
const SPEC_VERSION: &str = "1.0";

#[derive(Deserialize, Default)]
#[serde(default)]
struct CloudEvent<'a> {
    #[serde(borrow)]
    specversion: Field<'a>,
    id: Field<'a>,
    source: Field<'a>,
    #[serde(rename = "type")]
    event_type: Field<'a>,
    time: Field<'a>,
    data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    status: Field<'a>,
}

/// An error is about the body as a whole.
pub(super) fn read(
    source: &str,
    delivery: &Verified,
    headers: &Headers,
    items_max: usize,
) -> Result<Vec<Item>, Unreadable> {
    let body = delivery.body();
    if is_binary(headers) {
        return Ok(vec![item(body, binary(source, body, headers))]);
    }
    if body.trim_ascii_start().first() != Some(&b'[') {
        return Ok(vec![item(body, single(source, body))]);
    }
    let text = str::from_utf8(body)
        .map_err(|error| Unreadable::new(format!("The body is not UTF-8: byte {} is wrong.", error.valid_up_to())))?;
    let items: Vec<&RawValue> = field::object(text)?;
    if items.len() > items_max {
        let count = items.len();
        return Err(Unreadable::new(format!("The batch has {count} events; at most {items_max} are taken at once.")));
    }
    let bytes = items.into_iter().map(|item| body.slice_ref(item.get().as_bytes()));
    Ok(bytes.map(|bytes| item(&bytes, single(source, &bytes))).collect())
}

/// An item is known by its event, so that it is the same in whatever batch it comes again; or else by its bytes.
fn item(body: &Bytes, event: Result<Event, Unreadable>) -> Item {
    let delivery_id = event.as_ref().map_or_else(|_| digest(body), |event| event.event_id.clone());
    Item { delivery_id, body: body.clone(), event }
}

fn is_binary(headers: &Headers) -> bool {
    let is_structured = headers.get("content-type").is_some_and(|kind| kind.starts_with("application/cloudevents"));
    headers.contains_key("ce-specversion") && !is_structured
}

fn binary(source: &str, body: &Bytes, headers: &Headers) -> Result<Event, Unreadable> {
    let attribute = |name: &str| headers.get(name).map_or(Field::Missing, |text| Field::Text(text.into()));
    let text = document::object(body)?;
    event(
        source,
        &CloudEvent {
            specversion: attribute("ce-specversion"),
            id: attribute("ce-id"),
            source: attribute("ce-source"),
            event_type: attribute("ce-type"),
            time: attribute("ce-time"),
            data: Some(field::object(text)?),
        },
    )
}

fn single(source: &str, body: &[u8]) -> Result<Event, Unreadable> {
    event(source, &field::object(document::object(body)?)?)
}

fn event(source: &str, event: &CloudEvent<'_>) -> Result<Event, Unreadable> {
    if event.specversion.id("specversion")? != SPEC_VERSION {
        return Err(Unreadable::new("`specversion` is not 1.0."));
    }
    let event_type = free_type(event.event_type.id("type")?)?;
    Ok(Event {
        source: source.to_owned(),
        event_id: event_id(&event.id.id("id")?, &event.source.id("source")?)?,
        occurred_at: event.time.time("time")?,
        fact: fact(source, &event_type, event.data)?,
        event_type,
    })
}

/// CloudEvents: an event is identified by its source *and* its id, and we have one field for both.
fn event_id(id: &str, cloud_source: &str) -> Result<String, Unreadable> {
    const ID_BYTES_MAX: usize = 200;
    const DIGEST_BYTES: usize = 8;
    if id.len() > ID_BYTES_MAX {
        return Err(Unreadable::new(format!("`id` is longer than {ID_BYTES_MAX} bytes.")));
    }
    Ok(format!("{id}@{}", hex::encode(&Sha256::digest(cloud_source)[..DIGEST_BYTES])))
}

fn fact(source: &str, event_type: &str, data: Option<&RawValue>) -> Result<Fact, Unreadable> {
    let Some(data) = data.filter(|_| matches!(event_type, "com.origo.mi.endpoint" | "com.origo.mi.credential")) else {
        return Ok(Fact::Other);
    };
    let data: Data<'_> = field::object(document::object(data.get().as_bytes())?)?;
    let status = data.status.id("data.status")?;
    let person = || -> Result<Person, Unreadable> {
        Ok(Person::Alias { source: source.to_owned(), id: user_id(data.user_id)? })
    };
    Ok(match (event_type, status.as_str()) {
        // Origo's endpoint is not the provider's device: the provider is asked which phones the person has.
        ("com.origo.mi.endpoint", "ENDPOINT_ACTIVE") => {
            Fact::PhoneRegistered { person: person()?, device_id: None, device_type: None }
        }
        ("com.origo.mi.credential", "CREDENTIAL_ISSUED") => Fact::KeyReported { person: person()? },
        _ => Fact::Other,
    })
}

/// A text in what is documented; a whole number where somebody writes it as one.
fn user_id(raw: Option<&RawValue>) -> Result<String, Unreadable> {
    const NAME: &str = "data.userId";
    let raw = raw.map_or("null", RawValue::get);
    if raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return Field::Text(raw.into()).id(NAME);
    }
    field::object::<Field<'_>>(raw)?.id(NAME)
}
