//! Serving HTTP with limits: the accept loop under the receiver, the ops API and the sandbox.
//!
//! `axum::serve` has neither a header timeout nor a connection limit, so this is hyper's own connection type in a loop
//! of ours. The caller owns the port and the end: it binds the listener and cancels the token.
//!
//! What hyper answers by itself, before any router: 400 to bytes that are not HTTP, to lengths that are no numbers or
//! differ, and to a transfer encoding that does not end in `chunked`; 431 to a head that is too large in bytes or lines;
//! nothing, by closing, to a head that does not arrive in time, which is also how an idle connection ends. A
//! Content-Length beside a Transfer-Encoding is read by the encoding alone and the connection then closed. What we add,
//! because hyper lets it through: 414 to a long URI, 400 to any number of Hosts but one.

mod linger;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, HOST};
use http::{Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use linger::Linger;

/// hyper cannot work with a smaller buffer.
const BUFFER_BYTES_MIN: usize = 8 * 1024;
/// Rest after a failed accept: the kernel is out of something that others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What one listener puts up with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections served at once; the next one waits in the kernel's backlog.
    pub connections: usize,
    /// From the moment a connection is ready for a request to the last byte of its head: what bounds both a head that
    /// trickles in and a connection that is kept open without a use.
    pub head_timeout: Duration,
    /// Bytes of a request's head.
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
            head_timeout: Duration::from_secs(10),
            head_bytes: 32 * 1024,
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
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let http = protocol(&limits);
    let mut connections = JoinSet::new();

    while let Some(Ok(place)) = shutdown.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
        let Some((stream, peer)) = shutdown.run_until_cancelled(accept(&listener)).await else { break };
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        let (router, uri_bytes) = (router.clone(), limits.uri_bytes);
        let service = service_fn(move |request| answer(router.clone(), request, peer, uri_bytes));
        let stream = TokioIo::new(Linger::new(stream, shutdown.clone()));
        let connection = graceful.watch(http.serve_connection(stream, service));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }

    drop(listener);
    drain(graceful, connections, limits.drain).await
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
    peer: SocketAddr,
    uri_bytes: usize,
) -> Result<Response, HangUp> {
    if let Some(status) = objection(&request, uri_bytes) {
        return Ok((status, [(CONNECTION, "close")]).into_response());
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let Ok(response) = router.oneshot(request).await;
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

fn objection<B>(request: &Request<B>, uri_bytes: usize) -> Option<StatusCode> {
    if request.uri().path_and_query().is_some_and(|path| path.as_str().len() > uri_bytes) {
        return Some(StatusCode::URI_TOO_LONG);
    }
    let hosts = request.headers().get_all(HOST).iter().count();
    let old = request.version() < Version::HTTP_11;
    let good = hosts == 1 || (hosts == 0 && old);
    (!good).then_some(StatusCode::BAD_REQUEST)
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
