//! Every way in which a webhook usually goes wrong is found out from the caught request alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use keyferry::receiver::Roster;
use keyferry::receiver::explain::{Captured, Explanation, Fate, explain};
use keyferry::{clock, config};

use super::{APP_SECRET, OLD_SECRET, SECRET, fixture, sent_at};
use crate::support::process::keyferry;

const BODY: &str = r#"{"event_id":"e-1","event_type":"phone.registered","occurred_at":"2026-03-01T10:40:00.000Z","user_identity_id":"u-1","device_id":"Zoë's/phone"}"#;
const LIMIT: usize = 4096;

fn file() -> String {
    format!(
        r#"
        [[sources]]
        name = "app"
        kind = "standard"
        secrets = [{{ name = "old", value = "{OLD_SECRET}" }}, {{ name = "new", value = "{SECRET}" }}]
        [[sources]]
        name = "other"
        kind = "standard"
        secrets = ["{APP_SECRET}"]
        [[sources]]
        name = "origo"
        kind = "hid-origo"
        header = "X-Origo-Secret"
        secrets = [{{ name = "2026-03", value = "the origo secret" }}]
        [[sources]]
        name = "desk"
        kind = "hmac"
        header = "X-Signature"
        prefix = "sha256="
        secrets = ["0123456789abcdef"]
        pointers = {{ id = "/event_id", type = "/event_type", user_identity_id = "/user_identity_id" }}
        "#
    )
}

fn roster() -> Roster {
    Roster::new(config::senders(&BTreeMap::new(), Some(&file())).expect("a good configuration").sources)
}

/// A request of `source` with this body, as it is caught on its way.
fn sent(source: &str, body: &str) -> (HeaderMap, String) {
    let roster = roster();
    let source = roster.get(source).expect("configured");
    let headers = source.sign("msg_1", sent_at(), body.as_bytes()).expect("it signs");
    (headers.into_iter().collect(), body.to_owned())
}

fn caught((headers, body): &(HeaderMap, String), source: &str) -> String {
    let mut text = format!("POST /webhooks/{source} HTTP/1.1\r\nhost: keys.example\r\n");
    for (name, value) in headers {
        text.extend([name.as_str(), ": ", value.to_str().expect("ASCII"), "\r\n"]);
    }
    format!("{text}\r\n{body}")
}

fn at(seconds: i64) -> Timestamp {
    clock::add(sent_at(), SignedDuration::from_secs(seconds))
}

fn explained(request: &(HeaderMap, String), source: &str) -> Explanation {
    let captured = Captured::parse(caught(request, source).as_bytes(), None).expect("a request");
    explain(&roster(), source, &captured, LIMIT, at(3)).expect("the source exists")
}

/// What is found wrong, as one text.
fn found(request: &(HeaderMap, String), source: &str) -> String {
    let explanation = explained(request, source);
    let findings =
        explanation.findings.iter().map(|it| format!("{} → {}", it.what, it.advice.clone().unwrap_or_default()));
    let text = findings.collect::<Vec<_>>().join("\n");
    for secret in [SECRET, OLD_SECRET, APP_SECRET, "the origo secret", "0123456789abcdef"] {
        assert!(!text.contains(secret.trim_start_matches("whsec_")), "a secret is in {text}");
    }
    text
}

#[test]
fn a_good_request_is_taken_and_its_events_are_told() {
    let explanation = explained(&sent("app", BODY), "app");
    assert_eq!((explanation.status, explanation.refusal, explanation.findings.len()), (202, None, 0));
    assert_eq!((explanation.secret.as_deref(), explanation.sent_at), (Some("old"), Some(sent_at())));
    let [event] = explanation.events.try_into().expect("one");
    assert_eq!((event.fate, event.event_id.as_deref()), (Fate::ActedOn, Some("e-1")));

    let fate = |body: &str| explained(&sent("app", body), "app").events.remove(0);
    assert_eq!(fate(&BODY.replace("phone.registered", "phone.painted")).fate, Fate::Ignored);
    let parked = fate(&BODY.replace("event_id", "id"));
    assert_eq!(parked.fate, Fate::Parked);
    assert!(parked.why.expect("a reason").contains("event_id"));
    assert_eq!(explained(&sent("origo", "[]"), "origo").status, 200, "as HID Origo wants it");
    assert!(
        explain(&roster(), "nobody", &Captured::parse(b"a: b\n\n", None).expect("a request"), LIMIT, at(0)).is_none()
    );
}

#[test]
fn a_wrong_secret_and_whose_it_is() {
    let of_other = sent("other", BODY);
    assert!(found(&of_other, "app").starts_with("the secret is wrong: it is signed with secret `1` of source `other`"));
    let mut of_nobody = sent("app", BODY);
    of_nobody.1 = BODY.replace("u-1", "u-2");
    let explanation = explained(&of_nobody, "app");
    assert_eq!((explanation.status, explanation.refusal), (401, Some("signature_wrong")));
    assert!(found(&of_nobody, "app").starts_with("no secret verifies it: none of this source's (`old`, `new`)"));
    assert_eq!(explanation.events[0].fate, Fate::ActedOn, "its body would be as good as any");

    let mut origo = sent("origo", "[]");
    origo.0.insert("x-origo-secret", "Bearer the origo secret".parse().expect("a value"));
    assert!(found(&origo, "origo").contains("something in front of it"));
    origo.0.insert("x-origo-secret", "another".parse().expect("a value"));
    assert!(found(&origo, "origo").contains("its header holds none of this source's (`2026-03`)"));
}

#[test]
fn a_body_that_was_changed_on_its_way() {
    let python = BODY.replace("\":\"", "\": \"").replace("\",\"", "\", \"").replace('ë', "\\u00eb");
    for (signed, came, expected) in [
        (BODY.to_owned(), format!("{BODY}\n"), "this body without the line break at its end"),
        (format!("{BODY}\n"), BODY.to_owned(), "this body with a line break (LF) at its end"),
        (
            python,
            BODY.to_owned(),
            "this body with one space after each comma and colon, and with `\\u` escapes for all that is not ASCII",
        ),
        (BODY.replace(',', ",\n"), BODY.replace(',', ",\r\n"), "this body with LF where it has CRLF"),
        (
            BODY.to_owned(),
            BODY.replace("Zoë's/", "Zo\\u00eb's\\/"),
            "this body with its characters written as themselves",
        ),
    ] {
        let mut request = sent("app", &signed);
        request.1 = came;
        let found = found(&request, "app");
        assert!(found.contains(expected), "{expected:?} is not in\n{found}");
        assert!(found.contains("with secret `old`"), "{found}");
    }
    // A capture that has more or less than was sent says so itself.
    let mut request = sent("app", BODY);
    request.0.insert("content-length", BODY.len().into());
    request.1 += "\n";
    let explanation = explained(&request, "app");
    assert_eq!(explanation.status, 202);
    assert!(explanation.findings[0].what.contains("1 B behind the body"));
}

#[test]
fn a_clock_that_is_off_by_so_much() {
    let captured = Captured::parse(caught(&sent("app", BODY), "app").as_bytes(), None).expect("a request");
    for (seconds, refusal, expected) in [
        (301, "too_old", "it was signed at 2026-03-01T10:40:05Z, 5m 1s before the moment"),
        (-3600, "too_early", "it was signed at 2026-03-01T10:40:05Z, 1h after the moment"),
    ] {
        let explanation = explain(&roster(), "app", &captured, LIMIT, at(seconds)).expect("the source");
        assert_eq!((explanation.refusal, explanation.secret.as_deref()), (Some(refusal), Some("old")));
        assert!(explanation.findings[0].what.starts_with(expected), "{:?}", explanation.findings);
        assert!(explanation.findings[0].advice.as_ref().is_some_and(|it| it.contains("--at 2026-03-01T10:40:05Z")));
    }
}

#[test]
fn headers_that_are_missing_doubled_or_of_another_kind() {
    let good = sent("app", BODY);
    let with = |change: &dyn Fn(&mut HeaderMap)| {
        let mut request = good.clone();
        change(&mut request.0);
        found(&request, "app")
    };
    let value = |text: &str| text.parse().expect("a value");
    let moved = |headers: &mut HeaderMap, from: &'static str, to: &'static str| {
        let value = headers.remove(from).expect("there");
        headers.insert(to, value);
    };
    let cases: Vec<(String, &str)> = vec![
        (with(&|it| drop(it.remove("webhook-id"))), "it lacks `webhook-id` →"),
        (with(&|it| drop(it.remove("webhook-timestamp"))), "it lacks `webhook-timestamp` →"),
        (with(&|it| drop(it.remove("webhook-signature"))), "it lacks `webhook-signature` →"),
        (with(&|it| moved(it, "webhook-id", "svix-id")), "it has both `svix-*` and `webhook-*` headers"),
        (with(&|it| assert!(it.append("webhook-id", value("msg_2")))), "`webhook-id` stands in it more than once"),
        (with(&|it| drop(it.insert("webhook-id", value("msg.1")))), "has a dot in it"),
        (with(&|it| drop(it.insert("webhook-timestamp", value("1772361605000")))), "in milliseconds"),
        (with(&|it| drop(it.insert("webhook-timestamp", value("2026-03-01T10:40:05Z")))), "a date in words"),
        (with(&|it| drop(it.insert("webhook-timestamp", value("1772361605.5")))), "has a fraction"),
        (
            with(&|it| drop(it.insert("content-encoding", value("gzip")))),
            "its body is compressed (Content-Encoding: gzip)",
        ),
        (with(&|it| drop(it.insert("content-type", value("text/plain")))), "its Content-Type is `text/plain`"),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{expected:?} is not in\n{found}");
    }
    assert!(found(&sent("desk", BODY), "app").starts_with("it is a request of source `desk`"));
    let mut stranger = (HeaderMap::new(), BODY.to_owned());
    stranger.0.insert("x-hub-signature-256", value("sha256=00"));
    assert!(found(&stranger, "app").contains("it has `x-hub-signature-256`: its sender proves itself in another way"));
}

#[test]
fn signatures_that_are_written_wrongly() {
    let good = sent("app", BODY);
    let signature = good.0["webhook-signature"].to_str().expect("ASCII").to_owned();
    let mac = signature.strip_prefix("v1,").expect("a version");
    for (written, expected) in [
        (mac.to_owned(), "does not say `v1,`"),
        (format!("v1={mac}"), "does not say `v1,`"),
        (format!("v1,{}", "0123456789abcdef".repeat(4)), "in hexadecimal instead of base64"),
        (format!("v1,{}", mac.trim_end_matches('=')), "lacks the padding"),
        (format!("v1,-{}", &mac[1..]), "the URL alphabet"),
        (format!("v1,{}", &mac[..20]), "has 20 characters instead of 44"),
        ("v1a,AAAA".to_owned(), "Ed25519 alone"),
    ] {
        let mut request = good.clone();
        request.0.insert("webhook-signature", written.parse().expect("a value"));
        let found = found(&request, "app");
        assert!(found.contains(expected), "{written}: {expected:?} is not in\n{found}");
    }
}

#[test]
fn a_right_secret_used_in_another_way() {
    // Signed by somebody who took the text of the secret for the key.
    let as_text = |secret: &str, signed: &str| -> HeaderMap {
        let source = format!(
            "[[sources]]\nname = \"app\"\nkind = \"hmac\"\nheader = \"webhook-signature\"\nprefix = \"v1,\"\nencoding = \"base64\"\n\
             timestamp_header = \"webhook-timestamp\"\nsigned = \"{signed}\"\nsecrets = [\"{secret}\"]\npointers = {{ id = \"/a\", type = \"/b\" }}"
        );
        let sources = config::senders(&BTreeMap::new(), Some(&source)).expect("good").sources;
        let mut headers: HeaderMap =
            sources[0].sign("msg_1", sent_at(), BODY.as_bytes()).expect("it signs").into_iter().collect();
        headers.insert("webhook-id", "msg_1".parse().expect("a value"));
        headers
    };
    let whole = "msg_1.{timestamp}.{body}";
    let found_in = |headers: HeaderMap| found(&(headers, BODY.to_owned()), "app");
    assert!(
        found_in(as_text(SECRET, whole))
            .contains("the secret is right (`new`), but the sender takes the text of the secret")
    );
    assert!(
        found_in(as_text(&SECRET["whsec_".len()..], whole))
            .contains("takes what follows `whsec_` for the key as it is")
    );

    // The desk signs as nobody would guess from its configuration.
    let desk = |change: &dyn Fn(String) -> String| {
        let other = change(file());
        let sources = config::senders(&BTreeMap::new(), Some(&other)).expect("good").sources;
        let source = sources.iter().find(|it| &**it.name() == "desk").expect("the desk");
        let headers = source.sign("msg_1", sent_at(), BODY.as_bytes()).expect("it signs");
        found(&(headers.into_iter().collect(), BODY.to_owned()), "desk")
    };
    let sha512 = desk(&|file| file.replace("prefix = \"sha256=\"", "algorithm = \"sha512\"\nencoding = \"base64\""));
    assert!(
        sha512.contains("algorithm = \"sha512\", encoding = \"base64\", prefix = \"\" would verify it"),
        "{sha512}"
    );
    let broken_line = desk(&|file| file.replace("0123456789abcdef", "0123456789abcdef\\n"));
    assert!(broken_line.contains("has a line break at the end of its secret"), "{broken_line}");
}

#[test]
fn the_command_says_it_in_words_and_in_json() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let (config, request) = (write("keyferry.toml", &file()), write("request", &caught(&sent("app", BODY), "app")));
    let run = |rest: &[&str]| {
        let arguments = [&["explain", "--config", &config, &request][..], rest].concat();
        let output = keyferry(&arguments, &BTreeMap::new()).output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().expect("an exit"), text)
    };
    let (code, text) = run(&["--source", "app", "--at", "2026-03-01T10:41:00Z"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with(
            "taken: the receiver answers 202\n  proven with secret `old`, signed at 2026-03-01T10:40:05Z\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("  event e-1, phone.registered: acted on\n"), "{text}");
    let (code, text) = run(&["--source", "other", "--at", "2026-03-01T10:41:00Z", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &json["refusal"]), (1, &serde_json::json!("signature_wrong")));
    assert!(
        json["findings"][0]["what"].as_str().is_some_and(|it| it.contains("it was sent to /webhooks/app")),
        "{text}"
    );
    assert!(
        json["findings"][1]["what"].as_str().is_some_and(|it| it.contains("secret `old` of source `app`")),
        "{text}"
    );
    let (code, text) = run(&["--source", "nobody"]);
    assert!(code == 1 && text.contains("there are: app, desk, origo, other"), "{text}");
    let (code, _) = run(&["--source", "app"]);
    assert_eq!(code, 1, "it is too old by now");
    write("keyferry.toml", "[[sources]]\nname = \"app\"\nkind = \"standard\"");
    assert_eq!(run(&["--source", "app"]).0, 64);

    let recorded = fixture("seam/phone.deactivated.json");
    let body = Captured::parse(b"content-type: application/json\n\n", Some(Bytes::from(recorded.clone())));
    assert_eq!(body.expect("a request").body, recorded);
}
