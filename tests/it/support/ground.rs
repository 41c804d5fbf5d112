//! Where a town stands.

use std::collections::BTreeMap;

use keyferry::clock::{Entropy as _, SystemEntropy};
use tempfile::TempDir;

use super::broker::amqp_url;
use super::db::{new_database_of, service};

/// Times short enough for a test, in the proportions of life.
const SETTINGS: [(&str, &str); 5] = [
    ("worker.lease_seconds", "3"),
    ("worker.settle_seconds", "4"),
    ("worker.backoff_base_ms", "50"),
    ("worker.backoff_cap_seconds", "1"),
    ("provider.deadline_seconds", "2"),
];
/// The two shapes: one process on SQLite; or a receiver and two workers on RabbitMQ and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Embedded,
    Brokered,
}

/// Where a town stands: its store, its broker if it has one, and what its configuration says.
pub(crate) struct Ground {
    pub(crate) store_url: String,
    pub(crate) amqp_url: Option<String>,
    settings: BTreeMap<String, String>,
    /// How much faster than life the sandbox runs.
    pub(crate) speed: u32,
    pub(super) dir: TempDir,
}

impl Ground {
    /// A SQLite file in a folder of its own.
    pub(crate) fn embedded() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let store_url = format!("sqlite:{}", dir.path().join("keyferry.db").display());
        Self { store_url, amqp_url: None, settings, speed: 200, dir }
    }

    /// A database of its own, migrated, on a server, and names of its own on a broker: others use both as well.
    pub(crate) async fn brokered(database_server: &str, amqp_url: &str) -> Self {
        let mut ground = Self::embedded();
        ground.store_url = new_database_of(database_server).await;
        keyferry::store::migrate(&ground.store_url).await.expect("migrated");
        ground.amqp_url = Some(amqp_url.to_owned());
        ground.with("queue.prefix", &format!("\"town-{:016x}\"", SystemEntropy.next_u64()))
    }

    /// On the services that all tests share.
    pub(crate) async fn of(shape: Shape) -> Self {
        match shape {
            Shape::Embedded => Self::embedded(),
            Shape::Brokered => Self::brokered(&service("KEYFERRY_TEST_POSTGRES_URL"), &amqp_url()).await,
        }
    }

    /// One line more in its configuration, or another value in one that is there. `value` is as TOML writes it.
    pub(crate) fn with(mut self, key: &str, value: &impl ToString) -> Self {
        self.settings.insert(key.to_owned(), value.to_string());
        self
    }

    pub(crate) fn setting(&self, key: &str) -> &str {
        self.settings[key].trim_matches('"')
    }

    /// The configuration file.
    pub(super) fn file(&self) -> String {
        let lines = self.settings.iter().map(|(key, value)| format!("{key} = {value}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}
