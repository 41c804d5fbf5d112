//! The pace of calls to the provider: outages, rests, one person's trouble, and limits that all processes share.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use keyferry::domain::{PlanSpec, Status};
use keyferry::provider::{Provider as _, ProviderError};
use keyferry::worker::pace::{self, Rate, Standing};
use keyferry::worker::{Settings, Worker};

use super::life::Life;
use super::line::{Line, Side};
use super::{Story, registered, staff, unavailable};
use crate::support::db::Bench;
use crate::support::on_both_stores;
use crate::support::wait;

on_both_stores!(
    an_outage_of_hours_costs_nobody_an_attempt_and_is_over_within_seconds_of_its_end,
    a_person_who_is_alone_in_an_outage_is_not_parked_either,
    a_retry_after_is_obeyed_by_all,
    a_probe_that_fails_for_its_own_person_leaves_the_next_to_another,
    one_persons_trouble_does_not_hold_up_others,
    the_rate_is_one_for_all_processes_and_survives_a_clock_that_is_set_back,
    a_create_waits_for_its_slot_before_its_intent,
    all_processes_together_have_no_more_in_hand_than_allowed,
);

/// The longest wait between two probes, spread included.
const PROBED_BY_THEN: SignedDuration = SignedDuration::from_secs(36);

fn no_connection() -> ProviderError {
    let why = "no connection: Connection refused".to_owned();
    ProviderError::Transient { call: "/phones/list", why, retry_after: None }
}

/// A plan and a phone for the `index`th guest, whose registration has come in.
async fn arrives(story: &Story<'_>, index: usize) -> PlanSpec {
    let stay = story.stay_of(index).await;
    story.put(&name(index), &stay).await;
    registers(story, index, &stay, "registered").await;
    stay
}

fn name(index: usize) -> String {
    format!("booking-{index}")
}

async fn registers(story: &Story<'_>, index: usize, stay: &PlanSpec, what: &str) {
    let device_id = story.sign_in(stay).await;
    story.comes_in(&format!("{what}-{index}"), registered(stay, &device_id)).await;
}

/// Steps until nothing is due, without a moment passing.
async fn work_through(worker: &Worker) {
    while worker.step().await.expect("a step") > 0 {}
}

async fn created(story: &Story<'_>, indices: std::ops::Range<usize>) -> bool {
    for index in indices {
        if !matches!(story.issuance(&name(index)).await.status, Status::Created | Status::Issued) {
            return false;
        }
    }
    true
}

async fn retries(bench: &Bench) -> usize {
    let lines = bench.store.ledger(0, 10_000).await.expect("a ledger");
    lines.iter().filter(|line| line.kind == "event.retry").count()
}

async fn an_outage_of_hours_costs_nobody_an_attempt_and_is_over_within_seconds_of_its_end(bench: Bench) {
    let story = Story::new(&bench).await;
    // One has been tried often before, and would wait for a quarter of an hour after its next failure.
    arrives(&story, 0).await;
    bench.execute("UPDATE inbox SET attempts = 10").await;
    story.line.is_away(Some(no_connection()));
    story.step().await;
    for index in 1..3 {
        arrives(&story, index).await;
    }

    story.line.calls();
    let rounds = 2 * 60;
    for _ in 0..rounds {
        story.pass(SignedDuration::from_mins(1));
        assert!(story.step().await <= 3);
    }
    let Standing::Away { why, .. } = story.worker.paced().standing() else { panic!("the breaker is open") };
    assert_eq!(why, "/phones/list: no connection: Connection refused");
    let calls = story.line.calls().len();
    assert!((rounds..rounds + 10).contains(&calls), "{calls} calls: one for each probe");
    assert!(retries(&bench).await < 5, "the ledger tells of the failures before the breaker opened, and of no more");
    let counts = bench.store.inbox_counts().await.expect("counts");
    assert!(counts.reasons.iter().any(|(reason, _)| reason.contains(&why)), "{counts:?}");
    for index in 0..3 {
        let event = bench.store.events(&story.key(&format!("registered-{index}"))).await.expect("events").remove(0);
        assert!(event.state == "due" && event.attempts < 15, "{event:?}");
    }

    story.line.is_away(None);
    story.pass(PROBED_BY_THEN);
    work_through(&story.worker).await;
    assert!(created(&story, 0..3).await, "all flowed at once, also what had long to wait");
    story.ends_with(3).await;
}

/// With one person alone nobody can tell whose trouble it is: that person gets the benefit of the doubt.
async fn a_person_who_is_alone_in_an_outage_is_not_parked_either(bench: Bench) {
    let story = Story::new(&bench).await;
    arrives(&story, 0).await;
    story.line.is_away(Some(no_connection()));
    for _ in 0..200 {
        story.step().await;
        story.pass(PROBED_BY_THEN);
    }
    assert!(matches!(story.worker.paced().standing(), Standing::Suspected { .. }));
    story.line.is_away(None);
    work_through(&story.worker).await;
    assert!(created(&story, 0..1).await);
    story.ends_with(1).await;
}

async fn a_retry_after_is_obeyed_by_all(bench: Bench) {
    let story = Story::new(&bench).await;
    arrives(&story, 0).await;
    story.line.says(Side::Before, "phones_of_person", unavailable(Some(Duration::from_secs(20))));
    story.step().await;
    for index in 1..3 {
        arrives(&story, index).await;
    }
    story.line.calls();
    story.pass(SignedDuration::from_secs(19));
    assert_eq!(story.step().await, 0, "nothing is even claimed");
    assert!(matches!(story.worker.paced().get_phone("p").await, Err(ProviderError::Held { .. })));
    assert_eq!(story.line.calls(), [""; 0]);
    assert!(matches!(story.worker.paced().standing(), Standing::Resting { .. }));
    assert_eq!(retries(&bench).await, 0);
    story.pass(SignedDuration::from_secs(1));
    work_through(&story.worker).await;
    assert!(created(&story, 0..3).await);
    story.ends_with(3).await;
}

async fn a_probe_that_fails_for_its_own_person_leaves_the_next_to_another(bench: Bench) {
    let story = Story::new(&bench).await;
    story.line.is_away(Some(no_connection()));
    let troubled = arrives(&story, 0).await;
    arrives(&story, 1).await;
    for _ in 0..10 {
        story.step().await;
        story.pass(PROBED_BY_THEN);
    }
    assert!(matches!(story.worker.paced().standing(), Standing::Away { .. }));
    story.line.is_away(None);
    story.line.is_in_trouble(&troubled.user_identity_id);
    // Of both persons two events wait, and each of them may be the first.
    for _ in 0..3 {
        story.step().await;
        story.pass(PROBED_BY_THEN);
    }
    work_through(&story.worker).await;
    assert_eq!(story.worker.paced().standing(), Standing::Working);
    assert!(created(&story, 1..2).await);
    assert!(!created(&story, 0..1).await);
}

async fn one_persons_trouble_does_not_hold_up_others(bench: Bench) {
    let story = Story::new(&bench).await;
    let troubled = arrives(&story, 0).await;
    story.line.is_in_trouble(&troubled.user_identity_id);
    for number in 0..20 {
        registers(&story, 0, &troubled, &format!("again-{number}")).await;
    }
    // Alone for a while, and failing all the time.
    for _ in 0..20 {
        story.step().await;
        story.pass(SignedDuration::from_secs(5));
    }
    assert!(matches!(story.worker.paced().standing(), Standing::Suspected { .. }));
    for index in 1..3 {
        arrives(&story, index).await;
    }
    // Each step takes up one event of every person. Two for each of the others: the plan, and the phone.
    for _ in 0..3 {
        story.step().await;
    }
    assert!(created(&story, 1..3).await, "not a moment has passed");
    assert_eq!(story.worker.paced().standing(), Standing::Working);
    let event = bench.store.events(&story.key("registered-0")).await.expect("events").remove(0);
    assert_eq!((event.state.as_str(), event.why.as_deref().is_some_and(|why| why.contains("10000 ms"))), ("due", true));
}

fn with_rate(per_second: u32, burst: u32) -> Settings {
    let pace = pace::Settings { rate: Some(Rate { per_second, burst }), ..pace::Settings::default() };
    Settings { pace, ..Settings::default() }
}

async fn made(lines: [&Line; 2], count: usize) {
    let mut total = 0;
    wait::until("the calls", async || {
        total += lines.iter().map(|line| line.calls().len()).sum::<usize>();
        (total >= count).then_some(())
    })
    .await;
    // Whoever else might begin too early has had the time for it.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    total += lines.iter().map(|line| line.calls().len()).sum::<usize>();
    assert_eq!(total, count);
}

async fn the_rate_is_one_for_all_processes_and_survives_a_clock_that_is_set_back(bench: Bench) {
    let story = Story::new(&bench).await;
    let settings = with_rate(10, 5);
    let staffed = [bench.store.clone(), bench.other_process().await]
        .map(|store| staff(&bench, store, &story.client, &settings, Life::endless()));
    let [(one, first), (other, second)] = &staffed;
    let call = |worker: &Worker| {
        let paced = worker.paced();
        tokio::spawn(async move { drop(paced.get_phone("nobody's").await) })
    };
    let calls: Vec<_> = (0..8).map(|number| call(if number % 2 == 0 { first } else { second })).collect();
    made([one, other], 5).await;
    let used = first.paced().rate_use().await.expect("read").expect("a limit");
    assert_eq!(used.burst_used, 5);
    for _ in 5..8 {
        story.pass(SignedDuration::from_millis(100));
        made([one, other], 1).await;
    }
    futures_util::future::join_all(calls).await;

    // As if the clock had been an hour ahead: the next call waits no longer than a full house could make it wait.
    bench.execute("UPDATE provider_calls SET spoken_for_us = spoken_for_us + 3600000000").await;
    let waiting = call(first);
    let slept = Arc::new(bench.clock.clone());
    wait::until("the call that waits", async || {
        slept.advance(SignedDuration::from_millis(100));
        waiting.is_finished().then_some(())
    })
    .await;
    let spoken_for = bench.store.calls_spoken_for().await.expect("read");
    let ahead = spoken_for - story.now().as_microsecond();
    assert!(ahead < 60_000_000, "{ahead} µs are spoken for");
}

async fn a_create_waits_for_its_slot_before_its_intent(bench: Bench) {
    let story = Story::new(&bench).await;
    arrives(&story, 0).await;
    let (line, worker) = staff(&bench, bench.store.clone(), &story.client, &with_rate(1, 1), Life::endless());
    let clock = bench.clock.clone();
    let working = tokio::spawn(async move { while worker.step().await.expect("a step") > 0 {} });
    wait::until("the work", async || {
        // Less than a lease lets pass.
        clock.advance(SignedDuration::from_millis(200));
        working.is_finished().then_some(())
    })
    .await;
    let calls = line.calls();
    assert_eq!(calls.iter().filter(|call| **call == "create_credential").count(), 1, "{calls:?}");
    let told = story.told(&name(0)).await;
    assert_eq!(told.iter().filter(|kind| *kind == "issuance.creating").count(), 1, "no intent went to waste: {told:?}");
    story.ends_with(1).await;
}

async fn all_processes_together_have_no_more_in_hand_than_allowed(bench: Bench) {
    let story = Story::new(&bench).await;
    for index in 0..3 {
        story.put(&name(index), &story.stay_of(index).await).await;
    }
    let (one, other) = (bench.store.clone().with_in_flight_max(2), bench.other_process().await.with_in_flight_max(2));
    let (now, until) = (story.now(), keyferry::clock::add(story.now(), story.settings.lease));
    let (first, second) = tokio::join!(one.claim(now, until, 2), other.claim(now, until, 2));
    let (first, second) = (first.expect("claimed").events, second.expect("claimed").events);
    assert_eq!(first.len() + second.len(), 2);
    assert_eq!(one.claim(now, until, 10).await.expect("claimed").events, []);
    let done = keyferry::store::Change { outcome: Some(keyferry::domain::Outcome::Done), ..Default::default() };
    one.record(first.first().or(second.first()).expect("one"), now, done).await.expect("recorded");
    assert_eq!(other.claim(now, until, 10).await.expect("claimed").events.len(), 1);
    story.pass(story.settings.lease);
    assert_eq!(
        one.claim(story.now(), until, 10).await.expect("claimed").events.len(),
        2,
        "leases that passed are out no more"
    );
}
