//! What is old and over is removed, so that the store does not grow for ever.

use super::Settings;
use crate::store::{Pruned, Retention, Store, StoreError};

/// Prunes.
#[derive(Clone)]
pub struct Prune {
    store: Store,
    retention: Retention,
    batch: u32,
}

impl Prune {
    #[must_use]
    pub fn new(store: Store, settings: &Settings) -> Self {
        Self { store, retention: settings.retention, batch: settings.prune_batch }
    }

    /// Removes one batch of each table. Returns whether there may be more.
    pub async fn step(&self) -> Result<bool, StoreError> {
        let pruned = self.store.prune(&self.retention, self.batch).await?;
        for (table, rows) in pruned.by_table() {
            metrics::counter!("keyferry_pruned_rows_total", "table" => table).increment(rows);
        }
        if pruned != Pruned::default() {
            tracing::debug!(?pruned, "removed what was too old");
        }
        Ok(pruned.by_table().iter().any(|(_, rows)| *rows >= u64::from(self.batch)))
    }
}
