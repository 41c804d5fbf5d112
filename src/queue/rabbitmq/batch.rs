//! What intake has in hand: deliveries, sorted into what is committed together, what is looked at one by one, and what
//! is none of ours.

use std::sync::Arc;

use futures_util::stream::FusedStream;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Acker, BasicProperties};

use super::supervisor::Fault;
use crate::queue::Envelope;
use crate::queue::envelope::{self, DecodeError};
use crate::queue::seal::{Keys, SealError};

/// After so many deliveries in vain a message is suspected of killing intake.
const INNOCENT_DELIVERIES_MAX: u64 = 3;

/// Deliveries that were there at one time.
#[derive(Default)]
pub(super) struct Batch {
    /// What is committed together.
    pub(super) envelopes: Vec<Envelope>,
    /// Acknowledge exactly what is in `envelopes`, but for what is in `mixed`.
    pub(super) ours: Vec<Acker>,
    /// Messages of which only a part is ours; that part is in `envelopes`.
    pub(super) mixed: Vec<Foreign>,
    pub(super) foreign: Vec<Foreign>,
    pub(super) suspects: Vec<Suspect>,
}

/// A message that is none of ours, or has something in it that is not.
pub(super) struct Foreign {
    pub(super) acker: Acker,
    pub(super) why: Foreignness,
    pub(super) exchange: ShortString,
    pub(super) body_bytes: usize,
}

/// A message that has come back again and again.
pub(super) struct Suspect {
    pub(super) acker: Acker,
    pub(super) envelopes: Vec<Envelope>,
    pub(super) foreign: Option<Foreign>,
    /// How often it was delivered before.
    pub(super) delivered: u64,
}

impl Batch {
    /// Waits for one delivery, and takes with it what has arrived already, until there are `envelopes_max` envelopes.
    /// `None` at the stream's end.
    pub(super) async fn gather(
        deliveries: &mut (impl FusedStream<Item = lapin::Result<Delivery>> + Unpin),
        envelopes_max: usize,
        customs: &Customs,
    ) -> Result<Option<Self>, Fault> {
        let Some(first) = deliveries.next().await else { return Ok(None) };
        let mut batch = Self::default();
        batch.add(first?, customs);
        while batch.len() < envelopes_max
            && let Some(delivery) = deliveries.next().now_or_never().flatten()
        {
            batch.add(delivery?, customs);
        }
        Ok(Some(batch))
    }

    fn len(&self) -> usize {
        let suspected: usize = self.suspects.iter().map(|suspect| suspect.envelopes.len()).sum();
        self.envelopes.len() + suspected + self.foreign.len()
    }

    fn add(&mut self, delivery: Delivery, customs: &Customs) {
        let (acker, exchange, body_bytes) = (delivery.acker, delivery.exchange, delivery.data.len());
        let foreign = |why, acker| Foreign { acker, why, exchange, body_bytes };
        let passed = match customs.pass(&delivery.properties, delivery.data) {
            Ok(passed) => passed,
            Err(why) => return self.foreign.push(foreign(why, acker)),
        };
        let delivered = delivered_before(&delivery.properties);
        let (mut envelopes, mut flaw) = (Vec::with_capacity(passed.len()), None);
        for element in passed {
            match element {
                Ok(envelope) => envelopes.push(envelope),
                Err(error) => flaw = flaw.or(Some(error)),
            }
        }
        let flaw = flaw.map(|error| foreign(error.into(), acker.clone()));
        match flaw {
            Some(foreign) if envelopes.is_empty() => self.foreign.push(foreign),
            flaw if delivered > INNOCENT_DELIVERIES_MAX => {
                self.suspects.push(Suspect { acker, envelopes, foreign: flaw, delivered });
            }
            flaw => {
                self.envelopes.append(&mut envelopes);
                match flaw {
                    Some(foreign) => self.mixed.push(foreign),
                    None => self.ours.push(acker),
                }
            }
        }
    }
}

impl Suspect {
    /// Suspects, and the events of each, from a place on that is another one with each delivery, and round.
    pub(super) fn in_turn(mut suspects: Vec<Self>) -> Vec<Self> {
        let turns = |delivered: u64, count: usize| usize::try_from(delivered).unwrap_or_default() % count.max(1);
        for suspect in &mut suspects {
            let count = suspect.envelopes.len();
            suspect.envelopes.rotate_left(turns(suspect.delivered, count));
        }
        let delivered = suspects.iter().map(|suspect| suspect.delivered).max().unwrap_or_default();
        let count = suspects.len();
        suspects.rotate_left(turns(delivered, count));
        suspects
    }
}

/// How often a message was delivered in vain: a quorum queue says so from the second delivery on.
fn delivered_before(properties: &BasicProperties) -> u64 {
    let count = properties.headers().as_ref().and_then(|headers| headers.inner().get("x-delivery-count"));
    count.and_then(AMQPValue::as_long_long_int).and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

/// What a message has to be to be taken for ours.
pub(super) struct Customs {
    /// `None`: whoever may publish is believed, as long as the message has our shape.
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) body_bytes_max: usize,
}

/// Why a message is none of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum Foreignness {
    #[error("its body has {bytes} bytes, and {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Shape(#[from] DecodeError),
}

impl Foreignness {
    /// The word for the counter.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::Shape(DecodeError::TooLong { .. }) => "too_large",
            Self::Seal(SealError::Unsealed) => "unsealed",
            Self::Seal(SealError::Version) => "unknown_seal_version",
            Self::Seal(SealError::Forged) => "forged",
            Self::Shape(_) => "malformed",
        }
    }
}

impl Customs {
    fn pass(
        &self,
        properties: &BasicProperties,
        body: Vec<u8>,
    ) -> Result<Vec<Result<Envelope, DecodeError>>, Foreignness> {
        if body.len() > self.body_bytes_max {
            return Err(Foreignness::TooLarge { bytes: body.len(), max: self.body_bytes_max });
        }
        if let Some(keys) = &self.keys {
            keys.check(properties.headers().as_ref().unwrap_or(&FieldTable::default()), &body)?;
        }
        Ok(envelope::unpack(properties, body)?)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::queue::Content;
    use crate::queue::envelope::tests::some_envelope;
    use crate::queue::envelope::{Limits, pack};

    const CUSTOMS: Customs = Customs { keys: None, body_bytes_max: 4096 };

    fn foreign(tag: u64) -> Delivery {
        Delivery::mock(tag, "keyferry.events".into(), "x".into(), false, b"{}".to_vec())
    }

    fn event(id: &str) -> Envelope {
        let mut envelope = some_envelope();
        if let Content::Event(event) = &mut envelope.content {
            event.event_id = id.to_owned();
        }
        envelope
    }

    /// A message with these events, delivered for the `times`th time.
    fn delivery(tag: u64, ids: &[&str], times: i64) -> Delivery {
        let envelopes: Vec<Envelope> = ids.iter().map(|id| event(id)).collect();
        let parcel = pack(&envelopes.iter().collect::<Vec<_>>(), Limits { events: 64, bytes: 1 << 20 }).remove(0);
        let message = parcel.message.expect("it encodes");
        let mut headers = message.properties.headers().clone().unwrap_or_default();
        if times > 1 {
            headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(times - 1));
        }
        let mut delivery = Delivery::mock(tag, "keyferry.events".into(), "x".into(), times > 1, message.body.to_vec());
        delivery.properties = message.properties.with_headers(headers);
        delivery
    }

    async fn gather(deliveries: Vec<Delivery>, envelopes_max: usize) -> Batch {
        let mut deliveries = stream::iter(deliveries.into_iter().map(Ok)).chain(stream::pending()).fuse();
        Batch::gather(&mut deliveries, envelopes_max, &CUSTOMS).await.expect("no fault").expect("a batch")
    }

    fn ids(envelopes: &[Envelope]) -> Vec<&str> {
        envelopes.iter().filter_map(Envelope::event).map(|(_, event)| event.event_id.as_str()).collect()
    }

    #[tokio::test]
    async fn a_batch_is_what_has_arrived_up_to_so_many_events() {
        let arrived = || vec![delivery(1, &["1", "2"], 1), delivery(2, &["3"], 1), delivery(3, &["4"], 1)];
        assert_eq!(ids(&gather(arrived(), 3).await.envelopes), ["1", "2", "3"]);
        assert_eq!(ids(&gather(arrived(), 99).await.envelopes), ["1", "2", "3", "4"]);
    }

    #[tokio::test]
    async fn what_came_before_the_end_of_the_stream_is_a_batch() {
        let mut deliveries = stream::iter([Ok(delivery(1, &["1"], 1))]).fuse();
        let batch = Batch::gather(&mut deliveries, 2, &CUSTOMS).await.expect("no fault").expect("a batch");
        assert_eq!(ids(&batch.envelopes), ["1"]);
        assert!(Batch::gather(&mut deliveries, 2, &CUSTOMS).await.expect("no fault").is_none());
    }

    #[tokio::test]
    async fn foreign_messages_are_kept_out_of_what_is_acknowledged() {
        let batch = gather(vec![foreign(1), delivery(2, &["1"], 1), foreign(3)], 99).await;
        assert_eq!((ids(&batch.envelopes), batch.foreign.len()), (vec!["1"], 2));
        assert!(batch.ours == [foreign(2).acker], "the second, and no other");
    }

    #[tokio::test]
    async fn of_a_batch_that_is_not_all_ours_the_others_are_taken() {
        let mut mixed = delivery(1, &["1", "2", "3"], 1);
        let text = String::from_utf8(mixed.data).expect("JSON");
        mixed.data = text.replacen("\"id\":\"2\"", "\"id\":2", 1).into();
        let batch = gather(vec![mixed, delivery(2, &["4"], 1)], 99).await;
        assert_eq!(ids(&batch.envelopes), ["1", "3", "4"]);
        assert_eq!(batch.mixed[0].why.to_string(), "the attribute `id` is not text");
        assert!(batch.ours == [foreign(2).acker] && batch.foreign.is_empty());
    }

    #[tokio::test]
    async fn who_comes_back_again_and_again_is_looked_at_apart_and_from_another_place_each_time() {
        let came = |times| vec![delivery(1, &["1", "2", "3"], times), delivery(2, &["4"], 1)];
        let batch = gather(came(4), 99).await;
        assert_eq!(
            (ids(&batch.envelopes), batch.suspects.len()),
            (vec!["1", "2", "3", "4"], 0),
            "three times are chance"
        );
        let mut first = Vec::new();
        for times in 5..8 {
            let batch = gather(came(times), 99).await;
            assert_eq!((ids(&batch.envelopes), batch.ours.len()), (vec!["4"], 1), "nobody waits for a suspect");
            let suspects = Suspect::in_turn(batch.suspects);
            assert_eq!(suspects[0].envelopes.len(), 3);
            first.push(ids(&suspects[0].envelopes)[0].to_owned());
        }
        assert_eq!(first, ["2", "3", "1"]);
    }
}
