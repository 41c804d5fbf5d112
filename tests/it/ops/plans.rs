//! Plans are put, changed as far as Seam allows, refused with field and reason, and cancelled.

use std::sync::atomic::Ordering;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::office::Office;

fn plan() -> Value {
    json!({
        "user_identity_id": "u-1", "acs_user_id": "acs-1", "allowed_acs_entrance_ids": ["door-1"],
        "starts_at": "2026-03-01T14:00:00Z", "ends_at": "2026-03-04T10:00:00Z"
    })
}

fn with(changes: Value) -> Value {
    let mut plan = plan();
    let (fields, Value::Object(changes)) = (plan.as_object_mut().expect("an object"), changes) else {
        panic!("changes are an object")
    };
    for (field, value) in changes {
        if value.is_null() {
            fields.remove(&field)
        } else {
            fields.insert(field, value)
        };
    }
    plan
}

#[tokio::test]
async fn a_plan_lives() {
    let office = Office::open().await;
    let put = office.put("/v1/plans/booking-1", &plan()).await;
    assert_eq!(put.status, 201);
    assert_eq!(put.json()["status"], "planned");
    assert_eq!(put.json()["put_at"], "2026-03-01T10:00:00.000Z");
    let spec = &put.json()["spec"];
    assert_eq!(*spec, with(json!({"access_method": "mobile_key"})), "as it was put, with what was left to us");

    assert_eq!(office.put("/v1/plans/booking-1", &plan()).await.status, 200, "the same again");
    let changed = with(json!({"allowed_acs_entrance_ids": ["door-2"]}));
    assert_eq!(office.put("/v1/plans/booking-1", &changed).await.status, 200, "nothing of it exists yet");

    office.issue("booking-1").await;
    let refused = office.put("/v1/plans/booking-1", &plan()).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["error"]["type"], "plan_conflict");
    assert!(refused.json()["error"]["message"].as_str().expect("text").contains("only ends_at"), "it says why");
    let longer = with(json!({"allowed_acs_entrance_ids": ["door-2"], "ends_at": "2026-03-05T10:00:00Z"}));
    let moved = office.put("/v1/plans/booking-1", &longer).await;
    assert_eq!((moved.status.as_u16(), moved.json()["status"].as_str()), (200, Some("created")));

    let deleted = office.delete("/v1/plans/booking-1").await;
    assert_eq!(deleted.status, 202);
    assert_eq!(deleted.json()["deleted_at"], "2026-03-01T10:00:00.000Z");
    assert_eq!(office.delete("/v1/plans/booking-1").await.status, 202, "the same again is the same");
    assert_eq!(office.get("/v1/plans/booking-1").await.json(), deleted.json());
    assert_eq!(office.put("/v1/plans/booking-1", &longer).await.status, 409, "it is being cancelled");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let office = Office::open().await;
    for answer in [office.get("/v1/plans/nope").await, office.delete("/v1/plans/nope").await] {
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["error"]["type"], "not_found");
    }
}

#[tokio::test]
async fn every_refusal_names_its_fields() {
    let office = Office::open().await;
    let cases = [
        (with(json!({"user_identity_id": null})), vec!["user_identity_id", "acs_user_id"]),
        (with(json!({"user_identity_id": "nobody"})), vec!["user_identity_id", "acs_user_id"]),
        (with(json!({"acs_user_id": "nobody"})), vec!["acs_user_id"]),
        (with(json!({"acs_user_id": null})), vec!["acs_user_id"]),
        (with(json!({"acs_user_id": "acs-2"})), vec!["acs_user_id", "allowed_acs_entrance_ids"]),
        (with(json!({"acs_system_id": "manager"})), vec!["acs_system_id"]),
        (with(json!({"acs_user_id": null, "acs_system_id": "nowhere"})), vec!["acs_system_id"]),
        (with(json!({"credential_manager_acs_system_id": "nowhere"})), vec!["credential_manager_acs_system_id"]),
        (with(json!({"credential_manager_acs_system_id": "hotel"})), vec!["credential_manager_acs_system_id"]),
        (
            with(json!({"allowed_acs_entrance_ids": ["door-9", "door-2", "door-8"]})),
            vec!["allowed_acs_entrance_ids[0]", "allowed_acs_entrance_ids[2]"],
        ),
        (
            with(json!({"acs_user_id": null, "acs_system_id": "hotel", "allowed_acs_entrance_ids": ["door-9"]})),
            vec!["allowed_acs_entrance_ids[0]"],
        ),
        (
            with(json!({"ends_at": "2026-03-01T10:00:00Z", "card_number": "7", "user_identity_id": "nobody"})),
            vec!["ends_at", "card_number", "user_identity_id", "acs_user_id"],
        ),
        (with(json!({"ends_at": "soon"})), vec!["ends_at"]),
        (with(json!({"acs_user": "acs-1"})), vec!["acs_user"]),
        (with(json!({"allowed_acs_entrance_ids": [7]})), vec!["allowed_acs_entrance_ids[0]"]),
    ];
    for (body, fields) in cases {
        let answer = office.put("/v1/plans/booking-1", &body).await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.json()["error"]["type"], "invalid_plan", "{body}");
        assert_eq!(answer.fields(), fields, "{body}: {}", answer.json());
    }
    assert_eq!(office.put("/v1/plans/a%2Fb", &plan()).await.fields(), ["key"]);
    assert_eq!(office.get("/v1/plans").await.json(), json!({"plans": [], "next": null}), "nothing was kept");
}

#[tokio::test]
async fn a_plan_can_stand_while_the_provider_is_away() {
    let office = Office::open().await;
    office.provider.is_away.store(true, Ordering::Relaxed);
    let answer = office.put("/v1/plans/booking-1", &plan()).await;
    assert_eq!(answer.status, 201);
    let unverified = answer.json()["unverified"].as_str().expect("a reason").to_owned();
    assert!(unverified.contains("connection refused"), "{unverified}");
    assert!(office.get("/v1/plans/booking-1").await.json().get("unverified").is_none(), "it is said once");
    let wrong = with(json!({"card_number": "7"}));
    assert_eq!(office.put("/v1/plans/booking-2", &wrong).await.fields(), ["card_number"], "what can be told is told");
}

#[tokio::test]
async fn a_nightly_sync_costs_the_provider_nothing() {
    let office = Office::open().await;
    office.put("/v1/plans/booking-1", &plan()).await;
    let calls = office.provider.calls.load(Ordering::Relaxed);
    assert_eq!(office.put("/v1/plans/booking-1", &plan()).await.status, 200);
    let longer = with(json!({"ends_at": "2026-03-05T10:00:00Z"}));
    assert_eq!(office.put("/v1/plans/booking-1", &longer).await.status, 200);
    assert_eq!(office.provider.calls.load(Ordering::Relaxed), calls);

    office.bench.advance_seconds(10 * 24 * 3600);
    assert_eq!(office.put("/v1/plans/booking-1", &longer).await.status, 200, "its end has passed, and it is as it was");
}

#[tokio::test]
async fn bodies_have_limits() {
    let office = Office::open().await;
    let put = || office.request(Method::PUT, "/v1/plans/booking-1");
    for body in ["", "{", "{}{}", "\u{feff}{}", "{\"user_identity_id\": \"\u{1}\"}"] {
        let answer = office.send(put().body(body)).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].as_str()), (400, Some("unreadable_json")));
    }
    for body in ["[]", "7", "null"] {
        assert_eq!(office.send(put().body(body)).await.status, 422, "JSON, and no plan: {body}");
    }
    let form = office.send(put().header("content-type", "application/x-www-form-urlencoded").body("a=b")).await;
    assert_eq!(form.status, 415);
    let packed = office.send(put().header("content-encoding", "gzip").body("{}")).await;
    assert_eq!(packed.status, 415);
    let large = vec![b' '; 256 * 1024 + 1];
    assert_eq!(office.send(put().body(large.clone())).await.status, 413, "declared");
    assert!(put_in_pieces(&office, &large).await.starts_with("HTTP/1.1 413 "), "not declared");
}

/// Sends a body whose length nobody declared; the head of the answer.
async fn put_in_pieces(office: &Office, body: &[u8]) -> String {
    let address = office.url.strip_prefix("http://").expect("a URL");
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let head = format!("PUT /v1/plans/a HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.write_all(head.as_bytes()).await.expect("written");
    for piece in body.chunks(64 * 1024) {
        let size = format!("{:x}\r\n", piece.len());
        connection.write_all(&[size.as_bytes(), piece, b"\r\n"].concat()).await.expect("written");
    }
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.expect("an answer, and the end of the connection");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn lists_come_in_pages() {
    let office = Office::open().await;
    for key in ["b", "a", "d", "c", "e"] {
        assert_eq!(office.put(&format!("/v1/plans/{key}"), &plan()).await.status, 201);
    }
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = office.get(&format!("/v1/plans?limit=2{cursor}")).await.json();
        keys.extend(page["plans"].as_array().expect("plans").iter().map(|plan| plan["plan_key"].clone()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(keys, ["a", "b", "c", "d", "e"]);
    assert_eq!(office.get("/v1/plans?limit=5").await.json()["next"], Value::Null, "a full page may be the last");
    for wrong in ["limit=0", "limit=1001", "limit=many", "page=2"] {
        let answer = office.get(&format!("/v1/plans?{wrong}")).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].as_str()), (400, Some("invalid_parameter")));
    }
}
