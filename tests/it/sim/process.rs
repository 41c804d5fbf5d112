//! Processes that a schedule holds in its hand: each runs only when it is let, and only to its next gate.
//!
//! A gate stands on both sides of whatever a process does to the outside: a call to the provider, a commit on intake, a
//! publish. While one process runs, all others stand, so the order in which things happen is the schedule's choice and
//! nobody else's; a process is killed by dropping it where it stands. Commits of a worker have no gate, since they are
//! made by looking at the clock first: there it can die as well.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use futures_util::future::{BoxFuture, FutureExt as _};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::{Clock, add};
use keyferry::provider::ProviderError;
use tokio::sync::oneshot;

/// On which side of an effect a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// What a process is told when its gate opens.
pub(super) enum Order {
    Go,
    /// What is sent does not arrive, or its answer does not.
    Lost,
    /// The provider turns the call away.
    Refused(ProviderError),
}

/// Where a process stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) side: Side,
    pub(super) what: &'static str,
    /// Since when, by its own clock.
    pub(super) since: Timestamp,
}

/// How a run ended.
pub(super) enum Ran {
    /// It stands at a gate.
    Stands,
    Died,
    Ended(Done),
}

/// What a process has done when it comes to its end.
#[derive(Debug)]
pub(super) enum Done {
    /// A worker's or a sweep's step: how much that was.
    Worked(usize),
    Answered(StatusCode),
    TookIn,
}

/// The time: the provider's, and the one that all machines of ours agree on.
#[derive(Debug, Clone)]
pub(super) struct Times(Arc<Mutex<(Timestamp, SignedDuration)>>);

impl Times {
    pub(super) fn starting_at(truth: Timestamp) -> Self {
        Self(Arc::new(Mutex::new((truth, SignedDuration::ZERO))))
    }

    pub(super) fn truth(&self) -> Timestamp {
        held(&self.0).0
    }

    pub(super) fn ours(&self) -> Timestamp {
        let (truth, ahead) = *held(&self.0);
        add(truth, ahead)
    }

    pub(super) fn pass(&self, time: SignedDuration) {
        let mut times = held(&self.0);
        times.0 = add(times.0, time);
    }

    /// Our clocks are set: to be `ahead` of the provider's, or behind.
    pub(super) fn set(&self, ahead: SignedDuration) {
        held(&self.0).1 = ahead;
    }

    pub(super) fn reset(&self, truth: Timestamp) {
        *held(&self.0) = (truth, SignedDuration::ZERO);
    }
}

/// A clock to those who only look at it: `.1` says which.
pub(super) struct Dial(pub(super) Times, pub(super) fn(&Times) -> Timestamp);

impl Clock for Dial {
    fn now(&self) -> Timestamp {
        self.1(&self.0)
    }

    fn sleep_until(&self, _at: Timestamp) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

/// One life of a process. Clones are the same life.
#[derive(Clone)]
pub(super) struct Process {
    times: Times,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    gate: Option<Gate>,
    timers: Vec<(Timestamp, oneshot::Sender<()>)>,
    /// A timer has fired, and what it woke has not come to rest yet.
    is_ticking: bool,
    /// Looks at the clock until it dies at one.
    looks_left: Option<u32>,
    watcher: Option<Waker>,
}

struct Gate {
    standing: Standing,
    open: oneshot::Sender<Order>,
}

/// The unwinding of a process that dies, told apart from a panic.
struct Death;

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic under the lock")
}

impl Process {
    /// `looks_left`: at which look at the clock it dies, if at any.
    pub(super) fn new(times: &Times, looks_left: Option<u32>) -> Self {
        let state = State { looks_left, ..State::default() };
        Self { times: times.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// Stands until the schedule lets it go on.
    pub(super) async fn pass(&self, side: Side, what: &'static str) -> Order {
        let (open, opened) = oneshot::channel();
        let standing = Standing { side, what, since: self.times.ours() };
        self.change(|state| state.gate = Some(Gate { standing, open }));
        let _leaving = Leaving(self);
        // Dropped with its life: whoever waits here on behalf of the dead dies too.
        opened.await.unwrap_or_else(|_dead| die())
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        held(&self.state).gate.as_ref().map(|gate| gate.standing)
    }

    pub(super) fn open(&self, order: Order) {
        let gate = held(&self.state).gate.take().expect("it stands at a gate");
        // Whoever stood there may have been given up by its own process in the meantime.
        let _ = gate.open.send(order);
    }

    /// Fires the timer that is due, if one is.
    pub(super) fn tick(&self) -> bool {
        let now = self.times.ours();
        let mut state = held(&self.state);
        let due = state.timers.iter().position(|(at, timer)| *at <= now && !timer.is_closed());
        let Some(place) = due else { return false };
        let (_, timer) = state.timers.swap_remove(place);
        state.is_ticking = true;
        timer.send(()).is_ok()
    }

    /// Its memory is gone.
    pub(super) fn die(&self) {
        *held(&self.state) = State { looks_left: Some(0), ..State::default() };
    }

    fn is_at_rest(&self) -> bool {
        let state = held(&self.state);
        state.gate.is_some() && !state.is_ticking
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = held(&self.state);
        change(&mut state);
        if let Some(watcher) = &state.watcher {
            watcher.wake_by_ref();
        }
    }

    fn look(&self) {
        let mut state = held(&self.state);
        match &mut state.looks_left {
            Some(0) => {
                drop(state);
                die()
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }
}

/// Like a panic that nobody reports.
fn die() -> ! {
    resume_unwind(Box::new(Death))
}

/// Clears the gate when whoever stood there goes, opened or given up.
struct Leaving<'a>(&'a Process);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.gate = None);
    }
}

impl Clock for Process {
    fn now(&self) -> Timestamp {
        self.look();
        self.times.ours()
    }

    /// Waiting is no look.
    fn sleep(&self, duration: SignedDuration) -> BoxFuture<'static, ()> {
        self.sleep_until(add(self.times.ours(), duration))
    }

    /// Even if `at` has come it is the schedule that says when the process notices.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let process = self.clone();
        async move {
            let (timer, fired) = oneshot::channel();
            process.change(|state| {
                state.timers.push((at, timer));
                state.is_ticking = false;
            });
            let _ = fired.await;
        }
        .boxed()
    }
}

/// A process at its work.
pub(super) struct Actor {
    pub(super) process: Process,
    work: Pin<Box<dyn Future<Output = Done> + Send>>,
}

impl Actor {
    pub(super) fn new(process: Process, work: impl Future<Output = Done> + Send + 'static) -> Self {
        Self { process, work: Box::pin(work) }
    }

    /// Runs to the next gate, or to the end of what it does.
    pub(super) async fn run(&mut self) -> Ran {
        std::future::poll_fn(|context| {
            held(&self.process.state).watcher = Some(context.waker().clone());
            match catch_unwind(AssertUnwindSafe(|| self.work.as_mut().poll(context))) {
                Ok(Poll::Ready(done)) => Poll::Ready(Ran::Ended(done)),
                Ok(Poll::Pending) if self.process.is_at_rest() => Poll::Ready(Ran::Stands),
                Ok(Poll::Pending) => Poll::Pending,
                Err(unwound) if unwound.is::<Death>() => Poll::Ready(Ran::Died),
                Err(panic) => resume_unwind(panic),
            }
        })
        .await
    }
}
