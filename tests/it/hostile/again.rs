//! What comes twice: the same again, and another event under a taken id.

use super::fort::Fort;
use super::letter::Letter;
use crate::support::ground::Shape;

#[tokio::test]
async fn a_replay_within_the_window_is_answered_and_has_no_effect() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let bytes = Letter::new().bytes();
    assert_eq!(fort.status(&bytes).await, 202);
    fort.left("the first", &["event.ignored"]).await;
    for _ in 0..5 {
        assert_eq!(fort.status(&bytes).await, 202);
        fort.left("a replay", &[]).await;
    }
    let mut wire = fort.wire().await;
    wire.send(&bytes.repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(wire.answer().await.map(|answer| answer.status), Some(202), "three in one write");
    }
    fort.left("three replays in one write", &[]).await;
}

#[tokio::test]
async fn another_event_under_a_taken_id_is_put_aside_and_the_first_one_counts() {
    let mut fort = Fort::new(Shape::Embedded).await;
    let (jane, joe) = (person(&fort, 0).await, person(&fort, 1).await);
    let first = Letter::new().registered(&jane);
    let again = |body: &str| Letter::new().body(body.to_owned());
    let text = String::from_utf8(first.body.clone()).expect("text");
    assert_eq!(fort.status(&first.bytes()).await, 202);
    fort.left("the first", &["event.done"]).await;
    let spaced = text.replace(',', " , ");
    let later = text.replace("10:40", "10:41");
    let fuller =
        text.replace('}', r#","device_id":"d","device_type":"ios_phone","created_at":"2026-03-01T10:40:01Z"}"#);
    for same in [&text, &spaced, &later, &fuller] {
        assert_eq!(fort.status(&again(same).bytes()).await, 202);
        fort.left(same, &[]).await;
    }
    for (what, by) in [(jane.as_str(), joe.as_str()), ("phone.registered", "some.other_type")] {
        let other = again(&text.replace(what, by));
        assert_eq!(fort.status(&other.bytes()).await, 202);
        fort.left(by, &["event.parked"]).await;
        fort.parked_last(by, "another body has come", &other.bytes()).await;
        assert_eq!(fort.status(&other.bytes()).await, 202);
        fort.left("the same delivery again", &[]).await;
    }
    let id = fort.all_parked().await[0]["id"].as_i64().expect("an id");
    let release = fort.town.client.post(format!("{}/v1/parked/{id}/release", fort.town.ops_url));
    assert_eq!(release.send().await.expect("an answer").status(), 422, "the id is taken");
}

/// The `index`th guest of the hotel.
async fn person(fort: &Fort, index: usize) -> String {
    fort.town.stay(index).await["user_identity_id"].as_str().expect("an id").to_owned()
}
