//! One schedule: a seed chooses what happens next, until it has had its fill; then the faults stop and all must end well.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::SignedDuration;
use keyferry::clock::{Entropy as _, SeededEntropy, add};

use super::bus::Bus;
use super::desk::text;
use super::judge::Judge;
use super::post::Post;
use super::staff::{Place, Role, STAFF};
use super::stage::{Claim, Stage};
use super::town::Booking;
use crate::support::db::start;

/// How many things happen before the faults stop.
const ACTS: u32 = 60;

/// Who works when the faults have stopped: one is enough.
const FIRST_WORKER: usize = 1;

/// For how long looks are had then: until the last of the short stays has ended.
const LOOKS_FOR: SignedDuration = SignedDuration::from_mins(3);

/// The same, where not everything was told: an issued key is looked at every six hours.
const LOOKS_FOR_UNTOLD: SignedDuration = SignedDuration::from_hours(7);

/// The provider's events that somebody asked to be told of: those that the README names.
const TOLD: [&str; 6] = [
    "acs_credential.issued",
    "acs_credential.reissued",
    "acs_credential.invalidated",
    "acs_credential.deleted",
    "phone.deactivated",
    "acs_user.deleted",
];

/// A schedule that broke something.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) seed: u64,
    pub(super) why: String,
    pub(super) trace: String,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Pass,
    Start(usize),
    Open(usize),
    Kill(usize),
    Customer,
    Phone,
    Rumour,
    Removal,
    SetClocks,
}

pub(super) struct Schedule<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) seed: u64,
    pub(super) chance: SeededEntropy,
    pub(super) trace: String,
    /// Whether there is a broker between receivers and the inbox.
    pub(super) is_brokered: bool,
    /// Of a hundred calls, how many meet a fault; 0 when the faults have stopped.
    pub(super) faults: u64,
    pub(super) are_clocks_set: bool,
    /// Which guest is still to be removed from the access system.
    pub(super) leaving: Option<usize>,
    /// Of a hundred webhooks, how many are never sent.
    pub(super) unsent: usize,
    pub(super) staff: Vec<Place>,
    pub(super) bus: Bus,
    pub(super) post: Post,
    pub(super) judge: Judge,
    /// Whether something may have happened at the provider since its events were read.
    pub(super) is_world_touched: bool,
    /// Every claim that any worker has had.
    pub(super) claims: BTreeSet<Claim>,
    pub(super) bookings: Vec<Booking>,
    pub(super) phones: Vec<String>,
    /// How many of the provider's events have been read.
    pub(super) known: usize,
    pub(super) numbered: u64,
}

impl<'a> Schedule<'a> {
    /// Plays the schedule of a seed to its end. Returns its trace.
    pub(super) async fn play(stage: &'a mut Stage, seed: u64) -> Result<String, Broken> {
        stage.reset(seed).await;
        let chance = SeededEntropy::new(seed);
        let mut schedule = Self {
            stage,
            seed,
            trace: String::new(),
            is_brokered: chance.next_u64().is_multiple_of(2),
            faults: [0, 5, 20][below(&chance, 3)],
            are_clocks_set: below(&chance, 3) == 0,
            unsent: [0, 0, 20][below(&chance, 3)],
            leaving: [0, 1].get(below(&chance, 12)).copied(),
            chance,
            staff: STAFF.map(|(role, name)| Place::free(role, name)).into(),
            bus: Bus::default(),
            post: Post::default(),
            judge: Judge::default(),
            is_world_touched: false,
            claims: BTreeSet::new(),
            bookings: Vec::new(),
            phones: Vec::new(),
            known: 0,
            numbered: 0,
        };
        schedule.plan_the_plans();
        let played = schedule.acts().await;
        let Self { seed, trace, .. } = schedule;
        played.map(|()| trace.clone()).map_err(|why| Broken { seed, why, trace })
    }

    async fn acts(&mut self) -> Result<(), String> {
        for _ in 0..ACTS {
            let act = self.choose();
            self.act(act).await?;
        }
        self.end_well().await
    }

    pub(super) fn note(&mut self, line: &str) {
        let at = self.stage.now().duration_since(start());
        writeln!(self.trace, "{:>9.3} {line}", at.as_secs_f64()).expect("memory");
    }

    fn choose(&mut self) -> Act {
        let has_work = self.has_work();
        let mut acts = vec![(10, Act::Pass), (3, Act::Customer), (3, Act::Phone), (1, Act::Rumour)];
        if self.are_clocks_set {
            acts.push((1, Act::SetClocks));
        }
        if self.leaving.is_some() {
            acts.push((1, Act::Removal));
        }
        for (place, at) in self.staff.iter().enumerate() {
            if at.actor.is_some() {
                acts.extend([(10, Act::Open(place)), (1, Act::Kill(place))]);
            } else if has_work(at.role) {
                let weight = if at.role == Role::Worker { 5 } else { 8 };
                acts.push((weight, Act::Start(place)));
            }
        }
        let mut left = below(&self.chance, acts.iter().map(|(weight, _)| weight).sum());
        for (weight, act) in acts {
            if left < weight {
                return act;
            }
            left -= weight;
        }
        Act::Pass
    }

    /// Who has something to do now.
    fn has_work(&mut self) -> impl Fn(Role) -> bool + use<> {
        let (truth, ours) = (self.stage.now(), self.stage.times.ours());
        let view = self.stage.view();
        let looks = view.look_at.is_some_and(|at| at <= ours);
        let events = view.free_at().any(|at| at <= ours);
        let mail = self.post.next_at().is_some_and(|at| at <= truth);
        let messages = self.bus.has_ready();
        move |role| match role {
            Role::Sweep => looks,
            Role::Worker => events,
            Role::Receiver => mail,
            Role::Intake => messages,
        }
    }

    async fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Pass => {
                let millis = match below(&self.chance, 20) {
                    0 => 16_000 + below(&self.chance, 30_000),
                    1..6 => 1_000 + below(&self.chance, 6_000),
                    _ => below(&self.chance, 1_000),
                };
                self.pass(SignedDuration::from_millis(i64::try_from(millis).expect("small")));
            }
            Act::Start(place) => self.start(place).await?,
            Act::Open(place) => self.open(place).await?,
            Act::Kill(place) => {
                self.note(&format!("{} is killed", self.staff[place].name));
                self.bury(place);
            }
            Act::Customer => self.customer_acts().await,
            Act::Phone => self.phone_acts().await,
            Act::Rumour => self.rumour_spreads(),
            Act::Removal => self.guest_is_removed().await,
            Act::SetClocks => {
                let seconds = i64::try_from(below(&self.chance, 480)).expect("small") - 240;
                self.note(&format!("our clocks are set {seconds} s ahead of the provider's"));
                self.stage.times.set(SignedDuration::from_secs(seconds));
            }
        }
        self.look().await
    }

    fn pass(&mut self, time: SignedDuration) {
        self.stage.times.pass(time);
        self.is_world_touched = true;
        self.note("time has passed");
    }

    /// Reads what has happened at the provider, and judges all.
    async fn look(&mut self) -> Result<(), String> {
        let is_touched = std::mem::take(&mut self.is_world_touched);
        let events = if is_touched { self.stage.desk.events(self.known).await } else { Vec::new() };
        for event in events {
            self.known += 1;
            let (event_type, id) = (text(&event, "event_type"), text(&event, "acs_credential_id"));
            self.note(&format!("the provider: {event_type} {id}{}", text(&event, "device_id")));
            {
                let mut books = self.stage.desk.books.open();
                match event_type.as_str() {
                    "acs_credential.issued" => drop(books.issued.insert(id)),
                    "acs_credential.deleted" | "acs_credential.invalidated" => {
                        if let Some((_, is_live)) = books.parents.get_mut(&id) {
                            *is_live = false;
                        }
                    }
                    _ => {}
                }
            }
            if TOLD.contains(&event_type.as_str()) {
                self.send("seam", &event);
            }
        }
        let lines = self.judge.look(self.stage, &self.bus).await?;
        for line in lines {
            let about = [&line.event_id, &line.plan_key, &line.device_id, &line.acs_credential_id, &line.why];
            let about: Vec<&str> = about.into_iter().flatten().map(String::as_str).collect();
            self.note(&format!("  ledger {} {} {}", line.seq, line.kind, about.join(" ")));
        }
        Ok(())
    }

    /// No more faults: everybody goes on and begins again until nothing is left to do.
    async fn end_well(&mut self) -> Result<(), String> {
        self.faults = 0;
        self.are_clocks_set = false;
        self.note("the faults stop");
        let mut quiet = 0;
        let looks_for = if self.unsent > 0 { LOOKS_FOR_UNTOLD } else { LOOKS_FOR };
        let looks_until = add(self.stage.times.ours(), looks_for);
        for _ in 0..3_000 {
            if self.work_once().await? {
                quiet = 0;
                continue;
            }
            let (truth, ours) = (self.stage.now(), self.stage.times.ours());
            let view = self.stage.view();
            let look = view.look_at.filter(|at| *at < looks_until);
            let events = view.free_at().map(|at| at.duration_since(ours));
            let mail = self.post.next_at().map(|at| at.duration_since(truth));
            let wait = events.chain(mail).filter(SignedDuration::is_positive).min();
            match wait {
                Some(wait) => self.pass(wait),
                None if quiet >= 2
                    && let Some(at) = look =>
                {
                    self.pass(at.duration_since(ours).max(SignedDuration::from_secs(1)));
                }
                None if quiet >= 2 => return self.judge.look_back(self.stage).await,
                None => {
                    quiet += 1;
                    self.pass(SignedDuration::from_secs(10));
                }
            }
            self.look().await?;
        }
        Err("it does not come to rest".to_owned())
    }

    /// Lets everybody do one thing; whether there was anything to do.
    async fn work_once(&mut self) -> Result<bool, String> {
        let mut has_worked = false;
        for place in 0..self.staff.len() {
            let lines = self.judge.head;
            let is_idle = self.staff[place].actor.is_none();
            let role = self.staff[place].role;
            if is_idle && (!self.has_work()(role) || role == Role::Worker && place != FIRST_WORKER) {
                continue;
            }
            if is_idle {
                self.start(place).await?;
                self.look().await?;
            }
            while self.staff[place].actor.is_some() {
                has_worked = true;
                self.open(place).await?;
                self.look().await?;
            }
            has_worked |= self.judge.head > lines || !self.bus.is_empty();
        }
        Ok(has_worked)
    }
}

pub(super) fn below(chance: &SeededEntropy, limit: usize) -> usize {
    usize::try_from(chance.next_u64() % u64::try_from(limit).expect("small")).expect("small")
}
