//! Reading the headers of a proof strictly: each once, each in one form.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::Refusal;

/// Bytes of a delivery id.
pub(super) const ID_BYTES_MAX: usize = 256;
/// Enough for every second until the year 9999.
const TIMESTAMP_DIGITS_MAX: usize = 12;

/// The value of a header that may occur once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::as_bytes);
    if values.next().is_some() { Err(Refusal::HeaderRepeated) } else { Ok(first) }
}

/// An id of a delivery: graphic ASCII.
pub(super) fn id(id: &[u8]) -> Result<&str, Refusal> {
    let good = (1..=ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    if !good {
        return Err(Refusal::IdMalformed);
    }
    str::from_utf8(id).map_err(|_| Refusal::IdMalformed)
}

/// Seconds since 1970 in canonical decimal: no sign, no leading zero, no fraction, ASCII digits only.
pub(super) fn seconds(text: &[u8]) -> Result<Timestamp, Refusal> {
    let canonical = (1..=TIMESTAMP_DIGITS_MAX).contains(&text.len())
        && text.iter().all(u8::is_ascii_digit)
        && (text[0] != b'0' || text.len() == 1);
    if !canonical {
        return Err(Refusal::TimestampMalformed);
    }
    let seconds = text.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Timestamp::from_second(seconds).map_err(|_| Refusal::TimestampMalformed)
}
