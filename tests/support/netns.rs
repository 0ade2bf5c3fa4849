//! Network namespaces: this host in one, the server in another, and between them a router whose NAT can forget.
//!
//! A lab build dials loopback alone. So the near namespace has an address of the loopback, [`SERVER_SEEN`], whose
//! packets its own kernel sends on to the server: what the relay holds is one TCP connection end to end, over two NATs.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::support::Relay;

/// Where the server is, and where the near side sees it.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2));
pub const SERVER_SEEN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

const TOOLS: &[&str] = &["ip", "nft"];

const NOT_ALLOWED: &str = "network namespaces are not allowed here";
const AS_ROOT: &[&str] = &["--user", "--map-root-user"];

/// The link of the near side, as a cable that can be pulled.
pub const LINK: &str = "cable";

const NEAR_RULES: &str = "table ip way {
    chain out { type nat hook output priority -100; ip daddr 127.0.0.2 dnat to 10.77.2.2; }
    chain post { type nat hook postrouting priority 100; oifname cable ip saddr 127.0.0.0/8 masquerade; }
}";

/// What is not of a flow that the router knows is dropped without a word, in both directions. `gone` comes before the
/// table of flows is asked.
const ROUTER_RULES: &str = "table ip nat {
    chain gone { type filter hook prerouting priority -300; }
    chain forward { type filter hook forward priority 0; ct state invalid drop; }
    chain input { type filter hook input priority 0; drop; }
    chain post { type nat hook postrouting priority 100; oifname wan masquerade; }
}";

/// A namespace that lasts as long as this. A process holds it that ends when its input does, so that none is left over
/// when a test is killed.
pub struct Netns {
    holder: Child,
}

impl Netns {
    fn new() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo there && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let stdout = holder.stdout.as_mut().ok_or("unshare has no stdout")?;
        let _ = BufReader::new(stdout).read_line(&mut said);
        let netns = Self { holder };
        if said.trim() != "there" {
            return Err(NOT_ALLOWED.to_owned());
        }
        Ok(netns)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// Runs a program in it.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.path()))
            .arg(program)
            .args(arguments)
            .output()
            .map_err(|error| format!("nsenter: {error}"))?;
        let words = String::from_utf8_lossy(&output.stderr);
        let said = || format!("{program} {}: {}", arguments.join(" "), words.trim());
        output.status.success().then_some(()).ok_or_else(said)
    }

    /// Sets `name`, a path under `/proc/sys/net`, which shows to each process those of its own namespace.
    fn sysctl(&self, name: &str, value: &str) -> Result<(), String> {
        self.inside(|| {
            let mut file = File::options().write(true).open(format!("/proc/sys/net/{name}"))?;
            file.write_all(value.as_bytes())
        })
        .map_err(|error| format!("{name}: {error}"))
    }

    fn rules(&self, rules: &str) -> Result<(), String> {
        self.run("nft", &[rules])
    }

    /// Runs `act` on a thread in here; what it starts and opens belongs here.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(self.path()).expect("the namespace is there");
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("who makes a namespace may enter it");
                act()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Runs the test `name`, which is `body`, where namespaces can be made: as it is, or again as the root of a user
/// namespace. Where neither is allowed or a tool is missing it says so.
pub fn allowed(name: &str, body: impl FnOnce()) {
    let again = || {
        let mut unshare = Command::new("unshare");
        unshare.args(AS_ROOT);
        unshare
    };
    let why = match NatPath::lay(Duration::from_secs(1)) {
        Ok(_) => return body(),
        Err(why) => why,
    };
    // Where everything can be installed, a missing tool is a mistake.
    let missing = why.starts_with("there is no");
    assert!(std::env::var_os("CI").is_none() || !missing, "{why}");
    let tried = again().args(["--net", "true"]).output();
    if why != NOT_ALLOWED || !tried.is_ok_and(|output| output.status.success()) {
        return println!("{name}: not tried: {why}");
    }
    let test = std::env::current_exe().expect("this test");
    let status = again().arg(test).args(["--exact", name, "--nocapture"]).status();
    assert!(status.expect("unshare runs").success(), "{name} failed inside");
}

/// Near side, router and far side.
pub struct NatPath {
    pub near: Netns,
    router: Netns,
    pub far: Netns,
}

impl NatPath {
    /// The NAT forgets a flow on which nothing has passed for `idle`, in whole seconds.
    ///
    /// # Errors
    /// Why this machine cannot do it: a tool is missing, or namespaces or connection tracking are not allowed.
    pub fn lay(idle: Duration) -> Result<Self, String> {
        let near = Netns::new()?;
        if let Some(missing) = TOOLS.iter().find(|tool| !is_there(tool)) {
            return Err(format!("there is no `{missing}`"));
        }
        let path = Self {
            near,
            router: Netns::new()?,
            far: Netns::new()?,
        };
        let Self { near, router, far } = &path;
        for namespace in [near, router, far] {
            namespace.run("ip", &["link", "set", "lo", "up"])?;
        }
        cable(near, (LINK, "10.77.1.2/24"), router, ("lan", "10.77.1.1/24"))?;
        cable(far, ("cable", "10.77.2.2/24"), router, ("wan", "10.77.2.1/24"))?;
        near.sysctl("ipv4/conf/all/route_localnet", "1")?;
        near.run("ip", &["route", "add", "default", "via", "10.77.1.1"])?;
        near.rules(NEAR_RULES)?;
        router.sysctl("ipv4/ip_forward", "1")?;
        router.rules(ROUTER_RULES)?;
        router.sysctl("netfilter/nf_conntrack_tcp_loose", "0")?;
        let seconds = idle.as_secs().to_string();
        router.sysctl("netfilter/nf_conntrack_tcp_timeout_established", &seconds)?;
        Ok(path)
    }

    /// On the near side: a paired relay there, and its server on the far side.
    pub fn online(&self, board: &str) -> (Bench, Relay) {
        let lab = self
            .far
            .inside(|| Lab::start_on((SERVER, 0).into()).expect("a free port"));
        let endpoint = format!("ws://{}/ws/chat", SocketAddr::new(SERVER_SEEN, lab.addr().port()));
        Bench::with(lab, &endpoint, board, None).go_online()
    }

    /// The router forgets every flow at once, as when its own line was dialled anew: masquerading drops the flows of a
    /// link that goes down. What comes on them is dropped from then on; new ones pass.
    pub fn forget(&self) {
        for state in ["down", "up"] {
            self.router
                .run("ip", &["link", "set", "wan", state])
                .expect("a link that is there");
        }
    }

    /// Nothing passes the router any more, nor is refused; or does again. It forgets nothing meanwhile.
    pub fn swallow(&self, on: bool) {
        let gone: &[&str] = if on { &["add", "rule"] } else { &["flush", "chain"] };
        let rule: &[&str] = if on { &["drop"] } else { &[] };
        let arguments = [gone, &["ip", "nat", "gone"], rule].concat();
        self.router.run("nft", &arguments).expect("nft changes a rule");
    }

    /// Pulls the near side's cable, or puts it back in; its address comes back with it, and its route as by DHCP.
    pub fn link(&self, up: bool) {
        let state = if up { "up" } else { "down" };
        self.near
            .run("ip", &["link", "set", LINK, state])
            .expect("a link that is there");
        if up {
            let route = ["route", "replace", "default", "via", "10.77.1.1"];
            self.near.run("ip", &route).expect("a way to the router");
        }
    }

    /// The other end of the near side's cable goes down or comes up; its own addresses and routes stay.
    pub fn plug(&self, up: bool) {
        let state = if up { "up" } else { "down" };
        self.router
            .run("ip", &["link", "set", "lan", state])
            .expect("a link that is there");
    }

    /// Keepalive probes that the near side's kernel has sent, on any connection.
    pub fn keepalive_probes(&self) -> u64 {
        let counters = self
            .near
            .inside(|| std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default());
        let mut of_tcp = counters.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (of_tcp.next().unwrap_or_default(), of_tcp.next().unwrap_or_default());
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        let found = pairs.find(|(name, _)| *name == "TCPKeepAlive");
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }

    /// Bytes that left and came by the near side's link since it was laid, with Ethernet, IP and TCP headers.
    pub fn wire_bytes(&self) -> (u64, u64) {
        let counters = self
            .near
            .inside(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default());
        let line = counters
            .lines()
            .find_map(|line| line.trim().strip_prefix(LINK)?.strip_prefix(':'));
        let numbers: Vec<u64> = line
            .unwrap_or_default()
            .split_whitespace()
            .flat_map(str::parse)
            .collect();
        (
            numbers.get(8).copied().unwrap_or(0),
            numbers.first().copied().unwrap_or(0),
        )
    }
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

/// Joins two namespaces; each end has a name and an address.
fn cable(a: &Netns, a_end: (&str, &str), b: &Netns, b_end: (&str, &str)) -> Result<(), String> {
    let other = b.holder.id().to_string();
    let pair = [
        "link", "add", a_end.0, "type", "veth", "peer", "name", b_end.0, "netns", &other,
    ];
    a.run("ip", &pair)?;
    for (namespace, (name, address)) in [(a, a_end), (b, b_end)] {
        namespace.run("ip", &["addr", "add", address, "dev", name])?;
        namespace.run("ip", &["link", "set", name, "up"])?;
    }
    Ok(())
}
