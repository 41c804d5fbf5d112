//! Bugs on purpose, each outside the production code, behind one of its traits: what finds none of these finds nothing.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use keyferry::clock::Entropy;
use keyferry::queue::{Envelope, Inbox, InboxError};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A call to create whose answer was lost is taken for one that never arrived, and made again.
    BlindRetry,
    /// The inbox says that it has committed what it will commit with the next batch.
    AckBeforeCommit,
    /// All leases have the same token, so that a worker's fence opens to whoever comes late.
    NoFence,
    /// The provider's object is shown as issued because an event said so.
    EventTrusted,
    /// A credential has another name for whoever looks for a lost one, so that nobody sees whose it is.
    Alias,
}

impl Bug {
    pub(super) const ALL: [Self; 5] =
        [Self::BlindRetry, Self::AckBeforeCommit, Self::NoFence, Self::EventTrusted, Self::Alias];
}

/// [`Bug::AckBeforeCommit`]: it forgets with its process.
pub(super) struct Hasty {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) held: Mutex<Vec<Envelope>>,
}

#[async_trait]
impl Inbox for Hasty {
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
        let earlier = std::mem::replace(&mut *self.held.lock().expect("no panic under the lock"), batch);
        self.inbox.accept(earlier).await
    }
}

/// [`Bug::NoFence`].
pub(super) struct OneToken(pub(super) Arc<dyn Entropy>);

impl Entropy for OneToken {
    fn next_u64(&self) -> u64 {
        self.0.next_u64()
    }

    fn id(&self, _now: Timestamp) -> Uuid {
        Uuid::nil()
    }
}
