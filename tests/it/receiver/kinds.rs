//! Each kind of source as its configuration makes it: who is taken for it, and what its bodies say.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use keyferry::config;
use keyferry::domain::{Event, Fact, Person};
use keyferry::receiver::Source;
use keyferry::receiver::parse::Item;
use keyferry::receiver::verify::Refusal;
use serde_json::Value;

use super::{SECRET, fixture, sent_at};

/// The sources of a configuration file, or everything that is wrong with it.
fn configured(file: &str) -> Result<Vec<Source>, String> {
    let environment = BTreeMap::from([("OLD_SECRET".to_owned(), "the-old-origo-secret".to_owned())]);
    config::senders(&environment, Some(file)).map(|senders| senders.sources).map_err(|problems| problems.to_string())
}

fn one(file: &str) -> Source {
    let [source] = configured(file).expect("a good configuration").try_into().expect("one source");
    source
}

fn headers<const N: usize>(pairs: [(&'static str, &str); N]) -> HeaderMap {
    let pair = |(name, value): (&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
    };
    pairs.into_iter().map(pair).collect()
}

fn read(source: &Source, headers: &HeaderMap, body: &str) -> Vec<Item> {
    let delivery = source.verify(headers, Bytes::copy_from_slice(body.as_bytes()), sent_at()).expect("genuine");
    let texts = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()));
    source.read(&delivery, sent_at(), &texts.collect())
}

fn events(items: Vec<Item>) -> Vec<Event> {
    items.into_iter().map(|item| item.event.expect("readable")).collect()
}

const ORIGO: &str = r#"
    [[sources]]
    name = "origo"
    kind = "hid-origo"
    header = "X-Origo-Secret"
    secrets = [{ name = "old", env = "OLD_SECRET" }, { name = "2026-03", value = "the new, longer origo secret" }]
    batch_max = 3
"#;

fn origo_event(id: &str, source: &str, kind: &str, status: &str) -> String {
    format!(
        r#"{{"specversion": "1.0", "type": "com.origo.mi.{kind}", "source": "{source}", "id": "{id}",
            "time": "2026-03-01T10:40:00.000Z", "data": {{"userId": "3456", "status": "{status}"}}}}"#
    )
}

fn alias() -> Person {
    Person::Alias { source: "origo".to_owned(), id: "3456".to_owned() }
}

#[test]
fn a_batch_of_origos_is_read_item_by_item() {
    let source = one(ORIGO);
    let proven = headers([("x-origo-secret", "the-old-origo-secret")]);
    let active = origo_event("1", "//a", "endpoint", "ENDPOINT_ACTIVE");
    let issued = origo_event("1", "//b", "credential", "CREDENTIAL_ISSUED");
    let items = read(&source, &proven, &format!(r#"[{active}, {{"id": 7, "id": 8}}, {issued}]"#));
    let [active_item, broken, issued_item] = items.try_into().expect("three items");

    let active_event = active_item.event.expect("readable");
    let phone = Fact::PhoneRegistered { person: alias(), device_id: None, device_type: None };
    assert_eq!((active_event.fact, active_item.body), (phone, Bytes::from(active.clone())));
    let issued_event = issued_item.event.expect("readable");
    assert_eq!(issued_event.fact, Fact::KeyReported { person: alias() });
    assert_ne!(active_event.event_id, issued_event.event_id, "one id at two sources is two events");
    assert!(broken.event.is_err());
    assert_eq!(broken.body, r#"{"id": 7, "id": 8}"#, "its own bytes are put aside");

    // The same event is the same in whatever way it comes.
    let [single] = events(read(&source, &proven, &active)).try_into().expect("one");
    assert_eq!(single.event_id, active_event.event_id);
    let binary = headers([
        ("x-origo-secret", "the-old-origo-secret"),
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "//a"),
        ("ce-type", "com.origo.mi.endpoint"),
        ("ce-time", "2026-03-01T10:40:00.000Z"),
    ]);
    let data = r#"{"userId": 3456, "status": "ENDPOINT_ACTIVE"}"#;
    assert_eq!(events(read(&source, &binary, data)), [single]);
}

#[test]
fn what_origo_sends_besides_is_ignored_or_put_aside_whole() {
    let source = one(ORIGO);
    let proven = headers([("x-origo-secret", "the new, longer origo secret")]);
    for (kind, status) in [("invitation", "INVITATION_ACKNOWLEDGED"), ("endpoint", "ENDPOINT_TERMINATED")] {
        let [event] = events(read(&source, &proven, &origo_event("1", "//a", kind, status))).try_into().expect("one");
        assert_eq!(event.fact, Fact::Other, "{status}");
    }
    assert_eq!(read(&source, &proven, "[]"), []);
    let four = format!("[{}]", ["{}"; 4].join(","));
    for whole in ["", "[", "[1,", "\"text\"", "7", four.as_str()] {
        let [item] = read(&source, &proven, whole).try_into().expect("one item");
        assert!(item.event.is_err() && item.body == whole, "{whole}");
    }
}

#[test]
fn a_shared_secret_is_the_whole_header() {
    let source = one(ORIGO);
    let verify = |headers: &HeaderMap| source.verify(headers, Bytes::new(), sent_at());
    let named = |value| verify(&headers([("x-origo-secret", value)])).map(|it| it.proof().secret().to_string());
    assert_eq!(named("the-old-origo-secret"), Ok("old".to_owned()));
    assert_eq!(named("the new, longer origo secret"), Ok("2026-03".to_owned()));
    for wrong in
        ["", "the-old-origo-secre", "the-old-origo-secrets", "The-old-origo-secret", "Bearer the-old-origo-secret"]
    {
        assert_eq!(named(wrong), Err(Refusal::SignatureWrong), "{wrong}");
    }
    assert_eq!(verify(&HeaderMap::new()).expect_err("nothing"), Refusal::SignatureMissing);
    let mut twice = headers([("x-origo-secret", "the-old-origo-secret")]);
    twice.append("x-origo-secret", HeaderValue::from_static("the-old-origo-secret"));
    assert_eq!(verify(&twice).expect_err("twice"), Refusal::HeaderRepeated);
}

const GITHUB: &str = r#"
    [[sources]]
    name = "github"
    kind = "hmac"
    header = "X-Hub-Signature-256"
    prefix = "sha256="
    secrets = ["It's a Secret to Everybody"]
    [sources.pointers]
    id = "header:X-GitHub-Delivery"
    type = "/action"
    time = "/at"
    alias = "/member/id"
    device_id = "/phones/0/id"
    [sources.types]
    added = "phone.registered"
"#;

#[test]
fn an_hmac_of_githubs_kind_is_checked_and_its_pointers_followed() {
    let source = one(GITHUB);
    let body = r#"{"action": "added", "at": 1772361600, "member": {"id": 77}, "phones": [{"id": "p1"}]}"#;
    let signed: HeaderMap = source.sign("d-1", sent_at(), body.as_bytes()).expect("it can sign").into_iter().collect();
    assert!(signed["x-hub-signature-256"].to_str().expect("ASCII").starts_with("sha256="));
    let [event] = events(read(&source, &signed, body)).try_into().expect("one");
    assert_eq!((event.event_id.as_str(), event.occurred_at.as_second()), ("d-1", 1_772_361_600));
    let person = Person::Alias { source: "github".to_owned(), id: "77".to_owned() };
    assert_eq!(event.fact, Fact::PhoneRegistered { person, device_id: Some("p1".to_owned()), device_type: None });

    let verdict = |headers: &HeaderMap, body: &str| {
        source.verify(headers, Bytes::copy_from_slice(body.as_bytes()), sent_at()).map(drop)
    };
    assert_eq!(verdict(&signed, &body.replace("77", "78")), Err(Refusal::SignatureWrong));
    let value = signed["x-hub-signature-256"].to_str().expect("ASCII").to_owned();
    for (spoilt, expected) in [
        (value.replace("sha256=", "sha1="), Refusal::SignatureMalformed),
        (value.replace("sha256=", ""), Refusal::SignatureMalformed),
        (value[..value.len() - 2].to_owned(), Refusal::SignatureMalformed),
        (format!("sha256={}", "0".repeat(64)), Refusal::SignatureWrong),
    ] {
        let mut headers = signed.clone();
        headers.insert("x-hub-signature-256", spoilt.parse().expect("a value"));
        assert_eq!(verdict(&headers, body), Err(expected), "{spoilt}");
    }
    let mut nameless = signed;
    nameless.remove("x-github-delivery");
    assert_eq!(verdict(&nameless, body), Err(Refusal::IdMissing));
}

#[test]
fn a_signed_timestamp_must_be_recent() {
    let file = GITHUB.replace(
        "prefix = \"sha256=\"",
        "algorithm = \"sha512\"\nencoding = \"base64\"\ntimestamp_header = \"X-Time\"",
    );
    let source = one(&file);
    let at = |seconds: i64| keyferry::clock::add(sent_at(), jiff::SignedDuration::from_secs(seconds));
    let signed: HeaderMap = source.sign("d-1", sent_at(), b"{}").expect("it can sign").into_iter().collect();
    let verdict = |headers: &HeaderMap, seconds| source.verify(headers, "{}".into(), at(seconds)).map(drop);
    assert_eq!((verdict(&signed, 300), verdict(&signed, 301)), (Ok(()), Err(Refusal::TooOld)));
    let mut moved = signed;
    moved.insert("x-time", at(301).as_second().into());
    assert_eq!(verdict(&moved, 301), Err(Refusal::SignatureWrong), "the time is under the signature");
}

#[test]
fn an_ed25519_signature_counts_with_its_public_key_and_under_its_own_version() {
    let vectors: Value = serde_json::from_str(&fixture("vectors.json")).expect("JSON");
    let key = vectors["ed25519"]["public_key"].as_str().expect("a key");
    let file = |keys: &str| format!("[[sources]]\nname = \"app\"\nkind = \"standard\"\n{keys}");
    let public = one(&file(&format!("public_keys = [\"{key}\"]")));
    let both = one(&file(&format!("public_keys = [\"{key}\"]\nsecrets = [\"{SECRET}\"]")));
    let secret = one(&file(&format!("secrets = [\"{SECRET}\"]")));

    let recorded = &vectors["headers_hmac_and_ed25519"];
    let value = recorded["svix-signature"].as_str().expect("signatures");
    let (v1, v1a) = value.split_once(' ').expect("two signatures");
    let verdict = |source: &Source, signature: &str| {
        let headers = headers([
            ("svix-id", recorded["svix-id"].as_str().expect("an id")),
            ("svix-timestamp", recorded["svix-timestamp"].as_str().expect("a time")),
            ("svix-signature", signature),
        ]);
        let body = Bytes::from(vectors["body"].as_str().expect("a body").to_owned());
        source.verify(&headers, body, sent_at()).map(|delivery| delivery.proof().secret().to_string())
    };
    assert_eq!(verdict(&public, v1a), Ok("public-1".to_owned()));
    assert_eq!(verdict(&public, value), Ok("public-1".to_owned()));
    assert_eq!((verdict(&both, v1), verdict(&both, v1a)), (Ok("1".to_owned()), Ok("public-1".to_owned())));
    assert_eq!(verdict(&secret, v1a), Err(Refusal::SignatureMalformed), "there is no key for it");
    assert_eq!(verdict(&public, v1), Err(Refusal::SignatureWrong), "a MAC proves nothing to a public key");
    assert_eq!(verdict(&both, &v1a.replace("v1a,", "v1,")), Err(Refusal::SignatureMalformed));
    assert_eq!(verdict(&both, &v1.replace("v1,", "v1a,")), Err(Refusal::SignatureMalformed));
    assert_eq!(verdict(&public, &[v1a; 5].join(" ")), Err(Refusal::TooManySignatures));
}

#[test]
fn secrets_stand_in_the_file_in_the_environment_or_in_files_of_their_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\r\n")).expect("written");
    let file = format!(
        "[[sources]]\nname = \"app\"\nkind = \"standard\"\nsecrets = [{{ name = \"mounted\", file = \"{}\" }}]",
        path.display()
    );
    let signed: HeaderMap = one(&file).sign("msg_1", sent_at(), b"{}").expect("it can sign").into_iter().collect();
    assert!(one(&file).verify(&signed, "{}".into(), sent_at()).is_ok());
    std::fs::remove_file(&path).expect("removed");
    assert!(configured(&file).expect_err("no file").contains("cannot be read"));
}

#[test]
fn every_mistake_in_a_source_is_said() {
    let app = |rest: &str| format!("[[sources]]\nname = \"app\"\nkind = \"standard\"\n{rest}");
    let cases = [
        (ORIGO.replace("header = \"X-Origo-Secret\"", ""), "`header` is missing"),
        (ORIGO.replace("X-Origo-Secret", "X Origo"), "not a header's name"),
        (ORIGO.replace("OLD_SECRET", "NO_SUCH"), "the variable NO_SUCH is not set"),
        (ORIGO.replace("2026-03\"", "old\""), "two secrets are named `old`"),
        (ORIGO.replace("2026-03", "März"), "a secret's name is"),
        (ORIGO.replace("batch_max = 3", "batch_max = 0"), "`batch_max` must be at least 1"),
        (ORIGO.replace("batch_max = 3", "prefix = \"x\""), "`prefix` has no meaning for a source of kind hid-origo"),
        (GITHUB.replace("\"/action\"", "\"action\""), "`pointers.type` is no place"),
        (GITHUB.replace("\"/action\"", "\"/a~2\""), "`pointers.type` is no place"),
        (GITHUB.replace("prefix =", "signed = \"{timestamp}.{body}\"\nprefix ="), "`timestamp_header` must say"),
        (GITHUB.replace("prefix =", "signed = \"{id}.{body}\"\nprefix ="), "must contain {body} once"),
        (GITHUB.replace("\"It's a Secret to Everybody\"", "\"short\""), "8 to 512 bytes"),
        (GITHUB[..GITHUB.find("[sources.pointers]").expect("there")].to_owned(), "`[sources.pointers]` is missing"),
        (app(""), "needs at least one secret"),
        (app(&format!("secrets = [{{ value = \"{SECRET}\", env = \"OLD_SECRET\" }}]")), "exactly one of"),
        (app("public_keys = [\"whsk_AAAA\"]"), "it belongs to the sender alone"),
    ];
    for (file, expected) in cases {
        let said = configured(&file).expect_err(expected);
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
        assert!(!said.contains("MfKQ9r8G") && !said.contains("origo secret"), "{said}");
    }
}
