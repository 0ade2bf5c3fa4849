//! The spool as a way in: takes what senders have left as files while no relay answered, or because they may not open the
//! control socket.
//!
//! A file's name is the key of its alert, unless the sender gave one. So an alert is taken once, also when a crash comes
//! between its acceptance and the removal of its file.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
use crate::spool::{Folder, Name, OpenError, Spooled, Unfit, make};
use crate::util::{lock, millis, wall_ms};

/// After a refusal that passes by itself, as of a full disk, and where a spool cannot be watched or opened.
const AGAIN: Duration = Duration::from_secs(60);

/// Between a file's coming and the look at it, so that a burst of them is one look.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What is left of a time to live that is over: the alert is accepted, expires, and is told as that.
const TTL_MIN: Duration = Duration::from_secs(1);

/// A wall clock that shows less was not set: 2024-01-01, in Unix milliseconds.
const CLOCK_UNSET_BEFORE_MS: u64 = 1_704_067_200_000;

/// Files that stay where they are. What comes beyond is moved aside.
const HELD_MAX: usize = 1000;

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
    /// How many files lie aside in each spool.
    aside: BTreeMap<PathBuf, usize>,
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
        let more = troubles.held.len().saturating_sub(TOLD_MAX);
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
    /// Of a longer body only so much is read, in bytes.
    pub body_kept_bytes: usize,
    /// A text that is longer than this is none, in bytes.
    pub text_bytes_max: u64,
}

/// One spool while the relay runs.
struct Open {
    folder: Arc<Folder>,
    /// Files that are looked at no more before the next start.
    known: HashSet<String>,
}

/// What became of one file.
enum Outcome {
    /// It is through, and its file can go.
    Done,
    /// Its file stays as it is.
    Held(String),
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
            let (watch, mut again) = match watch(&places) {
                Ok(watch) => (Some(watch), false),
                Err(error) => {
                    log::debug!("the spools cannot be watched, and are looked at every {AGAIN:?}: {error}");
                    (None, true)
                }
            };
            for (place, open) in places.iter().zip(&mut open) {
                if open.as_ref().is_some_and(|open| !open.folder.is_in_place()) {
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
            Timer::after(LOOK_PAUSE).await;
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
        let mut all = true;
        loop {
            let (folder, known) = (Arc::clone(&open.folder), open.known.clone());
            let found = match smol::unblock(move || folder.look(&known)).await {
                Ok(found) => found,
                Err(error) => {
                    log::warn!("the spool {} cannot be listed: {error}", open.folder.path().display());
                    return false;
                }
            };
            let any = !found.alerts.is_empty();
            for name in found.foreign {
                self.set_aside(open, &name, "its name is not that of a spooled alert");
            }
            for name in found.alerts {
                match self.take(&open.folder, &name).await {
                    Outcome::Done => self.remove(open, &name),
                    Outcome::Held(why) if open.known.len() < HELD_MAX => self.hold(open, &name, why),
                    Outcome::Held(why) | Outcome::Aside(why) => self.set_aside(open, name.as_str(), &why),
                    Outcome::Later(why) => {
                        log::warn!("alerts stay in the spool for now: {why}");
                        all = false;
                        break;
                    }
                }
            }
            if any {
                let folder = Arc::clone(&open.folder);
                smol::unblock(move || folder.sync()).await;
            }
            let aside = open.folder.aside();
            lock(&self.spooling.0)
                .aside
                .insert(open.folder.path().to_owned(), aside);
            if !found.more || !all {
                return all;
            }
        }
    }

    async fn take(&self, folder: &Arc<Folder>, name: &Name) -> Outcome {
        let (reading, wanted, kept) = (Arc::clone(folder), name.clone(), self.body_kept_bytes);
        let spooled = match smol::unblock(move || reading.read(&wanted, kept)).await {
            Ok(spooled) => spooled,
            Err(Unfit::Gone) => return Outcome::Done,
            Err(unfit) if unfit.may_pass() => return Outcome::Held(unfit.to_string()),
            Err(unfit) => return Outcome::Aside(unfit.to_string()),
        };
        self.publish(name, &spooled).await
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
            Ok(parsed) => parsed,
            Err(rejection) => return Outcome::Aside(rejection.to_string()),
        };
        for (index, alert) in parsed.alerts.iter_mut().enumerate() {
            mark_late(alert, entry.at, wall_ms());
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
        for route in routes {
            match self.relay.publish(route, parsed.alerts.clone()).await {
                Ok(accepted) => {
                    for accepted in accepted {
                        log::info!("spooled alert {name} is accepted as {}", accepted.alert.id);
                    }
                }
                Err(Refusal::UnknownRoute(route)) => return Outcome::Held(format!("no route is named {route:?}")),
                Err(refusal) => return Outcome::Later(refusal.to_string()),
            }
        }
        Outcome::Done
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

    fn remove(&self, open: &mut Open, name: &Name) {
        let path = open.folder.path().join(name.as_str());
        match open.folder.remove(name) {
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
        let path = open.folder.path().join(name.as_str());
        log::error!("{} stays where it is until the next start: {why}", path.display());
        open.known.insert(name.to_string());
        lock(&self.spooling.0).held.insert(path, why);
    }

    fn set_aside(&self, open: &mut Open, name: &str, why: &str) {
        let path = open.folder.path().join(one_line(name));
        match open.folder.set_aside(name) {
            Ok(true) => log::warn!("{} was moved aside: {why}", path.display()),
            Ok(false) => log::warn!("{} was removed: {why}, and enough of such lie aside", path.display()),
            Err(error) => {
                log::warn!(
                    "{} stays where it is: {why}, and it cannot be moved: {error}",
                    path.display()
                );
                open.known.insert(name.to_owned());
            }
        }
    }
}

/// Says when an alert was written that has lain for long, where the clock tells and there is room; and takes from its time to
/// live what is over.
fn mark_late(alert: &mut Alert, at_ms: u64, now_ms: u64) {
    if at_ms < CLOCK_UNSET_BEFORE_MS || now_ms < at_ms.saturating_add(millis(LATE_AFTER)) {
        return;
    }
    let lain = Duration::from_millis(now_ms - at_ms);
    alert.ttl = alert.ttl.map(|ttl| ttl.saturating_sub(lain).max(TTL_MIN));
    let mark = format!("\n[written {} UTC]", utc(at_ms));
    if alert.text.len() + mark.len() <= TEXT_BYTES_MAX {
        alert.text.push_str(&mark);
    }
}

/// Tells when a file has come into one of the spools, or a spool that is missing was made.
fn watch(places: &[SpoolPlace]) -> io::Result<Async<OwnedFd>> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let coming = WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
    for SpoolPlace { path, .. } in places {
        if inotify::add_watch(&events, path, coming).is_ok() {
            continue;
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        match inotify::add_watch(
            &events,
            parent,
            WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR,
        ) {
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
