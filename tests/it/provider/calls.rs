//! What each call sends and what it makes of the answer.

use keyferry::provider::{CredentialFilter, Provider as _};
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber as _;

use super::upstream::{Answer, Upstream};
use super::{API_KEY, bounded, client, fixture, new_credential, now, settings};

fn events(range: std::ops::Range<usize>) -> Answer {
    let event = |n: usize| json!({ "event_id": format!("e{n:04}"), "event_type": "x", "occurred_at": now(), "n": n });
    // Newest first, to show that the order is the client's.
    let events: Vec<Value> = range.rev().map(event).collect();
    Answer::json(200, &json!({ "events": events, "ok": true }))
}

fn phones_page(next: Option<&str>) -> Answer {
    let pagination = json!({ "has_next_page": next.is_some(), "next_page_cursor": next });
    Answer::json(200, &json!({ "phones": [fixture("phone.active_endpoint")], "pagination": pagination, "ok": true }))
}

#[tokio::test]
async fn a_call_says_who_calls_and_what_for() {
    let answer =
        json!({ "acs_credential": fixture("acs_credential.multi_phone_sync.visionline.parent_waiting"), "ok": true });
    let upstream = Upstream::answering([Answer::json(200, &answer)]).await;
    let credential = bounded(client(&settings(&upstream.endpoint)).create_credential(&new_credential())).await;
    let credential = credential.expect("a credential");
    assert!(credential.is_usable && credential.is_multi_phone_sync_credential && !credential.is_issued);

    let [request] = upstream.requests().try_into().expect("one request");
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/acs/credentials/create"));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {API_KEY}").as_str()));
    assert_eq!(request.header("user-agent"), Some(concat!("keyferry/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body["visionline_metadata"]["override"], true);
    assert!(request.body.get("code").is_none(), "what is not given is not sent: Latch refuses a code, even a null");
}

#[tokio::test]
async fn a_list_is_whole() {
    let upstream = Upstream::answering([phones_page(Some("one")), phones_page(Some("two")), phones_page(None)]).await;
    let phones = bounded(client(&settings(&upstream.endpoint)).phones_of_person("u1")).await.expect("phones");
    assert_eq!(phones.len(), 3);
    let cursors: Vec<Value> = upstream.requests().iter().map(|request| request.body["page_cursor"].clone()).collect();
    assert_eq!(cursors, [Value::Null, json!("one"), json!("two")]);
    assert!(upstream.requests().iter().all(|request| request.body["owner_user_identity_id"] == "u1"));
}

#[tokio::test]
async fn a_list_without_end_is_an_error_and_not_a_part() {
    let upstream = Upstream::answering(vec![phones_page(Some("again")); 9]).await;
    let mut settings = settings(&upstream.endpoint);
    settings.pages_max = 4;
    let error = bounded(client(&settings).phones_of_person("u1")).await.expect_err("too long");
    assert_eq!(error.to_string(), "/phones/list: the list has more than 4 pages");
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn only_given_conditions_are_sent() {
    let upstream = Upstream::answering([Answer::json(200, &json!({ "acs_credentials": [], "ok": true }))]).await;
    let filter = CredentialFilter {
        acs_user_id: Some("u1".into()),
        is_multi_phone_sync_credential: Some(true),
        ..CredentialFilter::default()
    };
    bounded(client(&settings(&upstream.endpoint)).list_credentials(&filter)).await.expect("a list");
    let expected = json!({ "acs_user_id": "u1", "is_multi_phone_sync_credential": true });
    assert_eq!(upstream.requests()[0].body, expected);
}

#[tokio::test]
async fn events_come_whole_once_and_in_order_while_the_list_shifts() {
    // One event happened while pages were turned: the second page repeats the last event of the first.
    let upstream = Upstream::answering([events(100..600), events(0..101)]).await;
    let listed = bounded(client(&settings(&upstream.endpoint)).list_events(now(), now())).await.expect("events");
    let ids: Vec<&str> = listed.iter().map(|event| event.event_id.as_str()).collect();
    let expected: Vec<String> = (0..600).map(|n| format!("e{n:04}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(upstream.requests()[1].body["unstable_offset"], 500);
}

#[tokio::test]
async fn an_event_list_that_ignores_its_offset_is_an_error() {
    let upstream = Upstream::answering([events(0..500), events(0..500)]).await;
    let error =
        bounded(client(&settings(&upstream.endpoint)).list_events(now(), now())).await.expect_err("no progress");
    assert_eq!(error.to_string(), "/events/list: the list does not advance past 500 events");
}

/// A log that a test can read.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_attempt_is_logged_and_counted_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().json().with_env_filter("trace").with_writer(move || writer.clone()).finish();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let answer = Answer::http(500, &[("seam-request-id", "r-1")], "");
    let upstream = Upstream::answering([answer]).await;
    let client = client(&settings(&upstream.endpoint));
    let counting = metrics::set_default_local_recorder(&recorder);
    bounded(client.create_credential(&new_credential()).with_subscriber(subscriber)).await.expect_err("refused");
    drop(counting);

    let text = String::from_utf8(log.0.lock().expect("the log").clone()).expect("text");
    assert!(!text.contains(API_KEY), "the key is in the log, at some level");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ours: Vec<&Value> =
        lines.iter().filter(|line| line["target"].as_str().is_some_and(|t| t.starts_with("keyferry"))).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    let fields = &ours[0]["fields"];
    assert_eq!(ours[0]["level"], "DEBUG");
    assert_eq!((&fields["path"], &fields["status"]), (&json!("/acs/credentials/create"), &json!(500)));
    assert_eq!((&fields["seam_request_id"], &fields["outcome"]), (&json!("r-1"), &json!("unknown")));

    let metrics = recorder.handle().render();
    let count = r#"keyferry_provider_calls_total{call="/acs/credentials/create",outcome="unknown"} 1"#;
    assert!(metrics.contains(count), "{metrics}");
    assert!(metrics.contains("keyferry_provider_call_duration_seconds"), "{metrics}");
}
