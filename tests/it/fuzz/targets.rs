//! What must hold for any bytes at all.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::ManualClock;
use keyferry::config;
use keyferry::domain::PlanSpec;
use keyferry::queue::envelope::{decode, encode};
use keyferry::receiver::parse::{Headers, Item};
use keyferry::receiver::verify::Secret;
use keyferry::receiver::{Kind, Source};
use keyferry::sandbox::{Sandbox, Settings};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use tower::ServiceExt as _;

use super::oracle::{self, Verdict};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID_BYTES_MAX: usize = 256;
/// As the test's source of batches is configured.
const ITEMS_MAX: usize = 5;

pub(super) const JSON_WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "null",
    "true",
    "0",
    "-1",
    "1e400",
    "1.5",
    "\\u0000",
    "\\ud83d",
    "\\ude00",
    "\u{feff}",
    "\u{202e}",
    "\"event_id\":\"e1\"",
    "\"event_type\":\"phone.registered\"",
    "\"occurred_at\":\"2026-03-01T10:40:00Z\"",
    "\"user_identity_id\":\"u\"",
    "\"device_id\":null",
    "\"specversion\":\"1.0\"",
    "\"id\":\"1\"",
    "\"source\":\"//a\"",
    "\"type\":\"com.origo.mi.endpoint\"",
    "\"time\":\"2026-03-01T10:40:00Z\"",
    "\"data\":{\"userId\":3456,\"status\":\"ENDPOINT_ACTIVE\"}",
    "\"acs_user_id\":\"a\"",
    "\"access_method\":\"code\"",
    "\"code\":\"1234\"",
    "\"ends_at\":\"2099-01-01T00:00:00Z\"",
    "\"aliases\":{\"origo\":\"3456\"}",
    "\"allowed_acs_entrance_ids\":[\"d\"]",
    "\"visionline_metadata\":{\"override\":true}",
    "\"\\u0065vent_id\":\"e2\"",
];

pub(super) const ENVELOPE_WORDS: [&str; 16] = [
    "cloudEvents_specversion: 1.0\n",
    "cloudEvents:id: e1\n",
    "cloudEvents_id: e1\n",
    "cloudEvents_type: phone.registered\n",
    "cloudEvents_source: /webhooks/app\n",
    "cloudEvents_time: 2026-03-01T10:40:00Z\n",
    "cloudEvents_keyferrydelivery: msg_1\n",
    "cloudEvents_keyferryreceived: 2026-03-01T10:40:01Z\n",
    "cloudEvents_keyferryfact: {\"fact\":\"other\"}\n",
    "cloudEvents_keyferryfact: {\"fact\":\"phone_deactivated\",\"device_id\":\"d\"}\n",
    "cloudEvents_keyferrywhy: it is empty\n",
    "cloudEvents_keyferryheaders: {}\n",
    "cloudEvents_type: keyferry.delivery.unreadable\n",
    "\n\n",
    "/webhooks/../",
    "\u{0}",
];

pub(super) const QUERY_WORDS: [&str; 24] = [
    "/acs/credentials/list",
    "/phones/list",
    "/acs/entrances/list",
    "/events/list",
    "/user_identities/get",
    "/_sandbox/world",
    "?",
    "&",
    "=",
    "%",
    "%00",
    "%ff",
    "[]",
    ",",
    "_strict=true",
    "limit=5",
    "limit=-1",
    "page_cursor=x",
    "acs_user_id=",
    "user_identity_id=00000000-0000-4000-8000-000000000000",
    "since=2026-03-01T10:40:00Z",
    "user_identity_key=jane_doe",
    "between[]=1",
    "is_multi_phone_sync_credential=yes",
];

fn now() -> Timestamp {
    Timestamp::from_second(1_772_361_605).expect("a time")
}

/// What a source reads in a body that it has signed.
fn read(source: &Source, body: &[u8]) -> Vec<Item> {
    let signed = source.sign("msg_1", now(), body).expect("it can sign");
    let headers: HeaderMap = signed.into_iter().collect();
    let delivery = source.verify(&headers, Bytes::copy_from_slice(body), now()).expect("genuine");
    let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
    let headers: Headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    source.read(&delivery, now(), &headers)
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control)
}

/// A body is read only where it is well-formed, and then says what `serde_json` says that it says; nothing in it makes
/// the reader say that a well-formed one is not.
pub(crate) fn body(data: &[u8]) {
    for kind in [Kind::Standard, Kind::Seam] {
        let secret = Secret::parse(SECRET).expect("a secret");
        let source = Source::new("app", kind, vec![secret], SignedDuration::ZERO).expect("a source");
        let [item] = read(&source, data).try_into().expect("one body, one item");
        assert_eq!((item.delivery_id.as_str(), item.body.as_ref()), ("msg_1", data));
        let document = oracle::document(data);
        match item.event {
            Ok(event) => {
                let said: Value = serde_json::from_slice(data).expect("what is read is JSON");
                assert_eq!(
                    (&said["event_id"], &said["event_type"]),
                    (&event.event_id.as_str().into(), &event.event_type.as_str().into())
                );
                assert!(is_id(&event.event_id) && event.occurred_at >= Timestamp::UNIX_EPOCH);
                assert!(!matches!(document, Verdict::Unclear), "read, although it is not well-formed");
            }
            Err(unreadable) => {
                let is_object = matches!(document, Verdict::Clear(Value::Object(_)));
                let why = unreadable.why;
                assert!(!is_object || !why.starts_with("The body"), "well-formed, and yet: {why}");
            }
        }
    }
}

/// Each item of a well-formed batch is read or put aside with its bytes, whatever its neighbours are.
pub(crate) fn cloud_events(data: &[u8]) {
    static ORIGO: OnceLock<Source> = OnceLock::new();
    let origo = ORIGO.get_or_init(|| {
        let file = format!(
            "[[sources]]\nname = \"origo\"\nkind = \"hid-origo\"\nheader = \"X-Origo-Secret\"\n\
             secrets = [\"a-secret-of-origo\"]\nbatch_max = {ITEMS_MAX}\n"
        );
        let senders = config::senders(&BTreeMap::new(), Some(&file)).expect("a good configuration");
        senders.sources.into_iter().next().expect("one source")
    });
    let items = read(origo, data);
    assert!((0..=ITEMS_MAX).contains(&items.len()), "{} items", items.len());
    let whole: Option<Vec<&serde_json::value::RawValue>> = serde_json::from_slice(data).ok();
    if let Some(batch) = whole.filter(|batch| batch.len() <= ITEMS_MAX && data.trim_ascii_start().starts_with(b"[")) {
        let bodies: Vec<&[u8]> = items.iter().map(|item| item.body.as_ref()).collect();
        assert_eq!(bodies, batch.iter().map(|item| item.get().as_bytes()).collect::<Vec<_>>());
    }
    for item in items {
        assert!(!item.delivery_id.is_empty());
        if let Ok(event) = item.event {
            assert!(is_id(&event.event_id) && event.event_id.contains('@'), "{}", event.event_id);
            assert!(!matches!(oracle::document(&item.body), Verdict::Unclear), "read, although it is not well-formed");
        }
    }
}

/// Attributes as lines, an empty line, a body. A message is ours or refused; what is ours is the same after another way
/// over the bus.
pub(crate) fn envelope(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let mut headers = FieldTable::default();
    for line in data[..end].split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let Some((name, value)) = text.split_once(": ") else { continue };
        if name.len() <= 255 {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
    }
    let body = data.get(end + 2..).unwrap_or_default().to_vec();
    let properties = BasicProperties::default().with_headers(headers);
    if let Ok(envelope) = decode(&properties, body) {
        let message = encode(&envelope).expect("what came over the bus fits on it");
        assert_eq!(decode(&message.properties, message.body).expect("it is ours"), envelope);
    }
}

/// A plan that can be read says the same when it is written and read again, and can be judged.
pub(crate) fn plan(data: &[u8]) {
    match PlanSpec::from_json(data) {
        Ok(spec) => {
            let written = serde_json::to_vec(&spec).expect("JSON");
            assert_eq!(PlanSpec::from_json(&written).expect("it was readable"), spec);
            assert!(spec.same_but_for_end(&spec));
            let problems = spec.problems("booking-1", now());
            assert!(problems.iter().all(|problem| !problem.field.is_empty() && !problem.reason.is_empty()));
        }
        Err(problem) => assert!(!problem.reason.is_empty()),
    }
}

/// A path and a query of the sandbox get one of Seam's answers, which is JSON where there is such a path, and never a 500.
pub(crate) fn query(data: &[u8]) {
    static ROUTER: OnceLock<(tokio::runtime::Runtime, Router)> = OnceLock::new();
    let Some(uri) = Uri::try_from(data).ok().filter(|uri| uri.path().starts_with('/')) else { return };
    let (runtime, router) = ROUTER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let sandbox = Sandbox::new(Settings::default(), Arc::new(ManualClock::starting_at(now()))).expect("a sandbox");
        (runtime, sandbox.router())
    });
    let key = format!("Bearer {}", Settings::default().api_key);
    let request = Request::get(uri).header("authorization", key).body(Body::empty()).expect("a request");
    let (status, answer) = runtime.block_on(async {
        let response = router.clone().oneshot(request).await.expect("it answers");
        let status = response.status();
        (status, to_bytes(response.into_body(), usize::MAX).await.expect("a body"))
    });
    assert!(!status.is_server_error(), "{status}");
    let is_json = serde_json::from_slice::<Value>(&answer).is_ok();
    assert!(
        is_json || status == StatusCode::NOT_FOUND || data.starts_with(b"/_sandbox"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
