//! A call whose outcome nobody knows is asked about, once it has settled, and never repeated blindly.

use jiff::SignedDuration;
use keyferry::clock::add;
use keyferry::domain::plan::Enrollment;
use keyferry::domain::{KeyStatus, PlanSpec, Status};
use keyferry::provider::Provider as _;
use keyferry::store::PutPlan;
use serde_json::json;

use super::line::Side;
use super::{Story, lost, registered, unavailable};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    a_created_credential_whose_answer_was_lost_is_adopted,
    a_call_that_never_took_effect_is_made_again,
    plans_alike_adopt_no_others_credential,
    plans_alike_whose_calls_were_lost_at_different_times_adopt_their_own,
    an_adopted_credential_can_be_cancelled_at_once,
    an_enrollment_automation_whose_answer_was_lost_is_adopted,
    an_end_moved_by_a_clock_that_was_set_back_hides_nothing,
);

/// A stay with a plan and a phone, whose registration has come in.
async fn arrived(story: &Story<'_>, spec: PlanSpec) -> PlanSpec {
    story.put("booking", &spec).await;
    story.step().await;
    let device_id = story.sign_in(&spec).await;
    story.comes_in("registered", registered(&spec, &device_id)).await;
    spec
}

fn asks(calls: &[&str]) -> usize {
    calls.iter().filter(|call| **call == "list_credentials").count()
}

async fn a_created_credential_whose_answer_was_lost_is_adopted(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = arrived(&story, story.overriding_stay().await).await;
    story.line.says(Side::After, "create_credential", lost());
    story.step().await;
    let parents = story.live_parents().await;
    assert_eq!(parents.len(), 1, "the call took effect");
    let unknown = story.issuance("booking").await;
    assert_eq!((unknown.status, unknown.acs_credential_id), (Status::Unknown, None));
    assert!(unknown.error.expect("a reason").contains("the connection was lost"));

    story.line.calls();
    story.pass(story.settings.settle - SignedDuration::from_secs(1));
    let second = story.sign_in(&stay).await;
    story.comes_in("second phone", registered(&stay, &second)).await;
    assert_eq!(story.step().await, 1, "the first waits until the call has settled");
    assert_eq!(story.line.calls(), ["phones_of_person"], "and the second neither asks nor creates before");
    assert_eq!(story.stands("booking").await, (Status::Unknown, vec![]));

    story.pass(SignedDuration::from_secs(1));
    assert!(story.step().await > 0);
    assert_eq!(story.issuance("booking").await.acs_credential_id.as_ref(), parents.first());
    story.ends_with(1).await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued; 2]));
    let created: Vec<_> =
        story.ledger("booking").await.into_iter().filter(|it| it.kind == "issuance.created").collect();
    assert_eq!(created.len(), 1);
    assert!(created[0].why.as_ref().expect("a reason").contains("adopted"));
}

async fn a_call_that_never_took_effect_is_made_again(bench: Bench) {
    let story = Story::new(&bench).await;
    arrived(&story, story.overriding_stay().await).await;
    story.line.says(Side::Before, "create_credential", lost());
    story.step().await;
    assert_eq!(story.issuance("booking").await.status, Status::Unknown);
    assert_eq!(story.live_parents().await, [""; 0]);
    story.line.calls();
    story.pass(story.settings.settle);
    story.step().await;
    let calls = story.line.calls();
    let (asked, created) = (
        calls.iter().position(|call| *call == "list_credentials"),
        calls.iter().position(|call| *call == "create_credential"),
    );
    assert!(asked.is_some() && asked < created, "asked, and then created: {calls:?}");
    story.ends_with(1).await;
    let issuance = story.issuance("booking").await;
    assert_eq!((issuance.status, issuance.attempts), (Status::Issued, 2));
}

async fn plans_alike_adopt_no_others_credential(bench: Bench) {
    // Of the calls for the two plans: which lost their answers, and whether they took effect.
    let cases: [[Option<Side>; 2]; 7] = [
        [Some(Side::After), Some(Side::After)],
        [Some(Side::After), None],
        [None, Some(Side::After)],
        [Some(Side::After), Some(Side::Before)],
        [Some(Side::Before), Some(Side::After)],
        [Some(Side::Before), Some(Side::Before)],
        [Some(Side::Before), None],
    ];
    for (number, case) in (1..).zip(cases) {
        let story = Story::numbered(&bench, number).await;
        let stay = arrived(&story, story.stay().await).await;
        story.put("other", &stay).await;
        let mut expected = 0;
        for side in case {
            match side {
                Some(side) => story.line.says(side, "create_credential", lost()),
                // Not lost: nothing is ordered, but the next order must not befall this call.
                None => story.line.waits(Side::After, "create_credential").open(),
            }
            expected += usize::from(side != Some(Side::Before));
        }
        story.step().await;
        assert_eq!(story.live_parents().await.len(), expected, "{case:?}");
        story.ends_with(2).await;
        for name in ["booking", "other"] {
            assert_eq!(story.stands(name).await, (Status::Issued, vec![KeyStatus::Issued]), "{name}, {case:?}");
        }
    }
}

async fn plans_alike_whose_calls_were_lost_at_different_times_adopt_their_own(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = arrived(&story, story.stay().await).await;
    story.line.says(Side::After, "create_credential", lost());
    story.step().await;
    let first = story.live_parents().await;
    // Nobody could ask for a while, and meanwhile there is a second plan like the first.
    story.pass(SignedDuration::from_mins(10));
    story.line.says(Side::Before, "phones_of_person", unavailable(None));
    story.step().await;
    story.put("other", &stay).await;
    story.line.says(Side::After, "create_credential", lost());
    story.step().await;
    let second: Vec<String> = story.live_parents().await.into_iter().filter(|id| !first.contains(id)).collect();
    assert_eq!((first.len(), second.len()), (1, 1));

    story.ends_with(2).await;
    assert_eq!(story.issuance("booking").await.acs_credential_id.as_ref(), first.first());
    assert_eq!(story.issuance("other").await.acs_credential_id.as_ref(), second.first());
}

async fn an_adopted_credential_can_be_cancelled_at_once(bench: Bench) {
    let story = Story::new(&bench).await;
    arrived(&story, story.overriding_stay().await).await;
    story.line.says(Side::After, "create_credential", lost());
    story.step().await;
    bench.store.delete_plan(&story.key("booking")).await.expect("deleted");
    story.line.calls();
    assert_eq!(story.step().await, 1);
    assert_eq!(asks(&story.line.calls()), 0, "cancelled before the call has settled");
    assert_eq!(story.live_parents().await.len(), 1);
    story.ends_with(0).await;
    assert_eq!(story.issuance("booking").await.status, Status::Revoked);
}

/// When the end was moved is told by our clock, and that may have been set back since the call.
async fn an_end_moved_by_a_clock_that_was_set_back_hides_nothing(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = arrived(&story, story.overriding_stay().await).await;
    story.line.says(Side::After, "create_credential", lost());
    story.step().await;
    let parents = story.live_parents().await;
    story.pass(-SignedDuration::from_mins(3));
    let ends_at = stay.ends_at.map(|end| add(end, SignedDuration::from_hours(24)));
    assert_eq!(story.put("booking", &PlanSpec { ends_at, ..stay }).await, PutPlan::Updated);

    story.ends_with(1).await;
    assert_eq!(story.issuance("booking").await.acs_credential_id.as_ref(), parents.first());
    assert_eq!(story.client.get_credential(&parents[0]).await.expect("a credential").ends_at, ends_at);
    assert_eq!(story.parents_ever().await, 1);
}

async fn an_enrollment_automation_whose_answer_was_lost_is_adopted(bench: Bench) {
    let story = Story::new(&bench).await;
    let enrollment = Some(Enrollment::LaunchAutomation);
    let stay = arrived(&story, PlanSpec { enrollment, ..story.overriding_stay().await }).await;
    story.line.says(Side::After, "launch_enrollment_automation", lost());
    story.ends_with(1).await;
    let calls = story.line.calls();
    let of_enrollment: Vec<_> = calls.into_iter().filter(|call| call.ends_with("enrollment_automation")).collect();
    let [asked, launched] = ["find_enrollment_automation", "launch_enrollment_automation"];
    assert_eq!(of_enrollment, [asked, launched, asked]);
    let body = json!({"user_identity_id": stay.user_identity_id});
    let listed = story.seam("/user_identities/enrollment_automations/list", &body).await;
    let launched = &listed["enrollment_automations"][0]["enrollment_automation_id"];
    assert_eq!(*launched, json!(story.issuance("booking").await.enrollment_automation_id));
}
