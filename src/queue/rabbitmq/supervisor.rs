//! Keeps one connection at work: build, run, and after any fault drop everything, pause, build again.
//!
//! There is no repair in place. A fault of a channel, of a consumer or of the topology costs the connection, because a
//! connection built anew is the one state that is known to be right.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use lapin::uri::AMQPUri;
use lapin::{Connection, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::line::Line;
use super::topology::{self, Names, QueueLimits, TopologyError};
use super::{AddressError, Settings, address};
use crate::clock::{Clock, Entropy};

/// How long a polite end may take before the socket is shut down.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How a link is, for readiness and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Before the first attempt has succeeded or failed.
    Connecting,
    Ready,
    /// The broker takes no publishes: a memory or disk alarm.
    Blocked {
        since: Timestamp,
        why: String,
    },
    /// There was a fault; it is being tried again until `Ready`. `since` is the first fault of the row.
    Down {
        since: Timestamp,
        why: String,
    },
}

/// What ended a connection.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Broker(#[from] lapin::Error),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("{what} took longer than {limit:?}")]
    Timeout { what: &'static str, limit: Duration },
    #[error("the broker cancelled the consumer; was the queue deleted?")]
    ConsumerCancelled,
    #[error("the broker no longer knew of the delivery that was acknowledged")]
    AckLost,
    #[error("a message was confirmed but no queue took it; was a queue or a binding deleted?")]
    Unroutable,
    #[error("the channel does not confirm")]
    Unconfirmed,
    #[error("the connection ended without saying why")]
    Ended,
    #[error("its work panicked; the log has the message")]
    Panic,
}

/// What is done with a connection.
#[async_trait]
pub trait Work: Send + 'static {
    /// Made anew on each connection.
    type Tools: Send;

    /// Named in the broker's list of connections, and in the log.
    const NAME: &'static str;

    async fn open(&self, connection: &Connection) -> Result<Self::Tools, Fault>;

    /// Works until a fault, or returns `Ok` soon after `shutdown` is cancelled.
    async fn run(&mut self, tools: Self::Tools, shutdown: &CancellationToken) -> Result<(), Fault>;
}

/// A connection kept at work.
pub struct Link<W> {
    work: W,
    uri: AMQPUri,
    names: Names,
    limits: QueueLimits,
    connection_name: String,
    connect_timeout: Duration,
    backoff: Backoff,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: watch::Sender<State>,
}

impl<W: Work> Link<W> {
    pub(super) fn new(
        settings: &Settings,
        work: W,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, AddressError> {
        Ok(Self {
            work,
            uri: address::parse(&settings.url, settings.heartbeat)?,
            names: Names::under(&settings.prefix)?,
            limits: settings.queue.clone(),
            connection_name: format!("{} {}", settings.prefix, W::NAME),
            connect_timeout: settings.connect_timeout,
            backoff: Backoff { min: settings.backoff_min, max: settings.backoff_max },
            clock,
            entropy,
            state: watch::Sender::new(State::Connecting),
        })
    }

    /// How it is, now and later.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Connects and works, again and again, until `shutdown` is cancelled.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut failures: u32 = 0;
        while let Err(fault) = self.session_or_panic(&shutdown).await {
            let worked = *self.state.borrow() == State::Ready;
            failures = if worked { 1 } else { failures.saturating_add(1) };
            let pause = self.backoff.pause(failures, &*self.entropy);
            tracing::warn!(
                link = W::NAME,
                host = self.uri.authority.host,
                port = self.uri.authority.port,
                error = %fault,
                failures,
                pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX),
                "the RabbitMQ link is down; connecting again after a pause"
            );
            self.report_down(&fault);
            shutdown.run_until_cancelled(self.clock.sleep(pause)).await;
        }
    }

    /// A panic, in the inbox for example, costs the connection like any other fault.
    async fn session_or_panic(&mut self, shutdown: &CancellationToken) -> Result<(), Fault> {
        AssertUnwindSafe(self.session(shutdown)).catch_unwind().await.unwrap_or_else(|_panic| {
            tracing::error!(link = W::NAME, "the work of the RabbitMQ link panicked");
            Err(Fault::Panic)
        })
    }

    /// One connection, from beginning to end. `Ok` means that `shutdown` was cancelled.
    async fn session(&mut self, shutdown: &CancellationToken) -> Result<(), Fault> {
        let Some(opened) = shutdown.run_until_cancelled(self.open()).await else { return Ok(()) };
        let (line, tools) = opened?;
        let events = line.connection.events_listener();
        tracing::info!(link = W::NAME, "the RabbitMQ link is ready");
        self.state.send_replace(State::Ready);
        let outcome = tokio::select! {
            fault = watch_over(events, &self.state, &*self.clock) => Err(fault),
            outcome = self.work.run(tools, shutdown) => outcome,
        };
        self.close(line).await;
        outcome
    }

    async fn open(&self) -> Result<(Line, W::Tools), Fault> {
        // On the heap: a TLS handshake is a large future.
        let opening = async { Ok(Box::pin(Line::open(self.uri.clone(), &self.connection_name)).await?) };
        let line = self.within("connecting", opening).await?;
        let preparing = async {
            topology::declare(&line.connection, &self.names, &self.limits).await?;
            self.work.open(&line.connection).await
        };
        let tools = self.within("declaring exchanges and queues", preparing).await?;
        Ok((line, tools))
    }

    async fn within<T>(&self, what: &'static str, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::select! {
            outcome = work => outcome,
            () = self.clock.sleep(signed(self.connect_timeout)) => {
                Err(Fault::Timeout { what, limit: self.connect_timeout })
            }
        }
    }

    async fn close(&self, line: Line) {
        tokio::select! {
            // It may well be closed already, or the peer be gone: that is no news.
            _ = line.connection.close(200, "done".into()) => {}
            () = self.clock.sleep(signed(CLOSE_TIMEOUT)) => {}
        }
    }

    fn report_down(&self, fault: &Fault) {
        let why = fault.to_string();
        let now = self.clock.now();
        self.state.send_modify(|state| {
            let since = match state {
                State::Down { since, .. } | State::Blocked { since, .. } => *since,
                State::Connecting | State::Ready => now,
            };
            *state = State::Down { since, why };
        });
    }
}

/// Reports what the broker says about the connection, until it is at its end.
async fn watch_over(events: impl Stream<Item = Event>, state: &watch::Sender<State>, clock: &dyn Clock) -> Fault {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Event::ConnectionBlocked(why) => {
                tracing::warn!(why, "RabbitMQ takes no publishes for now");
                state.send_replace(State::Blocked { since: clock.now(), why });
            }
            Event::ConnectionUnblocked => {
                tracing::info!("RabbitMQ takes publishes again");
                state.send_replace(State::Ready);
            }
            Event::Error(error) => return error.into(),
            // `Connected` was before; flow control is lapin's to obey; and lapin may come to know more events.
            _ => {}
        }
    }
    Fault::Ended
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
