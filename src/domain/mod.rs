//! The words and the rules: pure values that know no clock, no wire, no table.
//!
//! [`Fact`] and [`PlanSpec`] carry serde because they are themselves versioned contracts (`schemas/`); nothing else here
//! does.

pub mod event;
pub mod issuance;
pub mod ledger;
pub mod name;
pub mod outcome;
pub mod phone;
pub mod plan;
pub mod rhythm;
pub mod secret_use;
pub mod text;

pub use event::{Event, Fact, Person};
pub use issuance::{Issuance, Status};
pub use ledger::{Entry, Kind};
pub use outcome::{Backoff, Outcome};
pub use phone::{KeyStatus, Phone, PhoneKey};
pub use plan::{FieldError, Plan, PlanSpec};
pub use rhythm::Rhythm;
pub use secret_use::SecretUse;
