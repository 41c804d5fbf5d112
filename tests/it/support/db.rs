//! Databases of one's own: a SQLite file in a folder that goes away, or a PostgreSQL database made for one test.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keyferry::clock::{Clock, Entropy as _, ManualClock, SeededEntropy, SystemEntropy};
use keyferry::store::{self, Store};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

/// A migrated store with a clock that stands still.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) clock: ManualClock,
    pub(crate) url: String,
    _dir: Option<TempDir>,
}

pub(crate) fn start() -> Timestamp {
    "2026-03-01T10:00:00Z".parse().expect("a time")
}

impl Bench {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", dir.path().join("keyferry.db").display());
        Self::open(url, Some(dir)).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::open(new_postgres_database().await, None).await
    }

    async fn open(url: String, dir: Option<TempDir>) -> Self {
        let clock = ManualClock::starting_at(start());
        store::migrate(&url).await.expect("migrations");
        let store = Self::connect(&url, Arc::new(clock.clone())).await;
        Self { store, clock, url, _dir: dir }
    }

    async fn connect(url: &str, clock: Arc<dyn Clock>) -> Store {
        let entropy = Arc::new(SeededEntropy::new(SystemEntropy.next_u64()));
        Store::open(url, 5, clock, entropy).await.expect("a store")
    }

    /// The same database, as another process sees it.
    pub(crate) async fn other_process(&self) -> Store {
        self.process_by(Arc::new(self.clock.clone())).await
    }

    /// The same, by a clock of its own.
    pub(crate) async fn process_by(&self, clock: Arc<dyn Clock>) -> Store {
        Self::connect(&self.url, clock).await
    }

    pub(crate) fn advance_seconds(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }
}

/// Counts the transactions that a SQLite database in WAL mode has seen: `iChange`, the third word of the WAL-index's header
/// (<https://www.sqlite.org/walformat.html>).
#[derive(Debug)]
pub(crate) struct Commits(File);

impl Commits {
    /// Kept open: who closes a file lets go of the locks that SQLite has on it in the same process.
    pub(crate) fn of(database: &Path) -> Self {
        let mut index = database.as_os_str().to_owned();
        index.push("-shm");
        Self(File::open(index).expect("a database in WAL mode"))
    }

    pub(crate) fn count(&self) -> u32 {
        let mut word = [0; 4];
        self.0.read_exact_at(&mut word, 8).expect("a header");
        u32::from_ne_bytes(word)
    }
}

/// The address of a service that `scripts/test` starts.
pub(crate) fn service(variable: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "how scripts/test tells the tests where its services are")]
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests by scripts/test, which starts what they need"))
}

/// Makes a database in the test PostgreSQL. The whole server goes away after the tests.
pub(crate) async fn new_postgres_database() -> String {
    new_database_of(&service("KEYFERRY_TEST_POSTGRES_URL")).await
}

/// Makes a database of this server.
pub(crate) async fn new_database_of(server: &str) -> String {
    let name = format!("keyferry_{:016x}", SystemEntropy.next_u64());
    let mut connection = PgConnection::connect(server).await.expect("the test PostgreSQL");
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a database");
    let mut url = url::Url::parse(server).expect("a URL");
    url.set_path(&name);
    url.to_string()
}
