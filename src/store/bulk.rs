//! Many rows by one statement.
//!
//! SQLite gets them as one JSON array, whatever their number: one statement, prepared once, and one passage to the thread
//! that SQLite runs on and back, which costs more than a row does. Bytes do not go through JSON: they lie one behind the
//! other in a second parameter, and each row says which part of it is its own. PostgreSQL gets each column as an array.

use std::collections::HashSet;

use super::StoreError;
use super::sql::{Row, Tx, Value};

/// Which rows were new.
pub(super) enum Fresh {
    All,
    /// Those with these values in the two columns that make a row what it is.
    Only(HashSet<(String, String)>),
}

impl Fresh {
    pub(super) fn contains(&self, first: &str, second: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(keys) => keys.contains(&(first.to_owned(), second.to_owned())),
        }
    }
}

impl Tx {
    /// Inserts rows, each with a value for each of `columns`.
    pub(super) async fn insert<const N: usize>(
        &mut self,
        table: &str,
        columns: [&str; N],
        rows: Vec<[Value; N]>,
    ) -> Result<(), StoreError> {
        let head = format!("INSERT INTO {table} ({})", columns.join(", "));
        match self {
            _ if rows.is_empty() => {}
            Self::Sqlite(_) => {
                let packed = Packed::of(&rows)?;
                self.execute(format!("{head} {}", packed.select("")), packed.parameters).await?;
            }
            Self::Postgres(_) => {
                self.execute(format!("{head} SELECT * FROM {}", unnest(N)), columns_of(rows)).await?;
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
        let into = format!("INSERT INTO {table} (seq, {})", columns.join(", "));
        let (numbered, wanted) = match self {
            _ if rows.is_empty() => return Ok(()),
            Self::Sqlite(_) => {
                let packed = Packed::of(&rows)?;
                let insert = packed.select(&format!("(SELECT seq FROM {head}) + key + 1, "));
                let count = format!("UPDATE {head} SET seq = seq + json_array_length(?1)");
                // Two statements, and one passage to SQLite's thread.
                let numbered = self.execute(format!("{into} {insert}; {count}"), packed.parameters).await?;
                (numbered, rows.len() + 1)
            }
            Self::Postgres(_) => {
                let wanted = rows.len();
                let named: Vec<String> = (1..=N).map(|column| format!("c{column}")).collect();
                let named = named.join(", ");
                let insert = format!(
                    "WITH head AS (UPDATE {head} SET seq = seq + cardinality($1) RETURNING seq) \
                     {into} SELECT head.seq - cardinality($1) + place, {named} \
                     FROM head, {} WITH ORDINALITY AS rows ({named}, place)",
                    unnest(N)
                );
                (self.execute(insert, columns_of(rows)).await?, wanted)
            }
        };
        if usize::try_from(numbered).is_ok_and(|numbered| numbered == wanted) {
            Ok(())
        } else {
            Err(StoreError::Corrupt(format!("{head} has no row")))
        }
    }

    /// Inserts those rows that are not there yet, by the two columns of `key`, on which `table` has a unique index. On
    /// SQLite its primary key has to be `seq`, which counts up.
    pub(super) async fn insert_new<const N: usize>(
        &mut self,
        table: &str,
        columns: [&str; N],
        rows: Vec<[Value; N]>,
        key: [&str; 2],
    ) -> Result<Fresh, StoreError> {
        let head = format!("INSERT INTO {table} ({})", columns.join(", "));
        let [first, second] = key;
        let unless_there = format!("ON CONFLICT ({first}, {second}) DO NOTHING");
        let read = |row: Row| Ok((row.text(first)?, row.text(second)?));
        let fresh;
        match self {
            _ if rows.is_empty() => return Ok(Fresh::All),
            Self::Sqlite(_) => {
                let packed = Packed::of(&rows)?;
                let insert = format!("{head} {} WHERE true {unless_there}", packed.select(""));
                let count = self.execute(insert, packed.parameters).await?;
                if count == rows.len() as u64 {
                    return Ok(Fresh::All);
                }
                // There is one writer, so the newest rows are ours; asking for each row would make all of them dear.
                let newest = format!("SELECT {first}, {second} FROM {table} ORDER BY seq DESC LIMIT $1");
                fresh = self.fetch(newest, [i64::try_from(count).unwrap_or(i64::MAX).into()]).await?;
            }
            Self::Postgres(_) => {
                let insert = format!("{head} SELECT * FROM {} {unless_there} RETURNING {first}, {second}", unnest(N));
                fresh = self.fetch(insert, columns_of(rows)).await?;
            }
        }
        fresh.into_iter().map(read).collect::<Result<_, _>>().map(Fresh::Only)
    }
}

/// Rows as SQLite gets them.
struct Packed {
    /// How each column is read from the parameters.
    columns: String,
    parameters: [Value; 2],
}

impl Packed {
    fn of<const N: usize>(rows: &[[Value; N]]) -> Result<Self, StoreError> {
        let (mut json, mut bytes) = (Vec::new(), Vec::new());
        for row in rows {
            json.push(if json.is_empty() { b'[' } else { b',' });
            for (place, value) in row.iter().enumerate() {
                json.push(if place == 0 { b'[' } else { b',' });
                write(&mut json, &mut bytes, value).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            }
            json.push(b']');
        }
        json.push(b']');
        let column = |(place, value): (usize, &Value)| match value {
            Value::Bytes(_) => format!("substr(?2, value ->> '$[{place}][0]', value ->> '$[{place}][1]')"),
            _ => format!("value ->> {place}"),
        };
        let columns: Vec<String> = rows.iter().take(1).flat_map(|row| row.iter().enumerate().map(column)).collect();
        // Whatever was written is text.
        let json = String::from_utf8(json).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(Self { columns: columns.join(", "), parameters: [json.into(), Value::Bytes(Some(bytes))] })
    }

    /// Reads the rows; `first` is what stands before their columns, with a comma behind it.
    fn select(&self, first: &str) -> String {
        format!("SELECT {first}{} FROM jsonb_each(?1)", self.columns)
    }
}

fn write(json: &mut Vec<u8>, bytes: &mut Vec<u8>, value: &Value) -> serde_json::Result<()> {
    match value {
        Value::Int(value) => serde_json::to_writer(json, value),
        Value::Text(value) => serde_json::to_writer(json, value),
        Value::Bytes(None) => serde_json::to_writer(json, &[None::<usize>; 2]),
        Value::Bytes(Some(value)) => {
            // SQL counts from 1.
            let part = [bytes.len() + 1, value.len()];
            bytes.extend_from_slice(value);
            serde_json::to_writer(json, &part)
        }
        Value::Ints(_) | Value::Texts(_) | Value::Blobs(_) => unreachable!("a row has no lists"),
    }
}

/// Rows as PostgreSQL gets them.
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
    use super::super::sql::Db;
    use super::*;

    const COLUMNS: [&str; 4] = ["a", "b", "number", "bytes"];

    fn row(a: &str, number: Option<i64>, bytes: Option<&[u8]>) -> [Value; 4] {
        [a.into(), "x".into(), number.into(), Value::Bytes(bytes.map(<[u8]>::to_owned))]
    }

    async fn table() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().expect("a folder");
        let db = super::super::sqlite::connect(&format!("sqlite:{}/bulk.db", dir.path().display())).await;
        let db = db.expect("a database");
        let mut tx = db.begin().await.expect("a transaction");
        let create = "CREATE TABLE t (seq INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b TEXT, number INTEGER, bytes BLOB, \
                      UNIQUE (a, b))";
        tx.execute(create, []).await.expect("a table");
        tx.commit().await.expect("committed");
        (dir, db)
    }

    #[tokio::test]
    async fn every_value_arrives_as_it_is_whatever_stands_in_it() {
        let (_dir, db) = table().await;
        let mut tx = db.begin().await.expect("a transaction");
        let texts = ["plain", "\"quoted\\", "ünïcode 😀 \u{2028}", "{\"json\": [1]}", "", "\u{1}\u{7f}", "123"];
        let bodies: [Option<&[u8]>; 7] =
            [Some(b"{}"), Some(b"\xff\0\x01"), Some(b""), None, Some(b"[\"]"), Some(b"0"), Some(b"last")];
        let numbers = [Some(i64::MAX), Some(i64::MIN), Some(0), None, Some(-1), Some(1 << 53), Some((1 << 53) + 1)];
        let rows = (0..7).map(|index| row(texts[index], numbers[index], bodies[index])).collect();
        tx.insert("t", COLUMNS, rows).await.expect("inserted");
        let read = "SELECT a, number, bytes, typeof(bytes) AS kind FROM t ORDER BY seq";
        for (index, row) in tx.fetch(read, []).await.expect("rows").iter().enumerate() {
            assert_eq!(row.text("a").expect("a text"), texts[index]);
            assert_eq!(row.opt_int("number").expect("a number"), numbers[index]);
            let is_null = row.text("kind").expect("a type") == "null";
            assert_eq!((!is_null).then(|| row.bytes("bytes").expect("bytes")).as_deref(), bodies[index]);
        }
        tx.insert("t", COLUMNS, vec![]).await.expect("nothing is no mistake");
    }

    #[tokio::test]
    async fn rows_are_numbered_on_from_the_head_which_counts_them() {
        let (_dir, db) = table().await;
        let mut tx = db.begin().await.expect("a transaction");
        tx.execute("CREATE TABLE head (seq INTEGER NOT NULL)", []).await.expect("a table");
        let rows = |names: &[&str]| names.iter().map(|name| row(name, None, None)).collect::<Vec<_>>();
        let headless = tx.insert_numbered("t", "head", COLUMNS, rows(&["0"])).await;
        assert!(matches!(headless, Err(StoreError::Corrupt(_))), "{headless:?}");
        tx.execute("DELETE FROM t", []).await.expect("gone");
        tx.execute("INSERT INTO head (seq) VALUES (7)", []).await.expect("a head");
        for names in [&["c", "a", "b"][..], &[], &["d"]] {
            tx.insert_numbered("t", "head", COLUMNS, rows(names)).await.expect("inserted");
        }
        let read = tx
            .fetch("SELECT seq, a FROM t UNION ALL SELECT seq, 'head' FROM head ORDER BY seq, a", [])
            .await
            .expect("rows");
        let read: Vec<_> =
            read.iter().map(|row| (row.int("seq").expect("a number"), row.text("a").expect("text"))).collect();
        assert_eq!(read, [(8, "c"), (9, "a"), (10, "b"), (11, "d"), (11, "head")].map(|(seq, a)| (seq, a.to_owned())));
    }

    #[tokio::test]
    async fn what_is_new_is_told_from_what_is_there() {
        let (_dir, db) = table().await;
        let mut tx = db.begin().await.expect("a transaction");
        let rows = |names: &[&str]| names.iter().map(|name| row(name, None, None)).collect::<Vec<_>>();
        let fresh = tx.insert_new("t", COLUMNS, rows(&["1", "2"]), ["a", "b"]).await.expect("inserted");
        assert!(matches!(fresh, Fresh::All));
        let fresh = tx.insert_new("t", COLUMNS, rows(&["2", "3", "1", "4"]), ["a", "b"]).await.expect("inserted");
        let known: Vec<_> = ["1", "2", "3", "4"].map(|name| fresh.contains(name, "x")).to_vec();
        assert_eq!(known, [false, false, true, true]);
        let fresh = tx.insert_new("t", COLUMNS, rows(&["4", "1"]), ["a", "b"]).await.expect("inserted");
        assert!(!fresh.contains("4", "x") && !fresh.contains("1", "x"));
    }
}
