//! Is this request from whom it says it is? Pure: headers, bytes and a moment in; [`Verified`] or a [`Refusal`] out.
//!
//! One file per scheme. Only a scheme can make a [`Verified`], and the parsers take nothing else: no code can be written
//! that reads a body whose signature was not checked. There is no scheme "none".

mod secret;
pub mod standard_webhooks;

use bytes::Bytes;
use jiff::Timestamp;

pub use secret::{Secret, SecretError};
pub use standard_webhooks::StandardWebhooks;

/// A delivery whose sender is proven.
#[derive(Debug)]
pub struct Verified {
    delivery_id: String,
    sent_at: Timestamp,
    body: Bytes,
}

impl Verified {
    /// A delivery out of our own store: only what was proven is ever parked.
    pub(super) fn when_it_was_parked(delivery_id: &str, received_at: Timestamp, body: Bytes) -> Self {
        Self { delivery_id: delivery_id.to_owned(), sent_at: received_at, body }
    }

    /// The sender's id of the delivery, the same over all its attempts: 1 to 256 graphic ASCII characters.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.delivery_id
    }

    /// When the sender signed this attempt, to the second.
    #[must_use]
    pub fn sent_at(&self) -> Timestamp {
        self.sent_at
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Why a request is not taken for its sender's. For counting and for the operator's log: the response never says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("a signature header occurs more than once")]
    HeaderRepeated,
    #[error("both svix-* and webhook-* headers are present")]
    FamiliesMixed,
    #[error("the id header is missing")]
    IdMissing,
    #[error("the id is not 1 to 256 graphic ASCII characters without a dot")]
    IdMalformed,
    #[error("the timestamp header is missing")]
    TimestampMissing,
    #[error("the timestamp is not whole seconds in plain digits")]
    TimestampMalformed,
    #[error("the timestamp is older than the tolerance")]
    TooOld,
    #[error("the timestamp is further ahead than the tolerance")]
    TooEarly,
    #[error("the signature header is missing")]
    SignatureMissing,
    #[error("there are too many signatures")]
    TooManySignatures,
    #[error("no signature has a known version and the right form")]
    SignatureMalformed,
    #[error("no signature was made with a secret of this source over these bytes")]
    SignatureWrong,
    #[error("no source has this name")]
    SourceUnknown,
}

impl Refusal {
    /// All of them, for tables.
    pub const ALL: [Self; 13] = [
        Self::HeaderRepeated,
        Self::FamiliesMixed,
        Self::IdMissing,
        Self::IdMalformed,
        Self::TimestampMissing,
        Self::TimestampMalformed,
        Self::TooOld,
        Self::TooEarly,
        Self::SignatureMissing,
        Self::TooManySignatures,
        Self::SignatureMalformed,
        Self::SignatureWrong,
        Self::SourceUnknown,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::HeaderRepeated => "header_repeated",
            Self::FamiliesMixed => "families_mixed",
            Self::IdMissing => "id_missing",
            Self::IdMalformed => "id_malformed",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::TooOld => "too_old",
            Self::TooEarly => "too_early",
            Self::SignatureMissing => "signature_missing",
            Self::TooManySignatures => "too_many_signatures",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureWrong => "signature_wrong",
            Self::SourceUnknown => "source_unknown",
        }
    }

    /// The request contradicts itself, so that two readers of it could see two different deliveries. That is broken
    /// HTTP rather than a failed proof, whoever the source is.
    #[must_use]
    pub fn is_contradiction(self) -> bool {
        matches!(self, Self::HeaderRepeated | Self::FamiliesMixed)
    }
}
