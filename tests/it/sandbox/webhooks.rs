//! Deliveries: signed, retried, rotated, given up, and mistreated on order.

use bytes::Bytes;
use http::StatusCode;
use jiff::SignedDuration;
use keyferry::receiver::verify::Secret;
use keyferry::receiver::{Kind, Source};
use serde_json::{Value, json};

use super::house::{A_WHILE, Ear, Heard, House};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const APP_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn webhook(house: &House, ear: &Ear, event_types: Value) -> (Value, String) {
    let made = house.seam("/webhooks/create", &json!({"url": ear.url, "event_types": event_types})).await;
    let secret = made["webhook"]["secret"].as_str().expect("a secret").to_owned();
    (made["webhook"]["webhook_id"].clone(), secret)
}

/// Whether the receiver's own verifier takes it: two implementations that share no line.
fn is_genuine(house: &House, heard: &Heard, secret: &str) -> bool {
    let secrets = vec![Secret::parse(secret).expect("a secret")];
    let source = Source::new("seam", Kind::Seam, secrets, SignedDuration::from_mins(5)).expect("a source");
    source.verify(&heard.headers, Bytes::from(heard.body.clone()), house.now()).is_ok()
}

/// Causes one `phone.deactivated`.
async fn deactivate_a_phone(house: &House) {
    let (jane, _) = house.person("jane_doe", "visionline_system").await;
    let phone = house.phone(&jane).await;
    house.seam("/phones/deactivate", &json!({"device_id": phone})).await;
}

#[tokio::test]
async fn an_event_is_delivered_signed_and_is_the_one_that_the_list_tells_of() {
    let (house, ear) = (House::open().await, Ear::new().await);
    let (_, secret) = webhook(&house, &ear, json!(["acs_credential.issued"])).await;
    let (jane, user) = house.person("jane_doe", "visionline_system").await;
    house.parent(&user, &json!({})).await;
    house.active_phone(&jane).await;
    let heard = ear.heard();
    assert_eq!(heard.len(), 2);
    let listed = house.seam("/events/list", &json!({"since": "2026-01-01T00:00:00Z"})).await;
    for (delivery, event) in heard.iter().zip(listed["events"].as_array().expect("events")) {
        assert!(is_genuine(&house, delivery, &secret));
        assert_eq!(&delivery.json(), event);
        assert!(delivery.header("svix-id").starts_with("msg_"));
    }
}

#[tokio::test]
async fn a_failing_delivery_is_tried_eight_times_under_one_id() {
    let (house, ear) = (House::open().await, Ear::new().await);
    webhook(&house, &ear, json!(["phone.deactivated"])).await;
    ear.always_says(StatusCode::INTERNAL_SERVER_ERROR);
    deactivate_a_phone(&house).await;
    house.sandbox.step().await;
    let mut ids = Vec::new();
    let pauses = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 72_000];
    for (attempt, pause) in pauses.into_iter().enumerate() {
        // Jitter moves a pause by up to a fifth.
        house.pass(SignedDuration::from_millis(pause * 1_200)).await;
        let heard = ear.heard();
        assert_eq!(heard.len(), usize::from(attempt < 8), "attempt {}", attempt + 1);
        ids.extend(heard.iter().map(|delivery| delivery.header("svix-id").to_owned()));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_recipient_can_ask_for_patience_or_for_an_end() {
    let (house, ear) = (House::open().await, Ear::new().await);
    webhook(&house, &ear, json!(["phone.deactivated"])).await;
    ear.will_say([(StatusCode::TOO_MANY_REQUESTS, vec![("retry-after", "90")])]);
    deactivate_a_phone(&house).await;
    house.sandbox.step().await;
    assert_eq!(ear.heard().len(), 1);
    // The asked 90 s, give or take a fifth.
    house.pass(SECOND * 70).await;
    assert!(ear.heard().is_empty());
    house.pass(SECOND * 40).await;
    assert_eq!(ear.heard().len(), 1);

    ear.will_say([(StatusCode::INTERNAL_SERVER_ERROR, vec![("webhook-delivery", "abort-message")])]);
    deactivate_a_phone(&house).await;
    house.pass(DAY * 2).await;
    assert_eq!(ear.heard().len(), 1, "no further attempt at this message");

    ear.will_say([(StatusCode::OK, vec![("webhook-delivery", "disable")])]);
    deactivate_a_phone(&house).await;
    house.sandbox.step().await;
    deactivate_a_phone(&house).await;
    house.pass(DAY).await;
    assert_eq!(ear.heard().len(), 1, "no further message");
}

#[tokio::test]
async fn five_days_of_failure_disable_a_webhook() {
    let (house, ear) = (House::open().await, Ear::new().await);
    let (id, _) = webhook(&house, &ear, json!(["phone.deactivated"])).await;
    ear.always_says(StatusCode::BAD_GATEWAY);
    for _ in 0..6 {
        deactivate_a_phone(&house).await;
        house.pass(DAY).await;
    }
    assert!(house.find("webhooks", "webhook_id", id).await["disabled_at"].is_string());
    ear.heard();
    deactivate_a_phone(&house).await;
    house.pass(DAY).await;
    assert!(ear.heard().is_empty());
}

#[tokio::test]
async fn a_replaced_secret_signs_along_for_a_day() {
    let (house, ear) = (House::open().await, Ear::new().await);
    let (id, old) = webhook(&house, &ear, json!(["phone.deactivated"])).await;
    let rotated = house.order("webhooks/rotate_secret", &json!({"webhook_id": id})).await;
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    for (old_is_good, pause) in [(true, SECOND), (false, DAY)] {
        house.pass(pause).await;
        deactivate_a_phone(&house).await;
        house.sandbox.step().await;
        let heard = ear.heard();
        assert!(is_genuine(&house, &heard[0], &new));
        assert_eq!(is_genuine(&house, &heard[0], &old), old_is_good);
    }
}

#[tokio::test]
async fn deliveries_are_mistreated_on_order() {
    let (house, ear) = (House::open().await, Ear::new().await);
    webhook(&house, &ear, json!(["phone.deactivated"])).await;
    house.order("delivery", &json!({"duplicate": 1.0, "delay": "400ms"})).await;
    deactivate_a_phone(&house).await;
    house.sandbox.step().await;
    assert!(ear.heard().is_empty(), "late");
    house.pass(SECOND).await;
    let twice = ear.heard();
    assert_eq!((twice.len(), twice[0].header("svix-id")), (2, twice[1].header("svix-id")));

    house.order("delivery", &json!({"drop": 1.0})).await;
    deactivate_a_phone(&house).await;
    house.pass(DAY).await;
    assert!(ear.heard().is_empty(), "dropped for good");
    assert_eq!(house.count("phone.deactivated").await, 2, "the list still tells of it");

    house.order("delivery", &json!({"reorder": 0.5})).await;
    for _ in 0..20 {
        deactivate_a_phone(&house).await;
    }
    house.pass(SECOND * 60).await;
    let arrived: Vec<Value> = ear.heard().iter().map(|heard| heard.json()["device_id"].clone()).collect();
    let told = house.events().await.into_iter().filter(|(name, _)| name == "phone.deactivated");
    let told: Vec<Value> = told.skip(2).map(|(_, device)| device).collect();
    assert_eq!(arrived.len(), told.len());
    assert_ne!(arrived, told, "out of order");
}

#[tokio::test]
async fn the_customers_backend_tells_of_each_phone_once_it_is_active() {
    let (house, ear) = (House::open().await, Ear::new().await);
    house.order("senders", &json!({"kind": "standard", "url": ear.url, "secret": APP_SECRET})).await;
    let (jane, _) = house.person("jane_doe", "visionline_system").await;
    let phone = house.phone(&jane).await;
    house.pass(SECOND).await;
    assert!(ear.heard().is_empty(), "not active yet");
    ear.will_say([(StatusCode::SERVICE_UNAVAILABLE, Vec::new())]);
    house.pass(A_WHILE).await;
    house.pass(A_WHILE).await;
    let heard = ear.heard();
    assert_eq!(heard.len(), 2, "refused once, tried again");
    assert!(is_genuine(&house, &heard[1], APP_SECRET));
    assert_eq!(heard[0].header("webhook-id"), heard[1].header("webhook-id"));
    let told = heard[1].json();
    assert_eq!(told["event_type"], "phone.registered");
    assert_eq!((&told["user_identity_id"], &told["device_id"]), (&jane, &phone));
    assert_eq!(
        (&told["device_type"], &told["occurred_at"]),
        (&json!("android_phone"), &json!("2026-03-01T10:00:04.000Z"))
    );
}

#[tokio::test]
async fn hid_origo_tells_in_batches_with_its_header() {
    let (house, ear) = (House::open().await, Ear::new().await);
    let order = json!({"kind": "hid-origo", "url": ear.url, "header": "x-origo-secret", "secret": "s3cret"});
    house.order("senders", &order).await;
    let (mei, user) = house.person("mei_tanaka", "brivo_account").await;
    house.parent(&user, &json!({})).await;
    house.active_phone(&mei).await;
    let heard = ear.heard();
    let kinds: Vec<Value> = heard.iter().map(|batch| batch.json()[0]["data"]["status"].clone()).collect();
    assert_eq!(kinds, ["INVITATION_ACKNOWLEDGED", "ENDPOINT_ACTIVE", "CREDENTIAL_ISSUED"]);
    for batch in &heard {
        assert_eq!(batch.header("content-type"), "application/cloudevents-batch+json");
        assert_eq!(batch.header("x-origo-secret"), "s3cret");
        assert_eq!(batch.json()[0]["data"]["userId"], mei);
    }
}
