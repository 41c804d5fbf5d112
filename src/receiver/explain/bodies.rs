//! What a body may have been before something between the sender and the receiver changed it.

use super::json::{Escapes, Layout, Tokens, sorted};

/// A body that may have been signed.
pub(super) struct Candidate {
    pub(super) bytes: Vec<u8>,
    /// How it differs from the body that came: "without the line break at its end".
    pub(super) difference: String,
}

/// One change each, and how it reads.
#[derive(Debug, Clone, Copy)]
struct Plan {
    mark: Option<&'static str>,
    order: Option<&'static str>,
    layout: (Layout, Option<&'static str>),
    escapes: (Escapes, Option<&'static str>),
    breaks: (Breaks, Option<&'static str>),
    end: (End, Option<&'static str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    AsIs,
    Lf,
    CrLf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    AsIs,
    With(&'static str),
}

const LAYOUTS: [(Layout, Option<&str>); 6] = [
    (Layout::AsIs, None),
    (Layout::Compact, Some("without white space between its tokens")),
    (Layout::Spaced, Some("with one space after each comma and colon")),
    (Layout::Indented("  "), Some("indented by two spaces")),
    (Layout::Indented("    "), Some("indented by four spaces")),
    (Layout::Indented("\t"), Some("indented by tabs")),
];
const ESCAPES: [(Escapes, Option<&str>); 5] = [
    (Escapes::AsIs, None),
    (Escapes::Plain, Some("with its characters written as themselves instead of escaped")),
    (Escapes::Ascii, Some("with `\\u` escapes for all that is not ASCII")),
    (Escapes::Slashes, Some("with `\\/` for each slash")),
    (Escapes::AsciiAndSlashes, Some("with `\\u` escapes for all that is not ASCII, and `\\/` for each slash")),
];
const BREAKS: [(Breaks, Option<&str>); 3] = [
    (Breaks::AsIs, None),
    (Breaks::Lf, Some("with LF where it has CRLF")),
    (Breaks::CrLf, Some("with CRLF where it has LF")),
];
const ENDS: [(End, Option<&str>); 4] = [
    (End::AsIs, None),
    (End::With(""), Some("without the line break at its end")),
    (End::With("\n"), Some("with a line break (LF) at its end")),
    (End::With("\r\n"), Some("with a line break (CRLF) at its end")),
];
const BYTE_ORDER_MARK: &str = "\u{feff}";

impl Plan {
    fn differences(&self) -> Vec<&'static str> {
        [self.mark, self.order, self.layout.1, self.escapes.1, self.breaks.1, self.end.1]
            .into_iter()
            .flatten()
            .collect()
    }

    /// `None` where the body cannot be changed so.
    fn carry_out(&self, body: &str) -> Option<String> {
        let mut text = body.to_owned();
        if self.mark.is_some() {
            text = text.strip_prefix(BYTE_ORDER_MARK)?.to_owned();
        }
        let end = text.trim_end_matches(['\r', '\n']).len();
        if self.order.is_some() {
            text = sorted(&text)?;
        }
        if self.layout.0 != Layout::AsIs || self.escapes.0 != Escapes::AsIs {
            let tail = text.get(end..).unwrap_or_default().to_owned();
            text = Tokens::of(&text)?.set(self.layout.0, self.escapes.0);
            if self.layout.0 == Layout::AsIs {
                text.push_str(&tail);
            }
        }
        match self.breaks.0 {
            Breaks::AsIs => {}
            Breaks::Lf => text = text.replace("\r\n", "\n"),
            Breaks::CrLf => text = text.replace("\r\n", "\n").replace('\n', "\r\n"),
        }
        if let End::With(end) = self.end.0 {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
            text.push_str(end);
        }
        Some(text)
    }
}

/// What `body` may have been, the fewest changes first. Not the body itself.
pub(super) fn candidates(body: &[u8]) -> impl Iterator<Item = Candidate> {
    let body = str::from_utf8(body).unwrap_or_default().to_owned();
    let mut plans = Vec::new();
    for mark in [None, Some("without the byte order mark")] {
        for order in [None, Some("with the keys of its objects in alphabetical order")] {
            for (layout, escapes) in LAYOUTS.into_iter().flat_map(|layout| ESCAPES.map(|escapes| (layout, escapes))) {
                for (breaks, end) in BREAKS.into_iter().flat_map(|breaks| ENDS.map(|end| (breaks, end))) {
                    plans.push(Plan { mark, order, layout, escapes, breaks, end });
                }
            }
        }
    }
    plans.retain(|plan| !plan.differences().is_empty());
    plans.sort_by_key(|plan| plan.differences().len());
    plans.into_iter().filter_map(move |plan| {
        let changed = plan.carry_out(&body).filter(|changed| *changed != body)?;
        Some(Candidate { bytes: changed.into_bytes(), difference: plan.differences().join(", and ") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the body that came is told from the one that was signed.
    fn difference(came: &str, signed: &str) -> Option<String> {
        candidates(came.as_bytes()).find(|it| it.bytes == signed.as_bytes()).map(|it| it.difference)
    }

    #[test]
    fn what_happens_to_bodies_on_their_way_is_undone() {
        let json = r#"{"b":"é/","a":1}"#;
        let cases = [
            ("{}\n", "{}", "without the line break at its end"),
            ("{}", "{}\n", "with a line break (LF) at its end"),
            ("{}", "{}\r\n", "with a line break (CRLF) at its end"),
            ("a\nb\n", "a\r\nb\r\n", "with CRLF where it has LF"),
            ("a\r\nb", "a\nb", "with LF where it has CRLF"),
            ("\u{feff}{}", "{}", "without the byte order mark"),
            (json, r#"{"b": "é/", "a": 1}"#, "with one space after each comma and colon"),
            (r#"{ "b" : "é/", "a":1 }"#, json, "without white space between its tokens"),
            (
                json,
                r#"{"b":"\u00e9\/","a":1}"#,
                "with `\\u` escapes for all that is not ASCII, and `\\/` for each slash",
            ),
            (json, r#"{"a":1,"b":"é/"}"#, "with the keys of its objects in alphabetical order"),
            (
                json,
                "{\n  \"b\": \"\\u00e9/\",\n  \"a\": 1\n}\n",
                "indented by two spaces, and with `\\u` escapes for all that is not ASCII, and with a line break (LF) at its end",
            ),
        ];
        for (came, signed, expected) in cases {
            assert_eq!(difference(came, signed).as_deref(), Some(expected), "{came:?} → {signed:?}");
        }
        assert_eq!(difference(json, r#"{"b":"é/","a":2}"#), None, "another value is no change of form");
    }

    #[test]
    fn a_body_of_any_bytes_has_a_bounded_number_of_candidates() {
        for body in [&b""[..], b"\xff\xfe", b"[[[[", b"{\"a\":\"\\ud800\"}", b"\r\n\r\n"] {
            assert!(candidates(body).count() < 1500);
        }
    }
}
