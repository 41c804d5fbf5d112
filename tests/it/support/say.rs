//! What a run tells the person who started it, though its tests pass: the harness keeps what passing tests print.

use std::io::Write as _;

pub(crate) fn say(text: &str) {
    // In one piece, between the harness's own lines.
    let line = format!("\n    {text}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("somebody listens");
}
