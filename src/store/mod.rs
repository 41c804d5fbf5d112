//! The store: the inbox, plans, issuances, phones and their keys, what is parked, and the ledger over all of it.
//!
//! Every change is one transaction that also writes its ledger lines. Every statement is written once for both
//! databases (`sql.rs`). Nobody outside changes a row: intake [`accept`](crate::queue::Inbox::accept)s, workers
//! [`claim`](Store::claim) and [`record`](Store::record), plans are [`put`](Store::put_plan), the sweep
//! [moves](Store::move_due) what is due, people release and discard; the rest reads.

mod aliases;
mod bulk;
mod claim;
mod copies;
mod due;
mod endings;
#[cfg(test)]
mod growth;
mod inbox;
mod inspect;
mod lookups;
mod migrate;
mod pace;
mod parked;
mod plans;
mod postgres;
mod prune;
mod reads;
mod record;
mod rows;
mod secret_uses;
mod sql;
mod sqlite;
mod statement;
mod tallies;
mod together;
mod value;
mod watermark;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::{Clock, Entropy};
use crate::domain::{Entry, Fact, Issuance, Outcome, Phone, PhoneKey};
use endings::Endings;
use lookups::Lookups;
use sql::{Db, Job, Tx, Value};
use sqlite::Sqlite;

pub use claim::Claim;
pub use due::NextLook;
pub use inspect::{Inspection, inspect, sqlite_file};
pub use migrate::{SchemaState, migrate};
pub use parked::{ParkedEvent, ParkedItem, Settled};
pub use plans::{DeletedPlan, OWN_SOURCE, PutPlan};
pub use prune::{Pruned, Retention};
pub use reads::{EventRecord, InboxCounts, IssuanceFilter, LedgerLine};
pub use watermark::Watermark;

/// A cheap handle; clones share the same pools.
#[derive(Clone)]
pub struct Store {
    db: Db,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Rings when something was put into the inbox, so that a worker of this process need not wait for its next look.
    arrivals: Arc<Notify>,
    /// Rings when the ledger grew.
    growth: Arc<Notify>,
    lookups: Arc<Lookups>,
    endings: Arc<Endings>,
    /// Leases that may be out at once, of all processes together.
    in_flight_max: u32,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be used: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("the database cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the database gave the transaction up")]
    GivenUp,
    #[error("the store's schema is at version {found}, this program needs {needed}: {advice}")]
    Schema { found: i64, needed: i64, advice: &'static str },
    #[error("a migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("a stored value makes no sense: {0}")]
    Corrupt(String),
    #[error("the store's URL is neither sqlite:PATH nor postgres://…")]
    Url,
    /// What one met who asked for several.
    #[error("{0}")]
    Shared(Arc<StoreError>),
}

impl StoreError {
    /// The database did not answer, or not as it should; it may do so later.
    #[must_use]
    pub fn is_of_database(&self) -> bool {
        match self {
            Self::Postgres(_) | Self::Sqlite(_) | Self::GivenUp => true,
            Self::Shared(error) => error.is_of_database(),
            Self::Schema { .. } | Self::Migration(_) | Self::Corrupt(_) | Self::Url => false,
        }
    }

    /// The database itself refused: it is there, and does not want to.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_database_error().is_some(),
            Self::Sqlite(error) => error.sqlite_error().is_some(),
            Self::Shared(error) => error.is_refusal(),
            Self::GivenUp | Self::Schema { .. } | Self::Migration(_) | Self::Corrupt(_) | Self::Url => false,
        }
    }

    /// Waiting does not mend it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Postgres(sqlx::Error::Configuration(_))
            | Self::Migration(_)
            | Self::Schema { .. }
            | Self::Corrupt(_)
            | Self::Url => true,
            Self::GivenUp => false,
            Self::Shared(error) => error.is_final(),
            // No such database, wrong password; but not "starting up" (57P…) or "too many connections" (53…).
            Self::Postgres(error) => error.as_database_error().is_some_and(|refused| {
                !refused.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("53"))
            }),
            Self::Sqlite(_) => self.is_refusal(),
        }
    }
}

/// An event in a worker's hands until `until`, under `lease`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub seq: i64,
    pub source: String,
    pub event_id: String,
    pub event_type: String,
    pub received_at: Timestamp,
    /// As it was put in; a worker older than the receiver may not know it.
    pub fact: Result<Fact, String>,
    pub traceparent: Option<String>,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    pub lease: String,
    /// Untried events that were there already and report the very same ([`Fact::is_report`]): they wait while this one
    /// is handled, and end with it when it ends well.
    pub twins: Vec<i64>,
}

/// What is committed together: new states, their ledger lines, and (last) how the handling ended.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// New states, each with the `version` that was read; the store counts it up.
    pub issuances: Vec<Issuance>,
    pub phones: Vec<Phone>,
    /// When the provider was asked for `phones`: one that was written since is not overwritten by older news. `None`: it
    /// was not, and one that is known to be gone stays gone.
    pub phones_seen_at: Option<Timestamp>,
    pub phone_keys: Vec<PhoneKey>,
    /// Subjects whose ignored events are due again, since what they wanted has come.
    pub again: Vec<String>,
    /// For issuances that are not written: when they are looked at next.
    pub looks: Vec<NextLook>,
    pub ledger: Vec<Entry>,
    /// Ends the handling, and the lease with it.
    pub outcome: Option<Outcome>,
}

/// Why a change was not recorded. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The lease has passed, and with it the right to write: somebody else may be at it.
    #[error("the lease on event {0} has passed")]
    LeaseLost(i64),
    /// Somebody else changed what was read: a plan's issuance, or a phone.
    #[error("{0} was changed by somebody else in the meantime")]
    Conflict(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Connects, and checks that the schema is the one that this program knows.
    ///
    /// `url`: `sqlite:PATH` or `postgres://…`. `connections_max` is PostgreSQL's pool.
    pub async fn open(
        url: &str,
        connections_max: u32,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let db = connect(url, connections_max, Patience::Short).await?;
        migrate::check(&db).await?;
        Ok(Self {
            db,
            clock,
            entropy,
            arrivals: Arc::default(),
            growth: Arc::default(),
            lookups: Arc::default(),
            endings: Arc::default(),
            in_flight_max: u32::MAX,
        })
    }

    /// A handle through which [`claim`](Self::claim) hands out nothing while `in_flight_max` leases are out, whoever has
    /// them. A handling makes one call at a time, so this bounds the calls to the provider as well.
    #[must_use]
    pub fn with_in_flight_max(self, in_flight_max: u32) -> Self {
        Self { in_flight_max, ..self }
    }

    /// Resolves when an event was put into the inbox through this handle or one of its clones.
    pub async fn arrival(&self) {
        self.arrivals.notified().await;
    }

    /// Resolves when the ledger grew through this handle or one of its clones.
    pub async fn growth(&self) {
        self.growth.notified().await;
    }

    /// Proves that the store answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db.fetch("SELECT seq FROM ledger_head WHERE id = 1", []).await.map(drop)
    }

    /// Does `job` in a transaction that adds to the ledger, and wakes whoever waits for what is new.
    async fn change<T, E>(&self, job: impl Job<T, E>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.change_if(|_| true, job).await
    }

    /// The same, but what `job` has changed is taken back unless `is_kept` says otherwise of what it returns.
    async fn change_if<T, E>(&self, is_kept: fn(&T) -> bool, job: impl Job<T, E>) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let done = self.db.write_if(is_kept, job).await?;
        if is_kept(&done) {
            self.growth.notify_waiters();
        }
        Ok(done)
    }
}

/// How long a connection waits for others.
#[derive(Debug, Clone, Copy)]
enum Patience {
    Short,
    Endless,
}

async fn connect(url: &str, connections_max: u32, patience: Patience) -> Result<Db, StoreError> {
    if url.starts_with("sqlite:") {
        Ok(Db::Sqlite(Sqlite::connect(url).await?))
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        postgres::connect(url, connections_max, patience).await
    } else {
        Err(StoreError::Url)
    }
}

/// Appends lines to the ledger: the last thing a transaction does before its commit, since it holds the head.
async fn append(tx: &mut Tx, at: Timestamp, entries: Vec<Entry>) -> Result<(), StoreError> {
    let line = |entry: Entry| {
        [
            Value::from(at),
            entry.kind.as_str().into(),
            entry.source.into(),
            entry.event_type.into(),
            entry.event_id.into(),
            entry.plan_key.into(),
            entry.user_identity_id.into(),
            entry.device_id.into(),
            entry.acs_credential_id.into(),
            entry.why.into(),
        ]
    };
    tx.insert_numbered("ledger", "ledger_head", LEDGER, entries.into_iter().map(line).collect()).await
}

const LEDGER: [&str; 10] = [
    "at",
    "kind",
    "source",
    "event_type",
    "event_id",
    "plan_key",
    "user_identity_id",
    "device_id",
    "acs_credential_id",
    "why",
];
