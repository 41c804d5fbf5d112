//! The room where batches wait to be made durable: in front of the embedded inbox as in front of RabbitMQ.
//!
//! It has a number of places and a deadline, and it holds no opinion on what happens behind it. Whoever serves it takes
//! *everything that waits* at once: the busier it is, the larger the groups and the less each of them costs. Where several
//! serve it, the next begins when as many wait as are in hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use metrics::{Gauge, describe_gauge, gauge};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Envelope, PublishError};
use crate::clock::Clock;

const IN_FLIGHT: &str = "keyferry_queue_publishes_in_flight";

/// The room's door: batches go in.
#[derive(Clone)]
pub(super) struct Door {
    queue: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
    places_max: usize,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    in_flight: Gauge,
}

/// The room's other end: groups of submissions come out. Several may serve it.
#[derive(Clone)]
pub(super) struct Counter {
    line: Arc<Mutex<Line>>,
    hands: Arc<Hands>,
}

/// Who waits for the next group to be served.
struct Line {
    queue: mpsc::UnboundedReceiver<Waiting>,
    /// Taken from the queue already, in its order.
    next: Vec<Waiting>,
    /// Envelopes in `next`.
    envelopes: usize,
}

/// What is being served.
#[derive(Default)]
struct Hands {
    envelopes: AtomicUsize,
    /// Rings when it becomes less.
    less: Notify,
}

/// Submissions that are served together. Dropped when all of them have been answered.
pub(super) struct Group {
    pub(super) submissions: Vec<Submission>,
    _in_hand: InHand,
}

struct InHand {
    hands: Arc<Hands>,
    envelopes: usize,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.hands.envelopes.fetch_sub(self.envelopes, Ordering::Relaxed);
        self.hands.less.notify_one();
    }
}

/// A batch, and who waits for it.
pub(super) struct Submission {
    pub(super) batch: Vec<Envelope>,
    answer: oneshot::Sender<Result<(), PublishError>>,
    /// Given back when the batch has been answered, not when its sender gave up: what is still with the broker counts.
    _places: Places,
}

/// A submission that nobody serves yet.
struct Waiting {
    batch: Shared,
    envelopes: usize,
    answer: oneshot::Sender<Result<(), PublishError>>,
    places: Places,
}

/// A batch that belongs to whoever takes it first: the counter, to serve it, or the sender that gives up. So what nobody
/// waits for any more holds no memory, however long nothing is served.
#[derive(Clone)]
struct Shared(Arc<std::sync::Mutex<Vec<Envelope>>>);

impl Shared {
    /// Empty where somebody else was faster.
    fn take(&self) -> Vec<Envelope> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The sender's hold on its batch, let go of when it gives up in whatever way.
struct Hold(Shared);

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// Places taken, and told of.
struct Places {
    _permit: OwnedSemaphorePermit,
    count: u32,
    in_flight: Gauge,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.in_flight.decrement(f64::from(self.count));
    }
}

/// `places_max` counts envelopes, those being made durable included.
pub(super) fn room(places_max: usize, deadline: Duration, clock: Arc<dyn Clock>) -> (Door, Counter) {
    describe_gauge!(IN_FLIGHT, "Events on their way into the queue, out of queue.in_flight_max");
    // The permits are what bounds the channel.
    let (sender, receiver) = mpsc::unbounded_channel();
    let places_max = places_max.clamp(1, Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(places_max));
    let door = Door { queue: sender, places, places_max, deadline, clock, in_flight: gauge!(IN_FLIGHT) };
    let line = Line { queue: receiver, next: Vec::new(), envelopes: 0 };
    (door, Counter { line: Arc::new(Mutex::new(line)), hands: Arc::default() })
}

impl Door {
    /// Waits until the batch is durable, but no longer than the deadline: for a place, and then for an answer.
    pub(super) async fn submit(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut deadline = self.clock.sleep(SignedDuration::try_from(self.deadline).unwrap_or(SignedDuration::MAX));
        // A batch of more than there are places takes them all.
        let count = u32::try_from(batch.len().min(self.places_max)).unwrap_or(u32::MAX);
        let places = tokio::select! {
            biased;
            places = Arc::clone(&self.places).acquire_many_owned(count) => places.map_err(|_closed| ended())?,
            () = &mut deadline => return Err(PublishError::Full),
        };
        self.in_flight.increment(f64::from(count));
        let places = Places { _permit: places, count, in_flight: self.in_flight.clone() };
        let (answer, answered) = oneshot::channel();
        let envelopes = batch.len();
        let batch = Shared(Arc::new(std::sync::Mutex::new(batch)));
        let _hold = Hold(batch.clone());
        self.queue.send(Waiting { batch, envelopes, answer, places }).map_err(|_closed| ended())?;
        tokio::select! {
            biased;
            answer = answered => answer.unwrap_or_else(|_dropped| Err(lost())),
            () = &mut deadline => Err(PublishError::Deadline(self.deadline)),
        }
    }
}

impl Counter {
    /// Waits until a group is worth serving, and takes it: all who wait, up to `envelopes_max` envelopes where the first
    /// does not exceed that alone. `None` when the room is closed and empty.
    ///
    /// A group is worth serving when nothing else is in hand, and otherwise when it has as many envelopes as are in
    /// hand. So who comes alone is served at once, and under load the groups become alike: without that rule the first
    /// to come back after a large group would go alone, time and again, and cost as much as all behind it together.
    pub(super) async fn group(&self, envelopes_max: usize) -> Option<Group> {
        // Held while waiting for work, never while doing it.
        let mut line = self.line.lock().await;
        loop {
            line.take_who_waits(envelopes_max);
            let in_hand = self.hands.envelopes.load(Ordering::Relaxed);
            if line.envelopes > 0 && line.envelopes >= in_hand.min(envelopes_max) {
                match line.leave() {
                    submissions if submissions.is_empty() => continue,
                    submissions => return Some(self.in_hand(submissions)),
                }
            }
            tokio::select! {
                biased;
                next = line.queue.recv() => match next {
                    Some(next) => line.add(next),
                    None if line.next.is_empty() => return None,
                    // Nobody else will come.
                    None => self.hands.less.notified().await,
                },
                () = self.hands.less.notified() => {}
            }
        }
    }

    fn in_hand(&self, submissions: Vec<Submission>) -> Group {
        let envelopes = submissions.iter().map(|submission| submission.batch.len()).sum();
        self.hands.envelopes.fetch_add(envelopes, Ordering::Relaxed);
        Group { submissions, _in_hand: InHand { hands: Arc::clone(&self.hands), envelopes } }
    }

    /// Lets nobody in any more; who is in will still be served.
    pub(super) async fn close(&self) {
        self.line.lock().await.queue.close();
    }
}

impl Line {
    fn add(&mut self, waiting: Waiting) {
        self.envelopes += waiting.envelopes;
        self.next.push(waiting);
    }

    fn take_who_waits(&mut self, envelopes_max: usize) {
        while self.envelopes < envelopes_max
            && let Ok(waiting) = self.queue.try_recv()
        {
            self.add(waiting);
        }
    }

    /// Those who still wait for an answer.
    fn leave(&mut self) -> Vec<Submission> {
        self.envelopes = 0;
        std::mem::take(&mut self.next).into_iter().filter_map(Waiting::claim).collect()
    }
}

impl Waiting {
    /// `None`: its sender has given up.
    fn claim(self) -> Option<Submission> {
        let batch = self.batch.take();
        (!batch.is_empty()).then_some(Submission { batch, answer: self.answer, _places: self.places })
    }
}

impl Submission {
    pub(super) fn answer(self, answer: Result<(), PublishError>) {
        // Whoever gave up in the meantime has told its sender to come again.
        let _ = self.answer.send(answer);
    }
}

fn ended() -> PublishError {
    PublishError::Unavailable("publishing has ended".to_owned())
}

fn lost() -> PublishError {
    PublishError::Unavailable("the connection was lost before an answer came".to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use jiff::Timestamp;

    use super::*;
    use crate::clock::ManualClock;
    use crate::queue::envelope::tests::some_envelope;

    /// A body's bytes, which can be asked whether anybody still has them.
    struct Body(#[expect(dead_code, reason = "only held")] Arc<()>);

    impl AsRef<[u8]> for Body {
        fn as_ref(&self) -> &[u8] {
            b"{}"
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_let_go_of_and_not_served() {
        let deadline = Duration::from_secs(5);
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        let (door, counter) = room(8, deadline, Arc::new(clock.clone()));
        let held = Arc::new(());
        let batch = || vec![Envelope { body: Bytes::from_owner(Body(Arc::clone(&held))), ..some_envelope() }];

        let publish = |batch| {
            let door = door.clone();
            tokio::spawn(async move { door.submit(batch).await })
        };
        let (too_late, hung_up) = (publish(batch()), publish(batch()));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&held), 3, "two wait");
        hung_up.abort();
        assert!(hung_up.await.expect_err("it was ended").is_cancelled());
        clock.advance(SignedDuration::try_from(deadline).expect("short"));
        assert!(matches!(too_late.await.expect("no panic"), Err(PublishError::Deadline(_))));
        assert_eq!(Arc::strong_count(&held), 1, "although nobody has served them yet");

        let served = publish(vec![some_envelope()]);
        let group = counter.group(8).await.expect("the room is open");
        assert_eq!(group.submissions.len(), 1, "only the one that is waited for");
        for submission in group.submissions {
            submission.answer(Ok(()));
        }
        served.await.expect("no panic").expect("durable");
    }

    #[tokio::test]
    async fn who_comes_alone_is_served_at_once_and_who_comes_after_it_in_groups_that_grow() {
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        let (door, counter) = room(99, Duration::from_secs(5), Arc::new(clock));
        let come = async |count: usize| {
            for _ in 0..count {
                let door = door.clone();
                tokio::spawn(async move { door.submit(vec![some_envelope()]).await });
            }
            tokio::task::yield_now().await;
        };
        let group = async || counter.group(8).now_or_never().flatten().map(|group| (group.submissions.len(), group));

        come(1).await;
        let (first, alone) = group().await.expect("nothing else is in hand");
        come(1).await;
        let (second, beside) = group().await.expect("as many wait as are in hand");
        assert_eq!((first, second), (1, 1));
        come(1).await;
        assert!(group().await.is_none(), "one waits, and two are in hand");
        drop(alone);
        let (third, after) = group().await.expect("one waits, and one is in hand");
        assert_eq!(third, 1);
        come(9).await;
        assert_eq!(group().await.expect("more wait than are in hand").0, 8, "as many as fit");
        come(6).await;
        assert_eq!(group().await.map(|(count, _)| count), Some(7), "what was left, and who came after it");
        drop((beside, after));
    }
}
