//! The one seam between the store and its two databases.
//!
//! Every statement of the store is written once, in the SQL that SQLite and PostgreSQL share (`$1`, `RETURNING`,
//! `ON CONFLICT`), and runs through [`Tx`]; so the two cannot drift apart. What differs between them (how a connection
//! is made, how a transaction begins, what an error means) is in `sqlite.rs` and `postgres.rs`.

use std::fmt::Write as _;

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use super::StoreError;
use super::postgres::answered;
pub(super) use super::value::{Row, Value};

/// A pool for each kind of work. On SQLite there is one writer; PostgreSQL uses the same pool for both.
#[derive(Debug, Clone)]
pub(super) enum Db {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
}

/// A transaction on either database. Dropped without a commit, it is rolled back.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Binds, and is the future of the answer: the same lines for two types that share no trait. `$list` is how a list of
/// values goes in.
macro_rules! run {
    ($connection:expr, $sql:expr, $values:expr, $method:ident, $list:path) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Ints(values) => query.bind($list(values)),
                Value::Texts(values) => query.bind($list(values)),
                Value::Blobs(values) => query.bind($list(values)),
            };
        }
        query.$method(&mut **$connection)
    }};
}

/// As SQLite gets a list: it has no arrays.
#[expect(clippy::needless_pass_by_value, reason = "the same shape as `array`")]
fn json<T: Serialize>(values: Vec<T>) -> String {
    // Numbers and strings always are JSON.
    serde_json::to_string(&values).unwrap_or_default()
}

/// As PostgreSQL gets a list.
fn array<T>(values: Vec<T>) -> Vec<T> {
    values
}

impl Db {
    /// See [`placeholders`].
    pub(super) fn placeholders(&self, rows: usize, columns: usize) -> String {
        placeholders(matches!(self, Self::Sqlite { .. }), rows, columns)
    }

    /// Begins a transaction that writes.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            // Taking the write lock at once: a transaction that reads first and then finds the lock taken is doomed.
            Self::Sqlite { write, .. } => Tx::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(answered(pool.begin()).await?),
        })
    }

    /// Begins a transaction that only reads, and sees one moment.
    pub(super) async fn begin_read(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { read, .. } => Tx::Sqlite(read.begin().await?),
            Self::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Tx::Postgres(answered(pool.begin_with(begin)).await?)
            }
        })
    }

    /// Begins a transaction that writes, and lets no other of its kind pass until it ends. SQLite has one writer anyway.
    pub(super) async fn begin_alone(&self, kind: AdvisoryLock) -> Result<Tx, StoreError> {
        let Self::Postgres(pool) = self else { return self.begin().await };
        let begin = AssertSqlSafe(format!("BEGIN; SELECT pg_advisory_xact_lock({})", kind as i64));
        Ok(Tx::Postgres(answered(pool.begin_with(begin)).await?))
    }

    /// Reads once: one statement sees one moment without a transaction around it.
    pub(super) async fn fetch(
        &self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into();
        Ok(match self {
            Self::Sqlite { read, .. } => {
                let connection = &mut read.acquire().await?;
                run!(connection, sql, values, fetch_all, json).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(pool) => {
                let connection = &mut answered(pool.acquire()).await?;
                let rows = answered(run!(connection, sql, values, fetch_all, array)).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// See [`among`].
    pub(super) fn among(&self, parameter: usize) -> String {
        among(matches!(self, Self::Sqlite { .. }), parameter)
    }
}

impl Tx {
    /// See [`placeholders`].
    pub(super) fn placeholders(&self, rows: usize, columns: usize) -> String {
        placeholders(matches!(self, Self::Sqlite(_)), rows, columns)
    }

    /// Runs a statement; the number of rows that it changed.
    pub(super) async fn execute(
        &mut self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        let sql = sql.into();
        Ok(match self {
            Self::Sqlite(connection) => run!(connection, sql, values, execute, json).await?.rows_affected(),
            Self::Postgres(connection) => {
                answered(run!(connection, sql, values, execute, array)).await?.rows_affected()
            }
        })
    }

    pub(super) async fn fetch(
        &mut self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into();
        Ok(match self {
            Self::Sqlite(connection) => {
                run!(connection, sql, values, fetch_all, json).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                let rows = answered(run!(connection, sql, values, fetch_all, array)).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
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

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => answered(tx.commit()).await,
        }
        .map_err(StoreError::from)
    }
}

/// PostgreSQL's advisory locks are numbers in one space per database; these are ours.
#[derive(Debug, Clone, Copy)]
pub(super) enum AdvisoryLock {
    Claim = 0x6b66_0001,
    Sweep = 0x6b66_0002,
    Prune = 0x6b66_0003,
}

/// Rows in one statement: far below what either database allows in parameters.
const ROWS_MAX: usize = 128;

/// `rows`, in parts whose lengths are powers of two: there are few different statements then, and each is prepared once.
pub(super) fn parts<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let largest = rows.len().checked_ilog2()?;
        let (part, rest) = rows.split_at((1 << largest).min(ROWS_MAX));
        rows = rest;
        Some(part)
    })
}

/// `($1, $2), ($3, $4)` for `rows` rows of `columns` parameters.
///
/// SQLite gets question marks. To it `$1` is a name, and each is looked for among all the names before it: with a
/// thousand parameters that was a third of the time that a webhook took.
fn placeholders(is_sqlite: bool, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 7);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            text.push_str(if column == 1 { "" } else { ", " });
            if is_sqlite {
                text.push('?');
            } else {
                // Writing into a string does not fail.
                let _ = write!(text, "${}", row * columns + column);
            }
        }
        text.push(')');
    }
    text
}

/// The condition that what stands before it is one of the list in `parameter`: one text for lists of any length.
fn among(is_sqlite: bool, parameter: usize) -> String {
    if is_sqlite { format!("IN (SELECT value FROM json_each(${parameter}))") } else { format!("= ANY(${parameter})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_through_where_they_have_to() {
        assert_eq!(placeholders(false, 2, 3), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(placeholders(true, 2, 3), "(?, ?, ?), (?, ?, ?)");
    }

    #[test]
    fn parts_are_whole_and_of_few_lengths() {
        let rows: Vec<usize> = (0..300).collect();
        let lengths: Vec<usize> = parts(&rows).map(<[usize]>::len).collect();
        assert_eq!(lengths, [128, 128, 32, 8, 4]);
        assert_eq!(parts(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        assert_eq!(parts::<usize>(&[]).count(), 0);
    }
}
