//! Killed between the call to create and its record: one credential, adopted.

use serde_json::json;

use crate::support::ground::Shape;
use crate::support::town::{Town, issued_keys};
use crate::support::wait;

#[tokio::test]
async fn embedded() {
    let mut town = Town::new(Shape::Embedded).await;
    let stay = call_to_create_under_way(&town).await;
    town.processes.pop().expect("the one process").kill();
    town.start("run").await;
    adopted(town, &stay).await;
}

#[tokio::test]
async fn brokered() {
    let mut town = Town::new(Shape::Brokered).await;
    let stay = call_to_create_under_way(&town).await;
    // Whichever of the two is at it: both are killed, and the receiver goes on without them.
    for _ in 0..2 {
        town.processes.pop().expect("a worker").kill();
    }
    town.start("work").await;
    adopted(town, &stay).await;
}

/// A registration whose credential exists at the provider, and whose worker still waits for the answer.
async fn call_to_create_under_way(town: &Town) -> serde_json::Value {
    let stay = town.stay(0).await;
    town.put_plan("booking-1", &stay).await;
    let slow = json!({"path": "/acs/credentials/create", "fault": "slow:60s", "times": 1});
    town.seam("/_sandbox/faults", &slow).await;
    town.sign_in(&stay).await;
    wait::until("the credential at the provider", async || (town.live_parents().await.len() == 1).then_some(())).await;
    assert_eq!(town.ops("/v1/issuances/booking-1").await["status"], "creating");
    stay
}

async fn adopted(town: Town, stay: &serde_json::Value) {
    let issuance = town.issuance("booking-1", "a key after all", |it| issued_keys(it) == 1).await;
    let parents = town.live_parents().await;
    assert_eq!((parents.len(), &parents[0]["acs_credential_id"]), (1, &issuance["acs_credential_id"]));
    let ledger = town.ledger().await;
    let created: Vec<_> = ledger.iter().filter(|line| line["kind"] == "issuance.created").collect();
    assert_eq!(created.len(), 1);
    assert!(created[0]["why"].as_str().is_some_and(|why| why.contains("adopted")), "{}", created[0]);
    assert_eq!(issuance["user_identity_id"], stay["user_identity_id"]);
    town.close().await;
}
