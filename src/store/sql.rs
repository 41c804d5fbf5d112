//! The one seam between the store and its two databases.
//!
//! Every statement of the store is written once, in the SQL that SQLite and PostgreSQL share (`$1`, `RETURNING`,
//! `ON CONFLICT`), and runs through [`Tx`]; so the two cannot drift apart. What differs between them (where a transaction
//! runs, how it begins, what an error means) is in `sqlite.rs` and `postgres.rs`.

use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};

use super::StoreError;
use super::postgres::answered;
use super::sqlite::Sqlite;
use super::statement;
pub(super) use super::value::{Row, Value};

#[derive(Clone)]
pub(super) enum Db {
    Sqlite(Sqlite),
    Postgres(PgPool),
}

/// A transaction on either database.
pub(super) enum Tx {
    /// The connection on which it runs.
    Sqlite(rusqlite::Connection),
    Postgres(Transaction<'static, Postgres>),
}

/// What is done in a transaction. It owns what it works with, because on SQLite it goes to another thread; there it must
/// not wait for anything but its statements.
pub(super) trait Job<T, E>: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static {}

impl<F, T, E> Job<T, E> for F where F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static {}

/// PostgreSQL's future of the answer.
macro_rules! run {
    ($connection:expr, $sql:expr, $values:expr, $method:ident) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Ints(values) => query.bind(values),
                Value::Texts(values) => query.bind(values),
                Value::Blobs(values) => query.bind(values),
            };
        }
        answered(query.$method(&mut **$connection))
    }};
}

impl Db {
    /// Does `job` in a transaction that writes.
    pub(super) async fn write<T, E>(&self, job: impl Job<T, E>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.write_if(|_| true, job).await
    }

    /// Does `job` in a transaction that writes, and takes back what it has changed unless `is_kept` says otherwise of
    /// what it returns.
    pub(super) async fn write_if<T, E>(&self, is_kept: fn(&T) -> bool, job: impl Job<T, E>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match self {
            Self::Sqlite(sqlite) => sqlite.write(is_kept, job).await,
            Self::Postgres(pool) => {
                let begun = answered(pool.begin()).await;
                finish(begun, is_kept, job).await
            }
        }
    }

    /// Does `job` in a transaction that writes, and lets no other of its kind pass until it ends. SQLite has one writer
    /// anyway. On PostgreSQL the transaction is in force when this returns, and on the disk a little later: whoever uses
    /// this must be able to lose what was done last if the server dies.
    pub(super) async fn write_alone<T>(&self, kind: AdvisoryLock, job: impl Job<T, StoreError>) -> Result<T, StoreError>
    where
        T: Send + 'static,
    {
        match self {
            Self::Sqlite(sqlite) => sqlite.write(|_| true, job).await,
            Self::Postgres(pool) => {
                let alone =
                    format!("BEGIN; SET LOCAL synchronous_commit = off; SELECT pg_advisory_xact_lock({})", kind as i64);
                let begun = answered(pool.begin_with(AssertSqlSafe(alone))).await;
                finish(begun, |_| true, job).await
            }
        }
    }

    /// Does `job`, which only reads, and sees one moment.
    pub(super) async fn read<T>(&self, job: impl Job<T, StoreError>) -> Result<T, StoreError>
    where
        T: Send + 'static,
    {
        match self {
            Self::Sqlite(sqlite) => sqlite.read(job).await,
            Self::Postgres(pool) => {
                let begun = answered(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")).await;
                finish(begun, |_| true, job).await
            }
        }
    }

    /// Reads once: one statement sees one moment without a transaction around it.
    pub(super) async fn fetch(
        &self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into();
        match self {
            Self::Sqlite(sqlite) => {
                let values: Vec<Value> = values.into_iter().collect();
                sqlite.read(move |tx| Box::pin(tx.fetch(sql, values))).await
            }
            Self::Postgres(pool) => {
                let connection = &mut answered(pool.acquire()).await?;
                let rows = run!(connection, sql, values, fetch_all).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// See [`among`].
    pub(super) fn among(&self, parameter: usize) -> String {
        among(matches!(self, Self::Sqlite(_)), parameter)
    }
}

async fn finish<T, E: From<StoreError>>(
    begun: Result<Transaction<'static, Postgres>, sqlx::Error>,
    is_kept: fn(&T) -> bool,
    job: impl Job<T, E>,
) -> Result<T, E> {
    let mut tx = Tx::Postgres(begun.map_err(StoreError::from)?);
    let done = job(&mut tx).await?;
    // Dropped without a commit, it is rolled back.
    if let Tx::Postgres(tx) = tx
        && is_kept(&done)
    {
        answered(tx.commit()).await.map_err(StoreError::from)?;
    }
    Ok(done)
}

impl Tx {
    /// Runs a statement; the number of rows that it changed.
    pub(super) async fn execute(
        &mut self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => statement::execute(connection, &sql.into(), values),
            Self::Postgres(connection) => Ok(run!(connection, sql.into(), values, execute).await?.rows_affected()),
        }
    }

    pub(super) async fn fetch(
        &mut self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(connection) => statement::fetch(connection, &sql.into(), values),
            Self::Postgres(connection) => {
                let rows = run!(connection, sql.into(), values, fetch_all).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    pub(super) async fn fetch_one(
        &mut self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(sql, values).await?.into_iter().next())
    }

    /// See [`among`].
    pub(super) fn among(&self, parameter: usize) -> String {
        among(matches!(self, Self::Sqlite(_)), parameter)
    }
}

/// PostgreSQL's advisory locks are numbers in one space per database; these are ours.
#[derive(Debug, Clone, Copy)]
pub(super) enum AdvisoryLock {
    Claim = 0x6b66_0001,
    Sweep = 0x6b66_0002,
    Prune = 0x6b66_0003,
}

/// The condition that what stands before it is one of the list in `parameter`: one text for lists of any length.
fn among(is_sqlite: bool, parameter: usize) -> String {
    if is_sqlite { format!("IN (SELECT value FROM json_each(${parameter}))") } else { format!("= ANY(${parameter})") }
}
