//! What the provider has listed and no webhook brought is pulled: once, and by one process at a time.

use std::sync::Arc;

use jiff::SignedDuration;
use keyferry::domain::{Event, KeyStatus, Status};
use keyferry::provider::ListedEvent;
use keyferry::queue::{Content, Envelope};
use keyferry::store::Store;
use keyferry::sweep::{Missed, Pulled, ReadListed, Settings};

use super::super::line::Side;
use super::super::{A_WHILE, Story, fact, registered, unavailable};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    what_no_webhook_brought_is_pulled_once,
    a_pull_that_failed_is_made_good_by_the_next,
    a_long_absence_is_caught_up_with_in_stretches,
    of_two_processes_one_pulls,
);

const EVERY: SignedDuration = SignedDuration::from_mins(1);

fn read() -> ReadListed {
    Arc::new(|listed: &ListedEvent, now| {
        let envelope = |fact| {
            let event = Event {
                source: "app".to_owned(),
                event_id: listed.event_id.clone(),
                event_type: listed.event_type.clone(),
                occurred_at: listed.occurred_at,
                fact,
            };
            Envelope {
                delivery_id: format!("listed:{}", event.event_id),
                received_at: now,
                traceparent: None,
                proof: None,
                body: listed.body.clone(),
                content: Content::Event(event),
            }
        };
        fact(&listed.event_type, &listed.body).map(envelope).into_iter().collect()
    })
}

impl Story<'_> {
    fn missed(&self, store: Store) -> Missed {
        let (line, clock) = (Arc::new(self.line.clone()), Arc::new(self.bench.clock.clone()));
        Missed::new(store, line, clock, read(), &Settings::default())
    }

    /// A phone gets its key, and no webhook says so.
    async fn key_in_silence(&self) {
        let stay = self.stay().await;
        self.put("booking", &stay).await;
        let device_id = self.sign_in(&stay).await;
        self.comes_in("registered", registered(&stay, &device_id)).await;
        while self.step().await > 0 {}
        self.pass(A_WHILE);
        assert_eq!(self.stands("booking").await, (Status::Created, vec![KeyStatus::Waiting]));
    }
}

async fn what_no_webhook_brought_is_pulled_once(bench: Bench) {
    let story = Story::new(&bench).await;
    let missed = story.missed(bench.store.clone());
    assert_eq!(missed.step().await.expect("pulled"), Pulled::UpToDate { missed: 0 });
    story.key_in_silence().await;
    story.pass(EVERY);
    assert_eq!(missed.step().await.expect("pulled"), Pulled::UpToDate { missed: 0 }, "a webhook may be on its way");
    assert_eq!(missed.step().await.expect("pulled"), Pulled::NotNow);

    story.pass(EVERY * 2);
    let pulled = missed.step().await.expect("pulled");
    assert!(matches!(pulled, Pulled::UpToDate { missed: 1.. }), "{pulled:?}");
    while story.step().await > 0 {}
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));

    story.pass(EVERY);
    let head = story.head().await;
    assert_eq!(missed.step().await.expect("pulled"), Pulled::UpToDate { missed: 0 }, "they overlap");
    assert_eq!(story.head().await, head);
    story.ends_with(1).await;
}

async fn a_pull_that_failed_is_made_good_by_the_next(bench: Bench) {
    let story = Story::new(&bench).await;
    let missed = story.missed(bench.store.clone());
    missed.step().await.expect("pulled");
    story.key_in_silence().await;
    story.pass(EVERY * 15);
    story.line.says(Side::Before, "list_events", unavailable(None));
    assert!(missed.step().await.is_err());
    assert_eq!(missed.step().await.expect("not pulled"), Pulled::NotNow, "no hurry where something is amiss");
    story.pass(EVERY);
    let pulled = missed.step().await.expect("pulled");
    assert!(matches!(pulled, Pulled::UpToDate { missed: 1.. }), "{pulled:?}");
}

async fn a_long_absence_is_caught_up_with_in_stretches(bench: Bench) {
    let story = Story::new(&bench).await;
    let missed = story.missed(bench.store.clone());
    missed.step().await.expect("pulled");
    story.pass(SignedDuration::from_mins(200));
    story.key_in_silence().await;
    story.pass(EVERY * 3);
    let (mut pulls, mut found) = (0, 0);
    loop {
        pulls += 1;
        match missed.step().await.expect("pulled") {
            Pulled::Behind { missed } => found += missed,
            Pulled::UpToDate { missed } => {
                found += missed;
                break;
            }
            Pulled::NotNow => panic!("who is behind need not wait"),
        }
    }
    assert_eq!(pulls, 4, "an hour at a time");
    assert!(found > 0);
}

async fn of_two_processes_one_pulls(bench: Bench) {
    let story = Story::new(&bench).await;
    let (one, other) = (story.missed(bench.store.clone()), story.missed(bench.other_process().await));
    for _ in 0..3 {
        let (one, other) = tokio::join!(one.step(), other.step());
        let pulled = [one.expect("pulled"), other.expect("pulled")];
        assert!(pulled.contains(&Pulled::NotNow) && pulled != [Pulled::NotNow; 2], "{pulled:?}");
        story.pass(EVERY);
    }
    // One that died with the list in its hands is waited for, and not for ever.
    let dead = bench.store.take_watermark("events", keyferry::clock::add(story.now(), EVERY)).await.expect("asked");
    assert!(dead.is_some());
    assert_eq!(other.step().await.expect("pulled"), Pulled::NotNow);
    story.pass(EVERY);
    assert_eq!(other.step().await.expect("pulled"), Pulled::UpToDate { missed: 0 });
    let late = bench.store.move_watermark(&dead.expect("taken"), story.now(), story.now()).await;
    late.expect("nothing happens");
    assert_eq!(one.step().await.expect("pulled"), Pulled::NotNow, "who comes late changes nothing");
}
