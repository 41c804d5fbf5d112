//! Reports: what many tell of one thing is read once, and each telling still has its own end.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use keyferry::domain::{KeyStatus, Status};
use keyferry::provider::ProviderError;
use keyferry::worker::Settings;

use super::life::Life;
use super::{Story, changed, registered, staff};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    many_reports_of_one_credential_are_answered_by_one_reading,
    reports_that_could_not_be_answered_wait_each_for_itself,
    who_dies_with_many_in_hand_ends_each_of_them_once,
);

const ISSUED: (Status, [KeyStatus; 1]) = (Status::Issued, [KeyStatus::Issued]);

/// A guest whose phone has its key. Returns the credential.
pub(super) async fn issued(story: &Story<'_>, index: usize) -> String {
    let name = format!("booking-{index}");
    let stay = story.stay_of(index).await;
    story.put(&name, &stay).await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in(&format!("registered-{index}"), registered(&stay, &device_id)).await;
    story.settle().await;
    let (status, keys) = story.stands(&name).await;
    assert_eq!((status, keys.as_slice()), (ISSUED.0, ISSUED.1.as_slice()));
    story.issuance(&name).await.acs_credential_id.expect("a credential")
}

pub(super) async fn told(story: &Story<'_>, what: &str, times: usize, acs_credential_id: &str) {
    for n in 0..times {
        story.comes_in(&format!("{what}-{n}"), changed(acs_credential_id)).await;
    }
}

pub(super) async fn ends(story: &Story<'_>, what: &str, times: usize) -> Vec<usize> {
    let lines = story.bench.store.ledger(0, 10_000).await.expect("a ledger");
    let ends_of = |event_id: &str| {
        let about = lines.iter().filter(|line| line.event_id.as_deref() == Some(event_id));
        about.filter(|line| matches!(line.kind.as_str(), "event.done" | "event.ignored" | "event.parked")).count()
    };
    (0..times).map(|n| ends_of(&story.key(&format!("{what}-{n}")))).collect()
}

async fn many_reports_of_one_credential_are_answered_by_one_reading(bench: Bench) {
    let story = Story::new(&bench).await;
    let credential = issued(&story, 0).await;
    told(&story, "told", 30, &credential).await;
    story.line.calls();
    while story.step().await > 0 {}
    assert_eq!(story.line.calls(), ["list_credentials"]);
    assert_eq!(ends(&story, "told", 30).await, [1; 30]);
    story.ends_with(1).await;
}

async fn reports_that_could_not_be_answered_wait_each_for_itself(bench: Bench) {
    let story = Story::new(&bench).await;
    let credential = issued(&story, 0).await;
    told(&story, "told", 3, &credential).await;
    let why = "no connection: Connection refused".to_owned();
    story.line.is_away(Some(ProviderError::Transient { call: "/acs/credentials/list", why, retry_after: None }));
    story.step().await;
    let counts = bench.store.inbox_counts().await.expect("counts");
    assert_eq!((counts.waiting, counts.retrying), (2, 1), "{counts:?}");
    assert_eq!(ends(&story, "told", 3).await, [0; 3]);
    story.line.is_away(None);
    story.settle().await;
    assert_eq!(ends(&story, "told", 3).await, [1; 3]);
    story.ends_with(1).await;
}

/// With several hands nobody knows at which effect of whose it dies; so it dies at the first, the second, and so on,
/// until it has had them all.
async fn who_dies_with_many_in_hand_ends_each_of_them_once(bench: Bench) {
    const GUESTS: usize = 3;
    for number in 1_u32.. {
        let story = Story::numbered(&bench, number.into()).await;
        let mut credentials = Vec::new();
        for index in 0..GUESTS {
            credentials.push(issued(&story, index).await);
        }
        for (index, credential) in credentials.iter().enumerate() {
            story.seam("/acs/credentials/delete", &serde_json::json!({"acs_credential_id": credential})).await;
            told(&story, &format!("told-{index}"), 2, credential).await;
        }
        let life = Life::of(usize::try_from(number).expect("small") - 1);
        let settings = Settings { concurrency: 8, ..story.settings.clone() };
        let (_, worker) = staff(&bench, bench.other_process().await, &story.client, &settings, life);
        let died = AssertUnwindSafe(worker.step()).catch_unwind().await.is_err();
        story.pass(story.settings.lease + SignedDuration::from_secs(1));
        story.settle().await;
        for index in 0..GUESTS {
            assert_eq!(ends(&story, &format!("told-{index}"), 2).await, [1; 2], "died at effect {number}");
            assert_eq!(story.issuance(&format!("booking-{index}")).await.status, Status::Revoked);
        }
        story.ends_with(0).await;
        if !died {
            assert!(number > 10, "it has died at each of its effects, and these are only {number}");
            return;
        }
    }
}
