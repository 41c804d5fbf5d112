//! Seam's paths: one file for each resource, one function for each path.
//!
//! A handler reads its parameters with [`Call::read`], asks the world to change, and answers with the wire form. It
//! holds no rule.

mod access_grants;
mod access_methods;
mod acs_credentials;
mod acs_entrances;
mod acs_systems;
mod acs_users;
mod client_sessions;
mod enrollment_automations;
mod events;
mod mobile_sdk;
mod phones;
mod user_identities;
mod webhooks;
mod workspaces;

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Answer, Outcome};
use super::input::Input;
use super::page::Page;
use super::wire::Wire;
use super::world::World;
use super::world::ids::ClientSessionId;
use super::world::refusal::Refusal;

/// One call, while it is handled.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) now: Timestamp,
    pub(crate) input: Input,
    /// The called URL without its query.
    pub(crate) url: &'a str,
    /// The client session that the call came with, if it did not come with an API key.
    pub(crate) session: Option<ClientSessionId>,
}

impl Call<'_> {
    /// Reads the parameters, and refuses the call if any is wrong: nothing is acted upon before all are right.
    pub(crate) fn read<T>(&mut self, read: impl FnOnce(&mut Input) -> T) -> Result<T, Refusal> {
        let value = read(&mut self.input);
        self.input.finish()?;
        Ok(value)
    }

    /// Reads a list call's parameters and its page.
    pub(crate) fn read_page<T>(
        &mut self,
        limit_default: usize,
        read: impl FnOnce(&mut Input) -> T,
    ) -> Result<(T, Page), Refusal> {
        let url = self.url;
        self.read(|input| (read(input), Page::read(input, url, limit_default)))
    }

    fn wire(&self, row: &impl Wire) -> Value {
        row.wire(self.world)
    }

    fn wires<'r, T: Wire + 'r>(&self, rows: impl IntoIterator<Item = &'r T>) -> Vec<Value> {
        rows.into_iter().map(|row| row.wire(self.world)).collect()
    }

    fn one(&self, key: &str, row: &impl Wire) -> Answer {
        Answer::of(key, self.wire(row))
    }
}

type Handler = fn(&mut Call<'_>) -> Outcome;

/// The methods besides POST, which every path takes.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Post,
    Get,
    Put,
    Patch,
    Delete,
}

pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    verb: Verb,
    pub(crate) handler: Handler,
}

impl Endpoint {
    const fn get(path: &'static str, handler: Handler) -> Self {
        Self { path, verb: Verb::Get, handler }
    }

    const fn post(path: &'static str, handler: Handler) -> Self {
        Self { path, verb: Verb::Post, handler }
    }

    const fn put(path: &'static str, handler: Handler) -> Self {
        Self { path, verb: Verb::Put, handler }
    }

    const fn patch(path: &'static str, handler: Handler) -> Self {
        Self { path, verb: Verb::Patch, handler }
    }

    const fn delete(path: &'static str, handler: Handler) -> Self {
        Self { path, verb: Verb::Delete, handler }
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        let semantic = match self.verb {
            Verb::Post => return method == Method::POST,
            Verb::Get => Method::GET,
            Verb::Put => Method::PUT,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        method == Method::POST || *method == semantic
    }

    /// What a 405 says is accepted.
    pub(crate) fn accepts(&self) -> &'static str {
        match self.verb {
            Verb::Post => "POST",
            Verb::Get => "GET,POST",
            Verb::Put => "POST,PUT",
            Verb::Patch => "PATCH,POST",
            Verb::Delete => "DELETE,POST",
        }
    }
}

static ENDPOINTS: LazyLock<HashMap<&'static str, &'static Endpoint>> = LazyLock::new(|| {
    let all: [&'static [Endpoint]; 14] = [
        access_grants::ENDPOINTS,
        access_methods::ENDPOINTS,
        acs_credentials::ENDPOINTS,
        acs_entrances::ENDPOINTS,
        acs_systems::ENDPOINTS,
        acs_users::ENDPOINTS,
        client_sessions::ENDPOINTS,
        enrollment_automations::ENDPOINTS,
        events::ENDPOINTS,
        mobile_sdk::ENDPOINTS,
        phones::ENDPOINTS,
        user_identities::ENDPOINTS,
        webhooks::ENDPOINTS,
        workspaces::ENDPOINTS,
    ];
    all.into_iter().flatten().map(|endpoint| (endpoint.path, endpoint)).collect()
});

pub(crate) fn find(path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.get(path).copied()
}

/// Whether a list row's names contain what a caller searches for.
fn matches_search(search: Option<&str>, names: &[Option<&str>]) -> bool {
    search.is_none_or(|search| {
        let search = search.to_lowercase();
        names.iter().flatten().any(|name| name.to_lowercase().contains(&search))
    })
}
