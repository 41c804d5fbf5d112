//! The state at a glance, readiness, and the scrape.

use jiff::SignedDuration;
use keyferry::domain::Outcome;
use serde_json::json;

use super::client::says;
use super::office::Office;

#[tokio::test]
async fn the_state_is_told_at_a_glance() {
    let office = Office::open().await;
    office.receive("e-1").await;
    office.work(Outcome::Park { why: "nonsense".to_owned() }).await;
    office.put("/v1/plans/a", &json!({"user_identity_id": "u-1", "acs_user_id": "acs-1"})).await;
    office.issue("a").await;
    office.receive("e-2").await;
    let after = SignedDuration::from_mins(5);
    office.work(Outcome::Retry { after, why: "the provider is away".to_owned() }).await;
    office.bench.advance_seconds(90);
    office.receive("e-3").await;

    let status = office.get("/v1/status").await.json();
    assert_eq!(status["at"], "2026-03-01T10:01:30.000Z");
    let inbox = json!({
        "waiting": 1, "retrying": 1, "in_flight": 0, "oldest_received_at": "2026-03-01T10:00:00.000Z",
        "oldest_age_seconds": 90, "reasons": [{"why": "the provider is away", "count": 1}],
    });
    assert_eq!(status["inbox"], inbox);
    let rate = json!({"per_second_max": 10, "burst_max": 20, "burst_used": 3});
    assert_eq!(status["calls"], json!({"in_flight_max": 64, "rate": rate}));
    assert_eq!(status["parked"], 1);
    assert_eq!((&status["issuances"]["created"], &status["issuances"]["failed"]), (&json!(1), &json!(0)));
    assert_eq!(status["phone_keys"], json!({"waiting": 1, "issued": 1, "revoked": 0}));
    let checks = json!([
        {"name": "queue", "ok": true, "vital": true, "why": null},
        {"name": "provider", "ok": false, "vital": false, "why": "it is asleep"},
    ]);
    assert_eq!((&status["checks"], &status["ready"]), (&checks, &json!(true)));

    let scraped = office.get("/metrics").await;
    let text = String::from_utf8(scraped.body.to_vec()).expect("text");
    for line in [
        "keyferry_store_up 1",
        "keyferry_inbox_events{state=\"retrying\"} 1",
        "keyferry_parked_items 1",
        "keyferry_issuances{status=\"created\"} 1",
        "keyferry_issuances{status=\"unknown\"} 0",
        "keyferry_phone_keys{status=\"issued\"} 1",
    ] {
        assert!(text.lines().any(|given| given == line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn a_rotation_is_followed_to_its_end() {
    let office = Office::open().await;
    let sources = async || office.get("/v1/status").await.json()["sources"].clone();
    let secret = |name: &str, configured: bool, events: i64, first: Option<&str>, last: Option<&str>, safe: bool| {
        json!({
            "name": name, "configured": configured, "events": events, "first_used_at": first, "last_used_at": last,
            "safe_to_remove": safe,
        })
    };
    let unused =
        json!({"name": "seam", "clock_skew_seconds": null, "secrets": [secret("1", true, 0, None, None, false)]});

    let (first, last) = (Some("2026-03-01T10:00:00.000Z"), Some("2026-03-01T11:00:00.000Z"));
    office.receive_proven("e-1", "2025-07", 0).await;
    office.receive_proven("e-2", "2025-11", 0).await;
    office.bench.advance_seconds(3600);
    office.receive_proven("e-3", "2025-11", 2).await;
    let before = json!([
        {"name": "app", "clock_skew_seconds": 2, "secrets": [
            secret("2025-11", true, 2, first, last, false),
            secret("2026-03", true, 0, None, None, false),
            secret("2025-07", false, 1, first, first, false),
        ]},
        unused,
    ]);
    assert_eq!(sources().await, before);

    // The sender takes the new one; nothing that was signed with the old one is repeated for longer than 36 hours.
    office.bench.advance_seconds(3600);
    office.receive_proven("e-4", "2026-03", -1).await;
    let safe = async || sources().await[0]["secrets"][0]["safe_to_remove"].clone();
    office.bench.advance_seconds(35 * 3600);
    assert_eq!(safe().await, false);
    let said = says(&office, &["status"]).await;
    assert!(said.contains("senders     app\n            secret 2025-11: 2 events, the last 36 h ago\n"), "{said}");
    office.bench.advance_seconds(1);
    assert_eq!(safe().await, true);
    assert_eq!(sources().await[0]["secrets"][1]["safe_to_remove"], false);
    assert_eq!(sources().await[0]["clock_skew_seconds"], -1);
    let said = says(&office, &["status"]).await;
    assert!(said.contains("secret 2025-11: 2 events, the last 36 h ago  no longer needed"), "{said}");
    assert!(said.contains("secret 2025-07: 1 event, the last 37 h ago  no longer configured\n"), "{said}");
    assert!(said.contains("            seam\n            secret 1: not used yet\n"), "{said}");

    office.receive_proven("e-5", "2026-03", 280).await;
    let said = says(&office, &["status"]).await;
    assert!(said.contains("app  its last signature was 4 min old when it came; compare the clocks\n"), "{said}");
}

#[tokio::test]
async fn what_is_not_ready_is_named_and_only_operators_hear_why() {
    let office = Office::open().await;
    assert_eq!(office.get("/readyz").await.json(), json!({"ready": true, "not_ready": []}));
    *office.queue.lock().expect("no panic") = Err("amqp://inner.example refused".to_owned());
    let answer = office.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"ready": false, "not_ready": ["queue"]}));
    assert_eq!(office.get("/livez").await.status, 200);
    let status = office.get("/v1/status").await.json();
    assert_eq!(
        (&status["ready"], &status["checks"][0]["why"]),
        (&json!(false), &json!("amqp://inner.example refused"))
    );
}
