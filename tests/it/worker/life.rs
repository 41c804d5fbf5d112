//! A worker's life, as a count of what it does to the outside: it can be ended at any of its effects.
//!
//! Effects are both sides of each call to the provider, and each look at the clock: every commit takes the time just
//! before it is made, so that an end at that look is an end between what was done and its record. A commit that nobody
//! hears of is a commit and an end at the next effect; that there is one between any two commits, the database counts.

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::{Clock, ManualClock};

use crate::support::db::Commits;

/// Counts effects, and ends at one of them.
#[derive(Debug, Clone)]
pub(super) struct Life(Arc<Lived>);

#[derive(Debug)]
struct Lived {
    effects: Mutex<Vec<String>>,
    effects_max: usize,
    /// Where commits are counted, and how many there were at the last effect.
    commits: Option<(Commits, Mutex<u32>)>,
    /// Before which effect the time stands for a while, and for how long.
    stall: Option<(usize, SignedDuration)>,
}

impl Life {
    pub(super) fn endless() -> Self {
        Self::of(usize::MAX)
    }

    /// A life that ends where its next effect would be one more than `effects_max`.
    pub(super) fn of(effects_max: usize) -> Self {
        Self(Arc::new(Lived { effects: Mutex::default(), effects_max, commits: None, stall: None }))
    }

    /// An endless life in which no two commits follow each other without an effect between them. `database` is a file.
    pub(super) fn counting_commits(database: &Path) -> Self {
        let commits = Some((Commits::of(database), Mutex::default()));
        Self(Arc::new(Lived { effects: Mutex::default(), effects_max: usize::MAX, commits, stall: None }))
    }

    /// What others have committed so far is not this life's.
    pub(super) fn goes_on(&self) {
        if let Some((commits, counted)) = &self.0.commits {
            *counted.lock().expect("no panic under the lock") = commits.count();
        }
    }

    /// An endless life in which much time passes before effect `index`, counted from 0; it must be a look at the clock.
    pub(super) fn stalling_at(index: usize, duration: SignedDuration) -> Self {
        let stall = Some((index, duration));
        Self(Arc::new(Lived { effects: Mutex::default(), effects_max: usize::MAX, commits: None, stall }))
    }

    pub(super) fn effects(&self) -> Vec<String> {
        self.0.effects.lock().expect("no panic under the lock").clone()
    }

    /// How long the last effect stalls.
    fn stall(&self) -> Option<SignedDuration> {
        let effects = self.0.effects.lock().expect("no panic under the lock").len();
        self.0.stall.filter(|(index, _)| index + 1 == effects).map(|(_, duration)| duration)
    }

    /// Counts an effect that is about to be had.
    ///
    /// The end unwinds like a panic that nobody reports, and everything after it does too, so that nothing can be done
    /// by whoever catches it.
    pub(super) fn effect(&self, name: &str) {
        let has_committed = self.has_committed(name);
        let name = if has_committed { format!("After a commit. {name}") } else { name.to_owned() };
        let mut effects = self.0.effects.lock().expect("no panic under the lock");
        if effects.len() < self.0.effects_max {
            effects.push(name);
            return;
        }
        drop(effects);
        std::panic::resume_unwind(Box::new("the worker died"));
    }
}

impl Life {
    /// Whether there was a commit since the last effect.
    fn has_committed(&self, name: &str) -> bool {
        let Some((commits, counted)) = &self.0.commits else { return false };
        let now = commits.count();
        let before = std::mem::replace(&mut *counted.lock().expect("no panic under the lock"), now);
        let fresh = now - before;
        assert!(fresh < 2, "{fresh} commits since the last effect: nothing dies between them ({name})");
        fresh == 1
    }
}

/// The clock as a worker sees it.
pub(super) struct LivedClock {
    pub(super) clock: ManualClock,
    pub(super) life: Life,
}

impl Clock for LivedClock {
    fn now(&self) -> Timestamp {
        self.life.effect("Before a commit, or another look at the clock");
        if let Some(time) = self.life.stall() {
            self.clock.advance(time);
        }
        self.clock.now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(at)
    }

    /// Waiting is no effect.
    fn sleep(&self, duration: SignedDuration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }
}
