//! What goes wrong on order.

use std::time::Duration;

use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::house::{House, answer};
use crate::support::wait;

const CREATE: &str = "/user_identities/create";

async fn order(house: &House, fault: &str, times: u32) {
    house.order("faults", &json!({"path": CREATE, "fault": fault, "times": times})).await;
}

/// How many people bear this name.
async fn named(house: &House, name: &str) -> usize {
    let found = house.seam("/user_identities/list", &json!({"search": name})).await;
    found["user_identities"].as_array().expect("a list").len()
}

#[tokio::test]
async fn a_status_and_a_limit_come_without_the_deed_and_so_often_as_ordered() {
    let house = House::open().await;
    order(&house, "status:503", 2).await;
    order(&house, "rate_limit:3s", 1).await;
    let person = json!({"full_name": "Nobody"});
    for _ in 0..2 {
        let (status, body) = house.try_seam(CREATE, &person).await;
        assert_eq!((status, &body["error"]["type"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("service_unavailable")));
    }
    let limited = house.call("POST", CREATE).json(&person).send().await.expect("an answer");
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(limited.headers().get("retry-after").map(http::HeaderValue::as_bytes), Some(b"3".as_slice()));
    assert_eq!(named(&house, "Nobody").await, 0);
    house.seam(CREATE, &person).await;
}

#[tokio::test]
async fn a_connection_is_cut_after_the_deed_without_a_byte_of_an_answer() {
    let house = House::open().await;
    order(&house, "cut_after_commit", 1).await;
    let cut = house.call("POST", CREATE).json(&json!({"full_name": "Somebody"})).send().await;
    let error = cut.expect_err("no answer");
    assert!(error.is_request() && !error.is_timeout() && error.status().is_none(), "{error:?}");
    assert_eq!(named(&house, "Somebody").await, 1);
}

#[tokio::test]
async fn a_swallowed_call_is_neither_done_nor_answered() {
    let house = House::open().await;
    order(&house, "timeout", 1).await;
    let call = house.call("POST", CREATE).timeout(Duration::from_millis(200)).json(&json!({"full_name": "Nobody"}));
    assert!(call.send().await.expect_err("no answer").is_timeout());
    assert_eq!(named(&house, "Nobody").await, 0);
}

#[tokio::test]
async fn a_slow_call_is_done_at_once_and_answered_late() {
    let house = House::open().await;
    order(&house, "slow:5s", 1).await;
    let slow = tokio::spawn(answer(house.call("POST", CREATE).json(&json!({"full_name": "Somebody"}))));
    wait::until("the deed", async || (named(&house, "Somebody").await == 1).then_some(())).await;
    assert!(!slow.is_finished());
    wait::until("the answer", async || {
        house.clock.advance(SignedDuration::from_secs(5));
        slow.is_finished().then_some(())
    })
    .await;
    assert_eq!(slow.await.expect("no panic").0, StatusCode::OK);
}

#[tokio::test]
async fn garbage_is_answered_after_the_deed() {
    let house = House::open().await;
    order(&house, "garbage", 1).await;
    let (status, body) = house.try_seam(CREATE, &json!({"full_name": "Somebody"})).await;
    assert_eq!(status, StatusCode::OK);
    assert!(matches!(body, Value::String(_)), "{body}");
    assert_eq!(named(&house, "Somebody").await, 1);
}

#[tokio::test]
async fn an_order_without_a_number_holds_until_it_is_cleared() {
    let house = House::open().await;
    house.order("faults", &json!({"path": "*", "fault": "status:500"})).await;
    for _ in 0..3 {
        assert_eq!(house.try_seam("/phones/list", &json!({})).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(answer(house.call("DELETE", "/_sandbox/faults")).await.0, StatusCode::OK);
    house.seam("/phones/list", &json!({})).await;
    for wrong in [json!({"path": "/no/such", "fault": "timeout"}), json!({"path": CREATE, "fault": "nonsense"})] {
        assert_eq!(answer(house.call("POST", "/_sandbox/faults").json(&wrong)).await.0, StatusCode::BAD_REQUEST);
    }
}
