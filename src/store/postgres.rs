//! PostgreSQL: when there is more than one machine.

use std::io;
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use super::sql::Db;
use super::{Patience, StoreError};

/// How long a statement waits for a connection of the pool before it fails with a reason.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was in use within this time is taken to be there still.
const UNSEEN_MAX: Duration = Duration::from_secs(1);

/// A server that has not answered for so long (well above `statement_timeout`) is not going to: its machine is gone, and
/// no packet says so. TCP by itself would wait for a quarter of an hour.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What keeps a worker that was paused in the middle of a transaction (SIGSTOP, a frozen machine) from holding the
/// ledger's head, and everybody with it, for ever. Far above what any statement of ours takes.
const PATIENCE: &str = "SET lock_timeout = '5s'; SET statement_timeout = '10s'; \
                        SET idle_in_transaction_session_timeout = '10s'";

/// Each statement of ours touches a few rows by their keys, and has an index for it, whatever the size and the values: so
/// it is planned once for each connection, and is to take no other way. To plan it anew for the values at hand, as
/// PostgreSQL does while it doubts, costs more than to run it; and what was planned for a small table is run on a large one.
const PLANS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
                     SET plan_cache_mode = force_generic_plan";

/// `patience`: [`Patience::Endless`] only for migrations, which may take their time and wait for each other.
pub(super) async fn connect(url: &str, connections_max: u32, patience: Patience) -> Result<Db, StoreError> {
    let options = PgConnectOptions::from_str(url)?.application_name("keyferry").disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                match patience {
                    Patience::Short => {
                        connection.execute(PATIENCE).await?;
                        connection.execute(PLANS).await.map(drop)
                    }
                    Patience::Endless => Ok(()),
                }
            })
        })
        // One that was in use a moment ago is there; to ask each time would be a way there and back for every transaction.
        .test_before_acquire(false)
        .before_acquire(|connection, of| {
            Box::pin(async move {
                if of.idle_for > UNSEEN_MAX {
                    answered(connection.ping()).await?;
                }
                Ok(true)
            })
        })
        .after_release(|connection, _| Box::pin(answered(is_free(connection))))
        .connect_with(options)
        .await?;
    Ok(Db::Postgres(pool))
}

/// Whether a connection is in no transaction, by the server's word. Whoever gives up waiting for an answer gives it back as
/// it is; and a `BEGIN` with more behind it that failed has begun all the same, which sqlx does not know. In a transaction
/// that has failed this fails too; in one that goes on, `now()` is when that began.
async fn is_free(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT now() = statement_timestamp()").fetch_one(connection).await
}

/// The server's answer, unless it stays silent. On the heap, since every step of a handling waits for one.
pub(super) fn answered<'a, T>(
    answer: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
) -> BoxFuture<'a, Result<T, sqlx::Error>> {
    Box::pin(async move {
        let silent = |_elapsed| Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the server is silent")));
        tokio::time::timeout(SILENCE_MAX, answer).await.unwrap_or_else(silent)
    })
}
