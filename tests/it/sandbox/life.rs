//! The life of a multi-phone sync credential: before any phone, on each phone, changed, taken away.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::house::{A_WHILE, House};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Jane's stay in room 101: her identity, her ACS user and the parent.
async fn stay(house: &House) -> (Value, Value, Value) {
    let (person, user) = house.person("jane_doe", "visionline_system").await;
    let doors = house.doors(&["Room 101", "Spa"]).await;
    let beside = json!({"allowed_acs_entrance_ids": doors, "ends_at": house.at(DAY), "starts_at": house.at(-DAY)});
    let parent = house.parent(&user, &beside).await;
    (person, user, parent["acs_credential_id"].clone())
}

#[tokio::test]
async fn a_parent_waits_for_a_phone_and_each_phone_gets_one_child() {
    let house = House::open().await;
    let (person, _, parent) = stay(&house).await;
    house.pass(A_WHILE).await;
    let waiting = house.credential(&parent).await;
    assert_eq!((&waiting["is_issued"], &waiting["issued_at"]), (&json!(false), &json!(null)));
    assert_eq!(waiting["warnings"][0]["warning_code"], "waiting_to_be_issued");

    let first = house.active_phone(&person).await;
    let children = house.children(&parent).await;
    assert_eq!(children.len(), 1);
    assert_eq!(children[0]["is_issued"], true);
    assert_eq!(children[0]["display_name"], "Room 101, Spa");
    assert_eq!(children[0]["visionline_metadata"]["is_valid"], true);
    assert_eq!(house.credential(&parent).await["is_issued"], true);
    assert_eq!(house.count("acs_credential.issued").await, 2, "the child's and the parent's");

    let second = house.active_phone(&person).await;
    let children = house.children(&parent).await;
    assert_eq!(children.len(), 2);
    assert_eq!(house.count("acs_credential.issued").await, 3, "the parent's is told once");
    for (child, phone) in children.iter().zip([first, second]) {
        let held = house.seam("/phones/list", &json!({"acs_credential_id": child["acs_credential_id"]})).await;
        assert_eq!(held["phones"][0]["device_id"], phone);
        let recorded = house.find("acs_credentials", "acs_credential_id", child["acs_credential_id"].clone()).await;
        assert_eq!(recorded["device_id"], phone);
    }
    let all = house.seam("/phones/list", &json!({"acs_credential_id": parent})).await;
    assert_eq!(all["phones"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_phone_that_is_there_before_the_parent_gets_its_child_as_well() {
    let house = House::open().await;
    let (person, user) = house.person("jane_doe", "visionline_system").await;
    house.active_phone(&person).await;
    let parent = house.parent(&user, &json!({})).await["acs_credential_id"].clone();
    assert_eq!(house.children(&parent).await[0]["is_issued"], false, "on its way");
    house.pass(A_WHILE).await;
    assert_eq!(house.children(&parent).await[0]["is_issued"], true);
}

#[tokio::test]
async fn a_phone_passes_through_the_endpoint_states() {
    let house = House::open().await;
    let (person, _) = house.person("jane_doe", "visionline_system").await;
    let phone = house.phone(&person).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let state = house.find("phones", "device_id", phone.clone()).await["endpoint_state"].clone();
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        house.pass(SignedDuration::from_secs(1)).await;
    }
    assert_eq!(seen, ["INVITATION_PENDING", "ACKNOWLEDGED", "ACTIVATING", "ACTIVE"]);
    let active = house.seam("/phones/get", &json!({"device_id": phone})).await;
    let metadata = &active["phone"]["properties"]["assa_abloy_credential_service_metadata"];
    assert_eq!(
        (&metadata["has_active_endpoint"], &metadata["endpoints"][0]["is_active"]),
        (&json!(true), &json!(true))
    );

    house.order("rules", &json!({"activations_to_fail": 1})).await;
    let failing = house.active_phone(&person).await;
    assert_eq!(house.find("phones", "device_id", failing).await["endpoint_state"], "ACTIVATION_FAILURE");
}

#[tokio::test]
async fn a_deactivated_phone_loses_its_keys_and_the_parent_stays() {
    let house = House::open().await;
    let (person, _, parent) = stay(&house).await;
    let phone = house.active_phone(&person).await;
    let other = house.active_phone(&person).await;
    house.seam("/phones/deactivate", &json!({"device_id": phone})).await;
    let children = house.children(&parent).await;
    assert_eq!(children.len(), 1);
    let held = house.seam("/phones/list", &json!({"owner_user_identity_id": person})).await;
    assert_eq!(held["phones"][0]["device_id"], other);
    assert_eq!(house.credential(&parent).await["is_issued"], true);
    let events = house.events().await;
    let last: Vec<&str> = events.iter().rev().take(2).map(|(name, _)| name.as_str()).collect();
    assert_eq!(last, ["phone.deactivated", "acs_credential.deleted"]);
    house.refused("/phones/get", &json!({"device_id": phone}), "phone_not_found").await;
    assert!(house.find("phones", "device_id", phone).await["deleted_at"].is_string());
}

#[tokio::test]
async fn deleting_a_parent_deletes_its_children_first() {
    let house = House::open().await;
    let (person, _, parent) = stay(&house).await;
    house.active_phone(&person).await;
    house.active_phone(&person).await;
    house.seam("/acs/credentials/delete", &json!({"acs_credential_id": parent})).await;
    assert!(house.children(&parent).await.is_empty());
    house.refused("/acs/credentials/get", &json!({"acs_credential_id": parent}), "acs_credential_not_found").await;
    let events = house.events().await;
    let deleted: Vec<&Value> =
        events.iter().filter(|(name, _)| name == "acs_credential.deleted").map(|(_, id)| id).collect();
    assert_eq!((deleted.len(), deleted.last()), (3, Some(&&parent)));
}

#[tokio::test]
async fn a_deletion_that_takes_its_time_warns_until_it_is_done() {
    let house = House::open().await;
    house.order("rules", &json!({"credential_deletion_ms": 5_000})).await;
    let (_, _, parent) = stay(&house).await;
    house.seam("/acs/credentials/delete", &json!({"acs_credential_id": parent})).await;
    assert_eq!(house.credential(&parent).await["warnings"][0]["warning_code"], "being_deleted");
    house.pass(A_WHILE).await;
    house.refused("/acs/credentials/get", &json!({"acs_credential_id": parent}), "acs_credential_not_found").await;
}

#[tokio::test]
async fn a_new_end_holds_for_the_children_and_is_told() {
    let house = House::open().await;
    let (person, _, parent) = stay(&house).await;
    house.active_phone(&person).await;
    let ends_at = house.at(DAY * 2);
    let changed =
        house.seam("/acs/credentials/update", &json!({"acs_credential_id": parent, "ends_at": ends_at})).await;
    assert_eq!(changed["acs_credential"]["is_latest_desired_state_synced_with_provider"], false);
    assert_eq!(house.children(&parent).await[0]["ends_at"], ends_at.as_str());
    house.pass(A_WHILE).await;
    assert_eq!(house.count("acs_credential.reissued").await, 2);
    house.pass(DAY).await;
    assert_eq!(house.count("acs_credential.invalidated").await, 0, "the former end is void");
    house.pass(DAY).await;
    assert_eq!(house.count("acs_credential.invalidated").await, 2);
    let ended = house.credential(&parent).await;
    assert_eq!(ended["visionline_metadata"]["is_valid"], false);
    house.active_phone(&person).await;
    assert_eq!(house.children(&parent).await.len(), 1, "no further child after the end");
}

#[tokio::test]
async fn a_credential_changes_hands() {
    let house = House::open().await;
    let (jane, user, parent) = stay(&house).await;
    let (john, other) = house.person("john_smith", "visionline_system").await;
    house.active_phone(&jane).await;
    let johns = house.active_phone(&john).await;
    house.seam("/acs/credentials/assign", &json!({"acs_credential_id": parent, "acs_user_id": other})).await;
    house.pass(A_WHILE).await;
    let child = &house.children(&parent).await[0];
    let recorded = house.find("acs_credentials", "acs_credential_id", child["acs_credential_id"].clone()).await;
    assert_eq!(recorded["device_id"], johns);
    let body = json!({"acs_credential_id": parent, "acs_user_id": user});
    house.refused("/acs/credentials/unassign", &body, "acs_credential_not_assigned").await;
    let body = json!({"acs_credential_id": parent, "acs_user_id": other});
    let free = house.seam("/acs/credentials/unassign", &body).await;
    assert!(free["acs_credential"]["acs_user_id"].is_null());
    assert!(house.children(&parent).await.is_empty());
}

#[tokio::test]
async fn a_deleted_person_leaves_nothing_behind() {
    let house = House::open().await;
    let (person, user, parent) = stay(&house).await;
    house.active_phone(&person).await;
    house.seam("/client_sessions/create", &json!({"user_identity_ids": [person]})).await;
    house.seam("/user_identities/delete", &json!({"user_identity_id": person})).await;
    for (path, body, kind) in [
        ("/user_identities/get", json!({"user_identity_id": person}), "user_identity_not_found"),
        ("/acs/users/get", json!({"acs_user_id": user}), "acs_user_not_found"),
        ("/acs/credentials/get", json!({"acs_credential_id": parent}), "acs_credential_not_found"),
    ] {
        house.refused(path, &body, kind).await;
    }
    for event_type in ["acs_user.deleted", "phone.deactivated", "client_session.deleted"] {
        assert_eq!(house.count(event_type).await, 1, "{event_type}");
    }
}

#[tokio::test]
async fn a_credential_of_a_person_and_a_system_finds_or_makes_the_acs_user() {
    let house = House::open().await;
    let hotel = house.find("acs_systems", "name", "Grand Hotel").await["acs_system_id"].clone();
    let made = json!({"acs_system_id": hotel, "full_name": "Pia", "email_address": "pia@example.com"});
    let user = house.seam("/acs/users/create", &made).await["acs_user"]["acs_user_id"].clone();
    for (email, expected) in [("pia@example.com", Some(user)), ("new@example.com", None)] {
        let person = house.seam("/user_identities/create", &json!({"email_address": email})).await;
        let person = person["user_identity"]["user_identity_id"].clone();
        let body = json!({"user_identity_id": person, "acs_system_id": hotel, "access_method": "mobile_key"});
        let made = house.seam("/acs/credentials/create", &body).await["acs_credential"].clone();
        assert_eq!(made["user_identity_id"], person);
        if let Some(user) = expected {
            assert_eq!(made["acs_user_id"], user, "linked by e-mail address");
        }
    }
}

#[tokio::test]
async fn an_access_grant_is_provisioned_and_its_method_issued() {
    let house = House::open().await;
    let (person, _) = house.person("jane_doe", "visionline_system").await;
    let body = json!({
        "user_identity_id": person, "acs_entrance_ids": house.doors(&["Room 102", "Spa"]).await,
        "requested_access_methods": [{"mode": "mobile_key"}], "ends_at": house.at(DAY), "access_grant_key": "stay-1",
    });
    let grant = house.seam("/access_grants/create", &body).await["access_grant"].clone();
    let method = json!({"access_method_id": grant["access_method_ids"][0]});
    house.refused("/access_grants/create", &body, "access_grant_key_already_exists").await;
    house.pass(A_WHILE).await;
    assert_eq!(house.seam("/access_methods/get", &method).await["access_method"]["is_issued"], false);
    house.active_phone(&person).await;
    assert_eq!(house.seam("/access_methods/get", &method).await["access_method"]["is_issued"], true);
    let counts = [
        ("access_method.created", 1),
        ("access_method.issued", 1),
        ("access_grant.access_granted_to_door", 2),
        ("access_grant.access_granted_to_all_doors", 1),
    ];
    for (event_type, count) in counts {
        assert_eq!(house.count(event_type).await, count, "{event_type}");
    }
    house.seam("/access_grants/delete", &json!({"access_grant_id": grant["access_grant_id"]})).await;
    assert_eq!(house.count("access_method.revoked").await, 1);
    assert_eq!(house.count("acs_credential.deleted").await, 2);
}
