//! The ports of this machine: who listens on them, and whether it is a Keyferry that is ready.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;

use super::{Patient, Report};

pub(super) const AREA: &str = "ports";

const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Readiness {
    not_ready: Vec<String>,
}

pub(super) async fn look(patient: &Patient<'_>) -> Report {
    let mut report = Report::of(AREA);
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build();
    let Ok(client) = client else { return report };
    if patient.role.receives() && !super::is_mistaken(patient, "receiver.listen") {
        look_at(&mut report, &client, "receiver", patient.config.listen, "livez").await;
    }
    if !super::is_mistaken(patient, "ops.listen") {
        look_at(&mut report, &client, "ops API", patient.config.ops_listen, "readyz").await;
    }
    report
}

async fn look_at(report: &mut Report, client: &Client, what: &str, listen: SocketAddr, path: &str) {
    // Listening on all addresses, it can be reached on this machine's own.
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, listen.port());
    match client.get(format!("http://{address}/{path}")).send().await {
        Ok(answer) if answer.status() == StatusCode::OK => report.ok(format!("the {what} answers at {address}")),
        Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
            let waits_for = answer.json::<Readiness>().await.map(|it| it.not_ready.join(", ")).unwrap_or_default();
            report.problem(
                format!("the Keyferry at {address} is not ready; it waits for: {waits_for}"),
                "see what is said about that here, and in its log",
            );
        }
        Err(error) if error.is_connect() => report.ok(format!("the {what} is not running ({address} is free)")),
        Ok(_) | Err(_) => report.problem(
            format!("something that is no Keyferry listens at {address}, where the {what} should"),
            "end that program (`ss -ltnp` names it), or give the port to nobody else",
        ),
    }
}
