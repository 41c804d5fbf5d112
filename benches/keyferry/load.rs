//! Load, from one thread so that it takes as little of the machine as it can.
//!
//! *Closed*: each connection sends its next request when it has its answer; this finds the ceiling, and its latencies
//! flatter. *Open*: requests fall due at a fixed rate whether or not there are answers, and a latency counts from when a
//! request was due, so that waiting for a free connection is part of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::request::Sender;
use crate::stats::Latencies;

/// What one turn of load found.
pub(crate) struct Turn {
    pub(crate) per_second: f64,
    pub(crate) latencies: Latencies,
    /// Answers that were no 2xx.
    pub(crate) refused: u64,
}

/// As fast as `connections` can.
pub(crate) async fn closed(
    address: SocketAddr,
    sender: Sender,
    connections: usize,
    turn: Duration,
) -> anyhow::Result<Turn> {
    on_a_thread(move || async move {
        let until = Instant::now() + turn;
        run(address, sender, connections, turn, move || async move { (Instant::now() < until).then(Instant::now) })
            .await
    })
    .await
}

/// At `rate` requests a second.
pub(crate) async fn open(
    address: SocketAddr,
    sender: Sender,
    connections: usize,
    turn: Duration,
    rate: f64,
) -> anyhow::Result<Turn> {
    let due = Arc::new(Semaphore::new(0));
    let began = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let pacing = {
        let (due, stop) = (Arc::clone(&due), Arc::clone(&stop));
        // A thread of its own: the kernel's sleep is finer than the runtime's.
        std::thread::spawn(move || {
            let mut given = 0;
            while !stop.load(Ordering::Relaxed) && began.elapsed() < turn {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
                let now = (began.elapsed().as_secs_f64() * rate) as usize;
                due.add_permits(now - given);
                given = now;
                std::thread::sleep(Duration::from_micros(100));
            }
            due.close();
        })
    };
    let turned = on_a_thread(move || async move {
        let next = Arc::new(AtomicU64::new(0));
        let outcome = run(address, sender, connections, turn, move || {
            let (due, next) = (Arc::clone(&due), Arc::clone(&next));
            async move {
                due.acquire().await.ok()?.forget();
                let number = next.fetch_add(1, Ordering::Relaxed);
                #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
                Some(began + Duration::from_secs_f64(number as f64 / rate))
            }
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        outcome
    })
    .await;
    pacing.join().map_err(|_panic| anyhow::anyhow!("the pacing thread panicked"))?;
    turned
}

async fn on_a_thread<F, W>(work: F) -> anyhow::Result<Turn>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = anyhow::Result<Turn>>,
{
    tokio::task::spawn_blocking(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work())
    })
    .await?
}

/// Sends on every connection for as long as `next` says when the next request was due.
async fn run<N, W>(
    address: SocketAddr,
    sender: Sender,
    connections: usize,
    turn: Duration,
    next: N,
) -> anyhow::Result<Turn>
where
    N: Fn() -> W + Clone + Send + 'static,
    W: Future<Output = Option<Instant>> + Send,
{
    let mut hands = JoinSet::new();
    for _ in 0..connections {
        let next = next.clone();
        hands.spawn(async move {
            let mut connection = Connection::to(address).await?;
            let (mut latencies, mut refused) = (Latencies::default(), 0_u64);
            while let Some(due) = next().await {
                let status = connection.exchange(&sender.request()).await?;
                latencies.add(due.elapsed());
                refused += u64::from(!status.starts_with('2'));
            }
            anyhow::Ok((latencies, refused))
        });
    }
    let mut all = Turn { per_second: 0.0, latencies: Latencies::default(), refused: 0 };
    while let Some(ended) = hands.join_next().await {
        let (latencies, refused) = ended??;
        all.latencies.extend(latencies);
        all.refused += refused;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let answered = (all.latencies.len() as u64 - all.refused) as f64;
    all.per_second = answered / turn.as_secs_f64();
    Ok(all)
}

/// A connection that is kept.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens on {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096] })
    }

    /// One request, one answer; returns its status. Every contender's answer is a head without a body.
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<String> {
        self.stream.write_all(request).await?;
        let mut read = 0;
        loop {
            let more = self.stream.read(&mut self.buffer[read..]).await?;
            if more == 0 {
                bail!("the connection was closed in the middle of an answer");
            }
            read += more;
            if self.buffer[..read].ends_with(b"\r\n\r\n") {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&self.buffer[9..12]).into_owned())
    }
}

/// One webhook on a connection of its own; whether it was accepted.
pub(crate) async fn once(address: SocketAddr, sender: Sender) -> anyhow::Result<bool> {
    let mut connection = Connection::to(address).await?;
    Ok(connection.exchange(&sender.request()).await?.starts_with('2'))
}
