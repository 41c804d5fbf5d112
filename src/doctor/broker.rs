//! RabbitMQ, as far as AMQP shows it: reached, let in, exchanges and queues as they should be, taking publishes.

use super::{Patient, Report};
use crate::clock::{Clock, Entropy};
use crate::queue::rabbitmq::topology::Standing;
use crate::queue::rabbitmq::{self, Fault};

pub(super) const AREA: &str = "broker";

pub(super) async fn look(patient: &Patient<'_>, clock: &dyn Clock, entropy: &dyn Entropy) -> Report {
    let mut report = Report::of(AREA);
    if super::is_mistaken(patient, "queue.amqp_url") || super::is_mistaken(patient, "queue.prefix") {
        return report;
    }
    let Some(settings) = &patient.config.rabbitmq else {
        report.ok("none is configured: the inbox is fed directly");
        return report;
    };
    match rabbitmq::inspect(settings, clock, entropy).await {
        Ok(seen) => {
            match seen.stuck {
                None => report.ok("RabbitMQ answers and takes publishes"),
                Some(why) => report.problem(
                    format!("RabbitMQ takes no publishes: {why}; webhooks are answered 503 until it does"),
                    "free memory or disk on the broker's machine (`rabbitmq-diagnostics alarms` says which)",
                ),
            }
            let parked = format!("{}.parked", settings.prefix);
            for (name, standing) in seen.topology {
                judge(&mut report, name.as_str(), standing, name.as_str() == parked);
            }
        }
        Err(fault) => unreachable(&fault, &mut report),
    }
    report
}

fn judge(report: &mut Report, name: &str, standing: Standing, is_parked: bool) {
    match standing {
        Standing::AsDeclared => report.ok(format!("the exchange `{name}` is as it should be")),
        Standing::Queue { messages, .. } if is_parked && messages > 0 => report.warning(
            format!("{messages} messages in `{name}`: foreign, unsealed, or given up after many deliveries"),
            "look at them on the broker; who publishes them, and are all keys and versions the same everywhere?",
        ),
        Standing::Queue { messages, consumers: 0 } if !is_parked && messages > 0 => report.warning(
            format!("{messages} messages wait in `{name}`, and no worker takes them"),
            "start `keyferry work`, or see in its log why it cannot connect",
        ),
        Standing::Queue { messages, .. } => {
            report.ok(format!("the queue `{name}` is as it should be, with {messages} messages"));
        }
        Standing::Missing => report.warning(
            format!("`{name}` does not exist"),
            "nothing, if this is a new set-up: servers declare it when they connect. Else see who deleted it",
        ),
        Standing::Wrong(error) => report.problem(
            error.to_string(),
            "no server connects until this is mended; a queue that holds messages is emptied by its old owner first",
        ),
    }
}

fn unreachable(fault: &Fault, report: &mut Report) {
    let said = fault.to_string();
    let advice = if said.contains("ACCESS_REFUSED") {
        "see whether user and password in KEYFERRY_AMQP_URL are right, and whether the user may use the vhost"
    } else if said.to_ascii_lowercase().contains("certificate") {
        "see whether the broker's certificate is for the host in KEYFERRY_AMQP_URL, in date, and from a known authority"
    } else {
        "see whether RabbitMQ runs, can be reached from here, and whether host, port and vhost in KEYFERRY_AMQP_URL are \
         right"
    };
    report.problem(format!("RabbitMQ cannot be used: {said}"), advice);
}
