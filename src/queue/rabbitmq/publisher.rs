//! Publishing with confirms, in groups.
//!
//! A confirm says that a message is safe, or that no queue wanted it: then the message comes back first. lapin gives
//! what came back to *whichever* publish of that channel is confirmed next, so with several under way a lone
//! `Ack(None)` proves nothing while bindings are changing. What does prove something: a group that has a channel to
//! itself, all of it confirmed, and nothing come back. So each channel (a *lane*) has one group under way, a group is
//! whatever waits when there are as many as are under way, and one returned message fails its whole group. Those of a
//! group that are of one type share a message: the more is waiting, the less each costs the broker, and what comes alone
//! goes alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection, ConnectionStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::supervisor::{Fault, Link, State, Work, signed};
use super::topology::Names;
use super::{AddressError, Settings};
use crate::clock::{Clock, Entropy};
use crate::queue::envelope::{self, EncodeError, Message, Parcel};
use crate::queue::seal::Keys;
use crate::queue::waiting::{self, Counter, Door, Group};
use crate::queue::{Envelope, PublishError, Publisher};

/// Publishes over a [`Link`].
///
/// While the link is down or blocked a publish waits for it, within its deadline: a broker that restarts costs its
/// senders patience, not retries. What was under way when a connection was lost fails at once.
#[derive(Clone)]
pub struct RabbitPublisher {
    door: Door,
    state: watch::Receiver<State>,
}

pub(super) fn start(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<(RabbitPublisher, Link<Publishing>), AddressError> {
    let (door, counter) = waiting::room(settings.in_flight_max, settings.publish_deadline, Arc::clone(&clock));
    let work = Publishing {
        counter,
        exchange: Names::under(&settings.prefix)?.events,
        lanes: settings.lanes.max(1),
        group_max: settings.group_max,
        per_message: settings.per_message,
        keys: settings.keys.clone(),
        confirm_stall: settings.confirm_stall,
        clock: Arc::clone(&clock),
    };
    let link = Link::new(settings, work, clock, entropy)?;
    let state = link.state();
    Ok((RabbitPublisher { door, state }, link))
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        let error = match self.door.submit(batch).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Too late, or no place left: the link knows better why.
        Err(match (error, &*self.state.borrow()) {
            (PublishError::Deadline(_) | PublishError::Full, State::Connecting) => {
                PublishError::Unavailable("not connected yet".to_owned())
            }
            (PublishError::Deadline(_) | PublishError::Full, State::Blocked { why, .. } | State::Down { why, .. }) => {
                PublishError::Unavailable(why.clone())
            }
            (error, _) => error,
        })
    }
}

/// The work of a publishing link.
pub struct Publishing {
    counter: Counter,
    exchange: ShortString,
    lanes: usize,
    group_max: usize,
    per_message: envelope::Limits,
    keys: Option<Arc<Keys>>,
    confirm_stall: Duration,
    clock: Arc<dyn Clock>,
}

/// What a publishing link works with on one connection.
pub struct Lanes {
    channels: Vec<Channel>,
    connection: ConnectionStatus,
}

#[async_trait]
impl Work for Publishing {
    type Tools = Lanes;

    const NAME: &'static str = "publishing";

    async fn open(&self, connection: &Connection) -> Result<Self::Tools, Fault> {
        let mut channels = Vec::with_capacity(self.lanes);
        for _ in 0..self.lanes {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            channels.push(channel);
        }
        Ok(Lanes { channels, connection: connection.status().clone() })
    }

    async fn run(&mut self, lanes: Self::Tools, shutdown: &CancellationToken) -> Result<(), Fault> {
        let work = try_join_all(lanes.channels.iter().map(|channel| self.lane(channel, &lanes.connection)));
        // Whoever cancels has seen to it that nobody publishes any more.
        shutdown.run_until_cancelled(work).await.map_or(Ok(()), |ended| ended.map(drop))
    }
}

impl Publishing {
    /// Publishes one group after the other until a fault.
    async fn lane(&self, channel: &Channel, connection: &ConnectionStatus) -> Result<(), Fault> {
        while let Some(group) = self.counter.group(self.group_max).await {
            tokio::select! {
                outcome = self.publish(channel, group) => outcome?,
                fault = self.stalled(connection) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Publishes a group, waits for all of its confirms, and only then answers.
    async fn publish(&self, channel: &Channel, group: Group) -> Result<(), Fault> {
        let envelopes: Vec<&Envelope> = group.submissions.iter().flat_map(|submission| &submission.batch).collect();
        let parcels = envelope::pack(&envelopes, self.per_message);
        let mut verdicts: Vec<Verdict> = vec![Ok(()); envelopes.len()];
        let mut under_way = Vec::with_capacity(parcels.len());
        for Parcel { message, of } in parcels {
            under_way.push(async move { self.send(channel, message).await.map(|verdict| (verdict, of)) });
        }
        match join_all(under_way).await.into_iter().collect::<Result<Vec<_>, Fault>>() {
            Ok(told) => {
                for (verdict, of) in told {
                    for number in of {
                        verdicts[number].clone_from(&verdict);
                    }
                }
                let mut verdicts = verdicts.into_iter();
                for submission in group.submissions {
                    let verdict: Verdict = verdicts.by_ref().take(submission.batch.len()).collect();
                    submission.answer(verdict.map_err(PublishError::Refused));
                }
                Ok(())
            }
            Err(fault) => {
                for submission in group.submissions {
                    submission.answer(Err(PublishError::Unavailable(fault.to_string())));
                }
                Err(fault)
            }
        }
    }

    async fn send(&self, channel: &Channel, message: Result<Message, EncodeError>) -> Result<Verdict, Fault> {
        let message = match message {
            Ok(message) => message,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let message = match &self.keys {
            Some(keys) => keys.seal(message),
            None => message,
        };
        let Message { routing_key, properties, body } = message;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let confirm =
            channel.basic_publish(self.exchange.clone(), routing_key, options, &body, properties).await?.await?;
        match confirm {
            Confirmation::Ack(None) => Ok(Ok(())),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(Fault::Unroutable),
            Confirmation::Nack(None) => Ok(Err("the queue is full, or could not store it".to_owned())),
            Confirmation::NotRequested => Err(Fault::Unconfirmed),
        }
    }

    /// Resolves when a group has been under way for too long. A blocked connection has an excuse.
    async fn stalled(&self, connection: &ConnectionStatus) -> Fault {
        loop {
            self.clock.sleep(signed(self.confirm_stall)).await;
            if !connection.blocked() {
                return Fault::Timeout { what: "a confirm", limit: self.confirm_stall };
            }
        }
    }
}

/// The broker's word on a message, an envelope or a batch of them: stored, or why not.
type Verdict = Result<(), String>;
