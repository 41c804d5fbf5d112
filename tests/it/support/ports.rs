//! Addresses that stay good while nobody listens on them.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use keyferry::clock::{Entropy as _, SystemEntropy};

/// Below the range from which the kernel gives ports to outgoing connections (and to listeners on port 0), and below
/// what `scripts/with-services` takes: a process that was killed finds its port free when it comes back.
const FIRST: u16 = 10_000;
const COUNT: u16 = 9_000;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// A loopback address that nobody listens on, and that no other story of this run gets.
pub(crate) fn free_address() -> SocketAddr {
    static START: std::sync::OnceLock<u16> = std::sync::OnceLock::new();
    // Another run of the tests begins elsewhere.
    let start = *START.get_or_init(|| u16::try_from(SystemEntropy.next_u64() % u64::from(COUNT)).expect("in range"));
    loop {
        let port = FIRST + (start + TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
