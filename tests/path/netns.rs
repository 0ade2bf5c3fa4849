//! Two network namespaces with a cable between them: the test and its lab server live in one, the relay in the other.
//!
//! A lab build dials loopback addresses only, so the cable carries 127.9.0.0/24: each side keeps 127.0.0.1 for itself and
//! lets the rest of the loopback network out. Nothing has a global name and nothing has to be cleaned up: a namespace goes
//! with its last process.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};

/// The lab server's end.
pub const LAB: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);
/// The relay's end.
pub const RELAY: &str = "127.9.0.2/24";
/// The relay's link.
pub const LINK: &str = "relay0";
/// The other end of it.
pub const FAR_END: &str = "lab0";

const INSIDE: &str = "TAUTLINE_TEST_INSIDE";
const OWN_NETWORK: [&[&str]; 2] = [&["--user", "--map-root-user", "--net"], &["--net"]];

/// Runs the test `name`, which is `body`, in a network of its own. Where that is not allowed, it says so.
pub fn inside(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let Some(unshare) = OWN_NETWORK.into_iter().find(|arguments| can(arguments)) else {
        println!("{name}: not tried, there are no network namespaces for us here");
        return;
    };
    let status = Command::new("unshare")
        .args(unshare)
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("unshare runs").success(), "{name} failed inside");
}

/// Whether a namespace can be made, and all in it that is needed.
fn can(unshare: &[&str]) -> bool {
    let tries = "unshare --net true && ip link add name a type veth peer name b && echo 1 > /proc/sys/net/ipv4/conf/a/route_localnet \
                 && nsenter --net=/proc/self/ns/net true";
    let tried = Command::new("unshare").args(unshare).args(["sh", "-c", tries]).output();
    tried.is_ok_and(|output| output.status.success())
}

fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `ip` in the lab's namespace, with `words` as its arguments.
pub fn ip(words: &str) {
    let mut command = Command::new("ip");
    command.args(words.split(' '));
    run(command);
}

fn let_loopback_out(link: &str) -> String {
    format!(
        "ip addr flush dev lo && ip link set lo up && ip addr add 127.0.0.1/32 dev lo \
         && echo 1 > /proc/sys/net/ipv4/conf/{link}/route_localnet"
    )
}

/// The relay's namespace, for as long as this lives.
pub struct Home {
    holder: Child,
    _stdin: Option<ChildStdin>,
}

impl Home {
    /// Lays the cable, and brings both ends up.
    pub fn new() -> Self {
        // It ends when its standard input does, and that ends with us.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it is there");
        let home = Self {
            _stdin: holder.stdin.take(),
            holder,
        };
        ip(&format!("link add name {FAR_END} type veth peer name {LINK}"));
        ip(&format!("link set {LINK} netns {}", home.holder.id()));
        let mut shell = Command::new("sh");
        shell.args(["-c", &let_loopback_out(FAR_END)]);
        run(shell);
        ip(&format!("addr add {LAB}/24 dev {FAR_END} scope global"));
        ip(&format!("link set {FAR_END} up"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &let_loopback_out(LINK)]);
        run(home.within(&shell));
        home.ip(&format!("addr add {RELAY} dev {LINK} scope global"));
        home.up();
        home
    }

    /// `command`, in the relay's namespace.
    pub fn within(&self, command: &Command) -> Command {
        let mut moved = Command::new("nsenter");
        moved.arg(format!("--net=/proc/{}/ns/net", self.holder.id()));
        moved.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => moved.env(name, value),
                None => moved.env_remove(name),
            };
        }
        moved
    }

    /// `ip` in the relay's namespace.
    pub fn ip(&self, words: &str) {
        let mut command = Command::new("ip");
        command.args(words.split(' '));
        run(self.within(&command));
    }

    /// The link comes up, and what a network manager does then.
    pub fn up(&self) {
        self.ip(&format!("link set {LINK} up"));
        self.ip(&format!("route replace default via {LAB} dev {LINK}"));
    }

    /// The link goes down, and its routes with it.
    pub fn down(&self) {
        self.ip(&format!("link set {LINK} down"));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
