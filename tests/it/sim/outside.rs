//! What happens outside: customers plan, phones come and go, and everybody tells of it by webhook.

use jiff::SignedDuration;
use keyferry::clock::add;
use keyferry::domain::{Plan, PlanSpec};
use serde_json::{Value, json};

use super::desk::text;
use super::post::Message;
use super::schedule::{Schedule, below};
use super::town::Ways;

impl Schedule<'_> {
    /// Three bookings of two guests; two of them are alike where no `override` would end the other's key.
    pub(super) fn plan_the_plans(&mut self) {
        let now = self.stage.now();
        let are_alike = below(&self.chance, 2) == 0;
        let numbers = [0, 1, if are_alike { 1 } else { 2 }];
        for (place, number) in numbers.into_iter().enumerate() {
            let guest = self.stage.hotel.guests[number % 2].clone();
            let overrides = below(&self.chance, 2) == 0 && !(are_alike && number == 1);
            let ways = Ways { ends_in: self.time_to_end(), overrides, at_once: below(&self.chance, 4) == 0 };
            let booking = self.stage.hotel.booking(&format!("booking-{place}"), &guest, number, now, &ways);
            *self.judge.plans.entry(booking.stay.clone()).or_default() += 1;
            self.bookings.push(booking);
        }
    }

    /// How long a stay still lasts: some days or, where everybody agrees on the time, a minute or two.
    fn time_to_end(&self) -> SignedDuration {
        let (is_short, chance) = (below(&self.chance, 4) == 0, below(&self.chance, 100));
        let chance = i64::try_from(chance).expect("small");
        if is_short && !self.are_clocks_set {
            SignedDuration::from_secs(20 + chance)
        } else {
            SignedDuration::from_hours(72 + chance)
        }
    }

    /// Puts a message on its way: soon, late, twice, or not at all.
    pub(super) fn send(&mut self, source: &'static str, event: &Value) {
        let now = self.stage.now();
        if below(&self.chance, 100) < self.unsent {
            self.note(&format!("nobody is told of {}", event["event_type"]));
            return;
        }
        for _ in 0..=usize::from(below(&self.chance, 5) == 0) {
            let late = if below(&self.chance, 4) == 0 { 20_000 } else { 300 };
            let late = SignedDuration::from_millis(i64::try_from(below(&self.chance, late)).expect("small"));
            self.post.send(add(now, late), Message::new(source, event));
        }
    }

    /// An event of the customer's backend.
    fn tell(&mut self, mut event: Value) {
        self.numbered += 1;
        event["event_id"] = json!(format!("app-{}", self.numbered));
        event["occurred_at"] = json!(format!("{:.3}", self.stage.now()));
        self.send("app", &event);
    }

    /// The customer puts a plan, moves its end, cancels it, or puts it again.
    pub(super) async fn customer_acts(&mut self) {
        let place = below(&self.chance, self.bookings.len());
        let kind = below(&self.chance, 6);
        let end = add(self.stage.now(), self.time_to_end());
        let ours = self.stage.times.ours();
        let booking = &mut self.bookings[place];
        let key = booking.key.clone();
        let told = if !booking.is_put || kind < 4 {
            // Who asks for more time in the last minutes may ask too late: the key is revoked by then, and stays so.
            let may_move = booking.spec.ends_at > Some(add(ours, SignedDuration::from_hours(1)));
            if booking.is_put && kind < 2 && may_move {
                booking.spec = PlanSpec { ends_at: Some(end), ..booking.spec.clone() };
            }
            if booking.spec.ends_at <= Some(ours) {
                self.note(&format!("the customer: {key} has ended"));
                return;
            }
            booking.is_put = true;
            let spec = booking.spec.clone();
            let plan = Plan { key: key.clone(), spec, put_at: self.stage.times.ours(), deleted_at: None };
            format!("{:?}", self.stage.store.put_plan(&plan).await.expect("put"))
        } else {
            format!("{:?}", self.stage.store.delete_plan(&key).await.expect("deleted"))
        };
        self.note(&format!("the customer: {key} {told}"));
    }

    /// A phone comes, and the customer's backend tells of it; or one goes.
    pub(super) async fn phone_acts(&mut self) {
        self.is_world_touched = true;
        if self.phones.len() > 1 && below(&self.chance, 3) == 0 {
            let device_id = self.phones.swap_remove(below(&self.chance, self.phones.len()));
            self.note(&format!("the phone {device_id} goes"));
            let gone = self.stage.desk.call("/phones/deactivate", &json!({"device_id": device_id})).await;
            gone.expect("deactivated");
            return;
        }
        if self.phones.len() >= 3 {
            return;
        }
        let guest = self.stage.hotel.guests[below(&self.chance, 2)].clone();
        let body = json!({"user_identity_id": guest.user_identity_id});
        let made = self.stage.desk.call("/phones/simulate/create_sandbox_phone", &body).await.expect("a phone");
        let device_id = text(&made["phone"], "device_id");
        self.note(&format!("the phone {device_id} comes to {}", guest.user_identity_key));
        let mut event = json!({"event_type": "phone.registered", "device_id": device_id});
        if below(&self.chance, 3) == 0 {
            event["user_identity_key"] = json!(guest.user_identity_key);
        } else {
            event["user_identity_id"] = json!(guest.user_identity_id);
        }
        self.phones.push(device_id);
        self.tell(event);
    }

    /// The hotel removes a guest from its access system, and their credentials with them.
    pub(super) async fn guest_is_removed(&mut self) {
        self.is_world_touched = true;
        let number = self.leaving.take().expect("somebody leaves");
        let guest = self.stage.hotel.guests[number].clone();
        self.note(&format!("{} is removed from the access system", guest.user_identity_key));
        let body = json!({"acs_user_id": guest.acs_user_id});
        self.stage.desk.call("/acs/users/delete", &body).await.expect("removed");
        self.judge.removed = Some(guest.acs_user_id);
    }

    /// Somebody says of a credential that it is issued, who cannot know.
    pub(super) fn rumour_spreads(&mut self) {
        let ids: Vec<String> = self.stage.desk.books.open().parents.keys().cloned().collect();
        let Some(id) = ids.get(below(&self.chance, ids.len().max(1))) else { return };
        self.note(&format!("somebody says that {id} is issued"));
        self.stage.desk.books.open().said_issued.insert(id.clone());
        self.tell(json!({"event_type": "credential.issued", "acs_credential_id": id}));
    }
}
