//! Addresses that took a connection and then said nothing, so that the next dial tries the others first.
//!
//! The race between the addresses of a name ends with TCP. A broken IPv6 tunnel, or a path that drops large packets,
//! lets TCP connect and answers nothing after it, and it would win every race. What is known here is kept for the
//! process, because it is a property of this machine's paths and not of a session.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{ConnectionStats, DialError, ProxyError, Step, bare_host};
use crate::util::lock;

/// How long the other addresses go first. The working family is as good as the suspect one, so that a long time costs
/// nothing; its end costs one dial that meets a deadline, if the path is still broken.
const SUSPECT_FOR: Duration = Duration::from_secs(3600);

/// A dial that its caller drops after this long without a byte from the peer counts as silence. A shorter one is no
/// evidence: the caller stops for its own reasons.
const SILENCE_MIN: Duration = Duration::from_secs(2);

/// More than the names that are dialled (the endpoint, a proxy, media hosts), each with a few addresses.
const SUSPECTS_MAX: usize = 64;

/// The addresses of one name in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidates {
    /// They race from the start. Not empty, unless there is no address at all.
    pub first: Vec<SocketAddr>,
    /// They join when all of `first` have failed, or have had their head start.
    pub later: Vec<SocketAddr>,
}

/// Which addresses of which hosts are suspect. Pure: the caller tells the time.
#[derive(Debug)]
struct Suspects(Vec<Suspect>);

#[derive(Debug)]
struct Suspect {
    host: Host,
    ip: IpAddr,
    since: Instant,
}

/// A name as it is dialled, and the port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host(String, u16);

impl Host {
    fn new(name: &str, port: u16) -> Self {
        Self(bare_host(name).to_ascii_lowercase(), port)
    }
}

impl Suspects {
    const fn new() -> Self {
        Self(Vec::new())
    }

    /// Suspects `ip` from `now` on, also if it was suspect before.
    fn add(&mut self, host: &Host, ip: IpAddr, now: Instant) {
        self.clear(host, ip);
        // They are in the order of their time, so that the oldest one goes.
        if self.0.len() == SUSPECTS_MAX {
            self.0.remove(0);
        }
        self.0.push(Suspect {
            host: host.clone(),
            ip,
            since: now,
        });
    }

    fn clear(&mut self, host: &Host, ip: IpAddr) {
        self.0.retain(|it| it.host != *host || it.ip != ip);
    }

    /// Puts addresses of a family without suspects first, then the others of the suspect family, then the suspects
    /// themselves, the oldest first: where every address is suspect, they take turns. Otherwise the order stays.
    fn order(&mut self, host: &Host, mut addrs: Vec<SocketAddr>, now: Instant) -> Candidates {
        self.0
            .retain(|it| now.saturating_duration_since(it.since) < SUSPECT_FOR);
        let suspects: Vec<_> = self
            .0
            .iter()
            .filter(|it| it.host == *host && addrs.iter().any(|addr| addr.ip() == it.ip))
            .map(|it| it.ip)
            .collect();
        let rank = |addr: &SocketAddr| match suspects.iter().position(|ip| *ip == addr.ip()) {
            Some(age) => 2 + age,
            None => usize::from(suspects.iter().any(|ip| ip.is_ipv4() == addr.is_ipv4())),
        };
        addrs.sort_by_key(rank);
        let best = addrs.first().map(rank);
        let later = addrs.iter().position(|addr| Some(rank(addr)) != best);
        let later = later.map_or_else(Vec::new, |at| addrs.split_off(at));
        Candidates { first: addrs, later }
    }
}

static SUSPECTS: Mutex<Suspects> = Mutex::new(Suspects::new());

fn suspects() -> MutexGuard<'static, Suspects> {
    lock(&SUSPECTS)
}

/// The addresses of `host:port` in the order in which they are tried now.
pub(super) fn order(host: &str, port: u16, addrs: Vec<SocketAddr>) -> Candidates {
    suspects().order(&Host::new(host, port), addrs, Instant::now())
}

/// One connected address that has yet to show that it works. Dropped without a verdict after some silence, it is
/// suspect: the caller of a dial may have a deadline of its own, and simply drops it.
#[derive(Debug)]
pub(crate) struct Trial {
    host: Host,
    ip: IpAddr,
    since: Instant,
    stats: Arc<ConnectionStats>,
    over: bool,
}

impl Trial {
    /// `host:port` is what was dialled: the endpoint, or the proxy.
    pub(super) fn new(host: &str, port: u16, stats: Arc<ConnectionStats>) -> Self {
        Self {
            host: Host::new(host, port),
            ip: stats.peer.ip(),
            since: Instant::now(),
            stats,
            over: false,
        }
    }

    /// The peer has answered as it should: the address is no longer suspect.
    pub(crate) fn worked(mut self) {
        self.over = true;
        suspects().clear(&self.host, self.ip);
    }

    /// The connection has failed after TCP; whether that speaks against its address is decided here.
    pub(super) fn failed(mut self, error: &DialError) {
        self.over = true;
        if speaks_against_the_path(error) {
            suspects().add(&self.host, self.ip, Instant::now());
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let heard = self.stats.snapshot().last_read.unwrap_or(self.since).max(self.since);
        if !self.over && heard.elapsed() >= SILENCE_MIN {
            suspects().add(&self.host, self.ip, Instant::now());
        }
    }
}

/// Silence, and connections that break before there is an answer. An answer, even a refusal, shows that the path works.
fn speaks_against_the_path(error: &DialError) -> bool {
    match error {
        DialError::Deadline { step, .. } | DialError::Abandoned { step, .. } => match step {
            Step::Proxy | Step::Tls | Step::Upgrade => true,
            Step::Resolve | Step::Dial => false,
        },
        DialError::Tls { .. } | DialError::Upgrade { .. } => true,
        DialError::Proxy { error, .. } => match error {
            ProxyError::Io(_) | ProxyError::Garbled(_) => true,
            ProxyError::Status { .. }
            | ProxyError::Socks { .. }
            | ProxyError::WantsAuth
            | ProxyError::AuthRefused
            | ProxyError::Unusable(_) => false,
        },
        DialError::Forbidden { .. }
        | DialError::Dns { .. }
        | DialError::Unreachable { .. }
        | DialError::CertificateTime { .. }
        | DialError::Certificate { .. }
        | DialError::Status { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V6: &str = "[::1]:443";
    const V4: &str = "127.0.0.1:443";
    const OTHER_V4: &str = "127.0.0.2:443";

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn host() -> Host {
        Host::new("relay.test", 443)
    }

    struct Fixture {
        suspects: Suspects,
        now: Instant,
    }

    impl Fixture {
        /// Some time has passed, and these are suspect, one after the other.
        fn of(list: &[&str]) -> Self {
            let mut this = Self {
                suspects: Suspects::new(),
                now: Instant::now(),
            };
            for addr in addrs(list) {
                this.now += Duration::from_secs(10);
                this.suspects.add(&host(), addr.ip(), this.now);
            }
            this
        }

        #[track_caller]
        fn gives(&mut self, list: &[&str], first: &[&str], later: &[&str]) {
            let found = self.suspects.order(&host(), addrs(list), self.now);
            let wanted = Candidates {
                first: addrs(first),
                later: addrs(later),
            };
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn without_suspicion_the_order_stays() {
        Fixture::of(&[]).gives(&[V6, V4, OTHER_V4], &[V6, V4, OTHER_V4], &[]);
        Fixture::of(&[]).gives(&[], &[], &[]);
    }

    #[test]
    fn the_other_family_goes_first_whichever_is_suspect() {
        Fixture::of(&[V6]).gives(&[V6, V4, OTHER_V4], &[V4, OTHER_V4], &[V6]);
        Fixture::of(&[V4]).gives(&[V4, V6, OTHER_V4], &[V6], &[OTHER_V4, V4]);
    }

    #[test]
    fn where_there_is_one_family_its_other_addresses_go_first() {
        Fixture::of(&[V4]).gives(&[V4, OTHER_V4], &[OTHER_V4], &[V4]);
    }

    #[test]
    fn a_single_address_stays_whatever_is_suspected() {
        for only in [V4, V6] {
            Fixture::of(&[V6, V4]).gives(&[only], &[only], &[]);
        }
    }

    #[test]
    fn where_all_are_suspect_the_oldest_suspicion_goes_first() {
        Fixture::of(&[V6, V4]).gives(&[V6, V4], &[V6], &[V4]);
        Fixture::of(&[V6, V4, V6]).gives(&[V6, V4], &[V4], &[V6]);
    }

    #[test]
    fn a_suspicion_ends_by_time_and_by_an_answer() {
        let mut late = Fixture::of(&[V6]);
        late.now += SUSPECT_FOR - Duration::from_secs(1);
        late.gives(&[V6, V4], &[V4], &[V6]);
        late.now += Duration::from_secs(1);
        late.gives(&[V6, V4], &[V6, V4], &[]);

        let mut answered = Fixture::of(&[V6]);
        answered.suspects.clear(&host(), addrs(&[V6])[0].ip());
        answered.gives(&[V6, V4], &[V6, V4], &[]);
    }

    #[test]
    fn a_dial_that_is_dropped_speaks_against_an_address_after_some_silence_alone() {
        let trial = |name: &str, age: Duration| {
            let stats = ConnectionStats::new(
                addrs(&[V6])[0],
                crate::net::tune(
                    &std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap(),
                    &crate::board::Board::generic().schedule().tcp,
                ),
            );
            let mut trial = Trial::new(name, 443, Arc::new(stats));
            trial.since -= age;
            trial
        };
        let first = |name: &str| order(name, 443, addrs(&[V6, V4])).first[0].to_string();
        drop(trial("dropped.test", SILENCE_MIN / 2));
        assert_eq!(first("dropped.test"), V6);
        drop(trial("dropped.test", SILENCE_MIN));
        assert_eq!(first("dropped.test"), V4);
        trial("dropped.test", SILENCE_MIN).worked();
        assert_eq!(first("dropped.test"), V6);
        let heard = trial("dropped.test", SILENCE_MIN);
        heard.stats.on_read(1);
        drop(heard);
        assert_eq!(first("dropped.test"), V6);
    }

    #[test]
    fn hosts_are_told_apart_and_bounded() {
        let mut fixture = Fixture::of(&[]);
        let ip = addrs(&[V6])[0].ip();
        for host in [Host::new("other.test", 443), Host::new("relay.test", 80)] {
            fixture.suspects.add(&host, ip, fixture.now);
        }
        fixture.gives(&[V6, V4], &[V6, V4], &[]);
        fixture.suspects.add(&Host::new("[RELAY.test]", 443), ip, fixture.now);
        fixture.gives(&[V6, V4], &[V4], &[V6]);
        for n in 0..1000 {
            fixture
                .suspects
                .add(&Host::new(&format!("{n}.test"), 1), ip, fixture.now);
        }
        assert_eq!(fixture.suspects.0.len(), SUSPECTS_MAX);
    }
}
