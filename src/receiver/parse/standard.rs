//! Our own event shape, which is Seam's: what a customer's backend sends under a Standard Webhooks signature.
//!
//! `phone.registered` comes only this way, since Seam has no such event: the app's SDK knows that the phone is enrolled,
//! the app tells its backend, the backend tells us. Contract: `schemas/webhook/standard.json`.

use serde::Deserialize;

use crate::domain::{Event, Fact, Person};

use super::Unreadable;
use super::field::{self, Field};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    event_id: Field<'a>,
    event_type: Field<'a>,
    occurred_at: Field<'a>,
    acs_credential_id: Field<'a>,
    device_id: Field<'a>,
    device_type: Field<'a>,
    user_identity_id: Field<'a>,
    user_identity_key: Field<'a>,
}

pub(super) fn read(source: &str, text: &str) -> Result<Event, Unreadable> {
    let body: Body<'_> = field::object(text)?;
    let event_type = body.event_type.event_type()?;
    Ok(Event {
        source: source.to_owned(),
        event_id: body.event_id.id("event_id")?,
        event_type: event_type.to_owned(),
        occurred_at: body.occurred_at.time("occurred_at")?,
        fact: fact(event_type, &body)?,
    })
}

fn fact(event_type: &str, body: &Body<'_>) -> Result<Fact, Unreadable> {
    Ok(match event_type {
        "phone.registered" => {
            phone_registered(&body.user_identity_id, &body.user_identity_key, &body.device_id, &body.device_type)?
        }
        "phone.deactivated" => Fact::PhoneDeactivated { device_id: body.device_id.id("device_id")? },
        "credential.issued" => {
            Fact::CredentialChanged { acs_credential_id: body.acs_credential_id.id("acs_credential_id")? }
        }
        _ => Fact::Other,
    })
}

/// A registered phone belongs to somebody. Named by both id and key, the id counts: it needs no look-up.
pub(super) fn phone_registered(
    user_identity_id: &Field<'_>,
    user_identity_key: &Field<'_>,
    device_id: &Field<'_>,
    device_type: &Field<'_>,
) -> Result<Fact, Unreadable> {
    let id = user_identity_id.optional_id("user_identity_id")?;
    let key = user_identity_key.optional_id("user_identity_key")?;
    let person = match (id, key) {
        (Some(id), _) => Person::UserIdentityId(id),
        (None, Some(key)) => Person::UserIdentityKey(key),
        (None, None) => {
            return Err(Unreadable::new("Whose phone? `user_identity_id` and `user_identity_key` are both missing."));
        }
    };
    Ok(Fact::PhoneRegistered {
        person,
        device_id: device_id.optional_id("device_id")?,
        device_type: device_type.optional_id("device_type")?,
    })
}
