//! Reading server-sent events: bytes in, in whatever pieces they come; events out.

use std::mem;

/// What may pile up without the end of a line; a ledger line is far smaller.
const LINE_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    data: String,
}

/// The stream is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is no stream of events")]
pub(super) struct NotEvents;

impl Reader {
    /// The data of the events that end in `bytes`. Comments, ids and all other fields are passed over: each event's data
    /// has its number.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, NotEvents> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.data.len() > LINE_BYTES_MAX {
                return Err(NotEvents);
            }
            if piece.ends_with(b"\n") {
                let line = String::from_utf8(mem::take(&mut self.line)).map_err(|_| NotEvents)?;
                events.extend(self.take(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(events)
    }

    /// An empty line ends an event.
    fn take(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return Some(mem::take(&mut self.data)).filter(|data| !data.is_empty());
        }
        if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let stream = b": still here\n\nid: 1\ndata: {\"a\":1}\n\nid:2\r\ndata:{\"b\":\r\ndata: 2}\r\n\r\ndata: cut off";
        for size in 1..stream.len() {
            let mut reader = Reader::default();
            let events: Vec<String> =
                stream.chunks(size).flat_map(|bytes| reader.feed(bytes).expect("events")).collect();
            assert_eq!(events, ["{\"a\":1}", "{\"b\":\n2}"], "in pieces of {size}");
        }
    }

    #[test]
    fn what_never_ends_a_line_is_given_up() {
        let mut reader = Reader::default();
        assert_eq!(reader.feed(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(NotEvents));
    }
}
