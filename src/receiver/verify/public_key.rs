//! A sender's public key: `whpk_` and base64, as Standard Webhooks write it for Ed25519 (`v1a`).

use std::fmt;

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "whpk_";
const KEY_BYTES: usize = 32;

/// A key that verifies and cannot sign. Not a secret.
pub struct PublicKey(ParsedPublicKey);

/// What is wrong with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    #[error("a public key starts with `whpk_`; this text does not")]
    Prefix,
    #[error("this is a private key (`whsk_`): it belongs to the sender alone; give the public one, `whpk_…`")]
    Private,
    #[error("what follows `whpk_` is not 32 bytes of base64 (standard alphabet, padded)")]
    Base64,
    #[error("what follows `whpk_` is no Ed25519 key")]
    NoKey,
}

impl PublicKey {
    /// Reads `whpk_<base64 of 32 bytes>`.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        if text.starts_with("whsk_") {
            return Err(PublicKeyError::Private);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(PublicKeyError::Prefix)?;
        let key = STANDARD.decode(encoded).ok().filter(|key| key.len() == KEY_BYTES).ok_or(PublicKeyError::Base64)?;
        ParsedPublicKey::new(&ED25519, key).map(Self).map_err(|_| PublicKeyError::NoKey)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(signed, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}
