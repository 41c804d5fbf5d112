//! What the client relies on, the sandbox answers: both held against `schemas/seam`, and against nothing of each other.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::house::{A_WHILE, House};
use crate::support::seam_schemas::{assert_fits, names_in, schemas};

#[tokio::test]
async fn every_answer_that_the_client_reads_is_as_the_schemas_say() {
    let house = House::open().await;
    let (person, user) = house.person("jane_doe", "visionline_system").await;
    let doors = house.doors(&["Room 101", "Spa"]).await;
    let began = house.at(SignedDuration::from_hours(-1));
    let parent = house.parent(&user, &json!({"allowed_acs_entrance_ids": doors})).await;
    house.active_phone(&person).await;
    house.pass(A_WHILE).await;
    let manager = house.find("acs_systems", "external_type", "assa_abloy_credential_service").await;

    let mut checked = BTreeSet::new();
    for (schema, path, body, list) in [
        ("acs_credential", "/acs/credentials/list", json!({"acs_user_id": user}), "acs_credentials"),
        (
            "acs_entrance",
            "/acs/entrances/list",
            json!({"acs_credential_id": parent["acs_credential_id"]}),
            "acs_entrances",
        ),
        ("acs_system", "/acs/systems/list", json!({}), "acs_systems"),
        ("acs_user", "/acs/users/list", json!({"user_identity_id": person}), "acs_users"),
        ("event", "/events/list", json!({"since": began}), "events"),
        ("phone", "/phones/list", json!({"owner_user_identity_id": person}), "phones"),
        ("user_identity", "/user_identities/list", json!({}), "user_identities"),
    ] {
        let answer = house.seam(path, &body).await;
        let objects = answer[list].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(!objects.is_empty(), "{path}: {answer}");
        for object in objects {
            assert_fits("response", schema, object);
        }
        checked.insert(schema.to_owned());
        if let Some(pagination) = answer.get("pagination") {
            assert_fits("response", "pagination", pagination);
            checked.insert("pagination".to_owned());
        }
    }

    let launch = json!({
        "user_identity_id": person, "credential_manager_acs_system_id": manager["acs_system_id"],
        "create_credential_manager_user": true,
    });
    let launched = house.seam("/user_identities/enrollment_automations/launch", &launch).await;
    assert_fits("response", "enrollment_automation", &launched["enrollment_automation"]);
    let listed = house.seam("/user_identities/enrollment_automations/list", &json!({"user_identity_id": person})).await;
    assert_eq!(listed["enrollment_automations"], json!([launched["enrollment_automation"]]));
    checked.insert("enrollment_automation".to_owned());

    let nobody = json!({"acs_credential_id": "00000000-0000-4000-8000-000000000000"});
    let refusals: [(&str, Value); 2] = [("/acs/credentials/get", nobody), ("/acs/credentials/create", json!({}))];
    for (path, body) in refusals {
        let (status, refusal) = house.try_seam(path, &body).await;
        assert!(status.is_client_error(), "{path}: {status}");
        assert_fits("response", "refusal", &refusal);
    }
    checked.insert("refusal".to_owned());

    assert_eq!(checked, names_in(&schemas("response")), "no schema is left unasked");
}
