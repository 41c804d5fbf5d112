//! A queue that is not there yet: its senders are answered from the first moment on, and told to come again.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use super::{Envelope, PublishError, Publisher};

/// Refuses until it is opened, and publishes from then on. Clones are the same one.
#[derive(Clone, Default)]
pub struct Opening(Arc<OnceLock<Arc<dyn Publisher>>>);

impl Opening {
    /// From now on everything goes through `publisher`; a second one is ignored.
    pub fn open(&self, publisher: Arc<dyn Publisher>) {
        // Whoever was first is as good: nobody opens twice.
        let _ = self.0.set(publisher);
    }
}

#[async_trait]
impl Publisher for Opening {
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        match self.0.get() {
            Some(publisher) => publisher.publish(batch).await,
            None => Err(PublishError::Unavailable("the store is not open yet".to_owned())),
        }
    }
}
