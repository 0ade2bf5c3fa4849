//! What this process takes of its host, by what the kernel says of it.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::gateway::ProcessFacts;

/// As it is now.
pub(super) fn facts() -> ProcessFacts {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The look itself has one open.
    let open = std::fs::read_dir("/proc/self/fd").map(|files| files.count().saturating_sub(1) as u64);
    ProcessFacts {
        cpu: Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default(),
        resident_bytes: resident_bytes(&status),
        open_files: open.ok(),
        open_files_max: getrlimit(Resource::Nofile).current,
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_form_is_read() {
        assert_eq!(
            resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    7268 kB\n"),
            Some(7268 * 1024)
        );
        assert_eq!(resident_bytes("VmRSS:\t many\n"), None);
        let facts = facts();
        assert!(facts.cpu > Duration::ZERO && facts.resident_bytes > Some(100_000) && facts.open_files > Some(2));
    }
}
