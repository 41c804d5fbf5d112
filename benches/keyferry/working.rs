//! What a worker alone can do: claim, look up, record. Beside it, the plainest worker: one transaction per event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry::clock::{SystemClock, SystemEntropy};
use keyferry::domain::{Event, Fact};
use keyferry::provider::{self, ApiKey, Endpoint, SeamClient};
use keyferry::queue::{Content, Envelope, Inbox as _};
use keyferry::store::{self, Store};
use keyferry::worker::{Settings, Worker};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::report::{goal, whole};
use crate::stats::median;
use crate::{Plan, road};

const EVENTS: usize = 5_000;

pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<()> {
    let (mut ours, mut plainest) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        ours.push(worked().await?);
        plainest.push(one_transaction_each(plan.turn).await?);
    }
    let (ours, plainest) = (median(&ours), median(&plainest));
    println!(
        "\nworker on PostgreSQL: {} events/s recorded; one transaction per event: {}/s\n",
        whole(ours),
        whole(plainest)
    );
    let ratio = ours / plainest;
    goal("recorded / one transaction per event", ratio, ratio >= 5.0, "at least 5");
    Ok(())
}

/// Events a second from the inbox to their outcome, with no call to a provider in between.
async fn worked() -> anyhow::Result<f64> {
    let url = road::new_database().await?;
    store::migrate(&url).await?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let store = Store::open(&url, 10, clock.clone(), entropy.clone()).await?;
    for batch in envelopes().chunks(500) {
        store.accept(batch.to_vec()).await?;
    }
    let settings = provider::Settings::new(
        Endpoint::parse("http://127.0.0.1:1")?,
        ApiKey::new("seam_bench1_key".to_owned().into())?,
    );
    let provider = Arc::new(SeamClient::new(&settings, clock.clone())?);
    let worker = Worker::new(store.clone(), provider, clock, entropy, Settings::default());
    let end = CancellationToken::new();
    let began = Instant::now();
    let working = tokio::spawn({
        let end = end.clone();
        async move { worker.run(end).await }
    });
    // A line for each that was received, and one for each that has ended; counting what waits would be work of its own.
    while usize::try_from(store.ledger_head().await?)? < 2 * EVENTS {
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed().as_secs_f64();
    end.cancel();
    working.await?;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    Ok(EVENTS as f64 / took)
}

fn envelopes() -> Vec<Envelope> {
    let now = keyferry::clock::Clock::now(&SystemClock);
    let envelope = |number: usize| {
        let event_id = format!("{number:08}");
        let fact = Fact::AcsUserDeleted { acs_user_id: event_id.clone() };
        let event_type = "acs_user.deleted".to_owned();
        Envelope {
            delivery_id: event_id.clone(),
            received_at: now,
            traceparent: None,
            proof: None,
            body: vec![b'x'; 400].into(),
            content: Content::Event(Event { source: "seam".to_owned(), event_id, event_type, occurred_at: now, fact }),
        }
    };
    (0..EVENTS).map(envelope).collect()
}

/// A row updated, a row appended, a commit; on one connection, as the plainest worker would.
async fn one_transaction_each(turn: Duration) -> anyhow::Result<f64> {
    let mut connection = PgConnection::connect(&road::new_database().await?).await?;
    connection.execute("CREATE TABLE event (id BIGINT PRIMARY KEY, state TEXT NOT NULL)").await?;
    connection
        .execute("CREATE TABLE log (id BIGSERIAL PRIMARY KEY, event BIGINT NOT NULL, word TEXT NOT NULL)")
        .await?;
    connection.execute("INSERT INTO event SELECT i, 'due' FROM generate_series(0, 99999) AS i").await?;
    let (began, mut done) = (Instant::now(), 0_i64);
    while began.elapsed() < turn && done < 100_000 {
        let mut tx = connection.begin().await?;
        sqlx::query("UPDATE event SET state = 'done' WHERE id = $1").bind(done).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO log (event, word) VALUES ($1, 'done')").bind(done).execute(&mut *tx).await?;
        tx.commit().await?;
        done += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    Ok(done as f64 / began.elapsed().as_secs_f64())
}
