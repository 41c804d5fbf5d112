//! Why a request is not taken: the closed list behind the one answer.

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

    /// The signature was computed, if in vain: all other refusals come before that.
    pub(in crate::receiver) fn was_compared(self) -> bool {
        matches!(self, Self::SignatureWrong | Self::TooOld | Self::TooEarly)
    }

    /// The request contradicts itself, so that two readers of it could see two different deliveries. That is broken
    /// HTTP rather than a failed proof, whoever the source is.
    #[must_use]
    pub fn is_contradiction(self) -> bool {
        matches!(self, Self::HeaderRepeated | Self::FamiliesMixed)
    }
}
