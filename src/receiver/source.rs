//! A configured sender of webhooks: its name in the URL, how it proves itself, and what its bodies look like.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use crate::domain::name;

use super::meters::Meters;
use super::parse::{Headers, Item, Shape};
use super::verify::standard_webhooks::Family;
use super::verify::{Refusal, Refused, Scheme, Secret, SecretError, SecretName, StandardWebhooks, Verified, numbered};

/// A wider window would not be a check of freshness any more.
const TOLERANCE_MAX: SignedDuration = SignedDuration::from_hours(1);
/// More live secrets than a rotation can need; each is tried on every request.
pub(super) const SECRETS_MAX: usize = 8;

/// What kind of sender it is: this decides the signature scheme and the shape of the bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Seam itself, delivering through Svix.
    Seam,
    /// A Standard Webhooks sender of our own event shape: the customer's backend.
    Standard,
    /// HID Origo: CloudEvents with a static secret in a header.
    HidOrigo,
    /// Anybody who puts an HMAC into a header.
    Hmac,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seam => "seam",
            Self::Standard => "standard",
            Self::HidOrigo => "hid-origo",
            Self::Hmac => "hmac",
        }
    }

    /// The Standard Webhooks headers that such a sender writes. Either family is read from both.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Seam => Family::Svix,
            Self::Standard | Self::HidOrigo | Self::Hmac => Family::Webhook,
        }
    }
}

/// A sender, checked once when it was configured.
#[derive(Debug)]
pub struct Source {
    name: Arc<str>,
    kind: Kind,
    scheme: Scheme,
    tolerance: SignedDuration,
    shape: Shape,
    meters: Meters,
}

/// What is wrong with a source's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("a source's name is 1 to {} characters of a-z, 0-9 and `-`", name::SOURCE_BYTES_MAX)]
    Name,
    #[error("a source needs at least one secret: there is no way to receive without verification")]
    NoSecret,
    #[error("a source has at most {SECRETS_MAX} secrets")]
    TooManySecrets,
    #[error("two secrets are named `{0}`")]
    SecretNameTwice(SecretName),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the tolerance is not between zero (the very second) and one hour")]
    Tolerance,
}

impl Source {
    /// A sender of a kind that signs as Standard Webhooks say. Any of `secrets` may sign; `tolerance` (five minutes is
    /// usual) holds into the past and into the future.
    pub fn new(name: &str, kind: Kind, secrets: Vec<Secret>, tolerance: SignedDuration) -> Result<Self, SourceError> {
        let scheme = StandardWebhooks::new(kind.family(), numbered(secrets), Vec::new());
        let shape = if kind == Kind::Seam { Shape::Seam } else { Shape::Standard };
        Self::of(name, kind, Scheme::StandardWebhooks(scheme), shape, tolerance)
    }

    /// A sender of any kind.
    pub fn of(
        name: &str,
        kind: Kind,
        scheme: Scheme,
        shape: Shape,
        tolerance: SignedDuration,
    ) -> Result<Self, SourceError> {
        if !name::is_source(name) {
            return Err(SourceError::Name);
        }
        check_names(&scheme.names())?;
        if !(SignedDuration::ZERO..=TOLERANCE_MAX).contains(&tolerance) {
            return Err(SourceError::Tolerance);
        }
        Ok(Self { name: name.into(), kind, scheme, tolerance, shape, meters: Meters::default() })
    }

    /// The source that nobody is: it does a source's work, and its verdict counts for nothing.
    pub(super) fn nobody() -> Self {
        let secrets = numbered(vec![Secret::decoy()]);
        Self {
            name: "".into(),
            kind: Kind::Standard,
            scheme: Scheme::StandardWebhooks(StandardWebhooks::new(Family::Webhook, secrets, Vec::new())),
            tolerance: SignedDuration::ZERO,
            shape: Shape::Standard,
            meters: Meters::default(),
        }
    }

    /// A sender that signs as Standard Webhooks say, known by one secret alone, `whsec_…` or `whsk_…`: for whoever plays it.
    pub fn played(name: &str, kind: Kind, text: &str) -> Result<Self, SourceError> {
        Ok(Self::new(name, kind, vec![Secret::decoy()], SignedDuration::ZERO)?.with_secret(text)?)
    }

    /// The same sender with one secret of this text.
    pub fn with_secret(self, text: &str) -> Result<Self, SecretError> {
        Ok(Self { scheme: self.scheme.with_secret(text)?, ..self })
    }

    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    #[must_use]
    pub fn tolerance(&self) -> SignedDuration {
        self.tolerance
    }

    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// What is different in `newer`, the same source configured again. No secret is in it, only their names.
    pub(super) fn changes(&self, newer: &Self) -> Vec<String> {
        let (old, new) = (self.scheme.keys(), newer.scheme.keys());
        let mut changes = Vec::new();
        for (name, key) in &new {
            match old.iter().find(|(known, _)| known == name) {
                None => changes.push(format!("secret `{name}` is new")),
                Some((_, known)) if known != key => changes.push(format!("secret `{name}` is another")),
                Some(_) => {}
            }
        }
        let is_gone = |name: &&SecretName| !new.iter().any(|(kept, _)| kept == name);
        changes.extend(old.iter().map(|(name, _)| *name).filter(is_gone).map(|it| format!("secret `{it}` is gone")));
        let is_otherwise_equal = (self.kind, self.tolerance, &self.shape)
            == (newer.kind, newer.tolerance, &newer.shape)
            && self.scheme.has_settings_of(&newer.scheme);
        if !is_otherwise_equal {
            changes.push("its settings are others".to_owned());
        }
        changes
    }

    /// Proves that this source sent the body.
    pub fn verify(&self, headers: &HeaderMap, body: Bytes, now: Timestamp) -> Result<Verified, Refusal> {
        self.judge(headers, body, now).map_err(|refused| refused.refusal)
    }

    /// The same, with what was proven of a request that came at the wrong time.
    pub fn judge(&self, headers: &HeaderMap, body: Bytes, now: Timestamp) -> Result<Verified, Refused> {
        self.scheme.verify(headers, body, self.tolerance, now)
    }

    /// Reads what a proven delivery carries.
    #[must_use]
    pub fn read(&self, delivery: &Verified, received_at: Timestamp, headers: &Headers) -> Vec<Item> {
        self.shape.read(&self.name, delivery, received_at, headers)
    }

    /// The headers of a request as this sender would make it. `None` where no secret of it can sign.
    #[must_use]
    pub fn sign(&self, id: &str, sent_at: Timestamp, body: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let is_batch = body.trim_ascii_start().first() == Some(&b'[');
        let content_type = match self.kind {
            Kind::HidOrigo if is_batch => "application/cloudevents-batch+json",
            Kind::HidOrigo => "application/cloudevents+json",
            Kind::Seam | Kind::Standard | Kind::Hmac => "application/json",
        };
        let mut headers = vec![(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
        headers.extend(self.scheme.sign(id, sent_at, body)?);
        Some(headers)
    }
}

fn check_names(names: &[&SecretName]) -> Result<(), SourceError> {
    if names.is_empty() {
        return Err(SourceError::NoSecret);
    }
    if names.len() > SECRETS_MAX {
        return Err(SourceError::TooManySecrets);
    }
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(**name)) {
        Some(name) => Err(SourceError::SecretNameTwice((*name).clone())),
        None => Ok(()),
    }
}
