//! How far a list at the provider has been read. One reader at a time goes on from there, under a lease.

use jiff::Timestamp;

use super::{Store, StoreError};

/// The right to read on from `at`, until the lease passes or the watermark is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    pub at: Timestamp,
    name: &'static str,
    lease: String,
}

impl Store {
    /// Takes the watermark `name` until `until`; `None` while somebody else has it. A new one stands at the present:
    /// nothing that came before is missed by anybody.
    pub async fn take_watermark(&self, name: &'static str, until: Timestamp) -> Result<Option<Watermark>, StoreError> {
        let now = self.clock.now();
        let lease = self.entropy.id(now).to_string();
        let new = "INSERT INTO watermarks (name, at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        let take = "UPDATE watermarks SET lease = $1, lease_until = $2 \
                    WHERE name = $3 AND (lease_until IS NULL OR lease_until <= $4) RETURNING at";
        let values = [lease.as_str().into(), until.into(), name.into(), now.into()];
        let taken = self.db.write(move |tx| {
            Box::pin(async move {
                tx.execute(new, [name.into(), now.into()]).await?;
                tx.fetch_one(take, values).await
            })
        });
        taken.await?.map(|row| Ok(Watermark { at: row.time("at")?, name, lease })).transpose()
    }

    /// Moves it to `at`, and lets the next reader have it from `free_at` on. Nothing happens if the lease has passed to
    /// somebody else: what was read twice is dropped by the inbox.
    pub async fn move_watermark(&self, taken: &Watermark, at: Timestamp, free_at: Timestamp) -> Result<(), StoreError> {
        let set = "UPDATE watermarks SET at = $1, lease_until = $2 WHERE name = $3 AND lease = $4";
        let values = [at.into(), free_at.into(), taken.name.into(), taken.lease.as_str().into()];
        self.db.write(move |tx| Box::pin(tx.execute(set, values))).await.map(drop)
    }
}
