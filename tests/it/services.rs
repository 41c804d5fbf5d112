//! The private RabbitMQ and PostgreSQL that `scripts/test` starts, and waiting for what they do.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail like the test itself")]

use std::process::Command;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use keyferry::clock::{Clock as _, SystemClock};

/// RabbitMQ's default vhost.
pub(crate) fn amqp_url() -> String {
    from_environment("KEYFERRY_TEST_AMQP_URL")
}

/// Runs `rabbitmqctl` against that broker, and returns what it printed.
pub(crate) async fn rabbitmqctl(arguments: &[&str]) -> String {
    let mut command = Command::new(from_environment("KEYFERRY_TEST_RABBITMQCTL"));
    command.args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("no panic").expect("rabbitmqctl runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "rabbitmqctl {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

#[expect(clippy::disallowed_methods, reason = "the tests' one look into the environment")]
fn from_environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by `scripts/test`"))
}

/// Looks until `seen` is true, and fails when it is not within 30 seconds.
pub(crate) async fn eventually(what: &str, mut seen: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !seen().await {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        SystemClock.sleep(SignedDuration::from_millis(20)).await;
    }
}
