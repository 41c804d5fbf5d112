//! An ops port with everything behind it, and a client that believes nothing that the OpenAPI file does not say.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use jiff::SignedDuration;
use keyferry::clock::{self, Clock as _};
use keyferry::domain::{Entry, Event, Fact, Issuance, Kind, Outcome, Person, Phone, PhoneKey};
use keyferry::http::Limits;
use keyferry::ops::wire::{CallRate, Calls};
use keyferry::ops::{Api, Behind, Check, Health, Ops};
use keyferry::queue::{Content, Envelope, Inbox as _, Proof};
use keyferry::store::Change;
use metrics_exporter_prometheus::PrometheusBuilder;
use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::openapi;
use super::registry::Registry;
use crate::support::db::Bench;

/// How the limits on calls stand.
const CALLS: Calls =
    Calls { in_flight_max: 64, rate: Some(CallRate { per_second_max: 10, burst_max: 20, burst_used: 3 }) };

pub(super) struct Office {
    pub(super) bench: Bench,
    pub(super) provider: Arc<Registry>,
    /// What reading a parked delivery again comes to.
    pub(super) reread: Arc<Mutex<Result<Vec<Envelope>, String>>>,
    /// What the vital check `queue` says.
    pub(super) queue: Arc<Mutex<Result<(), String>>>,
    pub(super) url: String,
    token: Option<&'static str>,
    shutdown: CancellationToken,
    server: JoinHandle<usize>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The fields that a refusal names.
    pub(super) fn fields(&self) -> Vec<String> {
        let fields = self.json()["error"]["fields"].as_array().cloned().unwrap_or_default();
        fields.iter().map(|field| field["field"].as_str().expect("a field").to_owned()).collect()
    }
}

impl Office {
    pub(super) async fn open() -> Self {
        Self::with_token(None).await
    }

    pub(super) async fn with_token(token: Option<&'static str>) -> Self {
        let (bench, provider) = (Bench::sqlite().await, Arc::new(Registry::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let reread = Arc::new(Mutex::new(Err("still not JSON".to_owned())));
        let (queue, shutdown) = (Arc::new(Mutex::new(Ok(()))), CancellationToken::new());
        let server = tokio::spawn(async { 0 });
        let mut office = Self { bench, provider, reread, queue, url, token, shutdown, server };
        office.serve(listener);
        office
    }

    fn serve(&mut self, listener: TcpListener) {
        self.shutdown = CancellationToken::new();
        let clock = Arc::new(self.bench.clock.clone());
        let (reread, queue) = (Arc::clone(&self.reread), Arc::clone(&self.queue));
        let checks = vec![
            Check::vital("queue", move || {
                let answer = queue.lock().expect("no panic").clone();
                async move { answer }
            }),
            Check::informative("provider", || async { Err("it is asleep".to_owned()) }),
        ];
        let router = keyferry::ops::router(Ops {
            health: Health::new(checks, clock.clone()),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            token: self.token.map(SecretString::from),
            behind: Behind::Api(Api {
                store: self.bench.store.clone(),
                provider: Arc::clone(&self.provider) as _,
                clock,
                secrets: Some(Arc::new(|| {
                    let names = ["2025-11", "2026-03"].map(str::to_owned).to_vec();
                    [("app".to_owned(), names), ("seam".to_owned(), vec!["1".to_owned()])].into()
                })),
                calls: Arc::new(|| Box::pin(async { Ok(CALLS) })),
                reread: Arc::new(move |_| reread.lock().expect("no panic").clone()),
                shutdown: self.shutdown.clone(),
            }),
        });
        self.server = tokio::spawn(keyferry::http::serve(listener, router, Limits::default(), self.shutdown.clone()));
    }

    /// Ends the server, open streams included. Returns how many connections had to be cut.
    pub(super) async fn close(&mut self) -> usize {
        self.shutdown.cancel();
        (&mut self.server).await.expect("no panic")
    }

    /// At the address of before.
    pub(super) async fn reopen(&mut self) {
        let address = self.url.strip_prefix("http://").expect("a URL");
        self.serve(TcpListener::bind(address).await.expect("the same port"));
    }

    pub(super) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url));
        match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends, and holds the answer against the description of `method` and `path`.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = reqwest::Client::new().execute(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = Answer { status, headers, body: response.bytes().await.expect("a whole answer") };
        assert_eq!(answer.headers["cache-control"], "no-store", "{method} {path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{method} {path}");
        openapi::check(&method, &path, &answer);
        answer
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(super) async fn post(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path)).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Lets a `phone.registered` with this id come in.
    pub(super) async fn receive(&self, event_id: &str) {
        self.accept(self.registered(event_id), None).await;
    }

    /// The same, proven with a secret of this name and signed so many seconds ago.
    pub(super) async fn receive_proven(&self, event_id: &str, secret: &str, seconds: i64) {
        let sent_at = clock::add(self.bench.clock.now(), SignedDuration::from_secs(-seconds));
        let proof = Proof { secret: secret.to_owned(), sent_at: Some(sent_at) };
        self.accept(self.registered(event_id), Some(proof)).await;
    }

    fn registered(&self, event_id: &str) -> Content {
        Content::Event(Event {
            source: "app".to_owned(),
            event_id: event_id.to_owned(),
            event_type: "phone.registered".to_owned(),
            occurred_at: self.bench.clock.now(),
            fact: Fact::PhoneRegistered {
                person: Person::UserIdentityId(format!("person-of-{event_id}")),
                device_id: None,
                device_type: None,
            },
        })
    }

    /// Lets a genuine body come in that nobody can read.
    pub(super) async fn receive_unreadable(&self) {
        let headers = [("content-type".to_owned(), "application/json".to_owned())].into();
        self.accept(Content::Unreadable { source: "app".to_owned(), why: "not JSON".to_owned(), headers }, None).await;
    }

    async fn accept(&self, content: Content, proof: Option<Proof>) {
        let delivery_id = match &content {
            Content::Event(event) => format!("msg_{}", event.event_id),
            Content::Unreadable { .. } => "msg_unreadable".to_owned(),
        };
        let envelope = Envelope {
            delivery_id,
            received_at: self.bench.clock.now(),
            traceparent: None,
            proof,
            body: Bytes::from_static(b"{\"a\": \xff}"),
            content,
        };
        self.bench.store.accept(vec![envelope]).await.expect("accepted");
    }

    /// Claims all that is due, as a worker does, and ends it with `outcome`.
    pub(super) async fn work(&self, outcome: Outcome) {
        let now = self.bench.clock.now();
        let until = clock::add(now, SignedDuration::from_secs(15));
        for claimed in self.bench.store.claim(now, until, 100).await.expect("claimed").events {
            let change = Change { outcome: Some(outcome.clone()), ..Change::default() };
            self.bench.store.record(&claimed, now, change).await.expect("recorded");
        }
    }

    /// Brings a plan's credential to where a worker would: issued, on one phone of two.
    pub(super) async fn issue(&self, key: &str) {
        self.work(Outcome::Done).await;
        let (_, issuance) = self.bench.store.plan(key).await.expect("read").expect("a plan");
        let issuance = Issuance { attempts: 1, ..issuance.created(&format!("credential-{key}"), None) };
        let phone = |device_id: &str| Phone {
            device_id: device_id.to_owned(),
            user_identity_id: issuance.user_identity_id.clone(),
            device_type: Some("ios_phone".to_owned()),
            is_active: true,
        };
        let issued = PhoneKey {
            status: keyferry::domain::KeyStatus::Issued,
            acs_credential_id: Some(format!("child-{key}")),
            issued_at: Some(self.bench.clock.now()),
            ..PhoneKey::waiting(key, "phone-1")
        };
        let entry = Entry::new(Kind::PhoneKey(issued.status)).plan(key).device(&issued.device_id);
        let change = Change {
            again: vec![],
            ledger: vec![issuance.entry(), entry],
            phones: vec![phone("phone-1"), phone("phone-2")],
            phone_keys: vec![issued, PhoneKey::waiting(key, "phone-2")],
            issuances: vec![issuance],
            outcome: Some(Outcome::Done),
            ..Change::default()
        };
        self.receive(&format!("registered-{key}")).await;
        let now = self.bench.clock.now();
        let claimed = self.bench.store.claim(now, clock::add(now, SignedDuration::from_secs(15)), 1).await;
        let claimed = claimed.expect("claimed").events.remove(0);
        self.bench.store.record(&claimed, now, change).await.expect("recorded");
    }
}
