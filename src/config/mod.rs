//! The configuration is a value: read once, judged whole, handed out as the settings that each part declares.
//!
//! All mistakes are reported at once, each with where it was made, before a port is bound. Secrets are never echoed.

pub mod file;
mod judge;
mod layers;
mod reload;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use crate::queue::{direct, rabbitmq};
use crate::receiver::Roster;
use crate::{http, provider, receiver, sweep, worker};
use judge::Judge;
use layers::{Layers, Said};

pub use reload::{Reload, Reloaded};

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
    /// Who may send; for a role that receives nothing, only what their bodies look like: to read again what was parked.
    pub roster: Arc<Roster>,
    pub ops_listen: SocketAddr,
    pub ops_token: Option<SecretString>,
    pub store_url: SecretString,
    pub store_connections_max: u32,
    /// `None`: no broker, the inbox is fed directly.
    pub rabbitmq: Option<rabbitmq::Settings>,
    /// RabbitMQ's management API, for `doctor`.
    pub management_url: Option<SecretString>,
    pub direct: direct::Settings,
    pub provider: Option<provider::Settings>,
    pub worker: worker::Settings,
    pub sweep: sweep::Settings,
    /// The source whose webhooks bring what the provider lists.
    pub missed_source: String,
    /// What the layers said, beside the sources.
    said: Said,
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
    let (config, problems) = examine(role, flags, environment, file);
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// The same, for whoever goes on in spite of mistakes: with a stand-in for each setting that has one.
#[must_use]
pub fn examine(
    role: Role,
    flags: &Flags,
    environment: &BTreeMap<String, String>,
    file: Option<&str>,
) -> (Config, Vec<Problem>) {
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
    let said = layers.said();
    let file = layers.read();
    let mut judge = Judge::new(layers.problems, layers.origins, environment);
    let config = judge.config(role, file, said);
    (config, judge.problems)
}

/// What `keyferry send` and `keyferry explain` need to know.
pub struct Senders {
    /// Every source that is configured, whatever the role would receive.
    pub sources: Vec<receiver::Source>,
    pub receiver_url: Url,
    /// The largest body that the receiver takes.
    pub body_bytes_max: usize,
}

/// Reads the sources and the receiver's address from the same layers as everything else, and judges only these.
pub fn senders(environment: &BTreeMap<String, String>, file: Option<&str>) -> Result<Senders, Problems> {
    let mut layers = Layers::of(file);
    layers.overlay_environment(environment);
    let file = layers.read();
    let mut judge = Judge::new(layers.problems, layers.origins, environment);
    let listen = judge.address("receiver.listen", &file.receiver.listen);
    judge.shapes(&file.sources);
    let sources = file.sources.iter().filter_map(|source| judge.source(source)).collect();
    // Listening on all addresses, it can be reached on this machine's own.
    let ip = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    match Url::parse(&format!("http://{}", SocketAddr::new(ip, listen.port()))) {
        Ok(receiver_url) if judge.problems.is_empty() => {
            Ok(Senders { sources, receiver_url, body_bytes_max: file.receiver.body_bytes_max })
        }
        Ok(_) => Err(Problems(judge.problems)),
        Err(error) => Err(Problems::of_one("receiver.listen", &error.to_string())),
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
        assert_eq!(config.roster.iter().count(), 1);
        assert!(config.rabbitmq.is_none());
    }

    #[test]
    fn the_receivers_limits_are_those_of_the_file() {
        let file = "[receiver]\nbody_bytes_max = 1\nbody_timeout_seconds = 2\nheld_bytes_max = 3\n\
                    publish_timeout_seconds = 6";
        let variables = [("SEAM_API_KEY", "k"), ("SEAM_WEBHOOK_SECRET", SECRET)];
        let config = load(Role::Run, &Flags::default(), &environment(&variables), Some(file)).expect("a configuration");
        let receiver::Limits { body_bytes, body_timeout, held_bytes, publish_timeout } = config.receiver;
        assert_eq!((body_bytes, held_bytes), (1, 3));
        assert_eq!((body_timeout.as_secs(), publish_timeout.as_secs()), (2, 6));
        let file = "[receiver]\nheld_bytes_max = 262143";
        let problem = "receiver.held_bytes_max: it must be at least receiver.body_bytes_max, or no such body fits";
        assert_eq!(problems(Role::Run, &variables, Some(file)), [problem]);
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
            publish_timeout_seconds = 4
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
            "receiver.publish_timeout_seconds: it must be at least queue.publish_deadline_seconds",
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
