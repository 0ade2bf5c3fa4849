//! What systemd is told. Without `$NOTIFY_SOCKET` all of it does nothing, and nothing runs for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use sd_notify::NotifyState;

use super::status;
use crate::whatsapp::SessionHandle;

/// A shorter limit than this is treated as this one: asking more often than ten times a second is no use to anybody.
const LIMIT_MIN: Duration = Duration::from_millis(300);

/// Whether anybody is told at all.
pub(super) fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// systemd's `WatchdogSec`, where it waits for this very process.
pub(super) fn watchdog_limit() -> Option<Duration> {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero() && is_heard())?;
    Some(limit.max(LIMIT_MIN))
}

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(super) fn feed() {
    tell(&[NotifyState::Watchdog]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("saying goodbye")]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("systemd was not told: {error}");
    }
}

/// Keeps the line that `systemctl status` shows: how each session stands. Woken by changes alone.
pub(super) async fn keep_status(sessions: Vec<SessionHandle>) {
    let mut shown = String::new();
    loop {
        let mut changes: Vec<_> = sessions.iter().map(SessionHandle::state_change).collect();
        let each = sessions.iter().map(status::in_short);
        let text = each.collect::<Vec<_>>().join("; ");
        if text != shown {
            tell(&[NotifyState::Status(&text)]);
            shown = text;
        }
        poll_fn(|cx| {
            let mut polled = changes.iter_mut().map(|change| Pin::new(change).poll(cx));
            match polled.any(|change| change.is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
