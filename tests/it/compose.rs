//! `docker-compose.yml` without Docker: its services' commands, environments and health checks, started in the order
//! that it asks for, against the private RabbitMQ and PostgreSQL in the place of its two images.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use keyferry::clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use serde::Deserialize;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use url::Url;

use crate::support::broker::{amqp_url, rabbitmqctl};
use crate::support::db::{new_postgres_database, service};
use crate::support::process::{Process, keyferry};
use crate::support::wait;

type Variables = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    /// Without a value: handed on from the variables, where it is set there.
    #[serde(default)]
    environment: BTreeMap<String, Option<String>>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: Option<HealthCheck>,
    #[serde(default)]
    deploy: Deploy,
}

#[derive(Deserialize)]
struct Dependency {
    condition: Condition,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Condition {
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

#[derive(Deserialize)]
struct HealthCheck {
    test: Vec<String>,
}

#[derive(Deserialize)]
struct Deploy {
    replicas: usize,
}

impl Default for Deploy {
    fn default() -> Self {
        Self { replicas: 1 }
    }
}

#[test]
fn the_example_names_every_variable_and_compose_insists_on_the_secrets() {
    let (compose, example) = (read("docker-compose.yml"), read(".env.example"));
    let named: BTreeSet<&str> =
        example.lines().filter_map(|line| line.trim_start_matches('#').split_once('=')).map(|(name, _)| name).collect();
    let used: BTreeSet<&str> = compose
        .split("${")
        .skip(1)
        .map(|rest| rest.split([':', '}']).next().expect("a name"))
        .chain(["KEYFERRY_APP_WEBHOOK_SECRET"])
        .collect();
    assert_eq!(named, used);
    for secret in used.iter().filter(|name| name.ends_with("PASSWORD") || name.ends_with("KEY")) {
        assert!(!compose.contains(&format!("${{{secret}:-")), "{secret} has a default");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_starts_in_its_order_and_carries_a_webhook() {
    let stage = Stage::new().await;
    let compose: Compose = serde_saphyr::from_str(&read("docker-compose.yml")).expect("compose's YAML");
    let mut met: BTreeSet<(String, Condition)> = BTreeSet::new();
    let mut waiting: Vec<(&String, &Service)> = compose.services.iter().collect();
    let mut running: BTreeMap<&str, Vec<Container>> = BTreeMap::new();
    while !waiting.is_empty() {
        let before = waiting.len();
        let ready = waiting.extract_if(.., |(_, service)| {
            service.depends_on.iter().all(|(name, on)| met.contains(&(name.clone(), on.condition)))
        });
        for (name, service) in ready.collect::<Vec<_>>() {
            for _ in 0..service.deploy.replicas {
                match stage.start(name, service).await {
                    Started::Elsewhere => met.insert((name.clone(), Condition::ServiceHealthy)),
                    Started::Ended => met.insert((name.clone(), Condition::ServiceCompletedSuccessfully)),
                    Started::Running(container) => {
                        running.entry(name).or_default().push(container);
                        met.insert((name.clone(), Condition::ServiceHealthy))
                    }
                };
            }
        }
        assert!(
            waiting.len() < before,
            "these wait for each other: {:?}",
            waiting.iter().map(|it| it.0).collect::<Vec<_>>()
        );
    }
    assert_eq!(
        running.iter().map(|(name, all)| (*name, all.len())).collect::<Vec<_>>(),
        [("sandbox", 1), ("serve", 1), ("work", 2)]
    );

    stage.send(&running["serve"][0]).await;
    for worker in &running["work"] {
        stage.knows_the_event(worker).await;
    }
    drop(running);
    stage.end().await;
}

/// What Docker would provide: the two images' services, names and ports of a network, and a filled-in `.env`.
struct Stage {
    variables: Variables,
    /// What stands in the file, and what to put there instead.
    places: Vec<(String, String)>,
    sandbox_port: u16,
    event_id: String,
}

enum Started {
    /// One of the two images.
    Elsewhere,
    /// It was a command, and it succeeded.
    Ended,
    Running(Container),
}

/// A running service, and the ports here of its ports there.
struct Container {
    _process: Process,
    ports: Vec<(u16, u16)>,
}

const APP_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

impl Stage {
    async fn new() -> Self {
        let secret = || format!("{:016x}{:016x}", SystemEntropy.next_u64(), SystemEntropy.next_u64());
        let sandbox_port = free_port();
        let variables = [
            ("RABBITMQ_PASSWORD", secret()),
            ("POSTGRES_PASSWORD", secret()),
            ("KEYFERRY_OPS_TOKEN", secret()),
            ("KEYFERRY_QUEUE_KEY", secret()),
            ("SEAM_API_KEY", format!("seam_{}", secret())),
            ("SEAM_WEBHOOK_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned()),
            ("SEAM_ENDPOINT", "http://sandbox:9400".to_owned()),
            ("KEYFERRY_APP_WEBHOOK_SECRET", APP_SECRET.to_owned()),
        ];
        let variables: Variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();

        rabbitmqctl(&["add_user", "keyferry", &variables["RABBITMQ_PASSWORD"]]).await;
        rabbitmqctl(&["set_permissions", "keyferry", ".*", ".*", ".*"]).await;
        let database: Url = new_postgres_database().await.parse().expect("a URL");
        let name = database.path().trim_start_matches('/');
        let mut server = PgConnection::connect(&service("KEYFERRY_TEST_POSTGRES_URL")).await.expect("PostgreSQL");
        // Roles belong to the whole server.
        let password = &variables["POSTGRES_PASSWORD"];
        for statement in [
            format!("CREATE ROLE keyferry LOGIN PASSWORD '{password}'"),
            format!("ALTER DATABASE {name} OWNER TO keyferry"),
        ] {
            server.execute(AssertSqlSafe(statement)).await.expect("done");
        }

        let at = |url: &Url| format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let places = vec![
            ("rabbitmq:5672".to_owned(), at(&amqp_url().parse().expect("a URL"))),
            ("postgres:5432/keyferry".to_owned(), format!("{}/{name}", at(&database))),
            ("sandbox:9400".to_owned(), format!("127.0.0.1:{sandbox_port}")),
            ("0.0.0.0:9400".to_owned(), format!("127.0.0.1:{sandbox_port}")),
        ];
        Self { variables, places, sandbox_port, event_id: format!("event-{:016x}", SystemEntropy.next_u64()) }
    }

    async fn start(&self, name: &str, service: &Service) -> Started {
        if service.image != "keyferry" {
            return Started::Elsewhere;
        }
        let ports = vec![(8080, free_port()), (8081, free_port())];
        let place = |text: &str| {
            let text = filled(text, &self.variables);
            let text = self.places.iter().fold(text, |text, (there, here)| text.replace(there, here));
            ports.iter().fold(text, |text, (there, here)| {
                text.replace(&format!("0.0.0.0:{there}"), &format!("127.0.0.1:{here}"))
                    .replace(&format!("/dev/tcp/127.0.0.1/{there}"), &format!("/dev/tcp/127.0.0.1/{here}"))
            })
        };
        let environment: Variables = service
            .environment
            .iter()
            .filter_map(|(name, value)| match value {
                Some(value) => Some((name.clone(), place(value))),
                None => Some((name.clone(), self.variables.get(name)?.clone())),
            })
            .collect();
        let arguments: Vec<String> = service.command.iter().map(|argument| place(argument)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Some(health) = &service.healthcheck else {
            if name == "sandbox" {
                let mut process = Process::start(&arguments, &environment);
                assert_eq!(process.says("SEAM_ENDPOINT=").await, format!("http://127.0.0.1:{}", self.sandbox_port));
                return Started::Running(Container { _process: process, ports });
            }
            let mut command = keyferry(&arguments, &environment);
            let ended =
                tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
            assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
            return Started::Ended;
        };
        let process = Process::start(&arguments, &environment);
        let health: Vec<String> = health.test.iter().map(|word| place(word)).collect();
        wait::until(&format!("{name} is healthy"), async || is_healthy(&health).then_some(())).await;
        Started::Running(Container { _process: process, ports })
    }

    /// A webhook from the customer's backend, as `keyferry send` sends it.
    async fn send(&self, serve: &Container) {
        let folder = tempfile::tempdir().expect("a folder");
        let body = folder.path().join("event.json");
        let event = json!({
            "event_id": self.event_id,
            "event_type": "phone.registered",
            "occurred_at": format!("{:.3}", SystemClock.now()),
            "user_identity_id": "nobody-here",
        });
        std::fs::write(&body, event.to_string()).expect("written");
        let (body, url) = (body.to_string_lossy(), format!("http://127.0.0.1:{}", serve.port(8080)));
        let arguments = ["send", "--source", "app", "--secret", APP_SECRET, "--url", &url, &body];
        let mut command = keyferry(&arguments, &Variables::new());
        let ended = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Both workers answer from the one database.
    async fn knows_the_event(&self, worker: &Container) {
        let url = format!("http://127.0.0.1:{}/v1/events/{}", worker.port(8081), self.event_id);
        let client = reqwest::Client::new();
        wait::until("the event is known", async || {
            let answer = client.get(&url).bearer_auth(&self.variables["KEYFERRY_OPS_TOKEN"]).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    async fn end(self) {
        rabbitmqctl(&["delete_user", "keyferry"]).await;
    }
}

impl Container {
    fn port(&self, there: u16) -> u16 {
        self.ports.iter().find(|(it, _)| *it == there).expect("a port of it").1
    }
}

fn is_healthy(check: &[String]) -> bool {
    let [kind, program, arguments @ ..] = check else { panic!("no health check: {check:?}") };
    assert_eq!(kind, "CMD");
    let checked = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    checked.expect("it runs").success()
}

/// Compose's own substitution: `${NAME:?message}`, `${NAME:-default}`, `${NAME}` and `$$`.
fn filled(text: &str, variables: &Variables) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
            continue;
        }
        let (inside, after) = after.strip_prefix('{').and_then(|it| it.split_once('}')).expect("${…}");
        let (name, otherwise) = inside.split_once(':').unwrap_or((inside, "?"));
        match (variables.get(name), otherwise.strip_prefix('-')) {
            (Some(value), _) => filled.push_str(value),
            (None, Some(default)) => filled.push_str(default),
            (None, None) => panic!("{name} is not set, and has no default"),
        }
        rest = after;
    }
    filled + rest
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a file of the project")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}
