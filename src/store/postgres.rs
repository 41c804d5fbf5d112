//! PostgreSQL: when there is more than one machine.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::StoreError;
use super::sql::Db;

/// How long a statement waits for a connection of the pool before it fails with a reason.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn connect(url: &str, connections_max: u32) -> Result<Db, StoreError> {
    let options = PgConnectOptions::from_str(url)?.application_name("keyferry").disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await?;
    Ok(Db::Postgres(pool))
}
