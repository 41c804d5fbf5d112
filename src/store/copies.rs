//! A second copy of an event that is in the inbox already: the same again, or another event under a taken id?
//!
//! What counts is what a copy says of the event: its type, what that means, and whom and what it concerns. A sender that
//! repeats itself may set another time, and Seam's event list may say more of an event than its webhook did. Copies
//! contradict one another when both name a thing and name it differently. The first was acted on and stays; the second is
//! put aside with its bytes.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::sql::{Tx, Value};
use super::{StoreError, parked};
use crate::domain::{Entry, Event, Fact};
use crate::queue::Envelope;

const WHY: &str = "another body has come under this event's id; the first one counts";

/// Parks those of `copies` that contradict what is in the inbox under their ids; returns the ledger's lines.
pub(super) async fn park_contradictions(tx: &mut Tx, copies: &[(&Envelope, &Event)]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for (envelope, event) in contradictions(tx, copies).await? {
        let id = delivery_id(envelope);
        let parked = parked::insert_once(tx, envelope, &id, &event.source, WHY, &BTreeMap::new()).await?;
        entries.extend(parked.map(|entry| Entry {
            event_type: Some(event.event_type.clone()),
            event_id: Some(event.event_id.clone()),
            ..entry
        }));
    }
    Ok(entries)
}

/// Those of `copies` that contradict what is in the inbox.
pub(super) async fn contradictions<'c>(
    tx: &mut Tx,
    copies: &[(&'c Envelope, &'c Event)],
) -> Result<Vec<(&'c Envelope, &'c Event)>, StoreError> {
    if copies.is_empty() {
        return Ok(vec![]);
    }
    let there = format!("SELECT event_id, source, event_type, fact FROM inbox WHERE event_id {}", tx.among(1));
    let mut firsts = HashMap::new();
    for row in tx.fetch(there, [copies.iter().map(|(_, event)| event.event_id.clone()).collect::<Value>()]).await? {
        firsts.insert((row.text("event_id")?, row.text("source")?), (row.text("event_type")?, row.text("fact")?));
    }
    let differs = |event: &Event| {
        let first = firsts.get(&(event.event_id.clone(), event.source.clone()));
        first.is_some_and(|(event_type, fact)| *event_type != event.event_type || !agree(fact, &event.fact))
    };
    Ok(copies.iter().copied().filter(|(_, event)| differs(event)).collect())
}

/// What a contradiction is parked under: several may come in one delivery, and each is kept, once however often it comes.
fn delivery_id(envelope: &Envelope) -> String {
    const DIGEST_BYTES: usize = 8;
    format!("{}/{}", envelope.delivery_id, hex::encode(&Sha256::digest(&envelope.body)[..DIGEST_BYTES]))
}

/// Whether `first`, as it stands in the inbox, and `second` name nothing differently.
fn agree(first: &str, second: &Fact) -> bool {
    match (serde_json::from_str(first), serde_json::to_value(second)) {
        (Ok(first), Ok(second)) => are_one(&first, &second),
        _ => false,
    }
}

fn are_one(first: &Json, second: &Json) -> bool {
    match (first, second) {
        (Json::Object(first), Json::Object(second)) => {
            first.iter().all(|(name, value)| second.get(name).is_none_or(|other| are_one(value, other)))
        }
        _ => first == second,
    }
}

#[cfg(test)]
mod tests {
    use super::agree;
    use crate::domain::{Fact, Person};

    fn registered(person: Person, device_id: Option<&str>) -> Fact {
        Fact::PhoneRegistered { person, device_id: device_id.map(str::to_owned), device_type: None }
    }

    fn jane() -> Person {
        Person::UserIdentityId("jane".to_owned())
    }

    #[test]
    fn copies_agree_when_they_name_nothing_differently() {
        let first = r#"{"fact":"phone_registered","person":{"user_identity_id":"jane"},"device_id":"d"}"#;
        let by_key = Person::UserIdentityKey("guest-7".to_owned());
        for same in [registered(jane(), Some("d")), registered(jane(), None), registered(by_key, Some("d"))] {
            assert!(agree(first, &same), "{same:?}");
        }
        let joe = Person::UserIdentityId("joe".to_owned());
        let gone = Fact::PhoneDeactivated { device_id: "d".to_owned() };
        for other in [registered(joe, Some("d")), registered(jane(), Some("another phone")), gone, Fact::Other] {
            assert!(!agree(first, &other), "{other:?}");
        }
        assert!(!agree("?", &Fact::Other), "nobody knows what the first one said");
    }
}
