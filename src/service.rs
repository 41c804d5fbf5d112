//! A running Keyferry: which parts each role has, how they are joined, and the order in which they end.
//!
//! The caller has bound the ports and decides the end. What takes things in ends first, what makes them durable after
//! it, so that nothing that was begun is left without its answer; the ops port is the last to go. A part that ends before
//! it is told to takes the others along: a process lacks nothing, or it ends and says so.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Entropy};
use crate::config::{Config, Role};
use crate::http;
use crate::lifecycle::Shutdown;
use crate::ops::{self, Behind, Check, Front, Health, wire};
use crate::provider::{ListedEvent, Provider, SeamClient};
use crate::queue::opening::Opening;
use crate::queue::rabbitmq::{self, AddressError, State};
use crate::queue::{Envelope, PULLED, Publisher, direct};
use crate::receiver::parse::{Headers, Shape};
use crate::receiver::{self, Receiver, Roster, Source};
use crate::store::{self, ParkedItem, Store, StoreError};
use crate::sweep::{ReadListed, Sweep};
use crate::worker::Worker;
use crate::worker::pace::Paced;

const METRICS_UPKEEP: SignedDuration = SignedDuration::from_secs(5);

/// The ports, bound by the caller.
pub struct Listeners {
    /// Of the roles that receive.
    pub receiver: Option<TcpListener>,
    pub ops: TcpListener,
}

/// What is handed in from outside.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub metrics: PrometheusHandle,
}

/// Why a role could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store (KEYFERRY_STORE_URL) cannot be opened")]
    Store(#[from] StoreError),
    #[error("the provider's client cannot be made")]
    Provider(#[from] reqwest::Error),
    #[error("the queue's address is wrong")]
    Queue(#[from] AddressError),
    #[error("the configuration of this role has no {0}")]
    Incomplete(&'static str),
}

/// Runs a role until `shutdown`, or until one of its parts ends by itself, with the sources that `roster` holds at any
/// time. Returns how much was left unfinished: 0 is a clean end.
pub async fn run(
    role: Role,
    config: Config,
    roster: watch::Receiver<Arc<Roster>>,
    listeners: Listeners,
    surroundings: Surroundings,
    shutdown: &Shutdown,
) -> Result<usize, StartError> {
    let running = async {
        let stop = shutdown.soft.child_token();
        let (early, late) = (Group::new(&stop), Group::new(&stop));
        let mut parts = Parts { surroundings, roster, checks: Vec::new(), early, late };
        match stop.run_until_cancelled(parts.start(role, config, listeners)).await {
            Some(Ok(())) => stop.cancelled().await,
            Some(Err(error)) => return Err(error),
            // The end came before the beginning was over.
            None => {}
        }
        Ok(parts.early.finish().await + parts.late.finish().await)
    };
    shutdown.hard.run_until_cancelled(Box::pin(running)).await.unwrap_or(Ok(1))
}

/// Tasks that end together; each says what it left unfinished.
#[derive(Clone)]
struct Group {
    tasks: TaskTracker,
    end: CancellationToken,
    left: Arc<AtomicUsize>,
    /// Ends the process.
    stop: CancellationToken,
}

impl Group {
    fn new(stop: &CancellationToken) -> Self {
        Self { tasks: TaskTracker::new(), end: CancellationToken::new(), left: Arc::default(), stop: stop.clone() }
    }

    /// `part` goes on until the process's end, and not beyond the group's.
    fn spawn(&self, part: &'static str, task: impl Future<Output = usize> + Send + 'static) {
        let group = self.clone();
        self.tasks.spawn(async move {
            let left = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(left) if group.stop.is_cancelled() => left,
                ended => {
                    let how = if ended.is_err() { "panicked" } else { "ended by itself" };
                    tracing::error!(part, "a part of this process has {how}; the process ends");
                    group.stop.cancel();
                    1
                }
            };
            group.left.fetch_add(left, Ordering::Relaxed);
        });
    }

    async fn finish(&self) -> usize {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.left.load(Ordering::Relaxed)
    }
}

/// The parts of a role, begun one after the other.
struct Parts {
    surroundings: Surroundings,
    roster: watch::Receiver<Arc<Roster>>,
    checks: Vec<Check>,
    /// What takes things in, and what works on them.
    early: Group,
    /// What makes things durable, and what tells about all of it.
    late: Group,
}

impl Parts {
    /// Every port answers before anything else is waited for: what cannot be served yet is refused with its reason.
    async fn start(&mut self, role: Role, mut config: Config, listeners: Listeners) -> Result<(), StartError> {
        let tell = role.works().then(|| self.watch_store());
        let opening = if role.receives() { self.entrance(&config, listeners.receiver)? } else { None };
        self.metrics();
        let token = config.ops_token.take();
        let Some(tell) = tell else {
            self.ops(listeners.ops, self.router(token, Behind::Nothing));
            return Ok(());
        };
        let first = self.router(token.clone(), Behind::Opening);
        let (front, router) = Front::new(first, Arc::clone(&self.surroundings.clock));
        self.ops(listeners.ops, router);
        let store = self.store(role, &config, &tell).await?;
        if let Some(opening) = opening {
            opening.open(self.direct(&config, &store));
        }
        let api = self.work(role, &config, store.clone())?;
        front.complete(self.router(token, Behind::Api(api)));
        // Last, because whoever hears that all is ready begins.
        tell.send_modify(|state| *state = Ok(store));
        Ok(())
    }

    /// Until a histogram's samples are counted they are kept one by one, and whoever asks for the metrics has them counted.
    /// Nobody may ever ask.
    fn metrics(&self) {
        let Surroundings { clock, metrics, .. } = self.surroundings.clone();
        let end = self.late.end.clone();
        self.late.spawn("metrics", async move {
            while end.run_until_cancelled(clock.sleep(METRICS_UPKEEP)).await.is_some() {
                metrics.run_upkeep();
            }
            0
        });
    }

    /// The store, asked whether it answers; until it is open it is in the way, with the reason that is told.
    fn watch_store(&mut self) -> watch::Sender<Result<Store, String>> {
        let (tell, state) = watch::channel(Err("it is being opened".to_owned()));
        self.checks.push(Check::vital("store", move || {
            let state: Result<Store, String> = state.borrow().clone();
            async move { state?.ping().await.map_err(|error| error.to_string()) }
        }));
        tell
    }

    /// Opens the store, as soon as the database can be reached.
    async fn store(
        &self,
        role: Role,
        config: &Config,
        tell: &watch::Sender<Result<Store, String>>,
    ) -> Result<Store, StartError> {
        let Surroundings { clock, entropy, .. } = &self.surroundings;
        let url = config.store_url.expose_secret();
        loop {
            let opened = async {
                // Several workers start at once, and only one person migrates: `run` is alone and may.
                if role == Role::Run {
                    store::migrate(url).await?;
                }
                Store::open(url, config.store_connections_max, Arc::clone(clock), Arc::clone(entropy)).await
            };
            match opened.await {
                Err(error) if error.is_of_database() && !error.is_final() => {
                    tracing::warn!(%error, "the store cannot be reached; trying again in 2 s");
                    tell.send_modify(|state| *state = Err(format!("it cannot be reached: {error}")));
                    clock.sleep(SignedDuration::from_secs(2)).await;
                }
                opened => return Ok(opened?),
            }
        }
    }

    /// The receiver, and the queue that it publishes into: RabbitMQ, or what is returned, to be opened with the store.
    fn entrance(&mut self, config: &Config, listener: Option<TcpListener>) -> Result<Option<Opening>, StartError> {
        if let Some(settings) = &config.rabbitmq {
            let publisher = self.rabbitmq(settings)?;
            self.receiver(config, listener, publisher)?;
            return Ok(None);
        }
        let clock = Arc::clone(&self.surroundings.clock);
        let opening = Opening::new(config.direct.publish_deadline, clock);
        self.receiver(config, listener, Arc::new(opening.clone()))?;
        Ok(Some(opening))
    }

    fn rabbitmq(&mut self, settings: &rabbitmq::Settings) -> Result<Arc<dyn Publisher>, StartError> {
        let Surroundings { clock, entropy, .. } = self.surroundings.clone();
        let (publisher, link) = rabbitmq::publisher(settings, clock, entropy)?;
        self.watch("queue", link.state());
        let end = self.late.end.clone();
        self.late.spawn("queue", async move {
            link.run(end).await;
            0
        });
        Ok(Arc::new(publisher))
    }

    /// The inbox itself is the queue.
    fn direct(&self, config: &Config, store: &Store) -> Arc<dyn Publisher> {
        let clock = Arc::clone(&self.surroundings.clock);
        let (publisher, commits) = direct::publisher(&config.direct, Arc::new(store.clone()), clock);
        let end = self.late.end.clone();
        self.late.spawn("queue", async move {
            commits.run(end).await;
            0
        });
        Arc::new(publisher)
    }

    fn receiver(
        &mut self,
        config: &Config,
        listener: Option<TcpListener>,
        publisher: Arc<dyn Publisher>,
    ) -> Result<(), StartError> {
        let listener = listener.ok_or(StartError::Incomplete("port for the receiver"))?;
        let (roster, clock) = (self.roster.clone(), Arc::clone(&self.surroundings.clock));
        let receiver = Receiver::following(roster, publisher, clock, config.receiver);
        let serving = http::serve(listener, receiver::router(receiver), config.http.clone(), self.early.end.clone());
        self.early.spawn("receiver", serving);
        Ok(())
    }

    /// Intake (where there is a broker to take in from), the worker and the sweep. Returns what the API needs.
    fn work(&mut self, role: Role, config: &Config, store: Store) -> Result<ops::Api, StartError> {
        let Surroundings { clock, entropy, .. } = self.surroundings.clone();
        if let Some(settings) = &config.rabbitmq {
            let inbox = Arc::new(store.clone());
            let link = rabbitmq::intake(settings, inbox, Arc::clone(&clock), Arc::clone(&entropy))?;
            self.watch("intake", link.state());
            let end = self.early.end.clone();
            self.early.spawn("intake", async move {
                link.run(end).await;
                0
            });
        }
        let settings = config.provider.as_ref().ok_or(StartError::Incomplete("provider"))?;
        let client = Arc::new(SeamClient::new(settings, Arc::clone(&clock))?);
        let worker = Worker::new(store.clone(), client, Arc::clone(&clock), entropy, config.worker.clone());
        let paced = worker.paced();
        let asked = paced.clone();
        self.checks.push(Check::informative("provider", move || {
            let standing = asked.standing();
            async move { standing.verdict() }
        }));
        let (asked, in_flight_max) = (paced.clone(), config.worker.in_flight_max);
        let calls: Arc<ops::Calls> = Arc::new(move || Box::pin(calls(asked.clone(), in_flight_max)));
        let provider: Arc<dyn Provider> = Arc::new(paced);
        let end = self.early.end.clone();
        self.early.spawn("worker", async move { worker.run(end).await });
        let source = config.missed_source.clone();
        let read: ReadListed = Arc::new(move |event, now| read_listed(&source, event, now));
        let sweep = Sweep::new(store.clone(), Arc::clone(&provider), Arc::clone(&clock), read, config.sweep.clone());
        let end = self.early.end.clone();
        self.early.spawn("sweep", async move {
            sweep.run(end).await;
            0
        });
        let (roster, listed) = (self.roster.clone(), self.roster.clone());
        Ok(ops::Api {
            store,
            provider,
            clock,
            calls,
            secrets: if role.receives() { Some(Arc::new(move || secret_names(&listed.borrow()))) } else { None },
            reread: Arc::new(move |item| read_again(&roster.borrow(), item)),
            shutdown: self.late.end.clone(),
        })
    }

    fn ops(&self, listener: TcpListener, router: Router) {
        self.late.spawn("ops", http::serve(listener, router, http::Limits::default(), self.late.end.clone()));
    }

    fn router(&self, token: Option<SecretString>, behind: Behind) -> Router {
        let Surroundings { clock, metrics, .. } = self.surroundings.clone();
        ops::router(ops::Ops { health: Health::new(self.checks.clone(), clock), metrics, token, behind })
    }

    fn watch(&mut self, name: &'static str, state: watch::Receiver<State>) {
        self.checks.push(Check::vital(name, move || {
            let state = state.borrow().clone();
            async move {
                match state {
                    State::Ready => Ok(()),
                    State::Connecting => Err("connecting to RabbitMQ".to_owned()),
                    State::Blocked { why, .. } => Err(format!("RabbitMQ takes no publishes: {why}")),
                    State::Down { why, .. } => Err(format!("RabbitMQ cannot be used: {why}")),
                }
            }
        }));
    }
}

async fn calls(paced: Paced, in_flight_max: u32) -> Result<wire::Calls, StoreError> {
    let rate = paced.rate_use().await?.map(|used| wire::CallRate {
        per_second_max: used.rate.per_second,
        burst_max: used.rate.burst,
        burst_used: used.burst_used,
    });
    Ok(wire::Calls { in_flight_max, rate })
}

fn secret_names(roster: &Roster) -> ops::SecretNames {
    let names = |source: &Source| source.scheme().names().into_iter().map(ToString::to_string).collect();
    roster.iter().map(|source| (source.name().to_string(), names(source))).collect()
}

fn read_again(roster: &Roster, item: &ParkedItem) -> Result<Vec<Envelope>, String> {
    let shape =
        roster.shape(&item.source).ok_or("its source is not configured here, so nobody knows how to read it")?;
    let body = Bytes::from(item.body.clone());
    let read = receiver::reread(shape, &item.source, &item.delivery_id, item.received_at, &item.headers, body);
    read.map_err(|error| error.to_string())
}

/// A listed event is read as the webhook would have been; one that cannot be is left to the webhook, which parks it.
fn read_listed(source: &str, event: &ListedEvent, now: Timestamp) -> Vec<Envelope> {
    let delivery_id = format!("{PULLED}{}", event.event_id);
    let body = event.body.clone();
    match receiver::reread(&Shape::Seam, source, &delivery_id, now, &Headers::new(), body) {
        Ok(envelopes) => envelopes,
        Err(error) => {
            tracing::warn!(%error, event_id = event.event_id, "a listed event cannot be read");
            Vec::new()
        }
    }
}
