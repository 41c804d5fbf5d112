//! A sandbox on a port of its own, and an ear that hears what it tells.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::{Clock, ManualClock};
use keyferry::http::{Limits, serve};
use keyferry::sandbox::{Sandbox, Settings};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Long enough for a phone to activate, or for a credential to be issued.
pub(super) const A_WHILE: SignedDuration = SignedDuration::from_secs(10);

pub(super) struct House {
    pub(super) clock: ManualClock,
    pub(super) sandbox: Sandbox,
    pub(super) client: reqwest::Client,
    pub(super) url: String,
    key: String,
    _server: DropGuard,
}

impl House {
    pub(super) async fn open() -> Self {
        Self::open_with(Settings::default(), "2026-03-01T10:00:00Z").await
    }

    pub(super) async fn open_at(state: PathBuf, now: &str) -> Self {
        Self::open_with(Settings { state: Some(state), ..Settings::default() }, now).await
    }

    pub(super) async fn open_with(settings: Settings, now: &str) -> Self {
        let clock = ManualClock::starting_at(now.parse().expect("a timestamp"));
        let key = settings.api_key.clone();
        let sandbox = Sandbox::new(settings, Arc::new(clock.clone())).expect("a sandbox");
        Self { clock, ..Self::around(sandbox, key).await }
    }

    /// Puts a sandbox on a port that goes by a clock of its own, not by the house's.
    pub(super) async fn around(sandbox: Sandbox, key: String) -> Self {
        let (url, server) = listen(sandbox.router()).await;
        let client = reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().expect("a client");
        Self { clock: ManualClock::starting_at(Timestamp::UNIX_EPOCH), sandbox, client, url, key, _server: server }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A moment before or after now, as Seam writes it.
    pub(super) fn at(&self, from_now: SignedDuration) -> String {
        format!("{:.3}", keyferry::clock::add(self.now(), from_now))
    }

    /// Lets time pass, and everything that is due by then happen.
    pub(super) async fn pass(&self, time: SignedDuration) {
        self.clock.advance(time);
        self.sandbox.step().await;
    }

    pub(super) fn call(&self, method: &str, path_and_query: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("{}{path_and_query}", self.url)).bearer_auth(&self.key)
    }

    /// A call that succeeds.
    pub(super) async fn seam(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_seam(path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        assert_eq!(answer["ok"], true, "{path}: {answer}");
        answer
    }

    pub(super) async fn try_seam(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.call("POST", path).json(body)).await
    }

    /// The message of a call that is refused with this error type.
    pub(super) async fn refused(&self, path: &str, body: &Value, kind: &str) -> String {
        let (status, answer) = self.try_seam(path, body).await;
        assert!(status.is_client_error(), "{path}: {status} {answer}");
        assert_eq!(answer["error"]["type"], kind, "{path}: {answer}");
        answer["error"]["message"].as_str().expect("a message").to_owned()
    }

    /// An order in the control room.
    pub(super) async fn order(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = answer(self.call("POST", &format!("/_sandbox/{path}")).json(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    pub(super) async fn world(&self) -> Value {
        answer(self.call("GET", "/_sandbox/world")).await.1
    }

    /// The one object of the world that has this value in this field.
    pub(super) async fn find(&self, list: &str, field: &str, value: impl Into<Value>) -> Value {
        let (world, value) = (self.world().await, value.into());
        let rows = world[list].as_array().expect("a list");
        rows.iter().find(|row| row[field] == value).unwrap_or_else(|| panic!("no {list} with {field} {value}")).clone()
    }

    /// Ids of the entrances with these names.
    pub(super) async fn doors(&self, names: &[&str]) -> Vec<Value> {
        let mut ids = Vec::new();
        for name in names {
            ids.push(self.find("acs_entrances", "display_name", *name).await["acs_entrance_id"].clone());
        }
        ids
    }

    /// The person with this key: `user_identity_id`, and the id of the ACS user in this kind of system.
    pub(super) async fn person(&self, key: &str, external_type: &str) -> (Value, Value) {
        let person = self.find("user_identities", "user_identity_key", key).await;
        let system = self.find("acs_systems", "external_type", external_type).await;
        let asked = json!({"user_identity_id": person["user_identity_id"], "acs_system_id": system["acs_system_id"]});
        let user = self.seam("/acs/users/get", &asked).await["acs_user"].clone();
        (person["user_identity_id"].clone(), user["acs_user_id"].clone())
    }

    pub(super) async fn phone(&self, person: &Value) -> Value {
        let made = self.seam("/phones/simulate/create_sandbox_phone", &json!({"user_identity_id": person})).await;
        made["phone"]["device_id"].clone()
    }

    pub(super) async fn active_phone(&self, person: &Value) -> Value {
        let phone = self.phone(person).await;
        self.pass(A_WHILE).await;
        phone
    }

    /// A multi-phone sync credential with these parameters beside.
    pub(super) async fn parent(&self, user: &Value, beside: &Value) -> Value {
        let mut body = json!({
            "acs_user_id": user, "access_method": "mobile_key", "is_multi_phone_sync_credential": true,
        });
        for (name, value) in beside.as_object().expect("an object") {
            body[name] = value.clone();
        }
        self.seam("/acs/credentials/create", &body).await["acs_credential"].clone()
    }

    pub(super) async fn credential(&self, id: &Value) -> Value {
        self.seam("/acs/credentials/get", &json!({"acs_credential_id": id})).await["acs_credential"].clone()
    }

    /// The live children of a parent, in order.
    pub(super) async fn children(&self, parent: &Value) -> Vec<Value> {
        let listed = self.seam("/acs/credentials/list", &json!({})).await["acs_credentials"].clone();
        let rows = listed.as_array().expect("credentials").iter();
        rows.filter(|row| row["parent_acs_credential_id"] == *parent).cloned().collect()
    }

    /// Types of all events so far, each with the credential or the device that it is about.
    pub(super) async fn events(&self) -> Vec<(String, Value)> {
        let listed = self.seam("/events/list", &json!({"since": "1970-01-01T00:00:00Z", "limit": 100_000})).await;
        let about = |event: &Value| {
            let fields = ["acs_credential_id", "device_id", "access_method_id", "access_grant_id", "acs_user_id"];
            fields.iter().map(|field| event[field].clone()).find(|id| !id.is_null()).unwrap_or_default()
        };
        let events = listed["events"].as_array().expect("events").iter();
        events.map(|event| (event["event_type"].as_str().expect("a type").to_owned(), about(event))).collect()
    }

    /// How many events there are of this type.
    pub(super) async fn count(&self, event_type: &str) -> usize {
        self.events().await.iter().filter(|(name, _)| name == event_type).count()
    }
}

async fn listen(router: Router) -> (String, DropGuard) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let end = CancellationToken::new();
    let limits = Limits { drain: Duration::ZERO, ..Limits::default() };
    tokio::spawn(serve(listener, router, limits, end.clone()));
    (url, end.drop_guard())
}

pub(super) async fn answer(call: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = call.send().await.expect("an answer");
    let status = response.status();
    let body = response.text().await.expect("a body");
    let value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    (status, value)
}

/// One request that the ear heard.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Heard {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().expect("a text")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

type Reply = (StatusCode, Vec<(&'static str, &'static str)>);

#[derive(Debug, Default)]
struct Memory {
    heard: Vec<Heard>,
    replies: VecDeque<Reply>,
    usual: Option<StatusCode>,
}

/// A recipient of webhooks that remembers, and answers as it was told to.
pub(super) struct Ear {
    pub(super) url: String,
    memory: Arc<Mutex<Memory>>,
    _server: DropGuard,
}

impl Ear {
    pub(super) async fn new() -> Self {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let (url, server) = listen(Router::new().fallback(hear).with_state(memory.clone())).await;
        Self { url, memory, _server: server }
    }

    /// What was heard since the last look.
    pub(super) fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.memory.lock().expect("no panic").heard)
    }

    /// What the next requests are answered, before it is 204 again.
    pub(super) fn will_say(&self, replies: impl IntoIterator<Item = Reply>) {
        self.memory.lock().expect("no panic").replies.extend(replies);
    }

    /// What every request is answered from now on.
    pub(super) fn always_says(&self, status: StatusCode) {
        self.memory.lock().expect("no panic").usual = Some(status);
    }
}

async fn hear(State(memory): State<Arc<Mutex<Memory>>>, headers: HeaderMap, body: String) -> Response {
    let mut memory = memory.lock().expect("no panic");
    memory.heard.push(Heard { headers, body });
    let usual = memory.usual.unwrap_or(StatusCode::NO_CONTENT);
    let (status, headers) = memory.replies.pop_front().unwrap_or((usual, Vec::new()));
    let mut response = status.into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().expect("a value"));
    }
    response
}
