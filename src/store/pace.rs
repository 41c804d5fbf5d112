//! What all processes of one store share about the pace of calls to the provider.

use jiff::Timestamp;

use super::sql::Value;
use super::{Store, StoreError};

impl Store {
    /// Speaks for more of the time in which calls may begin; returns up to when it is spoken for now. Microseconds.
    ///
    /// What was spoken for is first held between `floor_us` (time that has passed is nobody's) and `ceiling_us` (farther
    /// ahead than callers can have come: the clock was set back since).
    pub async fn speak_for_calls(&self, floor_us: i64, ceiling_us: i64, more_us: i64) -> Result<i64, StoreError> {
        let speak = "UPDATE provider_calls SET spoken_for_us = $3 + CASE \
                         WHEN spoken_for_us < $1 THEN $1 WHEN spoken_for_us > $2 THEN $2 ELSE spoken_for_us END \
                     WHERE id = 1 RETURNING spoken_for_us";
        let values = [floor_us, ceiling_us, more_us].map(Value::from);
        let row = self.db.write(move |tx| Box::pin(tx.fetch_one(speak, values))).await?;
        row.ok_or_else(|| StoreError::Corrupt("provider_calls has no row".to_owned()))?.int("spoken_for_us")
    }

    /// Up to when calls are spoken for, in microseconds.
    pub async fn calls_spoken_for(&self) -> Result<i64, StoreError> {
        let rows = self.db.fetch("SELECT spoken_for_us FROM provider_calls WHERE id = 1", []).await?;
        rows.first().map_or(Ok(0), |row| row.int("spoken_for_us"))
    }

    /// Makes due what waits for the provider, because it works again. Returns how many events that are.
    ///
    /// They need no spreading: claims are bounded by the leases that may be out at once, and calls by their rate.
    pub async fn end_awaiting(&self, now: Timestamp) -> Result<u64, StoreError> {
        let release = "UPDATE inbox SET due_at = $1 \
                       WHERE state = 'due' AND awaits_provider = 1 AND lease IS NULL AND due_at > $1";
        let released = self.db.write(move |tx| Box::pin(tx.execute(release, [now.into()]))).await?;
        self.arrivals.notify_one();
        Ok(released)
    }
}
