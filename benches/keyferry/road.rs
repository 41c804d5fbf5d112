//! From a webhook to its record, at a steady pace that leaves the machine room: how long an event is on the road.
//!
//! The event is one that a worker claims, looks up and ends without a call to the provider, so no provider's time is in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use keyferry::store;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use crate::broker::Broker;
use crate::process::{KEYFERRY, Process, free_address, resident_mib};
use crate::report::{Table, goal, whole};
use crate::request::{SECRET, Sender};
use crate::stats::{Latencies, median};
use crate::{Plan, broker, load};

const SENDER: Sender = Sender { source: "seam", event_type: "acs_user.deleted" };
const PER_SECOND: f64 = 500.0;

/// One of the two ways to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Embedded,
    Brokered,
}

struct Running {
    processes: Vec<Process>,
    receiver: SocketAddr,
    store_url: String,
    first_accepted: Duration,
    _folder: tempfile::TempDir,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded, SQLite",
            Self::Brokered => "RabbitMQ, PostgreSQL",
        }
    }

    async fn start(self) -> anyhow::Result<Running> {
        let folder = tempfile::tempdir()?;
        let receiver = free_address()?;
        let store_url = match self {
            Self::Embedded => format!("sqlite:{}", folder.path().join("keyferry.db").display()),
            Self::Brokered => new_database().await?,
        };
        let config = folder.path().join("keyferry.toml");
        std::fs::write(&config, "[queue]\nprefix = \"bench\"\n")?;
        let mut environment = environment(&config, &store_url, receiver)?;
        migrate(&environment)?;
        let began = Instant::now();
        let mut processes = Vec::new();
        if self == Self::Brokered {
            environment.insert("KEYFERRY_AMQP_URL", broker::url()?);
            processes.push(Process::start(KEYFERRY, &["work"], &environment)?);
            environment.insert("KEYFERRY_OPS_LISTEN", free_address()?.to_string());
            processes.push(Process::start(KEYFERRY, &["serve"], &environment)?);
        } else {
            processes.push(Process::start(KEYFERRY, &["run"], &environment)?);
        }
        processes.last_mut().context("a receiver")?.listens(receiver).await?;
        while !load::once(receiver, SENDER).await? {
            ensure!(began.elapsed() < Duration::from_secs(20), "{} accepts nothing", self.name());
        }
        Ok(Running { processes, receiver, store_url, first_accepted: began.elapsed(), _folder: folder })
    }
}

fn environment(config: &Path, store_url: &str, receiver: SocketAddr) -> anyhow::Result<BTreeMap<&'static str, String>> {
    Ok(BTreeMap::from([
        ("KEYFERRY_CONFIG", config.display().to_string()),
        ("KEYFERRY_LISTEN", receiver.to_string()),
        ("KEYFERRY_OPS_LISTEN", free_address()?.to_string()),
        ("SEAM_WEBHOOK_SECRET", SECRET.to_owned()),
        ("KEYFERRY_STORE_URL", store_url.to_owned()),
        ("SEAM_API_KEY", "seam_bench1_key".to_owned()),
        ("SEAM_ENDPOINT", "http://127.0.0.1:1".to_owned()),
    ]))
}

fn migrate(environment: &BTreeMap<&str, String>) -> anyhow::Result<()> {
    let status = Command::new(KEYFERRY).arg("migrate").env_clear().envs(environment).output()?.status;
    ensure!(status.success(), "the store cannot be migrated");
    Ok(())
}

/// A database that nobody has used, in the server of this run.
pub(crate) async fn new_database() -> anyhow::Result<String> {
    let server = broker::postgres_url()?;
    let name = format!("bench_{}_{}", std::process::id(), rand::random::<u32>());
    let mut connection = PgConnection::connect(&server).await?;
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let mut url = url::Url::parse(&server)?;
    url.set_path(&name);
    Ok(url.to_string())
}

/// Milliseconds from received to recorded, of every event that a worker ended.
async fn on_the_road(store_url: &str) -> anyhow::Result<Latencies> {
    const SQL: &str = "SELECT ended_at - received_at AS took FROM inbox WHERE ended_at IS NOT NULL";
    let took: Vec<i64> = if let Some(file) = store::sqlite_file(store_url) {
        let connection = rusqlite::Connection::open(file)?;
        let mut read = connection.prepare(SQL)?;
        read.query_map([], |row| row.get("took"))?.collect::<Result<_, _>>()?
    } else {
        let mut connection = PgConnection::connect(store_url).await?;
        sqlx::query(SQL).fetch_all(&mut connection).await?.iter().map(|row| row.get("took")).collect()
    };
    let mut latencies = Latencies::default();
    for took in took {
        latencies.add(Duration::from_millis(u64::try_from(took)?));
    }
    Ok(latencies)
}

/// How long one commit of one small row takes alone.
async fn one_commit(shape: Shape, times: u32) -> anyhow::Result<Latencies> {
    const TABLE: &str = "CREATE TABLE IF NOT EXISTS alone (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
    const INSERT: &str = "INSERT INTO alone (id, text) VALUES ($1, 'a row')";
    let mut latencies = Latencies::default();
    match shape {
        Shape::Embedded => {
            let folder = tempfile::tempdir()?;
            let connection = rusqlite::Connection::open(folder.path().join("alone.db"))?;
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
            connection.execute_batch(TABLE)?;
            let mut insert = connection.prepare(INSERT)?;
            for number in 0..times {
                let began = Instant::now();
                insert.execute([number])?;
                latencies.add(began.elapsed());
            }
        }
        Shape::Brokered => {
            let mut connection = PgConnection::connect(&new_database().await?).await?;
            connection.execute(TABLE).await?;
            for number in 0..i32::try_from(times)? {
                let began = Instant::now();
                sqlx::query(INSERT).bind(number).execute(&mut connection).await?;
                latencies.add(began.elapsed());
            }
        }
    }
    Ok(latencies)
}

pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<()> {
    let broker = Broker::connect().await?;
    let mut table =
        Table::new(&["on the road", "events", "p50 ms", "p99 ms", "alone p50 ms", "first webhook ms", "MiB idle"]);
    let mut verdicts = Vec::new();
    for shape in [Shape::Embedded, Shape::Brokered] {
        let (mut p50, mut p99, mut alone, mut first, mut idle) = (vec![], vec![], vec![], vec![], vec![]);
        let mut events = 0;
        for _ in 0..plan.rounds {
            let running = shape.start().await?;
            first.push(running.first_accepted.as_secs_f64() * 1e3);
            idle.push(running.processes.iter().map(|it| resident_mib(it.id())).sum::<anyhow::Result<f64>>()?);
            load::open(running.receiver, SENDER, plan.connections, plan.turn, PER_SECOND).await?;
            let mut road = settled(&running.store_url).await?;
            events += road.len();
            p50.push(road.percentile_ms(0.5));
            p99.push(road.percentile_ms(0.99));
            drop(running);
            let commit = one_commit(shape, 300).await?.percentile_ms(0.5);
            // Both ways make two durable writes: into the inbox, and the outcome.
            alone.push(match shape {
                Shape::Embedded => commit * 2.0,
                Shape::Brokered => commit + broker.one_passage(300).await?.percentile_ms(0.5),
            });
        }
        let alone_ms = median(&alone);
        table.row(vec![
            shape.name().to_owned(),
            whole(f64::from(u32::try_from(events)?)),
            format!("{:.1}", median(&p50)),
            format!("{:.1}", median(&p99)),
            format!("{alone_ms:.2}"),
            format!("{:.0}", median(&first)),
            format!("{:.0}", median(&idle)),
        ]);
        verdicts.push((shape, median(&p50) / alone_ms, median(&p99) / alone_ms, median(&first), median(&idle)));
    }
    broker.delete("bench.inbox").await?;
    table.print("From received to recorded, at a steady 500 events/s");
    for (shape, p50, p99, first_ms, idle_mib) in verdicts {
        let name = shape.name();
        goal(&format!("{name}, p50 / publish, delivery and commit alone"), p50, p50 <= 5.0, "at most 5");
        goal(&format!("{name}, p99 / the same"), p99, p99 <= 20.0, "at most 20");
        if shape == Shape::Embedded {
            goal(&format!("{name}, ms to the first webhook accepted"), first_ms, first_ms <= 50.0, "at most 50");
            goal(&format!("{name}, MiB resident when idle"), idle_mib, idle_mib <= 20.0, "at most 20");
        }
    }
    Ok(())
}

/// Waits until nothing is on the road any more.
async fn settled(store_url: &str) -> anyhow::Result<Latencies> {
    let began = Instant::now();
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let road = on_the_road(store_url).await?;
        if road.len() == before {
            return Ok(road);
        }
        before = road.len();
        ensure!(began.elapsed() < Duration::from_mins(1), "events are still on the road");
    }
}
