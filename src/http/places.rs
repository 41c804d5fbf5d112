//! Who is connected, and who has to make room when there are too many.
//!
//! A connection on which nothing is under way (its head has not come, or its last request has been answered) can be let
//! go of without harm. So when a limit is reached, the one that has waited longest makes room for the next: whoever
//! holds connections open without a use is in nobody's way. Only when every one of them is at work is a newcomer turned
//! away.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Of all listeners of the process.
pub(super) const CONNECTIONS: &str = "keyferry_http_connections";

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Places {
    total_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Counts connections and ends of requests: the order in which they began to wait.
    ticks: u64,
    connections: BTreeMap<u64, Connection>,
    /// Requests under way for clients behind trusted proxies.
    proxied: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    peer: IpAddr,
    leave: CancellationToken,
    /// `None` while a request is under way.
    waits_since: Option<u64>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All connections that this address may have are at work.
    Address,
    /// All connections that there may be are at work.
    Total,
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Cancelled when this connection has to make room.
    pub(super) leave: CancellationToken,
}

/// One request under way; dropping it ends it.
#[derive(Debug)]
pub(super) struct Busy {
    place: Arc<Place>,
    proxied: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_address_max, taken: Mutex::default() })
    }

    /// A place for a connection from `peer`. The limit of one address does not hold for a proxy that speaks for many.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr, is_proxy: bool) -> Result<Arc<Place>, Full> {
        let mut taken = self.taken();
        let of_peer = taken.connections.values().filter(|connection| connection.peer == peer).count();
        if !is_proxy && of_peer >= self.per_address_max && !taken.make_room(Some(peer)) {
            return Err(Full::Address);
        }
        if taken.connections.len() >= self.total_max && !taken.make_room(None) {
            return Err(Full::Total);
        }
        let (number, leave) = (taken.tick(), CancellationToken::new());
        let connection = Connection { peer, leave: leave.clone(), waits_since: Some(number) };
        taken.connections.insert(number, connection);
        metrics::gauge!(CONNECTIONS).increment(1.0);
        Ok(Arc::new(Place { places: Arc::clone(self), number, leave }))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Whoever panicked left counts that are off by one at worst.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// Lets go of the connection that has waited longest, of `peer`'s or of all.
    fn make_room(&mut self, peer: Option<IpAddr>) -> bool {
        let candidates = self.connections.iter().filter(|(_, it)| peer.is_none_or(|peer| it.peer == peer));
        let longest = candidates.filter_map(|(number, it)| Some((it.waits_since?, *number))).min();
        let gone = longest.and_then(|(_, number)| self.connections.remove(&number));
        gone.map(|connection| connection.leave.cancel()).is_some()
    }
}

impl Place {
    /// Begins a request, of a client behind a trusted proxy where `proxied` says so. `None`: that client has as many
    /// under way as one address may have connections.
    pub(super) fn begin(self: &Arc<Self>, proxied: Option<IpAddr>) -> Option<Busy> {
        let mut taken = self.places.taken();
        if let Some(client) = proxied {
            let under_way = taken.proxied.entry(client).or_default();
            if *under_way >= self.places.per_address_max {
                return None;
            }
            *under_way += 1;
        }
        if let Some(connection) = taken.connections.get_mut(&self.number) {
            connection.waits_since = None;
        }
        Some(Busy { place: Arc::clone(self), proxied })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut taken = self.place.places.taken();
        let now = taken.tick();
        if let Some(connection) = taken.connections.get_mut(&self.place.number) {
            connection.waits_since = Some(now);
        }
        if let Some(client) = self.proxied
            && let Some(under_way) = taken.proxied.get_mut(&client)
        {
            *under_way -= 1;
            if *under_way == 0 {
                taken.proxied.remove(&client);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1.0);
        self.places.taken().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn take(places: &Arc<Places>, last: u8) -> Result<Arc<Place>, Full> {
        places.take(address(last), false)
    }

    #[test]
    fn the_longest_waiting_makes_room_and_a_busy_one_does_not() {
        let places = Places::new(2, 2);
        let first = take(&places, 1).expect("a place");
        let second = take(&places, 2).expect("a place");
        let busy = first.begin(None).expect("under way");
        let third = take(&places, 3).expect("the second makes room");
        assert_eq!((first.leave.is_cancelled(), second.leave.is_cancelled()), (false, true));
        let also_busy = third.begin(None).expect("under way");
        assert_eq!(take(&places, 4).expect_err("both are at work"), Full::Total);
        drop((also_busy, busy));
        take(&places, 4).expect("one waits again");
        assert!(third.leave.is_cancelled() && !first.leave.is_cancelled(), "the third has waited longer");
    }

    #[test]
    fn one_address_only_crowds_out_itself() {
        let places = Places::new(10, 2);
        let other = take(&places, 9).expect("a place");
        let (first, second) = (take(&places, 1).expect("a place"), take(&places, 1).expect("a place"));
        let third = take(&places, 1).expect("its own first makes room");
        assert!(first.leave.is_cancelled() && !other.leave.is_cancelled());
        let (_second, _third) = (second.begin(None), third.begin(None));
        assert_eq!(take(&places, 1).expect_err("both are at work"), Full::Address);
        places.take(address(1), true).expect("a proxy speaks for many");
        drop(first);
        take(&places, 2).expect("others are not concerned");
    }

    #[test]
    fn clients_behind_a_proxy_are_counted_by_their_requests() {
        let places = Places::new(10, 1);
        let proxy = |last| places.take(address(last), true).expect("a place");
        let (one, two) = (proxy(1), proxy(1));
        let busy = one.begin(Some(address(7))).expect("under way");
        assert!(two.begin(Some(address(7))).is_none(), "this client has one under way");
        assert!(two.begin(Some(address(8))).is_some());
        drop(busy);
        assert!(two.begin(Some(address(7))).is_some());
        assert!(places.taken().proxied.is_empty(), "nothing is kept of who is done");
    }
}
