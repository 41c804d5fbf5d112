//! The broker alone: its ceiling, and what one message costs when nothing else is going on.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::stats::Latencies;

/// A durable quorum queue, as Keyferry's.
pub(crate) const QUEUE: &str = "bench";
const BODY: [u8; 400] = [b'x'; 400];

#[expect(clippy::disallowed_methods, reason = "how scripts/bench says where its services are")]
fn service(variable: &str) -> anyhow::Result<String> {
    std::env::var(variable).with_context(|| format!("{variable} is not set: run this by scripts/bench"))
}

pub(crate) fn url() -> anyhow::Result<String> {
    service("KEYFERRY_TEST_AMQP_URL")
}

pub(crate) fn postgres_url() -> anyhow::Result<String> {
    service("KEYFERRY_TEST_POSTGRES_URL")
}

/// The broker's process, whose processor time is part of what a message costs.
pub(crate) fn process() -> anyhow::Result<u32> {
    let output = Command::new(service("KEYFERRY_TEST_RABBITMQCTL")?).args(["eval", "os:getpid()."]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("the broker's process is no number: {text}"))
}

pub(crate) async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), options, arguments).await?;
    Ok(())
}

/// A connection of the bench's own.
pub(crate) struct Broker {
    connection: Connection,
}

impl Broker {
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let connection = Connection::connect(&url()?, ConnectionProperties::default()).await?;
        declare(&connection.create_channel().await?).await?;
        Ok(Self { connection })
    }

    /// Empties a queue, so that no contender pays for what another left.
    pub(crate) async fn purge(&self, queue: &str) -> anyhow::Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    pub(crate) async fn delete(&self, queue: &str) -> anyhow::Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    async fn publishing(&self) -> anyhow::Result<Channel> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    /// Publishes with `in_flight` confirms outstanding; messages a second.
    pub(crate) async fn ceiling(&self, in_flight: usize, turn: Duration) -> anyhow::Result<f64> {
        let channel = self.publishing().await?;
        let (began, mut confirmed) = (Instant::now(), 0_u32);
        let mut open = FuturesUnordered::new();
        while began.elapsed() < turn {
            while open.len() < in_flight {
                open.push(publish(&channel).await?);
            }
            if let Some(confirm) = open.next().await {
                ensure!(matches!(confirm?, Confirmation::Ack(None)), "the broker refused a message");
                confirmed += 1;
            }
        }
        Ok(f64::from(confirmed) / began.elapsed().as_secs_f64())
    }

    /// How long one confirmed publish takes alone.
    pub(crate) async fn one_publish(&self, times: u32) -> anyhow::Result<Latencies> {
        let channel = self.publishing().await?;
        let mut latencies = Latencies::default();
        for _ in 0..times {
            let began = Instant::now();
            publish(&channel).await?.await?;
            latencies.add(began.elapsed());
        }
        Ok(latencies)
    }

    /// How long one confirmed publish and its delivery take alone.
    pub(crate) async fn one_passage(&self, times: u32) -> anyhow::Result<Latencies> {
        self.purge(QUEUE).await?;
        let channel = self.publishing().await?;
        let consuming = self.connection.create_channel().await?;
        let options = BasicConsumeOptions::default();
        let mut deliveries = consuming.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
        let mut latencies = Latencies::default();
        for _ in 0..times {
            let began = Instant::now();
            publish(&channel).await?.await?;
            let delivery = deliveries.next().await.context("the consumer was cancelled")??;
            latencies.add(began.elapsed());
            delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok(latencies)
    }
}

async fn publish(channel: &Channel) -> anyhow::Result<impl Future<Output = lapin::Result<Confirmation>> + use<>> {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    Ok(channel.basic_publish("".into(), QUEUE.into(), options, &BODY, persistent).await?)
}
