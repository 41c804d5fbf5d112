//! Who is at work: workers, receivers and intakes, each the real one in a process that the schedule holds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use keyferry::clock::{Entropy as _, SeededEntropy};
use keyferry::provider::ProviderError;
use keyferry::queue::{Inbox, Publisher, direct};
use keyferry::receiver::{Limits, Receiver, router};
use keyferry::sweep::{self, Due};
use keyferry::worker::{Settings, Worker};
use tower::ServiceExt as _;

use super::bus::{self, Gated};
use super::desk::{self, CREATE};
use super::planted::{Bug, Hasty};
use super::post::{Message, sources};
use super::process::{Actor, Done, Order, Process, Ran, Side, Standing};
use super::schedule::{Schedule, below};
use super::stage::Claim;

/// No call is answered later than this: the client gives it up.
const CALL_DEADLINE: SignedDuration = SignedDuration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Receiver,
    Intake,
    Sweep,
}

/// Who may be at work at the same time.
pub(super) const STAFF: [(Role, &str); 8] = [
    (Role::Sweep, "the sweep"),
    (Role::Worker, "worker 1"),
    (Role::Worker, "worker 2"),
    (Role::Worker, "worker 3"),
    (Role::Receiver, "receiver 1"),
    (Role::Receiver, "receiver 2"),
    (Role::Intake, "intake 1"),
    (Role::Intake, "intake 2"),
];

/// A place on the staff, and who is at it.
pub(super) struct Place {
    pub(super) role: Role,
    pub(super) name: &'static str,
    pub(super) actor: Option<Actor>,
    /// What a worker has in hand.
    pub(super) claim: Option<Claim>,
    /// What a receiver has in hand.
    pub(super) message: Option<Message>,
    /// Whether a worker's timers are heard in time.
    pub(super) is_punctual: bool,
}

impl Place {
    pub(super) fn free(role: Role, name: &'static str) -> Self {
        Self { role, name, actor: None, claim: None, message: None, is_punctual: true }
    }
}

impl Schedule<'_> {
    pub(super) async fn start(&mut self, place: usize) -> Result<(), String> {
        let (role, name) = (self.staff[place].role, self.staff[place].name);
        // Some workers are to die at a look at the clock, most of which are followed by a commit.
        let is_doomed = role == Role::Worker && self.faults > 0 && below(&self.chance, 8) == 0;
        let looks = is_doomed.then(|| u32::try_from(below(&self.chance, 20)).expect("small"));
        let process = Process::new(&self.stage.times, looks);
        self.staff[place].is_punctual = self.faults == 0 || below(&self.chance, 3) > 0;
        self.staff[place].actor = match role {
            Role::Worker => {
                self.staff[place].actor = Some(self.worker(process));
                self.note(&format!("{name} begins"));
                self.run(place).await;
                let taken = self.stage.view().claims().find(|claim| self.claims.insert(*claim));
                self.staff[place].claim = taken.filter(|_| self.staff[place].actor.is_some());
                return Ok(());
            }
            Role::Receiver => {
                let Some(message) = self.post.take_due(self.stage.now()) else { return Ok(()) };
                self.note(&format!("{name} is sent {} {}", message.event_type, message.event_id));
                let actor = self.receiver(process, &message);
                self.staff[place].message = Some(message);
                Some(actor)
            }
            Role::Sweep => {
                let due = Due::new(self.stage.store.clone(), &sweep::Settings::default());
                Some(Actor::new(process, async move { Done::Worked(due.step().await.expect("the store works")) }))
            }
            Role::Intake => {
                self.note(&format!("{name} takes in"));
                let inbox = Arc::new(Gated { inbox: self.inbox(), process: process.clone() });
                let taking = self.bus.clone().take_in(inbox, process.clone(), 1 + below(&self.chance, 4));
                Some(Actor::new(process, async move {
                    taking.await;
                    Done::TookIn
                }))
            }
        };
        self.run(place).await;
        Ok(())
    }

    fn worker(&self, process: Process) -> Actor {
        let desk = self.stage.desk.clone();
        let provider = Arc::new(desk::Line { desk, process: process.clone(), bug: self.stage.bug });
        // One at a time: several hands of one worker are several workers to a store.
        let settings = Settings { concurrency: 1, ..Settings::default() };
        let entropy = Arc::new(SeededEntropy::new(self.chance.next_u64()));
        let store = self.stage.workers_store.clone();
        let worker = Worker::new(store, provider, Arc::new(process.clone()), entropy, settings);
        Actor::new(process, async move { Done::Worked(worker.step().await.expect("the store works")) })
    }

    fn receiver(&self, process: Process, message: &Message) -> Actor {
        let clock = Arc::new(process.clone());
        let (publisher, commits): (Arc<dyn Publisher>, _) = if self.is_brokered {
            (Arc::new(bus::Line { bus: self.bus.clone(), process: process.clone() }), None)
        } else {
            let inbox = Arc::new(Gated { inbox: self.inbox(), process: process.clone() });
            let (publisher, commits) = direct::publisher(&direct::Settings::default(), inbox, clock.clone());
            (Arc::new(publisher), Some(commits))
        };
        let receiver = router(Receiver::new(sources(), publisher, clock, Limits::default()));
        let answering = receiver.oneshot(message.request(self.stage.now()));
        Actor::new(process, async move {
            let committing = async {
                if let Some(commits) = &commits {
                    while commits.step().await {}
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                answer = answering => Done::Answered(answer.expect("the router answers").status()),
                () = committing => unreachable!("it goes on until it is dropped"),
            }
        })
    }

    fn inbox(&self) -> Arc<dyn Inbox> {
        let inbox = Arc::new(self.stage.store.clone());
        match self.stage.bug {
            Some(Bug::AckBeforeCommit) => Arc::new(Hasty { inbox, held: Mutex::default() }),
            _ => inbox,
        }
    }

    /// Lets a process go on from where it stands.
    pub(super) async fn open(&mut self, place: usize) -> Result<(), String> {
        while self.staff[place].is_punctual && self.ticks(place) {
            self.note(&format!("{} hears its timer", self.staff[place].name));
            self.run(place).await;
        }
        let Some(actor) = &self.staff[place].actor else { return Ok(()) };
        let (process, standing) = (actor.process.clone(), actor.process.standing().expect("it stands"));
        let order = self.order(place, standing);
        let told = match &order {
            Order::Go => "",
            Order::Lost => ": lost",
            Order::Refused(_) => ": refused",
        };
        self.note(&format!("{} {:?} {}{told}", self.staff[place].name, standing.side, standing.what));
        let is_stale = match self.staff[place].claim {
            Some(claim) => self.stage.view().is_taken_over(claim),
            None => false,
        };
        process.open(order);
        self.run(place).await;
        self.stage.desk.books.open().is_late = false;
        self.is_world_touched |= standing.side == Side::Before && desk::CHANGING.contains(&standing.what);
        if is_stale && self.stage.ledger_head() > self.judge.head {
            return Err(format!("{} has recorded something though its event was taken over", self.staff[place].name));
        }
        Ok(())
    }

    fn ticks(&self, place: usize) -> bool {
        let at = &self.staff[place];
        at.role == Role::Worker && at.actor.as_ref().is_some_and(|actor| actor.process.tick())
    }

    /// What becomes of the call that a process is about to make, or whose answer it waits for.
    fn order(&mut self, place: usize, standing: Standing) -> Order {
        let waited = self.stage.times.ours().duration_since(standing.since).abs();
        if self.staff[place].role == Role::Worker && standing.side == Side::Before && waited > CALL_DEADLINE {
            if self.faults > 0 && standing.what == CREATE && below(&self.chance, 8) == 0 {
                self.note(&format!("{} stood still, and calls after all", self.staff[place].name));
                self.stage.desk.books.open().is_late = true;
                return Order::Go;
            }
            return Order::Lost;
        }
        let lot = u64::try_from(below(&self.chance, 100)).expect("small");
        if lot >= self.faults {
            Order::Go
        } else if standing.side == Side::Before && lot.is_multiple_of(2) {
            let retry_after = (lot.is_multiple_of(4)).then(|| Duration::from_secs(lot));
            let why = "503, out of order".to_owned();
            Order::Refused(ProviderError::Transient { call: standing.what, why, retry_after })
        } else {
            Order::Lost
        }
    }

    /// Runs a process to its next gate, and sees to what it leaves when it ends.
    async fn run(&mut self, place: usize) {
        let name = self.staff[place].name;
        let Some(actor) = &mut self.staff[place].actor else { return };
        match actor.run().await {
            Ran::Stands => return,
            Ran::Died => self.note(&format!("{name} dies")),
            Ran::Ended(Done::Answered(status)) => {
                let message = self.staff[place].message.take().expect("a receiver has one");
                self.note(&format!("{name} answers {status}"));
                if status.is_success() {
                    self.judge.accepted(message.source, &message.event_id);
                } else {
                    self.post.send_again(self.stage.now(), message);
                }
            }
            Ran::Ended(Done::Worked(count)) => self.note(&format!("{name} has worked on {count}")),
            Ran::Ended(Done::TookIn) => self.note(&format!("{name} has taken in")),
        }
        self.bury(place);
    }

    /// Nobody is at this place any more. A sender without an answer comes again.
    pub(super) fn bury(&mut self, place: usize) {
        if let Some(actor) = self.staff[place].actor.take() {
            actor.process.die();
        }
        self.staff[place].claim = None;
        if let Some(message) = self.staff[place].message.take() {
            self.post.send_again(self.stage.now(), message);
        }
    }
}
