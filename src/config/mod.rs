//! The configuration is a value: read once, judged whole, handed out as the settings that each part declares.
//!
//! All mistakes are reported at once, each with where it was made, before a port is bound. Secrets are never echoed.

pub mod file;
mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::domain::Backoff;
use crate::queue::{direct, rabbitmq};
use crate::receiver::verify::Secret;
use crate::{http, provider, receiver, store, worker};
use file::{File, Kind};
use layers::{Layers, Origins};

/// What the program is asked to be: each role needs other settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receiver, worker and ops in one process.
    Run,
    /// The receiver alone.
    Serve,
    /// Intake and worker alone.
    Work,
    /// Only the store.
    Migrate,
}

impl Role {
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::Run | Self::Serve)
    }

    #[must_use]
    pub fn works(self) -> bool {
        matches!(self, Self::Run | Self::Work)
    }
}

/// What flags say; `None` where a flag was not given.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub listen: Option<String>,
    pub ops_listen: Option<String>,
    pub store_url: Option<String>,
    pub amqp_url: Option<String>,
}

/// One mistake: where it was made, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: String,
    pub what: String,
}

impl Problem {
    fn new(place: &str, what: &str) -> Self {
        Self { place: place.to_owned(), what: what.to_owned() }
    }
}

/// All mistakes of a configuration. Exit code 64.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    #[must_use]
    pub fn of_one(place: &str, what: &str) -> Self {
        Self(vec![Problem::new(place, what)])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = if self.0.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "the configuration has {} {mistakes}:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.place, problem.what))
    }
}

/// Settings, judged and typed. What a role doesn't need is left at its default, or `None`.
pub struct Config {
    pub listen: SocketAddr,
    pub receiver: receiver::Limits,
    pub http: http::Limits,
    pub sources: Vec<receiver::Source>,
    /// The kind of each source by its name, also for a role that receives nothing: to read again what was parked.
    pub kinds: BTreeMap<String, receiver::Kind>,
    pub ops_listen: SocketAddr,
    pub ops_token: Option<SecretString>,
    pub store_url: SecretString,
    pub store_connections_max: u32,
    /// `None`: no broker, the inbox is fed directly.
    pub rabbitmq: Option<rabbitmq::Settings>,
    pub direct: direct::Settings,
    pub provider: Option<provider::Settings>,
    pub worker: worker::Settings,
}

/// Lays the layers, reads them, and judges the result for `role`.
///
/// `file` is the text of the configuration file, if one was named.
pub fn load(
    role: Role,
    flags: &Flags,
    environment: &BTreeMap<String, String>,
    file: Option<&str>,
) -> Result<Config, Problems> {
    let mut layers = Layers::of(file);
    layers.overlay_environment(environment);
    for (flag, section, key, value) in [
        ("--listen", "receiver", "listen", &flags.listen),
        ("--ops-listen", "ops", "listen", &flags.ops_listen),
        ("--store-url", "store", "url", &flags.store_url),
        ("--amqp-url", "queue", "amqp_url", &flags.amqp_url),
    ] {
        if let Some(value) = value {
            layers.set(flag, section, key, value);
        }
    }
    let file = layers.read();
    let mut judge = Judge { problems: layers.problems, origins: layers.origins };
    let config = judge.config(role, file);
    if judge.problems.is_empty() { Ok(config) } else { Err(Problems(judge.problems)) }
}

/// What `keyferry send` needs to know.
pub struct Sending {
    /// The source's kind and its first secret, where it is configured.
    pub source: Option<(receiver::Kind, Secret)>,
    pub receiver_url: Url,
}

/// Reads one source and the receiver's address from the same layers as everything else, and judges only these.
pub fn to_send_as(name: &str, environment: &BTreeMap<String, String>, file: Option<&str>) -> Result<Sending, Problems> {
    let mut layers = Layers::of(file);
    layers.overlay_environment(environment);
    let file = layers.read();
    let mut judge = Judge { problems: layers.problems, origins: layers.origins };
    let listen = judge.address("receiver.listen", &file.receiver.listen);
    let configured = file.sources.into_iter().find(|source| source.name == name);
    let source = configured.and_then(|source| {
        let secret = source.secrets.first().map(|secret| Secret::parse(secret.expose_secret()));
        match secret? {
            Ok(secret) => Some((kind(source.kind), secret)),
            Err(error) => {
                judge.say(&format!("sources.{name}"), error);
                None
            }
        }
    });
    // Listening on all addresses, it can be reached on this machine's own.
    let ip = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    match Url::parse(&format!("http://{}", SocketAddr::new(ip, listen.port()))) {
        Ok(receiver_url) if judge.problems.is_empty() => Ok(Sending { source, receiver_url }),
        Ok(_) => Err(Problems(judge.problems)),
        Err(error) => Err(Problems::of_one("receiver.listen", &error.to_string())),
    }
}

/// Notes mistakes, and goes on with a stand-in so that it finds the next one too.
struct Judge {
    problems: Vec<Problem>,
    origins: Origins,
}

impl Judge {
    fn say(&mut self, path: &str, what: impl fmt::Display) {
        self.problems.push(Problem::new(&self.origins.name(path), &what.to_string()));
    }

    fn config(&mut self, role: Role, file: File) -> Config {
        let listen = self.address("receiver.listen", &file.receiver.listen);
        let ops_listen = self.address("ops.listen", &file.ops.listen);
        let ops_token = file.ops.token.filter(|token| !token.expose_secret().is_empty());
        if role != Role::Migrate && !ops_listen.ip().is_loopback() && ops_token.is_none() {
            self.say("ops.listen", "beyond loopback the ops API needs a token: set KEYFERRY_OPS_TOKEN");
        }
        self.positive(&file.receiver, &file.queue, &file.worker);
        self.store_url(&file.store.url);
        let provider = self.provider(role, &file.provider);
        // The two that the environment can make are known to every role, with or without their secrets.
        let mut kinds: BTreeMap<_, _> =
            [("seam", receiver::Kind::Seam), ("app", receiver::Kind::Standard)].map(|(n, k)| (n.to_owned(), k)).into();
        kinds.extend(file.sources.iter().map(|source| (source.name.clone(), kind(source.kind))));
        let sources = self.sources(role, file.sources);
        let rabbitmq = self.rabbitmq(role, &file.queue);
        let start_within = worker::START_WITHIN.as_secs().unsigned_abs();
        if role.works() && file.worker.settle_seconds < file.provider.deadline_seconds.saturating_add(start_within) {
            let what = format!("it must be at least provider.deadline_seconds and {start_within} s more");
            self.say("worker.settle_seconds", what);
        }
        Config {
            listen,
            receiver: receiver::Limits {
                body_bytes: file.receiver.body_bytes_max,
                body_timeout: Duration::from_secs(file.receiver.body_timeout_seconds),
                publish_timeout: Duration::from_secs(file.queue.publish_deadline_seconds.saturating_mul(2)),
                ..receiver::Limits::default()
            },
            http: http::Limits {
                connections: file.receiver.connections_max,
                head_timeout: Duration::from_secs(file.receiver.head_timeout_seconds),
                drain: Duration::from_secs(file.receiver.drain_seconds),
                ..http::Limits::default()
            },
            sources,
            kinds,
            ops_listen,
            ops_token,
            store_url: file.store.url,
            store_connections_max: file.store.connections_max.max(2),
            rabbitmq,
            direct: direct::Settings {
                publish_deadline: Duration::from_secs(file.queue.publish_deadline_seconds),
                in_flight_max: file.queue.in_flight_max,
                batch_max: file.queue.batch_max,
            },
            provider,
            worker: worker_settings(&file.worker),
        }
    }

    fn address(&mut self, path: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.say(path, format_args!("{text:?} is not an address with a port, like 127.0.0.1:8080 or [::]:8080"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn positive(&mut self, receiver: &file::Receiver, queue: &file::Queue, worker: &file::Worker) {
        let zero = [
            ("receiver.body_bytes_max", receiver.body_bytes_max == 0),
            ("receiver.body_timeout_seconds", receiver.body_timeout_seconds == 0),
            ("receiver.head_timeout_seconds", receiver.head_timeout_seconds == 0),
            ("receiver.connections_max", receiver.connections_max == 0),
            ("queue.publish_deadline_seconds", queue.publish_deadline_seconds == 0),
            ("queue.in_flight_max", queue.in_flight_max == 0),
            ("queue.prefetch", queue.prefetch == 0),
            ("queue.batch_max", queue.batch_max == 0),
            ("worker.concurrency", worker.concurrency == 0),
            ("worker.lease_seconds", worker.lease_seconds < 3),
            ("worker.backoff_base_ms", worker.backoff_base_ms == 0),
            ("worker.backoff_cap_seconds", worker.backoff_cap_seconds == 0),
            ("worker.attempts_max", worker.attempts_max == 0),
        ];
        for (path, is_too_small) in zero {
            if is_too_small {
                let least = if path == "worker.lease_seconds" { 3 } else { 1 };
                self.say(path, format_args!("it must be at least {least}"));
            }
        }
    }

    fn store_url(&mut self, url: &SecretString) {
        let url = url.expose_secret();
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            self.say("store.url", "it begins with neither sqlite: nor postgres://");
        }
    }

    fn provider(&mut self, role: Role, file: &file::Provider) -> Option<provider::Settings> {
        if !role.works() {
            return None;
        }
        let endpoint = provider::Endpoint::parse(&file.endpoint);
        if let Err(error) = &endpoint {
            self.say("provider.endpoint", error);
        }
        let key = match &file.api_key {
            None => {
                self.say(
                    "provider.api_key",
                    "no API key is set: set SEAM_API_KEY, or start `keyferry sandbox` for one",
                );
                None
            }
            Some(key) => provider::ApiKey::new(key.clone()).map_err(|error| self.say("provider.api_key", error)).ok(),
        };
        if file.deadline_seconds == 0 {
            self.say("provider.deadline_seconds", "it must be at least 1");
        }
        let mut settings = provider::Settings::new(endpoint.ok()?, key?);
        settings.deadline = Duration::from_secs(file.deadline_seconds);
        settings.connect_timeout = settings.connect_timeout.min(settings.deadline / 2);
        Some(settings)
    }

    fn sources(&mut self, role: Role, listed: Vec<file::Source>) -> Vec<receiver::Source> {
        if !role.receives() {
            return Vec::new();
        }
        if listed.is_empty() {
            let what = "no sender is configured: set SEAM_WEBHOOK_SECRET (Seam) or KEYFERRY_APP_WEBHOOK_SECRET \
                        (your own backend), or list [[sources]] in the file";
            self.say("sources", what);
        }
        let mut names = BTreeSet::new();
        let mut sources = Vec::new();
        for source in listed {
            let path = format!("sources.{}", source.name);
            if source.name == store::OWN_SOURCE {
                self.say(&path, "this name is Keyferry's own");
            } else if !names.insert(source.name.clone()) {
                self.say(&path, "there are two sources of this name");
            }
            sources.extend(self.source(&path, &source));
        }
        sources
    }

    fn source(&mut self, path: &str, source: &file::Source) -> Option<receiver::Source> {
        let mut secrets = Vec::new();
        for secret in &source.secrets {
            match Secret::parse(secret.expose_secret()) {
                Ok(secret) => secrets.push(secret),
                Err(error) => self.say(path, error),
            }
        }
        let is_complete = secrets.len() == source.secrets.len();
        let tolerance = i64::try_from(source.tolerance_seconds).map_or(SignedDuration::MAX, SignedDuration::from_secs);
        match receiver::Source::new(&source.name, kind(source.kind), secrets, tolerance) {
            Ok(source) => Some(source),
            Err(receiver::SourceError::NoSecret) if !is_complete => None,
            Err(error) => {
                self.say(path, error);
                None
            }
        }
    }

    fn rabbitmq(&mut self, role: Role, file: &file::Queue) -> Option<rabbitmq::Settings> {
        let Some(url) = file.amqp_url.clone().filter(|url| !url.expose_secret().is_empty()) else {
            if matches!(role, Role::Serve | Role::Work) {
                let what = "`serve` and `work` meet at RabbitMQ: set KEYFERRY_AMQP_URL, or use `keyferry run`, \
                            which needs no broker";
                self.say("queue.amqp_url", what);
            }
            return None;
        };
        let mut settings = rabbitmq::Settings::new(url);
        settings.prefix.clone_from(&file.prefix);
        settings.publish_deadline = Duration::from_secs(file.publish_deadline_seconds);
        settings.in_flight_max = file.in_flight_max;
        settings.prefetch = file.prefetch;
        settings.batch_max = file.batch_max;
        match settings.check() {
            Ok(()) => {}
            Err(error @ rabbitmq::AddressError::Prefix) => self.say("queue.prefix", error),
            Err(error) => self.say("queue.amqp_url", error),
        }
        Some(settings)
    }
}

fn kind(kind: Kind) -> receiver::Kind {
    match kind {
        Kind::Seam => receiver::Kind::Seam,
        Kind::Standard => receiver::Kind::Standard,
    }
}

fn worker_settings(file: &file::Worker) -> worker::Settings {
    let seconds = |seconds: u64| i64::try_from(seconds).map_or(SignedDuration::MAX, SignedDuration::from_secs);
    worker::Settings {
        concurrency: file.concurrency,
        lease: seconds(file.lease_seconds),
        settle: seconds(file.settle_seconds),
        drain: seconds(file.drain_seconds),
        backoff: Backoff {
            base: i64::try_from(file.backoff_base_ms).map_or(SignedDuration::MAX, SignedDuration::from_millis),
            cap: seconds(file.backoff_cap_seconds),
            attempts_max: file.attempts_max,
        },
        ..worker::Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn problems(role: Role, variables: &[(&str, &str)], file: Option<&str>) -> Vec<String> {
        match load(role, &Flags::default(), &environment(variables), file) {
            Ok(_) => Vec::new(),
            Err(Problems(problems)) => problems.into_iter().map(|it| format!("{}: {}", it.place, it.what)).collect(),
        }
    }

    #[test]
    fn the_defaults_need_only_secrets() {
        let variables = [("SEAM_API_KEY", "seam_test1_key"), ("SEAM_WEBHOOK_SECRET", SECRET)];
        let config = load(Role::Run, &Flags::default(), &environment(&variables), None).expect("a configuration");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.sources.len(), 1);
        assert!(config.rabbitmq.is_none());
    }

    #[test]
    fn flags_go_over_the_environment_and_that_over_the_file() {
        let variables =
            [("SEAM_API_KEY", "k"), ("SEAM_WEBHOOK_SECRET", SECRET), ("KEYFERRY_OPS_LISTEN", "127.0.0.1:2")];
        let file = "[receiver]\nlisten = \"127.0.0.1:1\"\n[ops]\nlisten = \"127.0.0.1:1\"";
        let flags = Flags { listen: Some("127.0.0.1:3".to_owned()), ..Flags::default() };
        let config = load(Role::Run, &flags, &environment(&variables), Some(file)).expect("a configuration");
        assert_eq!((config.listen.port(), config.ops_listen.port()), (3, 2));
    }

    #[test]
    fn every_mistake_is_named_at_once_with_where_it_was_made() {
        let file = r#"
            [receiver]
            listen = 8080
            body_bytes_max = 0
            speling = 1
            [ops]
            listen = "0.0.0.0:8081"
            [wroker]
            [[sources]]
            name = "Seam"
            kind = "seam"
            secrets = ["whsec_dG9vIHNob3J0"]
        "#;
        let variables = [("KEYFERRY_STORE_URL", "mysql://x"), ("SEAM_ENDPOINT", "ftp://seam")];
        let found = problems(Role::Run, &variables, Some(file)).join("\n");
        for expected in [
            "receiver.listen: invalid type",
            "receiver.speling: unknown field",
            "receiver.body_bytes_max: it must be at least 1",
            "wroker: there is no such section",
            "ops.listen: beyond loopback",
            "KEYFERRY_STORE_URL (store.url): it begins with neither",
            "SEAM_ENDPOINT (provider.endpoint): must begin with https",
            "provider.api_key: no API key is set",
            "sources.Seam: what follows `whsec_` decodes to 9 bytes",
        ] {
            assert!(found.contains(expected), "{expected}\nis not in\n{found}");
        }
    }

    #[test]
    fn each_role_asks_only_for_what_it_needs() {
        assert_eq!(problems(Role::Migrate, &[], None), [""; 0]);
        let serve = problems(Role::Serve, &[("SEAM_WEBHOOK_SECRET", SECRET)], None);
        assert!(serve.len() == 1 && serve[0].contains("KEYFERRY_AMQP_URL"), "{serve:?}");
        let work = [("SEAM_API_KEY", "k"), ("KEYFERRY_AMQP_URL", "amqp://localhost")];
        assert_eq!(problems(Role::Work, &work, None), [""; 0]);
    }

    #[test]
    fn no_secret_is_echoed() {
        let variables = [
            ("SEAM_WEBHOOK_SECRET", "hunter2hunter2"),
            ("SEAM_API_KEY", "seam_at_hunter2"),
            ("KEYFERRY_AMQP_URL", "amqp://user:hunter2@host:port"),
            ("KEYFERRY_STORE_URL", "mysql://user:hunter2@host"),
        ];
        let file = "[ops]\ntoken = 42\n[[sources]]\nname = \"x\"\nkind = \"seam\"\nsecrets = \"hunter2hunter2\"\n\
                    [[sources]]\nname = \"y\"\nkind = \"hunter2\"\nsecrets = []";
        let found = problems(Role::Run, &variables, Some(file));
        assert_eq!(found.len(), 7, "{found:?}");
        assert!(!found.join("\n").contains("42"), "{found:?}");
        assert!(!found.join("\n").contains("hunter2"), "{found:?}");
    }
}
