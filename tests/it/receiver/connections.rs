//! What the shared accept loop does with HTTP that is slow, large, broken or ambiguous.

use std::time::Duration;

use keyferry::http;
use keyferry::receiver::Limits;

use super::wire::{Post, REGISTERED, Wire, exchange};
use super::{DEADLINE, Fate, Served};

/// In place of a status: the connection ended without one.
const CLOSED: u16 = 0;

async fn served(connection_limits: http::Limits) -> Served {
    Served::with(Fate::Durable, Limits::default(), connection_limits).await
}

#[tokio::test]
async fn broken_requests_are_refused_and_what_follows_is_not_read() {
    let served = Served::start().await;
    let good = Post::app(REGISTERED);
    let cases: Vec<(&str, &[u16], Vec<u8>)> = vec![
        ("garbage", &[400], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n".to_vec()),
        ("no version", &[400], b"POST /webhooks/app\r\n\r\n".to_vec()),
        ("HTTP/2", &[CLOSED], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("HTTP/9.9", &[400], good.clone().line("POST /webhooks/app HTTP/9.9").bytes()),
        ("no Host", &[400], good.clone().without("Host").bytes()),
        ("two Hosts", &[400], good.clone().with("Host", "keys.example.com").bytes()),
        ("different lengths", &[400], good.clone().with("Content-Length", "2").with("Content-Length", "3").bytes()),
        ("a list of lengths", &[400], good.clone().with("Content-Length", "2, 2").bytes()),
        ("length with a sign", &[400], good.clone().with("Content-Length", "+2").bytes()),
        ("length below zero", &[400], good.clone().with("Content-Length", "-2").bytes()),
        ("length in hex", &[400], good.clone().with("Content-Length", "0x2").bytes()),
        ("length at the end of u64", &[431], good.clone().with("Content-Length", "18446744073709551615").bytes()),
        ("length beyond u64", &[400], good.clone().with("Content-Length", "99999999999999999999").bytes()),
        ("unknown encoding", &[400], good.clone().with("Transfer-Encoding", "xchunked").bytes()),
        ("chunked not last", &[400], good.clone().with("Transfer-Encoding", "chunked, gzip").bytes()),
        ("chunked in HTTP/1.0", &[400], {
            good.clone().line("POST /webhooks/app HTTP/1.0").with("Transfer-Encoding", "chunked").bytes()
        }),
        ("space before the colon", &[400], good.clone().with("X ", "y").bytes()),
        ("folded header", &[400], good.clone().with("X", "y\r\n z").bytes()),
        ("NUL in a header", &[400], good.clone().with("X", "a\0b").bytes()),
        ("a head of 40 kB", &[431], good.clone().with("X", "x".repeat(40_000)).bytes()),
        ("101 headers", &[431], (0..101).fold(good.clone(), |post, n| post.with(&format!("X-{n}"), "y")).bytes()),
        ("a URI of 9 kB", &[414], good.clone().line(&format!("POST /{} HTTP/1.1", "a".repeat(9000))).bytes()),
        ("a URI of 40 kB", &[414, 431], good.clone().line(&format!("POST /{} HTTP/1.1", "a".repeat(40_000))).bytes()),
    ];
    for (what, expected, bytes) in cases {
        let mut wire = Wire::to(served.at).await;
        wire.send(&bytes).await.send(&good.bytes()).await;
        let status = wire.answer().await.map_or(CLOSED, |answer| answer.status);
        assert!(expected.contains(&status), "{what}: {status}");
        assert!(wire.ends().await, "{what}: the connection ends");
        assert!(served.published().is_empty(), "{what}: what follows is not read as a request");
        assert_eq!(exchange(served.at, &good.bytes()).await.map(|answer| answer.status), Some(202), "after {what}");
        assert_eq!(served.published().len(), 1);
    }
}

#[tokio::test]
async fn length_beside_an_encoding_is_read_by_the_encoding_alone() {
    let served = Served::start().await;
    let smuggled = Post::app(REGISTERED).bytes();
    for length_first in [true, false] {
        let encodings = [("Content-Length", "4"), ("Transfer-Encoding", "chunked")];
        let order = if length_first { [0, 1] } else { [1, 0] };
        let mut post = Post::app("");
        for index in order {
            post = post.with(encodings[index].0, encodings[index].1);
        }
        let mut wire = Wire::to(served.at).await;
        wire.send(&post.head()).await.send(b"0\r\n\r\n").await.send(&smuggled).await;
        assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202), "an empty body, put aside");
        assert!(wire.ends().await);
        assert_eq!(served.published().len(), 1, "what follows is not read as a request");
    }
}

#[tokio::test]
async fn an_early_answer_is_not_overtaken_by_a_reset() {
    let served = Served::start().await;
    let post = Post::app(vec![b' '; 4 * 1024 * 1024]);
    for _ in 0..20 {
        let answer = exchange(served.at, &post.bytes()).await;
        assert_eq!(answer.map(|answer| answer.status), Some(413));
    }
}

#[tokio::test]
async fn a_slow_head_and_an_idle_connection_are_hung_up_on() {
    let served = served(http::Limits { head_timeout: Duration::from_millis(200), ..http::Limits::default() }).await;
    let mut silent = Wire::to(served.at).await;
    let mut slow = Wire::to(served.at).await;
    slow.send(b"POST /webhooks/app HTTP/1.1\r\nHost: keys").await;
    let mut idle = Wire::to(served.at).await;
    idle.send(&Post::app(REGISTERED).bytes()).await;
    assert_eq!(idle.answer().await.map(|answer| answer.status), Some(202));
    assert!(silent.ends().await && slow.ends().await && idle.ends().await);
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let served = Served::start().await;
    let mut wire = Wire::to(served.at).await;
    for _ in 0..3 {
        wire.send(&Post::app(REGISTERED).bytes()).await;
        assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202));
    }
    let two = [Post::app(REGISTERED).set("webhook-timestamp", "1").bytes(), Post::app(REGISTERED).bytes()].concat();
    wire.send(&two).await.finish_writing().await;
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(401));
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202), "the body of the refused one was read");
    assert!(wire.ends().await);
    assert_eq!(served.published().len(), 4);
}

#[tokio::test]
async fn a_client_may_finish_writing_and_still_be_answered() {
    let served = Served::start().await;
    let mut wire = Wire::to(served.at).await;
    wire.send(&Post::app(REGISTERED).bytes()).await.finish_writing().await;
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202));
    let mut cut = Wire::to(served.at).await;
    cut.send(&Post::app(REGISTERED).set("Content-Length", "1000").bytes()).await.finish_writing().await;
    assert_eq!(cut.answer().await.map(|answer| answer.status), Some(400), "less came than was announced");
    assert_eq!(served.published().len(), 1);
}

#[tokio::test]
async fn a_refused_expectation_is_not_encouraged() {
    let served = Served::start().await;
    let post = Post::app(REGISTERED).with("Expect", "100-continue");
    let mut wire = Wire::to(served.at).await;
    wire.send(&post.head()).await;
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(100));
    wire.send(&post.body).await;
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202));
    let large = post.set("Content-Length", "300000").head();
    assert_eq!(exchange(served.at, &large).await.map(|answer| answer.status), Some(413), "and no 100 before it");
}

#[tokio::test]
async fn beyond_the_limit_a_connection_waits_for_its_turn() {
    let served = served(http::Limits { connections: 2, ..http::Limits::default() }).await;
    let (mut first, mut second) = (Wire::to(served.at).await, Wire::to(served.at).await);
    for wire in [&mut first, &mut second] {
        wire.send(&Post::app(REGISTERED).bytes()).await;
        assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202));
    }
    let mut third = Wire::to(served.at).await;
    third.send(&Post::app(REGISTERED).bytes()).await;
    let early = tokio::time::timeout(Duration::from_millis(100), third.answer()).await;
    assert!(early.is_err(), "both places are taken");
    drop(first);
    assert_eq!(third.answer().await.map(|answer| answer.status), Some(202));
}

#[tokio::test]
async fn the_end_waits_for_open_requests_and_no_longer() {
    let limits = || http::Limits { drain: Duration::from_millis(300), ..http::Limits::default() };
    let post = Post::app(REGISTERED);

    let served_once = served(limits()).await;
    let (at, end) = (served_once.at, served_once.end.clone());
    let mut open = Wire::to(at).await;
    open.send(&post.head()).await;
    // The request is open once its head has been read, which the 100 of another one on the same socket would show; here
    // the drain itself shows it: it may only return when this request has been answered.
    open.send(&post.body[..10]).await;
    let mut idle = Wire::to(at).await;
    idle.send(&post.bytes()).await;
    assert_eq!(idle.answer().await.map(|answer| answer.status), Some(202));
    end.cancel();
    assert!(idle.ends().await, "an idle connection ends at once");
    open.send(&post.body[10..]).await;
    assert_eq!(open.answer().await.map(|answer| answer.status), Some(202));
    drop(open);
    assert_eq!(served_once.stop().await, 0);
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "the port is free");

    let served_twice = served(limits()).await;
    let mut stuck = Wire::to(served_twice.at).await;
    stuck.send(&Post::app(REGISTERED).with("Expect", "100-continue").head()).await;
    assert_eq!(stuck.answer().await.map(|answer| answer.status), Some(100));
    let cut = tokio::time::timeout(DEADLINE, served_twice.stop()).await.expect("it ends");
    assert_eq!(cut, 1, "and says that it cut a connection");
    assert!(stuck.ends().await);
}
