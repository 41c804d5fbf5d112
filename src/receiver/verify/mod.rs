//! Is this request from whom it says it is? Pure: headers, bytes and a moment in; [`Verified`] or a [`Refusal`] out.
//!
//! One file per scheme, each of which signs as well, since `keyferry send` plays the sender. A scheme makes a [`Proof`];
//! that it is recent is judged here, for all of them alike. Only this makes a [`Verified`], and the parsers take nothing
//! else: no code can be written that reads a body whose signature was not checked. There is no scheme "none".

mod header;
pub mod hmac_header;
mod mistaken;
mod public_key;
mod refusal;
mod secret;
pub mod shared_secret;
mod signing_key;
pub mod standard_webhooks;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

pub use hmac_header::HmacHeader;
pub use public_key::{PublicKey, PublicKeyError};
pub use refusal::Refusal;
pub use secret::{Named, Secret, SecretError, SecretName, numbered};
pub use shared_secret::SharedSecret;
pub use signing_key::SigningKey;
pub use standard_webhooks::StandardWebhooks;

/// What a scheme has proven of a request, and what its sender says of this attempt.
#[derive(Debug, Clone)]
pub struct Proof {
    delivery_id: String,
    secret: SecretName,
    /// To the second. `None` where the scheme has no timestamp.
    sent_at: Option<Timestamp>,
}

impl Proof {
    /// The name of the secret that verified.
    #[must_use]
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// When the sender signed this attempt, to the second, where its scheme says so.
    #[must_use]
    pub fn sent_at(&self) -> Option<Timestamp> {
        self.sent_at
    }

    /// How long ago that was, by our clock; negative if it is yet to come.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        // The header has whole seconds, so `now` is taken to the second as well.
        Some(SignedDuration::from_secs(now.as_second() - self.sent_at?.as_second()))
    }

    fn recent(&self, tolerance: SignedDuration, now: Timestamp) -> Result<(), Refusal> {
        match self.age(now) {
            Some(age) if age > tolerance => Err(Refusal::TooOld),
            Some(age) if -age > tolerance => Err(Refusal::TooEarly),
            _ => Ok(()),
        }
    }
}

/// A delivery whose sender is proven.
#[derive(Debug)]
pub struct Verified {
    proof: Proof,
    body: Bytes,
}

impl Verified {
    /// A delivery out of our own store: only what was proven is ever parked.
    pub(super) fn when_it_was_parked(delivery_id: &str, body: Bytes) -> Self {
        let proof = Proof { delivery_id: delivery_id.to_owned(), secret: SecretName::default(), sent_at: None };
        Self { proof, body }
    }

    /// The sender's id of the delivery, the same over all its attempts: 1 to 256 graphic ASCII characters. Where the
    /// scheme has none, it is made of the body.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.proof.delivery_id
    }

    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// A request that is not taken. The proof is there where the signature held and only its time did not.
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    pub proof: Option<Proof>,
}

/// How a sender proves itself.
#[derive(Debug)]
pub enum Scheme {
    StandardWebhooks(StandardWebhooks),
    SharedSecret(SharedSecret),
    HmacHeader(HmacHeader),
}

impl Scheme {
    /// `tolerance` holds into the past and into the future; zero means the very second.
    pub(super) fn verify(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        tolerance: SignedDuration,
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        // The signature comes first: "too old" and "too early" then only ever count genuine senders, and say something
        // about a clock.
        let proof = self.prove(headers, &body).map_err(|refusal| Refused { refusal, proof: None })?;
        match proof.recent(tolerance, now) {
            Ok(()) => Ok(Verified { proof, body }),
            Err(refusal) => Err(Refused { refusal, proof: Some(proof) }),
        }
    }

    fn prove(&self, headers: &HeaderMap, body: &[u8]) -> Result<Proof, Refusal> {
        match self {
            Self::StandardWebhooks(scheme) => scheme.prove(headers, body),
            Self::SharedSecret(scheme) => scheme.prove(headers, body),
            Self::HmacHeader(scheme) => scheme.prove(headers, body),
        }
    }

    /// The headers of a request as this sender would sign it, with the first of the secrets. `None` where none of them
    /// can sign: a public key cannot.
    #[must_use]
    pub fn sign(&self, id: &str, sent_at: Timestamp, body: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
        match self {
            Self::StandardWebhooks(scheme) => scheme.sign(id, sent_at, body),
            Self::SharedSecret(scheme) => scheme.sign(),
            Self::HmacHeader(scheme) => scheme.sign(id, sent_at, body),
        }
    }

    /// The same scheme with one secret, read from a text as this scheme has it.
    pub(super) fn with_secret(self, text: &str) -> Result<Self, SecretError> {
        Ok(match self {
            Self::StandardWebhooks(scheme) if text.starts_with(signing_key::PREFIX) => {
                Self::StandardWebhooks(scheme.with_signing_key(SigningKey::parse(text)?))
            }
            Self::StandardWebhooks(scheme) => Self::StandardWebhooks(scheme.with_secret(Secret::parse(text)?)),
            Self::SharedSecret(scheme) => Self::SharedSecret(scheme.with_secret(Secret::for_header(text)?)),
            Self::HmacHeader(scheme) => Self::HmacHeader(scheme.with_secret(Secret::text(text)?)),
        })
    }

    /// The names of all that may sign, in the order of their configuration.
    #[must_use]
    pub fn names(&self) -> Vec<&SecretName> {
        match self {
            Self::StandardWebhooks(scheme) => scheme.names(),
            Self::SharedSecret(scheme) => scheme.secrets().iter().map(|secret| &secret.name).collect(),
            Self::HmacHeader(scheme) => scheme.secrets().iter().map(|secret| &secret.name).collect(),
        }
    }

    /// All that may sign, by their names. Only for telling one configuration from another.
    pub(super) fn keys(&self) -> Vec<(&SecretName, &[u8])> {
        fn secrets(secrets: &[Named<Secret>]) -> Vec<(&SecretName, &[u8])> {
            secrets.iter().map(|secret| (&secret.name, secret.key.bytes())).collect()
        }
        match self {
            Self::StandardWebhooks(scheme) => {
                let public = scheme.public_keys().iter().map(|key| (&key.name, key.key.bytes()));
                secrets(scheme.secrets()).into_iter().chain(public).collect()
            }
            Self::SharedSecret(scheme) => secrets(scheme.secrets()),
            Self::HmacHeader(scheme) => secrets(scheme.secrets()),
        }
    }

    /// Whether only the keys can differ.
    pub(super) fn has_settings_of(&self, other: &Self) -> bool {
        match (self, other) {
            // What else there is comes with the kind of the source.
            (Self::StandardWebhooks(_), Self::StandardWebhooks(_)) => true,
            (Self::SharedSecret(one), Self::SharedSecret(other)) => one.header() == other.header(),
            (Self::HmacHeader(one), Self::HmacHeader(other)) => one.format() == other.format(),
            _ => false,
        }
    }

    /// The headers that prove something; none of them may be repeated.
    pub(super) fn headers(&self) -> Vec<HeaderName> {
        match self {
            Self::StandardWebhooks(_) => standard_webhooks::Family::HEADERS.to_vec(),
            Self::SharedSecret(scheme) => vec![scheme.header().clone()],
            Self::HmacHeader(scheme) => scheme.headers(),
        }
    }
}

/// An id of a delivery whose sender gives none: the same bytes are the same delivery.
pub(super) fn digest(body: &[u8]) -> String {
    const BYTES: usize = 16;
    format!("sha256-{}", hex::encode(&Sha256::digest(body)[..BYTES]))
}
