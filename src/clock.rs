//! Time and chance, as arguments.
//!
//! Nothing else in the crate reads the wall clock, sleeps by it or draws a random number (`clippy.toml` says so to the
//! compiler). A loop gets a [`Clock`] and an [`Entropy`] handed in, therefore a test can stand still, jump, and repeat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use tokio::sync::oneshot;
use uuid::Uuid;

/// What time it is, and how to wait for a time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. It may step backwards when the machine's clock does.
    fn now(&self) -> Timestamp;

    /// Resolves at or after `at`; at once if `at` has passed.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;

    /// Resolves after `duration`.
    fn sleep(&self, duration: SignedDuration) -> BoxFuture<'static, ()> {
        self.sleep_until(add(self.now(), duration))
    }
}

/// `at + duration`, held at the ends of the calendar instead of overflowing.
#[must_use]
pub fn add(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.saturating_add(duration).unwrap_or(at)
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps by the machine's clock")]
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let wait = at.duration_since(self.now());
        let wait = std::time::Duration::try_from(wait).unwrap_or_default();
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A clock that stands still until it is told to move: for tests and simulations.
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Debug)]
struct ManualState {
    now: Timestamp,
    sleepers: BTreeMap<Timestamp, Vec<oneshot::Sender<()>>>,
}

impl ManualClock {
    #[must_use]
    pub fn starting_at(now: Timestamp) -> Self {
        Self { state: Arc::new(Mutex::new(ManualState { now, sleepers: BTreeMap::new() })) }
    }

    /// Moves time forward and wakes whoever waited for a moment that has now come.
    pub fn advance(&self, duration: SignedDuration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = add(state.now, duration);
        state.now = now;
        let later = state.sleepers.split_off(&add(now, SignedDuration::from_nanos(1)));
        let woken = std::mem::replace(&mut state.sleepers, later);
        for sleeper in woken.into_values().flatten() {
            // A sleeper that was dropped in the meantime needs no waking.
            let _ = sleeper.send(());
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if at <= state.now {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        state.sleepers.entry(at).or_default().push(wake);
        Box::pin(async move {
            // The clock is gone: nobody will ever advance it, so the wait is over as well.
            let _ = woken.await;
        })
    }
}

/// Chance: ids that nobody else has, and jitter.
pub trait Entropy: Send + Sync + 'static {
    fn next_u64(&self) -> u64;

    /// A number in `0.0..1.0`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds exactly")]
    fn unit(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time-ordered id (UUID version 7) for something made at `now`.
    fn id(&self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let mut random = [0_u8; 10];
        random[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        random[8..].copy_from_slice(&self.next_u64().to_be_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// The operating system's chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws real chance")]
    fn next_u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

/// The same chance again for the same seed.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<ChaCha12Rng>);

impl SeededEntropy {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha12Rng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan as _;

    #[tokio::test]
    async fn a_manual_clock_wakes_only_those_whose_time_has_come() {
        let start: Timestamp = "2026-03-01T10:00:00Z".parse().expect("a timestamp");
        let clock = ManualClock::starting_at(start);
        let soon = clock.sleep_until(start + 1.second());
        let late = clock.sleep_until(start + 1.hour());
        clock.advance(SignedDuration::from_secs(1));
        soon.await;
        assert!(futures_util::FutureExt::now_or_never(late).is_none(), "an hour has not passed");
    }

    #[test]
    fn a_seed_repeats_its_ids() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().expect("a timestamp");
        assert_eq!(SeededEntropy::new(7).id(now), SeededEntropy::new(7).id(now));
        assert_ne!(SeededEntropy::new(7).id(now), SeededEntropy::new(8).id(now));
    }
}
