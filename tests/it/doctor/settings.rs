//! The configuration, its file, and the ports.

use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use keyferry::http::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Environment, diagnose, environment, free_address};
use crate::support::ground::Shape;
use crate::support::town::Town;

#[tokio::test]
async fn a_wrong_secret_is_found_and_all_else_is_looked_at_just_the_same() {
    let mut town = Town::with_sandbox(Shape::Embedded).await;
    town.environment.insert("SEAM_WEBHOOK_SECRET".to_owned(), "hunter2hunter2hunter2".to_owned());
    let diagnosis = town.diagnosis("run").await;
    diagnosis.finds("problem", "configuration", "SEAM_WEBHOOK_SECRET", "mend it");
    diagnosis.finds("ok", "provider", "takes the API key", "");
    assert_eq!(diagnosis.code, 1);
}

#[tokio::test]
async fn a_file_with_secrets_that_others_can_read_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keyferry.toml");
    std::fs::write(&file, "[ops]\ntoken = \"a-token-that-is-long-enough\"\n").expect("written");
    let (ops, path) = (free_address(), file.to_string_lossy().into_owned());
    for (mode, verdict, what, advice) in [
        (0o644, "problem", "everybody", "chmod 600"),
        (0o640, "warning", "group", "chmod 600"),
        (0o600, "ok", "only its owner", ""),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
        let arguments = ["--role", "migrate", "--config", &path, "--ops-listen", &ops];
        diagnose(&arguments, &Environment::new()).await.finds(verdict, "configuration", what, advice);
    }
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_found_and_so_is_what_a_proof_is_worth() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let secret = path("secret");
    std::fs::write(&secret, "a secret of the desk").expect("written");
    let file = format!(
        "[[sources]]\nname = \"desk\"\nkind = \"hmac\"\nheader = \"X-Signature\"\nsecrets = [{{ file = \"{0}\" }}]\n\
         pointers = {{ id = \"/id\", type = \"/type\" }}\n[[sources]]\nname = \"origo\"\nkind = \"hid-origo\"\n\
         header = \"X-Origo-Secret\"\nsecrets = [{{ file = \"{0}\" }}]",
        secret.display()
    );
    std::fs::write(path("keyferry.toml"), file).expect("written");
    let (listen, ops) = (free_address(), free_address());
    let (config, amqp) = (path("keyferry.toml").to_string_lossy().into_owned(), "amqp://rabbit.invalid");
    let arguments =
        ["--role", "serve", "--config", &config, "--listen", &listen, "--ops-listen", &ops, "--amqp-url", amqp];
    for (mode, verdict, what, advice) in [
        (0o444, "warning", "everybody on this machine can read", "defaultMode: 0400"),
        (0o440, "warning", "its group can read", "chmod 400"),
        (0o400, "ok", "only its owner can read it", ""),
    ] {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("set");
        let diagnosis = diagnose(&arguments, &Environment::new()).await;
        diagnosis.finds(verdict, "configuration", what, advice);
        diagnosis.finds("ok", "configuration", "`desk` (hmac) are taken with 1 key; it signs no time", "");
        diagnosis.finds("ok", "configuration", "`origo` (hid-origo) are taken with 1 key; its secret travels", "");
    }
}

#[tokio::test]
async fn a_port_of_somebody_else_is_found_and_so_is_a_keyferry_that_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let waiting = (StatusCode::SERVICE_UNAVAILABLE, r#"{"ready": false, "not_ready": ["queue"]}"#);
    let router = Router::new().route("/readyz", get(async move || waiting));
    let server = keyferry::http::serve(listener, router, Limits::default(), CancellationToken::new());
    let server = tokio::spawn(server);
    let arguments = ["--role", "serve", "--listen", &address, "--ops-listen", &address];
    let diagnosis = diagnose(&arguments, &Environment::new()).await;
    diagnosis.finds("problem", "ports", "no Keyferry listens", "ss -ltnp");
    diagnosis.finds("problem", "ports", "waits for: queue", "log");
    server.abort();
}

#[tokio::test]
async fn plain_connections_beyond_this_machine_are_warned_of() {
    let environment = environment([
        // A name that no resolver knows.
        ("KEYFERRY_AMQP_URL", "amqp://user:hunter2@rabbit.invalid:5672"),
        ("SEAM_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ]);
    let (listen, ops) = (free_address(), free_address());
    let diagnosis = diagnose(&["--role", "serve", "--listen", &listen, "--ops-listen", &ops], &environment).await;
    diagnosis.finds("warning", "configuration", "plain amqp", "amqps");
    diagnosis.finds("warning", "configuration", "not sealed", "KEYFERRY_QUEUE_KEY");
    diagnosis.finds("problem", "broker", "RabbitMQ cannot be used", "KEYFERRY_AMQP_URL");
    assert!(!format!("{diagnosis:?}").contains("hunter2"));
}
