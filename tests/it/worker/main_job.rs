//! Planned, created, issued: and never ahead of the provider.

use keyferry::domain::{KeyStatus, Status};

use super::{A_WHILE, Story, changed, deactivated, registered};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    a_key_is_issued_when_the_providers_object_says_so,
    a_phone_that_came_before_its_plan_gets_its_key,
    a_deactivation_that_comes_before_the_registration_wins,
    a_credential_that_is_deleted_before_it_is_issued_stays_revoked,
    a_plan_that_is_cancelled_before_its_key_is_issued_leaves_none,
    the_event_of_a_foreign_credential_is_ignored,
    a_plan_with_a_field_of_a_newer_version_is_worked_on,
);

async fn a_key_is_issued_when_the_providers_object_says_so(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    story.step().await;
    assert_eq!(story.stands("booking").await, (Status::Planned, vec![]), "nobody has a phone");
    assert_eq!(story.live_parents().await, [""; 0]);

    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    story.step().await;
    assert_eq!(story.stands("booking").await, (Status::Created, vec![KeyStatus::Waiting]));
    let parents = story.live_parents().await;
    assert_eq!(story.issuance("booking").await.acs_credential_id.as_ref(), parents.first());

    story.comes_in("early", changed(&parents[0])).await;
    assert_eq!(story.step().await, 1);
    assert_eq!(story.stands("booking").await, (Status::Created, vec![KeyStatus::Waiting]), "the object is not issued");

    story.pass(A_WHILE);
    assert!(story.theirs().await[&parents[0]].0, "issued at the provider");
    assert_eq!(story.stands("booking").await.0, Status::Created, "and nobody has told of it");
    story.comes_in("in time", changed(&parents[0])).await;
    story.step().await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));

    story.ends_with(1).await;
    assert_eq!(
        story.told("booking").await,
        [
            "plan.put",
            "issuance.planned",
            "issuance.creating",
            "issuance.created",
            "phone_key.waiting",
            "issuance.issued",
            "phone_key.issued"
        ]
    );
}

async fn a_phone_that_came_before_its_plan_gets_its_key(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    story.settle().await;
    story.put("booking", &stay).await;
    story.ends_with(1).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
}

async fn a_deactivation_that_comes_before_the_registration_wins(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    let device_id = story.sign_in(&stay).await;
    story.deactivate(&device_id).await;
    story.comes_in("deactivated", deactivated(&device_id)).await;
    story.step().await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    story.ends_with(1).await;
    assert_eq!(story.stands("booking").await, (Status::Created, vec![KeyStatus::Revoked]));
    let phones = bench.store.phones_of_person(&stay.user_identity_id).await.expect("phones");
    assert_eq!(phones.iter().map(|phone| phone.is_active).collect::<Vec<_>>(), [false]);
}

async fn a_credential_that_is_deleted_before_it_is_issued_stays_revoked(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    story.step().await;
    let parent = story.live_parents().await.remove(0);
    story.seam("/acs/credentials/delete", &serde_json::json!({"acs_credential_id": parent})).await;
    story.comes_in("deleted", changed(&parent)).await;
    story.step().await;
    assert_eq!(story.stands("booking").await, (Status::Revoked, vec![KeyStatus::Revoked]));
    story.comes_in("issued", changed(&parent)).await;
    story.comes_in("registered again", registered(&stay, &device_id)).await;
    story.ends_with(0).await;
    assert_eq!(story.stands("booking").await, (Status::Revoked, vec![KeyStatus::Revoked]), "by somebody's intention");
}

async fn a_plan_that_is_cancelled_before_its_key_is_issued_leaves_none(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    story.step().await;
    bench.store.delete_plan(&story.key("booking")).await.expect("deleted");
    story.comes_in("issued", changed(&story.live_parents().await[0])).await;
    story.ends_with(0).await;
    assert_eq!(story.stands("booking").await, (Status::Revoked, vec![KeyStatus::Revoked]));
}

async fn the_event_of_a_foreign_credential_is_ignored(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    let body = serde_json::json!({"acs_user_id": stay.acs_user_id, "access_method": "mobile_key",
        "is_multi_phone_sync_credential": true, "allowed_acs_entrance_ids": stay.allowed_acs_entrance_ids});
    let foreign = story.seam("/acs/credentials/create", &body).await;
    let foreign = foreign["acs_credential"]["acs_credential_id"].as_str().expect("an id").to_owned();
    story.comes_in("foreign", changed(&foreign)).await;
    story.comes_in("unheard of", changed("00000000-0000-4000-8000-000000000000")).await;
    story.settle().await;
    for event in ["foreign", "unheard of"] {
        assert_eq!(bench.store.events(&story.key(event)).await.expect("events")[0].state, "ignored");
    }
    assert_eq!(story.stands("booking").await, (Status::Planned, vec![]));
    story.seam("/acs/credentials/delete", &serde_json::json!({"acs_credential_id": foreign})).await;
    story.ends_with(0).await;
}

async fn a_plan_with_a_field_of_a_newer_version_is_worked_on(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.put("booking", &stay).await;
    let newer =
        r#"UPDATE plans SET spec = REPLACE(spec, '{"user_identity_id"', '{"of_tomorrow": {}, "user_identity_id"')"#;
    bench.execute(newer).await;
    let device_id = story.sign_in(&stay).await;
    story.comes_in("registered", registered(&stay, &device_id)).await;
    story.ends_with(1).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
}
