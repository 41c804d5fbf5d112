//! Migrations: one folder per database, the same steps in both.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use sqlx::migrate::{MigrateError, Migrator};

use super::sql::{Db, Row};
use super::sqlite::{Place, blocking};
use super::statement;
use super::{Patience, StoreError, connect};

static SQLITE: Migrator = sqlx::migrate!("schemas/sql/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("schemas/sql/postgres");

/// Where a store's schema stood, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaState {
    pub before: i64,
    pub after: i64,
}

/// Brings the store's schema to the version of this program. Concurrent calls wait for each other.
pub async fn migrate(url: &str) -> Result<SchemaState, StoreError> {
    let db = connect(url, 1, Patience::Endless).await?;
    let before = version(&db).await?;
    refuse_newer(before)?;
    match &db {
        Db::Sqlite(_) => {
            let place = Place::of(url)?;
            blocking(move || migrate_sqlite(&mut place.open_existing()?)).await?;
        }
        Db::Postgres(pool) => POSTGRES.run(pool).await?,
    }
    Ok(SchemaState { before, after: needed() })
}

/// Refuses a schema that this program doesn't know, older or newer.
pub(super) async fn check(db: &Db) -> Result<(), StoreError> {
    let found = version(db).await?;
    refuse_newer(found)?;
    if found < needed() {
        let advice = "run `keyferry migrate` first";
        return Err(StoreError::Schema { found, needed: needed(), advice });
    }
    Ok(())
}

fn refuse_newer(found: i64) -> Result<(), StoreError> {
    if found > needed() {
        let advice = "a newer Keyferry has been here; run that one";
        return Err(StoreError::Schema { found, needed: needed(), advice });
    }
    Ok(())
}

pub(super) fn needed() -> i64 {
    SQLITE.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The version of the last migration that ran; 0 for an empty database.
pub(super) async fn version(db: &Db) -> Result<i64, StoreError> {
    read_version(db.fetch(VERSION, []).await)
}

/// The same of a SQLite database.
pub(super) fn sqlite_version(connection: &Connection) -> Result<i64, StoreError> {
    read_version(statement::fetch(connection, VERSION, []))
}

/// The table is not made here: several processes may ask at once, and only a migration holds a lock.
const VERSION: &str = "SELECT COALESCE(MAX(version), 0) AS version FROM _sqlx_migrations";

fn read_version(answer: Result<Vec<Row>, StoreError>) -> Result<i64, StoreError> {
    match answer {
        Ok(rows) => rows.first().map_or(Ok(0), |row| row.int("version")),
        Err(error) if is_no_such_table(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_no_such_table(error: &StoreError) -> bool {
    match error {
        StoreError::Sqlite(error) => error.to_string().starts_with("no such table"),
        StoreError::Postgres(error) => {
            error.as_database_error().is_some_and(|refused| refused.code().is_some_and(|code| code == "42P01"))
        }
        _ => false,
    }
}

/// All that is missing, in one transaction, which others wait for. The books are sqlx's, as on PostgreSQL.
fn migrate_sqlite(connection: &mut Connection) -> Result<(), StoreError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
             version BIGINT PRIMARY KEY, description TEXT NOT NULL,
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
             success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
    )?;
    for step in SQLITE.iter() {
        let mut applied = tx.prepare_cached("SELECT checksum FROM _sqlx_migrations WHERE version = ?")?;
        let checksum: Option<Vec<u8>> = applied.query_row([step.version], |row| row.get(0)).optional()?;
        match checksum {
            Some(checksum) if *checksum != *step.checksum => {
                return Err(MigrateError::VersionMismatch(step.version).into());
            }
            Some(_) => continue,
            None => {}
        }
        let began = Instant::now();
        tx.execute_batch(step.sql.as_str())?;
        let took = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        tx.execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (?, ?, TRUE, ?, ?)",
            params![step.version, step.description, step.checksum, took],
        )?;
    }
    Ok(tx.commit()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_databases_have_the_same_steps() {
        let steps = |migrator: &sqlx::migrate::Migrator| -> Vec<(i64, String)> {
            migrator.iter().map(|step| (step.version, step.description.to_string())).collect()
        };
        assert_eq!(steps(&super::SQLITE), steps(&super::POSTGRES));
    }
}
