//! A PostgreSQL that crashes, is slow, falls silent, or is not there. The senders see nothing of it: the broker keeps
//! what they send.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{brokered, hurried};
use crate::support::broker::amqp_url;
use crate::support::ground::Ground;
use crate::support::load::{Tally, delivery_id, registered};
use crate::support::nodes;
use crate::support::proxy::{Mode, Proxy};
use crate::support::town::{APP_SECRET, Town, issued_keys};
use crate::support::wait;

const URL: &str = "KEYFERRY_STORE_URL";
/// One that no source knows.
const OTHER_SECRET: &str = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVy";

/// A town whose workers reach the database by way of a proxy.
async fn with_a_proxy_before_the_database(ground: Ground) -> (Town, Proxy) {
    let url = ground.store_url.clone();
    let (mut town, proxy) = (Town::founded(ground).await, Proxy::before(&url).await);
    town.environment.insert(URL.to_owned(), proxy.on_the_way_to(&url));
    (town, proxy)
}

async fn start_all(town: &mut Town) {
    for role in ["serve", "work", "work"] {
        town.start(role).await;
    }
}

/// Waits until the ledger grows.
async fn work_goes_on(town: &Town) {
    let mut heads = BTreeSet::new();
    wait::until("work that goes on", async || {
        heads.insert(town.try_ops("/v1/status").await?["ledger_head"].as_i64());
        (heads.len() > 1).then_some(())
    })
    .await;
}

fn nobody_was_refused(tally: Tally) {
    assert_eq!(tally.refused, 0, "the receiver needs no database: {tally:?}");
}

#[tokio::test]
async fn it_crashes_again_and_again() {
    let mut database = nodes::database().await;
    let ground = Ground::brokered(&database.url(), &amqp_url()).await;
    let town = Town::on(hurried(ground)).await;
    let guests = town.guests().await;
    let trouble = async {
        for _ in 0..3 {
            database.crash().await;
            database.start_again().await;
            work_goes_on(&town).await;
        }
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    nobody_was_refused(tally);
    town.close().await;
}

/// The statement arrives, and whether it took effect is not to be known.
#[tokio::test]
async fn the_outcome_of_its_commits_is_lost() {
    let (mut town, proxy) = with_a_proxy_before_the_database(brokered().await).await;
    start_all(&mut town).await;
    let guests = town.guests().await;
    let trouble = async {
        for round in 1..=20 {
            proxy.set(Mode::CutAfter(b"COMMIT"));
            wait::until("a commit that was cut off", async || (proxy.resets() >= round).then_some(())).await;
        }
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    nobody_was_refused(tally);
    town.close().await;
}

#[tokio::test]
async fn a_lock_is_held_for_longer_than_anybody_waits() {
    let ground = brokered().await;
    let mut other = PgConnection::connect(&ground.store_url).await.expect("the database");
    let mut town = Town::on(ground).await;
    let guests = town.guests().await;
    town.comes_to_rest().await;
    let mut worker = town.processes.pop().expect("a worker");
    let trouble = async {
        let mut lock = other.begin().await.expect("a transaction");
        lock.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
        worker.says("the inbox cannot be read").await;
        lock.rollback().await.expect("it is given back");
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    nobody_was_refused(tally);
    town.close().await;
}

#[tokio::test]
async fn it_is_slow_and_has_few_connections() {
    let ground = brokered().await.with("store.connections_max", &2).with("worker.concurrency", &16);
    let (mut town, proxy) = with_a_proxy_before_the_database(ground).await;
    start_all(&mut town).await;
    let guests = town.guests().await;
    proxy.set(Mode::Late(Duration::from_millis(5)));
    let trouble = async {
        wait::until("a good number of events", async || (town.told(["event.done"]).await[0] > 15).then_some(())).await;
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    nobody_was_refused(tally);
    proxy.set(Mode::Pass);
    town.close().await;
}

/// The machine is gone and another one has its address: what was said to the first is never answered.
#[tokio::test]
async fn its_connections_fall_silent() {
    let (mut town, proxy) = with_a_proxy_before_the_database(brokered().await).await;
    start_all(&mut town).await;
    let guests = town.guests().await;
    let trouble = async {
        proxy.strand();
        work_goes_on(&town).await;
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    nobody_was_refused(tally);
    town.close().await;
}

#[tokio::test]
async fn neither_it_nor_the_broker_is_there_at_the_start() {
    let (mut town, database) = with_a_proxy_before_the_database(brokered().await).await;
    let broker = Proxy::before(&amqp_url()).await;
    town.environment.insert("KEYFERRY_AMQP_URL".to_owned(), broker.on_the_way_to(&amqp_url()));
    database.set(Mode::Refuse);
    broker.set(Mode::Refuse);
    let (mut receiver, mut worker) = (town.launch("serve"), town.launch("work"));
    worker.says("the store cannot be reached").await;
    broker.set(Mode::Pass);
    town.ready("serve", &mut receiver).await;
    let stay = town.stay(0).await;
    assert_eq!(town.deliver_registered(&stay).await, 0, "the receiver needs no database");
    database.set(Mode::Pass);
    town.ready("work", &mut worker).await;
    town.close().await;
}

/// Whoever watches sees at once that it lives, that it is not ready, and why; and senders are told to come again.
#[tokio::test]
async fn a_process_answers_while_it_waits_for_it() {
    let mut ground = brokered().await;
    ground.amqp_url = None;
    let (mut town, database) = with_a_proxy_before_the_database(ground).await;
    let stay = town.stay(0).await;
    let event = registered("registered-1", &stay, None).to_string();
    database.set(Mode::Refuse);
    let mut process = town.launch("run");
    town.announced("run", &mut process).await;
    assert_eq!(town.ops_says("/livez").await, (StatusCode::OK, Value::Null));
    let (status, answer) = town.ops_says("/readyz").await;
    assert_eq!((status, &answer["not_ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(["store"])));
    let (status, answer) = town.ops_says("/v1/status").await;
    assert_eq!((status, &answer["error"]["type"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("store_unavailable")));
    assert_eq!(town.post("app", OTHER_SECRET, &delivery_id(), &event).await, Some(StatusCode::UNAUTHORIZED));
    assert_eq!(town.post("app", APP_SECRET, &delivery_id(), &event).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    process.says("the store cannot be reached").await;
    assert!(process.terminate().await.success(), "nothing is in hand");

    let mut process = town.launch("run");
    process.says("the store cannot be reached").await;
    database.set(Mode::Pass);
    town.ready("run", &mut process).await;
    town.processes.push(process);
    town.put_plan("booking-1", &stay).await;
    town.sign_in(&stay).await;
    town.issuance("booking-1", "a key", |it| issued_keys(it) == 1).await;
    town.close().await;
}
