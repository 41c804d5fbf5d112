//! The conformance suite: what the store promises, over SQLite and over PostgreSQL.

mod growth;
mod inbox;
mod ledger;
mod phones;
mod plans;
mod prune;
mod schema;
mod secret_uses;

use jiff::{SignedDuration, Timestamp};
use keyferry::domain::{Event, Fact, Outcome, Person, Plan, PlanSpec};
use keyferry::queue::{Content, Envelope, Inbox as _};
use keyferry::store::{Change, Claim, Claimed};

use crate::support::db::Bench;

/// A `phone.registered` of `person`.
fn registered(event_id: &str, person: &str, at: Timestamp) -> Envelope {
    let fact = Fact::PhoneRegistered {
        person: Person::UserIdentityId(person.to_owned()),
        device_id: Some(format!("phone-of-{person}")),
        device_type: None,
    };
    envelope(event_id, "phone.registered", fact, at)
}

fn envelope(event_id: &str, event_type: &str, fact: Fact, at: Timestamp) -> Envelope {
    let event = Event {
        source: "app".to_owned(),
        event_id: event_id.to_owned(),
        event_type: event_type.to_owned(),
        occurred_at: at,
        fact,
    };
    Envelope {
        delivery_id: format!("msg_{event_id}"),
        received_at: at,
        traceparent: None,
        proof: None,
        body: format!("{{\"event_id\":\"{event_id}\"}}").into(),
        content: Content::Event(event),
    }
}

fn plan(key: &str, person: &str, at: Timestamp) -> Plan {
    let body = format!("{{\"user_identity_id\": \"{person}\", \"acs_user_id\": \"acs-{person}\"}}");
    let spec = PlanSpec::from_json(body.as_bytes()).expect("a plan");
    Plan { key: key.to_owned(), spec, put_at: at, deleted_at: None }
}

impl Bench {
    fn now(&self) -> Timestamp {
        keyferry::clock::Clock::now(&self.clock)
    }

    async fn accept(&self, batch: Vec<Envelope>) {
        self.store.accept(batch).await.expect("accepted");
    }

    async fn claim(&self, limit: u32) -> Vec<Claimed> {
        self.whole_claim(limit).await.events
    }

    async fn whole_claim(&self, limit: u32) -> Claim {
        let until = keyferry::clock::add(self.now(), SignedDuration::from_secs(15));
        self.store.claim(self.now(), until, limit).await.expect("claimed")
    }

    async fn end(&self, claimed: &Claimed, outcome: Outcome) {
        let change = Change { outcome: Some(outcome), ..Change::default() };
        self.store.record(claimed, self.now(), change).await.expect("recorded");
    }

    /// The ledger's kinds, in order.
    async fn kinds(&self) -> Vec<String> {
        let lines = self.store.ledger(0, 1000).await.expect("a ledger");
        lines.into_iter().map(|line| line.kind).collect()
    }
}

fn ids(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|event| event.event_id.as_str()).collect()
}
