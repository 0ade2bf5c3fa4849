//! Where the state and the control socket are: for the relay that makes them and for the commands that look for them.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Exit, Failure, Global};

const SOCKET: &str = "control.sock";
/// Where systemd puts the unit's `RuntimeDirectory=`; commands typed in a shell do not get `$RUNTIME_DIRECTORY`.
const RUNTIME_OF_THE_UNIT: &str = "/run/tautline";

type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The directory of the state: `--state`, `$STATE_DIRECTORY`, `$XDG_STATE_HOME/tautline`, `~/.local/state/tautline`.
///
/// # Errors
/// None of them is given, not even a home directory.
pub fn state_directory(global: &Global) -> Result<PathBuf, Failure> {
    state_in(global, &|name| env::var_os(name))
}

/// Refuses to write into the state of another user: what is made there would be ours, and its relay could not open it.
///
/// # Errors
/// It is there, and belongs to somebody else.
pub(super) fn refuse_anothers(state: &Path) -> Result<(), Failure> {
    let us = rustix::process::geteuid().as_raw();
    match std::fs::metadata(state) {
        Ok(there) if there.uid() != us => {
            let (owner, state) = (there.uid(), state.display());
            let text = format!(
                "{state} belongs to user {owner}, and this is user {us}: {owner}'s relay could not open what is written \
                 now; run this as that user: sudo -u '#{owner}' tautline --state {state} …"
            );
            Err(Failure::new(Exit::Refused, text))
        }
        // One that is not there is made; what else is wrong with it shows when it is opened.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Where the relay makes its control socket: in `$RUNTIME_DIRECTORY`, else in the state directory.
///
/// # Errors
/// As for [`state_directory`].
pub fn control_socket(global: &Global) -> Result<PathBuf, Failure> {
    let lookup: Lookup<'_> = &|name| env::var_os(name);
    match directory(lookup, "RUNTIME_DIRECTORY") {
        Some(runtime) => Ok(runtime.join(SOCKET)),
        None => Ok(state_in(global, lookup)?.join(SOCKET)),
    }
}

/// Where a command looks for the relay, in order.
///
/// # Errors
/// As for [`state_directory`].
pub(super) fn control_candidates(global: &Global) -> Result<Vec<PathBuf>, Failure> {
    candidates_in(global, &|name| env::var_os(name))
}

fn candidates_in(global: &Global, lookup: Lookup<'_>) -> Result<Vec<PathBuf>, Failure> {
    let mut directories = Vec::new();
    directories.extend(directory(lookup, "RUNTIME_DIRECTORY"));
    // Whoever names a state means the relay that has it, not the one that systemd runs.
    if global.state.is_none() {
        directories.push(RUNTIME_OF_THE_UNIT.into());
    }
    match state_in(global, lookup) {
        Ok(state) => directories.push(state),
        Err(failure) if directories.is_empty() => return Err(failure),
        Err(_) => {}
    }
    directories.dedup();
    Ok(directories.iter().map(|directory| directory.join(SOCKET)).collect())
}

fn state_in(global: &Global, lookup: Lookup<'_>) -> Result<PathBuf, Failure> {
    let named = global.state.clone();
    let home = || directory(lookup, "HOME").map(|home| home.join(".local/state/tautline"));
    named
        .or_else(|| directory(lookup, "STATE_DIRECTORY"))
        .or_else(|| directory(lookup, "XDG_STATE_HOME").map(|state| state.join("tautline")))
        .or_else(home)
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "no place for the state: neither --state nor $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME is given",
            )
        })
}

/// A directory from the environment. systemd separates several with colons; the first is ours. The XDG rules say to
/// ignore what is not absolute.
fn directory(lookup: Lookup<'_>, name: &str) -> Option<PathBuf> {
    let value = lookup(name)?;
    let first = env::split_paths(&value).next()?;
    Path::new(&first).is_absolute().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(state: Option<&str>, vars: &[(&str, &str)]) -> Vec<String> {
        let global = Global {
            state: state.map(Into::into),
            ..Global::default()
        };
        let lookup = |name: &str| {
            let found = vars.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| value.into())
        };
        let found = candidates_in(&global, &lookup).unwrap_or_default();
        found.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_relay_is_looked_for_where_it_would_be() {
        let home = ("HOME", "/home/a");
        assert_eq!(
            candidates(None, &[home]),
            [
                "/run/tautline/control.sock",
                "/home/a/.local/state/tautline/control.sock"
            ]
        );
        assert_eq!(candidates(Some("/x"), &[home]), ["/x/control.sock"]);
        assert_eq!(
            candidates(Some("/x"), &[home, ("RUNTIME_DIRECTORY", "/r:/s")]),
            ["/r/control.sock", "/x/control.sock"]
        );
        assert_eq!(
            candidates(
                None,
                &[home, ("XDG_STATE_HOME", "/xdg"), ("RUNTIME_DIRECTORY", "/run/tautline")]
            ),
            ["/run/tautline/control.sock", "/xdg/tautline/control.sock"]
        );
        assert_eq!(
            candidates(None, &[("HOME", "relative")]),
            ["/run/tautline/control.sock"]
        );
        assert_eq!(
            candidates(None, &[home, ("STATE_DIRECTORY", "/var/lib/tautline")])
                .last()
                .unwrap(),
            "/var/lib/tautline/control.sock"
        );
    }
}
