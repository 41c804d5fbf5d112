//! An upstream that answers by script, byte by byte where need be, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to do with one request.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Debug, Clone, Copy)]
enum Then {
    /// Wait for the next request on this connection.
    Keep,
    /// End the connection in order.
    Close,
    /// End it with a reset.
    Reset,
    /// Say nothing more, until the client goes.
    Hang,
    /// Say a byte at a time, until the client goes.
    Drip,
    /// Say blanks as fast as they are taken, until the client goes.
    Flood,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::http(status, &[("content-type", "application/json")], &body.to_string())
    }

    pub(super) fn http(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head = vec![format!("HTTP/1.1 {status} -"), format!("content-length: {}", body.len())];
        head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        Self::raw(&format!("{}\r\n\r\n{body}", head.join("\r\n")), Then::Keep)
    }

    fn raw(bytes: &str, then: Then) -> Self {
        Self { bytes: bytes.as_bytes().to_vec(), then }
    }

    pub(super) fn cut() -> Self {
        Self::raw("", Then::Close)
    }

    pub(super) fn reset() -> Self {
        Self::raw("", Then::Reset)
    }

    pub(super) fn hang() -> Self {
        Self::raw("", Then::Hang)
    }

    pub(super) fn nonsense() -> Self {
        Self::raw("SSH-2.0-OpenSSH_9.9\r\n", Then::Close)
    }

    pub(super) fn half_a_head() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ncontent-le", Then::Close)
    }

    pub(super) fn truncated(status: u16) -> Self {
        Self::raw(&format!("HTTP/1.1 {status} -\r\ncontent-length: 1000\r\n\r\n{{\"acs_cred"), Then::Close)
    }

    pub(super) fn drip() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", Then::Drip)
    }

    pub(super) fn flood() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", Then::Flood)
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Header lines, names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Value,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct Log {
    script: VecDeque<Answer>,
    requests: Vec<Request>,
    connections: usize,
}

pub(super) struct Upstream {
    pub(super) endpoint: String,
    log: Arc<Mutex<Log>>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Answers requests in the script's order, on whichever connection they come; after its end, with 599.
    pub(super) async fn answering(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let log = Arc::new(Mutex::new(Log { script: script.into_iter().collect(), ..Log::default() }));
        let server = tokio::spawn(accept(listener, Arc::clone(&log)));
        Self { endpoint, log, server }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.log.lock().expect("the log").requests.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.log.lock().expect("the log").connections
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, log: Arc<Mutex<Log>>) {
    while let Ok((stream, _)) = listener.accept().await {
        log.lock().expect("the log").connections += 1;
        tokio::spawn(converse(stream, Arc::clone(&log)));
    }
}

async fn converse(mut stream: TcpStream, log: Arc<Mutex<Log>>) {
    while let Some(request) = read_request(&mut stream).await {
        let answer = {
            let mut log = log.lock().expect("the log");
            log.requests.push(request);
            log.script.pop_front().unwrap_or_else(|| Answer::http(599, &[], "the script has ended"))
        };
        if stream.write_all(&answer.bytes).await.is_err() {
            return;
        }
        match answer.then {
            Then::Keep => {}
            Then::Close => return,
            Then::Reset => return stream.set_zero_linger().expect("linger"),
            Then::Hang => return drain(&mut stream).await,
            Then::Drip => return drip(&mut stream).await,
            Then::Flood => while stream.write_all(&[b' '; 16 * 1024]).await.is_ok() {},
        }
    }
}

async fn drain(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

async fn drip(stream: &mut TcpStream) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while stream.write_all(b" ").await.is_ok() {
        tick.tick().await;
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..head_len].to_vec()).expect("a head of text");
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (first.next()?, first.next()?);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().expect("a length"));
    while bytes.len() < head_len + length {
        read_more(stream, &mut bytes).await?;
    }
    let body = serde_json::from_slice(&bytes[head_len..]).expect("a request in JSON");
    Some(Request { method, path, headers, body })
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    stream.read_buf(bytes).await.ok().filter(|&read| read > 0).map(drop)
}
