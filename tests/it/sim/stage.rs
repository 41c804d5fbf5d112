//! What schedules are played on, one after the other: a database in memory and a sandbox, both made once and set back
//! before each, since making them costs more than most schedules do.

use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use keyferry::clock::{Entropy, SeededEntropy};
use keyferry::sandbox::{self, Sandbox};
use keyferry::store::{self, Store};
use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};
use serde_json::json;
use tempfile::TempDir;

use super::desk::{Books, Desk};
use super::planted::{Bug, OneToken};
use super::process::{Dial, Times};
use super::town::Hotel;
use crate::support::db::{Commits, start};

pub(super) struct Stage {
    pub(super) times: Times,
    pub(super) desk: Desk,
    /// As whoever puts plans and takes in webhooks has it.
    pub(super) store: Store,
    /// As workers have it.
    pub(super) workers_store: Store,
    pub(super) bug: Option<Bug>,
    pub(super) hotel: Hotel,
    db: Connection,
    commits: Commits,
    view: View,
    chance: Arc<Chance>,
    tables: Vec<String>,
    _dir: TempDir,
}

/// Chance that can begin anew.
struct Chance(Mutex<SeededEntropy>);

impl Chance {
    fn reseed(&self, seed: u64) {
        *self.0.lock().expect("no panic under the lock") = SeededEntropy::new(seed);
    }
}

impl Entropy for Chance {
    fn next_u64(&self) -> u64 {
        self.0.lock().expect("no panic under the lock").next_u64()
    }
}

/// A row of the inbox that is in somebody's hands: its number, and which attempt it is.
pub(super) type Claim = (i64, i64);

/// What is to be done according to the store. Between two commits it stays as it is, and is not read again.
#[derive(Default)]
pub(super) struct View {
    commits: u32,
    inbox: Vec<Waiting>,
    /// When the next issuance is due for a look.
    pub(super) look_at: Option<Timestamp>,
}

struct Waiting {
    claim: Claim,
    is_claimed: bool,
    /// When a worker can have it: `None` once it has ended.
    free_at: Option<Timestamp>,
}

impl View {
    pub(super) fn claims(&self) -> impl Iterator<Item = Claim> {
        self.inbox.iter().filter(|it| it.is_claimed).map(|it| it.claim)
    }

    /// Whether somebody else has taken up the event since.
    pub(super) fn is_taken_over(&self, (seq, attempt): Claim) -> bool {
        // A look of the sweep's is gone once somebody has had it.
        self.inbox.iter().find(|it| it.claim.0 == seq).is_none_or(|it| it.claim.1 > attempt)
    }

    /// When there is something for a worker, if nobody is at another event of the same subject then.
    pub(super) fn free_at(&self) -> impl Iterator<Item = Timestamp> {
        self.inbox.iter().filter_map(|it| it.free_at)
    }
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let free_at: Option<i64> = row.get(3)?;
    Ok(Waiting { claim: (row.get(0)?, row.get(1)?), is_claimed: row.get(2)?, free_at: free_at.map(time) })
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).expect("a time")
}

impl Stage {
    pub(super) async fn new(bug: Option<Bug>) -> Self {
        // In memory, but as a file: connections that share a cache lock each other out of tables, and do not wait.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::tempdir_in(place).expect("a folder");
        let path = dir.path().join("sim.db");
        let url = format!("sqlite:{}", path.display());
        store::migrate(&url).await.expect("migrations");
        let db = Connection::open(&path).expect("a database");
        let times = Times::starting_at(start());
        let chance = Arc::new(Chance(Mutex::new(SeededEntropy::new(0))));
        let open = async |entropy: Arc<dyn Entropy>| {
            Store::open(&url, 1, Arc::new(Dial(times.clone(), Times::ours)), entropy).await.expect("a store")
        };
        let store = open(chance.clone()).await;
        let workers_store = match bug {
            Some(Bug::NoFence) => open(Arc::new(OneToken(chance.clone()))).await,
            _ => store.clone(),
        };
        let settings = sandbox::Settings::default();
        let api_key = settings.api_key.clone();
        let sandbox = Sandbox::new(settings, Arc::new(Dial(times.clone(), Times::truth))).expect("a sandbox");
        let desk = Desk { router: sandbox.router(), api_key, books: Books::default() };
        let tables = keep(&db);
        let (commits, view) = (Commits::of(&path), View::default());
        let hotel = Hotel::of(&desk.world().await);
        Self { times, desk, store, workers_store, bug, hotel, db, commits, view, chance, tables, _dir: dir }
    }

    /// As it was before the first schedule.
    pub(super) async fn reset(&mut self, seed: u64) {
        self.times.reset(start());
        self.chance.reseed(seed);
        self.desk.call("/_sandbox/reset", &json!({})).await.expect("set back");
        *self.desk.books.open() = super::desk::Entries::default();
        let table = |table: &String| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table};");
        let tables: String = self.tables.iter().map(table).collect();
        self.db.execute_batch(&format!("BEGIN IMMEDIATE; {tables} COMMIT")).expect("set back");
    }

    /// How many transactions the store has seen.
    pub(super) fn commits(&self) -> u32 {
        self.commits.count()
    }

    pub(super) fn view(&mut self) -> &View {
        let commits = self.commits();
        if self.view.commits != commits {
            let inbox = "SELECT seq, attempts, lease IS NOT NULL, \
                         CASE WHEN state = 'due' THEN COALESCE(lease_until, due_at) END FROM inbox ORDER BY seq";
            let mut inbox = self.db.prepare_cached(inbox).expect("a statement");
            let inbox = inbox.query_map([], waiting).and_then(Iterator::collect).expect("a read");
            let look_at: Option<i64> = self.one("SELECT MIN(look_at) FROM issuances");
            let look_at = look_at.map(time);
            self.view = View { commits, inbox, look_at };
        }
        &self.view
    }

    /// The number of the ledger's last line.
    pub(super) fn ledger_head(&self) -> i64 {
        self.one("SELECT seq FROM ledger_head")
    }

    fn one<T: FromSql>(&self, sql: &str) -> T {
        self.db.prepare_cached(sql).and_then(|mut read| read.query_one([], |row| row.get(0))).expect("a read")
    }

    pub(super) fn now(&self) -> Timestamp {
        self.times.truth()
    }
}

/// Keeps what a new database has in its tables; returns their names.
fn keep(db: &Connection) -> Vec<String> {
    // Its reads shall not lock what others are about to write: it reads only while they stand.
    db.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA read_uncommitted = ON").expect("settings");
    let named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '_sqlx_migrations' ORDER BY name";
    let mut named = db.prepare(named).expect("a statement");
    let tables: Vec<String> = named.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("a read");
    for table in &tables {
        let keep = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        db.execute_batch(&keep).expect("kept");
    }
    tables
}
