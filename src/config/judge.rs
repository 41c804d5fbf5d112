//! Judging what the layers say: one file per section, each turning it into the settings that its part declares.

mod provider;
mod queue;
mod retention;
mod secrets;
mod sources;
mod sweep;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};

use super::file::{self, File};
use super::layers::{Origins, Said};
use super::{Config, Problem, Role};
use crate::queue::direct;
use crate::receiver::Roster;
use crate::{http, receiver};

/// Notes mistakes, and goes on with a stand-in so that it finds the next one too.
pub(super) struct Judge<'e> {
    pub(super) problems: Vec<Problem>,
    origins: Origins,
    environment: &'e BTreeMap<String, String>,
}

impl<'e> Judge<'e> {
    pub(super) fn new(problems: Vec<Problem>, origins: Origins, environment: &'e BTreeMap<String, String>) -> Self {
        Self { problems, origins, environment }
    }

    pub(super) fn say(&mut self, path: &str, what: impl fmt::Display) {
        self.problems.push(Problem::new(&self.origins.name(path), &what.to_string()));
    }

    pub(super) fn config(&mut self, role: Role, file: File, said: Said) -> Config {
        let listen = self.address("receiver.listen", &file.receiver.listen);
        let ops_listen = self.address("ops.listen", &file.ops.listen);
        let ops_token = file.ops.token.filter(|token| !token.expose_secret().is_empty());
        if role != Role::Migrate && !ops_listen.ip().is_loopback() && ops_token.is_none() {
            self.say("ops.listen", "beyond loopback the ops API needs a token: set KEYFERRY_OPS_TOKEN");
        }
        if let Some(token) = &ops_token {
            self.ops_token(token, ops_listen);
        }
        self.receiver(&file.receiver, &file.queue);
        let trusted_proxies = self.proxies(&file.receiver.trusted_proxies);
        self.store_url(&file.store.url);
        let provider = self.provider(role, &file.provider);
        let mut worker = self.worker(role, &file.worker, &file.provider);
        worker.rhythm = self.rhythm(&file.sweep);
        let retention = self.retention(&file.retention);
        let shapes = self.shapes(&file.sources);
        let sweep = self.sweep(&file.sweep, &shapes, retention);
        let sources = self.sources(role, &file.sources);
        let rabbitmq = self.queue(role, &file.queue, &file.receiver);
        Config {
            listen,
            receiver: receiver::Limits {
                body_bytes: file.receiver.body_bytes_max,
                body_timeout: Duration::from_secs(file.receiver.body_timeout_seconds),
                held_bytes: file.receiver.held_bytes_max,
                publish_timeout: Duration::from_secs(file.receiver.publish_timeout_seconds),
            },
            http: http::Limits {
                connections: file.receiver.connections_max,
                connections_per_address: file.receiver.connections_per_address_max,
                trusted_proxies,
                head_timeout: Duration::from_secs(file.receiver.head_timeout_seconds),
                drain: Duration::from_secs(file.receiver.drain_seconds),
                ..http::Limits::default()
            },
            roster: Arc::new(Roster::new(sources).reading(shapes)),
            ops_listen,
            ops_token,
            store_url: file.store.url,
            store_connections_max: file.store.connections_max.max(2),
            rabbitmq,
            management_url: self.management_url(file.queue.management_url),
            direct: direct::Settings {
                publish_deadline: Duration::from_secs(file.queue.publish_deadline_seconds),
                in_flight_max: file.queue.in_flight_max,
                batch_max: file.queue.batch_max,
            },
            provider,
            worker,
            sweep,
            missed_source: file.sweep.missed_source,
            said,
        }
    }

    /// A token is all that stands between a network and the doors, and nothing counts the guesses.
    fn ops_token(&mut self, token: &SecretString, listen: SocketAddr) {
        const BYTES_MIN: usize = 16;
        let token = token.expose_secret();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.say("ops.token", "it is not made of visible ASCII characters only, so no client could send it");
        } else if !listen.ip().is_loopback() && token.len() < BYTES_MIN {
            self.say("ops.token", format_args!("beyond loopback it has {BYTES_MIN} characters at least"));
        }
    }

    pub(super) fn address(&mut self, path: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.say(path, format_args!("{text:?} is not an address with a port, like 127.0.0.1:8080 or [::]:8080"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// Says so where `value` is below `least`.
    fn at_least(&mut self, path: &str, value: impl TryInto<u64>, least: u64) {
        // What does not fit is far above.
        if value.try_into().is_ok_and(|value| value < least) {
            self.say(path, format_args!("it must be at least {least}"));
        }
    }

    fn proxies(&mut self, listed: &[String]) -> Vec<http::Cidr> {
        let mut proxies = Vec::new();
        for text in listed {
            match text.parse() {
                Ok(proxy) => proxies.push(proxy),
                Err(http::CidrError) => {
                    self.say("receiver.trusted_proxies", format_args!("{text:?}: {}", http::CidrError));
                }
            }
        }
        proxies
    }

    fn store_url(&mut self, url: &SecretString) {
        let url = url.expose_secret();
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            self.say("store.url", "it begins with neither sqlite: nor postgres://");
        }
    }

    fn receiver(&mut self, file: &file::Receiver, queue: &file::Queue) {
        self.at_least("receiver.body_bytes_max", file.body_bytes_max, 1);
        self.at_least("receiver.body_timeout_seconds", file.body_timeout_seconds, 1);
        self.at_least("receiver.head_timeout_seconds", file.head_timeout_seconds, 1);
        self.at_least("receiver.connections_max", file.connections_max, 1);
        self.at_least("receiver.connections_per_address_max", file.connections_per_address_max, 1);
        if file.held_bytes_max < file.body_bytes_max {
            self.say("receiver.held_bytes_max", "it must be at least receiver.body_bytes_max, or no such body fits");
        }
        if file.publish_timeout_seconds < queue.publish_deadline_seconds {
            self.say("receiver.publish_timeout_seconds", "it must be at least queue.publish_deadline_seconds");
        }
    }
}

fn seconds(seconds: u64) -> SignedDuration {
    i64::try_from(seconds).map_or(SignedDuration::MAX, SignedDuration::from_secs)
}
