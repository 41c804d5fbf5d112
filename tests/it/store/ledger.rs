//! The ledger: numbers without gaps, visible in their order, so that whoever follows it misses nothing.

use keyferry::queue::Inbox as _;

use super::registered;
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(numbers_have_no_gaps_and_become_visible_in_order, a_page_goes_on_where_the_last_one_ended);

async fn numbers_have_no_gaps_and_become_visible_in_order(bench: Bench) {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let now = bench.now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = bench.other_process().await;
        writers.spawn(async move {
            for n in 0..EACH {
                let event = registered(&format!("e-{writer}-{n}"), &format!("p-{writer}-{n}"), now);
                store.accept(vec![event]).await.expect("accepted");
            }
        });
    }
    // Follows while they write: what it has seen must never be added to behind its back.
    let mut seen = Vec::new();
    while seen.len() < WRITERS * EACH {
        let after = seen.last().copied().unwrap_or(0);
        let lines = bench.store.ledger(after, 1000).await.expect("a ledger");
        seen.extend(lines.into_iter().map(|line| line.seq));
        tokio::task::yield_now().await;
    }
    while let Some(written) = writers.join_next().await {
        written.expect("a writer");
    }
    let expected: Vec<i64> = (1..=i64::try_from(WRITERS * EACH).expect("small")).collect();
    assert_eq!(seen, expected);
}

async fn a_page_goes_on_where_the_last_one_ended(bench: Bench) {
    let now = bench.now();
    let events = (0..450).map(|n| registered(&format!("e{n:03}"), &format!("p{n}"), now)).collect();
    bench.accept(events).await;
    let first = bench.store.ledger(0, 400).await.expect("a page");
    let second = bench.store.ledger(first.last().expect("a line").seq, 400).await.expect("a page");
    assert_eq!((first.len(), second.len()), (400, 50), "more lines than one statement inserts");
}
