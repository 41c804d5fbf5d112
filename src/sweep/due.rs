//! What is due for a look goes into the inbox, as if somebody had told of it.

use jiff::SignedDuration;

use super::Settings;
use crate::store::{Store, StoreError};

/// Moves what is due.
#[derive(Clone)]
pub struct Due {
    store: Store,
    waiting_max: u32,
    again: SignedDuration,
}

impl Due {
    #[must_use]
    pub fn new(store: Store, settings: &Settings) -> Self {
        Self { store, waiting_max: settings.looks_waiting_max, again: settings.look_again }
    }

    /// Moves as much as there is room for, and sums up what has moved. Returns how many issuances that were.
    pub async fn step(&self) -> Result<usize, StoreError> {
        let moved = self.store.move_due(self.waiting_max, self.again).await?;
        metrics::counter!("keyferry_looks_due_total").increment(u64::try_from(moved).unwrap_or(u64::MAX));
        self.store.sum_up().await?;
        Ok(moved)
    }
}
