//! Plans whose life is over for good go in the end; what may still matter stays.

use jiff::SignedDuration;
use keyferry::domain::Status;
use keyferry::sweep::{Prune, Settings};
use serde_json::json;

use super::super::Story;
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(plans_that_are_over_go_and_one_that_the_provider_revoked_stays);

async fn plans_that_are_over_go_and_one_that_the_provider_revoked_stays(bench: Bench) {
    let story = Story::new(&bench).await;
    let mut stay = story.stay().await;
    let first = story.sign_in(&stay).await;
    story.put("ended", &stay).await;
    story.put("cancelled", &stay).await;
    stay.ends_at = None;
    story.put("revoked", &stay).await;
    story.put("live", &stay).await;
    story.silence(SignedDuration::from_hours(1)).await;
    bench.store.delete_plan(&story.key("cancelled")).await.expect("deleted");
    let revoked = story.issuance("revoked").await.acs_credential_id.expect("a credential");
    story.seam("/acs/credentials/delete", &json!({"acs_credential_id": revoked})).await;
    story.deactivate(&first).await;
    story.hear().await;
    story.silence(SignedDuration::from_hours(96)).await;
    let stands = async |name: &str| {
        let found = bench.store.plan(&story.key(name)).await.expect("a read");
        found.map(|(_, issuance)| issuance.status)
    };
    assert_eq!(stands("ended").await, Some(Status::Ended));
    assert_eq!(stands("cancelled").await, Some(Status::Revoked));
    assert_eq!(stands("revoked").await, Some(Status::Revoked));

    story.pass(SignedDuration::from_hours(24 * 363));
    let prune = Prune::new(bench.store.clone(), &Settings { prune_batch: 100, ..Settings::default() });
    prune.step().await.expect("pruned");
    assert!(stands("ended").await.is_some(), "not old enough");
    story.pass(SignedDuration::from_hours(48));
    prune.step().await.expect("pruned");
    assert_eq!((stands("ended").await, stands("cancelled").await), (None, None));
    assert_eq!(stands("revoked").await, Some(Status::Revoked), "a nightly sync must not put it anew");
    assert!(stands("live").await.is_some());
    assert!(bench.store.phone(&first).await.expect("a read").is_some(), "a plan still knows it");
    assert_eq!(bench.store.phone_keys(&story.key("ended")).await.expect("keys"), []);
}
