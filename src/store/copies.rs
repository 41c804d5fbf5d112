//! A second copy of an event that is in the inbox already: the same again, or another event under a taken id?
//!
//! Copies need not be equal byte for byte: white space and the order of keys may differ, and Seam's event list may say
//! more of an event than its webhook did. They contradict one another when a key that both have has two values. The
//! first was acted on and stays; the second is put aside with its bytes.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use super::sql::{Tx, Value, parts};
use super::{StoreError, parked};
use crate::domain::{Entry, Event};
use crate::queue::Envelope;

const WHY: &str = "another body has come under this event's id; the first one counts";

/// Parks those of `copies` that contradict what is in the inbox under their ids; returns the ledger's lines.
pub(super) async fn park_contradictions(tx: &mut Tx, copies: &[(&Envelope, &Event)]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for (envelope, event) in contradictions(tx, copies).await? {
        let parked = parked::insert_body(tx, envelope, &event.source, WHY, &BTreeMap::new()).await?;
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
    let mut found = Vec::new();
    for part in parts(copies) {
        let keys =
            part.iter().flat_map(|(_, event)| [Value::from(event.event_id.as_str()), event.source.as_str().into()]);
        let there = format!(
            "SELECT event_id, source, body FROM inbox WHERE (event_id, source) IN (VALUES {})",
            tx.placeholders(part.len(), 2)
        );
        let mut bodies = HashMap::new();
        for row in tx.fetch(there, keys.collect::<Vec<_>>()).await? {
            bodies.insert((row.text("event_id")?, row.text("source")?), row.bytes("body")?);
        }
        found.extend(part.iter().copied().filter(|(envelope, event)| {
            let first = bodies.get(&(event.event_id.clone(), event.source.clone()));
            first.is_some_and(|first| !agree(first, &envelope.body))
        }));
    }
    Ok(found)
}

fn agree(first: &[u8], second: &[u8]) -> bool {
    if first == second {
        return true;
    }
    match (serde_json::from_slice(first), serde_json::from_slice(second)) {
        (Ok(Json::Object(first)), Ok(Json::Object(second))) => {
            first.iter().all(|(key, value)| second.get(key).is_none_or(|other| other == value))
        }
        (Ok(first), Ok(second)) => first == second,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::agree;

    #[test]
    fn copies_agree_when_no_key_has_two_values() {
        let first = br#"{"event_id":"e","device_id":"d","more":[1,{"a":2}]}"#;
        for same in [
            r#"{"event_id":"e","device_id":"d","more":[1,{"a":2}]}"#,
            r#"{ "more": [1, {"a": 2}], "device_id": "d", "event_id": "e" }"#,
            r#"{"event_id":"e","device_id":"d","more":[1,{"a":2}],"created_at":"2026-03-01T10:40:00Z"}"#,
            r#"{"event_id":"e","device_id":"\u0064"}"#,
        ] {
            assert!(agree(first, same.as_bytes()), "{same}");
        }
        for other in
            [r#"{"event_id":"e","device_id":"x"}"#, r#"{"more":[{"a":2},1]}"#, r#"{"device_id":null}"#, "[]", "?"]
        {
            assert!(!agree(first, other.as_bytes()), "{other}");
        }
    }
}
