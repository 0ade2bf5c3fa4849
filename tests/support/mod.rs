//! The relay as a user runs it: the built program as a process, its configuration, its HTTP, its end by any signal.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// For what should happen in a moment: generous, because CI machines are slow and busy.
pub const SOON: Duration = Duration::from_secs(60);

/// The program under test, with everything from the environment that could change its ways taken away.
pub fn tautline() -> Command {
    let mut command = Command::new(program());
    for name in [
        "TAUTLINE_CONFIG",
        "CONFIGURATION_DIRECTORY",
        "STATE_DIRECTORY",
        "RUNTIME_DIRECTORY",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "JOURNAL_STREAM",
        "TAUTLINE_LOG",
        "RUST_LOG",
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
    ] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

/// Cargo tells a test where the program is. From an example it stands one directory up, if it was built.
pub fn program() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_tautline") {
        Some(program) => program.into(),
        None => {
            let here = std::env::current_exe().expect("this program stands somewhere");
            here.parent()
                .and_then(Path::parent)
                .expect("in the target directory")
                .join("tautline")
        }
    }
}

/// For an example, in the profile that the example was built in: cargo builds the program by itself for tests alone.
///
/// # Errors
/// It cannot be built; in one line.
pub fn build_program() -> Result<(), String> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let profile = match program()
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
    {
        None | Some("debug") => "dev".to_owned(),
        Some(name) => name.to_owned(),
    };
    build
        .args([
            "build",
            "--quiet",
            "--features",
            "lab",
            "--bin",
            "tautline",
            "--profile",
            &profile,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells of the package that it runs; build scripts of others would take it for theirs and run again.
    for (name, _) in std::env::vars_os() {
        let of_a_package =
            |name: &str| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_a_package) {
            build.env_remove(name);
        }
    }
    let built = build
        .status()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    let failed = || "the relay could not be built".to_owned();
    built.success().then_some(()).ok_or_else(failed)
}

/// A place with a configuration and a state, that outlives the processes in it.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// `routes` are name and recipients, for the one session `default` on `endpoint`.
    pub fn new(endpoint: &str, routes: &[(&str, &[&str])]) -> Self {
        let mut config = format!("[[session]]\nname = \"default\"\nendpoint = \"{endpoint}\"\n");
        for (name, to) in routes {
            config.push_str(&format!(
                "\n[[route]]\nname = \"{name}\"\nsession = \"default\"\nto = {to:?}\n"
            ));
        }
        config.push_str("\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n");
        Self::with_config(&config)
    }

    pub fn with_config(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("tautline.toml"), config).expect("the config is written");
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("tautline.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A command on this site: `--config`, `--state` and `args`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = tautline();
        command
            .arg("--config")
            .arg(self.config())
            .arg("--state")
            .arg(self.state())
            .args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// Starts the relay and waits until it listens.
    pub fn start(&self) -> Relay {
        self.start_with(&[])
    }

    /// The same with variables in its environment.
    pub fn start_with(&self, env: &[(&str, &str)]) -> Relay {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a log file");
        let mut command = self.command(&["run", "-v"]);
        command.envs(env.iter().copied());
        self.spawn(command, log.into())
    }

    /// Starts the relay with other arguments, and its log elsewhere.
    pub fn start_to(&self, args: &[&str], log: Stdio) -> Relay {
        self.spawn(self.command(args), log)
    }

    fn spawn(&self, mut command: Command, log: Stdio) -> Relay {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the relay starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let Some(address) = said_address(&mut stdout) else {
            let status = child.wait();
            panic!("the relay ended at start: {status:?}\n{}", self.read_log());
        };
        Relay {
            child: Some(child),
            address,
            stdout: Some(stdout),
            log: self.log(),
        }
    }

    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn read_log(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

/// The address that a relay prints when it listens; `None` when it ended before.
fn said_address(stdout: &mut BufReader<ChildStdout>) -> Option<SocketAddr> {
    let mut line = String::new();
    loop {
        line.clear();
        if stdout.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if let Some(address) = line.trim().strip_prefix("Tautline is at http://") {
            return Some(address.trim_end_matches('/').parse().expect("an address"));
        }
    }
}

/// A running relay. Dropped, it is killed.
pub struct Relay {
    child: Option<Child>,
    pub address: SocketAddr,
    stdout: Option<BufReader<ChildStdout>>,
    log: PathBuf,
}

/// What the health in `status` says under `code`.
pub fn finding<'a>(status: &'a Value, code: &str) -> Option<&'a Value> {
    let health = status["health"].as_array().expect("a list");
    health.iter().find(|entry| entry["code"] == code)
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl Relay {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What the kernel says of its memory, in bytes: `VmRSS` is all that is resident, `RssAnon` what is no file of it,
    /// `VmHWM` the most that was resident.
    pub fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).expect("the process is there");
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("no {name} in {status}")) * 1024
    }

    /// What the relay has printed next, as a line.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.stdout.as_mut().expect("stdout").read_line(&mut line);
        line
    }

    /// SIGKILL: no goodbye, no flush.
    pub fn kill(mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().expect("it runs"));
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
        self.wait_end()
    }

    /// Waits until it ends, for its exit code.
    pub fn wait_end(&mut self) -> i32 {
        let mut child = self.child.take().expect("it runs");
        let until = Instant::now() + SOON;
        loop {
            if let Some(status) = child.try_wait().expect("waited for") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < until, "the relay does not stop\n{}", self.read_log());
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    pub fn read_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// One request, one answer. An error is a relay that is gone.
    pub fn try_http(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let gone = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(gone)?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(gone)?;
        Ok(Answer {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    pub fn http(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_http(method, target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}\n{}", self.read_log()))
    }

    /// Publishes and returns the alert's id.
    pub fn publish(&self, route: &str, text: &str) -> String {
        let answer = self.http("POST", &format!("/{route}"), &[], text.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    pub fn status(&self) -> Value {
        self.http("GET", "/v1/status", &[], b"").json()
    }

    /// Asks for the status until `condition` holds. Each look is a request, so this does not spin.
    pub fn wait_status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait_status_for(SOON, what, condition)
    }

    /// The same for what takes longer by design.
    pub fn wait_status_for(&self, patience: Duration, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + patience;
        loop {
            let status = self.status();
            if condition(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{what}: {status:#}\n{}", self.read_log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What ended the last line, in words; empty while none has ended.
    pub fn last_cause(&self) -> String {
        let status = self.status();
        let cause = &status["sessions"][0]["last_end"]["cause"];
        cause.as_str().unwrap_or_default().to_owned()
    }

    /// Attempts of the first session so far.
    pub fn lines(&self) -> u64 {
        self.status()["sessions"][0]["lines"].as_u64().unwrap_or(0)
    }

    pub fn wait_online(&self) {
        self.wait_status("never online", |status| status["sessions"][0]["state"] == "online");
    }

    /// Waits on the server until the alert has come as far as `step`.
    pub fn wait_step(&self, id: &str, step: &str) -> Value {
        let answer = self.http("GET", &format!("/v1/alerts/{id}?wait={step}&timeout=60s"), &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let alert = answer.json();
        let rank = |step: &str| {
            ["accepted", "sent", "delivered", "read"]
                .iter()
                .position(|known| *known == step)
        };
        let reached = alert["state"].as_str().and_then(rank);
        assert!(
            reached >= rank(step) && reached.is_some(),
            "not {step}: {alert:#}\n{}",
            self.read_log()
        );
        alert
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                eprintln!("--- the relay's log ---\n{}", self.read_log());
            }
        }
    }
}

/// Pairs the site's session by `tautline pair --raw`, scanning each code that it prints with `scan` until one is taken.
pub fn pair_by_qr(site: &Site, scan: impl FnMut(&str) -> Result<(), String>) {
    pair_session_by_qr(site, "default", scan);
}

/// The same for the session `name`.
pub fn pair_session_by_qr(site: &Site, name: &str, mut scan: impl FnMut(&str) -> Result<(), String>) {
    let mut child = site
        .command(&["pair", "--raw", "--session", name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pair starts");
    let mut scanned = false;
    for line in BufReader::new(child.stdout.take().expect("stdout")).lines() {
        let payload = line.expect("a line");
        if !scanned {
            scan(&payload).expect("the phone takes the code");
            scanned = true;
        }
    }
    let mut words = String::new();
    let _ = child.stderr.take().expect("stderr").read_to_string(&mut words);
    let status = child.wait().expect("it ends");
    assert!(status.success(), "pair: {status}\n{words}\n{}", site.read_log());
}
