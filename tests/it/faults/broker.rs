//! A broker that is fine itself: what happens on the way to it, to its queues, and to our right to use them.

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use reqwest::StatusCode;

use super::brokered;
use crate::support::broker::{amqp_url, rabbitmqctl};
use crate::support::load::{delivery_id, registered};
use crate::support::proxy::{Mode, Proxy, Way};
use crate::support::town::{APP_SECRET, Town};
use crate::support::wait;

const URL: &str = "KEYFERRY_AMQP_URL";

/// A town whose receiver reaches the broker by way of a proxy, and whose workers do not.
async fn with_a_proxy_before_the_receiver() -> (Town, Proxy) {
    let (mut town, proxy) = (Town::founded(brokered().await).await, Proxy::before(&amqp_url()).await);
    town.environment.insert(URL.to_owned(), proxy.on_the_way_to(&amqp_url()));
    town.start("serve").await;
    town.environment.insert(URL.to_owned(), amqp_url());
    town.start("work").await;
    (town, proxy)
}

async fn channel() -> (Connection, Channel) {
    let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

#[tokio::test]
async fn its_confirm_is_lost() {
    let (town, proxy) = with_a_proxy_before_the_receiver().await;
    let stay = town.guests().await.remove(0);
    proxy.set(Mode::NoAnswers);
    let (id, body) = (delivery_id(), registered("registered-1", &stay, None).to_string());
    assert_eq!(town.post("app", APP_SECRET, &id, &body).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    wait::until("the event that was refused, in the ledger", async || {
        town.ledger().await.iter().any(|line| line["event_id"] == "registered-1").then_some(())
    })
    .await;
    proxy.cut();
    proxy.set(Mode::Pass);
    town.deliver("app", APP_SECRET, &body).await;
    let received = town.ledger().await.into_iter().filter(|line| line["event_id"] == "registered-1");
    assert_eq!(received.filter(|line| line["kind"] == "event.received").count(), 1, "the repetition is the same event");
    town.close().await;
}

#[tokio::test]
async fn its_connection_is_reset_in_the_middle_of_a_frame() {
    let (town, proxy) = with_a_proxy_before_the_receiver().await;
    let guests = town.guests().await;
    let trouble = async {
        for round in 1..=8 {
            // The handshake and the declarations are about 2000 bytes: from there on it hits publishes.
            proxy.set(Mode::ResetAfter(Way::There, 1500 + 701 * round));
            proxy.cut();
            wait::until("a reset", async || (proxy.resets() >= round).then_some(())).await;
        }
        proxy.set(Mode::Pass);
    };
    town.under_load(&guests, trouble).await;
    town.close().await;
}

/// Neither a reset nor an answer: as a machine that lost its power, or a firewall that forgot a connection.
#[tokio::test]
async fn it_falls_silent() {
    let (town, proxy) = with_a_proxy_before_the_receiver().await;
    let guests = town.guests().await;
    let trouble = async {
        proxy.set(Mode::Hole);
        town.receiver_complains("the RabbitMQ link is down").await;
        proxy.set(Mode::Pass);
    };
    let ((), tally) = town.under_load(&guests, trouble).await;
    assert!(tally.refused > 0, "{tally:?}");
    town.close().await;
}

#[tokio::test]
async fn its_exchange_its_binding_and_its_queue_are_deleted() {
    let ground = brokered().await;
    let prefix = ground.setting("queue.prefix").to_owned();
    let (events, inbox) = (format!("{prefix}.events"), format!("{prefix}.inbox"));
    let town = Town::on(ground).await;
    let guests = town.guests().await;
    let (_connection, channel) = channel().await;
    channel.exchange_delete(events.as_str().into(), ExchangeDeleteOptions::default()).await.expect("deleted");
    town.deliver_registered(&guests[0]).await;
    let (queue, exchange) = (inbox.as_str().into(), events.as_str().into());
    channel.queue_unbind(queue, exchange, "#".into(), FieldTable::default()).await.expect("unbound");
    town.deliver_registered(&guests[1]).await;
    // What is in a queue goes with it, so this is done when nothing is.
    wait::until("an empty queue", async || {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(inbox.as_str().into(), options, FieldTable::default()).await;
        (queue.expect("the queue").message_count() == 0).then_some(())
    })
    .await;
    town.comes_to_rest().await;
    channel.queue_delete(inbox.as_str().into(), QueueDeleteOptions::default()).await.expect("deleted");
    town.deliver_registered(&guests[2]).await;
    town.close().await;
}

#[tokio::test]
async fn its_queue_has_other_arguments() {
    let ground = brokered().await;
    let inbox = format!("{}.inbox", ground.setting("queue.prefix"));
    let (_connection, channel) = channel().await;
    let classic = channel.queue_declare(inbox.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default());
    classic.await.expect("declared");
    let mut town = Town::founded(ground).await;
    let (mut receiver, mut worker) = (town.launch("serve"), town.launch("work"));
    town.announced("serve", &mut receiver).await;
    receiver.says("exists with other arguments").await;
    let stay = town.stay(0).await;
    assert_eq!(town.send_registered("registered-1", &stay, None).await, StatusCode::SERVICE_UNAVAILABLE);
    channel.queue_delete(inbox.as_str().into(), QueueDeleteOptions::default()).await.expect("deleted");
    town.ready("serve", &mut receiver).await;
    town.ready("work", &mut worker).await;
    assert_eq!(town.send_registered("registered-1", &stay, None).await, StatusCode::ACCEPTED);
    town.close().await;
}

#[tokio::test]
async fn its_user_may_not_connect_for_a_while() {
    let ground = brokered().await;
    let user = ground.setting("queue.prefix").to_owned();
    rabbitmqctl(&["add_user", &user, "right"]).await;
    rabbitmqctl(&["set_permissions", &user, ".*", ".*", ".*"]).await;
    let (mut town, proxy) = (Town::founded(ground).await, Proxy::before(&amqp_url()).await);
    let url = amqp_url().replace("guest:guest", &format!("{user}:right"));
    town.environment.insert(URL.to_owned(), proxy.on_the_way_to(&url));
    town.start("serve").await;
    town.start("work").await;
    let guests = town.guests().await;
    let trouble = async {
        rabbitmqctl(&["change_password", &user, "wrong"]).await;
        proxy.cut();
        town.receiver_complains("answering 503").await;
        rabbitmqctl(&["change_password", &user, "right"]).await;
    };
    town.under_load(&guests, trouble).await;
    town.close().await;
    rabbitmqctl(&["delete_user", &user]).await;
}

#[tokio::test]
async fn its_queue_is_full() {
    let ground = brokered().await;
    let prefix = ground.setting("queue.prefix").to_owned();
    let mut town = Town::founded(ground).await;
    town.start("serve").await;
    let pattern = format!("^{prefix}[.]inbox$");
    rabbitmqctl(&["set_policy", "--apply-to", "queues", &prefix, &pattern, "{\"max-length\": 10}"]).await;
    let stay = town.stay(0).await;
    let mut sent = 0;
    wait::until("a full queue", async || {
        sent += 1;
        let status = town.send_registered(&format!("registered-{sent}"), &stay, None).await;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    // Nothing is dropped to make room, and whoever was refused gets in once there is some.
    town.start("work").await;
    let last = registered(&format!("registered-{sent}"), &stay, None).to_string();
    town.deliver("app", APP_SECRET, &last).await;
    wait::until("all of them", async || (town.told(["event.done"]).await[0] == sent).then_some(())).await;
    rabbitmqctl(&["clear_policy", &prefix]).await;
    town.close().await;
}

#[tokio::test]
async fn it_is_not_there_at_the_start() {
    let (mut town, proxy) = (Town::founded(brokered().await).await, Proxy::before(&amqp_url()).await);
    proxy.set(Mode::Refuse);
    town.environment.insert(URL.to_owned(), proxy.on_the_way_to(&amqp_url()));
    let (mut receiver, mut worker) = (town.launch("serve"), town.launch("work"));
    town.announced("serve", &mut receiver).await;
    let stay = town.stay(0).await;
    assert_eq!(town.send_registered("registered-1", &stay, None).await, StatusCode::SERVICE_UNAVAILABLE);
    proxy.set(Mode::Pass);
    town.ready("serve", &mut receiver).await;
    town.ready("work", &mut worker).await;
    assert_eq!(town.send_registered("registered-1", &stay, None).await, StatusCode::ACCEPTED);
    town.close().await;
}
