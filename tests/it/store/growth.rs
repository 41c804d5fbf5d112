//! What a store does costs the same however much it has seen: no statement reads more rows, or reads a table from end to
//! end, because of what is over.

use std::collections::BTreeMap;

use keyferry::domain::{Fact, Issuance, Outcome, Status};
use keyferry::store::{Change, IssuanceFilter, Store};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::{envelope, plan};
use crate::support::db::Bench;
use crate::support::{on_both_stores, wait};

on_both_stores!(what_stands_where_is_told_without_counting);

type Counts = BTreeMap<String, i64>;

async fn counts(bench: &Bench) -> (Counts, Counts) {
    let (issuances, keys) = bench.store.status_counts().await.expect("counts");
    (issuances.into_iter().collect(), keys.into_iter().collect())
}

fn of<const N: usize>(counts: [(Status, i64); N]) -> Counts {
    counts.map(|(status, times)| (status.as_str().to_owned(), times)).into()
}

async fn what_stands_where_is_told_without_counting(bench: Bench) {
    let now = bench.now();
    for n in 0..150 {
        bench.store.put_plan(&plan(&format!("p{n}"), &format!("person-{n}"), now)).await.expect("put");
    }
    assert_eq!(counts(&bench).await, (of([(Status::Planned, 150)]), Counts::new()));
    for (n, claimed) in bench.claim(200).await.iter().enumerate() {
        let (_, issuance) = bench.store.plan(&format!("p{n}")).await.expect("a read").expect("a plan");
        let issuances = vec![issuance.created(&format!("c{n}"), None)];
        let change = Change { issuances, outcome: Some(Outcome::Done), ..Change::default() };
        bench.store.record(claimed, now, change).await.expect("recorded");
    }
    let stands = (of([(Status::Created, 150)]), Counts::new());
    assert_eq!(counts(&bench).await, stands);

    let other = bench.other_process().await;
    let (one, two) = tokio::join!(bench.store.sum_up(), other.sum_up());
    one.and(two).expect("summed up, whoever was first");
    assert_eq!(counts(&bench).await, stands, "summing up changes nothing");
    bench.execute("DELETE FROM issuances WHERE plan_key IN ('p1', 'p2', 'p3')").await;
    bench.store.delete_plan("p4").await.expect("cancelled");
    let (plan, _) = bench.store.plan("p5").await.expect("a read").expect("a plan");
    assert_eq!(Issuance::planned(&plan).status, Status::Planned);
    assert_eq!(counts(&bench).await.0, of([(Status::Created, 147)]));
}

/// Everything that is done for an event, and everything that people look at.
async fn a_day(store: &Store, bench: &Bench, plans: u32, day: u32) {
    let last = |name: &str| format!("{name}-{plans}");
    let facts = [
        Fact::CredentialChanged { acs_credential_id: last("credential") },
        Fact::CredentialChanged { acs_credential_id: last("child") },
        Fact::AcsUserDeleted { acs_user_id: last("user") },
    ];
    let events = facts.into_iter().enumerate();
    let events =
        events.map(|(n, fact)| envelope(&format!("new-{day}-{n}"), "acs_credential.issued", fact, bench.now()));
    store.take_in(events.collect()).await.expect("taken in");
    let until = keyferry::clock::add(bench.now(), jiff::SignedDuration::from_secs(15));
    for claimed in store.claim(bench.now(), until, 64).await.expect("claimed").events {
        let change = Change { outcome: Some(Outcome::Done), ..Change::default() };
        store.record(&claimed, bench.now(), change).await.expect("recorded");
    }
    let found = [
        store.plans_of_credential(&last("credential")).await,
        store.plans_of_credential(&last("child")).await,
        store.plans_of_acs_user(&last("user")).await,
        store.plans_of_person(&last("person")).await,
        store.plans_of_phone(&last("phone")).await,
    ];
    assert!(found.iter().all(|found| found.as_ref().is_ok_and(|plans| plans.len() == 1)), "{found:?}");
    store.plans_of_enrollment("none").await.expect("none");
    store.phone_keys(&last("plan")).await.expect("keys");
    store.phones_of_person(&last("person")).await.expect("phones");
    store.people_of_alias("origo", "none").await.expect("nobody");
    store.waiting_since(&last("plan")).await.expect("asked");
    store.move_due(32, jiff::SignedDuration::from_mins(30)).await.expect("moved");
    store.next_due().await.expect("asked");

    store.status_counts().await.expect("counts");
    store.inbox_counts().await.expect("counts");
    store.overdue_count().await.expect("counts");
    store.parked(0, 50).await.expect("parked");
    store.parked_count().await.expect("counts");
    store.ledger_head().await.expect("a head");
    store.ledger_first().await.expect("a first");
    store.ledger(i64::from(plans), 50).await.expect("a page");
    store.ledger_of_plan(&last("plan"), 50).await.expect("lines");
    store.events("new-0-1").await.expect("events");
    for status in [None, Some(Status::Issued), Some(Status::Ended), Some(Status::Failed)] {
        let filter = IssuanceFilter { status, after: Some(last("plan")), ..IssuanceFilter::default() };
        store.issuances(&filter, 50).await.expect("a page");
    }
    let filter = IssuanceFilter { user_identity_id: Some(last("person")), ..IssuanceFilter::default() };
    store.issuances(&filter, 50).await.expect("a page");
}

/// Rows that a day reads of each table, with so many plans behind it: in order of the table, and by an index.
async fn rows_read(plans: u32) -> BTreeMap<String, (i64, i64)> {
    let bench = Bench::postgres().await;
    let mut connection = PgConnection::connect(&bench.url).await.expect("a connection");
    let grown = include_str!("../../fixtures/grown.sql").replace("{plans}", &plans.to_string());
    let grown = grown.replace("{lines}", &(3 * plans).to_string()).replace("{body}", "'\\x78'::bytea");
    sqlx::raw_sql(AssertSqlSafe(grown)).execute(&mut connection).await.expect("filled");
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await.expect("vacuumed");
    let before = tables(&mut connection).await;
    let store = bench.other_process().await;
    // A plan of PostgreSQL's is kept from the sixth time on.
    for day in 0..7 {
        a_day(&store, &bench, plans, day).await;
    }
    // Connections report what they have read when they end.
    drop(store);
    drop(bench);
    let users =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'keyferry'";
    wait::until("its connections have ended", async || {
        let count: i64 = sqlx::query(users).fetch_one(&mut connection).await.expect("a count").get(0);
        (count == 0).then_some(())
    })
    .await;
    let after = tables(&mut connection).await;
    after
        .into_iter()
        .map(|(name, (seq, idx))| {
            let (seq_before, idx_before) = before.get(&name).copied().unwrap_or_default();
            (name, (seq - seq_before, idx - idx_before))
        })
        .collect()
}

async fn tables(connection: &mut PgConnection) -> BTreeMap<String, (i64, i64)> {
    let read = "SELECT relname::text, seq_tup_read, COALESCE(idx_tup_fetch, 0) + COALESCE((SELECT SUM(idx_tup_read)::bigint \
                FROM pg_stat_user_indexes WHERE pg_stat_user_indexes.relid = pg_stat_user_tables.relid), 0) \
                FROM pg_stat_user_tables";
    let rows = sqlx::query(read).fetch_all(connection).await.expect("statistics");
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

#[tokio::test]
async fn postgres_reads_no_more_of_a_large_store_than_of_a_small_one() {
    let (small, large) = (rows_read(500).await, rows_read(20_000).await);
    for (table, (seq, idx)) in &large {
        let (_, small_idx) = small[table];
        assert!(*seq <= 2_000, "{table} is read from end to end: {seq} rows");
        assert!(*idx <= small_idx * 3 / 2 + 200, "{table}: {small_idx} rows by an index, and {idx} when it is large");
    }
}
