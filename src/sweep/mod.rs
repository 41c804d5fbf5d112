//! The sweep: takes no input and converges.
//!
//! It puts into the front of the flow what should have come by itself, and never changes an issuance: a worker does,
//! under its lease. Each of its rounds has a `step` that does one bounded unit and may be done by any number of
//! processes at once; the loop beside it repeats the step for ever.

mod due;
mod missed;
mod prune;

use std::fmt;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::provider::Provider;
use crate::store::{Retention, Store};

pub use due::Due;
pub use missed::{Missed, MissedError, Pulled, ReadListed};
pub use prune::Prune;

/// Limits of the sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often to see what is due.
    pub poll: SignedDuration,
    /// Looks that wait in the inbox at once, not begun with: webhooks stand in the same line, and are not to stand long.
    pub looks_waiting_max: u32,
    /// When a look is due again that came to nothing.
    pub look_again: SignedDuration,
    /// How often to pull events that no webhook brought; zero: never.
    pub missed_every: SignedDuration,
    /// How far behind the end of the last pull the next one begins: an event may become visible late.
    pub missed_overlap: SignedDuration,
    /// How long a webhook may be on its way before its event is missed.
    pub missed_grace: SignedDuration,
    pub retention: Retention,
    /// Rows that are removed in one transaction.
    pub prune_batch: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll: SignedDuration::from_secs(1),
            looks_waiting_max: 32,
            look_again: SignedDuration::from_mins(30),
            missed_every: SignedDuration::from_mins(1),
            missed_overlap: SignedDuration::from_mins(10),
            missed_grace: SignedDuration::from_mins(2),
            retention: Retention {
                ledger: SignedDuration::from_hours(24 * 90),
                events: SignedDuration::from_hours(24 * 30),
                plans: SignedDuration::from_hours(24 * 365),
            },
            prune_batch: 500,
        }
    }
}

/// The wait after a round that failed: most likely the database is away.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(5);

/// Between two steps of a round that has more to do: others want to write, too.
const BREATH: SignedDuration = SignedDuration::from_secs(1);

/// What is kept for days is not in a hurry.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// All rounds of the sweep.
pub struct Sweep {
    pub due: Due,
    pub missed: Missed,
    pub prune: Prune,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl Sweep {
    #[must_use]
    pub fn new(
        store: Store,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        read: ReadListed,
        settings: Settings,
    ) -> Self {
        Self {
            due: Due::new(store.clone(), &settings),
            missed: Missed::new(store.clone(), provider, Arc::clone(&clock), read, &settings),
            prune: Prune::new(store, &settings),
            clock,
            settings,
        }
    }

    /// Sweeps until `shutdown`. A step that the end interrupts is rolled back, or done again by whoever comes next.
    pub async fn run(&self, shutdown: CancellationToken) {
        // Boxed, because pulling holds a list in its hands.
        let rounds = async {
            tokio::join!(
                Box::pin(self.look_after_due()),
                Box::pin(self.look_after_missed()),
                Box::pin(self.look_after_old())
            )
        };
        shutdown.run_until_cancelled(rounds).await;
    }

    async fn look_after_due(&self) {
        loop {
            let stepped = self.due.step().await;
            self.pause("due", stepped, |_| self.settings.poll).await;
        }
    }

    async fn look_after_missed(&self) {
        if self.settings.missed_every.is_zero() {
            return;
        }
        loop {
            let stepped = self.missed.step().await;
            let wait =
                |pulled| if matches!(pulled, Pulled::Behind { .. }) { BREATH } else { self.settings.missed_every };
            self.pause("missed", stepped, wait).await;
        }
    }

    async fn look_after_old(&self) {
        loop {
            let stepped = self.prune.step().await;
            self.pause("old", stepped, |more| if more { BREATH } else { PRUNE_EVERY }).await;
        }
    }

    /// Waits until the next step of a round: as long as `wait` says of what this one did.
    async fn pause<T, E: fmt::Display>(
        &self,
        round: &'static str,
        stepped: Result<T, E>,
        wait: impl FnOnce(T) -> SignedDuration,
    ) {
        let wait = match stepped {
            Ok(done) => wait(done),
            Err(error) => {
                tracing::warn!(%error, round, "a round of the sweep failed; it will be tried again");
                metrics::counter!("keyferry_sweep_failures_total", "round" => round).increment(1);
                AFTER_FAILURE
            }
        };
        self.clock.sleep(wait).await;
    }
}
