//! Several events in one message: what waits together travels together, and nobody suffers for another's sake.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use keyferry::queue::envelope::{self, Message};
use keyferry::queue::seal::Keys;
use keyferry::queue::{Content, Envelope, Inbox, InboxError, Publisher as _};
use lapin::options::BasicPublishOptions;

use super::{Bus, Memory, event, eventually, intake};

fn of_type(id: &str, event_type: &str) -> Envelope {
    let mut envelope = event(id);
    if let Content::Event(event) = &mut envelope.content {
        event_type.clone_into(&mut event.event_type);
    }
    envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_type_share_a_message_up_to_its_limits_and_only_they() {
    let mut bus = Bus::new().await;
    bus.settings.per_message.events = 3;
    let (publisher, publishing) = bus.publisher().await;
    let mut sent: Vec<_> = (0..4).map(|id| of_type(&id.to_string(), "a")).collect();
    sent.extend((4..6).map(|id| of_type(&id.to_string(), "b")));
    publisher.publish(sent.clone()).await.expect("they are durable");
    let mut messages = Vec::new();
    while let Some(message) = bus.take("inbox").await {
        let key = message.delivery.routing_key.to_string();
        let events = envelope::unpack(&message.delivery.properties, message.delivery.data).expect("ours");
        messages.push((key, events.len()));
    }
    messages.sort();
    assert_eq!(messages, [("a".to_owned(), 1), ("a".to_owned(), 3), ("b".to_owned(), 2)]);

    publisher.publish(vec![of_type("alone", "a")]).await.expect("it is durable");
    let alone = bus.take("inbox").await.expect("it is there");
    assert_eq!(envelope::decode(&alone.properties, alone.data.clone()).expect("ours").body, event("alone").body);

    let inbox = Arc::new(Memory::default());
    let taking_in = bus.intake(&inbox).await;
    publisher.publish(sent).await.expect("they are durable");
    inbox.holds(&["0", "1", "2", "3", "4", "5"]).await;
    taking_in.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}

fn packed(envelopes: &[Envelope]) -> Message {
    let limits = envelope::Limits { events: 64, bytes: 1 << 20 };
    envelope::pack(&envelopes.iter().collect::<Vec<_>>(), limits).remove(0).message.expect("it fits")
}

async fn slip_in(bus: &Bus, message: Message) {
    let Message { routing_key, properties, body } = message;
    let (exchange, options) = (bus.name("events").into(), BasicPublishOptions::default());
    bus.channel().await.basic_publish(exchange, routing_key, options, &body, properties).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sealed_and_a_foreign_event_in_it_costs_the_others_nothing() {
    let mut bus = Bus::new().await;
    let keys = |text: &str| Keys::parse(&text.into()).expect("a key");
    bus.settings.keys = Some(Arc::new(keys("a-key-of-the-tests-0123456789")));
    let (publisher, publishing) = bus.publisher().await;
    publisher.publish(vec![event("1"), event("2")]).await.expect("they are durable");
    slip_in(&bus, packed(&[event("unsealed"), event("unsealed-too")])).await;
    slip_in(&bus, keys("another-key-of-the-tests-0123456").seal(packed(&[event("x"), event("y")]))).await;
    let mut changed = keys("a-key-of-the-tests-0123456789").seal(packed(&[event("p"), event("q")]));
    changed.body = String::from_utf8(changed.body.to_vec()).expect("JSON").replace("\"p\"", "\"r\"").into();
    slip_in(&bus, changed).await;
    // A receiver that can make a seal and makes an event that is none: of a later version, perhaps.
    let mut strange = packed(&[event("3"), event("4"), event("5")]);
    strange.body = String::from_utf8(strange.body.to_vec()).expect("JSON").replace("\"id\":\"4\"", "\"id\":4").into();
    slip_in(&bus, keys("a-key-of-the-tests-0123456789").seal(strange)).await;

    let inbox = Arc::new(Memory::default());
    let taking_in = bus.intake(&inbox).await;
    inbox.holds(&["1", "2", "3", "5"]).await;
    eventually("four are parked", async || bus.depth("parked").await == Some(4)).await;
    taking_in.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}

/// An event that takes its time to arrive.
fn heavy(id: &str, event_type: &str) -> Envelope {
    let body = format!(r#"{{"event_id": "{id}", "note": "{}"}}"#, "-".repeat(900_000));
    Envelope { body: body.into(), ..of_type(id, event_type) }
}

/// An inbox whose process dies of one event: it never comes back from a batch that holds it.
#[derive(Default)]
struct Mortal {
    memory: Memory,
    deaths: AtomicUsize,
}

#[async_trait]
impl Inbox for Mortal {
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
        if batch.iter().any(|envelope| super::id_of(envelope) == "deadly") {
            self.deaths.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.memory.accept(batch).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kills_intake_is_parked_in_the_end_and_its_neighbours_are_not_lost_with_it() {
    let mut bus = Bus::new().await;
    bus.settings.queue.delivery_limit = 10;
    let (publisher, publishing) = bus.publisher().await;
    publisher.publish(["1", "2", "deadly", "3", "4"].map(event).to_vec()).await.expect("they are durable");
    publisher.publish(vec![heavy("5", "b"), heavy("6", "c")]).await.expect("they are durable");
    let inbox = Arc::new(Mortal::default());
    let mut lives = 0;
    while bus.depth("parked").await != Some(1) {
        lives += 1;
        assert!(lives < 50, "it is given up after its last delivery");
        let deaths = inbox.deaths.load(Ordering::SeqCst);
        let life = intake(&bus.settings, &inbox);
        let dies = async || inbox.deaths.load(Ordering::SeqCst) > deaths || bus.depth("parked").await == Some(1);
        eventually("it dies, or there is nothing left to die of", dies).await;
        life.end().await;
    }
    let mut ids = inbox.memory.ids();
    ids.dedup();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}
