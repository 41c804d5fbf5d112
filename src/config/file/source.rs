//! `[[sources]]`: who may send, how they prove it, and where their bodies say what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// A sender of webhooks: `POST /webhooks/{name}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `[a-z0-9-]{1,64}`.
    pub name: String,
    pub kind: Kind,
    /// Any of them may have signed, so that one can be replaced by another: put the new one behind the old one.
    /// `whsec_…` for `seam` and `standard`; for the others the text itself is the secret.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Kind `standard`: the sender's Ed25519 keys, `whpk_…`, for signatures `v1a`.
    #[serde(default)]
    pub public_keys: Vec<Secret>,
    /// How old, or how far in the future, a signature may be.
    #[serde(default = "five_minutes")]
    pub tolerance_seconds: u64,
    /// Kind `hid-origo`: the header that holds the secret. Kind `hmac`: the header that holds the signature.
    pub header: Option<String>,
    /// Kind `hid-origo`: events in one batch; a larger one is parked whole.
    pub batch_max: Option<usize>,
    /// Kind `hmac`; left out: `sha256`.
    pub algorithm: Option<Algorithm>,
    /// Kind `hmac`: how the signature is written; left out: `hex`.
    pub encoding: Option<Encoding>,
    /// Kind `hmac`: what stands before the signature in its header, e.g. `sha256=`.
    pub prefix: Option<String>,
    /// Kind `hmac`: the header that holds the seconds since 1970 at which the sender signed.
    pub timestamp_header: Option<String>,
    /// Kind `hmac`: what is signed; left out: `{body}`, or `{timestamp}.{body}` with a `timestamp_header`.
    pub signed: Option<String>,
    /// Kind `hmac`: where the body says what.
    pub pointers: Option<Pointers>,
    /// Kind `hmac`: what the sender's event types mean. Types that are not named are recorded and ignored. The meanings'
    /// own names mean themselves.
    pub types: Option<BTreeMap<String, Meaning>>,
}

pub(in crate::config) fn five_minutes() -> u64 {
    300
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Seam's own events, signed by Svix.
    Seam,
    /// Standard Webhooks with bodies in Seam's event shape: the customer's own backend.
    Standard,
    /// HID Origo's CloudEvents, with a secret in a header.
    HidOrigo,
    /// JSON of any shape, with an HMAC in a header: GitHub-style senders, and in-house ones.
    Hmac,
}

/// One of several secrets.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, or a table with a name and one of value, env and file")]
pub enum Secret {
    /// The secret itself. Its name is its number in the list: `1`, `2`, …
    Plain(#[schemars(with = "String")] SecretString),
    Named(NamedSecret),
}

/// A secret with a name, or one that stands elsewhere. Exactly one of `value`, `env` and `file`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedSecret {
    /// What it is called in metrics and in `keyferry status`: `[a-z0-9._-]{1,32}`. Left out: its number in the list.
    pub name: Option<String>,
    #[schemars(with = "Option<String>")]
    pub value: Option<SecretString>,
    /// A variable of the environment.
    pub env: Option<String>,
    /// A file that holds nothing else, as Docker and Kubernetes mount secrets; a line break at its end is left out.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Hex,
    Base64,
}

/// Where one value stands each: a JSON pointer like `/data/id`, or `header:NAME`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pointers {
    /// The event's id: the key of de-duplication.
    pub id: String,
    /// The event's type, to be looked up in `types`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened: RFC 3339 or seconds since 1970. Left out: when it was received.
    pub time: Option<String>,
    /// Whose it is, by Seam's id,
    pub user_identity_id: Option<String>,
    /// by the customer's key,
    pub user_identity_key: Option<String>,
    /// or by the sender's own id, which a plan has among its aliases under this source's name.
    pub alias: Option<String>,
    /// The provider's id of the phone.
    pub device_id: Option<String>,
    /// `ios_phone` or `android_phone`.
    pub device_type: Option<String>,
    pub acs_credential_id: Option<String>,
}

/// What a type of event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Meaning {
    #[serde(rename = "phone.registered")]
    PhoneRegistered,
    #[serde(rename = "phone.deactivated")]
    PhoneDeactivated,
    #[serde(rename = "credential.issued")]
    CredentialIssued,
}
