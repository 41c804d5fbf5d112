//! A request as somebody has caught it: its head and its body, as `nc`, a proxy's log, `tcpdump -A` or `curl -v` show them.
//!
//! Unlike the receiver's own reader this one is lenient: what a capture spoils (line ends, bytes before and after) is no
//! fault of the request. What it has left out or put right, it says.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What was caught.
#[derive(Debug)]
pub struct Captured {
    /// `None` where the capture begins with the headers.
    pub method: Option<String>,
    pub path: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What of the capture was left out or put right, a sentence each.
    pub notes: Vec<String>,
}

/// There is no request in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    #[error(
        "it has no header, like `Content-Type: application/json`: a request's head, an empty line and its body are expected"
    )]
    NoHead,
}

const METHODS: [&str; 7] = ["POST ", "PUT ", "GET ", "PATCH ", "DELETE ", "HEAD ", "OPTIONS "];

impl Captured {
    /// Reads a head, an empty line and a body; `body` takes the place of the latter.
    pub fn parse(bytes: &[u8], body: Option<Bytes>) -> Result<Self, CaptureError> {
        let mut notes = Vec::new();
        let start = start(bytes);
        if start > 0 {
            notes.push(format!("left out of the capture: {start} B in front of the request"));
        }
        let bytes = &bytes[start..];
        let (head, rest) = if bytes.starts_with(b"> ") { of_curl(bytes) } else { halves(bytes) };
        let (method, path, headers) = read_head(&head, &mut notes)?;
        let mut captured = Self { method, path, headers, body: Bytes::copy_from_slice(&rest), notes };
        match body {
            Some(body) => captured.body = body,
            None => captured.delimit(),
        }
        Ok(captured)
    }

    /// Takes the body out of what the capture has after the head.
    fn delimit(&mut self) {
        let is_chunked = self.headers.get(TRANSFER_ENCODING).is_some_and(|it| it.as_bytes().ends_with(b"chunked"));
        if is_chunked && let Some(body) = joined(&self.body) {
            self.body = body;
            self.notes.push("the body's chunks were joined".to_owned());
        }
        let declared = self.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
        let caught = self.body.len();
        match declared {
            Some(declared) if declared < caught => {
                self.body.truncate(declared);
                self.notes.push(format!("left out of the capture: {} B behind the body", caught - declared));
            }
            Some(declared) if declared > caught => self.notes.push(format!(
                "the body had {declared} bytes (Content-Length), and the capture has {caught} of them: it was cut off, \
                 or its line ends were changed"
            )),
            _ => {}
        }
    }
}

/// Where the first line of a request is; where there is none, the capture begins with its headers.
fn start(bytes: &[u8]) -> usize {
    let is_request_line = |at: usize| {
        let line = bytes[at..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_prefix(b"> ").unwrap_or(line);
        METHODS.iter().any(|method| line.starts_with(method.as_bytes()))
            && line.windows(6).any(|part| part == b" HTTP/")
    };
    // At the beginning of a line if possible; a packet's headers stand before it on the same one.
    let starts_line = |at: &usize| *at == 0 || bytes[at - 1] == b'\n';
    let all = 0..bytes.len();
    let found = all.clone().filter(starts_line).find(|at| is_request_line(*at));
    found.or_else(|| all.clone().find(|at| is_request_line(*at))).unwrap_or_default()
}

/// Head and body, apart at the first empty line of either kind.
fn halves(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[at..at + length];
        if line.is_empty() || line == b"\r" {
            return (bytes[..at].to_vec(), bytes[at + length + 1..].to_vec());
        }
        at += length + 1;
    }
    (bytes.to_vec(), Vec::new())
}

/// `curl -v` marks each line of the head, and shows no body; somebody may have put it behind.
fn of_curl(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut head = Vec::new();
    let mut rest = bytes;
    while let Some(line) = rest.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.starts_with(b">")) {
        rest = &rest[line.len()..];
        head.extend_from_slice(line.strip_prefix(b"> ").or_else(|| line.strip_prefix(b">")).unwrap_or(line));
    }
    let is_curls = [&b"* "[..], b"< ", b"{ [", b"} ["].iter().any(|mark| rest.starts_with(mark));
    (head, if is_curls { Vec::new() } else { rest.to_vec() })
}

type Head = (Option<String>, Option<String>, HeaderMap);

fn read_head(head: &[u8], notes: &mut Vec<String>) -> Result<Head, CaptureError> {
    let (mut method, mut path, mut headers) = (None, None, HeaderMap::new());
    for (index, line) in head.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if index == 0 && METHODS.iter().any(|method| line.starts_with(method.as_bytes())) {
            let mut words = str::from_utf8(line).unwrap_or_default().split(' ').map(str::to_owned);
            (method, path) = (words.next(), words.next());
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let header = line.split_once_at(b':').and_then(|(name, value)| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value.trim_ascii()).ok()?))
        });
        match header {
            Some((name, value)) => drop(headers.append(name, value)),
            None => notes.push(format!("line {} of the head is no header, and was left out", index + 1)),
        }
    }
    if headers.is_empty() { Err(CaptureError::NoHead) } else { Ok((method, path, headers)) }
}

trait SplitOnceAt {
    fn split_once_at(&self, byte: u8) -> Option<(&[u8], &[u8])>;
}

impl SplitOnceAt for [u8] {
    fn split_once_at(&self, byte: u8) -> Option<(&[u8], &[u8])> {
        let at = self.iter().position(|it| *it == byte)?;
        Some((&self[..at], &self[at + 1..]))
    }
}

/// The chunks of a chunked body, joined; `None` where it is not chunked after all: many tools show it joined already.
fn joined(mut bytes: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = bytes.split_once_at(b'\n')?;
        let size = str::from_utf8(line.trim_ascii()).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body.into());
        }
        body.extend_from_slice(rest.get(..size)?);
        let rest = rest.get(size..)?;
        bytes = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Captured {
        Captured::parse(text.as_bytes(), None).expect("a request")
    }

    #[test]
    fn a_request_is_found_in_what_the_usual_tools_show() {
        let plain = "POST /webhooks/app HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        let cases = [
            plain.to_owned(),
            plain.replace('\r', ""),
            // An editor, or nc's operator.
            format!("{plain}\n"),
            format!("E..\u{1}@.@.....P..\u{18}....{plain}\n10:40:05.1 IP6 localhost > localhost: Flags [.]\n"),
            "*   Trying 127.0.0.1:8080...\n* Connected\n> POST /webhooks/app HTTP/1.1\r\n> Host: a\r\n> Content-Length: 2\r\n> \r\n{}"
                .to_owned(),
            plain.replace("Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n"),
            plain.replace("Content-Length: 2", "Transfer-Encoding: chunked"),
            plain["POST /webhooks/app HTTP/1.1\r\n".len()..].to_owned(),
        ];
        for text in cases {
            let captured = parsed(&text);
            assert_eq!(captured.body, "{}", "{text}");
            assert_eq!(captured.headers["host"], "a", "{text}");
            assert!(captured.path.is_none_or(|path| path == "/webhooks/app"), "{text}");
        }
    }

    #[test]
    fn what_a_capture_lacks_is_said() {
        let short = parsed("POST / HTTP/1.1\nContent-Length: 9\nno header\n\n{}");
        assert_eq!(short.notes.len(), 2, "{:?}", short.notes);
        assert!(short.notes[0].contains("line 3") && short.notes[1].contains("cut off"), "{:?}", short.notes);
        assert_eq!(parsed("> POST / HTTP/1.1\n> Host: a\n>\n< HTTP/1.1 401\n").body, "");
        for nothing in ["", "{}", "POST / HTTP/1.1\n\n{}"] {
            assert_eq!(Captured::parse(nothing.as_bytes(), None).expect_err("no head"), CaptureError::NoHead);
        }
        let given = Captured::parse(b"Host: a\n\n", Some(Bytes::from_static(b"{}"))).expect("a request");
        assert_eq!(given.body, "{}");
    }
}
