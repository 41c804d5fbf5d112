//! Retention: the ledger loses its beginning and nothing else, and whatever may still be asked for stays.

use jiff::SignedDuration;
use keyferry::domain::Outcome;
use keyferry::store::{Pruned, Retention};

use super::registered;
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    the_ledger_loses_its_first_lines_and_no_others,
    an_event_is_recognised_for_as_long_as_it_is_kept,
    what_is_parked_stays_until_it_is_settled,
    two_at_once_remove_everything_once,
);

const DAY: SignedDuration = SignedDuration::from_hours(24);
const RETENTION: Retention = Retention {
    ledger: SignedDuration::from_hours(24 * 10),
    events: SignedDuration::from_hours(24 * 2),
    plans: SignedDuration::from_hours(24 * 365),
};

impl Bench {
    async fn prune(&self, batch: u32) -> Pruned {
        self.store.prune(&RETENTION, batch).await.expect("pruned")
    }

    async fn lines(&self) -> Vec<i64> {
        self.store.ledger(0, 1000).await.expect("a ledger").into_iter().map(|line| line.seq).collect()
    }

    async fn knows(&self, event_id: &str) -> bool {
        !self.store.events(event_id).await.expect("events").is_empty()
    }
}

async fn the_ledger_loses_its_first_lines_and_no_others(bench: Bench) {
    for n in 0..6 {
        bench.accept(vec![registered(&format!("e{n}"), "p", bench.now())]).await;
    }
    // The clock went back while the fourth was written: it looks old, and is not the first.
    bench.execute("UPDATE ledger SET at = at + 864000000 WHERE seq = 3").await;
    bench.clock.advance(DAY * 10 + SignedDuration::from_secs(1));
    assert_eq!(bench.prune(1).await.ledger, 1);
    assert_eq!((bench.lines().await, bench.store.ledger_first().await.expect("a number")), (vec![2, 3, 4, 5, 6], 2));
    assert_eq!(bench.prune(100).await.ledger, 1);
    assert_eq!(bench.lines().await, [3, 4, 5, 6], "no gap, whatever the times say");

    bench.clock.advance(DAY * 300);
    bench.prune(100).await;
    assert_eq!(bench.lines().await, [6], "never the last");
    bench.accept(vec![registered("next", "p", bench.now())]).await;
    assert_eq!(bench.lines().await, [6, 7]);
}

async fn an_event_is_recognised_for_as_long_as_it_is_kept(bench: Bench) {
    bench.accept(vec![registered("done", "p1", bench.now()), registered("due", "p2", bench.now())]).await;
    for claimed in bench.claim(10).await {
        let later = Outcome::Retry { after: SignedDuration::from_secs(1), why: "later".to_owned() };
        bench.end(&claimed, if claimed.event_id == "done" { Outcome::Done } else { later }).await;
    }
    // A day and a half later, the sender's last attempt.
    bench.clock.advance(SignedDuration::from_hours(36));
    assert_eq!(bench.prune(100).await, Pruned::default());
    let before = bench.lines().await;
    bench.accept(vec![registered("done", "p1", bench.now())]).await;
    assert_eq!(bench.lines().await, before, "known");
    bench.clock.advance(DAY);
    assert_eq!(bench.prune(100).await, Pruned { events: 1, ..Pruned::default() });
    assert!(!bench.knows("done").await);
    assert!(bench.knows("due").await, "nobody has brought it to an end");
}

async fn what_is_parked_stays_until_it_is_settled(bench: Bench) {
    bench.accept(vec![registered("parked", "p1", bench.now())]).await;
    let claimed = bench.claim(1).await.remove(0);
    bench.end(&claimed, Outcome::Park { why: "nonsense".to_owned() }).await;
    bench.clock.advance(DAY * 9);
    assert_eq!(bench.prune(100).await, Pruned::default());
    let item = bench.store.parked(0, 10).await.expect("parked").remove(0);
    assert_eq!(item.body, b"{\"event_id\":\"parked\"}");

    bench.store.discard(&item).await.expect("discarded");
    bench.clock.advance(DAY);
    assert_eq!(bench.prune(100).await, Pruned::default(), "settled only yesterday");
    bench.clock.advance(DAY * 2);
    let pruned = bench.prune(100).await;
    assert_eq!((pruned.parked, pruned.events), (1, 1));
    assert!(!bench.knows("parked").await);
}

async fn two_at_once_remove_everything_once(bench: Bench) {
    const EVENTS: u64 = 120;
    let events = (0..EVENTS).map(|n| registered(&format!("e{n:03}"), &format!("p{n:03}"), bench.now())).collect();
    bench.accept(events).await;
    for claimed in bench.claim(1000).await {
        bench.end(&claimed, Outcome::Done).await;
    }
    bench.clock.advance(DAY * 11);
    let other = bench.other_process().await;
    let mut removed = (0, 0);
    loop {
        let (one, two) = tokio::join!(bench.store.prune(&RETENTION, 25), other.prune(&RETENTION, 25));
        let (one, two) = (one.expect("pruned"), two.expect("pruned"));
        if one == Pruned::default() && two == Pruned::default() {
            break;
        }
        removed = (removed.0 + one.ledger + two.ledger, removed.1 + one.events + two.events);
    }
    assert_eq!(removed, (EVENTS * 2 - 1, EVENTS));
    assert_eq!(bench.lines().await.len(), 1);
}
