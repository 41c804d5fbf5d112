//! A thousand people with three phones each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use keyferry::clock::SystemClock;
use keyferry::sandbox::{Sandbox, Settings};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::house::House;
use crate::support::wait;

const PEOPLE: usize = 1_000;

#[tokio::test]
async fn a_crowd_enrols_in_seconds() {
    let settings = Settings { speed: 1_000.0, ..Settings::default() };
    let house = House::open_with(settings, "2026-03-01T10:00:00Z").await;
    let began = Instant::now();
    let hotel = house.find("acs_systems", "name", "Grand Hotel").await["acs_system_id"].clone();
    for number in 0..PEOPLE {
        let body = json!({"user_identity_key": format!("guest-{number}")});
        let person = house.seam("/user_identities/create", &body).await["user_identity"]["user_identity_id"].clone();
        let body = json!({"user_identity_id": person, "acs_system_id": hotel, "access_method": "mobile_key",
                          "is_multi_phone_sync_credential": true});
        house.seam("/acs/credentials/create", &body).await;
        for _ in 0..3 {
            house.phone(&person).await;
        }
        house.pass(SignedDuration::from_millis(1)).await;
    }
    house.pass(SignedDuration::from_secs(1)).await;
    let world = house.world().await;
    let credentials = world["acs_credentials"].as_array().expect("credentials");
    assert_eq!(credentials.iter().filter(|row| row["is_issued"] == true).count(), PEOPLE * 4);
    assert!(began.elapsed() < Duration::from_mins(1), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn time_passes_by_itself_when_the_sandbox_runs() {
    let settings = Settings { speed: 1_000.0, ..Settings::default() };
    let sandbox = Sandbox::new(settings.clone(), Arc::new(SystemClock)).expect("a sandbox");
    let house = House::around(sandbox, settings.api_key).await;
    let end = CancellationToken::new();
    let running = tokio::spawn({
        let (sandbox, end) = (house.sandbox.clone(), end.clone());
        async move { sandbox.run(end).await }
    });
    let (jane, user) = house.person("jane_doe", "visionline_system").await;
    let parent = house.parent(&user, &json!({})).await["acs_credential_id"].clone();
    house.phone(&jane).await;
    wait::until("a key", async || (house.credential(&parent).await["is_issued"] == true).then_some(())).await;
    end.cancel();
    running.await.expect("an orderly end");
}
