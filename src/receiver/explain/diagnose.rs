//! What is behind a refusal: each thing that usually goes wrong is undone, and what then verifies says what it was.

use http::HeaderValue;
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
pub(super) struct Case<'c> {
    pub(super) roster: &'c Roster,
    pub(super) source: &'c Source,
    pub(super) request: &'c Captured,
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
    pub(super) fn of_another(&self, refusal: Refusal) -> Option<Vec<Finding>> {
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
}

fn proof(judged: Result<Verified, Refused>) -> Option<Proof> {
    match judged {
        Ok(delivery) => Some(delivery.proof().clone()),
        Err(refused) => refused.proof,
    }
}
