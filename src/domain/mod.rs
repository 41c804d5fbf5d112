//! The words and the rules: pure values that know no clock, no wire, no table.
//!
//! `Fact` and `PlanSpec` carry serde because they are themselves versioned contracts (`schemas/`); nothing else here
//! does.

pub mod event;

pub use event::{Event, Fact, Person};
