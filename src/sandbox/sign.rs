//! Signing deliveries as Svix and Standard Webhooks do: HMAC-SHA256 over `{id}.{unix seconds}.{body}`.
//!
//! The secret is the base64 after `whsec_`; the header lists one `v1,<base64>` for each secret in force.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

/// The key bytes of a `whsec_…` secret. The prefix may be left out, as the official libraries allow.
pub(crate) fn key(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok().filter(|key| !key.is_empty())
}

/// The value of the signature header. A secret that is no key signs nothing.
pub(crate) fn signatures(secrets: &[String], id: &str, at: Timestamp, body: &str) -> String {
    let one = |key: Vec<u8>| -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(format!("{id}.{}.{body}", at.as_second()).as_bytes());
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    secrets.iter().filter_map(|secret| key(secret)).filter_map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_svix_documentation_is_met() {
        let at = Timestamp::from_second(1_731_705_121).expect("a timestamp");
        let body = r#"{"event_type":"ping","data":{"success":true}}"#;
        let secrets = ["whsec_plJ3nmyCDGBKInavdOK15jsl".to_owned()];
        assert_eq!(
            signatures(&secrets, "msg_loFOjxBNrRLzqYUf", at, body),
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
        );
    }

    #[test]
    fn each_secret_in_force_signs() {
        let at = Timestamp::from_second(1_731_705_121).expect("a timestamp");
        let secrets =
            ["whsec_plJ3nmyCDGBKInavdOK15jsl".to_owned(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()];
        assert_eq!(signatures(&secrets, "msg_1", at, "{}").split(' ').count(), 2);
    }
}
