//! What has to exist on the broker, and with which arguments.
//!
//! Publisher and intake both declare all of it, so either may come first, and what somebody deleted is there again after
//! the next connection. Whatever differs between RabbitMQ versions is given as an argument, so that 3.10 and 4.x behave
//! alike; the number of replicas is the cluster's own affair and is left to it.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use super::address::AddressError;

/// Names on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Topic exchange; routing key is the event's type. Others may bind queues of their own.
    pub events: ShortString,
    /// The queue that intake consumes.
    pub inbox: ShortString,
    /// Exchange (fanout) and queue of what intake cannot store: foreign messages and what crashed it again and again.
    pub parked: ShortString,
}

impl Names {
    /// The names under a prefix.
    ///
    /// # Errors
    ///
    /// When it is no prefix.
    pub fn under(prefix: &str) -> Result<Self, AddressError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(allowed) {
            return Err(AddressError::Prefix);
        }
        let name = |last: &str| ShortString::from(format!("{prefix}.{last}"));
        Ok(Self { events: name("events"), inbox: name("inbox"), parked: name("parked") })
    }
}

/// How much the queues hold. Part of their declaration: a queue that exists keeps what it was declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLimits {
    /// Deliveries of one message before it is parked. A lost connection counts as one for every message that was out,
    /// so this is far above what happens in a bad day, and only a message that kills intake reaches it.
    pub delivery_limit: u32,
    /// Messages ready in a queue; the next publish is refused.
    pub messages_max: u32,
    /// The same, in bytes of their bodies.
    pub bytes_max: u32,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { delivery_limit: 100, messages_max: 1_000_000, bytes_max: 1 << 30 }
    }
}

/// What stands in the way of the topology.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    #[error(
        "`{name}` exists with other arguments ({broker_says}): either configure what it was declared with, or delete it \
         when it is empty (`rabbitmqctl delete_queue --if-empty {name}`), and it is declared anew"
    )]
    Differs { name: ShortString, broker_says: String },
    #[error("`{name}` could not be declared: {source}")]
    Refused { name: ShortString, source: lapin::Error },
}

/// Declares everything that is missing.
pub(super) async fn declare(connection: &Connection, names: &Names, limits: &QueueLimits) -> Result<(), TopologyError> {
    let refused = |source| TopologyError::Refused { name: names.events.clone(), source };
    // A channel of its own, because a mismatch closes it.
    let channel = connection.create_channel().await.map_err(refused)?;
    exchange(&channel, &names.parked, ExchangeKind::Fanout).await?;
    queue(&channel, &names.parked, parked_arguments(limits)).await?;
    bind(&channel, &names.parked, &names.parked, "").await?;
    exchange(&channel, &names.events, ExchangeKind::Topic).await?;
    queue(&channel, &names.inbox, inbox_arguments(names, limits)).await?;
    bind(&channel, &names.inbox, &names.events, "#").await?;
    channel.close(200, "declared".into()).await.map_err(refused)
}

/// How an exchange or a queue stands on the broker.
#[derive(Debug)]
pub enum Standing {
    AsDeclared,
    /// As declared, with so many messages that are ready and so many consumers.
    Queue {
        messages: u32,
        consumers: u32,
    },
    Missing,
    Wrong(TopologyError),
}

/// Looks at everything and makes nothing: what is missing is found by a passive declaration, and only what is there is
/// declared, because a passive declaration compares no arguments.
pub(super) async fn inspect(
    connection: &Connection,
    names: &Names,
    limits: &QueueLimits,
) -> lapin::Result<Vec<(ShortString, Standing)>> {
    let mut seen = Vec::new();
    for (name, kind) in [(&names.events, ExchangeKind::Topic), (&names.parked, ExchangeKind::Fanout)] {
        // A channel each, because a mismatch closes it.
        let channel = connection.create_channel().await?;
        let passive = ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
        let there = channel.exchange_declare(name.clone(), kind.clone(), passive, FieldTable::default()).await;
        let standing = match there {
            Ok(()) => exchange(&channel, name, kind).await.map_or_else(Standing::Wrong, |()| Standing::AsDeclared),
            Err(error) => missing_or_wrong(name, error),
        };
        seen.push((name.clone(), standing));
    }
    for (name, arguments) in [(&names.inbox, inbox_arguments(names, limits)), (&names.parked, parked_arguments(limits))]
    {
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let standing = match channel.queue_declare(name.clone(), passive, FieldTable::default()).await {
            Ok(there) => queue(&channel, name, arguments).await.map_or_else(Standing::Wrong, |()| Standing::Queue {
                messages: there.message_count(),
                consumers: there.consumer_count(),
            }),
            Err(error) => missing_or_wrong(name, error),
        };
        seen.push((name.clone(), standing));
    }
    Ok(seen)
}

fn missing_or_wrong(name: &ShortString, error: lapin::Error) -> Standing {
    match error.kind() {
        ErrorKind::ProtocolError(protocol) if *protocol.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => {
            Standing::Missing
        }
        _ => Standing::Wrong(explain(name, error)),
    }
}

async fn exchange(channel: &Channel, name: &ShortString, kind: ExchangeKind) -> Result<(), TopologyError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(name.clone(), kind, options, FieldTable::default())
        .await
        .map_err(|error| explain(name, error))
}

async fn queue(channel: &Channel, name: &ShortString, arguments: FieldTable) -> Result<(), TopologyError> {
    channel
        .queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments)
        .await
        .map(drop)
        .map_err(|error| explain(name, error))
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    routing_key: &str,
) -> Result<(), TopologyError> {
    channel
        .queue_bind(
            queue.clone(),
            exchange.clone(),
            routing_key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|error| explain(queue, error))
}

fn inbox_arguments(names: &Names, limits: &QueueLimits) -> FieldTable {
    let mut arguments = quorum(limits, limits.delivery_limit);
    arguments.insert("x-dead-letter-exchange".into(), string(names.parked.as_str()));
    // Only with this, and with reject-publish, is a dead letter handed over and not just thrown across.
    arguments.insert("x-dead-letter-strategy".into(), string("at-least-once"));
    arguments
}

fn parked_arguments(limits: &QueueLimits) -> FieldTable {
    // Nothing is behind this queue: a delivery limit would delete what somebody looked at too often. RabbitMQ 4 sets
    // one of 20 unless told otherwise, and 3.x knows no word for "none".
    quorum(limits, i32::MAX.unsigned_abs())
}

fn quorum(limits: &QueueLimits, delivery_limit: u32) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), string("quorum"));
    arguments.insert("x-overflow".into(), string("reject-publish"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(delivery_limit.into()));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(limits.messages_max.into()));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(limits.bytes_max.into()));
    arguments
}

fn string(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// RabbitMQ names the argument that differs, and both values, in the text of its 406.
fn explain(name: &ShortString, error: lapin::Error) -> TopologyError {
    if let ErrorKind::ProtocolError(protocol) = error.kind()
        && *protocol.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)
    {
        return TopologyError::Differs { name: name.clone(), broker_says: protocol.get_message().to_string() };
    }
    TopologyError::Refused { name: name.clone(), source: error }
}
