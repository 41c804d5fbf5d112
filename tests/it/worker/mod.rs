//! The worker's stories, step by step: a real store, a real client, the sandbox, and a clock that a test moves.

mod alias;
mod crash;
mod life;
mod line;
mod main_job;
mod order;
mod pace;
mod pause;
mod reports;
mod room;
mod sweep;
mod trouble;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyferry::clock::{Clock as _, SeededEntropy, add};
use keyferry::domain::event::SEAM_EVENT_TYPES;
use keyferry::domain::{Event, Fact, Issuance, KeyStatus, Person, Plan, PlanSpec, Status};
use keyferry::http::{Limits, serve};
use keyferry::provider::{ApiKey, Endpoint, ProviderError, SeamClient};
use keyferry::queue::{Content, Envelope, Inbox as _};
use keyferry::sandbox::Sandbox;
use keyferry::store::{LedgerLine, PutPlan, Store};
use keyferry::worker::{Settings, Worker};
use keyferry::{provider, sandbox};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::db::{Bench, start};
use life::{Life, LivedClock};
use line::Line;

/// Long enough for the provider to activate a phone and to bring a key to it.
const A_WHILE: SignedDuration = SignedDuration::from_secs(10);

/// A provider of its own, and whoever works with it on the bench's store.
struct Story<'a> {
    bench: &'a Bench,
    /// Tells the people, plans and events of several stories on one bench apart.
    number: u64,
    url: String,
    api_key: String,
    http: reqwest::Client,
    client: Arc<SeamClient>,
    settings: Settings,
    line: Line,
    worker: Worker,
    /// Events of the provider's that have come in.
    heard: Mutex<BTreeSet<String>>,
    _server: DropGuard,
}

impl<'a> Story<'a> {
    async fn new(bench: &'a Bench) -> Self {
        Self::numbered(bench, 1).await
    }

    async fn numbered(bench: &'a Bench, number: u64) -> Self {
        let settings = sandbox::Settings { seed: number, ..sandbox::Settings::default() };
        let api_key = settings.api_key.clone();
        let sandbox = Sandbox::new(settings, Arc::new(bench.clock.clone())).expect("a sandbox");
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let end = CancellationToken::new();
        let limits = Limits { drain: Duration::ZERO, ..Limits::default() };
        tokio::spawn(serve(listener, sandbox.router(), limits, end.clone()));

        let endpoint = Endpoint::parse(&url).expect("an endpoint");
        let asked = provider::Settings::new(endpoint, ApiKey::new(api_key.clone().into()).expect("a key"));
        let client = Arc::new(SeamClient::new(&asked, Arc::new(bench.clock.clone())).expect("a client"));
        let settings = Settings::default();
        let (line, worker) = staff(bench, bench.store.clone(), &client, &settings, Life::endless());
        Self {
            bench,
            number,
            url,
            api_key,
            http: reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().expect("a client"),
            client,
            settings,
            line,
            worker,
            heard: Mutex::default(),
            _server: end.drop_guard(),
        }
    }

    /// A worker in a process of its own, with a line of its own.
    async fn other_worker(&self, life: Life) -> (Line, Worker) {
        staff(self.bench, self.bench.other_process().await, &self.client, &self.settings, life)
    }

    fn now(&self) -> Timestamp {
        self.bench.clock.now()
    }

    fn pass(&self, time: SignedDuration) {
        self.bench.clock.advance(time);
    }

    /// A call to the sandbox, as Seam's customer or in its control room.
    async fn seam(&self, path: &str, body: &Value) -> Value {
        let call = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.api_key).json(body);
        let response = call.send().await.expect("an answer");
        let status = response.status();
        let answer: Value = response.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }

    async fn world(&self) -> Value {
        let call = self.http.get(format!("{}/_sandbox/world", self.url)).bearer_auth(&self.api_key);
        call.send().await.expect("an answer").json().await.expect("JSON")
    }

    fn key(&self, name: &str) -> String {
        format!("{name}-{}", self.number)
    }

    /// The hotel's first guest, for three days in its first two rooms. Not as an `override`, which would invalidate
    /// what other plans have for these rooms.
    async fn stay(&self) -> PlanSpec {
        self.stay_of(0).await
    }

    /// The same for the `index`th guest.
    async fn stay_of(&self, index: usize) -> PlanSpec {
        let world = self.world().await;
        let of = |name: &str| world[name].as_array().expect("a list").clone();
        let hotel =
            of("acs_systems").into_iter().find(|it| it["external_type"] == "visionline_system").expect("a hotel");
        let is_in_hotel = |it: &Value| it["acs_system_id"] == hotel["acs_system_id"];
        let guest = of("acs_users").into_iter().filter(is_in_hotel).nth(index).expect("a guest");
        let doors: Vec<Value> = of("acs_entrances").into_iter().filter(is_in_hotel).take(2).collect();
        let ends_at = add(self.now(), SignedDuration::from_hours(72));
        let body = json!({
            "user_identity_id": guest["user_identity_id"],
            "acs_user_id": guest["acs_user_id"],
            "credential_manager_acs_system_id": hotel["default_credential_manager_acs_system_id"],
            "allowed_acs_entrance_ids": doors.iter().map(|it| it["acs_entrance_id"].clone()).collect::<Vec<_>>(),
            "starts_at": format!("{:.3}", self.now()),
            "ends_at": format!("{ends_at:.3}"),
        });
        PlanSpec::from_json(body.to_string().as_bytes()).expect("a plan")
    }

    /// The guest's `user_identity_key`.
    async fn guest_key(&self, spec: &PlanSpec) -> String {
        let world = self.world().await;
        let mut people = world["user_identities"].as_array().expect("people").iter();
        let guest = people.find(|it| it["user_identity_id"] == spec.user_identity_id.as_str()).expect("the guest");
        guest["user_identity_key"].as_str().expect("a key").to_owned()
    }

    /// The same stay as Visionline's guides have it: a second credential for it would invalidate the first.
    async fn overriding_stay(&self) -> PlanSpec {
        let visionline_metadata = Some(json!({"card_format": "rfid48", "override": true}));
        PlanSpec { visionline_metadata, ..self.stay().await }
    }

    async fn put(&self, name: &str, spec: &PlanSpec) -> PutPlan {
        let plan = Plan { key: self.key(name), spec: spec.clone(), put_at: self.now(), deleted_at: None };
        self.bench.store.put_plan(&plan).await.expect("put")
    }

    async fn issuance(&self, name: &str) -> Issuance {
        self.bench.store.plan(&self.key(name)).await.expect("a read").expect("a plan").1
    }

    /// Where a plan's issuance stands, and each of its keys.
    async fn stands(&self, name: &str) -> (Status, Vec<KeyStatus>) {
        let keys = self.bench.store.phone_keys(&self.key(name)).await.expect("keys");
        (self.issuance(name).await.status, keys.into_iter().map(|key| key.status).collect())
    }

    /// A phone of this person signs in at the provider. Returns its `device_id`.
    async fn sign_in(&self, spec: &PlanSpec) -> String {
        let body = json!({"user_identity_id": spec.user_identity_id});
        let phone = self.seam("/phones/simulate/create_sandbox_phone", &body).await;
        phone["phone"]["device_id"].as_str().expect("an id").to_owned()
    }

    async fn deactivate(&self, device_id: &str) {
        self.seam("/phones/deactivate", &json!({"device_id": device_id})).await;
    }

    /// An event comes in, once for each id.
    async fn comes_in(&self, event_id: &str, fact: Fact) {
        self.bench.store.accept(vec![self.envelope(event_id, "any.type", fact)]).await.expect("accepted");
    }

    fn envelope(&self, event_id: &str, event_type: &str, fact: Fact) -> Envelope {
        let event = Event {
            source: "app".to_owned(),
            event_id: self.key(event_id),
            event_type: event_type.to_owned(),
            occurred_at: self.now(),
            fact,
        };
        Envelope {
            delivery_id: format!("msg_{}", event.event_id),
            received_at: self.now(),
            traceparent: None,
            proof: None,
            body: "{}".into(),
            content: Content::Event(event),
        }
    }

    /// What the provider has told since the last time comes in, in the order in which it happened, whatever the ids of
    /// what happened in the same moment: so the stories of two numbers go alike.
    async fn hear(&self) {
        let all = json!({"since": start(), "event_types": SEAM_EVENT_TYPES, "limit": 100_000});
        let told = self.seam("/events/list", &all).await;
        for event in told["events"].as_array().expect("events") {
            let [event_id, event_type] = ["event_id", "event_type"].map(|field| event[field].as_str().expect("a text"));
            let is_new = self.heard.lock().expect("no panic under the lock").insert(event_id.to_owned());
            if is_new && let Some(fact) = fact(event_type, event.to_string().as_bytes()) {
                let envelope = self.envelope(event_id, event_type, fact);
                self.bench.store.accept(vec![envelope]).await.expect("accepted");
            }
        }
    }

    /// One step; how many events that were.
    async fn step(&self) -> usize {
        self.worker.step().await.expect("a step")
    }

    async fn settle(&self) {
        self.settle_with(&self.worker).await;
    }

    /// Works until nothing is left to do: what the provider tells comes in, and the time passes that retries and leases
    /// ask for.
    async fn settle_with(&self, worker: &Worker) {
        self.settle_by(async || worker.step().await.expect("a step")).await;
    }

    async fn settle_by(&self, step: impl AsyncFn() -> usize) {
        let mut is_quiet = false;
        for _ in 0..200 {
            self.hear().await;
            if step().await > 0 {
                is_quiet = false;
                continue;
            }
            let counts = self.bench.store.inbox_counts().await.expect("counts");
            let due = self.bench.store.next_due().await.expect("asked").filter(|due| *due > self.now());
            match due {
                Some(due) => self.pass(due.duration_since(self.now())),
                None if counts.in_flight > 0 => self.pass(self.settings.lease),
                None if is_quiet => return,
                None => {
                    is_quiet = true;
                    self.pass(A_WHILE);
                }
            }
        }
        panic!("it does not come to rest: {:#?}", self.bench.store.inbox_counts().await);
    }

    /// The ledger's kinds that tell of plans, issuances and keys, in order.
    async fn told(&self, name: &str) -> Vec<String> {
        self.ledger(name).await.into_iter().map(|line| line.kind).collect()
    }

    async fn ledger(&self, name: &str) -> Vec<LedgerLine> {
        self.bench.store.ledger_of_plan(&self.key(name), 1000).await.expect("a ledger")
    }

    /// The parents that live at the provider: what there may be at most one of for each plan.
    async fn live_parents(&self) -> Vec<String> {
        self.theirs().await.into_keys().collect()
    }

    /// How many parents the provider has ever made.
    async fn parents_ever(&self) -> usize {
        let world = self.world().await;
        let rows = world["acs_credentials"].as_array().expect("credentials");
        rows.iter().filter(|it| it["parent_acs_credential_id"].is_null()).count()
    }

    /// What lives at the provider: each parent, whether it is issued, and the issued child on each phone.
    async fn theirs(&self) -> BTreeMap<String, Keys> {
        let world = self.world().await;
        let rows = world["acs_credentials"].as_array().expect("credentials");
        let live = || rows.iter().filter(|it| it["deleted_at"].is_null() && it["invalidated_at"].is_null());
        let id = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
        let mut parents = BTreeMap::new();
        for parent in live().filter(|it| it["parent_acs_credential_id"].is_null()) {
            let children = live().filter(|it| it["parent_acs_credential_id"] == parent["acs_credential_id"]);
            let issued = children.filter(|it| it["is_issued"] == true);
            let on_phones = issued.map(|it| (id(it, "device_id"), id(it, "acs_credential_id"))).collect();
            parents.insert(id(parent, "acs_credential_id"), (parent["is_issued"] == true, on_phones));
        }
        parents
    }

    /// The same, as our store has it.
    async fn ours(&self) -> BTreeMap<String, Keys> {
        let filter = keyferry::store::IssuanceFilter::default();
        let mut parents = BTreeMap::new();
        for (plan, issuance) in self.bench.store.issuances(&filter, 1000).await.expect("issuances") {
            let is_of_this_story = plan.key.ends_with(&format!("-{}", self.number));
            if !is_of_this_story || !matches!(issuance.status, Status::Created | Status::Issued) {
                continue;
            }
            let keys = self.bench.store.phone_keys(&plan.key).await.expect("keys");
            let issued = keys.into_iter().filter(|key| key.status == KeyStatus::Issued);
            let on_phones = issued.map(|key| (key.device_id, key.acs_credential_id.unwrap_or_default())).collect();
            let id = issuance.acs_credential_id.expect("a credential");
            let twin = parents.insert(id, (issuance.status == Status::Issued, on_phones));
            assert_eq!(twin, None, "two plans have the same credential");
        }
        parents
    }

    /// The questions that every story ends with: an empty inbox, nothing parked, `credentials` that live at the
    /// provider, and our states the provider's.
    async fn ends_with(&self, credentials: usize) {
        self.settle().await;
        let counts = self.bench.store.inbox_counts().await.expect("counts");
        assert_eq!((counts.waiting, counts.retrying, counts.in_flight), (0, 0, 0), "{counts:?}");
        let parked = self.bench.store.parked(0, 10).await.expect("parked");
        assert!(parked.is_empty(), "{parked:#?}");
        assert_eq!(self.line.open_orders(), 0, "a fault that was ordered has not happened");
        let theirs = self.theirs().await;
        assert_eq!(theirs.len(), credentials, "live credentials at the provider: {theirs:#?}");
        assert_eq!(self.ours().await, theirs, "our states are the provider's");
    }
}

/// Whether a parent is issued, and the child on each phone.
type Keys = (bool, BTreeMap<String, String>);

fn staff(bench: &Bench, store: Store, client: &Arc<SeamClient>, settings: &Settings, lived: Life) -> (Line, Worker) {
    let line = Line::new(Arc::clone(client), lived.clone());
    let clock = LivedClock { clock: bench.clock.clone(), life: lived };
    let entropy = Arc::new(SeededEntropy::new(7));
    let worker = Worker::new(store, Arc::new(line.clone()), Arc::new(clock), entropy, settings.clone());
    (line, worker)
}

fn registered(spec: &PlanSpec, device_id: &str) -> Fact {
    Fact::PhoneRegistered {
        person: Person::UserIdentityId(spec.user_identity_id.clone()),
        device_id: Some(device_id.to_owned()),
        device_type: None,
    }
}

fn deactivated(device_id: &str) -> Fact {
    Fact::PhoneDeactivated { device_id: device_id.to_owned() }
}

fn changed(acs_credential_id: &str) -> Fact {
    Fact::CredentialChanged { acs_credential_id: acs_credential_id.to_owned() }
}

/// What an event of the provider's says; `None` where it asks nothing of us.
fn fact(event_type: &str, body: &[u8]) -> Option<Fact> {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let id = |field: &str| body[field].as_str().map(str::to_owned);
    match event_type {
        "phone.deactivated" => Some(Fact::PhoneDeactivated { device_id: id("device_id")? }),
        "acs_user.deleted" => Some(Fact::AcsUserDeleted { acs_user_id: id("acs_user_id")? }),
        _ if event_type.starts_with("acs_credential.") => {
            Some(Fact::CredentialChanged { acs_credential_id: id("acs_credential_id")? })
        }
        _ => None,
    }
}

fn lost() -> ProviderError {
    let why = "the connection was lost".to_owned();
    ProviderError::Unknown { call: "/acs/credentials/create", why }
}

fn unavailable(retry_after: Option<Duration>) -> ProviderError {
    ProviderError::Transient { call: "/any/call", why: "503, out of order".to_owned(), retry_after }
}

fn refused() -> ProviderError {
    ProviderError::Permanent {
        call: "/acs/credentials/create",
        status: 400,
        error_type: "invalid_input".to_owned(),
        message: "no such door".to_owned(),
    }
}
