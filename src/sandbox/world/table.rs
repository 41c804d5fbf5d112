//! Everything that ever was of one kind, in the order of its making.
//!
//! Rows are never taken out: what is deleted is marked, so that `/_sandbox/world` can still tell of it.

use std::collections::HashMap;
use std::hash::Hash;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What every row can say of itself.
pub(crate) trait Row {
    type Id: Copy + Eq + Hash;

    fn id(&self) -> Self::Id;
    fn created_at(&self) -> Timestamp;
    fn deleted_at(&self) -> Option<Timestamp>;
}

/// Implements [`Row`] for a struct with the named id field, `created_at` and `deleted_at`.
macro_rules! row {
    ($row:ty, $field:ident: $id:ty) => {
        impl crate::sandbox::world::table::Row for $row {
            type Id = $id;

            fn id(&self) -> $id {
                self.$field
            }

            fn created_at(&self) -> jiff::Timestamp {
                self.created_at
            }

            fn deleted_at(&self) -> Option<jiff::Timestamp> {
                self.deleted_at
            }
        }
    };
}
pub(crate) use row;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<T>", into = "Vec<T>")]
#[serde(bound(serialize = "T: Row + Clone + Serialize", deserialize = "T: Row + Deserialize<'de>"))]
pub(crate) struct Table<T: Row> {
    rows: Vec<T>,
    places: HashMap<T::Id, usize>,
}

impl<T: Row> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Row> From<Vec<T>> for Table<T> {
    fn from(rows: Vec<T>) -> Self {
        let places = rows.iter().enumerate().map(|(place, row)| (row.id(), place)).collect();
        Self { rows, places }
    }
}

impl<T: Row> From<Table<T>> for Vec<T> {
    fn from(table: Table<T>) -> Self {
        table.rows
    }
}

impl<T: Row> Table<T> {
    pub(crate) fn insert(&mut self, row: T) {
        self.places.insert(row.id(), self.rows.len());
        self.rows.push(row);
    }

    /// The row with this id, unless it was deleted.
    pub(crate) fn get(&self, id: T::Id) -> Option<&T> {
        self.at(id).filter(|row| row.deleted_at().is_none())
    }

    pub(crate) fn get_mut(&mut self, id: T::Id) -> Option<&mut T> {
        let place = *self.places.get(&id)?;
        self.rows.get_mut(place).filter(|row| row.deleted_at().is_none())
    }

    /// The row with this id, deleted or not.
    pub(crate) fn at(&self, id: T::Id) -> Option<&T> {
        self.rows.get(*self.places.get(&id)?)
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().filter(|row| row.deleted_at().is_none())
    }

    pub(crate) fn all(&self) -> &[T] {
        &self.rows
    }
}
