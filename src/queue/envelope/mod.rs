//! An [`Envelope`] as a message on the bus: CloudEvents 1.0 over AMQP 0-9-1, alone or in a batch.
//!
//! Alone, in *binary mode*: the body is what the sender sent, byte for byte. The attributes are headers under the prefix
//! `cloudEvents_`: the CloudEvents binding for AMQP prefers it to `cloudEvents:`, because it can be used in message
//! selectors, and asks that both be read. That binding is written for AMQP 1.0; its *application properties* are the
//! header table here, and RabbitMQ converts one into the other. In a batch, the JSON *batch format*: see `batch`.
//! `schemas/queue/` holds the contract.

mod attributes;
mod batch;
mod binary;
mod pack;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::ShortString;

use super::{Content, Envelope};

pub(super) use binary::{attribute, header};
pub use binary::{decode, encode};
pub use pack::{Limits, Parcel, pack};

/// What [`Content::Unreadable`] travels as.
pub const UNREADABLE: &str = "keyferry.delivery.unreadable";

/// The largest header table that is published. AMQP sends it in a single frame (128 KiB unless configured smaller), and
/// a larger one does not fail alone: it costs the connection.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;

const PREFIX: &str = "cloudEvents_";
const PREFIX_OTHER: &str = "cloudEvents:";
const PERSISTENT: u8 = 2;

/// One message, ready to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The type of its event or events, so that others can bind queues of their own. AMQP has room for 255 bytes of it.
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

/// Why a message, or an event in it, is none of ours. It will not become one by being delivered again.
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
    #[error("{name} is not the JSON that it should be")]
    NotJson { name: &'static str, source: serde_json::Error },
    #[error("{what} is longer than {max} bytes")]
    TooLong { what: &'static str, max: usize },
    #[error("a batch has attributes in its events, and this one has some beside them")]
    BesideBatch,
}

/// What a message carries: an envelope, or several, or what is wrong with some of them.
pub fn unpack(
    properties: &BasicProperties,
    body: impl Into<Bytes>,
) -> Result<Vec<Result<Envelope, DecodeError>>, DecodeError> {
    if batch::is_batch(properties) {
        batch::decode(properties, &body.into())
    } else {
        decode(properties, body).map(|envelope| vec![Ok(envelope)])
    }
}

/// What messages in both modes have in common.
fn properties(received_at: Timestamp) -> BasicProperties {
    BasicProperties::default()
        .with_app_id("keyferry".into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(u64::try_from(received_at.as_second()).unwrap_or_default())
}

/// The type that an envelope travels under.
fn kind(envelope: &Envelope) -> &str {
    match &envelope.content {
        Content::Event(event) => &event.event_type,
        Content::Unreadable { .. } => UNREADABLE,
    }
}

/// At most 255 bytes of `kind`, cut between characters.
fn routing_key(kind: &str) -> ShortString {
    let end = kind.floor_char_boundary(usize::from(u8::MAX));
    ShortString::from(&kind[..end])
}

#[cfg(test)]
pub(crate) mod tests {
    use jsonschema::Validator;
    use lapin::types::{AMQPValue, FieldTable};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::domain::{Event, Fact, Person};
    use crate::queue::{Proof, seal};

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
            let errors: Vec<String> = schema(include_str!("../../../schemas/queue/attributes.json"))
                .iter_errors(&attributes).map(|error| error.to_string()).collect();
            prop_assert!(errors.is_empty(), "{errors:?}");
            if let Some(fact) = attributes.get("keyferryfact") {
                let fact: Value = serde_json::from_str(fact.as_str().expect("text")).expect("JSON");
                prop_assert!(schema(include_str!("../../../schemas/queue/fact.json")).is_valid(&fact), "{fact}");
            }
        }
    }

    #[test]
    fn a_batch_is_what_the_schemas_say() {
        let one = some_envelope();
        let mut other = some_envelope();
        (other.traceparent, other.proof) = (None, None);
        let limits = Limits { events: 64, bytes: 1 << 20 };
        let message = pack(&[&one, &other], limits).remove(0).message.expect("it fits");
        let properties = &message.properties;
        assert_eq!(message.routing_key.as_str(), "phone.registered");
        assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some(batch::MEDIA_TYPE));
        assert_eq!(properties.delivery_mode().as_ref(), Some(&PERSISTENT));
        assert!(properties.headers().is_none());

        let batch: Value = serde_json::from_slice(&message.body).expect("JSON");
        assert!(schema(include_str!("../../../schemas/queue/batch.json")).is_valid(&batch), "{batch}");
        let elements = batch.as_array().expect("an array");
        for (element, envelope) in elements.iter().zip([one, other]) {
            let mut attributes = element.clone();
            let object = attributes.as_object_mut().expect("an object");
            assert_eq!(object.remove("datacontenttype"), Some("application/json".into()));
            assert!(object.remove("data").is_some());
            let alone = encode(&envelope).expect("it fits");
            assert_eq!(attributes, self::attributes(&alone), "the same attributes in both modes");
        }
    }

    #[test]
    fn a_message_that_is_not_a_batch_does_not_become_one() {
        let mut message = encode(&some_envelope()).expect("it fits");
        message.body = Bytes::from_static(b"[]");
        message.properties = message.properties.with_content_type(batch::MEDIA_TYPE.into());
        let refused = unpack(&message.properties, message.body.clone()).expect_err("it has attributes of its own");
        assert!(matches!(refused, DecodeError::BesideBatch));
        let bare = BasicProperties::default().with_content_type(batch::MEDIA_TYPE.into());
        for body in ["[]", "{}", "", "[{}", "[{}] []"] {
            assert!(unpack(&bare, body).is_err(), "{body}");
        }
        let elements = unpack(&bare, r#"[1, {}, {"specversion": "1.0"}]"#).expect("an array");
        assert!(elements.iter().all(Result::is_err));
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
