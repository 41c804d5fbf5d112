//! A statement on SQLite: what goes in, and the rows that come out.

use std::sync::Arc;

use rusqlite::types::{FromSql, ToSqlOutput, Value as Column, ValueRef};
use rusqlite::{Connection, Statement, ToSql};
use serde::Serialize;

use super::StoreError;
use super::value::{Row, Value};

/// Runs a statement; the number of rows that it changed.
pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    Ok(statement.raw_execute()? as u64)
}

/// Runs one statement for each of `rows`; says of each whether it changed something.
pub(super) fn execute_each<R: IntoIterator<Item = Value>>(
    connection: &Connection,
    sql: &str,
    rows: impl IntoIterator<Item = R>,
) -> Result<Vec<bool>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut execute = |row| {
        bind(&mut statement, row)?;
        Ok(statement.raw_execute()? > 0)
    };
    rows.into_iter().map(&mut execute).collect()
}

pub(super) fn fetch(
    connection: &Connection,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    let names: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.raw_query();
    let mut fetched = Vec::new();
    while let Some(row) = rows.next()? {
        let columns = (0..names.len()).map(|index| row.get(index)).collect::<Result<_, _>>()?;
        fetched.push(Row::Sqlite(SqliteRow { names: Arc::clone(&names), columns }));
    }
    Ok(fetched)
}

/// `$3` is the third value, wherever it stands: to SQLite it is a name, and the names are numbered as they come.
fn bind(statement: &mut Statement<'_>, values: impl IntoIterator<Item = Value>) -> rusqlite::Result<()> {
    let values: Vec<Value> = values.into_iter().collect();
    for index in 1..=statement.parameter_count() {
        let named = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse().ok());
        let place: usize = named.unwrap_or(index);
        let value = values.get(place - 1).ok_or(rusqlite::Error::InvalidParameterCount(values.len(), place))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        fn borrowed<'v>(value: Option<impl Into<ValueRef<'v>>>) -> ToSqlOutput<'v> {
            ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, Into::into))
        }
        // SQLite has no lists. Numbers and strings always are JSON.
        fn json<T: Serialize>(values: &[T]) -> ToSqlOutput<'static> {
            ToSqlOutput::Owned(Column::Text(serde_json::to_string(values).unwrap_or_default()))
        }
        Ok(match self {
            Self::Int(value) => ToSqlOutput::Owned(value.map_or(Column::Null, Column::Integer)),
            Self::Text(value) => borrowed(value.as_deref()),
            Self::Bytes(value) => borrowed(value.as_deref()),
            Self::Ints(values) => json(values),
            Self::Texts(values) => json(values),
            Self::Blobs(values) => json(values),
        })
    }
}

pub(super) struct SqliteRow {
    /// Of the columns, in their order.
    names: Arc<[String]>,
    columns: Vec<Column>,
}

impl SqliteRow {
    pub(super) fn get<T: FromSql>(&self, name: &str) -> Result<T, StoreError> {
        let place = self.names.iter().position(|it| it == name);
        let column = place.and_then(|place| self.columns.get(place));
        let column = column.ok_or_else(|| StoreError::Corrupt(format!("there is no column {name}")))?;
        T::column_result(column.into()).map_err(|error| StoreError::Corrupt(format!("{name}: {error}")))
    }
}
