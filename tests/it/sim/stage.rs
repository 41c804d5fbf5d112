//! What schedules are played on, one after the other: a database in memory and a sandbox, both made once and set back
//! before each, since making them costs more than most schedules do.

use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use keyferry::clock::{Entropy, SeededEntropy};
use keyferry::sandbox::{self, Sandbox};
use keyferry::store::{self, Store};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqliteConnection};
use tempfile::TempDir;

use super::desk::{Books, Desk};
use super::planted::{Bug, OneToken};
use super::process::{Dial, Times};
use super::town::Hotel;
use crate::support::db::start;

pub(super) struct Stage {
    pub(super) times: Times,
    pub(super) desk: Desk,
    /// As whoever puts plans and takes in webhooks has it.
    pub(super) store: Store,
    /// As workers have it.
    pub(super) workers_store: Store,
    pub(super) bug: Option<Bug>,
    pub(super) hotel: Hotel,
    db: SqliteConnection,
    chances: [Arc<Chance>; 2],
    tables: Vec<String>,
    _dir: TempDir,
}

/// Chance that can begin anew.
struct Chance(Mutex<SeededEntropy>);

impl Chance {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SeededEntropy::new(0))))
    }

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

impl Stage {
    pub(super) async fn new(bug: Option<Bug>) -> Self {
        // In memory, but as a file: connections that share a cache lock each other out of tables, and do not wait.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::tempdir_in(place).expect("a folder");
        let url = format!("sqlite:{}", dir.path().join("sim.db").display());
        store::migrate(&url).await.expect("migrations");
        let mut db = SqliteConnection::connect(&url).await.expect("a database");
        let times = Times::starting_at(start());
        let chances = [Chance::new(), Chance::new()];
        let open = async |entropy: Arc<dyn Entropy>| {
            Store::open(&url, 1, Arc::new(Dial(times.clone(), Times::ours)), entropy).await.expect("a store")
        };
        let store = open(chances[0].clone()).await;
        let workers: Arc<dyn Entropy> = match bug {
            Some(Bug::NoFence) => Arc::new(OneToken(chances[1].clone())),
            _ => chances[1].clone(),
        };
        let workers_store = open(workers).await;
        let settings = sandbox::Settings::default();
        let api_key = settings.api_key.clone();
        let sandbox = Sandbox::new(settings, Arc::new(Dial(times.clone(), Times::truth))).expect("a sandbox");
        let desk = Desk { router: sandbox.router(), api_key, books: Books::default() };
        let tables = keep(&mut db).await;
        let hotel = Hotel::of(&desk.world().await);
        Self { times, desk, store, workers_store, bug, hotel, db, chances, tables, _dir: dir }
    }

    /// As it was before the first schedule.
    pub(super) async fn reset(&mut self, seed: u64) {
        self.times.reset(start());
        for (chance, number) in self.chances.iter().zip(1..) {
            chance.reseed(seed.wrapping_add(number));
        }
        self.desk.call("/_sandbox/reset", &json!({})).await.expect("set back");
        *self.desk.books.open() = super::desk::Entries::default();
        for table in &self.tables {
            let set_back = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}");
            self.db.execute(AssertSqlSafe(set_back)).await.expect("set back");
        }
    }

    pub(super) async fn claims(&mut self) -> Vec<Claim> {
        let claimed = "SELECT seq, attempts FROM inbox WHERE lease IS NOT NULL ORDER BY seq";
        let rows = self.db.fetch_all(claimed).await.expect("a read");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Whether somebody else has taken up the event since.
    pub(super) async fn is_taken_over(&mut self, (seq, attempt): Claim) -> bool {
        let attempts = sqlx::query("SELECT attempts FROM inbox WHERE seq = $1").bind(seq);
        let row = attempts.fetch_optional(&mut self.db).await.expect("a read");
        // A look of the sweep's is gone once somebody has had it.
        row.is_none_or(|row| row.get::<i64, _>(0) > attempt)
    }

    /// The number of the ledger's last line.
    pub(super) async fn ledger_head(&mut self) -> i64 {
        self.db.fetch_one("SELECT seq FROM ledger_head").await.expect("a read").get(0)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.times.truth()
    }
}

/// Keeps what a new database has in its tables; returns their names.
async fn keep(db: &mut SqliteConnection) -> Vec<String> {
    // Its reads shall not lock what others are about to write: it reads only while they stand.
    db.execute("PRAGMA foreign_keys = OFF; PRAGMA read_uncommitted = ON").await.expect("settings");
    let named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '_sqlx_migrations' ORDER BY name";
    let rows = db.fetch_all(named).await.expect("a read");
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    for table in &tables {
        let keep = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        db.execute(AssertSqlSafe(keep)).await.expect("kept");
    }
    tables
}
