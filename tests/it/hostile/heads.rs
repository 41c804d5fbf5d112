//! Heads that are broken, ambiguous or absurd.

use super::{CLOSED, Ignored, Refused, Row};

const BROKEN: super::Wants = Refused(&[400]);
const NO_PROOF: super::Wants = Refused(&[401]);
const NOT_HERE: super::Wants = Refused(&[404]);
const NOT_SO: super::Wants = Refused(&[405]);
const NOT_JSON: super::Wants = Refused(&[415]);

pub(super) const ROWS: &[Row] = &[
    ("no Host", BROKEN, |letter| letter.post().without("Host").bytes()),
    ("two Hosts", BROKEN, |letter| letter.post().with("Host", "evil.example").bytes()),
    ("two equal Hosts", BROKEN, |letter| letter.post().with("Host", "keys.example.com").bytes()),
    ("a list of Hosts", BROKEN, |letter| letter.post().set("Host", "a.example, b.example").bytes()),
    ("a Host with a user", BROKEN, |letter| letter.post().set("Host", "a@b.example").bytes()),
    ("an empty Host", BROKEN, |letter| letter.post().set("Host", "").bytes()),
    ("HTTP/1.0 without Host", Ignored, |letter| {
        letter.post().line("POST /webhooks/app HTTP/1.0").without("Host").bytes()
    }),
    ("HTTP/0.9", BROKEN, |letter| letter.post().line("POST /webhooks/app").bytes()),
    ("HTTP/9.9", BROKEN, |letter| letter.post().line("POST /webhooks/app HTTP/9.9").bytes()),
    ("HTTP/2 with prior knowledge", Refused(&[CLOSED, 400]), |_| b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
    ("an upgrade to h2c", Ignored, |letter| {
        letter
            .post()
            .with("Connection", "Upgrade, HTTP2-Settings")
            .with("Upgrade", "h2c")
            .with("HTTP2-Settings", "AAMA")
            .bytes()
    }),
    ("TLS", BROKEN, |_| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n".to_vec()),
    ("a bare LF after the request line", BROKEN, |letter| replaced(&letter.bytes(), "HTTP/1.1\r\n", "HTTP/1.1\n")),
    ("a bare LF after a header", BROKEN, |letter| replaced(&letter.bytes(), "example.com\r\n", "example.com\n")),
    ("a bare LF at the end of the head", BROKEN, |letter| replaced(&letter.bytes(), "\r\n\r\n", "\r\n\n")),
    ("a bare CR in a header", BROKEN, |letter| letter.post().with("X", "a\rb").bytes()),
    ("a folded header", BROKEN, |letter| letter.post().with("X", "a\r\n b").bytes()),
    ("a space before the colon", BROKEN, |letter| letter.post().with("X ", "y").bytes()),
    ("a length with a space before the colon", BROKEN, |letter| letter.post().with("Content-Length ", "4").bytes()),
    ("no colon", BROKEN, |letter| replaced(&letter.bytes(), "\r\n\r\n", "\r\nnonsense\r\n\r\n")),
    ("a header without a name", BROKEN, |letter| letter.post().with("", "y").bytes()),
    ("a NUL in a header", BROKEN, |letter| letter.post().with("X", "a\0b").bytes()),
    ("a NUL in a name", BROKEN, |letter| letter.post().with("X\0", "y").bytes()),
    ("two empty lines first", BROKEN, |letter| [b"\r\n\r\n", letter.bytes().as_slice()].concat()),
    ("one empty line first", Ignored, |letter| [b"\r\n", letter.bytes().as_slice()].concat()),
    ("two spaces in the request line", BROKEN, |letter| letter.post().line("POST  /webhooks/app HTTP/1.1").bytes()),
    ("GET", NOT_SO, |letter| letter.post().line("GET /webhooks/app HTTP/1.1").bytes()),
    ("PUT", NOT_SO, |letter| letter.post().line("PUT /webhooks/app HTTP/1.1").bytes()),
    ("TRACE", NOT_SO, |letter| letter.post().line("TRACE /webhooks/app HTTP/1.1").bytes()),
    ("CONNECT", NOT_SO, |letter| letter.post().line("CONNECT keys.example.com:443 HTTP/1.1").bytes()),
    ("post in small letters", NOT_SO, |letter| letter.post().line("post /webhooks/app HTTP/1.1").bytes()),
    ("an unknown method", NOT_SO, |letter| letter.post().line("BREW /webhooks/app HTTP/1.1").bytes()),
    ("a URI of 9 kB", Refused(&[414]), |letter| {
        letter.post().line(&format!("POST /webhooks/{} HTTP/1.1", "a".repeat(9000))).bytes()
    }),
    ("a query of 9 kB", Refused(&[414]), |letter| {
        letter.post().line(&format!("POST /webhooks/app?{} HTTP/1.1", "a".repeat(9000))).bytes()
    }),
    ("a URI of 100 kB", Refused(&[414, 431]), |letter| {
        letter.post().line(&format!("POST /{} HTTP/1.1", "a".repeat(100_000))).bytes()
    }),
    ("101 headers", Refused(&[431]), |letter| {
        (0..101).fold(letter.post(), |post, n| post.with(&format!("X-{n}"), "y")).bytes()
    }),
    ("10,000 headers", Refused(&[431]), |letter| {
        (0..10_000).fold(letter.post(), |post, n| post.with(&format!("X-{n}"), "y")).bytes()
    }),
    ("a header of 40 kB", Refused(&[431]), |letter| letter.post().with("X", "y".repeat(40_000)).bytes()),
    ("a head of a megabyte", Refused(&[431]), |letter| letter.post().with("X", "y".repeat(1_000_000)).bytes()),
    ("encoded dots and a slash", NO_PROOF, |letter| letter.post().line("POST /webhooks/%2e%2e%2fapp HTTP/1.1").bytes()),
    ("dots", Refused(&[401, 404]), |letter| letter.post().line("POST /webhooks/../app HTTP/1.1").bytes()),
    ("an encoded NUL", NO_PROOF, |letter| letter.post().line("POST /webhooks/app%00 HTTP/1.1").bytes()),
    ("an encoded line break", NO_PROOF, |letter| letter.post().line("POST /webhooks/app%0d%0a HTTP/1.1").bytes()),
    ("not UTF-8", NO_PROOF, |letter| letter.post().line("POST /webhooks/%ff HTTP/1.1").bytes()),
    ("an encoded letter", NO_PROOF, |letter| letter.post().line("POST /webhooks/%61pp HTTP/1.1").bytes()),
    ("capitals", NO_PROOF, |letter| letter.post().line("POST /webhooks/APP HTTP/1.1").bytes()),
    ("a slash at the end", NOT_HERE, |letter| letter.post().line("POST /webhooks/app/ HTTP/1.1").bytes()),
    ("two slashes", NOT_HERE, |letter| letter.post().line("POST //webhooks/app HTTP/1.1").bytes()),
    ("two slashes within", NOT_HERE, |letter| letter.post().line("POST /webhooks//app HTTP/1.1").bytes()),
    ("no name", NOT_HERE, |letter| letter.post().line("POST /webhooks/ HTTP/1.1").bytes()),
    ("the ops API's path", NOT_HERE, |letter| letter.post().line("POST /v1/plans HTTP/1.1").bytes()),
    ("the whole URI", Ignored, |letter| {
        letter.post().line("POST http://keys.example.com/webhooks/app HTTP/1.1").bytes()
    }),
    ("the whole URI of another host", BROKEN, |letter| {
        letter.post().line("POST http://evil.example/webhooks/app HTTP/1.1").bytes()
    }),
    ("a fragment", Refused(&[400, 401]), |letter| letter.post().line("POST /webhooks/nobody#app HTTP/1.1").bytes()),
    ("gzip", NOT_JSON, |letter| letter.post().with("Content-Encoding", "gzip").bytes()),
    ("br", NOT_JSON, |letter| letter.post().with("Content-Encoding", "br").bytes()),
    ("a form", NOT_JSON, |letter| letter.post().set("Content-Type", "application/x-www-form-urlencoded").bytes()),
    ("multipart", NOT_JSON, |letter| letter.post().set("Content-Type", "multipart/form-data; boundary=x").bytes()),
    ("UTF-16", NOT_JSON, |letter| letter.post().set("Content-Type", "application/json; charset=utf-16").bytes()),
    ("two content types", NOT_JSON, |letter| letter.post().with("Content-Type", "application/json").bytes()),
    ("no content type", Ignored, |letter| letter.post().without("Content-Type").bytes()),
    ("a spoofed client", Ignored, |letter| {
        letter
            .post()
            .with("X-Forwarded-For", "127.0.0.1, \u{1b}[31m".replace('\u{1b}', "x"))
            .with("Forwarded", "for=[::1]")
            .bytes()
    }),
    ("a broken traceparent", Ignored, |letter| letter.post().with("traceparent", "nonsense").bytes()),
];

fn replaced(bytes: &[u8], what: &str, by: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    assert!(text.contains(what), "{text:?} has {what:?}");
    text.replacen(what, by, 1).into_bytes()
}
