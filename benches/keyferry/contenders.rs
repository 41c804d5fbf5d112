//! What Keyferry is measured against: the least that anybody could do, and the plain way to do what it does.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::{broker, request};

/// Runs a contender on `address` until it is killed.
pub(crate) async fn serve(name: &str, address: Option<&str>) -> anyhow::Result<()> {
    let router = match name {
        "http" => Router::new().route("/webhooks/app", post(async |_body: Bytes| StatusCode::NO_CONTENT)),
        "http-hmac" => Router::new().route("/webhooks/app", post(verified)),
        "axum-lapin" => Router::new().route("/webhooks/app", post(published)).with_state(plain_channel().await?),
        other => bail!("there is no contender {other}"),
    };
    let listener = tokio::net::TcpListener::bind(address.context("on which address?")?).await?;
    Ok(axum::serve(listener, router).await?)
}

async fn verified(headers: HeaderMap, body: Bytes) -> StatusCode {
    if is_genuine(&headers, &body) { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
}

fn is_genuine(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut mac = request::mac();
    for part in [text("webhook-id").as_bytes(), b".", text("webhook-timestamp").as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = text("webhook-signature").strip_prefix("v1,").and_then(|it| STANDARD.decode(it).ok());
    signature.is_some_and(|signature| mac.verify_slice(&signature).is_ok())
}

/// One channel for everybody: what a careful tutorial would write.
async fn plain_channel() -> anyhow::Result<Arc<Channel>> {
    let connection = Connection::connect(&broker::url()?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    broker::declare(&channel).await?;
    // It lives as long as the process.
    std::mem::forget(connection);
    Ok(Arc::new(channel))
}

async fn published(State(channel): State<Arc<Channel>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !is_genuine(&headers, &body) {
        return StatusCode::UNAUTHORIZED;
    }
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let published = channel.basic_publish("".into(), broker::QUEUE.into(), options, &body, persistent).await;
    let confirmed = match published {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    if matches!(confirmed, Ok(Confirmation::Ack(None))) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
