//! No broker: the inbox itself is the queue.
//!
//! All batches that wait are committed in one [`Inbox::accept`], so that under load one `fsync` serves many webhooks.
//! One transaction is under way at a time; what arrives meanwhile is the next one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::waiting::{self, Counter, Door, Group};
use super::{Envelope, Inbox, PublishError, Publisher};
use crate::clock::Clock;

/// The limits of the direct way.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a publish may take before its sender is told to come again.
    pub publish_deadline: Duration,
    /// Envelopes waiting or being committed.
    pub in_flight_max: usize,
    /// Envelopes in one transaction.
    pub batch_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { publish_deadline: Duration::from_secs(5), in_flight_max: 4096, batch_max: 512 }
    }
}

/// Publishes into the inbox; [`Commits`] does the work.
#[derive(Clone)]
pub struct DirectPublisher(Door);

/// The one task that commits. The caller spawns [`Commits::run`] and ends it.
pub struct Commits {
    counter: Counter,
    inbox: Arc<dyn Inbox>,
    batch_max: usize,
}

#[must_use]
pub fn publisher(settings: &Settings, inbox: Arc<dyn Inbox>, clock: Arc<dyn Clock>) -> (DirectPublisher, Commits) {
    let (door, counter) = waiting::room(settings.in_flight_max, settings.publish_deadline, clock);
    (DirectPublisher(door), Commits { counter, inbox, batch_max: settings.batch_max })
}

#[async_trait]
impl Publisher for DirectPublisher {
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        self.0.submit(batch).await
    }
}

impl Commits {
    /// Commits until `shutdown` is cancelled and what was submitted by then is answered.
    pub async fn run(self, shutdown: CancellationToken) {
        while let Some(Some(group)) = shutdown.run_until_cancelled(self.counter.group(self.batch_max)).await {
            self.commit(group).await;
        }
        self.counter.close().await;
        while self.step().await {}
    }

    /// Waits for a group and commits it; `false` when there will be no more.
    pub async fn step(&self) -> bool {
        let Some(group) = self.counter.group(self.batch_max).await else { return false };
        self.commit(group).await;
        true
    }

    async fn commit(&self, mut group: Group) {
        let batch: Vec<Envelope> =
            group.submissions.iter_mut().flat_map(|each| std::mem::take(&mut each.batch)).collect();
        let inbox = Arc::clone(&self.inbox);
        // In a task of its own, so that a panic in the store reaches those who wait and not the loop.
        let outcome = match tokio::spawn(async move { inbox.accept(batch).await }).await {
            Ok(accepted) => accepted.map_err(|error| error.to_string()),
            Err(panic) => Err(panic.to_string()),
        };
        if let Err(error) = &outcome {
            tracing::warn!(error, batches = group.submissions.len(), "webhooks could not be committed to the inbox");
        }
        for submission in group.submissions {
            submission.answer(outcome.clone().map_err(PublishError::Unavailable));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::{SignedDuration, Timestamp};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::clock::ManualClock;
    use crate::queue::InboxError;
    use crate::queue::envelope::tests::some_envelope;

    /// Commits one batch per permit, and remembers how large they were.
    #[derive(Default)]
    struct Slow {
        batches: Mutex<Vec<usize>>,
        permits: Permits,
        then: Then,
    }

    struct Permits(Semaphore);

    impl Default for Permits {
        fn default() -> Self {
            Self(Semaphore::new(0))
        }
    }

    #[derive(Default, Clone, Copy)]
    enum Then {
        #[default]
        Commit,
        Fail,
        Panic,
    }

    #[async_trait]
    impl Inbox for Slow {
        async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
            self.permits.0.acquire().await.expect("open").forget();
            self.batches.lock().expect("whole").push(batch.len());
            match self.then {
                Then::Commit => Ok(()),
                Then::Fail => Err(InboxError("disk full".to_owned())),
                Then::Panic => panic!("a bug in the store"),
            }
        }
    }

    struct Rig {
        publisher: DirectPublisher,
        inbox: Arc<Slow>,
        clock: ManualClock,
        shutdown: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    fn rig(settings: &Settings, then: Then) -> Rig {
        let inbox = Arc::new(Slow { then, ..Slow::default() });
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        let (publisher, commits) = publisher(settings, inbox.clone(), Arc::new(clock.clone()));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(commits.run(shutdown.clone()));
        Rig { publisher, inbox, clock, shutdown, task }
    }

    impl Rig {
        /// Starts a publish and lets everything come to rest.
        async fn submit(&self) -> tokio::task::JoinHandle<Result<(), PublishError>> {
            let publisher = self.publisher.clone();
            let publish = tokio::spawn(async move { publisher.publish(vec![some_envelope()]).await });
            settle().await;
            publish
        }
    }

    /// On a runtime of one thread: every task runs until it waits.
    async fn settle() {
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_waits_is_committed_together() {
        let rig = rig(&Settings::default(), Then::Commit);
        let publishes = [rig.submit().await, rig.submit().await, rig.submit().await];
        rig.inbox.permits.0.add_permits(2);
        for publish in publishes {
            publish.await.expect("no panic").expect("committed");
        }
        assert_eq!(*rig.inbox.batches.lock().expect("whole"), [1, 2], "the first, and then all that came meanwhile");
    }

    #[tokio::test]
    async fn a_failure_and_a_panic_reach_all_who_wait() {
        for then in [Then::Fail, Then::Panic] {
            let rig = rig(&Settings::default(), then);
            let publishes = [rig.submit().await, rig.submit().await];
            rig.inbox.permits.0.add_permits(2);
            for publish in publishes {
                assert!(matches!(publish.await.expect("no panic here"), Err(PublishError::Unavailable(_))));
            }
        }
    }

    #[tokio::test]
    async fn a_publish_waits_no_longer_than_its_deadline_for_a_commit_or_a_place() {
        let settings = Settings { in_flight_max: 1, ..Settings::default() };
        let rig = rig(&settings, Then::Commit);
        let (under_way, without_a_place) = (rig.submit().await, rig.submit().await);
        rig.clock.advance(SignedDuration::try_from(settings.publish_deadline).expect("short"));
        assert!(matches!(under_way.await.expect("no panic"), Err(PublishError::Deadline(_))));
        assert!(matches!(without_a_place.await.expect("no panic"), Err(PublishError::Full)));
    }

    #[tokio::test]
    async fn the_end_serves_who_is_in_and_turns_away_who_comes() {
        let mut rig = rig(&Settings::default(), Then::Commit);
        let publishes = [rig.submit().await, rig.submit().await];
        rig.shutdown.cancel();
        settle().await;
        rig.inbox.permits.0.add_permits(2);
        for publish in publishes {
            publish.await.expect("no panic").expect("committed");
        }
        (&mut rig.task).await.expect("no panic");
        assert!(matches!(rig.submit().await.await.expect("no panic"), Err(PublishError::Unavailable(_))));
    }
}
