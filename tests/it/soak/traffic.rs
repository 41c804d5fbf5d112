//! What the world does meanwhile: people check in, sign in with phones, lose them and leave; their app's backend tells of
//! it, sometimes twice; and Seam talks of other things.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use keyferry::clock::{Clock as _, Entropy as _, SeededEntropy, SystemClock};
use serde_json::{Value, json};

use crate::support::load::registered;
use crate::support::town::{APP_SECRET, Town};
use crate::support::wait;

const PER_SECOND: u32 = 30;
const GUESTS: usize = 24;
const PHONES_MAX: usize = 3;

pub(super) struct Traffic<'a> {
    town: &'a Town,
    chance: SeededEntropy,
    guests: RefCell<Vec<Guest>>,
    /// What was sent: to be sent again.
    sent: RefCell<Vec<String>>,
    events: Cell<usize>,
    refused: Cell<usize>,
}

struct Guest {
    key: String,
    stay: Value,
    phones: Vec<String>,
    is_in: bool,
}

enum Deed {
    CheckIn(usize),
    Leave(usize),
    SignIn(usize),
    LosePhone(String),
    Tell { source: &'static str, body: String },
}

impl<'a> Traffic<'a> {
    pub(super) async fn of(town: &'a Town, chance: SeededEntropy) -> Self {
        let mut guests = Vec::new();
        for number in 0..GUESTS {
            let stay = town.newcomer(&format!("Guest {number}")).await;
            guests.push(Guest { key: format!("booking-{number}"), stay, phones: Vec::new(), is_in: false });
        }
        let (guests, sent) = (RefCell::new(guests), RefCell::default());
        Self { town, chance, guests, sent, events: Cell::default(), refused: Cell::default() }
    }

    pub(super) fn tally(&self) -> String {
        format!("{} events, {} attempts in vain", self.events.get(), self.refused.get())
    }

    /// So many deeds a second until it is over; returns when each of them is done.
    pub(super) async fn flow(&self, over: &Cell<bool>) {
        let (start, mut begun, mut under_way) = (Instant::now(), 0, FuturesUnordered::new());
        while !over.get() {
            // What the machine was too busy for is made up for.
            while start.elapsed() > Duration::from_secs(1) * begun / PER_SECOND {
                begun += 1;
                under_way.push(self.act(self.draw()));
            }
            tokio::select! {
                Some(()) = under_way.next() => {}
                () = wait::pause(Duration::from_millis(10)) => {}
            }
        }
        while under_way.next().await.is_some() {}
    }

    fn draw(&self) -> Deed {
        let mut guests = self.guests.borrow_mut();
        let index = self.below(guests.len());
        let guest = &mut guests[index];
        let chance = self.below(100);
        match chance {
            0..6 if !guest.is_in => {
                guest.is_in = true;
                Deed::CheckIn(index)
            }
            6 if guest.is_in => {
                guest.is_in = false;
                Deed::Leave(index)
            }
            0..12 if guest.phones.len() < PHONES_MAX => Deed::SignIn(index),
            12 if !guest.phones.is_empty() => Deed::LosePhone(guest.phones.remove(0)),
            13..60 => {
                let event_id = format!("told-{:016x}", self.chance.next_u64());
                let phone = guest.phones.first().map(String::as_str);
                Deed::Tell { source: "app", body: registered(&event_id, &guest.stay, phone).to_string() }
            }
            60..75 if !self.sent.borrow().is_empty() => {
                let sent = self.sent.borrow();
                Deed::Tell { source: "app", body: sent[self.below(sent.len())].clone() }
            }
            _ => Deed::Tell { source: "seam", body: self.small_talk() },
        }
    }

    async fn act(&self, deed: Deed) {
        match deed {
            Deed::CheckIn(index) => {
                let (key, stay) = self.stay(index);
                self.insist("PUT", &key, Some(&stay)).await;
            }
            Deed::Leave(index) => {
                let (key, _) = self.stay(index);
                self.insist("DELETE", &key, None).await;
            }
            Deed::SignIn(index) => {
                let (_, stay) = self.stay(index);
                let phone = self.town.sign_in(&stay).await;
                self.guests.borrow_mut()[index].phones.push(phone);
            }
            Deed::LosePhone(phone) => {
                self.town.seam("/phones/deactivate", &json!({"device_id": phone})).await;
            }
            Deed::Tell { source, body } => {
                let secret = if source == "app" { APP_SECRET } else { &self.town.environment["SEAM_WEBHOOK_SECRET"] };
                let refused = self.town.deliver(source, secret, &body).await;
                self.events.set(self.events.get() + 1);
                self.refused.set(self.refused.get() + refused);
                if source == "app" {
                    self.sent.borrow_mut().push(body);
                }
            }
        }
    }

    /// Puts or deletes a plan, until the ops API says that it has it.
    async fn insist(&self, method: &str, key: &str, plan: Option<&Value>) {
        let done = wait::up_to(Duration::from_mins(2), async || {
            let method = method.parse().expect("a method");
            let call = self.town.client.request(method, format!("{}/v1/plans/{key}", self.town.ops_url));
            let call = plan.map_or(call.try_clone()?, |plan| call.json(plan)).timeout(Duration::from_secs(5));
            let status = call.send().await.ok()?.status();
            // A plan that is not known any more was deleted by the attempt before.
            (status.is_success() || status == 404).then_some(())
        });
        assert!(done.await.is_some(), "{method} of plan {key} in vain");
    }

    fn stay(&self, index: usize) -> (String, Value) {
        let guests = self.guests.borrow();
        (guests[index].key.clone(), guests[index].stay.clone())
    }

    /// An event of Seam's that asks nothing of us.
    fn small_talk(&self) -> String {
        let now = format!("{:.3}", SystemClock.now());
        json!({
            "event_id": format!("talk-{:016x}", self.chance.next_u64()), "event_type": "acs_system.connected",
            "workspace_id": "w", "created_at": now, "occurred_at": now, "acs_system_id": "s",
        })
        .to_string()
    }

    fn below(&self, end: usize) -> usize {
        usize::try_from(self.chance.next_u64() % end as u64).expect("small")
    }
}
