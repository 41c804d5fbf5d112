//! A whole set-up of real processes: the sandbox, and a Keyferry in one of its two shapes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use keyferry::clock::{Clock as _, SystemClock};
use keyferry::receiver::verify::Secret;
use keyferry::receiver::verify::standard_webhooks::sign;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::ground::Ground;
pub(crate) use super::ground::Shape;
use super::load::{delivery_id, registered};
use super::ports::free_address;
use super::process::Process;
use super::wait;

pub(crate) const APP_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) struct Town {
    _sandbox: Process,
    pub(crate) sandbox_url: String,
    pub(crate) api_key: String,
    pub(crate) environment: BTreeMap<String, String>,
    /// Kept for as long as they run.
    pub(crate) processes: Vec<Process>,
    pub(crate) receiver_url: String,
    /// The last started worker's.
    pub(crate) ops_url: String,
    /// The last started receiver's.
    pub(crate) receiver_ops_url: String,
    pub(crate) client: reqwest::Client,
    /// Source and id of each event that was answered 2xx.
    pub(super) accepted: Mutex<BTreeSet<(String, String)>>,
    _dir: TempDir,
    pub(crate) config: PathBuf,
}

impl Town {
    /// Starts everything, introduces the sandbox and the receiver to each other, and waits until it is ready.
    pub(crate) async fn new(shape: Shape) -> Self {
        Self::on(Ground::of(shape).await).await
    }

    /// The same on a ground of the caller's.
    pub(crate) async fn on(ground: Ground) -> Self {
        let roles: &[&str] = if ground.amqp_url.is_some() { &["serve", "work", "work"] } else { &["run"] };
        let mut town = Self::founded(ground).await;
        for role in roles {
            town.start(role).await;
        }
        town
    }

    /// The sandbox, and nobody who knows it yet.
    pub(crate) async fn with_sandbox(shape: Shape) -> Self {
        Self::of_strangers(Ground::of(shape).await).await
    }

    /// The sandbox, and the places where the others will be: it knows them already.
    pub(crate) async fn founded(ground: Ground) -> Self {
        let mut town = Self::of_strangers(ground).await;
        town.introduce().await;
        town
    }

    async fn of_strangers(ground: Ground) -> Self {
        let config = ground.dir.path().join("keyferry.toml");
        std::fs::write(&config, ground.file()).expect("written");
        let (nothing, speed) = (BTreeMap::new(), ground.speed.to_string());
        let mut sandbox = Process::start(&["sandbox", "--listen", "127.0.0.1:0", "--speed", &speed], &nothing);
        let sandbox_url = sandbox.says("export SEAM_ENDPOINT=").await;
        let api_key = sandbox.says("export SEAM_API_KEY=").await;
        let mut environment = vec![
            ("SEAM_ENDPOINT", sandbox_url.clone()),
            ("SEAM_API_KEY", api_key.clone()),
            ("KEYFERRY_APP_WEBHOOK_SECRET", APP_SECRET.to_owned()),
            ("KEYFERRY_STORE_URL", ground.store_url),
            ("KEYFERRY_LOG", "info,keyferry=debug".to_owned()),
        ];
        environment.extend(ground.amqp_url.map(|url| ("KEYFERRY_AMQP_URL", url)));
        Self {
            _sandbox: sandbox,
            sandbox_url,
            api_key,
            environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            processes: Vec::new(),
            receiver_url: format!("http://{}", free_address()),
            ops_url: String::new(),
            receiver_ops_url: String::new(),
            client: reqwest::Client::builder().retry(reqwest::retry::never()).build().expect("a client"),
            accepted: Mutex::default(),
            _dir: ground.dir,
            config,
        }
    }

    pub(crate) async fn start(&mut self, role: &str) {
        let process = self.start_role(role).await;
        self.processes.push(process);
    }

    /// Starts a role and waits until it is ready.
    pub(crate) async fn start_role(&mut self, role: &str) -> Process {
        let mut process = self.launch(role);
        self.ready(role, &mut process).await;
        process
    }

    /// Starts a role. A receiver comes back to the address that its senders know.
    pub(crate) fn launch(&self, role: &str) -> Process {
        let address = self.receiver_url.trim_start_matches("http://").parse().expect("an address");
        self.launcher()(role, address, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// What starts a role at addresses for its receiver and its ops API.
    pub(crate) fn launcher(&self) -> impl Fn(&str, SocketAddr, SocketAddr) -> Process + use<> {
        let (config, environment) = (self.config.to_string_lossy().into_owned(), self.environment.clone());
        move |role, listen, ops| {
            let (listen, ops) = (listen.to_string(), ops.to_string());
            let mut arguments = vec![role, "--config", &config, "--ops-listen", &ops];
            if role != "work" {
                arguments.extend(["--listen", &listen]);
            }
            Process::start(&arguments, &environment)
        }
    }

    /// Waits until a role is ready; its ops API is the one that is asked from now on.
    pub(crate) async fn ready(&mut self, role: &str, process: &mut Process) {
        self.announced(role, process).await;
        let ops_url = if role == "serve" { &self.receiver_ops_url } else { &self.ops_url };
        wait::until("readiness", async || self.health(ops_url).await?.0.is_success().then_some(())).await;
    }

    /// Waits until a role has said where its ops API is.
    pub(crate) async fn announced(&mut self, role: &str, process: &mut Process) {
        let ops_url = process.says("answers operators at ").await;
        if role != "work" {
            self.receiver_ops_url.clone_from(&ops_url);
        }
        if role != "serve" {
            self.ops_url = ops_url;
        }
    }

    async fn health(&self, ops_url: &str) -> Option<(StatusCode, String)> {
        let response = self.client.get(format!("{ops_url}/readyz")).send().await.ok()?;
        Some((response.status(), response.text().await.ok()?))
    }

    /// Waits until the receiver is not ready, and has said why.
    pub(crate) async fn receiver_complains(&self, why: &str) {
        let what = format!("the receiver to complain of {why:?}");
        wait::until(&what, async || {
            let (status, in_the_way) = self.health(&self.receiver_ops_url).await?;
            let is_so = !status.is_success() && in_the_way.contains("queue");
            (is_so && self.processes[0].has_said(why)).then_some(())
        })
        .await;
    }

    /// Waits until the receiver's metrics have this line.
    pub(crate) async fn receiver_says(&self, line: &str) {
        wait::until(&format!("the receiver's metrics to have {line:?}"), async || {
            let metrics = self.client.get(format!("{}/metrics", self.receiver_ops_url)).send().await.ok()?;
            metrics.text().await.ok()?.lines().any(|it| it == line).then_some(())
        })
        .await;
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

    /// What becomes of every call to the provider from now on; `None`: what it asks for.
    pub(crate) async fn provider_does(&self, fault: Option<&str>) {
        let orders = format!("{}/_sandbox/faults", self.sandbox_url);
        answer(self.client.delete(orders).bearer_auth(&self.api_key)).await;
        if let Some(fault) = fault {
            self.seam("/_sandbox/faults", &json!({"path": "*", "fault": fault})).await;
        }
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

    /// Somebody new in the hotel: a plan's body for a stay of theirs.
    pub(crate) async fn newcomer(&self, name: &str) -> Value {
        let (mut stay, world) = (self.stay(0).await, self.world().await);
        let mut users = world["acs_users"].as_array().expect("a list").iter();
        let other = users.find(|it| it["acs_user_id"] == stay["acs_user_id"]).expect("the first guest");
        let person = self.seam("/user_identities/create", &json!({"full_name": name})).await;
        let person = &person["user_identity"]["user_identity_id"];
        let user = json!({"acs_system_id": other["acs_system_id"], "full_name": name, "user_identity_id": person});
        let user = self.seam("/acs/users/create", &user).await;
        // They all have the same rooms: one's credential must not take the place of another's.
        stay["visionline_metadata"] = json!({"card_format": "rfid48"});
        stay["user_identity_id"] = person.clone();
        stay["acs_user_id"] = user["acs_user"]["acs_user_id"].clone();
        stay
    }

    /// A few guests with a plan and a phone each.
    pub(crate) async fn guests(&self) -> Vec<Value> {
        let mut stays = Vec::new();
        for number in 0..5 {
            let stay = self.newcomer(&format!("Guest {number}")).await;
            let (status, answer) = self.put_plan(&format!("booking-{number}"), &stay).await;
            assert!(status.is_success(), "{answer}");
            self.sign_in(&stay).await;
            stays.push(stay);
        }
        stays
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

    /// What the ops API answers, refusals as well; null where that is nothing.
    pub(crate) async fn ops_says(&self, path: &str) -> (StatusCode, Value) {
        let response = self.client.get(format!("{}{path}", self.ops_url)).send().await.expect("an answer");
        (response.status(), response.json().await.unwrap_or_default())
    }

    /// `None` where the ops API, or the store behind it, does not answer just now.
    pub(crate) async fn try_ops(&self, path: &str) -> Option<Value> {
        let call = self.client.get(format!("{}{path}", self.ops_url)).timeout(Duration::from_secs(5));
        let response = call.send().await.ok()?;
        response.error_for_status().ok()?.json().await.ok()
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
        self.send("app", APP_SECRET, &registered(event_id, plan, device_id).to_string()).await
    }

    /// Posts a body, signed with `secret`.
    pub(crate) async fn send(&self, source: &str, secret: &str, body: &str) -> StatusCode {
        self.post(source, secret, &delivery_id(), body).await.expect("an answer")
    }

    /// One attempt at a delivery; `None` without an answer.
    pub(crate) async fn post(&self, source: &str, secret: &str, id: &str, body: &str) -> Option<StatusCode> {
        self.post_to(&self.receiver_url, source, secret, id, body).await
    }

    /// The same at one of several receivers.
    pub(crate) async fn post_to(
        &self,
        receiver_url: &str,
        source: &str,
        secret: &str,
        id: &str,
        body: &str,
    ) -> Option<StatusCode> {
        /// What a sender of webhooks waits for an answer.
        const PATIENCE: Duration = Duration::from_secs(15);
        let now = SystemClock.now();
        let signature = sign(&Secret::parse(secret).expect("a secret"), id, now, body.as_bytes());
        let call = self.client.post(format!("{receiver_url}/webhooks/{source}")).timeout(PATIENCE);
        let call = call
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.as_second())
            .header("webhook-signature", signature);
        let status = call.body(body.to_owned()).send().await.ok()?.status();
        let event: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(event_id) = event["event_id"].as_str().filter(|_| status.is_success()) {
            self.accepted.lock().expect("the list").insert((source.to_owned(), event_id.to_owned()));
        }
        Some(status)
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
