//! Heads that are broken, ambiguous or absurd.

use super::{CLOSED, Ignored, Refused, Row};

const BROKEN: super::Wants = Refused(&[400]);
const NO_PROOF: super::Wants = Refused(&[401]);
const NOT_HERE: super::Wants = Refused(&[404]);
const NOT_SO: super::Wants = Refused(&[405]);
const NOT_JSON: super::Wants = Refused(&[415]);

pub(super) const ROWS: &[Row] = &[
    ("B65", "no Host", BROKEN, |letter| letter.post().without("Host").bytes()),
    ("B65", "two Hosts", BROKEN, |letter| letter.post().with("Host", "evil.example").bytes()),
    ("B65", "two equal Hosts", BROKEN, |letter| letter.post().with("Host", "keys.example.com").bytes()),
    ("B65", "a list of Hosts", BROKEN, |letter| letter.post().set("Host", "a.example, b.example").bytes()),
    ("B65", "a Host with a user", BROKEN, |letter| letter.post().set("Host", "a@b.example").bytes()),
    ("B65", "an empty Host", BROKEN, |letter| letter.post().set("Host", "").bytes()),
    ("B66", "HTTP/1.0 without Host", Ignored, |letter| {
        letter.post().line("POST /webhooks/app HTTP/1.0").without("Host").bytes()
    }),
    ("B66", "HTTP/0.9", BROKEN, |letter| letter.post().line("POST /webhooks/app").bytes()),
    ("B66", "HTTP/9.9", BROKEN, |letter| letter.post().line("POST /webhooks/app HTTP/9.9").bytes()),
    ("B66 B71", "HTTP/2 with prior knowledge", Refused(&[CLOSED, 400]), |_| {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }),
    ("B66", "an upgrade to h2c", Ignored, |letter| {
        letter
            .post()
            .with("Connection", "Upgrade, HTTP2-Settings")
            .with("Upgrade", "h2c")
            .with("HTTP2-Settings", "AAMA")
            .bytes()
    }),
    ("B66", "TLS", BROKEN, |_| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n".to_vec()),
    ("B64", "a bare LF after the request line", BROKEN, |letter| {
        replaced(&letter.bytes(), "HTTP/1.1\r\n", "HTTP/1.1\n")
    }),
    ("B64", "a bare LF after a header", BROKEN, |letter| replaced(&letter.bytes(), "example.com\r\n", "example.com\n")),
    ("B64", "a bare LF at the end of the head", BROKEN, |letter| replaced(&letter.bytes(), "\r\n\r\n", "\r\n\n")),
    ("B64", "a bare CR in a header", BROKEN, |letter| letter.post().with("X", "a\rb").bytes()),
    ("B64", "a folded header", BROKEN, |letter| letter.post().with("X", "a\r\n b").bytes()),
    ("B64", "a space before the colon", BROKEN, |letter| letter.post().with("X ", "y").bytes()),
    ("B64", "a length with a space before the colon", BROKEN, |letter| {
        letter.post().with("Content-Length ", "4").bytes()
    }),
    ("B64", "no colon", BROKEN, |letter| replaced(&letter.bytes(), "\r\n\r\n", "\r\nnonsense\r\n\r\n")),
    ("B64", "a header without a name", BROKEN, |letter| letter.post().with("", "y").bytes()),
    ("B64", "a NUL in a header", BROKEN, |letter| letter.post().with("X", "a\0b").bytes()),
    ("B64", "a NUL in a name", BROKEN, |letter| letter.post().with("X\0", "y").bytes()),
    ("B64", "two empty lines first", BROKEN, |letter| [b"\r\n\r\n", letter.bytes().as_slice()].concat()),
    ("B64", "one empty line first", Ignored, |letter| [b"\r\n", letter.bytes().as_slice()].concat()),
    ("B64", "two spaces in the request line", BROKEN, |letter| {
        letter.post().line("POST  /webhooks/app HTTP/1.1").bytes()
    }),
    ("B66", "GET", NOT_SO, |letter| letter.post().line("GET /webhooks/app HTTP/1.1").bytes()),
    ("B66", "PUT", NOT_SO, |letter| letter.post().line("PUT /webhooks/app HTTP/1.1").bytes()),
    ("B66", "TRACE", NOT_SO, |letter| letter.post().line("TRACE /webhooks/app HTTP/1.1").bytes()),
    ("B66", "CONNECT", NOT_SO, |letter| letter.post().line("CONNECT keys.example.com:443 HTTP/1.1").bytes()),
    ("B66", "post in small letters", NOT_SO, |letter| letter.post().line("post /webhooks/app HTTP/1.1").bytes()),
    ("B66", "an unknown method", NOT_SO, |letter| letter.post().line("BREW /webhooks/app HTTP/1.1").bytes()),
    ("B67", "a URI of 9 kB", Refused(&[414]), |letter| {
        letter.post().line(&format!("POST /webhooks/{} HTTP/1.1", "a".repeat(9000))).bytes()
    }),
    ("B67", "a query of 9 kB", Refused(&[414]), |letter| {
        letter.post().line(&format!("POST /webhooks/app?{} HTTP/1.1", "a".repeat(9000))).bytes()
    }),
    ("B67", "a URI of 100 kB", Refused(&[414, 431]), |letter| {
        letter.post().line(&format!("POST /{} HTTP/1.1", "a".repeat(100_000))).bytes()
    }),
    ("B63", "101 headers", Refused(&[431]), |letter| {
        (0..101).fold(letter.post(), |post, n| post.with(&format!("X-{n}"), "y")).bytes()
    }),
    ("B63", "10,000 headers", Refused(&[431]), |letter| {
        (0..10_000).fold(letter.post(), |post, n| post.with(&format!("X-{n}"), "y")).bytes()
    }),
    ("B63", "a header of 40 kB", Refused(&[431]), |letter| letter.post().with("X", "y".repeat(40_000)).bytes()),
    ("B63", "a head of a megabyte", Refused(&[431]), |letter| letter.post().with("X", "y".repeat(1_000_000)).bytes()),
    ("B68", "encoded dots and a slash", NO_PROOF, |letter| {
        letter.post().line("POST /webhooks/%2e%2e%2fapp HTTP/1.1").bytes()
    }),
    ("B68", "dots", Refused(&[401, 404]), |letter| letter.post().line("POST /webhooks/../app HTTP/1.1").bytes()),
    ("B68", "an encoded NUL", NO_PROOF, |letter| letter.post().line("POST /webhooks/app%00 HTTP/1.1").bytes()),
    ("B68", "an encoded line break", NO_PROOF, |letter| {
        letter.post().line("POST /webhooks/app%0d%0a HTTP/1.1").bytes()
    }),
    ("B68", "not UTF-8", NO_PROOF, |letter| letter.post().line("POST /webhooks/%ff HTTP/1.1").bytes()),
    ("B68", "an encoded letter", NO_PROOF, |letter| letter.post().line("POST /webhooks/%61pp HTTP/1.1").bytes()),
    ("B68", "capitals", NO_PROOF, |letter| letter.post().line("POST /webhooks/APP HTTP/1.1").bytes()),
    ("B68", "a slash at the end", NOT_HERE, |letter| letter.post().line("POST /webhooks/app/ HTTP/1.1").bytes()),
    ("B68", "two slashes", NOT_HERE, |letter| letter.post().line("POST //webhooks/app HTTP/1.1").bytes()),
    ("B68", "two slashes within", NOT_HERE, |letter| letter.post().line("POST /webhooks//app HTTP/1.1").bytes()),
    ("B68", "no name", NOT_HERE, |letter| letter.post().line("POST /webhooks/ HTTP/1.1").bytes()),
    ("B68", "the ops API's path", NOT_HERE, |letter| letter.post().line("POST /v1/plans HTTP/1.1").bytes()),
    ("B68", "the whole URI", Ignored, |letter| {
        letter.post().line("POST http://keys.example.com/webhooks/app HTTP/1.1").bytes()
    }),
    ("B68", "the whole URI of another host", BROKEN, |letter| {
        letter.post().line("POST http://evil.example/webhooks/app HTTP/1.1").bytes()
    }),
    ("B68", "a fragment", Refused(&[400, 401]), |letter| {
        letter.post().line("POST /webhooks/nobody#app HTTP/1.1").bytes()
    }),
    ("B69", "gzip", NOT_JSON, |letter| letter.post().with("Content-Encoding", "gzip").bytes()),
    ("B69", "br", NOT_JSON, |letter| letter.post().with("Content-Encoding", "br").bytes()),
    ("B70", "a form", NOT_JSON, |letter| {
        letter.post().set("Content-Type", "application/x-www-form-urlencoded").bytes()
    }),
    ("B70", "multipart", NOT_JSON, |letter| {
        letter.post().set("Content-Type", "multipart/form-data; boundary=x").bytes()
    }),
    ("B70", "UTF-16", NOT_JSON, |letter| letter.post().set("Content-Type", "application/json; charset=utf-16").bytes()),
    ("B70", "two content types", NOT_JSON, |letter| letter.post().with("Content-Type", "application/json").bytes()),
    ("B70", "no content type", Ignored, |letter| letter.post().without("Content-Type").bytes()),
    ("B72", "a spoofed client", Ignored, |letter| {
        letter
            .post()
            .with("X-Forwarded-For", "127.0.0.1, \u{1b}[31m".replace('\u{1b}', "x"))
            .with("Forwarded", "for=[::1]")
            .bytes()
    }),
    ("B72", "a client of IPv4 mapped to IPv6", Ignored, |letter| {
        letter.post().with("X-Forwarded-For", "::ffff:10.0.0.1, nonsense, 256.1.1.1").bytes()
    }),
    ("B76", "the ops API's token", NOT_HERE, |letter| {
        letter.post().line("GET /v1/status HTTP/1.1").with("Authorization", "Bearer s3cret").bytes()
    }),
    ("B74", "a broken traceparent", Ignored, |letter| letter.post().with("traceparent", "nonsense").bytes()),
];

fn replaced(bytes: &[u8], what: &str, by: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    assert!(text.contains(what), "{text:?} has {what:?}");
    text.replacen(what, by, 1).into_bytes()
}
