//! `schemas/seam` is what the client and any upstream of it agree on: what the client sends fits `request/`, and what
//! Seam answers, by its own examples, fits `response/`.

use std::collections::BTreeSet;
use std::path::Path;

use keyferry::domain::Person;
use keyferry::provider::{CredentialFilter, Provider as _};
use serde_json::json;

use super::upstream::{Answer, Upstream};
use super::{bounded, client, fixture, new_credential, now, settings};
use crate::support::seam_schemas::{assert_fits, names_in, schemas, validator};

/// An answer to every call at once: each looks for its own key.
fn everything() -> Answer {
    let credential = fixture("acs_credential.multi_phone_sync.visionline.child_issued");
    let next = json!({ "has_next_page": false, "next_page_cursor": null });
    Answer::json(
        200,
        &json!({
            "acs_credential": credential,
            "acs_credentials": [credential],
            "acs_entrances": [fixture("acs_entrance.visionline")],
            "batch": { "acs_credentials": [credential] },
            "phone": fixture("phone.active_endpoint"),
            "phones": [fixture("phone.no_endpoint_yet")],
            "user_identity": fixture("user_identity"),
            "acs_user": fixture("acs_user"),
            "acs_users": [fixture("acs_user")],
            "acs_system": fixture("acs_system.visionline"),
            "events": [fixture("event.acs_credential.issued"), fixture("event.phone.deactivated")],
            "enrollment_automation": fixture("enrollment_automation"),
            "enrollment_automations": [fixture("enrollment_automation")],
            "pagination": next,
            "ok": true,
        }),
    )
}

#[tokio::test]
async fn every_call_fits_its_schema_and_understands_seams_examples() {
    let upstream = Upstream::answering(vec![everything(); 30]).await;
    let client = client(&settings(&upstream.endpoint));
    let filter = CredentialFilter {
        acs_user_id: Some("u".into()),
        user_identity_id: Some("i".into()),
        acs_system_id: Some("s".into()),
        is_multi_phone_sync_credential: Some(true),
    };
    bounded(async {
        client.create_credential(&new_credential()).await.expect("create");
        assert!(client.get_credential("c").await.expect("get").is_issued);
        assert_eq!(client.list_credentials(&filter).await.expect("list").len(), 1);
        client.update_credential("c", now()).await.expect("update");
        client.delete_credential("c").await.expect("delete");
        assert_eq!(client.entrances_of_credential("c").await.expect("entrances").len(), 1);
        assert_eq!(client.entrances_of_system("s").await.expect("entrances").len(), 1);
        assert_eq!(client.credentials_of_access_method("m").await.expect("credentials").len(), 1);
        assert_eq!(client.phones_of_person("i").await.expect("phones")[0].device_type, "android_phone");
        assert_eq!(client.phones_of_credential("c").await.expect("phones").len(), 1);
        assert_eq!(client.get_phone("p").await.expect("phone").device_type, "ios_phone");
        let jane = "55555555-0000-4000-8000-555555555555";
        assert_eq!(client.find_person(&Person::UserIdentityId(jane.into())).await.expect("jane"), jane);
        assert_eq!(client.find_person(&Person::UserIdentityKey("jane_doe".into())).await.expect("jane"), jane);
        assert_eq!(client.get_acs_user("u").await.expect("user").user_identity_id.as_deref(), Some(jane));
        assert_eq!(client.list_acs_users("i", "s").await.expect("users").len(), 1);
        assert_eq!(client.get_acs_system("s").await.expect("system").name, "Grand Hotel");
        assert_eq!(client.list_events(now(), now()).await.expect("events").len(), 2);
        let automation = client.launch_enrollment_automation("i", "s").await.expect("launch");
        assert_eq!(automation, "dddddddd-0000-4000-8000-dddddddddddd");
        let manager = "33333333-0000-4000-8000-333333333333";
        let found = client.find_enrollment_automation("i", manager).await.expect("list");
        assert_eq!(found, Some(automation));
        assert_eq!(client.find_enrollment_automation("i", "another").await.expect("list"), None);
    })
    .await;

    let mut called = BTreeSet::new();
    for request in upstream.requests() {
        let name = request.path.trim_start_matches('/').replace('/', ".");
        assert_eq!(request.method, "POST");
        assert_fits("request", &name, &request.body);
        called.insert(name);
    }
    assert_eq!(called, names_in(&schemas("request")), "a schema for each request, and no other");
}

#[test]
fn seams_examples_fit_the_schemas() {
    let fixtures = names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/seam"));
    let known = names_in(&schemas("response"));
    let mut shown = BTreeSet::from(["pagination".to_owned()]);
    for name in fixtures {
        let object = name.split('.').next().expect("a name").to_owned();
        assert_fits("response", &object, &fixture(&name));
        shown.insert(object);
    }
    assert_eq!(shown, known, "an example for each schema, and no other");
    assert_fits("response", "pagination", &json!({ "has_next_page": true, "next_page_cursor": "x" }));
    assert!(!validator("response", "pagination").is_valid(&json!({ "has_next_page": true, "next_page_cursor": null })));
}
