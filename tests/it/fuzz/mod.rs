//! Inputs that nobody thought of, against what must hold for all of them.
//!
//! A target is a function of bytes, in `targets` and `signature`. It sees what is kept in `tests/corpus` first, and then
//! fresh inputs: kept ones with pieces changed, and pieces put together. One that breaks something is made as small as it
//! gets, printed, and kept in the corpus, so that it is among the first from then on. `KEYFERRY_FUZZ_SEED=N` plays the same
//! fresh ones again, `KEYFERRY_FUZZ_CASES=N` more of them.

mod oracle;
mod signature;
mod targets;

use std::fs;
use std::path::PathBuf;

use keyferry::clock::{Entropy as _, SystemEntropy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use sha2::{Digest as _, Sha256};

use crate::support::asked::asked_for;

const CASES: u64 = 1500;
/// A change touches no more bytes than this.
const SPAN_MAX: usize = 24;

/// A function that panics when what must hold for its input does not.
type Target = fn(&[u8]);
/// Where, how far, what to do there, and with which piece.
type Change = (Index, Index, u8, Vec<u8>);

#[test]
fn signatures_are_judged_as_the_reference_libraries_judge_them() {
    play("signature", signature::agrees, &signature::WORDS);
}

#[test]
fn bodies_are_read_where_they_are_json_and_put_aside_where_not() {
    play("body", targets::body, &targets::JSON_WORDS);
}

#[test]
fn batches_are_read_item_by_item() {
    play("cloud_events", targets::cloud_events, &targets::JSON_WORDS);
}

#[test]
fn messages_are_ours_or_refused() {
    play("envelope", targets::envelope, &targets::ENVELOPE_WORDS);
}

#[test]
fn plans_are_read_or_complained_of() {
    play("plan", targets::plan, &targets::JSON_WORDS);
}

#[test]
fn queries_of_the_sandbox_are_answered() {
    play("query", targets::query, &targets::QUERY_WORDS);
}

fn play(name: &str, target: Target, words: &'static [&'static str]) {
    let kept = corpus(name);
    for (file, bytes) in &kept {
        println!("{name}: {file}");
        target(bytes);
    }
    let seed = asked_for("KEYFERRY_FUZZ_SEED").unwrap_or_else(|| SystemEntropy.next_u64());
    let cases = asked_for("KEYFERRY_FUZZ_CASES").unwrap_or(CASES);
    println!("{name}: {cases} fresh inputs; KEYFERRY_FUZZ_SEED={seed} plays them again");
    let cases = u32::try_from(cases).expect("fewer than four billion");
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.to_le_bytes().repeat(4));
    let kept = kept.into_iter().map(|(_, bytes)| bytes).collect();
    let outcome = TestRunner::new_with_rng(config, rng).run(&input(kept, words), |bytes| {
        target(&bytes);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, bytes)) => {
            let (path, text) = (keep(name, &bytes), String::from_utf8_lossy(&bytes).into_owned());
            panic!("{why}\nKEYFERRY_FUZZ_SEED={seed}; kept as {}:\n{text}", path.display());
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

fn input(kept: Vec<Vec<u8>>, words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..8),
        1 => "[ -~]{0,8}".prop_map(String::into_bytes),
    ];
    let change = (any::<Index>(), any::<Index>(), 0..4_u8, piece.clone());
    prop_oneof![
        3 => (select(kept), vec(change, 0..5)).prop_map(|(bytes, changes)| changes.into_iter().fold(bytes, changed)),
        1 => vec(piece, 0..40).prop_map(|pieces| pieces.concat()),
    ]
}

fn changed(mut bytes: Vec<u8>, (at, length, kind, piece): Change) -> Vec<u8> {
    let at = at.index(bytes.len() + 1);
    let end = at + length.index(SPAN_MAX).min(bytes.len() - at);
    match kind {
        0 => drop(bytes.splice(at..at, piece)),
        1 => drop(bytes.splice(at..end, piece)),
        2 => drop(bytes.drain(at..end)),
        _ => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
    }
    bytes
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

/// The kept inputs of a target, by the names of their files.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder(name)).expect("a corpus").map(|entry| entry.expect("an entry").path());
    let mut kept: Vec<_> = files
        .map(|path| {
            let file = path.file_name().expect("a file").to_string_lossy().into_owned();
            (file, fs::read(&path).expect("its bytes"))
        })
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "{name} has a corpus");
    kept
}

fn keep(name: &str, bytes: &[u8]) -> PathBuf {
    const DIGEST_BYTES: usize = 6;
    let path = folder(name).join(format!("found-{}", hex::encode(&Sha256::digest(bytes)[..DIGEST_BYTES])));
    fs::write(&path, bytes).expect("the corpus can be written");
    path
}
