//! What was proven with which secret, counted as it comes in.

use jiff::{SignedDuration, Timestamp};
use keyferry::clock;
use keyferry::domain::SecretUse;
use keyferry::queue::{Content, Envelope, Inbox as _, Proof};
use keyferry::store::Retention;

use super::registered;
use crate::support::db::{Bench, start};
use crate::support::on_both_stores;

on_both_stores!(
    uses_are_counted_by_source_and_secret,
    what_comes_late_does_not_turn_the_time_back,
    intakes_count_the_same_secrets_at_once,
    a_secret_is_forgotten_with_the_ledger_of_its_time,
);

fn at(seconds: i64) -> Timestamp {
    clock::add(start(), SignedDuration::from_secs(seconds))
}

/// An event proven by `secret`, `age` seconds after it was signed.
fn proven(event_id: &str, secret: &str, seconds: i64, age: Option<i64>) -> Envelope {
    let sent_at = age.map(|age| at(seconds - age));
    let proof = Some(Proof { secret: secret.to_owned(), sent_at });
    Envelope { proof, ..registered(event_id, "jane", at(seconds)) }
}

impl Bench {
    async fn uses(&self) -> Vec<SecretUse> {
        self.store.secret_uses().await.expect("uses")
    }
}

fn used(source: &str, secret: &str, events: i64, first: Timestamp, last: Timestamp, skew: Option<i64>) -> SecretUse {
    SecretUse {
        source: source.to_owned(),
        secret: secret.to_owned(),
        events,
        first_used_at: first,
        last_used_at: last,
        skew: skew.map(SignedDuration::from_secs),
    }
}

async fn uses_are_counted_by_source_and_secret(bench: Bench) {
    assert_eq!(bench.uses().await, []);
    // A plan's own event, and one that was read from the provider's list, are nobody's delivery.
    bench.accept(vec![registered("e0", "jane", at(0))]).await;
    let unreadable = Content::Unreadable { source: "seam".to_owned(), why: "a riddle".to_owned(), headers: [].into() };
    let unreadable = Envelope { content: unreadable, ..proven("e1", "1", 3, Some(2)) };
    let batch = vec![
        proven("e2", "old", 1, Some(0)),
        proven("e3", "new", 2, Some(-7)),
        proven("e4", "old", 4, Some(1)),
        unreadable,
    ];
    bench.accept(batch).await;
    // The same delivery once more is another use of its secret.
    bench.accept(vec![proven("e4", "new", 9, None)]).await;
    let expected = [
        used("app", "old", 2, at(1), at(4), Some(1)),
        used("app", "new", 2, at(2), at(9), None),
        used("seam", "1", 1, at(3), at(3), Some(2)),
    ];
    assert_eq!(bench.uses().await, expected);
}

async fn what_comes_late_does_not_turn_the_time_back(bench: Bench) {
    bench.accept(vec![proven("e1", "1", 60, Some(1))]).await;
    bench.accept(vec![proven("e2", "1", 50, Some(40))]).await;
    assert_eq!(bench.uses().await, [used("app", "1", 2, at(50), at(60), Some(1))]);
}

async fn intakes_count_the_same_secrets_at_once(bench: Bench) {
    let stores = [bench.store.clone(), bench.other_process().await, bench.other_process().await];
    let intake = async |number: usize| {
        for turn in 0..20 {
            // One takes them in the opposite order of the other.
            let secrets = if number.is_multiple_of(2) { ["a", "b"] } else { ["b", "a"] };
            let batch = secrets.map(|it| proven(&format!("e-{number}-{turn}-{it}"), it, turn, None));
            stores[number].accept(batch.to_vec()).await.expect("accepted");
        }
    };
    futures_util::future::join_all((0..stores.len()).map(intake)).await;
    let counts: Vec<_> = bench.uses().await.into_iter().map(|it| (it.secret, it.events)).collect();
    assert_eq!(counts, [("a".to_owned(), 60), ("b".to_owned(), 60)]);
}

async fn a_secret_is_forgotten_with_the_ledger_of_its_time(bench: Bench) {
    bench.accept(vec![proven("e1", "old", 0, None), proven("e2", "new", 100, None)]).await;
    bench.advance_seconds(150);
    let kept = SignedDuration::from_secs(100);
    let retention =
        Retention { ledger: kept, events: SignedDuration::from_hours(1), plans: SignedDuration::from_hours(1) };
    assert_eq!(bench.store.prune(&retention, 10).await.expect("pruned").secret_uses, 1);
    assert_eq!(bench.uses().await, [used("app", "new", 1, at(100), at(100), None)]);
}
