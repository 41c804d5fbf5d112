//! Real faults: real processes of the real program, with a real broker, database, disk and network that are broken from
//! outside while senders are at it. No story is helped: each only waits, and ends with [`Town::close`].
//!
//! `docs/failures.md` has a row for each.

mod bounds;
mod broker;
mod broker_node;
mod database;
mod disk;
mod process;
mod provider;
mod reload;

use crate::support::broker::amqp_url;
use crate::support::db::service;
use crate::support::ground::Ground;

/// Patience of the publisher that fits in a test, and a sandbox whose deliveries come again soon.
fn hurried(mut ground: Ground) -> Ground {
    ground.speed = 1000;
    ground.with("queue.publish_deadline_seconds", &2).with("worker.attempts_max", &1000)
}

fn embedded() -> Ground {
    hurried(Ground::embedded())
}

/// On the broker and the database server that all tests share.
async fn brokered() -> Ground {
    hurried(Ground::brokered(&service("KEYFERRY_TEST_POSTGRES_URL"), &amqp_url()).await)
}
