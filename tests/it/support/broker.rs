//! The private RabbitMQ that `scripts/test` starts.

use std::process::Command;

use super::db::service;

/// The broker's default vhost and user.
pub(crate) fn amqp_url() -> String {
    service("KEYFERRY_TEST_AMQP_URL")
}

/// Runs `rabbitmqctl` against that broker, and returns what it printed.
pub(crate) async fn rabbitmqctl(arguments: &[&str]) -> String {
    let mut command = Command::new(service("KEYFERRY_TEST_RABBITMQCTL"));
    command.args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("no panic").expect("rabbitmqctl runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "rabbitmqctl {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}
