//! Headers that are missing, doubled, or not written as they should be: what can be seen without any secret.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::Finding;
use super::diagnose::Case;
use crate::receiver::verify::standard_webhooks::Family;
use crate::receiver::verify::{Refusal, Scheme};

impl Case<'_> {
    pub(super) fn missing(&self) -> Vec<Finding> {
        if let Some(findings) = self.of_another(Refusal::SignatureMissing) {
            return findings;
        }
        let headers = &self.request.headers;
        let wanted = match self.source.scheme() {
            Scheme::StandardWebhooks(_) => {
                let family = Family::of(headers).unwrap_or(Family::Webhook);
                vec![family.id(), family.timestamp(), family.signature()]
            }
            scheme => scheme.headers(),
        };
        let missing: Vec<String> =
            wanted.iter().filter(|name| !headers.contains_key(*name)).map(|name| format!("`{name}`")).collect();
        let what = format!("it lacks {}", missing.join(", "));
        let stranger = headers.keys().filter(|name| !wanted.contains(name)).find(|name| is_proof(name));
        let advice = match stranger {
            Some(stranger) => format!(
                "it has `{stranger}`: its sender proves itself in another way than a source of kind {} does; see `kind` in \
                 the configuration",
                self.source.kind().as_str()
            ),
            None => "see whether the sender signs at all, and whether a proxy on the way drops headers that it does not know".to_owned(),
        };
        vec![Finding::new(what, advice)]
    }

    pub(super) fn repeated(&self) -> Finding {
        let names = Family::HEADERS.into_iter().chain(self.roster.iter().flat_map(|source| source.scheme().headers()));
        let mut repeated: Vec<String> = names
            .filter(|name| self.request.headers.get_all(name).iter().nth(1).is_some())
            .map(|name| format!("`{name}`"))
            .collect();
        repeated.dedup();
        let what = format!("{} stands in it more than once: two readers could see two deliveries", repeated.join(", "));
        Finding::new(what, "look for what adds the header again: a proxy, or a sender that repeats a request object")
    }

    pub(super) fn timestamp(&self) -> Finding {
        let name = match self.source.scheme() {
            Scheme::HmacHeader(scheme) => scheme.format().timestamp.clone(),
            _ => Some(Family::of(&self.request.headers).unwrap_or(Family::Webhook).timestamp()),
        };
        let value = name.and_then(|name| self.request.headers.get(name)?.to_str().ok()).unwrap_or_default();
        let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let what = if is_digits && value.len() == 13 {
            "its timestamp is in milliseconds"
        } else if value.contains(['-', ':']) {
            "its timestamp is a date in words"
        } else if value.contains('.') {
            "its timestamp has a fraction"
        } else {
            "its timestamp is not written in plain digits"
        };
        Finding::new(what, "have the sender write whole seconds since 1970, e.g. `date +%s`")
    }

    pub(super) fn malformed(&self) -> Finding {
        let (name, bytes) = match self.source.scheme() {
            Scheme::HmacHeader(scheme) => return hmac(scheme.format().prefix.as_str()),
            Scheme::SharedSecret(scheme) => (scheme.header().clone(), 0),
            Scheme::StandardWebhooks(_) => {
                (Family::of(&self.request.headers).unwrap_or(Family::Webhook).signature(), 44)
            }
        };
        let value = self.request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let signatures: Vec<&str> = value.split(' ').filter(|it| !it.is_empty()).collect();
        if !signatures.is_empty() && signatures.iter().all(|it| it.starts_with("v1a,")) {
            return Finding::new(
                "it is signed with Ed25519 alone (`v1a`), and the source has no public key",
                "give the source the sender's public key: public_keys = [\"whpk_…\"]",
            );
        }
        let Some(text) = signatures.iter().find_map(|it| it.strip_prefix("v1,")) else {
            return Finding::new(
                "its signature header does not say `v1,` in front of a signature",
                "have the sender write `v1,` and the base64 of the HMAC-SHA256; if it signs in another way, its source is of kind `hmac`",
            );
        };
        let what = if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            "its signature is written in hexadecimal instead of base64".to_owned()
        } else if text.contains(['-', '_']) {
            "its signature is in the URL alphabet of base64 (`-`, `_`) instead of the standard one (`+`, `/`)"
                .to_owned()
        } else if text.len() + 1 == bytes && !text.ends_with('=') {
            "its signature lacks the padding of base64 (`=`)".to_owned()
        } else {
            format!("its signature has {} characters instead of {bytes}, or is not base64", text.len())
        };
        Finding::new(what, "have the sender write `v1,` and the padded standard base64 of the HMAC's 32 bytes")
    }
}

fn hmac(prefix: &str) -> Finding {
    let what = if prefix.is_empty() {
        "its signature is not what `algorithm` and `encoding` say, in length or in form".to_owned()
    } else {
        format!("its signature is not `{prefix}` and what `algorithm` and `encoding` say behind it")
    };
    Finding::new(what, "compare the header with `prefix`, `algorithm` and `encoding` of the source")
}

/// Whether a header is one in which senders prove themselves.
fn is_proof(name: &HeaderName) -> bool {
    name == AUTHORIZATION || ["signature", "hmac", "secret", "token"].iter().any(|word| name.as_str().contains(word))
}
