//! Processes that are paused, ended, killed while they end, started twice, or out of file descriptors.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{brokered, embedded};
use crate::support::in_both_shapes;
use crate::support::load::{delivery_id, registered};
use crate::support::ports::free_address;
use crate::support::town::{APP_SECRET, Town, issued_keys};
use crate::support::wait;

in_both_shapes!(a_sender_repeats_what_was_dealt_with);

async fn a_sender_repeats_what_was_dealt_with(town: Town) {
    let stay = town.guests().await.remove(0);
    town.issuance("booking-0", "a key", |it| issued_keys(it) == 1).await;
    let (id, body) = (delivery_id(), registered("registered-1", &stay, None).to_string());
    assert_eq!(town.post("app", APP_SECRET, &id, &body).await, Some(StatusCode::ACCEPTED));
    wait::until("its end", async || {
        let ledger = town.ledger().await;
        ledger.iter().any(|line| line["event_id"] == "registered-1" && line["kind"] == "event.done").then_some(())
    })
    .await;
    for _ in 0..3 {
        assert_eq!(town.post("app", APP_SECRET, &id, &body).await, Some(StatusCode::ACCEPTED));
    }
    town.close().await;
}

#[tokio::test]
async fn a_worker_is_paused_for_longer_than_its_lease() {
    let mut town = Town::founded(brokered().await).await;
    town.start("serve").await;
    town.start("work").await;
    let mut paused = town.processes.pop().expect("the worker");
    let stay = town.stay(0).await;
    town.put_plan("booking-1", &stay).await;
    town.seam("/_sandbox/faults", &json!({"path": "/acs/credentials/create", "fault": "slow:60s", "times": 1})).await;
    town.sign_in(&stay).await;
    wait::until("the credential at the provider", async || (town.live_parents().await.len() == 1).then_some(())).await;
    paused.signal("STOP");
    // The other one takes over where the first stood.
    town.start("work").await;
    town.issuance("booking-1", "a key", |it| issued_keys(it) == 1).await;
    paused.signal("CONT");
    paused.says("has passed").await;
    assert_eq!(town.told(["issuance.created", "issuance.unknown"]).await, [1, 0], "it writes nothing more");
    town.close().await;
}

#[tokio::test]
async fn two_receivers_get_the_same_event_at_once() {
    let mut town = Town::on(brokered().await).await;
    let guests = town.guests().await;
    let first = town.receiver_url.clone();
    town.receiver_url = format!("http://{}", free_address());
    town.start("serve").await;
    let second = std::mem::replace(&mut town.receiver_url, first.clone());
    for turn in 0..10 {
        let event = registered(&format!("registered-{turn}"), &guests[turn % guests.len()], None).to_string();
        let (id, town) = (delivery_id(), &town);
        let at = async |url: &str| town.post_to(url, "app", APP_SECRET, &id, &event).await;
        let both = futures_util::future::join(at(&first), at(&second)).await;
        assert_eq!(both, (Some(StatusCode::ACCEPTED), Some(StatusCode::ACCEPTED)));
    }
    town.close().await;
}

#[tokio::test]
async fn sigterm_under_load_ends_with_nothing_in_hand() {
    let mut town = Town::on(embedded()).await;
    let guests = town.guests().await;
    for _ in 0..3 {
        let process = town.processes.pop().expect("the process");
        let trouble = async {
            assert!(process.terminate().await.success(), "a clean end is exit 0");
            town.launch("run")
        };
        let (mut process, _) = town.under_load(&guests, trouble).await;
        town.ready("run", &mut process).await;
        town.processes.push(process);
    }
    town.close().await;
}

#[tokio::test]
async fn sigkill_follows_sigterm() {
    let mut town = Town::on(embedded()).await;
    let guests = town.guests().await;
    // Something to wait for, so that it cannot have ended by itself.
    town.seam("/_sandbox/faults", &json!({"path": "/phones/list", "fault": "timeout", "times": 1})).await;
    let mut process = town.processes.pop().expect("the process");
    let trouble = async {
        process.signal("TERM");
        process.says("shutting down").await;
        process.kill();
        town.launch("run")
    };
    let (mut process, _) = town.under_load(&guests, trouble).await;
    town.ready("run", &mut process).await;
    town.close().await;
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_and_says_what_it_left() {
    let mut town = Town::on(embedded().with("receiver.drain_seconds", &1)).await;
    let mut process = town.processes.pop().expect("the process");
    let mut stuck = TcpStream::connect(town.receiver_url.trim_start_matches("http://")).await.expect("a connection");
    let half = "POST /webhooks/app HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stuck.write_all(half.as_bytes()).await.expect("sent");
    // It is being read when another request that came later has been answered.
    assert_eq!(town.send("app", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "{}").await, StatusCode::UNAUTHORIZED);
    process.signal("TERM");
    process.says("were still open at the drain deadline").await;
    process.says("ended with work in hand").await;
    assert_eq!(process.ends().await.code(), Some(1));
    town.start("run").await;
    town.close().await;
}

#[tokio::test]
async fn its_port_is_taken() {
    let town = Town::on(embedded()).await;
    let mut second = town.launch("run");
    assert_eq!(second.ends().await.code(), Some(1));
    let said = second.everything();
    assert!(said.contains("the receiver cannot listen on") && said.contains("KEYFERRY_LISTEN"), "{said}");
    town.close().await;
}

#[tokio::test]
async fn it_has_no_file_descriptors_left() {
    let mut town = Town::on(embedded().with("receiver.head_timeout_seconds", &60)).await;
    let guests = town.guests().await;
    let mut process = town.processes.pop().expect("the process");
    let limited = Command::new("prlimit").args(["--nofile=64", "--pid", &process.pid()]).status().expect("prlimit");
    assert!(limited.success());
    let address = town.receiver_url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(&address).await.expect("the backlog takes it"));
    }
    process.says("connections cannot be accepted").await;
    drop(idle);
    town.deliver_registered(&guests[0]).await;
    town.close().await;
}
