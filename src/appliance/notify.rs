//! What systemd is told. Without `$NOTIFY_SOCKET` all of it does nothing.

use std::time::Duration;

use async_io::Timer;
use sd_notify::NotifyState;

use crate::store::{Batch, Store};

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("systemd was not told: {error}");
    }
}

/// Feeds the watchdog from progress: a turn of the executor's loop and a round through the store's thread. Whoever no
/// longer makes these is restarted. The internet being down is no lack of progress.
pub(super) async fn feed_watchdog(store: Store) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    loop {
        Timer::after(limit / 2).await;
        let progress = async { store.commit(Batch::new()).await.is_ok() };
        let late = async {
            Timer::after(limit.min(Duration::from_secs(60)) / 4).await;
            false
        };
        if futures_lite::future::or(progress, late).await {
            tell(&[NotifyState::Watchdog]);
        } else {
            log::error!("the store makes no progress; the watchdog is not fed");
        }
    }
}
