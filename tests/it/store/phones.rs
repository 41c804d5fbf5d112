//! Phones: what is known of one is overwritten by newer news only.

use jiff::Timestamp;
use keyferry::domain::Phone;
use keyferry::store::{Change, RecordError};

use super::registered;
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(
    a_phone_that_is_gone_is_there_again_only_by_the_word_of_the_provider_after_that,
    a_phone_that_goes_unknown_stays_with_whom_it_is_known_to_be_of,
);

async fn a_phone_that_is_gone_is_there_again_only_by_the_word_of_the_provider_after_that(bench: Bench) {
    bench.accept(vec![registered("registered", "jane", bench.now())]).await;
    let claimed = bench.claim(1).await.remove(0);
    let record = async |is_active: bool, phones_seen_at: Option<Timestamp>| {
        let phone =
            Phone { device_id: "phone".to_owned(), user_identity_id: "jane".to_owned(), device_type: None, is_active };
        let change = Change { phones: vec![phone], phones_seen_at, ..Change::default() };
        match bench.store.record(&claimed, bench.now(), change).await {
            Ok(()) => true,
            Err(RecordError::Conflict(_)) => false,
            Err(error) => panic!("{error}"),
        }
    };
    let before = bench.now();
    bench.advance_seconds(1);
    assert!(record(true, None).await, "it is new");
    assert!(record(true, None).await, "it is known as what it is");
    assert!(record(false, None).await, "it goes");
    assert!(!record(true, None).await, "somebody tells of it who has not asked");
    assert!(!record(true, Some(before)).await, "the provider was asked before it went");
    assert!(record(true, Some(bench.now())).await, "the provider has it");
}

async fn a_phone_that_goes_unknown_stays_with_whom_it_is_known_to_be_of(bench: Bench) {
    bench.accept(vec![registered("registered", "jane", bench.now())]).await;
    let claimed = bench.claim(1).await.remove(0);
    let phone = |person: &str, device_type: Option<&str>, is_active| Phone {
        device_id: "phone".to_owned(),
        user_identity_id: person.to_owned(),
        device_type: device_type.map(str::to_owned),
        is_active,
    };
    for phone in [phone("jane", Some("ios_phone"), true), phone("", None, false)] {
        let change = Change { phones: vec![phone], ..Change::default() };
        bench.store.record(&claimed, bench.now(), change).await.expect("recorded");
    }
    let kept = bench.store.phone("phone").await.expect("a read").expect("a phone");
    assert_eq!(kept, phone("jane", Some("ios_phone"), false));
}
