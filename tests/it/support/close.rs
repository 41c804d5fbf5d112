//! The questions that every story with real processes ends with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::say::say;
use super::town::Town;
use super::wait;

impl Town {
    /// The questions that every story ends with: nothing in flight, nothing parked, one end for each event that was
    /// answered 2xx and for each that came in, and our states the sandbox's: the same credentials, one for each plan
    /// that has one, and the same keys on the same phones.
    /// A story about faults tells how long that took.
    pub(crate) async fn close(self) {
        let began = Instant::now();
        self.settles(wait::DEADLINE).await;
        let story = std::thread::current().name().unwrap_or_default().to_owned();
        if story.starts_with("faults::") {
            say(&format!("{story}: all is well {:.1} s after its last act", began.elapsed().as_secs_f64()));
        }
    }

    /// [`Town::close`], and the town lives on.
    pub(crate) async fn settles(&self, deadline: Duration) {
        wait::until_equal(deadline, "our credentials and keys are the provider's", async || {
            (self.ours().await, self.theirs().await)
        })
        .await;
        self.comes_to_rest_within(deadline).await;
        assert_eq!(self.ops("/v1/parked").await["parked"], json!([]));
        // Something may have come in since the inbox was empty.
        wait::until_equal(deadline, "events that came in, without an end or with several", async || {
            (self.odd_ends().await, BTreeMap::new())
        })
        .await;
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn comes_to_rest(&self) {
        self.comes_to_rest_within(wait::DEADLINE).await;
    }

    async fn comes_to_rest_within(&self, deadline: Duration) {
        wait::until_equal(deadline, "an empty inbox", async || {
            let inbox = self.try_ops("/v1/status").await.unwrap_or_default()["inbox"].clone();
            (["waiting", "retrying", "in_flight"].map(|state| inbox[state].clone()), [json!(0), json!(0), json!(0)])
        })
        .await;
    }

    /// Events without exactly one end in the ledger: of those that came in, and of those that were answered 2xx.
    async fn odd_ends(&self) -> BTreeMap<(String, String), usize> {
        let mut ends: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in self.whole_ledger().await {
            let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
            let is_end = ["event.done", "event.ignored", "event.parked"].iter().any(|kind| line["kind"] == *kind);
            if is_end || line["kind"] == "event.received" {
                *ends.entry((text("source"), text("event_id"))).or_default() += usize::from(is_end);
            }
        }
        for accepted in self.accepted.lock().expect("the list").iter() {
            ends.entry(accepted.clone()).or_default();
        }
        ends.retain(|_, ends| *ends != 1);
        ends
    }

    async fn whole_ledger(&self) -> Vec<Value> {
        let mut lines: Vec<Value> = Vec::new();
        loop {
            let after = lines.last().map_or(json!(0), |line| line["seq"].clone());
            let page = self.ops(&format!("/v1/ledger?after={after}&limit=1000")).await;
            let page = page["ledger"].as_array().expect("lines");
            if page.is_empty() {
                return lines;
            }
            lines.extend_from_slice(page);
        }
    }

    /// What lives, as our store has it: each credential, and the child of it on each phone.
    async fn ours(&self) -> Living {
        let Some(page) = self.try_ops("/v1/issuances?limit=1000").await else { return Living::new() };
        let mut living = Living::new();
        for issuance in page["issuances"].as_array().expect("issuances") {
            if ["created", "issued"].iter().any(|status| issuance["status"] == *status) {
                let phones = issuance["phones"].as_array().map(Vec::as_slice).unwrap_or_default();
                let keys = phones.iter().filter(|phone| phone["status"] == "issued").map(key).collect();
                let twin = living.insert(issuance["acs_credential_id"].to_string(), keys);
                assert_eq!(twin, None, "two plans have one credential");
            }
        }
        living
    }

    /// The same, as it is at the provider.
    pub(crate) async fn theirs(&self) -> Living {
        let world = self.world().await;
        let credentials = world["acs_credentials"].as_array().expect("credentials");
        let live = || credentials.iter().filter(|it| it["deleted_at"].is_null() && it["invalidated_at"].is_null());
        let parents = live().filter(|it| it["parent_acs_credential_id"].is_null());
        let of = |parent: &Value| {
            let children = live().filter(|it| it["parent_acs_credential_id"] == parent["acs_credential_id"]);
            children.filter(|it| it["is_issued"] == true).map(key).collect()
        };
        parents.map(|parent| (parent["acs_credential_id"].to_string(), of(parent))).collect()
    }
}

/// Credentials that live, and which child of each is on which phone.
pub(crate) type Living = BTreeMap<String, BTreeSet<(String, String)>>;

fn key(of: &Value) -> (String, String) {
    (of["device_id"].to_string(), of["acs_credential_id"].to_string())
}
