//! A publish succeeds only for what a queue holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyferry::queue::rabbitmq::State;
use keyferry::queue::{Content, PublishError, Publisher as _, envelope};
use lapin::types::FieldTable;

use super::{Bus, Memory, event, id_of, publisher};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_arrives_once_and_is_acknowledged() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    let mut unreadable = event("3");
    unreadable.body = b"\xff not JSON".as_slice().into();
    unreadable.content = Content::Unreadable {
        source: "app".to_owned(),
        why: "it is not JSON".to_owned(),
        headers: BTreeMap::from([("content-type".to_owned(), "text/plain".to_owned())]),
    };
    let sent = vec![event("1"), event("2"), unreadable];
    publisher.publish(sent.clone()).await.expect("it is durable");
    assert_eq!(bus.depth("inbox").await, Some(2), "the events together, what cannot be read alone");

    let inbox = Arc::new(Memory::default());
    let intake = bus.intake(&inbox).await;
    inbox.holds(&["1", "2", "delivery-of-3"]).await;
    let mut accepted = inbox.accepted.lock().expect("whole").clone();
    accepted.sort_by_key(id_of);
    assert_eq!(accepted, sent, "byte for byte, and word for word");

    // What was not acknowledged would be ready again once intake is gone.
    intake.end().await;
    assert_eq!(bus.depth("inbox").await, Some(0));
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_queue_takes_is_no_success_and_the_binding_comes_back() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    unbind(&bus).await;
    match publisher.publish(vec![event("1")]).await {
        Err(PublishError::Unavailable(why)) => assert!(why.contains("no queue took it"), "{why}"),
        other => panic!("nobody has it, and yet: {other:?}"),
    }
    publisher.publish(vec![event("2")]).await.expect("the binding is there again");
    assert_eq!(bus.depth("inbox").await, Some(1));
    publishing.end().await;
    bus.end().await;
}

/// lapin hands a returned message to any publish of its channel. Here many share one whenever the binding goes: that
/// loses several of them where each is judged by its own confirm.
#[tokio::test(flavor = "multi_thread")]
async fn no_unroutable_message_passes_for_a_success_among_others() {
    let mut bus = Bus::new().await;
    bus.settings.lanes = 1;
    bus.settings.backoff_min = Duration::from_millis(20);
    let (publisher, publishing) = bus.publisher().await;
    let enough = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..256)
        .map(|sender| {
            let (publisher, enough) = (publisher.clone(), Arc::clone(&enough));
            tokio::spawn(async move {
                let mut stored = Vec::new();
                for number in (0..).take_while(|_| !enough.load(Ordering::SeqCst)) {
                    let id = format!("{sender}-{number}");
                    if publisher.publish(vec![event(&id)]).await.is_ok() {
                        stored.push(id);
                    }
                }
                stored
            })
        })
        .collect();
    for _ in 0..40 {
        unbind(&bus).await;
        // The first message to come back takes the link down, and the link makes the binding anew.
        publishing.down_because(&["no queue took it"]).await;
        publishing.ready().await;
    }
    enough.store(true, Ordering::SeqCst);
    let mut stored = BTreeSet::new();
    for sender in senders {
        stored.extend(sender.await.expect("no panic"));
    }

    let held = bus.drain().await;
    let lost: Vec<_> = stored.difference(&held).collect();
    assert!(lost.is_empty(), "{} of {} successes are in no queue: {lost:?}", lost.len(), stored.len());
    assert!(!stored.is_empty(), "some got through");
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses() {
    let mut bus = Bus::new().await;
    bus.settings.queue.messages_max = 3;
    let (publisher, publishing) = bus.publisher().await;
    let mut stored = 0;
    // A quorum queue applies its limit with a little delay, so it may take a few more than three.
    let refusal = loop {
        match publisher.publish(vec![event(&stored.to_string())]).await {
            Ok(()) if stored < 1000 => stored += 1,
            other => break other,
        }
    };
    assert!(matches!(refusal, Err(PublishError::Refused(_))), "{refusal:?}");
    assert_eq!(bus.depth("inbox").await, Some(stored), "what was refused is not there");
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_does_not_fit_is_refused_alone() {
    let bus = Bus::new().await;
    let (publisher, publishing) = bus.publisher().await;
    let (small, large) = (event("small"), event(&"x".repeat(envelope::HEADERS_BYTES_MAX)));
    let (small, large) = tokio::join!(publisher.publish(vec![small]), publisher.publish(vec![large]));
    small.expect("it is durable");
    assert!(matches!(large, Err(PublishError::Refused(_))), "{large:?}");
    assert_eq!(*publishing.state.borrow(), State::Ready);
    publishing.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_declared_otherwise_are_named_and_left_alone() {
    let mut bus = Bus::new().await;
    bus.publisher().await.1.end().await;
    bus.settings.queue.messages_max += 1;
    let (_, running) = publisher(&bus.settings);
    running.down_because(&["x-max-length", "1000001", "1000000", "rabbitmqctl delete_queue"]).await;
    running.end().await;
    bus.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_while_the_broker_is_away_says_so_at_its_deadline() {
    let mut bus = Bus::new().await;
    bus.publisher().await.1.end().await;
    let port = { std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port() };
    bus.settings.url = format!("amqp://guest:hunter2@127.0.0.1:{port}").into();
    bus.settings.publish_deadline = Duration::from_millis(300);
    let (publisher, running) = publisher(&bus.settings);
    match publisher.publish(vec![event("1")]).await {
        Err(PublishError::Unavailable(why)) => assert!(why.contains("refused") && !why.contains("hunter2"), "{why}"),
        other => panic!("there is nobody there, and yet: {other:?}"),
    }
    running.end().await;
    bus.end().await;
}

async fn unbind(bus: &Bus) {
    let (queue, exchange) = (bus.name("inbox").into(), bus.name("events").into());
    bus.channel().await.queue_unbind(queue, exchange, "#".into(), FieldTable::default()).await.expect("unbound");
}
