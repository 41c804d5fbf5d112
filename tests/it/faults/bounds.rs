//! Limits that are reached: what is full refuses, and nothing grows.

use std::fs;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;

use super::brokered;
use crate::support::broker::amqp_url;
use crate::support::load::{delivery_id, registered};
use crate::support::process::Process;
use crate::support::proxy::{Mode, Proxy};
use crate::support::say::say;
use crate::support::town::{APP_SECRET, Town};

/// The most megabytes of memory that a process has ever had.
fn resident(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of Linux's");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
}

/// A registration of nearly the largest size that is taken.
fn large(event_id: &str, stay: &Value) -> String {
    let mut event = registered(event_id, stay, None);
    event["padding"] = "x".repeat(200 * 1024).into();
    event.to_string()
}

#[tokio::test]
async fn a_flood_without_a_broker_is_refused_and_takes_no_memory() {
    // All bodies may hold 32; the rest is the program, its connections and what the allocator keeps.
    const RESIDENT_MAX: usize = 100;
    let (mut town, proxy) = (Town::founded(brokered().await).await, Proxy::before(&amqp_url()).await);
    town.environment.insert("KEYFERRY_AMQP_URL".to_owned(), proxy.on_the_way_to(&amqp_url()));
    town.start("serve").await;
    town.start("work").await;
    let stay = town.guests().await.remove(0);
    proxy.set(Mode::Refuse);
    let receiver = &town.processes[0];
    for round in 0..3 {
        // Together more than all bodies may hold.
        let flood = (0..500).map(|number| {
            let (town, body) = (&town, large(&format!("flood-{round}-{number}"), &stay));
            async move { town.post("app", APP_SECRET, &delivery_id(), &body).await }
        });
        let answers = join_all(flood).await;
        assert!(answers.iter().all(|answer| *answer == Some(StatusCode::SERVICE_UNAVAILABLE)), "{answers:?}");
    }
    let most = resident(receiver);
    assert!(most < RESIDENT_MAX, "{most} MB");
    say(&format!("resident at most: {most} MB"));
    proxy.set(Mode::Pass);
    town.deliver_registered(&stay).await;
    town.close().await;
}

#[tokio::test]
async fn more_publishes_than_there_are_places_wait_and_are_refused() {
    let ground = brokered().await.with("queue.in_flight_max", &4);
    let (mut town, proxy) = (Town::founded(ground).await, Proxy::before(&amqp_url()).await);
    town.environment.insert("KEYFERRY_AMQP_URL".to_owned(), proxy.on_the_way_to(&amqp_url()));
    town.start("serve").await;
    town.start("work").await;
    let stay = town.guests().await.remove(0);
    proxy.set(Mode::Hole);
    let sent = (0..20).map(|number| {
        let (town, body) = (&town, registered(&format!("event-{number}"), &stay, None).to_string());
        async move { town.post("app", APP_SECRET, &delivery_id(), &body).await }
    });
    let (answers, in_flight) = futures_util::future::join(join_all(sent), async {
        town.receiver_says("keyferry_queue_publishes_in_flight 4").await;
    })
    .await;
    let () = in_flight;
    assert!(answers.iter().all(|answer| *answer == Some(StatusCode::SERVICE_UNAVAILABLE)), "{answers:?}");
    proxy.set(Mode::Pass);
    town.deliver_registered(&stay).await;
    town.close().await;
}

#[tokio::test]
async fn the_smallest_limits_still_carry_everything() {
    let mut ground = brokered().await;
    for limit in ["queue.prefetch", "queue.batch_max", "queue.in_flight_max", "worker.concurrency"] {
        ground = ground.with(limit, &1);
    }
    let town = Town::on(ground.with("store.connections_max", &2)).await;
    let guests = town.guests().await;
    let sent = (0..30).map(|number| town.deliver_registered(&guests[number % guests.len()]));
    join_all(sent).await;
    town.close().await;
}
