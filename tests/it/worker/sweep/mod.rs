//! The sweep's stories: what comes right though nobody tells of it.

mod looks;
mod missed;
mod overdue;
mod prune;

use jiff::SignedDuration;
use keyferry::sweep::{Due, Settings};
use keyferry::worker::Worker;

use super::Story;

impl Story<'_> {
    pub(super) fn due(&self) -> Due {
        Due::new(self.bench.store.clone(), &Settings::default())
    }

    /// Lets time pass in which nothing comes in from outside: only the sweep and the worker see to it that anything
    /// happens.
    async fn silence(&self, time: SignedDuration) {
        self.silence_with(&self.worker, time).await;
    }

    async fn silence_with(&self, worker: &Worker, time: SignedDuration) {
        let end = keyferry::clock::add(self.now(), time);
        for _ in 0..1000 {
            let moved = self.due().step().await.expect("a step of the sweep");
            let handled = worker.step().await.expect("a step of the worker");
            if moved + handled > 0 {
                continue;
            }
            let look = self.bench.store.next_look().await.expect("asked");
            let retry = self.bench.store.next_due().await.expect("asked");
            // What has passed already waits for the other: a look that is due again for the one that is being retried.
            let next = [look, retry].into_iter().flatten().filter(|next| *next > self.now()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                return self.pass(end.duration_since(self.now()));
            };
            self.pass(next.duration_since(self.now()));
        }
        panic!("there is no end to the looks");
    }

    /// The ledger's last number.
    async fn head(&self) -> i64 {
        self.bench.store.ledger_head().await.expect("a head")
    }
}
