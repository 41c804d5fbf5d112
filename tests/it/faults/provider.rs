//! A provider that refuses, fails, answers late, nonsense, half or nothing: one credential, and a key on the phone.

use serde_json::{Value, json};

use super::embedded;
use crate::support::ground::Ground;
use crate::support::proxy::{Mode, Proxy, Way};
use crate::support::town::{Town, issued_keys};
use crate::support::wait;

/// A guest whose credential is created while `fault` is on order.
async fn a_key_in_spite_of(fault: &str, times: u32) {
    a_key_on(embedded(), fault, times).await;
}

async fn a_key_on(ground: Ground, fault: &str, times: u32) {
    let town = Town::on(ground).await;
    let stay = town.stay(0).await;
    town.seam("/_sandbox/faults", &json!({"path": "/acs/credentials/create", "fault": fault, "times": times})).await;
    let (status, answer) = town.put_plan("booking-1", &stay).await;
    assert!(status.is_success(), "{answer}");
    town.sign_in(&stay).await;
    one_key(town).await;
}

async fn one_key(town: Town) {
    town.issuance("booking-1", "a key on the phone", |it| issued_keys(it) == 1).await;
    let world = town.world().await;
    let rows = world["acs_credentials"].as_array().expect("credentials");
    let parents = rows.iter().filter(|it: &&Value| it["parent_acs_credential_id"].is_null());
    assert_eq!(parents.count(), 1, "one credential was ever made");
    town.close().await;
}

#[tokio::test]
async fn it_asks_for_patience() {
    a_key_in_spite_of("rate_limit:1s", 2).await;
}

#[tokio::test]
async fn it_is_overloaded() {
    a_key_in_spite_of("status:503", 3).await;
}

#[tokio::test]
async fn it_fails() {
    a_key_in_spite_of("status:500", 1).await;
}

#[tokio::test]
async fn its_gateway_fails() {
    a_key_in_spite_of("status:502", 1).await;
}

#[tokio::test]
async fn it_does_not_answer() {
    a_key_in_spite_of("timeout", 1).await;
}

#[tokio::test]
async fn it_creates_and_answers_too_late() {
    a_key_in_spite_of("slow:60s", 1).await;
}

#[tokio::test]
async fn it_creates_and_hangs_up() {
    a_key_in_spite_of("cut_after_commit", 1).await;
}

#[tokio::test]
async fn it_creates_and_answers_nonsense() {
    a_key_in_spite_of("garbage", 1).await;
}

async fn with_a_proxy_before_the_provider() -> (Town, Proxy) {
    let mut town = Town::founded(embedded()).await;
    let proxy = Proxy::before(&town.sandbox_url).await;
    town.environment.insert("SEAM_ENDPOINT".to_owned(), proxy.on_the_way_to(&town.sandbox_url));
    town.start("run").await;
    (town, proxy)
}

#[tokio::test]
async fn its_answers_break_off_half_way() {
    let (town, proxy) = with_a_proxy_before_the_provider().await;
    let stay = town.stay(0).await;
    town.put_plan("booking-1", &stay).await;
    // More than the head of an answer, less than the whole.
    proxy.set(Mode::ResetAfter(Way::Back, 300));
    proxy.cut();
    town.sign_in(&stay).await;
    wait::until("a few broken answers", async || (proxy.resets() >= 3).then_some(())).await;
    proxy.set(Mode::Pass);
    one_key(town).await;
}

#[tokio::test]
async fn it_is_down_for_a_while() {
    let (town, proxy) = with_a_proxy_before_the_provider().await;
    let stay = town.stay(0).await;
    town.put_plan("booking-1", &stay).await;
    proxy.set(Mode::Refuse);
    town.sign_in(&stay).await;
    wait::until("a reason that status tells", async || {
        let inbox = town.ops("/v1/status").await["inbox"].clone();
        (inbox["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty())).then_some(())
    })
    .await;
    proxy.set(Mode::Pass);
    one_key(town).await;
}

/// How many calls in a row `status` says have failed.
async fn failures_told(town: &Town) -> Option<u32> {
    let checks = town.try_ops("/v1/status").await?["checks"].clone();
    let provider = checks.as_array()?.iter().find(|check| check["name"] == "provider")?;
    provider["why"].as_str()?.split(' ').next()?.parse().ok()
}

/// The provider turns everybody away until more calls have failed than two events may have attempts.
async fn nobody_loses_an_attempt_while_it_answers(fault: &str) {
    const ATTEMPTS_MAX: u32 = 5;
    let ground = embedded()
        .with("worker.attempts_max", &ATTEMPTS_MAX)
        .with("provider.failures_max", &3)
        .with("provider.probe_after_ms", &50)
        .with("provider.probe_after_seconds_max", &1);
    let town = Town::on(ground).await;
    let guests = town.guests().await;
    town.comes_to_rest().await;
    town.provider_does(Some(fault)).await;
    for (number, guest) in guests.iter().take(2).enumerate() {
        assert!(town.send_registered(&format!("meanwhile-{number}"), guest, None).await.is_success());
    }
    wait::until("many failed calls", async || (failures_told(&town).await? > 2 * ATTEMPTS_MAX).then_some(())).await;
    assert_eq!(town.told(["event.parked", "issuance.failed"]).await, [0, 0]);
    town.provider_does(None).await;
    town.close().await;
}

#[tokio::test]
async fn it_is_away_for_longer_than_anybody_would_try() {
    nobody_loses_an_attempt_while_it_answers("status:503").await;
}

#[tokio::test]
async fn it_refuses_our_key_until_that_is_right() {
    nobody_loses_an_attempt_while_it_answers("status:401").await;
}

#[tokio::test]
async fn it_asks_for_a_patience_that_nobody_has() {
    let ground = embedded().with("provider.retry_after_seconds_max", &1);
    a_key_on(ground, "rate_limit:1440m", 2).await;
}
