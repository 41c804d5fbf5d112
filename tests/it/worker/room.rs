//! Room: when the next events are taken in hand, if more are due than there are hands.

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use keyferry::provider::ProviderError;
use keyferry::worker::{Settings, Worker};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::life::Life;
use super::line::{Gate, Side};
use super::reports::{ends, issued, told};
use super::{Story, registered, staff};
use crate::support::db::Bench;
use crate::support::{on_both_stores, wait};

on_both_stores!(
    the_next_are_taken_when_half_of_the_hands_are_free_and_one_by_one_where_the_others_take_long,
    what_waits_for_another_is_taken_when_that_has_ended,
);

/// One more guest of the hotel.
async fn books_in(story: &Story<'_>, number: usize) {
    let hotel = story.stay_of(0).await;
    let acs_user = story.seam("/acs/users/get", &json!({"acs_user_id": hotel.acs_user_id})).await;
    let person = story.seam("/user_identities/create", &json!({"user_identity_key": format!("guest-{number}")})).await;
    let guest = json!({
        "acs_system_id": acs_user["acs_user"]["acs_system_id"],
        "full_name": format!("Guest {number}"),
        "user_identity_id": person["user_identity"]["user_identity_id"],
    });
    story.seam("/acs/users/create", &guest).await;
}

/// A worker at work until its end is announced.
struct Working {
    end: CancellationToken,
    task: JoinHandle<usize>,
}

impl Working {
    fn begin(worker: Worker) -> Self {
        let end = CancellationToken::new();
        let task = tokio::spawn({
            let end = end.clone();
            async move { worker.run(end).await }
        });
        Self { end, task }
    }

    async fn leaves_nothing_unfinished(self) {
        self.end.cancel();
        let unfinished = tokio::time::timeout(wait::DEADLINE, self.task).await.expect("in time").expect("no panic");
        assert_eq!(unfinished, 0);
    }
}

async fn is_taken(gate: &Gate, what: &str, meanwhile: impl Fn()) {
    let taken = async || {
        meanwhile();
        gate.reached().now_or_never()
    };
    wait::until(what, taken).await;
}

async fn the_next_are_taken_when_half_of_the_hands_are_free_and_one_by_one_where_the_others_take_long(bench: Bench) {
    const EVENTS: usize = 7;
    let story = Story::new(&bench).await;
    let mut credentials = Vec::new();
    for index in 0..EVENTS {
        books_in(&story, index).await;
    }
    for index in 0..EVENTS {
        credentials.push(issued(&story, index).await);
    }
    for (index, credential) in credentials.iter().enumerate() {
        told(&story, &format!("told-{index}"), 1, credential).await;
    }
    let settings = Settings { concurrency: 4, ..story.settings.clone() };
    let poll = settings.poll;
    let (line, worker) = staff(&bench, bench.other_process().await, &story.client, &settings, Life::endless());
    let calls: Vec<Gate> = (0..EVENTS).map(|_| line.waits(Side::Before, "list_credentials")).collect();
    let working = Working::begin(worker);
    for call in &calls[..4] {
        is_taken(call, "as many as there are hands", || {}).await;
    }

    calls[0].open();
    let before = story.now();
    let a_moment = || story.pass(SignedDuration::from_millis(1));
    is_taken(&calls[4], "the hand that is free waits for no other", a_moment).await;
    let waited = story.now().duration_since(before);
    assert!(waited < poll / 2, "it was taken when it was free, not at the next poll: {waited:#}");

    calls[1].open();
    calls[2].open();
    for call in &calls[5..] {
        is_taken(call, "half of the hands are free: no time has to pass", || {}).await;
    }

    for call in &calls[3..] {
        call.open();
    }
    working.leaves_nothing_unfinished().await;
    story.ends_with(EVENTS).await;
}

/// The clock stands still: nothing here is found by looking again after a time. One person's events end one after the
/// other; and what was to end with another of the same has its own turn where that one has to wait.
async fn what_waits_for_another_is_taken_when_that_has_ended(bench: Bench) {
    let story = Story::new(&bench).await;
    let credential = issued(&story, 0).await;
    let stay = story.stay_of(1).await;
    for device_id in 0..2 {
        story.comes_in(&format!("registered-anew-{device_id}"), registered(&stay, &device_id.to_string())).await;
    }
    told(&story, "told", 2, &credential).await;
    let (line, worker) = staff(&bench, bench.other_process().await, &story.client, &story.settings, Life::endless());
    let why = "no connection: Connection refused".to_owned();
    let away = ProviderError::Transient { call: "/acs/credentials/list", why, retry_after: None };
    line.says(Side::Before, "list_credentials", away);
    let working = Working::begin(worker);

    let ended = async |what: &'static str, expected: [usize; 2]| {
        wait::until(what, async || (*ends(&story, what, 2).await == expected).then_some(())).await;
    };
    ended("registered-anew", [1, 1]).await;
    ended("told", [0, 1]).await;

    working.leaves_nothing_unfinished().await;
    story.ends_with(1).await;
}
