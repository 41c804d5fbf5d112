//! Standard Webhooks, and Svix, whose scheme it is: `v1` = base64(HMAC-SHA256(secret, `{id}.{timestamp}.{raw body}`)).
//!
//! The two differ only in the names of the three headers, `webhook-*` and `svix-*`. A request carries one family, each
//! header once: where a library takes "the first" or "svix before webhook", a second reader can be made to see another
//! delivery. Signatures of unknown version are skipped, so a sender may add `v1a` beside `v1` at any time.
//!
//! Stricter than the reference libraries, on purpose: no repeated headers, no mixed families, at most
//! [`SIGNATURES_MAX`] signatures, canonical timestamps, ids that cannot move the boundary of what was signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use super::{Refusal, Secret, Verified};

/// Signatures looked at in one header: two secrets in rotation need two.
pub const SIGNATURES_MAX: usize = 16;
/// Bytes of a delivery id.
pub const ID_BYTES_MAX: usize = 256;

const VERSION: &str = "v1,";
const MAC_BYTES: usize = 32;
const MAC_BASE64_BYTES: usize = 44;
/// Enough for every second until the year 9999.
const TIMESTAMP_DIGITS_MAX: usize = 12;

/// The three headers of a signature, under one of their two prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Svix,
    Webhook,
}

impl Family {
    #[must_use]
    pub fn id(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Svix => "svix-id",
            Self::Webhook => "webhook-id",
        })
    }

    #[must_use]
    pub fn timestamp(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Svix => "svix-timestamp",
            Self::Webhook => "webhook-timestamp",
        })
    }

    #[must_use]
    pub fn signature(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Svix => "svix-signature",
            Self::Webhook => "webhook-signature",
        })
    }

    fn is_in(self, headers: &HeaderMap) -> bool {
        [self.id(), self.timestamp(), self.signature()].iter().any(|name| headers.contains_key(name))
    }
}

/// Checks deliveries against the live secrets of one source.
#[derive(Debug)]
pub struct StandardWebhooks {
    secrets: Vec<Secret>,
    tolerance: SignedDuration,
}

impl StandardWebhooks {
    /// Any one of `secrets` may have signed; `tolerance` holds in both directions, and zero means the very second.
    #[must_use]
    pub fn new(secrets: Vec<Secret>, tolerance: SignedDuration) -> Self {
        Self { secrets, tolerance }
    }

    /// Proves that the sender signed exactly these bytes, recently.
    pub fn verify(&self, headers: &HeaderMap, body: Bytes, now: Timestamp) -> Result<Verified, Refusal> {
        let family = match (Family::Svix.is_in(headers), Family::Webhook.is_in(headers)) {
            (true, true) => return Err(Refusal::FamiliesMixed),
            (true, false) => Family::Svix,
            (false, _) => Family::Webhook,
        };
        let id = only(headers, &family.id())?;
        let timestamp = only(headers, &family.timestamp())?;
        let signatures = only(headers, &family.signature())?;

        let id = readable_id(id.ok_or(Refusal::IdMissing)?)?;
        let timestamp = timestamp.ok_or(Refusal::TimestampMissing)?;
        let sent_at = seconds(timestamp)?;
        let candidates = Candidates::read(signatures.ok_or(Refusal::SignatureMissing)?)?;

        // The signature comes first: "too old" and "too early" then only ever count genuine senders, and say something
        // about a clock.
        if !self.any_match(id, timestamp, &body, &candidates) {
            return Err(Refusal::SignatureWrong);
        }
        self.recent(sent_at, now)?;
        Ok(Verified { delivery_id: id.to_owned(), sent_at, body })
    }

    /// Compares every candidate with every secret's signature, without stopping at a match: the time taken depends on
    /// how many there are, not on which of them is right or in which byte one is wrong.
    fn any_match(&self, id: &str, timestamp: &[u8], body: &[u8], candidates: &Candidates) -> bool {
        let mut found = Choice::from(0);
        for secret in &self.secrets {
            let expected = mac(secret, id, timestamp, body);
            for candidate in candidates.as_slice() {
                found |= expected.as_slice().ct_eq(candidate);
            }
        }
        found.into()
    }

    fn recent(&self, sent_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        // The header has whole seconds, so `now` is taken to the second as well.
        let age = SignedDuration::from_secs(now.as_second() - sent_at.as_second());
        if age > self.tolerance {
            Err(Refusal::TooOld)
        } else if -age > self.tolerance {
            Err(Refusal::TooEarly)
        } else {
            Ok(())
        }
    }
}

/// The signature header's value as the sender writes it: `v1,<base64>`.
#[must_use]
pub fn sign(secret: &Secret, id: &str, sent_at: Timestamp, body: &[u8]) -> String {
    let timestamp = sent_at.as_second().to_string();
    format!("{VERSION}{}", STANDARD.encode(mac(secret, id, timestamp.as_bytes(), body)))
}

#[expect(clippy::expect_used, reason = "HMAC accepts a key of any length")]
fn mac(secret: &Secret, id: &str, timestamp: &[u8], body: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.key()).expect("HMAC accepts a key of any length");
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp);
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// The value of a header that may occur once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(http::HeaderValue::as_bytes);
    if values.next().is_some() { Err(Refusal::HeaderRepeated) } else { Ok(first) }
}

/// A dot in the id would let bytes wander between id, timestamp and body under the same signature.
fn readable_id(id: &[u8]) -> Result<&str, Refusal> {
    let good = (1..=ID_BYTES_MAX).contains(&id.len()) && id.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'.');
    if !good {
        return Err(Refusal::IdMalformed);
    }
    str::from_utf8(id).map_err(|_| Refusal::IdMalformed)
}

/// Seconds since 1970 in canonical decimal: no sign, no leading zero, no fraction, ASCII digits only.
fn seconds(text: &[u8]) -> Result<Timestamp, Refusal> {
    let canonical = (1..=TIMESTAMP_DIGITS_MAX).contains(&text.len())
        && text.iter().all(u8::is_ascii_digit)
        && (text[0] != b'0' || text.len() == 1);
    if !canonical {
        return Err(Refusal::TimestampMalformed);
    }
    let seconds = text.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Timestamp::from_second(seconds).map_err(|_| Refusal::TimestampMalformed)
}

/// The `v1` signatures of a header that are 32 bytes in strict base64.
struct Candidates {
    macs: [[u8; MAC_BYTES]; SIGNATURES_MAX],
    count: usize,
}

impl Candidates {
    fn read(header: &[u8]) -> Result<Self, Refusal> {
        let mut candidates = Self { macs: [[0; MAC_BYTES]; SIGNATURES_MAX], count: 0 };
        for (index, signature) in header.split(|&byte| byte == b' ').enumerate() {
            if index == SIGNATURES_MAX {
                return Err(Refusal::TooManySignatures);
            }
            if let Some(mac) = signature.strip_prefix(VERSION.as_bytes()).and_then(decode) {
                candidates.macs[candidates.count] = mac;
                candidates.count += 1;
            }
        }
        if candidates.count == 0 { Err(Refusal::SignatureMalformed) } else { Ok(candidates) }
    }

    fn as_slice(&self) -> &[[u8; MAC_BYTES]] {
        &self.macs[..self.count]
    }
}

fn decode(text: &[u8]) -> Option<[u8; MAC_BYTES]> {
    if text.len() != MAC_BASE64_BYTES {
        return None;
    }
    // base64 sizes its buffer by the text's length alone: 44 characters could be 33 bytes.
    let mut bytes = [0_u8; MAC_BYTES + 1];
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
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
