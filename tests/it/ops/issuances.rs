//! What became of plans, people and events.

use keyferry::domain::Outcome;
use serde_json::{Value, json};

use super::office::Office;

fn plan(person: u8) -> Value {
    json!({"user_identity_id": format!("u-{person}"), "acs_user_id": format!("acs-{person}")})
}

fn keys(page: &Value) -> Vec<&str> {
    let issuances = page["issuances"].as_array().expect("issuances").iter();
    issuances.map(|issuance| issuance["plan_key"].as_str().expect("a key")).collect()
}

#[tokio::test]
async fn an_issuance_is_told_with_its_phones() {
    let office = Office::open().await;
    office.put("/v1/plans/booking-1", &plan(1)).await;
    office.issue("booking-1").await;
    let expected = json!({
        "plan_key": "booking-1", "status": "created", "user_identity_id": "u-1", "acs_user_id": "acs-1",
        "acs_credential_id": "credential-booking-1", "attempts": 1, "overdue": false, "error": null,
        "phones": [
            {"device_id": "phone-1", "status": "issued", "acs_credential_id": "child-booking-1",
             "issued_at": "2026-03-01T10:00:00.000Z"},
            {"device_id": "phone-2", "status": "waiting", "acs_credential_id": null, "issued_at": null},
        ],
    });
    assert_eq!(office.get("/v1/issuances/booking-1").await.json(), expected);
    assert_eq!(office.get("/v1/issuances").await.json(), json!({"issuances": [expected], "next": null}));
    assert_eq!(office.get("/v1/issuances/nope").await.status, 404);
}

#[tokio::test]
async fn issuances_are_filtered() {
    let office = Office::open().await;
    for (key, person) in [("a", 1), ("b", 2), ("c", 1), ("d", 1)] {
        assert_eq!(office.put(&format!("/v1/plans/{key}"), &plan(person)).await.status, 201);
    }
    office.issue("c").await;
    assert_eq!(keys(&office.get("/v1/issuances?status=planned").await.json()), ["a", "b", "d"]);
    assert_eq!(keys(&office.get("/v1/issuances?user_identity_id=u-1").await.json()), ["a", "c", "d"]);
    let page = office.get("/v1/issuances?user_identity_id=u-1&status=planned&limit=1").await.json();
    assert_eq!((keys(&page), page["next"].as_str()), (vec!["a"], Some("a")));
    let wrong = office.get("/v1/issuances?status=happy").await;
    assert_eq!((wrong.status.as_u16(), wrong.fields()), (400, vec!["status".to_owned()]));
}

#[tokio::test]
async fn a_person_is_told_with_phones_and_plans() {
    let office = Office::open().await;
    for key in ["a", "b"] {
        office.put(&format!("/v1/plans/{key}"), &plan(1)).await;
    }
    office.issue("b").await;
    let person = office.get("/v1/user_identities/u-1").await.json();
    assert_eq!(person["phones"][0], json!({"device_id": "phone-1", "device_type": "ios_phone", "is_active": true}));
    assert_eq!(keys(&person), ["a", "b"]);
    assert_eq!(person["issuances"][1]["phones"].as_array().map(Vec::len), Some(2));
    assert_eq!(office.get("/v1/user_identities/u-2").await.status, 404);
}

#[tokio::test]
async fn an_event_is_told_while_it_waits_and_when_it_has_ended() {
    let office = Office::open().await;
    office.receive("e-1").await;
    let event = office.get("/v1/events/e-1").await.json()["events"][0].clone();
    assert_eq!((event["state"].as_str(), event["due_at"].as_str()), (Some("due"), Some("2026-03-01T10:00:00.000Z")));
    office.work(Outcome::Ignored { why: "no plan of this person".to_owned() }).await;
    let event = office.get("/v1/events/e-1").await.json()["events"][0].clone();
    assert_eq!((event["state"].as_str(), &event["due_at"]), (Some("ignored"), &Value::Null));
    assert_eq!(office.get("/v1/events/e-2").await.status, 404);
}
