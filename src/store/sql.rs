//! The one seam between the store and its two databases.
//!
//! Every statement of the store is written once, in the SQL that SQLite and PostgreSQL share (`$1`, `RETURNING`,
//! `ON CONFLICT`), and runs through [`Tx`]; so the two cannot drift apart. What differs between them (how a connection
//! is made, how a transaction begins, what an error means) is in `sqlite.rs` and `postgres.rs`.

use std::fmt::Write as _;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row as _, Sqlite, SqlitePool, Transaction};

use super::StoreError;
use super::postgres::answered;

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

/// A parameter. `None` keeps its type, because PostgreSQL wants to know what a NULL is a NULL of.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_millisecond()))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_millisecond))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_owned()))
    }
}

/// A row of either database, read by column name.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! column {
    ($self:ident, $name:ident) => {
        match $self {
            Row::Sqlite(row) => row.try_get($name),
            Row::Postgres(row) => row.try_get($name),
        }
        .map_err(StoreError::from)
    };
}

impl Row {
    pub(super) fn int(&self, name: &str) -> Result<i64, StoreError> {
        column!(self, name)
    }

    pub(super) fn opt_int(&self, name: &str) -> Result<Option<i64>, StoreError> {
        column!(self, name)
    }

    pub(super) fn text(&self, name: &str) -> Result<String, StoreError> {
        column!(self, name)
    }

    pub(super) fn opt_text(&self, name: &str) -> Result<Option<String>, StoreError> {
        column!(self, name)
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        column!(self, name)
    }

    pub(super) fn count(&self, name: &str) -> Result<u32, StoreError> {
        let value = self.int(name)?;
        u32::try_from(value).map_err(|_| StoreError::Corrupt(format!("{name} is {value}")))
    }

    pub(super) fn time(&self, name: &str) -> Result<Timestamp, StoreError> {
        time(name, self.int(name)?)
    }

    pub(super) fn opt_time(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        self.opt_int(name)?.map(|millis| time(name, millis)).transpose()
    }
}

fn time(name: &str, millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|_| StoreError::Corrupt(format!("{name} is {millis}")))
}

/// Binds, and is the future of the answer: the same lines for two types that share no trait.
macro_rules! run {
    ($connection:expr, $sql:expr, $values:expr, $method:ident) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query.$method(&mut **$connection)
    }};
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

    /// Reads once.
    pub(super) async fn fetch(
        &self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut tx = self.begin_read().await?;
        let rows = tx.fetch(sql, values).await?;
        tx.commit().await?;
        Ok(rows)
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
            Self::Sqlite(connection) => run!(connection, sql, values, execute).await?.rows_affected(),
            Self::Postgres(connection) => answered(run!(connection, sql, values, execute)).await?.rows_affected(),
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
                run!(connection, sql, values, fetch_all).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                let rows = answered(run!(connection, sql, values, fetch_all)).await?;
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

    /// Lets one transaction at a time pass, until this one ends. SQLite has one writer anyway.
    pub(super) async fn one_at_a_time(&mut self, what: AdvisoryLock) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            self.fetch("SELECT pg_advisory_xact_lock($1)", [Value::from(what as i64)]).await?;
        }
        Ok(())
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
