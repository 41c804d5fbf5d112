//! The soak: thirty webhooks a second for a while, everything but the sandbox killed, paused and restarted at random, and
//! then the questions that every story ends with.
//!
//! The ordinary run is short; `scripts/soak` makes it long. The seed decides on senders and faults; what they meet is up
//! to the machine.

mod staff;
mod traffic;

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join3;
use keyferry::clock::{Entropy as _, SeededEntropy, SystemEntropy};
use serde_json::json;

use crate::support::asked::asked_for;
use crate::support::ground::Ground;
use crate::support::nodes;
use crate::support::town::Town;
use crate::support::wait;
use staff::Staff;
use traffic::Traffic;

const SHORT: u64 = 15;
/// After the last fault everything has to come to rest within this time: a little more than the longest pause of a sender
/// that is a thousand times as fast as Svix.
const REST: Duration = Duration::from_mins(2);

#[tokio::test]
async fn embedded() {
    soak(Ground::embedded(), None).await;
}

#[tokio::test]
async fn brokered() {
    let (mut broker, mut database) = (nodes::broker().await, nodes::database().await);
    let ground = Ground::brokered(&database.url(), &broker.url()).await;
    soak(ground, Some((&mut broker, &mut database))).await;
}

async fn soak(ground: Ground, nodes: Option<(&mut nodes::Broker, &mut nodes::Database)>) {
    let seconds = asked_for("KEYFERRY_SOAK_SECONDS").unwrap_or(SHORT);
    let seed = asked_for("KEYFERRY_SOAK_SEED").unwrap_or_else(|| SystemEntropy.next_u64() >> 32);
    let name = if nodes.is_some() { "brokered" } else { "embedded" };
    println!("soak {name}: {seconds} s with seed {seed}");
    let mut ground = ground.with("worker.attempts_max", &100_000).with("queue.publish_deadline_seconds", &2);
    ground.speed = 1000;
    let mut town = Town::founded(ground).await;
    town.environment.insert("KEYFERRY_LOG".to_owned(), "info".to_owned());
    let mut staff = Staff::hire(&mut town, nodes).await;
    town.seam("/_sandbox/delivery", &json!({"duplicate": 0.2, "reorder": 0.2})).await;

    let (began, over) = (Instant::now(), Cell::new(false));
    let traffic = Traffic::of(&town, SeededEntropy::new(seed)).await;
    let faults = async {
        staff.suffer(&SeededEntropy::new(seed + 1), Duration::from_secs(seconds)).await;
        over.set(true);
    };
    let reports = async {
        while !over.get() {
            println!("soak {name}: {:3} s, {}", began.elapsed().as_secs(), traffic.tally());
            wait::pause(Duration::from_secs(5)).await;
        }
    };
    join3(faults, traffic.flow(&over), reports).await;

    println!("soak {name}: {:3} s, the faults are over; {}", began.elapsed().as_secs(), traffic.tally());
    traffic.everybody_has_keys(REST).await;
    town.settles(REST).await;
    let keys: usize = town.theirs().await.values().map(std::collections::BTreeSet::len).sum();
    println!("soak {name}: {:3} s, at rest: {}; {}", began.elapsed().as_secs(), traffic.tally(), staff.report());
    println!("soak {name}: nothing lost, nothing twice; {} credentials, {keys} keys", town.theirs().await.len());
    assert!(keys > 0, "people got keys");
}
