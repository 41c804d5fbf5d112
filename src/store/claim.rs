//! Claiming: who gets which of the due events, and for how long.
//!
//! Claims are one at a time in all processes. So that none takes long, whatever waits and whatever was, a claim reads
//! two small pieces of indexes (the leases that are out, and the beginning of the line) at once and chooses among them
//! here: a statement that chose by itself would be planned by what the tables held when it was prepared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::sql::{AdvisoryLock, Row, Tx, Value};
use super::{Claimed, Store, StoreError, rows};
use crate::domain::Fact;

/// How much of the line one look at it takes in, for each event that there is room for, and at the most.
const PAGE_FOR_EACH: u32 = 4;
const PAGE_MAX: u32 = 256;

/// How many such pages a claim looks at, past those who have to wait for somebody.
const PAGES_MAX: u32 = 4;

/// What was handed out.
#[derive(Debug, Default)]
pub struct Claim {
    pub events: Vec<Claimed>,
    /// Whether something due may have been left: for want of room, or because somebody is at another event of its subject.
    pub is_one_left: bool,
}

impl Store {
    /// Hands out up to `limit` due events, the longest due first and one per subject, each under a lease until `until`;
    /// fewer where the leases of all processes would be too many. Leases that have passed are free again.
    ///
    /// A lease that is lost with the database's last moments was never there: whoever holds it can record nothing, and the
    /// event is handed out again.
    ///
    /// A later event of a subject may overtake one that waits for its retry: the final state does not depend on their
    /// order, and a revocation must not wait behind a creation that fails.
    pub async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claim, StoreError> {
        let (entropy, in_flight_max) = (Arc::clone(&self.entropy), self.in_flight_max);
        let claim = self.db.write_alone(AdvisoryLock::Claim, move |tx| {
            Box::pin(async move {
                let length = limit.saturating_mul(PAGE_FOR_EACH).min(PAGE_MAX);
                let (out, first) = look(tx, now, length).await?;
                // Only a claim makes leases, and claims are one at a time: this count can be too high, and never too low.
                let out_count = u32::try_from(out.len()).unwrap_or(u32::MAX);
                let room = limit.min(in_flight_max.saturating_sub(out_count));
                let (chosen, is_one_left) = Line::new(out, length).choose(tx, now, room, first).await?;
                let events = if chosen.is_empty() { vec![] } else { take(tx, until, entropy.id(now), chosen).await? };
                Ok(Claim { events, is_one_left })
            })
        });
        claim.await
    }

    /// Holds on to a lease for longer. `false`: it has passed, and its holder must stop.
    pub async fn renew(&self, claimed: &Claimed, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let renew = "UPDATE inbox SET lease_until = $1 WHERE seq = $2 AND lease = $3 AND lease_until > $4";
        let values = [until.into(), Value::from(claimed.seq), claimed.lease.as_str().into(), now.into()];
        let held: u64 = self.db.write(move |tx| Box::pin(tx.execute(renew, values))).await?;
        Ok(held == 1)
    }

    /// When the next event falls due: `None` when nothing waits.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let due = "SELECT MIN(due_at) AS due_at FROM inbox WHERE state = 'due' AND lease IS NULL";
        self.db.fetch(due, []).await?.first().map_or(Ok(None), |row| row.opt_time("due_at"))
    }
}

/// The subjects of the leases that are out, and the first page of the line, after an end to the leases that have passed.
async fn look(tx: &mut Tx, now: Timestamp, length: u32) -> Result<(Vec<Option<String>>, Vec<Row>), StoreError> {
    const BOTH: &str = "
        SELECT seq, subject, lease_until, '' AS fact, 0 AS attempts, 0 AS due_at FROM inbox WHERE lease IS NOT NULL
        UNION ALL
        SELECT * FROM (SELECT seq, subject, lease_until, fact, attempts, due_at FROM inbox
                       WHERE state = 'due' AND lease IS NULL AND due_at <= $1 ORDER BY due_at, seq LIMIT $2) AS line
        ORDER BY due_at, seq";
    loop {
        let (mut out, mut passed, mut line) = (Vec::new(), Vec::new(), Vec::new());
        for row in tx.fetch(BOTH, [Value::from(now), length.into()]).await? {
            match row.opt_time("lease_until")? {
                Some(until) if until <= now => passed.push(row.int("seq")?),
                Some(_) => out.push(row.opt_text("subject")?),
                None => line.push(row),
            }
        }
        if passed.is_empty() {
            return Ok((out, line));
        }
        let end = format!(
            "UPDATE inbox SET lease = NULL, lease_until = NULL WHERE seq {} AND lease_until <= $2",
            tx.among(1)
        );
        tx.execute(end, [passed.into_iter().collect(), Value::from(now)]).await?;
        // Their events stand in the line again.
    }
}

/// Takes out leases on what was chosen, which maps each event to its twins.
async fn take(
    tx: &mut Tx,
    until: Timestamp,
    lease: Uuid,
    chosen: HashMap<i64, Vec<i64>>,
) -> Result<Vec<Claimed>, StoreError> {
    let take = format!(
        "UPDATE inbox SET lease = $2, lease_until = $1, attempts = attempts + 1 WHERE seq {} \
         RETURNING seq, source, event_id, event_type, received_at, fact, traceparent, attempts, lease",
        tx.among(3)
    );
    let values = [until.into(), Value::from(lease.to_string()), chosen.keys().copied().collect()];
    let mut claimed = Vec::with_capacity(chosen.len());
    for row in tx.fetch(take, values).await? {
        let twins = chosen.get(&row.int("seq")?).cloned().unwrap_or_default();
        claimed.push(Claimed { twins, ..rows::claimed(&row)? });
    }
    claimed.sort_unstable_by_key(|event| event.seq);
    Ok(claimed)
}

/// The line of due events, while a claim walks along it.
struct Line {
    /// Whose events are not to be handed out: somebody is at one of them, or will be in a moment.
    busy: HashSet<String>,
    /// What was chosen, and the twins of each.
    chosen: HashMap<i64, Vec<i64>>,
    /// The first of each subject among the chosen, and what it says.
    reports: HashMap<String, (i64, String)>,
    /// How far the line was looked at: `due_at` and `seq`.
    seen: (i64, i64),
    /// How much of it one look takes in.
    length: u32,
    /// Whether something stands in it that is not handed out now.
    is_one_left: bool,
}

impl Line {
    fn new(out: Vec<Option<String>>, length: u32) -> Self {
        Self {
            busy: out.into_iter().flatten().collect(),
            chosen: HashMap::new(),
            reports: HashMap::new(),
            seen: (i64::MIN, 0),
            length,
            is_one_left: false,
        }
    }

    /// Chooses up to `room` events, each with its [twins](Claimed::twins), from `first` on; and whether one may be left.
    async fn choose(
        mut self,
        tx: &mut Tx,
        now: Timestamp,
        room: u32,
        first: Vec<Row>,
    ) -> Result<(HashMap<i64, Vec<i64>>, bool), StoreError> {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (room, length) = (count(room), count(self.length));
        // Those beyond the first page are not all seen.
        self.is_one_left = first.len() >= length;
        let mut page = first;
        for number in 1..=PAGES_MAX {
            for row in &page {
                self.look_at(row, room)?;
            }
            if number == PAGES_MAX || self.chosen.len() >= room || page.len() < length {
                break;
            }
            page = self.page(tx, now).await?;
        }
        Ok((self.chosen, self.is_one_left))
    }

    /// What stands next in the line.
    async fn page(&self, tx: &mut Tx, now: Timestamp) -> Result<Vec<Row>, StoreError> {
        let page = format!(
            "SELECT seq, subject, fact, attempts, due_at FROM inbox \
             WHERE state = 'due' AND lease IS NULL AND due_at <= $1 AND (due_at, seq) > ($2, $3) \
               AND (subject IS NULL OR NOT (subject {})) \
             ORDER BY due_at, seq LIMIT $5",
            tx.among(4)
        );
        let (due_at, seq) = self.seen;
        let busy = self.busy.iter().cloned().collect();
        tx.fetch(page, [now.into(), Value::from(due_at), seq.into(), busy, self.length.into()]).await
    }

    fn look_at(&mut self, row: &Row, room: usize) -> Result<(), StoreError> {
        let (seq, subject) = (row.int("seq")?, row.opt_text("subject")?);
        self.seen = (row.int("due_at")?, seq);
        let has_room = self.chosen.len() < room;
        let Some(subject) = subject else {
            if has_room {
                self.chosen.insert(seq, vec![]);
            } else {
                self.is_one_left = true;
            }
            return Ok(());
        };
        let fact = row.text("fact")?;
        match self.reports.get(&subject) {
            Some((first, said)) if *said == fact && row.int("attempts")? == 0 => {
                self.chosen.entry(*first).or_default().push(seq);
            }
            None if has_room && self.busy.insert(subject.clone()) => {
                self.chosen.insert(seq, vec![]);
                if serde_json::from_str::<Fact>(&fact).is_ok_and(|fact| fact.is_report()) {
                    self.reports.insert(subject, (seq, fact));
                }
            }
            _ => self.is_one_left = true,
        }
        Ok(())
    }
}
