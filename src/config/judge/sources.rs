//! The sources: who may send.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;

use super::{Judge, seconds};
use crate::config::Role;
use crate::config::file::{self, Kind};
use crate::receiver::parse::Shape;
use crate::receiver::parse::pointers::{Meaning, Place, Pointers};
use crate::receiver::verify::hmac_header::{Algorithm, Encoding, Format, Template};
use crate::receiver::verify::{HmacHeader, PublicKey, Scheme, Secret, SharedSecret, StandardWebhooks};
use crate::{receiver, store};

/// Events in one batch of HID Origo's.
const BATCH_MAX: usize = 1000;

impl Judge<'_> {
    pub(super) fn sources(&mut self, role: Role, listed: &[file::Source]) -> Vec<receiver::Source> {
        if !role.receives() {
            return Vec::new();
        }
        if listed.is_empty() {
            let what = "no sender is configured: set SEAM_WEBHOOK_SECRET (Seam) or KEYFERRY_APP_WEBHOOK_SECRET \
                        (your own backend), or list [[sources]] in the file";
            self.say("sources", what);
        }
        let mut names = BTreeSet::new();
        let mut sources = Vec::new();
        for source in listed {
            let path = format!("sources.{}", source.name);
            if source.name == store::OWN_SOURCE {
                self.say(&path, "this name is Keyferry's own");
            } else if !names.insert(&source.name) {
                self.say(&path, "there are two sources of this name");
            }
            sources.extend(self.source(source));
        }
        sources
    }

    /// Anything wrong with it is said, whoever asks; what the shape has wrong is said by [`Judge::shapes`].
    pub(in crate::config) fn source(&mut self, source: &file::Source) -> Option<receiver::Source> {
        let path = &format!("sources.{}", source.name);
        let before = self.problems.len();
        let scheme = match source.kind {
            Kind::Seam | Kind::Standard => {
                let secrets = self.named_keys(path, "", &source.secrets, Secret::parse);
                let keys = self.named_keys(path, "public-", &source.public_keys, PublicKey::parse);
                Some(Scheme::StandardWebhooks(StandardWebhooks::new(kind(source.kind).family(), secrets, keys)))
            }
            Kind::HidOrigo => {
                let secrets = self.named_keys(path, "", &source.secrets, Secret::for_header);
                let header = self.header(path, "header", source.header.as_deref());
                header.map(|header| Scheme::SharedSecret(SharedSecret::new(header, secrets)))
            }
            Kind::Hmac => self.hmac(path, source),
        };
        let Ok(shape) = Shape::try_from(source) else { return None };
        if self.problems.len() > before {
            return None;
        }
        let tolerance = seconds(source.tolerance_seconds);
        match receiver::Source::of(&source.name, kind(source.kind), scheme?, shape, tolerance) {
            Ok(source) => Some(source),
            Err(error) => {
                self.say(path, error);
                None
            }
        }
    }

    fn hmac(&mut self, path: &str, source: &file::Source) -> Option<Scheme> {
        let secrets = self.named_keys(path, "", &source.secrets, Secret::text);
        let header = self.header(path, "header", source.header.as_deref());
        let timestamp = source.timestamp_header.as_deref();
        let timestamp = timestamp.map(|name| self.header(path, "timestamp_header", Some(name)));
        let usual = if timestamp.is_some() { "{timestamp}.{body}" } else { "{body}" };
        let signed = Template::parse(source.signed.as_deref().unwrap_or(usual));
        let signed = signed.map_err(|error| self.say(path, error)).ok();
        // The id of the delivery is that of its event, where it stands in a header.
        let id = source.pointers.as_ref().and_then(|pointers| match pointers.id.parse() {
            Ok(Place::Header(name)) => Some(name),
            _ => None,
        });
        let format = Format {
            header: header?,
            algorithm: match source.algorithm {
                None | Some(file::Algorithm::Sha256) => Algorithm::Sha256,
                Some(file::Algorithm::Sha512) => Algorithm::Sha512,
            },
            encoding: match source.encoding {
                None | Some(file::Encoding::Hex) => Encoding::Hex,
                Some(file::Encoding::Base64) => Encoding::Base64,
            },
            prefix: source.prefix.clone().unwrap_or_default(),
            timestamp: match timestamp {
                Some(name) => Some(name?),
                None => None,
            },
            signed: signed?,
            id,
        };
        HmacHeader::new(format, secrets).map_err(|error| self.say(path, error)).ok().map(Scheme::HmacHeader)
    }

    fn header(&mut self, path: &str, field: &str, name: Option<&str>) -> Option<HeaderName> {
        let Some(name) = name else {
            self.say(path, format_args!("`{field}` is missing: the name of the header that the sender writes"));
            return None;
        };
        HeaderName::try_from(name).map_err(|_| self.say(path, format_args!("`{field}` is not a header's name"))).ok()
    }

    /// The shape of each source's bodies by its name, also for roles that receive nothing.
    pub(in crate::config) fn shapes(&mut self, listed: &[file::Source]) -> BTreeMap<String, Shape> {
        // The two that the environment can make are known to every role, with or without their secrets.
        let mut shapes: BTreeMap<_, _> =
            [("seam", Shape::Seam), ("app", Shape::Standard)].map(|(name, shape)| (name.to_owned(), shape)).into();
        for source in listed {
            let path = &format!("sources.{}", source.name);
            for name in strangers(source) {
                self.say(
                    path,
                    format_args!("`{name}` has no meaning for a source of kind {}", kind(source.kind).as_str()),
                );
            }
            match Shape::try_from(source) {
                Ok(shape) => drop(shapes.insert(source.name.clone(), shape)),
                Err(what) => self.say(path, what),
            }
        }
        shapes
    }
}

/// The settings that another kind than the source's has.
fn strangers(source: &file::Source) -> Vec<&'static str> {
    let (origo, hmac) = (source.kind == Kind::HidOrigo, source.kind == Kind::Hmac);
    let settings = [
        ("public_keys", !source.public_keys.is_empty(), source.kind == Kind::Standard),
        ("header", source.header.is_some(), origo || hmac),
        ("batch_max", source.batch_max.is_some(), origo),
        ("algorithm", source.algorithm.is_some(), hmac),
        ("encoding", source.encoding.is_some(), hmac),
        ("prefix", source.prefix.is_some(), hmac),
        ("timestamp_header", source.timestamp_header.is_some(), hmac),
        ("signed", source.signed.is_some(), hmac),
        ("pointers", source.pointers.is_some(), hmac),
        ("types", source.types.is_some(), hmac),
    ];
    settings.into_iter().filter(|(_, is_set, is_known)| *is_set && !is_known).map(|(name, ..)| name).collect()
}

impl TryFrom<&file::Source> for Shape {
    type Error = String;

    fn try_from(source: &file::Source) -> Result<Self, String> {
        match source.kind {
            Kind::Seam => Ok(Self::Seam),
            Kind::Standard => Ok(Self::Standard),
            Kind::HidOrigo => match source.batch_max.unwrap_or(BATCH_MAX) {
                0 => Err("`batch_max` must be at least 1".to_owned()),
                items_max => Ok(Self::CloudEvents { items_max }),
            },
            Kind::Hmac => {
                let missing = "`[sources.pointers]` is missing: it says at least where `id` and `type` stand";
                pointers(source.pointers.as_ref().ok_or(missing)?, source)
                    .map(|pointers| Self::Pointers(pointers.into()))
            }
        }
    }
}

fn pointers(file: &file::Pointers, source: &file::Source) -> Result<Pointers, String> {
    let place = |field: &str, text: &str| {
        text.parse::<Place>().map_err(|error| format!("`pointers.{field}` is no place: {error}"))
    };
    let optional = |field: &str, text: &Option<String>| text.as_deref().map(|text| place(field, text)).transpose();
    let own = [
        ("phone.registered", Meaning::PhoneRegistered),
        ("phone.deactivated", Meaning::PhoneDeactivated),
        ("credential.issued", Meaning::CredentialIssued),
    ];
    let mut meanings: BTreeMap<String, Meaning> = own.map(|(name, meaning)| (name.to_owned(), meaning)).into();
    for (name, meaning) in source.types.iter().flatten() {
        let meaning = match meaning {
            file::Meaning::PhoneRegistered => Meaning::PhoneRegistered,
            file::Meaning::PhoneDeactivated => Meaning::PhoneDeactivated,
            file::Meaning::CredentialIssued => Meaning::CredentialIssued,
        };
        meanings.insert(name.clone(), meaning);
    }
    Ok(Pointers {
        id: place("id", &file.id)?,
        event_type: place("type", &file.event_type)?,
        time: optional("time", &file.time)?,
        user_identity_id: optional("user_identity_id", &file.user_identity_id)?,
        user_identity_key: optional("user_identity_key", &file.user_identity_key)?,
        alias: optional("alias", &file.alias)?,
        device_id: optional("device_id", &file.device_id)?,
        device_type: optional("device_type", &file.device_type)?,
        acs_credential_id: optional("acs_credential_id", &file.acs_credential_id)?,
        meanings,
    })
}

pub(in crate::config) fn kind(kind: Kind) -> receiver::Kind {
    match kind {
        Kind::Seam => receiver::Kind::Seam,
        Kind::Standard => receiver::Kind::Standard,
        Kind::HidOrigo => receiver::Kind::HidOrigo,
        Kind::Hmac => receiver::Kind::Hmac,
    }
}
