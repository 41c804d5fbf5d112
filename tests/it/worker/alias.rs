//! People whom a source knows by an id of its own: a plan says whose it is.

use keyferry::domain::{Fact, KeyStatus, Person, PlanSpec, Status};

use super::Story;
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(a_plan_says_whose_phone_it_is, what_came_before_the_plan_is_taken_up_again);

fn origo() -> Person {
    Person::Alias { source: "origo".to_owned(), id: "3456".to_owned() }
}

fn registered() -> Fact {
    Fact::PhoneRegistered { person: origo(), device_id: None, device_type: None }
}

fn with_alias(spec: PlanSpec) -> PlanSpec {
    PlanSpec { aliases: [("origo".to_owned(), "3456".to_owned())].into(), ..spec }
}

async fn a_plan_says_whose_phone_it_is(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = with_alias(story.stay().await);
    story.put("booking", &stay).await;
    story.settle().await;
    story.sign_in(&stay).await;
    story.comes_in("active", registered()).await;
    story.comes_in("issued", Fact::KeyReported { person: origo() }).await;
    let stranger = Person::Alias { source: "other".to_owned(), id: "3456".to_owned() };
    story.comes_in("stranger", Fact::KeyReported { person: stranger }).await;
    story.settle().await;
    assert_eq!(story.stands("booking").await, (Status::Issued, vec![KeyStatus::Issued]));
    story.ends_with(1).await;
}

/// The phone does not show at the provider until after the plan was put: only the event can tell of it.
async fn what_came_before_the_plan_is_taken_up_again(bench: Bench) {
    let story = Story::new(&bench).await;
    let stay = story.stay().await;
    story.comes_in("active", registered()).await;
    story.settle().await;
    let events = bench.store.events(&story.key("active")).await.expect("events");
    assert_eq!(events[0].state, "ignored");

    story.put("booking", &with_alias(stay)).await;
    story.settle().await;
    let events = bench.store.events(&story.key("active")).await.expect("events");
    assert_eq!(events[0].state, "done");
    assert_eq!(story.issuance("booking").await.status, Status::Created, "it did not wait for another phone");
    story.ends_with(1).await;
}
