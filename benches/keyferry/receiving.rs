//! From a webhook to its 2xx: throughput when as much comes as can, latency at a quarter of that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::process::{KEYFERRY, Process, free_address, processor_time, resident_mib};
use crate::report::{Table, goal, whole};
use crate::request::{SECRET, Sender};
use crate::stats::{Latencies, median};
use crate::{Plan, broker, disk, load};

/// The event is recorded and asks nothing of a worker: what is measured is receiving.
const SENDER: Sender = Sender { source: "app", event_type: "access_grant.created" };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Http,
    HttpHmac,
    AxumLapin,
    KeyferryRabbit,
    KeyferryEmbedded,
}

impl Contender {
    const ALL: [Self; 5] = [Self::Http, Self::HttpHmac, Self::AxumLapin, Self::KeyferryRabbit, Self::KeyferryEmbedded];

    fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP ceiling: axum reads the body, 204",
            Self::HttpHmac => "the same with HMAC",
            Self::AxumLapin => "plain axum + lapin",
            Self::KeyferryRabbit => "Keyferry, RabbitMQ",
            Self::KeyferryEmbedded => "Keyferry, embedded",
        }
    }

    /// The queue that fills up while it runs.
    fn queue(self) -> Option<&'static str> {
        match self {
            Self::Http | Self::HttpHmac | Self::KeyferryEmbedded => None,
            Self::AxumLapin => Some(broker::QUEUE),
            Self::KeyferryRabbit => Some("bench.inbox"),
        }
    }

    /// A process of its own, with nothing left from before. The folder goes away with it.
    async fn start(self) -> anyhow::Result<(Process, SocketAddr, Duration, tempfile::TempDir)> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let (listen, ops) = (address.to_string(), free_address()?.to_string());
        let config = folder.path().join("keyferry.toml");
        std::fs::write(&config, "[queue]\nprefix = \"bench\"\n")?;
        let mut environment = BTreeMap::from([
            ("KEYFERRY_TEST_AMQP_URL", broker::url()?),
            ("KEYFERRY_CONFIG", config.display().to_string()),
            ("KEYFERRY_LISTEN", listen.clone()),
            ("KEYFERRY_OPS_LISTEN", ops),
            ("KEYFERRY_APP_WEBHOOK_SECRET", SECRET.to_owned()),
            ("KEYFERRY_STORE_URL", format!("sqlite:{}", folder.path().join("keyferry.db").display())),
            ("SEAM_API_KEY", "seam_bench1_key".to_owned()),
            ("SEAM_ENDPOINT", "http://127.0.0.1:1".to_owned()),
        ]);
        let this = std::env::current_exe()?.display().to_string();
        let (program, arguments) = match self {
            Self::Http => (this.as_str(), vec!["contender", "http", &listen]),
            Self::HttpHmac => (this.as_str(), vec!["contender", "http-hmac", &listen]),
            Self::AxumLapin => (this.as_str(), vec!["contender", "axum-lapin", &listen]),
            Self::KeyferryRabbit => {
                environment.insert("KEYFERRY_AMQP_URL", broker::url()?);
                (KEYFERRY, vec!["serve"])
            }
            Self::KeyferryEmbedded => (KEYFERRY, vec!["run"]),
        };
        let mut process = Process::start(program, &arguments, &environment)?;
        process.listens(address).await?;
        let began = Instant::now();
        while !load::once(address, SENDER).await? {
            std::thread::sleep(Duration::from_millis(5));
            anyhow::ensure!(began.elapsed() < Duration::from_secs(20), "{} accepts nothing", self.name());
        }
        Ok((process, address, began.elapsed(), folder))
    }
}

/// What the turns of one contender found.
#[derive(Default)]
struct Found {
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// At a quarter of its own throughput, requests falling due at a fixed rate.
    quarter_p50_ms: Vec<f64>,
    quarter_p99_ms: Vec<f64>,
    /// Microseconds of processor time per event.
    own_us: Vec<f64>,
    broker_us: Vec<f64>,
    load_us: Vec<f64>,
    resident_mib: Vec<f64>,
    refused: u64,
}

pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<()> {
    if !Contender::ALL.iter().any(|contender| plan.asks_for(contender.name())) {
        return Ok(());
    }
    let broker = Broker::connect().await?;
    let broker_process = broker::process()?;
    let disk_folder = tempfile::tempdir()?;
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    let (mut ceilings, mut publishes, mut syncs) = (Vec::new(), Latencies::default(), Latencies::default());
    for round in 0..plan.rounds {
        ceilings.push(broker.ceiling(512, plan.turn).await?);
        broker.purge(broker::QUEUE).await?;
        publishes.extend(broker.one_publish(300).await?);
        syncs.extend(disk::syncs(disk_folder.path(), 300)?);
        // Each begins a round in its turn, so that none always follows the same one.
        for place in 0..Contender::ALL.len() {
            let index = (place + round) % Contender::ALL.len();
            let contender = Contender::ALL[index];
            if plan.asks_for(contender.name()) {
                turn(plan, &broker, broker_process, contender, found.entry(index).or_default()).await?;
            }
        }
    }
    print(&found);
    println!(
        "broker alone, 512 confirms in flight: {}/s; one confirmed publish: {:.2} ms; one fdatasync: {:.3} ms\n",
        whole(median(&ceilings)),
        publishes.percentile_ms(0.5),
        syncs.percentile_ms(0.5)
    );
    if plan.only.is_none() {
        judge(&found, publishes.percentile_ms(0.5), syncs.percentile_ms(0.5));
    }
    broker.delete("bench.inbox").await
}

async fn turn(
    plan: &Plan,
    broker: &Broker,
    broker_process: u32,
    contender: Contender,
    found: &mut Found,
) -> anyhow::Result<()> {
    let (process, address, _, _folder) = contender.start().await?;
    let processes = [process.id(), broker_process, std::process::id()];
    let before = processes.map(processor_time);
    let mut closed = load::closed(address, SENDER, plan.connections, plan.turn).await?;
    let events = closed.per_second * plan.turn.as_secs_f64();
    let mut costs = Vec::new();
    for (process, before) in processes.into_iter().zip(before) {
        costs.push(processor_time(process)?.saturating_sub(before?).as_secs_f64() * 1e6 / events);
    }
    found.per_second.push(closed.per_second);
    found.p50_ms.push(closed.latencies.percentile_ms(0.5));
    found.p99_ms.push(closed.latencies.percentile_ms(0.99));
    found.own_us.push(costs[0]);
    found.broker_us.push(costs[1]);
    found.load_us.push(costs[2]);
    found.resident_mib.push(resident_mib(process.id())?);
    if let Some(queue) = contender.queue() {
        broker.purge(queue).await?;
    }
    let mut open = load::open(address, SENDER, plan.connections, plan.turn, closed.per_second / 4.0).await?;
    found.quarter_p50_ms.push(open.latencies.percentile_ms(0.5));
    found.quarter_p99_ms.push(open.latencies.percentile_ms(0.99));
    found.refused += closed.refused + open.refused;
    drop(process);
    if let Some(queue) = contender.queue() {
        broker.purge(queue).await?;
    }
    Ok(())
}

fn print(found: &BTreeMap<usize, Found>) {
    let mut table = Table::new(&[
        "receiving",
        "events/s",
        "of HTTP+HMAC",
        "p50 / p99 ms",
        "at a quarter",
        "own µs",
        "broker µs",
        "load µs",
        "MiB",
        "refused",
    ]);
    let ceiling = found.get(&1).map_or(f64::NAN, |found| median(&found.per_second));
    for (index, contender) in Contender::ALL.into_iter().enumerate() {
        let Some(found) = found.get(&index) else { continue };
        table.row(vec![
            contender.name().to_owned(),
            whole(median(&found.per_second)),
            format!("{:.2}", median(&found.per_second) / ceiling),
            format!("{:.2} / {:.2}", median(&found.p50_ms), median(&found.p99_ms)),
            format!("{:.2} / {:.2}", median(&found.quarter_p50_ms), median(&found.quarter_p99_ms)),
            format!("{:.1}", median(&found.own_us)),
            format!("{:.1}", median(&found.broker_us)),
            format!("{:.1}", median(&found.load_us)),
            format!("{:.0}", median(&found.resident_mib)),
            found.refused.to_string(),
        ]);
    }
    table.print("From a webhook to its 2xx");
}

fn judge(found: &BTreeMap<usize, Found>, publish_ms: f64, sync_ms: f64) {
    let of = |contender: Contender| {
        let index = Contender::ALL.iter().position(|other| *other == contender).unwrap_or_default();
        &found[&index]
    };
    let rate = |contender: Contender| median(&of(contender).per_second);
    let (rabbit, embedded) = (of(Contender::KeyferryRabbit), of(Contender::KeyferryEmbedded));
    let ratio = rate(Contender::KeyferryRabbit) / rate(Contender::HttpHmac);
    goal("RabbitMQ / HTTP with HMAC", ratio, ratio >= 0.6, "at least 0.6");
    let ratio = rate(Contender::KeyferryRabbit) / rate(Contender::AxumLapin);
    goal("RabbitMQ / plain axum + lapin", ratio, ratio >= 1.0, "at least 1");
    let ratio = median(&rabbit.quarter_p99_ms) / publish_ms;
    goal("RabbitMQ, p99 at a quarter / one confirmed publish", ratio, ratio <= 2.0, "at most 2");
    let ratio = rate(Contender::KeyferryEmbedded) / rate(Contender::HttpHmac);
    goal("embedded / HTTP with HMAC", ratio, ratio >= 0.5, "at least 0.5");
    let ratio = median(&embedded.quarter_p99_ms) / sync_ms;
    goal("embedded, p99 at a quarter / one fdatasync", ratio, ratio <= 4.0, "at most 4");
    for (name, found) in [("RabbitMQ", rabbit), ("embedded", embedded)] {
        let mib = median(&found.resident_mib);
        goal(&format!("{name}, MiB resident at full load"), mib, mib <= 64.0, "at most 64");
    }
    println!();
}
