//! Which folders are spools, and when something has come into one.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use async_io::Async;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::spool::make;

/// A folder that the relay takes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolPlace {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is made where it is missing.
    pub make: bool,
}

impl SpoolPlace {
    /// Makes it, so that it is there as soon as the relay says that it runs. What is wrong is told when it is opened.
    pub(in crate::gateway) fn prepare(&self) {
        if self.make {
            let _ = make(&self.path);
        }
    }
}

/// Tells when a file has come into one of the spools, a spool that is missing was made, or one was removed. A folder
/// that is open does not tell its own removal, so the directory above it is watched as well.
///
/// With `also_going` also that one has gone: what a person is told of may be what he has removed.
pub(super) fn watch(places: &[SpoolPlace], also_going: bool) -> io::Result<Async<OwnedFd>> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let going = match also_going {
        true => WatchFlags::DELETE | WatchFlags::MOVED_FROM,
        false => WatchFlags::empty(),
    };
    let coming = going | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
    for SpoolPlace { path, .. } in places {
        let change = match inotify::add_watch(&events, path, coming) {
            Ok(_) => WatchFlags::DELETE,
            Err(_) => WatchFlags::CREATE | WatchFlags::MOVED_TO,
        };
        let parent = path.parent().unwrap_or(Path::new("/"));
        // Two spools may lie in one directory.
        match inotify::add_watch(&events, parent, change | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD) {
            // A host without the directory above it has no spool there.
            Ok(_) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Async::new_nonblocking(events)
}
