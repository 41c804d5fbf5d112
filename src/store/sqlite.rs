//! SQLite: one file, one writer, any number of readers.
//!
//! SQLite works, and waits for the disk, in whatever thread calls it. So a transaction goes as a whole to a thread that
//! may wait, runs there without a pause, and its answer comes back: two passages between threads, however many
//! statements it has. Those that come while the writer is at work make up the next commit together, and share its
//! `fsync`; each keeps or loses its own changes by a savepoint.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use percent_encoding::percent_decode_str;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::StoreError;
use super::sql::{Job, Tx};

/// Connections that read at the same time, at most.
const READERS_MAX: usize = 4;

/// Above the number of different statements that there are.
const STATEMENTS_KEPT: usize = 256;

/// A cheap handle; clones share the connections.
#[derive(Clone)]
pub(super) struct Sqlite {
    writer: Arc<Mutex<Writer>>,
    readers: Arc<Readers>,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    File,
    /// A file that nobody may write to.
    ReadOnly,
    /// In memory, under the name that is its path: all who are connected to it at one time share it.
    Memory,
}

impl Place {
    /// `sqlite:PATH`, with `%` and two hexadecimal digits for what cannot stand in it, and `?mode=ro` behind it for one that
    /// is only read; or `sqlite:NAME?mode=memory`, for one process's tests.
    pub(super) fn of(url: &str) -> Result<Self, StoreError> {
        let rest = url.strip_prefix("sqlite:").ok_or(StoreError::Url)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, mode) = rest.split_once('?').unwrap_or((rest, "mode=rwc"));
        let path = percent_decode_str(path).decode_utf8().map_err(|_| StoreError::Url)?;
        let mode = match mode {
            "mode=rw" | "mode=rwc" => Mode::File,
            "mode=ro" => Mode::ReadOnly,
            "mode=memory" => Mode::Memory,
            _ => return Err(StoreError::Url),
        };
        if path.is_empty() { Err(StoreError::Url) } else { Ok(Self { path: path.as_ref().into(), mode }) }
    }

    /// `None` for one in memory.
    pub(super) fn file(self) -> Option<PathBuf> {
        (self.mode != Mode::Memory).then_some(self.path)
    }

    /// WAL with `synchronous=FULL`: a commit that returned is on the disk, also after a power cut.
    fn open(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = if self.mode == Mode::ReadOnly { OpenFlags::SQLITE_OPEN_READ_ONLY } else { flags };
        // Each connection is used by one thread at a time.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = if self.mode == Mode::Memory {
            let uri = format!("file:{}?mode=memory&cache=shared", self.path.display());
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(&self.path, flags)?
        };
        // Another process (a backup, a second Keyferry by mistake) may hold the lock for a moment.
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(connection)
    }

    fn open_writer(&self) -> rusqlite::Result<Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.execute_batch("PRAGMA journal_mode = WAL")?;
        Ok(connection)
    }

    /// As it is: no file is made, no setting changed that lasts.
    pub(super) fn open_existing(&self) -> rusqlite::Result<Connection> {
        self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)
    }
}

impl Sqlite {
    pub(super) async fn connect(url: &str) -> Result<Self, StoreError> {
        let place = Place::of(url)?;
        blocking(move || {
            let connection = place.open_writer()?;
            let writer = Writer { waiting: VecDeque::new(), idle: Some(connection) };
            let readers = Readers { place, idle: Mutex::default(), room: Semaphore::new(READERS_MAX) };
            Ok(Self { writer: Arc::new(Mutex::new(writer)), readers: Arc::new(readers) })
        })
        .await
    }

    /// Runs `job` in a transaction that writes, and commits it if it ended well and `is_kept` says so. It runs to its end
    /// also when nobody waits for the answer any more.
    pub(super) async fn write<T, E>(&self, is_kept: fn(&T) -> bool, job: impl Job<T, E>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (give, take) = oneshot::channel();
        let piece: Piece = Box::new(move |tx| {
            let result = match tx {
                Ok(tx) => panic::catch_unwind(AssertUnwindSafe(|| at_once(job(tx)))),
                Err(error) => Ok(Err(error.into())),
            };
            let is_kept = matches!(&result, Ok(Ok(value)) if is_kept(value));
            let answer: Answer = Box::new(move |committed| {
                // Whoever has gone in the meantime needs no answer.
                let _ = give.send(match committed {
                    Ok(()) => result,
                    Err(error) => Ok(Err(error.into())),
                });
            });
            if is_kept {
                Some(answer)
            } else {
                answer(Ok(()));
                None
            }
        });
        self.submit(piece);
        match take.await {
            Ok(Ok(result)) => result,
            Ok(Err(panicked)) => panic::resume_unwind(panicked),
            Err(_) => Err(StoreError::GivenUp.into()),
        }
    }

    /// Whoever finds nobody at the connection sends somebody there.
    fn submit(&self, piece: Piece) {
        let mut writer = open(&self.writer);
        writer.waiting.push_back(piece);
        if let Some(connection) = writer.idle.take() {
            let writer = Arc::clone(&self.writer);
            spawn_blocking(move || work(&writer, Tx::Sqlite(connection)));
        }
    }

    /// Runs `job` on a connection that only reads, and sees one moment.
    pub(super) async fn read<T: Send + 'static>(&self, job: impl Job<T, StoreError>) -> Result<T, StoreError> {
        if self.readers.place.mode == Mode::Memory {
            // Connections that share a cache lock each other out of tables, and do not wait.
            return self.write(|_| true, job).await;
        }
        // Never closed.
        let _room = self.readers.room.acquire().await.map_err(|_| StoreError::GivenUp)?;
        let readers = Arc::clone(&self.readers);
        blocking(move || {
            let mut tx = Tx::Sqlite(readers.connection()?);
            tx.say("BEGIN")?;
            let read = at_once(job(&mut tx));
            tx.say("ROLLBACK")?;
            if let Tx::Sqlite(connection) = tx {
                open(&readers.idle).push(connection);
            }
            read
        })
        .await
    }
}

struct Readers {
    place: Place,
    idle: Mutex<Vec<Connection>>,
    room: Semaphore,
}

impl Readers {
    fn connection(&self) -> rusqlite::Result<Connection> {
        let idle = open(&self.idle).pop();
        idle.map_or_else(|| self.place.open(OpenFlags::SQLITE_OPEN_READ_ONLY), Ok)
    }
}

struct Writer {
    waiting: VecDeque<Piece>,
    /// `None` while somebody is at work with it, who will find what waits.
    idle: Option<Connection>,
}

/// A piece of the next commit, or the reason why there is none. What it returns wants to know how the commit ended; `None`
/// means that it leaves no change, and has said so.
type Piece = Box<dyn FnOnce(Result<&mut Tx, StoreError>) -> Option<Answer> + Send>;
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Commits until nothing waits.
fn work(writer: &Mutex<Writer>, mut tx: Tx) {
    loop {
        let mut pieces = {
            let mut writer = open(writer);
            if writer.waiting.is_empty() {
                if let Tx::Sqlite(connection) = tx {
                    writer.idle = Some(connection);
                }
                return;
            }
            std::mem::take(&mut writer.waiting)
        };
        while !pieces.is_empty() {
            commit_together(&mut tx, &mut pieces);
        }
    }
}

/// Takes pieces into one commit; all of them, unless the database ends the transaction by itself on the way.
fn commit_together(tx: &mut Tx, pieces: &mut VecDeque<Piece>) {
    // Taking the write lock at once: a transaction that reads first and then finds the lock taken is doomed.
    if let Err(error) = tx.say("BEGIN IMMEDIATE") {
        let error = Arc::new(StoreError::from(error));
        for piece in pieces.drain(..) {
            piece(Err(StoreError::Shared(Arc::clone(&error))));
        }
        return;
    }
    let mut answers = Vec::with_capacity(pieces.len());
    while let Some(piece) = pieces.pop_front() {
        match tx.say("SAVEPOINT piece") {
            Ok(()) => match piece(Ok(tx)) {
                Some(answer) => {
                    answers.push(answer);
                    // It was made a moment ago.
                    let _ = tx.say("RELEASE piece");
                }
                None => {
                    // What cannot be taken back by itself is taken back with all the rest.
                    if tx.say("ROLLBACK TO piece").and_then(|()| tx.say("RELEASE piece")).is_err() {
                        let _ = tx.say("ROLLBACK");
                    }
                }
            },
            Err(error) => drop(piece(Err(error.into()))),
        }
        if tx.is_over() {
            break;
        }
    }
    let committed = if tx.is_over() {
        Err(Arc::new(StoreError::GivenUp))
    } else {
        tx.say("COMMIT").map_err(|error| Arc::new(error.into()))
    };
    if !tx.is_over() {
        let _ = tx.say("ROLLBACK");
    }
    for answer in answers {
        answer(committed.clone().map_err(StoreError::Shared));
    }
}

/// What a transaction on SQLite comes to: nothing in it waits.
fn at_once<T, E: From<StoreError>>(job: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let waited = || Err(StoreError::Corrupt("a transaction waited for something else than SQLite".to_owned()).into());
    job.now_or_never().unwrap_or_else(waited)
}

/// Runs it where waiting is allowed; a panic goes on in the caller.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panicked) => panic::resume_unwind(panicked),
            Err(_) => Err(StoreError::GivenUp),
        },
    }
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tx {
    /// A word to SQLite that has neither parameters nor an answer.
    fn say(&mut self, word: &str) -> rusqlite::Result<()> {
        match self {
            Self::Sqlite(connection) => connection.prepare_cached(word)?.raw_execute().map(drop),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Whether SQLite has ended the transaction.
    fn is_over(&self) -> bool {
        matches!(self, Self::Sqlite(connection) if connection.is_autocommit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn database() -> (tempfile::TempDir, Sqlite) {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", dir.path().join("one.db").display());
        (dir, Sqlite::connect(&url).await.expect("a database"))
    }

    /// Does one statement; fails with it.
    async fn does(sqlite: &Sqlite, sql: &'static str) -> Result<(), StoreError> {
        sqlite.write(|_| true, move |tx| Box::pin(tx.execute(sql, []))).await.map(drop)
    }

    async fn texts(sqlite: &Sqlite) -> Vec<String> {
        let read = sqlite.read(|tx| Box::pin(tx.fetch("SELECT text FROM t ORDER BY text", [])));
        read.await.expect("rows").iter().map(|row| row.text("text").expect("a text")).collect()
    }

    const TABLE: &str = "CREATE TABLE t (text TEXT UNIQUE NOT NULL)";

    #[test]
    fn a_place_is_a_path_or_a_name_in_memory() {
        let file = |url| Place::of(url).ok().and_then(Place::file);
        for url in
            ["sqlite:/var/lib/keyferry.db", "sqlite:///var/lib/keyferry.db", "sqlite:/var/lib/keyferry.db?mode=rwc"]
        {
            assert_eq!(file(url), Some("/var/lib/keyferry.db".into()), "{url}");
        }
        assert_eq!(file("sqlite:a%20folder/100%25?mode=rwc"), Some("a folder/100%".into()));
        assert_eq!(Place::of("sqlite:name?mode=memory").map(Place::file).ok(), Some(None));
        for url in ["sqlite:", "sqlite://?mode=memory", "sqlite:keyferry.db?mode=x", "sqlite:%ff", "keyferry.db"] {
            assert!(matches!(Place::of(url), Err(StoreError::Url)), "{url}");
        }
    }

    #[tokio::test]
    async fn parameters_go_by_their_numbers() {
        let (_dir, sqlite) = database().await;
        let read = "SELECT $2 || $1 || $2 AS text";
        let read = sqlite.read(move |tx| Box::pin(tx.fetch(read, ["a".into(), "b".into()]))).await.expect("a row");
        assert_eq!(read[0].text("text").expect("a text"), "bab");
    }

    #[tokio::test]
    async fn those_that_wait_at_the_same_time_keep_or_lose_their_own_changes() {
        let (_dir, sqlite) = database().await;
        does(&sqlite, TABLE).await.expect("a table");
        // While somebody else has the connection, what is to be done gathers.
        let connection = open(&sqlite.writer).idle.take();
        let kept: fn(&u64) -> bool = |_| true;
        let all = [
            ("INSERT INTO t VALUES ('kept')", kept),
            ("INSERT INTO t VALUES ('taken back')", |_| false),
            ("INSERT INTO t VALUES ('too much'), ('kept')", kept),
            ("INSERT INTO t VALUES ('kept too')", kept),
        ]
        .map(|(sql, is_kept)| {
            let sqlite = sqlite.clone();
            tokio::spawn(async move { sqlite.write(is_kept, move |tx| Box::pin(tx.execute(sql, []))).await })
        });
        while open(&sqlite.writer).waiting.len() < all.len() {
            tokio::task::yield_now().await;
        }
        open(&sqlite.writer).idle = connection;
        does(&sqlite, "INSERT INTO t VALUES ('last')").await.expect("inserted");
        let ended = futures_util::future::join_all(all).await;
        let ended: Vec<_> = ended.into_iter().map(|one| one.expect("no panic").is_ok()).collect();
        assert_eq!(ended, [true, true, false, true]);
        assert_eq!(texts(&sqlite).await, ["kept", "kept too", "last"]);
    }

    #[tokio::test]
    async fn a_transaction_that_the_database_ends_by_itself_is_nobodys_and_the_next_one_begins() {
        let (_dir, sqlite) = database().await;
        does(&sqlite, TABLE).await.expect("a table");
        // As on a full disk: no page more than there is.
        let limit = sqlite.write(|_| true, |tx| Box::pin(tx.fetch("PRAGMA max_page_count = 1", [])));
        limit.await.expect("a limit");
        let full = does(&sqlite, "INSERT INTO t VALUES (hex(zeroblob(1000000)))").await.expect_err("no room");
        let StoreError::Sqlite(full) = full else { panic!("{full}") };
        assert_eq!(full.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
        does(&sqlite, "INSERT INTO t VALUES ('small')").await.expect("inserted");
        assert_eq!(texts(&sqlite).await, ["small"]);
    }

    #[tokio::test]
    async fn a_panic_in_a_transaction_is_its_callers_alone() {
        let (_dir, sqlite) = database().await;
        does(&sqlite, TABLE).await.expect("a table");
        let panics = |tx: &mut Tx| -> Result<(), StoreError> { panic!("on purpose, {}", tx.is_over()) };
        let broken = tokio::spawn({
            let sqlite = sqlite.clone();
            async move {
                let half = "INSERT INTO t VALUES ('half')";
                let broken = sqlite.write(
                    |()| true,
                    move |tx| {
                        Box::pin(async move {
                            tx.execute(half, []).await?;
                            panics(tx)
                        })
                    },
                );
                broken.await
            }
        });
        assert!(broken.await.expect_err("it panicked").is_panic());
        does(&sqlite, "INSERT INTO t VALUES ('whole')").await.expect("inserted");
        assert_eq!(texts(&sqlite).await, ["whole"]);
    }
}
