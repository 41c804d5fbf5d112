//! A symmetric secret: `whsec_` and base64, as Svix and Standard Webhooks write it, or a text that is the key itself.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretSlice};

use crate::domain::name;

const PREFIX: &str = "whsec_";
/// Standard Webhooks asks for 24 to 64 bytes of key.
const KEY_BYTES_MIN: usize = 24;
const KEY_BYTES_MAX: usize = 64;
/// No base64 of a permitted key is longer; more is not even decoded.
const TEXT_BYTES_MAX: usize = KEY_BYTES_MAX.div_ceil(3) * 4;

/// Bytes of a secret that is a text: what fewer hold can be guessed, what more hold is no secret but a file.
const TEXT_KEY_BYTES_MIN: usize = 8;
const TEXT_KEY_BYTES_MAX: usize = 512;

/// What a secret is called where it must not be shown: in metrics, on the bus and in `keyferry status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName(Arc<str>);

impl SecretName {
    /// `[a-z0-9._-]{1,32}`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        name::is_secret(name).then(|| Self(name.into()))
    }

    /// Of the `index`th secret that nobody gave a name, counted from 0.
    #[must_use]
    pub fn numbered(index: usize) -> Self {
        Self((index + 1).to_string().into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One of several keys that may verify.
#[derive(Debug)]
pub struct Named<K> {
    pub name: SecretName,
    pub key: K,
}

/// Keys without names of their own: `1`, `2`, …
#[must_use]
pub fn numbered<K>(keys: Vec<K>) -> Vec<Named<K>> {
    keys.into_iter().enumerate().map(|(index, key)| Named { name: SecretName::numbered(index), key }).collect()
}

/// A key that neither prints nor outlives its owner in memory.
pub struct Secret(SecretSlice<u8>);

/// What is wrong with a secret, without a character of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a webhook secret starts with `whsec_`; this text does not")]
    Prefix,
    #[error("this is an asymmetric key (`whsk_`, `whpk_`); a webhook secret starts with `whsec_`")]
    Asymmetric,
    #[error("what follows `whsec_` is not base64 (standard alphabet, padded): was it cut off or pasted with spaces?")]
    Base64,
    #[error("what follows `whsec_` decodes to {0} bytes; at least {KEY_BYTES_MIN} are required")]
    TooShort(usize),
    #[error("what follows `whsec_` decodes to more than {KEY_BYTES_MAX} bytes")]
    TooLong,
    #[error("what follows `whsk_` is not 32 or 64 bytes of base64 that are an Ed25519 key")]
    SigningKey,
    #[error("a secret of this kind has {TEXT_KEY_BYTES_MIN} to {TEXT_KEY_BYTES_MAX} bytes of text")]
    TextLength,
    #[error(
        "a secret that travels in a header has printable ASCII characters only, and none of white space at its ends"
    )]
    NotForHeader,
}

impl Secret {
    /// Reads `whsec_<base64 of 24 to 64 bytes>`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            let asymmetric = text.starts_with("whsk_") || text.starts_with("whpk_");
            return Err(if asymmetric { SecretError::Asymmetric } else { SecretError::Prefix });
        };
        if encoded.len() > TEXT_BYTES_MAX {
            return Err(SecretError::TooLong);
        }
        let mut key = Zeroizing::new([0_u8; TEXT_BYTES_MAX]);
        let length = STANDARD.decode_slice(encoded, key.as_mut_slice()).map_err(|_| SecretError::Base64)?;
        match length {
            ..KEY_BYTES_MIN => Err(SecretError::TooShort(length)),
            KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(Self::from_key(&key[..length])),
            _ => Err(SecretError::TooLong),
        }
    }

    /// The text itself is the key, as senders other than Svix have it.
    pub fn text(text: &str) -> Result<Self, SecretError> {
        if (TEXT_KEY_BYTES_MIN..=TEXT_KEY_BYTES_MAX).contains(&text.len()) {
            Ok(Self::from_key(text.as_bytes()))
        } else {
            Err(SecretError::TextLength)
        }
    }

    /// A text that the sender puts into a header as it is.
    pub fn for_header(text: &str) -> Result<Self, SecretError> {
        let fits = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
        if fits { Self::text(text) } else { Err(SecretError::NotForHeader) }
    }

    /// A key that anybody can know, of the length that Svix gives out: only for work whose result is thrown away.
    pub(in crate::receiver) fn decoy() -> Self {
        Self::from_key(&[0; KEY_BYTES_MIN])
    }

    pub(super) fn from_key(key: &[u8]) -> Self {
        Self(SecretSlice::from(key.to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_bytes(length: usize) -> Result<Secret, SecretError> {
        Secret::parse(&format!("whsec_{}", STANDARD.encode(vec![7_u8; length])))
    }

    #[test]
    fn a_key_has_24_to_64_bytes() {
        assert_eq!(parse_bytes(0).expect_err("empty"), SecretError::TooShort(0));
        assert_eq!(parse_bytes(23).expect_err("short"), SecretError::TooShort(23));
        assert_eq!(parse_bytes(24).expect("24 bytes").bytes(), [7; 24]);
        assert_eq!(parse_bytes(64).expect("64 bytes").bytes(), [7; 64]);
        assert_eq!(parse_bytes(65).expect_err("long"), SecretError::TooLong);
        assert_eq!(parse_bytes(5000).expect_err("very long"), SecretError::TooLong);
    }

    #[test]
    fn a_mistake_is_named_and_never_echoed() {
        let cases = [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("", SecretError::Prefix),
            (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=", SecretError::Asymmetric),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", SecretError::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", SecretError::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", SecretError::Base64),
        ];
        for (text, expected) in cases {
            let error = Secret::parse(text).expect_err(text);
            assert_eq!(error, expected, "{text:?}");
            assert!(!error.to_string().contains("MfKQ"), "{error}");
        }
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a good secret");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
