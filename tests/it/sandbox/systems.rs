//! What differs between the access systems.

use jiff::SignedDuration;
use serde_json::json;

use super::house::{A_WHILE, House};

#[tokio::test]
async fn a_visionline_override_ends_the_earlier_guest_key_of_the_same_door_only() {
    let house = House::open().await;
    let (jane, user) = house.person("jane_doe", "visionline_system").await;
    let (_, other) = house.person("john_smith", "visionline_system").await;
    house.active_phone(&jane).await;
    let doors = house.doors(&["Room 101", "Spa"]).await;
    let beside = json!({"allowed_acs_entrance_ids": doors, "visionline_metadata": {"override": true}});
    let first = house.parent(&user, &beside).await["acs_credential_id"].clone();
    house.pass(A_WHILE).await;
    let spa = json!({"allowed_acs_entrance_ids": [doors[1]], "visionline_metadata": {"override": true}});
    house.parent(&other, &spa).await;
    assert_eq!(house.count("acs_credential.invalidated").await, 0, "a common door is nobody's alone");

    house.parent(&other, &beside).await;
    assert_eq!(house.count("acs_credential.invalidated").await, 2, "the parent and its child");
    let ended = house.credential(&house.children(&first).await[0]["acs_credential_id"]).await;
    assert_eq!(ended["visionline_metadata"]["is_valid"], false);
}

#[tokio::test]
async fn a_visionline_key_that_does_not_override_joins() {
    let house = House::open().await;
    let (_, user) = house.person("jane_doe", "visionline_system").await;
    let door = house.doors(&["Room 101"]).await;
    let first = house.parent(&user, &json!({"allowed_acs_entrance_ids": door})).await;
    let joining = |joined: serde_json::Value| {
        json!({"acs_user_id": user, "access_method": "mobile_key", "allowed_acs_entrance_ids": door,
               "visionline_metadata": {"override": false, "joiner_acs_credential_ids": joined}})
    };
    let message = house.refused("/acs/credentials/create", &joining(json!([])), "invalid_input").await;
    assert!(message.contains("joiner_acs_credential_ids is required"), "{message}");
    let made = house.seam("/acs/credentials/create", &joining(json!([first["acs_credential_id"]]))).await;
    let metadata = &made["acs_credential"]["visionline_metadata"];
    assert_eq!(metadata["joiner_acs_credential_ids"], json!([first["acs_credential_id"]]));
    assert_eq!(house.count("acs_credential.invalidated").await, 0);
}

#[tokio::test]
async fn an_override_can_be_made_to_need_an_active_endpoint() {
    let house = House::open().await;
    house.order("rules", &json!({"override_needs_active_endpoint": true})).await;
    let (jane, user) = house.person("jane_doe", "visionline_system").await;
    let body = json!({"acs_user_id": user, "access_method": "mobile_key", "is_multi_phone_sync_credential": true,
                      "visionline_metadata": {"override": true}});
    house.refused("/acs/credentials/create", &body, "no_active_mobile_endpoint").await;
    house.active_phone(&jane).await;
    house.seam("/acs/credentials/create", &body).await;
}

#[tokio::test]
async fn the_documents_of_old_are_understood_as_they_were_meant() {
    let house = House::open().await;
    let (_, user) = house.person("jane_doe", "visionline_system").await;
    let of_2023 = json!({"is_multi_phone_sync_credential": true, "acs_user_id": user, "card_format": "rfid48",
                         "facility_code": "9"});
    let made = house.seam("/acs/credentials/create", &of_2023).await;
    assert_eq!(made["acs_credential"]["access_method"], "mobile_key");
    let with_typing_errors = json!({"acs_user_id": user, "access_method": "mobile_key",
        "visionline_metadata": {"cardFormat": "rfid48", "label": "101", "is_override_key": true}});
    house.seam("/acs/credentials/create", &with_typing_errors).await;
    let message = house.refused("/acs/credentials/create", &json!({"acs_user_id": user}), "invalid_input").await;
    assert_eq!(message, "access_method is required");
}

#[tokio::test]
async fn latch_makes_the_code_of_a_mobile_key_itself() {
    let house = House::open().await;
    let (_, user) = house.person("amara_okafor", "latch_building").await;
    let doors = house.doors(&["Lobby", "Apartment 1A"]).await;
    let made = house.parent(&user, &json!({"allowed_acs_entrance_ids": doors})).await;
    assert_eq!(made["code"].as_str().map(str::len), Some(7));
    assert_eq!(made["external_type"], "latch_access");
    let given = json!({"acs_user_id": user, "access_method": "mobile_key", "code": "1234"});
    house.refused("/acs/credentials/create", &given, "invalid_input").await;
    let pin = json!({"acs_user_id": user, "access_method": "code", "allowed_acs_entrance_ids": doors});
    house.refused("/acs/credentials/create", &pin, "invalid_input").await;
    let pin =
        json!({"acs_user_id": user, "access_method": "code", "code": "4321", "allowed_acs_entrance_ids": [doors[0]]});
    let made = house.seam("/acs/credentials/create", &pin).await["acs_credential"].clone();
    assert_eq!((&made["code"], &made["display_name"]), (&json!("4321"), &json!("****")));
}

#[tokio::test]
async fn salto_ks_grants_by_group_and_issues_when_the_user_may_come() {
    let house = House::open().await;
    let (sofia, user) = house.person("sofia_lind", "salto_ks_site").await;
    house.active_phone(&sofia).await;
    let starts_at = house.at(SignedDuration::from_hours(1));
    let schedule = json!({"acs_user_id": user, "access_schedule": {"starts_at": starts_at, "ends_at": null}});
    house.seam("/acs/users/update", &schedule).await;
    let doors = house.doors(&["Studio 3"]).await;
    let body = json!({"acs_user_id": user, "access_method": "mobile_key", "allowed_acs_entrance_ids": doors});
    house.refused("/acs/credentials/create", &body, "invalid_input").await;

    let parent = house.parent(&user, &json!({})).await["acs_credential_id"].clone();
    let opened = house.seam("/acs/entrances/list", &json!({"acs_credential_id": parent})).await;
    assert_eq!(opened["acs_entrances"].as_array().map(Vec::len), Some(2), "the doors of the group");
    house.pass(A_WHILE).await;
    assert_eq!(house.credential(&parent).await["is_issued"], false);
    house.pass(SignedDuration::from_hours(1)).await;
    assert_eq!(house.credential(&parent).await["is_issued"], true);
}

#[tokio::test]
async fn a_salto_space_user_has_one_mobile_key() {
    let house = House::open().await;
    let (_, user) = house.person("sofia_lind", "salto_space_system").await;
    let first = house.parent(&user, &json!({})).await;
    let body = json!({"acs_user_id": user, "access_method": "mobile_key"});
    house.refused("/acs/credentials/create", &body, "acs_user_already_has_mobile_key").await;
    house.seam("/acs/credentials/delete", &json!({"acs_credential_id": first["acs_credential_id"]})).await;
    house.seam("/acs/credentials/create", &body).await;
}

#[tokio::test]
async fn hid_origo_brings_keys_to_the_office_and_to_nobody_else() {
    let house = House::open().await;
    let office = house.find("acs_systems", "name", "Northwind Office").await;
    let origo = house.find("acs_systems", "name", "Northwind HID Origo").await;
    let path = "/acs/systems/list_compatible_credential_manager_acs_systems";
    let found = house.seam(path, &json!({"acs_system_id": office["acs_system_id"]})).await;
    assert_eq!(found["acs_systems"][0]["acs_system_id"], origo["acs_system_id"]);
    let (_, user) = house.person("jane_doe", "visionline_system").await;
    let body = json!({"acs_user_id": user, "access_method": "mobile_key",
                      "credential_manager_acs_system_id": origo["acs_system_id"]});
    house.refused("/acs/credentials/create", &body, "invalid_input").await;
}

#[tokio::test]
async fn enrollment_can_be_as_it_was_before_2025() {
    let house = House::open().await;
    house.order("rules", &json!({"automatic_enrollment": false})).await;
    let (jane, _) = house.person("jane_doe", "visionline_system").await;
    let phone = house.active_phone(&jane).await;
    assert_eq!(house.find("phones", "device_id", phone.clone()).await["endpoint_state"], "UNINVITED");
    let manager = house.find("acs_systems", "external_type", "assa_abloy_credential_service").await;
    let body = json!({"user_identity_id": jane, "create_credential_manager_user": true,
                      "credential_manager_acs_system_id": manager["acs_system_id"]});
    let path = "/user_identities/enrollment_automations/launch";
    let launched = house.seam(path, &body).await["enrollment_automation"].clone();
    assert_eq!(house.seam(path, &body).await["enrollment_automation"], launched, "one for each person and manager");
    house.pass(A_WHILE).await;
    assert_eq!(house.find("phones", "device_id", phone).await["endpoint_state"], "ACTIVE");
}
