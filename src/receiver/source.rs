//! A configured sender of webhooks: its name in the URL, how it proves itself, and what its bodies look like.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::verify::standard_webhooks::Family;
use super::verify::{Refusal, Secret, StandardWebhooks, Verified};

/// Bytes of a source's name.
const NAME_BYTES_MAX: usize = 64;
/// A wider window would not be a check of freshness any more.
const TOLERANCE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// What kind of sender it is: this decides the signature scheme and the shape of the bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Seam itself, delivering through Svix.
    Seam,
    /// A Standard Webhooks sender of our own event shape: the customer's backend.
    Standard,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seam => "seam",
            Self::Standard => "standard",
        }
    }

    /// The headers that such a sender writes. Either family is read from both.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Seam => Family::Svix,
            Self::Standard => Family::Webhook,
        }
    }
}

/// A sender, checked once when it was configured.
#[derive(Debug)]
pub struct Source {
    name: Arc<str>,
    kind: Kind,
    scheme: StandardWebhooks,
}

/// What is wrong with a source's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("a source's name is 1 to {NAME_BYTES_MAX} characters of a-z, 0-9 and `-`")]
    Name,
    #[error("a source needs at least one secret: there is no way to receive without verification")]
    NoSecret,
    #[error("the tolerance is not between zero (the very second) and one hour")]
    Tolerance,
}

impl Source {
    /// Any of `secrets` may sign; `tolerance` (five minutes is usual) holds into the past and into the future.
    pub fn new(name: &str, kind: Kind, secrets: Vec<Secret>, tolerance: SignedDuration) -> Result<Self, SourceError> {
        let name_is_good = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !name_is_good {
            return Err(SourceError::Name);
        }
        if secrets.is_empty() {
            return Err(SourceError::NoSecret);
        }
        if !(SignedDuration::ZERO..=TOLERANCE_MAX).contains(&tolerance) {
            return Err(SourceError::Tolerance);
        }
        Ok(Self { name: name.into(), kind, scheme: StandardWebhooks::new(secrets, tolerance) })
    }

    /// The source that nobody is: it does a source's work, and its verdict counts for nothing.
    pub(super) fn nobody() -> Self {
        let scheme = StandardWebhooks::new(vec![Secret::decoy()], SignedDuration::ZERO);
        Self { name: "".into(), kind: Kind::Standard, scheme }
    }

    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Proves that this source sent the body.
    pub fn verify(&self, headers: &HeaderMap, body: Bytes, now: Timestamp) -> Result<Verified, Refusal> {
        self.scheme.verify(headers, body, now)
    }
}
