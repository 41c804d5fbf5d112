//! What a message says of an event beside its body: the CloudEvents attributes, the same in both modes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{DecodeError, EncodeError, HEADERS_BYTES_MAX, UNREADABLE};
use crate::domain::{Event, Fact, name};
use crate::queue::{Content, Envelope, Proof};

const SPEC_VERSION: &str = "1.0";
const SOURCE_PATH: &str = "/webhooks/";

/// The longest id that is taken off the bus. Receivers let far shorter ones in; PostgreSQL has no room for much longer
/// ones in an index, and one such message in a batch would hold up all of intake.
const ID_BYTES_MAX: usize = 2048;

/// The attributes of one envelope, by their names.
pub(super) struct Attributes<'e>(Vec<(&'static str, Cow<'e, str>)>);

impl<'e> Attributes<'e> {
    pub(super) fn of(envelope: &'e Envelope) -> Result<Self, EncodeError> {
        let path = |source: &str| Cow::Owned(format!("{SOURCE_PATH}{source}"));
        let received = envelope.received_at.to_string();
        let mut list: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(12);
        list.push(("specversion", SPEC_VERSION.into()));
        match &envelope.content {
            Content::Event(event) => list.extend([
                ("id", event.event_id.as_str().into()),
                ("source", path(&event.source)),
                ("type", event.event_type.as_str().into()),
                ("time", event.occurred_at.to_string().into()),
                ("keyferryfact", serde_json::to_string(&event.fact)?.into()),
            ]),
            Content::Unreadable { source, why, headers } => list.extend([
                ("id", envelope.delivery_id.as_str().into()),
                ("source", path(source)),
                ("type", UNREADABLE.into()),
                ("time", received.clone().into()),
                ("keyferrywhy", why.as_str().into()),
                ("keyferryheaders", serde_json::to_string(headers)?.into()),
            ]),
        }
        list.extend([
            ("keyferrydelivery", envelope.delivery_id.as_str().into()),
            ("keyferryreceived", received.into()),
        ]);
        list.extend(envelope.traceparent.as_deref().map(|traceparent| ("traceparent", traceparent.into())));
        if let Some(proof) = &envelope.proof {
            list.push(("keyferrysecret", proof.secret.as_str().into()));
            list.extend(proof.sent_at.map(|sent_at| ("keyferrysent", sent_at.to_string().into())));
        }
        let attributes = Self(list);
        let bytes = attributes.iter().map(|(name, value)| bytes(name, value)).sum();
        if bytes > HEADERS_BYTES_MAX { Err(EncodeError::TooLarge { bytes }) } else { Ok(attributes) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What an attribute takes as a header: its name after the prefix, its value, and around them a length byte for the name,
/// a type byte and a four-byte length for the value.
pub(super) fn bytes(name: &str, value: &str) -> usize {
    super::PREFIX.len() + name.len() + value.len() + 6
}

/// Where attributes are read from.
pub(super) trait Lookup {
    /// The value of an attribute, if it is there.
    fn find(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, DecodeError>;

    fn text(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, DecodeError> {
        let value = self.find(name)?;
        // A NUL is no text to PostgreSQL: one such message in a batch would hold up all of intake.
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(DecodeError::NotText(name));
        }
        Ok(value)
    }

    /// What CloudEvents calls a non-empty string.
    fn required(&self, name: &'static str) -> Result<Cow<'_, str>, DecodeError> {
        self.text(name)?.filter(|value| !value.is_empty()).ok_or(DecodeError::Missing(name))
    }

    fn id(&self, name: &'static str) -> Result<String, DecodeError> {
        let id = self.required(name)?;
        if id.len() > ID_BYTES_MAX {
            return Err(DecodeError::TooLong { what: name, max: ID_BYTES_MAX });
        }
        Ok(id.into_owned())
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, DecodeError> {
        self.required(name)?.parse().map_err(|source| DecodeError::NotTime { name, source })
    }
}

/// What the attributes say: an envelope, but for its body.
pub(super) fn read(attributes: &impl Lookup, body: bytes::Bytes) -> Result<Envelope, DecodeError> {
    if attributes.required("specversion")? != SPEC_VERSION {
        return Err(DecodeError::Unexpected("specversion"));
    }
    let event_id = attributes.id("id")?;
    let event_type = attributes.id("type")?;
    let source = attributes.required("source")?;
    let source = source.strip_prefix(SOURCE_PATH).filter(|it| name::is_source(it));
    let source = source.ok_or(DecodeError::Unexpected("source"))?.to_owned();
    let content = match attributes.text("keyferryfact")? {
        Some(fact) => match serde_json::from_str::<Fact>(&fact) {
            Ok(fact) => {
                check_subject(&fact)?;
                Content::Event(Event { source, event_id, event_type, occurred_at: attributes.time("time")?, fact })
            }
            // A newer receiver's, most likely: accepted, so it has to end where somebody sees it.
            Err(error) => Content::Unreadable {
                source,
                why: format!(
                    "this worker does not know what the event means; is it older than the receiver? ({error})"
                ),
                headers: BTreeMap::new(),
            },
        },
        None if event_type == UNREADABLE => Content::Unreadable {
            source,
            why: attributes.text("keyferrywhy")?.ok_or(DecodeError::Missing("keyferrywhy"))?.into_owned(),
            headers: serde_json::from_str(&attributes.required("keyferryheaders")?)
                .map_err(|source| DecodeError::NotJson { name: "keyferryheaders", source })?,
        },
        None => return Err(DecodeError::Missing("keyferryfact")),
    };
    Ok(Envelope {
        delivery_id: attributes.id("keyferrydelivery")?,
        received_at: attributes.time("keyferryreceived")?,
        traceparent: attributes.text("traceparent")?.map(Cow::into_owned),
        proof: proof(attributes)?,
        body,
        content,
    })
}

fn check_subject(fact: &Fact) -> Result<(), DecodeError> {
    match fact.subject() {
        Some(subject) if subject.contains('\0') => Err(DecodeError::NotText("keyferryfact")),
        Some(subject) if subject.len() > ID_BYTES_MAX => {
            Err(DecodeError::TooLong { what: "the subject of `keyferryfact`", max: ID_BYTES_MAX })
        }
        _ => Ok(()),
    }
}

fn proof(attributes: &impl Lookup) -> Result<Option<Proof>, DecodeError> {
    let Some(secret) = attributes.text("keyferrysecret")? else { return Ok(None) };
    // The store keeps a row for each of these.
    if !name::is_secret(&secret) {
        return Err(DecodeError::Unexpected("keyferrysecret"));
    }
    let sent_at = attributes.text("keyferrysent")?.map(|_| attributes.time("keyferrysent")).transpose()?;
    Ok(Some(Proof { secret: secret.into_owned(), sent_at }))
}
