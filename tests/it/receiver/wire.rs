//! HTTP by hand, since an HTTP client would repair what these tests break.

use std::net::SocketAddr;

use keyferry::receiver::Kind;
use keyferry::receiver::verify::standard_webhooks::sign;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{APP_SECRET, DEADLINE, SECRET, secret, sent_at};

/// A `phone.registered` as the customer's backend sends it.
pub(crate) const REGISTERED: &str = r#"{"event_id":"5b0f6f0e-0000-4000-8000-000000000001","event_type":"phone.registered","occurred_at":"2026-03-01T10:40:00.000Z","user_identity_id":"33333333-0000-4000-8000-333333333333","device_id":"88888888-0000-4000-8000-888888888888"}"#;

/// A request under construction: a good one, to be spoilt.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Post {
    /// What source `seam` delivers.
    pub(crate) fn seam(body: impl Into<Vec<u8>>) -> Self {
        Self::signed("seam", Kind::Seam, SECRET, body.into())
    }

    /// What source `app` delivers.
    pub(crate) fn app(body: impl Into<Vec<u8>>) -> Self {
        Self::signed("app", Kind::Standard, APP_SECRET, body.into())
    }

    pub(crate) fn signed(source: &str, kind: Kind, with: &str, body: Vec<u8>) -> Self {
        let (id, family) = ("msg_2b3NkjBGxTG5pVQa4Fv1xvz6z0e", kind.family());
        let signature = sign(&secret(with), id, sent_at(), &body);
        Self { line: format!("POST /webhooks/{source} HTTP/1.1"), headers: Vec::new(), body }
            .with("Host", "keys.example.com")
            .with("Content-Type", "application/json")
            .with(family.id().as_str(), id)
            .with(family.timestamp().as_str(), sent_at().as_second().to_string())
            .with(family.signature().as_str(), signature)
    }

    pub(crate) fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// One more header line.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| present != name);
        self
    }

    /// Another value of a header.
    pub(crate) fn set(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.without(name).with(name, value)
    }

    /// Other bytes under the same signature.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Head and body, with a length unless one is given.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let framed = |(name, _): &(String, Vec<u8>)| name == "Content-Length" || name == "Transfer-Encoding";
        if !self.headers.iter().any(framed) {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes
    }

    /// The body in chunks of a thousand bytes.
    pub(crate) fn chunked(self) -> Vec<u8> {
        let post = self.with("Transfer-Encoding", "chunked");
        let mut bytes = post.head();
        for chunk in post.body.chunks(1000) {
            bytes.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }
}

/// A connection that can be left half-way.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) async fn to(at: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(at).await.expect("it listens"), unread: Vec::new() }
    }

    /// Writes what the other side is willing to take.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> &mut Self {
        // A server may have answered and hung up before the last byte: that is for the answer to show.
        let _ = timeout(DEADLINE, self.stream.write_all(bytes)).await.expect("it takes bytes or hangs up");
        self
    }

    pub(crate) async fn finish_writing(&mut self) -> &mut Self {
        self.stream.shutdown().await.expect("the connection is open");
        self
    }

    /// The next answer; `None` when the connection ends without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(DEADLINE, self.next_answer()).await.expect("it answers or hangs up")
    }

    /// Whether the connection ends now, with nothing more said.
    pub(crate) async fn ends(&mut self) -> bool {
        self.answer().await.is_none() && self.unread.is_empty()
    }

    async fn next_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if !self.read_more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).expect("an ASCII head");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let status = status.parse().expect("a status");
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        while self.unread.len() < length && self.read_more().await {}
        answer.body = self.unread.drain(..length).collect();
        Some(answer)
    }

    async fn read_more(&mut self) -> bool {
        self.stream.read_buf(&mut self.unread).await.is_ok_and(|count| count > 0)
    }
}

/// One request on a connection of its own.
pub(crate) async fn exchange(at: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    Wire::to(at).await.send(bytes).await.answer().await
}
