//! What happened, in Seam's own shape: one form for `/events/list` and for the webhook's body.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{
    AccessGrantId, AccessMethodId, AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, ClientSessionId,
    ConnectedAccountId, DeviceId, EnrollmentAutomationId, EventId, WorkspaceId,
};
use super::moment::At;

/// The events that this sandbox can cause. [`super::event_types::KNOWN`] has all that Seam knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EventType {
    #[serde(rename = "acs_credential.issued")]
    CredentialIssued,
    #[serde(rename = "acs_credential.reissued")]
    CredentialReissued,
    #[serde(rename = "acs_credential.invalidated")]
    CredentialInvalidated,
    #[serde(rename = "acs_credential.deleted")]
    CredentialDeleted,
    #[serde(rename = "acs_user.created")]
    UserCreated,
    #[serde(rename = "acs_user.deleted")]
    UserDeleted,
    #[serde(rename = "phone.deactivated")]
    PhoneDeactivated,
    #[serde(rename = "enrollment_automation.deleted")]
    EnrollmentAutomationDeleted,
    #[serde(rename = "client_session.deleted")]
    ClientSessionDeleted,
    #[serde(rename = "access_grant.created")]
    GrantCreated,
    #[serde(rename = "access_grant.deleted")]
    GrantDeleted,
    #[serde(rename = "access_grant.access_granted_to_door")]
    GrantedToDoor,
    #[serde(rename = "access_grant.access_granted_to_all_doors")]
    GrantedToAllDoors,
    #[serde(rename = "access_grant.access_to_door_lost")]
    AccessToDoorLost,
    #[serde(rename = "access_grant.could_not_create_requested_access_methods")]
    CouldNotCreateMethods,
    #[serde(rename = "access_method.created")]
    MethodCreated,
    #[serde(rename = "access_method.issued")]
    MethodIssued,
    #[serde(rename = "access_method.card_encoding_required")]
    CardEncodingRequired,
    #[serde(rename = "access_method.revoked")]
    MethodRevoked,
    #[serde(rename = "access_method.deleted")]
    MethodDeleted,
}

impl EventType {
    /// The dotted name that webhooks subscribe to.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CredentialIssued => "acs_credential.issued",
            Self::CredentialReissued => "acs_credential.reissued",
            Self::CredentialInvalidated => "acs_credential.invalidated",
            Self::CredentialDeleted => "acs_credential.deleted",
            Self::UserCreated => "acs_user.created",
            Self::UserDeleted => "acs_user.deleted",
            Self::PhoneDeactivated => "phone.deactivated",
            Self::EnrollmentAutomationDeleted => "enrollment_automation.deleted",
            Self::ClientSessionDeleted => "client_session.deleted",
            Self::GrantCreated => "access_grant.created",
            Self::GrantDeleted => "access_grant.deleted",
            Self::GrantedToDoor => "access_grant.access_granted_to_door",
            Self::GrantedToAllDoors => "access_grant.access_granted_to_all_doors",
            Self::AccessToDoorLost => "access_grant.access_to_door_lost",
            Self::CouldNotCreateMethods => "access_grant.could_not_create_requested_access_methods",
            Self::MethodCreated => "access_method.created",
            Self::MethodIssued => "access_method.issued",
            Self::CardEncodingRequired => "access_method.card_encoding_required",
            Self::MethodRevoked => "access_method.revoked",
            Self::MethodDeleted => "access_method.deleted",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::CredentialIssued => "An ACS credential was issued.",
            Self::CredentialReissued => "An ACS credential was reissued.",
            Self::CredentialInvalidated => "An ACS credential was invalidated.",
            Self::CredentialDeleted => "An ACS credential was deleted.",
            Self::UserCreated => "An ACS user was created.",
            Self::UserDeleted => "An ACS user was deleted.",
            Self::PhoneDeactivated => "A phone device was deactivated.",
            Self::EnrollmentAutomationDeleted => "An enrollment automation was deleted.",
            Self::ClientSessionDeleted => "A client session was deleted.",
            Self::GrantCreated => "An Access Grant was created.",
            Self::GrantDeleted => "An Access Grant was deleted.",
            Self::GrantedToDoor => "Access to a door was granted.",
            Self::GrantedToAllDoors => "Access to all doors of an Access Grant was granted.",
            Self::AccessToDoorLost => "Access to a door was lost.",
            Self::CouldNotCreateMethods => "Requested access methods could not be created.",
            Self::MethodCreated => "An access method was created.",
            Self::MethodIssued => "An access method was issued.",
            Self::CardEncodingRequired => "An access method requires a card to be encoded.",
            Self::MethodRevoked => "An access method was revoked.",
            Self::MethodDeleted => "An access method was deleted.",
        }
    }
}

/// What an event is about. Seam's events carry ids only; which of them, says its type.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acs_system_id: Option<AcsSystemId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connected_account_id: Option<ConnectedAccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acs_credential_id: Option<AcsCredentialId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acs_user_id: Option<AcsUserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acs_entrance_id: Option<AcsEntranceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device_id: Option<DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device_custom_metadata: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_session_id: Option<ClientSessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enrollment_automation_id: Option<EnrollmentAutomationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_grant_id: Option<AccessGrantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_method_id: Option<AccessMethodId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_grant_ids: Option<Vec<AccessGrantId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_grant_keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) event_id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) created_at: At,
    pub(crate) occurred_at: At,
    pub(crate) event_description: Cow<'static, str>,
    #[serde(flatten)]
    pub(crate) about: About,
}

impl Event {
    pub(crate) fn new(
        event_id: EventId,
        event_type: EventType,
        workspace_id: WorkspaceId,
        occurred_at: Timestamp,
        about: About,
    ) -> Self {
        Self {
            event_id,
            event_type,
            workspace_id,
            created_at: At(occurred_at),
            occurred_at: At(occurred_at),
            event_description: Cow::Borrowed(event_type.description()),
            about,
        }
    }
}

/// Events that `/events/list` still tells of. Older ones are forgotten, so that a long life costs no memory.
const EVENTS_KEPT_MAX: usize = 100_000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EventLog {
    events: VecDeque<Arc<Event>>,
}

impl EventLog {
    pub(crate) fn push(&mut self, event: Arc<Event>) {
        if self.events.len() == EVENTS_KEPT_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.iter()
    }
}
