//! Phones and their endpoints: how a phone comes to hold keys, and how it ceases to.
//!
//! A phone passes through the endpoint states of ASSA ABLOY and HID credential managers. Seam shows no difference
//! between a phone's managers, so a phone has one state and registers with all of the workspace's managers in step.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::World;
use super::agenda::Due;
use super::event::{About, EventType};
use super::ids::{AcsCredentialId, DeviceId, UserIdentityId};
use super::refusal::Refusal;
use super::table::row;
use super::{News, PhoneNews};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum EndpointState {
    /// Nobody has invited the phone: its person has no enrollment automation, and enrolment is not automatic.
    Uninvited,
    InvitationPending,
    Acknowledged,
    Activating,
    Active,
    ActivationFailure,
    Terminated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceType {
    #[serde(rename = "ios_phone")]
    Ios,
    #[serde(rename = "android_phone")]
    Android,
}

impl DeviceType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ios => "ios_phone",
            Self::Android => "android_phone",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Phone {
    pub(crate) device_id: DeviceId,
    pub(crate) created_at: Timestamp,
    /// When it was deactivated.
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) owner: UserIdentityId,
    pub(crate) device_type: DeviceType,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) os_version: String,
    pub(crate) installation: Option<String>,
    pub(crate) custom_metadata: Map<String, Value>,
    pub(crate) endpoint_id: String,
    pub(crate) endpoint: EndpointState,
    /// Since when the endpoint is in this state.
    pub(crate) endpoint_since: Timestamp,
}
row!(Phone, device_id: DeviceId);

impl Phone {
    pub(crate) fn is_active(&self) -> bool {
        self.endpoint == EndpointState::Active
    }
}

/// What `/phones/simulate/create_sandbox_phone` says of the phone to be.
#[derive(Debug)]
pub(crate) struct PhoneDraft {
    pub(crate) device_type: DeviceType,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) os_version: String,
    pub(crate) installation: Option<String>,
}

impl World {
    pub(crate) fn phone(&self, id: DeviceId) -> Result<&Phone, Refusal> {
        self.phones.get(id).ok_or_else(|| Refusal::not_found("phone", "Phone"))
    }

    /// A new phone in a person's hand. Its registration begins at once, if the person is to be enrolled.
    pub(crate) fn create_phone(
        &mut self,
        owner: UserIdentityId,
        draft: PhoneDraft,
        now: Timestamp,
    ) -> Result<DeviceId, Refusal> {
        let owner = self.user_identity(owner)?.user_identity_id;
        let device_id = self.chance.id();
        let endpoint_id = format!("endpoint-{}", self.chance.hex::<4>());
        self.phones.insert(Phone {
            device_id,
            created_at: now,
            deleted_at: None,
            owner,
            device_type: draft.device_type,
            manufacturer: draft.manufacturer,
            model: draft.model,
            os_version: draft.os_version,
            installation: draft.installation,
            custom_metadata: Map::new(),
            endpoint_id,
            endpoint: EndpointState::Uninvited,
            endpoint_since: now,
        });
        if let Some(person) = self.user_identities.get_mut(owner) {
            person.phones.push(device_id);
        }
        if self.rules.automatic_enrollment || self.is_enrolled(owner) {
            self.invite(device_id, now);
        }
        Ok(device_id)
    }

    /// Invites a phone that was not invited yet to register with the credential managers.
    pub(crate) fn invite(&mut self, id: DeviceId, now: Timestamp) {
        if self.phones.get(id).is_some_and(|phone| phone.endpoint == EndpointState::Uninvited) {
            self.endpoint_becomes(id, EndpointState::InvitationPending, now);
        }
    }

    /// The next state of a phone's endpoints, when its time has come.
    pub(super) fn step_phone(&mut self, id: DeviceId, now: Timestamp) {
        let Some(phone) = self.phones.get(id) else { return };
        let next = match phone.endpoint {
            EndpointState::InvitationPending => EndpointState::Acknowledged,
            EndpointState::Acknowledged => EndpointState::Activating,
            EndpointState::Activating if self.rules.activations_to_fail > 0 => {
                self.rules.activations_to_fail -= 1;
                EndpointState::ActivationFailure
            }
            EndpointState::Activating => EndpointState::Active,
            EndpointState::Uninvited
            | EndpointState::Active
            | EndpointState::ActivationFailure
            | EndpointState::Terminated => return,
        };
        self.endpoint_becomes(id, next, now);
    }

    fn endpoint_becomes(&mut self, id: DeviceId, state: EndpointState, now: Timestamp) {
        let Some(phone) = self.phones.get_mut(id) else { return };
        phone.endpoint = state;
        phone.endpoint_since = now;
        let owner = phone.owner;
        let wait = match state {
            EndpointState::InvitationPending => Some(self.rules.phone_acknowledged_ms),
            EndpointState::Acknowledged => Some(self.rules.phone_activating_ms),
            EndpointState::Activating => Some(self.rules.phone_active_ms),
            _ => None,
        };
        if let Some(wait) = wait {
            self.agenda.note(crate::clock::add(now, self.rules.pace(wait)), Due::PhoneStep(id));
        }
        self.tell(News::Phone(PhoneNews::Endpoint { device: id, state, at: now }));
        if state == EndpointState::Active {
            self.bring_keys_to_phones(owner, now);
        }
    }

    /// Takes a phone out of service: its keys are revoked, the credentials they are copies of stay.
    pub(crate) fn deactivate_phone(&mut self, id: DeviceId, now: Timestamp) -> Result<(), Refusal> {
        let phone = self.phone(id)?;
        let (owner, custom_metadata) = (phone.owner, phone.custom_metadata.clone());
        for key in self.keys_on_phone(id) {
            self.remove_credential(key, now);
        }
        self.endpoint_becomes(id, EndpointState::Terminated, now);
        if let Some(phone) = self.phones.get_mut(id) {
            phone.deleted_at = Some(now);
        }
        if let Some(person) = self.user_identities.get_mut(owner) {
            person.phones.retain(|phone| *phone != id);
        }
        let about = About { device_id: Some(id), device_custom_metadata: Some(custom_metadata), ..About::default() };
        self.emit(EventType::PhoneDeactivated, about, now);
        Ok(())
    }

    /// The live credentials that a phone holds.
    pub(crate) fn keys_on_phone(&self, id: DeviceId) -> Vec<AcsCredentialId> {
        let Some(phone) = self.phones.at(id) else { return Vec::new() };
        self.credentials_of_person(phone.owner)
            .filter(|credential| credential.device_id == Some(id))
            .map(|credential| credential.acs_credential_id)
            .collect()
    }

    /// A person's phones that can hold keys, oldest first.
    pub(crate) fn active_phones(&self, person: UserIdentityId) -> Vec<DeviceId> {
        let Ok(person) = self.user_identity(person) else { return Vec::new() };
        let phones = person.phones.iter().filter_map(|id| self.phones.get(*id));
        phones.filter(|phone| phone.is_active()).map(|phone| phone.device_id).collect()
    }
}
