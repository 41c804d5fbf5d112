//! A broker that dies, restarts, or has run out of memory or disk.

use std::time::Duration;

use super::hurried;
use crate::support::db::service;
use crate::support::ground::Ground;
use crate::support::nodes;
use crate::support::town::Town;
use crate::support::wait;

async fn town_at(broker: &nodes::Broker) -> Town {
    let ground = Ground::brokered(&service("KEYFERRY_TEST_POSTGRES_URL"), &broker.url()).await;
    Town::on(hurried(ground)).await
}

async fn ends_and_starts_again(by: &str) {
    let mut broker = nodes::broker().await;
    let town = town_at(&broker).await;
    let guests = town.guests().await;
    let trouble = async {
        // A quorum queue's name is not on the disk before half a second has passed: a broker that is killed earlier
        // never finds that queue again, and says nothing to whoever asks for it.
        wait::pause(Duration::from_secs(2)).await;
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

/// The broker takes no publishes while an alarm is on.
async fn has_an_alarm(limit: &str, on: &str, off: &str) {
    let broker = nodes::broker().await;
    let town = town_at(&broker).await;
    let guests = town.guests().await;
    let trouble = async {
        broker.ctl(&[limit, on]).await;
        town.receiver_complains("RabbitMQ takes no publishes").await;
        town.receiver_complains("answering 503").await;
        broker.ctl(&[limit, off]).await;
    };
    town.under_load(&guests, trouble).await;
    town.close().await;
}

#[tokio::test]
async fn out_of_memory() {
    has_an_alarm("set_vm_memory_high_watermark", "0.000001", "0.4").await;
}

#[tokio::test]
async fn out_of_disk() {
    has_an_alarm("set_disk_free_limit", "1000GB", "50MB").await;
}
