//! The signals that end a run, and those that must not.

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;

/// SIGTERM from systemd, SIGINT and, when it goes away, SIGHUP from a terminal.
const STOP: [Signal; 3] = [Signal::Term, Signal::Int, Signal::Hup];

/// They would end the process without a goodbye. Nothing of ours sends one: somebody took this for another program.
/// SIGXFSZ comes with a write past `ulimit -f`, which fails all the same and is treated as a full disk.
const IGNORED: [Signal; 4] = [Signal::Usr1, Signal::Usr2, Signal::Alarm, Signal::Xfsz];

/// Receives both kinds from now on.
pub(super) struct Watch(Signals);

impl Watch {
    /// # Errors
    /// The kernel refuses.
    pub(super) fn start() -> std::io::Result<Self> {
        let survives_hangup = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status));
        let stop = STOP
            .into_iter()
            .filter(|signal| !(survives_hangup && *signal == Signal::Hup));
        Signals::new(stop.chain(IGNORED)).map(Self)
    }

    /// Waits for one that ends the run.
    pub(super) async fn stop(&mut self) {
        loop {
            match self.0.next().await {
                Some(Ok(signal)) if !STOP.contains(&signal) => log::info!("{signal:?} is ignored"),
                Some(Ok(_)) => return log::info!("stopping on request"),
                Some(Err(_)) | None => return log::info!("stopping on a signal"),
            }
        }
    }
}

/// Whether this process was started to outlive its terminal, by `nohup`. `status`: what /proc/self/status has.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is number 1, and the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_seen() {
        assert!(ignores_hangup("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup(
            "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"
        ));
        assert!(!ignores_hangup("Name:\ttautline\n"));
    }
}
