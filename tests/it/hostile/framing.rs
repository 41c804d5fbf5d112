//! Where does the body end? Lengths and chunks that two readers could take differently.

use super::{Ignored, Letter, Refused, Row};

const BROKEN: super::Wants = Refused(&[400]);
const TOO_LARGE: super::Wants = Refused(&[413]);

pub(super) const ROWS: &[Row] = &[
    ("B59", "two different lengths", BROKEN, |letter| {
        letter.post().with("Content-Length", "2").with("Content-Length", "3").bytes()
    }),
    ("B59", "two equal lengths", Ignored, |letter| {
        let length = letter.body.len().to_string();
        letter.post().with("Content-Length", length.clone()).with("Content-Length", length).bytes()
    }),
    ("B59", "a list of lengths", BROKEN, |letter| letter.post().with("Content-Length", "2, 2").bytes()),
    ("B59", "a length below zero", BROKEN, |letter| letter.post().with("Content-Length", "-2").bytes()),
    ("B59", "a length with a sign", BROKEN, |letter| letter.post().with("Content-Length", "+2").bytes()),
    ("B59", "a length in hexadecimal", BROKEN, |letter| letter.post().with("Content-Length", "0x2").bytes()),
    ("B59", "an empty length", BROKEN, |letter| letter.post().with("Content-Length", "").bytes()),
    ("B59", "a length beyond u64", BROKEN, |letter| {
        letter.post().with("Content-Length", "99999999999999999999").bytes()
    }),
    ("B59", "a length at the end of u64", Refused(&[400, 413, 431]), |letter| {
        letter.post().with("Content-Length", "18446744073709551615").bytes()
    }),
    ("B57", "one byte too many declared", TOO_LARGE, |letter| letter.post().with("Content-Length", "262145").head()),
    ("B57", "a petabyte declared", TOO_LARGE, |letter| letter.post().with("Content-Length", "1125899906842624").head()),
    ("B57", "4 MB sent", TOO_LARGE, |letter| letter.body(vec![b' '; 4_000_000]).bytes()),
    ("B57", "4 MB in chunks", TOO_LARGE, |letter| letter.body(vec![b' '; 4_000_000]).post().chunked()),
    ("B57", "as large as it may be", Ignored, |letter| {
        let mut body = letter.body.clone();
        body.resize(256 * 1024, b' ');
        letter.body(body).bytes()
    }),
    ("", "in chunks", Ignored, |letter| letter.post().chunked()),
    ("", "in chunks of one byte", Ignored, |letter| {
        let chunks: Vec<u8> = letter.body.iter().flat_map(|byte| [b"1\r\n", &[*byte][..], b"\r\n"].concat()).collect();
        chunked(&letter, &[&chunks, b"0\r\n\r\n"])
    }),
    ("B60", "a length beside an encoding", BROKEN, |letter| {
        letter.post().with("Content-Length", "4").with("Transfer-Encoding", "chunked").bytes()
    }),
    ("B60", "an encoding beside a length", BROKEN, |letter| {
        letter.post().with("Transfer-Encoding", "chunked").with("Content-Length", "4").bytes()
    }),
    ("B61", "an unknown encoding", BROKEN, |letter| letter.post().with("Transfer-Encoding", "xchunked").bytes()),
    ("B61", "identity", BROKEN, |letter| letter.post().with("Transfer-Encoding", "identity").bytes()),
    ("B61", "chunked and gzip", BROKEN, |letter| letter.post().with("Transfer-Encoding", "chunked, gzip").bytes()),
    ("B61", "gzip and chunked", BROKEN, |letter| letter.post().with("Transfer-Encoding", "gzip, chunked").bytes()),
    ("B61", "chunked twice", BROKEN, |letter| {
        letter.post().with("Transfer-Encoding", "chunked").with("Transfer-Encoding", "chunked").bytes()
    }),
    ("B61", "chunked behind a tab", Ignored, |letter| {
        let (size, body) = (format!("{:x}\r\n", letter.body.len()), letter.body.clone());
        let head = letter.post().with("Transfer-Encoding", "\tchunked\t").head();
        [&head, size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat()
    }),
    ("B61", "chunked in HTTP/1.0", BROKEN, |letter| letter.post().line("POST /webhooks/app HTTP/1.0").chunked()),
    ("B61", "a size that is none", BROKEN, |letter| chunked(&letter, &[b"zz\r\n"])),
    ("B61", "a size below zero", BROKEN, |letter| chunked(&letter, &[b"-1\r\n"])),
    ("B61", "a size with 0x", BROKEN, |letter| chunked(&letter, &[b"0x5\r\n12345\r\n0\r\n\r\n"])),
    ("B61", "a size beyond u64", BROKEN, |letter| chunked(&letter, &[b"fffffffffffffffff\r\n"])),
    ("B61", "a size and a space", BROKEN, |letter| chunked(&letter, &[b"5 \r\n12345\r\n0\r\n\r\n"])),
    ("B61", "a size and a bare LF", BROKEN, |letter| chunked(&letter, &[b"5\n12345\r\n0\r\n\r\n"])),
    ("B61", "a chunk longer than its size", BROKEN, |letter| chunked(&letter, &[b"5\r\n1234567\r\n0\r\n\r\n"])),
    ("B61", "a chunk with a bare LF behind it", BROKEN, |letter| chunked(&letter, &[b"5\r\n12345\n0\r\n\r\n"])),
    ("B61", "an extension with a bare LF", BROKEN, |letter| chunked(&letter, &[b"5;x=\n12345\r\n0\r\n\r\n"])),
    ("B61", "a flood of extensions", BROKEN, |letter| {
        chunked(&letter, &[b"5;", &b"x".repeat(100_000), b"\r\n12345\r\n0\r\n\r\n"])
    }),
    ("B61", "a trailer with a bare LF", BROKEN, |letter| chunked(&letter, &[b"0\r\nX: y\n\r\n"])),
    ("B61", "a flood of trailers", Refused(&[400, 431]), |letter| {
        chunked(&letter, &[b"0\r\n", &b"X: y\r\n".repeat(10_000), b"\r\n"])
    }),
    ("B61", "a signature in a trailer", Refused(&[401]), |letter| {
        let (size, signature) = (format!("{:x}\r\n", letter.body.len()), letter.signature());
        let head = letter.post().without("webhook-signature").with("Transfer-Encoding", "chunked").head();
        let trailer = format!("\r\n0\r\nwebhook-signature: {signature}\r\n\r\n");
        [&head, size.as_bytes(), &letter.body, trailer.as_bytes()].concat()
    }),
];

fn chunked(letter: &Letter, chunks: &[&[u8]]) -> Vec<u8> {
    [letter.post().with("Transfer-Encoding", "chunked").head(), chunks.concat()].concat()
}
