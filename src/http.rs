//! Serving HTTP with limits: the accept loop under the receiver, the ops API and the sandbox.
//!
//! `axum::serve` has neither a header timeout nor a connection limit, so this is hyper's own connection type in a loop
//! of ours. The caller owns the port and the end: it binds the listener and cancels the token.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What one listener puts up with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections served at once; the next one waits in the kernel's backlog.
    pub connections: usize,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
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
            drain: Duration::from_secs(10),
        }
    }
}

/// Accepts until `shutdown` is cancelled, then lets open requests finish within `limits.drain`.
///
/// Returns how many connections were still open when it gave up waiting; 0 is a clean end.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) -> usize {
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes.max(8 * 1024))
        .max_headers(limits.headers);

    loop {
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => match place {
                Ok(place) => place,
                Err(_closed) => break,
            },
        };
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the peer went away in the handshake: neither may end the loop.
                    tracing::warn!(%error, "a connection could not be accepted; trying again in 100 ms");
                    pause_after_refused_accept().await;
                    continue;
                }
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let service = TowerToHyperService::new(with_peer(router.clone(), peer));
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }

    drop(listener);
    let open = graceful.count();
    #[expect(clippy::disallowed_methods, reason = "the drain deadline belongs to the operating system's patience")]
    let deadline = tokio::time::sleep(limits.drain);
    let drained = graceful.shutdown();
    tokio::pin!(deadline, drained);
    tokio::select! {
        () = &mut drained => 0,
        () = &mut deadline => {
            tracing::warn!(open, "connections were still open at the drain deadline and are cut");
            open
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a pause for the kernel, not a matter of the domain's time")]
async fn pause_after_refused_accept() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn with_peer(
    router: Router,
    peer: SocketAddr,
) -> impl tower::Service<
    http::Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send {
    router.map_request(move |request: http::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    })
}
