//! An HMAC in a header of the sender's choice: GitHub's way (`X-Hub-Signature-256: sha256=<hex>`), and that of many
//! in-house senders.
//!
//! Everything about it is configured: the header, the algorithm, how the MAC is written, whether a timestamp is signed
//! along. Nothing of it is the request's to choose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq as _};

use super::header::{self, only};
use super::{Named, Proof, Refusal, Secret, digest, numbered};

/// Bytes of what stands before the MAC.
const PREFIX_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Of either case.
    Hex,
    /// Standard alphabet, padded.
    Base64,
}

/// What is under the MAC: `{body}`, or a text around it with `{timestamp}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Timestamp,
    Body,
}

/// How the MAC is made and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub header: HeaderName,
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// What stands before the MAC in the header, e.g. `sha256=`.
    pub prefix: String,
    /// Seconds since 1970, signed along.
    pub timestamp: Option<HeaderName>,
    pub signed: Template,
    /// The sender's id of the delivery, where it has one in a header. It is not signed.
    pub id: Option<HeaderName>,
}

/// What is wrong with a [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("what is signed must contain {{body}} once, and may contain {{timestamp}}; other braces have no meaning")]
    Template,
    #[error(
        "a timestamp that is not signed proves nothing: put {{timestamp}} into `signed`, e.g. {{timestamp}}.{{body}}"
    )]
    TimestampNotSigned,
    #[error("`signed` has {{timestamp}}, so `timestamp_header` must say where it is")]
    TimestampMissing,
    #[error("the prefix has at most {PREFIX_BYTES_MAX} printable ASCII characters")]
    Prefix,
    #[error("the headers of the signature, the timestamp and the id are three different ones")]
    HeaderTwice,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let (text, tail) = rest.split_at(start);
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            let (part, tail) = if let Some(tail) = tail.strip_prefix("{body}") {
                (Part::Body, tail)
            } else if let Some(tail) = tail.strip_prefix("{timestamp}") {
                (Part::Timestamp, tail)
            } else {
                return Err(FormatError::Template);
            };
            parts.push(part);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let bodies = parts.iter().filter(|part| **part == Part::Body).count();
        if bodies == 1 { Ok(Self(parts)) } else { Err(FormatError::Template) }
    }

    fn has_timestamp(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }
}

#[derive(Debug)]
pub struct HmacHeader {
    format: Format,
    secrets: Vec<Named<Secret>>,
}

impl HmacHeader {
    /// Any of `secrets` may have signed.
    pub fn new(format: Format, secrets: Vec<Named<Secret>>) -> Result<Self, FormatError> {
        match (&format.timestamp, format.signed.has_timestamp()) {
            (Some(_), false) => return Err(FormatError::TimestampNotSigned),
            (None, true) => return Err(FormatError::TimestampMissing),
            _ => {}
        }
        if format.prefix.len() > PREFIX_BYTES_MAX || !format.prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(FormatError::Prefix);
        }
        let scheme = Self { format, secrets };
        let headers = scheme.headers();
        let is_twice = headers.iter().enumerate().any(|(index, header)| headers[..index].contains(header));
        if is_twice { Err(FormatError::HeaderTwice) } else { Ok(scheme) }
    }

    pub(super) fn prove(&self, headers: &HeaderMap, body: &[u8]) -> Result<Proof, Refusal> {
        let read = |name: &Option<HeaderName>| name.as_ref().map(|name| only(headers, name)).transpose();
        let signature = only(headers, &self.format.header)?.ok_or(Refusal::SignatureMissing)?;
        let timestamp =
            read(&self.format.timestamp)?.map(|value| value.ok_or(Refusal::TimestampMissing)).transpose()?;
        let id = read(&self.format.id)?.map(|value| value.ok_or(Refusal::IdMissing)).transpose()?;

        let sent_at = timestamp.map(header::seconds).transpose()?;
        let delivery_id = id.map(header::id).transpose()?.map_or_else(|| digest(body), str::to_owned);
        let given = self.decode(signature).ok_or(Refusal::SignatureMalformed)?;
        let secret = self.matching(&given, timestamp.unwrap_or_default(), body).ok_or(Refusal::SignatureWrong)?;
        Ok(Proof { delivery_id, secret: secret.name.clone(), sent_at })
    }

    /// All secrets are tried, without stopping at a match.
    fn matching(&self, given: &[u8], timestamp: &[u8], body: &[u8]) -> Option<&Named<Secret>> {
        let matches = |secret: &Named<Secret>| -> Choice { self.mac(&secret.key, timestamp, body).ct_eq(given) };
        let matches: Vec<Choice> = self.secrets.iter().map(matches).collect();
        self.secrets.iter().zip(matches).find_map(|(secret, matches)| bool::from(matches).then_some(secret))
    }

    fn decode(&self, value: &[u8]) -> Option<Vec<u8>> {
        let text = value.strip_prefix(self.format.prefix.as_bytes())?;
        let mac = match self.format.encoding {
            Encoding::Hex => hex::decode(text).ok()?,
            Encoding::Base64 => STANDARD.decode(text).ok()?,
        };
        let bytes = match self.format.algorithm {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        };
        (mac.len() == bytes).then_some(mac)
    }

    /// The header's value as the sender writes it.
    pub(in crate::receiver) fn value(&self, secret: &Secret, timestamp: &[u8], body: &[u8]) -> String {
        let mac = self.mac(secret, timestamp, body);
        let text = match self.format.encoding {
            Encoding::Hex => hex::encode(mac),
            Encoding::Base64 => STANDARD.encode(mac),
        };
        format!("{}{text}", self.format.prefix)
    }

    fn mac(&self, secret: &Secret, timestamp: &[u8], body: &[u8]) -> Vec<u8> {
        match self.format.algorithm {
            Algorithm::Sha256 => mac::<Hmac<Sha256>>(secret, &self.format.signed, timestamp, body),
            Algorithm::Sha512 => mac::<Hmac<Sha512>>(secret, &self.format.signed, timestamp, body),
        }
    }

    pub(super) fn sign(&self, id: &str, sent_at: Timestamp, body: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let timestamp = sent_at.as_second().to_string();
        let value = self.value(&self.secrets.first()?.key, timestamp.as_bytes(), body);
        let mut headers = vec![(self.format.header.clone(), HeaderValue::from_str(&value).ok()?)];
        if let Some(name) = &self.format.timestamp {
            headers.push((name.clone(), HeaderValue::from_str(&timestamp).ok()?));
        }
        if let Some(name) = &self.format.id {
            headers.push((name.clone(), HeaderValue::from_str(id).ok()?));
        }
        Some(headers)
    }

    pub(super) fn headers(&self) -> Vec<HeaderName> {
        let others = [&self.format.timestamp, &self.format.id].into_iter().flatten();
        std::iter::once(&self.format.header).chain(others).cloned().collect()
    }

    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    pub(super) fn with_secret(self, secret: Secret) -> Self {
        Self { secrets: numbered(vec![secret]), ..self }
    }

    #[must_use]
    pub fn secrets(&self) -> &[Named<Secret>] {
        &self.secrets
    }
}

#[expect(clippy::expect_used, reason = "HMAC accepts a key of any length")]
fn mac<M: Mac + KeyInit>(secret: &Secret, signed: &Template, timestamp: &[u8], body: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.bytes()).expect("HMAC accepts a key of any length");
    for part in &signed.0 {
        mac.update(match part {
            Part::Text(text) => text.as_bytes(),
            Part::Timestamp => timestamp,
            Part::Body => body,
        });
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(prefix: &str, signed: &str) -> Format {
        Format {
            header: HeaderName::from_static("x-hub-signature-256"),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            prefix: prefix.to_owned(),
            timestamp: None,
            signed: Template::parse(signed).expect("a template"),
            id: None,
        }
    }

    #[test]
    fn github_signs_its_documented_example_like_this() {
        let secret = Secret::text("It's a Secret to Everybody").expect("a secret");
        let scheme = HmacHeader::new(format("sha256=", "{body}"), numbered(vec![secret])).expect("a scheme");
        let value = scheme.value(&scheme.secrets[0].key, b"", b"Hello, World!");
        assert_eq!(value, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }

    #[test]
    fn what_is_signed_has_the_body_once() {
        for bad in ["", "{timestamp}", "{body}{body}", "{id}.{body}", "{body}}", "{{body}}", "body"] {
            assert_eq!(Template::parse(bad), Err(FormatError::Template), "{bad}");
        }
        let template = Template::parse("v0:{timestamp}:{body}").expect("a template");
        assert_eq!(template.0.len(), 4);
        assert!(template.has_timestamp());
    }

    #[test]
    fn a_timestamp_is_signed_or_not_there() {
        let stamped = Some(HeaderName::from_static("x-timestamp"));
        let error = |format| HmacHeader::new(format, vec![]).map(drop).expect_err("not a scheme");
        let plain = format("", "{body}");
        assert_eq!(error(Format { timestamp: stamped, ..plain.clone() }), FormatError::TimestampNotSigned);
        assert_eq!(error(format("", "{timestamp}.{body}")), FormatError::TimestampMissing);
        assert_eq!(error(Format { id: Some(plain.header.clone()), ..plain }), FormatError::HeaderTwice);
        assert_eq!(error(format("sha 256", "{body}")), FormatError::Prefix);
    }
}
