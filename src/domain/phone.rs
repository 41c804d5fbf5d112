//! Phones, and the key that one phone has by one plan.

use jiff::Timestamp;

/// A phone that a webhook or the provider told of. Kept because `phone.deactivated` does not say whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// The provider's id.
    pub device_id: String,
    pub user_identity_id: String,
    /// `ios_phone` or `android_phone`, where known.
    pub device_type: Option<String>,
    pub is_active: bool,
}

/// One phone × one issuance. Seam makes one child credential for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneKey {
    pub plan_key: String,
    pub device_id: String,
    pub status: KeyStatus,
    /// The child credential on this phone.
    pub acs_credential_id: Option<String>,
    pub issued_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// The phone is known, its key is not on it yet.
    Waiting,
    /// Read from the provider's object: the key is on the phone.
    Issued,
    /// The key is no longer good.
    Revoked,
}

impl KeyStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Issued => "issued",
            Self::Revoked => "revoked",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Issued, Self::Revoked].into_iter().find(|status| status.as_str() == word)
    }
}

impl PhoneKey {
    #[must_use]
    pub fn waiting(plan_key: &str, device_id: &str) -> Self {
        Self {
            plan_key: plan_key.to_owned(),
            device_id: device_id.to_owned(),
            status: KeyStatus::Waiting,
            acs_credential_id: None,
            issued_at: None,
        }
    }
}
