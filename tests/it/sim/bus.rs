//! A broker that delivers at least once: what it confirmed it keeps until it is acknowledged, and a consumer that goes
//! away leaves what it had taken to the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use keyferry::queue::{Content, Envelope, Inbox, InboxError, PublishError, Publisher};

use super::process::{Order, Process, Side};

#[derive(Clone, Default)]
pub(super) struct Bus(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    /// By number; the flag says that a consumer has it.
    messages: BTreeMap<u64, (Envelope, bool)>,
    numbered: u64,
}

impl Bus {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().expect("no panic under the lock")
    }

    /// Whether there is something that no consumer has.
    pub(super) fn has_ready(&self) -> bool {
        self.lock().messages.values().any(|(_, is_taken)| !is_taken)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    pub(super) fn holds(&self, source: &str, event_id: &str) -> bool {
        let is_it = |envelope: &Envelope| match &envelope.content {
            Content::Event(event) => event.source == source && event.event_id == event_id,
            Content::Unreadable { .. } => false,
        };
        self.lock().messages.values().any(|(envelope, _)| is_it(envelope))
    }

    /// One batch: taken, committed, acknowledged.
    pub(super) async fn take_in(self, inbox: Arc<dyn Inbox>, process: Process, batch_max: usize) {
        let taken = Taken::from(&self, batch_max);
        let batch = {
            let queue = self.lock();
            taken.numbers.iter().map(|number| queue.messages[number].0.clone()).collect()
        };
        if inbox.accept(batch).await.is_err() {
            return;
        }
        // An acknowledgement that is lost is a consumer that goes away.
        if !matches!(process.pass(Side::Before, "an acknowledgement").await, Order::Go) {
            return;
        }
        self.lock().messages.retain(|number, _| !taken.numbers.contains(number));
        process.pass(Side::After, "an acknowledgement").await;
    }
}

/// Messages in a consumer's hands; dropped, they are anybody's again.
struct Taken<'a> {
    bus: &'a Bus,
    numbers: Vec<u64>,
}

impl<'a> Taken<'a> {
    fn from(bus: &'a Bus, max: usize) -> Self {
        let mut queue = bus.lock();
        let ready = queue.messages.iter_mut().filter(|(_, (_, is_taken))| !is_taken).take(max);
        let take = |(number, (_, is_taken)): (&u64, &mut (Envelope, bool))| {
            *is_taken = true;
            *number
        };
        let numbers = ready.map(take).collect();
        drop(queue);
        Self { bus, numbers }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut queue = self.bus.lock();
        for number in &self.numbers {
            if let Some((_, is_taken)) = queue.messages.get_mut(number) {
                *is_taken = false;
            }
        }
    }
}

/// One receiver's publisher.
pub(super) struct Line {
    pub(super) bus: Bus,
    pub(super) process: Process,
}

#[async_trait]
impl Publisher for Line {
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), PublishError> {
        let lost = || PublishError::Deadline(Duration::from_secs(5));
        if !matches!(self.process.pass(Side::Before, "a publish").await, Order::Go) {
            return Err(lost());
        }
        {
            let mut queue = self.bus.lock();
            for envelope in batch {
                queue.numbered += 1;
                let number = queue.numbered;
                queue.messages.insert(number, (envelope, false));
            }
        }
        match self.process.pass(Side::After, "a publish").await {
            Order::Go => Ok(()),
            Order::Lost | Order::Refused(_) => Err(lost()),
        }
    }
}

/// The inbox as one process commits to it.
pub(super) struct Gated {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) process: Process,
}

#[async_trait]
impl Inbox for Gated {
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
        let lost = || InboxError("the connection was lost".to_owned());
        if !matches!(self.process.pass(Side::Before, "a commit").await, Order::Go) {
            return Err(lost());
        }
        let committed = self.inbox.accept(batch).await;
        match self.process.pass(Side::After, "a commit").await {
            Order::Go => committed,
            Order::Lost | Order::Refused(_) => Err(lost()),
        }
    }
}
