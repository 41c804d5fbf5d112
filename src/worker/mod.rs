//! The worker: claims due events, acts, records.
//!
//! Each handling runs under a lease that is renewed while it goes on; what it learns is committed as it goes, so that a
//! handling that dies half-way is taken up where it stood. No transaction is held across a call to the provider.

mod classify;
mod ensure;
mod handle;
mod look;
pub mod pace;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::clock::{self, Clock, Entropy};
use crate::domain::{Backoff, Fact, Outcome, Rhythm};
use crate::provider::Provider;
use crate::store::{Change, Claim, Claimed, RecordError, Store, StoreError};
use classify::Trouble;
use pace::{Pace, Paced};

pub use ensure::START_WITHIN;

/// How a worker paces itself. The defaults are the limits that the README names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Handlings at once.
    pub concurrency: u32,
    /// Handlings at once in all processes of the store.
    pub in_flight_max: u32,
    /// How long a claimed event is ours without a renewal: how soon another worker takes over after a crash.
    pub lease: SignedDuration,
    /// After an intent, how long until a call has ended either way and the provider shows what it did. At least
    /// [`START_WITHIN`] and the provider's call deadline together.
    pub settle: SignedDuration,
    /// How often to look for due events where nothing rings.
    pub poll: SignedDuration,
    /// How long handlings may go on after the end was announced.
    pub drain: SignedDuration,
    pub backoff: Backoff,
    pub pace: pace::Settings,
    /// When what was handled is looked at again.
    pub rhythm: Rhythm,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            in_flight_max: 64,
            lease: SignedDuration::from_secs(15),
            settle: SignedDuration::from_secs(15),
            poll: SignedDuration::from_millis(500),
            drain: SignedDuration::from_secs(15),
            backoff: Backoff::default(),
            pace: pace::Settings::default(),
            rhythm: Rhythm::default(),
        }
    }
}

/// Callers beside the handlings: checks of plans that are put, and the like.
const OTHER_CALLERS_MAX: u32 = 64;

/// Where more is due than there is room for: how long room that has become free waits until there is half of all, since a
/// claim of many costs little more than a claim of one. A call to a provider takes many times as long.
const COMPANY: SignedDuration = SignedDuration::from_millis(4);

/// A cheap handle; clones do the same work.
#[derive(Clone)]
pub struct Worker {
    store: Store,
    pace: Arc<Pace>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    settings: Settings,
}

impl Worker {
    #[must_use]
    pub fn new(
        store: Store,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
    ) -> Self {
        let pace = Pace::new(
            provider,
            store.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            settings.pace.clone(),
            settings.in_flight_max.saturating_add(OTHER_CALLERS_MAX),
        );
        let store = store.with_in_flight_max(settings.in_flight_max);
        Self { store, pace: Arc::new(pace), clock, entropy, settings }
    }

    /// The provider at this worker's pace, for everybody else in the process who calls it.
    #[must_use]
    pub fn paced(&self) -> Paced {
        Paced::new(Arc::clone(&self.pace))
    }

    /// Works until `shutdown`, then finishes what is in hand within the drain time. What is not finished by then is
    /// free for others once its lease has passed. Returns how many that are.
    pub async fn run(&self, shutdown: CancellationToken) -> usize {
        let mut hands = JoinSet::new();
        let mut last = Last::default();
        while !shutdown.is_cancelled() {
            while let Some(ended) = hands.try_join_next() {
                report(ended);
            }
            let in_hand = u32::try_from(hands.len()).unwrap_or(u32::MAX);
            let room = self.pace.allowance(self.settings.concurrency.saturating_sub(in_hand), in_hand);
            if room > 0 {
                // A claim that the end interrupts is rolled back, or its lease passes.
                let claim = shutdown.run_until_cancelled(self.claim(room)).await.unwrap_or_default();
                let is_full = u32::try_from(claim.events.len()).is_ok_and(|count| count >= room);
                last = Last { is_full, is_one_left: claim.is_one_left };
                for event in claim.events {
                    let worker = self.clone();
                    hands.spawn(async move { worker.handle_one(event).await });
                }
            }
            if room == 0 || !last.is_full {
                self.rest(&mut hands, last, &shutdown).await;
            }
        }
        let mut deadline = self.clock.sleep(self.settings.drain);
        loop {
            tokio::select! {
                finished = hands.join_next() => match finished {
                    Some(ended) => report(ended),
                    None => return 0,
                },
                () = &mut deadline => {
                    tracing::warn!(unfinished = hands.len(), "the drain time is over; their leases will pass");
                    return hands.len();
                }
            }
        }
    }

    /// Claims one batch, handles it to the end, and says how many events that were.
    pub async fn step(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let until = clock::add(now, self.settings.lease);
        let room = self.pace.allowance(self.settings.concurrency, 0);
        let claim = if room == 0 { Claim::default() } else { self.store.claim(now, until, room).await? };
        let count = claim.events.len();
        futures_util::future::join_all(claim.events.into_iter().map(|event| self.handle_one(event))).await;
        Ok(count)
    }

    async fn claim(&self, room: u32) -> Claim {
        let now = self.clock.now();
        match self.store.claim(now, clock::add(now, self.settings.lease), room).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "the inbox cannot be read; trying again");
                Claim::default()
            }
        }
    }

    /// Waits until a claim may find something and is worth its while, or the end.
    async fn rest(&self, hands: &mut JoinSet<()>, last: Last, shutdown: &CancellationToken) {
        let half = usize::try_from(self.settings.concurrency / 2).unwrap_or(usize::MAX);
        let mut enough = self.clock.sleep(self.settings.poll);
        let mut is_in_company = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(ended) = hands.join_next() => {
                    report(ended);
                    // What was recorded together ends together, and leaves room for as many.
                    tokio::task::yield_now().await;
                    while let Some(ended) = hands.try_join_next() {
                        report(ended);
                    }
                    if last.is_full && hands.len() > half {
                        if !is_in_company {
                            is_in_company = true;
                            enough = self.clock.sleep(COMPANY);
                        }
                    } else if last.is_full || last.is_one_left {
                        return;
                    }
                }
                () = self.store.arrival(), if !last.is_full => return,
                () = &mut enough => return,
            }
        }
    }

    async fn handle_one(&self, claimed: Claimed) {
        let span = tracing::info_span!(
            "handle",
            event_type = claimed.event_type,
            event_id = claimed.event_id,
            source = claimed.source,
            attempt = claimed.attempt,
        );
        let started = self.clock.now();
        let handling = async {
            if claimed.attempt > self.settings.backoff.attempts_max {
                // Claimed again and again without an outcome: its handling may be what kills the worker.
                let why = format!("taken up {} times and never brought to an end", claimed.attempt - 1);
                return self.finish(&claimed, Some(classify::give_up(&claimed, why))).await;
            }
            let person = claimed.fact.as_ref().ok().and_then(Fact::subject);
            let hand = Hand { worker: self, claimed: &claimed, provider: self.paced().of_person(person) };
            let handled = AssertUnwindSafe(hand.handle()).catch_unwind();
            let result = tokio::select! {
                result = handled => result.unwrap_or(Err(Trouble::Panic)),
                () = self.lose_lease(&claimed) => Err(Trouble::LeaseLost),
            };
            let outcome = match result {
                Ok(outcome) => Some(outcome),
                Err(trouble) => {
                    let (excuse, chance, now) = (self.pace.excuse(), self.entropy.unit(), self.clock.now());
                    classify::outcome(&trouble, &claimed, &self.settings.backoff, excuse, chance, now)
                }
            };
            self.finish(&claimed, outcome).await;
            let took = self.clock.now().duration_since(started);
            metrics::histogram!("keyferry_handling_seconds").record(took.as_secs_f64());
        };
        handling.instrument(span).await;
    }

    /// Records how a handling ended. Without an outcome nothing is written, and the lease passes.
    async fn finish(&self, claimed: &Claimed, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else {
            metrics::counter!("keyferry_events_handled_total", "outcome" => "abandoned").increment(1);
            return;
        };
        let word = match &outcome {
            Outcome::Done => {
                tracing::info!("done");
                "done"
            }
            Outcome::Ignored { why } => {
                tracing::info!(why, "ignored");
                "ignored"
            }
            Outcome::Await { after, why, is_counted: false } => {
                tracing::debug!(why, after_ms = millis(*after), "waits for the provider");
                "awaits"
            }
            Outcome::Retry { after, why } | Outcome::Await { after, why, is_counted: true } => {
                tracing::warn!(why, after_ms = millis(*after), "will be tried again");
                "retry"
            }
            Outcome::Park { why } => {
                tracing::error!(why, "parked for a person");
                "parked"
            }
        };
        let twins = if outcome.has_ended_well() { claimed.twins.len() } else { 0 };
        let ended = 1 + u64::try_from(twins).unwrap_or_default();
        let change = Change { outcome: Some(outcome), ..Change::default() };
        match self.store.record(claimed, self.clock.now(), change).await {
            Ok(()) => metrics::counter!("keyferry_events_handled_total", "outcome" => word).increment(ended),
            Err(error) => tracing::warn!(%error, "the outcome was not recorded; the event will be handled again"),
        }
    }

    /// Renews the lease for as long as it can; resolves when it is lost.
    async fn lose_lease(&self, claimed: &Claimed) {
        loop {
            self.clock.sleep(self.settings.lease / 3).await;
            let now = self.clock.now();
            match self.store.renew(claimed, now, clock::add(now, self.settings.lease)).await {
                Ok(true) => {}
                Ok(false) => return,
                // Whether it still holds will be told by the fence when something is to be recorded.
                Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
            }
        }
    }
}

/// What is known of the line since the last claim.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    /// As many were handed out as there was room for: more may be due.
    is_full: bool,
    /// Something due has to wait for what is in hand. If not, only what arrives or falls due can be handed out next.
    is_one_left: bool,
}

/// One event in hand: what its handlers see of the worker.
struct Hand<'a> {
    worker: &'a Worker,
    claimed: &'a Claimed,
    provider: Paced,
}

/// A handler's panic is an outcome; this is one in what was to record it.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a handling panicked; its event is taken up again when its lease has passed");
    }
}

fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Hand<'_> {
    /// Handles the event; once more at once where somebody else wrote in between, since reading again is all it takes.
    async fn handle(&self) -> Result<Outcome, Trouble> {
        const TRIES: u32 = 3;
        for _ in 1..TRIES {
            match handle::handle(self).await {
                Err(Trouble::Conflict { what }) => tracing::debug!(what, "somebody else wrote in between"),
                handled => return handled,
            }
        }
        handle::handle(self).await
    }

    fn store(&self) -> &Store {
        &self.worker.store
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    fn now(&self) -> jiff::Timestamp {
        self.worker.clock.now()
    }

    /// Commits what was learned so far. The handling goes on.
    async fn commit(&self, change: Change) -> Result<(), Trouble> {
        debug_assert!(change.outcome.is_none(), "the outcome is recorded when the handling has ended");
        match self.store().record(self.claimed, self.now(), change).await {
            Ok(()) => Ok(()),
            Err(RecordError::LeaseLost(_)) => Err(Trouble::LeaseLost),
            Err(RecordError::Conflict(what)) => Err(Trouble::Conflict { what }),
            Err(RecordError::Store(error)) => Err(Trouble::Store(error)),
        }
    }
}
