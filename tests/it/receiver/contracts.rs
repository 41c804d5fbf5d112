//! The schemas of the kinds `hid-origo` and `hmac` say of a body what the parser says of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use keyferry::config;
use keyferry::receiver::Source;
use keyferry::receiver::parse::{Headers, Item};
use serde_json::{Value, json};

use super::bodies::{load, schema_named};
use super::sent_at;

const ORIGO: &str = r#"
    [[sources]]
    name = "origo"
    kind = "hid-origo"
    header = "X-Origo-Secret"
    secrets = ["the origo secret"]
"#;
/// Each value stands under its own name, as in the schema.
const HMAC: &str = r#"
    [[sources]]
    name = "desk"
    kind = "hmac"
    header = "X-Signature"
    secrets = ["the secret of the desk"]
    [sources.pointers]
    id = "/id"
    type = "/type"
    time = "/time"
    user_identity_id = "/user_identity_id"
    user_identity_key = "/user_identity_key"
    alias = "/alias"
    device_id = "/device_id"
    device_type = "/device_type"
    acs_credential_id = "/acs_credential_id"
"#;

fn source(file: &str) -> Source {
    config::senders(&BTreeMap::new(), Some(file)).expect("a good configuration").sources.remove(0)
}

fn read(source: &Source, body: &Value) -> Vec<Item> {
    let body = Bytes::from(body.to_string());
    let headers: HeaderMap = source.sign("msg_1", sent_at(), &body).expect("it signs").into_iter().collect();
    let delivery = source.verify(&headers, body, sent_at()).expect("genuine");
    source.read(&delivery, sent_at(), &Headers::new())
}

/// Bodies that differ from `base` in the value at one pointer; `None` removes it.
fn variations(base: &Value, places: &[&str], values: &[Option<Value>]) -> Vec<Value> {
    let vary = |place: &str, value: &Option<Value>| {
        let mut body = base.clone();
        let (parent, key) = place.rsplit_once('/').expect("a pointer");
        let object = body.pointer_mut(parent).and_then(Value::as_object_mut)?;
        match value {
            Some(value) => drop(object.insert(key.to_owned(), value.clone())),
            None => drop(object.remove(key)),
        }
        Some(body)
    };
    places.iter().flat_map(|place| values.iter().filter_map(|value| vary(place, value))).collect()
}

fn values() -> Vec<Option<Value>> {
    let mut values = vec![None];
    values.extend(
        [
            json!(null),
            json!(""),
            json!(5),
            json!(-5),
            json!(2.5),
            json!(true),
            json!(["x"]),
            json!({"x": 1}),
            json!("a b"),
            json!("a\u{1b}b"),
            json!("a\u{202e}b"),
            json!("a".repeat(128)),
            json!("a".repeat(129)),
            json!("a".repeat(200)),
            json!("a".repeat(201)),
            json!("a".repeat(256)),
            json!("a".repeat(257)),
            json!("1.0"),
            json!("2026-03-01T10:40:00.000Z"),
            json!("2026-02-30T10:40:00Z"),
            json!("1772361605"),
            json!(1_772_361_605),
            json!(99_999_999_999_i64),
            json!("com.origo.mi.endpoint"),
            json!("com.origo.mi.credential"),
            json!("ENDPOINT_ACTIVE"),
            json!("CREDENTIAL_ISSUED"),
            json!("phone.registered"),
            json!("phone.deactivated"),
            json!("credential.issued"),
        ]
        .map(Some),
    );
    values
}

/// Returns how many of `bodies` do not fit.
fn agree(name: &str, source: &Source, bodies: Vec<Value>) -> usize {
    let schema = schema_named(name);
    let mut refused = 0;
    for body in bodies {
        let [item] = read(source, &body).try_into().expect("one item");
        assert_eq!(item.event.is_ok(), schema.is_valid(&body), "{name} {body}: {:?}", item.event);
        refused += usize::from(item.event.is_err());
    }
    refused
}

#[test]
fn schema_and_parser_agree_on_what_origo_sends() {
    let places = ["/specversion", "/id", "/source", "/type", "/time", "/data", "/data/status", "/data/userId"];
    let examples = load("hid-origo")["examples"][0].as_array().expect("a batch").clone();
    let bodies = examples.iter().flat_map(|event| variations(event, &places, &values())).collect();
    let refused = agree("hid-origo", &source(ORIGO), bodies);
    assert!(refused > 200, "the table has bite: {refused}");
}

#[test]
fn schema_and_parser_agree_on_what_pointers_find() {
    let places = [
        "/id",
        "/type",
        "/time",
        "/user_identity_id",
        "/user_identity_key",
        "/alias",
        "/device_id",
        "/device_type",
        "/acs_credential_id",
    ];
    let registered = load("hmac")["examples"][0].clone();
    let mut by_all = registered.clone();
    (by_all["user_identity_id"], by_all["user_identity_key"]) = (json!("u1"), json!("jane"));
    let mut by_key = by_all.clone();
    by_key["user_identity_id"] = Value::Null;
    let deactivated =
        json!({"id": "d-2", "type": "phone.deactivated", "time": "2026-03-01T10:40:00Z", "device_id": "p1"});
    let issued = json!({"id": "d-3", "type": "credential.issued", "time": "1772361605", "acs_credential_id": "c1"});
    let bases = [registered, by_all, by_key, deactivated, issued];
    let bodies = bases.iter().flat_map(|base| variations(base, &places, &values())).collect();
    let refused = agree("hmac", &source(HMAC), bodies);
    assert!(refused > 200, "the table has bite: {refused}");
}

#[test]
fn the_examples_are_readable_and_so_is_what_origo_is_known_to_send() {
    let (origo, batch) = (source(ORIGO), schema_named("hid-origo"));
    let recorded = super::fixture("hid-origo/batch.endpoint_active_then_credential_issued.json");
    let recorded: Value = serde_json::from_str(&recorded).expect("JSON");
    assert!(batch.is_valid(&recorded) && read(&origo, &recorded).iter().all(|item| item.event.is_ok()));
    let example = &load("hid-origo")["examples"][0];
    assert!(batch.is_valid(example) && read(&origo, example).iter().all(|item| item.event.is_ok()));
    let example = &load("hmac")["examples"][0];
    assert!(schema_named("hmac").is_valid(example) && read(&source(HMAC), example)[0].event.is_ok());
}
