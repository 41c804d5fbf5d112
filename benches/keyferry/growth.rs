//! Whether a store with much behind it takes as long over its work as one with little: ten thousand lines of the ledger,
//! and ten million.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use keyferry::clock::{self, Clock as _, SystemClock, SystemEntropy};
use keyferry::domain::{Event, Fact, Outcome, Status};
use keyferry::queue::{Content, Envelope};
use keyferry::store::{self, Change, IssuanceFilter, Store};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::report::{Table, goal};
use crate::road;
use crate::stats::median;

/// How much is behind a store.
#[derive(Clone, Copy)]
struct Size {
    plans: u32,
    lines: u32,
}

const SMALL: Size = Size { plans: 1_000, lines: 10_000 };
const LARGE: Size = Size { plans: 1_000_000, lines: 10_000_000 };

const ROUNDS: usize = 200;

/// What is timed, in the order of a turn.
const WORK: [&str; 4] = ["claim", "record", "status", "list"];

pub(crate) async fn measure() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut table = Table::new(&["growth", "work", "ms, small", "ms, large"]);
    let mut ratios = Vec::new();
    for database in ["SQLite", "PostgreSQL"] {
        let stores = [grown(database, SMALL, dir.path()).await?, grown(database, LARGE, dir.path()).await?];
        let mut took: [[Vec<f64>; WORK.len()]; 2] = Default::default();
        for turn in 0..ROUNDS {
            for ((store, size), took) in stores.iter().zip([SMALL, LARGE]).zip(&mut took) {
                for (took, ms) in took.iter_mut().zip(a_turn(store, size, turn).await?) {
                    took.push(ms);
                }
            }
        }
        for (place, work) in WORK.into_iter().enumerate() {
            let [small, large] = [0, 1].map(|store: usize| median(&took[store][place]));
            table.row(vec![database.to_owned(), work.to_owned(), format!("{small:.2}"), format!("{large:.2}")]);
            ratios.push((format!("{database}: {work} with much behind it / with little"), large / small));
        }
    }
    table.print(&format!("{} and {} lines of the ledger behind it", SMALL.lines, LARGE.lines));
    for (what, ratio) in ratios {
        goal(&what, ratio, ratio <= 1.2, "at most 1.2");
    }
    Ok(())
}

/// A store that has been in use for long.
async fn grown(database: &str, size: Size, dir: &Path) -> anyhow::Result<Store> {
    let fill = |body: &str| {
        let text = include_str!("../../tests/fixtures/grown.sql").replace("{plans}", &size.plans.to_string());
        text.replace("{lines}", &size.lines.to_string()).replace("{body}", body)
    };
    let began = Instant::now();
    let url = if database == "SQLite" {
        let path = dir.join(format!("{}.db", size.lines));
        let url = format!("sqlite:{}", path.display());
        store::migrate(&url).await?;
        let connection = rusqlite::Connection::open(path)?;
        let careless = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000";
        connection.execute_batch(careless)?;
        connection.execute_batch(&fill("x'78'"))?;
        url
    } else {
        let url = road::new_database().await?;
        store::migrate(&url).await?;
        let mut connection = PgConnection::connect(&url).await?;
        sqlx::raw_sql(AssertSqlSafe(fill("'\\x78'::bytea"))).execute(&mut connection).await?;
        // A life that long would have summed its books up a thousand times; filled in one go, they leave a long empty table.
        for clean_up in ["VACUUM FULL tallies", "VACUUM ANALYZE"] {
            sqlx::raw_sql(clean_up).execute(&mut connection).await?;
        }
        url
    };
    println!("growth: {database} with {} lines, filled in {} s", size.lines, began.elapsed().as_secs());
    Ok(Store::open(&url, 5, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?)
}

/// An event comes in, is claimed and ends; and somebody looks. Milliseconds for each of [`WORK`].
async fn a_turn(store: &Store, size: Size, turn: usize) -> anyhow::Result<[f64; WORK.len()]> {
    let now = SystemClock.now();
    store.take_in(vec![event(turn, size.plans)]).await?;
    let lap = |began: &mut Instant| {
        let took = began.elapsed().as_secs_f64() * 1e3;
        *began = Instant::now();
        took
    };
    let mut began = Instant::now();
    let until = clock::add(now, jiff::SignedDuration::from_secs(15));
    let claimed = store.claim(SystemClock.now(), until, 16).await?.events;
    let claim = lap(&mut began);
    for claimed in &claimed {
        let change = Change { outcome: Some(Outcome::Done), ..Change::default() };
        store.record(claimed, SystemClock.now(), change).await?;
    }
    let record = lap(&mut began);
    store.status_counts().await?;
    store.inbox_counts().await?;
    store.overdue_count().await?;
    store.parked_count().await?;
    store.ledger_head().await?;
    let status = lap(&mut began);
    let filter = IssuanceFilter { status: Some(Status::Issued), ..IssuanceFilter::default() };
    // As many as the small one has.
    store.issuances(&filter, 20).await?;
    store.ledger(i64::from(size.lines) / 2, 50).await?;
    store.ledger_of_plan(&format!("plan-{}", size.plans / 2), 50).await?;
    let list = lap(&mut began);
    anyhow::ensure!(claimed.len() == 1, "{} events were claimed", claimed.len());
    Ok([claim, record, status, list])
}

fn event(turn: usize, plans: u32) -> Envelope {
    let now = SystemClock.now();
    let event_id = format!("new-{turn}");
    let fact = Fact::CredentialChanged { acs_credential_id: format!("credential-{plans}") };
    let event_type = "acs_credential.issued".to_owned();
    Envelope {
        delivery_id: event_id.clone(),
        received_at: now,
        traceparent: None,
        proof: None,
        body: "{}".into(),
        content: Content::Event(Event { source: "seam".to_owned(), event_id, event_type, occurred_at: now, fact }),
    }
}
