//! The running program under attack: what it answers, what trace it keeps, how much memory it has held.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::letter::{Letter, SEAM_KEY, STRICT_KEY};
use super::{CLOSED, Row, Wants};
use crate::receiver::wire::Wire;
use crate::support::ground::{Ground, Shape};
use crate::support::process::Process;
use crate::support::town::Town;
use crate::support::wait;

/// Resident memory of a process, whatever it is sent.
const RESIDENT_KIB_MAX: u64 = 100 * 1024;

/// A running Keyferry, and how far its ledger has been read.
pub(super) struct Fort {
    pub(super) town: Town,
    read_to: i64,
    parked: usize,
    /// Every signature that a row's letter had.
    pub(super) signatures: Vec<String>,
}

impl Fort {
    pub(super) async fn new(shape: Shape) -> Self {
        Self::with(shape, &[]).await
    }

    pub(super) async fn with(shape: Shape, variables: &[(&str, &str)]) -> Self {
        let strict = format!(
            r#"[{{ name = "strict", kind = "standard", secrets = ["whsec_{STRICT_KEY}"], tolerance_seconds = 0 }}]"#
        );
        let mut town = Town::founded(Ground::of(shape).await.with("sources", &strict)).await;
        town.environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        town.environment.insert("SEAM_WEBHOOK_SECRET".to_owned(), format!("whsec_{SEAM_KEY}"));
        match shape {
            Shape::Embedded => town.start("run").await,
            Shape::Brokered => {
                town.start("serve").await;
                town.start("work").await;
            }
        }
        Self { town, read_to: 0, parked: 0, signatures: Vec::new() }
    }

    pub(super) async fn wire(&self) -> Wire {
        Wire::to(self.town.receiver_url.trim_start_matches("http://").parse().expect("an address")).await
    }

    pub(super) async fn status(&self, bytes: &[u8]) -> u16 {
        let mut wire = self.wire().await;
        wire.send(bytes).await;
        wire.answer().await.map_or(CLOSED, |answer| answer.status)
    }

    /// Sends what each row makes, and holds the trace against what it wants.
    pub(super) async fn face(&mut self, rows: impl IntoIterator<Item = &Row>) {
        for (_, what, wants, make) in rows {
            let letter = Letter::new();
            self.signatures.push(letter.signature());
            let bytes = make(letter);
            let status = self.status(&bytes).await;
            match wants {
                Wants::Refused(statuses) => {
                    assert!(statuses.contains(&status), "{what}: {status}");
                    self.left(what, &[]).await;
                }
                Wants::Ignored => {
                    assert_eq!(status, 202, "{what}");
                    self.left(what, &["event.ignored"]).await;
                }
                Wants::Parked(why) => {
                    assert_eq!(status, 202, "{what}");
                    self.left(what, &["event.parked"]).await;
                    self.parked_last(what, why, &bytes).await;
                }
            }
        }
        self.is_small();
    }

    /// Sends a good letter, and then asserts that there is one terminal line for it, those of `kinds`, and no other.
    pub(super) async fn left(&mut self, what: &str, kinds: &[&str]) {
        assert_eq!(self.status(&Letter::new().bytes()).await, 202, "a good letter after: {what}");
        let wanted = kinds.len() + 1;
        let lines = wait::until(&format!("{wanted} terminal lines after: {what}"), async || {
            let lines = self.town.ops(&format!("/v1/ledger?after={}&limit=1000", self.read_to)).await;
            let lines = lines["ledger"].as_array().expect("lines").clone();
            (lines.iter().filter(|line| is_terminal(line)).count() >= wanted).then_some(lines)
        })
        .await;
        self.read_to = lines.last().and_then(|line| line["seq"].as_i64()).expect("a number");
        let mut found: Vec<_> = lines.iter().filter(|line| is_terminal(line)).filter_map(kind).collect();
        found.sort_unstable();
        let mut expected: Vec<_> = kinds.iter().copied().chain(["event.ignored"]).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "the trace of: {what}");
        // What was read was received first; what could not be read was not.
        let received = lines.iter().filter(|line| kind(line) == Some("event.received")).count();
        let parked = expected.iter().filter(|kind| **kind == "event.parked").count();
        assert_eq!(received, expected.len() - parked, "the events of: {what}");
        self.parked += parked;
        assert_eq!(self.all_parked().await.len(), self.parked, "what is parked after: {what}");
    }

    pub(super) async fn all_parked(&self) -> Vec<Value> {
        self.town.ops("/v1/parked?limit=1000").await["parked"].as_array().expect("items").clone()
    }

    /// The last parked item says why, and holds the body that was sent.
    pub(super) async fn parked_last(&self, what: &str, why: &str, bytes: &[u8]) {
        let item = self.all_parked().await.pop().expect("an item");
        let said = item["why"].as_str().expect("a reason");
        assert!(said.contains(why), "{what}: {said}");
        let kept = STANDARD.decode(item["body_base64"].as_str().expect("a body")).expect("base64");
        assert!(bytes.ends_with(&kept), "{what}: its bytes are kept");
    }

    /// What the ops port answers, whatever the status.
    pub(super) async fn page(&self, path: &str) -> String {
        let call = self.town.client.get(format!("{}{path}", self.town.ops_url));
        let response = call.send().await.expect("an answer");
        response.text().await.expect("text")
    }

    /// No process has ever held more memory than it may.
    pub(super) fn is_small(&self) {
        for process in &self.town.processes {
            let kib = peak_kib(process);
            assert!(kib <= RESIDENT_KIB_MAX, "{kib} KiB were resident at the peak");
        }
    }
}

fn peak_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn kind(line: &Value) -> Option<&str> {
    line["kind"].as_str()
}

fn is_terminal(line: &Value) -> bool {
    kind(line).is_some_and(|kind| ["event.done", "event.ignored", "event.parked"].contains(&kind))
}
