//! SQLite: one file, one writer, any number of readers.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::StoreError;
use super::sql::Db;

/// `url`: `sqlite:PATH`; `sqlite:NAME?mode=memory` for one process's tests, where all who are connected to the name at
/// one time share a database.
///
/// WAL with `synchronous=FULL`: a commit that returned is on the disk, also after a power cut.
pub(super) async fn connect(url: &str) -> Result<Db, StoreError> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Another process (a backup, a second Keyferry by mistake) may hold the lock for a moment.
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let writer = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    let write = writer.connect_with(options.clone()).await?;
    let is_memory = url.ends_with("?mode=memory");
    let read = if is_memory {
        write.clone()
    } else {
        SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options.read_only(true))
    };
    Ok(Db::Sqlite { write, read })
}
