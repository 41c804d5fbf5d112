//! What does a proven body say? What is genuine is never refused: it is put aside with its bytes and a reason.

use super::{Ignored, Parked, Row};

const TYPE: &str = r#""app.opened""#;

pub(super) const ROWS: &[Row] = &[
    ("empty", Parked("is empty"), |letter| letter.body("").bytes()),
    ("white space", Parked("white space"), |letter| letter.body(" \r\n\t").bytes()),
    ("a byte order mark", Parked("byte order mark"), |letter| {
        let body = [b"\xef\xbb\xbf", letter.body.as_slice()].concat();
        letter.body(body).bytes()
    }),
    ("UTF-16", Parked("not UTF-8"), |letter| {
        let units =
            String::from_utf8(letter.body.clone()).expect("text").encode_utf16().flat_map(u16::to_le_bytes).collect();
        letter.body([vec![0xff, 0xfe], units].concat()).bytes()
    }),
    ("UTF-32", Parked("no value"), |letter| {
        let body: Vec<u8> = letter.body.iter().flat_map(|byte| [0, 0, 0, *byte]).collect();
        letter.body(body).bytes()
    }),
    ("an overlong slash", Parked("not UTF-8"), |letter| letter.body(b"{\"x\":\"\xc0\xaf\"}".as_slice()).bytes()),
    ("a surrogate in UTF-8", Parked("not UTF-8"), |letter| letter.body(b"{\"x\":\"\xed\xa0\x80\"}".as_slice()).bytes()),
    ("beyond Unicode", Parked("not UTF-8"), |letter| letter.body(b"{\"x\":\"\xf4\x90\x80\x80\"}".as_slice()).bytes()),
    ("half a surrogate pair", Parked("surrogate"), |letter| letter.and(r#""x":"\ud800""#).bytes()),
    ("the wrong half of a pair", Parked("surrogate"), |letter| letter.and(r#""x":"\udc00\ud800""#).bytes()),
    ("a whole surrogate pair", Ignored, |letter| letter.and(r#""x":"\ud83d\ude00""#).bytes()),
    ("an escaped NUL", Parked("a NUL"), |letter| letter.and(r#""x":"a\u0000b""#).bytes()),
    ("an escaped NUL in a key", Parked("a NUL"), |letter| letter.and(r#""a\u0000b":1"#).bytes()),
    ("a raw NUL", Parked("control character"), |letter| letter.and("\"x\":\"a\0b\"").bytes()),
    ("a raw line feed", Parked("control character"), |letter| letter.and("\"x\":\"a\nb\"").bytes()),
    ("an escape in an id", Parked("control character"), |letter| letter.with(r#""e"#, r#""\u001b[31me"#).bytes()),
    ("a bidirectional mark in an id", Parked("turns text around"), |letter| {
        letter.with(r#""e"#, r#""\u202ee"#).bytes()
    }),
    ("a line break in an id", Parked("control character"), |letter| letter.with(r#""e"#, r#""\r\ne"#).bytes()),
    ("a key twice", Parked("a key twice"), |letter| letter.and(r#""event_id":"other""#).bytes()),
    ("a key twice, once escaped", Parked("a key twice"), |letter| letter.and(r#""\u0065vent_id":"other""#).bytes()),
    ("a key twice where nobody reads", Parked("a key twice"), |letter| letter.and(r#""x":[{"a":1,"a":1}]"#).bytes()),
    ("64 levels", Ignored, |letter| letter.and(&format!(r#""x":{}{}"#, "[".repeat(63), "]".repeat(63))).bytes()),
    ("65 levels", Parked("too many levels"), |letter| {
        letter.and(&format!(r#""x":{}{}"#, "[".repeat(64), "]".repeat(64))).bytes()
    }),
    ("100,000 levels", Parked("too many levels"), |letter| {
        letter.and(&format!(r#""x":{}"#, "[".repeat(100_000))).bytes()
    }),
    ("9,000 values", Ignored, |letter| letter.and(&format!(r#""x":[{}0]"#, "0,".repeat(9000))).bytes()),
    ("100,000 values", Parked("too many values"), |letter| {
        letter.and(&format!(r#""x":[{}0]"#, "0,".repeat(100_000))).bytes()
    }),
    ("20,000 keys", Parked("too many values"), |letter| {
        let keys: Vec<String> = (0..20_000).map(|key| format!("\"k{key}\":0")).collect();
        letter.and(&keys.join(",")).bytes()
    }),
    ("an integer beyond i64", Ignored, |letter| letter.and(r#""x":9223372036854775808"#).bytes()),
    ("beyond f64", Parked("out of range"), |letter| letter.and(r#""x":1e400"#).bytes()),
    ("100,000 digits", Parked("out of range"), |letter| letter.and(&format!(r#""x":{}"#, "9".repeat(100_000))).bytes()),
    ("NaN", Parked("no value"), |letter| letter.and(r#""x":NaN"#).bytes()),
    ("Infinity", Parked("no digit"), |letter| letter.and(r#""x":-Infinity"#).bytes()),
    ("a leading zero", Parked("neither continued"), |letter| letter.and(r#""x":01"#).bytes()),
    ("hexadecimal", Parked("neither continued"), |letter| letter.and(r#""x":0x1"#).bytes()),
    ("a comment", Parked("no value"), |letter| letter.and(r#""x":/* */1"#).bytes()),
    ("a trailing comma", Parked("no key"), |letter| letter.with("}", ",}").bytes()),
    ("single quotes", Parked("no key"), |letter| letter.with(r#""event_type""#, "'event_type'").bytes()),
    ("two documents", Parked("follows the end"), |letter| {
        let body = letter.body.repeat(2);
        letter.body(body).bytes()
    }),
    ("a NUL after the end", Parked("follows the end"), |letter| {
        let body = [letter.body.as_slice(), b"\0"].concat();
        letter.body(body).bytes()
    }),
    ("cut off", Parked("ends too early"), |letter| {
        let body = letter.body[..letter.body.len() - 1].to_vec();
        letter.body(body).bytes()
    }),
    ("an array", Parked("not a JSON object"), |letter| letter.body("[]").bytes()),
    ("a string", Parked(""), |letter| letter.body("\"x\"").bytes()),
    ("null", Parked(""), |letter| letter.body("null").bytes()),
    ("an empty object", Parked("`event_type` is missing"), |letter| letter.body("{}").bytes()),
    ("a type that is a number", Parked("`event_type` is a number"), |letter| letter.with(TYPE, "5").bytes()),
    ("a type that is null", Parked("`event_type` is missing"), |letter| letter.with(TYPE, "null").bytes()),
    ("a type that is an array", Parked("`event_type` is an array"), |letter| letter.with(TYPE, "[]").bytes()),
    ("a type of 129 bytes", Parked("`event_type` is not"), |letter| {
        let long = format!("\"{}\"", "t".repeat(129));
        letter.with(TYPE, &long).bytes()
    }),
    ("a type with a slash", Parked("`event_type` is not"), |letter| letter.with(TYPE, "\"a/b\"").bytes()),
    ("a type with a wildcard", Parked("`event_type` is not"), |letter| letter.with(TYPE, "\"#\"").bytes()),
    ("an unknown type", Ignored, |letter| letter.with(TYPE, "\"some.new_thing\"").bytes()),
    ("no id", Parked("`event_id` is missing"), |letter| letter.with("event_id", "event_ID").bytes()),
    ("an id of 100 kB", Parked("longer than 256 bytes"), |letter| {
        letter.with(r#""e"#, &format!(r#""{}"#, "e".repeat(100_000))).with("eeevent_id", "event_id").bytes()
    }),
    ("a registered phone of nobody", Parked("Whose phone?"), |letter| {
        letter.with(TYPE, "\"phone.registered\"").bytes()
    }),
    ("__proto__", Ignored, |letter| letter.and(r#""__proto__":{"x":1},"constructor":{}"#).bytes()),
    ("script in a value", Ignored, |letter| letter.and(r#""x":"<script>alert(1)</script>""#).bytes()),
    ("a year before 1970", Parked("`occurred_at` is not"), |letter| letter.with("2026", "1969").bytes()),
    ("a day that there is not", Parked("`occurred_at` is not"), |letter| letter.with("03-01", "02-30").bytes()),
    ("a time that is a number", Parked("`occurred_at` is a number"), |letter| {
        letter.with(r#""2026-03-01T10:40:00Z""#, "1772361605").bytes()
    }),
];
