//! A whole set-up of real processes: the sandbox, and a Keyferry in one of its two shapes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use keyferry::clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use keyferry::receiver::verify::Secret;
use keyferry::receiver::verify::standard_webhooks::sign;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::db::{new_postgres_database, service};
use super::process::Process;
use super::wait;

/// Times short enough for a test, in the proportions of life.
const SETTINGS: &str = "
    [worker]
    lease_seconds = 3
    settle_seconds = 4
    backoff_base_ms = 50
    backoff_cap_seconds = 1
    [provider]
    deadline_seconds = 2
";
const APP_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The two shapes: one process on SQLite; or a receiver and two workers on RabbitMQ and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Embedded,
    Brokered,
}

pub(crate) struct Town {
    _sandbox: Process,
    pub(crate) sandbox_url: String,
    pub(crate) api_key: String,
    pub(crate) environment: BTreeMap<String, String>,
    /// Kept for as long as they run.
    pub(crate) processes: Vec<Process>,
    pub(crate) receiver_url: String,
    pub(crate) ops_url: String,
    client: reqwest::Client,
    _dir: TempDir,
    pub(crate) config: PathBuf,
}

impl Town {
    /// Starts everything, introduces the sandbox and the receiver to each other, and waits until it is ready.
    pub(crate) async fn new(shape: Shape) -> Self {
        let mut town = Self::with_sandbox(shape).await;
        town.introduce().await;
        match shape {
            Shape::Embedded => town.start("run").await,
            Shape::Brokered => {
                town.start("serve").await;
                town.start("work").await;
                town.start("work").await;
            }
        }
        town
    }

    /// The sandbox, and nobody who knows it yet.
    pub(crate) async fn with_sandbox(shape: Shape) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("keyferry.toml");
        std::fs::write(&config, settings(shape)).expect("written");
        let store_url = store_url(shape, &dir).await;
        let nothing = BTreeMap::new();
        let mut sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0", "--speed", "200"], &nothing);
        let sandbox_url = sandbox.says("export SEAM_ENDPOINT=").await;
        let api_key = sandbox.says("export SEAM_API_KEY=").await;
        if shape == Shape::Brokered {
            keyferry::store::migrate(&store_url).await.expect("migrated");
        }
        let mut environment = vec![
            ("SEAM_ENDPOINT", sandbox_url.clone()),
            ("SEAM_API_KEY", api_key.clone()),
            ("KEYFERRY_APP_WEBHOOK_SECRET", APP_SECRET.to_owned()),
            ("KEYFERRY_STORE_URL", store_url),
            ("KEYFERRY_LOG", "info,keyferry=debug".to_owned()),
        ];
        if shape == Shape::Brokered {
            environment.push(("KEYFERRY_AMQP_URL", service("KEYFERRY_TEST_AMQP_URL")));
        }
        Self {
            _sandbox: sandbox,
            sandbox_url,
            api_key,
            environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            processes: Vec::new(),
            receiver_url: format!("http://{}", free_address()),
            ops_url: String::new(),
            client: reqwest::Client::builder().retry(reqwest::retry::never()).build().expect("a client"),
            _dir: dir,
            config,
        }
    }

    pub(crate) async fn start(&mut self, role: &str) {
        let process = self.start_role(role).await;
        self.processes.push(process);
    }

    /// Starts a role and waits until it is ready. A receiver comes back to the address that its senders know; the ops
    /// API is the last started one's.
    pub(crate) async fn start_role(&mut self, role: &str) -> Process {
        let config = self.config.to_string_lossy().into_owned();
        let address = self.receiver_url.trim_start_matches("http://").to_owned();
        let mut arguments = vec![role, "--config", &config, "--ops-listen", "127.0.0.1:0"];
        if role != "work" {
            arguments.extend(["--listen", &address]);
        }
        let mut process = Process::start(&arguments, &self.environment);
        let ops_url = process.says("answers operators at ").await;
        wait::until("readiness", async || {
            let ready = self.client.get(format!("{ops_url}/readyz")).send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        if role != "serve" {
            self.ops_url = ops_url;
        }
        process
    }

    /// Registers the receiver at the sandbox as Seam's webhook and as the customer's backend's; Seam makes its secret.
    async fn introduce(&mut self) {
        let webhook = self.seam("/webhooks/create", &json!({"url": self.webhook_url("seam")})).await;
        let secret = webhook["webhook"]["secret"].as_str().expect("a secret").to_owned();
        self.environment.insert("SEAM_WEBHOOK_SECRET".to_owned(), secret);
        let sender = json!({"kind": "standard", "url": self.webhook_url("app"), "secret": APP_SECRET});
        self.seam("/_sandbox/senders", &sender).await;
    }

    fn webhook_url(&self, source: &str) -> String {
        format!("{}/webhooks/{source}", self.receiver_url)
    }

    /// A call to the sandbox, as Seam's customer or in its control room.
    pub(crate) async fn seam(&self, path: &str, body: &Value) -> Value {
        let call = self.client.post(format!("{}{path}", self.sandbox_url)).bearer_auth(&self.api_key).json(body);
        answer(call).await
    }

    pub(crate) async fn world(&self) -> Value {
        answer(self.client.get(format!("{}/_sandbox/world", self.sandbox_url)).bearer_auth(&self.api_key)).await
    }

    /// The parents that live at the provider: what there may be at most one of for each plan.
    pub(crate) async fn live_parents(&self) -> Vec<Value> {
        let world = self.world().await;
        let is_live_parent = |it: &&Value| it["deleted_at"].is_null() && it["parent_acs_credential_id"].is_null();
        let credentials = world["acs_credentials"].as_array().expect("credentials");
        credentials.iter().filter(is_live_parent).cloned().collect()
    }

    /// The `index`th guest of the hotel: a plan's body for a stay in its first two rooms.
    pub(crate) async fn stay(&self, index: usize) -> Value {
        let world = self.world().await;
        let of = |name: &str| world[name].as_array().expect("a list").clone();
        let hotel =
            of("acs_systems").into_iter().find(|it| it["external_type"] == "visionline_system").expect("a hotel");
        let is_in_hotel = |it: &Value| it["acs_system_id"] == hotel["acs_system_id"];
        let guests: Vec<Value> =
            of("acs_users").into_iter().filter(|it| is_in_hotel(it) && it["user_identity_id"].is_string()).collect();
        let guest = &guests[index % guests.len()];
        let doors: Vec<Value> = of("acs_entrances").into_iter().filter(is_in_hotel).take(2).collect();
        let ends_at = keyferry::clock::add(SystemClock.now(), jiff::SignedDuration::from_hours(72));
        json!({
            "user_identity_id": guest["user_identity_id"],
            "acs_user_id": guest["acs_user_id"],
            "credential_manager_acs_system_id": hotel["default_credential_manager_acs_system_id"],
            "allowed_acs_entrance_ids": doors.iter().map(|it| it["acs_entrance_id"].clone()).collect::<Vec<_>>(),
            "starts_at": format!("{:.3}", SystemClock.now()),
            "ends_at": format!("{ends_at:.3}"),
            "visionline_metadata": {"card_format": "rfid48", "override": true},
        })
    }

    /// A phone of this person signs in. Returns its `device_id`.
    pub(crate) async fn sign_in(&self, plan: &Value) -> String {
        let body = json!({"user_identity_id": plan["user_identity_id"]});
        let phone = self.seam("/phones/simulate/create_sandbox_phone", &body).await;
        phone["phone"]["device_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn put_plan(&self, key: &str, plan: &Value) -> (StatusCode, Value) {
        let call = self.client.put(format!("{}/v1/plans/{key}", self.ops_url)).json(plan);
        let response = call.send().await.expect("an answer");
        (response.status(), response.json().await.expect("JSON"))
    }

    pub(crate) async fn delete_plan(&self, key: &str) -> StatusCode {
        self.client.delete(format!("{}/v1/plans/{key}", self.ops_url)).send().await.expect("an answer").status()
    }

    pub(crate) async fn ops(&self, path: &str) -> Value {
        answer(self.client.get(format!("{}{path}", self.ops_url))).await
    }

    pub(crate) async fn ledger(&self) -> Vec<Value> {
        self.ops("/v1/ledger?after=0&limit=1000").await["ledger"].as_array().expect("lines").clone()
    }

    /// How often each of `kinds` stands in the ledger.
    pub(crate) async fn told<const N: usize>(&self, kinds: [&str; N]) -> [usize; N] {
        let ledger = self.ledger().await;
        kinds.map(|kind| ledger.iter().filter(|line| line["kind"] == kind).count())
    }

    /// Posts a signed `phone.registered` as the customer's backend.
    pub(crate) async fn send_registered(&self, event_id: &str, plan: &Value, device_id: Option<&str>) -> StatusCode {
        let mut event = json!({
            "event_id": event_id,
            "event_type": "phone.registered",
            "occurred_at": format!("{:.3}", SystemClock.now()),
            "user_identity_id": plan["user_identity_id"],
        });
        if let Some(device_id) = device_id {
            event["device_id"] = device_id.into();
        }
        self.send("app", APP_SECRET, &event.to_string()).await
    }

    /// Posts a body, signed with `secret`.
    pub(crate) async fn send(&self, source: &str, secret: &str, body: &str) -> StatusCode {
        let (id, now) = (format!("msg_{:016x}", SystemEntropy.next_u64()), SystemClock.now());
        let signature = sign(&Secret::parse(secret).expect("a secret"), &id, now, body.as_bytes());
        let call = self.client.post(self.webhook_url(source));
        let call = call
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.as_second())
            .header("webhook-signature", signature);
        call.body(body.to_owned()).send().await.expect("an answer").status()
    }

    /// Waits until an issuance is as `is_so` wants it.
    pub(crate) async fn issuance(&self, key: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("{key}: {what}"), async || {
            let response = self.client.get(format!("{}/v1/issuances/{key}", self.ops_url)).send().await.ok()?;
            let issuance: Value = response.json().await.ok()?;
            is_so(&issuance).then_some(issuance)
        })
        .await
    }

    /// The questions that every story ends with: nothing in flight, nothing parked, our states the sandbox's, and one
    /// credential for each plan that has one.
    pub(crate) async fn close(self) {
        wait::until("an empty inbox", async || {
            let inbox = self.ops("/v1/status").await["inbox"].clone();
            ["waiting", "retrying", "in_flight"].iter().all(|state| inbox[*state] == 0).then_some(())
        })
        .await;
        assert_eq!(self.ops("/v1/parked").await["parked"], json!([]));
        let mut ours: Vec<Value> = Vec::new();
        for issuance in self.ops("/v1/issuances?limit=1000").await["issuances"].as_array().expect("issuances") {
            if ["created", "issued"].iter().any(|status| issuance["status"] == *status) {
                ours.push(issuance["acs_credential_id"].clone());
            }
        }
        let mut theirs: Vec<Value> =
            self.live_parents().await.into_iter().map(|it| it["acs_credential_id"].clone()).collect();
        ours.sort_by_key(Value::to_string);
        theirs.sort_by_key(Value::to_string);
        assert_eq!(ours, theirs, "our live credentials are the provider's");
    }
}

/// An address that nobody listens on, for a listener that has to be known before it starts and found again after it
/// was killed.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

pub(crate) fn issued_keys(issuance: &Value) -> usize {
    let phones = issuance["phones"].as_array().map(Vec::as_slice).unwrap_or_default();
    phones.iter().filter(|phone| phone["status"] == "issued").count()
}

async fn answer(call: reqwest::RequestBuilder) -> Value {
    let response = call.send().await.expect("an answer");
    let (status, url) = (response.status(), response.url().clone());
    let body = response.text().await.expect("a body");
    assert!(status.is_success(), "{url} answered {status}: {body}");
    serde_json::from_str(&body).unwrap_or(Value::Null)
}

fn settings(shape: Shape) -> String {
    match shape {
        Shape::Embedded => SETTINGS.to_owned(),
        // One broker serves all tests: each has names of its own.
        Shape::Brokered => format!("{SETTINGS}\n[queue]\nprefix = \"town-{:016x}\"\n", SystemEntropy.next_u64()),
    }
}

async fn store_url(shape: Shape, dir: &TempDir) -> String {
    match shape {
        Shape::Embedded => format!("sqlite:{}", dir.path().join("keyferry.db").display()),
        Shape::Brokered => new_postgres_database().await,
    }
}
