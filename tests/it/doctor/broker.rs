//! RabbitMQ: other arguments, a policy, a lost binding, an alarm, a wrong password.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use keyferry::clock::{Entropy as _, SystemClock, SystemEntropy};
use keyferry::queue::rabbitmq::{self, Settings, State};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use tokio_util::sync::CancellationToken;

use super::{Diagnosis, diagnose, environment, free_address};
use crate::support::broker::{amqp_url, rabbitmqctl};
use crate::support::db::service;
use crate::support::wait;

/// A receiver's configuration on the broker, under names of its own.
struct Bus {
    prefix: String,
    amqp_url: String,
    config: tempfile::NamedTempFile,
}

impl Bus {
    fn new(amqp_url: String, management_url: Option<&str>) -> Self {
        let prefix = format!("doctor-{:016x}", SystemEntropy.next_u64());
        let config = tempfile::NamedTempFile::new().expect("a file");
        let management = management_url.map(|url| format!("management_url = \"{url}\"\n")).unwrap_or_default();
        std::fs::write(config.path(), format!("[queue]\nprefix = \"{prefix}\"\n{management}")).expect("written");
        Self { prefix, amqp_url, config }
    }

    async fn diagnosis(&self) -> Diagnosis {
        let (listen, ops, config) = (free_address(), free_address(), self.config.path().to_string_lossy());
        let arguments = ["--role", "serve", "--config", &config, "--listen", &listen, "--ops-listen", &ops];
        let environment = environment([
            ("KEYFERRY_AMQP_URL", self.amqp_url.as_str()),
            ("SEAM_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ]);
        diagnose(&arguments, &environment).await
    }

    async fn connection(&self) -> Connection {
        Connection::connect(&self.amqp_url, ConnectionProperties::default()).await.expect("the broker")
    }

    fn name(&self, last: &str) -> String {
        format!("{}.{last}", self.prefix)
    }

    /// Declares everything, as a server does when it connects.
    async fn declare(&self) {
        let mut settings = Settings::new(self.amqp_url.clone().into());
        settings.prefix.clone_from(&self.prefix);
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let (_publisher, link) = rabbitmq::publisher(&settings, clock, entropy).expect("settings");
        let (state, end) = (link.state(), CancellationToken::new());
        let running = tokio::spawn(link.run(end.clone()));
        wait::until("the topology", async || (*state.borrow() == State::Ready).then_some(())).await;
        end.cancel();
        running.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_made_by_looking() {
    let bus = Bus::new(amqp_url(), None);
    for _ in 0..2 {
        let diagnosis = bus.diagnosis().await;
        diagnosis.finds("ok", "broker", "takes publishes", "");
        diagnosis.finds("warning", "broker", &format!("`{}` does not exist", bus.name("inbox")), "new set-up");
        diagnosis.finds("ok", "broker policies", "not looked at", "");
    }
    bus.declare().await;
    assert_eq!(bus.diagnosis().await.of("warning").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_found() {
    let bus = Bus::new(amqp_url(), None);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(3));
    let connection = bus.connection().await;
    let channel = connection.create_channel().await.expect("a channel");
    let (name, options) = (bus.name("inbox").into(), QueueDeclareOptions::durable());
    channel.queue_declare(name, options, arguments).await.expect("declared");
    bus.diagnosis().await.finds("problem", "broker", "exists with other arguments", "emptied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_and_a_lost_binding_are_found_through_the_management_api() {
    let bus = Bus::new(amqp_url(), Some(&service("KEYFERRY_TEST_MANAGEMENT_URL")));
    bus.declare().await;
    // The API learns of a queue's policies some seconds after the queue.
    let whole = wait::until("the management API's news", async || {
        let diagnosis = bus.diagnosis().await;
        diagnosis.of("warning").is_empty().then_some(diagnosis)
    })
    .await;
    whole.finds("ok", "broker policies", "no policy changes", "");
    whole.finds("ok", "broker policies", "is bound to the queue", "");
    whole.finds("ok", "clocks", "the broker's agree", "");
    assert_eq!(whole.code, 0, "{whole:#?}");

    let pattern = format!("^{}[.]inbox$", bus.prefix);
    let definition = r#"{"delivery-limit": 2, "message-ttl": 60000}"#;
    rabbitmqctl(&["set_policy", "--apply-to", "queues", &bus.prefix, &pattern, definition]).await;
    let connection = bus.connection().await;
    let channel = connection.create_channel().await.expect("a channel");
    let (queue, exchange) = (bus.name("inbox").into(), bus.name("events").into());
    channel.queue_unbind(queue, exchange, "#".into(), FieldTable::default()).await.expect("unbound");
    let broken = wait::until("the policy", async || {
        let diagnosis = bus.diagnosis().await;
        diagnosis.findings.iter().any(|it| it.what.contains("delivery limit to 2")).then_some(diagnosis)
    })
    .await;
    broken.finds("problem", "broker policies", &format!("the policy `{}`", bus.prefix), "rabbitmqctl list_policies");
    broken.finds("problem", "broker policies", "message-ttl to 60000", "policy");
    broken.finds("problem", "broker policies", "is not bound to the queue", "restart a server");
    rabbitmqctl(&["clear_policy", &bus.prefix]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_found_and_not_told() {
    let bus = Bus::new(amqp_url().replace("guest:guest", "guest:hunter2"), None);
    let diagnosis = bus.diagnosis().await;
    diagnosis.finds("problem", "broker", "ACCESS_REFUSED", "user and password");
    assert!(!format!("{diagnosis:?}").contains("hunter2"));
}

/// On a broker of its own, because an alarm stops everybody's publishes.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_blocks_is_found_and_nothing_is_left_there() {
    let broker = OwnBroker::start().await;
    let bus = Bus::new(broker.amqp_url.clone(), None);
    bus.declare().await;
    broker.ctl(&["set_vm_memory_high_watermark", "absolute", "1"]);
    let blocked = wait::until("the alarm", async || {
        let diagnosis = bus.diagnosis().await;
        (!diagnosis.of("problem").is_empty()).then_some(diagnosis)
    })
    .await;
    blocked.finds("problem", "broker", "takes no publishes", "free memory or disk");
    broker.ctl(&["set_vm_memory_high_watermark", "0.8"]);
    wait::until("the end of the alarm", async || bus.diagnosis().await.of("problem").is_empty().then_some(())).await;
    let queues = broker.ctl(&["list_queues", "--silent", "name", "messages"]);
    let mut queues: Vec<&str> = queues.lines().filter(|line| line.starts_with(&bus.prefix)).collect();
    queues.sort_unstable();
    assert_eq!(queues, [format!("{}\t0", bus.name("inbox")), format!("{}\t0", bus.name("parked"))]);
}

/// A second run of `scripts/with-services`; it ends with its standard input.
struct OwnBroker {
    amqp_url: String,
    rabbitmqctl: String,
    process: Child,
    input: Option<ChildStdin>,
}

impl OwnBroker {
    async fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/with-services");
        let hold = "echo \"$KEYFERRY_TEST_AMQP_URL\"; echo \"$KEYFERRY_TEST_RABBITMQCTL\"; exec cat >/dev/null";
        let mut command = Command::new(script);
        command.args(["bash", "-c", hold]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let start = move || {
            let mut process = command.spawn().expect("it starts");
            let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
            let mut line = || lines.next().expect("a line").expect("text");
            let (amqp_url, rabbitmqctl, input) = (line(), line(), process.stdin.take());
            Self { amqp_url, rabbitmqctl, process, input }
        };
        tokio::task::spawn_blocking(start).await.expect("a broker")
    }

    fn ctl(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.rabbitmqctl).args(arguments).output().expect("rabbitmqctl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        drop(self.input.take());
        // It has been told to end, and cleans up behind itself.
        let _ = self.process.wait();
    }
}
