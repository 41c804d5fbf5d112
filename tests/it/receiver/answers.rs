//! Each request's answer, and what it left behind.

use std::time::Duration;

use keyferry::domain::{Fact, Person};
use keyferry::http;
use keyferry::queue::Content;
use keyferry::receiver::{Kind, Limits};

use super::wire::{Answer, Post, REGISTERED, Wire, exchange};
use super::{Fate, OLD_SECRET, SECRET, Served, fixture, sent_at};

async fn status(served: &Served, bytes: &[u8]) -> Option<u16> {
    exchange(served.at, bytes).await.map(|answer| answer.status)
}

#[tokio::test]
async fn what_is_accepted_was_published_as_it_came() {
    let served = Served::start().await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = exchange(served.at, &Post::app(REGISTERED).with("traceparent", traceparent).bytes()).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (202, &b""[..]));

    let [envelope] = served.published().try_into().expect("one envelope");
    assert_eq!(envelope.delivery_id, "msg_2b3NkjBGxTG5pVQa4Fv1xvz6z0e");
    assert_eq!(envelope.received_at, sent_at());
    assert_eq!(envelope.traceparent.as_deref(), Some(traceparent));
    assert_eq!(envelope.body, REGISTERED);
    let Content::Event(event) = envelope.content else { panic!("{:?} is an event", envelope.content) };
    assert_eq!((event.source.as_str(), event.event_type.as_str()), ("app", "phone.registered"));
    assert_eq!(
        event.fact,
        Fact::PhoneRegistered {
            person: Person::UserIdentityId("33333333-0000-4000-8000-333333333333".to_owned()),
            device_id: Some("88888888-0000-4000-8000-888888888888".to_owned()),
            device_type: None,
        }
    );
    assert_eq!(served.stop().await, 0);
}

#[tokio::test]
async fn accepted_requests() {
    let served = Served::start().await;
    let issued = fixture("seam/acs_credential.issued.json");
    let kept_alive = Post::seam(issued.clone());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("Seam's event", kept_alive.bytes()),
        ("chunked", kept_alive.clone().chunked()),
        ("the old secret", Post::signed("seam", Kind::Seam, OLD_SECRET, issued.clone().into()).bytes()),
        ("webhook-* headers at Seam's source", Post::signed("seam", Kind::Standard, SECRET, issued.into()).bytes()),
        ("an event of no interest", Post::seam(fixture("seam/access_grant.created.json")).bytes()),
        ("with a charset", kept_alive.clone().set("Content-Type", "application/json; charset=utf-8").bytes()),
        ("without a type", kept_alive.clone().without("Content-Type").bytes()),
        ("identity encoding", kept_alive.clone().with("Content-Encoding", "identity").bytes()),
        ("HTTP/1.0", kept_alive.clone().line("POST /webhooks/seam HTTP/1.0").without("Host").bytes()),
        ("with a query", kept_alive.clone().line("POST /webhooks/seam?x=1 HTTP/1.1").bytes()),
        ("equal lengths", {
            let length = kept_alive.body.len().to_string();
            kept_alive.clone().with("Content-Length", length.clone()).with("Content-Length", length).bytes()
        }),
        ("a broken traceparent", kept_alive.clone().with("traceparent", "nonsense").bytes()),
    ];
    for (what, bytes) in cases {
        assert_eq!(status(&served, &bytes).await, Some(202), "{what}");
        assert_eq!(served.published().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn rejected_requests_leave_nothing() {
    let served = Served::start().await;
    let good = Post::app(REGISTERED);
    let large = vec![b' '; 256 * 1024 + 1];
    let cases: Vec<(&str, u16, Vec<u8>)> = vec![
        ("no signature", 401, good.clone().without("webhook-signature").bytes()),
        ("another body", 401, good.clone().body(REGISTERED.replace("phone", "Phone")).bytes()),
        ("another source's secret", 401, Post::signed("app", Kind::Standard, SECRET, REGISTERED.into()).bytes()),
        ("unknown source", 401, good.clone().line("POST /webhooks/nobody HTTP/1.1").bytes()),
        ("source in capitals", 401, good.clone().line("POST /webhooks/APP HTTP/1.1").bytes()),
        ("source percent-encoded", 401, good.clone().line("POST /webhooks/%61pp HTTP/1.1").bytes()),
        ("source with encoded dots", 401, good.clone().line("POST /webhooks/%2e%2e%2fapp HTTP/1.1").bytes()),
        ("source not UTF-8", 401, good.clone().line("POST /webhooks/%ff HTTP/1.1").bytes()),
        ("signature twice", 400, good.clone().with("webhook-signature", "v1,x").bytes()),
        ("both families", 400, good.clone().with("svix-id", "msg_1").bytes()),
        ("both families, unknown source", 400, {
            good.clone().line("POST /webhooks/nobody HTTP/1.1").with("svix-id", "msg_1").bytes()
        }),
        ("declared too large", 413, good.clone().set("Content-Length", "262145").head()),
        ("declared absurd", 413, good.clone().set("Content-Length", "9007199254740993").head()),
        ("too large", 413, good.clone().body(large.clone()).bytes()),
        ("too large in chunks", 413, good.clone().body(large).chunked()),
        ("gzip", 415, good.clone().with("Content-Encoding", "gzip").bytes()),
        ("text", 415, good.clone().set("Content-Type", "text/plain").bytes()),
        ("a form", 415, good.clone().set("Content-Type", "application/x-www-form-urlencoded").bytes()),
        ("utf-16", 415, good.clone().set("Content-Type", "application/json; charset=utf-16").bytes()),
        ("two types", 415, good.clone().with("Content-Type", "application/json").bytes()),
        ("GET", 405, good.clone().line("GET /webhooks/app HTTP/1.1").bytes()),
        ("PUT", 405, good.clone().line("PUT /webhooks/app HTTP/1.1").bytes()),
        ("no source", 404, good.clone().line("POST /webhooks/ HTTP/1.1").bytes()),
        ("a slash too many", 404, good.clone().line("POST /webhooks/app/ HTTP/1.1").bytes()),
        ("two slashes", 404, good.clone().line("POST //webhooks/app HTTP/1.1").bytes()),
        ("elsewhere", 404, good.clone().line("POST / HTTP/1.1").bytes()),
        ("the rest cut off", 400, {
            let mut bytes = good.clone().with("Transfer-Encoding", "chunked").head();
            bytes.extend(b"5\r\n{\"eve\r\nzz\r\n");
            bytes
        }),
    ];
    for (what, expected, bytes) in cases {
        let answer = exchange(served.at, &bytes).await.unwrap_or_else(|| panic!("{what}: an answer"));
        assert_eq!(answer.status, expected, "{what}");
        assert!(answer.body.is_empty(), "{what}: nothing is echoed");
        assert!(served.published().is_empty(), "{what}: nothing is published");
        assert_eq!(status(&served, &good.bytes()).await, Some(202), "a good request after: {what}");
        assert_eq!(served.published().len(), 1);
    }
    assert_eq!(served.stop().await, 0);
}

#[tokio::test]
async fn all_refusals_are_the_same_bytes() {
    let served = Served::start().await;
    let good = Post::app(REGISTERED);
    let refusals = [
        good.clone().without("webhook-id"),
        good.clone().without("webhook-signature"),
        good.clone().set("webhook-timestamp", "1"),
        good.clone().set("webhook-signature", "v1,x"),
        good.clone().set("webhook-signature", format!("v1,{}=", "A".repeat(43))),
        good.clone().line("POST /webhooks/nobody HTTP/1.1"),
        Post::seam(REGISTERED).line("POST /webhooks/app HTTP/1.1"),
    ];
    let mut answers: Vec<Answer> = Vec::new();
    for post in refusals {
        let mut answer = exchange(served.at, &post.bytes()).await.expect("an answer");
        answer.headers.retain(|(name, _)| name != "date");
        answers.push(answer);
    }
    assert_eq!(answers[0].status, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a_genuine_body_that_cannot_be_read_is_published_to_be_parked() {
    let served = Served::start().await;
    for body in ["", "not JSON", "{}", r#"{"event_id":"e1","event_id":"e2"}"#] {
        let post = Post::seam(body).with("User-Agent", "Svix-Webhooks/1.0").with("Authorization", "Bearer hunter2");
        assert_eq!(status(&served, &post.bytes()).await, Some(202), "{body:?}");
        let [envelope] = served.published().try_into().expect("one envelope");
        assert_eq!(envelope.body, body);
        let Content::Unreadable { source, why, headers } = envelope.content else { panic!("{body:?} is unreadable") };
        assert_eq!(source, "seam");
        assert!(why.starts_with("The body") || why.starts_with('`'), "{why}");
        let kept: Vec<_> = headers.keys().map(String::as_str).collect();
        assert_eq!(
            kept,
            ["content-type", "svix-id", "svix-timestamp", "user-agent"],
            "never a signature or a credential"
        );
    }
    let mut bytes = Post::seam(b"{\"event_id\":\"\xff\"}".as_slice()).bytes();
    assert_eq!(status(&served, &bytes).await, Some(202), "not UTF-8");
    bytes.truncate(bytes.len() - 1);
    assert_eq!(served.published().len(), 1);
}

#[tokio::test]
async fn what_is_not_durable_is_not_accepted() {
    let served = Served::with(Fate::Unavailable, Limits::default(), http::Limits::default()).await;
    for post in [Post::app(REGISTERED), Post::app("unreadable")] {
        let answer = exchange(served.at, &post.bytes()).await.expect("an answer");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    }
    let stale = Post::app(REGISTERED).set("webhook-timestamp", "1").bytes();
    assert_eq!(status(&served, &stale).await, Some(401), "a refusal does not need the queue");
}

/// Moves time on until the answer comes.
async fn answer_as_time_passes(served: &Served, wire: &mut Wire) -> (Option<Answer>, i64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut passed = 0;
    let answer = wire.answer();
    tokio::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return (answer, passed),
            _ = ticks.tick() => {
                served.clock.advance(jiff::SignedDuration::from_millis(100));
                passed += 100;
            }
        }
    }
}

#[tokio::test]
async fn a_publisher_that_says_nothing_is_not_waited_for_for_ever() {
    let served = Served::with(Fate::Never, Limits::default(), http::Limits::default()).await;
    let mut wire = Wire::to(served.at).await;
    wire.send(&Post::app(REGISTERED).bytes()).await;
    let (answer, passed) = answer_as_time_passes(&served, &mut wire).await;
    assert_eq!(answer.map(|answer| answer.status), Some(503));
    assert!(passed >= 10_000, "after {passed} ms of patience");
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off() {
    let served = Served::start().await;
    let mut wire = Wire::to(served.at).await;
    let post = Post::app(REGISTERED);
    wire.send(&post.head()).await.send(&post.body[..10]).await;
    let (answer, passed) = answer_as_time_passes(&served, &mut wire).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(passed >= 15_000, "after {passed} ms of patience");
    wire.send(&post.body[10..]).await.send(&post.bytes()).await;
    assert!(wire.ends().await, "what comes late is no request");
    assert!(served.published().is_empty());
}

#[tokio::test]
async fn the_room_for_bodies_is_shared_and_given_back() {
    let limits = Limits { held_bytes: 2 * REGISTERED.len(), ..Limits::default() };
    let served = Served::with(Fate::Durable, limits, http::Limits::default()).await;
    let post = Post::app(REGISTERED);
    let almost = [post.head(), post.body[..REGISTERED.len() - 1].to_vec()].concat();
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut holder = Wire::to(served.at).await;
        holder.send(&almost).await;
        holders.push(holder);
    }
    // The two bodies may still be on their way; soon there is no room for a third.
    while status(&served, &post.bytes()).await == Some(202) {}
    assert_eq!(status(&served, &post.bytes()).await, Some(503));
    served.published();
    for holder in &mut holders {
        holder.send(&post.body[REGISTERED.len() - 1..]).await;
        assert_eq!(holder.answer().await.map(|answer| answer.status), Some(202));
    }
    assert_eq!(status(&served, &post.bytes()).await, Some(202), "there is room again");
}

#[tokio::test]
async fn methods_and_life() {
    let served = Served::start().await;
    let answer = exchange(served.at, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("an answer");
    assert_eq!(answer.status, 200);
    let answer = exchange(served.at, b"DELETE /webhooks/app HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("an answer");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let answer = exchange(served.at, b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(answer.map(|answer| answer.status), Some(405));
}
