//! A static secret in a header, as HID Origo sends it: no signature, no timestamp. The proof is worth what the TLS
//! connection is worth, and says nothing about the body; so a delivery repeated later is caught by its events' ids alone.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::header::only;
use super::{Named, Proof, Refusal, Secret, digest, numbered};

#[derive(Debug)]
pub struct SharedSecret {
    header: HeaderName,
    secrets: Vec<Named<Secret>>,
}

impl SharedSecret {
    /// `header` must hold one of `secrets`, whole.
    #[must_use]
    pub fn new(header: HeaderName, secrets: Vec<Named<Secret>>) -> Self {
        Self { header, secrets }
    }

    pub(super) fn prove(&self, headers: &HeaderMap, body: &[u8]) -> Result<Proof, Refusal> {
        let given = only(headers, &self.header)?.ok_or(Refusal::SignatureMissing)?;
        let secret = self.matching(given).ok_or(Refusal::SignatureWrong)?;
        Ok(Proof { delivery_id: digest(body), secret: secret.name.clone(), sent_at: None::<Timestamp> })
    }

    /// Digests are compared, so that not even a length shows in the time taken; and all of them, without stopping.
    fn matching(&self, given: &[u8]) -> Option<&Named<Secret>> {
        let given = Sha256::digest(given);
        let matches = |secret: &Named<Secret>| -> Choice { given.ct_eq(&Sha256::digest(secret.key.bytes())) };
        let matches: Vec<Choice> = self.secrets.iter().map(matches).collect();
        self.secrets.iter().zip(matches).find_map(|(secret, matches)| bool::from(matches).then_some(secret))
    }

    pub(super) fn sign(&self) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let mut value = HeaderValue::from_bytes(self.secrets.first()?.key.bytes()).ok()?;
        value.set_sensitive(true);
        Some(vec![(self.header.clone(), value)])
    }

    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(super) fn with_secret(self, secret: Secret) -> Self {
        Self { secrets: numbered(vec![secret]), ..self }
    }

    #[must_use]
    pub fn secrets(&self) -> &[Named<Secret>] {
        &self.secrets
    }
}
