//! SQLite: one file, one writer, any number of readers.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

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
    // A test before each use would ask the connection's thread whether it is there: in the same process, it is.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // A full disk makes SQLite roll back by itself; sqlx's own rollback then fails, and to sqlx that connection is in
        // a transaction for ever. The next one begins on a new connection, or the store would not outlive the full disk.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }));
    let write = writer.connect_with(options.clone()).await?;
    let is_memory = url.ends_with("?mode=memory");
    let read = if is_memory {
        write.clone()
    } else {
        let reader = SqlitePoolOptions::new().max_connections(4).test_before_acquire(false);
        reader.connect_lazy_with(options.read_only(true))
    };
    Ok(Db::Sqlite { write, read })
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;

    #[tokio::test]
    async fn a_writer_whose_transaction_the_database_ended_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", dir.path().join("full.db").display());
        let Db::Sqlite { write, .. } = connect(&url).await.expect("a database") else { panic!("SQLite was asked for") };
        sqlx::query("CREATE TABLE filling (bytes BLOB)").execute(&write).await.expect("a table");
        // As on a full disk: no page more than there is, for as long as this connection lives.
        sqlx::query(AssertSqlSafe("PRAGMA max_page_count = 1")).execute(&write).await.expect("a limit");
        let mut tx = write.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
        let full = sqlx::query("INSERT INTO filling VALUES (zeroblob(1000000))").execute(&mut *tx).await;
        let code = full.expect_err("no room").as_database_error().and_then(|refused| refused.code().map(String::from));
        assert_eq!(code.as_deref(), Some("13"), "SQLITE_FULL");
        drop(tx);

        let tx = write.begin_with("BEGIN IMMEDIATE").await.expect("a transaction after it");
        tx.commit().await.expect("committed");
    }
}
