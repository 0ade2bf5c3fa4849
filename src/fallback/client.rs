//! Carries parcels to the configured fallbacks, and says what became of them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::letter::{Letter, News, one_line};
use super::outcome::failure;
use super::web::{Answer, Request, WebError, ask_trusting};
use super::{ntfy, secret, smtp, webhook};
use crate::alert::{FallbackName, RouteName};
use crate::config::{FallbackKind, FallbackPlan, Secret, WebTarget};
use crate::line::Schedule;
use crate::net::Trust;
use crate::outbox::{HandoverFailure, Parcel};

/// How much is told of an answer that says no.
const SAID_CHARS_MAX: usize = 100;

/// How much of a file with certificates is read: some hundred of them.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Knows every fallback.
#[derive(Debug)]
pub struct FallbackClient {
    plans: BTreeMap<FallbackName, FallbackPlan>,
    schedule: Schedule,
}

impl FallbackClient {
    /// For these fallbacks, dialled by the steps of `schedule`.
    pub fn new(plans: Vec<FallbackPlan>, schedule: Schedule) -> Self {
        let plans = plans.into_iter().map(|plan| (plan.name.clone(), plan));
        Self {
            plans: plans.collect(),
            schedule,
        }
    }

    /// Gives the parcel to its fallback. It returns within a minute or so, whatever the other side does.
    ///
    /// # Errors
    /// The fallback has not said that it has it.
    pub async fn deliver(&self, parcel: &Parcel) -> Result<(), HandoverFailure> {
        self.carry(&parcel.to, &Letter::of(parcel)).await
    }

    /// Tells a fallback news of the relay itself.
    ///
    /// # Errors
    /// As for [`deliver`](Self::deliver).
    pub async fn tell(&self, news: &News) -> Result<(), HandoverFailure> {
        self.carry(&news.to, &Letter::of_news(news)).await
    }

    /// Gives a fallback a test.
    ///
    /// # Errors
    /// As for [`deliver`](Self::deliver).
    pub async fn test(
        &self,
        to: &FallbackName,
        key: &str,
        route: &RouteName,
        text: &str,
    ) -> Result<(), HandoverFailure> {
        self.carry(to, &Letter::of_test(to, key, route, text)).await
    }

    async fn carry(&self, to: &FallbackName, letter: &Letter) -> Result<(), HandoverFailure> {
        let Some(plan) = self.plans.get(to) else {
            return Err(failure("is not configured"));
        };
        let ca = match &plan.ca {
            Some(path) => Some(read_ca(path).await?),
            None => None,
        };
        match &plan.kind {
            FallbackKind::Ntfy(target) => self.post(target, ca, ntfy::request(letter)).await,
            FallbackKind::Webhook { target, secret } => {
                let secret = read(secret.as_ref()).await?;
                self.post(target, ca, webhook::request(letter, secret.as_deref())).await
            }
            FallbackKind::Smtp(target) => {
                let trust = Trust::new(ca.as_deref(), false).map_err(|why| failure(format!("ca_file: {why}")))?;
                let password = match &target.login {
                    Some((_, password)) => read(Some(password)).await?,
                    None => None,
                };
                smtp::send(target, password.as_deref(), &trust, &self.schedule, letter).await
            }
        }
    }

    async fn post(&self, target: &WebTarget, ca: Option<Vec<u8>>, mut request: Request) -> Result<(), HandoverFailure> {
        let agent = concat!("tautline/", env!("CARGO_PKG_VERSION"));
        request.headers.push(("User-Agent".to_owned(), agent.to_owned()));
        if let Some(token) = read(target.token.as_ref()).await? {
            request
                .headers
                .push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        let trust = match ca {
            Some(pem) => Some(Trust::new(Some(&pem), true).map_err(|why| failure(format!("ca_file: {why}")))?),
            None => None,
        };
        match ask_trusting(
            trust.as_ref(),
            &target.url,
            target.proxy.as_ref(),
            &self.schedule,
            request,
        )
        .await
        {
            Ok(answer) => judge(&target.url.origin(), &answer),
            Err(WebError::Unreached(words)) => Err(failure(words)),
            Err(WebError::Unanswered(words)) => Err(HandoverFailure {
                unclear: true,
                ..failure(words)
            }),
        }
    }
}

async fn read_ca(path: &Path) -> Result<Vec<u8>, HandoverFailure> {
    let owned = path.to_owned();
    let read = smol::unblock(move || {
        let mut pem = Vec::new();
        let file = std::fs::File::open(owned)?;
        file.take(CA_BYTES_MAX).read_to_end(&mut pem).map(|_| pem)
    });
    read.await
        .map_err(|error| failure(format!("{}: {error}", path.display())))
}

async fn read(secret: Option<&Secret>) -> Result<Option<String>, HandoverFailure> {
    match secret {
        Some(secret) => secret::read(secret).await.map(Some).map_err(failure),
        None => Ok(None),
    }
}

/// What an answer means for the parcel.
fn judge(origin: &str, answer: &Answer) -> Result<(), HandoverFailure> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    let said = one_line(&body, SAID_CHARS_MAX);
    let hint = match status {
        300..=399 => "; redirects are not followed: write the address that it leads to",
        401 | 403 => "; is the token right?",
        404 => "; is the address right?",
        _ => "",
    };
    let words = match said.is_empty() {
        true => format!("{origin} answered {status}{hint}"),
        false => format!("{origin} answered {status}: {said}{hint}"),
    };
    Err(HandoverFailure {
        // Whoever is behind a proxy may have taken it.
        unclear: matches!(status, 502 | 504),
        // Of what it is given, not of how.
        refused: matches!(status, 400 | 406 | 413 | 415 | 422),
        pause: answer.retry_after.map(Duration::from_secs),
        words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16) -> Result<(), (bool, bool)> {
        let answer = Answer {
            status,
            retry_after: None,
            body: b"no\r\nX".to_vec(),
        };
        judge("https://ntfy.example", &answer).map_err(|failure| {
            assert!(
                failure.words.contains(&format!("answered {status}: no  X")),
                "{}",
                failure.words
            );
            (failure.unclear, failure.refused)
        })
    }

    #[test]
    fn only_what_the_fallback_may_have_taken_is_unclear() {
        for status in [200, 202, 204] {
            assert_eq!(judged(status), Ok(()));
        }
        for status in [301, 307, 401, 403, 404, 429, 500, 503, 507] {
            assert_eq!(judged(status), Err((false, false)), "{status}");
        }
        for status in [502, 504] {
            assert_eq!(judged(status), Err((true, false)), "{status}");
        }
        for status in [400, 413, 422] {
            assert_eq!(judged(status), Err((false, true)), "{status}");
        }
    }
}
