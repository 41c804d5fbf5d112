//! A TCP proxy that misbehaves on order, while it runs: what a network does to two programs between which it stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How connections are treated. TCP loses nothing in the middle of a stream: what is held back arrives when the mode
/// is `Pass` again, unless the connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Reset at once, old ones and new ones.
    Refuse,
    /// Accepted, and nothing moves in either direction.
    Hole,
    /// What the client says arrives; what the server says does not.
    NoAnswers,
    /// Everything is so much later.
    Late(Duration),
    /// Reset when so many bytes have gone in this direction.
    ResetAfter(Way, usize),
    /// Reset when the client has said this: it arrives, its answer does not. Happens once, then it is `Pass` again.
    CutAfter(&'static [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    Back,
}

/// Carries connections to one of several targets in turn. Dropped, it is gone with all its connections.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Shared,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    mode: Arc<watch::Sender<Mode>>,
    /// Counted up, it ends all connections.
    cuts: Arc<watch::Sender<usize>>,
    /// Counted up, it leaves all connections hanging for good; new ones are carried.
    strandings: Arc<watch::Sender<usize>>,
    /// Connections that were reset by their mode.
    resets: Arc<AtomicUsize>,
    targets: Arc<[SocketAddr]>,
    turns: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn to(targets: &[SocketAddr]) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), targets).await
    }

    pub(crate) async fn at(address: SocketAddr, targets: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port");
        let address = listener.local_addr().expect("an address");
        let shared = Shared {
            mode: Arc::new(watch::Sender::new(Mode::Pass)),
            cuts: Arc::default(),
            strandings: Arc::default(),
            resets: Arc::default(),
            targets: targets.into(),
            turns: Arc::default(),
        };
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, serving }
    }

    /// Before the server of this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let url = url::Url::parse(url).expect("a URL");
        let host = url.host_str().expect("a host").parse().expect("an IP address");
        Self::to(&[SocketAddr::new(host, url.port().expect("a port"))]).await
    }

    /// The same URL, by way of this proxy.
    pub(crate) fn on_the_way_to(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_host(Some(&self.address.ip().to_string())).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.to_string()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        if mode == Mode::Refuse {
            self.cut();
        }
    }

    /// Resets all connections.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// All connections go silent and stay so, as after the death of a machine whose address another one takes over.
    pub(crate) fn strand(&self) {
        self.shared.strandings.send_modify(|strandings| *strandings += 1);
    }

    /// How many connections a mode has reset.
    pub(crate) fn resets(&self) -> usize {
        self.shared.resets.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, shared: Shared) {
    let mut cuts = shared.cuts.subscribe();
    let server = if *shared.mode.borrow() == Mode::Refuse { None } else { connect(&shared).await };
    let Some(mut server) = server else {
        reset(&client);
        return;
    };
    let pumps = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let there = pump(&mut from_client, &mut to_server, Way::There, &shared);
        let back = pump(&mut from_server, &mut to_client, Way::Back, &shared);
        tokio::select! {
            pumped = async { tokio::try_join!(there, back) } => pumped.map(drop),
            _ = cuts.changed() => Err(Cut),
        }
    };
    if pumps.is_err() {
        reset(&client);
    }
}

/// Its end will be a reset. The server's connection just ends: what has arrived there is read.
fn reset(client: &TcpStream) {
    client.set_zero_linger().expect("a socket option");
}

async fn connect(shared: &Shared) -> Option<TcpStream> {
    for _ in 0..shared.targets.len() {
        let turn = shared.turns.fetch_add(1, Ordering::Relaxed);
        if let Ok(server) = TcpStream::connect(shared.targets[turn % shared.targets.len()]).await {
            return Some(server);
        }
    }
    None
}

struct Cut;

/// Carries one direction to its end.
async fn pump(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, way: Way, shared: &Shared) -> Result<(), Cut> {
    let (mut modes, strandings) = (shared.mode.subscribe(), shared.strandings.subscribe());
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    loop {
        let count = from.read(&mut buffer).await.map_err(|_broken| Cut)?;
        if count == 0 {
            // The other direction may go on.
            to.shutdown().await.map_err(|_broken| Cut)?;
            return Ok(());
        }
        let said = &buffer[..count];
        if strandings.has_changed().unwrap_or(true) {
            return std::future::pending().await;
        }
        let verdict = judge(&mut modes, way, said, passed).await;
        passed += count;
        to.write_all(&said[..verdict.pass.unwrap_or(count)]).await.map_err(|_broken| Cut)?;
        if verdict.pass.is_some() {
            shared.resets.fetch_add(1, Ordering::Relaxed);
            if verdict.is_once {
                shared.mode.send_replace(Mode::Pass);
            }
            return Err(Cut);
        }
    }
}

/// What becomes of a piece: all of it passes, or so many bytes and then the connection is reset.
#[derive(Default)]
struct Verdict {
    pass: Option<usize>,
    is_once: bool,
}

async fn judge(modes: &mut watch::Receiver<Mode>, way: Way, said: &[u8], passed: usize) -> Verdict {
    loop {
        let mode = *modes.borrow_and_update();
        match mode {
            Mode::Refuse => return Verdict { pass: Some(0), is_once: false },
            Mode::ResetAfter(there, bytes) if there == way && passed + said.len() >= bytes => {
                return Verdict { pass: Some(bytes.saturating_sub(passed).min(said.len())), is_once: false };
            }
            Mode::CutAfter(word) if way == Way::There && said.windows(word.len()).any(|window| window == word) => {
                return Verdict { pass: Some(said.len()), is_once: true };
            }
            Mode::Late(by) => {
                super::wait::pause(by).await;
                return Verdict::default();
            }
            Mode::Hole => {}
            Mode::NoAnswers if way == Way::Back => {}
            _ => return Verdict::default(),
        }
        // Held until the order changes.
        if modes.changed().await.is_err() {
            return Verdict { pass: Some(0), is_once: false };
        }
    }
}
