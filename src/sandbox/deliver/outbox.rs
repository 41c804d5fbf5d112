//! Who is told what and when: the queues between the world and the network.
//!
//! Each recipient has a lane of its own, so that a dead one delays nobody else. A message stays in its lane until it is
//! delivered, given up or aborted; those on their way are kept as well, therefore a restart sends them again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::post::Verdict;
use super::schedule::{is_given_up, next_attempt};
use super::senders::{Sender, SenderKind, telling};
use crate::clock::add;
use crate::sandbox::sign::signatures;
use crate::sandbox::world::ids::{Chance, WebhookId};
use crate::sandbox::world::rules::scaled;
use crate::sandbox::world::{News, World};

/// Attempts under way to one recipient at once.
const IN_FLIGHT_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Recipient {
    Webhook(WebhookId),
    Sender(Uuid),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Message {
    /// Same over all attempts, and over duplicates.
    id: String,
    body: String,
    /// Attempts made.
    attempts: usize,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Lane {
    /// By due time, then by number.
    #[serde(with = "as_list")]
    waiting: BTreeMap<(Timestamp, u64), Message>,
    #[serde(with = "as_list")]
    in_flight: BTreeMap<u64, Message>,
}

/// One attempt to make: what [`super::post`] needs.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) recipient: Recipient,
    pub(crate) number: u64,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// How badly deliveries are treated on purpose: chances in `0.0..=1.0`, and how late everything is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Habits {
    /// A message is sent twice, under one id.
    pub(crate) duplicate: f64,
    /// A message is held back, so that later ones overtake it.
    pub(crate) reorder: f64,
    /// A message is never sent. `/events/list` still has its event.
    pub(crate) drop: f64,
    /// Each message waits this long, in milliseconds.
    pub(crate) delay_ms: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outbox {
    #[serde(with = "as_list")]
    lanes: BTreeMap<Recipient, Lane>,
    pub(crate) senders: Vec<Sender>,
    pub(crate) habits: Habits,
    chance: Chance,
    numbered: u64,
}

impl Outbox {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            lanes: BTreeMap::new(),
            senders: Vec::new(),
            habits: Habits::default(),
            // Not the world's own chance: how deliveries fare must not change which ids the world draws.
            chance: Chance::new(seed ^ 0xde11),
            numbered: 0,
        }
    }

    pub(crate) fn add_sender(&mut self, kind: SenderKind, url: String, secret: String) -> Uuid {
        let sender_id = self.chance.id();
        self.senders.push(Sender { sender_id, url, secret, kind });
        sender_id
    }

    /// Takes in what happened: a message for everybody who wants to hear of it.
    pub(crate) fn take_in(&mut self, news: Vec<News>, world: &World, now: Timestamp) {
        for news in news {
            match news {
                News::Event(event) => {
                    let wanting = world.webhooks.live().filter(|webhook| webhook.wants(event.event_type.name()));
                    let wanting: Vec<WebhookId> = wanting.map(|webhook| webhook.webhook_id).collect();
                    if wanting.is_empty() {
                        continue;
                    }
                    let body = serde_json::to_string(event.as_ref()).unwrap_or_default();
                    for webhook in wanting {
                        self.enqueue(Recipient::Webhook(webhook), body.clone(), world, now);
                    }
                }
                News::Phone(phone) => {
                    for sender in self.senders.clone() {
                        let id = self.chance.id();
                        if let Some(body) = telling(&sender.kind, world, phone, id) {
                            self.enqueue(Recipient::Sender(sender.sender_id), body.to_string(), world, now);
                        }
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, recipient: Recipient, body: String, world: &World, now: Timestamp) {
        let habits = self.habits.clone();
        if self.luck() < habits.drop {
            return;
        }
        let message = Message { id: format!("msg_{}", self.chance.letters::<27>()), body, attempts: 0 };
        let mut due = add(now, SignedDuration::from_millis(habits.delay_ms.into()));
        if self.luck() < habits.reorder {
            let second = scaled(SignedDuration::from_secs(1), world.rules.speed);
            let spread = second.max(SignedDuration::from_millis(habits.delay_ms.into()) * 4);
            due = add(due, scaled(spread, 1.0 / self.luck().max(0.01)));
        }
        let copies = if self.luck() < habits.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            self.wait(recipient, message.clone(), due);
        }
    }

    fn wait(&mut self, recipient: Recipient, message: Message, due: Timestamp) {
        self.numbered += 1;
        self.lanes.entry(recipient).or_default().waiting.insert((due, self.numbered), message);
    }

    fn luck(&mut self) -> f64 {
        f64::from(u32::from_be_bytes(self.chance.bytes())) / f64::from(u32::MAX)
    }

    /// When the next attempt is due, of those that may begin.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        let ready = self.lanes.values().filter(|lane| lane.in_flight.len() < IN_FLIGHT_MAX);
        ready.filter_map(|lane| lane.waiting.keys().next()).map(|(due, _)| *due).min()
    }

    /// Takes the attempts that are due. Each must come back through [`Outbox::settle`].
    pub(crate) fn take_due(&mut self, world: &World, now: Timestamp) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        let senders = &self.senders;
        self.lanes.retain(|recipient, lane| {
            let Some(route) = Route::to(*recipient, world, senders, now) else {
                // Deleted or disabled: nobody is there to be told.
                return false;
            };
            while lane.in_flight.len() < IN_FLIGHT_MAX
                && let Some(first) = lane.waiting.first_entry().filter(|first| first.key().0 <= now)
            {
                let ((_, number), mut message) = first.remove_entry();
                message.attempts += 1;
                attempts.push(route.attempt(*recipient, number, &message, now));
                lane.in_flight.insert(number, message);
            }
            !lane.waiting.is_empty() || !lane.in_flight.is_empty()
        });
        attempts
    }

    /// Records how an attempt ended.
    pub(crate) fn settle(
        &mut self,
        recipient: Recipient,
        number: u64,
        verdict: Verdict,
        world: &mut World,
        now: Timestamp,
    ) {
        let lane = self.lanes.get_mut(&recipient);
        let Some(message) = lane.and_then(|lane| lane.in_flight.remove(&number)) else { return };
        let speed = world.rules.speed;
        let webhook = match recipient {
            Recipient::Webhook(id) => world.webhooks.get_mut(id),
            Recipient::Sender(_) => None,
        };
        match verdict {
            Verdict::Delivered => {
                if let Some(webhook) = webhook {
                    webhook.failing_since = None;
                }
            }
            Verdict::Abort => {}
            Verdict::Disable => {
                if let Some(webhook) = webhook {
                    webhook.disabled_at = Some(now);
                }
            }
            Verdict::Failed(failure) => {
                if let Some(webhook) = webhook
                    && is_given_up(*webhook.failing_since.get_or_insert(now), now, speed)
                {
                    tracing::warn!(webhook_id = %webhook.webhook_id, "a webhook did nothing but fail for days: disabled");
                    webhook.disabled_at = Some(now);
                    return;
                }
                let luck = self.luck();
                match next_attempt(message.attempts, failure, now, speed, luck) {
                    Some(due) => self.wait(recipient, message, due),
                    None => {
                        tracing::warn!(message_id = %message.id, attempts = message.attempts, "a delivery is given up");
                    }
                }
            }
        }
    }

    /// After a restart, what was under way is due at once: nobody knows whether it arrived.
    pub(crate) fn resume(&mut self, now: Timestamp) {
        for lane in self.lanes.values_mut() {
            for (number, message) in std::mem::take(&mut lane.in_flight) {
                lane.waiting.insert((now, number), message);
            }
        }
    }
}

/// How a recipient is reached now.
struct Route<'a> {
    url: &'a str,
    proof: Proof<'a>,
}

enum Proof<'a> {
    Signed { family: &'static str, secrets: Vec<String> },
    Header { name: &'a str, secret: &'a str },
}

impl<'a> Route<'a> {
    fn to(recipient: Recipient, world: &'a World, senders: &'a [Sender], now: Timestamp) -> Option<Self> {
        match recipient {
            Recipient::Webhook(id) => {
                let webhook = world.webhooks.get(id).filter(|webhook| webhook.disabled_at.is_none())?;
                let proof = Proof::Signed { family: "svix", secrets: webhook.secrets(now) };
                Some(Self { url: &webhook.url, proof })
            }
            Recipient::Sender(id) => {
                let sender = senders.iter().find(|sender| sender.sender_id == id)?;
                let proof = match &sender.kind {
                    SenderKind::Standard => Proof::Signed { family: "webhook", secrets: vec![sender.secret.clone()] },
                    SenderKind::HidOrigo { header } => Proof::Header { name: header, secret: &sender.secret },
                };
                Some(Self { url: &sender.url, proof })
            }
        }
    }

    fn attempt(&self, recipient: Recipient, number: u64, message: &Message, now: Timestamp) -> Attempt {
        let headers = match &self.proof {
            Proof::Signed { family, secrets } => vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                (format!("{family}-id"), message.id.clone()),
                (format!("{family}-timestamp"), now.as_second().to_string()),
                (format!("{family}-signature"), signatures(secrets, &message.id, now, &message.body)),
            ],
            Proof::Header { name, secret } => vec![
                ("content-type".to_owned(), "application/cloudevents-batch+json".to_owned()),
                ((*name).to_owned(), (*secret).to_owned()),
            ],
        };
        Attempt { recipient, number, url: self.url.to_owned(), headers, body: message.body.clone() }
    }
}

/// JSON has no maps with such keys; the state file holds lists of pairs.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Vec::<(K, V)>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}
