//! Names to addresses, both families.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_lite::future;

use super::{DialError, Step, authority, bare_host, offload, within};
use crate::util::lock;

/// More than any service lists; a name that yields more is cut.
const ADDRESSES_MAX: usize = 16;

/// Look-ups that are kept for later, and how long after their start: an older answer may be of another network.
const LATE_MAX: usize = 8;
const LATE_KEPT: Duration = Duration::from_secs(120);

/// All addresses of `host`, the families taking turns (RFC 8305, section 4) and the one that the system prefers first.
/// A literal is taken as it is.
///
/// `getaddrinfo` runs on a thread of its own: it follows `/etc/hosts`, `resolv.conf` and nsswitch, and it cannot be
/// called off. When the deadline comes first, its thread goes on, and the next call for the same name waits for that
/// answer: glibc asks the second server of `resolv.conf` only after 5 s of the first one's silence, so that a look-up
/// begun anew each time would never hear of it.
///
/// # Errors
/// No address, or none in time.
pub async fn resolve(host: &str, port: u16, deadline: Duration) -> Result<Vec<SocketAddr>, DialError> {
    let host = bare_host(host);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    resolve_by(host, port, deadline, |name, port| {
        Ok((name, port).to_socket_addrs()?.collect())
    })
    .await
}

/// [`resolve`] by `ask`, which may block.
async fn resolve_by(
    host: &str,
    port: u16,
    deadline: Duration,
    ask: impl FnOnce(&str, u16) -> Found + Send + 'static,
) -> Result<Vec<SocketAddr>, DialError> {
    let lookup = async {
        let failed = |detail: String| DialError::Dns {
            host: host.to_owned(),
            detail,
        };
        // What an earlier attempt did not wait for. An error of then says nothing about now.
        if let Some(mut earlier) = Pending::take(host, port)
            && let Some(Ok(found)) = earlier.answer().await
        {
            return Ok(found);
        }
        let (said, answer) = async_channel::bounded(1);
        let name = host.to_owned();
        let work = offload(move || drop(said.try_send(ask(&name, port))));
        let mut pending = Pending {
            host: host.to_owned(),
            port,
            since: Instant::now(),
            answer: Some(answer),
        };
        // The work starts when it is first polled, and says its answer itself.
        let answered = future::or(pending.answer(), async {
            let _ = work.await;
            future::pending().await
        });
        match answered.await {
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

type Found = io::Result<Vec<SocketAddr>>;

/// Look-ups that nobody waits for at the moment.
static LATE: Mutex<Vec<Pending>> = Mutex::new(Vec::new());

/// A look-up under way. Dropped before its answer was heard, it is kept for the next call.
struct Pending {
    host: String,
    port: u16,
    since: Instant,
    /// `None`: heard.
    answer: Option<Receiver<Found>>,
}

impl Pending {
    /// One for this place that was left waiting and is not too old.
    fn take(host: &str, port: u16) -> Option<Self> {
        let mut late = lock(&LATE);
        let at = late.iter().position(|it| it.host == host && it.port == port)?;
        let mut found = late.swap_remove(at);
        if found.since.elapsed() > LATE_KEPT {
            found.answer = None;
        }
        found.answer.is_some().then_some(found)
    }

    /// `None`: the look-up could not be run.
    async fn answer(&mut self) -> Option<Found> {
        let answer = self.answer.as_ref()?.recv().await;
        self.answer = None;
        answer.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let mut late = lock(&LATE);
        // The oldest goes; it is marked as heard, or its drop would wait for the lock that is held here.
        if late.len() == LATE_MAX {
            late.remove(0).answer = None;
        }
        late.push(Self {
            host: std::mem::take(&mut self.host),
            port: self.port,
            since: self.since,
            answer: Some(answer),
        });
    }
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

    /// As glibc does it when the first server of `resolv.conf` is dead.
    #[test]
    fn an_answer_that_comes_too_late_is_there_for_the_next_attempt() {
        smol::block_on(async {
            let (go, wait) = async_channel::bounded::<()>(1);
            let slow = move |_: &str, port| {
                let _ = wait.recv_blocking();
                Ok(vec![SocketAddr::from(([127, 0, 0, 9], port))])
            };
            let soon = Duration::from_millis(20);
            let error = resolve_by("late.test", 7, soon, slow).await.unwrap_err();
            assert!(error.is_deadline(), "{error}");
            let never = |_: &str, _| -> Found { panic!("it asks anew") };
            assert!(resolve_by("late.test", 7, soon, never).await.is_err());
            go.try_send(()).unwrap();
            let long = Duration::from_secs(30);
            let found = resolve_by("late.test", 7, long, never).await.unwrap();
            assert_eq!(found, addrs(&["127.0.0.9:7"]));
            // It is used once.
            let fresh = |_: &str, port| Ok(vec![SocketAddr::from(([127, 0, 0, 8], port))]);
            let found = resolve_by("late.test", 7, long, fresh).await.unwrap();
            assert_eq!(found, addrs(&["127.0.0.8:7"]));
        });
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
