//! The shape of the configuration file: what `--config FILE` may say, with every default.
//!
//! `schemas/config.json` is generated from these types. A unit stands at the end of a name.

mod source;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

pub use source::{Algorithm, Encoding, Kind, Meaning, NamedSecret, Pointers, Secret, Source};

/// The receiver: where webhooks come in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Receiver {
    /// Address and port. Environment: `KEYFERRY_LISTEN`.
    pub listen: String,
    /// A larger body is refused with 413.
    pub body_bytes_max: usize,
    /// A body that takes longer is refused with 408.
    pub body_timeout_seconds: u64,
    /// Bytes of all bodies that are held at once; beyond it a webhook is answered 503. At least `body_bytes_max`.
    pub held_bytes_max: usize,
    /// A webhook that is not durable by then is answered 503, whatever patience the queue has. At least
    /// `queue.publish_deadline_seconds`; Seam waits 15 s for an answer.
    pub publish_timeout_seconds: u64,
    /// A request's head that takes longer ends the connection.
    pub head_timeout_seconds: u64,
    /// Connections served at once. One more takes the place of the one that has waited longest without a request; where
    /// all are at work it is answered 503.
    pub connections_max: usize,
    /// The same for the connections of one address, and for the requests under way of one client behind a proxy.
    pub connections_per_address_max: usize,
    /// Addresses or blocks (`10.0.0.0/8`) of the proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// How long open requests may go on after SIGTERM.
    pub drain_seconds: u64,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            body_bytes_max: 256 * 1024,
            body_timeout_seconds: 15,
            held_bytes_max: 32 * 1024 * 1024,
            publish_timeout_seconds: 10,
            head_timeout_seconds: 10,
            connections_max: 1024,
            connections_per_address_max: 512,
            trusted_proxies: Vec::new(),
            drain_seconds: 10,
        }
    }
}

/// The ops API, health and metrics.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ops {
    /// Address and port. Environment: `KEYFERRY_OPS_LISTEN`.
    pub listen: String,
    /// Bearer token; required when `listen` is not a loopback address. Environment: `KEYFERRY_OPS_TOKEN`.
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
}

impl Default for Ops {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".to_owned(), token: None }
    }
}

/// Where plans, issuances, the inbox and the ledger are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:PATH` or `postgres://…`. Environment: `KEYFERRY_STORE_URL`.
    #[schemars(with = "String")]
    pub url: SecretString,
    /// Connections to PostgreSQL.
    pub connections_max: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: SecretString::from("sqlite:keyferry.db"), connections_max: 10 }
    }
}

/// The way from the receiver to the inbox.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// `amqp://…` or `amqps://…`; left out, the inbox is fed directly. Environment: `KEYFERRY_AMQP_URL`.
    #[schemars(with = "Option<String>")]
    pub amqp_url: Option<SecretString>,
    /// What receivers seal messages with, and workers ask for: at least 24 bytes, the same everywhere. Several are
    /// separated by commas: the first seals, each is good; so add a new one at the end everywhere, then move it to the
    /// front, then drop the old one. To begin with a key, give it to the receivers, and to the workers once the queue
    /// has no unsealed messages any more. Environment: `KEYFERRY_QUEUE_KEY`.
    #[schemars(with = "Option<String>")]
    pub key: Option<SecretString>,
    /// RabbitMQ's management API, `http://user:password@host:15672`, where `keyferry doctor` can see what AMQP does not
    /// show: policies and bindings. Without user and password in it, those of `amqp_url` are used.
    #[schemars(with = "Option<String>")]
    pub management_url: Option<SecretString>,
    /// What the names of exchanges and queues begin with.
    pub prefix: String,
    /// A webhook that is not durable by then is answered 503.
    pub publish_deadline_seconds: u64,
    /// Events on their way into the queue at once; more are answered 503.
    pub in_flight_max: usize,
    /// Events in one message: those of one type that wait at the same time travel together, as a CloudEvents batch. 1: each
    /// travels alone, for other programs that read from the exchange and know no batches.
    pub events_per_message_max: usize,
    /// Bytes of such a message. An event that is larger by itself travels alone.
    pub batch_bytes_max: usize,
    /// Messages that the broker hands out before the first is acknowledged.
    pub prefetch: u16,
    /// Events that intake commits at once.
    pub batch_max: usize,
    /// A message with a larger body is none of ours and goes to the parked queue. At least `receiver.body_bytes_max`.
    pub message_bytes_max: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            amqp_url: None,
            key: None,
            management_url: None,
            prefix: "keyferry".to_owned(),
            publish_deadline_seconds: 5,
            in_flight_max: 4096,
            events_per_message_max: 64,
            batch_bytes_max: 128 * 1024,
            prefetch: 128,
            batch_max: 256,
            message_bytes_max: 1024 * 1024,
        }
    }
}

/// The access-control API that creates credentials.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Seam's API key. Environment: `SEAM_API_KEY`.
    #[schemars(with = "Option<String>")]
    pub api_key: Option<SecretString>,
    /// Environment: `SEAM_ENDPOINT`.
    pub endpoint: String,
    /// One call takes at most this long.
    pub deadline_seconds: u64,
    /// Calls in a second, of all processes that share the store; 0: no limit. Seam documents none for the calls that are
    /// made here. The default is far above what a house asks for, and keeps a backlog from looking like an attack.
    pub calls_per_second_max: u32,
    /// Calls that may begin at once after a rest.
    pub calls_burst_max: u32,
    /// The longest rest that a `Retry-After` is granted.
    pub retry_after_seconds_max: u64,
    /// Calls in a row without an answer to work with after which only probes are made, until one succeeds.
    pub failures_max: u32,
    /// From the last of these to the first probe; it doubles with each.
    pub probe_after_ms: u64,
    /// The longest wait between two probes.
    pub probe_after_seconds_max: u64,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            api_key: None,
            endpoint: crate::provider::SEAM_ENDPOINT.to_owned(),
            deadline_seconds: 10,
            calls_per_second_max: 50,
            calls_burst_max: 100,
            retry_after_seconds_max: 60,
            failures_max: 5,
            probe_after_ms: 1000,
            probe_after_seconds_max: 30,
        }
    }
}

/// How workers pace themselves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Events handled at once by one process.
    pub concurrency: u32,
    /// Events handled at once by all processes that share the store. Each makes one call to the provider at a time.
    pub in_flight_max: u32,
    /// How soon another worker takes over what a crashed one had in hand.
    pub lease_seconds: u64,
    /// How long after a call to create whose answer was lost the provider is asked about it. At least
    /// `provider.deadline_seconds` and two more.
    pub settle_seconds: u64,
    /// The wait after the first failed attempt; it doubles with each.
    pub backoff_base_ms: u64,
    /// The longest wait between two attempts.
    pub backoff_cap_seconds: u64,
    /// Attempts before an event is parked. With the default waits, 60 attempts are about a day.
    pub attempts_max: u32,
    /// How long handlings may go on after SIGTERM.
    pub drain_seconds: u64,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: 64,
            in_flight_max: 64,
            lease_seconds: 15,
            settle_seconds: 15,
            backoff_base_ms: 1000,
            backoff_cap_seconds: 1800,
            attempts_max: 60,
            drain_seconds: 15,
        }
    }
}

/// When issuances are looked at again, whatever webhooks come.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// The wait for the first look at what has changed and should change again; it doubles with each look in vain.
    pub look_first_seconds: u64,
    /// The longest wait between two such looks.
    pub look_most_seconds: u64,
    /// The wait between two looks at what nothing is expected of: an issued key, a plan whose stay is more than a day off.
    pub refresh_seconds: u64,
    /// How long a phone may wait for its key before the plan is overdue. It counts from when both were known, and not
    /// from earlier than a day before the stay.
    pub overdue_seconds: u64,
    /// Looks that wait in the inbox at once: webhooks stand in the same line.
    pub looks_waiting_max: u32,
    /// How often to pull the provider's list for events that no webhook brought; 0: never.
    pub missed_every_seconds: u64,
    /// How far each pull goes back behind the end of the one before, for events that became visible late.
    pub missed_overlap_seconds: u64,
    /// The source, of kind `seam`, by which these events come as webhooks: an event that came so is not missed.
    pub missed_source: String,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            look_first_seconds: 30,
            look_most_seconds: 1800,
            refresh_seconds: 21_600,
            overdue_seconds: 600,
            looks_waiting_max: 32,
            missed_every_seconds: 60,
            missed_overlap_seconds: 600,
            missed_source: "seam".to_owned(),
        }
    }
}

/// How long what is over is kept. What waits for a person is kept in any case.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Lines of the ledger.
    pub ledger_days: u32,
    /// Events that have ended and parked items that were settled, with their bodies. A webhook that is sent again later
    /// is handled again; at least 2, because senders go on for more than a day.
    pub events_days: u32,
    /// Plans that were cancelled or have ended, with their keys, and phones that are gone.
    pub plans_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { ledger_days: 90, events_days: 30, plans_days: 365 }
    }
}

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub receiver: Receiver,
    pub ops: Ops,
    pub store: Store,
    pub queue: Queue,
    pub provider: Provider,
    pub worker: Worker,
    pub sweep: Sweep,
    pub retention: Retention,
    pub sources: Vec<Source>,
}

/// The JSON Schema of the file, as `keyferry config schema` prints it and `schemas/config.json` keeps it.
#[must_use]
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(File);
    schema.insert("title".to_owned(), "Keyferry configuration".into());
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}
