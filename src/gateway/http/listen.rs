//! The sockets that the gateway listens on: which of them are open, what is wrong with the others, and the control
//! socket's file, which anybody with the right to the directory can take away.

use std::io::{self, Error, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::future;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use crate::util::lock;

/// Connections that may wait to be accepted on the control socket.
const BACKLOG: i32 = 128;

/// How long health tells that the control socket had to be made again: long enough for somebody to look.
const MADE_AGAIN_TOLD: Duration = Duration::from_secs(3600);

/// Where the control socket may be.
#[derive(Debug, Clone, Default)]
pub struct ControlPlaces {
    /// In order. The first that can hold a socket is taken.
    pub paths: Vec<PathBuf>,
    /// Private ones for the case that none of `paths` can hold a socket, as on FAT. A missing directory is made.
    pub spare: Vec<PathBuf>,
    /// A file in which the way to a spare one is written, for the commands.
    pub pointer: Option<PathBuf>,
}

impl From<&Path> for ControlPlaces {
    fn from(path: &Path) -> Self {
        Self {
            paths: vec![path.to_owned()],
            ..Self::default()
        }
    }
}

/// What is open and what is not, for status and health.
#[derive(Default)]
pub struct Listening(Mutex<Now>);

#[derive(Default)]
struct Now {
    bound: Vec<SocketAddr>,
    missing: Vec<(SocketAddr, String)>,
    /// Why the control socket is not where it should be.
    elsewhere: Option<String>,
    /// Why there is none.
    gone: Option<String>,
    made_again: Option<Instant>,
    beyond: bool,
}

impl Listening {
    fn now(&self) -> MutexGuard<'_, Now> {
        lock(&self.0)
    }

    /// The TCP addresses that are served, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.now().bound.clone()
    }

    /// The configured addresses that are not served, each with the reason.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let now = self.now();
        now.missing.iter().map(|(_, why)| why.clone()).collect()
    }

    /// What there is to say about the control socket: whether it is an error, and in words.
    #[must_use]
    pub fn control_trouble(&self) -> Option<(bool, String)> {
        let now = self.now();
        if let Some(why) = &now.gone {
            return Some((true, why.clone()));
        }
        if let Some(at) = now.made_again.filter(|at| at.elapsed() < MADE_AGAIN_TOLD) {
            let text = format!(
                "the control socket was gone {} s ago and was made again; find out what deletes or moves it",
                at.elapsed().as_secs()
            );
            return Some((false, text));
        }
        now.elsewhere.clone().map(|why| (false, why))
    }

    pub(super) fn is_in_trouble(&self) -> bool {
        let now = self.now();
        now.gone.is_some() || !now.missing.is_empty()
    }

    pub(super) fn control_gone(&self, why: &Error) {
        let why = format!("no command reaches this relay: {why}; trying again");
        let before = self.now().gone.replace(why.clone());
        if before.is_none() {
            log::error!("{why}");
        }
    }

    pub(super) fn control_is_there(&self) {
        self.now().gone = None;
    }

    pub(super) fn control_made_again(&self) {
        log::warn!("the control socket was gone and is made again");
        let mut now = self.now();
        now.gone = None;
        now.made_again = Some(Instant::now());
    }

    /// Opens as many of `addresses` as can be opened.
    ///
    /// # Errors
    /// One is not loopback and `beyond` says no; or none can be opened, though there are some.
    pub(super) fn open(&self, addresses: &[SocketAddr], beyond: bool) -> io::Result<Vec<(StdTcpListener, SocketAddr)>> {
        let mut open = Vec::new();
        let mut missing = Vec::new();
        for &address in addresses {
            match listen_tcp(address, beyond) {
                Ok((listener, real)) => open.push((listener, real)),
                Err(error) if error.kind() == ErrorKind::InvalidInput => return Err(error),
                Err(error) => missing.push((address, error)),
            }
        }
        if open.is_empty()
            && let Some((_, first)) = missing.first()
        {
            let all: Vec<_> = missing.iter().map(|(_, error)| error.to_string()).collect();
            return Err(Error::new(first.kind(), all.join("; ")));
        }
        let mut now = self.now();
        now.beyond = beyond;
        now.bound = open.iter().map(|(_, real)| *real).collect();
        for (address, error) in missing {
            log::warn!("{error}; the other addresses are served, and this one is tried again");
            now.missing.push((address, error.to_string()));
        }
        Ok(open)
    }

    /// Those of the missing addresses that can be opened now.
    pub(super) fn open_missing(&self) -> Vec<(StdTcpListener, SocketAddr)> {
        let (missing, beyond) = {
            let mut now = self.now();
            (std::mem::take(&mut now.missing), now.beyond)
        };
        let mut open = Vec::new();
        for (address, _) in missing {
            match listen_tcp(address, beyond) {
                Ok((listener, real)) => {
                    log::info!("listening on http://{real}/ now");
                    self.now().bound.push(real);
                    open.push((listener, real));
                }
                Err(error) => self.now().missing.push((address, error.to_string())),
            }
        }
        open
    }

    /// Opens the control socket at the first of `places` that can hold one.
    ///
    /// # Errors
    /// Another process answers on it ([`ErrorKind::AddrInUse`]), or it can be made nowhere.
    pub(super) fn open_control(&self, places: &ControlPlaces) -> io::Result<(StdUnixListener, ControlFile)> {
        let mut refused: Vec<Error> = Vec::new();
        let (normal, spare) = (places.paths.iter(), places.spare.iter());
        for (path, is_spare) in normal.map(|path| (path, false)).chain(spare.map(|path| (path, true))) {
            let made = if is_spare { private_parent(path) } else { Ok(()) };
            match made.and_then(|()| listen_control(path)) {
                Ok((listener, mut file)) => {
                    if let Some(pointer) = &places.pointer {
                        file.pointer = point_to(pointer, is_spare.then_some(path));
                    }
                    if let Some(first) = refused.first() {
                        let text = format!("{first}; it is {} instead", path.display());
                        log::warn!("{text}");
                        self.now().elsewhere = Some(text);
                    }
                    return Ok((listener, file));
                }
                // Not the place's fault: another place would hide the trouble.
                Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(error),
                Err(error) => refused.push(error),
            }
        }
        let kind = refused.first().map_or(ErrorKind::NotFound, Error::kind);
        let all: Vec<_> = refused.iter().map(ToString::to_string).collect();
        Err(Error::new(kind, all.join("; ")))
    }
}

fn listen_tcp(address: SocketAddr, beyond: bool) -> io::Result<(StdTcpListener, SocketAddr)> {
    if !address.ip().is_loopback() && !beyond {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "the listen address {address} is not loopback, and nothing makes it safe: no tls, no proxy, no trusted network"
            ),
        ));
    }
    let failed = |error: Error| {
        // "invalid input" is kept for what is wrong with the address itself.
        let kind = match error.kind() {
            ErrorKind::InvalidInput => ErrorKind::Other,
            kind => kind,
        };
        Error::new(kind, format!("cannot listen on {address}: {error}"))
    };
    let listener = StdTcpListener::bind(address).map_err(failed)?;
    let real = listener.local_addr().map_err(failed)?;
    Ok((listener, real))
}

/// The socket file, as this process made it; removed on drop unless somebody else has put another in its place.
pub(super) struct ControlFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: (u64, u64),
    /// The file that leads to it, where one was needed.
    pointer: Option<PathBuf>,
}

impl ControlFile {
    fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity)
    }

    /// `None` while the file is there; else what came of making it again.
    pub(super) async fn make_again(&mut self) -> Option<io::Result<StdUnixListener>> {
        if self.is_there() {
            return None;
        }
        Some(self.listen_again().await)
    }

    async fn listen_again(&mut self) -> io::Result<StdUnixListener> {
        // The check at the start may wait for somebody who does not answer; here nothing may.
        let asked = async { smol::net::unix::UnixStream::connect(&self.path).await.map(drop) };
        let silent = async {
            Timer::after(Duration::from_secs(1)).await;
            Ok(())
        };
        if is_ours_to_ask(&self.path) && future::or(asked, silent).await.is_ok() {
            let text = format!("another process has its socket at {}", self.path.display());
            return Err(Error::new(ErrorKind::AddrInUse, text));
        }
        if let Some(parent) = self.path.parent()
            && !parent.exists()
        {
            // A runtime directory that was removed; with the mode of one that is private.
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(parent)
                .map_err(|error| Error::new(error.kind(), format!("{} cannot be made: {error}", parent.display())))?;
        }
        let (listener, identity) = put_in_place(&self.path)?;
        self.identity = identity;
        Ok(listener)
    }

    /// Returns when something has happened in the directory of the socket. Where the kernel does not tell, after a
    /// minute.
    pub(super) async fn changed(&self) {
        const BLIND: Duration = Duration::from_secs(60);
        match self.path.parent().and_then(|parent| watch(parent).ok()) {
            // What happened before there was a watch is told by nobody.
            Some(_) if !self.is_there() => {}
            Some(events) => drop(events.readable().await),
            None => {
                Timer::after(BLIND).await;
            }
        }
    }
}

impl Drop for ControlFile {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::debug!("the control socket {} stays behind: {error}", self.path.display());
        }
        if let Some(pointer) = &self.pointer {
            let _ = std::fs::remove_file(pointer);
        }
    }
}

fn watch(directory: &Path) -> io::Result<Async<OwnedFd>> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let kinds = WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(&events, directory, kinds)?;
    Async::new_nonblocking(events)
}

/// Makes the directory of a spare place, or checks the one that is there: in `/tmp` anybody may have made it before.
fn private_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "it has no directory"))?;
    match std::fs::DirBuilder::new().mode(0o700).create(parent) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let there = std::fs::symlink_metadata(parent)?;
    let us = rustix::process::geteuid().as_raw();
    if !there.is_dir() || there.uid() != us || there.mode() & 0o077 != 0 {
        let text = format!("{} is not a directory of this user alone", parent.display());
        return Err(Error::new(ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// Writes where the socket is, or takes such a note away. Returns the file if there is one now.
fn point_to(pointer: &Path, path: Option<&PathBuf>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let Some(path) = path else {
        let _ = std::fs::remove_file(pointer);
        return None;
    };
    if let Err(error) = std::fs::write(pointer, path.as_os_str().as_bytes()) {
        log::warn!("{} cannot be written: {error}", pointer.display());
    }
    Some(pointer.to_owned())
}

/// # Errors
/// As [`Listening::open_control`] has them, for one place.
fn listen_control(path: &Path) -> io::Result<(StdUnixListener, ControlFile)> {
    check_stale(path).map_err(|error| failed(path, &error))?;
    let (listener, identity) = put_in_place(path)?;
    let file = ControlFile {
        path: path.to_owned(),
        identity,
        pointer: None,
    };
    Ok((listener, file))
}

fn failed(path: &Path, error: &Error) -> Error {
    let text = format!("cannot open the control socket {}: {error}", path.display());
    Error::new(error.kind(), text)
}

/// Binds beside the final name, sets the mode, listens, and only then renames: at no moment can somebody without the
/// right to it connect, and at no moment is there no file.
fn put_in_place(path: &Path) -> io::Result<(StdUnixListener, (u64, u64))> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let open = || {
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A rename would put it into the place of a file that is no socket.
        match std::fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => return Err(no_socket()),
            Ok(_) | Err(_) => {}
        }
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&beside)?)?;
        std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        std::fs::rename(&beside, path)?;
        let file = std::fs::symlink_metadata(path)?;
        Ok((StdUnixListener::from(socket), (file.dev(), file.ino())))
    };
    open().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(path, &error)
    })
}

fn no_socket() -> Error {
    Error::new(ErrorKind::AlreadyExists, "something that is no socket has its name")
}

/// Whether a socket that is there may be another relay's. In a directory of ours a socket of another user is none: that
/// user has put it there, when the directory's mode still let him.
fn is_ours_to_ask(path: &Path) -> bool {
    let us = rustix::process::geteuid().as_raw();
    let owner = |path: &Path| std::fs::symlink_metadata(path).ok().map(|file| file.uid());
    let parent = path.parent().and_then(owner);
    match owner(path) {
        None => false,
        Some(owner) => owner == us || parent != Some(us),
    }
}

/// What is at `path` may be replaced only if it is a socket that nobody answers on.
fn check_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(no_socket()),
        Ok(_) if !is_ours_to_ask(path) => {
            log::warn!("{}: a socket of another user is replaced", path.display());
            return Ok(());
        }
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(Error::new(ErrorKind::AddrInUse, "another relay answers on it")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_served_is_served_and_the_rest_is_told_and_tried_again() {
        let taken = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let busy = taken.local_addr().unwrap();
        let listening = Listening::default();
        let open = listening.open(&["127.0.0.1:0".parse().unwrap(), busy], false).unwrap();
        assert_eq!((open.len(), listening.addresses().len()), (1, 1));
        assert!(listening.missing()[0].contains(&busy.to_string()));
        assert!(listening.is_in_trouble() && listening.open_missing().is_empty());
        drop(taken);
        let late = listening.open_missing();
        assert_eq!(late[0].1, busy);
        assert_eq!((listening.addresses()[1], listening.missing().len()), (busy, 0));
        assert!(!listening.is_in_trouble());

        let none = Listening::default().open(&[busy], false).err().unwrap();
        assert!(none.to_string().contains(&busy.to_string()), "{none}");
        assert!(Listening::default().open(&[], false).unwrap().is_empty());
    }

    #[test]
    fn a_place_that_holds_no_socket_leads_to_the_next_and_a_note_says_where() {
        let state = tempfile::tempdir().unwrap();
        let long = state.path().join("x".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let (spare, pointer) = (state.path().join("private/s.sock"), state.path().join("control.path"));
        let places = ControlPlaces {
            paths: vec![state.path().join("none/control.sock"), long.join("control.sock")],
            spare: vec![spare.clone()],
            pointer: Some(pointer.clone()),
        };
        let listening = Listening::default();
        let (_listener, file) = listening.open_control(&places).unwrap();
        assert_eq!(std::fs::read_to_string(&pointer).unwrap(), spare.to_str().unwrap());
        let (is_error, words) = listening.control_trouble().unwrap();
        assert!(!is_error && words.contains("none/control.sock"), "{words}");
        drop(file);
        assert!(!pointer.exists() && !spare.exists());

        // A directory that others may write is no place for it.
        std::fs::set_permissions(spare.parent().unwrap(), PermissionsExt::from_mode(0o777)).unwrap();
        let error = listening.open_control(&places).err().unwrap();
        assert!(
            error.to_string().contains("not a directory of this user alone"),
            "{error}"
        );
    }

    #[test]
    fn a_socket_that_is_gone_is_made_again_but_not_in_the_place_of_what_answers() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("control.sock");
        let (_listener, mut file) = Listening::default().open_control(&path.as_path().into()).unwrap();
        smol::block_on(async {
            assert!(file.make_again().await.is_none());
            let mut changed = Box::pin(file.changed());
            assert!(future::poll_once(&mut changed).await.is_none());
            std::fs::rename(&path, state.path().join("away")).unwrap();
            changed.await;
            let _again = file.make_again().await.unwrap().unwrap();
            assert!(file.is_there());
            std::fs::remove_file(&path).unwrap();
            let theirs = StdUnixListener::bind(&path).unwrap();
            let error = file.make_again().await.unwrap().unwrap_err();
            assert!(error.to_string().contains("another process"), "{error}");
            drop(theirs);
            // Held, as it is in use: only while the socket is open is its file's number nobody else's.
            let _third = file.make_again().await.unwrap().unwrap();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "mine").unwrap();
            assert!(file.make_again().await.unwrap().is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        });
    }
}
