//! What was put aside: shown, released, discarded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use keyferry::domain::{Event, Fact, Outcome, Person};
use keyferry::queue::{Content, Envelope};
use serde_json::{Value, json};

use super::office::Office;
use crate::support::db::start;

async fn state_of(office: &Office, event_id: &str) -> Value {
    office.get(&format!("/v1/events/{event_id}")).await.json()["events"][0]["state"].clone()
}

#[tokio::test]
async fn an_event_that_failed_for_good_is_released() {
    let office = Office::open().await;
    office.receive("e-1").await;
    office.work(Outcome::Park { why: "the key was refused".to_owned() }).await;
    let page = office.get("/v1/parked").await.json();
    let item = &page["parked"][0];
    assert_eq!((item["event_id"].as_str(), item["why"].as_str()), (Some("e-1"), Some("the key was refused")));
    let id = item["id"].to_string();
    let body = STANDARD.decode(item["body_base64"].as_str().expect("text")).expect("base64");
    assert_eq!(body, b"{\"a\": \xff}");

    let released = office.post(&format!("/v1/parked/{id}/release")).await;
    assert_eq!(released.json(), json!({"id": id.parse::<i64>().expect("a number"), "state": "released"}));
    assert_eq!(state_of(&office, "e-1").await, "due");
    assert_eq!(office.post(&format!("/v1/parked/{id}/release")).await.status, 404, "it is parked no more");
    assert_eq!(office.get("/v1/parked").await.json(), json!({"parked": [], "next": null}));
}

#[tokio::test]
async fn a_delivery_is_released_once_it_can_be_read() {
    let office = Office::open().await;
    office.receive_unreadable().await;
    let item = office.get("/v1/parked/1").await.json();
    assert_eq!((&item["event_id"], &item["headers"]), (&Value::Null, &json!({"content-type": "application/json"})));
    let raw = office.get("/v1/parked/1/raw").await;
    assert_eq!(raw.headers["content-type"], "application/octet-stream");
    assert_eq!(raw.headers["content-disposition"], "attachment; filename=\"parked-1\"");
    assert_eq!(raw.body.as_ref(), b"{\"a\": \xff}");

    let refused = office.post("/v1/parked/1/release").await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["type"].as_str()), (422, Some("still_unreadable")));
    assert!(refused.json()["error"]["message"].as_str().expect("text").contains("still not JSON"));
    assert_eq!(office.get("/v1/parked/1").await.status, 200, "it stays");

    *office.reread.lock().expect("no panic") = Ok(vec![readable()]);
    assert_eq!(office.post("/v1/parked/1/release").await.status, 200);
    assert_eq!(state_of(&office, "e-9").await, "due");
}

fn readable() -> Envelope {
    let person = Person::UserIdentityId("u-1".to_owned());
    let content = Content::Event(Event {
        source: "app".to_owned(),
        event_id: "e-9".to_owned(),
        event_type: "phone.registered".to_owned(),
        occurred_at: start(),
        fact: Fact::PhoneRegistered { person, device_id: None, device_type: None },
    });
    let body = Bytes::from_static(b"{}");
    Envelope { delivery_id: "msg_9".to_owned(), received_at: start(), traceparent: None, proof: None, body, content }
}

#[tokio::test]
async fn what_is_discarded_is_gone_for_good() {
    let office = Office::open().await;
    office.receive("e-1").await;
    office.work(Outcome::Park { why: "nonsense".to_owned() }).await;
    assert_eq!(office.post("/v1/parked/1/discard").await.json(), json!({"id": 1, "state": "discarded"}));
    assert_eq!(state_of(&office, "e-1").await, "discarded");
    for path in ["/v1/parked/1/discard", "/v1/parked/1/release", "/v1/parked/2/discard", "/v1/parked/one/discard"] {
        assert_eq!(office.post(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let office = Office::open().await;
    for number in 1..=40 {
        office.receive(&format!("e-{number}")).await;
    }
    office.work(Outcome::Park { why: "nonsense".to_owned() }).await;
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = office.get(&format!("/v1/parked?limit=17{cursor}")).await.json();
        ids.extend(page["parked"].as_array().expect("items").iter().filter_map(|item| item["id"].as_i64()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    assert_eq!(office.get("/v1/parked?cursor=x").await.fields(), ["cursor"]);
}
