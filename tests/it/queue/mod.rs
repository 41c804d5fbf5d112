//! The way through a real RabbitMQ: each test under names of its own.

mod batches;
mod crash;
mod faults;
mod intake;
mod publishing;
mod seal;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use keyferry::clock::{Entropy as _, SystemClock, SystemEntropy};
use keyferry::domain::{Event, Fact};
use keyferry::queue::rabbitmq::{self, RabbitPublisher, Settings, State};
use keyferry::queue::{Content, Envelope, Inbox, InboxError, envelope};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::broker::amqp_url;
use crate::support::wait;

/// Names of its own on the broker, and a connection to look at them from outside.
struct Bus {
    settings: Settings,
    outside: Connection,
}

impl Bus {
    async fn new() -> Self {
        Self::at(amqp_url()).await
    }

    async fn at(url: String) -> Self {
        let outside = Connection::connect(&url, ConnectionProperties::default()).await.expect("the broker is there");
        let mut settings = Settings::new(url.into());
        settings.prefix = unique();
        settings.publish_deadline = Duration::from_secs(10);
        settings.backoff_max = Duration::from_secs(1);
        Self { settings, outside }
    }

    fn name(&self, last: &str) -> String {
        format!("{}.{last}", self.settings.prefix)
    }

    async fn channel(&self) -> lapin::Channel {
        self.outside.create_channel().await.expect("a channel")
    }

    /// Messages that are ready in a queue; `None` when there is no such queue.
    async fn depth(&self, last: &str) -> Option<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel().await.queue_declare(self.name(last).into(), options, FieldTable::default()).await;
        queue.ok().map(|queue| queue.message_count())
    }

    /// Takes a message off a queue.
    async fn take(&self, last: &str) -> Option<lapin::message::BasicGetMessage> {
        let channel = self.channel().await;
        let message = channel.basic_get(self.name(last).into(), BasicGetOptions::default()).await.expect("the queue");
        if let Some(message) = &message {
            assert!(message.ack(BasicAckOptions::default()).await.expect("the channel"));
        }
        message
    }

    /// A publisher that is ready.
    async fn publisher(&self) -> (RabbitPublisher, Running) {
        let (publisher, running) = publisher(&self.settings);
        running.ready().await;
        (publisher, running)
    }

    /// Intake into `inbox` that is ready.
    async fn intake(&self, inbox: &Arc<Memory>) -> Running {
        let running = intake(&self.settings, inbox);
        running.ready().await;
        running
    }

    /// Takes all that is in the inbox queue, and returns the events' ids.
    async fn drain(&self) -> BTreeSet<String> {
        let count = usize::try_from(self.depth("inbox").await.expect("the queue")).expect("not that many");
        let (queue, options) = (self.name("inbox").into(), BasicConsumeOptions { no_ack: true, ..Default::default() });
        let channel = self.channel().await;
        let consumer =
            channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.expect("a consumer");
        let messages: Vec<_> = consumer.take(count).map(|message| message.expect("the channel lives")).collect().await;
        let events =
            messages.into_iter().flat_map(|message| envelope::unpack(&message.properties, message.data).expect("ours"));
        events.map(|envelope| id_of(&envelope.expect("ours"))).collect()
    }

    async fn delete_queue(&self, last: &str) {
        let options = QueueDeleteOptions::default();
        self.channel().await.queue_delete(self.name(last).into(), options).await.expect("the queue is deleted");
    }

    async fn delete_exchange(&self, last: &str) {
        let options = ExchangeDeleteOptions::default();
        self.channel().await.exchange_delete(self.name(last).into(), options).await.expect("the exchange is deleted");
    }

    /// Removes everything again.
    async fn end(self) {
        self.delete_queue("inbox").await;
        self.delete_queue("parked").await;
        self.delete_exchange("events").await;
        self.delete_exchange("parked").await;
    }
}

fn publisher(settings: &Settings) -> (RabbitPublisher, Running) {
    let (publisher, link) =
        rabbitmq::publisher(settings, Arc::new(SystemClock), Arc::new(SystemEntropy)).expect("settings");
    (publisher, Running::spawn(link.state(), |shutdown| link.run(shutdown)))
}

fn intake<I: Inbox>(settings: &Settings, inbox: &Arc<I>) -> Running {
    let inbox = Arc::clone(inbox) as Arc<dyn Inbox>;
    let link = rabbitmq::intake(settings, inbox, Arc::new(SystemClock), Arc::new(SystemEntropy)).expect("settings");
    Running::spawn(link.state(), |shutdown| link.run(shutdown))
}

/// A link at work.
struct Running {
    state: watch::Receiver<State>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn spawn<F: Future<Output = ()> + Send + 'static>(
        state: watch::Receiver<State>,
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let shutdown = CancellationToken::new();
        Self { state, task: tokio::spawn(run(shutdown.clone())), shutdown }
    }

    async fn ready(&self) {
        eventually("the link is ready", async || *self.state.borrow() == State::Ready).await;
    }

    /// Waits until it is down, for reasons that hold each of `words`.
    async fn down_because(&self, words: &[&str]) {
        let matches = || match &*self.state.borrow() {
            State::Down { why, .. } => words.iter().all(|word| why.contains(word)),
            State::Connecting | State::Ready | State::Blocked { .. } => false,
        };
        eventually(&format!("the link is down: {words:?}"), async || matches()).await;
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic");
    }
}

/// An inbox that remembers, and that can be broken.
#[derive(Default)]
struct Memory {
    accepted: Mutex<Vec<Envelope>>,
    broken: AtomicBool,
    refusals: AtomicUsize,
}

#[async_trait]
impl Inbox for Memory {
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
        if self.broken.load(Ordering::SeqCst) {
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return Err(InboxError("out of order".to_owned()));
        }
        self.accepted.lock().expect("whole").extend(batch);
        Ok(())
    }
}

impl Memory {
    /// The accepted events' ids, sorted, repetitions included.
    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.accepted.lock().expect("whole").iter().map(id_of).collect();
        ids.sort();
        ids
    }

    async fn holds(&self, ids: &[&str]) {
        eventually(&format!("the inbox holds {ids:?}"), async || self.ids() == ids).await;
    }
}

fn id_of(envelope: &Envelope) -> String {
    match &envelope.content {
        Content::Event(event) => event.event_id.clone(),
        Content::Unreadable { .. } => envelope.delivery_id.clone(),
    }
}

fn event(id: &str) -> Envelope {
    Envelope {
        delivery_id: format!("delivery-of-{id}"),
        received_at: "2026-03-01T10:40:01Z".parse().expect("a time"),
        traceparent: None,
        proof: None,
        body: format!(r#"{{"event_id": "{id}"}}"#).into(),
        content: Content::Event(Event {
            source: "app".to_owned(),
            event_id: id.to_owned(),
            event_type: "phone.deactivated".to_owned(),
            occurred_at: "2026-03-01T10:40:00Z".parse().expect("a time"),
            fact: Fact::PhoneDeactivated { device_id: "phone".to_owned() },
        }),
    }
}

async fn eventually(what: &str, mut seen: impl AsyncFnMut() -> bool) {
    wait::until(what, async || seen().await.then_some(())).await;
}

fn unique() -> String {
    format!("test-{:016x}", SystemEntropy.next_u64())
}
