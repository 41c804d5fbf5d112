//! What the world does meanwhile: people check in, sign in with phones, lose them and leave; their app's backend tells of
//! it, sometimes twice; and Seam talks of other things.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
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
    /// With something that takes its time: until then, they do nothing else.
    is_busy: bool,
}

enum Deed {
    CheckIn(usize),
    Leave(usize),
    SignIn(usize),
    LosePhone(usize, String),
    Tell { source: &'static str, body: String },
}

impl<'a> Traffic<'a> {
    pub(super) async fn of(town: &'a Town, chance: SeededEntropy) -> Self {
        let mut guests = Vec::new();
        for number in 0..GUESTS {
            let stay = town.newcomer(&format!("Guest {number}")).await;
            guests.push(Guest {
                key: format!("booking-{number}"),
                stay,
                phones: Vec::new(),
                is_in: false,
                is_busy: false,
            });
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
        if chance < 13 && !guest.is_busy {
            guest.is_busy = true;
            return match chance {
                0..6 if !guest.is_in => Deed::CheckIn(index),
                6 if guest.is_in => Deed::Leave(index),
                12 if !guest.phones.is_empty() => Deed::LosePhone(index, guest.phones.remove(0)),
                _ if guest.phones.len() < PHONES_MAX => Deed::SignIn(index),
                _ => {
                    guest.is_busy = false;
                    Deed::Tell { source: "seam", body: self.small_talk() }
                }
            };
        }
        match chance {
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
                self.done(index, |guest| guest.is_in = true);
            }
            Deed::Leave(index) => {
                let (key, _) = self.stay(index);
                self.insist("DELETE", &key, None).await;
                self.done(index, |guest| guest.is_in = false);
            }
            Deed::SignIn(index) => {
                let (_, stay) = self.stay(index);
                let phone = self.town.sign_in(&stay).await;
                self.done(index, |guest| guest.phones.push(phone));
            }
            Deed::LosePhone(index, phone) => {
                self.town.seam("/phones/deactivate", &json!({"device_id": phone})).await;
                self.done(index, |_| {});
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

    fn done(&self, index: usize, change: impl FnOnce(&mut Guest)) {
        let guest = &mut self.guests.borrow_mut()[index];
        change(guest);
        guest.is_busy = false;
    }

    /// Waits until each phone of whoever is in has its key, and nobody else has one.
    pub(super) async fn everybody_has_keys(&self, deadline: Duration) {
        let owed = self.owed();
        wait::until_equal(deadline, "the keys that people should have, and those that they have", async || {
            (owed.clone(), self.keys().await.unwrap_or_default())
        })
        .await;
    }

    /// Plan and phone of each key that there should be.
    fn owed(&self) -> BTreeSet<(String, String)> {
        let guests = self.guests.borrow();
        let people = guests.iter().filter(|guest| guest.is_in);
        people.flat_map(|guest| guest.phones.iter().map(|phone| (guest.key.clone(), phone.clone()))).collect()
    }

    /// Plan and phone of each issued key.
    async fn keys(&self) -> Option<BTreeSet<(String, String)>> {
        let page = self.town.try_ops("/v1/issuances?limit=1000").await?;
        let mut keys = BTreeSet::new();
        for issuance in page["issuances"].as_array()? {
            let phones = issuance["phones"].as_array().map(Vec::as_slice).unwrap_or_default();
            for phone in phones.iter().filter(|phone| phone["status"] == "issued") {
                keys.insert((issuance["plan_key"].as_str()?.to_owned(), phone["device_id"].as_str()?.to_owned()));
            }
        }
        Some(keys)
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
