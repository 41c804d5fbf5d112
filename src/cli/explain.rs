//! `explain`: why a request that was caught is not taken, and what would become of it.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use jiff::Timestamp;

use super::client::{Out, Span};
use super::doctor::wrapped;
use super::{Environment, wants_colour};
use crate::clock::Clock;
use crate::config;
use crate::receiver::Roster;
use crate::receiver::explain::{Captured, Explanation, Fate, Told, explain};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The source that it was sent to, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    source: String,

    /// The request as it was caught: its head, an empty line, its body; `-` for standard input
    #[arg(value_name = "REQUEST_FILE")]
    file: PathBuf,

    /// The body, where the capture has none of it, or not its bytes
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,

    /// Judge it for this moment (RFC 3339) instead of the present one
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,

    /// Print the explanation as JSON
    #[arg(long)]
    json: bool,

    /// Configuration file (TOML) that names the source
    #[arg(long, value_name = "FILE", env = "KEYFERRY_CONFIG")]
    config: Option<PathBuf>,
}

/// Text goes no further to the right than this.
const COLUMNS: usize = 80;

pub(super) fn run(args: &Args, environment: &Environment, clock: &dyn Clock) -> anyhow::Result<ExitCode> {
    let senders = config::senders(environment, super::read_file(args.config.as_deref())?.as_deref())?;
    let roster = Roster::new(senders.sources);
    let body = args.body.as_deref().map(read).transpose()?.map(Bytes::from);
    let request = Captured::parse(&read(&args.file)?, body).with_context(|| args.file.display().to_string())?;
    let at = args.at.unwrap_or_else(|| clock.now());
    let Some(explanation) = explain(&roster, &args.source, &request, senders.body_bytes_max, at) else {
        let names: Vec<_> = roster.iter().map(|source| source.name().to_string()).collect();
        bail!("no source `{}` is configured here; there are: {}", args.source, names.join(", "));
    };
    let mut out = io::stdout();
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(&explanation)?)?;
    } else {
        print(&explanation, &mut Out::new(&mut out, &mut io::stderr(), wants_colour(environment)))?;
    }
    Ok(if is_taken(&explanation) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(bytes)
}

fn is_taken(explanation: &Explanation) -> bool {
    (200..300).contains(&explanation.status)
}

fn print(explanation: &Explanation, out: &mut Out<'_>) -> io::Result<()> {
    let status = explanation.status;
    let (verdict, then) = if is_taken(explanation) {
        (Span::good("taken"), "what becomes of it")
    } else {
        (Span::bad("not taken"), "what would become of it")
    };
    let reason = explanation.refusal.map(|reason| format!(" ({reason})")).unwrap_or_default();
    out.line([verdict, format!(": the receiver answers {status}{reason}").into()])?;
    if let Some(secret) = &explanation.secret {
        let when = explanation.sent_at.map(|at| format!(", signed at {at}")).unwrap_or_default();
        out.line([format!("  proven with secret `{secret}`{when}")])?;
    }
    for finding in &explanation.findings {
        for line in wrapped(&finding.what, COLUMNS - 2) {
            out.line([format!("  {line}")])?;
        }
        let advice = finding.advice.as_deref().map(|advice| wrapped(advice, COLUMNS - 4)).unwrap_or_default();
        for (index, line) in advice.iter().enumerate() {
            out.line([Span::faint(format!("  {} {line}", if index == 0 { "→" } else { " " }))])?;
        }
    }
    out.line([Span::strong(then)])?;
    if explanation.events.is_empty() {
        out.line(["  nothing: there is no event in it"])?;
    }
    for event in &explanation.events {
        told(event, out)?;
    }
    out.flush()
}

fn told(event: &Told, out: &mut Out<'_>) -> io::Result<()> {
    let name = match (&event.event_id, &event.event_type) {
        (Some(id), Some(kind)) => format!("event {id}, {kind}: "),
        _ => String::new(),
    };
    let (fate, why) = match event.fate {
        Fate::ActedOn => (Span::good("acted on"), ""),
        Fate::Ignored => (Span::from("recorded and ignored"), ", since this type asks nothing of us"),
        Fate::Parked => (Span::bad("parked"), ""),
    };
    let why = event.why.as_ref().map_or_else(|| why.to_owned(), |why| format!(": {why}"));
    out.line([format!("  {name}").into(), fate, why.into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::explain::Finding;

    #[test]
    fn an_explanation_is_read_in_eighty_columns() {
        let long = "a sentence that goes on and on ".repeat(6);
        let explanation = Explanation {
            status: 401,
            refusal: Some("too_old"),
            secret: Some("2026-03".to_owned()),
            sent_at: Some("2026-03-01T10:40:00Z".parse().expect("a time")),
            findings: vec![Finding { what: long.clone(), advice: Some(long) }],
            events: vec![Told {
                fate: Fate::Parked,
                event_id: None,
                event_type: None,
                why: Some("`event_id` is missing.".to_owned()),
            }],
        };
        let (mut bytes, mut notices) = (Vec::new(), Vec::new());
        print(&explanation, &mut Out::new(&mut bytes, &mut notices, false)).expect("a vector takes everything");
        let text = String::from_utf8(bytes).expect("text");
        let head = "not taken: the receiver answers 401 (too_old)\n  proven with secret `2026-03`, signed at 2026-03-01T10:40:00Z\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("what would become of it\n  parked: `event_id` is missing.\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }
}
