//! Proof that a message on the bus was put there by a receiver of ours.
//!
//! Whoever may publish to the exchange could otherwise speak for every sender. With a key, receivers seal each message:
//! HMAC-SHA256 over all of its CloudEvents attributes and its body, as the attribute `keyferryseal`. Intake takes only
//! what is sealed. A copy of a sealed message is the same event again, which the inbox drops.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lapin::types::{AMQPValue, FieldTable};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;

use super::envelope::{self, Message};

/// The attribute that holds the seal: a version, a comma, base64.
pub(super) const ATTRIBUTE: &str = "keyferryseal";

const VERSION: &str = "v1";
/// Keeps this use of a key apart from any other, and the versions from each other.
const DOMAIN: &[u8] = b"keyferry message seal v1\0";

const KEY_BYTES_MIN: usize = 24;
const KEYS_MAX: usize = 8;

/// The keys that are good now: the first seals, each of them proves.
pub struct Keys(Vec<SecretSlice<u8>>);

/// What is wrong with a key, without a character of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a key is at least {KEY_BYTES_MIN} bytes long, and this one has {0}: `openssl rand -base64 32` makes one")]
    TooShort(usize),
    #[error("there are more than {KEYS_MAX} keys")]
    TooMany,
}

/// Why a message is not taken for ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it is not sealed: whoever published it has no `queue.key`")]
    Unsealed,
    #[error("its seal is of a version that this program does not know")]
    Version,
    #[error("its seal was made with another key, or the message was changed since")]
    Forged,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// Reads keys that are separated by commas.
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for key in text.expose_secret().split(',').map(str::trim) {
            if key.len() < KEY_BYTES_MIN {
                return Err(KeyError::TooShort(key.len()));
            }
            keys.push(SecretSlice::from(key.as_bytes().to_vec()));
        }
        if keys.len() > KEYS_MAX { Err(KeyError::TooMany) } else { Ok(Self(keys)) }
    }

    /// Adds the seal to a message that is otherwise complete.
    pub fn seal(&self, mut message: Message) -> Message {
        let mut headers = message.properties.headers().clone().unwrap_or_default();
        // There is always a first key, and HMAC takes keys of any length.
        if let (Some(key), Ok(attributes)) = (self.0.first(), attributes(&headers))
            && let Some(mac) = mac(key, &attributes, &message.body)
        {
            let seal = format!("{VERSION},{}", STANDARD.encode(mac.finalize().into_bytes()));
            headers.insert(envelope::header(ATTRIBUTE), AMQPValue::LongString(seal.into()));
        }
        message.properties = message.properties.with_headers(headers);
        message
    }

    /// Whether the message is as one of the keys sealed it.
    pub fn check(&self, headers: &FieldTable, body: &[u8]) -> Result<(), SealError> {
        let mut attributes = attributes(headers)?;
        let seal = attributes.remove(ATTRIBUTE).ok_or(SealError::Unsealed)?;
        let seal = str::from_utf8(seal).map_err(|_| SealError::Forged)?;
        let (version, seal) = seal.split_once(',').ok_or(SealError::Forged)?;
        if version != VERSION {
            return Err(SealError::Version);
        }
        let seal = STANDARD.decode(seal).map_err(|_| SealError::Forged)?;
        // `verify_slice` takes the same time whatever is wrong.
        let is_sealed_by = |key| mac(key, &attributes, body).is_some_and(|mac| mac.verify_slice(&seal).is_ok());
        if self.0.iter().any(is_sealed_by) { Ok(()) } else { Err(SealError::Forged) }
    }
}

/// All attributes by their names. One that is not text, or stands there under both prefixes, says two things at once.
fn attributes(headers: &FieldTable) -> Result<BTreeMap<&str, &[u8]>, SealError> {
    let mut attributes = BTreeMap::new();
    for (header, value) in headers.inner() {
        let Some(name) = envelope::attribute(header.as_str()) else { continue };
        let AMQPValue::LongString(value) = value else { return Err(SealError::Forged) };
        if attributes.insert(name, value.as_bytes()).is_some() {
            return Err(SealError::Forged);
        }
    }
    Ok(attributes)
}

/// Over the attributes in the order of their names, and the body, each after its length: no two messages have the same
/// text.
fn mac(key: &SecretSlice<u8>, attributes: &BTreeMap<&str, &[u8]>, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
    mac.update(DOMAIN);
    mac.update(&(attributes.len() as u64).to_be_bytes());
    let parts = attributes.iter().flat_map(|(name, value)| [name.as_bytes(), *value]).chain([body]);
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;
    use crate::queue::envelope::encode;
    use crate::queue::envelope::tests::some_envelope;

    const OLD: &str = "the-old-key-0123456789-0123456789";
    const NEW: &str = "the-new-key-0123456789-0123456789";

    fn keys(text: &str) -> Keys {
        Keys::parse(&SecretString::from(text)).expect("keys")
    }

    fn sealed(with: &str) -> Message {
        keys(with).seal(encode(&some_envelope()).expect("it fits"))
    }

    fn headers(properties: &BasicProperties) -> FieldTable {
        properties.headers().clone().expect("headers")
    }

    #[test]
    fn the_first_key_seals_and_each_proves() {
        let message = sealed(&format!("{NEW}, {OLD}"));
        let check = |with: &str| keys(with).check(&headers(&message.properties), &message.body);
        assert_eq!(check(NEW), Ok(()));
        assert_eq!(check(&format!("{OLD},{NEW}")), Ok(()));
        assert_eq!(check(OLD), Err(SealError::Forged));
    }

    #[test]
    fn the_seal_is_what_the_schema_says_that_it_is() {
        // Computed by Python's `hmac`, from the description in schemas/queue/attributes.json.
        let seal = headers(&sealed(NEW).properties).inner()["cloudEvents_keyferryseal"].clone();
        assert_eq!(seal, AMQPValue::LongString("v1,jzYenTJXvmKxtRaVxQiApj10AdNAhr6vTEHyvYtYmd8=".into()));
    }

    #[test]
    fn any_change_breaks_the_seal() {
        let message = sealed(NEW);
        let whole = headers(&message.properties);
        let check = |headers: &FieldTable, body: &[u8]| keys(NEW).check(headers, body);
        let text = |text: &str| AMQPValue::LongString(text.into());
        for name in whole.inner().keys().filter(|name| name.as_str() != "cloudEvents_keyferryseal") {
            let mut changed = whole.clone();
            changed.insert(name.clone(), text("another"));
            assert_eq!(check(&changed, &message.body), Err(SealError::Forged), "{name} says something else");
            let mut moved = FieldTable::default();
            for (other, value) in whole.inner().iter().filter(|(other, _)| *other != name) {
                moved.insert(other.clone(), value.clone());
            }
            assert_eq!(check(&moved, &message.body), Err(SealError::Forged), "{name} is gone");
            let mut doubled = whole.clone();
            doubled.insert(name.as_str().replace('_', ":").into(), whole.inner()[name].clone());
            assert_eq!(check(&doubled, &message.body), Err(SealError::Forged), "{name} is there twice");
        }
        let mut more = whole.clone();
        more.insert("cloudEvents_other".into(), text("x"));
        assert_eq!(check(&more, &message.body), Err(SealError::Forged));
        assert_eq!(check(&whole, &message.body[1..]), Err(SealError::Forged));
        // What the broker adds is none of the attributes.
        let mut dead = whole.clone();
        dead.insert("x-delivery-count".into(), AMQPValue::LongLongInt(1));
        assert_eq!(check(&dead, &message.body), Ok(()));
    }

    #[test]
    fn a_batch_is_sealed_whole() {
        let (one, other) = (some_envelope(), some_envelope());
        let limits = envelope::Limits { events: 2, bytes: 4096 };
        let message = envelope::pack(&[&one, &other], limits).remove(0).message.expect("it fits");
        let message = keys(NEW).seal(message);
        let check = |headers: &FieldTable, body: &[u8]| keys(NEW).check(headers, body);
        let whole = headers(&message.properties);
        assert_eq!(check(&whole, &message.body), Ok(()));
        assert_eq!(check(&whole, &message.body[1..]), Err(SealError::Forged));
        assert_eq!(check(&FieldTable::default(), &message.body), Err(SealError::Unsealed));
        let mut more = whole;
        more.insert("cloudEvents_id".into(), AMQPValue::LongString("x".into()));
        assert_eq!(check(&more, &message.body), Err(SealError::Forged));
    }

    #[test]
    fn without_a_seal_or_with_one_of_another_version_nothing_is_taken() {
        let message = encode(&some_envelope()).expect("it fits");
        let check = |seal: Option<&str>| {
            let mut headers = headers(&message.properties);
            if let Some(seal) = seal {
                headers.insert("cloudEvents_keyferryseal".into(), AMQPValue::LongString(seal.into()));
            }
            keys(NEW).check(&headers, &message.body)
        };
        assert_eq!(check(None), Err(SealError::Unsealed));
        for (seal, error) in [
            ("", SealError::Forged),
            ("v1", SealError::Forged),
            ("v1,", SealError::Forged),
            ("v1,%%%", SealError::Forged),
            ("v0,AAAA", SealError::Version),
            ("v2,AAAA", SealError::Version),
            ("none,", SealError::Version),
        ] {
            assert_eq!(check(Some(seal)), Err(error), "{seal}");
        }
    }

    #[test]
    fn a_key_is_refused_for_its_length_and_never_shown() {
        let parse = |text: &str| Keys::parse(&SecretString::from(text));
        assert_eq!(parse("hunter2").expect_err("short"), KeyError::TooShort(7));
        assert_eq!(parse(&format!("{NEW},")).expect_err("an empty one"), KeyError::TooShort(0));
        assert_eq!(parse(&[NEW; 9].join(",")).expect_err("many"), KeyError::TooMany);
        assert_eq!(format!("{:?}", keys(NEW)), "Keys(1)");
    }
}
