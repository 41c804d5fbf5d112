//! Serving HTTP with limits: the accept loop under the receiver, the ops API and the sandbox.
//!
//! `axum::serve` has neither a header timeout nor a connection limit, so this is hyper's own connection type in a loop
//! of ours. The caller owns the port and the end: it binds the listener and cancels the token.
//!
//! HTTP is read as strictly as the strictest proxy would read it: `framing` ends a connection's input at the first byte
//! that two readers could take differently, `objection` refuses what contradicts itself in a head that was read. hyper
//! itself answers 431 to a head that is too large in bytes or lines, and closes without a word on a head that does not
//! arrive in time, which is also how an idle connection ends. Whoever is turned away is counted by reason.

mod client;
mod framing;
mod linger;
mod places;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, HOST, RETRY_AFTER};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::Instrument as _;

pub use client::{Cidr, CidrError};
use linger::Linger;
use places::{Full, Place, Places};

/// hyper cannot work with a smaller buffer.
const BUFFER_BYTES_MIN: usize = 8 * 1024;
/// Rest after a failed accept: the kernel is out of something that others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are being told that there is no place for them; more are closed without a word.
const TURNED_AWAY_MAX: usize = 64;
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &str = "keyferry_http_refused_total";

/// What one listener puts up with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections served at once. One more takes the place of the one that has waited longest without a request under
    /// way; where there is none, it is turned away with a 503.
    pub connections: usize,
    /// The same for the connections of one address, and for the requests of one client behind a trusted proxy.
    pub connections_per_address: usize,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// From the moment a connection is ready for a request to the last byte of its head: what bounds both a head that
    /// trickles in and a connection that is kept open without a use.
    pub head_timeout: Duration,
    /// Bytes of a request's head. Each connection that has read much keeps a buffer of this size.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of a request's path and query.
    pub uri_bytes: usize,
    /// How long open requests may go on after the end was announced.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 512,
            trusted_proxies: Vec::new(),
            head_timeout: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            headers: 100,
            uri_bytes: 8 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

/// Accepts until `shutdown` is cancelled, then lets open requests finish within `limits.drain`.
///
/// Returns how many connections were still open when it gave up waiting, and were cut; 0 is a clean end.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) -> usize {
    metrics::describe_counter!(REFUSED, "Connections and requests turned away before any handler saw them, by reason");
    metrics::describe_gauge!(places::CONNECTIONS, "Connections that are open, on both ports together");
    let places = Places::new(limits.connections, limits.connections_per_address);
    let farewells = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let graceful = GracefulShutdown::new();
    let http = protocol(&limits);
    let limits = Arc::new(limits);
    let mut connections = JoinSet::new();

    while let Some((stream, peer)) = shutdown.run_until_cancelled(accept(&listener)).await {
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        let peer = peer.ip().to_canonical();
        let stream = Linger::new(stream, shutdown.clone());
        let place = match places.take(peer, client::is_trusted(peer, &limits.trusted_proxies)) {
            Ok(place) => place,
            Err(full) => {
                refused(match full {
                    Full::Address => "connections_of_one_address",
                    Full::Total => "connections",
                });
                if let Ok(permit) = Arc::clone(&farewells).try_acquire_owned() {
                    connections.spawn(async move {
                        turn_away(stream).await;
                        drop(permit);
                    });
                }
                continue;
            }
        };
        let leave = place.leave.clone();
        let (router, limits) = (router.clone(), Arc::clone(&limits));
        let service =
            service_fn(move |request| answer(router.clone(), request, Arc::clone(&place), peer, Arc::clone(&limits)));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            match leave.run_until_cancelled(connection).await {
                Some(Ok(())) => {}
                Some(Err(error)) => ended_early(&error),
                None => refused("made_room"),
            }
        });
    }

    drop(listener);
    drain(graceful, connections, limits.drain).await
}

/// Counts one that was turned away; `reason` is one of ours, never a client's.
fn refused(reason: &'static str) {
    metrics::counter!(REFUSED, "reason" => reason).increment(1);
}

async fn turn_away(mut stream: Linger) {
    // Whoever does not read it does not need it.
    let _ = stream.write_all(TURNED_AWAY).await;
    let _ = stream.shutdown().await;
}

fn ended_early(error: &hyper::Error) {
    if error.is_parse_too_large() {
        refused("head_too_large");
    } else if error.is_parse() {
        refused("not_http");
    } else if error.is_timeout() {
        refused("head_too_slow");
    }
    tracing::debug!(%error, "a connection ended early");
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        // The buffer alone is no limit: a read may run past it, and a head that is complete by then is taken.
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(BUFFER_BYTES_MIN))
        .max_headers(limits.headers)
        // A client may say that it has finished writing and still wait for its answer.
        .half_close(true);
    http
}

/// The next connection, whatever happens to the ones before it.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut failed = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return (stream, peer);
            }
            Err(error) if is_the_peers(&error) => tracing::debug!(%error, "a peer left before it was accepted"),
            Err(error) => {
                // Out of file descriptors, most likely. Said once, not ten times a second.
                if !failed {
                    tracing::warn!(%error, "connections cannot be accepted; trying until they can");
                }
                failed = true;
                pause(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[expect(clippy::disallowed_methods, reason = "a pause for the kernel, not a matter of the domain's time")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    place: Arc<Place>,
    peer: IpAddr,
    limits: Arc<Limits>,
) -> Result<Response, HangUp> {
    if let Some((status, reason)) = objection(&request, limits.uri_bytes) {
        refused(reason);
        return Ok((status, [(CONNECTION, "close")]).into_response());
    }
    let client = client::address(peer, request.headers(), &limits.trusted_proxies);
    let Some(_busy) = place.begin((client != peer).then_some(client)) else {
        refused("requests_of_one_client");
        return Ok((StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5"), (CONNECTION, "close")]).into_response());
    };
    let span = tracing::info_span!("request", %client);
    let Ok(response) = router.oneshot(request.map(Body::new)).instrument(span).await;
    match response.extensions().get::<HangUp>() {
        Some(hang_up) => Err(*hang_up),
        None => Ok(response),
    }
}

/// Put into a response's extensions, it ends the connection without a byte of that response: to a client, the server
/// died after it had done what was asked.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection is hung up on instead of answered")]
pub struct HangUp;

/// What is wrong with a head that hyper could read: the answer, and its name in the metrics.
fn objection<B>(request: &Request<B>, uri_bytes: usize) -> Option<(StatusCode, &'static str)> {
    if request.uri().path_and_query().is_some_and(|path| path.as_str().len() > uri_bytes) {
        return Some((StatusCode::URI_TOO_LONG, "uri_too_long"));
    }
    if request.method() == Method::CONNECT {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "method"));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let good = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => is_host(host.as_bytes(), request.uri().authority()),
        (Some(_), Some(_)) => false,
    };
    (!good).then_some((StatusCode::BAD_REQUEST, "host"))
}

/// A name or address with a port or without, and the same as in the request line where that names one too.
fn is_host(host: &[u8], target: Option<&Authority>) -> bool {
    Authority::try_from(host).is_ok_and(|host| {
        !host.as_str().contains('@') && target.is_none_or(|target| target.as_str().eq_ignore_ascii_case(host.as_str()))
    })
}

/// Asks every connection to end after its present request, and cuts those that do not in time.
async fn drain(graceful: GracefulShutdown, mut connections: JoinSet<()>, patience: Duration) -> usize {
    let drained = tokio::time::timeout(patience, graceful.shutdown()).await.is_ok();
    while let Some(ended) = connections.try_join_next() {
        report(ended);
    }
    // A drained connection's task may not have returned yet; it has nothing left to be cut off from.
    let open = if drained { 0 } else { connections.len() };
    if open > 0 {
        tracing::warn!(open, "connections were still open at the drain deadline and are cut");
    }
    connections.shutdown().await;
    open
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request's handler panicked; its connection is gone");
    }
}
