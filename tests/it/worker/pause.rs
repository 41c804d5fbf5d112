//! A worker that was away for longer than its lease: what it brings back counts no more.
//!
//! Away means stopped: its future is not polled, as when a machine stands still, while time passes for everybody else.

use std::pin::pin;

use jiff::SignedDuration;
use keyferry::domain::{KeyStatus, Status};
use keyferry::store::LedgerLine;

use super::life::Life;
use super::line::Side;
use super::{Story, registered};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    who_comes_back_with_an_answer_cannot_record_it,
    an_intent_that_took_too_long_to_commit_is_not_acted_upon,
    who_stood_still_between_intent_and_call_breaks_at_most_what_the_provider_tells_of,
);

/// Everything that the ledger has.
async fn everything(bench: &Bench) -> Vec<LedgerLine> {
    bench.store.ledger(0, 10_000).await.expect("a ledger")
}

/// A plan and a phone; returns with the registration in the inbox.
async fn arrived(story: &Story<'_>) {
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    story.step().await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
}

/// Wherever it stood still after an answer, in the middle of creating too: another one has adopted by then what the
/// call made.
async fn who_comes_back_with_an_answer_cannot_record_it(bench: Bench) {
    let calls = ["phones_of_person", "create_credential", "list_credentials"];
    for (number, call) in (1..).zip(calls) {
        let story = Story::numbered(&bench, number).await;
        arrived(&story).await;
        let (line, slow) = story.other_worker(Life::endless()).await;
        let gate = line.waits(Side::After, call);
        let mut stopped = pin!(slow.step());
        tokio::select! {
            _ = &mut stopped => panic!("it stands still at {call}"),
            () = gate.reached() => {}
        }
        story.pass(story.settings.lease);
        story.settle().await;
        let before = (everything(&bench).await, story.issuance("booking").await);
        assert_eq!(before.1.status, Status::Issued, "{call}");

        gate.open();
        assert_eq!(stopped.await.expect("a step"), 1);
        assert_eq!((everything(&bench).await, story.issuance("booking").await), before, "{call}");
        story.ends_with(1).await;
        assert_eq!(story.parents_ever().await, 1, "{call}");
    }
}

/// Had the commit of the intent taken so long that others may ask already, a call now could come after their question.
async fn an_intent_that_took_too_long_to_commit_is_not_acted_upon(bench: Bench) {
    let story = Story::numbered(&bench, 1).await;
    arrived(&story).await;
    let lived = Life::endless();
    story.other_worker(lived.clone()).await.1.step().await.expect("a step");
    let effects = lived.effects();
    let call = effects.iter().position(|effect| effect == "Before create_credential").expect("a call");
    story.ends_with(1).await;

    let story = Story::numbered(&bench, 2).await;
    arrived(&story).await;
    let lived = Life::stalling_at(call - 1, story.settings.settle);
    let (line, slow) = story.other_worker(lived.clone()).await;
    slow.step().await.expect("a step");
    assert!(!line.calls().contains(&"create_credential"), "{:#?}", lived.effects());
    assert_eq!(story.issuance("booking").await.status, Status::Creating);
    story.ends_with(1).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
    assert_eq!(story.parents_ever().await, 1);
}

/// What no worker can prevent, since Seam's API knows neither an idempotency key nor a fence: one that stands still
/// after its last look at the clock, with the request not yet sent, and for longer than its call takes to settle.
/// Another one has asked by then, found nothing, and created. When the first goes on, its request may still go out.
///
/// Then there are two credentials at the provider, and as an `override` the second has invalidated the first. It cannot
/// be recorded, and the provider's events tell us of the first one's end: our state follows the provider's, and says
/// `revoked` instead of promising a key that opens nothing.
async fn who_stood_still_between_intent_and_call_breaks_at_most_what_the_provider_tells_of(bench: Bench) {
    let story = Story::new(&bench).await;
    arrived(&story).await;
    let (line, slow) = story.other_worker(Life::endless()).await;
    let gate = line.waits(Side::Before, "create_credential");
    let mut stopped = pin!(slow.step());
    tokio::select! {
        _ = &mut stopped => panic!("it stands still before its call"),
        () = gate.reached() => {}
    }
    story.pass(story.settings.lease + SignedDuration::from_secs(1));
    story.settle().await;
    let before = (everything(&bench).await, story.issuance("booking").await);
    assert_eq!(before.1.status, Status::Issued);
    assert_eq!(story.parents_ever().await, 1);

    gate.open();
    stopped.await.expect("a step");
    assert_eq!((everything(&bench).await, story.issuance("booking").await), before, "nothing of it is recorded");
    story.settle().await;
    match story.parents_ever().await {
        // It noticed in time that its lease had passed.
        1 => assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued])),
        2 => assert_eq!(story.stands("booking").await, (Status::Revoked, vec![KeyStatus::Revoked])),
        more => panic!("{more} credentials"),
    }
}
