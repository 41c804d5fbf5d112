//! The order and the number of deliveries of the same events do not matter.
//!
//! Something happens between a plan and its end, and nobody hears of it but by the first registration. Then everything
//! that anybody has to tell of it comes in: once in the order in which it happened, and once shuffled, repeated, and with
//! two workers at it that now and then do something in between. Both must end alike.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use keyferry::clock::{Entropy, SeededEntropy, SystemEntropy, add};
use keyferry::domain::{Fact, KeyStatus, Person, PlanSpec, Status};
use keyferry::provider::Provider as _;
use keyferry::worker::Worker;
use serde_json::json;

use super::life::Life;
use super::{A_WHILE, Story, deactivated, fact, registered};
use crate::support::asked::asked_for;
use crate::support::db::{Bench, start};
use crate::support::on_both_stores;
use crate::support::say::say;

on_both_stores!(any_order_and_number_of_the_same_events_ends_in_the_same_state);

const CASES: u64 = 20;

/// What happens at the provider once the credential is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    PhoneComes,
    PhoneGoes,
    /// The credential is reissued for it.
    EndMoves,
    /// It is invalidated for it.
    Overridden,
    CredentialDeleted,
    AcsUserDeleted,
}

/// One case, as small as it has been made.
#[derive(Debug, Clone)]
struct Case {
    deeds: Vec<Deed>,
    /// How often each event comes in at most.
    copies: usize,
    workers: usize,
    /// The chance by which they are shuffled, and by which the workers take their steps.
    seed: u64,
}

impl Case {
    fn of(seed: u64) -> Self {
        let chance = SeededEntropy::new(seed);
        let some = [Deed::PhoneComes, Deed::PhoneGoes, Deed::EndMoves];
        let mut deeds: Vec<Deed> = (0..below(&chance, 5)).map(|_| some[below(&chance, some.len())]).collect();
        let last = [None, Some(Deed::Overridden), Some(Deed::CredentialDeleted), Some(Deed::AcsUserDeleted)];
        deeds.extend(last[below(&chance, last.len())]);
        Self { deeds, copies: 1 + below(&chance, 3), workers: 1 + below(&chance, 2), seed }
    }

    /// The same with a little less to it, in every way.
    fn smaller(&self) -> Vec<Self> {
        let without = |place: usize| {
            let mut deeds = self.deeds.clone();
            deeds.remove(place);
            Self { deeds, ..self.clone() }
        };
        let mut smaller: Vec<Self> = (0..self.deeds.len()).map(without).collect();
        if self.copies > 1 {
            smaller.push(Self { copies: self.copies - 1, ..self.clone() });
        }
        if self.workers > 1 {
            smaller.push(Self { workers: 1, ..self.clone() });
        }
        smaller
    }
}

/// How a case ends, in words that have no ids in them: phones by the order in which they came.
#[derive(Debug, PartialEq, Eq)]
struct End {
    status: Status,
    phones: Vec<(Option<bool>, Option<KeyStatus>)>,
    parents_ever: usize,
    waiting: i64,
    parked: usize,
    /// What the provider has, where it is not what we have.
    difference: Option<String>,
}

async fn any_order_and_number_of_the_same_events_ends_in_the_same_state(bench: Bench) {
    let seed = asked_for("KEYFERRY_ORDER_SEED").unwrap_or_else(|| SystemEntropy.next_u64());
    say(&format!("order: KEYFERRY_ORDER_SEED={seed}"));
    let mut number = 0;
    for case in 0..CASES {
        let case = Case::of(seed.wrapping_add(case));
        let Some(mut failed) = differs(&bench, &mut number, &case).await else { continue };
        let mut smallest = case;
        'smaller: loop {
            for smaller in smallest.smaller() {
                if let Some(told) = differs(&bench, &mut number, &smaller).await {
                    (smallest, failed) = (smaller, told);
                    continue 'smaller;
                }
            }
            panic!("{smallest:#?}\n{failed}");
        }
    }
}

/// How the order of a case differs in its end from the order of occurrence, if it does.
async fn differs(bench: &Bench, number: &mut u64, case: &Case) -> Option<String> {
    let mut ends = Vec::new();
    for is_shuffled in [false, true] {
        *number += 1;
        let story = Story::numbered(bench, *number).await;
        ends.push(play(&story, case, is_shuffled).await);
    }
    let is_alike = ends[0] == ends[1] && ends[0].difference.is_none();
    (!is_alike).then(|| format!("in the order of occurrence: {:#?}\nand otherwise: {:#?}", ends[0], ends[1]))
}

async fn play(story: &Story<'_>, case: &Case, is_shuffled: bool) -> End {
    let stay = story.overriding_stay().await;
    story.put("booking", &stay).await;
    let mut phones = vec![story.sign_in(&stay).await];
    story.comes_in("first", registered(&stay, &phones[0])).await;
    while story.step().await > 0 {}
    assert_eq!(story.issuance("booking").await.status, Status::Created);
    story.pass(A_WHILE);
    let mut told = vec![("first, told again".to_owned(), registered(&stay, &phones[0]))];
    for (place, deed) in case.deeds.iter().enumerate() {
        told.extend(happens(story, &stay, &mut phones, *deed, place).await);
    }
    // What people tell is told in its time; what the provider tells comes after it, as it happened.
    for event in story.client.list_events(start(), story.now()).await.expect("events") {
        // By name, and not once more by whoever listens: as something else it would contradict itself.
        story.heard.lock().expect("no panic under the lock").insert(event.event_id.clone());
        told.extend(fact(&event.event_type, &event.body).map(|fact| (event.event_id, fact)));
    }
    deliver(story, case, is_shuffled, told).await;
    story.settle().await;
    end(story, &phones).await
}

/// Returns what people tell of it.
async fn happens(
    story: &Story<'_>,
    stay: &PlanSpec,
    phones: &mut Vec<String>,
    deed: Deed,
    place: usize,
) -> Vec<(String, Fact)> {
    let id = story.issuance("booking").await.acs_credential_id.expect("a credential");
    let mut told = Vec::new();
    match deed {
        Deed::PhoneComes => {
            let device_id = story.sign_in(stay).await;
            told.push((format!("{place} registered"), registered(stay, &device_id)));
            // The customer's backend may name the person by its own key: another subject, so that two workers meet.
            let person = Person::UserIdentityKey(story.guest_key(stay).await);
            let fact = Fact::PhoneRegistered { person, device_id: Some(device_id.clone()), device_type: None };
            told.push((format!("{place} registered, by key"), fact));
            phones.push(device_id);
        }
        Deed::PhoneGoes => {
            let world = story.world().await;
            let rows = world["phones"].as_array().expect("phones");
            let is_there =
                |id: &&String| rows.iter().any(|it| it["device_id"] == id.as_str() && it["deleted_at"].is_null());
            if let Some(device_id) = phones.iter().find(is_there) {
                story.deactivate(device_id).await;
                told.push((format!("{place} deactivated"), deactivated(device_id)));
            }
        }
        Deed::EndMoves => {
            let ends_at = add(story.now(), SignedDuration::from_hours(80));
            let body = json!({"acs_credential_id": id, "ends_at": format!("{ends_at:.3}")});
            story.seam("/acs/credentials/update", &body).await;
        }
        Deed::Overridden => {
            let mut body = serde_json::to_value(stay).expect("JSON");
            let fields = body.as_object_mut().expect("an object");
            fields.remove("user_identity_id");
            fields.insert("is_multi_phone_sync_credential".to_owned(), json!(false));
            story.seam("/acs/credentials/create", &body).await;
        }
        Deed::CredentialDeleted => drop(story.seam("/acs/credentials/delete", &json!({"acs_credential_id": id})).await),
        Deed::AcsUserDeleted => drop(story.seam("/acs/users/delete", &json!({"acs_user_id": stay.acs_user_id})).await),
    }
    story.pass(A_WHILE);
    told
}

/// Lets `told` come in, with steps of either worker, of both at once, or of time in between.
async fn deliver(story: &Story<'_>, case: &Case, is_shuffled: bool, mut told: Vec<(String, Fact)>) {
    let chance = SeededEntropy::new(case.seed);
    let other = story.other_worker(Life::endless()).await.1;
    if is_shuffled {
        // Once more, or under another id: a sender that does not know that it has told already.
        for copy in 1..case.copies {
            for (event_id, fact) in told.clone() {
                let again = if below(&chance, 2) == 0 { format!("{event_id}, again {copy}") } else { event_id };
                told.push((again, fact));
            }
        }
        for last in (1..told.len()).rev() {
            told.swap(last, below(&chance, last + 1));
        }
    }
    for (event_id, fact) in told {
        story.comes_in(&event_id, fact).await;
        if is_shuffled {
            step(story, case, &chance, &other).await;
        } else {
            story.step().await;
        }
    }
}

async fn step(story: &Story<'_>, case: &Case, chance: &dyn Entropy, other: &Worker) {
    let (here, there) = match below(chance, 6) {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        3 => return story.pass(SignedDuration::from_secs(1)),
        _ => return,
    };
    let step = async |worker: &Worker, does: bool| if does { worker.step().await.map(drop) } else { Ok(()) };
    let (one, two) = tokio::join!(step(&story.worker, here), step(other, there && case.workers > 1));
    one.and(two).expect("steps");
}

async fn end(story: &Story<'_>, phones: &[String]) -> End {
    let kept = &story.bench.store;
    let keys = kept.phone_keys(&story.key("booking")).await.expect("keys");
    let keys: BTreeMap<String, KeyStatus> = keys.into_iter().map(|key| (key.device_id, key.status)).collect();
    let mut known = Vec::new();
    for device_id in phones {
        let phone = kept.phone(device_id).await.expect("a read");
        known.push((phone.map(|phone| phone.is_active), keys.get(device_id).copied()));
    }
    let counts = kept.inbox_counts().await.expect("counts");
    let (ours, mut theirs) = (story.ours().await, story.theirs().await);
    // What the hotel's own people made in the course of the case is none of ours.
    let own = story.issuance("booking").await.acs_credential_id;
    theirs.retain(|id, _| Some(id) == own.as_ref());
    End {
        status: story.issuance("booking").await.status,
        phones: known,
        parents_ever: story.parents_ever().await,
        waiting: counts.waiting + counts.retrying + counts.in_flight,
        parked: kept.parked(0, 10).await.expect("parked").len(),
        difference: (ours != theirs).then(|| format!("{theirs:?}, and ours {ours:?}")),
    }
}

fn below(chance: &dyn Entropy, limit: usize) -> usize {
    usize::try_from(chance.next_u64() % u64::try_from(limit).expect("small")).expect("small")
}
