//! What goes wrong: transient troubles back off and end well, permanent ones are parked with their reason.

use std::time::Duration;

use jiff::SignedDuration;
use keyferry::domain::{Backoff, KeyStatus, PlanSpec, Status};
use keyferry::store::{ParkedItem, Settled};
use keyferry::worker::{Settings, Worker};

use super::life::Life;
use super::line::{Line, Side};
use super::{Story, refused, registered, staff, unavailable};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    transient_troubles_back_off_and_end_well,
    a_create_that_was_turned_away_is_made_again,
    what_the_provider_refuses_is_parked_and_can_be_released,
    one_plans_refusal_does_not_keep_the_others_from_their_keys,
    attempts_run_out,
    what_cannot_be_understood_is_parked,
);

async fn arrived(story: &Story<'_>, spec: &PlanSpec) {
    story.put("booking", spec).await;
    story.step().await;
    let device_id = story.sign_in(spec).await;
    story.comes_in("registered", registered(spec, &device_id)).await;
}

async fn wait(story: &Story<'_>) -> SignedDuration {
    let due = story.bench.store.next_due().await.expect("asked").expect("something waits");
    due.duration_since(story.now())
}

async fn the_parked(bench: &Bench) -> ParkedItem {
    let mut parked = bench.store.parked(0, 10).await.expect("parked");
    assert_eq!(parked.len(), 1, "{parked:#?}");
    parked.remove(0)
}

async fn transient_troubles_back_off_and_end_well(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    arrived(&story, &stay).await;
    for retry_after in [None, None, Some(Duration::from_secs(30))] {
        story.line.says(Side::Before, "phones_of_person", unavailable(retry_after));
    }
    for at_about_seconds in [1.0, 2.0, 30.0] {
        assert_eq!(story.step().await, 1);
        let wait = wait(&story).await;
        let spread = 0.8 * at_about_seconds..=1.2 * at_about_seconds;
        assert!(spread.contains(&wait.as_secs_f64()), "{wait:?} is about {at_about_seconds} s");
        let reasons = bench.store.inbox_counts().await.expect("counts").reasons;
        assert_eq!(reasons, [("/any/call: 503, out of order".to_owned(), 1)]);
        assert_eq!(story.step().await, 0, "not before");
        story.pass(wait);
    }
    story.ends_with(1).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
}

async fn a_create_that_was_turned_away_is_made_again(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.overriding_stay().await;
    arrived(&story, &stay).await;
    story.line.says(Side::Before, "create_credential", unavailable(None));
    story.step().await;
    let issuance = story.issuance("booking").await;
    assert_eq!((issuance.status, issuance.attempts), (Status::Planned, 1));
    assert!(issuance.error.expect("a reason").contains("503"));
    story.ends_with(1).await;
    let issuance = story.issuance("booking").await;
    assert_eq!((issuance.status, issuance.attempts, issuance.error), (Status::Issued, 2, None));
}

async fn what_the_provider_refuses_is_parked_and_can_be_released(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    arrived(&story, &stay).await;
    story.line.says(Side::Before, "create_credential", refused());
    story.settle().await;
    let item = the_parked(&bench).await;
    assert_eq!(item.why, "/acs/credentials/create: invalid_input: no such door");
    let issuance = story.issuance("booking").await;
    assert_eq!((issuance.status, issuance.error.as_ref()), (Status::Failed, Some(&item.why)));
    assert_eq!(story.live_parents().await, [""; 0]);

    let event = item.event.clone().expect("an event");
    assert_eq!(bench.store.release_event(&item, &event).await.expect("released"), Settled::Done);
    story.ends_with(1).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
}

async fn one_plans_refusal_does_not_keep_the_others_from_their_keys(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    arrived(&story, &stay).await;
    story.put("other", &stay).await;
    story.line.says(Side::Before, "create_credential", refused());
    story.settle().await;
    assert_eq!(story.issuance("booking").await.status, Status::Failed);
    assert_eq!(story.stands("other").await, (Status::Issued, vec![KeyStatus::Issued]));
    assert_eq!(bench.store.discard(&the_parked(&bench).await).await.expect("discarded"), Settled::Done);
    story.ends_with(1).await;
}

async fn attempts_run_out(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    arrived(&story, &stay).await;
    let (line, worker) = worker_with(&story, Backoff { attempts_max: 3, ..Backoff::default() });
    for _ in 0..3 {
        line.says(Side::Before, "phones_of_person", unavailable(None));
    }
    story.settle_with(&worker).await;
    let item = the_parked(&bench).await;
    assert_eq!(item.why, "gave up after 3 attempts: /any/call: 503, out of order");
    assert_eq!(story.stands("booking").await, (Status::Planned, vec![]));
    let event = item.event.clone().expect("an event");
    bench.store.release_event(&item, &event).await.expect("released");
    story.ends_with(1).await;
}

fn worker_with(story: &Story<'_>, backoff: Backoff) -> (Line, Worker) {
    let settings = Settings { backoff, ..Settings::default() };
    staff(story.bench, story.bench.store.clone(), &story.client, &settings, Life::endless())
}

async fn what_cannot_be_understood_is_parked(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    arrived(&story, &stay).await;
    bench.execute("UPDATE inbox SET fact = '{\"fact\":\"teleported\"}' WHERE state = 'due'").await;
    story.settle().await;
    let item = the_parked(&bench).await;
    assert!(item.why.contains("older than the receiver"), "{}", item.why);
    assert_eq!(bench.store.discard(&item).await.expect("discarded"), Settled::Done);
    story.ends_with(0).await;
}
