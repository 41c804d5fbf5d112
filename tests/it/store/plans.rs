//! Plans: put once or many times, changed as far as Seam allows, cancelled, begun anew.

use keyferry::clock::{Entropy as _, SystemEntropy};
use keyferry::domain::{Fact, Issuance, Kind, Outcome, Plan, Status};
use keyferry::store::{Change, DeletedPlan, PutPlan, RecordError};

use super::{ids, plan, registered};
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    a_plan_put_again_changes_nothing,
    only_the_end_of_a_plan_with_a_credential_can_move,
    a_cancelled_plan_can_be_put_again_once_it_is_revoked,
    a_stale_issuance_is_not_written,
    a_credential_belongs_to_one_plan,
);

impl Bench {
    async fn issuance(&self, key: &str) -> Issuance {
        self.store.plan(key).await.expect("a read").expect("a plan").1
    }

    /// Writes an issuance as a worker does, under a claim of its own.
    async fn advance(&self, issuance: Issuance) -> Result<(), RecordError> {
        let event = format!("advance-{:016x}", SystemEntropy.next_u64());
        self.accept(vec![registered(&event, &event, self.now())]).await;
        let mut claimed = self.claim(100).await;
        claimed.retain(|it| it.event_id == event);
        let change = Change {
            ledger: vec![issuance.entry()],
            issuances: vec![issuance],
            outcome: Some(Outcome::Done),
            ..Change::default()
        };
        self.store.record(&claimed[0], self.now(), change).await
    }
}

async fn a_plan_put_again_changes_nothing(bench: Bench) {
    let plan = plan("booking-1", "jane", bench.now());
    assert_eq!(bench.store.put_plan(&plan).await.expect("put"), PutPlan::Created);
    assert_eq!(bench.store.put_plan(&plan).await.expect("put"), PutPlan::Unchanged);
    assert_eq!(bench.kinds().await, ["plan.put", "issuance.planned", "event.received"]);
    let claimed = bench.claim(5).await;
    let expected = Fact::PlanPut { plan_key: "booking-1".to_owned(), user_identity_id: "jane".to_owned() };
    assert_eq!(claimed[0].fact, Ok(expected), "a worker is told");
}

async fn only_the_end_of_a_plan_with_a_credential_can_move(bench: Bench) {
    let original = plan("booking-1", "jane", bench.now());
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = original.clone();
        change(&mut plan);
        plan
    };
    bench.store.put_plan(&original).await.expect("put");
    let other_door = with(&|plan| plan.spec.allowed_acs_entrance_ids = vec!["door".to_owned()]);
    assert_eq!(bench.store.put_plan(&other_door).await.expect("put"), PutPlan::Updated, "nothing exists yet");

    bench.advance(bench.issuance("booking-1").await.created("cred", None)).await.expect("recorded");
    assert!(matches!(bench.store.put_plan(&original).await.expect("put"), PutPlan::Conflict { .. }));
    let longer = {
        let mut plan = other_door.clone();
        plan.spec.ends_at = Some("2027-01-01T00:00:00Z".parse().expect("a time"));
        plan
    };
    assert_eq!(bench.store.put_plan(&longer).await.expect("put"), PutPlan::Updated);
    let issuance = bench.issuance("booking-1").await;
    assert_eq!((issuance.status, issuance.acs_credential_id.as_deref()), (Status::Created, Some("cred")));
}

async fn a_cancelled_plan_can_be_put_again_once_it_is_revoked(bench: Bench) {
    let plan = plan("booking-1", "jane", bench.now());
    assert_eq!(bench.store.delete_plan("booking-1").await.expect("asked"), DeletedPlan::NotFound);
    bench.store.put_plan(&plan).await.expect("put");
    bench.advance(bench.issuance("booking-1").await.created("cred", None)).await.expect("recorded");
    assert_eq!(bench.store.delete_plan("booking-1").await.expect("deleted"), DeletedPlan::Deleted);
    assert_eq!(bench.store.delete_plan("booking-1").await.expect("deleted"), DeletedPlan::AlreadyDeleted);
    assert!(matches!(bench.store.put_plan(&plan).await.expect("put"), PutPlan::Conflict { .. }), "still under way");

    bench.advance(bench.issuance("booking-1").await.revoked("cancelled".to_owned())).await.expect("recorded");
    assert_eq!(bench.store.put_plan(&plan).await.expect("put"), PutPlan::Updated);
    let issuance = bench.issuance("booking-1").await;
    assert_eq!((issuance.status, issuance.acs_credential_id, issuance.attempts), (Status::Planned, None, 0));
    assert!(bench.store.plan("booking-1").await.expect("a read").expect("a plan").0.deleted_at.is_none());
}

async fn a_stale_issuance_is_not_written(bench: Bench) {
    bench.store.put_plan(&plan("booking-1", "jane", bench.now())).await.expect("put");
    let stale = bench.issuance("booking-1").await;
    bench.advance(stale.created("first", None)).await.expect("recorded");
    let refused = bench.advance(stale.created("second", None)).await;
    assert!(matches!(refused, Err(RecordError::Conflict(what)) if what.contains("booking-1")));
    assert_eq!(bench.issuance("booking-1").await.acs_credential_id.as_deref(), Some("first"));
    let told = bench.kinds().await.iter().filter(|kind| *kind == Kind::Issuance(Status::Created).as_str()).count();
    assert_eq!(told, 1, "what was not written is not told");
}

async fn a_credential_belongs_to_one_plan(bench: Bench) {
    for key in ["booking-1", "booking-2"] {
        bench.store.put_plan(&plan(key, "jane", bench.now())).await.expect("put");
    }
    assert_eq!(ids(&bench.claim(5).await).len(), 1, "two plans of one person are taken up one after the other");
    bench.advance(bench.issuance("booking-1").await.created("cred", None)).await.expect("recorded");
    let refused = bench.advance(bench.issuance("booking-2").await.created("cred", None)).await;
    assert!(matches!(refused, Err(RecordError::Store(_))), "the database refuses it, whatever the code thinks");
    let taken = bench.store.credentials_of_other_plans("booking-2", &["cred".to_owned()]).await.expect("asked");
    assert_eq!(taken, ["cred"]);
}
