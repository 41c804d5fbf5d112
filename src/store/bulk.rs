//! Many rows at once: SQLite gets them one after the other, by a statement that is prepared once; PostgreSQL all by one
//! statement, each column as an array, since to it each statement is a way there and back.

use std::collections::HashSet;
use std::iter;

use super::StoreError;
use super::sql::{Tx, Value};
use super::statement;

impl Tx {
    /// Inserts rows, each with a value for each of `columns`.
    pub(super) async fn insert<const N: usize>(
        &mut self,
        table: &str,
        columns: [&str; N],
        rows: Vec<[Value; N]>,
    ) -> Result<(), StoreError> {
        match self {
            _ if rows.is_empty() => {}
            Self::Sqlite(connection) => {
                statement::execute_each(connection, &insert_one(table, &columns), rows)?;
            }
            Self::Postgres(_) => {
                self.execute(insert_all(table, &columns), columns_of(rows)).await?;
            }
        }
        Ok(())
    }

    /// Inserts rows in their order, numbered in the column `seq` from where the one row of `head` stands, which counts
    /// them. Whoever comes second waits at that row until the first has committed: this comes last in a transaction.
    pub(super) async fn insert_numbered<const N: usize>(
        &mut self,
        table: &str,
        head: &str,
        columns: [&str; N],
        rows: Vec<[Value; N]>,
    ) -> Result<(), StoreError> {
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        match self {
            _ if rows.is_empty() => return Ok(()),
            Self::Sqlite(connection) => {
                let take = format!("UPDATE {head} SET seq = seq + $1 RETURNING seq - $1 AS last");
                if let Some(taken) = statement::fetch(connection, &take, [count.into()])?.first() {
                    let numbers = taken.int("last")? + 1..;
                    let numbered = numbers.zip(rows).map(|(seq, row)| iter::once(Value::from(seq)).chain(row));
                    let named: Vec<&str> = iter::once("seq").chain(columns).collect();
                    statement::execute_each(connection, &insert_one(table, &named), numbered)?;
                    return Ok(());
                }
            }
            Self::Postgres(_) => {
                let named: Vec<String> = (1..=N).map(|column| format!("c{column}")).collect();
                let named = named.join(", ");
                let insert = format!(
                    "WITH head AS (UPDATE {head} SET seq = seq + cardinality($1) RETURNING seq) \
                     INSERT INTO {table} (seq, {}) SELECT head.seq - cardinality($1) + place, {named} \
                     FROM head, {} WITH ORDINALITY AS rows ({named}, place)",
                    columns.join(", "),
                    unnest(N)
                );
                if i64::try_from(self.execute(insert, columns_of(rows)).await?).is_ok_and(|written| written == count) {
                    return Ok(());
                }
            }
        }
        Err(StoreError::Corrupt(format!("{head} has no row")))
    }

    /// Inserts those rows that are not there yet, by the two columns of `key`, which are texts and on which `table` has a
    /// unique index. Says of each row whether it was new.
    pub(super) async fn insert_new<const N: usize>(
        &mut self,
        table: &str,
        columns: [&str; N],
        rows: Vec<[Value; N]>,
        key: [&str; 2],
    ) -> Result<Vec<bool>, StoreError> {
        let [first, second] = key;
        let unless_there = format!("ON CONFLICT ({first}, {second}) DO NOTHING");
        match self {
            _ if rows.is_empty() => Ok(vec![]),
            Self::Sqlite(connection) => {
                statement::execute_each(connection, &format!("{} {unless_there}", insert_one(table, &columns)), rows)
            }
            Self::Postgres(_) => {
                let key_of = |row: &[Value; N]| {
                    key.map(|name| match columns.iter().position(|column| *column == name).map(|place| &row[place]) {
                        Some(Value::Text(text)) => text.clone(),
                        _ => None,
                    })
                };
                let keys: Vec<_> = rows.iter().map(key_of).collect();
                let insert = format!("{} {unless_there} RETURNING {first}, {second}", insert_all(table, &columns));
                let mut new = HashSet::new();
                for row in self.fetch(insert, columns_of(rows)).await? {
                    new.insert([Some(row.text(first)?), Some(row.text(second)?)]);
                }
                Ok(keys.iter().map(|key| new.contains(key)).collect())
            }
        }
    }
}

/// As SQLite gets it.
fn insert_one(table: &str, columns: &[&str]) -> String {
    format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), vec!["?"; columns.len()].join(", "))
}

/// As PostgreSQL gets it.
fn insert_all(table: &str, columns: &[&str]) -> String {
    format!("INSERT INTO {table} ({}) SELECT * FROM {}", columns.join(", "), unnest(columns.len()))
}

/// Rows, made of a list for each column.
fn unnest(columns: usize) -> String {
    let arrays: Vec<String> = (1..=columns).map(|column| format!("${column}")).collect();
    format!("UNNEST({})", arrays.join(", "))
}

/// Rows, column by column. A column is of the kind that its first row is of.
fn columns_of<const N: usize>(rows: Vec<[Value; N]>) -> Vec<Value> {
    let mut columns: Vec<Value> = Vec::with_capacity(N);
    for (index, row) in rows.into_iter().enumerate() {
        for (place, value) in row.into_iter().enumerate() {
            if index == 0 {
                columns.push(match value {
                    Value::Int(_) => Value::Ints(vec![]),
                    Value::Bytes(_) => Value::Blobs(vec![]),
                    _ => Value::Texts(vec![]),
                });
            }
            match (&mut columns[place], value) {
                (Value::Ints(column), Value::Int(value)) => column.push(value),
                (Value::Texts(column), Value::Text(value)) => column.push(value),
                (Value::Blobs(column), Value::Bytes(value)) => column.push(value),
                _ => unreachable!("a column has values of one type"),
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::super::sqlite::Sqlite;
    use super::super::value::Row;
    use super::*;

    const COLUMNS: [&str; 4] = ["a", "b", "number", "bytes"];

    const TABLE: &str = "CREATE TABLE t (seq INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b TEXT, number INTEGER, \
                         bytes BLOB, UNIQUE (a, b))";

    fn row(a: &str, number: Option<i64>, bytes: Option<&[u8]>) -> [Value; 4] {
        [a.into(), "x".into(), number.into(), Value::Bytes(bytes.map(<[u8]>::to_owned))]
    }

    fn named(names: &[&str]) -> Vec<[Value; 4]> {
        names.iter().map(|name| row(name, None, None)).collect()
    }

    /// A database with a table; what it does is in its one transaction.
    async fn in_a_table(job: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, ()> + Send + 'static) {
        let dir = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::connect(&format!("sqlite:{}/bulk.db", dir.path().display())).await.expect("a database");
        let work = sqlite.write(
            |()| true,
            |tx| {
                Box::pin(async move {
                    tx.execute(TABLE, []).await?;
                    job(tx).await;
                    Ok::<_, StoreError>(())
                })
            },
        );
        work.await.expect("committed");
    }

    async fn rows(tx: &mut Tx, sql: &str) -> Vec<Row> {
        tx.fetch(sql, []).await.expect("rows")
    }

    #[tokio::test]
    async fn every_value_arrives_as_it_is_whatever_stands_in_it() {
        in_a_table(|tx| {
            Box::pin(async move {
                let texts = ["plain", "\"quoted\\", "ünïcode 😀 \u{2028}", "{\"json\": [1]}", "", "\u{1}\u{7f}", "123"];
                let bodies: [Option<&[u8]>; 7] =
                    [Some(b"{}"), Some(b"\xff\0\x01"), Some(b""), None, Some(b"[\"]"), Some(b"0"), Some(b"last")];
                let numbers =
                    [Some(i64::MAX), Some(i64::MIN), Some(0), None, Some(-1), Some(1 << 53), Some((1 << 53) + 1)];
                let all = (0..7).map(|index| row(texts[index], numbers[index], bodies[index])).collect();
                tx.insert("t", COLUMNS, all).await.expect("inserted");
                let read = "SELECT a, number, bytes, typeof(bytes) AS kind FROM t ORDER BY seq";
                for (index, row) in rows(tx, read).await.iter().enumerate() {
                    assert_eq!(row.text("a").expect("a text"), texts[index]);
                    assert_eq!(row.opt_int("number").expect("a number"), numbers[index]);
                    let is_null = row.text("kind").expect("a type") == "null";
                    assert_eq!((!is_null).then(|| row.bytes("bytes").expect("bytes")).as_deref(), bodies[index]);
                }
                tx.insert("t", COLUMNS, vec![]).await.expect("nothing is no mistake");
            })
        })
        .await;
    }

    #[tokio::test]
    async fn rows_are_numbered_on_from_the_head_which_counts_them() {
        in_a_table(|tx| {
            Box::pin(async move {
                tx.execute("CREATE TABLE head (seq INTEGER NOT NULL)", []).await.expect("a table");
                let headless = tx.insert_numbered("t", "head", COLUMNS, named(&["0"])).await;
                assert!(matches!(headless, Err(StoreError::Corrupt(_))), "{headless:?}");
                tx.execute("INSERT INTO head (seq) VALUES (7)", []).await.expect("a head");
                for names in [&["c", "a", "b"][..], &[], &["d"]] {
                    tx.insert_numbered("t", "head", COLUMNS, named(names)).await.expect("inserted");
                }
                let read = "SELECT seq, a FROM t UNION ALL SELECT seq, 'head' FROM head ORDER BY seq, a";
                let read = rows(tx, read).await;
                let read: Vec<_> =
                    read.iter().map(|row| (row.int("seq").expect("a number"), row.text("a").expect("text"))).collect();
                let wanted = [(8, "c"), (9, "a"), (10, "b"), (11, "d"), (11, "head")];
                assert_eq!(read, wanted.map(|(seq, a)| (seq, a.to_owned())));
            })
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_new_is_told_from_what_is_there() {
        in_a_table(|tx| {
            Box::pin(async move {
                for (names, new) in [
                    (&["1", "2"][..], &[true, true][..]),
                    (&["2", "3", "1", "4"], &[false, true, false, true]),
                    (&["4", "1"], &[false, false]),
                    (&[], &[]),
                ] {
                    let told = tx.insert_new("t", COLUMNS, named(names), ["a", "b"]).await.expect("inserted");
                    assert_eq!(told, new, "{names:?}");
                }
            })
        })
        .await;
    }
}
