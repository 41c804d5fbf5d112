//! Telling the ledger to a person: each hop named, with the time it took.

use std::collections::HashMap;
use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(super) struct Story {
    json: bool,
    colour: bool,
    begun: Timestamp,
    last: Timestamp,
    last_seq: i64,
    names: HashMap<String, String>,
}

impl Story {
    pub(super) fn new(json: bool, colour: bool, now: Timestamp) -> Self {
        Self { json, colour, begun: now, last: now, last_seq: 0, names: HashMap::new() }
    }

    pub(super) fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// From now on `device_id` goes by `name`.
    pub(super) fn name(&mut self, device_id: &str, name: &str) {
        self.names.insert(device_id.to_owned(), name.to_owned());
    }

    /// Something that the demo itself does; for people only.
    pub(super) fn tell(&mut self, hop: &str, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { self.line(None, hop, text) }
    }

    /// The ledger's next lines.
    pub(super) fn catch_up(&mut self, lines: &[Value]) -> io::Result<()> {
        for line in lines {
            self.last_seq = line["seq"].as_i64().unwrap_or(self.last_seq);
            if self.json {
                writeln!(io::stdout(), "{line}")?;
                continue;
            }
            let at = line["at"].as_str().and_then(|at| at.parse().ok());
            if let Some((hop, text)) = self.words(line) {
                self.line(at, hop, &text)?;
            }
        }
        io::stdout().flush()
    }

    fn line(&mut self, at: Option<Timestamp>, hop: &str, text: &str) -> io::Result<()> {
        let Some(at) = at else {
            let (bold, plain) = self.style("\x1b[1m");
            return writeln!(io::stdout(), "{:>21}{bold}{hop:<9}{plain} {text}", "");
        };
        let since = seconds(at.duration_since(self.begun));
        let took = at.duration_since(self.last).as_millis().max(0);
        self.last = at;
        let (dim, plain) = self.style("\x1b[2m");
        let (green, _) = self.style(if hop == "key" { "\x1b[1;32m" } else { "" });
        writeln!(io::stdout(), "{dim}{since:>7} s {took:>+6} ms{plain}  {green}{hop:<9} {text}{plain}")
    }

    fn style(&self, code: &'static str) -> (&'static str, &'static str) {
        if self.colour { (code, "\x1b[0m") } else { ("", "") }
    }

    /// What a ledger line means to somebody who has never seen one; `None` for what adds nothing to the story.
    fn words(&self, line: &Value) -> Option<(&'static str, String)> {
        let of = |name: &str| line[name].as_str().unwrap_or_default();
        let phone = || self.names.get(of("device_id")).cloned().unwrap_or_else(|| of("device_id").to_owned());
        let credential = || short(of("acs_credential_id"));
        Some(match of("kind") {
            "plan.put" => ("plan", "kept; nothing is created before there is a phone".to_owned()),
            "event.received" if of("source") == "keyferry" => return None,
            "event.received" => {
                let from = if of("source") == "app" { "the customer's app" } else { "Seam" };
                ("webhook", format!("{} from {from}: signature good, durable, answered 202", of("event_type")))
            }
            "phone.registered" => ("worker", format!("{} is a phone of this person", phone())),
            "issuance.creating" => {
                ("intent", "one credential for the stay: written down before Seam is called".to_owned())
            }
            "issuance.created" => ("seam", format!("multi-phone sync credential {} created", credential())),
            "issuance.issued" => ("status", format!("credential {} is issued, says Seam's own object", credential())),
            "phone_key.waiting" => ("key", format!("{} waits for its key", phone())),
            "phone_key.issued" => ("key", format!("{} has its key, child credential {}", phone(), credential())),
            "event.retry" => ("retry", of("why").to_owned()),
            "event.parked" => ("parked", of("why").to_owned()),
            "event.done" | "event.ignored" | "issuance.planned" => return None,
            other => ("ledger", format!("{other} {}", of("why"))),
        })
    }

    /// Both phones' keys, as the ops API tells them at the end.
    pub(super) fn keys(&self, issuance: &Value) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let of = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let mut out = io::stdout();
        writeln!(out, "\nPlan {} is {}. One credential:", of(&issuance["plan_key"]), of(&issuance["status"]))?;
        writeln!(out, "  {}", of(&issuance["acs_credential_id"]))?;
        writeln!(out, "Its keys, one on each phone:")?;
        for phone in issuance["phones"].as_array().into_iter().flatten() {
            let name = self.names.get(&of(&phone["device_id"])).cloned().unwrap_or_else(|| of(&phone["device_id"]));
            let (status, id, at) = (of(&phone["status"]), of(&phone["acs_credential_id"]), of(&phone["issued_at"]));
            writeln!(out, "  {id}  {status:<8} {name} (issued at {at})")?;
        }
        Ok(())
    }

    pub(super) fn end(&self, summary: &Value) -> io::Result<()> {
        let mut out = io::stdout();
        if self.json {
            return writeln!(out, "{}", serde_json::json!({ "summary": summary }));
        }
        let of = |name: &str| summary[name].as_i64().unwrap_or_default();
        writeln!(
            out,
            "\n{} plan, {} phones, {} keys issued, {} credential at the sandbox, {} events parked.",
            of("plans"),
            of("phones"),
            of("issued"),
            of("credentials"),
            of("parked"),
        )?;
        writeln!(out, "Next: `keyferry sandbox` in one terminal, then the README's first set-up in another.")
    }
}

fn seconds(duration: SignedDuration) -> String {
    format!("{:.3}", duration.as_secs_f64().max(0.0))
}

/// Enough of an id to tell it from the others on the screen.
fn short(id: &str) -> String {
    format!("{}…", id.get(..8).unwrap_or(id))
}
