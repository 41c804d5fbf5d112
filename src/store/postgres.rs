//! PostgreSQL: when there is more than one machine.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _};

use super::sql::Db;
use super::{Patience, StoreError};

/// How long a statement waits for a connection of the pool before it fails with a reason.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What keeps a worker that was paused in the middle of a transaction (SIGSTOP, a frozen machine) from holding the
/// ledger's head, and everybody with it, for ever. Far above what any statement of ours takes.
const PATIENCE: &str = "SET lock_timeout = '5s'; SET statement_timeout = '10s'; \
                        SET idle_in_transaction_session_timeout = '10s'";

/// `patience`: [`Patience::Endless`] only for migrations, which may take their time and wait for each other.
pub(super) async fn connect(url: &str, connections_max: u32, patience: Patience) -> Result<Db, StoreError> {
    let options = PgConnectOptions::from_str(url)?.application_name("keyferry").disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                match patience {
                    Patience::Short => connection.execute(PATIENCE).await.map(drop),
                    Patience::Endless => Ok(()),
                }
            })
        })
        .connect_with(options)
        .await?;
    Ok(Db::Postgres(pool))
}
