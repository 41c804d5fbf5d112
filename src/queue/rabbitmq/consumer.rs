//! Intake: from the broker's queue into the inbox, batch by batch.
//!
//! A batch is what has arrived by the time the batch before it is committed; there is no timer to wait for. It is
//! acknowledged after its commit and never before, so a crash between the two only repeats what the inbox already has.
//! While the inbox cannot commit, the batch is kept and the prefetch limit keeps the rest at the broker: nothing is
//! requeued, so nothing goes round in circles or uses up its deliveries.
//!
//! What has been delivered in vain more than a few times may be what kills intake, or stand beside it. It is taken in
//! event by event, each in a transaction of its own, beginning at another place each time; and nothing new is taken until
//! then, so that whatever is out at the time is in hand and goes first: only the one that kills is still there when the
//! broker gives up on it.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::Fuse;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Connection, Consumer};
use metrics::{counter, describe_counter};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::batch::{Batch, Customs, Foreign, Suspect};
use super::supervisor::{Fault, Link, Work};
use super::topology::Names;
use super::{AddressError, Settings};
use crate::clock::{Clock, Entropy};
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

/// What intake works with on one connection.
pub struct Taking {
    channel: Channel,
    deliveries: Fuse<Consumer>,
}

/// Why a step was not brought to its end.
enum Stop {
    Shutdown,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Waits for `work`, but not beyond the end.
async fn unless_ended<T>(shutdown: &CancellationToken, work: impl Future<Output = T>) -> Result<T, Stop> {
    shutdown.run_until_cancelled(work).await.ok_or(Stop::Shutdown)
}

#[async_trait]
impl Work for Intake {
    type Tools = Taking;

    const NAME: &'static str = "intake";

    async fn open(&self, connection: &Connection) -> Result<Self::Tools, Fault> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let deliveries = self.consume(&channel).await?;
        Ok(Taking { channel, deliveries })
    }

    async fn run(&mut self, mut taking: Self::Tools, shutdown: &CancellationToken) -> Result<(), Fault> {
        loop {
            match self.step(&mut taking, shutdown).await {
                Ok(()) => {}
                Err(Stop::Shutdown) => return Ok(()),
                Err(Stop::Fault(fault)) => return Err(fault),
            }
        }
    }
}

impl Intake {
    /// One batch: gathered, committed, acknowledged.
    async fn step(&self, taking: &mut Taking, shutdown: &CancellationToken) -> Result<(), Stop> {
        // The end of the stream without an error is how a deleted queue looks from here.
        let batch = self.gather(taking, shutdown).await?.ok_or(Fault::ConsumerCancelled)?;
        let is_all = batch.suspects.is_empty();
        let suspects = self.take(batch, is_all, shutdown).await?;
        if is_all { Ok(()) } else { self.examine(suspects, taking, shutdown).await }
    }

    /// Takes in what is suspected, after whatever else is out.
    async fn examine(
        &self,
        mut suspects: Vec<Suspect>,
        taking: &mut Taking,
        shutdown: &CancellationToken,
    ) -> Result<(), Stop> {
        let cancel = taking.channel.basic_cancel(taking.deliveries.get_ref().tag(), BasicCancelOptions::default());
        unless_ended(shutdown, cancel).await?.map_err(Fault::from)?;
        // What was delivered before the broker's answer, and then the end.
        while let Some(batch) = self.gather(taking, shutdown).await? {
            suspects.extend(self.take(batch, false, shutdown).await?);
        }
        for suspect in Suspect::in_turn(suspects) {
            self.take_one_by_one(suspect, shutdown).await?;
        }
        taking.deliveries = unless_ended(shutdown, self.consume(&taking.channel)).await??;
        Ok(())
    }

    async fn consume(&self, channel: &Channel) -> Result<Fuse<Consumer>, Fault> {
        let options = BasicConsumeOptions::default();
        Ok(channel.basic_consume(self.queue.clone(), "".into(), options, FieldTable::default()).await?.fuse())
    }

    /// `None` at the end of the deliveries.
    async fn gather(&self, taking: &mut Taking, shutdown: &CancellationToken) -> Result<Option<Batch>, Stop> {
        let gathering = Batch::gather(&mut taking.deliveries, self.batch_max, &self.customs);
        Ok(unless_ended(shutdown, gathering).await??)
    }

    /// Takes in what is not suspected, and returns what is. `is_all`: nothing else is out.
    async fn take(&self, batch: Batch, is_all: bool, shutdown: &CancellationToken) -> Result<Vec<Suspect>, Stop> {
        for foreign in batch.foreign {
            reject(foreign).await?;
        }
        unless_ended(shutdown, self.commit(batch.envelopes)).await?;
        // Those of its events that are ours are in the inbox now: it is parked for the sake of the others only.
        for mixed in batch.mixed {
            reject(mixed).await?;
        }
        acknowledge(batch.ours, is_all).await?;
        Ok(batch.suspects)
    }

    async fn take_one_by_one(&self, suspect: Suspect, shutdown: &CancellationToken) -> Result<(), Stop> {
        tracing::warn!(
            delivered = suspect.delivered,
            events = suspect.envelopes.len(),
            "a message has come back again and again: its events are taken in one by one"
        );
        for envelope in suspect.envelopes {
            unless_ended(shutdown, self.commit(vec![envelope])).await?;
        }
        match suspect.foreign {
            Some(foreign) => reject(foreign).await?,
            None => acknowledge(vec![suspect.acker], false).await?,
        }
        Ok(())
    }

    /// Returns when the inbox has the batch, however often it takes.
    async fn commit(&self, batch: Vec<Envelope>) {
        if batch.is_empty() {
            return;
        }
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

/// `at_once`: these are all that is out, but for what was settled before.
async fn acknowledge(ackers: Vec<Acker>, at_once: bool) -> Result<(), Fault> {
    let skipped = if at_once { ackers.len().saturating_sub(1) } else { 0 };
    for acker in ackers.into_iter().skip(skipped) {
        settle(acker.ack(BasicAckOptions { multiple: at_once }).await?)?;
    }
    Ok(())
}

/// Has the broker park a message.
async fn reject(foreign: Foreign) -> Result<(), Fault> {
    counter!(REFUSED, "reason" => foreign.why.reason()).increment(1);
    tracing::warn!(
        error = %foreign.why,
        exchange = %foreign.exchange,
        body_bytes = foreign.body_bytes,
        "a message that is none of ours is rejected and goes to the parked queue"
    );
    settle(foreign.acker.reject(BasicRejectOptions { requeue: false }).await?)
}

/// lapin answers `false` where the broker can no longer know of the delivery.
fn settle(settled: bool) -> Result<(), Fault> {
    if settled { Ok(()) } else { Err(Fault::AckLost) }
}
