//! What is behind a refusal: each thing that usually goes wrong is undone, and what then verifies says what it was.

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use super::Finding;
use super::bodies;
use super::captured::Captured;
use crate::receiver::Roster;
use crate::receiver::source::Source;
use crate::receiver::verify::standard_webhooks::Family;
use crate::receiver::verify::{Proof, Refusal, Refused, Scheme, Verified};

/// Bodies larger than this are not tried in other words: hundreds of each are made.
const BODY_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn refusal(
    roster: &Roster,
    source: &Source,
    request: &Captured,
    refusal: Refusal,
    proof: Option<&Proof>,
    at: Timestamp,
) -> Vec<Finding> {
    let case = Case { roster, source, request, at };
    match refusal {
        Refusal::TooOld | Refusal::TooEarly => proof.and_then(|proof| case.clock(proof)).into_iter().collect(),
        Refusal::IdMissing | Refusal::TimestampMissing | Refusal::SignatureMissing => case.missing(),
        Refusal::SignatureMalformed => {
            case.used_otherwise().or_else(|| case.of_another(refusal)).unwrap_or_else(|| vec![case.malformed()])
        }
        Refusal::SignatureWrong => case.wrong(),
        Refusal::HeaderRepeated => vec![case.repeated()],
        Refusal::FamiliesMixed => vec![Finding::new(
            "it has both `svix-*` and `webhook-*` headers: two readers of it could see two deliveries",
            "have only one of the two sent; look whether a proxy adds the other",
        )],
        Refusal::TimestampMalformed => vec![case.timestamp()],
        Refusal::IdMalformed => vec![Finding::new(
            "its id is not 1 to 256 visible ASCII characters, or has a dot in it, which would let bytes wander between the \
             id, the timestamp and the body",
            "have the sender use other ids, e.g. `msg_` and a UUID",
        )],
        Refusal::TooManySignatures => vec![Finding::new(
            "its signature header has more signatures than any rotation needs",
            "see how many secrets the sender signs with; two are enough",
        )],
        Refusal::SourceUnknown => Vec::new(),
    }
}

/// What is looked into.
struct Case<'c> {
    roster: &'c Roster,
    source: &'c Source,
    request: &'c Captured,
    at: Timestamp,
}

impl Case<'_> {
    fn wrong(&self) -> Vec<Finding> {
        self.of_another(Refusal::SignatureWrong)
            .or_else(|| self.changed_body())
            .or_else(|| self.used_otherwise())
            .or_else(|| self.dressed())
            .unwrap_or_else(|| vec![self.unknown()])
    }

    /// Another source's secret verifies it.
    fn of_another(&self, refusal: Refusal) -> Option<Vec<Finding>> {
        let others = self.roster.iter().filter(|other| other.name() != self.source.name());
        let (other, proof) = others.into_iter().find_map(|other| {
            let proof = proof(other.judge(&self.request.headers, self.request.body.clone(), self.at))?;
            Some((other, proof))
        })?;
        let (own, name, secret) = (self.source.name(), other.name(), proof.secret());
        let what = match refusal {
            Refusal::SignatureWrong => {
                format!("the secret is wrong: it is signed with secret `{secret}` of source `{name}`")
            }
            _ => format!("it is a request of source `{name}`: that one's secret `{secret}` verifies it"),
        };
        let advice = format!(
            "have it sent to /webhooks/{name}, or give the source `{own}` the secret that its sender has; no two sources \
             should share one"
        );
        Some(self.timed(Finding::new(what, advice), &proof))
    }

    /// The body in other words verifies.
    fn changed_body(&self) -> Option<Vec<Finding>> {
        if self.request.body.len() > BODY_BYTES_MAX || matches!(self.source.scheme(), Scheme::SharedSecret(_)) {
            return None;
        }
        let (difference, proof) = bodies::candidates(&self.request.body).find_map(|candidate| {
            let judged = self.source.judge(&self.request.headers, candidate.bytes.into(), self.at);
            Some((candidate.difference, proof(judged)?))
        })?;
        let what = format!(
            "the body was changed after it was signed. Signed, with secret `{}`, was this body {difference}",
            proof.secret()
        );
        let advice = "look for what reads and writes the body again between the sender's signing and the receiver: a proxy, \
                      a gateway, a framework that signs another text than it sends, an editor that saved the capture. The \
                      bytes that are signed must be the bytes that are sent";
        Some(self.timed(Finding::new(what, advice), &proof))
    }

    /// The right secret, used in another way.
    fn used_otherwise(&self) -> Option<Vec<Finding>> {
        let family = Family::of(&self.request.headers).unwrap_or(Family::Webhook);
        let (what, proof) = self.source.scheme().mistaken(family).into_iter().find_map(|mistaken| {
            let body = self.request.body.clone();
            let judged = mistaken.scheme.verify(&self.request.headers, body, SignedDuration::MAX, self.at);
            Some((mistaken.what, proof(judged)?))
        })?;
        let what = format!("the secret is right (`{}`), but the sender {what}", proof.secret());
        let advice = "mend the sender's signing, or configure the source as the sender signs";
        Some(vec![Finding::new(what, advice)])
    }

    /// A secret that stands in its header with something around it.
    fn dressed(&self) -> Option<Vec<Finding>> {
        let Scheme::SharedSecret(scheme) = self.source.scheme() else { return None };
        let value = self.request.headers.get(scheme.header())?.to_str().ok()?;
        let bare = ["Bearer ", "bearer ", "Basic ", "\""].iter().find_map(|dress| value.strip_prefix(dress))?;
        let mut headers = self.request.headers.clone();
        headers.insert(scheme.header(), HeaderValue::from_str(bare.trim_matches('"')).ok()?);
        let proof = proof(self.source.judge(&headers, self.request.body.clone(), self.at))?;
        let what = format!(
            "the secret is right (`{}`), but its header has something in front of it or around it",
            proof.secret()
        );
        Some(vec![Finding::new(
            what,
            "put what the header holds, whole, into the configuration, or have the sender send the secret alone",
        )])
    }

    fn unknown(&self) -> Finding {
        let secrets =
            self.source.scheme().names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let what = match self.source.scheme() {
            Scheme::SharedSecret(_) => {
                format!("the secret is wrong: its header holds none of this source's ({secrets}), nor another's")
            }
            _ => format!(
                "no secret verifies it: none of this source's ({secrets}), no other source's, and not over any of the usual \
                 changes of its body"
            ),
        };
        Finding::new(
            what,
            "compare the secret with the sender's, by its beginning and end; if it is the same, the body has lost or changed something",
        )
    }

    /// The finding, and another one where the time is wrong as well.
    fn timed(&self, finding: Finding, proof: &Proof) -> Vec<Finding> {
        [finding].into_iter().chain(self.clock(proof)).collect()
    }

    fn clock(&self, proof: &Proof) -> Option<Finding> {
        let (age, tolerance) = (proof.age(self.at)?, self.source.tolerance());
        let sent_at = proof.sent_at()?;
        if age.abs() <= tolerance {
            return None;
        }
        let (off, way) = (age.abs(), if age.is_negative() { "after" } else { "before" });
        Some(Finding::new(
            format!(
                "it was signed at {sent_at}, {off:#} {way} the moment for which it is judged ({}); {tolerance:#} are tolerated",
                self.at
            ),
            format!(
                "if it was caught when it was sent, judge it for that moment: --at {sent_at}. If it had just been sent, the \
                 clock of the sender or of the receiver is off by that much, or something held it up"
            ),
        ))
    }

    fn missing(&self) -> Vec<Finding> {
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

    fn repeated(&self) -> Finding {
        let names = Family::HEADERS.into_iter().chain(self.roster.iter().flat_map(|source| source.scheme().headers()));
        let mut repeated: Vec<String> = names
            .filter(|name| self.request.headers.get_all(name).iter().nth(1).is_some())
            .map(|name| format!("`{name}`"))
            .collect();
        repeated.dedup();
        let what = format!("{} stands in it more than once: two readers could see two deliveries", repeated.join(", "));
        Finding::new(what, "look for what adds the header again: a proxy, or a sender that repeats a request object")
    }

    fn timestamp(&self) -> Finding {
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

    fn malformed(&self) -> Finding {
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

fn proof(judged: Result<Verified, Refused>) -> Option<Proof> {
    match judged {
        Ok(delivery) => Some(delivery.proof().clone()),
        Err(refused) => refused.proof,
    }
}

/// Whether a header is one in which senders prove themselves.
fn is_proof(name: &HeaderName) -> bool {
    name == AUTHORIZATION || ["signature", "hmac", "secret", "token"].iter().any(|word| name.as_str().contains(word))
}
