//! The worker dies at each of its effects in turn, and another one takes over when its lease has passed: it ends as it
//! would have if nobody had died.
//!
//! What is died at is enumerated by a life that nothing disturbs. It may have no two commits without an effect between
//! them, and every call of the provider's that a worker makes must occur in one of the scenes: so a new effect is died
//! at on both sides, or this suite fails.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::add;
use keyferry::domain::plan::{Create, Enrollment};
use keyferry::domain::{Fact, KeyStatus, Person, PlanSpec, Status};
use keyferry::provider::Provider as _;
use keyferry::sweep::{self, Due};
use keyferry::worker::Settings;

use super::life::{Life, LivedClock};
use super::line::Side;
use super::{Story, changed, lost, registered, staff};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    whoever_dies_while_a_phone_gets_its_key,
    whoever_dies_while_a_plan_is_cancelled,
    whoever_dies_while_an_end_is_moved,
    whoever_dies_while_a_credential_is_made_at_once,
    whoever_dies_while_a_phone_goes,
    whoever_dies_while_a_lost_credential_is_looked_for,
    whoever_dies_while_an_enrollment_automation_is_launched,
    whoever_dies_while_many_tell_the_same,
    whoever_dies_while_a_look_falls_due,
);

async fn whoever_dies_while_a_phone_gets_its_key(bench: Bench) {
    everywhere(&bench, Scene::PhoneComes).await;
}

async fn whoever_dies_while_a_plan_is_cancelled(bench: Bench) {
    everywhere(&bench, Scene::Cancelled).await;
}

async fn whoever_dies_while_an_end_is_moved(bench: Bench) {
    everywhere(&bench, Scene::EndMoves).await;
}

async fn whoever_dies_while_a_credential_is_made_at_once(bench: Bench) {
    everywhere(&bench, Scene::AtOnce).await;
}

async fn whoever_dies_while_a_phone_goes(bench: Bench) {
    everywhere(&bench, Scene::PhoneGoes).await;
}

async fn whoever_dies_while_a_lost_credential_is_looked_for(bench: Bench) {
    everywhere(&bench, Scene::AnswerLost).await;
}

async fn whoever_dies_while_an_enrollment_automation_is_launched(bench: Bench) {
    everywhere(&bench, Scene::Enrollment).await;
}

async fn whoever_dies_while_many_tell_the_same(bench: Bench) {
    everywhere(&bench, Scene::ToldOften).await;
}

async fn whoever_dies_while_a_look_falls_due(bench: Bench) {
    everywhere(&bench, Scene::LookIsDue).await;
}

/// What a worker, and the sweep in its process, have to do in their life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    PhoneComes,
    Cancelled,
    EndMoves,
    AtOnce,
    PhoneGoes,
    AnswerLost,
    Enrollment,
    ToldOften,
    LookIsDue,
}

impl Scene {
    /// Plays up to where the life begins.
    async fn begin(self, story: &Story<'_>) {
        let mut stay = story.overriding_stay().await;
        match self {
            Self::AtOnce => stay.create = Some(Create::AtOnce),
            Self::Enrollment => stay.enrollment = Some(Enrollment::LaunchAutomation),
            _ => {}
        }
        story.put("booking", &stay).await;
        if self == Self::AtOnce {
            return;
        }
        story.step().await;
        let device_id = story.sign_in(&stay).await;
        story.comes_in("registered", registered(&stay, &device_id)).await;
        match self {
            Self::PhoneComes => {
                let person = Person::UserIdentityKey(story.guest_key(&stay).await);
                let by_key = Fact::PhoneRegistered { person, device_id: Some(device_id), device_type: None };
                story.comes_in("registered, by key", by_key).await;
            }
            Self::AtOnce | Self::Enrollment => {}
            Self::AnswerLost => {
                story.line.says(Side::After, "create_credential", lost());
                story.step().await;
                assert_eq!(story.issuance("booking").await.status, Status::Unknown);
            }
            Self::Cancelled | Self::EndMoves | Self::PhoneGoes | Self::ToldOften | Self::LookIsDue => {
                story.settle().await;
                assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
                self.turn(story, &stay, &device_id).await;
            }
        }
    }

    /// What happens once the phone has its key.
    async fn turn(self, story: &Story<'_>, stay: &PlanSpec, device_id: &str) {
        if self == Self::Cancelled {
            story.bench.store.delete_plan(&story.key("booking")).await.expect("deleted");
        } else if self == Self::EndMoves {
            let ends_at = stay.ends_at.map(|end| add(end, SignedDuration::from_hours(24)));
            story.put("booking", &PlanSpec { ends_at, ..stay.clone() }).await;
        } else if self == Self::LookIsDue {
            // Nobody tells that a stay is over.
            story.pass(SignedDuration::from_hours(73));
        } else {
            story.deactivate(device_id).await;
        }
        if self == Self::ToldOften {
            let credential = story.issuance("booking").await.acs_credential_id.expect("a credential");
            for n in 0..3 {
                story.comes_in(&format!("told-{n}"), changed(&credential)).await;
            }
        }
    }
}

/// How a story has ended.
#[derive(Debug, PartialEq, Eq)]
struct End {
    stands: (Status, Vec<KeyStatus>),
    /// Of the credentials that live: when each ends, since the story's beginning.
    live: Vec<Option<SignedDuration>>,
    parents_ever: usize,
}

impl End {
    async fn of(story: &Story<'_>, began: Timestamp) -> Self {
        let mut live = Vec::new();
        for id in story.live_parents().await {
            let credential = story.client.get_credential(&id).await.expect("it lives");
            live.push(credential.ends_at.map(|end| end.duration_since(began)));
        }
        story.ends_with(live.len()).await;
        Self { stands: story.stands("booking").await, live, parents_ever: story.parents_ever().await }
    }
}

async fn everywhere(bench: &Bench, scene: Scene) {
    let database = bench.url.strip_prefix("sqlite:").map(PathBuf::from);
    let undisturbed = database.map_or_else(Life::endless, |database| Life::counting_commits(&database));
    let (died, expected) = one_life(bench, scene, 0, &undisturbed).await;
    let effects = undisturbed.effects();
    assert!(!died && effects.len() > 8, "what is enumerated: {effects:#?}");
    let commits = effects.iter().filter(|effect| effect.starts_with("After a commit")).count();
    assert!(commits > 2 || bench.url.starts_with("postgres"), "what is counted: {effects:#?}");
    for (number, effect) in (1..).zip(&effects) {
        // The first life ends at its first effect.
        let lived = Life::of(usize::try_from(number).expect("small") - 1);
        let (died, end) = one_life(bench, scene, number, &lived).await;
        assert!(died, "{scene:?} has no effect {number}: {effect}");
        assert_eq!(end, expected, "{scene:?}, died {number}: {effect}");
    }
    each_event_has_ended_once(bench).await;
}

/// A worker works until nothing is left to do, or until it dies. Whether it died, and how it ended.
async fn one_life(bench: &Bench, scene: Scene, number: u64, life: &Life) -> (bool, End) {
    let story = Story::numbered(bench, number).await;
    let began = story.now();
    scene.begin(&story).await;
    // One hand, so that each life takes its steps in the same order.
    let settings = Settings { concurrency: 1, ..story.settings.clone() };
    let clock = LivedClock { clock: bench.clock.clone(), life: life.clone() };
    let due = Due::new(bench.process_by(Arc::new(clock)).await, &sweep::Settings::default());
    let (_, worker) = staff(bench, bench.other_process().await, &story.client, &settings, life.clone());
    let step = async || {
        life.goes_on();
        let moved = if scene == Scene::LookIsDue { due.step().await.expect("a step of the sweep") } else { 0 };
        moved + worker.step().await.expect("a step")
    };
    let died = AssertUnwindSafe(story.settle_by(step)).catch_unwind().await.is_err();
    let next = async || story.due().step().await.expect("a step of the sweep") + story.step().await;
    story.settle_by(next).await;
    (died, End::of(&story, began).await)
}

/// However often it was taken up, an event has one last line; and a death is no panic: a handler that unwinds must not
/// have found a way to tell of it.
async fn each_event_has_ended_once(bench: &Bench) {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut after = 0;
    loop {
        let lines = bench.store.ledger(after, 1000).await.expect("a ledger");
        let Some(last) = lines.last() else { break };
        after = last.seq;
        for line in &lines {
            assert!(!line.why.as_ref().is_some_and(|why| why.contains("panicked")), "{line:?}");
            let Some(event_id) = &line.event_id else { continue };
            let is_last = matches!(line.kind.as_str(), "event.done" | "event.ignored" | "event.parked");
            *ends.entry(event_id.clone()).or_default() += u32::from(is_last);
        }
    }
    ends.retain(|_, count| *count != 1);
    assert_eq!(ends, BTreeMap::new(), "events that have not ended exactly once");
}

/// Calls that are not a worker's, so that nobody can die at them.
const NOT_A_WORKERS: [&str; 6] = [
    "entrances_of_system",
    "get_acs_user",
    "list_acs_users",
    "get_acs_system",
    "list_events",
    // Made for events that the scenes lack; it changes nothing.
    "credentials_of_access_method",
];

#[tokio::test]
async fn every_call_to_the_provider_is_died_at() {
    let mut made = BTreeSet::new();
    let scenes = [Scene::PhoneComes, Scene::Cancelled, Scene::EndMoves, Scene::PhoneGoes, Scene::AnswerLost];
    for (number, scene) in (1..).zip(scenes.into_iter().chain([Scene::AtOnce, Scene::Enrollment])) {
        let bench = Bench::sqlite().await;
        let life = Life::endless();
        one_life(&bench, scene, number, &life).await;
        let calls = life.effects().into_iter().filter_map(|effect| effect.strip_prefix("After ").map(str::to_owned));
        made.extend(calls);
    }
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/provider/mod.rs")).expect("a source");
    let declared = text.lines().filter_map(|line| line.trim().strip_prefix("async fn "));
    let declared: BTreeSet<&str> = declared.filter_map(|rest| rest.split(['(', '<']).next()).collect();
    assert!(declared.len() > 10, "the trait's methods: {declared:?}");
    let missing: Vec<&&str> =
        declared.iter().filter(|call| !made.contains(**call) && !NOT_A_WORKERS.contains(call)).collect();
    assert!(missing.is_empty(), "no worker dies at {missing:?}: give crash.rs a scene that makes these calls");
}
