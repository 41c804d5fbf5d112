//! Whose request is it, when a proxy brought it? `X-Forwarded-For`, believed from configured proxies only.
//!
//! Each proxy appends the address that it was called from, so the list is true from its right end up to the first
//! address that is not one of our proxies: that is the client, and what stands left of it is its own invention.
//! `Forwarded` (RFC 7239) is not read: a proxy that passes on one of the two from outside would let a client choose.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A block of addresses, `10.0.0.0/8`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    bits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither an address nor a block of addresses like 10.0.0.0/8")]
pub struct CidrError;

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let network: IpAddr = address.parse().map_err(|_| CidrError)?;
        let bits_max = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or(CidrError)?,
        };
        Ok(Self { network, bits })
    }
}

impl Cidr {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // An IPv4 client of a socket that speaks both appears as ::ffff:a.b.c.d.
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

pub(super) fn is_trusted(address: IpAddr, proxies: &[Cidr]) -> bool {
    proxies.iter().any(|proxy| proxy.contains(address))
}

/// The address that a request comes from: `peer`, or whom the trusted proxies say that they speak for.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, proxies: &[Cidr]) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default());
    let lines: Vec<&str> = if proxies.is_empty() { Vec::new() } else { lines.collect() };
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !is_trusted(client, proxies) {
            break;
        }
        match read(entry.trim()) {
            Some(address) => client = address,
            // Whoever wrote this is no proxy that we understand: stay with the one that handed it on.
            None => break,
        }
    }
    client
}

/// An address, with a port behind it or none.
fn read(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let lines = forwarded.iter().map(|line| (FORWARDED_FOR, line.parse().expect("a value")));
        let proxies: Vec<Cidr> = proxies.iter().map(|text| text.parse().expect("a block")).collect();
        address(peer.parse().expect("an address"), &lines.collect(), &proxies).to_string()
    }

    #[test]
    fn only_what_a_trusted_proxy_appended_is_believed() {
        let proxies = &["10.0.0.0/8", "2001:db8::/32"][..];
        for (peer, forwarded, expected) in [
            ("198.51.100.7", &["1.1.1.1"][..], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.5, 10.0.0.2"], "203.0.113.5"),
            ("10.0.0.1", &["10.9.9.9"], "10.9.9.9"),
            ("10.0.0.1", &["203.0.113.5, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.5:4711"], "203.0.113.5"),
            ("2001:db8::1", &["[2001:db9::7]:4711"], "2001:db9::7"),
            ("2001:db8::1", &["[2001:db9::7]"], "2001:db9::7"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.5"], "203.0.113.5"),
            ("::ffff:198.51.100.7", &["10.0.0.2"], "198.51.100.7"),
        ] {
            assert_eq!(client(peer, forwarded, proxies), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(
            client("10.0.0.1", &["203.0.113.5"], &[]),
            "10.0.0.1",
            "no proxy is trusted unless it is configured"
        );
    }

    #[test]
    fn blocks_of_addresses() {
        let holds = |block: &str, address: &str| {
            block.parse::<Cidr>().expect("a block").contains(address.parse().expect("an address"))
        };
        assert!(holds("0.0.0.0/0", "203.0.113.5") && holds("::/0", "2001:db8::1"));
        assert!(holds("192.0.2.128/25", "192.0.2.255") && !holds("192.0.2.128/25", "192.0.2.127"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.9") && !holds("::/0", "192.0.2.9"));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "proxy.example", "10.0.0.0/8/8"] {
            assert_eq!(wrong.parse::<Cidr>(), Err(CidrError), "{wrong}");
        }
    }
}
