//! A JSON text in other words: the same values, in the layouts and escapes that the usual programs write.

use std::fmt::Write as _;

use serde::de::IgnoredAny;
use serde_json::Value;

/// How the tokens are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    AsIs,
    Compact,
    /// Python's default: `{"a": 1, "b": 2}`.
    Spaced,
    Indented(&'static str),
}

/// How the characters of strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    AsIs,
    /// As themselves, wherever JSON permits.
    Plain,
    /// `\u…` for all that is not ASCII, as Python does.
    Ascii,
    /// `\/` for a slash.
    Slashes,
    /// Both, as PHP does.
    AsciiAndSlashes,
}

/// The tokens of a JSON text, each with the white space before it.
pub(super) struct Tokens<'t>(Vec<(&'t str, &'t str)>);

impl<'t> Tokens<'t> {
    /// `None` where it is not JSON.
    pub(super) fn of(text: &'t str) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        let mut tokens = Vec::new();
        let mut rest = text;
        loop {
            let token = rest.trim_ascii_start();
            let (gap, _) = rest.split_at(rest.len() - token.len());
            let Some(first) = token.bytes().next() else { break };
            let length = match first {
                b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
                b'"' => string_length(token),
                _ => token.find(|c: char| ",:]}".contains(c) || c.is_ascii_whitespace()).unwrap_or(token.len()),
            };
            tokens.push((gap, &token[..length]));
            rest = &token[length..];
        }
        Some(Self(tokens))
    }

    pub(super) fn set(&self, layout: Layout, escapes: Escapes) -> String {
        let mut text = String::new();
        let mut depth = 0;
        let mut before = "";
        for (gap, token) in &self.0 {
            let is_empty = matches!((before, *token), ("{", "}") | ("[", "]"));
            if matches!(*token, "}" | "]") {
                depth -= 1;
            }
            match layout {
                Layout::AsIs => text.push_str(gap),
                Layout::Spaced if matches!(before, "," | ":") => text.push(' '),
                Layout::Indented(_) if before == ":" => text.push(' '),
                Layout::Indented(step) if !is_empty && (is_opening(before) || before == "," || is_closing(token)) => {
                    text.push('\n');
                    text.push_str(&step.repeat(depth));
                }
                Layout::Compact | Layout::Spaced | Layout::Indented(_) => {}
            }
            if is_opening(token) {
                depth += 1;
            }
            let written = if token.starts_with('"') { escaped(token, escapes) } else { (*token).to_owned() };
            text.push_str(&written);
            before = token;
        }
        text
    }
}

fn is_opening(token: &str) -> bool {
    matches!(token, "{" | "[")
}

fn is_closing(token: &str) -> bool {
    matches!(token, "}" | "]")
}

/// Bytes of the string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn escaped(token: &str, escapes: Escapes) -> String {
    if escapes == Escapes::AsIs {
        return token.to_owned();
    }
    // A string that has no text, with half a surrogate pair in it, stays as it is.
    let Ok(text) = serde_json::from_str::<String>(token) else { return token.to_owned() };
    let plain = Value::String(text).to_string();
    let (ascii, slashes) = match escapes {
        Escapes::AsIs | Escapes::Plain => (false, false),
        Escapes::Ascii => (true, false),
        Escapes::Slashes => (false, true),
        Escapes::AsciiAndSlashes => (true, true),
    };
    let mut written = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '/' if slashes => written.push_str("\\/"),
            c if ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing into a string does not fail.
                    let _ = write!(written, "\\u{unit:04x}");
                }
            }
            c => written.push(c),
        }
    }
    written
}

/// The same values with the keys of every object in their order, without white space.
pub(super) fn sorted(text: &str) -> Option<String> {
    serde_json::from_str::<Value>(text).ok().map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_set_as_others_set_it() {
        let text = "{ \"b\":[1,2.50 , {}],\n \"a\": \"é\\u00e9/\\/\\\"\" }";
        let set = |layout, escapes| Tokens::of(text).expect("JSON").set(layout, escapes);
        assert_eq!(set(Layout::AsIs, Escapes::AsIs), text);
        assert_eq!(set(Layout::Compact, Escapes::Plain), r#"{"b":[1,2.50,{}],"a":"éé//\""}"#);
        assert_eq!(set(Layout::Spaced, Escapes::Ascii), r#"{"b": [1, 2.50, {}], "a": "\u00e9\u00e9//\""}"#);
        let php = r#"{"b":[1,2.50,{}],"a":"\u00e9\u00e9\/\/\""}"#;
        assert_eq!(set(Layout::Compact, Escapes::AsciiAndSlashes), php);
        let indented = "{\n  \"b\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"a\": \"éé//\\\"\"\n}";
        assert_eq!(set(Layout::Indented("  "), Escapes::Plain), indented);
        assert_eq!(sorted(text).expect("JSON"), r#"{"a":"éé//\"","b":[1,2.5,{}]}"#);
        assert!(Tokens::of("{").is_none());
    }
}
