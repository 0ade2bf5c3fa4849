//! The options of a TCP socket: what a schedule asks for, and what the kernel holds after it was asked.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};

use crate::line::TcpSchedule;

/// What the kernel holds for a socket. `None`: it would not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpSettings {
    pub nodelay: Option<bool>,
    pub keepalive: Option<bool>,
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub count: Option<u32>,
    pub user_timeout: Option<Duration>,
}

/// What was asked of a socket, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpTuning {
    pub asked: TcpSchedule,
    /// Read back after setting.
    pub in_force: TcpSettings,
    /// One line for each setting that the kernel did not take as asked.
    pub refused: Vec<String>,
}

impl fmt::Display for TcpTuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TcpSettings {
            nodelay,
            keepalive,
            idle,
            interval,
            count,
            user_timeout,
        } = self.in_force;
        match (keepalive, idle, interval, count) {
            (Some(true), Some(idle), Some(interval), Some(count)) => {
                write!(f, "keepalive {} + {count} × {}", Span(idle), Span(interval))?;
            }
            (Some(true), ..) => f.write_str("keepalive on, times unknown")?,
            _ => f.write_str("no keepalive")?,
        }
        match user_timeout {
            Some(timeout) => write!(f, ", user timeout {}", Span(timeout))?,
            None => f.write_str(", no user timeout")?,
        }
        if nodelay != Some(true) {
            f.write_str(", nagle")?;
        }
        if !self.refused.is_empty() {
            write!(f, "; refused: {}", self.refused.join(", "))?;
        }
        Ok(())
    }
}

/// `15 s`, or `1500 ms` where seconds will not do.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            _ => write!(f, "{} ms", self.0.as_millis()),
        }
    }
}

/// Sets everything that `schedule` asks for and reads it back. Whole seconds are what the kernel counts keepalive in:
/// fractions are rounded up. A setting that is refused stands in [`TcpTuning::refused`] and stops nothing, because a
/// socket with half its keepalive is still better than none.
pub fn tune(socket: &impl AsFd, schedule: &TcpSchedule) -> TcpTuning {
    let socket = SockRef::from(socket);
    let (idle, interval) = (whole_seconds(schedule.idle), whole_seconds(schedule.interval));
    let mut refused = Vec::new();
    let mut note = |name: &str, result: io::Result<()>| {
        if let Err(err) = result {
            refused.push(format!("{name} ({err})"));
        }
    };
    // One by one: a kernel that refuses one of them (WSL1, gVisor) keeps the others.
    note("TCP_NODELAY", socket.set_tcp_nodelay(true));
    note("SO_KEEPALIVE", socket.set_keepalive(true));
    note(
        "TCP_KEEPIDLE",
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle)),
    );
    note(
        "TCP_KEEPINTVL",
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(interval)),
    );
    note(
        "TCP_KEEPCNT",
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(schedule.count)),
    );
    note("TCP_USER_TIMEOUT", set_user_timeout(&socket, schedule.user_timeout));

    let in_force = read_back(&socket);
    let mut compare = |name: &str, same: bool, held: String| {
        if !same && !refused.iter().any(|line| line.starts_with(name)) {
            refused.push(format!("{name} (the kernel holds {held})"));
        }
    };
    compare(
        "TCP_NODELAY",
        in_force.nodelay == Some(true),
        format!("{:?}", in_force.nodelay),
    );
    compare(
        "SO_KEEPALIVE",
        in_force.keepalive == Some(true),
        format!("{:?}", in_force.keepalive),
    );
    compare(
        "TCP_KEEPIDLE",
        in_force.idle == Some(idle),
        format!("{:?}", in_force.idle),
    );
    compare(
        "TCP_KEEPINTVL",
        in_force.interval == Some(interval),
        format!("{:?}", in_force.interval),
    );
    compare(
        "TCP_KEEPCNT",
        in_force.count == Some(schedule.count),
        format!("{:?}", in_force.count),
    );
    compare(
        "TCP_USER_TIMEOUT",
        in_force.user_timeout == Some(schedule.user_timeout),
        format!("{:?}", in_force.user_timeout),
    );
    TcpTuning {
        asked: *schedule,
        in_force,
        refused,
    }
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

#[cfg(target_os = "linux")]
fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(timeout))
}

#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_socket: &Socket, _timeout: Duration) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn read_back(socket: &Socket) -> TcpSettings {
    #[cfg(target_os = "linux")]
    let user_timeout = socket.tcp_user_timeout().ok().flatten();
    #[cfg(not(target_os = "linux"))]
    let user_timeout = None;
    TcpSettings {
        nodelay: socket.tcp_nodelay().ok(),
        keepalive: socket.keepalive().ok(),
        idle: socket.tcp_keepalive_time().ok(),
        interval: socket.tcp_keepalive_interval().ok(),
        count: socket.tcp_keepalive_retries().ok(),
        user_timeout,
    }
}
