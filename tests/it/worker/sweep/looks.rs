//! Every webhook is lost, events are parked, and still all states become the provider's.

use jiff::SignedDuration;
use keyferry::clock::add;
use keyferry::domain::{Backoff, KeyStatus, PlanSpec, Status};
use keyferry::sweep::{Due, Settings};
use keyferry::worker;

use super::super::life::Life;
use super::super::line::Side;
use super::super::{Story, lost, refused, registered, staff};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    states_converge_though_every_webhook_is_lost,
    an_intent_whose_event_was_parked_is_asked_about,
    a_plan_ends_when_its_time_is_over_though_nobody_says_so,
    an_end_that_was_moved_and_has_passed_since_takes_the_keys_away,
    a_cancellation_that_was_parked_is_made_good,
    what_the_provider_refused_is_not_tried_again,
    a_look_that_finds_nothing_new_leaves_no_trace,
    a_look_that_fails_is_not_parked_and_the_next_one_comes,
    two_sweeps_at_once_move_each_plan_once,
    looks_leave_room_for_webhooks,
);

async fn states_converge_though_every_webhook_is_lost(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    story.step().await;
    let first = story.sign_in(&stay).await;
    story.silence(SignedDuration::from_mins(45)).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
    assert_eq!(story.ours().await, story.theirs().await);

    story.sign_in(&stay).await;
    story.deactivate(&first).await;
    story.silence(SignedDuration::from_hours(7)).await;
    let (status, mut keys) = story.stands("booking").await;
    keys.sort_by_key(|key| key.as_str());
    assert_eq!((status, keys), (Status::Issued, vec![KeyStatus::Issued, KeyStatus::Revoked]));
    assert_eq!(story.ours().await, story.theirs().await);
    assert_eq!(story.parents_ever().await, 1);

    let parent = story.live_parents().await.remove(0);
    story.seam("/acs/credentials/delete", &serde_json::json!({"acs_credential_id": parent})).await;
    story.silence(SignedDuration::from_hours(7)).await;
    assert_eq!(story.issuance("booking").await.status, Status::Revoked);
    story.ends_with(0).await;
}

async fn an_intent_whose_event_was_parked_is_asked_about(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    story.step().await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    let backoff = Backoff { attempts_max: 1, ..Backoff::default() };
    let impatient = worker::Settings { backoff, ..story.settings.clone() };
    let (line, worker) = staff(&bench, bench.store.clone(), &story.client, &impatient, Life::endless());
    line.says(Side::After, "create_credential", lost());
    worker.step().await.expect("a step");
    assert_eq!(story.issuance("booking").await.status, Status::Unknown);
    assert_eq!(bench.store.parked_count().await.expect("a count"), 1, "nobody will come back for it");

    story.silence(SignedDuration::from_mins(5)).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
    assert_eq!(story.parents_ever().await, 1, "adopted, not created again");
}

async fn a_plan_ends_when_its_time_is_over_though_nobody_says_so(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    let end = stay.ends_at.expect("an end");
    story.put("unused", &stay).await;
    story.put("refused", &stay).await;
    story.silence(SignedDuration::from_secs(1)).await;
    story.sign_in(&stay).await;
    story.line.says(Side::Before, "create_credential", refused());
    story.silence(end.duration_since(story.now()) - SignedDuration::from_secs(1)).await;
    let mut before = [story.issuance("unused").await.status, story.issuance("refused").await.status];
    before.sort_by_key(|status| status.as_str());
    assert_eq!(before, [Status::Failed, Status::Issued]);

    story.silence(SignedDuration::from_secs(1)).await;
    for name in ["unused", "refused"] {
        let last = story.ledger(name).await.into_iter().rfind(|it| it.kind.starts_with("issuance.")).expect("a line");
        assert_eq!((last.kind.as_str(), last.at), ("issuance.ended", end), "{name}");
        assert_eq!(story.issuance(name).await.look_at, None, "{name}");
    }
}

/// Nobody has told the provider of the new end in time, and it takes none that has passed: whoever comes first, the look
/// or the event, deletes what would be good for three days.
async fn an_end_that_was_moved_and_has_passed_since_takes_the_keys_away(bench: Bench) {
    for (number, comes_first) in (1..).zip(["the look", "the event"]) {
        let story = Story::numbered(&bench, number).await;
        let stay = story.overriding_stay().await;
        story.put("booking", &stay).await;
        story.sign_in(&stay).await;
        story.settle().await;
        assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]), "{comes_first}");

        let end = add(story.now(), SignedDuration::from_secs(1));
        if comes_first == "the look" {
            story.line.says(Side::Before, "phones_of_person", refused());
        }
        story.put("booking", &PlanSpec { ends_at: Some(end), ..stay }).await;
        if comes_first == "the look" {
            story.step().await;
        }
        story.pass(SignedDuration::from_secs(2));
        story.silence(SignedDuration::from_secs(1)).await;
        assert_eq!(story.stands("booking").await, (Status::Ended, vec![KeyStatus::Revoked]), "{comes_first}");
        assert_eq!(story.live_parents().await, [""; 0], "{comes_first}");
    }
}

async fn a_cancellation_that_was_parked_is_made_good(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    story.sign_in(&stay).await;
    story.silence(SignedDuration::from_mins(5)).await;
    assert_eq!(story.issuance("booking").await.status, Status::Issued);
    bench.store.delete_plan(&story.key("booking")).await.expect("deleted");
    story.line.says(Side::Before, "delete_credential", refused());
    story.step().await;
    assert_eq!(bench.store.parked_count().await.expect("a count"), 1);
    assert_eq!(story.live_parents().await.len(), 1);

    story.silence(SignedDuration::from_hours(1)).await;
    assert_eq!(story.issuance("booking").await.status, Status::Revoked);
    assert_eq!(story.live_parents().await, [""; 0]);
}

async fn what_the_provider_refused_is_not_tried_again(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    story.sign_in(&stay).await;
    story.line.says(Side::Before, "create_credential", refused());
    story.step().await;
    story.line.calls();
    story.silence(SignedDuration::from_hours(48)).await;
    assert_eq!(story.line.calls(), [""; 0]);
    assert_eq!(story.issuance("booking").await.status, Status::Failed);
}

async fn a_look_that_finds_nothing_new_leaves_no_trace(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    story.put("waiting", &PlanSpec { user_identity_id: "nobody".to_owned(), ..stay.clone() }).await;
    story.sign_in(&stay).await;
    story.silence(SignedDuration::from_hours(1)).await;
    let (head, version) = (story.head().await, story.issuance("booking").await.version);
    story.line.calls();
    story.silence(SignedDuration::from_hours(24)).await;
    let looks = story.line.calls().iter().filter(|call| **call == "list_credentials").count();
    assert_eq!(looks, 4, "an issued key is looked at now and then");
    assert_eq!((story.head().await, story.issuance("booking").await.version), (head, version));
    let events = bench.store.events(&format!("look:{}", story.key("booking"))).await.expect("events");
    assert_eq!(events, []);
}

async fn a_look_that_fails_is_not_parked_and_the_next_one_comes(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    story.step().await;
    story.line.says(Side::Before, "phones_of_person", refused());
    story.sign_in(&stay).await;
    story.silence(SignedDuration::from_mins(31)).await;
    assert_eq!(story.line.open_orders(), 0, "a look has failed");
    assert_eq!(story.stands("booking").await, (Status::Planned, vec![]));
    story.silence(SignedDuration::from_mins(31)).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
    story.ends_with(1).await;
}

async fn two_sweeps_at_once_move_each_plan_once(bench: Bench) {
    const PLANS: usize = 20;
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    for n in 0..PLANS {
        story.put(&format!("booking-{n:02}"), &stay).await;
    }
    while story.step().await > 0 {}
    story.pass(SignedDuration::from_mins(30));
    let other = Due::new(bench.other_process().await, &Settings::default());
    let ours = story.due();
    let (one, two) = tokio::join!(ours.step(), other.step());
    assert_eq!(one.expect("a step") + two.expect("a step"), PLANS);
    let waiting = bench.store.inbox_counts().await.expect("counts").waiting;
    assert_eq!(usize::try_from(waiting).expect("a count"), PLANS);

    // Due again before anybody has had the look: there is one already.
    story.pass(SignedDuration::from_mins(31));
    assert_eq!(ours.step().await.expect("a step"), 0);
    while story.step().await > 0 {}
    let next = bench.store.next_look().await.expect("asked").expect("a look");
    assert!(next > story.now(), "each look has said when to look next");
}

async fn looks_leave_room_for_webhooks(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    for n in 0..5 {
        story.put(&format!("booking-{n}"), &stay).await;
    }
    while story.step().await > 0 {}
    story.pass(SignedDuration::from_mins(30));
    let due = Due::new(bench.store.clone(), &Settings { looks_waiting_max: 2, ..Settings::default() });
    let mut moved = Vec::new();
    for _ in 0..4 {
        moved.push(due.step().await.expect("a step"));
        assert_eq!(due.step().await.expect("a step"), 0, "no room");
        while story.step().await > 0 {}
    }
    assert_eq!(moved, [2, 2, 1, 0]);
    assert!(bench.store.next_look().await.expect("asked") <= Some(add(story.now(), SignedDuration::from_mins(30))));
}
