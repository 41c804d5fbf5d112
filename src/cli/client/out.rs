//! Writing for people: spans of text, lines and tables, in colour where that is wanted.
//!
//! Every text may come from outside (a sender chose its event type, a provider its message), so every span is cleaned
//! of what would steer a terminal.

use std::io::{self, Write};

use crate::domain::text::is_steering;

/// Where a command prints.
pub struct Out<'w> {
    writer: &'w mut (dyn Write + Send),
    notices: &'w mut (dyn Write + Send),
    is_coloured: bool,
}

/// A piece of text that has one tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    text: String,
    tone: Tone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Pending,
    Bad,
}

impl<T: Into<String>> From<T> for Span {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

macro_rules! tones {
    ($($name:ident $tone:ident),*) => {$(
        #[must_use]
        pub fn $name(text: impl Into<String>) -> Self {
            Self { text: text.into(), tone: Tone::$tone }
        }
    )*};
}

impl Span {
    tones!(strong Strong, faint Faint, good Good, pending Pending, bad Bad);

    fn cleaned(&self) -> String {
        self.text.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
    }
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Pending => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

impl<'w> Out<'w> {
    /// `writer` takes what was asked for, `notices` (standard error) what is said beside it.
    ///
    /// `is_coloured`: `writer` is a terminal, and the person has not asked for no colour (`NO_COLOR`).
    pub fn new(writer: &'w mut (dyn Write + Send), notices: &'w mut (dyn Write + Send), is_coloured: bool) -> Self {
        Self { writer, notices, is_coloured }
    }

    /// One line of spans, without anything between them.
    pub fn line(&mut self, spans: impl IntoIterator<Item = impl Into<Span>>) -> io::Result<()> {
        for span in spans {
            self.span(&span.into(), 0)?;
        }
        self.writer.write_all(b"\n")
    }

    pub fn blank(&mut self) -> io::Result<()> {
        self.writer.write_all(b"\n")
    }

    /// Rows in aligned columns, two spaces apart. The last column is as wide as it is.
    pub fn table<const N: usize>(&mut self, head: [&str; N], rows: &[[Span; N]]) -> io::Result<()> {
        let head = head.map(|title| Span { text: title.to_owned(), tone: Tone::Faint });
        let rows = || std::iter::once(&head).chain(rows);
        let width = |column: usize| rows().map(|row| row[column].text.chars().count()).max().unwrap_or_default();
        let widths: [usize; N] = std::array::from_fn(|column| if column + 1 == N { 0 } else { width(column) + 2 });
        for row in rows() {
            for (span, width) in row.iter().zip(widths) {
                self.span(span, width)?;
            }
            self.writer.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// JSON as the API gave it, which has no line break in it, as a line.
    pub fn json_line(&mut self, json: &[u8]) -> io::Result<()> {
        self.writer.write_all(json)?;
        self.writer.write_all(b"\n")
    }

    /// A line beside what was asked for: it must not end up in a pipe.
    pub fn notice(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.notices, "{}", Span::from(text).cleaned())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn span(&mut self, span: &Span, width: usize) -> io::Result<()> {
        let text = span.cleaned();
        let gap = width.saturating_sub(text.chars().count());
        if self.is_coloured && span.tone != Tone::Plain {
            write!(self.writer, "{}{text}\x1b[0m{:gap$}", span.tone.code(), "")
        } else {
            write!(self.writer, "{text}{:gap$}", "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_coloured: bool, write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> String {
        let (mut bytes, mut notices) = (Vec::new(), Vec::new());
        write(&mut Out::new(&mut bytes, &mut notices, is_coloured)).expect("a vector takes everything");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn columns_are_aligned_with_and_without_colour() {
        let rows = [[Span::good("issued"), Span::from("a")], [Span::bad("no"), Span::from("bcd")]];
        assert_eq!(written(false, |out| out.table(["STATUS", "X"], &rows)), "STATUS  X\nissued  a\nno      bcd\n");
        let coloured = written(true, |out| out.table(["STATUS", "X"], &rows));
        assert!(coloured.contains("\x1b[32missued\x1b[0m  a\n"), "{coloured:?}");
    }

    #[test]
    fn nobody_outside_steers_the_terminal() {
        let text = written(false, |out| out.line(["a\x1b[2Jb\u{9b}c\u{202e}d"]));
        assert_eq!(text, "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\n");
    }
}
