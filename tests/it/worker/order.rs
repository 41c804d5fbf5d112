//! The order and the number of deliveries of the same events do not matter.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use keyferry::clock::{Entropy, SeededEntropy, SystemEntropy};
use keyferry::domain::{Fact, KeyStatus, Person, PlanSpec, Status};
use keyferry::provider::Provider as _;
use keyferry::worker::Worker;

use super::life::Life;
use super::{A_WHILE, Story, deactivated, fact, registered};
use crate::support::db::{Bench, start};
use crate::support::on_both_stores;

on_both_stores!(any_order_and_number_of_the_same_events_ends_in_the_same_state);

const ORDERS: u64 = 25;

/// A lost phone and a kept one, and everything that anybody tells of them and of their keys: shuffled, repeated, with
/// two workers at it that now and then do something in between.
async fn any_order_and_number_of_the_same_events_ends_in_the_same_state(bench: Bench) {
    let seed = SystemEntropy.next_u64();
    println!("the orders of seed {seed:#018x}");
    for number in 0..ORDERS {
        let chance = SeededEntropy::new(seed.wrapping_add(number));
        let story = Story::numbered(&bench, number).await;
        one_order(&story, &chance).await;
    }
}

async fn one_order(story: &Story<'_>, chance: &dyn Entropy) {
    let stay = story.stay().await;
    let (lost, kept) = (story.sign_in(&stay).await, story.sign_in(&stay).await);
    story.pass(A_WHILE);
    story.deactivate(&lost).await;
    story.put("booking", &stay).await;
    let (_, other) = story.other_worker(Life::endless()).await;

    let mut told = of_people(story, &stay, &lost, &kept);
    // The customer's backend may name the person by its own key: that is another subject, so two workers meet.
    let person = Person::UserIdentityKey(story.guest_key(&stay).await);
    let by_key = Fact::PhoneRegistered { person, device_id: Some(kept.clone()), device_type: None };
    told.push(("kept registered, by key".to_owned(), by_key));
    deliver(story, &other, chance, &mut told).await;
    story.pass(A_WHILE);
    // Every event of the provider's, and all that people told once more.
    for event in story.client.list_events(start(), story.now()).await.expect("events") {
        if let Some(fact) = fact(&event.event_type, &event.body) {
            told.push((event.event_id.clone(), fact.clone()));
            told.push((format!("{}-again", event.event_id), fact));
        }
    }
    deliver(story, &other, chance, &mut told).await;

    story.ends_with(1).await;
    let keys = story.bench.store.phone_keys(&story.key("booking")).await.expect("keys");
    let keys: BTreeMap<String, KeyStatus> = keys.into_iter().map(|key| (key.device_id, key.status)).collect();
    let expected = BTreeMap::from([(lost.clone(), KeyStatus::Revoked), (kept.clone(), KeyStatus::Issued)]);
    assert_eq!((story.issuance("booking").await.status, keys), (Status::Issued, expected));
    let phones = story.bench.store.phones_of_person(&stay.user_identity_id).await.expect("phones");
    let phones: BTreeMap<String, bool> = phones.into_iter().map(|it| (it.device_id, it.is_active)).collect();
    assert_eq!(phones, BTreeMap::from([(lost, false), (kept, true)]));
    assert_eq!(story.parents_ever().await, 1);
}

fn of_people(story: &Story<'_>, stay: &PlanSpec, lost: &str, kept: &str) -> Vec<(String, Fact)> {
    let put = Fact::PlanPut { plan_key: story.key("booking"), user_identity_id: stay.user_identity_id.clone() };
    let told = [
        ("lost registered", registered(stay, lost)),
        ("lost registered", registered(stay, lost)),
        ("lost registered, again", registered(stay, lost)),
        ("lost deactivated", deactivated(lost)),
        ("lost deactivated, again", deactivated(lost)),
        ("kept registered", registered(stay, kept)),
        ("kept registered, again", registered(stay, kept)),
        ("plan put", put),
    ];
    told.into_iter().map(|(id, fact)| (id.to_owned(), fact)).collect()
}

/// Lets `told` come in, in an order of chance, with steps of either worker, of both at once, or of time in between.
async fn deliver(story: &Story<'_>, other: &Worker, chance: &dyn Entropy, told: &mut [(String, Fact)]) {
    for last in (1..told.len()).rev() {
        told.swap(last, below(chance, last + 1));
    }
    for (event_id, fact) in told.iter() {
        story.comes_in(event_id, fact.clone()).await;
        let (here, there) = match below(chance, 6) {
            0 => (true, false),
            1 => (false, true),
            2 => (true, true),
            3 => {
                story.pass(SignedDuration::from_secs(1));
                continue;
            }
            _ => continue,
        };
        let step = async |worker: &Worker, does: bool| if does { worker.step().await.map(drop) } else { Ok(()) };
        let (one, two) = tokio::join!(step(&story.worker, here), step(other, there));
        one.and(two).expect("steps");
    }
}

fn below(chance: &dyn Entropy, limit: usize) -> usize {
    usize::try_from(chance.next_u64() % u64::try_from(limit).expect("small")).expect("small")
}
