//! HID Origo tells of the phone and of the key, and nobody else does: an office whose people Origo knows by ids of its own.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::ground::Shape;
use crate::support::town::{Town, issued_keys};
use crate::support::wait;

const HEADER: &str = "x-origo-secret";
const SECRET: &str = "the secret that is registered with the callback";

#[tokio::test]
async fn embedded() {
    an_office_gets_its_key(Shape::Embedded, &["run"]).await;
}

#[tokio::test]
async fn brokered() {
    an_office_gets_its_key(Shape::Brokered, &["serve", "work"]).await;
}

async fn an_office_gets_its_key(shape: Shape, roles: &[&str]) {
    let mut town = Town::with_sandbox(shape).await;
    let file = std::fs::read_to_string(&town.config).expect("a configuration");
    let source = format!(
        "[[sources]]\nname = \"origo\"\nkind = \"hid-origo\"\nheader = \"{HEADER}\"\nsecrets = [\"{SECRET}\"]\n"
    );
    std::fs::write(&town.config, format!("{file}\n{source}")).expect("written");
    for role in roles {
        town.start(role).await;
    }
    let url = format!("{}/webhooks/origo", town.receiver_url);
    town.seam("/_sandbox/senders", &json!({"kind": "hid-origo", "url": url, "header": HEADER, "secret": SECRET})).await;

    let plan = plan(&town.world().await);
    assert_eq!(town.put_plan("desk-1", &plan).await.0, StatusCode::CREATED);
    // The plan's own handling is over, and has found nobody's phone.
    wait::until("the plan's event", async || (town.told(["event.done"]).await[0] == 1).then_some(())).await;
    town.sign_in(&plan).await;
    town.issuance("desk-1", "a key", |it| issued_keys(it) == 1).await;

    let ends = async |kind: &str| {
        let ledger = town.ledger().await;
        let of = |it: &&Value| it["source"] == "origo" && it["kind"] == kind;
        ledger.iter().filter(of).map(|it| it["event_type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let told = ["com.origo.mi.credential", "com.origo.mi.endpoint"];
    wait::until("the ends of what Origo told", async || {
        let mut done = ends("event.done").await;
        done.sort();
        (done == told).then_some(())
    })
    .await;
    assert_eq!(ends("event.ignored").await, ["com.origo.mi.invitation"]);
    let sources = town.ops("/v1/status").await["sources"].clone();
    let origo = sources.as_array().expect("sources").iter().find(|it| it["name"] == "origo").expect("origo");
    assert_eq!((&origo["secrets"][0]["name"], &origo["secrets"][0]["events"]), (&json!("1"), &json!(3)));
    town.close().await;
}

/// A key to the office for the first of its people; Seam gave Origo the person's id of its own.
fn plan(world: &Value) -> Value {
    let all = |name: &str| world[name].as_array().expect("a list").clone();
    let system = |name: &str| {
        let found = all("acs_systems").into_iter().find(|it| it["name"] == name).expect("a system");
        found["acs_system_id"].clone()
    };
    let (office, origo) = (system("Northwind Office"), system("Northwind HID Origo"));
    let is_colleague = |it: &Value| it["acs_system_id"] == office && it["user_identity_id"].is_string();
    let user = all("acs_users").into_iter().find(is_colleague).expect("somebody at the office");
    json!({
        "user_identity_id": user["user_identity_id"],
        "acs_user_id": user["acs_user_id"],
        "credential_manager_acs_system_id": origo,
        "aliases": {"origo": user["user_identity_id"]},
    })
}
