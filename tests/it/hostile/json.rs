//! What does a proven body say? What is genuine is never refused: it is put aside with its bytes and a reason.

use super::{Ignored, Parked, Row};

const TYPE: &str = r#""app.opened""#;
/// Where the value of `event_id` begins.
const ID: &str = r#":"e"#;

pub(super) const ROWS: &[Row] = &[
    ("B34", "empty", Parked("is empty"), |letter| letter.body("").bytes()),
    ("B35", "white space", Parked("white space"), |letter| letter.body(" \r\n\t").bytes()),
    ("B36", "a byte order mark", Parked("byte order mark"), |letter| {
        let body = [b"\xef\xbb\xbf", letter.body.as_slice()].concat();
        letter.body(body).bytes()
    }),
    ("B37", "UTF-16", Parked("not UTF-8"), |letter| {
        let units =
            String::from_utf8(letter.body.clone()).expect("text").encode_utf16().flat_map(u16::to_le_bytes).collect();
        letter.body([vec![0xff, 0xfe], units].concat()).bytes()
    }),
    ("B37", "UTF-32", Parked("no value"), |letter| {
        let body: Vec<u8> = letter.body.iter().flat_map(|byte| [0, 0, 0, *byte]).collect();
        letter.body(body).bytes()
    }),
    ("B38", "an overlong slash", Parked("not UTF-8"), |letter| letter.body(b"{\"x\":\"\xc0\xaf\"}".as_slice()).bytes()),
    ("B38", "a surrogate in UTF-8", Parked("not UTF-8"), |letter| {
        letter.body(b"{\"x\":\"\xed\xa0\x80\"}".as_slice()).bytes()
    }),
    ("B38", "beyond Unicode", Parked("not UTF-8"), |letter| {
        letter.body(b"{\"x\":\"\xf4\x90\x80\x80\"}".as_slice()).bytes()
    }),
    ("B39", "half a surrogate pair", Parked("surrogate"), |letter| letter.and(r#""x":"\ud800""#).bytes()),
    ("B39", "the wrong half of a pair", Parked("surrogate"), |letter| letter.and(r#""x":"\udc00\ud800""#).bytes()),
    ("B39", "a whole surrogate pair", Ignored, |letter| letter.and(r#""x":"\ud83d\ude00""#).bytes()),
    ("B40", "an escaped NUL", Parked("a NUL"), |letter| letter.and(r#""x":"a\u0000b""#).bytes()),
    ("B40", "an escaped NUL in a key", Parked("a NUL"), |letter| letter.and(r#""a\u0000b":1"#).bytes()),
    ("B41", "a raw NUL", Parked("control character"), |letter| letter.and("\"x\":\"a\0b\"").bytes()),
    ("B41", "a raw line feed", Parked("control character"), |letter| letter.and("\"x\":\"a\nb\"").bytes()),
    ("B74", "an escape in an id", Parked("control character"), |letter| letter.with(ID, r#":"\u001b[31me"#).bytes()),
    ("B74", "a bidirectional mark in an id", Parked("turns text around"), |letter| {
        letter.with(ID, r#":"\u202ee"#).bytes()
    }),
    ("B74", "a line break in an id", Parked("control character"), |letter| letter.with(ID, r#":"\r\ne"#).bytes()),
    ("B42", "a key twice", Parked("a key twice"), |letter| letter.and(r#""event_id":"other""#).bytes()),
    ("B42", "a key twice, once escaped", Parked("a key twice"), |letter| {
        letter.and(r#""\u0065vent_id":"other""#).bytes()
    }),
    ("B42", "a key twice where nobody reads", Parked("a key twice"), |letter| {
        letter.and(r#""x":[{"a":1,"a":1}]"#).bytes()
    }),
    ("B43", "64 levels", Ignored, |letter| letter.and(&format!(r#""x":{}{}"#, "[".repeat(63), "]".repeat(63))).bytes()),
    ("B43", "65 levels", Parked("too many levels"), |letter| {
        letter.and(&format!(r#""x":{}{}"#, "[".repeat(64), "]".repeat(64))).bytes()
    }),
    ("B43", "100,000 levels", Parked("too many levels"), |letter| {
        letter.and(&format!(r#""x":{}"#, "[".repeat(100_000))).bytes()
    }),
    ("B44", "9,000 values", Ignored, |letter| letter.and(&format!(r#""x":[{}0]"#, "0,".repeat(9000))).bytes()),
    ("B44", "100,000 values", Parked("too many values"), |letter| {
        letter.and(&format!(r#""x":[{}0]"#, "0,".repeat(100_000))).bytes()
    }),
    ("B44", "20,000 keys", Parked("too many values"), |letter| {
        let keys: Vec<String> = (0..20_000).map(|key| format!("\"k{key}\":0")).collect();
        letter.and(&keys.join(",")).bytes()
    }),
    ("B45", "an integer beyond i64", Ignored, |letter| letter.and(r#""x":9223372036854775808"#).bytes()),
    ("B45", "beyond f64", Parked("out of range"), |letter| letter.and(r#""x":1e400"#).bytes()),
    ("B45", "100,000 digits", Parked("out of range"), |letter| {
        letter.and(&format!(r#""x":{}"#, "9".repeat(100_000))).bytes()
    }),
    ("B46", "NaN", Parked("no value"), |letter| letter.and(r#""x":NaN"#).bytes()),
    ("B46", "Infinity", Parked("no digit"), |letter| letter.and(r#""x":-Infinity"#).bytes()),
    ("B46", "a leading zero", Parked("neither continued"), |letter| letter.and(r#""x":01"#).bytes()),
    ("B46", "hexadecimal", Parked("neither continued"), |letter| letter.and(r#""x":0x1"#).bytes()),
    ("B46", "a comment", Parked("no value"), |letter| letter.and(r#""x":/* */1"#).bytes()),
    ("B46", "a trailing comma", Parked("no key"), |letter| letter.with("}", ",}").bytes()),
    ("B46", "single quotes", Parked("no key"), |letter| letter.with(r#""event_type""#, "'event_type'").bytes()),
    ("B47", "two documents", Parked("follows the end"), |letter| {
        let body = letter.body.repeat(2);
        letter.body(body).bytes()
    }),
    ("B47", "a NUL after the end", Parked("follows the end"), |letter| {
        let body = [letter.body.as_slice(), b"\0"].concat();
        letter.body(body).bytes()
    }),
    ("B47", "cut off", Parked("neither continued nor closed"), |letter| {
        let body = letter.body[..letter.body.len() - 1].to_vec();
        letter.body(body).bytes()
    }),
    ("B48", "an array", Parked("not a JSON object"), |letter| letter.body("[]").bytes()),
    ("B48", "a string", Parked(""), |letter| letter.body("\"x\"").bytes()),
    ("B48", "null", Parked(""), |letter| letter.body("null").bytes()),
    ("B51", "an empty object", Parked("`event_type` is missing"), |letter| letter.body("{}").bytes()),
    ("B49", "a type that is a number", Parked("`event_type` is a number"), |letter| letter.with(TYPE, "5").bytes()),
    ("B49", "a type that is null", Parked("`event_type` is missing"), |letter| letter.with(TYPE, "null").bytes()),
    ("B49", "a type that is an array", Parked("`event_type` is an array"), |letter| letter.with(TYPE, "[]").bytes()),
    ("B49", "a type of 129 bytes", Parked("`event_type` is not"), |letter| {
        let long = format!("\"{}\"", "t".repeat(129));
        letter.with(TYPE, &long).bytes()
    }),
    ("B50", "a type with a slash", Parked("`event_type` is not"), |letter| letter.with(TYPE, "\"a/b\"").bytes()),
    ("B50", "a type with a wildcard", Parked("`event_type` is not"), |letter| letter.with(TYPE, "\"#\"").bytes()),
    ("B50", "an unknown type", Ignored, |letter| letter.with(TYPE, "\"some.new_thing\"").bytes()),
    ("B51", "no id", Parked("`event_id` is missing"), |letter| letter.with("event_id", "event_ID").bytes()),
    ("B52", "an id of 100 kB", Parked("longer than 256 bytes"), |letter| {
        letter.with(ID, &format!(r#":"{}"#, "e".repeat(100_000))).bytes()
    }),
    ("B51", "a registered phone of nobody", Parked("Whose phone?"), |letter| {
        letter.with(TYPE, "\"phone.registered\"").bytes()
    }),
    ("B53", "__proto__", Ignored, |letter| letter.and(r#""__proto__":{"x":1},"constructor":{}"#).bytes()),
    ("B74", "script in a value", Ignored, |letter| letter.and(r#""x":"<script>alert(1)</script>""#).bytes()),
    ("B55", "a year before 1970", Parked("`occurred_at` is not"), |letter| letter.with("2026", "1969").bytes()),
    ("B55", "a day that there is not", Parked("`occurred_at` is not"), |letter| letter.with("03-01", "02-30").bytes()),
    ("B55", "a time that is a number", Parked("`occurred_at` is a number"), |letter| {
        letter.with(r#""2026-03-01T10:40:00Z""#, "1772361605").bytes()
    }),
    ("B54", "keys that collide in simple hashes", Ignored, |letter| {
        // `Aa` and `BB` are one to a polynomial hash of base 31: so are all of these.
        let key = |bits: u32| (0..10).map(|bit| if bits >> bit & 1 == 0 { "Aa" } else { "BB" }).collect::<String>();
        let keys: Vec<String> = (0..1024).map(|bits| format!("\"{}\":0", key(bits))).collect();
        letter.and(&keys.join(",")).bytes()
    }),
    ("B49", "an id that is a number", Parked("`event_id` is a number"), |letter| {
        let id = format!("\"e{}\"", letter.id.trim_start_matches("msg_"));
        letter.with(&id, "5").bytes()
    }),
    ("B55", "a year of five digits", Parked("`occurred_at` is not"), |letter| letter.with("2026", "20260").bytes()),
    ("B74", "SQL in an id", Ignored, |letter| letter.with(ID, r#":"'; DROP TABLE inbox; --%_e"#).bytes()),
    ("B74", "a formula in an id", Ignored, |letter| letter.with(ID, r#":"=HYPERLINK(A1)e"#).bytes()),
];
