//! The ledger, by pages and as a stream.

use http::Method;
use keyferry::queue::{Content, Envelope, Inbox as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::office::Office;
use crate::support::wait::DEADLINE;

/// A stream as it comes, cut into events.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(office: &Office, path: &str, last: Option<&str>) -> Self {
        let request = office.request(Method::GET, path);
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event or comment; `None` at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let rest = self.text.split_off(end + 2);
                return Some(std::mem::replace(&mut self.text, rest).trim_end().to_owned());
            }
            let piece = timeout(DEADLINE, self.response.chunk()).await.expect("in time").expect("a good stream")?;
            self.text.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }

    /// The number and the kind of the next line.
    async fn line(&mut self) -> (i64, String) {
        let event = self.next().await.expect("a line");
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).expect("a field").trim();
        let line: Value = serde_json::from_str(field("data:")).expect("JSON");
        assert_eq!(line["seq"].to_string(), field("id:"));
        (line["seq"].as_i64().expect("a number"), line["kind"].as_str().expect("a kind").to_owned())
    }
}

fn seqs(page: &Value) -> Vec<i64> {
    page["ledger"].as_array().expect("lines").iter().filter_map(|line| line["seq"].as_i64()).collect()
}

#[tokio::test]
async fn it_is_read_by_pages_and_asked_again_at_its_end() {
    let office = Office::open().await;
    for id in ["e-1", "e-2", "e-3"] {
        office.receive(id).await;
    }
    let page = office.get("/v1/ledger?limit=2").await.json();
    assert_eq!((seqs(&page), page["next"].as_i64()), (vec![1, 2], Some(2)));
    let page = office.get("/v1/ledger?after=2").await.json();
    assert_eq!((seqs(&page), page["next"].as_i64()), (vec![3], Some(3)));
    assert_eq!(office.get("/v1/ledger?after=3").await.json(), json!({"ledger": [], "next": 3}));
    let line = &office.get("/v1/ledger").await.json()["ledger"][0];
    let expected = json!({"seq": 1, "at": "2026-03-01T10:00:00.000Z", "kind": "event.received", "source": "app",
                          "event_type": "phone.registered", "event_id": "e-1"});
    assert_eq!(*line, expected, "and nothing that does not apply");
}

#[tokio::test]
async fn a_plan_has_a_ledger_of_its_own() {
    let office = Office::open().await;
    office.receive("e-1").await;
    office.put("/v1/plans/a", &json!({"user_identity_id": "u-1", "acs_user_id": "acs-1"})).await;
    let page = office.get("/v1/issuances/a/ledger?limit=1").await.json();
    assert_eq!(page["ledger"][0]["kind"], "issuance.planned", "the last line about it");
    assert_eq!(office.get("/v1/issuances/b/ledger").await.status, 404);
}

#[tokio::test]
async fn a_stream_tells_what_was_and_then_what_comes() {
    let office = Office::open().await;
    office.receive("e-1").await;
    let mut stream = Stream::open(&office, "/v1/ledger/stream", None).await;
    assert_eq!(stream.line().await, (1, "event.received".to_owned()));
    office.receive("e-2").await;
    assert_eq!(stream.line().await, (2, "event.received".to_owned()), "rung, since the clock stands still");
}

#[tokio::test]
async fn a_stream_goes_on_where_its_reader_stopped() {
    let office = Office::open().await;
    for id in ["e-1", "e-2", "e-3"] {
        office.receive(id).await;
    }
    assert_eq!(Stream::open(&office, "/v1/ledger/stream?after=1", None).await.line().await.0, 2);
    let resumed = Stream::open(&office, "/v1/ledger/stream?after=1", Some("2")).await.line().await;
    assert_eq!(resumed.0, 3, "what the reader says last counts");
    let request = office.request(Method::GET, "/v1/ledger/stream").header("last-event-id", "x");
    assert_eq!(office.send(request).await.fields(), ["Last-Event-ID"]);
}

#[tokio::test]
async fn a_stream_sees_what_other_processes_write_and_shows_that_it_lives() {
    let office = Office::open().await;
    let mut stream = Stream::open(&office, "/v1/ledger/stream", None).await;
    let beats = async {
        loop {
            office.bench.advance_seconds(15);
            tokio::task::yield_now().await;
        }
    };
    let first = tokio::select! { event = stream.next() => event, () = beats => None };
    assert_eq!(first.as_deref(), Some(": still here"));

    let headers = std::collections::BTreeMap::new();
    let content = Content::Unreadable { source: "app".to_owned(), why: "not JSON".to_owned(), headers };
    let (delivery_id, received_at) = ("msg_1".to_owned(), crate::support::db::start());
    let envelope = Envelope { delivery_id, received_at, traceparent: None, proof: None, body: "{".into(), content };
    office.bench.other_process().await.accept(vec![envelope]).await.expect("accepted");
    let seen = async {
        loop {
            match stream.next().await.expect("an open stream") {
                comment if comment.starts_with(':') => {}
                line => return line,
            }
        }
    };
    let looks = async {
        loop {
            office.bench.advance_seconds(1);
            tokio::task::yield_now().await;
        }
    };
    let line = tokio::select! { line = seen => line, () = looks => String::new() };
    assert!(line.contains("event.parked"), "{line}");
}

#[tokio::test]
async fn the_end_of_the_server_ends_its_streams() {
    let mut office = Office::open().await;
    let mut stream = Stream::open(&office, "/v1/ledger/stream", None).await;
    assert_eq!(timeout(DEADLINE, office.close()).await.expect("in time"), 0, "no connection had to be cut");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn there_is_room_for_so_many_streams() {
    let office = Office::open().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(Stream::open(&office, "/v1/ledger/stream", None).await);
    }
    let refused = office.get("/v1/ledger/stream").await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["type"].as_str()), (503, Some("too_many_followers")));
}
