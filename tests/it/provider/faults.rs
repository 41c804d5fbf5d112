//! What the client makes of an upstream that fails, and that it never asks twice.

use std::time::Duration;

use futures_util::future::join_all;
use keyferry::provider::{Provider as _, ProviderError, Settings};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::upstream::{Answer, Upstream};
use super::{API_KEY, bounded, client, fixture, new_credential, settings};

/// The kind of an error, and a part of what it says.
type Said = (&'static str, &'static str);

fn assert_said<T: std::fmt::Debug>(what: &str, result: Result<T, ProviderError>, (kind, part): Said) {
    let error = result.expect_err(what);
    let found = match error {
        ProviderError::Transient { .. } => "transient",
        ProviderError::Permanent { .. } => "permanent",
        ProviderError::Unknown { .. } => "unknown",
        ProviderError::Held { .. } => "held",
    };
    let text = error.to_string();
    assert_eq!(found, kind, "{what}: {text}");
    assert!(text.contains(part), "{what}: {text}");
    for secret in [API_KEY, "4444", "127.0.0.1"] {
        assert!(!text.contains(secret), "{what} tells {secret}: {text}");
    }
}

type Adjust = fn(Settings) -> Settings;

/// Gives the same answer to a read and to a create, and counts what arrives.
async fn assert_fault(what: &str, answer: Answer, adjust: Adjust, read: Said, create: Said) {
    let upstream = Upstream::answering([answer.clone(), answer]).await;
    let client = client(&adjust(settings(&upstream.endpoint)));
    assert_said(what, client.get_credential("c1").await, read);
    assert_eq!(upstream.requests().len(), 1, "{what}: the read was sent once");
    assert_said(what, client.create_credential(&new_credential()).await, create);
    assert_eq!(upstream.requests().len(), 2, "{what}: the create was sent once");
}

fn as_is(settings: Settings) -> Settings {
    settings
}

fn hasty(settings: Settings) -> Settings {
    Settings { deadline: Duration::from_secs(1), ..settings }
}

fn small(settings: Settings) -> Settings {
    Settings { response_bytes_max: 1000, ..settings }
}

#[tokio::test]
async fn a_lost_answer_leaves_a_create_unknown_and_unrepeated() {
    let lost = "the connection was lost";
    let late = "no whole answer within 1000 ms";
    let faults: [(&str, Answer, Adjust, &'static str); 9] = [
        ("cut", Answer::cut(), as_is, lost),
        ("reset", Answer::reset(), as_is, lost),
        ("nonsense", Answer::nonsense(), as_is, lost),
        ("half a head", Answer::half_a_head(), as_is, lost),
        ("truncated body", Answer::truncated(200), as_is, lost),
        ("truncated refusal", Answer::truncated(500), as_is, "500, not in Seam's words"),
        ("hang", Answer::hang(), hasty, late),
        ("drip", Answer::drip(), hasty, late),
        ("flood", Answer::flood(), small, "the answer exceeds 1000 bytes"),
    ];
    let each = faults
        .map(|(what, answer, adjust, part)| assert_fault(what, answer, adjust, ("transient", part), ("unknown", part)));
    bounded(join_all(each)).await;
}

#[tokio::test]
async fn an_answer_that_is_none_leaves_a_create_unknown() {
    let error = json!({ "error": { "type": "conflict", "message": "No." }, "ok": false });
    for (what, answer, part) in [
        ("HTML", Answer::http(200, &[], "<!doctype html><p>Welcome"), "not a JSON object"),
        ("an empty body", Answer::http(204, &[], ""), "not a JSON object"),
        ("an error in a 200", Answer::json(200, &error), "success with an error inside: conflict: No."),
        ("the wrong key", Answer::json(200, &json!({ "credential": {}, "ok": true })), "no `acs_credential`"),
        ("a redirect", Answer::http(302, &[("location", "/elsewhere")], ""), "302, a redirect"),
        ("500", Answer::json(500, &error), "500 conflict: No."),
        ("502", Answer::http(502, &[], "<html>Bad Gateway"), "502, not in Seam's words"),
        ("504", Answer::http(504, &[], ""), "504, not in Seam's words"),
    ] {
        bounded(assert_fault(what, answer, as_is, ("transient", part), ("unknown", part))).await;
    }
}

#[tokio::test]
async fn a_refusal_is_the_same_for_a_read_and_a_create() {
    let not_found = ("permanent", "acs_system_not_found: Access control system not found");
    let invalid = ("permanent", "[acs_system_id, full_name]");
    let unauthorized = json!({ "error": { "type": "unauthorized", "message": "API Key not found" }, "ok": false });
    let key_refused = ("transient", "check SEAM_API_KEY (401 unauthorized: API Key not found)");
    for (what, answer, said) in [
        ("404", Answer::json(404, &fixture("refusal.not_found")), not_found),
        ("400", Answer::json(400, &fixture("refusal.invalid_input")), invalid),
        ("401", Answer::json(401, &unauthorized), key_refused),
        ("404 of a proxy", Answer::http(404, &[], "404 page not found"), ("transient", "check SEAM_ENDPOINT")),
        ("429", Answer::http(429, &[], ""), ("transient", "429")),
        ("503", Answer::http(503, &[], ""), ("transient", "503")),
    ] {
        bounded(assert_fault(what, answer, as_is, said, said)).await;
    }
}

#[tokio::test]
async fn what_was_never_sent_may_be_sent_again() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let speaks_no_tls = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = speaks_no_tls.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = speaks_no_tls.accept().await {
            stream.write_all(b"HTTP/1.1 400 -\r\n\r\n").await.ok();
        }
    });
    for endpoint in [
        format!("http://127.0.0.1:{closed}"),
        format!("https://127.0.0.1:{port}"),
        "http://no-such-host.invalid".to_owned(),
    ] {
        let client = client(&settings(&endpoint));
        let result = bounded(client.create_credential(&new_credential())).await;
        assert_said(&endpoint, result, ("transient", "no connection: "));
    }
    server.abort();
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    let upstream = Upstream::answering([
        Answer::http(429, &[("retry-after", "7")], ""),
        Answer::http(503, &[("retry-after", "Sun, 01 Mar 2026 10:00:30 GMT")], ""),
    ])
    .await;
    let client = client(&settings(&upstream.endpoint));
    for seconds in [7, 30] {
        let error = bounded(client.get_phone("p1")).await.expect_err("refused");
        let ProviderError::Transient { retry_after, .. } = error else { panic!("{error}") };
        assert_eq!(retry_after, Some(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn a_request_that_a_kept_connection_took_and_lost_is_not_sent_again() {
    let phone = json!({ "phone": fixture("phone.active_endpoint"), "ok": true });
    let upstream = Upstream::answering([Answer::json(200, &phone), Answer::cut()]).await;
    let client = client(&settings(&upstream.endpoint));
    bounded(client.get_phone("p1")).await.expect("a phone");
    assert_said("cut", bounded(client.get_phone("p1")).await, ("transient", "the connection was lost"));
    assert_eq!((upstream.requests().len(), upstream.connections()), (2, 1));
}

/// A server that closes an idle connection just as a create goes out on it would make that create unknown.
#[tokio::test]
async fn a_create_has_a_connection_of_its_own() {
    let credential = json!({ "acs_credential": fixture("acs_credential.multi_phone_sync.latch"), "ok": true });
    let upstream = Upstream::answering(vec![Answer::json(200, &credential); 4]).await;
    let client = client(&settings(&upstream.endpoint));
    bounded(async {
        client.get_credential("c1").await.expect("the first read");
        client.get_credential("c1").await.expect("the second read");
        assert_eq!(upstream.connections(), 1, "reads share one");
        client.create_credential(&new_credential()).await.expect("the first create");
        client.create_credential(&new_credential()).await.expect("the second create");
        assert_eq!(upstream.connections(), 3, "creates do not");
    })
    .await;
}
