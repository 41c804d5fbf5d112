//! Where one request ends and the next begins, as strictly as the strictest proxy in front of us would see it.
//!
//! hyper reads what it can: a bare LF for a line's end, a length beside a transfer encoding. A proxy that reads the same
//! bytes differently sees other requests than we do, and whoever knows both can hide one in the other. So every byte
//! passes here first, and at the first that two readers could take differently the connection's input ends: within a
//! head a NUL takes that byte's place, which hyper answers with 400; within a body nothing more comes, which is a body
//! cut off. A body of declared length is only counted.

/// Bytes kept of a line: more than the two headers that matter here can mean.
const LINE_BYTES_KEPT: usize = 48;
/// Digits of a chunk's size: a `u64` has no more.
const SIZE_DIGITS_MAX: usize = 16;

/// What one connection's reader knows of the requests in it.
#[derive(Debug, Default)]
pub(super) struct Framing {
    part: Part,
    line: Line,
    length: Option<u64>,
    is_chunked: bool,
    is_after_blank: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The request line, or one empty line before it.
    #[default]
    Start,
    Fields,
    /// So many bytes of a body of declared length.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// Nothing more is let through.
    Over,
}

#[derive(Debug)]
struct Line {
    kept: [u8; LINE_BYTES_KEPT],
    bytes: usize,
    is_after_cr: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self { kept: [0; LINE_BYTES_KEPT], bytes: 0, is_after_cr: false }
    }
}

/// Two readers could take what stands here differently.
#[derive(Debug, PartialEq, Eq)]
struct Ambiguous;

impl Framing {
    /// Looks at bytes that have just been read. Returns how many of them may go on; fewer than all means that nothing
    /// may follow them.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.part {
                Part::Over => return at,
                Part::Body(left) => at += self.skip(left, bytes.len() - at, Part::Body, Part::Start),
                Part::ChunkData(left) => at += self.skip(left, bytes.len() - at, Part::ChunkData, Part::ChunkEnd),
                Part::Start | Part::Fields | Part::ChunkSize | Part::ChunkEnd | Part::Trailers => {
                    at += self.line.push(&bytes[at..]);
                    if at == bytes.len() {
                        break;
                    }
                    if self.byte(bytes[at]).is_err() {
                        let is_head = matches!(self.part, Part::Start | Part::Fields);
                        self.part = Part::Over;
                        if is_head {
                            bytes[at] = 0;
                        }
                        return at + usize::from(is_head);
                    }
                    at += 1;
                }
            }
        }
        at
    }

    /// Whether the input was ended here.
    pub(super) fn is_over(&self) -> bool {
        self.part == Part::Over
    }

    fn skip(&mut self, left: u64, there: usize, more: fn(u64) -> Part, then: Part) -> usize {
        let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let left = left - skipped as u64;
        self.part = if left == 0 { then } else { more(left) };
        skipped
    }

    /// A byte with which a line may end, or that follows a CR.
    fn byte(&mut self, byte: u8) -> Result<(), Ambiguous> {
        match (self.line.is_after_cr, byte) {
            (true, b'\n') => {
                let line = std::mem::take(&mut self.line);
                self.part = self.after(&line)?;
                Ok(())
            }
            (false, b'\r') => {
                self.line.is_after_cr = true;
                Ok(())
            }
            _ => Err(Ambiguous),
        }
    }

    /// What comes after a line that has ended.
    fn after(&mut self, line: &Line) -> Result<Part, Ambiguous> {
        match (self.part, line.bytes) {
            (Part::Start, 0) if self.is_after_blank => Err(Ambiguous),
            (Part::Start, 0) => {
                self.is_after_blank = true;
                Ok(Part::Start)
            }
            (Part::Start, _) => {
                *self = Self::default();
                Ok(Part::Fields)
            }
            (Part::Fields, 0) => self.body(),
            (Part::Fields, _) => self.field(line).map(|()| Part::Fields),
            (Part::ChunkSize, _) => line.chunk_size().map(|size| match size {
                0 => Part::Trailers,
                size => Part::ChunkData(size),
            }),
            (Part::ChunkEnd, 0) => Ok(Part::ChunkSize),
            (Part::Trailers, 0) => Ok(Part::Start),
            (Part::Trailers, _) if !line.is_folded() => Ok(Part::Trailers),
            _ => Err(Ambiguous),
        }
    }

    fn field(&mut self, line: &Line) -> Result<(), Ambiguous> {
        if line.is_folded() {
            return Err(Ambiguous);
        }
        // hyper refuses a name with anything but token characters in it, so it cannot be one of ours in disguise.
        let kept = line.kept();
        let colon = kept.iter().position(|byte| *byte == b':').unwrap_or(kept.len());
        let (name, value) = (&kept[..colon], kept.get(colon + 1..).unwrap_or_default().trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = Some(line.whole(value)?).and_then(decimal).ok_or(Ambiguous)?;
            if self.length.is_some_and(|other| other != length) {
                return Err(Ambiguous);
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !line.whole(value)?.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn body(&self) -> Result<Part, Ambiguous> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(Ambiguous),
            (None, true) => Ok(Part::ChunkSize),
            (Some(0) | None, false) => Ok(Part::Start),
            (Some(length), false) => Ok(Part::Body(length)),
        }
    }
}

impl Line {
    /// Takes what stands before the next CR or LF, unless a CR was just before; how many bytes that is.
    fn push(&mut self, bytes: &[u8]) -> usize {
        if self.is_after_cr {
            return 0;
        }
        let count = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        if let Some(free) = self.kept.get_mut(self.bytes..) {
            let kept = count.min(free.len());
            free[..kept].copy_from_slice(&bytes[..kept]);
        }
        self.bytes += count;
        count
    }

    fn kept(&self) -> &[u8] {
        &self.kept[..self.bytes.min(LINE_BYTES_KEPT)]
    }

    /// `value`, unless it goes on beyond what was kept.
    fn whole<'v>(&self, value: &'v [u8]) -> Result<&'v [u8], Ambiguous> {
        if self.bytes > LINE_BYTES_KEPT { Err(Ambiguous) } else { Ok(value) }
    }

    /// It goes on where the line before it ended.
    fn is_folded(&self) -> bool {
        matches!(self.kept().first(), Some(b' ' | b'\t'))
    }

    /// Hexadecimal digits, and an extension or nothing.
    fn chunk_size(&self) -> Result<u64, Ambiguous> {
        let digits = self.kept().split(|byte| *byte == b';').next().unwrap_or_default();
        let is_size = (1..=SIZE_DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let size = str::from_utf8(digits).ok().filter(|_| is_size);
        size.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Ambiguous)
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: x\r\n";

    /// What is let through, and whether the input ended there.
    fn passed(input: &str) -> (String, bool) {
        let mut framing = Framing::default();
        let mut bytes = input.as_bytes().to_vec();
        let kept = framing.pass(&mut bytes);
        bytes.truncate(kept);
        (String::from_utf8(bytes).expect("text"), framing.is_over())
    }

    #[test]
    fn clear_requests_pass_one_after_the_other() {
        let requests = [
            format!("{HEAD}\r\n"),
            format!("\r\n{HEAD}\r\n"),
            format!("{HEAD}Content-Length: 5\r\n\r\n\n\r\n\0\n"),
            format!("{HEAD}content-length:5\r\nContent-Length: 5 \r\n\r\n12345"),
            format!(
                "{HEAD}Transfer-Encoding: Chunked\r\n\r\n5\r\n\n\r\n\0\n\r\nA;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
            ),
            format!("{HEAD}X: {}\r\n\r\n", "y".repeat(500)),
        ];
        let all = requests.concat();
        assert_eq!(passed(&all.repeat(2)), (all.repeat(2), false));
    }

    #[test]
    fn an_ambiguous_head_ends_in_a_nul_and_nothing_follows() {
        let heads = [
            ("POST / HTTP/1.1\n", "Host: x\r\n\r\n"),
            (&format!("{HEAD}X: y\n"), "\r\n"),
            (&format!("{HEAD}\n"), "GET / HTTP/1.1\r\n"),
            (&format!("{HEAD}X: y\rz"), "\r\n\r\n"),
            (&format!("{HEAD}X: y\r\n z\r\n"), "\r\n"),
            (&format!("{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n"), "\r\n"),
            (&format!("{HEAD}Content-Length: 5, 5\r\n"), "\r\n"),
            (&format!("{HEAD}Content-Length: +5\r\n"), "\r\n"),
            (&format!("{HEAD}Content-Length:\r\n"), "\r\n"),
            (&format!("{HEAD}Content-Length: {}5\r\n", "0".repeat(40)), "\r\n"),
            (&format!("{HEAD}Content-Length: 99999999999999999999\r\n"), "\r\n"),
            (&format!("{HEAD}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), "0\r\n\r\n"),
            (&format!("{HEAD}Transfer-Encoding: gzip, chunked\r\n"), "\r\n"),
            (&format!("{HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "\r\n"),
            ("\r\n\r\n", "GET / HTTP/1.1\r\n"),
        ];
        for (upto, after) in heads {
            let expected = format!("{}\0", &upto[..upto.len() - 1]);
            assert_eq!(passed(&format!("{upto}{after}")), (expected, true), "{upto:?}");
        }
    }

    #[test]
    fn an_ambiguous_body_is_cut_off_where_it_becomes_so() {
        let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
        for (good, bad) in [
            ("", "\r\n0\r\n\r\n"),
            ("5", "\n12345\r\n0\r\n\r\n"),
            ("5 \r", "\n12345\r\n0\r\n\r\n"),
            ("0x5\r", "\n12345\r\n"),
            ("00000000000000005\r", "\n12345\r\n"),
            ("5\r\n12345", "\n0\r\n\r\n"),
            ("5\r\n123456\r", "\n0\r\n\r\n"),
            ("0\r\n x\r", "\n\r\n"),
            ("0\r\nX: y", "\n\r\n"),
        ] {
            let (kept, is_over) = passed(&format!("{chunked}{good}{bad}"));
            // The line that is wrong may end with its CR, which alone means nothing to hyper.
            assert!(
                is_over && kept.trim_end_matches('\r') == format!("{chunked}{good}").trim_end_matches('\r'),
                "{kept:?}"
            );
        }
    }

    proptest! {
        /// However the network cuts the bytes, the verdict is the same.
        #[test]
        fn reads_of_any_size_see_the_same(
            pieces in proptest::collection::vec(prop_oneof![
                Just(HEAD), Just("\r\n"), Just("\n"), Just("Content-Length: 3\r\n"), Just("abc"), Just("3\r\n"),
                Just("Transfer-Encoding: chunked\r\n"), Just("0\r\n\r\n"), Just(" "), Just("X: y\r\n"),
            ], 1..20),
            sizes in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let mut whole = pieces.concat().into_bytes();
            let mut parts = whole.clone();
            let kept = Framing::default().pass(&mut whole);
            let (mut framing, mut kept_of_parts, mut at) = (Framing::default(), 0, 0);
            for size in sizes.iter().cycle() {
                let end = (at + size).min(parts.len());
                kept_of_parts += framing.pass(&mut parts[at..end]);
                at = end;
                if at == parts.len() { break; }
            }
            prop_assert_eq!(&whole[..kept], &parts[..kept_of_parts]);
        }
    }
}
