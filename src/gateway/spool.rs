//! The spool as a way in: takes what senders have left as files while no relay answered, or because they may not open
//! the control socket.
//!
//! A file's name is the key of its alert, unless the sender gave one. So an alert is taken once, also when a crash
//! comes between its acceptance and the removal of its file.

mod brake;
mod publish;
mod troubles;
mod watch;

pub(super) use publish::Publisher;
pub use troubles::Spooling;
pub use watch::SpoolPlace;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;

use self::brake::Lines;
use self::publish::Outcome;
use self::watch::watch;
use crate::alert::hygiene::one_line;
use crate::spool::{Folder, Name, OpenError, Retry, SetAside, Unfit, make};

/// After a refusal that passes by itself, as of a full disk, and where a spool cannot be watched or opened.
const AGAIN: Duration = Duration::from_secs(60);

/// Between a file's coming and the look at it, so that a burst of them is one look.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Files that stay where they are and are remembered. What is held beyond stays as well, is counted, and is looked at
/// again.
const HELD_MAX: usize = 1000;

/// The longer pause before the next look, for each file that is looked at again: reading them is not all that is done.
const CROWDED_PAUSE: Duration = Duration::from_millis(1);

/// The task that takes from all spools.
pub(super) struct Taker {
    pub publisher: Publisher,
    pub spooling: Arc<Spooling>,
    /// How much of a longer body is read, in bytes.
    pub body_kept_bytes: usize,
}

/// One spool while the relay runs.
struct Open {
    folder: Arc<Folder>,
    /// Files that are looked at no more before the next start.
    known: HashSet<OsString>,
    /// Files of this look that wait and are not remembered.
    beyond: usize,
    lines: Lines,
}

impl Taker {
    /// Takes what lies there and what comes. Never ends.
    pub async fn run(self, places: Vec<SpoolPlace>) {
        let mut open: Vec<Option<Open>> = places.iter().map(|_| None).collect();
        loop {
            // The watch stands before the look: what comes in between is seen.
            let holds = self.holds();
            let (watch, mut again) = match watch(&places, holds) {
                Ok(watch) => (Some(watch), false),
                Err(error) => {
                    log::debug!("the spools cannot be watched, and are looked at every {AGAIN:?}: {error}");
                    (None, true)
                }
            };
            for (place, open) in places.iter().zip(&mut open) {
                if open.as_ref().is_some_and(|open| !open.folder.is_in_place()) {
                    log::warn!("the spool {} was removed or is another now", place.path.display());
                    self.spooling.troubles().forget(&place.path);
                    *open = None;
                }
                if open.is_none() {
                    match self.open(place) {
                        Ok(opened) => *open = opened,
                        Err(()) => again = true,
                    }
                }
                if let Some(open) = open {
                    again |= !self.take_all(open).await;
                }
            }
            // What is held since then has to be watched for its going.
            if self.holds() && !holds {
                continue;
            }
            let came = async {
                match &watch {
                    Some(events) => drop(events.readable().await),
                    None => future::pending().await,
                }
            };
            let late = async {
                match again {
                    true => drop(Timer::after(AGAIN).await),
                    false => future::pending().await,
                }
            };
            future::or(came, late).await;
            let beyond: usize = open.iter().flatten().map(|open| open.beyond).sum();
            let crowded = CROWDED_PAUSE.saturating_mul(u32::try_from(beyond).unwrap_or(u32::MAX));
            Timer::after(crowded.clamp(LOOK_PAUSE, AGAIN)).await;
        }
    }

    /// `Err`: it is worth another try.
    fn open(&self, place: &SpoolPlace) -> Result<Option<Open>, ()> {
        let made = match place.make {
            true => make(&place.path).map_err(OpenError::from),
            false => Ok(()),
        };
        let opened = made.and_then(|()| Folder::open(&place.path));
        let mut troubles = self.spooling.troubles();
        let error = match opened {
            Ok(folder) => {
                troubles.closed.remove(&place.path);
                return Ok(Some(Open {
                    folder: Arc::new(folder),
                    known: HashSet::new(),
                    beyond: 0,
                    lines: Lines::new(Instant::now()),
                }));
            }
            Err(error) => error,
        };
        match error {
            // Nothing is wrong with a box that has none, and another user's has a relay of its own.
            OpenError::Absent | OpenError::Anothers(_) => {
                troubles.closed.remove(&place.path);
                Ok(None)
            }
            OpenError::Taken | OpenError::Io(_) => {
                let why = error.to_string();
                let before = troubles.closed.insert(place.path.clone(), why.clone());
                if before.as_ref() != Some(&why) {
                    log::warn!("the spool {} is not taken from: {why}", place.path.display());
                }
                Err(())
            }
        }
    }

    /// Takes all that lies in a spool. `false`: something has to be tried again.
    async fn take_all(&self, open: &mut Open) -> bool {
        self.forget_removed(open).await;
        let mut all = true;
        let mut after = OsString::new();
        open.beyond = 0;
        loop {
            let (folder, known, behind) = (Arc::clone(&open.folder), open.known.clone(), after.clone());
            let found = match smol::unblock(move || folder.list(&known, &behind)).await {
                Ok(found) => found,
                Err(error) => {
                    log::warn!("the spool {} cannot be listed: {error}", open.folder.path().display());
                    return false;
                }
            };
            let any = !found.alerts.is_empty();
            for name in found.foreign {
                self.set_aside(open, &name, "its name is not that of a spooled alert")
                    .await;
            }
            let mut later = false;
            for name in found.alerts {
                match self.take(&open.folder, &name).await {
                    Outcome::Done => self.remove(open, &name).await,
                    Outcome::Held(why) => self.hold(open, &name, why),
                    Outcome::Waits(why) => {
                        self.wait(open, &name, why);
                        all = false;
                    }
                    Outcome::Aside(why) => self.set_aside(open, name.as_str().as_ref(), &why).await,
                    Outcome::Later(why) => {
                        log::warn!("alerts stay in the spool for now: {why}");
                        later = true;
                        break;
                    }
                }
            }
            if any {
                let folder = Arc::clone(&open.folder);
                smol::unblock(move || folder.sync()).await;
            }
            let path = open.folder.path();
            let folder = Arc::clone(&open.folder);
            let aside = smol::unblock(move || folder.aside()).await;
            let mut troubles = self.spooling.troubles();
            troubles.aside.insert(path.to_owned(), aside);
            let before = troubles.beyond.insert(path.to_owned(), open.beyond).unwrap_or(0);
            drop(troubles);
            if before == 0 && open.beyond > 0 {
                log::error!("more than {HELD_MAX} files wait in the spool {}", path.display());
            }
            match found.more {
                Some(last) if !later => after = last,
                Some(_) | None => {
                    let untold = open.lines.sum(Instant::now());
                    if untold > 0 {
                        log::warn!("{untold} more files in the spool {} were no alerts", path.display());
                    }
                    return all && !later && open.lines.untold == 0;
                }
            }
        }
    }

    /// What waits and was taken away by a person waits no more.
    async fn forget_removed(&self, open: &mut Open) {
        let held: Vec<PathBuf> = {
            let troubles = self.spooling.troubles();
            let here = |file: &&PathBuf| file.parent() == Some(open.folder.path());
            troubles.held.keys().filter(here).cloned().collect()
        };
        let gone = smol::unblock(move || {
            let is_gone = |file: &PathBuf| {
                let found = std::fs::symlink_metadata(file);
                found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            };
            held.into_iter().filter(is_gone).collect::<Vec<_>>()
        });
        for file in gone.await {
            self.spooling.troubles().held.remove(&file);
            if let Some(name) = file.file_name() {
                open.known.remove(name);
            }
        }
    }

    /// Whether anything waits for a person.
    fn holds(&self) -> bool {
        !self.spooling.troubles().held.is_empty()
    }

    async fn take(&self, folder: &Arc<Folder>, name: &Name) -> Outcome {
        let (reading, wanted, kept) = (Arc::clone(folder), name.clone(), self.body_kept_bytes);
        let unfit = match smol::unblock(move || reading.read(&wanted, kept)).await {
            Ok(spooled) => return self.publisher.publish(name, &spooled).await,
            Err(Unfit::Gone) => return Outcome::Done,
            Err(unfit) => unfit,
        };
        let why = unfit.to_string();
        match unfit.retry() {
            Retry::Never => Outcome::Aside(why),
            Retry::NextStart => Outcome::Held(why),
            Retry::Soon => Outcome::Waits(why),
            Retry::AllSoon => Outcome::Later(why),
        }
    }

    async fn remove(&self, open: &mut Open, name: &Name) {
        let path = open.folder.path().join(name.as_str());
        let (folder, removed) = (Arc::clone(&open.folder), name.clone());
        match smol::unblock(move || folder.remove(&removed)).await {
            Ok(()) => drop(self.spooling.troubles().held.remove(&path)),
            // It must not be taken again and again. After the next start its key tells that it has been.
            Err(error) => self.hold(
                open,
                name,
                format!("it is accepted, and its file cannot be removed: {error}"),
            ),
        }
    }

    fn hold(&self, open: &mut Open, name: &Name, why: String) {
        if open.known.len() >= HELD_MAX {
            open.beyond += 1;
            return;
        }
        let path = open.folder.path().join(name.as_str());
        log::error!("{} stays where it is until the next start: {why}", path.display());
        open.known.insert(name.as_str().into());
        self.spooling.troubles().held.insert(path, why);
    }

    /// It is told as held, and is not remembered: the next look tries it again.
    fn wait(&self, open: &mut Open, name: &Name, why: String) {
        let path = open.folder.path().join(name.as_str());
        let held = &mut self.spooling.troubles().held;
        if !held.contains_key(&path) {
            if held.len() >= HELD_MAX {
                open.beyond += 1;
                return;
            }
            log::error!("{} stays where it is and is tried again: {why}", path.display());
        }
        held.insert(path, why);
    }

    async fn set_aside(&self, open: &mut Open, name: &OsStr, why: &str) {
        let path = open.folder.path().join(name);
        self.spooling.troubles().held.remove(&path);
        let shown = open.folder.path().join(one_line(&name.to_string_lossy()));
        let shown = shown.display();
        let (folder, moved) = (Arc::clone(&open.folder), name.to_owned());
        let line = match smol::unblock(move || folder.set_aside(&moved)).await {
            Ok(SetAside::Kept) => format!("{shown} was moved aside: {why}"),
            Ok(SetAside::Removed) => format!("{shown} was removed: {why}, and enough of such lie aside"),
            Ok(SetAside::Gone) => return,
            Err(error) => {
                if open.known.len() < HELD_MAX {
                    open.known.insert(name.to_owned());
                }
                format!("{shown} stays where it is: {why}, and it cannot be moved: {error}")
            }
        };
        if open.lines.may_tell() {
            log::warn!("{line}");
        }
    }
}
