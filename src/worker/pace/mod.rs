//! The pace of calls to the provider: a rate for all processes of the store together, rests that the provider asks for,
//! and a circuit breaker.
//!
//! Everybody in the process calls through [`Paced`]. Before a call: wait for a slot, unless all calls wait anyway; after
//! it: tell the breaker. How many calls are under way at once needs no counting here: a handling makes one at a time,
//! and the store bounds the leases that are out.

mod breaker;
mod paced;
mod slots;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::clock::{self, Clock, Entropy};
use crate::provider::{Provider, ProviderError};
use crate::store::{Store, StoreError};
use breaker::{Breaker, Pass};
use slots::Slots;

pub use breaker::{Rules, Standing};
pub use paced::Paced;
pub use slots::Rate;

/// How calls are paced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `None`: as many calls as come. (A program that is configured has another default, see `config`.)
    pub rate: Option<Rate>,
    pub breaker: Rules,
}

/// How much of the rate is used at the moment, by all processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateUse {
    pub rate: Rate,
    pub burst_used: u32,
}

const OPEN: &str = "keyferry_provider_breaker_open";
const REST: &str = "keyferry_provider_rest_until_timestamp_seconds";
const HELD: &str = "keyferry_provider_calls_held_total";
const SLOTS: &str = "keyferry_provider_slot_wait_seconds";

/// After which a store that could not give a slot is asked again.
const STORE_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// What all callers of one process share.
pub(super) struct Pace {
    provider: Arc<dyn Provider>,
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    breaker: Mutex<Breaker>,
    slots: Option<Slots>,
}

impl Pace {
    /// `callers_max`: callers of all processes that can wait for a slot at once.
    pub(super) fn new(
        provider: Arc<dyn Provider>,
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
        callers_max: u32,
    ) -> Self {
        describe_gauge!(OPEN, "1 while this process calls the provider only to find out whether it works again");
        describe_gauge!(REST, "Until when the provider has asked not to be called");
        describe_counter!(HELD, "Calls to the provider that were not made, because all calls waited");
        describe_histogram!(SLOTS, "How long calls to the provider waited for the rate limit, where they had to");
        gauge!(OPEN).set(0.0);
        let slots = settings.rate.map(|rate| Slots::new(rate, callers_max));
        Self { provider, store, clock, entropy, breaker: Mutex::new(Breaker::new(settings.breaker)), slots }
    }

    pub(super) fn standing(&self) -> Standing {
        let breaker = self.breaker();
        if breaker.is_at_ease() { Standing::Working } else { breaker.standing(self.clock.now()) }
    }

    /// How many of `room` events may be taken up, with `in_hand` at work: one at a time for a probe, none before it.
    pub(super) fn allowance(&self, room: u32, in_hand: u32) -> u32 {
        match self.standing() {
            Standing::Working | Standing::Suspected { .. } => room,
            Standing::Resting { .. } => 0,
            Standing::Away { probe_at, .. } if probe_at > self.clock.now() => 0,
            Standing::Away { .. } => room.min(1_u32.saturating_sub(in_hand)),
        }
    }

    /// Until when an event whose call has just failed is to wait without it being held against the event.
    pub(super) fn excuse(&self) -> Option<Timestamp> {
        match self.standing() {
            Standing::Working => None,
            Standing::Resting { until, .. } => Some(until),
            Standing::Suspected { probe_at, .. } | Standing::Away { probe_at, .. } => Some(probe_at),
        }
    }

    pub(super) async fn rate_use(&self) -> Result<Option<RateUse>, StoreError> {
        let Some(slots) = &self.slots else { return Ok(None) };
        let spoken_for = self.store.calls_spoken_for().await?;
        let rate = slots.rate();
        Ok(Some(RateUse { rate, burst_used: rate.used(self.clock.now(), spoken_for) }))
    }

    /// Resolves when a call for `person` may begin, or says that all calls wait.
    async fn admit(&self, person: Option<&str>) -> Result<Pass, ProviderError> {
        if let Some(slots) = &self.slots {
            // Whoever would not be let through takes no slot.
            self.stand_in_line(person)?;
            self.wait_for_slot(slots).await?;
        }
        self.let_through(person)
    }

    fn stand_in_line(&self, person: Option<&str>) -> Result<(), ProviderError> {
        let breaker = self.breaker();
        if breaker.is_at_ease() {
            return Ok(());
        }
        breaker.would_admit(self.clock.now(), person).map(drop).map_err(held)
    }

    fn let_through(&self, person: Option<&str>) -> Result<Pass, ProviderError> {
        let mut breaker = self.breaker();
        if breaker.is_at_ease() {
            return Ok(Pass::Usual);
        }
        breaker.admit(self.clock.now(), person).map_err(held)
    }

    async fn wait_for_slot(&self, slots: &Slots) -> Result<(), ProviderError> {
        let asked_at = self.clock.now();
        let slot = slots.reserve(&self.store, asked_at).await.map_err(|error| {
            held((clock::add(self.clock.now(), STORE_WAIT), format!("no slot can be reserved for it ({error})")))
        })?;
        if slot > asked_at {
            histogram!(SLOTS).record(slot.duration_since(asked_at).as_secs_f64());
            self.clock.sleep_until(slot).await;
        }
        Ok(())
    }

    /// Tells the breaker how a call ended.
    async fn report(&self, pass: Pass, person: Option<&str>, error: Option<&ProviderError>) {
        match error {
            // It was there, and understood.
            None | Some(ProviderError::Permanent { .. }) => self.note_success().await,
            Some(error @ ProviderError::Transient { retry_after, .. }) => {
                self.note_failure(pass, person, error, *retry_after);
            }
            Some(error @ ProviderError::Unknown { .. }) => self.note_failure(pass, person, error, None),
            // Not called.
            Some(ProviderError::Held { .. }) => {}
        }
    }

    async fn note_success(&self) {
        let outage = {
            let mut breaker = self.breaker();
            if breaker.is_at_ease() {
                return;
            }
            breaker.succeeded(self.clock.now())
        };
        gauge!(OPEN).set(0.0);
        let Some(lasted) = outage else { return };
        match self.store.end_awaiting(self.clock.now()).await {
            Ok(released) => {
                tracing::info!(outage_seconds = lasted.as_secs(), released, "the provider answers again");
            }
            // Each comes again by itself, at its own time.
            Err(error) => tracing::warn!(%error, "the provider answers again; what waits for it could not be told"),
        }
    }

    fn note_failure(
        &self,
        pass: Pass,
        person: Option<&str>,
        error: &ProviderError,
        retry_after: Option<std::time::Duration>,
    ) {
        let (now, chance) = (self.clock.now(), self.entropy.unit());
        let has_opened = {
            let mut breaker = self.breaker();
            if let Some(wait) = retry_after.and_then(|wait| SignedDuration::try_from(wait).ok()) {
                breaker.rest(now, wait, error.to_string());
                gauge!(REST).set(seconds(clock::add(now, wait)));
            }
            breaker.failed(now, chance, pass, person, error.to_string())
        };
        if has_opened {
            gauge!(OPEN).set(1.0);
            tracing::error!(%error, "the provider answers nobody; all calls wait, but for one at a time that asks again");
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn held((until, why): (Timestamp, String)) -> ProviderError {
    counter!(HELD).increment(1);
    ProviderError::Held { until, why }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds stay far below 2^53")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
