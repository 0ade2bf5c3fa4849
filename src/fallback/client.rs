//! Carries parcels to the configured fallbacks, and says what became of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::letter::{Letter, News};
use super::outcome::failure;
use super::post::{post, read, trust};
use super::signed::signed_json;
use super::web::{ANSWER_WITHIN, Answer, Request, WebError};
use super::{ntfy, smtp, webhook};
use crate::alert::{FallbackName, RouteName};
use crate::config::{FallbackKind, FallbackPlan, WebTarget};
use crate::line::Schedule;
use crate::net::Trust;
use crate::outbox::{HandoverFailure, Parcel};

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
        let ca = plan.ca.as_deref();
        match &plan.kind {
            FallbackKind::Ntfy(target) => self.post(target, ca, ntfy::request(letter)).await,
            FallbackKind::Webhook { target, secret } => {
                let request = signed_json(webhook::body(letter), &letter.key, secret.as_ref(), ANSWER_WITHIN);
                self.post(target, ca, request.await.map_err(failure)?).await
            }
            FallbackKind::Smtp(target) => {
                let trust = match ca {
                    Some(path) => trust(path, false).await,
                    None => Trust::new(None, false).map_err(|why| format!("ca_file: {why}")),
                };
                let password = match &target.login {
                    Some((_, password)) => read(Some(password)).await.map_err(failure)?,
                    None => None,
                };
                let trust = trust.map_err(failure)?;
                smtp::send(target, password.as_deref(), &trust, &self.schedule, letter).await
            }
        }
    }

    async fn post(&self, target: &WebTarget, ca: Option<&Path>, request: Request) -> Result<(), HandoverFailure> {
        match post(target, ca, &self.schedule, request).await {
            Ok(answer) => judge(&target.url.origin(), &answer),
            Err(WebError::Unreached(words)) => Err(failure(words)),
            Err(WebError::Unanswered(words)) => Err(HandoverFailure {
                unclear: true,
                ..failure(words)
            }),
        }
    }
}

/// What an answer means for the parcel.
fn judge(origin: &str, answer: &Answer) -> Result<(), HandoverFailure> {
    if answer.is_taken() {
        return Ok(());
    }
    Err(HandoverFailure {
        // Whoever is behind a proxy may have taken it.
        unclear: matches!(answer.status, 502 | 504),
        refused: answer.is_refusal(),
        pause: answer.retry_after,
        words: answer.words(origin),
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
