//! Seam's objects, as far as the worker needs them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::value::RawValue;

use super::Object;
use crate::provider::{AcsSystem, AcsUser, Credential, ListedEvent, Phone};

/// A time as Seam writes it: with an offset in most places, without one (UTC) where its schema says only "string".
struct Moment(Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(at) = text.parse() {
            return Ok(Self(at));
        }
        let civil: DateTime = text.parse().map_err(|_| D::Error::custom("not a time"))?;
        civil.to_zoned(TimeZone::UTC).map(|zoned| Self(zoned.timestamp())).map_err(|_| D::Error::custom("not a time"))
    }
}

#[derive(Deserialize)]
struct CredentialWire {
    acs_credential_id: String,
    acs_system_id: String,
    acs_user_id: Option<String>,
    user_identity_id: Option<String>,
    parent_acs_credential_id: Option<String>,
    access_method: String,
    is_multi_phone_sync_credential: Option<bool>,
    is_issued: Option<bool>,
    issued_at: Option<Moment>,
    created_at: Moment,
    starts_at: Option<Moment>,
    ends_at: Option<Moment>,
    visionline_metadata: Option<VisionlineWire>,
    errors: Option<Vec<ErrorWire>>,
    warnings: Option<Vec<WarningWire>>,
}

#[derive(Deserialize)]
struct VisionlineWire {
    is_valid: Option<bool>,
}

#[derive(Deserialize)]
struct ErrorWire {
    error_code: Option<String>,
}

#[derive(Deserialize)]
struct WarningWire {
    warning_code: Option<String>,
}

impl Object for Credential {
    const ONE: &'static str = "acs_credential";
    const MANY: &'static str = "acs_credentials";
    const ID: &'static str = "acs_credential_id";

    fn read(raw: &RawValue) -> serde_json::Result<Self> {
        let wire: CredentialWire = serde_json::from_str(raw.get())?;
        let is_invalid = wire.visionline_metadata.is_some_and(|visionline| visionline.is_valid == Some(false));
        let warnings = wire.warnings.unwrap_or_default();
        let is_going = warnings.iter().any(|warning| warning.warning_code.as_deref() == Some("being_deleted"));
        Ok(Self {
            acs_credential_id: wire.acs_credential_id,
            acs_system_id: wire.acs_system_id,
            acs_user_id: wire.acs_user_id,
            user_identity_id: wire.user_identity_id,
            parent_acs_credential_id: wire.parent_acs_credential_id,
            access_method: wire.access_method,
            is_multi_phone_sync_credential: wire.is_multi_phone_sync_credential.unwrap_or(false),
            is_issued: wire.is_issued.unwrap_or(false),
            issued_at: wire.issued_at.map(|at| at.0),
            created_at: wire.created_at.0,
            starts_at: wire.starts_at.map(|at| at.0),
            ends_at: wire.ends_at.map(|at| at.0),
            is_usable: !is_invalid && !is_going,
            errors: wire.errors.unwrap_or_default().into_iter().filter_map(|error| error.error_code).collect(),
        })
    }
}

impl Object for Phone {
    const ONE: &'static str = "phone";
    const MANY: &'static str = "phones";
    const ID: &'static str = "device_id";

    fn read(raw: &RawValue) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Wire {
            device_id: String,
            device_type: String,
            created_at: Moment,
        }
        let Wire { device_id, device_type, created_at } = serde_json::from_str(raw.get())?;
        Ok(Self { device_id, device_type, created_at: created_at.0 })
    }
}

impl Object for AcsUser {
    const ONE: &'static str = "acs_user";
    const MANY: &'static str = "acs_users";
    const ID: &'static str = "acs_user_id";

    fn read(raw: &RawValue) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        #[expect(clippy::struct_field_names, reason = "the names are Seam's")]
        struct Wire {
            acs_user_id: String,
            acs_system_id: String,
            user_identity_id: Option<String>,
        }
        let Wire { acs_user_id, acs_system_id, user_identity_id } = serde_json::from_str(raw.get())?;
        Ok(Self { acs_user_id, acs_system_id, user_identity_id })
    }
}

impl Object for AcsSystem {
    const ONE: &'static str = "acs_system";
    const MANY: &'static str = "acs_systems";
    const ID: &'static str = "acs_system_id";

    fn read(raw: &RawValue) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Wire {
            acs_system_id: String,
            name: Option<String>,
            is_credential_manager: Option<bool>,
        }
        let Wire { acs_system_id, name, is_credential_manager } = serde_json::from_str(raw.get())?;
        let is_credential_manager = is_credential_manager.unwrap_or(false);
        Ok(Self { acs_system_id, name: name.unwrap_or_default(), is_credential_manager })
    }
}

impl Object for ListedEvent {
    const ONE: &'static str = "event";
    const MANY: &'static str = "events";
    const ID: &'static str = "event_id";

    fn read(raw: &RawValue) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Wire {
            event_id: String,
            event_type: String,
            occurred_at: Moment,
        }
        let Wire { event_id, event_type, occurred_at } = serde_json::from_str(raw.get())?;
        let body = bytes::Bytes::copy_from_slice(raw.get().as_bytes());
        Ok(Self { event_id, event_type, occurred_at: occurred_at.0, body })
    }
}

/// An object that is wanted for its id alone.
macro_rules! id_of_object {
    ($name:ident, $one:literal, $many:literal, $id:literal) => {
        #[derive(Deserialize)]
        pub(in crate::provider) struct $name {
            #[serde(rename = $id)]
            pub(in crate::provider) id: String,
        }

        impl Object for $name {
            const ONE: &'static str = $one;
            const MANY: &'static str = $many;
            const ID: &'static str = $id;

            fn read(raw: &RawValue) -> serde_json::Result<Self> {
                serde_json::from_str(raw.get())
            }
        }
    };
}

id_of_object!(Entrance, "acs_entrance", "acs_entrances", "acs_entrance_id");
id_of_object!(UserIdentity, "user_identity", "user_identities", "user_identity_id");

#[derive(Deserialize)]
pub(in crate::provider) struct EnrollmentAutomation {
    #[serde(rename = "enrollment_automation_id")]
    pub(in crate::provider) id: String,
    #[serde(rename = "credential_manager_acs_system_id")]
    pub(in crate::provider) credential_manager: String,
}

impl Object for EnrollmentAutomation {
    const ONE: &'static str = "enrollment_automation";
    const MANY: &'static str = "enrollment_automations";
    const ID: &'static str = "enrollment_automation_id";

    fn read(raw: &RawValue) -> serde_json::Result<Self> {
        serde_json::from_str(raw.get())
    }
}
