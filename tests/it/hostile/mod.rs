//! The real program, and everything that a hostile or broken sender may write to it: bytes in, status out, trace left.
//!
//! Each table is a list of rows; a row spoils one good letter. A refused one leaves nothing: no inbox row, no ledger
//! line, nothing parked. An accepted one leaves exactly one terminal line, `event.ignored` or `event.parked`, and what is
//! parked keeps its bytes. After each row a good letter passes, on a connection of its own, and the process stays small.
//! `docs/hostile.md` lists what is tried, by number; a row names the numbers that it plays.

mod again;
mod configured;
mod fort;
mod framing;
mod heads;
mod json;
mod leaks;
mod letter;
mod limits;
mod operators;
mod signature;
mod timestamps;

use std::collections::BTreeSet;

use fort::Fort;
use letter::Letter;

use crate::support::ground::Shape;

/// In place of a status: the connection ended without one.
const CLOSED: u16 = 0;

/// What a row wants to happen.
#[derive(Debug, Clone, Copy)]
enum Wants {
    /// One of these statuses, and no trace.
    Refused(&'static [u16]),
    /// 202, one event, which asks nothing of us.
    Ignored,
    /// 202, and the bytes are put aside with a reason that says this.
    Parked(&'static str),
}

use Wants::{Ignored, Parked, Refused};

/// A row: which entries of `docs/hostile.md` it plays, what it is, what it wants, and how it spoils a good letter.
type Row = (&'static str, &'static str, Wants, fn(Letter) -> Vec<u8>);

const TABLES: [&[Row]; 5] = [signature::ROWS, timestamps::ROWS, json::ROWS, heads::ROWS, framing::ROWS];

/// The entries of `docs/hostile.md` that the rows play.
pub(crate) fn played() -> BTreeSet<&'static str> {
    let rows = TABLES.into_iter().flatten().map(|(numbers, ..)| *numbers);
    let others = configured::ROWS.iter().map(|row| row.numbers).chain(operators::ROWS.iter().map(|row| row.numbers));
    rows.chain(others).flat_map(str::split_whitespace).collect()
}

#[tokio::test]
async fn every_row_has_its_answer_and_its_trace() {
    let mut fort = Fort::new(Shape::Embedded).await;
    for rows in TABLES {
        fort.face(rows).await;
    }
}

#[tokio::test]
async fn the_same_over_the_broker() {
    let mut fort = Fort::new(Shape::Brokered).await;
    for rows in [signature::ROWS, json::ROWS] {
        // Every other row: what the broker adds is the same for all.
        fort.face(rows.iter().step_by(2)).await;
    }
}
