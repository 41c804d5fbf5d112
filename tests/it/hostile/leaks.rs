//! Nothing leaks: at the most verbose level, nothing secret or personal that went in comes out where it can be read.

use std::collections::BTreeMap;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};

use super::fort::Fort;
use super::letter::{APP_KEY, Letter, RETIRED_KEY, SEAM_KEY, STRICT_KEY};
use super::{json as bodies, signature};
use crate::support::ground::{Ground, Shape};
use crate::support::process::keyferry;
use crate::support::town::Town;

const OPS_TOKEN: &str = "an-ops-token-that-nobody-may-see";
const EMAIL: &str = "jane.roe@example.com";
const NAME: &str = "Jane Q. Roe";
const PHONE_NUMBER: &str = "+41791234567";
const CODE: &str = "8642753190";
/// In passwords, wrong signatures and headers.
const HUNTER: &str = "hunter2";

/// Places where something may be read, and what can be read there.
type Said = Vec<(String, String)>;

#[tokio::test]
async fn no_secret_and_no_person_is_in_a_log_a_metric_or_an_answer() {
    nothing_leaks("text").await;
}

#[tokio::test]
async fn nor_in_a_log_for_machines() {
    nothing_leaks("json").await;
}

async fn nothing_leaks(format: &str) {
    let variables = [("KEYFERRY_LOG", "trace"), ("KEYFERRY_LOG_FORMAT", format), ("KEYFERRY_OPS_TOKEN", OPS_TOKEN)];
    let mut fort = Fort::with(Shape::Embedded, &variables).await;
    let authorization =
        HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {OPS_TOKEN}").parse().expect("a value"))]);
    fort.town.client = reqwest::Client::builder().default_headers(authorization).build().expect("a client");
    strangers(&mut fort).await;
    let answers = the_story(&fort).await;

    let mut said: Said = answers.into_iter().map(|answer| ("an answer".to_owned(), answer.to_string())).collect();
    for path in [
        "/metrics",
        "/readyz",
        "/v1/status",
        "/v1/ledger?limit=1000",
        "/v1/parked?limit=1000",
        "/v1/issuances",
        "/v1/issuances/booking-1",
        "/v1/events/registered-1",
        "/v1/nothing",
        "/",
    ] {
        said.push((path.to_owned(), fort.page(path).await));
    }
    for process in &fort.town.processes {
        said.push(("the log".to_owned(), process.everything()));
        let arguments = std::fs::read(format!("/proc/{}/cmdline", process.pid())).expect("it lives");
        said.push(("the arguments".to_owned(), String::from_utf8_lossy(&arguments).into_owned()));
    }
    let has = |place: &str, word: &str| said.iter().any(|(at, text)| at == place && text.contains(word));
    assert!(has("the log", "DEBUG") && has("the log", "event_type"), "the log is verbose");
    assert_eq!(has("the log", "{\"timestamp\""), format == "json");
    assert!(has("/metrics", "keyferry_webhooks_total") && has("/v1/ledger?limit=1000", "phone_key.issued"));

    let mut secrets: Vec<String> =
        [APP_KEY, SEAM_KEY, STRICT_KEY, RETIRED_KEY, OPS_TOKEN, EMAIL, NAME, PHONE_NUMBER, CODE, HUNTER]
            .map(str::to_owned)
            .into();
    secrets.push(fort.town.api_key.clone());
    assert!(fort.signatures.len() > 50, "every row has a signature");
    secrets.extend(fort.signatures.iter().map(|signature| signature["v1,".len()..].to_owned()));
    secrets.extend(people(&fort.town.world().await));
    tells_nothing(&said, &secrets);
    assert!(!said.iter().any(|(_, text)| text.contains("v1,")), "no signature is anywhere");
}

/// Refusals of every kind, and what is put aside.
async fn strangers(fort: &mut Fort) {
    fort.face(signature::ROWS).await;
    fort.face(&bodies::ROWS[..6]).await;
    let person = format!(r#""name":"{NAME}","email":"{EMAIL}","phone_number":"{PHONE_NUMBER}""#);
    let personal = Letter::new().and(&person);
    fort.signatures.push(personal.signature());
    assert_eq!(fort.status(&personal.bytes()).await, 202);
    for unreadable in [
        personal.clone().and(&format!(r#""{EMAIL}":1,"{EMAIL}":2"#)),
        personal.clone().with("2026", EMAIL),
        personal.clone().with("app.opened", EMAIL),
    ] {
        assert_eq!(fort.status(&unreadable.bytes()).await, 202, "put aside, with a reason in our words");
    }
    let forged = personal.signed_as(format!("v1,{HUNTER}{}", "A".repeat(36)));
    assert_eq!(fort.status(&forged).await, 401);
    let post = personal.post().with("Authorization", format!("Bearer {HUNTER}")).with("Cookie", HUNTER);
    assert_eq!(fort.status(&post.bytes()).await, 202);
    let line = format!("POST /webhooks/app?secret={HUNTER} HTTP/1.1");
    assert_eq!(fort.status(&personal.post().line(&line).without("webhook-id").bytes()).await, 401);
    let line = format!("POST /webhooks/{HUNTER} HTTP/1.1");
    assert_eq!(fort.status(&personal.post().line(&line).bytes()).await, 401);
}

/// A stay, with a provider that fails on the way, and plans that are wrong. Returns what was answered to those.
async fn the_story(fort: &Fort) -> Vec<Value> {
    let town = &fort.town;
    town.seam("/_sandbox/faults", &json!({"path": "/acs/credentials/create", "fault": "status:503", "times": 1})).await;
    town.seam("/_sandbox/faults", &json!({"path": "/acs/credentials/get", "fault": "garbage", "times": 1})).await;
    let plan = town.stay(0).await;
    town.put_plan("booking-1", &plan).await;
    let phone = town.sign_in(&plan).await;
    town.send_registered("registered-1", &plan, Some(&phone)).await;
    town.issuance("booking-1", "issued", |issuance| issuance["status"] == "issued").await;
    let mut answers = Vec::new();
    // A code has no business in a mobile key, a card's number none in a plan, a name none in a time.
    for (field, value) in [("code", CODE), ("card_number", CODE), ("starts_at", NAME), ("access_method", EMAIL)] {
        let mut wrong = plan.clone();
        wrong[field] = value.into();
        let (status, answer) = town.put_plan("booking-2", &wrong).await;
        assert!(status.is_client_error(), "{field}: {answer}");
        answers.push(answer);
    }
    answers
}

/// Everybody in the provider's world.
fn people(world: &Value) -> Vec<String> {
    let lists = ["user_identities", "acs_users"].map(|name| world[name].as_array().expect("people"));
    let fields = ["email_address", "email", "full_name", "phone_number"];
    let people: Vec<String> = lists
        .into_iter()
        .flatten()
        .flat_map(|person| fields.iter().filter_map(|field| person[*field].as_str()))
        .map(str::to_owned)
        .collect();
    assert!(people.len() > 5, "there are people in the world");
    people
}

fn tells_nothing(said: &Said, secrets: &[String]) {
    for (place, text) in said {
        for secret in secrets {
            if let Some(at) = text.find(secret.as_str()) {
                let around: String = text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
                panic!("{secret:?} is in {place}, after {around:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_password_of_a_broker_or_a_database_is_told() {
    let mut town = Town::founded(Ground::of(Shape::Brokered).await).await;
    for (variable, user) in [("KEYFERRY_AMQP_URL", "nobody"), ("KEYFERRY_STORE_URL", "nobody")] {
        let mut url = url::Url::parse(&town.environment[variable]).expect("a URL");
        url.set_username(user).and_then(|()| url.set_password(Some(HUNTER))).expect("a URL with a host");
        town.environment.insert(variable.to_owned(), url.to_string());
    }
    town.environment.insert("KEYFERRY_LOG".to_owned(), "trace".to_owned());
    let mut serve = town.launch("serve");
    town.announced("serve", &mut serve).await;
    serve.says("the RabbitMQ link is down").await;
    let mut said: Said = vec![("the receiver's log".to_owned(), serve.everything())];
    for path in ["/readyz", "/metrics"] {
        let response = reqwest::get(format!("{}{path}", town.receiver_ops_url)).await.expect("an answer");
        said.push((path.to_owned(), response.text().await.expect("text")));
    }
    let mut work = town.launch("work");
    assert!(!work.ends().await.success(), "a refused user is a person's matter");
    said.push(("the worker's log".to_owned(), work.everything()));
    said.push(("the doctor's words".to_owned(), doctor(&town.environment).await));
    assert!(said[0].1.contains("DEBUG") || said[0].1.contains("INFO"), "the log is verbose: {}", said[0].1);
    tells_nothing(&said, &[HUNTER.to_owned()]);
}

async fn doctor(environment: &BTreeMap<String, String>) -> String {
    let arguments = ["doctor", "--role", "work", "--ops-listen", "127.0.0.1:0"];
    let mut command = keyferry(&arguments, environment);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}
