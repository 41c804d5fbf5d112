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
        ("a list of Hosts", &[400], good.clone().set("Host", "keys.example.com, evil.example").bytes()),
        ("a Host with a user", &[400], good.clone().set("Host", "keys.example.com@evil.example").bytes()),
        ("an empty Host", &[400], good.clone().set("Host", "").bytes()),
        ("another host in the target", &[400], {
            good.clone().line("POST http://evil.example/webhooks/app HTTP/1.1").bytes()
        }),
        ("CONNECT", &[405], good.clone().line("CONNECT keys.example.com:443 HTTP/1.1").bytes()),
        ("a bare LF", &[400], good.clone().with("X", "y\nZ: z").bytes()),
        ("a bare CR", &[400], good.clone().with("X", "y\rZ: z").bytes()),
        ("a bare LF at the head's end", &[400], {
            let mut bytes = good.head();
            bytes.truncate(bytes.len() - 2);
            [bytes, b"\n".to_vec(), good.body.clone()].concat()
        }),
        ("all lines with a bare LF", &[400], {
            let head = String::from_utf8(good.head()).expect("text").replace("\r\n", "\n");
            [head.into_bytes(), good.body.clone()].concat()
        }),
        ("a length beside an encoding", &[400], {
            good.clone().with("Content-Length", "4").with("Transfer-Encoding", "chunked").head()
        }),
        ("an encoding beside a length", &[400], {
            good.clone().with("Transfer-Encoding", "chunked").with("Content-Length", "4").head()
        }),
        ("encoded twice", &[400], good.clone().with("Transfer-Encoding", "gzip, chunked").bytes()),
        ("chunked twice", &[400], {
            good.clone().with("Transfer-Encoding", "chunked").with("Transfer-Encoding", "chunked").bytes()
        }),
        ("different lengths", &[400], good.clone().with("Content-Length", "2").with("Content-Length", "3").bytes()),
        ("a list of lengths", &[400], good.clone().with("Content-Length", "2, 2").bytes()),
        ("length with a sign", &[400], good.clone().with("Content-Length", "+2").bytes()),
        ("length below zero", &[400], good.clone().with("Content-Length", "-2").bytes()),
        ("length in hex", &[400], good.clone().with("Content-Length", "0x2").bytes()),
        ("length at the end of u64", &[400, 431], good.clone().with("Content-Length", "18446744073709551615").bytes()),
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
async fn a_chunked_body_that_two_readers_could_take_differently_is_cut_off() {
    let served = Served::start().await;
    let head = Post::app("").with("Transfer-Encoding", "chunked").head();
    let smuggled = Post::app(REGISTERED).bytes();
    for chunks in [
        "5\n12345\r\n0\r\n\r\n",
        "5\r\n12345\n0\r\n\r\n",
        "5 \r\n12345\r\n0\r\n\r\n",
        "0x5\r\n12345\r\n0\r\n\r\n",
        "5;\n12345\r\n0\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut wire = Wire::to(served.at).await;
        wire.send(&head).await.send(chunks.as_bytes()).await.send(&smuggled).await;
        assert_eq!(wire.answer().await.map(|answer| answer.status), Some(400), "{chunks:?}");
        assert!(wire.ends().await && served.published().is_empty(), "{chunks:?}");
    }
    let mut wire = Wire::to(served.at).await;
    wire.send(&head).await.send(b"0;x=y\r\nX: y\r\n\r\n").await.send(&smuggled).await;
    for _ in 0..2 {
        assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202), "extensions and trailers are read past");
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

/// A connection with a request under way: its head was read, as the 100 shows, and its body is waited for.
async fn busy(served: &Served) -> Wire {
    let mut wire = Wire::to(served.at).await;
    wire.send(&Post::app(REGISTERED).with("Expect", "100-continue").head()).await;
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(100));
    wire
}

#[tokio::test]
async fn beyond_the_limit_the_longest_idle_makes_room_and_a_busy_one_does_not() {
    let served = served(http::Limits { connections: 2, ..http::Limits::default() }).await;
    let mut silent = Wire::to(served.at).await;
    let mut first = busy(&served).await;
    let mut second = busy(&served).await;
    assert!(silent.ends().await, "it has waited longest, and nothing was under way");
    let mut third = Wire::to(served.at).await;
    let answer = third.answer().await.expect("it is told so");
    assert_eq!(
        (answer.status, answer.header("retry-after"), answer.header("connection")),
        (503, Some("5"), Some("close"))
    );
    assert!(third.ends().await);
    for wire in [&mut first, &mut second] {
        wire.send(REGISTERED.as_bytes()).await;
        assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202));
    }
    let mut fourth = Wire::to(served.at).await;
    fourth.send(&Post::app(REGISTERED).bytes()).await;
    assert_eq!(fourth.answer().await.map(|answer| answer.status), Some(202), "there is room again");
}

#[tokio::test]
async fn a_thousand_silent_connections_are_in_nobodys_way() {
    let served = served(http::Limits { connections: 20, connections_per_address: 10, ..http::Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(Wire::to(served.at).await);
    }
    for _ in 0..20 {
        let answer = exchange(served.at, &Post::app(REGISTERED).bytes()).await;
        assert_eq!(answer.map(|answer| answer.status), Some(202));
    }
}

#[tokio::test]
async fn one_address_has_its_share_and_a_trusted_proxy_speaks_for_many() {
    let limits = http::Limits { connections_per_address: 1, ..http::Limits::default() };
    let direct = served(limits.clone()).await;
    let _busy = busy(&direct).await;
    assert_eq!(Wire::to(direct.at).await.answer().await.map(|answer| answer.status), Some(503));

    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a block")];
    let proxied = served(http::Limits { trusted_proxies, ..limits }).await;
    let from = |client: &str| Post::app(REGISTERED).with("X-Forwarded-For", client);
    let mut held = Wire::to(proxied.at).await;
    held.send(&from("1.1.1.1, 203.0.113.5").with("Expect", "100-continue").head()).await;
    assert_eq!(held.answer().await.map(|answer| answer.status), Some(100));
    for (client, expected) in [("2.2.2.2, 203.0.113.5", 503), ("203.0.113.6", 202), ("::ffff:203.0.113.5", 503)] {
        let answer = exchange(proxied.at, &from(client).bytes()).await;
        assert_eq!(answer.map(|answer| answer.status), Some(expected), "{client}");
    }
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
