//! Those who tell of phones beside Seam: the customer's own backend, and HID Origo.
//!
//! Seam has no event for a registered phone. The customer's app knows, and so does HID Origo; a sandbox that nobody
//! tells of phones would leave a receiver's first step untried, so it plays both.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sandbox::world::moment::At;
use crate::sandbox::world::phone::{DeviceType, EndpointState};
use crate::sandbox::world::{PhoneNews, World};

/// HID's number of the organization that the office has.
const ORGANIZATION: &str = "1003233";

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Sender {
    pub(crate) sender_id: Uuid,
    pub(crate) url: String,
    pub(crate) secret: String,
    pub(crate) kind: SenderKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SenderKind {
    /// The customer's backend: `phone.registered`, signed as Standard Webhooks say.
    Standard,
    /// HID Origo: CloudEvents batches, with the secret in this header.
    HidOrigo { header: String },
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sender").field("sender_id", &self.sender_id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What one kind of sender has to say of a phone's news, if anything. `id` is the new event's own.
pub(super) fn telling(kind: &SenderKind, world: &World, news: PhoneNews, id: Uuid) -> Option<Value> {
    match kind {
        SenderKind::Standard => registered(world, news, id),
        SenderKind::HidOrigo { .. } => origo(world, news, id).map(|event| json!([event])),
    }
}

fn registered(world: &World, news: PhoneNews, id: Uuid) -> Option<Value> {
    let PhoneNews::Endpoint { device, state: EndpointState::Active, at } = news else { return None };
    let phone = world.phones.at(device)?;
    Some(json!({
        "event_id": id,
        "event_type": "phone.registered",
        "occurred_at": At(at),
        "user_identity_id": phone.owner,
        "device_id": device,
        "device_type": phone.device_type.name(),
    }))
}

/// An Origo callback event. Origo knows a person by the id it was given when the user was made there, which Seam fills
/// with the user identity's id.
fn origo(world: &World, news: PhoneNews, id: Uuid) -> Option<Value> {
    let (device, at) = match news {
        PhoneNews::Endpoint { device, at, .. } | PhoneNews::Key { device, at, .. } => (device, at),
    };
    let phone = world.phones.at(device)?;
    let user = phone.owner;
    let (kind, mut data) = match news {
        PhoneNews::Endpoint { state: EndpointState::Acknowledged, .. } => {
            ("com.origo.mi.invitation", json!({"status": "INVITATION_ACKNOWLEDGED"}))
        }
        PhoneNews::Endpoint { state: EndpointState::Active, .. } => (
            "com.origo.mi.endpoint",
            json!({
                "endpointManufacturer": phone.manufacturer,
                "endpointModel": phone.model,
                "osVersion": phone.os_version,
                "bleCapability": "YES",
                "nfcCapability": if phone.device_type == DeviceType::Android { "YES" } else { "NO" },
                "appletStatus": "ACTIVE",
                "invitationStatus": "ACKNOWLEDGED",
                "status": "ENDPOINT_ACTIVE",
            }),
        ),
        PhoneNews::Endpoint { state: EndpointState::Terminated, .. } => {
            ("com.origo.mi.endpoint", json!({"status": "ENDPOINT_TERMINATED"}))
        }
        PhoneNews::Key { credential, .. } => {
            let key = world.credentials.at(credential)?;
            let manager = world.systems.at(key.credential_manager?)?;
            if manager.external_type != "hid_credential_manager_organization" {
                return None;
            }
            let card: Option<u64> = key.card_number.as_deref().and_then(|card| card.parse().ok());
            ("com.origo.mi.credential", json!({"cardNumber": card, "midTypeId": "1", "status": "CREDENTIAL_ISSUED"}))
        }
        PhoneNews::Endpoint { .. } => return None,
    };
    if let Value::Object(data) = &mut data {
        data.insert("organizationId".to_owned(), json!(ORGANIZATION));
        data.insert("userId".to_owned(), json!(user));
        data.insert("endpointId".to_owned(), json!(phone.endpoint_id));
        data.insert("sourceTimestamp".to_owned(), json!(At(at)));
    }
    let source = format!("https://portal.origo.hidcloud.com/credential-management/customer/{ORGANIZATION}/user/{user}");
    Some(json!({"specversion": "1.0", "type": kind, "source": source, "id": id, "time": At(at), "data": data}))
}
