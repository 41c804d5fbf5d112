//! The inbox: once each, one at a time per person, and only for as long as the lease holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use keyferry::clock::SystemEntropy;
use keyferry::domain::{Fact, Outcome, Person};
use keyferry::queue::{Content, Envelope, Inbox as _};
use keyferry::store::{Change, RecordError, Settled, Store};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{envelope, ids, registered};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    an_event_is_kept_once_however_often_it_comes,
    what_asks_nothing_of_us_is_recorded_and_ignored,
    events_of_one_person_are_in_one_pair_of_hands,
    a_claim_takes_no_more_than_asked_and_the_longest_due_first,
    a_lease_that_passed_gives_no_right_to_record,
    a_renewed_lease_holds,
    a_retry_is_due_when_it_said_and_lets_others_pass,
    a_parked_event_can_be_released_or_discarded,
    an_unreadable_delivery_is_parked_once_with_its_bytes,
    another_event_under_a_taken_id_is_put_aside,
    many_claimers_never_share_an_event,
    a_newer_receivers_fact_is_handed_out_as_not_understood,
    reports_of_the_same_wait_with_the_first_and_end_with_it,
    twins_of_what_is_tried_again_or_lost_have_their_own_turn,
    what_ends_at_the_same_time_is_recorded_together_and_each_under_its_own_lease,
    a_crowd_at_the_head_of_the_line_holds_up_nobody_else,
    a_claim_says_whether_somebody_was_left_in_the_line,
);

async fn an_event_is_kept_once_however_often_it_comes(bench: Bench) {
    let now = bench.now();
    bench.accept(vec![registered("e1", "jane", now), registered("e1", "jane", now)]).await;
    bench.accept(vec![registered("e1", "jane", now), registered("e2", "joe", now)]).await;
    let (first, second) = (bench.store.clone(), bench.other_process().await);
    let (one, two) = tokio::join!(
        first.accept(vec![registered("e3", "ann", now), registered("e4", "bob", now)]),
        second.accept(vec![registered("e4", "bob", now), registered("e3", "ann", now)]),
    );
    one.and(two).expect("both accept");
    assert_eq!(bench.kinds().await, ["event.received"; 4]);
    assert_eq!(bench.store.inbox_counts().await.expect("counts").waiting, 4);
}

async fn what_asks_nothing_of_us_is_recorded_and_ignored(bench: Bench) {
    bench.accept(vec![envelope("e1", "acs_system.connected", Fact::Other, bench.now())]).await;
    assert_eq!(bench.kinds().await, ["event.received", "event.ignored"]);
    assert_eq!(ids(&bench.claim(10).await), [""; 0]);
    assert_eq!(bench.store.events("e1").await.expect("events")[0].state, "ignored");
}

async fn events_of_one_person_are_in_one_pair_of_hands(bench: Bench) {
    let now = bench.now();
    bench
        .accept(vec![registered("a1", "jane", now), registered("a2", "jane", now), registered("b1", "joe", now)])
        .await;
    let first = bench.claim(10).await;
    assert_eq!(ids(&first), ["a1", "b1"], "one of each person");
    assert_eq!(ids(&bench.claim(10).await), [""; 0], "jane's second waits for her first");
    bench.end(&first[0], Outcome::Done).await;
    assert_eq!(ids(&bench.claim(10).await), ["a2"]);
}

async fn a_claim_takes_no_more_than_asked_and_the_longest_due_first(bench: Bench) {
    for (index, person) in ["a", "b", "c"].into_iter().enumerate() {
        bench.accept(vec![registered(&format!("e{index}"), person, bench.now())]).await;
        bench.advance_seconds(1);
    }
    assert_eq!(ids(&bench.claim(2).await), ["e0", "e1"]);
    assert_eq!(ids(&bench.claim(2).await), ["e2"]);
}

async fn a_lease_that_passed_gives_no_right_to_record(bench: Bench) {
    bench.accept(vec![registered("e1", "jane", bench.now())]).await;
    let slow = bench.claim(1).await.remove(0);
    bench.advance_seconds(15);
    let late = Change { outcome: Some(Outcome::Done), ..Change::default() };
    let refused = bench.store.record(&slow, bench.now(), late.clone()).await;
    assert!(matches!(refused, Err(RecordError::LeaseLost(_))), "passed, although nobody has taken over yet");

    let quick = bench.claim(1).await.remove(0);
    assert_eq!((quick.event_id.as_str(), quick.attempt), ("e1", 2));
    let refused = bench.store.record(&slow, bench.now(), late).await;
    assert!(matches!(refused, Err(RecordError::LeaseLost(_))), "somebody else has it");
    bench.end(&quick, Outcome::Done).await;
    assert_eq!(bench.kinds().await, ["event.received", "event.done"]);
}

async fn a_renewed_lease_holds(bench: Bench) {
    bench.accept(vec![registered("e1", "jane", bench.now())]).await;
    let claimed = bench.claim(1).await.remove(0);
    for _ in 0..3 {
        bench.advance_seconds(10);
        let until = keyferry::clock::add(bench.now(), SignedDuration::from_secs(15));
        assert!(bench.store.renew(&claimed, bench.now(), until).await.expect("renewed"));
    }
    assert_eq!(ids(&bench.claim(1).await), [""; 0]);
    bench.advance_seconds(15);
    let until = keyferry::clock::add(bench.now(), SignedDuration::from_secs(15));
    assert!(!bench.store.renew(&claimed, bench.now(), until).await.expect("asked"), "too late is too late");
}

async fn a_retry_is_due_when_it_said_and_lets_others_pass(bench: Bench) {
    let now = bench.now();
    bench.accept(vec![registered("a1", "jane", now), registered("a2", "jane", now)]).await;
    let claimed = bench.claim(1).await.remove(0);
    let why = "the provider is down".to_owned();
    bench.end(&claimed, Outcome::Retry { after: SignedDuration::from_secs(30), why }).await;
    let other = bench.claim(5).await;
    assert_eq!(ids(&other), ["a2"], "a later event need not wait behind a retry");
    bench.end(&other[0], Outcome::Done).await;

    let counts = bench.store.inbox_counts().await.expect("counts");
    assert_eq!((counts.waiting, counts.retrying, counts.in_flight), (0, 1, 0));
    assert_eq!(counts.reasons, [("the provider is down".to_owned(), 1)]);
    bench.advance_seconds(29);
    assert_eq!(ids(&bench.claim(5).await), [""; 0]);
    bench.advance_seconds(1);
    assert_eq!(bench.claim(5).await[0].attempt, 2);
}

async fn a_parked_event_can_be_released_or_discarded(bench: Bench) {
    let now = bench.now();
    bench.accept(vec![registered("a1", "jane", now), registered("b1", "joe", now)]).await;
    for claimed in bench.claim(5).await {
        bench.end(&claimed, Outcome::Park { why: "refused".to_owned() }).await;
    }
    let parked = bench.store.parked(0, 10).await.expect("parked");
    assert_eq!(parked.len(), 2);
    assert_eq!(parked[0].body, b"{\"event_id\":\"a1\"}", "its bytes are the event's");

    let event = parked[0].event.clone().expect("an event");
    assert_eq!(bench.store.release_event(&parked[0], &event).await.expect("released"), Settled::Done);
    assert_eq!(bench.store.release_event(&parked[0], &event).await.expect("released"), Settled::NotParked);
    assert_eq!(bench.store.discard(&parked[1]).await.expect("discarded"), Settled::Done);

    let again = bench.claim(5).await;
    assert_eq!((ids(&again), again[0].attempt), (vec!["a1"], 1), "all its attempts are before it again");
    assert_eq!(bench.store.parked_count().await.expect("count"), 0);
    assert_eq!(bench.kinds().await[4..], ["event.released", "event.discarded"]);
}

async fn an_unreadable_delivery_is_parked_once_with_its_bytes(bench: Bench) {
    let unreadable = || Envelope {
        delivery_id: "msg_1".to_owned(),
        received_at: bench.now(),
        traceparent: None,
        proof: None,
        body: b"\xff not JSON \x00".as_slice().into(),
        content: Content::Unreadable {
            source: "seam".to_owned(),
            why: "it is not UTF-8".to_owned(),
            headers: BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]),
        },
    };
    bench.accept(vec![unreadable()]).await;
    bench.accept(vec![unreadable(), unreadable()]).await;
    assert_eq!(bench.kinds().await, ["event.parked"]);
    let item = bench.store.parked(0, 10).await.expect("parked").remove(0);
    assert_eq!(item.body, b"\xff not JSON \x00");
    assert_eq!(item.headers["content-type"], "application/json");
    assert!(item.event.is_none());

    let readable = registered("e1", "jane", bench.now());
    assert_eq!(bench.store.release_delivery(&item, vec![readable]).await.expect("released"), Settled::Done);
    assert_eq!(ids(&bench.claim(5).await), ["e1"], "it came in as if sent again");
}

async fn another_event_under_a_taken_id_is_put_aside(bench: Bench) {
    let now = bench.now();
    let says = |body: &str, envelope: Envelope| Envelope { body: body.to_owned().into(), ..envelope };
    bench.accept(vec![registered("e1", "jane", now), registered("e2", "ann", now)]).await;

    let later = keyferry::clock::add(now, SignedDuration::from_secs(1));
    let fuller = Fact::PhoneRegistered {
        person: Person::UserIdentityId("jane".to_owned()),
        device_id: None,
        device_type: Some("ios_phone".to_owned()),
    };
    let copies = vec![registered("e1", "jane", later), envelope("e1", "phone.registered", fuller, later)];
    bench.accept(copies).await;
    assert_eq!(bench.kinds().await, ["event.received"; 2], "the same again, whatever its time and its bytes");

    let strangers = || {
        vec![
            says("joe under her id", registered("e1", "joe", now)),
            says("bob under her id", registered("e1", "bob", now)),
            says("another type", envelope("e2", "phone.deactivated", Fact::Other, now)),
            registered("e3", "eve", now),
        ]
    };
    bench.accept(strangers()).await;
    bench.accept(strangers()).await;
    assert_eq!(bench.kinds().await[2..], ["event.received", "event.parked", "event.parked", "event.parked"]);
    let parked = bench.store.parked(0, 10).await.expect("parked");
    let bodies: Vec<_> = parked.iter().map(|item| str::from_utf8(&item.body).expect("text")).collect();
    assert_eq!(bodies.len(), 3, "each once, although two came in one delivery: {bodies:?}");
    for body in ["joe under her id", "bob under her id", "another type"] {
        assert!(bodies.contains(&body), "{body}: {bodies:?}");
    }
    let released = bench.store.release_delivery(&parked[0], vec![registered("e1", "joe", now)]).await;
    assert_eq!(released.expect("an answer"), Settled::IdTaken);
    let people: Vec<_> = bench.claim(10).await.into_iter().map(|event| event.fact.expect("a fact").subject()).collect();
    let firsts = ["jane", "ann", "eve"].map(|person| Some(format!("user_identity:{person}")));
    assert_eq!(people, firsts, "the first ones count");
}

async fn many_claimers_never_share_an_event(bench: Bench) {
    let now = bench.now();
    let events: Vec<_> = (0..60).map(|n| registered(&format!("e{n:02}"), &format!("person-{}", n % 20), now)).collect();
    bench.accept(events).await;
    let others = [bench.other_process().await, bench.other_process().await, bench.store.clone()];
    let until = keyferry::clock::add(now, SignedDuration::from_secs(15));
    let claims = others.iter().cycle().take(12).map(|store| store.claim(now, until, 3));
    let mut claimed = Vec::new();
    for claim in futures_util::future::join_all(claims).await {
        claimed.extend(claim.expect("a claim").events);
    }
    let mut people: Vec<_> = claimed.iter().map(|event| event.fact.as_ref().expect("a fact").subject()).collect();
    people.sort();
    people.dedup();
    assert_eq!((claimed.len(), people.len()), (20, 20), "each person once, whoever asks");
}

async fn a_newer_receivers_fact_is_handed_out_as_not_understood(bench: Bench) {
    bench.accept(vec![registered("e1", "jane", bench.now())]).await;
    let newer = "UPDATE inbox SET fact = '{\"fact\":\"teleported\"}'";
    bench.execute(newer).await;
    let claimed = bench.claim(1).await.remove(0);
    assert!(claimed.fact.expect_err("not understood").contains("teleported"));
}

fn reported(event_id: &str, acs_credential_id: &str, bench: &Bench) -> Envelope {
    let fact = Fact::CredentialChanged { acs_credential_id: acs_credential_id.to_owned() };
    envelope(event_id, "acs_credential.issued", fact, bench.now())
}

async fn reports_of_the_same_wait_with_the_first_and_end_with_it(bench: Bench) {
    let now = bench.now();
    bench.accept(vec![reported("r1", "c", &bench), reported("other", "d", &bench), reported("r2", "c", &bench)]).await;
    bench.accept(vec![registered("a1", "jane", now), registered("a2", "jane", now), reported("r3", "c", &bench)]).await;
    let claimed = bench.claim(10).await;
    let mut firsts = ids(&claimed);
    firsts.sort_unstable();
    assert_eq!(firsts, ["a1", "other", "r1"]);
    let first = claimed.iter().find(|event| event.event_id == "r1").expect("claimed");
    assert_eq!(first.twins.len(), 2);
    assert!(claimed.iter().all(|event| event.event_id == "r1" || event.twins.is_empty()), "a registration is an act");
    bench.accept(vec![reported("late", "c", &bench)]).await;

    bench.end(first, Outcome::Done).await;
    let done = |event_id: &'static str| {
        let store = bench.store.clone();
        async move { store.events(event_id).await.expect("events").remove(0).state }
    };
    assert_eq!([done("r1").await, done("r2").await, done("r3").await], ["done"; 3]);
    assert_eq!([done("late").await, done("a2").await], ["due"; 2], "what came after the reading began is not answered");
    let lines = bench.store.ledger(0, 100).await.expect("a ledger");
    let ended: Vec<_> = lines.iter().filter(|line| line.kind == "event.done").map(|line| &line.event_id).collect();
    assert_eq!(ended, [&Some("r1".to_owned()), &Some("r2".to_owned()), &Some("r3".to_owned())]);
}

async fn twins_of_what_is_tried_again_or_lost_have_their_own_turn(bench: Bench) {
    bench.accept(vec![reported("r1", "c", &bench), reported("r2", "c", &bench), reported("r3", "c", &bench)]).await;
    let first = bench.claim(10).await.remove(0);
    let why = "the provider is down".to_owned();
    bench.end(&first, Outcome::Retry { after: SignedDuration::from_secs(30), why }).await;
    let second = bench.claim(10).await.remove(0);
    assert_eq!((second.event_id.as_str(), second.attempt, second.twins.len()), ("r2", 1, 1));

    bench.advance_seconds(15);
    let third = bench.claim(10).await.remove(0);
    assert_eq!((third.event_id.as_str(), third.attempt, third.twins.len()), ("r2", 2, 1), "its lease has passed");
    let late = Change { outcome: Some(Outcome::Done), ..Change::default() };
    let refused = bench.store.record(&second, bench.now(), late).await;
    assert!(matches!(refused, Err(RecordError::LeaseLost(_))));
    assert_eq!(bench.kinds().await[3..], ["event.retry"], "nothing of it, for the twins neither");
    bench.end(&third, Outcome::Ignored { why: "it belongs to nobody".to_owned() }).await;
    assert_eq!(bench.kinds().await[4..], ["event.ignored"; 2]);
    bench.advance_seconds(15);
    assert_eq!(ids(&bench.claim(10).await), ["r1"]);
}

async fn what_ends_at_the_same_time_is_recorded_together_and_each_under_its_own_lease(bench: Bench) {
    let now = bench.now();
    let people = ["ann", "bob", "joe", "sue", "tim"];
    bench.accept(people.map(|person| registered(&format!("e-{person}"), person, now)).into()).await;
    let slow = bench.claim(1).await.remove(0);
    bench.advance_seconds(15);
    let others = bench.claim(10).await;
    assert_eq!(others.len(), 5, "the slow one's lease has passed");
    let outcomes = [
        Outcome::Done,
        Outcome::Ignored { why: "nobody".to_owned() },
        Outcome::Retry { after: SignedDuration::from_secs(1), why: "busy".to_owned() },
        Outcome::Park { why: "refused".to_owned() },
        Outcome::Await { after: SignedDuration::from_secs(2), why: "away".to_owned(), is_counted: false },
    ];
    let late = (&slow, Outcome::Done);
    let endings = others.iter().zip(outcomes).chain([late]).map(|(claimed, outcome)| {
        let change = Change { outcome: Some(outcome), ..Change::default() };
        bench.store.record(claimed, bench.now(), change)
    });
    let recorded = futures_util::future::join_all(endings).await;
    assert!(recorded[..5].iter().all(Result::is_ok), "{recorded:?}");
    assert!(matches!(recorded[5], Err(RecordError::LeaseLost(_))), "{recorded:?}");

    let kinds = bench.kinds().await.split_off(5);
    assert_eq!(kinds, ["event.done", "event.ignored", "event.retry", "event.parked"]);
    let numbers: Vec<i64> = bench.store.ledger(0, 100).await.expect("a ledger").iter().map(|line| line.seq).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    assert_eq!(bench.store.parked_count().await.expect("a count"), 1);
    bench.advance_seconds(2);
    let again: Vec<_> = bench.claim(10).await.into_iter().map(|event| (event.event_id, event.attempt)).collect();
    assert_eq!(
        again,
        [("e-joe".to_owned(), 2), ("e-tim".to_owned(), 1)],
        "an attempt that does not count is given back"
    );
}

async fn a_crowd_at_the_head_of_the_line_holds_up_nobody_else(bench: Bench) {
    let now = bench.now();
    for part in 0..4 {
        let crowd = (0..500).map(|n| registered(&format!("crowd-{part}-{n:03}"), "jane", now));
        bench.accept(crowd.collect()).await;
    }
    bench.advance_seconds(1);
    bench.accept(vec![registered("e1", "joe", bench.now()), registered("e2", "ann", bench.now())]).await;
    assert_eq!(bench.claim(64).await.len(), 3, "each person once");
}

async fn a_claim_says_whether_somebody_was_left_in_the_line(bench: Bench) {
    let now = bench.now();
    let claim = async |limit: u32| {
        let claim = bench.whole_claim(limit).await;
        (claim.events, claim.is_one_left)
    };
    assert_eq!(claim(10).await, (vec![], false));
    bench.accept(vec![registered("a1", "jane", now), registered("a2", "jane", now), registered("b", "joe", now)]).await;
    let (first, is_one_left) = claim(10).await;
    assert!(is_one_left, "jane's second waits for her first");
    assert_eq!(claim(10).await, (vec![], true), "and still does");
    bench.end(&first[0], Outcome::Done).await;
    assert!(matches!(claim(10).await, (second, false) if ids(&second) == ["a2"]));

    bench.accept(["c", "d", "e"].map(|person| registered(person, person, now)).into()).await;
    assert!(claim(2).await.1, "there was no room for the third");
    assert!(!claim(1).await.1);

    bench.accept(vec![reported("r1", "f", &bench), reported("r2", "f", &bench)]).await;
    bench.store.arrival().await;
    let (reports, is_one_left) = claim(10).await;
    assert!(!is_one_left, "the second ends with the first");
    let why = "the provider is down".to_owned();
    bench.end(&reports[0], Outcome::Retry { after: SignedDuration::from_secs(30), why }).await;
    assert_eq!(bench.store.arrival().now_or_never(), Some(()), "unless that has to be tried again");
}

#[tokio::test]
async fn a_claim_that_is_not_let_in_leaves_a_connection_that_can_be_used() {
    let bench = Bench::postgres().await;
    let entropy = Arc::new(SystemEntropy);
    let store = Store::open(&bench.url, 1, Arc::new(bench.clock.clone()), entropy).await.expect("a store");
    let mut holder = PgConnection::connect(&bench.url).await.expect("a connection");
    // The lock of all claims, held by a worker that stands still.
    holder.execute("SELECT pg_advisory_lock(x'6b660001'::bigint)").await.expect("locked");
    let until = keyferry::clock::add(bench.now(), SignedDuration::from_secs(15));
    let refused = store.claim(bench.now(), until, 1).await.expect_err("it is not let in");
    assert!(refused.to_string().contains("lock timeout"), "{refused}");
    assert_eq!(store.inbox_counts().await.expect("the only connection works").waiting, 0);
}
