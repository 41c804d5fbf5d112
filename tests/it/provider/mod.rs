//! The Seam client against a scripted upstream on a real socket.

#![expect(clippy::expect_used, reason = "a helper of a test may fail like the test itself")]

mod calls;
mod faults;
mod schemas;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyferry::clock::ManualClock;
use keyferry::provider::{ApiKey, Endpoint, NewCredential, SeamClient, Settings};
use serde_json::Value;

const API_KEY: &str = "seam_test1_verysecretkey";

fn now() -> Timestamp {
    "2026-03-01T10:00:00Z".parse().expect("a timestamp")
}

fn settings(endpoint: &str) -> Settings {
    let endpoint = Endpoint::parse(endpoint).expect("an endpoint");
    Settings::new(endpoint, ApiKey::new(API_KEY.into()).expect("a key"))
}

fn client(settings: &Settings) -> SeamClient {
    SeamClient::new(settings, Arc::new(ManualClock::starting_at(now()))).expect("a client")
}

/// Fails a test that hangs, however the upstream behaves.
async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test ends in time")
}

/// One of Seam's objects, as its documentation has them.
fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/seam/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect(&path)
}

fn new_credential() -> NewCredential {
    NewCredential {
        access_method: "mobile_key".into(),
        acs_user_id: Some("44444444-0000-4000-8000-444444444444".into()),
        user_identity_id: None,
        acs_system_id: None,
        credential_manager_acs_system_id: Some("33333333-0000-4000-8000-333333333333".into()),
        allowed_acs_entrance_ids: vec!["eeeeeeee-0000-4000-8000-eeeeeeeeeee1".into()],
        is_multi_phone_sync_credential: true,
        starts_at: Some(now()),
        ends_at: Some("2026-03-04T10:00:00Z".parse().expect("a timestamp")),
        code: None,
        visionline_metadata: Some(serde_json::json!({ "card_format": "rfid48", "override": true })),
        assa_abloy_vostio_metadata: None,
        salto_space_metadata: None,
    }
}
