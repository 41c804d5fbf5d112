//! Standard Webhooks, and Svix, whose scheme it is: `v1` = base64(HMAC-SHA256(secret, `{id}.{timestamp}.{raw body}`)), and
//! `v1a` = base64(Ed25519(private key, the same)) where the source has a public key.
//!
//! The two differ only in the names of the three headers, `webhook-*` and `svix-*`. A request carries one family, each
//! header once: where a library takes "the first" or "svix before webhook", a second reader can be made to see another
//! delivery. Signatures of other versions are skipped, so a sender may add `v1a` beside `v1` at any time; a signature
//! counts under its own version only, and a key for its own.
//!
//! Stricter than the reference libraries, on purpose: no repeated headers, no mixed families, at most
//! [`SIGNATURES_MAX`] signatures, canonical timestamps, ids that cannot move the boundary of what was signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use super::header::{self, only};
use super::{Named, Proof, PublicKey, Refusal, Secret, SecretName, SigningKey, numbered};

/// Signatures looked at in one header: two secrets in rotation need two.
pub const SIGNATURES_MAX: usize = 16;
/// Of these, Ed25519 signatures, of which each costs as much as a long body's HMAC.
pub const ASYMMETRIC_MAX: usize = 4;

const VERSION: &str = "v1,";
const MAC_BYTES: usize = 32;
const VERSION_ASYMMETRIC: &str = "v1a,";
const ED25519_BYTES: usize = 64;

/// The three headers of a signature, under one of their two prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Svix,
    Webhook,
}

impl Family {
    /// All headers of both families.
    pub const HEADERS: [HeaderName; 6] = [
        HeaderName::from_static("svix-id"),
        HeaderName::from_static("svix-timestamp"),
        HeaderName::from_static("svix-signature"),
        HeaderName::from_static("webhook-id"),
        HeaderName::from_static("webhook-timestamp"),
        HeaderName::from_static("webhook-signature"),
    ];

    #[must_use]
    pub fn id(self) -> HeaderName {
        match self {
            Self::Svix => const { HeaderName::from_static("svix-id") },
            Self::Webhook => const { HeaderName::from_static("webhook-id") },
        }
    }

    #[must_use]
    pub fn timestamp(self) -> HeaderName {
        match self {
            Self::Svix => const { HeaderName::from_static("svix-timestamp") },
            Self::Webhook => const { HeaderName::from_static("webhook-timestamp") },
        }
    }

    #[must_use]
    pub fn signature(self) -> HeaderName {
        match self {
            Self::Svix => const { HeaderName::from_static("svix-signature") },
            Self::Webhook => const { HeaderName::from_static("webhook-signature") },
        }
    }

    fn is_in(self, headers: &HeaderMap) -> bool {
        [self.id(), self.timestamp(), self.signature()].iter().any(|name| headers.contains_key(name))
    }

    /// The family that a request uses.
    pub(in crate::receiver) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match (Self::Svix.is_in(headers), Self::Webhook.is_in(headers)) {
            (true, true) => Err(Refusal::FamiliesMixed),
            (true, false) => Ok(Self::Svix),
            (false, _) => Ok(Self::Webhook),
        }
    }
}

/// Checks deliveries against the live secrets and public keys of one source.
#[derive(Debug)]
pub struct StandardWebhooks {
    /// The headers to sign with. Either family is read.
    family: Family,
    secrets: Vec<Named<Secret>>,
    public_keys: Vec<Named<PublicKey>>,
    /// Of a sender that is played: a receiver has none.
    signing_key: Option<SigningKey>,
}

/// What a request says of itself, in the right form and not proven yet.
pub(in crate::receiver) struct Claim<'h> {
    pub(in crate::receiver) id: &'h str,
    pub(in crate::receiver) timestamp: &'h [u8],
    pub(in crate::receiver) sent_at: Timestamp,
    pub(in crate::receiver) signatures: &'h [u8],
}

impl<'h> Claim<'h> {
    pub(in crate::receiver) fn read(headers: &'h HeaderMap) -> Result<Self, Refusal> {
        let family = Family::of(headers)?;
        let id = only(headers, &family.id())?;
        let timestamp = only(headers, &family.timestamp())?;
        let signatures = only(headers, &family.signature())?;

        let id = header::id(id.ok_or(Refusal::IdMissing)?)?;
        // A dot in the id would let bytes wander between id, timestamp and body under the same signature.
        if id.contains('.') {
            return Err(Refusal::IdMalformed);
        }
        let timestamp = timestamp.ok_or(Refusal::TimestampMissing)?;
        let sent_at = header::seconds(timestamp)?;
        Ok(Self { id, timestamp, sent_at, signatures: signatures.ok_or(Refusal::SignatureMissing)? })
    }

    /// What is signed, before the body.
    fn prefix(&self) -> [&[u8]; 4] {
        [self.id.as_bytes(), b".", self.timestamp, b"."]
    }
}

impl StandardWebhooks {
    /// Any one of `secrets` and `public_keys` may have signed.
    #[must_use]
    pub fn new(family: Family, secrets: Vec<Named<Secret>>, public_keys: Vec<Named<PublicKey>>) -> Self {
        Self { family, secrets, public_keys, signing_key: None }
    }

    pub(super) fn prove(&self, headers: &HeaderMap, body: &[u8]) -> Result<Proof, Refusal> {
        let claim = Claim::read(headers)?;
        let candidates = Candidates::read(claim.signatures, !self.public_keys.is_empty())?;
        let secret = self.matching(&claim, body, &candidates).ok_or(Refusal::SignatureWrong)?;
        Ok(Proof { delivery_id: claim.id.to_owned(), secret: secret.clone(), sent_at: Some(claim.sent_at) })
    }

    /// Compares every candidate with every secret's signature, without stopping at a match: the time taken depends on
    /// how many there are, not on which of them is right or in which byte one is wrong.
    fn matching(&self, claim: &Claim<'_>, body: &[u8], candidates: &Candidates) -> Option<&SecretName> {
        let mut found = None;
        for secret in &self.secrets {
            let expected = mac(&secret.key, claim.prefix(), body);
            let mut matches = Choice::from(0);
            for candidate in &candidates.macs {
                matches |= expected.as_slice().ct_eq(candidate);
            }
            if matches.into() {
                found.get_or_insert(&secret.name);
            }
        }
        found.or_else(|| self.matching_public_key(claim, body, &candidates.asymmetric))
    }

    /// Nothing here is secret, so this may stop where it likes.
    fn matching_public_key(
        &self,
        claim: &Claim<'_>,
        body: &[u8],
        candidates: &[[u8; ED25519_BYTES]],
    ) -> Option<&SecretName> {
        if candidates.is_empty() {
            return None;
        }
        let signed = [claim.prefix().concat().as_slice(), body].concat();
        let verifies = |key: &PublicKey| candidates.iter().any(|candidate| key.verifies(&signed, candidate));
        self.public_keys.iter().find(|key| verifies(&key.key)).map(|key| &key.name)
    }

    pub(super) fn sign(&self, id: &str, sent_at: Timestamp, body: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let signature = match &self.signing_key {
            Some(key) => {
                let signed = [format!("{id}.{}.", sent_at.as_second()).as_bytes(), body].concat();
                format!("{VERSION_ASYMMETRIC}{}", key.sign(&signed))
            }
            None => sign(&self.secrets.first()?.key, id, sent_at, body),
        };
        Some(vec![
            (self.family.id(), HeaderValue::from_str(id).ok()?),
            (self.family.timestamp(), HeaderValue::from(sent_at.as_second())),
            (self.family.signature(), HeaderValue::from_str(&signature).ok()?),
        ])
    }

    pub(super) fn names(&self) -> Vec<&SecretName> {
        let secrets = self.secrets.iter().map(|secret| &secret.name);
        secrets.chain(self.public_keys.iter().map(|key| &key.name)).collect()
    }

    pub(super) fn with_secret(self, secret: Secret) -> Self {
        Self { secrets: numbered(vec![secret]), signing_key: None, ..self }
    }

    /// Signs with this key alone, and knows it again.
    pub(super) fn with_signing_key(self, key: SigningKey) -> Self {
        let public_keys = numbered(key.public_key().into_iter().collect());
        Self { secrets: Vec::new(), public_keys, signing_key: Some(key), ..self }
    }

    #[must_use]
    pub fn secrets(&self) -> &[Named<Secret>] {
        &self.secrets
    }

    #[must_use]
    pub fn public_keys(&self) -> &[Named<PublicKey>] {
        &self.public_keys
    }
}

/// The signature header's value as the sender writes it: `v1,<base64>`.
#[must_use]
pub fn sign(secret: &Secret, id: &str, sent_at: Timestamp, body: &[u8]) -> String {
    let timestamp = sent_at.as_second().to_string();
    let prefix = [id.as_bytes(), b".", timestamp.as_bytes(), b"."];
    format!("{VERSION}{}", STANDARD.encode(mac(secret, prefix, body)))
}

#[expect(clippy::expect_used, reason = "HMAC accepts a key of any length")]
fn mac(secret: &Secret, prefix: [&[u8]; 4], body: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC accepts a key of any length");
    for part in prefix {
        mac.update(part);
    }
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// The signatures of a header that are of a known version and its exact length in strict base64.
struct Candidates {
    macs: Vec<[u8; MAC_BYTES]>,
    asymmetric: Vec<[u8; ED25519_BYTES]>,
}

impl Candidates {
    /// `v1a` counts only where there is a key for it.
    fn read(header: &[u8], with_asymmetric: bool) -> Result<Self, Refusal> {
        // The reference libraries refuse to read such a header at all.
        if !header.is_ascii() {
            return Err(Refusal::SignatureMalformed);
        }
        let mut candidates = Self { macs: Vec::with_capacity(2), asymmetric: Vec::new() };
        for (index, signature) in header.split(|&byte| byte == b' ').enumerate() {
            if index == SIGNATURES_MAX {
                return Err(Refusal::TooManySignatures);
            }
            if let Some(text) = signature.strip_prefix(VERSION.as_bytes()) {
                candidates.macs.extend(decode::<MAC_BYTES>(text));
            } else if let Some(text) = signature.strip_prefix(VERSION_ASYMMETRIC.as_bytes())
                && with_asymmetric
            {
                candidates.asymmetric.extend(decode::<ED25519_BYTES>(text));
            }
        }
        if candidates.asymmetric.len() > ASYMMETRIC_MAX {
            Err(Refusal::TooManySignatures)
        } else if candidates.macs.is_empty() && candidates.asymmetric.is_empty() {
            Err(Refusal::SignatureMalformed)
        } else {
            Ok(candidates)
        }
    }
}

fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svix_signs_its_documented_example_like_this() {
        // The example's key has 18 bytes, too few for `Secret::parse`.
        let secret = Secret::from_key(&STANDARD.decode("plJ3nmyCDGBKInavdOK15jsl").expect("base64"));
        let sent_at = Timestamp::from_second(1_731_705_121).expect("a timestamp");
        let body = br#"{"event_type":"ping","data":{"success":true}}"#;
        let signature = sign(&secret, "msg_loFOjxBNrRLzqYUf", sent_at, body);
        assert_eq!(signature, "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
    }
}
