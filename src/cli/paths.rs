//! Where the state and the control socket are: for the relay that makes them and for the commands that look for them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Exit, Failure, Global};
use crate::config::Env;
use crate::gateway::{ControlPlaces, SpoolPlace};

const SOCKET: &str = "control.sock";
/// In the state: the way to the control socket where the state's own file system cannot hold one.
const POINTER: &str = "control.path";
/// The longest path that is read from there, in bytes; no socket has a longer one.
const POINTER_BYTES_MAX: u64 = 256;
/// Where systemd puts the unit's `RuntimeDirectory=`; commands typed in a shell do not get `$RUNTIME_DIRECTORY`.
const RUNTIME_OF_THE_UNIT: &str = "/run/tautline";

/// The spool of the relay that systemd runs, beside a state that nobody else may enter. The package makes it.
const SPOOL_OF_THE_UNIT: &str = "/var/spool/tautline";
/// In the state: the spool of a relay that somebody runs for themselves.
const SPOOL: &str = "spool";

type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The directory of the state: `--state`, `$STATE_DIRECTORY`, `$XDG_STATE_HOME/tautline`, `~/.local/state/tautline`.
///
/// # Errors
/// None of them is given, not even a home directory.
pub fn state_directory(global: &Global) -> Result<PathBuf, Failure> {
    let env = Env::process();
    state_in(global, &|name| env.get(name).map(Into::into))
}

/// Refuses to write into the state of another user: what is made there would be ours, and its relay could not open it.
///
/// # Errors
/// It is there, and belongs to somebody else.
pub(super) fn refuse_anothers(state: &Path) -> Result<(), Failure> {
    let us = rustix::process::geteuid().as_raw();
    match std::fs::metadata(state) {
        Ok(there) if there.uid() != us => Err(is_anothers(state, there.uid(), us)),
        // One that is not there is made; what else is wrong with it shows when it is opened.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// [`refuse_anothers`] for the relay itself, which must start wherever it can: who owns the directory says nothing in a
/// container, where root runs it in a directory of the host's user. So only a log counts that another user has written.
/// Whoever is not root cannot open that, and is told so by the kernel.
///
/// # Errors
/// There is one, and its relay could not open what this one would write.
pub(super) fn refuse_anothers_log(state: &Path) -> Result<(), Failure> {
    let us = rustix::process::geteuid();
    let Ok(files) = std::fs::read_dir(state) else {
        return Ok(());
    };
    if !us.is_root() {
        return Ok(());
    }
    let us = us.as_raw();
    let logs = files.flatten().filter(|file| is_log(&file.file_name()));
    let mut owners = logs.filter_map(|log| log.metadata().ok()).map(|log| log.uid());
    match owners.find(|owner| *owner != us) {
        Some(owner) if makes_files_of(state, us) => Err(is_anothers(state, owner, us)),
        Some(_) | None => Ok(()),
    }
}

fn is_anothers(state: &Path, owner: u32, us: u32) -> Failure {
    let state = state.display();
    let text = format!(
        "{state} belongs to user {owner}, and this is user {us}: {owner}'s relay could not open what is written \
         now; run this as that user: sudo -u '#{owner}' tautline --state {state} …"
    );
    Failure::new(Exit::Refused, text)
}

/// Whether what this process makes in `directory` is `user`'s. Shares of a host and of a network give files whatever
/// owner they are told to.
fn makes_files_of(directory: &Path, user: u32) -> bool {
    use rustix::fs::{Mode, OFlags, fstat, open};
    let nameless = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let made = open(directory, nameless, Mode::RUSR | Mode::WUSR).and_then(fstat);
    made.is_ok_and(|file| file.st_uid == user)
}

/// `log.` and the number of a generation.
fn is_log(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix("log."));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Refuses to write the file `target` into the directory of a state, whichever: it would take the place of the log or
/// the lock, or pass for a newer log. Links on the way to its directory are followed; the file itself takes the place
/// of a link.
///
/// # Errors
/// It lies in one, or in a directory below one.
pub(super) fn refuse_into_a_state(global: &Global, target: &Path) -> Result<(), Failure> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    // One that is not there cannot be written into, which is said elsewhere.
    let Ok(parent) = parent.unwrap_or(Path::new(".")).canonicalize() else {
        return Ok(());
    };
    let ours = state_directory(global).ok().and_then(|ours| ours.canonicalize().ok());
    match parent
        .ancestors()
        .find(|place| ours.as_deref() == Some(*place) || is_state(place))
    {
        None => Ok(()),
        Some(state) => {
            let text = format!(
                "{} is in the state directory {}, where only the relay writes: name a file elsewhere",
                target.display(),
                state.display()
            );
            Err(Failure::new(Exit::Refused, text))
        }
    }
}

/// Whether a relay has its state there, or had.
pub(super) fn is_state(directory: &Path) -> bool {
    let has_log =
        || std::fs::read_dir(directory).is_ok_and(|files| files.flatten().any(|file| is_log(&file.file_name())));
    directory.join("lock").is_file() && (has_log() || directory.join("db").is_dir())
}

/// Where the relay makes its control socket: in `$RUNTIME_DIRECTORY`, else in the state directory; where neither can
/// hold a socket, in a directory of this user's alone.
///
/// # Errors
/// As for [`state_directory`].
pub fn control_places(global: &Global) -> Result<ControlPlaces, Failure> {
    let env = Env::process();
    places_in(
        global,
        &|name| env.get(name).map(Into::into),
        rustix::process::geteuid().as_raw(),
    )
}

fn places_in(global: &Global, lookup: Lookup<'_>, user: u32) -> Result<ControlPlaces, Failure> {
    let state = state_in(global, lookup)?;
    let mut paths: Vec<PathBuf> = directory(lookup, "RUNTIME_DIRECTORY").into_iter().collect();
    paths.push(state.clone());
    paths.dedup();
    // Two states of one user must not meet there.
    let mut hash = DefaultHasher::new();
    std::path::absolute(&state)
        .unwrap_or_else(|_| state.clone())
        .hash(&mut hash);
    let name = format!("{:016x}.sock", hash.finish());
    let runtime = directory(lookup, "XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{user}").into());
    Ok(ControlPlaces {
        paths: paths.iter().map(|directory| directory.join(SOCKET)).collect(),
        spare: vec![
            runtime.join("tautline").join(&name),
            PathBuf::from(format!("/tmp/tautline-{user}")).join(&name),
        ],
        pointer: Some(state.join(POINTER)),
    })
}

/// The way to a control socket that is not in the state itself, as its relay wrote it down.
fn pointed_to(state: &Path) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let file = File::open(state.join(POINTER)).ok()?;
    file.take(POINTER_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let path = PathBuf::from(OsString::from_vec(bytes));
    path.is_absolute().then_some(path)
}

/// Whether the socket at `path` is the relay's, as far as its owner tells: ours, root's, or that of the directory's
/// owner. Who may write into somebody's directory could put a socket of his own there, and take the alerts.
///
/// # Errors
/// Whose it is, in words.
pub(super) fn check_owner(path: &Path) -> Result<(), String> {
    let owner = |path: &Path| std::fs::metadata(path).map(|file| file.uid());
    let Ok(socket) = owner(path) else { return Ok(()) };
    let us = rustix::process::geteuid().as_raw();
    let parent = path.parent().and_then(|parent| owner(parent).ok());
    if socket == us || socket == 0 || parent == Some(socket) {
        return Ok(());
    }
    Err(format!(
        "belongs to user {socket}, who does not own the directory: not trusted"
    ))
}

/// The spools that the relay takes from: one in its state, and that of the unit. Whoever names a state means that one
/// alone.
///
/// # Errors
/// As for [`state_directory`].
pub(super) fn spool_places(global: &Global) -> Result<Vec<SpoolPlace>, Failure> {
    let own = std::path::absolute(state_directory(global)?.join(SPOOL));
    let own = own.map_err(|error| Failure::new(Exit::Failed, error))?;
    let mut places = vec![SpoolPlace { path: own, make: true }];
    if global.state.is_none() {
        places.push(SpoolPlace {
            path: SPOOL_OF_THE_UNIT.into(),
            make: false,
        });
    }
    Ok(places)
}

/// Where a command leaves an alert for a relay that does not answer, in order: as with the control socket, that of the
/// unit comes first.
///
/// # Errors
/// None of them is known, not even a home directory.
pub(super) fn spool_candidates(global: &Global) -> Result<Vec<PathBuf>, Failure> {
    let own = state_directory(global).map(|state| state.join(SPOOL));
    if global.state.is_some() {
        return Ok(vec![own?]);
    }
    Ok(std::iter::once(SPOOL_OF_THE_UNIT.into()).chain(own.ok()).collect())
}

/// Whether the spool at `path` is a relay's: who may put a folder there could take the alerts.
///
/// # Errors
/// Why not, in words.
pub(super) fn check_spool(path: &Path) -> Result<(), String> {
    let Ok(spool) = std::fs::symlink_metadata(path) else {
        return Err("not there".into());
    };
    if !spool.is_dir() {
        return Err("no directory".into());
    }
    let us = rustix::process::geteuid().as_raw();
    let parent = path.parent().and_then(|parent| std::fs::metadata(parent).ok());
    let trusted = |owner: u32| owner == us || owner == 0 || owner == spool.uid();
    if spool.uid() == us || parent.is_some_and(|parent| parent.mode() & 0o022 == 0 && trusted(parent.uid())) {
        return Ok(());
    }
    let owner = spool.uid();
    Err(format!(
        "belongs to user {owner}, in a directory where others may put one: not trusted"
    ))
}

/// Where a command looks for the relay, in order.
///
/// # Errors
/// As for [`state_directory`].
pub(super) fn control_candidates(global: &Global) -> Result<Vec<PathBuf>, Failure> {
    let env = Env::process();
    let mut found = candidates_in(global, &|name| env.get(name).map(Into::into))?;
    found.extend(state_directory(global).ok().and_then(|state| pointed_to(&state)));
    Ok(found)
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
    fn a_socket_goes_where_the_commands_look_and_else_into_a_private_place() {
        let places = |vars: &[(&str, &str)]| {
            let lookup = |name: &str| {
                let found = vars.iter().find(|(given, _)| *given == name);
                found.map(|(_, value)| value.into())
            };
            places_in(&Global::default(), &lookup, 1000).unwrap()
        };
        let plain = places(&[("HOME", "/home/a")]);
        assert_eq!(plain.paths, [Path::new("/home/a/.local/state/tautline/control.sock")]);
        assert!(plain.spare[0].starts_with("/run/user/1000/tautline"));
        assert!(plain.spare[1].starts_with("/tmp/tautline-1000"));
        let unit = places(&[
            ("STATE_DIRECTORY", "/s"),
            ("RUNTIME_DIRECTORY", "/r"),
            ("XDG_RUNTIME_DIR", "/x"),
        ]);
        assert_eq!(unit.paths, [Path::new("/r/control.sock"), Path::new("/s/control.sock")]);
        assert!(unit.spare[0].starts_with("/x/tautline"));
        assert_ne!(plain.spare[1], unit.spare[1]);
        assert_eq!(places(&[("HOME", "/h"), ("RUNTIME_DIRECTORY", "odd")]).paths.len(), 1);
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
