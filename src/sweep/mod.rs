//! The sweep: takes no input and converges.
//!
//! It puts into the front of the flow what should have come by itself, and never changes an issuance: a worker does,
//! under its lease. Each of its rounds has a `step` that does one bounded unit and may be done by any number of
//! processes at once; the loop beside it repeats the step for ever.

mod due;

use std::fmt;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::Store;

pub use due::Due;

/// Limits of the sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often to see what is due.
    pub poll: SignedDuration,
    /// Looks that wait in the inbox at once, not begun with: webhooks stand in the same line, and are not to stand long.
    pub looks_waiting_max: u32,
    /// When a look is due again that came to nothing.
    pub look_again: SignedDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { poll: SignedDuration::from_secs(1), looks_waiting_max: 32, look_again: SignedDuration::from_mins(30) }
    }
}

/// The wait after a round that failed: most likely the database is away.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(5);

/// All rounds of the sweep.
pub struct Sweep {
    pub due: Due,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl Sweep {
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self { due: Due::new(store, &settings), clock, settings }
    }

    /// Sweeps until `shutdown`. A step that the end interrupts is rolled back, or done again by whoever comes next.
    pub async fn run(&self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.look_after_due()).await;
    }

    async fn look_after_due(&self) {
        loop {
            let stepped = self.due.step().await;
            self.pause("due", stepped, |_| self.settings.poll).await;
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
