//! A symmetric webhook secret: `whsec_` and base64, as Svix and Standard Webhooks write it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretSlice};

const PREFIX: &str = "whsec_";
/// Standard Webhooks asks for 24 to 64 bytes of key.
const KEY_BYTES_MIN: usize = 24;
const KEY_BYTES_MAX: usize = 64;
/// No base64 of a permitted key is longer; more is not even decoded.
const TEXT_BYTES_MAX: usize = KEY_BYTES_MAX.div_ceil(3) * 4;

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

    /// A key that anybody can know, of the length that Svix gives out: only for work whose result is thrown away.
    pub(in crate::receiver) fn decoy() -> Self {
        Self::from_key(&[0; KEY_BYTES_MIN])
    }

    pub(super) fn from_key(key: &[u8]) -> Self {
        Self(SecretSlice::from(key.to_vec()))
    }

    pub(super) fn key(&self) -> &[u8] {
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
        assert_eq!(parse_bytes(24).expect("24 bytes").key(), [7; 24]);
        assert_eq!(parse_bytes(64).expect("64 bytes").key(), [7; 64]);
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
