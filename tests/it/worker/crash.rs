//! The worker dies at each of its effects in turn, and another one takes over when its lease has passed.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use keyferry::domain::{KeyStatus, Status};

use super::life::Life;
use super::{Story, registered};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    whenever_a_worker_dies_each_phone_gets_its_key_from_one_credential,
    whenever_a_worker_dies_a_cancelled_plan_leaves_none,
);

async fn whenever_a_worker_dies_each_phone_gets_its_key_from_one_credential(bench: Bench) {
    let mut deaths = 0;
    let undisturbed = registration(&bench, 0, usize::MAX, "never").await.1;
    assert!(undisturbed.len() > 25, "what is enumerated: {undisturbed:#?}");
    for (number, effect) in (1..).zip(&undisturbed) {
        let (died, lived) = registration(&bench, number, lives(number), effect).await;
        deaths += usize::from(died);
        assert!(lived.len() < usize::try_from(number).expect("small"), "nothing is done after the end");
    }
    assert_deaths(deaths, &undisturbed);
    assert_no_panic_was_recorded(&bench).await;
}

async fn whenever_a_worker_dies_a_cancelled_plan_leaves_none(bench: Bench) {
    let mut deaths = 0;
    let undisturbed = cancellation(&bench, 0, usize::MAX, "never").await.1;
    assert!(undisturbed.len() > 8, "what is enumerated: {undisturbed:#?}");
    for (number, effect) in (1..).zip(&undisturbed) {
        deaths += usize::from(cancellation(&bench, number, lives(number), effect).await.0);
    }
    assert_deaths(deaths, &undisturbed);
    assert_no_panic_was_recorded(&bench).await;
}

/// The first life ends at its first effect.
fn lives(number: u64) -> usize {
    usize::try_from(number).expect("small") - 1
}

/// From a plan and a registration to the key. Whether the worker died, and what it had done by then.
async fn registration(bench: &Bench, number: u64, effects_max: usize, effect: &str) -> (bool, Vec<String>) {
    let story = Story::numbered(bench, number).await;
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    story.step().await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    let lived = one_life(&story, effects_max).await;

    story.ends_with(1).await;
    let stands = story.stands("booking").await;
    assert_eq!(stands, (Status::Issued, vec![KeyStatus::Issued]), "died {number}: {effect}");
    assert_eq!(story.parents_ever().await, 1, "died {number}: {effect}");
    lived
}

/// From an issued key to none.
async fn cancellation(bench: &Bench, number: u64, effects_max: usize, effect: &str) -> (bool, Vec<String>) {
    let story = Story::numbered(bench, number).await;
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    story.settle().await;
    assert_eq!(story.stands("booking").await.0, Status::Issued);
    bench.store.delete_plan(&story.key("booking")).await.expect("deleted");
    let lived = one_life(&story, effects_max).await;

    story.ends_with(0).await;
    let stands = story.stands("booking").await;
    assert_eq!(stands, (Status::Revoked, vec![KeyStatus::Revoked]), "died {number}: {effect}");
    assert_eq!(story.parents_ever().await, 1, "died {number}: {effect}");
    lived
}

/// A worker works until nothing is left to do, or until it dies.
async fn one_life(story: &Story<'_>, effects_max: usize) -> (bool, Vec<String>) {
    let life = Life::of(effects_max);
    let (_, worker) = story.other_worker(life.clone()).await;
    let died = AssertUnwindSafe(story.settle_with(&worker)).catch_unwind().await.is_err();
    (died, life.effects())
}

/// Two events of one step may take turns, so that a life is sometimes shorter than the one that was counted.
fn assert_deaths(deaths: usize, undisturbed: &[String]) {
    assert!(deaths * 10 >= undisturbed.len() * 9, "{deaths} deaths at {} effects", undisturbed.len());
}

/// A death is no panic: a handler that unwinds must not have found a way to tell of it.
async fn assert_no_panic_was_recorded(bench: &Bench) {
    let mut after = 0;
    loop {
        let lines = bench.store.ledger(after, 1000).await.expect("a ledger");
        let Some(last) = lines.last() else { return };
        after = last.seq;
        let told = lines.iter().find(|line| line.why.as_ref().is_some_and(|why| why.contains("panicked")));
        assert_eq!(told, None);
    }
}
