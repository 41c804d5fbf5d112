//! A queue that is not there yet: whoever publishes waits for it a little, and is told to come again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::SetOnce;

use super::{Envelope, PublishError, Publisher};
use crate::clock::Clock;

/// Waits until it is opened, within a publish's deadline, and publishes from then on. Clones are the same one.
#[derive(Clone)]
pub struct Opening {
    opened: Arc<SetOnce<Arc<dyn Publisher>>>,
    deadline: SignedDuration,
    clock: Arc<dyn Clock>,
}

impl Opening {
    #[must_use]
    pub fn new(deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
        Self { opened: Arc::default(), deadline, clock }
    }

    /// From now on everything goes through `publisher`; a second one is ignored.
    pub fn open(&self, publisher: Arc<dyn Publisher>) {
        // Whoever was first is as good: nobody opens twice.
        let _ = self.opened.set(publisher);
    }
}

#[async_trait]
impl Publisher for Opening {
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        let publisher = tokio::select! {
            biased;
            publisher = self.opened.wait() => publisher,
            () = self.clock.sleep(self.deadline) => {
                return Err(PublishError::Unavailable("the store is not open yet".to_owned()));
            }
        };
        publisher.publish(batch).await
    }
}
