//! How handlings end: those that end at the same time are recorded in one transaction, each under its own lease.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::sql::{Row, Tx, Value};
use super::together::Together;
use super::{Claimed, RecordError, Store, StoreError, append, parked};
use crate::clock;
use crate::domain::{Entry, Fact, Kind, Outcome};

/// Who waits for their outcome to be recorded. The answer says whether their lease still held.
pub(super) type Endings = Together<Ending, bool>;

/// A handling, and how it ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) claimed: Claimed,
    pub(super) now: Timestamp,
    pub(super) outcome: Outcome,
}

/// What was written.
pub(super) struct Written {
    /// Of each ending, whether its lease still held.
    pub(super) held: Vec<bool>,
    pub(super) entries: Vec<Entry>,
}

impl Store {
    pub(super) async fn end(&self, claimed: &Claimed, now: Timestamp, outcome: &Outcome) -> Result<(), RecordError> {
        let ending = Ending { claimed: claimed.clone(), now, outcome: outcome.clone() };
        let is_recorded = self.endings.ask(ending, |endings| self.record_endings(endings)).await?;
        if is_recorded { Ok(()) } else { Err(RecordError::LeaseLost(claimed.seq)) }
    }

    async fn record_endings(&self, endings: Vec<Ending>) -> Result<Vec<bool>, StoreError> {
        // A lease that holds for the last of them to look at the clock has held for all.
        let now = endings.iter().map(|ending| ending.now).max().unwrap_or_default();
        let recorded = self.change(move |tx| {
            Box::pin(async move {
                let Written { held, entries } = write(tx, now, &endings).await?;
                append(tx, now, entries).await?;
                Ok(held)
            })
        });
        recorded.await
    }
}

/// Ends leases as their outcomes say. One that has passed, or is another's by now, is left alone, and so is its event.
pub(super) async fn write(tx: &mut Tx, now: Timestamp, endings: &[Ending]) -> Result<Written, StoreError> {
    let mut groups: HashMap<(&str, Next), Vec<i64>> = HashMap::new();
    for ending in endings {
        let next = Next::of(now, &ending.claimed, &ending.outcome);
        groups.entry((&ending.claimed.lease, next)).or_default().push(ending.claimed.seq);
    }
    let mut written = HashSet::new();
    for ((lease, next), seqs) in groups {
        written.extend(next.write(tx, now, lease, seqs).await?.into_iter().map(|seq| (seq, lease)));
    }
    let held = endings.iter().map(|ending| written.contains(&(ending.claimed.seq, &*ending.claimed.lease))).collect();
    let mut entries = Vec::new();
    for Ending { claimed, outcome, .. } in endings {
        // Once, should it have been handed in twice.
        if !written.remove(&(claimed.seq, &*claimed.lease)) {
            continue;
        }
        if let Outcome::Park { why } = outcome {
            parked::insert_event(tx, claimed, why).await?;
        }
        if !is_look(claimed) {
            let of_event = |kind| Entry::of_event(kind, &claimed.source, &claimed.event_type, &claimed.event_id);
            entries.extend(line(outcome, of_event));
        }
        entries.extend(end_twins(tx, now, claimed, outcome).await?);
    }
    Ok(Written { held, entries })
}

fn is_look(claimed: &Claimed) -> bool {
    claimed.fact.as_ref().is_ok_and(Fact::is_look)
}

/// The ledger's line. An attempt that does not count leaves none.
fn line(outcome: &Outcome, of_event: impl Fn(Kind) -> Entry) -> Option<Entry> {
    match outcome {
        Outcome::Done => Some(of_event(Kind::EventDone)),
        Outcome::Ignored { why } => Some(of_event(Kind::EventIgnored).why(why)),
        Outcome::Await { is_counted: false, .. } => None,
        Outcome::Retry { why, .. } | Outcome::Await { why, is_counted: true, .. } => {
            Some(of_event(Kind::EventRetry).why(why))
        }
        Outcome::Park { why } => Some(of_event(Kind::EventParked).why(why)),
    }
}

/// What becomes of an event. Those that share it are written by one statement.
#[derive(PartialEq, Eq, Hash)]
enum Next {
    /// Nothing is left of it.
    Gone,
    Ended {
        state: &'static str,
        why: Option<String>,
    },
    /// `uncounted`: attempts that are given back.
    Due {
        at: Timestamp,
        why: String,
        uncounted: i64,
        awaits_provider: bool,
    },
}

impl Next {
    fn of(now: Timestamp, claimed: &Claimed, outcome: &Outcome) -> Self {
        let ended = |state, why: Option<&String>| Self::Ended { state, why: why.cloned() };
        match outcome {
            outcome if outcome.has_ended_well() && is_look(claimed) => Self::Gone,
            Outcome::Done => ended("done", None),
            Outcome::Ignored { why } => ended("ignored", Some(why)),
            Outcome::Park { why } => ended("parked", Some(why)),
            Outcome::Retry { after, why } => {
                Self::Due { at: clock::add(now, *after), why: why.clone(), uncounted: 0, awaits_provider: false }
            }
            Outcome::Await { after, why, is_counted } => Self::Due {
                at: clock::add(now, *after),
                why: why.clone(),
                uncounted: i64::from(!is_counted),
                awaits_provider: true,
            },
        }
    }

    /// Writes it for those of `seqs` on which `lease` still holds; returns which these are.
    async fn write(self, tx: &mut Tx, now: Timestamp, lease: &str, seqs: Vec<i64>) -> Result<Vec<i64>, StoreError> {
        let seqs: Value = seqs.into_iter().collect();
        // The fence. Not `lease = $2`, by which PostgreSQL would come to read the index of all leases, and in it those
        // that have ended since it was last cleaned up.
        let held = format!("seq {} AND COALESCE(lease, '') = $2 AND lease_until > $3 RETURNING seq", tx.among(1));
        let values = [seqs, lease.into(), now.into()];
        let rows = match self {
            Self::Gone => tx.fetch(format!("DELETE FROM inbox WHERE {held}"), values).await?,
            Self::Ended { state, why } => {
                let end = format!(
                    "UPDATE inbox SET state = $4, due_at = $3, ended_at = $3, why = $5, lease = NULL, \
                         lease_until = NULL, awaits_provider = 0 WHERE {held}"
                );
                tx.fetch(end, values.into_iter().chain([state.into(), why.into()])).await?
            }
            Self::Due { at, why, uncounted, awaits_provider } => {
                let wait = format!(
                    "UPDATE inbox SET due_at = $4, why = $5, attempts = attempts - $6, awaits_provider = $7, \
                         lease = NULL, lease_until = NULL WHERE {held}"
                );
                let wait_values = [at.into(), why.into(), uncounted.into(), awaits_provider.into()];
                tx.fetch(wait, values.into_iter().chain(wait_values)).await?
            }
        };
        rows.iter().map(|row| row.int("seq")).collect()
    }
}

/// Ends the [twins](Claimed::twins) of an event that has ended well, as it has ended. Nobody else is at them: they have
/// its subject, which is ours alone as long as the lease holds.
async fn end_twins(
    tx: &mut Tx,
    now: Timestamp,
    claimed: &Claimed,
    outcome: &Outcome,
) -> Result<Vec<Entry>, StoreError> {
    let (state, why) = match outcome {
        Outcome::Done => ("done", None),
        Outcome::Ignored { why } => ("ignored", Some(why.clone())),
        Outcome::Await { .. } | Outcome::Retry { .. } | Outcome::Park { .. } => return Ok(vec![]),
    };
    if claimed.twins.is_empty() {
        return Ok(vec![]);
    }
    let end = format!(
        "UPDATE inbox SET state = $2, ended_at = $3, why = $4 \
         WHERE seq {} AND COALESCE(lease, state) = 'due' RETURNING seq, source, event_type, event_id",
        tx.among(1)
    );
    let values = [claimed.twins.iter().copied().collect(), state.into(), now.into(), Value::from(why)];
    let mut rows = tx.fetch(end, values).await?.iter().map(twin).collect::<Result<Vec<_>, _>>()?;
    rows.sort_unstable_by_key(|(seq, _)| *seq);
    let of_twin = |[source, event_type, event_id]: [String; 3]| {
        line(outcome, |kind| Entry::of_event(kind, &source, &event_type, &event_id))
    };
    Ok(rows.into_iter().filter_map(|(_, names)| of_twin(names)).collect())
}

fn twin(row: &Row) -> Result<(i64, [String; 3]), StoreError> {
    Ok((row.int("seq")?, [row.text("source")?, row.text("event_type")?, row.text("event_id")?]))
}
