//! A look at the store for `keyferry doctor`: it makes no file, runs no migration, and keeps no lock.

use std::path::PathBuf;

use jiff::Timestamp;

use super::sqlite::{Place, blocking};
use super::{Patience, StoreError, migrate, postgres};

/// What was seen.
#[derive(Debug)]
pub struct Inspection {
    /// The version of the schema, and the one that this program needs.
    pub version: i64,
    pub needed: i64,
    /// Why nothing can be written, if so.
    pub read_only: Option<String>,
    /// The database server's clock. SQLite has none of its own.
    pub now: Option<Timestamp>,
    /// Whether the connection is encrypted, of a server.
    pub is_encrypted: Option<bool>,
}

/// The file of a SQLite store; `None` for another store, or one in memory.
#[must_use]
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    Place::of(url).ok()?.file()
}

/// Looks at the store at `url`. A SQLite file that does not exist is an error, and is not made.
pub async fn inspect(url: &str) -> Result<Inspection, StoreError> {
    if url.starts_with("sqlite:") { sqlite(url).await } else { postgres(url).await }
}

async fn sqlite(url: &str) -> Result<Inspection, StoreError> {
    let place = Place::of(url)?;
    let look = move || {
        let mut connection = place.open_existing()?;
        let version = migrate::sqlite_version(&connection)?;
        // Written, and taken back: SQLite begins a transaction on a read-only file without a word.
        let attempt = connection.transaction()?.execute_batch("CREATE TABLE keyferry_doctor (probe INTEGER)");
        let read_only = attempt.err().map(|error| error.to_string());
        Ok(Inspection { version, needed: migrate::needed(), read_only, now: None, is_encrypted: None })
    };
    blocking(look).await
}

async fn postgres(url: &str) -> Result<Inspection, StoreError> {
    let db = postgres::connect(url, 1, Patience::Short).await?;
    let version = migrate::version(&db).await?;
    let facts = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS now, \
                 CASE WHEN pg_is_in_recovery() THEN 'the server is a standby' \
                 WHEN current_setting('default_transaction_read_only') = 'on' THEN 'the database is set to read-only' \
                 ELSE '' END AS read_only, \
                 COALESCE((SELECT CAST(ssl AS TEXT) FROM pg_stat_ssl WHERE pid = pg_backend_pid()), 'false') AS ssl";
    let facts = db.fetch(facts, []).await?;
    let facts = facts.first().ok_or_else(|| StoreError::Corrupt("an answer without a row".to_owned()))?;
    let mut read_only = Some(facts.text("read_only")?).filter(|why| !why.is_empty());
    if version > 0 {
        let forbidden = "SELECT name FROM (VALUES ('inbox'), ('ledger'), ('ledger_head'), ('plans'), ('issuances'), \
                         ('phones'), ('phone_keys'), ('parked')) AS needed (name) \
                         WHERE NOT has_table_privilege(current_user, name, $1) LIMIT 1";
        for privilege in ["SELECT", "INSERT", "UPDATE"] {
            if let Some(row) = db.fetch(forbidden, [privilege.into()]).await?.first() {
                let table = row.text("name")?;
                read_only.get_or_insert(format!("the user has no {privilege} privilege on the table `{table}`"));
            }
        }
    }
    Ok(Inspection {
        version,
        needed: migrate::needed(),
        read_only,
        now: Some(facts.time("now")?),
        is_encrypted: Some(facts.text("ssl")? == "true"),
    })
}
