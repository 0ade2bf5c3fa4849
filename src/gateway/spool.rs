//! The spool as a way in: takes what senders have left as files while no relay answered, or because they may not open
//! the control socket.
//!
//! A file's name is the key of its alert, unless the sender gave one. So an alert is taken once, also when a crash
//! comes between its acceptance and the removal of its file.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::future;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::recipients;
use super::relay::{Refusal, Relay};
use crate::alert::hygiene::{TEXT_BYTES_MAX, one_line};
use crate::alert::{Alert, LATE_AFTER, RouteName};
use crate::config::MailPlan;
use crate::dialect::{DIALECTS, Request};
use crate::gateway::api::utc;
use crate::outbox::CLOCK_UNSET_BEFORE;
use crate::spool::{Folder, Name, OpenError, Retry, SetAside, Spooled, Unfit, make};
use crate::util::{lock, millis, wall_ms};

/// After a refusal that passes by itself, as of a full disk, and where a spool cannot be watched or opened.
const AGAIN: Duration = Duration::from_secs(60);

/// Between a file's coming and the look at it, so that a burst of them is one look.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What is left of a time to live that is over: the alert is accepted, expires, and is told as that.
const TTL_MIN: Duration = Duration::from_secs(1);

/// Files that stay where they are and are remembered. What is held beyond stays as well, is counted, and is looked at
/// again.
const HELD_MAX: usize = 1000;

/// The longer pause before the next look, for each file that is looked at again: reading them is not all that is done.
const CROWDED_PAUSE: Duration = Duration::from_millis(1);

/// Lines of the log about files that are no alerts, within [`AGAIN`]. Anybody may write such; the rest is summed up.
const LINES_MAX: usize = 10;

/// Troubles that are told one by one.
const TOLD_MAX: usize = 5;

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
    pub(super) fn prepare(&self) {
        if self.make {
            let _ = make(&self.path);
        }
    }
}

/// What is wrong with the spools, for health.
#[derive(Debug, Default)]
pub struct Spooling(Mutex<Troubles>);

#[derive(Debug, Default)]
struct Troubles {
    /// Why a spool is not taken from.
    closed: BTreeMap<PathBuf, String>,
    /// Alerts that wait in their files, with the reason.
    held: BTreeMap<PathBuf, String>,
    /// How many files wait in each spool beyond those.
    beyond: BTreeMap<PathBuf, usize>,
    /// How many files lie aside in each spool.
    aside: BTreeMap<PathBuf, usize>,
}

impl Troubles {
    /// The folder there is another now: what was wrong with its files is over.
    fn forget(&mut self, path: &Path) {
        self.held.retain(|file, _| file.parent() != Some(path));
        self.beyond.remove(path);
        self.aside.remove(path);
    }
}

impl Spooling {
    /// Alerts that cannot be taken, and spools that cannot be read: a line each.
    #[must_use]
    pub fn held(&self) -> Vec<String> {
        let troubles = lock(&self.0);
        let closed = troubles
            .closed
            .iter()
            .map(|(path, why)| format!("the spool {} is not taken from: {why}", path.display()));
        let held = troubles
            .held
            .iter()
            .map(|(path, why)| format!("{} waits: {why}", path.display()));
        let more = troubles.held.len().saturating_sub(TOLD_MAX) + troubles.beyond.values().sum::<usize>();
        let more = (more > 0).then(|| format!("and {more} more files wait in the spool"));
        closed.chain(held.take(TOLD_MAX)).chain(more).collect()
    }

    /// Files that were no alerts: a line for each spool that has some.
    #[must_use]
    pub fn aside(&self) -> Vec<String> {
        let troubles = lock(&self.0);
        let some = troubles.aside.iter().filter(|(_, count)| **count > 0);
        let line = |(path, count): (&PathBuf, &usize)| {
            format!(
                "{count} file(s) in {} were no alerts and were moved there",
                path.join("aside").display()
            )
        };
        some.map(line).collect()
    }
}

/// The task that takes from all spools.
pub(super) struct Taker {
    pub relay: Arc<dyn Relay>,
    pub spooling: Arc<Spooling>,
    /// Which route a mail is for.
    pub mail: MailPlan,
    /// How long alerts of a route may wait, where that is limited: what they lay here counts.
    pub ttls: BTreeMap<RouteName, Duration>,
    /// How much of a longer body is read, in bytes.
    pub body_kept_bytes: usize,
    /// A text that is longer than this is none, in bytes.
    pub text_bytes_max: u64,
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

/// How much was logged about files that are no alerts.
struct Lines {
    since: Instant,
    told: usize,
    untold: usize,
}

impl Lines {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            told: 0,
            untold: 0,
        }
    }

    /// Whether one more may be told; if not, it is counted.
    fn may_tell(&mut self) -> bool {
        let may = self.told < LINES_MAX;
        match may {
            true => self.told += 1,
            false => self.untold += 1,
        }
        may
    }

    /// When the time is over: how many were not told, and it begins anew.
    fn sum(&mut self, now: Instant) -> usize {
        if now.saturating_duration_since(self.since) < AGAIN {
            return 0;
        }
        std::mem::replace(self, Self::new(now)).untold
    }
}

/// What became of one file.
enum Outcome {
    /// It is through, and its file can go.
    Done,
    /// Its file stays as it is until the next start.
    Held(String),
    /// Its file stays as it is, and is tried again.
    Waits(String),
    /// It is no alert.
    Aside(String),
    /// Nothing can be taken now.
    Later(String),
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
                    lock(&self.spooling.0).forget(&place.path);
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
        let mut troubles = lock(&self.spooling.0);
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
            let mut troubles = lock(&self.spooling.0);
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
            let troubles = lock(&self.spooling.0);
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
            lock(&self.spooling.0).held.remove(&file);
            if let Some(name) = file.file_name() {
                open.known.remove(name);
            }
        }
    }

    /// Whether anything waits for a person.
    fn holds(&self) -> bool {
        !lock(&self.spooling.0).held.is_empty()
    }

    async fn take(&self, folder: &Arc<Folder>, name: &Name) -> Outcome {
        let (reading, wanted, kept) = (Arc::clone(folder), name.clone(), self.body_kept_bytes);
        let unfit = match smol::unblock(move || reading.read(&wanted, kept)).await {
            Ok(spooled) => return self.publish(name, &spooled).await,
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

    async fn publish(&self, name: &Name, spooled: &Spooled) -> Outcome {
        let Spooled { entry, body_bytes } = spooled;
        let Some(dialect) = DIALECTS.iter().find(|dialect| dialect.name == entry.dialect) else {
            return Outcome::Held(format!("this version knows no dialect {:?}", one_line(&entry.dialect)));
        };
        let routes = match entry.dialect.as_str() {
            "mail" => recipients::routes(&self.mail, &self.relay.routes(), &entry.to),
            _ => self.routes(&entry.to),
        };
        let routes = match routes {
            Ok(routes) => routes,
            Err(why) => return Outcome::Held(why),
        };
        let fields = entry.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = Request {
            route: routes.first().map(RouteName::as_str),
            query: fields.collect(),
            body: &entry.body,
            body_bytes: *body_bytes,
            text_bytes_max: self.text_bytes_max,
            ..Request::default()
        };
        let mut parsed = match (dialect.parse)(&request) {
            Ok(parsed) => parsed.without_files("a spooled alert carries none"),
            Err(rejection) => return Outcome::Aside(rejection.to_string()),
        };
        for (index, alert) in parsed.alerts.iter_mut().enumerate() {
            if alert.key.is_none() {
                alert.key = Some(match index {
                    0 => name.to_string(),
                    later => format!("{name}-{later}"),
                });
            }
        }
        for warning in &parsed.warnings {
            log::info!("spooled alert {name}: {warning}");
        }
        if parsed.alerts.is_empty() {
            return Outcome::Done;
        }
        let parts = routes.into_iter().map(|route| {
            let mut alerts = parsed.alerts.clone();
            for alert in &mut alerts {
                alert.ttl = self.ttls.get(&route).copied().into_iter().chain(alert.ttl).min();
                mark_late(alert, entry.at, wall_ms());
            }
            (route, alerts)
        });
        match self.relay.publish_to_all(parts.collect()).await {
            Ok(accepted) => {
                for accepted in accepted {
                    log::info!("spooled alert {name} is accepted as {}", accepted.alert.id);
                }
                Outcome::Done
            }
            Err(Refusal::UnknownRoute(route)) => Outcome::Held(format!("no route is named {route:?}")),
            Err(refusal) => Outcome::Later(refusal.to_string()),
        }
    }

    /// The routes for those whom the sender named, each once; the only one where it named none.
    fn routes(&self, to: &[String]) -> Result<Vec<RouteName>, String> {
        let all = self.relay.routes();
        if to.is_empty() {
            return match all.as_slice() {
                [only] => Ok(vec![only.clone()]),
                _ => Err("its sender named no route, and there are several".into()),
            };
        }
        let mut routes: Vec<RouteName> = Vec::new();
        for name in to {
            match all.iter().find(|route| route.as_str() == name) {
                Some(route) if routes.contains(route) => {}
                Some(route) => routes.push(route.clone()),
                None => return Err(format!("no route is named {:?}", one_line(name))),
            }
        }
        Ok(routes)
    }

    async fn remove(&self, open: &mut Open, name: &Name) {
        let path = open.folder.path().join(name.as_str());
        let (folder, removed) = (Arc::clone(&open.folder), name.clone());
        match smol::unblock(move || folder.remove(&removed)).await {
            Ok(()) => drop(lock(&self.spooling.0).held.remove(&path)),
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
        lock(&self.spooling.0).held.insert(path, why);
    }

    /// It is told as held, and is not remembered: the next look tries it again.
    fn wait(&self, open: &mut Open, name: &Name, why: String) {
        let path = open.folder.path().join(name.as_str());
        let held = &mut lock(&self.spooling.0).held;
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
        lock(&self.spooling.0).held.remove(&path);
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

/// Says when an alert was written that has lain for long, where the clock tells and there is room; and takes from its
/// time to live what is over.
fn mark_late(alert: &mut Alert, at_ms: u64, now_ms: u64) {
    if at_ms < CLOCK_UNSET_BEFORE.0 || now_ms < at_ms.saturating_add(millis(LATE_AFTER)) {
        return;
    }
    let lain = Duration::from_millis(now_ms - at_ms);
    alert.ttl = alert.ttl.map(|ttl| ttl.saturating_sub(lain).max(TTL_MIN));
    let mark = format!("\n[written {} UTC]", utc(at_ms));
    if alert.text.len() + mark.len() <= TEXT_BYTES_MAX {
        alert.text.push_str(&mark);
    }
}

/// Tells when a file has come into one of the spools, a spool that is missing was made, or one was removed. A folder
/// that is open does not tell its own removal, so the directory above it is watched as well.
///
/// With `also_going` also that one has gone: what a person is told of may be what he has removed.
fn watch(places: &[SpoolPlace], also_going: bool) -> io::Result<Async<OwnedFd>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_rubbish_are_few_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let told = (0..1000).filter(|_| lines.may_tell()).count();
        assert_eq!((told, lines.sum(start + AGAIN / 2)), (LINES_MAX, 0));
        assert_eq!(lines.sum(start + AGAIN), 1000 - LINES_MAX);
        assert!(lines.may_tell());
        assert_eq!(lines.sum(start + AGAIN * 2), 0);
    }

    #[test]
    fn what_lay_for_long_says_when_it_was_written() {
        let at = 1_764_000_000_000;
        let marked = |at_ms, now_ms, text: String| {
            let mut alert = Alert {
                text,
                ..Alert::default()
            };
            mark_late(&mut alert, at_ms, now_ms);
            alert.text
        };
        let late = marked(at, at + 120_000, "disk full".into());
        assert_eq!(late, "disk full\n[written 2025-11-24 16:00:00 UTC]");
        for (at_ms, now_ms) in [(at, at + 119_000), (at, at - 1), (0, at), (1000, 500_000)] {
            assert_eq!(marked(at_ms, now_ms, "disk full".into()), "disk full");
        }
        for (lain_s, left_s) in [(60, 600), (120, 480), (7200, 1)] {
            let mut alert = Alert {
                ttl: Some(Duration::from_secs(600)),
                ..Alert::default()
            };
            mark_late(&mut alert, at, at + lain_s * 1000);
            assert_eq!(alert.ttl, Some(Duration::from_secs(left_s)), "{lain_s}");
        }
        let full = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(marked(at, at + 120_000, full.clone()), full);
    }
}
