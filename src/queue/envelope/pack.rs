//! Which messages carry the envelopes that wait: those of one type together, as far as a message may hold them.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::batch::{self, Batch};
use super::{EncodeError, Envelope, Message, encode, kind};

/// What one message may hold. An envelope that is larger by itself travels alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// 1: every envelope travels alone.
    pub events: usize,
    /// Bytes of a batch.
    pub bytes: usize,
}

/// A message, and the numbers of the envelopes that it carries.
pub struct Parcel {
    pub message: Result<Message, EncodeError>,
    pub of: Vec<usize>,
}

/// Packs all of `envelopes`, which are numbered from 0. What is alone of its type travels in binary mode.
#[must_use]
pub fn pack(envelopes: &[&Envelope], limits: Limits) -> Vec<Parcel> {
    let mut packing = Packing { envelopes, limits, packed: Vec::new() };
    let mut by_kind: BTreeMap<&str, Vec<(usize, &RawValue)>> = BTreeMap::new();
    for (number, envelope) in envelopes.iter().enumerate() {
        match batch::data(envelope).filter(|_| limits.events > 1) {
            Some(data) => by_kind.entry(kind(envelope)).or_default().push((number, data)),
            None => packing.alone(number),
        }
    }
    for of_kind in by_kind.into_values() {
        packing.together(&of_kind);
    }
    packing.packed
}

struct Packing<'e> {
    envelopes: &'e [&'e Envelope],
    limits: Limits,
    packed: Vec<Parcel>,
}

impl Packing<'_> {
    fn alone(&mut self, number: usize) {
        self.packed.push(Parcel { message: encode(self.envelopes[number]), of: vec![number] });
    }

    fn together(&mut self, of_kind: &[(usize, &RawValue)]) {
        if let [(only, _)] = of_kind {
            return self.alone(*only);
        }
        let mut batch = Batch::default();
        for &(number, data) in of_kind {
            let added = self.add(&mut batch, number, data).and_then(|fits| {
                if fits {
                    return Ok(());
                }
                self.close(std::mem::take(&mut batch));
                self.add(&mut batch, number, data).map(drop)
            });
            if let Err(error) = added {
                self.packed.push(Parcel { message: Err(error), of: vec![number] });
            }
        }
        self.close(batch);
    }

    fn add(&self, batch: &mut Batch, number: usize, data: &RawValue) -> Result<bool, EncodeError> {
        batch.add(number, self.envelopes[number], data, self.limits)
    }

    fn close(&mut self, batch: Batch) {
        match batch.of[..] {
            [] => {}
            [only] => self.alone(only),
            [first, ..] => {
                let (first, of) = (self.envelopes[first], batch.of.clone());
                self.packed.push(Parcel { message: Ok(batch.message(kind(first), first.received_at)), of });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::some_envelope;
    use super::*;
    use crate::queue::envelope::unpack;
    use crate::queue::{Content, Envelope};

    const LIMITS: Limits = Limits { events: 3, bytes: 4096 };

    fn envelope(id: &str, event_type: &str, body: &str) -> Envelope {
        let mut envelope = some_envelope();
        envelope.body = body.to_owned().into();
        if let Content::Event(event) = &mut envelope.content {
            (event.event_id, event.event_type) = (id.to_owned(), event_type.to_owned());
        }
        envelope
    }

    /// What was packed, unpacked: for each message its routing key, and the ids in it.
    fn packed(envelopes: &[Envelope], limits: Limits) -> Vec<(String, Vec<String>)> {
        let parcels = pack(&envelopes.iter().collect::<Vec<_>>(), limits);
        let mut of: Vec<usize> = parcels.iter().flat_map(|parcel| parcel.of.clone()).collect();
        of.sort_unstable();
        assert_eq!(of, (0..envelopes.len()).collect::<Vec<_>>(), "each once");
        let unpacked = parcels.into_iter().map(|parcel| {
            let message = parcel.message.expect("it fits");
            let there = unpack(&message.properties, message.body).expect("ours");
            let there: Vec<Envelope> = there.into_iter().collect::<Result<_, _>>().expect("all of them");
            let sent: Vec<Envelope> = parcel.of.iter().map(|number| envelopes[*number].clone()).collect();
            assert_eq!(there, sent, "byte for byte, and word for word");
            let ids = there.iter().filter_map(Envelope::event).map(|(_, event)| event.event_id.clone());
            (message.routing_key.to_string(), ids.collect())
        });
        unpacked.collect()
    }

    fn expected(messages: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        messages.iter().map(|(key, ids)| ((*key).to_owned(), ids.iter().map(|&id| id.to_owned()).collect())).collect()
    }

    #[test]
    fn a_message_holds_one_type_and_no_more_than_it_may() {
        let envelopes = ["1", "2", "3", "4", "5"].map(|id| envelope(id, "a", "{}"));
        let other = envelope("6", "b", "{}");
        let all = [envelopes.to_vec(), vec![other]].concat();
        assert_eq!(packed(&all, LIMITS), expected(&[("a", &["1", "2", "3"]), ("a", &["4", "5"]), ("b", &["6"])]));
        let alone = Limits { events: 1, ..LIMITS };
        assert_eq!(packed(&envelopes[..2], alone), expected(&[("a", &["1"]), ("a", &["2"])]));
    }

    #[test]
    fn what_is_too_large_for_company_travels_alone() {
        let large = format!("[{}]", "0,".repeat(2000) + "0");
        let envelopes = [envelope("1", "a", "{}"), envelope("2", "a", &large), envelope("3", "a", "{}")];
        assert_eq!(packed(&envelopes, LIMITS), expected(&[("a", &["1"]), ("a", &["2"]), ("a", &["3"])]));
    }

    #[test]
    fn a_body_that_json_would_not_keep_byte_for_byte_travels_alone() {
        let bodies = [" {}", "{} ", "{", "", "\u{feff}{}"];
        let envelopes = bodies.map(|body| envelope("x", "a", body));
        assert!(packed(&envelopes, LIMITS).iter().all(|(_, ids)| ids.len() == 1));
        let kept = ["{ \"b\": 1e2,\t\"a\":\"\\u00e9\" }", "{}"].map(|body| envelope("x", "a", body));
        assert_eq!(packed(&kept, LIMITS).len(), 1, "white space within is kept");
    }

    #[test]
    fn attributes_that_are_too_large_are_refused_alone() {
        let mut large = envelope("2", "a", "{}");
        large.traceparent = Some("x".repeat(crate::queue::envelope::HEADERS_BYTES_MAX));
        let parcels = pack(&[&envelope("1", "a", "{}"), &large, &envelope("3", "a", "{}")], LIMITS);
        let fits: Vec<_> = parcels.iter().map(|parcel| (parcel.message.is_ok(), parcel.of.clone())).collect();
        assert_eq!(fits, [(false, vec![1]), (true, vec![0, 2])]);
    }
}
