//! The demo's stage: a sandbox, a Keyferry, and a client's calls to both.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::config::{self, Flags, Role};
use crate::http;
use crate::lifecycle::Shutdown;
use crate::sandbox::{Sandbox, Settings};
use crate::service::{self, Listeners, Surroundings};

/// How much faster than life the sandbox's phones and access systems are.
const SPEED: f64 = 20.0;

pub(super) struct Stage {
    pub(super) sandbox_url: String,
    pub(super) receiver_url: String,
    pub(super) ops_url: String,
    surroundings: Surroundings,
    client: reqwest::Client,
    api_key: String,
    shutdown: Shutdown,
    tasks: Vec<JoinHandle<()>>,
    /// The store's place; gone with the demo.
    dir: TempDir,
}

/// Who is in the story, out of the sandbox's world.
pub(super) struct Cast {
    pub(super) person: String,
    pub(super) first_name: String,
    pub(super) user_identity_id: String,
    pub(super) acs_user_id: String,
    pub(super) credential_manager_acs_system_id: String,
    pub(super) acs_entrance_ids: Vec<String>,
    pub(super) doors: Vec<String>,
}

impl Stage {
    pub(super) async fn set(surroundings: Surroundings) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("no temporary folder can be made for the store")?;
        let (sandbox_port, receiver, ops) = (bind().await?, bind().await?, bind().await?);
        let settings = Settings { speed: SPEED, ..Settings::default() };
        let api_key = settings.api_key.clone();
        let sandbox = Sandbox::new(settings, Arc::clone(&surroundings.clock))?;
        let mut stage = Self {
            sandbox_url: url(&sandbox_port)?,
            receiver_url: url(&receiver)?,
            ops_url: url(&ops)?,
            client: reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).build()?,
            api_key,
            surroundings,
            shutdown: Shutdown::default(),
            tasks: Vec::new(),
            dir,
        };
        stage.begin_sandbox(sandbox, sandbox_port);
        let environment = stage.environment().await?;
        stage.begin_keyferry(&environment, Listeners { receiver: Some(receiver), ops })?;
        Ok(stage)
    }

    fn begin_sandbox(&mut self, sandbox: Sandbox, listener: TcpListener) {
        let (router, end) = (sandbox.router(), self.shutdown.soft.clone());
        self.tasks.push(tokio::spawn(async move {
            http::serve(listener, router, http::Limits::default(), end).await;
        }));
        let end = self.shutdown.soft.clone();
        self.tasks.push(tokio::spawn(async move { sandbox.run(end).await }));
    }

    /// Introduces the two to each other, as a customer would: a webhook at Seam, a secret of one's own backend.
    async fn environment(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let seam_url = format!("{}/webhooks/seam", self.receiver_url);
        let webhook = self.seam("/webhooks/create", &json!({"url": seam_url})).await?;
        let seam_secret = text(&webhook["webhook"]["secret"])?;
        let app_secret = self.app_secret();
        let sender = json!({
            "kind": "standard", "url": format!("{}/webhooks/app", self.receiver_url), "secret": app_secret,
        });
        self.seam("/_sandbox/senders", &sender).await?;
        let store_url = format!("sqlite:{}", self.dir.path().join("keyferry.db").display());
        Ok([
            ("KEYFERRY_STORE_URL", store_url),
            ("SEAM_ENDPOINT", self.sandbox_url.clone()),
            ("SEAM_API_KEY", self.api_key.clone()),
            ("SEAM_WEBHOOK_SECRET", seam_secret),
            ("KEYFERRY_APP_WEBHOOK_SECRET", app_secret),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into())
    }

    fn app_secret(&self) -> String {
        let key: Vec<u8> = (0..3).flat_map(|_| self.surroundings.entropy.next_u64().to_be_bytes()).collect();
        format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(key))
    }

    fn begin_keyferry(&mut self, environment: &BTreeMap<String, String>, listeners: Listeners) -> anyhow::Result<()> {
        let config = config::load(Role::Run, &Flags::default(), environment, None)?;
        let (surroundings, shutdown) = (self.surroundings.clone(), self.shutdown.clone());
        let (_, roster) = watch::channel(Arc::clone(&config.roster));
        self.tasks.push(tokio::spawn(async move {
            if let Err(error) = service::run(Role::Run, config, roster, listeners, surroundings, &shutdown).await {
                tracing::error!(%error, "Keyferry could not start");
            }
        }));
        Ok(())
    }

    /// Ends everything; the store's folder goes with the stage.
    pub(super) async fn strike(self) {
        self.shutdown.soft.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the demo ended badly");
            }
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }

    pub(super) async fn pause(&self, duration: SignedDuration) {
        self.surroundings.clock.sleep(duration).await;
    }

    /// A guest of the sandbox's hotel, and the doors of a stay.
    pub(super) async fn cast(&self) -> anyhow::Result<Cast> {
        let world = self.world().await?;
        let hotel = find(&world["acs_systems"], |it| it["external_type"] == "visionline_system")?;
        let hotel_id = text(&hotel["acs_system_id"])?;
        let acs_user = find(&world["acs_users"], |it| {
            it["acs_system_id"] == hotel_id.as_str() && it["user_identity_id"].is_string()
        })?;
        let doors: Vec<&Value> = array(&world["acs_entrances"])?
            .iter()
            .filter(|it| it["acs_system_id"] == hotel_id.as_str() && it["can_unlock_with_mobile_key"] == true)
            .take(2)
            .collect();
        let person = text(&acs_user["full_name"])?;
        Ok(Cast {
            first_name: person.split(' ').next().unwrap_or(&person).to_owned(),
            person,
            user_identity_id: text(&acs_user["user_identity_id"])?,
            acs_user_id: text(&acs_user["acs_user_id"])?,
            credential_manager_acs_system_id: text(&hotel["default_credential_manager_acs_system_id"])?,
            acs_entrance_ids: doors.iter().map(|it| text(&it["acs_entrance_id"])).collect::<Result<_, _>>()?,
            doors: doors.iter().map(|it| text(&it["display_name"])).collect::<Result<_, _>>()?,
        })
    }

    /// A phone signs in: in life the mobile SDK does this. Returns its `device_id`.
    pub(super) async fn sign_in(&self, user_identity_id: &str, os: &str) -> anyhow::Result<String> {
        let body = json!({"user_identity_id": user_identity_id, "phone_metadata": {"operating_system": os}});
        let phone = self.seam("/phones/simulate/create_sandbox_phone", &body).await?;
        text(&phone["phone"]["device_id"])
    }

    async fn world(&self) -> anyhow::Result<Value> {
        answer(self.client.get(format!("{}/_sandbox/world", self.sandbox_url)).bearer_auth(&self.api_key)).await
    }

    async fn seam(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.sandbox_url)).bearer_auth(&self.api_key);
        answer(request.json(body)).await
    }

    /// Puts a plan; waits for the ops API to be there at first.
    pub(super) async fn put_plan(&self, key: &str, plan: &Value) -> anyhow::Result<()> {
        answer(self.client.put(format!("{}/v1/plans/{key}", self.ops_url)).json(plan)).await.map(drop)
    }

    pub(super) async fn ledger(&self, after: i64) -> anyhow::Result<Vec<Value>> {
        let page = self.ops(&format!("/v1/ledger?after={after}&limit=1000")).await?;
        Ok(array(&page["ledger"])?.clone())
    }

    pub(super) async fn issuance(&self, key: &str) -> anyhow::Result<Value> {
        self.ops(&format!("/v1/issuances/{key}")).await
    }

    async fn ops(&self, path: &str) -> anyhow::Result<Value> {
        answer(self.client.get(format!("{}{path}", self.ops_url))).await
    }

    /// Waits until the inbox has nothing waiting, retrying or in flight.
    pub(super) async fn settle(&self, patience: SignedDuration) -> anyhow::Result<()> {
        let deadline = clock::add(self.now(), patience);
        loop {
            let status = self.ops("/v1/status").await?;
            let inbox = &status["inbox"];
            if ["waiting", "retrying", "in_flight"].iter().all(|state| inbox[state] == 0) {
                return Ok(());
            }
            if self.now() > deadline {
                bail!("the inbox did not empty: {inbox}");
            }
            self.pause(SignedDuration::from_millis(10)).await;
        }
    }

    /// What came of it: our word on the left of each comparison, the sandbox's on the right.
    pub(super) async fn summary(&self) -> anyhow::Result<Value> {
        let plans = self.ops("/v1/plans").await?;
        let parked = self.ops("/v1/parked").await?;
        let mut issued = 0;
        for plan in array(&plans["plans"])? {
            let issuance = self.issuance(&text(&plan["plan_key"])?).await?;
            issued += array(&issuance["phones"])?.iter().filter(|phone| phone["status"] == "issued").count();
        }
        let world = self.world().await?;
        let is_live = |it: &&Value| it["deleted_at"].is_null();
        let is_parent = |it: &&Value| it["parent_acs_credential_id"].is_null();
        Ok(json!({
            "plans": array(&plans["plans"])?.len(),
            "phones": array(&world["phones"])?.iter().filter(is_live).count(),
            "issued": issued,
            "parked": array(&parked["parked"])?.len(),
            "credentials": array(&world["acs_credentials"])?.iter().filter(is_live).filter(is_parent).count(),
        }))
    }
}

async fn bind() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("no port is free on 127.0.0.1")
}

fn url(listener: &TcpListener) -> anyhow::Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let response = request.send().await?;
    let (status, path) = (response.status(), response.url().path().to_owned());
    let body = response.text().await?;
    if !status.is_success() {
        bail!("{path} answered {status}: {body}");
    }
    if body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&body)?) }
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| anyhow!("a text was expected, not {value}"))
}

fn array(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().ok_or_else(|| anyhow!("a list was expected, not {value}"))
}

fn find(list: &Value, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<&Value> {
    array(list)?.iter().find(|it| wanted(it)).context("the sandbox's world is not the one that the demo knows")
}
