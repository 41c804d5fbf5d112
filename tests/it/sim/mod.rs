//! Schedules by the thousand: the real receiver, queue, store and worker in one process, on a clock that a seed moves,
//! against the sandbox's world, with everything going wrong that can. They are short, with three plans of two guests:
//! what goes wrong among many goes wrong among few, and planted bugs are found as soon in the time that this saves.
//!
//! A schedule is a seed's: the same seed plays the same, step for step, so that one that broke something is played again
//! by its number (`KEYFERRY_SIM_SEED`). `KEYFERRY_SIM_SECONDS` plays fresh ones for so long.

mod bus;
mod desk;
mod judge;
mod outside;
mod planted;
mod post;
mod process;
mod schedule;
mod staff;
mod stage;
mod town;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyferry::clock::{Entropy as _, SystemEntropy};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::support::asked::asked_for;
use crate::support::say::say;
use planted::Bug;
use schedule::{Broken, Schedule};
use stage::Stage;

/// Seeds that every run plays.
const FIXED: u64 = 200;
/// How long fresh ones are played beside them.
const FRESH: Duration = Duration::from_secs(40);
/// How many schedules a planted bug may survive.
const PLANTED_MAX: u64 = 5_000;

/// The schedules that were played, and what their traces come to.
type Played = BTreeMap<u64, u64>;

/// Keeps this thread and those that it starts on one processor. A player and its database wait for each other, and to
/// wake somebody on another processor takes longer than most of what they wait for.
fn stay_on(processor: usize) {
    let mut processors = CpuSet::new();
    processors.set(processor);
    sched_setaffinity(None, &processors).expect("one of those that this process may use");
}

/// Plays on this thread until `next` has no more seeds, or one breaks something.
fn play(bug: Option<Bug>, mut next: impl FnMut() -> Option<u64>) -> Result<Played, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut stage = Stage::new(bug).await;
        let mut played = Played::new();
        while let Some(seed) = next() {
            let mut sum = DefaultHasher::new();
            Schedule::play(&mut stage, seed).await?.hash(&mut sum);
            played.insert(seed, sum.finish());
        }
        Ok(played)
    })
}

/// Plays all seeds of `next`, on all processors.
fn play_all(next: impl Fn() -> Option<u64> + Sync) -> usize {
    let ours = sched_getaffinity(None).expect("the processors that this process may use");
    std::thread::scope(|scope| {
        let next = &next;
        let player = |processor| {
            scope.spawn(move || {
                stay_on(processor);
                sound(play(None, next)).len()
            })
        };
        let players: Vec<_> = (0..CpuSet::MAX_CPU).filter(|processor| ours.is_set(*processor)).map(player).collect();
        players.into_iter().map(|player| player.join().unwrap_or_else(|panic| resume_unwind(panic))).sum()
    })
}

fn sound(played: Result<Played, Broken>) -> Played {
    played.unwrap_or_else(|Broken { seed, why, trace }| {
        panic!("{trace}\nthe schedule of KEYFERRY_SIM_SEED={seed} broke something:\n{why}")
    })
}

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_is_done_twice() {
    if let Some(seed) = asked_for("KEYFERRY_SIM_SEED") {
        let mut seeds = [seed].into_iter();
        say(&format!("{:?}", sound(play(None, || seeds.next()))));
        return;
    }
    let began = Instant::now();
    let first = SystemEntropy.next_u64() >> 1;
    let given = AtomicU64::new(0);
    let time = asked_for("KEYFERRY_SIM_SECONDS").map_or(FRESH, Duration::from_secs);
    let played = play_all(|| match given.fetch_add(1, Ordering::Relaxed) {
        number if number < FIXED => Some(number),
        number if began.elapsed() < time => Some(first + number),
        _ => None,
    });
    let seconds = began.elapsed().as_secs();
    say(&format!(
        "sim: {played} schedules in {seconds} s, {FIXED} fixed ones and fresh ones from seed {} on",
        first + FIXED
    ));
}

#[test]
fn a_seed_plays_the_same_again() {
    let played = |seeds: [u64; 8]| {
        let mut seeds = seeds.into_iter();
        sound(play(None, || seeds.next()))
    };
    // In another order, so that what one schedule leaves behind would show in the next.
    assert_eq!(played([1, 2, 3, 4, 5, 6, 7, 8]), played([8, 6, 4, 2, 7, 5, 3, 1]));
}

#[test]
fn planted_bugs_are_found() {
    for bug in Bug::ALL {
        let mut seeds = 0..PLANTED_MAX;
        let Err(broken) = play(Some(bug), || seeds.next()) else { panic!("{bug:?} was not found") };
        let why = broken.why.lines().next().unwrap_or_default();
        say(&format!("sim: the planted {bug:?} was found by schedule {}: {why}", broken.seed + 1));
    }
}
