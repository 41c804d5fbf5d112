//! The commands that ask a running Keyferry.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use clap::Parser;
use keyferry::cli::client::{self, Command, Connection, Out};
use keyferry::clock::SystemClock;
use keyferry::domain::Outcome;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::office::Office;
use crate::support::wait::until;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Paper that several hold on to.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

/// A reader that has gone away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn run(url: &str, args: &[&str], out: &mut (dyn Write + Send), notices: &mut Paper) -> anyhow::Result<()> {
    let cli = Cli::try_parse_from([&["keyferry"], args].concat())?;
    let connection = Connection { url: url.to_owned(), token: None };
    client::run(cli.command, connection, &SystemClock, &mut Out::new(out, notices, false)).await
}

/// What a command prints.
pub(super) async fn says(office: &Office, args: &[&str]) -> String {
    let mut out = Paper::default();
    run(&office.url, args, &mut out, &mut Paper::default()).await.expect("a good end");
    out.text()
}

/// How a command fails.
async fn fails(url: &str, args: &[&str]) -> String {
    let error = run(url, args, &mut Paper::default(), &mut Paper::default()).await.expect_err("a bad end");
    format!("{error:#}")
}

fn plan_file(plan: &Value) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(plan.to_string().as_bytes()).expect("written");
    file
}

#[tokio::test]
async fn a_plan_is_put_shown_listed_and_cancelled() {
    let office = Office::open().await;
    assert!(says(&office, &["plan", "list"]).await.contains("no plan yet"));
    let file = plan_file(&json!({"user_identity_id": "u-1", "acs_user_id": "acs-1"}));
    let put = ["plan", "put", "room 7?", file.path().to_str().expect("a path")];
    assert!(fails(&office.url, &put).await.contains("\n  key: a plan's key has 1 to 200 printable ASCII"));
    let put = ["plan", "put", "room#7?", put[3]];
    assert!(says(&office, &put).await.starts_with("room#7? is a new plan, planned\n"));
    assert!(says(&office, &put).await.starts_with("room#7? is up to date, planned\n"));
    let list = says(&office, &["plan", "list"]).await;
    assert_eq!(list, "PLAN     STATUS   PERSON  STARTS  ENDS\nroom#7?  planned  u-1     -       -\n");
    let got: Value = serde_json::from_str(&says(&office, &["plan", "get", "room#7?"]).await).expect("JSON");
    assert_eq!(got["spec"]["acs_user_id"], "acs-1");

    office.issue("room#7?").await;
    let story = says(&office, &["show", "room#7?"]).await;
    assert!(story.starts_with("room#7? is created: the credential exists"), "{story}");
    assert!(story.contains("phone-1  issued   child-room#7?     2026-03-01T10:00:00.000Z\n"), "{story}");
    assert!(story.contains("phone_key.issued"), "{story}");
    let json: Value = serde_json::from_str(&says(&office, &["show", "room#7?", "--json"]).await).expect("JSON");
    assert_eq!(json["phones"][1]["status"], "waiting");

    assert!(says(&office, &["plan", "delete", "room#7?"]).await.contains("is being cancelled"));
    assert!(says(&office, &["plan", "list"]).await.contains("created, cancelled"));
    assert_eq!(fails(&office.url, &["show", "nope"]).await, "there is no plan \"nope\"");
}

#[tokio::test]
async fn the_state_is_said_in_words() {
    let office = Office::open().await;
    let empty = says(&office, &["status"]).await;
    assert!(empty.contains("inbox       empty\n") && empty.contains("parked      nothing\n"), "{empty}");
    office.receive("e-1").await;
    office.work(Outcome::Park { why: "nonsense".to_owned() }).await;
    office.receive("e-2").await;
    let status = says(&office, &["status"]).await;
    assert!(status.contains("1 waiting, 0 retrying, 0 in flight  the oldest came in 0 s ago\n"), "{status}");
    assert!(status.contains("provider does not work, so what needs it waits: it is asleep\n"), "{status}");
    assert!(status.contains("keyferry parked list"), "{status}");
}

#[tokio::test]
async fn parked_items_are_seen_to() {
    let office = Office::open().await;
    office.receive("e-1").await;
    office.work(Outcome::Park { why: "evil \u{1b}[2J text".to_owned() }).await;
    office.receive_unreadable().await;
    let list = says(&office, &["parked", "list"]).await;
    assert!(list.contains("evil \u{fffd}[2J text") && list.contains("unreadable"), "{list}");
    assert!(says(&office, &["parked", "show", "2"]).await.contains("{\"a\": \u{fffd}}"));
    let (mut out, mut notices) = (Paper::default(), Paper::default());
    let ended = run(&office.url, &["parked", "release", "7", "2", "1"], &mut out, &mut notices).await;
    assert_eq!(ended.expect_err("two of them failed").to_string(), "2 of 3 could not be released");
    assert_eq!(out.text(), "1 is released\n", "one does not keep the others back");
    assert!(notices.text().contains("7: there is no parked item"), "{}", notices.text());
    assert_eq!(says(&office, &["parked", "discard", "2"]).await, "2 is discarded\n");
    assert_eq!(says(&office, &["parked", "list"]).await, "Nothing is parked.\n");
}

#[tokio::test]
async fn the_ledger_is_printed_to_its_end() {
    let office = Office::open().await;
    for number in 1..=3 {
        office.receive(&format!("e-{number}")).await;
    }
    let text = says(&office, &["tail", "--from", "2"]).await;
    assert!(text.starts_with("     2  2026-03-01T10:00:00.000Z  event.received"), "{text}");
    assert_eq!(text.lines().count(), 2);
    let json = says(&office, &["tail", "--json"]).await;
    let seqs: Vec<Value> =
        json.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].clone()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    run(&office.url, &["tail"], &mut Gone, &mut Paper::default()).await.expect("a reader may leave");
}

#[tokio::test]
async fn the_ledger_is_followed_through_a_restart() {
    let mut office = Office::open().await;
    office.receive("e-1").await;
    let (paper, mut notices) = (Paper::default(), Paper::default());
    let (mut out, url, seen) = (paper.clone(), office.url.clone(), notices.clone());
    let tail = tokio::spawn(async move { run(&url, &["tail", "--follow"], &mut out, &mut notices).await });
    let lines = async |count: usize| {
        until("lines", async || Some(paper.text()).filter(|text| text.lines().count() == count)).await
    };
    lines(1).await;
    office.receive("e-2").await;
    lines(2).await;
    office.close().await;
    until("a notice", async || seen.text().contains("going on from line 3").then_some(())).await;
    office.receive("e-3").await;
    office.reopen().await;
    let text = lines(3).await;
    let ids: Vec<&str> = text.lines().filter_map(|line| line.split(" event ").nth(1)?.split(' ').next()).collect();
    assert_eq!(ids, ["e-1", "e-2", "e-3"], "nothing twice, nothing missed");
    tail.abort();
}

#[tokio::test]
async fn a_failure_says_what_to_do() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    for args in [&["status"][..], &["tail", "--follow"]] {
        let failure = fails(&format!("http://{closed}"), args).await;
        assert!(failure.starts_with(&format!("nothing answers at http://{closed}/")), "{failure}");
        assert!(failure.contains("keyferry run") && failure.contains("KEYFERRY_OPS_URL"), "{failure}");
    }
    assert!(fails("localhost:8081", &["status"]).await.contains("not an http:// or https:// URL"));
    let office = Office::with_token(Some("s3cret")).await;
    assert!(fails(&office.url, &["status"]).await.contains("KEYFERRY_OPS_TOKEN"));
    let connection = Connection { url: office.url.clone(), token: Some(SecretString::from("s3cret")) };
    let command = Cli::try_parse_from(["keyferry", "status"]).expect("a command").command;
    let (mut out, mut notices) = (Paper::default(), Paper::default());
    let ended = client::run(command, connection, &SystemClock, &mut Out::new(&mut out, &mut notices, true)).await;
    ended.expect("a good end");
    assert!(out.text().contains("\u{1b}[32mready\u{1b}[0m"), "{}", out.text());
}
