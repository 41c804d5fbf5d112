//! What happened, in Keyferry's own closed words.
//!
//! A receiver's parser turns each kind of body into a [`Fact`], once; everything after it (queue, inbox, worker) speaks
//! only facts and never looks into a body again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Seam's types of events that we act on: what a webhook there has to be subscribed to, and what its list of events is
/// asked for. All of them are there since the beginning of Seam's published types; one that Seam did not know would be
/// refused.
pub const SEAM_EVENT_TYPES: [&str; 8] = [
    "access_method.issued",
    "acs_credential.deleted",
    "acs_credential.invalidated",
    "acs_credential.issued",
    "acs_credential.reissued",
    "acs_user.deleted",
    "enrollment_automation.deleted",
    "phone.deactivated",
];

/// One thing that happened, as its sender identified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The configured source that sent it: `[a-z0-9-]{1,64}`.
    pub source: String,
    /// The sender's id of the event. Unique within `source`: the key of all de-duplication.
    pub event_id: String,
    /// The sender's type, e.g. `acs_credential.issued`.
    pub event_type: String,
    /// When the sender says that it happened.
    pub occurred_at: Timestamp,
    pub fact: Fact,
}

/// Who is meant: Seam's id, the key that the customer chose (`user_identity_key`), or an id that a source has for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Person {
    UserIdentityId(String),
    UserIdentityKey(String),
    /// `id` is what the configured source `source` calls the person; a plan says whose alias that is.
    Alias {
        source: String,
        id: String,
    },
}

impl Person {
    /// The key under which what concerns an alias is handled one at a time, and found again when a plan brings it.
    #[must_use]
    pub fn alias_subject(source: &str, id: &str) -> String {
        format!("alias:{source}:{id}")
    }

    fn subject(&self) -> String {
        match self {
            Self::UserIdentityId(id) => format!("user_identity:{id}"),
            Self::UserIdentityKey(key) => format!("user_identity_key:{key}"),
            Self::Alias { source, id } => Self::alias_subject(source, id),
        }
    }
}

/// What an event means to us.
///
/// Serialised (internally tagged by `fact`) in the message on the bus and in the inbox: `schemas/queue/fact.json`.
/// A later version may add facts and optional fields; it never changes the meaning of a present one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A phone of this person can now hold keys. `device_id` is the provider's id, where the sender knows it.
    PhoneRegistered {
        person: Person,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device_type: Option<String>,
    },
    /// A phone no longer holds keys.
    PhoneDeactivated { device_id: String },
    /// Somebody other than the provider says that a key has reached a phone of this person. A reason to look, not a fact.
    KeyReported { person: Person },
    /// Something changed about a credential. What, is read from the provider's object, never from the event.
    CredentialChanged { acs_credential_id: String },
    /// An access method was issued; its credentials are worth a look.
    AccessMethodIssued { access_method_id: String },
    /// The person was removed from the access system, and the credentials with them.
    AcsUserDeleted { acs_user_id: String },
    /// Phones of the person are no longer enrolled automatically.
    EnrollmentAutomationDeleted { enrollment_automation_id: String },
    /// An operator or the customer put a plan: its credential may be due at once, or its end have moved.
    PlanPut { plan_key: String, user_identity_id: String },
    /// An operator or the customer cancelled a plan.
    PlanDeleted { plan_key: String, user_identity_id: String },
    /// It is time to look at a plan's issuance again, whatever events came or stayed away. Only the sweep says so.
    IssuanceDue { plan_key: String, user_identity_id: String },
    /// Recorded, and nothing to do with us.
    Other,
}

impl Fact {
    /// The key under which facts are handled one at a time, so that two workers never act for one person at once.
    ///
    /// Facts of one person may still come under several keys (a credential's event does not say whose it is); the
    /// issuance's version is what keeps those from overwriting each other.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::PhoneRegistered { person, .. } | Self::KeyReported { person } => Some(person.subject()),
            Self::PlanPut { user_identity_id: id, .. }
            | Self::PlanDeleted { user_identity_id: id, .. }
            | Self::IssuanceDue { user_identity_id: id, .. } => Some(format!("user_identity:{id}")),
            Self::PhoneDeactivated { device_id } => Some(format!("device:{device_id}")),
            Self::CredentialChanged { acs_credential_id } => Some(format!("acs_credential:{acs_credential_id}")),
            Self::AccessMethodIssued { access_method_id } => Some(format!("access_method:{access_method_id}")),
            Self::AcsUserDeleted { acs_user_id } => Some(format!("acs_user:{acs_user_id}")),
            Self::EnrollmentAutomationDeleted { enrollment_automation_id } => {
                Some(format!("enrollment_automation:{enrollment_automation_id}"))
            }
            Self::Other => None,
        }
    }

    /// Whether it only reports that something may have changed, which is then read: one reading answers for all that
    /// have reported the same before it began.
    #[must_use]
    pub fn is_report(&self) -> bool {
        match self {
            Self::PhoneDeactivated { .. }
            | Self::KeyReported { .. }
            | Self::CredentialChanged { .. }
            | Self::AccessMethodIssued { .. }
            | Self::AcsUserDeleted { .. }
            | Self::EnrollmentAutomationDeleted { .. } => true,
            Self::PhoneRegistered { .. }
            | Self::PlanPut { .. }
            | Self::PlanDeleted { .. }
            | Self::IssuanceDue { .. }
            | Self::Other => false,
        }
    }

    /// Whether it only asks for a look. A look that finds nothing new is no news: it leaves no trace, neither in the
    /// ledger nor in the inbox, and one that fails is not parked, because the next one is due anyway.
    #[must_use]
    pub fn is_look(&self) -> bool {
        matches!(self, Self::IssuanceDue { .. })
    }
}
