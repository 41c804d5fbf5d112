//! Senders that have the right secret and use it in another way than their source is configured for: to find out, of a
//! request that does not verify, in which. Nothing is ever taken in by one of these.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;

use super::hmac_header::{Algorithm, Encoding, Format, Template};
use super::standard_webhooks::Family;
use super::{HmacHeader, Named, Scheme, Secret, StandardWebhooks};

/// A way to use a secret, and what verifies it.
pub(in crate::receiver) struct Mistaken {
    /// What the sender does: "signs the body alone".
    pub(in crate::receiver) what: String,
    pub(in crate::receiver) scheme: Scheme,
}

impl Scheme {
    /// Other ways in which a sender may use these secrets. `family`: the headers that the request has.
    pub(in crate::receiver) fn mistaken(&self, family: Family) -> Vec<Mistaken> {
        match self {
            Self::StandardWebhooks(scheme) => standard_webhooks(scheme, family),
            Self::HmacHeader(scheme) => hmac_header(scheme),
            // There is nothing but the text itself.
            Self::SharedSecret(_) => Vec::new(),
        }
    }
}

fn standard_webhooks(scheme: &StandardWebhooks, family: Family) -> Vec<Mistaken> {
    let keys = |change: fn(&[u8]) -> Option<Vec<u8>>| changed(scheme.secrets(), change);
    let mut all: Vec<Mistaken> = [
        (
            "takes the text of the secret, with `whsec_`, for the key: the key is what the base64 after `whsec_` decodes to",
            keys(|key| Some(format!("whsec_{}", STANDARD.encode(key)).into_bytes())),
        ),
        (
            "takes what follows `whsec_` for the key as it is: it is base64, and the key is what it decodes to",
            keys(|key| Some(STANDARD.encode(key).into_bytes())),
        ),
    ]
    .into_iter()
    .map(|(what, keys)| Mistaken {
        what: what.to_owned(),
        scheme: Scheme::StandardWebhooks(StandardWebhooks::new(family, keys, Vec::new())),
    })
    .collect();
    let ways = [
        ("signs the body alone: what is signed is `{id}.{timestamp}.{body}`", "{body}", None),
        (
            "leaves the id out: what is signed is `{id}.{timestamp}.{body}`",
            "{timestamp}.{body}",
            Some(family.timestamp()),
        ),
    ];
    for (what, signed, timestamp) in ways {
        let format = format(family.signature(), Algorithm::Sha256, Encoding::Base64, "v1,", timestamp, signed);
        all.extend(mistaken(what.to_owned(), format, changed(scheme.secrets(), |key| Some(key.to_vec()))));
    }
    all
}

fn hmac_header(scheme: &HmacHeader) -> Vec<Mistaken> {
    let own = scheme.format();
    let mut all = Vec::new();
    for (what, change) in KEYS {
        let keys = changed(scheme.secrets(), change);
        if !keys.is_empty() {
            all.extend(mistaken(what.to_owned(), own.clone(), keys));
        }
    }
    for (algorithm, algorithm_name) in [(Algorithm::Sha256, "sha256"), (Algorithm::Sha512, "sha512")] {
        for (encoding, encoding_name) in [(Encoding::Hex, "hex"), (Encoding::Base64, "base64")] {
            for prefix in [own.prefix.as_str(), "", "sha256=", "sha512=", "v0=", "v1=", "v1,"] {
                for (signed, timestamp) in [
                    (None, own.timestamp.clone()),
                    (Some("{body}"), None),
                    (Some("{timestamp}.{body}"), own.timestamp.clone()),
                    (Some("{timestamp}{body}"), own.timestamp.clone()),
                    (Some("v0:{timestamp}:{body}"), own.timestamp.clone()),
                ] {
                    let template = signed.and_then(|signed| Template::parse(signed).ok());
                    let signs = signed.map(|signed| format!(", signed = \"{signed}\"")).unwrap_or_default();
                    let what = format!(
                        "signs another way than is configured: algorithm = \"{algorithm_name}\", encoding = \
                         \"{encoding_name}\", prefix = \"{prefix}\"{signs} would verify it"
                    );
                    let format = Format {
                        algorithm,
                        encoding,
                        prefix: prefix.to_owned(),
                        timestamp,
                        signed: template.unwrap_or_else(|| own.signed.clone()),
                        ..own.clone()
                    };
                    all.extend(mistaken(what, format, changed(scheme.secrets(), |key| Some(key.to_vec()))));
                }
            }
        }
    }
    all
}

type Change = fn(&[u8]) -> Option<Vec<u8>>;

/// What may become of a secret that is a text.
const KEYS: [(&str, Change); 4] = [
    (
        "takes what the base64 after `whsec_` decodes to for the key: for this kind of source the text is the key",
        |key| STANDARD.decode(key.strip_prefix(b"whsec_")?).ok(),
    ),
    ("takes the secret for base64 and decodes it: for this kind of source the text is the key", |key| {
        STANDARD.decode(key).ok()
    }),
    ("takes the secret for hexadecimal and decodes it: for this kind of source the text is the key", |key| {
        hex::decode(key).ok()
    }),
    ("has a line break at the end of its secret, as a file has one", |key| Some([key, b"\n"].concat())),
];

fn changed(secrets: &[Named<Secret>], change: Change) -> Vec<Named<Secret>> {
    let changed = |secret: &Named<Secret>| {
        let key = Secret::from_key(&change(secret.key.bytes())?);
        Some(Named { name: secret.name.clone(), key })
    };
    secrets.iter().filter_map(changed).collect()
}

fn format(
    header: HeaderName,
    algorithm: Algorithm,
    encoding: Encoding,
    prefix: &str,
    timestamp: Option<HeaderName>,
    signed: &str,
) -> Option<Format> {
    let signed = Template::parse(signed).ok()?;
    Some(Format { header, algorithm, encoding, prefix: prefix.to_owned(), timestamp, signed, id: None })
}

fn mistaken(what: String, format: impl Into<Option<Format>>, keys: Vec<Named<Secret>>) -> Option<Mistaken> {
    // Some combinations are none: a timestamp that is signed, and no header that has it.
    let scheme = HmacHeader::new(format.into()?, keys).ok()?;
    Some(Mistaken { what, scheme: Scheme::HmacHeader(scheme) })
}
