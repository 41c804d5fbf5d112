//! Migrations: one folder per database, the same steps in both.

use sqlx::migrate::{Migrate as _, MigrateError, Migrator};

use super::sql::Db;
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
        Db::Sqlite { write, .. } => SQLITE.run(write).await?,
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
    macro_rules! last {
        ($pool:expr, $migrator:expr) => {
            $pool.acquire().await?.list_applied_migrations($migrator.table_name.as_ref()).await
        };
    }
    let applied = match db {
        Db::Sqlite { write, .. } => last!(write, SQLITE),
        Db::Postgres(pool) => last!(pool, POSTGRES),
    };
    match applied {
        Ok(applied) => Ok(applied.iter().map(|migration| migration.version).max().unwrap_or_default()),
        // The table is not made here: several processes may ask at once, and only the migrator holds a lock.
        Err(MigrateError::Execute(error)) if is_no_such_table(&error) => Ok(0),
        Err(MigrateError::Execute(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}

fn is_no_such_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refused| {
        refused.code().is_some_and(|code| code == "42P01") || refused.message().starts_with("no such table")
    })
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
