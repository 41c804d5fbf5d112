//! With a key, intake takes from the bus what a receiver sealed, and nothing else; all the rest is parked as it is.

use std::sync::Arc;

use keyferry::queue::envelope::{self, Message};
use keyferry::queue::seal::Keys;
use keyferry::queue::{Envelope, Publisher as _};
use lapin::options::BasicPublishOptions;
use lapin::types::AMQPValue;
use secrecy::SecretString;

use super::{Bus, Memory, event, eventually, publisher};

const KEY: &str = "a-key-of-the-tests-0123456789";
const NEXT: &str = "the-next-key-of-the-tests-0123456789";

fn keys(text: &str) -> Keys {
    Keys::parse(&SecretString::from(text)).expect("keys")
}

fn plain(envelope: &Envelope) -> Message {
    envelope::encode(envelope).expect("it fits")
}

/// A message that was good, with one of its attributes set to something else.
fn changed(mut message: Message, attribute: &str, value: &str) -> Message {
    let mut headers = message.properties.headers().clone().expect("headers");
    headers.insert(format!("cloudEvents_{attribute}").into(), AMQPValue::LongString(value.into()));
    message.properties = message.properties.with_headers(headers);
    message
}

impl Bus {
    async fn with_key(key: &str) -> Self {
        let mut bus = Self::new().await;
        bus.settings.keys = Some(Arc::new(keys(key)));
        bus
    }

    /// Publishes as somebody who has the broker's password, and not ours.
    async fn slip_in(&self, message: Message) {
        let Message { routing_key, properties, body } = message;
        let (exchange, options) = (self.name("events").into(), BasicPublishOptions::default());
        let channel = self.channel().await;
        channel.basic_publish(exchange, routing_key, options, &body, properties).await.expect("sent");
        channel.close(200, "done".into()).await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sealed_by_a_receiver_is_parked_and_holds_nobody_up() {
    let bus = Bus::with_key(KEY).await;
    let (publisher, publishing) = bus.publisher().await;
    let sealed = || keys(KEY).seal(plain(&event("genuine")));
    let mut truncated = sealed();
    truncated.body.truncate(5);
    let mut oversized = plain(&event("oversized"));
    oversized.body = vec![b' '; bus.settings.body_bytes_max + 1].into();
    let hostile = [
        plain(&event("unsealed")),
        keys(NEXT).seal(plain(&event("by-another-key"))),
        changed(sealed(), "id", "under-another-id"),
        changed(sealed(), "keyferryfact", r#"{"fact":"phone_deactivated","device_id":"somebody-else's"}"#),
        changed(sealed(), "source", "/webhooks/seam"),
        changed(sealed(), "keyferryseal", "v0,AAAA"),
        truncated,
        keys(KEY).seal(oversized),
    ];
    let count = u32::try_from(hostile.len()).expect("few");
    for message in hostile {
        bus.slip_in(message).await;
    }
    publisher.publish(vec![event("genuine")]).await.expect("it is durable");
    // A copy is the same event again, and the inbox knows it.
    bus.slip_in(sealed()).await;

    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;
    inbox.holds(&["genuine", "genuine"]).await;
    eventually("all else is parked", async || bus.depth("parked").await == Some(count)).await;
    assert_eq!(bus.take("parked").await.expect("it is there").data, plain(&event("unsealed")).body, "as it came");
    intake.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_without_losing_a_message() {
    let mut bus = Bus::with_key(&format!("{KEY},{NEXT}")).await;
    let (old, running_old) = bus.publisher().await;
    old.publish(vec![event("by-the-old-key")]).await.expect("it is durable");
    bus.settings.keys = Some(Arc::new(keys(&format!("{NEXT},{KEY}"))));
    let (new, running_new) = publisher(&bus.settings);
    running_new.ready().await;
    new.publish(vec![event("by-the-new-key")]).await.expect("it is durable");

    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;
    inbox.holds(&["by-the-new-key", "by-the-old-key"]).await;
    assert_eq!(bus.depth("parked").await, Some(0));
    for running in [intake, running_old, running_new] {
        running.end().await;
    }
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_message_still_has_to_be_one_that_a_receiver_could_have_made() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    let mut oversized = plain(&event("oversized"));
    oversized.body = vec![b' '; bus.settings.body_bytes_max + 1].into();
    let long = "x".repeat(3000);
    let hostile = [
        changed(plain(&event("of-another-version")), "specversion", "0.3"),
        changed(plain(&event("")), "id", &long),
        changed(plain(&event("1")), "type", &long),
        changed(plain(&event("2")), "keyferrydelivery", &long),
        changed(plain(&event("3")), "keyferryfact", &format!(r#"{{"fact":"phone_deactivated","device_id":"{long}"}}"#)),
        changed(plain(&event("4")), "padding", &"x".repeat(envelope::HEADERS_BYTES_MAX)),
        oversized,
    ];
    let count = u32::try_from(hostile.len()).expect("few");
    for message in hostile {
        bus.slip_in(message).await;
    }
    publisher.publish(vec![event("ours")]).await.expect("it is durable");
    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;
    inbox.holds(&["ours"]).await;
    eventually("all else is parked", async || bus.depth("parked").await == Some(count)).await;
    intake.end().await;
    publishing.end().await;
    bus.end().await;
}
