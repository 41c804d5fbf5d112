//! How many issuances and phone keys stand where. The database keeps the books itself (`schemas/sql`), as lines that are
//! added to and summed up; so it costs the same for a hundred plans and for a million.

use std::collections::BTreeMap;

use super::sql::{Row, Value};
use super::{Store, StoreError};

/// As many lines as are worth summing up, and as many as are at once.
const LINES_MIN: usize = 200;
const LINES_MAX: u32 = 1_000;

impl Store {
    /// How many issuances stand at each status that occurs, and phone keys likewise.
    pub async fn status_counts(&self) -> Result<(Vec<(String, i64)>, Vec<(String, i64)>), StoreError> {
        let sums = "SELECT what, status, CAST(SUM(times) AS BIGINT) AS times FROM tallies \
                    GROUP BY what, status HAVING SUM(times) <> 0 ORDER BY what, status";
        let (mut issuances, mut keys) = (Vec::new(), Vec::new());
        for row in &self.db.fetch(sums, []).await? {
            let counts = if row.text("what")? == "issuance" { &mut issuances } else { &mut keys };
            counts.push((row.text("status")?, row.int("times")?));
        }
        Ok((issuances, keys))
    }

    /// Sums up the oldest lines, if there are many. Any number of processes may do it at once.
    pub async fn sum_up(&self) -> Result<(), StoreError> {
        let oldest = "SELECT id, what, status, times FROM tallies ORDER BY id LIMIT $1";
        let lines = self.db.fetch(oldest, [LINES_MAX.into()]).await?;
        if lines.len() < LINES_MIN {
            return Ok(());
        }
        let ids = lines.iter().map(|row| row.int("id")).collect::<Result<Vec<_>, _>>()?;
        let sums = sums(&lines)?;
        // Not all of them: another process has summed up some in the meantime, and what is removed here comes back.
        let are_all = |is_all: &bool| *is_all;
        let summed_up = self.db.write_if(are_all, move |tx| {
            Box::pin(async move {
                let gone = format!("DELETE FROM tallies WHERE id {}", tx.among(1));
                let count = ids.len();
                let removed = tx.execute(gone, [ids.into_iter().collect::<Value>()]).await?;
                tx.insert("tallies", ["what", "status", "times"], sums).await?;
                Ok::<_, StoreError>(usize::try_from(removed).ok() == Some(count))
            })
        });
        summed_up.await.map(drop)
    }
}

fn sums(lines: &[Row]) -> Result<Vec<[Value; 3]>, StoreError> {
    let mut sums: BTreeMap<(String, String), i64> = BTreeMap::new();
    for line in lines {
        *sums.entry((line.text("what")?, line.text("status")?)).or_default() += line.int("times")?;
    }
    sums.retain(|_, times| *times != 0);
    Ok(sums.into_iter().map(|((what, status), times)| [what.into(), status.into(), times.into()]).collect())
}
