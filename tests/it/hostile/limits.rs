//! What holds connections, and what comes behind an error on the same one.

use super::CLOSED;
use super::fort::Fort;
use super::letter::Letter;
use crate::support::ground::Shape;

const SILENT: usize = 1500;

#[tokio::test]
async fn silent_and_slow_connections_are_in_nobodys_way() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let mut held = Vec::new();
    for count in 0..SILENT {
        let mut wire = fort.wire().await;
        // In turn: nothing at all, half a head, a head whose body does not come.
        match count % 30 {
            0 => drop(wire.send(&Letter::new().post().head()).await),
            1..10 => drop(wire.send(&Letter::new().post().head()[..40]).await),
            _ => {}
        }
        held.push(wire);
    }
    for _ in 0..20 {
        fort.left("silence", &[]).await;
    }
    fort.is_small();
}

#[tokio::test]
async fn bodies_that_do_not_come_hold_no_memory() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut wire = fort.wire().await;
        let letter = Letter::new().body(vec![b' '; 256 * 1024]);
        wire.send(&letter.post().head()).await.send(&letter.body[..1000]).await;
        held.push(wire);
    }
    fort.left("bodies that do not come", &[]).await;
    fort.is_small();
}

#[tokio::test]
async fn what_follows_an_error_is_not_read_as_a_request() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let good = |letter: Letter| letter.bytes();
    for first in [
        Letter::new().post().with("X", "a\nb").bytes(),
        Letter::new().post().without("Host").bytes(),
        Letter::new().post().with("Content-Length", "4").with("Transfer-Encoding", "chunked").bytes(),
        Letter::new().post().with("Content-Length", "300000").bytes(),
        Letter::new().post().set("Content-Type", "text/plain").bytes(),
        [Letter::new().post().with("Transfer-Encoding", "chunked").head(), b"5\n12345\r\n0\r\n\r\n".to_vec()].concat(),
    ] {
        let mut wire = fort.wire().await;
        wire.send(&first).await.send(&good(Letter::new())).await;
        let status = wire.answer().await.map_or(CLOSED, |answer| answer.status);
        assert!((400..500).contains(&status), "{status}");
        assert!(wire.ends().await, "and then it is over");
        fort.left("something after an error", &[]).await;
    }
    let mut wire = fort.wire().await;
    wire.send(&[Letter::new().signed_as("v1,x"), good(Letter::new())].concat()).await;
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(401), "a clear request without proof");
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202), "does not harm the next");
    fort.left("a refusal on a connection that went on", &["event.ignored"]).await;
}

#[tokio::test]
async fn a_length_that_lies_hides_no_request() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let hidden = Letter::new().bytes();
    let mut short = fort.wire().await;
    short.send(&Letter::new().post().with("Content-Length", "10").bytes()).await.send(&hidden).await;
    assert_eq!(short.answer().await.map(|answer| answer.status), Some(401), "ten bytes are not what was signed");
    assert_eq!(short.answer().await.map(|answer| answer.status), Some(400), "what is left of the body is no request");
    assert!(short.ends().await);
    let mut long = fort.wire().await;
    let length = (Letter::new().body.len() + hidden.len()).to_string();
    long.send(&Letter::new().post().with("Content-Length", length).bytes()).await.send(&hidden).await;
    assert_eq!(long.answer().await.map(|answer| answer.status), Some(401), "the hidden one is a part of the body");
    let mut cut = fort.wire().await;
    cut.send(&Letter::new().post().with("Content-Length", "1000").bytes()).await.finish_writing().await;
    assert_eq!(cut.answer().await.map(|answer| answer.status), Some(400), "less came than was announced");
    fort.left("lengths that lie", &[]).await;
}

#[tokio::test]
async fn an_expectation_does_not_hold_a_connection_beyond_its_time() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let mut wire = fort.wire().await;
    let letter = Letter::new();
    wire.send(&letter.post().with("Expect", "100-continue").head()).await;
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(100));
    assert_eq!(wire.answer().await.map(|answer| answer.status), Some(408), "after 15 s");
    wire.send(&letter.body).await;
    assert!(wire.ends().await);
    fort.left("an expectation that was not met", &[]).await;
}
