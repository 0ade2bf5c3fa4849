//! Alerts as they become durable, to whoever listens now.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender};

use super::api::AlertView;
use crate::alert::RouteName;
use crate::util::lock;

/// Alerts that may wait for one listener. One that falls further behind is left: it comes again, and asks for what it
/// has missed.
const BEHIND_MAX: usize = 64;

/// Whoever listens to routes. Where nobody does, it costs a look at a number.
#[derive(Default)]
pub struct Feed {
    listeners: Mutex<Vec<Listener>>,
    count: AtomicUsize,
}

struct Listener {
    routes: Vec<RouteName>,
    to: Sender<Arc<AlertView>>,
}

impl Feed {
    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Tells of an alert that is on disk. Waits for nobody: a listener that has not taken the last ones is told no
    /// more, and hears the end behind what waits for it.
    pub fn tell(&self, alert: AlertView) {
        let alert = Arc::new(alert);
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| {
            let is_theirs = listener.routes.iter().any(|route| route.as_str() == alert.route);
            let keeps_up = !is_theirs || listener.to.try_send(Arc::clone(&alert)).is_ok();
            // Whoever has left is forgotten with the next alert.
            keeps_up && !listener.to.is_closed()
        });
        self.count.store(listeners.len(), Ordering::Relaxed);
    }

    /// Listens to these routes from now on.
    pub(super) fn listen(&self, routes: Vec<RouteName>) -> Receiver<Arc<AlertView>> {
        let (to, heard) = async_channel::bounded(BEHIND_MAX);
        let mut listeners = lock(&self.listeners);
        // Those who have left, where alerts are rare.
        listeners.retain(|listener| !listener.to.is_closed());
        listeners.push(Listener { routes, to });
        self.count.store(listeners.len(), Ordering::Relaxed);
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Step;

    fn alert(route: &str, number: u64) -> AlertView {
        AlertView {
            id: format!("AAAAAAAA{number:04}"),
            seq: number,
            route: route.into(),
            session: "default".into(),
            accepted_at: 0,
            title: String::new(),
            text: "x".into(),
            text_cut: false,
            priority: 3,
            tags: Vec::new(),
            click: None,
            not_before: None,
            attachments: Vec::new(),
            state: Step::Accepted,
            deliveries: Vec::new(),
            fallbacks: Vec::new(),
            acknowledged: None,
            repeats: 0,
            escalated_at: None,
            follows: None,
            beside: Vec::new(),
            history: Vec::new(),
        }
    }

    #[test]
    fn each_hears_of_their_routes_and_a_slow_one_costs_nobody_else() {
        let feed = Feed::default();
        assert!(!feed.is_heard());
        let routes = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let (slow, quick) = (
            feed.listen(routes(&["family"])),
            feed.listen(routes(&["ops", "family"])),
        );
        let other = feed.listen(routes(&["ops"]));
        for number in 0..200 {
            feed.tell(alert("family", number));
            assert_eq!(quick.try_recv().unwrap().seq, number);
        }
        assert!(other.is_empty() && !other.is_closed());
        let mut heard = 0;
        while slow.try_recv().is_ok() {
            heard += 1;
        }
        assert!(heard == BEHIND_MAX && slow.is_closed(), "{heard}");
        drop((quick, other));
        feed.tell(alert("family", 0));
        assert!(!feed.is_heard());
    }
}
