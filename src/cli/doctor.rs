//! `doctor`: what was found, for people or for programs.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::check::For;
use super::client::{Out, Span};
use super::{Environment, ServerArgs, wants_colour};
use crate::clock::{SystemClock, SystemEntropy};
use crate::config;
use crate::doctor::{self, Finding, Patient, Verdict};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which role to judge for
    #[arg(long, value_enum, default_value_t = For::Run)]
    role: For,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Text goes no further to the right than this.
const COLUMNS: usize = 80;
const INDENT: usize = 11;

pub(super) async fn run(args: Args, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (role, file) = (args.role.role(), args.server.store.file()?);
    let (config, mistakes) = config::examine(role, &args.server.flags(), environment, file.as_deref());
    let path = args.server.store.config.as_deref();
    let patient = Patient { role, config: &config, mistakes: &mistakes, file: path };
    let findings = doctor::examine(&patient, Arc::new(SystemClock), Arc::new(SystemEntropy)).await;
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (problems, warnings) = (count(Verdict::Problem), count(Verdict::Warning));
    if args.json {
        let report = json!({"findings": findings, "problems": problems, "warnings": warnings});
        writeln!(std::io::stdout(), "{report:#}")?;
    } else {
        let (mut out, mut notices) = (std::io::stdout(), std::io::stderr());
        print(&findings, &mut Out::new(&mut out, &mut notices, wants_colour(environment)))?;
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(findings: &[Finding], out: &mut Out<'_>) -> std::io::Result<()> {
    let mut area = "";
    for finding in findings {
        if finding.area != area {
            area = finding.area;
            out.line([Span::strong(area)])?;
        }
        let verdict = match finding.verdict {
            Verdict::Ok => Span::good("  ok       "),
            Verdict::Warning => Span::pending("  warning  "),
            Verdict::Problem => Span::bad("  problem  "),
        };
        let mut lines = wrapped(&finding.what, COLUMNS - INDENT).into_iter();
        out.line([verdict, Span::from(lines.next().unwrap_or_default())])?;
        for line in lines {
            out.line([format!("{:INDENT$}{line}", "")])?;
        }
        let advice = finding.advice.as_deref().map(|advice| wrapped(advice, COLUMNS - INDENT - 2)).unwrap_or_default();
        for (index, line) in advice.iter().enumerate() {
            let mark = if index == 0 { "→" } else { " " };
            out.line([Span::faint(format!("{:INDENT$}{mark} {line}", ""))])?;
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    out.blank()?;
    match (count(Verdict::Problem), count(Verdict::Warning)) {
        (0, 0) => out.line([Span::good("all is well")])?,
        (problems, warnings) => {
            out.line([counted(problems, "problem"), ", ".to_owned(), counted(warnings, "warning")])?;
        }
    }
    out.flush()
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Lines of whole words; a word that is longer has a line of its own.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_in_eighty_columns() {
        let finding = |verdict, what: &str, advice: Option<&str>| Finding {
            area: "store",
            verdict,
            what: what.to_owned(),
            advice: advice.map(str::to_owned),
        };
        let long = "a sentence that goes on and on ".repeat(6);
        let findings = [finding(Verdict::Ok, "it answers", None), finding(Verdict::Problem, &long, Some(&long))];
        let (mut bytes, mut notices) = (Vec::new(), Vec::new());
        print(&findings, &mut Out::new(&mut bytes, &mut notices, false)).expect("a vector takes everything");
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with("store\n  ok       it answers\n  problem  a sentence"), "{text}");
        assert!(text.ends_with("\n\n1 problem, 0 warnings\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }
}
