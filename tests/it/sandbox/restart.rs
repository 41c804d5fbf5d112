//! A sandbox with a state file goes on where it was.

use http::StatusCode;
use jiff::SignedDuration;
use keyferry::sandbox::{Sandbox, Settings};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use super::house::{Ear, House};

/// Runs the sandbox to its orderly end.
async fn close(house: House) {
    let end = CancellationToken::new();
    end.cancel();
    house.sandbox.run(end).await;
}

#[tokio::test]
async fn the_world_its_agenda_and_its_deliveries_outlive_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state.json");
    let ear = Ear::new().await;

    let house = House::open_at(state.clone(), "2026-03-01T10:00:00Z").await;
    let made = house.seam("/webhooks/create", &json!({"url": ear.url})).await;
    let (jane, user) = house.person("jane_doe", "visionline_system").await;
    let parent = house.parent(&user, &json!({})).await["acs_credential_id"].clone();
    ear.always_says(StatusCode::SERVICE_UNAVAILABLE);
    let lost = house.phone(&jane).await;
    house.seam("/phones/deactivate", &json!({"device_id": lost})).await;
    house.sandbox.step().await;
    let refused = ear.heard();
    house.phone(&jane).await;
    close(house).await;

    ear.always_says(StatusCode::NO_CONTENT);
    let house = House::open_at(state, "2026-03-01T10:01:00Z").await;
    house.pass(SignedDuration::from_secs(10)).await;
    assert_eq!(house.children(&parent).await.len(), 1, "the phone that was under way has its key");
    let heard = ear.heard();
    let again = heard.iter().find(|one| one.header("svix-id") == refused[0].header("svix-id"));
    let again = again.expect("the refused delivery is tried again");
    assert_eq!(again.body, refused[0].body);
    let hooks = house.seam("/webhooks/list", &json!({})).await;
    assert_eq!(hooks["webhooks"][0], made["webhook"]);
}

#[tokio::test]
async fn a_file_that_is_no_state_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("state.json");
    std::fs::write(&path, "{}").expect("written");
    let settings = Settings { state: Some(path), ..Settings::default() };
    let refused = Sandbox::new(settings, Arc::new(keyferry::clock::SystemClock)).expect_err("refused");
    assert_eq!(refused.to_string(), "the state file is not one of this sandbox");
}
