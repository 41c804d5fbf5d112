//! One look over a body's bytes before anything is read from them: is this one JSON document, of a size and a shape that
//! any two readers take the same way?
//!
//! Refused: what is not UTF-8, a byte order mark, anything after the end, a key twice in one object (readers differ in
//! which of them counts), `\u0000` (no text to PostgreSQL), half a surrogate pair, a number that no `f64` holds, and
//! more levels or values than any sender needs. The time is linear in the body's length, but for the keys of an object,
//! which are sorted. Errors give a place and no content.

use std::borrow::Cow;

use super::Unreadable;

/// Objects and arrays within one another.
const DEPTH_MAX: usize = 64;
/// Values of all kinds in one body.
const VALUES_MAX: usize = 10_000;
/// Every `f64` can be written in less.
const NUMBER_BYTES_MAX: usize = 64;

/// The body as the text of one JSON object.
pub(super) fn object(body: &[u8]) -> Result<&str, Unreadable> {
    let text = text(body)?;
    if starts_with(text, '{') { Ok(text) } else { Err(Unreadable::new("The body is not a JSON object.")) }
}

/// The body as the text of one JSON object or array.
fn text(body: &[u8]) -> Result<&str, Unreadable> {
    if body.is_empty() {
        return Err(Unreadable::new("The body is empty."));
    }
    let text = str::from_utf8(body)
        .map_err(|error| Unreadable::new(format!("The body is not UTF-8: byte {} is wrong.", error.valid_up_to())))?;
    if text.starts_with('\u{feff}') {
        return Err(Unreadable::new("The body begins with a byte order mark."));
    }
    if text.bytes().all(is_space) {
        return Err(Unreadable::new("The body is nothing but white space."));
    }
    let mut look = Look { text, at: 0, values: 0, keys: Vec::new() };
    look.document().map_err(|what| {
        Unreadable::new(format!("The body is not the JSON that we read: {what} at byte {}.", look.at))
    })?;
    Ok(text)
}

fn starts_with(text: &str, brace: char) -> bool {
    text.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_space)).starts_with(brace)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

struct Look<'t> {
    text: &'t str,
    at: usize,
    values: usize,
    /// The keys of all objects that are open, the innermost one's last.
    keys: Vec<Cow<'t, str>>,
}

/// What is wrong at [`Look::at`].
type Flaw = &'static str;

impl<'t> Look<'t> {
    fn document(&mut self) -> Result<(), Flaw> {
        self.value(0)?;
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err("something follows the end") }
    }

    fn value(&mut self, depth: usize) -> Result<(), Flaw> {
        self.skip_space();
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err("too many values");
        }
        match self.peek() {
            Some(b'{' | b'[') if depth == DEPTH_MAX => Err("too many levels"),
            Some(b'{') => self.members(depth),
            Some(b'[') => self.items(depth),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) if ["true", "false", "null"].iter().any(|word| self.eat(word)) => Ok(()),
            Some(_) => Err("no value"),
            None => Err("the body ends too early"),
        }
    }

    fn members(&mut self, depth: usize) -> Result<(), Flaw> {
        let first_key = self.keys.len();
        self.at += 1;
        self.skip_space();
        if self.eat("}") {
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err("no key");
            }
            let key = self.string()?;
            self.keys.push(key);
            self.skip_space();
            if !self.eat(":") {
                return Err("no colon");
            }
            self.value(depth + 1)?;
            self.skip_space();
            if self.eat("}") {
                break;
            }
            if !self.eat(",") {
                return Err("an object that is neither continued nor closed");
            }
        }
        let keys = &mut self.keys[first_key..];
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a key twice in the object that ends");
        }
        self.keys.truncate(first_key);
        Ok(())
    }

    fn items(&mut self, depth: usize) -> Result<(), Flaw> {
        self.at += 1;
        self.skip_space();
        if self.eat("]") {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.skip_space();
            if self.eat("]") {
                return Ok(());
            }
            if !self.eat(",") {
                return Err("an array that is neither continued nor closed");
            }
        }
    }

    /// The string that begins here, with its escapes taken out. Only one that has any is copied.
    fn string(&mut self) -> Result<Cow<'t, str>, Flaw> {
        self.at += 1;
        let mut copied: Option<String> = None;
        let mut from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(match copied {
                        None => Cow::Borrowed(rest),
                        Some(text) => Cow::Owned(text + rest),
                    });
                }
                Some(b'\\') => {
                    let copied = copied.get_or_insert_default();
                    copied.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    copied.push(self.escape()?);
                    from = self.at;
                }
                Some(..0x20) => return Err("a control character"),
                Some(_) => self.at += 1,
                None => return Err("the body ends too early"),
            }
        }
    }

    /// The character that is written here, after a backslash.
    fn escape(&mut self) -> Result<char, Flaw> {
        let letter = self.peek().ok_or("the body ends too early")?;
        let c = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.code_point();
            }
            _ => return Err("an unknown escape"),
        };
        self.at += 1;
        Ok(c)
    }

    /// Four hexadecimal digits, or two times four with `\u` between them.
    fn code_point(&mut self) -> Result<char, Flaw> {
        let code = match self.code_unit()? {
            0 => return Err("a NUL"),
            high @ 0xd800..=0xdbff if self.eat("\\u") => match self.code_unit()? {
                low @ 0xdc00..=0xdfff => 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                _ => return Err("half a surrogate pair"),
            },
            code => code,
        };
        char::from_u32(code).ok_or("half a surrogate pair")
    }

    fn code_unit(&mut self) -> Result<u32, Flaw> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or("the body ends too early")?;
        let digits = str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or("an unknown escape")?;
        self.at += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<(), Flaw> {
        let from = self.at;
        self.eat("-");
        if !self.eat("0") && self.digits() == 0 {
            return Err("no digit");
        }
        if self.eat(".") && self.digits() == 0 {
            return Err("no digit");
        }
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            if self.digits() == 0 {
                return Err("no digit");
            }
        }
        let number = &self.text[from..self.at];
        let is_held = number.len() <= NUMBER_BYTES_MAX && number.parse().is_ok_and(f64::is_finite);
        if is_held { Ok(()) } else { Err("a number out of range") }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, word: &str) -> bool {
        let is_here = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if is_here {
            self.at += word.len();
        }
        is_here
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flaw(body: &str) -> Option<String> {
        text(body.as_bytes()).err().map(|error| error.why)
    }

    #[test]
    fn levels_values_and_digits_are_counted() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(flaw(&nested(DEPTH_MAX)), None);
        assert!(flaw(&nested(DEPTH_MAX + 1)).expect("too deep").contains("too many levels at byte 64"));
        let items = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert_eq!(flaw(&items(VALUES_MAX - 1)), None, "the array counts too");
        assert!(flaw(&items(VALUES_MAX)).expect("too many").contains("too many values"));
        assert_eq!(flaw(&format!("[{}]", "9".repeat(NUMBER_BYTES_MAX))), None);
        assert!(flaw(&format!("[{}]", "9".repeat(NUMBER_BYTES_MAX + 1))).is_some());
    }

    #[test]
    fn a_key_is_the_same_however_it_is_written_and_only_within_its_object() {
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"[{"x":{"\ud83d\ude00":1,"😀":2}}]"#,
            r#"{"\/":1,"/":2}"#,
        ] {
            assert!(flaw(twice).expect("a key is there twice").contains("a key twice"), "{twice}");
        }
        for once in [r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#, r#"{"a":1,"A":2,"a ":3,"":4}"#, "{}", r"[[],{}]"] {
            assert_eq!(flaw(once), None, "{once}");
        }
    }

    /// Texts that are JSON, or nearly so.
    fn nearly_json() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            proptest::sample::select(vec![
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                "\"a\"",
                "\"b\"",
                "\"\\u0061\"",
                "\"\\ud83d\\ude00\"",
                "\"\\udc00\"",
                "true",
                "null",
                "0",
                "-1",
                "1.5e3",
                "1e400",
                "-",
                "01",
                " ",
                "\n",
                "\"\\u0000\"",
                "\"",
                "\\",
                "\u{1}",
                "é",
                "\u{feff}",
            ])
            .prop_map(str::to_owned),
            "[0-9eE.+-]{1,6}",
            "\"[^\"]{0,5}\"",
        ];
        proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    /// JSON, built so that it is.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|number| serde_json::Number::from_f64(number).into()),
            "[^\\x00]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::btree_map("[^\\x00]{0,4}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// serde_json accepts whatever we accept. The reverse is not so, and is not meant to be.
        #[test]
        fn what_passes_is_json(body in nearly_json()) {
            if text(body.as_bytes()).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{}", body);
            }
        }

        #[test]
        fn json_passes(value in json()) {
            prop_assert_eq!(flaw(&value.to_string()), None);
            prop_assert_eq!(flaw(&serde_json::to_string_pretty(&value).expect("JSON")), None);
        }
    }
}
