//! The way through RabbitMQ: a confirmed publish at one end, intake into the inbox at the other.
//!
//! Written for RabbitMQ 3.10 up to 4.x and for what its client really does (lapin 4.12):
//!
//! - A confirm means that a quorum has it. But a message that no queue wanted is confirmed too, so every publish is
//!   `mandatory`, and lapin hands returned messages to the confirms of a channel in no particular order: see `publisher`.
//! - A deleted queue ends a consumer's stream without an error, a late ack answers `Ok(false)`, a channel error leaves
//!   the connection up. None of it is repaired in place: `supervisor` drops everything and builds anew.
//! - lapin's own recovery gives up after 16 tries and does not cover channel errors, so it is off.
//! - A blocked connection (memory or disk alarm) is kept: a new one would be blocked by its first publish as well.
//! - lapin logs a returned message whole, body included, at `warn` under `lapin::returned_messages`: whoever sets up
//!   logging turns that target off.
//! - An AMQP URL holds a password. It is parsed here, and no error or log line repeats any of it but host and port.

mod address;
mod backoff;
mod batch;
mod consumer;
mod inspect;
mod line;
mod publisher;
mod supervisor;
pub mod topology;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

pub use address::AddressError;
pub use consumer::Intake;
pub use inspect::{Inspection, inspect};
pub use publisher::{Publishing, RabbitPublisher};
pub use supervisor::{Fault, Link, State};

use crate::clock::{Clock, Entropy};
use crate::queue::seal::Keys;
use crate::queue::{Inbox, envelope};

/// Where the broker is, and every limit of the way through it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `amqp://` or `amqps://user:password@host:port/vhost`. Whoever uses `amqps` has installed rustls's provider.
    pub url: SecretString,
    /// What the names of exchanges and queues begin with: `[a-z0-9._-]{1,64}`.
    pub prefix: String,
    /// How long resolving, connecting, TLS and the AMQP handshake may take together; and declaring, after it.
    pub connect_timeout: Duration,
    /// The AMQP heartbeat. A peer that is silent for twice as long is gone.
    pub heartbeat: Duration,
    /// The pause before the second attempt to connect; it doubles up to the maximum. Each is shortened by chance, to
    /// no less than half.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// How long a publish may take before its sender is told to come again, waiting for a connection included.
    pub publish_deadline: Duration,
    /// Envelopes waiting to be published or confirmed.
    pub in_flight_max: usize,
    /// Channels that publish side by side. Each has one group of messages under way.
    pub lanes: usize,
    /// Envelopes in one such group.
    pub group_max: usize,
    /// What of a group one message may hold.
    pub per_message: envelope::Limits,
    /// A group that is unconfirmed for so long, on a connection that is not blocked, costs the connection.
    pub confirm_stall: Duration,
    /// Messages that the broker hands to intake before the first of them is acknowledged.
    pub prefetch: u16,
    /// Envelopes that intake commits in one transaction, and those of one message more.
    pub batch_max: usize,
    /// A message with a larger body is none of ours.
    pub body_bytes_max: usize,
    /// What seals messages and proves them. Without, whoever may publish is believed.
    pub keys: Option<Arc<Keys>>,
    pub queue: topology::QueueLimits,
}

impl Settings {
    #[must_use]
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            prefix: "keyferry".to_owned(),
            connect_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(15),
            publish_deadline: Duration::from_secs(5),
            in_flight_max: 4096,
            lanes: 4,
            group_max: 256,
            per_message: envelope::Limits { events: 64, bytes: 128 * 1024 },
            confirm_stall: Duration::from_secs(30),
            prefetch: 128,
            batch_max: 256,
            body_bytes_max: 1024 * 1024,
            keys: None,
            queue: topology::QueueLimits::default(),
        }
    }

    /// Says whether URL and prefix are what they should be, without connecting.
    pub fn check(&self) -> Result<(), AddressError> {
        address::parse(&self.url, self.heartbeat)?;
        topology::Names::under(&self.prefix).map(drop)
    }
}

/// A publisher, and the link that it publishes over: the caller spawns [`Link::run`] and ends it.
///
/// # Errors
///
/// When URL or prefix are not what they should be.
pub fn publisher(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<(RabbitPublisher, Link<Publishing>), AddressError> {
    publisher::start(settings, clock, entropy)
}

/// What brings messages into the inbox: the caller spawns [`Link::run`] and ends it.
///
/// # Errors
///
/// When URL or prefix are not what they should be.
pub fn intake(
    settings: &Settings,
    inbox: Arc<dyn Inbox>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Link<Intake>, AddressError> {
    consumer::start(settings, inbox, clock, entropy)
}
