//! What a proven body says, and that the published schemas say the same.

use bytes::Bytes;
use http::HeaderMap;
use jsonschema::{Registry, Validator};
use keyferry::domain::{Event, Fact, Person};
use keyferry::receiver::parse::{Headers, Unreadable};
use keyferry::receiver::verify::standard_webhooks::sign;
use keyferry::receiver::{Kind, Source};
use serde_json::{Value, json};

use super::{SECRET, TOLERANCE, fixture, secret, sent_at};

fn read(kind: Kind, body: impl AsRef<[u8]>) -> Result<Event, Unreadable> {
    let (body, family) = (Bytes::copy_from_slice(body.as_ref()), kind.family());
    let signature = sign(&secret(SECRET), "msg_1", sent_at(), &body);
    let headers = HeaderMap::from_iter([
        (family.id(), "msg_1".parse().expect("a value")),
        (family.timestamp(), sent_at().as_second().into()),
        (family.signature(), signature.parse().expect("a value")),
    ]);
    let source = Source::new("seam", kind, vec![secret(SECRET)], TOLERANCE).expect("a good source");
    let delivery = source.verify(&headers, body, sent_at()).expect("a good signature");
    let items = source.read(&delivery, sent_at(), &Headers::new());
    let [item] = items.try_into().expect("one item");
    item.event
}

fn why(kind: Kind, body: impl AsRef<[u8]>) -> String {
    read(kind, body).expect_err("an unreadable body").why
}

fn schema(kind: Kind) -> Validator {
    schema_named(kind.as_str())
}

/// A published schema, as it stands.
pub(super) fn load(name: &str) -> Value {
    let path = format!("{}/schemas/webhook/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a schema")).expect("JSON")
}

pub(super) fn schema_named(name: &str) -> Validator {
    let registry = Registry::new()
        .add("https://keyferry.invalid/schemas/webhook/standard.json", load("standard"))
        .expect("a resource")
        .prepare()
        .expect("a registry");
    jsonschema::options().with_registry(&registry).should_validate_formats(true).build(&load(name)).expect("a schema")
}

/// A Seam event of this type, from the recorded ones.
fn event(name: &str) -> Value {
    serde_json::from_str(&fixture(&format!("seam/{name}.json"))).expect("JSON")
}

#[test]
fn seams_events_are_read_and_fit_the_schema() {
    let credential = |id: &str| Fact::CredentialChanged { acs_credential_id: id.to_owned() };
    let cases = [
        ("acs_credential.issued", credential("77777777-0000-4000-8000-777777777777")),
        ("acs_credential.reissued", credential("66666666-0000-4000-8000-666666666666")),
        ("acs_credential.invalidated", credential("77777777-0000-4000-8000-777777777777")),
        ("acs_credential.deleted", credential("66666666-0000-4000-8000-666666666666")),
        (
            "access_method.issued",
            Fact::AccessMethodIssued { access_method_id: "babababa-0000-4000-8000-babababababa".to_owned() },
        ),
        ("acs_user.deleted", Fact::AcsUserDeleted { acs_user_id: "44444444-0000-4000-8000-444444444444".to_owned() }),
        (
            "enrollment_automation.deleted",
            Fact::EnrollmentAutomationDeleted {
                enrollment_automation_id: "dddddddd-0000-4000-8000-dddddddddddd".to_owned(),
            },
        ),
        ("phone.deactivated", Fact::PhoneDeactivated { device_id: "88888888-0000-4000-8000-888888888888".to_owned() }),
        ("access_grant.created", Fact::Other),
        ("acs_system.disconnected", Fact::Other),
        ("connected_account.connected", Fact::Other),
    ];
    let schema = schema(Kind::Seam);
    for (event_type, fact) in cases {
        let body = event(event_type);
        assert!(schema.is_valid(&body), "{event_type} fits the schema");
        let expected = Event {
            source: "seam".to_owned(),
            event_id: body["event_id"].as_str().expect("an id").to_owned(),
            event_type: event_type.to_owned(),
            occurred_at: "2026-03-01T10:40:05.356Z".parse().expect("a timestamp"),
            fact,
        };
        assert_eq!(read(Kind::Seam, fixture(&format!("seam/{event_type}.json"))), Ok(expected));
    }
}

#[test]
fn the_customers_events_are_read() {
    let common = json!({"event_id": "e1", "event_type": "phone.registered", "occurred_at": "2026-03-01T10:40:00Z"});
    let fact = |more: Value| {
        let mut body = common.clone();
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        read(Kind::Standard, body.to_string()).expect("readable").fact
    };
    let registered = |person, device_id: Option<&str>, device_type: Option<&str>| Fact::PhoneRegistered {
        person,
        device_id: device_id.map(str::to_owned),
        device_type: device_type.map(str::to_owned),
    };
    let by_id = || Person::UserIdentityId("u1".to_owned());
    assert_eq!(
        fact(json!({"user_identity_id": "u1", "device_id": "d1", "device_type": "ios_phone"})),
        registered(by_id(), Some("d1"), Some("ios_phone")),
    );
    assert_eq!(fact(json!({"user_identity_id": "u1", "user_identity_key": "jane"})), registered(by_id(), None, None));
    assert_eq!(
        fact(json!({"user_identity_key": "jane", "user_identity_id": null, "device_id": null})),
        registered(Person::UserIdentityKey("jane".to_owned()), None, None),
    );
    assert_eq!(
        fact(json!({"event_type": "phone.deactivated", "device_id": "d1"})),
        Fact::PhoneDeactivated { device_id: "d1".to_owned() },
    );
    assert_eq!(
        fact(json!({"event_type": "credential.issued", "acs_credential_id": "c1"})),
        Fact::CredentialChanged { acs_credential_id: "c1".to_owned() },
    );
    assert_eq!(fact(json!({"event_type": "acs_credential.issued"})), Fact::Other, "that one is Seam's to say");
}

/// Bodies that differ in one field from a good one; `None` removes it.
fn variations() -> Vec<(Kind, Value)> {
    let wrong_ids = [
        None,
        Some(Value::Null),
        Some(json!("")),
        Some(json!(5)),
        Some(json!(true)),
        Some(json!(["x"])),
        Some(json!({"x": 1})),
        Some(json!("a\u{1b}b")),
        Some(json!("a\u{202e}b")),
        Some(json!("a\u{85}b")),
        Some(json!("a".repeat(256))),
        Some(json!("a".repeat(257))),
        Some(json!("Zimmer 12 · früh")),
    ];
    let types =
        ["", "Phone.Registered", "phone registered", "phone/registered", "x.y_z2"].map(|text| Some(json!(text)));
    let types = types.into_iter().chain([Some(json!("a".repeat(128))), Some(json!("a".repeat(129))), None]);
    let times = ["2026-02-30T10:40:00Z", "2026-03-01", "1969-12-31T23:59:59Z", "2026-03-01T10:40:00+01:00", "soon"];
    let times = times.map(|text| Some(json!(text))).into_iter().chain([Some(json!(1_772_361_605)), None]);

    let mut fields: Vec<(&str, Option<Value>)> = Vec::new();
    for id in [
        "event_id",
        "acs_credential_id",
        "access_method_id",
        "acs_user_id",
        "device_id",
        "device_type",
        "enrollment_automation_id",
        "user_identity_id",
        "user_identity_key",
    ] {
        fields.extend(wrong_ids.iter().map(|value| (id, value.clone())));
    }
    fields.extend(types.map(|value| ("event_type", value)));
    fields.extend(times.map(|value| ("occurred_at", value)));

    let registered = json!({"event_id": "e1", "event_type": "phone.registered", "occurred_at": "2026-03-01T10:40:00Z",
        "user_identity_id": "u1", "device_id": "d1"});
    let by_key = json!({"event_id": "e1", "event_type": "phone.registered", "occurred_at": "2026-03-01T10:40:00Z",
        "user_identity_key": "jane"});
    let issued = json!({"event_id": "e1", "event_type": "credential.issued", "occurred_at": "2026-03-01T10:40:00Z",
        "acs_credential_id": "c1"});
    let seams = [
        "acs_credential.issued",
        "access_method.issued",
        "acs_user.deleted",
        "phone.deactivated",
        "enrollment_automation.deleted",
        "access_grant.created",
    ];
    let bases =
        [registered, by_key, issued].into_iter().flat_map(|base| [(Kind::Standard, base.clone()), (Kind::Seam, base)]);
    let bases = bases.chain(seams.into_iter().map(|name| (Kind::Seam, event(name))));

    let vary = |(kind, base): (Kind, Value)| {
        fields.clone().into_iter().map(move |(field, value)| {
            let mut body = base.clone();
            let object = body.as_object_mut().expect("an object");
            match value {
                Some(value) => drop(object.insert(field.to_owned(), value)),
                None => drop(object.remove(field)),
            }
            (kind, body)
        })
    };
    bases
        .flat_map(vary)
        .chain([(Kind::Seam, json!({})), (Kind::Seam, json!([])), (Kind::Standard, json!("x"))])
        .collect()
}

#[test]
fn schema_and_parser_agree() {
    let (seam, standard) = (schema(Kind::Seam), schema(Kind::Standard));
    let mut refused = 0;
    for (kind, body) in variations() {
        let schema = if kind == Kind::Seam { &seam } else { &standard };
        let verdict = read(kind, body.to_string());
        assert_eq!(verdict.is_ok(), schema.is_valid(&body), "{kind:?} {body}: {verdict:?}");
        refused += usize::from(verdict.is_err());
    }
    assert!(refused > 300, "the table has bite: {refused}");
}

#[test]
fn the_schemas_examples_are_readable() {
    let path = format!("{}/schemas/webhook/standard.json", env!("CARGO_MANIFEST_DIR"));
    let text: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a schema")).expect("JSON");
    for example in text["examples"].as_array().expect("examples") {
        assert!(schema(Kind::Standard).is_valid(example));
        assert!(matches!(
            read(Kind::Standard, example.to_string()).expect("readable").fact,
            Fact::PhoneRegistered { .. }
        ));
    }
}

const GOOD: &str = r#"{"event_id":"e1","event_type":"a.b","occurred_at":"2026-03-01T10:40:00Z"}"#;

#[test]
fn what_is_no_single_json_object_is_named_without_being_repeated() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".into(), "The body is empty."),
        (b" \n".into(), "The body is nothing but white space."),
        (format!("\u{feff}{GOOD}").into(), "The body begins with a byte order mark."),
        (GOOD.encode_utf16().flat_map(u16::to_be_bytes).collect(), "no value at byte 0"),
        (b"[1]".into(), "The body is not a JSON object."),
        (b"\"hunter2\"".into(), "The body is not a JSON object."),
        (b"{\"event_id\":\"\xc0\xaf\"}".into(), "The body is not UTF-8: byte 13 is wrong."),
        (format!("{GOOD}{GOOD}").into(), "something follows the end"),
        (format!("{GOOD} x").into(), "something follows the end"),
        (GOOD[..40].into(), "the body ends too early"),
        (GOOD.replace("e1", r"\ud800").into(), "half a surrogate pair"),
        (GOOD.replace("e1", "a\u{1}b").into(), "a control character"),
        (GOOD.replace("e1", r"a\u0000b").into(), "a NUL"),
        (GOOD.replace("e1", r"a\u001bb").into(), "`event_id` contains a control character"),
        (GOOD.replace("e1", "a\u{202e}b").into(), "`event_id` contains a control character"),
        (GOOD.replace('}', r#","event_id":"e2"}"#).into(), "a key twice"),
        (GOOD.replace('}', r#","event\u005fid":"e2"}"#).into(), "a key twice"),
        (GOOD.replace('}', ",}").into(), "no key"),
        (GOOD.replace("\"e1\"", "NaN").into(), "no value"),
        (GOOD.replace("\"e1\"", "1e400").into(), "a number out of range"),
        (GOOD.replace("\"e1\"", "12345678901234567890123").into(), "`event_id` is a number, not a string."),
        (GOOD.replace("\"e1\"", "{\"hunter2\":[]}").into(), "`event_id` is an object, not a string."),
        (GOOD.replace("\"e1\"", "[\"hunter2\"]").into(), "`event_id` is an array, not a string."),
        (GOOD.replace("a.b", "hunter2!").into(), "`event_type` is not"),
        (GOOD.replace("2026", "hunter2").into(), "`occurred_at` is not an RFC 3339 time"),
    ];
    for (body, expected) in cases {
        let why = why(Kind::Seam, &body);
        assert!(why.contains(expected), "{}: {why}", String::from_utf8_lossy(&body));
        assert!(!why.contains("hunter2"), "{why}");
    }
    assert_eq!(read(Kind::Seam, format!("\r\n\t {GOOD} \n")).map(|event| event.fact), Ok(Fact::Other));
    let escaped = GOOD.replace("e1", r"\u0065\u0031");
    assert_eq!(read(Kind::Seam, escaped).map(|event| event.event_id), Ok("e1".to_owned()));
}

#[test]
fn a_deep_or_wide_body_is_put_aside_before_anything_is_read() {
    let more = |rest: String| GOOD.replace('}', &format!(",\"rest\":{rest}}}"));
    let keys = |count: usize| (0..count).map(|key| format!("\"k{key}\":{key}")).collect::<Vec<_>>().join(",");
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(Kind::Seam, more(format!("{{{}}}", keys(5000)))).is_ok(), "5,000 keys that nobody reads");
    assert!(why(Kind::Seam, more(format!("{{{}}}", keys(20_000)))).contains("too many values"));
    assert!(read(Kind::Seam, more(nested(60))).is_ok(), "60 levels that nobody reads");
    assert!(why(Kind::Seam, more(nested(100_000))).contains("too many levels"));
    assert!(why(Kind::Seam, more("[".repeat(100_000))).contains("too many levels"));
    assert!(why(Kind::Seam, GOOD.replace("\"e1\"", &nested(100_000))).contains("too many levels"));
    assert!(why(Kind::Seam, more(r#"{"a":{"b":1,"b":1}}"#.to_owned())).contains("a key twice"), "where nobody reads");
}
