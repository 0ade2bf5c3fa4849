//! How long a send may take. The server may need a minute for the keys of a large group, and a line that is dead never
//! answers; what tells them apart is whether anything comes that only a session that works gives.

use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;
use whatsapp_rust::Client;

use super::events::EventMapper;

/// A send during which nothing of content has come for so long is given up, and its line with it. Below the outbox's
/// deadline for the ack, so that no two attempts overlap.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(25);

/// After so long without content the session is asked something that is answered at once if it works.
const ASK_AFTER: Duration = Duration::from_secs(10);

/// How soon the answer to that is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// However much else comes: nothing that is asked for takes this long. What has been answered until then is kept, and
/// the next attempt goes on from there.
const WHOLE_MAX: Duration = Duration::from_secs(15 * 60);

/// Returns when a send that began now has to be given up, with the reason. Until then `alive` is called at every sign
/// of life.
pub(super) async fn runs_out(client: &Client, mapper: &EventMapper, alive: impl Fn()) -> String {
    let began = Instant::now();
    let mut heard = began;
    loop {
        Timer::at(heard + ASK_AFTER).await;
        if began.elapsed() >= WHOLE_MAX {
            return format!("not written within {} min", WHOLE_MAX.as_secs() / 60);
        }
        if newer(mapper, &mut heard) {
            alive();
            continue;
        }
        let asking = async {
            if let Err(error) = client.fetch_props().await {
                log::debug!("a send waits, and the content probe was not answered: {error}");
            }
            future::pending().await
        };
        let until = async {
            // Looked at in steps: the answer may be to another question.
            while Instant::now() < heard + SILENCE_MAX && mapper.last_content() <= Some(heard) {
                Timer::after(LOOK_EVERY).await;
            }
        };
        future::or(asking, until).await;
        if !newer(mapper, &mut heard) {
            return format!(
                "not written: the server has been silent for {} s",
                SILENCE_MAX.as_secs()
            );
        }
        alive();
    }
}

fn newer(mapper: &EventMapper, heard: &mut Instant) -> bool {
    let last = mapper.last_content().filter(|last| last > heard);
    if let Some(last) = last {
        *heard = last;
    }
    last.is_some()
}
