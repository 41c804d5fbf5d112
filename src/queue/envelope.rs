//! An [`Envelope`] as a message on the bus: CloudEvents 1.0, binary mode, over AMQP 0-9-1.
//!
//! The body is what the sender sent, byte for byte. The attributes are headers under the prefix `cloudEvents_`: the
//! CloudEvents binding for AMQP prefers it to `cloudEvents:`, because it can be used in message selectors, and asks
//! that both be read. That binding is written for AMQP 1.0; its *application properties* are the header table here, and
//! RabbitMQ converts one into the other. `schemas/queue/` holds the contract.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::{Content, Envelope, Proof, seal};
use crate::domain::{Event, Fact, name};

/// What [`Content::Unreadable`] travels as.
pub const UNREADABLE: &str = "keyferry.delivery.unreadable";

/// The largest header table that is published. AMQP sends it in a single frame (128 KiB unless configured smaller), and
/// a larger one does not fail alone: it costs the connection.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;

const PREFIX: &str = "cloudEvents_";
const PREFIX_OTHER: &str = "cloudEvents:";
const SPEC_VERSION: &str = "1.0";
const SOURCE_PATH: &str = "/webhooks/";
const PERSISTENT: u8 = 2;

/// The longest id that is taken off the bus. Receivers let far shorter ones in; PostgreSQL has no room for much longer
/// ones in an index, and one such message in a batch would hold up all of intake.
const ID_BYTES_MAX: usize = 2048;

/// One message, ready to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The event's type, so that others can bind queues of their own. AMQP has room for 255 bytes of it.
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// An envelope that AMQP has no room for.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("its attributes take {bytes} bytes and a message has room for {HEADERS_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("its fact does not become JSON")]
    Json(#[from] serde_json::Error),
}

/// Why a message is none of ours. It will not become one by being delivered again.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the attribute `{0}` is missing")]
    Missing(&'static str),
    #[error("the attribute `{0}` is not text")]
    NotText(&'static str),
    #[error("the attribute `{0}` does not say what it should")]
    Unexpected(&'static str),
    #[error("the attribute `{name}` is not a time")]
    NotTime { name: &'static str, source: jiff::Error },
    #[error("the attribute `{name}` is not the JSON that it should be")]
    NotJson { name: &'static str, source: serde_json::Error },
    #[error("{what} is longer than {max} bytes")]
    TooLong { what: &'static str, max: usize },
}

/// The message that carries `envelope`.
pub fn encode(envelope: &Envelope) -> Result<Message, EncodeError> {
    let mut attributes = Attributes::default();
    attributes.set("specversion", SPEC_VERSION);
    attributes.set("keyferrydelivery", &envelope.delivery_id);
    attributes.set("keyferryreceived", &envelope.received_at.to_string());
    if let Some(traceparent) = &envelope.traceparent {
        attributes.set("traceparent", traceparent);
    }
    if let Some(proof) = &envelope.proof {
        attributes.set("keyferrysecret", &proof.secret);
        if let Some(sent_at) = proof.sent_at {
            attributes.set("keyferrysent", &sent_at.to_string());
        }
    }
    let (id, kind, media_type) = match &envelope.content {
        Content::Event(event) => {
            attributes.set("source", &format!("{SOURCE_PATH}{}", event.source));
            attributes.set("time", &event.occurred_at.to_string());
            attributes.set("keyferryfact", &serde_json::to_string(&event.fact)?);
            (&event.event_id, event.event_type.as_str(), "application/json")
        }
        Content::Unreadable { source, why, headers } => {
            attributes.set("source", &format!("{SOURCE_PATH}{source}"));
            attributes.set("time", &envelope.received_at.to_string());
            attributes.set("keyferrywhy", why);
            attributes.set("keyferryheaders", &serde_json::to_string(headers)?);
            (&envelope.delivery_id, UNREADABLE, "application/octet-stream")
        }
    };
    attributes.set("id", id);
    attributes.set("type", kind);
    if attributes.bytes > HEADERS_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes: attributes.bytes });
    }

    let mut properties = BasicProperties::default()
        .with_app_id("keyferry".into())
        .with_content_type(media_type.into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(u64::try_from(envelope.received_at.as_second()).unwrap_or_default())
        .with_headers(attributes.table);
    // A convenience for people and tools. An id that AMQP has no room for is still whole in the attribute.
    if let Ok(id) = ShortString::try_new(id.as_str()) {
        properties = properties.with_message_id(id);
    }
    Ok(Message { routing_key: routing_key(kind), properties, body: envelope.body.clone() })
}

/// The envelope that a message carries.
pub fn decode(properties: &BasicProperties, body: impl Into<Bytes>) -> Result<Envelope, DecodeError> {
    let none = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&none);
    if required(headers, "specversion")? != SPEC_VERSION {
        return Err(DecodeError::Unexpected("specversion"));
    }
    let bytes: usize = headers.inner().iter().map(|(name, value)| attribute_bytes(name.as_str(), value)).sum();
    if bytes > HEADERS_BYTES_MAX {
        return Err(DecodeError::TooLong { what: "the attributes", max: HEADERS_BYTES_MAX });
    }
    let event_id = id(headers, "id")?;
    let event_type = id(headers, "type")?;
    let source = required(headers, "source")?
        .strip_prefix(SOURCE_PATH)
        .filter(|it| name::is_source(it))
        .ok_or(DecodeError::Unexpected("source"))?;

    let content = if let Some(fact) = text(headers, "keyferryfact")? {
        match serde_json::from_str::<Fact>(fact) {
            Ok(fact) if fact.subject().is_some_and(|subject| subject.contains('\0')) => {
                return Err(DecodeError::NotText("keyferryfact"));
            }
            Ok(fact) if fact.subject().is_some_and(|subject| subject.len() > ID_BYTES_MAX) => {
                return Err(DecodeError::TooLong { what: "the subject of `keyferryfact`", max: ID_BYTES_MAX });
            }
            Ok(fact) => Content::Event(Event {
                source: source.to_owned(),
                event_id: event_id.to_owned(),
                event_type: event_type.to_owned(),
                occurred_at: time(headers, "time")?,
                fact,
            }),
            // A newer receiver's, most likely: accepted, so it has to end where somebody sees it.
            Err(error) => Content::Unreadable {
                source: source.to_owned(),
                why: format!(
                    "this worker does not know what the event means; is it older than the receiver? ({error})"
                ),
                headers: BTreeMap::new(),
            },
        }
    } else if event_type == UNREADABLE {
        Content::Unreadable {
            source: source.to_owned(),
            why: text(headers, "keyferrywhy")?.ok_or(DecodeError::Missing("keyferrywhy"))?.to_owned(),
            headers: json::<BTreeMap<String, String>>("keyferryheaders", required(headers, "keyferryheaders")?)?,
        }
    } else {
        return Err(DecodeError::Missing("keyferryfact"));
    };
    Ok(Envelope {
        delivery_id: id(headers, "keyferrydelivery")?.to_owned(),
        received_at: time(headers, "keyferryreceived")?,
        traceparent: text(headers, "traceparent")?.map(str::to_owned),
        proof: proof(headers)?,
        body: body.into(),
        content,
    })
}

fn proof(headers: &FieldTable) -> Result<Option<Proof>, DecodeError> {
    let Some(secret) = text(headers, "keyferrysecret")? else { return Ok(None) };
    // The store keeps a row for each of these.
    if !name::is_secret(secret) {
        return Err(DecodeError::Unexpected("keyferrysecret"));
    }
    let sent_at = text(headers, "keyferrysent")?.map(|_| time(headers, "keyferrysent")).transpose()?;
    Ok(Some(Proof { secret: secret.to_owned(), sent_at }))
}

#[derive(Default)]
struct Attributes {
    table: FieldTable,
    bytes: usize,
}

impl Attributes {
    fn set(&mut self, name: &'static str, value: &str) {
        // Each entry also has a length byte for its name, a type byte and a four-byte length for its value.
        self.bytes += PREFIX.len() + name.len() + value.len() + 6;
        self.table.insert(header(name), AMQPValue::LongString(value.into()));
    }
}

/// The header that an attribute is written to.
pub(super) fn header(name: &str) -> ShortString {
    format!("{PREFIX}{name}").into()
}

/// The attribute that a header holds, under either prefix.
pub(super) fn attribute(header: &str) -> Option<&str> {
    header.strip_prefix(PREFIX).or_else(|| header.strip_prefix(PREFIX_OTHER))
}

/// What [`Attributes::set`] counts. A seal comes on top of that, and so does what the broker adds.
fn attribute_bytes(header: &str, value: &AMQPValue) -> usize {
    match (attribute(header), value) {
        (Some(name), AMQPValue::LongString(text)) if name != seal::ATTRIBUTE => {
            header.len() + text.as_bytes().len() + 6
        }
        _ => 0,
    }
}

/// At most 255 bytes of `kind`, cut between characters.
fn routing_key(kind: &str) -> ShortString {
    let end = kind.floor_char_boundary(usize::from(u8::MAX));
    ShortString::from(&kind[..end])
}

fn text<'a>(headers: &'a FieldTable, name: &'static str) -> Result<Option<&'a str>, DecodeError> {
    let entries = headers.inner();
    let value = [PREFIX, PREFIX_OTHER].iter().find_map(|prefix| entries.get(format!("{prefix}{name}").as_str()));
    match value {
        None => Ok(None),
        Some(AMQPValue::LongString(text)) => {
            // A NUL is no text to PostgreSQL: one such message in a batch would hold up all of intake.
            let text = std::str::from_utf8(text.as_bytes()).ok().filter(|text| !text.contains('\0'));
            text.map(Some).ok_or(DecodeError::NotText(name))
        }
        Some(_) => Err(DecodeError::NotText(name)),
    }
}

/// What CloudEvents calls a non-empty string.
fn required<'a>(headers: &'a FieldTable, name: &'static str) -> Result<&'a str, DecodeError> {
    text(headers, name)?.filter(|value| !value.is_empty()).ok_or(DecodeError::Missing(name))
}

fn id<'a>(headers: &'a FieldTable, name: &'static str) -> Result<&'a str, DecodeError> {
    let id = required(headers, name)?;
    if id.len() > ID_BYTES_MAX { Err(DecodeError::TooLong { what: name, max: ID_BYTES_MAX }) } else { Ok(id) }
}

fn time(headers: &FieldTable, name: &'static str) -> Result<Timestamp, DecodeError> {
    required(headers, name)?.parse().map_err(|source| DecodeError::NotTime { name, source })
}

fn json<'a, T: serde::Deserialize<'a>>(name: &'static str, value: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(value).map_err(|source| DecodeError::NotJson { name, source })
}

#[cfg(test)]
pub(crate) mod tests {
    use jsonschema::Validator;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::domain::Person;

    pub(crate) fn some_envelope() -> Envelope {
        Envelope {
            delivery_id: "msg_2b".to_owned(),
            received_at: "2026-03-01T10:40:01Z".parse().expect("a time"),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            proof: Some(Proof {
                secret: "2026-03".to_owned(),
                sent_at: Some("2026-03-01T10:40:00Z".parse().expect("a time")),
            }),
            body: Bytes::from_static(br#"{"event_type": "phone.registered"}"#),
            content: Content::Event(Event {
                source: "app".to_owned(),
                event_id: "5b0f".to_owned(),
                event_type: "phone.registered".to_owned(),
                occurred_at: "2026-03-01T10:40:00.5Z".parse().expect("a time"),
                fact: Fact::PhoneRegistered {
                    person: Person::UserIdentityKey("jane".to_owned()),
                    device_id: None,
                    device_type: Some("ios_phone".to_owned()),
                },
            }),
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let not_nul = any::<char>().prop_filter("no NUL", |c| *c != '\0');
        proptest::collection::vec(not_nul, 1..300).prop_map(|chars| chars.into_iter().collect())
    }

    fn time() -> impl Strategy<Value = Timestamp> {
        (0_i64..253_000_000_000, 0_i32..1_000_000_000)
            .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).expect("within the calendar"))
    }

    fn person() -> impl Strategy<Value = Person> {
        prop_oneof![
            text().prop_map(Person::UserIdentityId),
            text().prop_map(Person::UserIdentityKey),
            ("[a-z0-9-]{1,64}", text()).prop_map(|(source, id)| Person::Alias { source, id }),
        ]
    }

    fn fact() -> impl Strategy<Value = Fact> {
        let maybe = || proptest::option::of(text());
        prop_oneof![
            (person(), maybe(), maybe()).prop_map(|(person, device_id, device_type)| Fact::PhoneRegistered {
                person,
                device_id,
                device_type
            }),
            person().prop_map(|person| Fact::KeyReported { person }),
            text().prop_map(|device_id| Fact::PhoneDeactivated { device_id }),
            text().prop_map(|acs_credential_id| Fact::CredentialChanged { acs_credential_id }),
            text().prop_map(|access_method_id| Fact::AccessMethodIssued { access_method_id }),
            text().prop_map(|acs_user_id| Fact::AcsUserDeleted { acs_user_id }),
            text().prop_map(|enrollment_automation_id| Fact::EnrollmentAutomationDeleted { enrollment_automation_id }),
            (text(), text()).prop_map(|(plan_key, user_identity_id)| Fact::PlanPut { plan_key, user_identity_id }),
            (text(), text()).prop_map(|(plan_key, user_identity_id)| Fact::PlanDeleted { plan_key, user_identity_id }),
            Just(Fact::Other),
        ]
    }

    fn content() -> impl Strategy<Value = Content> {
        let source = "[a-z0-9-]{1,64}";
        let event =
            (source, text(), text(), time(), fact()).prop_map(|(source, event_id, event_type, occurred_at, fact)| {
                Content::Event(Event { source, event_id, event_type, occurred_at, fact })
            });
        let headers = proptest::collection::btree_map(text(), text(), 0..4);
        let unreadable =
            (source, text(), headers).prop_map(|(source, why, headers)| Content::Unreadable { source, why, headers });
        prop_oneof![event, unreadable]
    }

    fn envelope() -> impl Strategy<Value = Envelope> {
        let proof =
            ("[a-z0-9._-]{1,32}", proptest::option::of(time())).prop_map(|(secret, sent_at)| Proof { secret, sent_at });
        let maybe = (proptest::option::of(text()), proptest::option::of(proof));
        (text(), time(), maybe, any::<Vec<u8>>(), content()).prop_map(
            |(delivery_id, received_at, (traceparent, proof), body, content)| Envelope {
                delivery_id,
                received_at,
                traceparent,
                proof,
                body: body.into(),
                content,
            },
        )
    }

    fn schema(text: &str) -> Validator {
        let schema: Value = serde_json::from_str(text).expect("a schema is JSON");
        jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema is a schema")
    }

    fn attributes(message: &Message) -> Value {
        let headers = message.properties.headers().as_ref().expect("headers");
        let attributes = headers.inner().iter().map(|(name, value)| {
            let name = name.as_str().strip_prefix(PREFIX).expect("every header is an attribute");
            let AMQPValue::LongString(value) = value else { panic!("every attribute is text") };
            (name.to_owned(), Value::String(value.to_string()))
        });
        Value::Object(attributes.collect())
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(envelope in envelope()) {
            let message = encode(&envelope).expect("it fits");
            prop_assert_eq!(decode(&message.properties, message.body).expect("it is ours"), envelope);
        }

        #[test]
        fn what_is_encoded_is_what_the_schemas_say(envelope in envelope()) {
            let keys = seal::Keys::parse(&"a-key-of-24-bytes-or-more".into()).expect("a key");
            let message = keys.seal(encode(&envelope).expect("it fits"));
            let attributes = attributes(&message);
            let errors: Vec<String> = schema(include_str!("../../schemas/queue/attributes.json"))
                .iter_errors(&attributes).map(|error| error.to_string()).collect();
            prop_assert!(errors.is_empty(), "{errors:?}");
            if let Some(fact) = attributes.get("keyferryfact") {
                let fact: Value = serde_json::from_str(fact.as_str().expect("text")).expect("JSON");
                prop_assert!(schema(include_str!("../../schemas/queue/fact.json")).is_valid(&fact), "{fact}");
            }
        }
    }

    #[test]
    fn a_message_says_itself_what_it_is() {
        let message = encode(&some_envelope()).expect("it fits");
        assert_eq!(message.routing_key.as_str(), "phone.registered");
        assert_eq!(message.body, some_envelope().body);
        let expected = serde_json::json!({
            "specversion": "1.0",
            "id": "5b0f",
            "source": "/webhooks/app",
            "type": "phone.registered",
            "time": "2026-03-01T10:40:00.5Z",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "keyferrydelivery": "msg_2b",
            "keyferryreceived": "2026-03-01T10:40:01Z",
            "keyferrysecret": "2026-03",
            "keyferrysent": "2026-03-01T10:40:00Z",
            "keyferryfact": r#"{"fact":"phone_registered","person":{"user_identity_key":"jane"},"device_type":"ios_phone"}"#,
        });
        assert_eq!(attributes(&message), expected);
        let properties = message.properties;
        assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("5b0f"));
        assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some("application/json"));
        assert_eq!(properties.delivery_mode().as_ref(), Some(&PERSISTENT));
    }

    #[test]
    fn the_older_prefix_is_read_as_well() {
        let message = encode(&some_envelope()).expect("it fits");
        let mut headers = FieldTable::default();
        for (name, value) in message.properties.headers().as_ref().expect("headers").inner() {
            headers.insert(name.as_str().replace(PREFIX, PREFIX_OTHER).into(), value.clone());
        }
        let properties = BasicProperties::default().with_headers(headers);
        assert_eq!(decode(&properties, message.body).expect("it is ours"), some_envelope());
    }

    #[test]
    fn a_fact_of_a_newer_receiver_is_put_aside_for_a_person() {
        let mut message = encode(&some_envelope()).expect("it fits");
        let mut headers = message.properties.headers().clone().expect("headers");
        headers.insert(
            format!("{PREFIX}keyferryfact").into(),
            AMQPValue::LongString(r#"{"fact":"door_exploded"}"#.into()),
        );
        message.properties = message.properties.with_headers(headers);
        let envelope = decode(&message.properties, message.body).expect("accepted");
        assert!(matches!(envelope.content, Content::Unreadable { why, .. } if why.contains("door_exploded")));
    }

    #[test]
    fn a_message_of_somebody_else_is_refused() {
        let whole = encode(&some_envelope()).expect("it fits");
        let with = |name: &str, value: AMQPValue| {
            let mut headers = whole.properties.headers().clone().expect("headers");
            headers.insert(format!("{PREFIX}{name}").into(), value);
            decode(&BasicProperties::default().with_headers(headers), whole.body.clone())
                .expect_err("not ours")
                .to_string()
        };
        let cases = [
            decode(&BasicProperties::default(), Bytes::new()).expect_err("not ours").to_string(),
            with("specversion", AMQPValue::LongString("2.0".into())),
            with("id", AMQPValue::LongString("".into())),
            with("source", AMQPValue::LongString("/webhooks/../admin".into())),
            with("time", AMQPValue::LongString("yesterday".into())),
            with("type", AMQPValue::Boolean(true)),
            with("keyferryfact", AMQPValue::LongString("with a NUL: \0".into())),
            with("keyferrydelivery", AMQPValue::LongString(vec![0xff].into())),
            with("keyferrysecret", AMQPValue::LongString("any text".into())),
        ];
        assert_eq!(
            cases,
            [
                "the attribute `specversion` is missing",
                "the attribute `specversion` does not say what it should",
                "the attribute `id` is missing",
                "the attribute `source` does not say what it should",
                "the attribute `time` is not a time",
                "the attribute `type` is not text",
                "the attribute `keyferryfact` is not text",
                "the attribute `keyferrydelivery` is not text",
                "the attribute `keyferrysecret` does not say what it should",
            ]
        );
    }

    #[test]
    fn attributes_that_would_cost_the_connection_are_not_encoded() {
        let mut envelope = some_envelope();
        envelope.traceparent = Some("x".repeat(HEADERS_BYTES_MAX));
        assert!(matches!(encode(&envelope), Err(EncodeError::TooLarge { .. })));
    }
}
