//! Nothing leaks: at the most verbose level, nothing secret or personal that went in comes out where it can be read.

use serde_json::json;

use super::{APP_KEY, Fort, Letter, SEAM_KEY, json as bodies, signature};
use crate::support::ground::Shape;

#[tokio::test]
async fn no_secret_and_no_person_is_in_a_log_a_metric_or_an_answer() {
    let mut fort = Fort::with(Shape::Embedded, &[("KEYFERRY_LOG", "trace")]).await;
    // Refusals of every kind, and what is put aside.
    fort.face(signature::ROWS).await;
    fort.face(&bodies::ROWS[..6]).await;
    let refused = Letter::new().with("app.opened", "app.closed");
    assert_eq!(fort.status(&refused.signed_as(format!("v1,hunter2{}", "A".repeat(36)))).await, 401);

    // The story, with a provider that fails on the way; and a plan that is wrong.
    let town = &fort.town;
    town.seam("/_sandbox/faults", &json!({"path": "/acs/credentials/create", "fault": "status:503", "times": 1})).await;
    town.seam("/_sandbox/faults", &json!({"path": "/acs/credentials/get", "fault": "garbage", "times": 1})).await;
    let plan = town.stay(0).await;
    town.put_plan("booking-1", &plan).await;
    let phone = town.sign_in(&plan).await;
    town.send_registered("registered-1", &plan, Some(&phone)).await;
    town.issuance("booking-1", "issued", |issuance| issuance["status"] == "issued").await;
    let mut wrong = plan.clone();
    (wrong["access_method"], wrong["code"]) = ("code".into(), "8642753190".into());
    let (_, answer) = town.put_plan("booking-2", &wrong).await;

    let mut said = vec![("an answer", answer.to_string())];
    for path in ["/metrics", "/v1/status", "/v1/ledger?limit=1000", "/v1/issuances/booking-1", "/v1/nothing", "/"] {
        said.push((path, fort.page(path).await));
    }
    said.extend(fort.town.processes.iter().map(|process| ("the log", process.everything())));
    assert!(said.iter().any(|(place, text)| *place == "the log" && text.contains("DEBUG")), "the log is verbose");
    assert!(said.iter().any(|(place, text)| *place == "/metrics" && text.contains("keyferry_webhooks_total")));

    let mut secrets = vec![APP_KEY.to_owned(), SEAM_KEY.to_owned(), "hunter2".to_owned(), "8642753190".to_owned()];
    secrets.push(fort.town.api_key.clone());
    secrets.push(refused.signature()["v1,".len()..].to_owned());
    let world = fort.town.world().await;
    for person in ["user_identities", "acs_users"].iter().flat_map(|name| world[*name].as_array().expect("people")) {
        let fields = ["email_address", "email", "full_name", "phone_number"];
        secrets.extend(fields.iter().filter_map(|field| person[*field].as_str()).map(str::to_owned));
    }
    assert!(secrets.len() > 10, "there are people in the world");
    for (place, text) in &said {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret:?} is in {place}");
        }
    }
    assert!(!said.iter().any(|(_, text)| text.contains("v1,")), "no signature is anywhere");
}
