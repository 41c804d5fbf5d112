//! A broker that dies, restarts, or is out of memory.

use super::hurried;
use crate::support::db::service;
use crate::support::ground::Ground;
use crate::support::nodes;
use crate::support::town::Town;

async fn town_at(broker: &nodes::Broker) -> Town {
    let ground = Ground::brokered(&service("KEYFERRY_TEST_POSTGRES_URL"), &broker.url()).await;
    Town::on(hurried(ground)).await
}

async fn ends_and_starts_again(by: &str) {
    let mut broker = nodes::broker().await;
    let town = town_at(&broker).await;
    let guests = town.guests().await;
    let trouble = async {
        broker.end(by).await;
        broker.start_again().await;
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    assert!(tally.refused > 0, "without a broker nothing is durable: {tally:?}");
    town.close().await;
}

#[tokio::test]
async fn killed() {
    ends_and_starts_again("KILL").await;
}

#[tokio::test]
async fn restarted() {
    ends_and_starts_again("TERM").await;
}

#[tokio::test]
async fn out_of_memory() {
    let broker = nodes::broker().await;
    let town = town_at(&broker).await;
    let guests = town.guests().await;
    let trouble = async {
        broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await;
        town.receiver_complains("RabbitMQ takes no publishes").await;
        broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    assert!(tally.refused > 0, "a blocked broker takes nothing: {tally:?}");
    town.close().await;
}
