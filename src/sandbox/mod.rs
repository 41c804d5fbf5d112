//! A Seam-compatible server: the other end of a mobile-key product, on one's own machine.
//!
//! It has Seam's paths, methods, envelopes and errors, a seeded world with a life of its own, signed webhooks, and a
//! control room (`/_sandbox/*`) to see everything and to order what shall go wrong. It uses nothing of the rest of the
//! crate but the clock and the accept loop, and shares no type with the client that talks to it.
//!
//! `serve` turns a request into a [`routes::Call`], a handler in `routes` changes the `world` (pure: no clock, no
//! network), and what happened goes through `deliver` to whoever asked to be told. `wire` has Seam's shapes.

#![expect(clippy::struct_field_names, reason = "fields are named as Seam names them")]
#![expect(clippy::option_option, reason = "absent, null and given are three things to Seam")]

mod answer;
mod control;
mod deliver;
mod faults;
mod input;
mod overview;
mod page;
mod routes;
mod serve;
mod sign;
mod state;
mod wire;
mod world;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use deliver::{Attempt, Outbox};
use faults::{Fault, Faults};
use input::Input;
use state::State;
use world::World;
use world::ids::Chance;
use world::rules::Rules;

pub use overview::{Overview, PersonOverview, SystemOverview};
pub use state::StateError;

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What callers must present: `Authorization: Bearer <api_key>`. Seam's SDKs refuse a key without `seam_`.
    pub api_key: String,
    /// The same seed gives the same world and, call for call, the same ids.
    pub seed: u64,
    /// How much faster than life delays and retries run.
    pub speed: f64,
    /// Where the world and the deliveries under way outlive a restart. Without it, they do not.
    pub state: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { api_key: "seam_test1sandbox_localkeyferrysandbox00".to_owned(), seed: 1, speed: 1.0, state: None }
    }
}

impl Settings {
    fn rules(&self) -> Rules {
        Rules { speed: self.speed, ..Rules::default() }
    }
}

/// Why a sandbox cannot open.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the client for deliveries cannot be made")]
    Client(#[source] reqwest::Error),
    #[error("speed must be a positive number")]
    Speed,
}

/// A running sandbox; a handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    settings: Settings,
    clock: Arc<dyn Clock>,
    client: reqwest::Client,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    /// Request ids are drawn apart from the world, so that reading changes nothing.
    request_ids: Mutex<Chance>,
    /// Oddities that the log has named already.
    named: Mutex<HashSet<String>>,
    /// Whether the state file is behind.
    is_unsaved: AtomicBool,
    /// Something changed that [`Sandbox::run`] may have to act upon.
    changed: Notify,
    /// Cancelled when [`Sandbox::run`] ends.
    gone: CancellationToken,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sandbox").field("seed", &self.settings.seed).finish_non_exhaustive()
    }
}

/// How long changes gather before the state file is written. A crash loses at most this much; an orderly end nothing.
const SAVE_AFTER: SignedDuration = SignedDuration::from_millis(200);

/// No panic can happen while one of our locks is held that would leave its content half-changed and matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    /// Opens a sandbox, with the world of the state file if there is one, else with the seeded one.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, SandboxError> {
        if !(settings.speed.is_finite() && settings.speed > 0.0) {
            return Err(SandboxError::Speed);
        }
        let now = world::moment::to_the_millisecond(clock.now());
        let stored = settings.state.as_deref().map(|path| State::load(path, settings.speed, now)).transpose()?;
        let state = stored.flatten().unwrap_or_else(|| State::new(settings.seed, settings.rules(), now));
        Ok(Self(Arc::new(Inner {
            client: deliver::client().map_err(SandboxError::Client)?,
            state: Mutex::new(state),
            faults: Mutex::default(),
            request_ids: Mutex::new(Chance::new(settings.seed.wrapping_add(1))),
            named: Mutex::default(),
            is_unsaved: AtomicBool::new(false),
            changed: Notify::new(),
            gone: CancellationToken::new(),
            settings,
            clock,
        })))
    }

    /// Seam's paths and the control room.
    pub fn router(&self) -> Router {
        control::router().fallback(serve::seam).with_state(self.clone())
    }

    /// The access systems with their entrances, and the people.
    #[must_use]
    pub fn overview(&self) -> Overview {
        Overview::of(&lock(&self.0.state).world)
    }

    /// Lets time pass: does what is due, sends what is to be told, keeps the state file, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut attempts = JoinSet::new();
        let mut save_at: Option<Timestamp> = None;
        loop {
            for attempt in self.turn() {
                let sandbox = self.clone();
                attempts.spawn(async move { sandbox.deliver(attempt).await });
            }
            let now = self.now();
            if save_at.is_some_and(|at| at <= now) {
                self.save().await;
                save_at = None;
            }
            let next = self.next_at().into_iter().chain(save_at).min();
            let due = async {
                match next {
                    Some(at) => self.0.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.0.changed.notified() => {}
                Some(_) = attempts.join_next(), if !attempts.is_empty() => {}
                () = due => {}
            }
            if self.0.settings.state.is_some() && self.0.is_unsaved.load(Ordering::Relaxed) {
                save_at.get_or_insert(crate::clock::add(now, SAVE_AFTER));
            }
        }
        // What is cut off here is still in the outbox, and is sent again after a restart.
        attempts.shutdown().await;
        self.save().await;
        self.0.gone.cancel();
    }

    /// Does once all that is due now, deliveries included, and returns when their attempts have ended. Beside
    /// [`Sandbox::run`], for tests with a clock of their own.
    pub async fn step(&self) {
        loop {
            let attempts = self.turn();
            if attempts.is_empty() {
                return;
            }
            join_all(attempts.into_iter().map(|attempt| self.deliver(attempt))).await;
        }
    }

    /// Brings the world up to the present and takes the attempts that are due.
    fn turn(&self) -> Vec<Attempt> {
        let now = self.now();
        let mut state = lock(&self.0.state);
        let State { world, outbox, .. } = &mut *state;
        self.0.is_unsaved.fetch_or(world.next_at().is_some_and(|at| at <= now), Ordering::Relaxed);
        world.advance(now);
        outbox.take_in(world.take_news(), world, now);
        let attempts = outbox.take_due(world, now);
        self.0.is_unsaved.fetch_or(!attempts.is_empty(), Ordering::Relaxed);
        attempts
    }

    async fn deliver(&self, attempt: Attempt) {
        let verdict = deliver::post(&self.0.client, &attempt).await;
        let now = self.now();
        let mut state = lock(&self.0.state);
        let State { world, outbox, .. } = &mut *state;
        outbox.settle(attempt.recipient, attempt.number, verdict, world, now);
        self.0.is_unsaved.store(true, Ordering::Relaxed);
    }

    fn next_at(&self) -> Option<Timestamp> {
        let state = lock(&self.0.state);
        state.world.next_at().into_iter().chain(state.outbox.next_at()).min()
    }

    async fn save(&self) {
        let Some(path) = &self.0.settings.state else { return };
        let bytes = {
            let state = lock(&self.0.state);
            self.0.is_unsaved.store(false, Ordering::Relaxed);
            state.to_bytes()
        };
        if let Err(error) = state::save(path, bytes).await {
            tracing::error!(error = %error, path = %path.display(), "the sandbox's state could not be kept");
        }
    }

    fn now(&self) -> Timestamp {
        world::moment::to_the_millisecond(self.0.clock.now())
    }

    /// Acts upon the world as it is now, and tells of what comes of it.
    fn with_world<T>(&self, act: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let now = self.now();
        let mut state = lock(&self.0.state);
        let State { world, outbox, .. } = &mut *state;
        world.advance(now);
        let value = act(world, now);
        outbox.take_in(world.take_news(), world, now);
        drop(state);
        self.touched();
        value
    }

    fn with_outbox<T>(&self, act: impl FnOnce(&mut Outbox) -> T) -> T {
        let value = act(&mut lock(&self.0.state).outbox);
        self.touched();
        value
    }

    fn touched(&self) {
        self.0.is_unsaved.store(true, Ordering::Relaxed);
        self.0.changed.notify_one();
    }

    fn with_faults<T>(&self, act: impl FnOnce(&mut Faults) -> T) -> T {
        act(&mut lock(&self.0.faults))
    }

    fn reset(&self) {
        let now = self.now();
        let mut state = lock(&self.0.state);
        *state = State::new(state.world.chance.seed(), self.0.settings.rules(), now);
        drop(state);
        self.with_faults(Faults::clear);
        self.touched();
    }

    fn api_key(&self) -> &str {
        &self.0.settings.api_key
    }

    fn strike(&self, path: &str) -> Option<Fault> {
        self.with_faults(|faults| faults.strike(path))
    }

    fn request_id(&self) -> Uuid {
        lock(&self.0.request_ids).id()
    }

    /// Waits, but not beyond the sandbox's end.
    async fn pause(&self, wait: Duration) {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        tokio::select! {
            () = self.0.clock.sleep(wait) => {}
            () = self.0.gone.cancelled() => {}
        }
    }

    /// Names once in the log what a call said and nobody heard: that is how people lose an afternoon.
    fn name_oddities(&self, path: &str, input: &Input) {
        if input.unknown().is_empty() && input.deprecations().is_empty() {
            return;
        }
        let mut named = lock(&self.0.named);
        for name in input.unknown() {
            if named.insert(format!("{path} {name}")) {
                tracing::warn!(path, parameter = %name, "an unknown parameter is ignored, as Seam ignores it");
            }
        }
        for advice in input.deprecations() {
            if named.insert(format!("{path} {advice}")) {
                tracing::warn!(path, %advice, "a deprecated form of the call is taken as it was once meant");
            }
        }
    }
}
