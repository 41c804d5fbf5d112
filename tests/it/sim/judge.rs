//! What must hold after every step, and what must have come about when the faults have stopped.
//!
//! One exception is known, and `tests/it/worker/pause.rs` tells of it: a call to create that goes out after it was given
//! up, because its maker stood still between its last look at the clock and its call. The credentials of such a stay are
//! not counted.

use std::collections::{BTreeMap, BTreeSet};

use keyferry::domain::{KeyStatus, Status};
use keyferry::store::{IssuanceFilter, LedgerLine};
use serde_json::Value;

use super::bus::Bus;
use super::desk::{Entries, Stay, list, text};
use super::stage::Stage;

type Judgement = Result<(), String>;

#[derive(Default)]
pub(super) struct Judge {
    /// The number of the last line that was read.
    pub(super) head: i64,
    /// Each event that was ever received, and the terminal lines that it has.
    events: BTreeMap<(String, String), u32>,
    /// How many commits the store had seen then.
    commits: u32,
    /// What was answered with a 2xx, and is not in the ledger yet.
    accepted: BTreeSet<(&'static str, String)>,
    /// How many plans there have been for each stay.
    pub(super) plans: BTreeMap<Stay, usize>,
    /// The guest that the access system does not know any more.
    pub(super) removed: Option<String>,
}

impl Judge {
    /// A 2xx was sent: from now on the event must be somewhere.
    pub(super) fn accepted(&mut self, source: &'static str, event_id: &str) {
        self.accepted.insert((source, event_id.to_owned()));
    }

    /// Whether all is well. Returns the lines that the ledger has grown by.
    pub(super) async fn look(&mut self, stage: &Stage, bus: &Bus) -> Result<Vec<LedgerLine>, String> {
        let commits = stage.commits();
        let is_unread = std::mem::replace(&mut self.commits, commits) != commits;
        let grown = async { if is_unread { stage.store.ledger(self.head, 1000).await } else { Ok(Vec::new()) } };
        let lines = grown.await.map_err(|error| error.to_string())?;
        for line in &lines {
            self.head += 1;
            if line.seq != self.head {
                return Err(format!("the ledger has number {} where {} was due", line.seq, self.head));
            }
            self.read(line)?;
            is_not_ahead(line, &stage.desk.books.open())?;
        }
        self.accepted.retain(|(source, event_id)| !self.events.contains_key(&((*source).to_owned(), event_id.clone())));
        if let Some((source, event_id)) = self.accepted.iter().find(|(source, event_id)| !bus.holds(source, event_id)) {
            return Err(format!("{source} {event_id} was answered with a 2xx and is nowhere"));
        }
        self.count(&stage.desk.books.open())?;
        Ok(lines)
    }

    fn read(&mut self, line: &LedgerLine) -> Judgement {
        if line.why.as_ref().is_some_and(|why| why.contains("panicked")) {
            return Err(format!("a handler panicked: {line:?}"));
        }
        let Some(key) = line.source.clone().zip(line.event_id.clone()) else { return Ok(()) };
        match line.kind.as_str() {
            "event.received" if self.events.insert(key.clone(), 0).is_some() => {
                Err(format!("received twice: {line:?}"))
            }
            "event.done" | "event.ignored" | "event.parked" => {
                let ends = self.events.entry(key).or_default();
                *ends += 1;
                if *ends == 1 { Ok(()) } else { Err(format!("it ended {ends} times: {line:?}")) }
            }
            _ => Ok(()),
        }
    }

    /// At most one live credential for each plan.
    fn count(&self, books: &Entries) -> Judgement {
        let mut live: BTreeMap<&Stay, usize> = BTreeMap::new();
        for (stay, is_live) in books.parents.values() {
            *live.entry(stay).or_default() += usize::from(*is_live);
        }
        for (stay, count) in live {
            let plans = self.plans.get(stay).copied().unwrap_or_default();
            if count > plans && !books.excused.contains(stay) {
                return Err(format!("{count} live credentials for {plans} plans of the stay {stay:?}"));
            }
        }
        Ok(())
    }

    /// When all has come to rest: every event has ended once, and our states are the provider's.
    pub(super) async fn look_back(&self, stage: &Stage) -> Judgement {
        if let Some((event, _)) = self.events.iter().find(|(_, ends)| **ends != 1) {
            return Err(format!("{event:?} has not ended"));
        }
        let mut parked = stage.store.parked(0, 10).await.map_err(|error| error.to_string())?;
        parked.retain(|item| self.removed.is_none() || !item.why.contains("ACS user not found"));
        if !parked.is_empty() {
            return Err(format!("parked: {parked:#?}"));
        }
        let world = stage.desk.world().await;
        let (theirs, ours) = (theirs(&world), ours(stage).await?);
        let excused: BTreeSet<String> = {
            let books = stage.desk.books.open();
            let of_excused = books.parents.iter().filter(|(_, (stay, _))| books.excused.contains(stay));
            of_excused.map(|(id, _)| id.clone()).collect()
        };
        let counting =
            |keys: BTreeMap<String, Keys>| keys.into_iter().filter(|(id, _)| !excused.contains(id)).collect();
        let (theirs, ours): (BTreeMap<_, _>, BTreeMap<_, _>) = (counting(theirs), counting(ours));
        if theirs != ours {
            return Err(format!("the provider has {theirs:#?}, and we have {ours:#?}"));
        }
        if excused.is_empty() { self.is_complete(stage, &world).await } else { Ok(()) }
    }

    /// Every live plan of a person with a phone has brought a key to each phone; every other one has taken them away.
    async fn is_complete(&self, stage: &Stage, world: &Value) -> Judgement {
        let now = stage.times.ours();
        let listed = stage.store.issuances(&IssuanceFilter::default(), 1000).await;
        for (plan, issuance) in listed.map_err(|error| error.to_string())? {
            let person = plan.spec.user_identity_id.as_str();
            let phones = list(world, "phones").iter().filter(|it| it["deleted_at"].is_null());
            let phones: BTreeSet<String> =
                phones.filter(|it| it["user_identity_id"] == person).map(|it| text(it, "device_id")).collect();
            let keys = stage.store.phone_keys(&plan.key).await.map_err(|error| error.to_string())?;
            let issued = keys.into_iter().filter(|key| key.status == KeyStatus::Issued);
            let with_key: BTreeSet<String> = issued.map(|key| key.device_id).collect();
            let is_removed = self.removed.is_some() && plan.spec.acs_user_id == self.removed;
            let is_well = match issuance.status {
                Status::Issued => plan.is_live(now) && !is_removed && with_key == phones,
                Status::Created | Status::Planned if phones.is_empty() => plan.is_live(now) && with_key.is_empty(),
                Status::Failed => plan.is_live(now) && is_removed && with_key.is_empty(),
                Status::Revoked => (plan.deleted_at.is_some() || is_removed) && with_key.is_empty(),
                Status::Ended => plan.spec.ends_at <= Some(now) && with_key.is_empty(),
                Status::Creating | Status::Created | Status::Planned | Status::Unknown => false,
            };
            if !is_well {
                return Err(format!("{issuance:?} of {plan:?}: keys on {with_key:?} of the phones {phones:?}"));
            }
        }
        Ok(())
    }
}

/// `issued` is told only of what the provider's object says, or has said, is issued.
fn is_not_ahead(line: &LedgerLine, books: &Entries) -> Judgement {
    let Some(id) = &line.acs_credential_id else { return Ok(()) };
    let is_known = match line.kind.as_str() {
        "issuance.issued" | "phone_key.issued" => books.issued.contains(id),
        "issuance.created" => books.parents.contains_key(id),
        _ => true,
    };
    if is_known { Ok(()) } else { Err(format!("ahead of the provider: {line:?}")) }
}

/// Whether a parent is issued, and the issued child on each phone.
type Keys = (bool, BTreeMap<String, String>);

/// What lives at the provider.
fn theirs(world: &Value) -> BTreeMap<String, Keys> {
    let rows = list(world, "acs_credentials");
    let live = || rows.iter().filter(|it| it["deleted_at"].is_null() && it["invalidated_at"].is_null());
    let mut parents = BTreeMap::new();
    for parent in live().filter(|it| it["parent_acs_credential_id"].is_null()) {
        let children = live().filter(|it| it["parent_acs_credential_id"] == parent["acs_credential_id"]);
        let issued = children.filter(|it| it["is_issued"] == true);
        let on_phones = issued.map(|it| (text(it, "device_id"), text(it, "acs_credential_id"))).collect();
        parents.insert(text(parent, "acs_credential_id"), (parent["is_issued"] == true, on_phones));
    }
    parents
}

/// The same, as our store has it.
async fn ours(stage: &Stage) -> Result<BTreeMap<String, Keys>, String> {
    let listed = stage.store.issuances(&IssuanceFilter::default(), 1000).await;
    let mut parents = BTreeMap::new();
    for (plan, issuance) in listed.map_err(|error| error.to_string())? {
        if !matches!(issuance.status, Status::Created | Status::Issued) {
            continue;
        }
        let keys = stage.store.phone_keys(&plan.key).await.map_err(|error| error.to_string())?;
        let issued = keys.into_iter().filter(|key| key.status == KeyStatus::Issued);
        let on_phones = issued.map(|key| (key.device_id, key.acs_credential_id.unwrap_or_default())).collect();
        let id = issuance.acs_credential_id.ok_or_else(|| format!("{} has no credential", plan.key))?;
        if parents.insert(id, (issuance.status == Status::Issued, on_phones)).is_some() {
            return Err(format!("{} has another plan's credential", plan.key));
        }
    }
    Ok(parents)
}
