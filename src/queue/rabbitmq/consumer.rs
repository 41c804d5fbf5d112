//! Intake: from the broker's queue into the inbox, batch by batch.
//!
//! A batch is what has arrived by the time the batch before it is committed; there is no timer to wait for. It is
//! acknowledged after its commit and never before, so a crash between the two only repeats what the inbox already has.
//! While the inbox cannot commit, the batch is kept and the prefetch limit keeps the rest at the broker: nothing is
//! requeued, so nothing goes round in circles or uses up its deliveries.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, BasicProperties, Connection, Consumer};
use metrics::{counter, describe_counter};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::supervisor::{Fault, Link, Work};
use super::topology::Names;
use super::{AddressError, Settings};
use crate::clock::{Clock, Entropy};
use crate::queue::envelope::{self, DecodeError};
use crate::queue::seal::{Keys, SealError};
use crate::queue::{Envelope, Inbox};

const REFUSED: &str = "keyferry_queue_messages_refused_total";

/// The work of a consuming link.
pub struct Intake {
    inbox: Arc<dyn Inbox>,
    queue: ShortString,
    prefetch: u16,
    batch_max: usize,
    customs: Customs,
    backoff: Backoff,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

pub(super) fn start(
    settings: &Settings,
    inbox: Arc<dyn Inbox>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Link<Intake>, AddressError> {
    describe_counter!(REFUSED, "Messages that intake did not take for ours and had parked at the broker, by reason");
    let work = Intake {
        inbox,
        queue: Names::under(&settings.prefix)?.inbox,
        prefetch: settings.prefetch.max(1),
        batch_max: settings.batch_max.max(1),
        customs: Customs { keys: settings.keys.clone(), body_bytes_max: settings.body_bytes_max },
        backoff: Backoff { min: settings.backoff_min, max: settings.backoff_max },
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    Link::new(settings, work, clock, entropy)
}

#[async_trait]
impl Work for Intake {
    type Tools = Consumer;

    const NAME: &'static str = "intake";

    async fn open(&self, connection: &Connection) -> Result<Self::Tools, Fault> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        Ok(channel.basic_consume(self.queue.clone(), "".into(), options, FieldTable::default()).await?)
    }

    async fn run(&mut self, mut consumer: Self::Tools, shutdown: &CancellationToken) -> Result<(), Fault> {
        while self.step(&mut consumer, shutdown).await? {}
        Ok(())
    }
}

impl Intake {
    /// One batch: gathered, committed, acknowledged. `false` when `shutdown` was cancelled first.
    async fn step(&self, deliveries: &mut Consumer, shutdown: &CancellationToken) -> Result<bool, Fault> {
        let Some(gathered) = shutdown.run_until_cancelled(gather(deliveries, self.batch_max)).await else {
            return Ok(false);
        };
        let batch = sort(gathered?, &self.customs);
        for foreign in batch.foreign {
            counter!(REFUSED, "reason" => foreign.why.reason()).increment(1);
            tracing::warn!(
                error = %foreign.why,
                exchange = %foreign.exchange,
                body_bytes = foreign.body_bytes,
                "a message that is none of ours is rejected and goes to the parked queue"
            );
            settle(foreign.acker.reject(BasicRejectOptions { requeue: false }).await?)?;
        }
        let Some(last) = batch.last else { return Ok(true) };
        let committed = self.commit(batch.envelopes);
        if shutdown.run_until_cancelled(committed).await.is_none() {
            return Ok(false);
        }
        // The rejected ones are settled already, so this means exactly those that were committed.
        settle(last.ack(BasicAckOptions { multiple: true }).await?)?;
        Ok(true)
    }

    /// Returns when the inbox has the batch, however often it takes.
    async fn commit(&self, batch: Vec<Envelope>) {
        let mut failures = 0_u32;
        while let Err(error) = self.inbox.accept(batch.clone()).await {
            failures = failures.saturating_add(1);
            let pause = self.backoff.pause(failures, &*self.entropy);
            tracing::warn!(
                %error,
                batch = batch.len(),
                failures,
                pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX),
                "the inbox takes nothing; the batch is kept and tried again"
            );
            self.clock.sleep(pause).await;
        }
    }
}

/// Deliveries, sorted into what can be committed and what cannot.
#[derive(Default)]
struct Batch {
    envelopes: Vec<Envelope>,
    /// Acknowledges the last of `envelopes`, and all before it.
    last: Option<Acker>,
    foreign: Vec<Foreign>,
}

struct Foreign {
    acker: Acker,
    why: Foreignness,
    exchange: ShortString,
    body_bytes: usize,
}

/// Waits for one delivery, and takes with it what has arrived already, up to `max`.
async fn gather(
    deliveries: &mut (impl Stream<Item = lapin::Result<Delivery>> + Unpin),
    max: usize,
) -> Result<Vec<Delivery>, Fault> {
    // The end of the stream without an error is how a deleted queue looks from here.
    let mut gathered = vec![deliveries.next().await.ok_or(Fault::ConsumerCancelled)??];
    while gathered.len() < max
        && let Some(next) = deliveries.next().now_or_never()
    {
        gathered.push(next.ok_or(Fault::ConsumerCancelled)??);
    }
    Ok(gathered)
}

/// What a message has to be to be taken for ours.
struct Customs {
    /// `None`: whoever may publish is believed, as long as the message has our shape.
    keys: Option<Arc<Keys>>,
    body_bytes_max: usize,
}

/// Why a message is none of ours.
#[derive(Debug, thiserror::Error)]
enum Foreignness {
    #[error("its body has {bytes} bytes, and {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Shape(#[from] DecodeError),
}

impl Foreignness {
    /// The word for the counter.
    fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::Shape(DecodeError::TooLong { .. }) => "too_large",
            Self::Seal(SealError::Unsealed) => "unsealed",
            Self::Seal(SealError::Version) => "unknown_seal_version",
            Self::Seal(SealError::Forged) => "forged",
            Self::Shape(_) => "malformed",
        }
    }
}

impl Customs {
    fn pass(&self, properties: &BasicProperties, body: Vec<u8>) -> Result<Envelope, Foreignness> {
        if body.len() > self.body_bytes_max {
            return Err(Foreignness::TooLarge { bytes: body.len(), max: self.body_bytes_max });
        }
        if let Some(keys) = &self.keys {
            keys.check(properties.headers().as_ref().unwrap_or(&FieldTable::default()), &body)?;
        }
        Ok(envelope::decode(properties, body)?)
    }
}

fn sort(deliveries: Vec<Delivery>, customs: &Customs) -> Batch {
    let mut batch = Batch::default();
    for delivery in deliveries {
        let body_bytes = delivery.data.len();
        match customs.pass(&delivery.properties, delivery.data) {
            Ok(envelope) => {
                batch.envelopes.push(envelope);
                batch.last = Some(delivery.acker);
            }
            Err(why) => {
                batch.foreign.push(Foreign { acker: delivery.acker, why, exchange: delivery.exchange, body_bytes });
            }
        }
    }
    batch
}

/// lapin answers `false` where the broker can no longer know of the delivery.
fn settle(settled: bool) -> Result<(), Fault> {
    if settled { Ok(()) } else { Err(Fault::AckLost) }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::queue::envelope::encode;
    use crate::queue::envelope::tests::some_envelope;

    fn delivery(tag: u64, envelope: Option<&Envelope>) -> Delivery {
        let mut delivery = Delivery::mock(tag, "keyferry.events".into(), "x".into(), false, b"{}".to_vec());
        if let Some(envelope) = envelope {
            delivery.properties = encode(envelope).expect("it encodes").properties;
        }
        delivery
    }

    #[tokio::test]
    async fn a_batch_is_what_has_arrived() {
        let arrived = (1..=3).map(|tag| Ok(delivery(tag, None)));
        let mut deliveries = stream::iter(arrived).chain(stream::pending());
        assert_eq!(gather(&mut deliveries, 2).await.expect("a batch").len(), 2);
        assert_eq!(gather(&mut deliveries, 2).await.expect("a batch").len(), 1);
    }

    #[tokio::test]
    async fn a_stream_that_ends_is_a_fault() {
        let mut deliveries = stream::iter([Ok(delivery(1, None))]);
        assert!(matches!(gather(&mut deliveries, 2).await, Err(Fault::ConsumerCancelled)));
    }

    #[test]
    fn foreign_messages_are_kept_out_of_what_is_acknowledged() {
        let ours = some_envelope();
        let customs = Customs { keys: None, body_bytes_max: 1024 };
        let batch = sort(vec![delivery(1, None), delivery(2, Some(&ours)), delivery(3, None)], &customs);
        assert_eq!(batch.envelopes.len(), 1);
        assert_eq!(batch.foreign.len(), 2);
        assert!(batch.last == Some(delivery(2, None).acker), "the last of ours is the second");
    }
}
