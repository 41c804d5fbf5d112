//! Intake acknowledges what the inbox has, and only that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyferry::queue::Publisher as _;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;

use super::{Bus, Memory, event, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_inbox_fails_nothing_is_acknowledged_and_nothing_lost() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    let inbox = Arc::new(Memory::default());
    inbox.broken.store(true, Ordering::SeqCst);
    let intake = bus.intake(&inbox).await;
    publisher.publish(["1", "2", "3"].map(event).to_vec()).await.expect("it is durable");
    eventually("the inbox was tried again", async || inbox.refusals.load(Ordering::SeqCst) >= 3).await;
    intake.end().await;
    eventually("all of it is still there, in one message", async || bus.depth("inbox").await == Some(1)).await;

    let intake = bus.intake(&inbox).await;
    let before = inbox.refusals.load(Ordering::SeqCst);
    eventually("it is tried again", async || inbox.refusals.load(Ordering::SeqCst) > before).await;
    inbox.broken.store(false, Ordering::SeqCst);
    inbox.holds(&["1", "2", "3"]).await;
    intake.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    assert_eq!(bus.depth("parked").await, Some(0));
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_is_parked_and_holds_nobody_up() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    let (default_exchange, queue) = ("".into(), bus.name("inbox").into());
    let channel = bus.channel().await;
    channel
        .basic_publish(default_exchange, queue, BasicPublishOptions::default(), b"hello?", BasicProperties::default())
        .await
        .expect("sent");
    publisher.publish(vec![event("1")]).await.expect("it is durable");
    eventually("both are queued", async || bus.depth("inbox").await == Some(2)).await;

    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;
    inbox.holds(&["1"]).await;
    eventually("it is parked", async || bus.depth("parked").await == Some(1)).await;
    let parked = bus.take("parked").await.expect("it is there");
    assert_eq!(parked.data, b"hello?");
    intake.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_prefetch_limit_arrives_batch_by_batch() {
    let mut bus = Bus::new().await;
    (bus.settings.prefetch, bus.settings.batch_max, bus.settings.per_message.events) = (16, 5, 3);
    let (publisher, publishing) = bus.publisher().await;
    let mut ids: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    publisher.publish(ids.iter().map(|id| event(id)).collect()).await.expect("it is durable");
    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;
    ids.sort();
    eventually("all of it arrives", async || inbox.ids() == ids).await;
    intake.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}
