//! What the broker may do to a link, and that the link comes back by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use keyferry::clock::{ManualClock, SystemEntropy};
use keyferry::queue::rabbitmq::{self, Settings, State};
use keyferry::queue::{Envelope, Inbox, InboxError, Publisher as _};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::{Bus, Memory, Running, event, eventually, intake, unique};
use crate::support::broker::{amqp_url, rabbitmqctl};
use crate::support::db::start;

#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_by_the_broker_come_back_and_nothing_is_lost() {
    let vhost = unique();
    rabbitmqctl(&["add_vhost", &vhost]).await;
    rabbitmqctl(&["set_permissions", "--vhost", &vhost, "guest", ".*", ".*", ".*"]).await;
    let url = amqp_url().replace("%2f", &vhost);
    let bus = Bus::at(url.clone()).await;
    let (publisher, publishing) = bus.publisher().await;
    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;

    let sending = tokio::spawn(async move {
        let mut stored = BTreeSet::new();
        for number in 0..3000 {
            let id = format!("{number}");
            if publisher.publish(vec![event(&id)]).await.is_ok() {
                stored.insert(id);
            }
        }
        (stored, publisher)
    });
    for _ in 0..2 {
        rabbitmqctl(&["close_all_connections", "--vhost", &vhost, "a drill"]).await;
        publishing.ready().await;
        intake.ready().await;
    }
    let (mut stored, publisher) = sending.await.expect("no panic");
    publisher.publish(vec![event("after")]).await.expect("it is durable");
    stored.insert("after".to_owned());
    eventually("every success is in the inbox", async || {
        stored.is_subset(&inbox.ids().into_iter().collect::<BTreeSet<_>>())
    })
    .await;

    intake.end().await;
    publishing.end().await;
    rabbitmqctl(&["delete_vhost", &vhost]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_anew() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;
    publisher.publish(vec![event("1")]).await.expect("it is durable");
    inbox.holds(&["1"]).await;
    bus.delete_queue("inbox").await;
    eventually("the queue is there again", async || bus.depth("inbox").await.is_some()).await;
    intake.ready().await;
    publisher.publish(vec![event("2")]).await.expect("it is durable");
    inbox.holds(&["1", "2"]).await;
    intake.end().await;
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_exchange_is_declared_anew() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    bus.delete_exchange("events").await;
    publisher.publish(vec![event("1")]).await.expect_err("there is nowhere to publish to");
    publisher.publish(vec![event("2")]).await.expect("the exchange is there again");
    assert_eq!(bus.depth("inbox").await, Some(1));
    publishing.end().await;
    bus.end().await;
}

/// A listener that accepts and then says nothing: the connection attempt ends, and so does its socket.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_given_up_and_hung_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it");
    let mut settings = Settings::new(format!("amqp://guest:hunter2@{address}").into());
    settings.connect_timeout = Duration::from_millis(200);
    settings.backoff_max = Duration::from_millis(200);
    let running = intake(&settings, &Arc::new(Memory::default()));
    for _ in 0..3 {
        let (mut peer, _) = listener.accept().await.expect("it tries again");
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.expect("it hangs up");
        assert_eq!(said, b"AMQP\0\0\x09\x01");
    }
    running.down_because(&["connecting took longer"]).await;
    assert!(!format!("{:?}", running.state.borrow()).contains("hunter2"));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_and_not_repeated() {
    let mut settings = Settings::new(amqp_url().replace("guest:guest", "guest:hunter2").into());
    settings.prefix = unique();
    let running = intake(&settings, &Arc::new(Memory::default()));
    running.down_because(&["ACCESS_REFUSED"]).await;
    assert!(!format!("{:?}", running.state.borrow()).contains("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
    running.end().await;
}

/// An inbox with a bug, which the first batch meets.
#[derive(Default)]
struct Buggy {
    memory: Memory,
    has_panicked: AtomicBool,
}

#[async_trait]
impl Inbox for Buggy {
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
        assert!(self.has_panicked.swap(true, Ordering::SeqCst), "a bug in the inbox");
        self.memory.accept(batch).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_inbox_costs_the_connection_and_intake_goes_on() {
    let mut bus = Bus::new().await;
    bus.settings.connect_timeout = Duration::from_hours(1);
    let (publisher, publishing) = bus.publisher().await;
    publisher.publish(vec![event("1")]).await.expect("it is durable");
    let (inbox, clock) = (Arc::new(Buggy::default()), ManualClock::starting_at(start()));
    let link = rabbitmq::intake(&bus.settings, inbox.clone(), Arc::new(clock.clone()), Arc::new(SystemEntropy));
    let link = link.expect("settings");
    let taking_in = Running::spawn(link.state(), |shutdown| link.run(shutdown));
    taking_in.down_because(&["panicked"]).await;
    assert_eq!(inbox.memory.ids(), [""; 0], "not before the pause is over");
    eventually("the link is ready again", async || {
        clock.advance(SignedDuration::from_millis(200));
        *taking_in.state.borrow() == State::Ready
    })
    .await;
    inbox.memory.holds(&["1"]).await;
    taking_in.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}
