//! What SQLite does for a statement, counted in instructions of its virtual machine, does not grow with what is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::sql::{Db, Tx};
use super::{Change, IssuanceFilter, Store, StoreError, migrate};
use crate::clock::{self, Clock as _, ManualClock, SeededEntropy};
use crate::domain::{Event, Fact, Outcome, Status};
use crate::queue::{Content, Envelope};

/// A store with so many plans behind it, and a count of what its two connections do.
struct Grown {
    store: Store,
    clock: ManualClock,
    instructions: Arc<AtomicU64>,
    _dir: TempDir,
}

impl Grown {
    async fn to(plans: u32) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("grown.db");
        let url = format!("sqlite:{}", file.display());
        let clock = ManualClock::starting_at("2026-03-01T10:00:00Z".parse().expect("a time"));
        migrate(&url).await.expect("migrations");
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = Store::open(&url, 1, Arc::new(clock.clone()), entropy).await.expect("a store");
        let grown = include_str!("../../tests/fixtures/grown.sql").replace("{plans}", &plans.to_string());
        let grown = grown.replace("{lines}", &(3 * plans).to_string()).replace("{body}", "x'78'");
        rusqlite::Connection::open(file).expect("the file").execute_batch(&grown).expect("filled");
        let instructions = Arc::new(AtomicU64::new(0));
        let Db::Sqlite(sqlite) = &store.db else { panic!("SQLite was asked for") };
        let (of_writer, of_reader) = (Arc::clone(&instructions), Arc::clone(&instructions));
        // One that has read is the next to read.
        sqlite.read(|tx| Box::pin(async { count(tx, of_reader) })).await.expect("counted");
        sqlite.write(|()| true, |tx| Box::pin(async { count(tx, of_writer) })).await.expect("counted");
        Self { store, clock, instructions, _dir: dir }
    }

    /// How many instructions there were since the last time.
    fn instructions(&self) -> u64 {
        self.instructions.swap(0, Ordering::Relaxed)
    }
}

fn count(tx: &mut Tx, instructions: Arc<AtomicU64>) -> Result<(), StoreError> {
    let Tx::Sqlite(connection) = tx else { panic!("SQLite was asked for") };
    let goes_on = move || instructions.fetch_add(1, Ordering::Relaxed) == u64::MAX;
    Ok(connection.progress_handler(1, Some(goes_on))?)
}

fn told(event_id: &str, fact: Fact, clock: &ManualClock) -> Envelope {
    let now = clock.now();
    let event = Event {
        source: "seam".to_owned(),
        event_id: event_id.to_owned(),
        event_type: "acs_credential.issued".to_owned(),
        occurred_at: now,
        fact,
    };
    let (delivery_id, content) = (event_id.to_owned(), Content::Event(event));
    Envelope { delivery_id, received_at: now, traceparent: None, proof: None, body: "{}".into(), content }
}

/// What is done for events, and what people look at: how much each is.
async fn a_day(plans: u32) -> Vec<(&'static str, u64)> {
    let grown = Grown::to(plans).await;
    let Grown { store, clock, .. } = &grown;
    let last = |name: &str| format!("{name}-{plans}");
    let mut efforts = Vec::new();
    macro_rules! effort {
        ($what:literal, $done:expr) => {{
            grown.instructions();
            let done = $done.await.expect($what);
            let instructions = grown.instructions();
            assert!(instructions > 0, "{} is counted", $what);
            efforts.push(($what, instructions));
            done
        }};
    }
    let changed = |id: String| Fact::CredentialChanged { acs_credential_id: id };
    let events = [("e1", changed(last("credential"))), ("e2", changed(last("child")))];
    let events = events.into_iter().map(|(id, fact)| told(id, fact, clock)).collect();
    effort!("take in", store.take_in(events));
    let (now, until) = (clock.now(), clock::add(clock.now(), jiff::SignedDuration::from_secs(15)));
    let claimed = effort!("claim", store.claim(now, until, 64)).events;
    assert_eq!(claimed.len(), 2);
    let done = || Change { outcome: Some(Outcome::Done), ..Change::default() };
    effort!("record", store.record(&claimed[0], now, done()));
    let (of_parent, of_child) = (last("credential"), last("child"));
    assert_eq!(effort!("the plan of a credential", store.plans_of_credential(&of_parent)).len(), 1);
    assert_eq!(effort!("the plan of a child", store.plans_of_credential(&of_child)).len(), 1);
    assert_eq!(effort!("the plans of an ACS user", store.plans_of_acs_user(&last("user"))).len(), 1);
    assert_eq!(effort!("the plans of a person", store.plans_of_person(&last("person"))).len(), 1);
    assert_eq!(effort!("the plans of a phone", store.plans_of_phone(&last("phone"))).len(), 1);
    effort!("keys", store.phone_keys(&last("plan")));
    effort!("what is due for a look", store.move_due(32, jiff::SignedDuration::from_mins(30)));
    effort!("status", store.status_counts());
    effort!("the inbox", store.inbox_counts());
    effort!("what is overdue", store.overdue_count());
    effort!("what is parked", store.parked(0, 50));
    effort!("the ledger", store.ledger(i64::from(plans), 50));
    effort!("the ledger of a plan", store.ledger_of_plan(&last("plan"), 50));
    for status in [None, Some(Status::Issued), Some(Status::Failed)] {
        let filter = IssuanceFilter { status, after: Some("plan-2".to_owned()), ..IssuanceFilter::default() };
        effort!("issuances", store.issuances(&filter, 5));
    }
    efforts
}

#[tokio::test]
async fn a_large_store_asks_no_more_of_sqlite_than_a_small_one() {
    let (small, large) = (a_day(500).await, a_day(20_000).await);
    for ((what, small), (_, large)) in small.into_iter().zip(large) {
        assert!(large <= small * 3 / 2 + 100, "{what}: {small} instructions, and {large} when it is large");
    }
}
