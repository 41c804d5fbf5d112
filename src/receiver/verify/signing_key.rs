//! A sender's private key: `whsk_` and base64, as Standard Webhooks write it for Ed25519 (`v1a`). The receiver has none;
//! `keyferry send` plays senders that do.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;

use super::{PublicKey, SecretError};

pub(super) const PREFIX: &str = "whsk_";
const SEED_BYTES: usize = 32;
/// The seed with the public key behind it, as libsodium has it.
const WHOLE_BYTES: usize = 64;

/// A key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads `whsk_<base64 of 64 bytes>`, or of the 32 that they are made from.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::SigningKey)?);
        let pair = match key.len() {
            SEED_BYTES => Ed25519KeyPair::from_seed_unchecked(&key),
            WHOLE_BYTES => Ed25519KeyPair::from_seed_and_public_key(&key[..SEED_BYTES], &key[SEED_BYTES..]),
            _ => return Err(SecretError::SigningKey),
        };
        pair.map(Self).map_err(|_| SecretError::SigningKey)
    }

    pub(super) fn sign(&self, signed: &[u8]) -> String {
        STANDARD.encode(self.0.sign(signed))
    }

    pub(super) fn public_key(&self) -> Option<PublicKey> {
        PublicKey::parse(&format!("whpk_{}", STANDARD.encode(self.0.public_key()))).ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}
