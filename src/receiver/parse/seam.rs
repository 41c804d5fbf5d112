//! Seam's own events: the bare event object, `event_id` and `event_type` inside, no wrapper around it.
//!
//! Seam's events carry ids and no state, and hardly ever say whose they are; what changed is read from the object.
//! `phone.registered` is not among Seam's event types (as of its published types 1.1038.0, the only `phone.*` event is
//! `phone.deactivated`); should it come one day, it is read as the customer's own event of that name is.
//! Types that we do not act on are read only as far as every event goes. Contract: `schemas/webhook/seam.json`.

use serde::Deserialize;

use crate::domain::{Event, Fact};

use super::Unreadable;
use super::field::{self, Field};
use super::standard::phone_registered;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    event_id: Field<'a>,
    event_type: Field<'a>,
    occurred_at: Field<'a>,
    access_method_id: Field<'a>,
    acs_credential_id: Field<'a>,
    acs_user_id: Field<'a>,
    device_id: Field<'a>,
    device_type: Field<'a>,
    enrollment_automation_id: Field<'a>,
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
        "acs_credential.issued"
        | "acs_credential.reissued"
        | "acs_credential.invalidated"
        | "acs_credential.deleted" => {
            Fact::CredentialChanged { acs_credential_id: body.acs_credential_id.id("acs_credential_id")? }
        }
        "access_method.issued" => {
            Fact::AccessMethodIssued { access_method_id: body.access_method_id.id("access_method_id")? }
        }
        "acs_user.deleted" => Fact::AcsUserDeleted { acs_user_id: body.acs_user_id.id("acs_user_id")? },
        "enrollment_automation.deleted" => Fact::EnrollmentAutomationDeleted {
            enrollment_automation_id: body.enrollment_automation_id.id("enrollment_automation_id")?,
        },
        "phone.deactivated" => Fact::PhoneDeactivated { device_id: body.device_id.id("device_id")? },
        "phone.registered" => {
            phone_registered(&body.user_identity_id, &body.user_identity_key, &body.device_id, &body.device_type)?
        }
        _ => Fact::Other,
    })
}
