//! The access-control API that creates credentials, as the worker needs it.
//!
//! One attempt per call, each with a deadline; who may try again, and when, is the worker's to decide. What the provider
//! says is returned as its own objects here, decoded tolerantly: unknown fields and kinds pass, missing newer ones too.

mod attempt;
mod error;
mod inspect;
mod seam;
mod settings;
mod wire;

pub use inspect::{Inspection, Webhook};
pub use seam::SeamClient;
pub use settings::{ApiKey, ApiKeyError, Endpoint, EndpointError, SEAM_ENDPOINT, Settings};

use async_trait::async_trait;
use jiff::Timestamp;

/// A credential as Seam tells it (`/acs/credentials/get`). Fields that we don't act on are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub acs_credential_id: String,
    pub acs_system_id: String,
    pub acs_user_id: Option<String>,
    pub user_identity_id: Option<String>,
    /// Set on a child: the multi-phone sync credential that it replicates.
    pub parent_acs_credential_id: Option<String>,
    pub access_method: String,
    pub is_multi_phone_sync_credential: bool,
    pub is_issued: bool,
    pub issued_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub starts_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
    /// `false` once the access system no longer honours it (`visionline_metadata.is_valid`), or it is being deleted.
    pub is_usable: bool,
    /// The provider's own error codes (`errors[].error_code`), if any.
    pub errors: Vec<String>,
}

/// A phone as Seam tells it (`/phones/list`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    pub device_id: String,
    /// `ios_phone` or `android_phone`.
    pub device_type: String,
    pub created_at: Timestamp,
}

/// An access control system user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcsUser {
    pub acs_user_id: String,
    pub acs_system_id: String,
    pub user_identity_id: Option<String>,
}

/// An access control system, or a credential manager, which Seam models as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcsSystem {
    pub acs_system_id: String,
    pub name: String,
    pub is_credential_manager: bool,
}

/// An event of the provider's own list (`/events/list`): the object as it stands, and what orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEvent {
    pub event_id: String,
    pub event_type: String,
    pub occurred_at: Timestamp,
    /// The whole event object, byte for byte as listed.
    pub body: bytes::Bytes,
}

/// What a new credential shall be: the body of `/acs/credentials/create`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct NewCredential {
    /// `mobile_key`, `code` or `card`.
    pub access_method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs_user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_identity_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acs_system_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_manager_acs_system_id: Option<String>,
    pub allowed_acs_entrance_ids: Vec<String>,
    pub is_multi_phone_sync_credential: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Handed through as the plan has it: `card_format`, `card_function_type`, `override`, joiners …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visionline_metadata: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assa_abloy_vostio_metadata: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salto_space_metadata: Option<serde_json::Value>,
}

/// Which credentials to list. All given conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    pub acs_user_id: Option<String>,
    pub user_identity_id: Option<String>,
    pub acs_system_id: Option<String>,
    pub is_multi_phone_sync_credential: Option<bool>,
}

/// The calls that the worker makes. Lists are whole: the client follows the provider's pages, within a limit.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    async fn create_credential(&self, new: &NewCredential) -> Result<Credential, ProviderError>;
    async fn get_credential(&self, acs_credential_id: &str) -> Result<Credential, ProviderError>;
    async fn list_credentials(&self, filter: &CredentialFilter) -> Result<Vec<Credential>, ProviderError>;
    /// Moves the end of a credential. Seam allows no other change.
    async fn update_credential(&self, acs_credential_id: &str, ends_at: Timestamp) -> Result<(), ProviderError>;
    async fn delete_credential(&self, acs_credential_id: &str) -> Result<(), ProviderError>;
    /// The ids of the entrances that a credential opens.
    async fn entrances_of_credential(&self, acs_credential_id: &str) -> Result<Vec<String>, ProviderError>;
    /// The ids of the entrances of a system.
    async fn entrances_of_system(&self, acs_system_id: &str) -> Result<Vec<String>, ProviderError>;
    /// The credentials behind an access method (`/access_methods/get_related`).
    async fn credentials_of_access_method(&self, access_method_id: &str) -> Result<Vec<Credential>, ProviderError>;
    async fn phones_of_person(&self, user_identity_id: &str) -> Result<Vec<Phone>, ProviderError>;
    /// The phones that hold a credential: for a child, its one phone.
    async fn phones_of_credential(&self, acs_credential_id: &str) -> Result<Vec<Phone>, ProviderError>;
    async fn get_phone(&self, device_id: &str) -> Result<Phone, ProviderError>;
    /// The id of the user identity; proves that it exists.
    async fn find_person(&self, person: &crate::domain::Person) -> Result<String, ProviderError>;
    async fn get_acs_user(&self, acs_user_id: &str) -> Result<AcsUser, ProviderError>;
    async fn list_acs_users(&self, user_identity_id: &str, acs_system_id: &str) -> Result<Vec<AcsUser>, ProviderError>;
    async fn get_acs_system(&self, acs_system_id: &str) -> Result<AcsSystem, ProviderError>;
    /// What happened from `since` to `until`, as far as we act on it, oldest first.
    async fn list_events(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ListedEvent>, ProviderError>;
    /// The id of the enrollment automation that the person has with this credential manager.
    async fn find_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<Option<String>, ProviderError>;
    /// The old way of enrolling phones; the id of the enrollment automation.
    async fn launch_enrollment_automation(
        &self,
        user_identity_id: &str,
        credential_manager_acs_system_id: &str,
    ) -> Result<String, ProviderError>;
}

/// Why a call gave no answer to work with.
///
/// `call` is the path (`/acs/credentials/create`); no variant holds a request's content or a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// The call may be repeated: it did not take effect (connection refused, 429, 503 …), or it is one that ends in the
    /// same state however often it is made (a read, moving an end, deleting).
    #[error("{call}: {why}")]
    Transient {
        call: &'static str,
        why: String,
        /// What the provider asked for (`Retry-After`), held within reason: all calls wait that long.
        retry_after: Option<std::time::Duration>,
    },
    /// The call will not succeed however often it is repeated.
    #[error("{call}: {error_type}: {message}")]
    Permanent {
        call: &'static str,
        status: u16,
        /// Seam's `error.type`, e.g. `acs_user_not_found`.
        error_type: String,
        message: String,
    },
    /// The call was not made: all calls wait, at least until then.
    #[error("the provider is not called for now: {why}")]
    Held { until: Timestamp, why: String },
    /// Nobody can say whether a call that makes something (a credential, an enrollment automation) took effect: a
    /// timeout, a lost answer, an unreadable answer. It must be asked about, never repeated blindly.
    #[error("{call}: {why}")]
    Unknown { call: &'static str, why: String },
}

impl ProviderError {
    /// The object that was asked for does not exist (any more).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Permanent { status: 404, .. })
    }
}
