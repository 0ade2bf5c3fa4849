//! Names to addresses, both families.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::{DialError, Step, authority, bare_host, offload, within};

/// More than any service lists; a name that yields more is cut.
const ADDRESSES_MAX: usize = 16;

/// All addresses of `host`, the families taking turns (RFC 8305, section 4) and the one that the system prefers first.
/// A literal is taken as it is.
///
/// `getaddrinfo` runs on a thread of its own: it follows `/etc/hosts`, `resolv.conf` and nsswitch, and it cannot be
/// called off. When the deadline comes first, its thread ends by itself and the answer is dropped.
///
/// # Errors
/// No address, or none in time.
pub async fn resolve(host: &str, port: u16, deadline: Duration) -> Result<Vec<SocketAddr>, DialError> {
    let host = bare_host(host);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.to_owned();
    let lookup = async {
        let answer =
            offload(move || -> io::Result<Vec<SocketAddr>> { Ok((name.as_str(), port).to_socket_addrs()?.collect()) });
        let failed = |detail: String| DialError::Dns {
            host: host.to_owned(),
            detail,
        };
        match answer.await {
            Some(found) => found.map_err(|error| failed(error.to_string())),
            None => Err(failed("the look-up could not be run".to_owned())),
        }
    };
    let found = interleave(within(Step::Resolve, &authority(host, port), deadline, lookup).await?);
    if found.is_empty() {
        return Err(DialError::Dns {
            host: host.to_owned(),
            detail: "the answer is empty".into(),
        });
    }
    Ok(found)
}

fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = found.first().copied() else {
        return found;
    };
    let mut seen = Vec::new();
    let (mut ours, mut others) = (VecDeque::new(), VecDeque::new());
    for addr in found {
        if seen.contains(&addr) {
            continue;
        }
        seen.push(addr);
        if addr.is_ipv4() == first.is_ipv4() {
            ours.push_back(addr)
        } else {
            others.push_back(addr)
        }
    }
    let mut mixed = Vec::with_capacity(seen.len());
    while mixed.len() < ADDRESSES_MAX {
        let before = mixed.len();
        mixed.extend(ours.pop_front());
        mixed.extend(others.pop_front());
        if mixed.len() == before {
            break;
        }
    }
    mixed.truncate(ADDRESSES_MAX);
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_repeats_go() {
        let found = addrs(&["[::1]:1", "[::2]:1", "[::1]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"]);
        let want = addrs(&["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleave(found), want);
    }

    #[test]
    fn the_systems_first_family_stays_first() {
        let found = addrs(&["127.0.0.1:1", "127.0.0.2:1", "[::1]:1"]);
        assert_eq!(interleave(found), addrs(&["127.0.0.1:1", "[::1]:1", "127.0.0.2:1"]));
    }

    #[test]
    fn a_flood_of_addresses_is_cut() {
        let found = (0..200).map(|i| SocketAddr::from(([127, 0, 0, i], 1))).collect();
        assert_eq!(interleave(found).len(), ADDRESSES_MAX);
    }

    #[test]
    fn literals_need_no_lookup() {
        let found = smol::block_on(resolve("[::1]", 7, Duration::ZERO)).unwrap();
        assert_eq!(found, addrs(&["[::1]:7"]));
    }

    #[test]
    fn localhost_is_found_and_nonsense_is_a_dns_error() {
        let long = Duration::from_secs(30);
        let found = smol::block_on(resolve("localhost", 7, long)).unwrap();
        assert!(found.iter().all(|addr| addr.ip().is_loopback()), "{found:?}");
        // A label of more than 63 characters never leaves the machine.
        let error = smol::block_on(resolve(&"x".repeat(64), 7, long)).unwrap_err();
        assert!(matches!(error, DialError::Dns { .. }), "{error}");
    }
}
