//! The real program, and everything that a hostile or broken sender may write to it: bytes in, status out, trace left.
//!
//! Each table is a list of rows; a row spoils one good letter. A refused one leaves nothing: no inbox row, no ledger
//! line, nothing parked. An accepted one leaves exactly one terminal line, `event.ignored` or `event.parked`, and what is
//! parked keeps its bytes. After each row a good letter passes, on a connection of its own. Signatures are made here by
//! hand, not by the code under test.

mod framing;
mod heads;
mod json;
mod leaks;
mod limits;
mod signature;
mod timestamps;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use keyferry::clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use serde_json::Value;
use sha2::Sha256;

use crate::receiver::wire::{Post, Wire};
use crate::support::ground::{Ground, Shape};
use crate::support::town::Town;
use crate::support::wait;

/// In place of a status: the connection ended without one.
const CLOSED: u16 = 0;
/// Resident memory of the process, whatever it is sent.
const RESIDENT_KIB_MAX: u64 = 100 * 1024;

/// The key of source `app`, as `Town` configures it.
const APP_KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The key of source `seam`.
const SEAM_KEY: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What a row wants to happen.
#[derive(Debug, Clone, Copy)]
enum Wants {
    /// One of these statuses, and no trace.
    Refused(&'static [u16]),
    /// 202, one event, which asks nothing of us.
    Ignored,
    /// 202, and the bytes are put aside with a reason that says this.
    Parked(&'static str),
}

use Wants::{Ignored, Parked, Refused};

/// A row: what it is, what it wants, and how it spoils a good letter.
type Row = (&'static str, Wants, fn(Letter) -> Vec<u8>);

/// A webhook that would be accepted, before it is signed.
#[derive(Debug, Clone)]
struct Letter {
    source: &'static str,
    /// `webhook` or `svix`.
    family: &'static str,
    key: &'static str,
    id: String,
    at: String,
    body: Vec<u8>,
}

impl Letter {
    /// A new event from the customer's backend, of a type that asks nothing of us.
    fn new() -> Self {
        let (id, now) = (format!("{:016x}", SystemEntropy.next_u64()), SystemClock.now());
        let body = format!(r#"{{"event_id":"e{id}","event_type":"app.opened","occurred_at":"2026-03-01T10:40:00Z"}}"#);
        Self {
            source: "app",
            family: "webhook",
            key: APP_KEY,
            id: format!("msg_{id}"),
            at: now.as_second().to_string(),
            body: body.into_bytes(),
        }
    }

    fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// `at`, or so many seconds from now.
    fn at(mut self, at: &str) -> Self {
        at.clone_into(&mut self.at);
        self
    }

    fn later(self, seconds: i64) -> Self {
        let at = (SystemClock.now().as_second() + seconds).to_string();
        self.at(&at)
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The good body, with the first `what` in it replaced.
    fn with(self, what: &str, by: &str) -> Self {
        let body = String::from_utf8(self.body.clone()).expect("text");
        assert!(body.contains(what), "{body} has {what}");
        self.body(body.replacen(what, by, 1))
    }

    /// One more member at the end of the good body.
    fn and(self, member: &str) -> Self {
        let body = String::from_utf8(self.body.clone()).expect("text");
        let open = body.strip_suffix('}').expect("an object");
        self.body(format!("{open},{member}}}"))
    }

    fn mac(&self) -> [u8; 32] {
        let key = STANDARD.decode(self.key).expect("a key");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
        mac.update(format!("{}.{}.", self.id, self.at).as_bytes());
        mac.update(&self.body);
        mac.finalize().into_bytes().into()
    }

    fn signature(&self) -> String {
        format!("v1,{}", STANDARD.encode(self.mac()))
    }

    /// The signed request.
    fn post(&self) -> Post {
        self.post_to(self.source)
    }

    fn post_to(&self, source: &str) -> Post {
        Post { line: format!("POST /webhooks/{source} HTTP/1.1"), headers: Vec::new(), body: self.body.clone() }
            .with("Host", "keys.example.com")
            .with("Content-Type", "application/json")
            .with(&format!("{}-id", self.family), self.id.as_str())
            .with(&format!("{}-timestamp", self.family), self.at.as_str())
            .with(&format!("{}-signature", self.family), self.signature())
    }

    fn bytes(&self) -> Vec<u8> {
        self.post().bytes()
    }

    /// The request with another signature header.
    fn signed_as(&self, signature: impl Into<Vec<u8>>) -> Vec<u8> {
        self.post().set(&format!("{}-signature", self.family), signature).bytes()
    }
}

/// A running Keyferry, and how far its ledger has been read.
struct Fort {
    town: Town,
    read_to: i64,
    parked: usize,
}

impl Fort {
    async fn new(shape: Shape) -> Self {
        Self::with(shape, &[]).await
    }

    async fn with(shape: Shape, variables: &[(&str, &str)]) -> Self {
        let mut town = Town::founded(Ground::of(shape).await).await;
        town.environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        town.environment.insert("SEAM_WEBHOOK_SECRET".to_owned(), format!("whsec_{SEAM_KEY}"));
        match shape {
            Shape::Embedded => town.start("run").await,
            Shape::Brokered => {
                town.start("serve").await;
                town.start("work").await;
            }
        }
        Self { town, read_to: 0, parked: 0 }
    }

    async fn wire(&self) -> Wire {
        Wire::to(self.town.receiver_url.trim_start_matches("http://").parse().expect("an address")).await
    }

    async fn status(&self, bytes: &[u8]) -> u16 {
        let mut wire = self.wire().await;
        wire.send(bytes).await;
        wire.answer().await.map_or(CLOSED, |answer| answer.status)
    }

    /// Sends what each row makes, and holds the trace against what it wants.
    async fn face(&mut self, rows: &[Row]) {
        for (what, wants, make) in rows {
            let letter = Letter::new();
            let bytes = make(letter.clone());
            let status = self.status(&bytes).await;
            match wants {
                Refused(statuses) => {
                    assert!(statuses.contains(&status), "{what}: {status}");
                    self.left(what, &[]).await;
                }
                Ignored => {
                    assert_eq!(status, 202, "{what}");
                    self.left(what, &["event.ignored"]).await;
                }
                Parked(why) => {
                    assert_eq!(status, 202, "{what}");
                    self.left(what, &["event.parked"]).await;
                    self.parked_last(what, why, &bytes).await;
                }
            }
        }
        self.is_small();
    }

    /// Sends a good letter, and then asserts that there is one terminal line for it, those of `kinds`, and no other.
    async fn left(&mut self, what: &str, kinds: &[&str]) {
        assert_eq!(self.status(&Letter::new().bytes()).await, 202, "a good letter after: {what}");
        let wanted = kinds.len() + 1;
        let lines = wait::until(&format!("{wanted} terminal lines after: {what}"), async || {
            let lines = self.town.ops(&format!("/v1/ledger?after={}&limit=1000", self.read_to)).await;
            let lines = lines["ledger"].as_array().expect("lines").clone();
            (lines.iter().filter(|line| is_terminal(line)).count() >= wanted).then_some(lines)
        })
        .await;
        self.read_to = lines.last().and_then(|line| line["seq"].as_i64()).expect("a number");
        let mut found: Vec<_> =
            lines.iter().filter(|line| is_terminal(line)).map(|line| line["kind"].clone()).collect();
        found.sort_by_key(Value::to_string);
        let mut expected: Vec<Value> = kinds.iter().copied().chain(["event.ignored"]).map(Value::from).collect();
        expected.sort_by_key(Value::to_string);
        assert_eq!(found, expected, "the trace of: {what}");
        // What was read was received first; what could not be read was not.
        let received = lines.iter().filter(|line| line["kind"] == "event.received").count();
        let read = expected.iter().filter(|kind| *kind == "event.ignored").count();
        assert_eq!(received, read, "the events of: {what}");
        self.parked += expected.len() - read;
        let parked = self.town.ops("/v1/parked?limit=1000").await["parked"].as_array().expect("items").len();
        assert_eq!(parked, self.parked, "what is parked after: {what}");
    }

    /// The last parked item says why, and holds the body that was sent.
    async fn parked_last(&self, what: &str, why: &str, bytes: &[u8]) {
        let items = self.town.ops("/v1/parked?limit=1000").await;
        let item = items["parked"].as_array().and_then(|items| items.last()).expect("an item").clone();
        let said = item["why"].as_str().expect("a reason");
        assert!(said.contains(why), "{what}: {said}");
        let kept = STANDARD.decode(item["body_base64"].as_str().expect("a body")).expect("base64");
        assert!(bytes.ends_with(&kept), "{what}: its bytes are kept");
    }

    /// What the ops port answers, whatever the status.
    async fn page(&self, path: &str) -> String {
        let response = reqwest::get(format!("{}{path}", self.town.ops_url)).await.expect("an answer");
        response.text().await.expect("text")
    }

    /// No process has ever held more memory than it may.
    fn is_small(&self) {
        for process in &self.town.processes {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("a process");
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
            let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
            assert!(kib <= RESIDENT_KIB_MAX, "{kib} KiB were resident at the peak");
        }
    }
}

fn is_terminal(line: &Value) -> bool {
    ["event.done", "event.ignored", "event.parked"].iter().any(|kind| line["kind"] == *kind)
}

#[tokio::test]
async fn every_row_has_its_answer_and_its_trace() {
    let mut fort = Fort::new(Shape::Embedded).await;
    for rows in [signature::ROWS, timestamps::ROWS, json::ROWS, heads::ROWS, framing::ROWS] {
        fort.face(rows).await;
    }
}

#[tokio::test]
async fn a_second_body_under_a_taken_id_is_put_aside_and_the_first_one_counts() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let first = Letter::new();
    let again = |body: &str| Letter::new().body(body.to_owned());
    let text = String::from_utf8(first.body.clone()).expect("text");
    assert_eq!(fort.status(&first.bytes()).await, 202);
    fort.left("the first", &["event.ignored"]).await;
    let spaced = text.replace(':', " : ");
    let fuller = text.replace('}', ",\"created_at\":\"2026-03-01T10:40:01Z\"}");
    for same in [&text, &spaced, &fuller] {
        assert_eq!(fort.status(&again(same).bytes()).await, 202);
        fort.left("a copy", &[]).await;
    }
    let other = again(&text.replace("10:40", "10:41"));
    assert_eq!(fort.status(&other.bytes()).await, 202);
    fort.left("another body", &["event.parked"]).await;
    fort.parked_last("another body", "another body has come", &other.bytes()).await;
    assert_eq!(fort.status(&other.bytes()).await, 202);
    fort.left("the same delivery again", &[]).await;
    let id = fort.town.ops("/v1/parked").await["parked"][0]["id"].as_i64().expect("an id");
    let release = reqwest::Client::new().post(format!("{}/v1/parked/{id}/release", fort.town.ops_url));
    assert_eq!(release.send().await.expect("an answer").status(), 422, "the id is taken");
}

#[tokio::test]
async fn the_same_over_the_broker() {
    let mut fort = Fort::new(Shape::Brokered).await;
    for rows in [signature::ROWS, json::ROWS] {
        // Every other row: what the broker adds is the same for all.
        let half: Vec<Row> = rows.iter().step_by(2).copied().collect();
        fort.face(&half).await;
    }
}
