//! The provider, its webhooks, and the clocks.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::{Clock, SystemClock, SystemEntropy, add};
use keyferry::config::{self, Flags, Role};
use keyferry::doctor::{self, Finding, Patient, Verdict};
use serde_json::json;

use super::free_address;
use crate::support::ground::Shape;
use crate::support::town::{Town, issued_keys};

/// The machine's clock, set wrong.
struct Off(SignedDuration);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        add(SystemClock.now(), self.0)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(add(at, -self.0))
    }
}

/// What a machine finds whose clock is off.
async fn with_clock_off(town: &Town, seconds: i64) -> Vec<Finding> {
    let (config, mistakes) = config::examine(Role::Run, &Flags::default(), &town.environment, None);
    let patient = Patient { role: Role::Run, config: &config, mistakes: &mistakes, file: None };
    doctor::examine(&patient, Arc::new(Off(SignedDuration::from_secs(seconds))), Arc::new(SystemEntropy)).await
}

fn has(findings: &[Finding], verdict: Verdict, what: &str) -> bool {
    findings.iter().any(|it| it.verdict == verdict && it.what.contains(what))
}

#[tokio::test]
async fn a_refused_key_and_an_absent_provider_are_found() {
    let mut town = Town::with_sandbox(Shape::Embedded).await;
    town.environment.insert("SEAM_API_KEY".to_owned(), "seam_of_somebody_else".to_owned());
    town.diagnosis("run").await.finds("problem", "provider", "refuses the API key", "SEAM_API_KEY");
    town.environment.insert("SEAM_ENDPOINT".to_owned(), format!("http://{}", free_address()));
    town.diagnosis("run").await.finds("problem", "provider", "cannot be used", "SEAM_ENDPOINT");
}

#[tokio::test]
async fn a_webhook_that_is_missing_tells_too_little_or_signs_with_another_secret_is_found() {
    let mut town = Town::with_sandbox(Shape::Embedded).await;
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    town.environment.insert("SEAM_WEBHOOK_SECRET".to_owned(), secret.to_owned());
    let none = town.diagnosis("run").await;
    none.finds("problem", "provider", "none points at a path /webhooks/seam", "https://your.host");

    let body = json!({"url": "https://doors.example/webhooks/seam", "event_types": ["acs_credential.issued"]});
    let webhook = town.seam("/webhooks/create", &body).await["webhook"].clone();
    let poor = town.diagnosis("run").await;
    poor.finds(
        "problem",
        "provider",
        "not subscribed to access_method.issued, acs_credential.deleted",
        "subscribe it to all",
    );
    poor.finds("problem", "provider", "a secret that the source `seam` does not have", "SEAM_WEBHOOK_SECRET");

    let all = json!({"webhook_id": webhook["webhook_id"], "event_types": ["*"]});
    town.seam("/webhooks/update", &all).await;
    let theirs = webhook["secret"].as_str().expect("a secret");
    town.environment.insert("SEAM_WEBHOOK_SECRET".to_owned(), format!("{secret},{theirs}"));
    town.diagnosis("run").await.finds("ok", "provider", "signs with a known secret", "");
}

/// Nobody can see at Seam that a webhook is disabled; but what it should have brought is missing.
#[tokio::test]
async fn events_that_never_came_in_are_found_and_so_is_a_clock_that_is_off() {
    let town = Town::new(Shape::Embedded).await;
    let stay = town.stay(0).await;
    town.put_plan("booking-1", &stay).await;
    town.sign_in(&stay).await;
    town.issuance("booking-1", "a key", |it| issued_keys(it) == 1).await;
    let ahead = with_clock_off(&town, 120).await;
    assert!(has(&ahead, Verdict::Ok, "events that it lists came in"), "{ahead:#?}");
    assert!(has(&ahead, Verdict::Problem, "ahead of the provider's"), "{ahead:#?}");
    let behind = with_clock_off(&town, -20).await;
    assert!(has(&behind, Verdict::Warning, "behind the provider's"), "{behind:#?}");

    // A store that has seen none of it, as after days of a disabled webhook.
    let mut deaf = Town::with_sandbox(Shape::Embedded).await;
    keyferry::store::migrate(&deaf.environment["KEYFERRY_STORE_URL"]).await.expect("migrated");
    for name in ["SEAM_ENDPOINT", "SEAM_API_KEY", "SEAM_WEBHOOK_SECRET"] {
        deaf.environment.insert(name.to_owned(), town.environment[name].clone());
    }
    let findings = with_clock_off(&deaf, 120).await;
    assert!(has(&findings, Verdict::Problem, "never came in"), "{findings:#?}");
    town.close().await;
}
