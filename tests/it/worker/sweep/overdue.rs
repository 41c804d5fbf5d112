//! A phone that waits too long for its key is said to, once, and with a reason.

use jiff::SignedDuration;
use keyferry::domain::Status;

use super::super::life::Life;
use super::super::line::Side;
use super::super::{Story, unavailable};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(a_plan_is_overdue_once_and_no_more_when_its_key_is_issued, a_phone_that_is_gone_waits_no_more);

async fn a_plan_is_overdue_once_and_no_more_when_its_key_is_issued(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.sign_in(&stay).await;
    for _ in 0..200 {
        story.line.says(Side::Before, "create_credential", unavailable(None));
    }
    story.put("booking", &stay).await;
    story.silence(SignedDuration::from_mins(9)).await;
    assert!(!story.issuance("booking").await.overdue);
    assert_eq!(bench.store.overdue_count().await.expect("a count"), 0);

    story.silence(SignedDuration::from_mins(90)).await;
    let issuance = story.issuance("booking").await;
    assert!(issuance.overdue && issuance.status == Status::Planned, "{issuance:?}");
    assert_eq!(bench.store.overdue_count().await.expect("a count"), 1);
    let told = story.ledger("booking").await.into_iter().filter(|line| line.kind == "issuance.overdue");
    let why: Vec<String> = told.map(|line| line.why.expect("a reason")).collect();
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(why[0].starts_with("waiting for the key since 2026-03-01T10:00:00Z: "), "{why:?}");
    assert!(why[0].contains("503, out of order"), "{why:?}");

    let (_, worker) = story.other_worker(Life::endless()).await;
    story.silence_with(&worker, SignedDuration::from_mins(60)).await;
    let issuance = story.issuance("booking").await;
    assert!(!issuance.overdue && issuance.status == Status::Issued, "{issuance:?}");
    assert_eq!(bench.store.overdue_count().await.expect("a count"), 0);
    assert_eq!(story.ours().await, story.theirs().await);
}

async fn a_phone_that_is_gone_waits_no_more(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    let device_id = story.sign_in(&stay).await;
    for _ in 0..200 {
        story.line.says(Side::Before, "create_credential", unavailable(None));
    }
    story.put("booking", &stay).await;
    story.silence(SignedDuration::from_mins(60)).await;
    assert!(story.issuance("booking").await.overdue);
    story.deactivate(&device_id).await;
    story.hear().await;
    let (_, worker) = story.other_worker(Life::endless()).await;
    story.silence_with(&worker, SignedDuration::from_hours(1)).await;
    assert!(!story.issuance("booking").await.overdue);
}
